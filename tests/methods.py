"""Every method of the catalog that explains class scores, with small settings for property tests."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from xai_lessons.methods import catalog

SMALL: dict[str, dict[str, Any]] = {
    "smooth_grad": {"samples": 3},
    "integrated_gradients": {"steps": 3},
    "gradient_shap": {"samples": 3},
    "lrp": {"rule": "gamma"},
    "occlusion": {"patch": 4, "stride": 3},
    "rise": {"samples": 5},
    "lime": {"samples": 12, "segments": 80},
    "kernel_shap": {"samples": 8, "segments": 80},
    "pgd": {"steps": 2, "random_start": True},
    "smallest_epsilon": {"steps": 3},
}


@dataclass(frozen=True)
class Method(catalog.Method):
    """A method of the catalog that runs with small settings."""

    small: dict[str, Any] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether other seeds give other results; occlusion draws only for the fill "noise"."""
        return "seed" in self.options and self.name != "occlusion"

    def __call__(self, model: Any, images: Tensor, targets: Any = None, **options: Any) -> Any:
        """Run it with the small settings, and these."""
        return super().__call__(model, images, targets, **{**self.small, **options})


def _small(method: catalog.Method) -> Method:
    own = {f.name: getattr(method, f.name) for f in fields(catalog.Method)}
    return Method(**own, small=SMALL.get(method.name, {}))


METHODS: dict[str, Method] = {
    name: _small(method) for name, method in catalog.METHODS.items() if method.needs != "detector"
}
