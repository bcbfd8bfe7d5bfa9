"""Redraw against fill: does hiding the pixels of a part change the logit as much as drawing the scene without it?"""

from __future__ import annotations

import torch
from torch import Tensor

from xai_lessons import models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import occlusion
from xai_lessons.results.cheat import interval

NETWORKS = {
    "residual": "menagerie-resnet",
    "VGG-like": "menagerie-vgg",
    "robust": "menagerie-robust",
    "shortcut": "menagerie-shortcut",
}
HOLES = ("its pixels", "a box around it")
DRAWN, NOTHING = "drawn", "left as it is"
FILLS = (*occlusion.FILLS, DRAWN, NOTHING)
SMALLEST = 4  # pixels: parts of fewer are left out
BATCH = 64


def box(mask: Tensor) -> Tensor:
    """The smallest box around a mask.

    Args:
        mask: bool (H, W), somewhere True.

    Returns:
        Bool (H, W).

    Example:
        >>> box(torch.eye(3, dtype=torch.bool) & torch.tensor([True, True, False])).int()
        tensor([[1, 1, 0],
                [1, 1, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    (top, left), (bottom, right) = mask.nonzero().amin(dim=0), mask.nonzero().amax(dim=0) + 1
    inside = torch.zeros_like(mask)
    inside[top:bottom, left:right] = True
    return inside


def versions(scene: menagerie.Scene, part: str) -> list[Tensor]:
    """A scene redrawn without a part, then with the part hidden in all ways.

    Args:
        scene: of the drawn world.
        part: name of a mask.

    Returns:
        1 + holes * fills images (3, H, W), hole by hole, in the order of `FILLS`.
    """
    x, redrawn, mask = scene.image, scene.without(part).image, scene.masks[part]
    fills = [*(occlusion.filling(x, fill) for fill in occlusion.FILLS), redrawn, x]
    return [redrawn, *(torch.where(hole, fill, x) for hole in (mask, box(mask)) for fill in fills)]


def measure(per_class: int = 10, progress: Progress = None) -> results.Result:
    """The error of hiding a part: how far the drop of the logit is from the drop when the part is drawn no more.

        error = |(Y^c(x) - Y^c(x with the part hidden)) - (Y^c(x) - Y^c(x redrawn without the part))|

    with c the true class. A scene's error is the mean over its parts; the printed tag is counted for itself.

    Args:
        per_class: scenes of each class, without a tree and with a tag.
        progress: True, or a callback (done, total), in scenes.

    Returns:
        Network -> "parts" or "tag" -> "count" of pairs of scene and part, "redrawn": the mean |drop| of redrawing, and
        hole -> fill -> the mean error with its 95 % interval (bootstrap over the scenes) and the mean signed error.
    """
    loaded = {name: models.load(network, device="cpu") for name, network in NETWORKS.items()}
    found: dict[tuple[str, str], list[Tensor]] = {(name, kind): [] for name in NETWORKS for kind in ("parts", "tag")}
    with Meter(progress, per_class * len(menagerie.CLASSES)) as meter:
        for name in menagerie.CLASSES:
            for seed in range(per_class):
                scene = menagerie.draw(name, seed, tree=False, tag=True)
                masks = {part: scene.masks[part] for part in (*menagerie.PARTS[name], "tag") if part in scene.masks}
                parts = [part for part, mask in masks.items() if int(mask.sum()) >= SMALLEST]
                images = torch.stack([scene.image, *(image for part in parts for image in versions(scene, part))])
                is_tag = torch.tensor([part == "tag" for part in parts])
                for network, model in loaded.items():
                    with torch.no_grad():
                        Y = torch.cat([model(batch) for batch in images.split(BATCH)])[:, scene.label]
                    drops = (Y[0] - Y[1:]).view(len(parts), -1)
                    for kind, chosen in (("parts", ~is_tag), ("tag", is_tag)):
                        if chosen.any():
                            found[network, kind].append(drops[chosen])
                meter.add(1)
    values: dict[str, dict[str, object]] = {network: {} for network in NETWORKS}
    for (network, kind), drops_of_scenes in found.items():
        values[network][kind] = _summary(drops_of_scenes)
    return results.Result({"networks": NETWORKS, "per_class": per_class, "smallest": SMALLEST}, values)


def _summary(drops_of_scenes: list[Tensor]) -> dict[str, object]:
    """The errors of all scenes, from their drops (parts, 1 + holes * fills)."""
    signed = [(drops[:, 1:] - drops[:, :1]).unflatten(1, (len(HOLES), -1)) for drops in drops_of_scenes]
    errors = torch.stack([each.abs().mean(dim=0) for each in signed])
    bias = torch.cat(signed).mean(dim=0)
    return {
        "count": sum(map(len, drops_of_scenes)),
        "redrawn": float(torch.cat(drops_of_scenes)[:, 0].abs().mean()),
        **{
            hole: {fill: [*interval(errors[:, i, k]), float(bias[i, k])] for k, fill in enumerate(FILLS)}
            for i, hole in enumerate(HOLES)
        },
    }
