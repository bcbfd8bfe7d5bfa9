"""Every explanation method once, with small settings for property tests: whoever adds a method adds a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Method:
    """A method of the package under its name, called as ``method(model, images, targets)``.

    Args:
        name: "module.function".
        returns: "heatmap" (N, H, W), "attribution" (N, 3, H, W) or "other".
        network: what it asks for: "callable", "module" (any nn.Module), "relu" (ReLUs only) or "pooling" (a linear head
            over global average pooling).
        random: whether it takes a seed.
        options: settings for small and quick runs.
    """

    name: str
    returns: str
    network: str
    random: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Any]:
        """The method itself."""
        module, function = self.name.split(".")
        return getattr(import_module(f"xai_lessons.methods.{module}"), function)

    def __call__(self, model: Any, images: Tensor, targets: Any = None, **options: Any) -> Any:
        """Run it with the small settings, and these."""
        return self.function(model, images, targets, **{**self.options, **options})


_ALL = [
    Method("cam.cam", "heatmap", "pooling"),
    Method("cam.grad_cam", "heatmap", "module"),
    Method("cam.grad_cam_plus_plus", "heatmap", "module"),
    Method("cam.layer_cam", "heatmap", "module"),
    Method("cam.hires_cam", "heatmap", "module"),
    Method("cam.score_cam", "heatmap", "module"),
    Method("saliency.gradient", "attribution", "callable"),
    Method("saliency.gradient_x_input", "attribution", "callable"),
    Method("saliency.guided_backprop", "attribution", "relu"),
    Method("saliency.deconvnet", "attribution", "relu"),
    Method("saliency.smooth_grad", "attribution", "callable", random=True, options={"samples": 3}),
    Method("saliency.guided_grad_cam", "attribution", "relu"),
    Method("saliency.layer_gradient_x_activation", "other", "module"),
    Method("paths.integrated_gradients", "attribution", "callable", options={"steps": 3}),
    Method("paths.gradient_shap", "attribution", "callable", random=True, options={"samples": 3}),
    Method("relevance.lrp", "attribution", "relu", options={"rule": "gamma"}),
    Method("relevance.deep_lift", "attribution", "relu"),
    Method("occlusion.occlusion", "heatmap", "callable", options={"patch": 4, "stride": 3}),
    Method("occlusion.rise", "heatmap", "callable", random=True, options={"samples": 5}),
    Method("surrogates.lime", "heatmap", "callable", random=True, options={"samples": 12, "segments": 80}),
    Method("surrogates.kernel_shap", "heatmap", "callable", random=True, options={"samples": 8, "segments": 80}),
    Method("fgsm.fgsm", "other", "callable"),
    Method("fgsm.pgd", "other", "callable", random=True, options={"steps": 2, "random_start": True}),
    Method("fgsm.smallest_epsilon", "other", "callable", options={"steps": 3}),
]

METHODS: dict[str, Method] = {method.name: method for method in _ALL}
