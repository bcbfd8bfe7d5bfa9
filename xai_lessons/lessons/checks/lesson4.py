"""Checks of lesson 4: the occlusion loop and its batches, the sign, the fill nearest to redrawing, flipping parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import exercise, integer
from xai_lessons.methods import occlusion

Box = tuple[int, int, int, int]


@cache
def _network() -> models.Classifier:
    """The lesson's network, loaded once: a student's loop calls it a hundred times."""
    return models.load("menagerie-resnet")


def _logits(images: Tensor) -> Tensor:
    """What the lesson's network says, on the CPU."""
    model = _network()
    with torch.no_grad():
        return model(images.to(model.device)).cpu()


@cache
def _without_parts() -> list[tuple[menagerie.Scene, list[str], Tensor]]:
    """Ten scenes of the lesson, one of each class; their parts; the logits of each as it is, and without each part."""
    found = []
    for i, name in enumerate(menagerie.CLASSES):
        scene = menagerie.draw(name, 60 + i, tree=False, tag=False)
        parts = [part for part in menagerie.PARTS[name] if part in scene.masks]
        images = torch.stack([scene.image, *(scene.without(part).image for part in parts)])
        found.append((scene, parts, _logits(images)))
    return found


@cache
def _drops_of_fills() -> tuple[dict[str, Tensor], Tensor]:
    """For all parts of these scenes: the drop in the logit with each fill, and without the part."""
    redrawn: list[Tensor] = []
    filled: dict[str, list[Tensor]] = {fill: [] for fill in occlusion.FILLS}
    for scene, parts, logits in _without_parts():
        x, c = scene.image, scene.label
        redrawn.append(logits[0, c] - logits[1:, c])
        for fill, found in filled.items():
            filling = occlusion.filling(x, fill)
            hidden = [torch.where(scene.masks[part], filling, x) for part in parts]
            found.append(logits[0, c] - _logits(torch.stack(hidden))[:, c])
    return {fill: torch.cat(found) for fill, found in filled.items()}, torch.cat(redrawn)


def _cat() -> menagerie.Scene:
    """The cat of the lesson."""
    return menagerie.draw("cat", 4, background="meadow", tree=False, tag=False)


class Scores:
    """A small function from pictures (N, 3, H, W) to scores (N, 4) that limits the batch size and the calls."""

    def __init__(self, rng: torch.Generator, shape: tuple[int, ...], most: int = 10**9, calls: int = 10**9) -> None:
        self.weights, self.shape = 4 * torch.randn(4, *shape, generator=rng), shape
        self.most, self.calls, self.asked = most, calls, 0
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        """The scores (N, 4)."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"expected pictures (N, {wanted}), got {tuple(images.shape)}")
        if len(images) > self.most:
            raise MemoryError(f"got {len(images)} pictures at once, but there is memory for {self.most}: take slices")
        self.asked += 1
        self.seen.append(images[0].clone())
        if self.asked > self.calls:
            again = sum(torch.equal(image, self.seen[0]) for image in self.seen) > 2
            advice = "run the original picture once, before the loop" if again else "fill each batch"
            raise TimeoutError(f"called {self.asked} times: {advice}, then {self.calls} calls are enough")
        return (images[:, None] * self.weights).flatten(2).mean(dim=2) + images.amax(dim=(1, 2, 3))[:, None]


def loop(
    score: Callable[[Tensor], Tensor],
    image: Tensor,
    patch: int,
    stride: int,
    fresh: bool = True,
    channels: slice = slice(None),
    extra: int = 0,
    value: float = 0.0,
    inverted: bool = False,
    transposed: bool = False,
) -> Tensor:
    """The scores (rows, columns) of the image with each window hidden, in several wrong ways too."""
    _, H, W = image.shape
    rows, x = [], image.clone()
    for i in range(0, H - patch + 1, stride):
        row = []
        for j in range(0, W - patch + 1, stride):
            x = image.clone() if fresh else x
            window = torch.zeros(H, W, dtype=torch.bool)
            across = (j, i) if transposed else (i, j)
            window[across[0] : across[0] + patch + extra, across[1] : across[1] + patch + extra] = True
            x[channels] = x[channels].masked_fill(~window if inverted else window, value)
            row.append(score(x))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def drops(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, patch: int, stride: int, **options: Any) -> Tensor:
    """The drops in the score of class c for all windows (rows, columns)."""
    original = ask(image[None])[0, c]
    return loop(lambda hidden: original - ask(hidden[None])[0, c], image, patch, stride, **options)


def _colors_and_rows(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, patch: int, stride: int) -> Tensor:
    """The drops where the slices take the color for the row, and the row for the column."""
    _, H, W = image.shape
    whole = ask(image[None])[0, c]
    rows: list[list[Tensor]] = []
    for i in range(0, H - patch + 1, stride):
        rows.append([])
        for j in range(0, W - patch + 1, stride):
            hidden = image.clone()
            hidden[i : i + patch, j : j + patch] = 0
            rows[-1].append(whole - ask(hidden[None])[0, c])
    return torch.tensor(rows)


def _picture(rng: torch.Generator) -> tuple[Scores, Tensor, int, int, int]:
    """A function, a picture that is wider than high, a class, a patch and a stride; the last windows fit exactly."""
    patch, stride = integer(rng, 3, 5), 2
    H, W = patch + stride * integer(rng, 2, 4), patch + stride * integer(rng, 4, 6)
    image = 0.2 + 0.8 * torch.rand(3, H, W, generator=rng)
    return Scores(rng, (3, H, W)), image, integer(rng, 1, 4), patch, stride


def _loop_found(student: Callable[..., Any]) -> Iterator[Any]:
    scene, patch, stride = _cat(), 24, 12
    R = torch.as_tensor(student(_logits, scene.image, scene.label, patch, stride)).float()
    row, column = divmod(int(R.argmax()), R.shape[1])
    window = torch.zeros_like(scene.masks["object"])
    window[row * stride : row * stride + patch, column * stride : column * stride + patch] = True
    covered = {part: int((scene.masks[part] & window).sum()) for part in menagerie.PARTS["cat"] if part in scene.masks}
    parts = " and ".join(sorted(covered, key=covered.__getitem__)[-2:])
    yield (
        f"On the lesson's cat your loop runs {R.numel()} windows. The logit drops most, by {float(R.max()):.1f}, "
        f"without the window at x = {column * stride}, y = {row * stride}; most of what it hides of the cat is {parts}."
    )
    picture = scene.at(288).image
    yield plots.show(
        [picture, plots.heatmap(R, "signed", plots.limits(R, signed=True), size=288)],
        ["the picture", "your R"],
        "Red: without this window the logit of cat drops.",
        size=2.3,
    )


@exercise(
    draw=_picture,
    arguments=("ask", "image", "class", "patch", "stride"),
    praise="One number per window: how far the score drops when that window is hidden.",
    shows=_loop_found,
    mistakes={
        "the score that is left": lambda ask, x, c, p, s: loop(lambda h: ask(h[None])[0, c], x, p, s),
        "the sign": lambda ask, x, c, p, s: -drops(ask, x, c, p, s),
        "never restored": lambda ask, x, c, p, s: drops(ask, x, c, p, s, fresh=False),
        "one color only": lambda ask, x, c, p, s: drops(ask, x, c, p, s, channels=slice(1)),
        "a pixel too large": lambda ask, x, c, p, s: drops(ask, x, c, p, s, extra=1),
        "gray": lambda ask, x, c, p, s: drops(ask, x, c, p, s, value=0.5),
        "absolute values": lambda ask, x, c, p, s: drops(ask, x, c, p, s).abs(),
        "rises dropped": lambda ask, x, c, p, s: drops(ask, x, c, p, s).clamp(min=0),
        "colors and rows": _colors_and_rows,
        "x and y swapped": lambda ask, x, c, p, s: drops(ask, x, c, p, s, transposed=True),
        "everything but the window": lambda ask, x, c, p, s: drops(ask, x, c, p, s, inverted=True),
        "last windows missing": lambda ask, x, c, p, s: drops(ask, x, c, p, s)[:-1, :-1],
        "rows and columns swapped": lambda ask, x, c, p, s: drops(ask, x, c, p, s).T,
        "another class": lambda ask, x, c, p, s: drops(ask, x, 0, p, s),
        "the largest score": lambda ask, x, c, p, s: loop(lambda h: ask(x[None]).max() - ask(h[None]).max(), x, p, s),
    },
    hints={
        "the score that is left": "You return the score that is left when the window is hidden: it is low where the "
        "window matters. Return the drop from the score of the original picture.",
        "the sign": "The sign is reversed: hidden minus original is negative where the picture needs the window.",
        "never restored": "Each window stays hidden while you go on: hide it in a fresh copy, image.clone().",
        "one color only": "You hide only the red channel: the first axis of the picture has three colors, use all.",
        "a pixel too large": "Your windows are one pixel too large: the slice i : i + patch has patch pixels already.",
        "absolute values": "You take absolute values. Where hiding a window *raises* the score, the drop is negative.",
        "rises dropped": "You set negative drops to 0. Where hiding a window raises the score, keep the sign.",
        "colors and rows": "`hidden[i : i + patch, j : j + patch]` cuts out colors and rows: the axes of a picture are "
        "color, row, column. Write `hidden[:, i : i + patch, j : j + patch]`.",
        "x and y swapped": "You move the window along the wrong axis: rows come first, `[:, i : i + patch, ...]` with "
        "i from the loop over the height.",
        "gray": "You fill with gray, 0.5. Fill with black: 0.",
        "everything but the window": "You hide everything but the window, which answers another question.",
        "last windows missing": "The last row and the last column of windows are missing: range(0, H - patch, stride) "
        "ends one too early, but a window also fits at H - patch.",
        "rows and columns swapped": "Rows and columns are swapped: let the outer loop run over the height.",
        "another class": "You look at class 0, whatever class is given.",
        "the largest score": "You take the largest score of any class. Keep to class c, also when another one wins.",
    },
)
def occlusion_loop(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, patch: int, stride: int) -> Tensor:
    """R_ij = Y^c(x) - Y^c(x with window ij black), (rows, columns)."""
    return drops(ask, image, c, patch, stride)


def _boxes(rng: torch.Generator) -> tuple[Scores, Tensor, int, list[Box], int]:
    """A function with memory for a few pictures, and windows that do not fill the last batch."""
    H, W, size = integer(rng, 8, 12), integer(rng, 13, 17), integer(rng, 3, 6)
    count = size * integer(rng, 2, 5) + integer(rng, 1, size)
    image = 0.2 + 0.8 * torch.rand(3, H, W, generator=rng)
    boxes = []
    for _ in range(count):
        x, y = integer(rng, 0, W - 4), integer(rng, 0, H - 4)
        boxes.append((x, y, x + integer(rng, 2, 5), y + integer(rng, 2, 5)))
    batches = -(-count // size)
    return Scores(rng, (3, H, W), most=size, calls=batches + 1), image, integer(rng, 1, 4), boxes, size


def _hidden(image: Tensor, boxes: list[Box], alike: bool = False, transposed: bool = False) -> Tensor:
    pictures = image.expand(len(boxes), -1, -1, -1).clone()
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        at = (slice(x0, x1), slice(y0, y1)) if transposed else (slice(y0, y1), slice(x0, x1))
        (pictures if alike else pictures[k])[..., at[0], at[1]] = 0
    return pictures


def _batches(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, pictures: Tensor, size: int) -> Tensor:
    original = ask(image[None])[0, c]
    return torch.cat([original - ask(batch)[:, c] for batch in pictures.split(size)])


def _expanded(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, boxes: list[Box], batch_size: int) -> Tensor:
    """The drops where all pictures of a batch, and the original, share their memory."""
    whole, found = ask(image[None])[0, c], []
    for start in range(0, len(boxes), batch_size):
        some = boxes[start : start + batch_size]
        pictures = image.expand(len(some), -1, -1, -1)
        for k, (x0, y0, x1, y1) in enumerate(some):
            pictures[k, :, y0:y1, x0:x1] = 0
        found.append(whole - ask(pictures)[:, c])
    return torch.cat(found)


def _batches_found(student: Callable[..., Any]) -> Iterator[Any]:
    scene = _cat()
    calls: list[int] = []

    def ask(images: Tensor) -> Tensor:
        calls.append(len(images))
        return _logits(images)

    boxes = [tuple(box) for box in occlusion.windows(96, 96, 16, 8).flatten(0, 1).tolist()]
    found = torch.as_tensor(student(ask, scene.image, scene.label, boxes, 32)).float()
    ours = occlusion.occlusion(_logits, scene.image, scene.label, patch=16, stride=8, size=None).flatten()
    yield (
        f"The lesson's cat, {len(boxes)} windows: your function needs {len(calls)} calls instead of {len(boxes) + 1}. "
        f"Its largest drop is {float(found.max()):.2f}, that of the package {float(ours.max()):.2f}."
    )


@exercise(
    draw=_boxes,
    arguments=("ask", "image", "class", "boxes", "batch size"),
    shows=_batches_found,
    praise="The same numbers with a fraction of the calls. That is most of what makes the package's occlusion fast.",
    mistakes={
        "last batch missing": lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b), n)[: len(b) // n * n],
        "all windows in every picture": lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b, alike=True), n),
        "the batch's windows in each of its pictures": lambda ask, x, c, b, n: _batches(
            ask, x, c, torch.cat([_hidden(x, b[k : k + n], alike=True) for k in range(0, len(b), n)]), n
        ),
        "expand in each batch": _expanded,
        "absolute values": lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b), n).abs(),
        "rises dropped": lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b), n).clamp(min=0),
        "the sign": lambda ask, x, c, b, n: -_batches(ask, x, c, _hidden(x, b), n),
        "x and y swapped": lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b, transposed=True), n),
        "all classes": lambda ask, x, c, b, n: (
            ask(x[None]) - torch.cat([ask(batch) for batch in _hidden(x, b).split(n)])
        ),
        "the score that is left": lambda ask, x, c, b, n: torch.cat(
            [ask(batch)[:, c] for batch in _hidden(x, b).split(n)]
        ),
    },
    hints={
        "last batch missing": "The last batch is missing: len(boxes) is not always a multiple of the batch size, and "
        "the rest must be evaluated too.",
        "all windows in every picture": "All windows are hidden in every picture: expand() repeats the same memory. "
        "Write repeat(), or expand().clone(), before you hide anything.",
        "the batch's windows in each of its pictures": "You hide all windows of a batch in each of its pictures. "
        "Picture k of the batch gets window k alone: `pictures[k, :, y0:y1, x0:x1] = 0`.",
        "expand in each batch": "`expand` shows one picture several times without copying it, so each window is hidden "
        "in all of them, and in the original too. Write `repeat`, or `expand(...).clone()`.",
        "absolute values": "You take absolute values. Where hiding a window raises the score, the drop is negative.",
        "rises dropped": "You set negative drops to 0. Where hiding a window raises the score, keep the sign.",
        "the sign": "The sign is reversed: it is original minus hidden.",
        "x and y swapped": "A box is x0, y0, x1, y1, and a picture is indexed [:, y, x]: rows first.",
        "all classes": "You return the drops of all classes; return only those of class c: [:, c].",
        "the score that is left": "You return the scores that are left; subtract them from the original score.",
    },
)
def occlusion_batches(
    ask: Callable[[Tensor], Tensor], image: Tensor, c: int, boxes: list[Box], batch_size: int
) -> Tensor:
    """The drops of all windows (len(boxes),), with batch_size pictures in each call."""
    return _batches(ask, image, c, _hidden(image, boxes), batch_size)


def _left(rng: torch.Generator) -> tuple[float, Tensor]:
    """A probability, and what is left of it when each of some windows is hidden; here and there it rises."""
    p = round(0.6 + 0.3 * float(torch.rand((), generator=rng)), 3)
    return p, p + (1 - p) * 0.9 * torch.rand(4, 6, generator=rng) - p * 0.9 * torch.rand(4, 6, generator=rng).square()


def _sign_found(student: Callable[..., Any]) -> Iterator[Any]:
    scene = _cat()
    x, mask = scene.image, scene.masks["object"]
    p = float(_logits(x[None]).softmax(dim=1)[0, scene.label])
    left = p - occlusion.occlusion(_logits, x, scene.label, patch=20, stride=4, fill="gray", output="probability")
    before, after = (float(evaluation.energy_inside(heat.clamp(min=0), mask)) for heat in (left, student(p, left)))
    yield (
        f"The lesson's cat covers {float(mask.float().mean()):.0%} of its picture. Of the report's map {before:.0%} "
        f"lies on the cat; of what is positive in yours, {after:.0%}."
    )


@exercise(
    draw=_left,
    arguments=("p", "left"),
    praise="Now high means: the picture needs this window.",
    shows=_sign_found,
    mistakes={
        "as in the report": lambda p, left: left,
        "reversed": lambda p, left: left - p,
        "from 1": lambda p, left: 1 - left,
        "absolute value only": lambda p, left: (p - left).abs(),
        "cut at zero": lambda p, left: (p - left).clamp(min=0),
        "relative": lambda p, left: (p - left) / p,
    },
    hints={
        "as in the report": "That is what the report drew: brightest where hiding changes nothing. What would be left "
        "without the most important window?",
        "reversed": "Zero now means no change, but the sign is reversed: this is negative where the window helps.",
        "from 1": "High now means important. But a window that changes nothing should get 0, and it gets 1 - p: "
        "subtract from the probability of the original picture, not from 1.",
        "absolute value only": "Now a window that helps and one that disturbs look alike: keep the sign.",
        "cut at zero": "You drop the windows that speak against the class: keep them.",
        "relative": "You divide by p. That is reasonable, but return the drop itself, in units of probability.",
    },
)
def mended_sign(p: float, left: Tensor) -> Tensor:
    """R = p - p_left: positive where the picture needs the window."""
    return p - left


def _fills(rng: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Drops (pairs,) of nine fills, and those of redrawing; each mistake finds another fill."""
    count = integer(rng, 28, 40)
    redrawn = 3 * torch.randn(count, generator=rng)
    some = torch.randn(count, generator=rng)
    centered = some - some.mean()
    signs = torch.where(torch.arange(count) % 3 == 0, -1.0, 1.0)

    def except_one(value: float, one: float) -> Tensor:
        return torch.where(torch.arange(count) == integer(rng, 0, count), one, value * signs)

    errors = {
        "the right one": except_one(0.05, 1.0),
        "signed mean": 0.8 * centered - 0.001,
        "lowest mean": 0.5 * centered - 0.8,
        "the largest error": 1.2 * centered + 4.0,
        "spread": 0.03 * centered + 0.4,
        "the worst pair": 0.15 * signs,
        "mean square": except_one(0.11, 0.3),
        "the median": torch.where(torch.arange(count) % 5 < 3, 0.01, 0.9),
    }
    errors = {name: error[torch.randperm(count, generator=rng)] for name, error in errors.items()}
    errors["without the redrawing"] = -0.8 * redrawn
    names = ["black", "white", "gray", "mean", "blur", "noise", "mirrored", "shuffled", "median"]
    order = torch.randperm(len(names), generator=rng).tolist()
    return {name: redrawn + list(errors.values())[k] for name, k in zip(names, order, strict=True)}, redrawn


def _best(filled: dict[str, Tensor], error: Callable[[Tensor], Tensor], largest: bool = False) -> str:
    values = {name: float(error(drop)) for name, drop in filled.items()}
    return (max if largest else min)(values, key=values.__getitem__)


def _fill_found(student: Callable[..., Any]) -> Iterator[Any]:
    drops, truth = _drops_of_fills()
    errors = {fill: float((drop - truth).abs().mean()) for fill, drop in drops.items()}
    name = student({fill: drop.clone() for fill, drop in drops.items()}, truth.clone())
    worst = max(errors, key=errors.__getitem__)
    yield (
        f"Ten scenes, {len(truth)} parts: your function chooses {name}, whose drops are off by {errors[name]:.1f} on "
        f"average. The worst is {worst}, off by {errors[worst]:.1f}. Drawing the scene without the part moves the "
        f"logit by {float(truth.abs().mean()):.1f}, so a fill that is off by more than that is worse than none."
    )


@exercise(
    draw=_fills,
    arguments=("filled", "redrawn"),
    praise="Only a drawn world has this truth: the same picture without the part.",
    shows=_fill_found,
    mistakes={
        "signed mean": lambda f, r: min(f, key=lambda name: abs(float((f[name] - r).mean()))),
        "lowest mean": lambda f, r: _best(f, lambda x: (x - r).mean()),
        "the largest error": lambda f, r: _best(f, lambda x: (x - r).abs().mean(), largest=True),
        "without the redrawing": lambda f, r: _best(f, lambda x: x.abs().mean()),
        "spread": lambda f, r: _best(f, lambda x: (x - r).std()),
        "the worst pair": lambda f, r: _best(f, lambda x: (x - r).abs().max()),
        "the median": lambda f, r: _best(f, lambda x: (x - r).abs().median()),
        "mean square": lambda f, r: _best(f, lambda x: (x - r).square().mean()),
        "the number itself": lambda f, r: min(float((x - r).abs().mean()) for x in f.values()),
    },
    hints={
        "signed mean": "Drops that are too large and too small cancel in your mean, so a fill that is always wrong "
        "looks right: use abs() before mean().",
        "lowest mean": "You keep the sign of the mean: a fill whose drops are too small wins. Use abs() before mean().",
        "the largest error": "That is the fill with the largest error: use min instead of max.",
        "without the redrawing": "That is the fill that changes the score least. A part that matters should change it: "
        "compare with `redrawn`.",
        "spread": "Your fill shifts all drops alike: the spread of its error is small, the error is not. Take the mean "
        "absolute error, not std() or a correlation.",
        "the worst pair": "You judge a fill by its worst pair. On average another one is nearer: use mean().",
        "the median": "You take the median: a fill may be far off for nearly half of the pairs and win. Use mean().",
        "mean square": "You take the mean square, in which a few large errors count most. Take the mean of abs().",
        "the number itself": "That is the smallest error; return the name of its fill.",
    },
)
def honest_fill(filled: dict[str, Tensor], redrawn: Tensor) -> str:
    """The fill with the smallest mean |drop when filled - drop when redrawn|."""
    return _best(filled, lambda drop: (drop - redrawn).abs().mean())


PARTS = ("ears", "eyes", "whiskers", "tail", "legs", "collar", "body")


def _answers(rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Probabilities of a whole picture, and without each of seven parts: some flip it, one leaves it below a half."""
    K = integer(rng, 5, 8)
    c = integer(rng, 1, K)

    def answer(top: int, high: float, second: int, next_high: float) -> Tensor:
        rest = torch.rand(K, generator=rng)
        rest[top] = rest[second] = 0.0
        p = rest / rest.sum() * (1 - high - next_high)
        p[top], p[second] = high, next_high
        return p

    def other() -> int:
        return (c + integer(rng, 1, K)) % K

    shift = 0.02 * float(torch.rand((), generator=rng))
    plans = [
        answer(other(), 0.80 + shift, c, 0.11),
        answer(other(), 0.49 - shift, c, 0.45),
        answer(c, 0.44 + shift, other(), 0.30),
        answer(c, 0.93 + shift, other(), 0.02),
        answer(c, 0.97 + shift, other(), 0.005),
        answer(c, 0.55 + shift, other(), 0.43),
        answer(other(), 0.52, c, 0.46 + shift),
    ]
    names = [PARTS[i] for i in torch.randperm(7, generator=rng)]
    after = dict(zip(names, plans, strict=True))
    return answer(c, 0.95, other(), 0.03), {part: after[part] for part in PARTS}


def _flips_found(student: Callable[..., Any]) -> Iterator[Any]:
    found: dict[str, str] = {}
    for scene, parts, logits in _without_parts():
        before, *after = logits.softmax(dim=1)
        if flips := student(before, dict(zip(parts, after, strict=True))):
            found[scene.name] = ", ".join(flips)
    listed = "; ".join(f"{name}: {flips}" for name, flips in found.items()) or "none"
    yield (
        f"Which single part changes the answer in ten pictures, one of each class? {listed}. In the other "
        f"{len(menagerie.CLASSES) - len(found)} no single part does."
    )


@exercise(
    draw=_answers,
    arguments=("before",),
    shows=_flips_found,
    praise="To flip the answer, another class must win; a drop alone, however large, is not enough.",
    mistakes={
        "below a half": lambda b, a: [part for part, p in a.items() if p[b.argmax()] < 0.5],
        "any drop": lambda b, a: [part for part, p in a.items() if p[b.argmax()] < b.max()],
        "those that do not matter": lambda b, a: [part for part, p in a.items() if p.argmax() == b.argmax()],
        "largest drop only": lambda b, a: [min(a, key=lambda part: float(a[part][b.argmax()]))],
        "the new classes": lambda b, a: [int(p.argmax()) for p in a.values() if p.argmax() != b.argmax()],
        "class 0": lambda b, a: [part for part, p in a.items() if p.argmax() != 0],
        "less confident": lambda b, a: [part for part, p in a.items() if p.max() < 0.9],
    },
    hints={
        "below a half": "You list the parts without which the class is below 50%. With many classes it can win with "
        "less: compare the winners, argmax.",
        "any drop": "You list the parts that lower the probability. Return those without which another class wins.",
        "those that do not matter": "These are the parts without which the answer stays: reverse the comparison.",
        "largest drop only": "That is the part with the largest drop; list every part whose absence flips the answer.",
        "the new classes": "These are the classes that win instead; return the names of the parts.",
        "class 0": "You compare with class 0. The class of the original picture is before.argmax().",
        "less confident": "You list the parts without which the network is less confident. It can be confident of a "
        "wrong class: look at which one wins.",
    },
)
def flipping_parts(before: Tensor, after: dict[str, Tensor]) -> list[str]:
    """The parts without which another class wins."""
    return [part for part, p in after.items() if p.argmax() != before.argmax()]
