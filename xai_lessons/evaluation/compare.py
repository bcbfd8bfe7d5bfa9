"""Judge explanations: against the truth, against the network's own behavior, and against controls that know nothing.

`pointing_game` and `energy_inside` ask whether a map lies on the object; `insertion`, `deletion` and `infidelity`
whether it tells how the network behaves; `max_sensitivity` whether it holds still when nothing much changes;
`randomize_layers` whether it depends on the network at all. `compare` asks all of it of many methods at once, and
always of the controls too.
"""

from __future__ import annotations

import copy
import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_lessons.core import inputs, passes
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.evaluation.faithfulness import Curve, deletion, infidelity, insertion, max_sensitivity
from xai_lessons.evaluation.localization import CONTROLS, Explain, energy_inside, heat, pointing_game

__all__ = [
    "CONTROLS",
    "METRICS",
    "Curve",
    "Metric",
    "compare",
    "deletion",
    "each_row",
    "energy_inside",
    "heat",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "pointing_game",
    "randomize_layers",
    "rank_correlation",
    "table",
    "weight_layers",
]


def weight_layers(model: nn.Module) -> list[str]:
    """The names of the layers that hold weights (convolutions, linear layers), from the first to the last."""
    return [name for name, m in model.named_modules() if any(p.ndim > 1 for p in m.parameters(recurse=False))]


def randomize_layers(model: nn.Module, n: int | None = None, *, share: float | None = None, seed: int = 0) -> nn.Module:
    """A copy of the network that has forgotten its last n layers: does an explanation notice?

    Each forgotten layer, with the normalization that follows it, begins anew: W ~ N(0, 2 / fan_in), biases 0.

    Args:
        model: the network; it stays as it is.
        n: how many layers of `weight_layers`, counted from the top; all of them if neither n nor share is given.
        share: or which share of them, in [0, 1].
        seed: the same seed gives the same top layers for every n, so that a slider takes one more layer at a time.

    Returns:
        A new network.

    Raises:
        ValueError: if there are not so many layers, or both n and share are given.
        TypeError: if it is not a network.

    Source:
        Adebayo et al.: Sanity Checks for Saliency Maps, 2018, arXiv:1810.03292 (cascading randomization); He et al.,
        2015, arXiv:1502.01852 (the variance, which keeps signals alive through the forgotten layers).
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"only a network (nn.Module) has layers to randomize, got {type(model).__name__}")
    layers = weight_layers(model)
    if n is not None and share is not None:
        raise ValueError("give n or share, not both")
    inputs.at_least("share", 1.0 if share is None else share, 0, 1)
    n = round((1.0 if share is None else share) * len(layers)) if n is None else n
    inputs.at_least("n", n, 0, len(layers))
    random, forgotten = inputs.generator(seed), copy.deepcopy(model)
    modules = list(forgotten.named_modules())
    first = len(modules) if n == 0 else [name for name, _ in modules].index(layers[-n])
    with torch.inference_mode(False), torch.no_grad():
        for _, module in reversed(modules[first:]):
            _forget(module, random)
    return forgotten


def _forget(module: nn.Module, random: torch.Generator) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()  # mean 0, variance 1
    for name, p in module.named_parameters(recurse=False):
        if p.ndim > 1:
            p.copy_(torch.randn(p.shape, generator=random, dtype=torch.float64) * math.sqrt(2 / p[0].numel()))
        else:
            p.fill_(0.0 if "bias" in name else 1.0)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of two maps of each picture: do they order the pixels alike?

        ρ = cov(r_a, r_b) / (σ_{r_a} σ_{r_b}),   r the ranks, equal values sharing their mean rank

    Args:
        a: (N, ...), with the sign taken as it is: pass `heat` of a map to compare where it looks.
        b: the same shape.

    Returns:
        (N,) in [-1, 1]; 0 where one of the maps is constant and so orders nothing.

    Raises:
        ValueError: if the shapes differ.
    """
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"two maps (N, ...) of one shape are compared, got {tuple(a.shape)} and {tuple(b.shape)}")

    def ranks(row: Tensor) -> Tensor:
        _, place, count = torch.unique(row, return_inverse=True, return_counts=True)
        last = count.cumsum(0).double()
        r = (last - (count - 1) / 2)[place]
        return r - r.mean()

    result = a.new_zeros(len(a))
    for i, (u, v) in enumerate(zip(a.flatten(1), b.flatten(1), strict=True)):
        r_a, r_b = ranks(u), ranks(v)
        length = r_a.norm() * r_b.norm()
        result[i] = r_a @ r_b / length if length > 0 else 0.0
    return result


class Metric(NamedTuple):
    """A column of `compare`: whether a high or a low value is good, and what it asks."""

    high: bool
    help: str


METRICS: dict[str, Metric] = {
    "pointing_game": Metric(True, "share of the pictures whose peak is on the object"),
    "energy_inside": Metric(True, "share of the map that is on the object"),
    "insertion": Metric(True, "area under the probability while the brightest pixels come"),
    "deletion": Metric(False, "area under the probability while the brightest pixels go"),
    "max_sensitivity": Metric(False, "largest relative change of the map under a change nobody sees"),
    "infidelity": Metric(False, "squared error, at the best scale, of the foretold effect of black squares, in logits"),
    "randomization": Metric(False, "rank correlation with the map of a network that has forgotten everything"),
}


def compare(
    methods: Mapping[str, Explain] | Sequence[str],
    networks: Mapping[str, Any] | Sequence[str],
    scenes: Any,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    radius: float = 0.02,
    samples: int = 10,
    steps: int = 32,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> list[dict[str, Any]]:
    """Methods x networks x metrics on scenes whose truth is known; the controls always take part.

    Args:
        methods: names of methods of this package, or names with callables ``(model, images, targets)``.
        networks: names for `models.load`, or names with networks.
        scenes: a list of `menagerie` scenes, or what `menagerie.sample` returns: images (N, 3, H, W), labels, masks.
        metrics: names of `METRICS`.
        radius: of max-sensitivity, in pixel units.
        samples: of max-sensitivity.
        steps: of insertion and deletion.
        seed: of every random number.
        batch_size: passes at once.
        progress: True, or a callback (done, total); it is called within a metric too, so that it can cancel.

    Returns:
        Rows: "network", "method", "control" (whether it is one), "pictures", the metrics' means (NaN where it does not
        apply), "seconds" a picture, and "note": why a method refused the network, else "".

    Raises:
        ValueError: if a method, network or metric is not known, or there are no scenes.
    """
    options: dict[str, Any] = {"radius": radius, "samples": samples, "steps": steps, "seed": seed}
    return list(each_row(methods, networks, scenes, metrics, batch_size=batch_size, progress=progress, **options))


def each_row(
    methods: Mapping[str, Explain] | Sequence[str],
    networks: Mapping[str, Any] | Sequence[str],
    scenes: Any,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    radius: float = 0.02,
    samples: int = 10,
    steps: int = 32,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Iterator[dict[str, Any]]:
    """The rows of `compare`, which has the same arguments, each as soon as it is ready."""
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"there is no metric {unknown[0]!r}: choose of {', '.join(METRICS)}")
    explains = {**_methods(methods), **CONTROLS}
    nets = _networks(networks)
    images, labels, masks = _scenes(scenes)
    with Meter(progress, len(nets) * len(explains) * (len(metrics) + 1)) as meter:
        for network, model in nets.items():
            forgotten = randomize_layers(model, seed=seed) if isinstance(model, nn.Module) else None
            for method, explain in explains.items():
                row = {"network": network, "method": method, "control": method in CONTROLS, "pictures": len(images)}
                row |= dict.fromkeys([*metrics, "seconds"], math.nan) | {"note": ""}
                end = meter.done + len(metrics) + 1
                try:
                    maps, row["seconds"] = _timed(explain, model, images, labels, batch_size, meter)
                    meter.add(1)
                    for metric in metrics:
                        case = _Case(explain, model, forgotten, images, labels, masks, maps, radius, samples, steps)
                        options = {"seed": seed, "batch_size": batch_size, "progress": lambda *_: meter.add(0)}
                        row[metric] = float(_QUESTIONS[metric](case, options).double().mean())
                        meter.add(1)
                except ValueError as refusal:
                    row["note"] = str(refusal)
                    meter.add(end - meter.done)
                yield row


class _Case(NamedTuple):
    """One method on one network, and all that its metrics need."""

    explain: Explain
    model: Any
    forgotten: nn.Module | None
    images: Tensor
    labels: Tensor
    masks: Any
    maps: Tensor
    radius: float
    samples: int
    steps: int


def _randomization(a: _Case, options: dict[str, Any]) -> Tensor:
    if a.forgotten is None:
        return torch.full((len(a.images),), math.nan)
    other, _ = _timed(a.explain, a.forgotten, a.images, a.labels, options["batch_size"], None)
    return rank_correlation(heat(a.maps), heat(other))


_QUESTIONS: dict[str, Callable[[_Case, dict[str, Any]], Tensor]] = {
    "pointing_game": lambda a, options: pointing_game(a.maps, a.masks),
    "energy_inside": lambda a, options: energy_inside(a.maps, a.masks),
    "insertion": lambda a, options: insertion(a.model, a.images, a.maps, a.labels, steps=a.steps, **options).area,
    "deletion": lambda a, options: deletion(a.model, a.images, a.maps, a.labels, steps=a.steps, **options).area,
    "max_sensitivity": lambda a, options: max_sensitivity(
        a.explain, a.model, a.images, a.labels, radius=a.radius, samples=a.samples, **options
    ),
    "infidelity": lambda a, options: infidelity(a.model, a.images, a.maps, a.labels, normalize=True, **options),
    "randomization": _randomization,
}


def _timed(
    explain: Explain, model: Any, images: Tensor, labels: Tensor, batch_size: int | None, meter: Any
) -> tuple[Tensor, float]:
    """The maps, batch by batch so that it can be cancelled in between, and the seconds a picture took."""
    size = batch_size or passes.default_batch_size(images)
    explain(model, images[:1], labels[:1])  # the first call of a network is slow for reasons that are not the method's
    maps, seconds = [], 0.0
    for x, c in zip(images.split(size), labels.split(size), strict=True):
        start = time.perf_counter()
        maps.append(explain(model, x, c))
        if maps[-1].is_cuda:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - start
        if meter is not None:
            meter.add(0)
    return torch.cat(maps), seconds / len(images)


def _methods(methods: Mapping[str, Explain] | Sequence[str]) -> dict[str, Explain]:
    if isinstance(methods, Mapping):
        return dict(methods)
    found: dict[str, Explain] = {}
    for name in [methods] if isinstance(methods, str) else methods:
        for module in ("cam", "saliency", "occlusion"):
            function = getattr(importlib.import_module(f"xai_lessons.methods.{module}"), name, None)
            if callable(function):
                found[name] = function
                break
        else:
            raise ValueError(
                f"there is no method {name!r}: name one of cam, saliency or occlusion, or give {{name: callable}}"
            )
    return found


def _networks(networks: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    if isinstance(networks, Mapping):
        return dict(networks)
    from xai_lessons import models

    return {name: models.load(name) for name in ([networks] if isinstance(networks, str) else networks)}


def _scenes(scenes: Any) -> tuple[Tensor, Tensor, Any]:
    if isinstance(scenes, tuple) and len(scenes) == 3 and isinstance(scenes[0], Tensor):
        images, labels, masks = scenes
    else:
        if not scenes:
            raise ValueError("there are no scenes to compare on: give a list of scenes, or menagerie.sample(n)")
        images = torch.stack([s.image for s in scenes])
        labels, masks = torch.tensor([s.label for s in scenes]), [s.masks for s in scenes]
    return images, labels, masks


def table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None) -> str:
    """The rows of `compare` as a table in markdown, a network after the other.

    Args:
        rows: what `compare` returned.
        metrics: which columns; all of them if not given.

    Returns:
        Lines of markdown: ↑ where high is good, ↓ where low is; controls in italics; † where a control of the same
        network does at least as well.
    """
    metrics = [m for m in METRICS if rows and m in rows[0]] if metrics is None else list(metrics)
    columns = [f"{m.replace('_', ' ')} {'↑' if METRICS[m].high else '↓'}" for m in metrics]
    head = ["network", "method", *columns, "ms a picture"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(metrics) + 1)]
    for row in rows:
        cells = [str(row["network"]), f"*{row['method']}*" if row["control"] else str(row["method"])]
        for m in metrics:
            rivals = [r[m] for r in rows if r["control"] and r["network"] == row["network"] and not math.isnan(r[m])]
            sign = 1 if METRICS[m].high else -1
            beaten = not row["control"] and bool(rivals) and max(sign * v for v in rivals) >= sign * row[m]
            cells.append("-" if math.isnan(row[m]) else f"{_short(row[m])}{'†' if beaten else ''}")
        cells.append("-" if math.isnan(row["seconds"]) else f"{1000 * row['seconds']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
