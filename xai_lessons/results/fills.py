"""Deletion with several fills: does the order of methods and controls depend on what replaces a deleted pixel?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, saliency

FILLS: dict[str, Any] = {"black": "black", "white": 1.0, "mean": "mean", "blur": "blur"}
METHODS: dict[str, Callable[..., Tensor]] = {
    "Grad-CAM": cam.grad_cam,
    "gradient": saliency.gradient,
    "center blob": evaluation.CONTROLS["center blob"],
    "random": evaluation.CONTROLS["random"],
}


def measure(
    network: str = "menagerie-resnet",
    images: int = 200,
    steps: int = 16,
    fills: Mapping[str, Any] | None = None,
    progress: Progress = None,
) -> results.Result:
    """The area under the deletion curve of each method with each fill.

    Args:
        network: name of a built-in network.
        images: how many of the drawn world.
        steps: of the curve.
        fills: name -> what `evaluation.deletion` takes; `FILLS` by default.
        progress: True, or a callback (done, total), of one method with one fill.

    Returns:
        Fill -> method -> "mean", its "standard_error", and "below_random": the fraction of the images on which the
        method's area is smaller, that is better, than that of random maps.

    Example:
        >>> from xai_lessons.results import fills
        >>> list(fills.measure(images=2, steps=2, fills={"black": 0.0}).values["black"])
        ['Grad-CAM', 'gradient', 'center blob', 'random']
    """
    model = models.load(network)
    x, labels, _ = menagerie.sample(images, seed=0, size=model.input_size)
    maps = {name: method(model, x, labels) for name, method in METHODS.items()}
    found: dict[str, dict[str, Any]] = {}
    for title, fill in (fills or FILLS).items():
        areas = {
            name: evaluation.deletion(model, x, M, labels, steps=steps, fill=fill, progress=progress).area.double()
            for name, M in maps.items()
        }
        found[title] = {
            name: {
                "mean": float(area.mean()),
                "standard_error": float(area.std() / images**0.5),
                "below_random": float((area < areas["random"]).double().mean()),
            }
            for name, area in areas.items()
        }
    return results.Result({"network": network, "images": images, "steps": steps}, found)
