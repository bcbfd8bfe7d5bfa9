"""Checks of lesson 7: the pointing game, a map that fools it, whom a control beats, what an empty map wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from xai_lessons import evaluation, models, results
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import Check, Verdict, alternates, exercise, integer
from xai_lessons.methods import cam, saliency

Scores = dict[str, float]


class _Names(frozenset[str]):
    """Names of a mistaken answer, equal to a student's list, tuple or set of them in any order."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | tuple | set | frozenset) and len(other) == len(self) and set(other) == set(self)

    __hash__ = frozenset.__hash__


def _maps(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Heatmaps (N, S, S), some values below zero, and masks; every common mistake fails on one of them.

    The misses are near: one peak is a pixel beside the object in the same row, one a pixel below it, one a pixel
    diagonally off its corner; elsewhere the center of mass is on the object and the peak is not.
    """
    N, S = 12, integer(rng, 11, 15)
    M = torch.rand(N, S, S, generator=rng) - 0.3
    mask = torch.zeros(N, S, S, dtype=torch.bool)
    for n in range(N):
        top, left = integer(rng, 0, 3), integer(rng, S // 2, S - 3)  # right of the diagonal
        mask[n, top : top + 3, left : left + 4] = True
        i, j = top + integer(rng, 0, 3), left + integer(rng, 0, 4)
        away = S - 1 - integer(rng, 0, 3)
        if n >= 8:  # near misses: left of the object, below it, off its corner, far away in the same row
            near = ((i, left - 1), (top + 3, j), (top + 3, left - 1), (i, 0))[n - 8]
            M[n, near[0], near[1]] = 2.0
        elif n % 4 == 0:  # a hit; much of the map is elsewhere
            M[n, i, j] = 2.0
        elif n % 4 == 1:  # a miss, though most of the map is inside
            M[n] *= 0.05
            M[n][mask[n]] = 1.0
            M[n, away, 0] = 1.5
        elif n % 4 == 2:  # a hit; the largest absolute value is below zero, and outside
            M[n, i, j], M[n, away, 1] = 2.0, -3.0
        else:  # a miss
            M[n, away, 2] = 2.0
    return M, mask


def _peak(M: Tensor) -> tuple[Tensor, Tensor]:
    flat = M.flatten(1).argmax(dim=1)
    return flat // M.shape[2], flat % M.shape[2]


def _wider(masks: Tensor) -> Tensor:
    """The masks with one more pixel on each side."""
    return torch.nn.functional.max_pool2d(masks[:, None].float(), 3, stride=1, padding=1)[:, 0]


def _center(M: Tensor) -> tuple[Tensor, Tensor]:
    heat = M.clamp(min=0)
    rows, columns = torch.arange(M.shape[1]), torch.arange(M.shape[2])
    total = heat.sum((1, 2))
    i, j = (heat.sum(2) * rows).sum(1) / total, (heat.sum(1) * columns).sum(1) / total
    return i.round().long(), j.round().long()


@lru_cache(maxsize=1)
def _scenes() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The lesson's scenes: images, labels and masks."""
    images, labels, masks = menagerie.sample(24, seed=0)
    return images, labels, {"object": masks["object"]}


def _pointing_shows(student: Callable[..., Any]) -> Iterator[str]:
    """The student's pointing game on the lesson's scenes."""
    x, y, masks = _scenes()
    model = models.load("menagerie-resnet")
    methods = {"Grad-CAM": cam.grad_cam, "the gradient": saliency.gradient}
    methods |= {name: evaluation.CONTROLS[name] for name in ("center blob", "edges", "random")}
    scores = {}
    for name, method in methods.items():
        hits = student(evaluation.heat(method(model, x, y)).cpu(), masks["object"])
        scores[name] = float(torch.as_tensor(hits).float().mean())
    listed = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
    yield f"Your pointing game on {len(x)} scenes: {listed}. The last three ignore the network."


@exercise(
    draw=_maps,
    arguments=("heatmaps", "masks"),
    shows=_pointing_shows,
    praise="Only the peak counts: that makes it simple, and blind to everything else in the map.",
    mistakes={
        "only the row": lambda M, m: m[torch.arange(len(M)), _peak(M)[0]].any(1).float(),
        "only the column": lambda M, m: m[torch.arange(len(M)), :, _peak(M)[1]].any(1).float(),
        "a pixel beside counts": lambda M, m: (
            _wider(m).flatten(1).gather(1, M.flatten(1).argmax(1, keepdim=True))[:, 0]
        ),
        "center of mass": lambda M, m: m[(torch.arange(len(M)), *_center(M))].float(),
        "the mean": lambda M, m: m.flatten(1).gather(1, M.flatten(1).argmax(1, keepdim=True)).float().mean(),
        "absolute value": lambda M, m: m.flatten(1).gather(1, M.abs().flatten(1).argmax(1, keepdim=True))[:, 0].float(),
        "rows and columns swapped": lambda M, m: m[torch.arange(len(M)), _peak(M)[1], _peak(M)[0]].float(),
        "one peak for all": lambda M, m: m.flatten(1)[:, M.mean(0).argmax()].float(),
        "more inside than outside": lambda M, m: (
            ((M.clamp(min=0) * m).sum((1, 2))) > ((M.clamp(min=0) * ~m).sum((1, 2)))
        ).float(),
        "fraction inside": lambda M, m: (M.clamp(min=0) * m).sum((1, 2)) / M.clamp(min=0).sum((1, 2)),
        "higher mean inside": lambda M, m: (
            (M * m).sum((1, 2)) / m.sum((1, 2)) > (M * ~m).sum((1, 2)) / (~m).sum((1, 2))
        ).float(),
        "hits and misses swapped": lambda M, m: (
            1 - m.flatten(1).gather(1, M.flatten(1).argmax(1, keepdim=True))[:, 0].float()
        ),
        "the position": lambda M, m: M.flatten(1).argmax(1),
    },
    hints={
        "only the row": "You check only the row of the peak. Its column has to be on the object as well.",
        "only the column": "You check only the column of the peak. Its row has to be on the object as well.",
        "a pixel beside counts": "A peak a pixel beside the object is a miss here: use the mask as it is.",
        "center of mass": "You look at the center of mass. It can lie where the map is low: the pointing game looks at "
        "the peak.",
        "the mean": "That is the mean over the pictures. Return one value per picture: 1 for a hit, 0 for a miss.",
        "absolute value": "You take the position of the largest absolute value. In a heatmap a negative value speaks "
        "against the class: its peak is the highest value.",
        "rows and columns swapped": "Rows and columns are swapped: i = index // width, j = index % width, mask[i, j].",
        "one peak for all": "You look for one peak in all maps together. Each picture has its own: argmax per picture.",
        "more inside than outside": "You compare how much of the map is inside with how much is outside. That is the "
        "energy; the pointing game looks at the peak only.",
        "fraction inside": "That is the fraction inside, between 0 and 1. The pointing game knows only hit or miss.",
        "higher mean inside": "You compare the means inside and outside. The pointing game looks at the peak only.",
        "hits and misses swapped": "Hits and misses are swapped: 1 where the peak is on the object.",
        "the position": "These are the positions of the peaks. What does the mask say there?",
    },
)
def pointing_game(heatmaps: Tensor, masks: Tensor) -> Tensor:
    """1 where the mask is True at the map's peak, else 0."""
    peak = heatmaps.flatten(1).argmax(dim=1, keepdim=True)
    return masks.flatten(1).gather(1, peak)[:, 0].float()


BAR = 0.6  # the fraction of hits that a map without a network must reach


@lru_cache(maxsize=1)
def _pool() -> tuple[Tensor, Tensor]:
    """The pictures of the challenge, and the masks of their objects."""
    images, _, masks = menagerie.sample(96, seed=7)
    return images, masks["object"]


def _pictures(rng: torch.Generator) -> tuple[Tensor]:
    """The pictures in random order."""
    return (_pool()[0][torch.randperm(96, generator=rng)],)


def _hit_rate(maps: Any, x: Tensor) -> float | None:
    """The pointing game of maps for these pictures; None if they are no maps (N, H, W) of finite numbers."""
    maps = torch.as_tensor(maps).detach().cpu() if isinstance(maps, Tensor) or hasattr(maps, "__array__") else None
    if maps is None or maps.shape != x[:, 0].shape or not bool(torch.isfinite(maps.float()).all()):
        return None
    images, masks = _pool()
    place = {one.numpy().tobytes(): n for n, one in enumerate(images)}
    order = [place[one.numpy().tobytes()] for one in x]
    return float(evaluation.pointing_game(maps.float(), {"object": masks[order]}).mean())


def _falls_short(maps: Any, arguments: tuple[Any, ...]) -> str:
    """Why maps do not win."""
    rate, (N, _, H, W) = _hit_rate(maps, arguments[0]), arguments[0].shape
    if rate is None:
        got = f"a tensor of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else f"a {type(maps).__name__}"
        return f"expected one map of finite numbers per picture, a tensor of shape {(N, H, W)}, got {got}."
    return f"Your map hits {rate:.0%} of {N} pictures, and {BAR:.0%} are needed. Where do these objects stand?"


def _blob(x: Tensor) -> Tensor:
    return evaluation.CONTROLS["center blob"](None, x)


def _fake_shows(student: Callable[..., Any]) -> Iterator[str]:
    """The student's map judged by other scores, on the lesson's scenes."""
    x, y, masks = _scenes()
    model = models.load("menagerie-resnet")
    maps = {"your map": torch.as_tensor(student(x.clone())).float(), "Grad-CAM": cam.grad_cam(model, x, y).cpu()}
    for title, score in {
        "pointing game": lambda M: evaluation.pointing_game(M, masks),
        "fraction inside": lambda M: evaluation.energy_inside(M, masks),
        "deletion, filled with a blur (low is good)": lambda M: (
            evaluation.deletion(model, x, M, y, steps=8, fill="blur").area
        ),
    }.items():
        each = {name: score(M).cpu().double() for name, M in maps.items()}
        listed = ", ".join(f"{name} {v.mean():.2f} ± {v.std() / len(v) ** 0.5:.2f}" for name, v in each.items())
        yield f"{title}: {listed} ({len(x)} scenes)."


class _WithoutNetwork(Check):
    """A check that accepts no answer which runs a network."""

    def judge(self, student: Any, seed: int | None = None) -> Verdict:
        """As `Check.judge`; a network that runs is a mistake, whatever it leads to."""
        ran: list[str] = []
        handle = register_module_forward_pre_hook(lambda module, _: ran.append(type(module).__name__))
        try:
            verdict = super().judge(student, seed)
        finally:
            handle.remove()
        if not ran:
            return verdict
        hint = f"Your function runs a network ({ran[0]}). The challenge is to win without one: use the pictures alone."
        return Verdict("mistake", hint, "a network runs")


@lambda reference: _WithoutNetwork(
    reference,
    _pictures,
    arguments=("images",),
    accept=lambda given, _, arguments: (_hit_rate(given, arguments[0]) or 0.0) >= BAR,
    reason=_falls_short,
    praise=f"It hits at least {BAR:.0%} of 96 pictures, and no network was run. The pointing game alone proves little.",
    shows=_fake_shows,
    mistakes={
        "one map for all": lambda x: _blob(x)[0],
        "three channels": lambda x: x,
        "the brightness": lambda x: x.mean(dim=1),
        "an empty map": lambda x: torch.zeros_like(x[:, 0]),
        "upside down": lambda x: 1 - _blob(x),
        "one number per picture": lambda x: x.mean(dim=(1, 2, 3)),
    },
    hints={
        "one map for all": "That is one map of shape (H, W). Return one per picture: `.expand(len(images), -1, -1)`.",
        "three channels": "These are the pictures themselves, with three channels. A map has one value per pixel: "
        "shape (N, H, W).",
        "the brightness": "You take the brightness. The brightest pixel is often in the sky. Where are the objects?",
        "an empty map": "An empty map has no peak: each pixel counts the same, and it hits as often as a guess.",
        "upside down": "Its peak is in a corner. Turn it around.",
        "one number per picture": "That is one number per picture. A map has one value per pixel: shape (N, H, W).",
    },
)
def fake_map(images: Tensor) -> Tensor:
    """Maps (N, H, W) that win the pointing game without a network: a blob in the center."""
    return _blob(images)


def _leaderboard() -> tuple[list[dict[str, Any]], str]:
    """The rows of the stored leaderboard, and on what they were measured."""
    settings, networks = results.load("leaderboard")
    network, rows = next(iter(networks.items()))
    return rows, f"{settings['images']} pictures ({network}, stored)"


def _beaten_shows(student: Callable[..., Any]) -> Iterator[str]:
    """Whom the controls beat on the leaderboard, by the student's function."""
    rows, measured_on = _leaderboard()
    for metric in ("pointing_game", "energy_inside", "deletion"):
        own, controls = ({r["method"]: r[metric] for r in rows if r["control"] == c} for c in (False, True))
        found = ", ".join(sorted(student(own, controls, evaluation.METRICS[metric].high))) or "nobody"
        yield f"{evaluation.METRICS[metric].label} on {measured_on}: the best control equals or beats {found}."


def _empty_shows(student: Callable[..., Any]) -> Iterator[str]:
    """What an empty map wins on the leaderboard, by the student's function."""
    metrics, (rows, measured_on) = list(evaluation.METRICS), _leaderboard()
    table = {metric: {row["method"]: row[metric] for row in rows} for metric in metrics}
    won = student(table, {metric: evaluation.METRICS[metric].high for metric in metrics})
    listed = ", ".join(evaluation.METRICS[metric].label for metric in sorted(won)) or "nothing"
    yield f"Of {len(metrics)} metrics on {measured_on}, against {len(rows) - 1} others, the empty map wins {listed}."


def _scores(rng: torch.Generator) -> tuple[Scores, Scores, bool]:
    """Scores of methods and of controls, and whether high is good; some methods tie with the best control."""
    values = torch.rand(4, generator=rng).mul(0.3).add(0.3)
    high = alternates(rng)
    sign = 1 if high else -1
    named = ("random", "center blob", "edges", "empty")
    order = torch.randperm(4, generator=rng).tolist()
    controls = {named[k]: round(float(values[k]), 3) for k in order}
    best, worst = max(controls.values(), key=lambda v: sign * v), min(controls.values(), key=lambda v: sign * v)
    methods = {
        "Grad-CAM": best + sign * 0.2,
        "gradient": (best + worst) / 2,
        "guided backprop": best,
        "occlusion": best + sign * 0.1,
        "LRP": worst - sign * 0.1,
        "SmoothGrad": worst + sign * 0.001,
    }
    shuffled = torch.randperm(len(methods), generator=rng).tolist()
    names = list(methods)
    return {names[k]: round(methods[names[k]], 4) for k in shuffled}, controls, high


def _beaten(methods: Scores, bar: float, high: bool, ties: bool = True) -> _Names:
    sign = 1 if high else -1
    return _Names(m for m, v in methods.items() if sign * v < sign * bar or (ties and v == bar))


def _bar(controls: Scores, high: bool) -> float:
    return (max if high else min)(controls.values())


@exercise(
    draw=_scores,
    arguments=("methods", "controls", "high_is_good"),
    shows=_beaten_shows,
    accept=lambda given, expected, _: _Names(expected) == given,
    praise="A method that does not beat baselines that ignore the network has not shown that it explains the network.",
    mistakes={
        "high always good": lambda m, c, high: _beaten(m, max(c.values()), True),
        "low always good": lambda m, c, high: _beaten(m, min(c.values()), False),
        "the worst control": lambda m, c, high: _beaten(m, _bar(c, not high), high),
        "the mean control": lambda m, c, high: _beaten(m, sum(c.values()) / len(c), high),
        "ties left out": lambda m, c, high: _beaten(m, _bar(c, high), high, ties=False),
        "those that win": lambda m, c, high: _Names(set(m) - _beaten(m, _bar(c, high), high)),
        "the control": lambda m, c, high: (max if high else min)(c, key=lambda name: c[name]),
        "how many": lambda m, c, high: len(_beaten(m, _bar(c, high), high)),
    },
    hints={
        "high always good": "You treat every metric as if high were good. For deletion or max-sensitivity low is good: "
        "use high_is_good for the best control, and for the comparison.",
        "low always good": "You treat every metric as if low were good: what does high_is_good say?",
        "the worst control": "You compare with the worst control. The bar is the best of them: a method must beat all.",
        "the mean control": "You compare with the mean of the controls. A method must beat the best of them.",
        "ties left out": "A method that is exactly as good as a control is missing. Being as good as a baseline that "
        "ignores the network proves nothing: >= or <=.",
        "those that win": "These are the methods that beat every control. Return the others.",
        "the control": "That is the best control, and it is right. Return the methods that it equals or beats.",
        "how many": "That is how many there are; return their names.",
    },
)
def beaten(methods: Scores, controls: Scores, high_is_good: bool) -> list[str]:
    """The names of the methods that the best control equals or beats."""
    return sorted(_beaten(methods, _bar(controls, high_is_good), high_is_good))


def _table(rng: torch.Generator) -> tuple[dict[str, Scores], dict[str, bool]]:
    """Metric -> scores of methods, "empty" among them, and metric -> whether high is good."""
    names = ["pointing game", "fraction", "insertion", "deletion", "sensitivity"]
    names += ["infidelity", "randomization", "time", "cost", "calm"]
    methods = ("Grad-CAM", "gradient", "occlusion", "LRP")
    directions = torch.arange(10) % 2 == integer(rng, 0, 2)
    place = torch.randperm(5, generator=rng).repeat_interleave(2)  # of each kind one where high is good, one where low
    table = {}
    for k, name in enumerate(names):
        values = (torch.rand(len(methods), generator=rng) * 0.5 + 0.25).tolist()
        row = dict(zip(methods, values, strict=True))
        middle = (sorted(values)[1] + sorted(values)[2]) / 2
        row["empty"] = (0.9, 0.1, max(values), min(values), middle)[int(place[k])]
        shuffled = torch.randperm(5, generator=rng).tolist()
        table[name] = {list(row)[j]: row[list(row)[j]] for j in shuffled}
    return table, {name: bool(directions[k]) for k, name in enumerate(names)}


def _won(table: dict[str, Scores], high: dict[str, bool], ties: bool = True) -> _Names:
    found = []
    for metric, row in table.items():
        best = (max if high[metric] else min)(row.values())
        if row["empty"] == best and (ties or sum(v == best for v in row.values()) == 1):
            found.append(metric)
    return _Names(found)


def _all(table: dict[str, Scores], high: bool) -> _Names:
    return _won(table, dict.fromkeys(table, high))


@exercise(
    draw=_table,
    arguments=(),
    shows=_empty_shows,
    accept=lambda given, expected, _: _Names(expected) == given,
    praise="Now apply it to the leaderboard above: any metric that it names can be won without explaining anything.",
    mistakes={
        "high always good": lambda t, high: _all(t, True),
        "low always good": lambda t, high: _all(t, False),
        "directions swapped": lambda t, high: _won(t, {m: not h for m, h in high.items()}),
        "ties left out": lambda t, high: _won(t, high, ties=False),
        "the winners": lambda t, high: [
            (max if high[m] else min)(row, key=lambda name: row[name]) for m, row in t.items()
        ],
        "how many": lambda t, high: len(_won(t, high)),
        "the others": lambda t, high: _Names(set(t) - _won(t, high)),
        "no score at all": lambda t, high: _Names(m for m, row in t.items() if row["empty"] == 0),
    },
    hints={
        "high always good": "You look for the highest score everywhere. Where high_is_good is False, the lowest wins.",
        "low always good": "You look for the lowest score everywhere. Where high_is_good is True, the highest wins.",
        "directions swapped": "You found where the empty map comes last. Use max where high is good, min where low is.",
        "ties left out": "You miss a metric in which the empty map ties for first place. A tie counts: no method did "
        "better than the empty map.",
        "the winners": "These are the winners, one per metric. Return the metrics that the empty map wins.",
        "how many": "That is how many there are; return the names of the metrics.",
        "the others": "These are the metrics in which something beats the empty map. Return the others.",
        "no score at all": "You look for a score of zero. An empty map may get more: compare it with the others.",
    },
)
def won_by_empty(table: dict[str, Scores], high_is_good: dict[str, bool]) -> list[str]:
    """The metrics in which nothing scores better than "empty"."""
    return sorted(_won(table, high_is_good))
