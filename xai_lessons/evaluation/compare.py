"""Comparison: methods x networks x metrics in one table, always beside baselines that ignore the network."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons import models
from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.evaluation.faithfulness import deletion, infidelity, insertion
from xai_lessons.evaluation.localization import Explain, energy_inside, heat, pointing_game
from xai_lessons.evaluation.randomization import randomize_layers, rank_correlation
from xai_lessons.evaluation.sensitivity import max_sensitivity
from xai_lessons.methods import catalog


def _control(maps_of: Callable[[Tensor], Tensor]) -> Explain:
    def control(model: Any, images: Tensor, targets: Targets = None) -> Tensor:
        x, single = inputs.check_images(model, images)
        return maps_of(x)[0] if single else maps_of(x)

    control.__doc__ = maps_of.__doc__
    return control


@_control
def random_map(x: Tensor) -> Tensor:
    """Uniform noise, seeded by the image: the same image always gets the same map."""
    codes = (x * 255).round().to(torch.uint8).cpu().contiguous().numpy()
    generators = [inputs.generator(zlib.crc32(code.tobytes())) for code in codes]
    return torch.stack([torch.rand(x.shape[-2:], generator=g, dtype=torch.float64) for g in generators]).to(x)


@_control
def center_blob(x: Tensor) -> Tensor:
    """A Gaussian in the center, where photographers put things (a control of Zhang et al., 2016, arXiv:1608.00507)."""
    down, across = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[-2:])
    return torch.exp(-3 * (down[:, None] ** 2 + across**2)).expand(len(x), -1, -1).clone()


@_control
def edge_filter(x: Tensor) -> Tensor:
    """Sobel's edges of the gray image: an edge detector is a control of Adebayo et al., 2018, arXiv:1810.03292."""
    gray = F.pad(x.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    sobel = x.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    return F.conv2d(gray, torch.stack([sobel, sobel.T])[:, None]).norm(dim=1)


@_control
def empty_map(x: Tensor) -> Tensor:
    """Zero everywhere."""
    return torch.zeros_like(x[:, 0])


#: Controls: baselines that ignore the network, called like methods.
CONTROLS: dict[str, Explain] = {
    "random": random_map,
    "center blob": center_blob,
    "edges": edge_filter,
    "empty": empty_map,
}


class _Case(NamedTuple):
    """One method on one network, and all that its metrics need."""

    explain: Explain
    model: Any
    randomized: nn.Module | None
    images: Tensor
    labels: Tensor
    masks: Any
    maps: Tensor
    radius: float
    samples: int
    steps: int


class Metric(NamedTuple):
    """A column of `compare`.

    Attributes:
        label: its name in tables and charts.
        high: whether a high value is good.
        help: what it measures.
        measure: the scores (N,) of a method, given `compare`'s data and options.
    """

    label: str
    high: bool
    help: str
    measure: Callable[[Any, dict[str, Any]], Tensor]


def _sensitivity(a: _Case, options: dict[str, Any]) -> Tensor:
    options = {"radius": a.radius, "samples": a.samples, **options}
    return max_sensitivity(a.explain, a.model, a.images, a.labels, **options)


def _randomization(a: _Case, options: dict[str, Any]) -> Tensor:
    if a.randomized is None:
        return torch.full((len(a.images),), math.nan)
    other, _ = _timed(a.explain, a.randomized, a.images, a.labels, options["batch_size"], None)
    return rank_correlation(heat(a.maps), heat(other))


METRICS: dict[str, Metric] = {
    "pointing_game": Metric(
        "pointing game",
        True,
        "fraction of the images whose peak is on the object",
        lambda a, options: pointing_game(a.maps, a.masks),
    ),
    "energy_inside": Metric(
        "fraction inside",
        True,
        "fraction of the map that is on the object",
        lambda a, options: energy_inside(a.maps, a.masks),
    ),
    "insertion": Metric(
        "insertion",
        True,
        "area under the probability while the pixels with the highest values are inserted",
        lambda a, options: insertion(a.model, a.images, a.maps, a.labels, steps=a.steps, **options).area,
    ),
    "deletion": Metric(
        "deletion",
        False,
        "area under the probability while the pixels with the highest values are removed",
        lambda a, options: deletion(a.model, a.images, a.maps, a.labels, steps=a.steps, **options).area,
    ),
    "max_sensitivity": Metric(
        "max sensitivity",
        False,
        "largest relative change of the map under a change of the image that nobody sees",
        _sensitivity,
    ),
    "infidelity": Metric(
        "infidelity",
        False,
        "squared error of the predicted effect of black squares on the logit, at the best scale that is not negative",
        lambda a, options: infidelity(a.model, a.images, a.maps, a.labels, normalize=True, **options),
    ),
    "randomization": Metric(
        "randomization",
        False,
        "rank correlation with the map of a network whose weights are all random",
        _randomization,
    ),
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
    """Score methods x networks by metrics on scenes whose objects are known; the controls always take part.

    Args:
        methods: names of `catalog.METHODS`, or names with callables ``(model, images, targets)``.
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
        Rows: "network", "method", "control" (whether it is one), "images" (their number), the metrics' means (NaN where
        one does not apply), "standard_errors" (metric -> that of its mean), "seconds" per image (on the CPU those of
        this process alone), and "note": why a method refused the network, else "".

    Raises:
        ValueError: if a method, network or metric is not known, there are no scenes, or a number is out of range.
        TypeError: if `samples`, `steps` or `seed` is not a whole number.

    Example:
        >>> from xai_lessons import evaluation, menagerie
        >>> rows = evaluation.compare(["grad_cam"], ["menagerie-resnet"], menagerie.sample(2), ["pointing_game"])
        >>> [row["method"] for row in rows]
        ['grad_cam', 'random', 'center blob', 'edges', 'empty']
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
    """The rows of `compare`, which has the same arguments, each as soon as it is ready.

    Args:
        methods: as for `compare`.
        networks: as for `compare`.
        scenes: as for `compare`.
        metrics: as for `compare`.
        radius: of max-sensitivity, in pixel units.
        samples: of max-sensitivity.
        steps: of insertion and deletion.
        seed: of every random number.
        batch_size: passes at once.
        progress: as for `compare`.

    Yields:
        The rows, in the order of `compare`.

    Example:
        >>> from xai_lessons import evaluation, menagerie
        >>> rows = evaluation.each_row(["grad_cam"], ["menagerie-resnet"], menagerie.sample(2), ["energy_inside"])
        >>> next(rows)["method"]
        'grad_cam'
    """
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"there is no metric {unknown[0]!r}: did you mean {inputs.closest(unknown[0], METRICS)}?")
    inputs.at_least("radius", radius, 0)  # a number that a metric refuses would be a note in every row
    samples, steps = inputs.whole("samples", samples, 1), inputs.whole("steps", steps, 1)
    batch_size = None if batch_size is None else inputs.whole("batch_size", batch_size, 1)
    inputs.generator(seed)
    explains = {**_methods(methods), **CONTROLS}
    nets = _networks(networks)
    images, labels, masks = _scenes(scenes)
    with Meter(progress, len(nets) * len(explains) * (len(metrics) + 1)) as meter:
        options = {"seed": seed, "batch_size": batch_size, "progress": lambda *_: meter.add(0)}
        for network, model in nets.items():
            randomized = randomize_layers(model, seed=seed) if isinstance(model, nn.Module) else None
            for method, explain in explains.items():
                row = {"network": network, "method": method, "control": method in CONTROLS, "images": len(images)}
                row |= dict.fromkeys([*metrics, "seconds"], math.nan) | {"note": ""}
                errors = row["standard_errors"] = dict.fromkeys(metrics, math.nan)
                end = meter.done + len(metrics) + 1
                try:
                    maps, row["seconds"] = _timed(explain, model, images, labels, batch_size, meter)
                    meter.add(1)
                    case = _Case(explain, model, randomized, images, labels, masks, maps, radius, samples, steps)
                    for metric in metrics:
                        scores = METRICS[metric].measure(case, options).cpu().double()
                        row[metric] = float(scores.mean())
                        if len(scores) > 1:
                            errors[metric] = float(scores.std() / len(scores) ** 0.5)
                        meter.add(1)
                except ValueError as refusal:
                    row["note"] = str(refusal)
                    meter.add(end - meter.done)
                yield row


def _timed(
    explain: Explain, model: Any, images: Tensor, labels: Tensor, batch_size: int | None, meter: Meter | None
) -> tuple[Tensor, float]:
    """The maps, batch by batch so that it can be canceled in between, and the seconds per image."""
    size = batch_size or passes.default_batch_size(images)
    explain(model, images[:1], labels[:1])  # the first call of a network is slow, whatever the method
    maps, seconds = [], 0.0
    clock = time.process_time if images.device.type == "cpu" else time.perf_counter  # other programs do not count
    for x, c in zip(images.split(size), labels.split(size), strict=True):
        start = clock()
        maps.append(explain(model, x, c))
        if maps[-1].is_cuda:
            torch.cuda.synchronize()
        seconds += clock() - start
        if meter is not None:
            meter.add(0)
    return torch.cat(maps), seconds / len(images)


def _methods(methods: Mapping[str, Explain] | Sequence[str]) -> dict[str, Explain]:
    if isinstance(methods, Mapping):
        return dict(methods)
    return {name: catalog.get(name).function for name in ([methods] if isinstance(methods, str) else methods)}


def _networks(networks: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    if isinstance(networks, Mapping):
        return dict(networks)
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


def beaten(scores: Mapping[str, float], control: float, metric: str) -> list[str]:
    """The methods that a control equals or beats.

    Args:
        scores: method -> its score.
        control: the score of the control.
        metric: one of `METRICS`.

    Returns:
        Their names, in the order of `scores`.

    Example:
        >>> from xai_lessons import evaluation
        >>> evaluation.beaten({"Grad-CAM": 0.9, "Gradient": 0.4}, 0.5, "pointing_game")
        ['Gradient']
    """
    high = METRICS[metric].high
    return [name for name, score in scores.items() if (control >= score if high else control <= score)]


def leaders(scores: Mapping[str, float], errors: Mapping[str, float], metric: str) -> list[str]:
    """The best method, and all whose distance to it is within two standard errors of the difference.

    |m - m_best| <= 2 sqrt(e^2 + e_best^2)

    Both scores are taken as independent. Those of the same images are not quite, so this rather finds one leader too
    many.

    Args:
        scores: method -> its mean score m.
        errors: method -> the standard error e of that mean; NaN where it is not known.
        metric: one of `METRICS`.

    Returns:
        Their names, in the order of `scores`; a score or an error of NaN leads only if it is the best.

    Example:
        >>> from xai_lessons import evaluation
        >>> scores = {"Grad-CAM": 0.9, "LRP": 0.88, "Gradient": 0.4}
        >>> evaluation.leaders(scores, dict.fromkeys(scores, 0.02), "energy_inside")
        ['Grad-CAM', 'LRP']
    """
    known = {name: score for name, score in scores.items() if not math.isnan(score)}
    best = (max if METRICS[metric].high else min)(known, key=lambda name: known[name])
    room = {name: 2 * math.hypot(errors[name], errors[best]) for name in known}
    return [name for name in known if name == best or abs(known[name] - known[best]) <= room[name]]


def wilson_interval(fraction: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a fraction of hits: also of 0 or 1, whose standard error would be 0.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        fraction: p, that of the hits, in [0, 1].
        count: n, the number of trials.
        z: half the width in standard errors: 1.96 for 95 %, 1 for 68 %.

    Returns:
        The lower and the upper end.

    Example:
        >>> from xai_lessons import evaluation
        >>> [round(end, 2) for end in evaluation.wilson_interval(1.0, 100)]
        [0.96, 1.0]

    Source:
        Wilson, 1927, "Probable inference, the law of succession, and statistical inference".
    """
    middle = (fraction + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(fraction * (1 - fraction) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)  # but for rounding they are within


def table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None) -> str:
    """The rows of `compare` as a table in Markdown.

    Args:
        rows: what `compare` returned.
        metrics: which columns; all of them if not given.

    Returns:
        Lines of Markdown: ↑ where high is good, ↓ where low is; ± the standard error, where it is known; controls in
        italics; † where a control of the same network does at least as well.

    Example:
        >>> from xai_lessons import evaluation
        >>> row = {"network": "mine", "method": "CAM", "control": False, "energy_inside": 0.5, "seconds": 0.01}
        >>> print(evaluation.table([row]))
        | network | method | fraction inside ↑ | ms per image |
        |---|---|---:|---:|
        | mine | CAM | 0.500 | 10.0 |
    """
    metrics = [m for m in METRICS if rows and m in rows[0]] if metrics is None else list(metrics)
    columns = [f"{METRICS[m].label} {'↑' if METRICS[m].high else '↓'}" for m in metrics]
    head = ["network", "method", *columns, "ms per image"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(metrics) + 1)]
    for row in rows:
        cells = [str(row["network"]), f"*{row['method']}*" if row["control"] else str(row["method"])]
        controls = [r for r in rows if r["control"] and r["network"] == row["network"]]
        for m in metrics:
            lost = not row["control"] and any(beaten({"": row[m]}, r[m], m) for r in controls)
            error = row.get("standard_errors", {}).get(m, math.nan)
            spread = "" if math.isnan(error) else f" ± {_short(error)}"
            cells.append("-" if math.isnan(row[m]) else f"{_short(row[m])}{spread}{'†' if lost else ''}")
        cells.append("-" if math.isnan(row["seconds"]) else f"{1000 * row['seconds']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
