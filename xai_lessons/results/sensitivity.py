"""Max-sensitivity of eight methods: the experiment of a published table, and the same measured on the drawn world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import occlusion, saliency

NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust")
RADIUS = 0.02 * 0.25  # the table's 0.02 is in normalized units, each of which is 0.25 in pixel units here
IMAGES = 16
_SMOOTH = partial(saliency.smooth_grad, method=partial(saliency.integrated_gradients, steps=8), sigma=0.04, samples=5)
# row of the published table -> the method, and the published value of a ResNet-18 (10 samples of radius 0.02)
METHODS: dict[str, tuple[Callable[..., Any], float]] = {
    "occlusion": (partial(occlusion.occlusion, patch=20, stride=12), 0.030),
    "IG, VarGrad": (partial(_SMOOTH, kind="var"), 0.088),
    "IG, SmoothGrad squared": (partial(_SMOOTH, kind="square"), 0.104),
    "guided backprop": (saliency.guided_backprop, 0.152),
    "guided Grad-CAM": (saliency.guided_grad_cam, 0.155),
    "integrated gradients": (partial(saliency.integrated_gradients, steps=16), 0.400),
    "Gradient SHAP": (saliency.gradient_shap, 1.040),
    "LRP": (saliency.lrp, 3.567),
}


def measure(model: models.Classifier, method: str, images: int = IMAGES) -> float:
    """The mean max-sensitivity of a method over images of the drawn world.

    Args:
        model: the network.
        method: one of `METHODS`.
        images: how many.

    Example:
        >>> from xai_lessons import models
        >>> from xai_lessons.results import sensitivity
        >>> sensitivity.measure(models.load("menagerie-resnet"), "guided backprop", images=1) < 1
        True
    """
    x, labels, _ = menagerie.sample(images, size=model.input_size)
    explain = METHODS[method][0]
    return float(evaluation.max_sensitivity(explain, model, x, labels, radius=RADIUS, samples=10).mean())


def measure_all(networks: Sequence[str] = NETWORKS, images: int = IMAGES, progress: Progress = None) -> results.Result:
    """Each method on each network: network -> method -> mean; it takes some minutes."""
    found: dict[str, dict[str, float]] = {}
    with Meter(progress, len(networks) * len(METHODS)) as meter:
        for name in networks:
            model, found[name] = models.load(name), {}
            for method in METHODS:
                found[name][method] = measure(model, method, images)
                meter.add(1)
    return results.Result({"images": images, "radius": RADIUS, "samples": 10}, found)
