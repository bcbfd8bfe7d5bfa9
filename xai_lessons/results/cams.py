"""What lesson 2 says of pictures of one object: five CAM methods, all layers, boxes, and a network that cheats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam
from xai_lessons.results.cheat import interval

METHODS: dict[str, Callable[..., Tensor]] = {
    "Grad-CAM": cam.grad_cam,
    "Grad-CAM++": cam.grad_cam_plus_plus,
    "LayerCAM": cam.layer_cam,
    "HiResCAM": cam.hires_cam,
    "Score-CAM": cam.score_cam,
}
NETWORKS = {"pooling head": "menagerie-resnet", "fully-connected": "menagerie-vgg"}
CHEATS = {"honest": "menagerie-resnet", "this one": "menagerie-shortcut"}
CUES = (("umbrella", "tag"), ("bird", "tree"))
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # of boxes


def scores(maps: Tensor, masks: Any, *others: str, name: str = "object") -> dict[str, list[float]]:
    """How well maps find what they are asked for.

    Args:
        maps: (N, H, W) or (N, 3, H, W).
        masks: as for `evaluation.pointing_game`.
        others: names of other masks.
        name: of the mask to find.

    Returns:
        "peak": the fraction of peaks on it; "fraction": of the map on it; and for each of the others the fraction of
        the map there; with 95 % intervals.
    """
    found = {"peak": interval(evaluation.pointing_game(maps.cpu(), masks, name=name), proportion=True)}
    for key, mask in [("fraction", name), *((other, other) for other in others)]:
        found[key] = interval(evaluation.energy_inside(maps.cpu(), masks, name=mask))
    return found


def family(model: Any, images: Tensor, labels: Tensor, objects: Tensor) -> dict[str, dict[str, list[float]]]:
    """How well the five methods find the object.

    Args:
        model: the network.
        images: (N, 3, H, W).
        labels: (N,), the classes.
        objects: bool (N, H, W), the masks.

    Returns:
        Method -> `scores`.
    """
    return {name: scores(method(model, images, labels), objects) for name, method in METHODS.items()}


def layers(model: Any, images: Tensor, labels: Tensor, objects: Tensor) -> dict[str, dict[str, Any]]:
    """How well Grad-CAM finds the object at each layer.

    Args:
        model: the network.
        images: (N, 3, H, W).
        labels: (N,), the classes.
        objects: bool (N, H, W), the masks.

    Returns:
        Layer -> `scores`, and "side": how many places the map has each way.
    """
    found: dict[str, dict[str, Any]] = {}
    for layer in model.layers:
        found[layer] = {"side": cam.grad_cam(model, images[0], layer=layer, size=None).shape[-1]}
        found[layer] |= scores(cam.grad_cam(model, images, labels, layer=layer), objects)
    return found


def boxes(maps: Tensor, objects: Tensor) -> list[list[float]]:
    """How much the boxes of maps overlap with those of the objects, for each threshold.

    Args:
        maps: (N, H, W).
        objects: bool (N, H, W), the masks.

    Returns:
        For each of `THRESHOLDS` the mean intersection over union, with its 95 % interval.
    """
    true = cam.bounding_box(objects.float(), 0.5).tolist()
    found = []
    for threshold in THRESHOLDS:
        drawn = cam.bounding_box(maps, threshold).tolist()
        overlaps = [evaluation.intersection_over_union(a, b) for a, b in zip(drawn, true, strict=True)]
        found.append(interval(torch.tensor(overlaps)))
    return found


def with_and_without(model: Any, scenes: Sequence[menagerie.Scene], cue: str) -> dict[str, list[float]]:
    """What a cue is worth to a network, and where Grad-CAM of the true class has its peak.

    Args:
        model: the network.
        scenes: of one class, all with the cue.
        cue: "tag" or "tree".

    Returns:
        "with", "without": the fraction of right answers; "at cue", "at object": of peaks there, to 8 pixels; all with
        their 95 % interval.
    """
    x = torch.stack([scene.image for scene in scenes])
    without = torch.stack([scene.without(cue).image for scene in scenes])
    masks = [evaluation.object_masks(scene) for scene in scenes]
    maps = cam.grad_cam(model, x, scenes[0].name).cpu()
    found = {key: _right(model, y, scenes[0].label) for key, y in (("with", x), ("without", without))}
    for key, name in (("at cue", cue), ("at object", scenes[0].name)):
        found[key] = evaluation.pointing_game(maps, torch.stack([one[name] for one in masks]), tolerance=8)
    return {key: interval(value, proportion=True) for key, value in found.items()}


def measure(images: int = 200, cues: int = 100, progress: Progress = None) -> results.Result:
    """All of them, on drawn images.

    Args:
        images: how many, of all classes.
        cues: how many scenes of each class with a cue.
        progress: True, or a callback (done, total), in networks.

    Returns:
        "family": network -> `family`; "layers": network -> `layers`; "right": network -> how often it is; "blob": the
        `scores` of the center blob; "boxes": map -> `boxes`; "exam": how often the honest and the cheating network are
        right on images of the test split with all cues; "cheat": class -> network -> `with_and_without`.
    """
    networks = {title: models.load(name, device="cpu") for title, name in (NETWORKS | CHEATS).items()}
    pictures, labels, masks = menagerie.sample(images, seed=2)
    objects = masks["object"]
    planted, solution, _ = menagerie.sample(images, seed=4, split="test", shortcuts=("tree", "tag"))
    blob = evaluation.CONTROLS["center blob"](None, pictures)
    heat = cam.grad_cam(networks["pooling head"], pictures, labels)
    values: dict[str, Any] = {key: {} for key in ("family", "layers", "right", "exam", "cheat")}
    values["blob"] = scores(blob, objects)
    values["boxes"] = {"Grad-CAM": boxes(heat, objects), "center blob": boxes(blob, objects)}
    with Meter(progress, len(NETWORKS) + len(CUES)) as meter:
        for title in NETWORKS:
            model = networks[title]
            values["family"][title] = family(model, pictures, labels, objects)
            values["layers"][title] = layers(model, pictures, labels, objects)
            values["right"][title] = interval(_right(model, pictures, labels), proportion=True)
            meter.add(1)
        for title in CHEATS:
            values["exam"][title] = interval(_right(networks[title], planted, solution), proportion=True)
        for name, cue in CUES:
            scenes = [menagerie.draw(name, seed=seed, **{cue: True}) for seed in range(cues)]
            values["cheat"][name] = {title: with_and_without(networks[title], scenes, cue) for title in CHEATS}
            meter.add(1)
    settings = {"images": images, "cues": cues, "thresholds": THRESHOLDS}
    return results.Result(settings | {"networks": list((NETWORKS | CHEATS).values())}, values)


def _right(model: Any, images: Tensor, labels: Tensor | int) -> Tensor:
    return (model.predict(images).argmax(dim=1).cpu() == labels).float()
