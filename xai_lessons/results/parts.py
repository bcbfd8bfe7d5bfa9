"""Parts of an animal, removed one at a time and looked up in maps: what a network needs, and what its maps show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, occlusion
from xai_lessons.results import cheat
from xai_lessons.results.cheat import interval
from xai_lessons.results.pairs import at_places

NETWORKS = {"ResNet": "menagerie-resnet", "VGG": "menagerie-vgg", "robust": "menagerie-robust"}
PARTS = ("markings", "eyes", "tear lines", "nose", "mouth", "muzzle", "ears", "body", "legs", "tail", "clutter")
FACE = ("head", "ears", "eyes", "nose", "mouth", "muzzle", "whiskers", "tear lines", "trunk", "tusks")
FACES = ("dog", "cat", "cheetah", "elephant")
#: Maps with a value for each pixel, and those of occlusion.
FINE = {name: method for name, method in cheat.METHODS.items() if name != "Grad-CAM"}
FINE["Occlusion"] = partial(occlusion.occlusion, patch=12, stride=4, fill="blur")


def parts(model: Any, scenes: Sequence[menagerie.Scene], names: Sequence[str] = PARTS) -> dict[str, dict[str, Any]]:
    """What each part of an object is worth to a network, beside its area and what the map shows of it.

    Args:
        model: the network.
        scenes: of one class.
        names: of the parts.

    Returns:
        Part -> of the scenes in which it is seen: "area": its fraction of the object; "map": its fraction of what
        Grad-CAM has on the object; "drop" of the logit without it and "moved", the control (see
        `evaluation.part_importance`), each with its standard error; "flips": how many are no longer of their class, and
        "of" how many.
    """
    effects = evaluation.part_importance(model, scenes, names, scenes[0].name)
    maps = cam.grad_cam(model, torch.stack([scene.image for scene in scenes]), scenes[0].name).cpu()
    found = {}
    for part, effect in effects.items():
        seen = [n for n, scene in enumerate(scenes) if part in scene.masks]
        inside = torch.stack([scenes[n].masks[part] for n in seen])
        whole = torch.stack([scenes[n].masks["object"] for n in seen])
        found[part] = {
            "area": on_part(torch.ones_like(maps[seen]), inside, whole)[0],
            "map": on_part(maps[seen], inside, whole)[0],
            "drop": _mean(effect.drop[seen]),
            "moved": _mean(effect.moved[seen]),
            "flips": int(effect.flipped.nansum()),
            "of": int((~effect.flipped.isnan()).sum()),
        }
    return found


def on_part(maps: Tensor, inside: Tensor, whole: Tensor) -> list[float]:
    """How much of what a map has on the object lies on a part of it.

    Args:
        maps: (N, H, W) or (N, 3, H, W).
        inside: bool (N, H, W), the part.
        whole: bool (N, H, W), the object.

    Returns:
        The mean fraction with its 95 % interval.
    """
    heat = evaluation.heat(maps).cpu()
    on = (heat * inside).sum((1, 2)) / (heat * whole).sum((1, 2))
    return interval(on[on.isfinite()])


def spots(model: Any, scenes: Sequence[menagerie.Scene]) -> dict[str, dict[str, Any]]:
    """How much of what a map has on the animal lies on its markings, for maps of every resolution.

    Args:
        model: the network.
        scenes: animals with markings.

    Returns:
        "maps": "area of the spots", a perfect map of 12 x 12 places, the methods of `FINE`, and the edges as a control
        -> the fraction with its 95 % interval; "layers": layer -> "side", how many places Grad-CAM has there each way,
        and "fraction".
    """
    x = torch.stack([scene.image for scene in scenes])
    inside, whole = (torch.stack([scene.masks[name] for scene in scenes]) for name in ("markings", "object"))
    found = {
        "area of the spots": on_part(torch.ones_like(x[:, 0]), inside, whole),
        "the true mask, 12 x 12 places": on_part(at_places(inside), inside, whole),
    }
    for name, method in FINE.items():
        found[name] = on_part(method(model, x, scenes[0].name), inside, whole)
    found["edges, no network"] = on_part(evaluation.CONTROLS["edges"](model, x), inside, whole)
    layers = {}
    for layer in model.layers:
        M = cam.grad_cam(model, x, scenes[0].name, layer=layer)
        side = cam.grad_cam(model, x[0], layer=layer, size=None).shape[-1]
        layers[layer] = {"side": side, "fraction": on_part(M, inside, whole)}
    return {"maps": found, "layers": layers}


def faces(networks: dict[str, Any], drawings: int) -> dict[str, dict[str, list[float]]]:
    """How much of what Grad-CAM has on an animal lies on its face.

    Args:
        networks: title -> network.
        drawings: of each animal.

    Returns:
        Animal -> "area" of the face, "edges", a map that ignores the network, and each network -> the fraction with its
        95 % interval.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for name in FACES:
        scenes = [menagerie.draw(name, seed=seed, grain=0.0) for seed in range(drawings)]
        x, whole = (torch.stack(each) for each in zip(*((s.image, s.masks["object"]) for s in scenes), strict=True))
        face = torch.stack([torch.stack([s.masks[p] for p in FACE if p in s.masks]).any(dim=0) for s in scenes])
        found[name] = {"area": on_part(torch.ones_like(x[:, 0]), face, whole)}
        found[name]["edges"] = on_part(evaluation.CONTROLS["edges"](None, x), face, whole)
        for title, network in networks.items():
            found[name][title] = on_part(cam.grad_cam(network, x, name), face, whole)
    return found


def measure(cheetahs: int = 48, drawings: int = 24, progress: Progress = None) -> results.Result:
    """All three, on drawn animals.

    Args:
        cheetahs: how many.
        drawings: of each animal, for the faces.
        progress: True, or a callback (done, total), in networks.

    Returns:
        "parts": network -> `parts`; "spots": network -> `spots`; "faces": see `faces`.
    """
    networks = {title: models.load(name, device="cpu") for title, name in NETWORKS.items()}
    scenes = [menagerie.draw("cheetah", seed=seed) for seed in range(cheetahs)]
    values: dict[str, Any] = {"parts": {}, "spots": {}, "faces": faces(networks, drawings)}
    with Meter(progress, len(networks)) as meter:
        for title, network in networks.items():
            values["parts"][title] = parts(network, scenes)
            values["spots"][title] = spots(network, scenes)
            meter.add(1)
    return results.Result({"cheetahs": cheetahs, "drawings": drawings, "networks": list(NETWORKS.values())}, values)


def _mean(values: Tensor) -> list[float]:
    """The mean and its standard error."""
    return [float(values.mean()), float(values.std() / len(values) ** 0.5)]
