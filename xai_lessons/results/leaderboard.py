"""All methods scored by all metrics on the drawn world, beside controls: what LeaderboardExplorer and the docs show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import catalog, saliency

NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-shortcut", "menagerie-robust")
# what the explorer compares: function -> its options
CHOSEN: dict[str, dict[str, Any]] = {
    "grad_cam": {},
    "layer_cam": {},
    "gradient": {},
    "gradient_x_input": {},
    "guided_backprop": {},
    "guided_grad_cam": {},
    "smooth_grad": {"samples": 10},
    "integrated_gradients": {"steps": 16},
    "lrp": {},
    "occlusion": {"patch": 20, "stride": 12},
}
# what the page of the docs compares: every method, with these options, and these variants by their own names
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 20, "stride": 8},
    "rise": {"samples": 200},
    "lime": {"samples": 200},
    "kernel_shap": {"samples": 200},
}
_IG: dict[str, Any] = {"method": partial(saliency.integrated_gradients, steps=8), "samples": 10}
VARIANTS: dict[str, Callable[..., Any]] = {
    "IG, SmoothGrad squared": partial(saliency.smooth_grad, kind="square", **_IG),
    "IG, VarGrad": partial(saliency.smooth_grad, kind="var", **_IG),
    "LRP gamma": partial(saliency.lrp, rule="gamma"),
    "LRP z+": partial(saliency.lrp, rule="zplus"),
}


def methods(options: Mapping[str, Mapping[str, Any]] = CHOSEN) -> dict[str, Callable[..., Any]]:
    """Methods with options, by their labels.

    Args:
        options: name in the catalog -> options.

    Example:
        >>> from xai_lessons.results import leaderboard
        >>> list(leaderboard.methods({"grad_cam": {}}))
        ['Grad-CAM']
    """
    found = {name: catalog.get(name) for name in options}
    return {method.label: partial(method.function, **options[name]) for name, method in found.items()}


def all_methods() -> dict[str, Callable[..., Any]]:
    """Every method of the catalog that explains an image, and the variants, by their labels."""
    explaining = {name: method for name, method in catalog.METHODS.items() if method.needs != "detector"}
    maps = [name for name, method in explaining.items() if method.returns in ("heatmap", "attribution")]
    return methods({name: OPTIONS.get(name, {}) for name in maps}) | VARIANTS


def measure(
    explain: Mapping[str, Callable[..., Any]] | None = None,
    networks: Sequence[str] = NETWORKS,
    images: int = 64,
    split: str = "open",
    progress: Progress = None,
) -> results.Result:
    """Score methods on the first images of the drawn world; it takes about a quarter of an hour.

    Args:
        explain: label -> method; `methods()` by default.
        networks: names of built-in networks.
        images: how many.
        split: of the drawn world.
        progress: True, or a callback (done, total).

    Returns:
        Network -> the rows of `evaluation.compare`.
    """
    scenes = menagerie.sample(images, seed=0, split=split)
    settings = {"images": images, "split": split, "radius": 0.02, "samples": 10, "steps": 32}
    settings["area"] = float(scenes[2]["object"].float().mean())
    nets, explain = {name: models.load(name) for name in networks}, explain or methods()
    rows = evaluation.compare(explain, nets, scenes, progress=progress)
    return results.Result(settings, {name: [row for row in rows if row["network"] == name] for name in networks})


def measure_all(progress: Progress = None) -> results.Result:
    """Score all methods on images of the test split, which no network has seen; it takes more than an hour."""
    return measure(all_methods(), split="test", progress=progress)
