"""All explanation methods in one table: add a method here, and menus, legends, tests and benchmarks know it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xai_lessons.core.inputs import closest
from xai_lessons.methods import cam, detection, fgsm, occlusion, saliency


@dataclass(frozen=True)
class Method:
    """A method of the package, called as ``method(model, images, targets, **options)``.

    Attributes:
        function: the method itself.
        label: its usual name, for menus and legends.
        family: the public module to import it from: "cam", "saliency", "occlusion", "detection" or "fgsm".
        returns: "heatmap" (N, H, W), "attribution" (N, 3, H, W) or "other".
        needs: what the model must be: "callable", "module" (any `nn.Module`), "relu" (a network whose only activations
            are ReLUs), "pooling" (global average pooling of class maps, or before a linear head) or "detector" (its
            targets are boxes).
        signed: whether a value below zero speaks against the class.
        meaning: what a value of the result means, for legends.
    """

    function: Callable[..., Any]
    label: str
    family: str
    returns: str
    needs: str
    signed: bool
    meaning: str

    @property
    def name(self) -> str:
        """The name of the function, which is the key in `METHODS`."""
        return self.function.__name__

    @property
    def code(self) -> str:
        """How a notebook names it, for example "cam.grad_cam"."""
        return f"{self.family}.{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """The keyword options with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def __call__(self, model: Any, images: Any, targets: Any = None, **options: Any) -> Any:
        """Run the method."""
        return self.function(model, images, targets, **options)


HEAT = "evidence for the class, in arbitrary units"
PART = "contribution to the logit"
SLOPE = "change of the logit per unit of the pixel"
SIGNAL = "signal that reaches the pixel, in arbitrary units"
DROP = "drop in the score when the place is hidden"
MEAN = "mean score when the place is seen"
SIMILAR = "mean similarity to the box when the place is seen"
WEIGHT = "weight of the superpixel in a linear model of the score"
SHAPLEY = "Shapley value of the superpixel: its contribution to the score"
IMAGE = "attacked image, in [0, 1]"
SIZE = "smallest change of the pixels that changes the answer, in [0, 1]"

_ALL = (
    Method(cam.cam, "CAM", "cam", "heatmap", "pooling", False, PART),
    Method(cam.grad_cam, "Grad-CAM", "cam", "heatmap", "module", False, HEAT),
    Method(cam.grad_cam_plus_plus, "Grad-CAM++", "cam", "heatmap", "module", False, HEAT),
    Method(cam.layer_cam, "LayerCAM", "cam", "heatmap", "module", False, HEAT),
    Method(cam.hires_cam, "HiResCAM", "cam", "heatmap", "module", False, HEAT),
    Method(cam.score_cam, "Score-CAM", "cam", "heatmap", "module", False, HEAT),
    Method(saliency.gradient, "Gradient", "saliency", "attribution", "callable", True, SLOPE),
    Method(saliency.gradient_x_input, "Gradient × input", "saliency", "attribution", "callable", True, PART),
    Method(saliency.guided_backprop, "Guided backprop", "saliency", "attribution", "relu", True, SIGNAL),
    Method(saliency.deconvnet, "Deconvnet", "saliency", "attribution", "relu", True, SIGNAL),
    Method(saliency.guided_grad_cam, "Guided Grad-CAM", "saliency", "attribution", "relu", True, SIGNAL),
    Method(saliency.smooth_grad, "SmoothGrad", "saliency", "attribution", "callable", True, SLOPE),
    Method(saliency.integrated_gradients, "Integrated gradients", "saliency", "attribution", "callable", True, PART),
    Method(saliency.gradient_shap, "Gradient SHAP", "saliency", "attribution", "callable", True, PART),
    Method(saliency.deep_lift, "DeepLIFT", "saliency", "attribution", "relu", True, PART),
    Method(saliency.lrp, "LRP", "saliency", "attribution", "relu", True, PART),
    Method(saliency.layer_gradient_x_activation, "Gradient × activation", "saliency", "other", "module", True, PART),
    Method(occlusion.occlusion, "Occlusion", "occlusion", "heatmap", "callable", True, DROP),
    Method(occlusion.rise, "RISE", "occlusion", "heatmap", "callable", False, MEAN),
    Method(occlusion.lime, "LIME", "occlusion", "heatmap", "callable", True, WEIGHT),
    Method(occlusion.kernel_shap, "Kernel SHAP", "occlusion", "heatmap", "callable", True, SHAPLEY),
    Method(detection.d_rise, "D-RISE", "detection", "heatmap", "detector", False, SIMILAR),
    Method(fgsm.fgsm, "FGSM", "fgsm", "other", "callable", False, IMAGE),
    Method(fgsm.pgd, "PGD", "fgsm", "other", "callable", False, IMAGE),
    Method(fgsm.smallest_epsilon, "Smallest epsilon of FGSM", "fgsm", "other", "callable", False, SIZE),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def get(name: str) -> Method:
    """The method of this name.

    Args:
        name: of the function, for example "grad_cam".

    Returns:
        Its entry in `METHODS`, which can be called like the function.

    Raises:
        ValueError: if there is no such method, with the nearest names.

    Example:
        >>> get("grad_cam").label, get("rise").options["samples"]
        ('Grad-CAM', 400)
    """
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}: did you mean {closest(name, METHODS)}?")
    return METHODS[name]
