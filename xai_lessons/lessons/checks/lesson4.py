"""Checks of lesson 4: the occlusion loop and its batches, the sign, the fill that lies least, the part that flips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_lessons.lessons.checks.windows import Scores, all_but, falls_of, gray, loop, one_channel, too_large
from xai_lessons.lessons.exercise import Mistake, exercise

Box = tuple[int, int, int, int]


def _integer(rng: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def _picture(rng: torch.Generator) -> tuple[Scores, Tensor, int, int, int]:
    """A function, a picture that is wider than high, a class, a patch and a stride; the last windows fit exactly."""
    patch, stride = _integer(rng, 3, 5), 2
    H, W = patch + stride * _integer(rng, 2, 4), patch + stride * _integer(rng, 4, 6)
    image = 0.2 + 0.8 * torch.rand(3, H, W, generator=rng)
    return Scores(rng, (3, H, W)), image, _integer(rng, 1, 4), patch, stride


@exercise(
    draw=_picture,
    says=("ask", "image", "class", "patch", "stride"),
    praise="One number a window: how far the score falls when that window is hidden.",
    mistakes=(
        Mistake(
            "the score that is left",
            lambda ask, x, c, p, s: loop(x, p, s, lambda h: ask(h[None])[0, c]),
            "You note the score that is left when the window is hidden: low where the window matters. Asked for is the "
            "fall, from the whole picture to the hidden one.",
        ),
        Mistake(
            "the sign",
            lambda ask, x, c, p, s: -falls_of(ask, x, c, p, s),
            "The sign is the wrong way round: hidden minus whole is negative where the picture needs the window.",
        ),
        Mistake(
            "never mended",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s, fresh=False),
            "Each window stays hidden while you go on to the next: hide it in a fresh copy, image.clone().",
        ),
        Mistake(
            "one color only",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s, hide=one_channel),
            "You hide only the red channel: the first axis of the picture has three colors, take them all.",
        ),
        Mistake(
            "a pixel too large",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s, hide=too_large),
            "Your windows are one pixel too large: the slice i : i + patch has patch pixels already.",
        ),
        Mistake(
            "gray",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s, hide=gray),
            "You fill with gray, 0.5. Asked for is black: 0.",
        ),
        Mistake(
            "everything but the window",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s, hide=all_but),
            "You hide everything but the window. That is another good question (what is enough?), but not this one.",
        ),
        Mistake(
            "last windows missing",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s)[:-1, :-1],
            "The last row and the last column of windows are missing: range(0, H - patch, stride) ends one too early, "
            "since H - patch itself is a place where a window fits.",
        ),
        Mistake(
            "rows and columns exchanged",
            lambda ask, x, c, p, s: falls_of(ask, x, c, p, s).T,
            "Rows and columns are exchanged: let the outer loop run over the height.",
        ),
        Mistake(
            "another class",
            lambda ask, x, c, p, s: falls_of(ask, x, 0, p, s),
            "You look at class 0, whatever class was asked for.",
        ),
        Mistake(
            "the largest score",
            lambda ask, x, c, p, s: loop(x, p, s, lambda h: ask(x[None]).max() - ask(h[None]).max()),
            "You take the largest score, of whatever class. When the answer changes, that is another class's score.",
        ),
    ),
)
def occlusion_loop(ask: Callable[[Tensor], Tensor], image: Tensor, c: int, patch: int, stride: int) -> Tensor:
    """R_ij = Y^c(x) - Y^c(x with window ij black), (rows, columns)."""
    return falls_of(ask, image, c, patch, stride)


def _boxes(rng: torch.Generator) -> tuple[Scores, Tensor, int, list[Box], int]:
    """A function with memory for a few pictures, and windows that do not fill the last batch."""
    H, W, size = _integer(rng, 8, 12), _integer(rng, 13, 17), _integer(rng, 3, 6)
    count = size * _integer(rng, 2, 5) + _integer(rng, 1, size)
    image = 0.2 + 0.8 * torch.rand(3, H, W, generator=rng)
    boxes = []
    for _ in range(count):
        x, y = _integer(rng, 0, W - 4), _integer(rng, 0, H - 4)
        boxes.append((x, y, x + _integer(rng, 2, 5), y + _integer(rng, 2, 5)))
    batches = -(-count // size)
    return Scores(rng, (3, H, W), most=size, calls=batches + 1), image, _integer(rng, 1, 4), boxes, size


def _hidden(image: Tensor, boxes: list[Box], alike: bool = False, transposed: bool = False) -> Tensor:
    pictures = image.expand(len(boxes), -1, -1, -1).clone()
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        at = (slice(x0, x1), slice(y0, y1)) if transposed else (slice(y0, y1), slice(x0, x1))
        (pictures if alike else pictures[k])[..., at[0], at[1]] = 0
    return pictures


def _batches(ask: Scores, image: Tensor, c: int, pictures: Tensor, size: int) -> Tensor:
    whole = ask(image[None])[0, c]
    return torch.cat([whole - ask(batch)[:, c] for batch in pictures.split(size)])


@exercise(
    draw=_boxes,
    says=("ask", "image", "class", "boxes", "batch size"),
    praise="The same numbers with a fraction of the calls. That is most of what makes the package's occlusion fast.",
    mistakes=(
        Mistake(
            "last batch missing",
            lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b), n)[: len(b) // n * n],
            "The last batch is missing: len(boxes) is not always a multiple of the batch size, and what is over "
            "must be asked too.",
        ),
        Mistake(
            "all windows in every picture",
            lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b, alike=True), n),
            "Every picture has all the windows hidden: expand() shows the same memory many times. Write repeat(), or "
            "expand().clone(), before you hide anything.",
        ),
        Mistake(
            "the sign",
            lambda ask, x, c, b, n: -_batches(ask, x, c, _hidden(x, b), n),
            "The sign is the wrong way round: it is whole minus hidden.",
        ),
        Mistake(
            "x and y exchanged",
            lambda ask, x, c, b, n: _batches(ask, x, c, _hidden(x, b, transposed=True), n),
            "A box is x0, y0, x1, y1, and a picture is indexed [:, y, x]: rows first.",
        ),
        Mistake(
            "all classes",
            lambda ask, x, c, b, n: ask(x[None]) - torch.cat([ask(batch) for batch in _hidden(x, b).split(n)]),
            "You return the falls of all classes; asked for is only class c: [:, c].",
        ),
        Mistake(
            "the score that is left",
            lambda ask, x, c, b, n: torch.cat([ask(batch)[:, c] for batch in _hidden(x, b).split(n)]),
            "You return the scores that are left; take them from the score of the whole picture.",
        ),
    ),
)
def occlusion_batches(
    ask: Callable[[Tensor], Tensor], image: Tensor, c: int, boxes: list[Box], batch_size: int
) -> Tensor:
    """The falls of all windows (len(boxes),), with batch_size pictures in each call."""
    whole = ask(image[None])[0, c]
    pictures = _hidden(image, boxes)
    return torch.cat([whole - ask(batch)[:, c] for batch in pictures.split(batch_size)])


def _left(rng: torch.Generator) -> tuple[float, Tensor]:
    """A probability, and what is left of it when each of some windows is hidden; here and there it rises."""
    p = round(0.6 + 0.3 * float(torch.rand((), generator=rng)), 3)
    return p, p + (1 - p) * 0.9 * torch.rand(4, 6, generator=rng) - p * 0.9 * torch.rand(4, 6, generator=rng).square()


@exercise(
    draw=_left,
    says=("p", "left"),
    praise="Now high means: the picture needs this window.",
    mistakes=(
        Mistake(
            "as in the report",
            lambda p, left: left,
            "That is what the report drew: brightest where hiding changes nothing. What would the most important "
            "window of all leave over?",
        ),
        Mistake(
            "the other way round",
            lambda p, left: left - p,
            "Zero is in the right place now, but the sign is not: this is negative where the picture needs the window.",
        ),
        Mistake(
            "from 1",
            lambda p, left: 1 - left,
            "High now means important. But a window that changes nothing should get 0, and it gets 1 - p: take it from "
            "the probability of the whole picture, not from 1.",
        ),
        Mistake(
            "size only",
            lambda p, left: (p - left).abs(),
            "The size alone makes a window that helps and one that disturbs look alike: keep the sign.",
        ),
        Mistake(
            "cut at zero",
            lambda p, left: (p - left).clamp(min=0),
            "You drop the windows whose hiding makes the network surer. They speak against the class: keep them.",
        ),
        Mistake(
            "relative",
            lambda p, left: (p - left) / p,
            "You divide by p. That is a fair choice, but asked for is the fall itself, in units of probability.",
        ),
    ),
)
def mended_sign(p: float, left: Tensor) -> Tensor:
    """R = p - p_left: positive where the picture needs the window."""
    return p - left


def _fills(rng: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Falls (rows, columns) of six fills, and which windows touch the object; each reading points to another fill."""
    on = torch.zeros(6, 7, dtype=torch.bool)
    top, left = _integer(rng, 1, 3), _integer(rng, 1, 3)
    on[top : top + 3, left : left + 3] = True
    names = ["black", "white", "gray", "mean", "blur", "noise"]
    order = [names[i] for i in torch.randperm(6, generator=rng)]
    plans = [(0.10, 0.0, 2.0), (0.8, 0.0, 1.5), (0.5, -0.8, 3.0), (0.4, 0.4, 0.2), (1.2, 0.9, 6.0), (0.03, 0.4, 20.0)]
    falls = {}
    for name, (spread, shift, height) in zip(order, plans, strict=True):
        noise = torch.randn(6, 7, generator=rng)
        off = noise - noise[~on].mean() + 0.03 * torch.rand((), generator=rng)
        falls[name] = torch.where(on, height * (1 + 0.1 * noise.abs()), spread * off + shift)
    names = [names[i] for i in torch.randperm(6, generator=rng)]
    second = order[1]
    falls[second] = torch.where(on, falls[second], falls[second] - falls[second][~on].mean() - 0.001)
    return {name: falls[name] for name in names}, on


def _best(falls: dict[str, Tensor], lie: Callable[[Tensor], Tensor], largest: bool = False) -> str:
    values = {name: float(lie(fall)) for name, fall in falls.items()}
    return (max if largest else min)(values, key=values.__getitem__)


@exercise(
    draw=_fills,
    says=("falls", "on the object"),
    praise="A fill is honest if hiding what does not matter changes nothing.",
    mistakes=(
        Mistake(
            "signed mean",
            lambda f, on: min(f, key=lambda name: abs(float(f[name][~on].mean()))),
            "Falls and rises cancel in your mean, and a fill that disturbs a lot in both directions looks honest: "
            "take the sizes first, abs() before mean().",
        ),
        Mistake(
            "lowest mean",
            lambda f, on: _best(f, lambda x: x[~on].mean()),
            "You take the lowest mean with its sign: a fill that makes the score rise wins. A rise is a lie too.",
        ),
        Mistake(
            "the one that lies most",
            lambda f, on: _best(f, lambda x: x[~on].abs().mean(), largest=True),
            "That is the fill that lies most: min instead of max.",
        ),
        Mistake(
            "on the object",
            lambda f, on: _best(f, lambda x: x[on].abs().mean()),
            "You look at the windows on the object. There the score should fall: look where nothing matters, at ~on.",
        ),
        Mistake(
            "spread",
            lambda f, on: _best(f, lambda x: x[~on].std()),
            "Your fill moves all windows alike: little spread, and little beside the falls on the object. But each of "
            "those falls is a lie: take their mean size itself, neither std() nor a ratio.",
        ),
        Mistake(
            "the number itself",
            lambda f, on: min(float(x[~on].abs().mean()) for x in f.values()),
            "That is the smallest lie; asked for is the name of the fill that tells it.",
        ),
    ),
)
def honest_fill(falls: dict[str, Tensor], on: Tensor) -> str:
    """The fill with the smallest mean |fall| over the windows that do not touch the object."""
    return _best(falls, lambda fall: fall[~on].abs().mean())


PARTS = ("ears", "eyes", "whiskers", "tail", "legs", "collar", "body")


def _answers(rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Probabilities of a whole picture, and without each of seven parts: some flip it, one leaves it below a half."""
    K = _integer(rng, 5, 8)
    c = _integer(rng, 1, K)

    def answer(top: int, high: float, second: int, next_high: float) -> Tensor:
        rest = torch.rand(K, generator=rng)
        rest[top] = rest[second] = 0.0
        p = rest / rest.sum() * (1 - high - next_high)
        p[top], p[second] = high, next_high
        return p

    def other() -> int:
        return (c + _integer(rng, 1, K)) % K

    share = 0.02 * float(torch.rand((), generator=rng))
    plans = [
        answer(other(), 0.80 + share, c, 0.11),
        answer(other(), 0.49 - share, c, 0.45),
        answer(c, 0.44 + share, other(), 0.30),
        answer(c, 0.93 + share, other(), 0.02),
        answer(c, 0.97 + share, other(), 0.005),
        answer(c, 0.55 + share, other(), 0.43),
        answer(other(), 0.52, c, 0.46 + share),
    ]
    names = [PARTS[i] for i in torch.randperm(7, generator=rng)]
    after = dict(zip(names, plans, strict=True))
    return answer(c, 0.95, other(), 0.03), {part: after[part] for part in PARTS}


@exercise(
    draw=_answers,
    says=("before",),
    praise="To flip the answer, another class must win; a fall alone, however deep, is not enough.",
    mistakes=(
        Mistake(
            "below a half",
            lambda b, a: [part for part, p in a.items() if p[b.argmax()] < 0.5],
            "You list the parts without which the class is below 50 %. With many classes it can win with less: compare "
            "the winners, argmax.",
        ),
        Mistake(
            "any fall",
            lambda b, a: [part for part, p in a.items() if p[b.argmax()] < b.max()],
            "You list the parts without which the class becomes less likely. Asked for are those without which another "
            "class wins.",
        ),
        Mistake(
            "those that do not matter",
            lambda b, a: [part for part, p in a.items() if p.argmax() == b.argmax()],
            "These are the parts without which the answer stays: turn the comparison round.",
        ),
        Mistake(
            "deepest fall only",
            lambda b, a: [min(a, key=lambda part: float(a[part][b.argmax()]))],
            "That is only the part with the deepest fall; list every part whose absence flips the answer.",
        ),
        Mistake(
            "the new classes",
            lambda b, a: [int(p.argmax()) for p in a.values() if p.argmax() != b.argmax()],
            "These are the classes that win instead; asked for are the names of the parts.",
        ),
        Mistake(
            "class 0",
            lambda b, a: [part for part, p in a.items() if p.argmax() != 0],
            "You compare with class 0. The class of the whole picture is before.argmax().",
        ),
        Mistake(
            "less sure",
            lambda b, a: [part for part, p in a.items() if p.max() < 0.9],
            "You list the parts without which the network is less sure. It can be quite sure of a wrong class: look at "
            "which one wins.",
        ),
    ),
)
def flipping_parts(before: Tensor, after: dict[str, Tensor]) -> list[str]:
    """The parts without which another class wins."""
    return [part for part, p in after.items() if p.argmax() != before.argmax()]
