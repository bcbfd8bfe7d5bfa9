"""Checks of lesson 7: the pointing game, which methods a control beats, and the metrics that an empty map wins."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_lessons.lessons.exercise import alternates, exercise, integer

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


@exercise(
    draw=_maps,
    arguments=("heatmaps", "masks"),
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
        "energy inside": lambda M, m: (M.clamp(min=0) * m).sum((1, 2)) / M.clamp(min=0).sum((1, 2)),
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
        "energy inside": "That is energy_inside, a fraction between 0 and 1. The pointing game knows only hit or miss.",
        "higher mean inside": "You compare the means inside and outside. The pointing game looks at the peak only.",
        "hits and misses swapped": "Hits and misses are swapped: 1 where the peak is on the object.",
        "the position": "These are the positions of the peaks. What does the mask say there?",
    },
)
def pointing_game(heatmaps: Tensor, masks: Tensor) -> Tensor:
    """1 where the mask is True at the map's peak, else 0."""
    peak = heatmaps.flatten(1).argmax(dim=1, keepdim=True)
    return masks.flatten(1).gather(1, peak)[:, 0].float()


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
    names = ["pointing game", "energy", "insertion", "deletion", "sensitivity"]
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
