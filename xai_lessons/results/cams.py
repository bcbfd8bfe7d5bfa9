"""What lesson 2 says of many pictures: five CAM methods, a network that cheats, a cheetah without its parts."""

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
PARTS = ("markings", "eyes", "tear lines", "nose", "mouth", "muzzle", "ears", "body", "legs", "tail", "clutter")


def family(model: Any, images: Tensor, labels: Tensor, objects: Tensor) -> dict[str, dict[str, list[float]]]:
    """How well the five methods find the object.

    Args:
        model: the network.
        images: (N, 3, H, W).
        labels: (N,), the classes.
        objects: bool (N, H, W), the masks.

    Returns:
        Method -> "peak": the fraction of peaks on the object, "fraction": of the map on it, with 95 % intervals.
    """
    found = {}
    for name, method in METHODS.items():
        maps = method(model, images, labels).cpu()
        peak = interval(evaluation.pointing_game(maps, objects), proportion=True)
        found[name] = {"peak": peak, "fraction": interval(evaluation.energy_inside(maps, objects))}
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


def parts(model: Any, scenes: Sequence[menagerie.Scene], names: Sequence[str] = PARTS) -> dict[str, dict[str, Any]]:
    """What each part of an object is worth to a network, beside its area and what the map shows of it.

    Args:
        model: the network.
        scenes: of one class.
        names: of the parts.

    Returns:
        Part -> of the scenes in which it is seen: "area": its fraction of the object; "map": of Grad-CAM; "drop" of
        the logit without it and "moved", the control (see `evaluation.part_importance`), each with its standard error;
        "flips": how many are no longer of their class, and "of" how many.
    """
    effects = evaluation.part_importance(model, scenes, names, scenes[0].name)
    maps = cam.grad_cam(model, torch.stack([scene.image for scene in scenes]), scenes[0].name).cpu()
    found = {}
    for part, effect in effects.items():
        seen = [n for n, scene in enumerate(scenes) if part in scene.masks]
        inside = torch.stack([scenes[n].masks[part] for n in seen])
        whole = torch.stack([scenes[n].masks["object"] for n in seen])
        found[part] = {
            "area": float((inside.float().sum((1, 2)) / whole.sum((1, 2))).mean()),
            "map": float(evaluation.energy_inside(maps[seen], inside).mean()),
            "drop": _mean(effect.drop[seen]),
            "moved": _mean(effect.moved[seen]),
            "flips": int(effect.flipped.nansum()),
            "of": int((~effect.flipped.isnan()).sum()),
        }
    return found


def measure(images: int = 60, cues: int = 100, cheetahs: int = 24, progress: Progress = None) -> results.Result:
    """All three, on drawn images.

    Args:
        images: how many, of all classes, for the five methods.
        cues: how many scenes of each class with a cue.
        cheetahs: how many, for the parts.
        progress: True, or a callback (done, total), in networks.

    Returns:
        "family": network -> `family`; "cheat": class -> network -> `with_and_without`; "parts": network -> `parts`.
    """
    networks = {title: models.load(name, device="cpu") for title, name in (NETWORKS | CHEATS).items()}
    pictures, labels, masks = menagerie.sample(images, seed=2)
    spotted = [menagerie.draw("cheetah", seed=seed) for seed in range(cheetahs)]
    values: dict[str, Any] = {"family": {}, "cheat": {}, "parts": {}}
    with Meter(progress, len(NETWORKS) + len(CUES)) as meter:
        for title in NETWORKS:
            values["family"][title] = family(networks[title], pictures, labels, masks["object"])
            values["parts"][title] = parts(networks[title], spotted)
            meter.add(1)
        for name, cue in CUES:
            scenes = [menagerie.draw(name, seed=seed, **{cue: True}) for seed in range(cues)]
            values["cheat"][name] = {title: with_and_without(networks[title], scenes, cue) for title in CHEATS}
            meter.add(1)
    settings = {"images": images, "cues": cues, "cheetahs": cheetahs, "networks": list((NETWORKS | CHEATS).values())}
    return results.Result(settings, values)


def _right(model: Any, images: Tensor, label: int) -> Tensor:
    return (model.predict(images).argmax(dim=1).cpu() == label).float()


def _mean(values: Tensor) -> list[float]:
    """The mean and its standard error."""
    return [float(values.mean()), float(values.std() / len(values) ** 0.5)]
