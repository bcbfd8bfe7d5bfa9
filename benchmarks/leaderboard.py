"""Every explanation method on the built-in networks, marked against the drawn truth: python -m benchmarks.leaderboard.

Writes docs/leaderboard.md and, as plain numbers, docs/leaderboard.json. The scenes are of the test split, which no
network has seen; with one thread it takes some minutes a network.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from xai_lessons import evaluation, models
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, occlusion, saliency

DOCS = Path(__file__).resolve().parent.parent / "docs"
NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust", "menagerie-shortcut")
SMOOTH_IG = partial(saliency.integrated_gradients, steps=8)

METHODS: dict[str, Callable[..., Any]] = {
    "CAM": cam.cam,
    "Grad-CAM": cam.grad_cam,
    "Grad-CAM++": cam.grad_cam_plus_plus,
    "LayerCAM": cam.layer_cam,
    "HiResCAM": cam.hires_cam,
    "Score-CAM": cam.score_cam,
    "gradient": saliency.gradient,
    "gradient x input": saliency.gradient_x_input,
    "deconvnet": saliency.deconvnet,
    "guided backprop": saliency.guided_backprop,
    "guided Grad-CAM": saliency.guided_grad_cam,
    "SmoothGrad": saliency.smooth_grad,
    "integrated gradients": saliency.integrated_gradients,
    "IG, SmoothGrad squared": partial(saliency.smooth_grad, method=SMOOTH_IG, kind="square", samples=10),
    "IG, VarGrad": partial(saliency.smooth_grad, method=SMOOTH_IG, kind="var", samples=10),
    "Gradient SHAP": saliency.gradient_shap,
    "DeepLIFT": saliency.deep_lift,
    "LRP epsilon": saliency.lrp,
    "LRP gamma": partial(saliency.lrp, rule="gamma"),
    "LRP z+": partial(saliency.lrp, rule="zplus"),
    "occlusion": partial(occlusion.occlusion, patch=20, stride=8),
    "RISE": partial(occlusion.rise, samples=200),
    "LIME": partial(occlusion.lime, samples=200),
    "Kernel SHAP": partial(occlusion.kernel_shap, samples=200),
}

HEAD = """# Leaderboard

Made by `python -m benchmarks.leaderboard`: {pictures} scenes of the test split of the drawn world, on which the truth
is known to the pixel; max-sensitivity of {samples} samples at radius {radius}; insertion and deletion in {steps} steps.
Each number is the mean over the scenes; each method explains the true class. On average the object fills {area:.2f} of
the picture, which is what a guess scores in the pointing game.

↑ high is good, ↓ low is good; *in italics* the controls, which know nothing of any network; † a control does at least
as well. An empty map never moves, so every method carries a † for its sensitivity: one number alone proves nothing.

{columns}
"""


def document(rows: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """The page of the docs: a table a network, and why a method is missing from it."""
    columns = "\n".join(f"- *{name.replace('_', ' ')}*: {metric.help}." for name, metric in evaluation.METRICS.items())
    parts = [HEAD.format(columns=columns, **settings)]
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        parts.append(f"## {network}\n\n{evaluation.table(own)}\n")
        parts += [f"{row['method']}: {row['note']}.\n" for row in own if row["note"]]
    return "\n".join(parts)


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--samples", type=int, default=10, help="of max-sensitivity")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=DOCS, help="the folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenes = menagerie.sample(arguments.pictures, split="test")
    settings = {"pictures": arguments.pictures, "samples": arguments.samples, "radius": 0.02, "steps": 32}
    settings["area"] = float(scenes[2]["object"].float().mean())
    networks = {name: models.load(name) for name in arguments.networks}
    methods = {name: METHODS[name] for name in arguments.methods}
    rows = evaluation.compare(
        methods, networks, scenes, samples=arguments.samples, radius=0.02, steps=32, progress=True
    )
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "leaderboard.md").write_text(document(rows, settings), encoding="utf-8")
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]
    (arguments.out / "leaderboard.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.out / 'leaderboard.md'} and leaderboard.json")


if __name__ == "__main__":
    main()
