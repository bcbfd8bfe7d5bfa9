"""Max-sensitivity of eight methods, the experiment of a published table: what it said, and what is measured here.

`python -m xai_lessons.results.sensitivity` measures it anew and writes `sensitivity.json` beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from xai_lessons import evaluation, models
from xai_lessons.data import menagerie
from xai_lessons.methods import occlusion, saliency

STORED = Path(__file__).with_name("sensitivity.json")
NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust")
RADIUS = 0.02 * 0.25  # the table's 0.02 is in normalized units; one of them is 0.25 of a pixel's range here
PICTURES = 16
_SMOOTH = partial(saliency.smooth_grad, method=partial(saliency.integrated_gradients, steps=8), sigma=0.04, samples=5)
# name -> the method, and what the table says of it on a ResNet-18 (10 samples of radius 0.02)
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


def measure(model: models.Classifier, method: str, pictures: int = PICTURES) -> float:
    """The mean max-sensitivity of a method over the first pictures of the drawn world.

    Args:
        model: the network.
        method: one of `METHODS`.
        pictures: over how many.
    """
    images, labels, _ = menagerie.sample(pictures, size=model.input_size)
    explain = METHODS[method][0]
    return float(evaluation.max_sensitivity(explain, model, images, labels, radius=RADIUS, samples=10).mean())


def stored() -> dict[str, dict[str, float]]:
    """What was measured: network -> method -> mean over `PICTURES` pictures."""
    content: dict[str, dict[str, float]] = json.loads(STORED.read_text(encoding="utf-8"))["networks"]
    return content


def main(networks: Sequence[str] = NETWORKS, pictures: int = PICTURES, path: Path = STORED) -> None:
    """Measure all, in some minutes, and store it."""
    torch.set_num_threads(1)
    found = {}
    for name in networks:
        model = models.load(name)
        found[name] = {method: float(f"{measure(model, method, pictures):.3g}") for method in METHODS}
    facts = {"made_by": "python -m xai_lessons.results.sensitivity", "pictures": pictures, "networks": found}
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
