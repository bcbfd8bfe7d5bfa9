"""What lesson 2 says of pictures with two animals: the map's class, a class that is not there, two of one class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam
from xai_lessons.results.cams import METHODS, NETWORKS, scores
from xai_lessons.results.cheat import interval

ANIMALS = ("cat", "dog")
CONTROLS = ("random", "center blob", "edges")
EARLIER = "stage2"  # a layer of the pooling network that is ahead when there is one object


def at_places(masks: Tensor) -> Tensor:
    """Masks as a map of 12 x 12 places would show them: averaged down to them, and resized as a CAM is.

    Args:
        masks: bool (N, H, W).

    Returns:
        (N, H, W), at least 0.

    Example:
        >>> import torch
        >>> from xai_lessons.results import pairs
        >>> mask = torch.zeros(1, 96, 96, dtype=torch.bool)
        >>> mask[:, 40:48, 40:48] = True
        >>> round(float(pairs.at_places(mask)[mask].sum() / pairs.at_places(mask).sum()), 2)
        0.57
    """
    coarse = F.adaptive_avg_pool2d(masks.float()[:, None], 12)
    return F.interpolate(coarse, size=masks.shape[1:], mode="bicubic", align_corners=False)[:, 0].relu()


def found(networks: dict[str, Any], scenes: list[Any]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """How well Grad-CAM and controls find the one of two animals that they are asked for.

    Args:
        networks: title -> network, the first one with a pooling head.
        scenes: pairs of `ANIMALS`.

    Returns:
        Target class -> map -> `cams.scores` on this animal, with "other": the fraction on the other one.
    """
    x = torch.stack([scene.image for scene in scenes])
    first = next(iter(networks))
    rows: dict[str, dict[str, Any]] = {}
    for name, other in (ANIMALS, ANIMALS[::-1]):
        masks = {key: torch.stack([scene.masks[key] for scene in scenes]) for key in ANIMALS}
        maps = {f"Grad-CAM, {title}": cam.grad_cam(network, x, name).cpu() for title, network in networks.items()}
        maps[f"Grad-CAM, {first}, {EARLIER}"] = cam.grad_cam(networks[first], x, name, layer=EARLIER).cpu()
        maps["the true mask, 12 x 12 places"] = at_places(masks[name])
        maps |= {key: evaluation.CONTROLS[key](None, x) for key in CONTROLS}
        rows[name] = {}
        for key, M in maps.items():
            rows[name][key] = scores(M, masks, other, name=name)
            rows[name][key]["other"] = rows[name][key].pop(other)
    return rows


def absent(model: Any, scenes: list[Any]) -> dict[str, dict[str, list[float]]]:
    """How much of a map lies on the two animals when its target class is neither of them.

    Args:
        model: the network.
        scenes: pairs of `ANIMALS`.

    Returns:
        Method -> absent class, and "all" of them -> the fraction on both animals, with its 95 % interval.
    """
    x = torch.stack([scene.image for scene in scenes])
    both = torch.stack([scene.masks[ANIMALS[0]] | scene.masks[ANIMALS[1]] for scene in scenes])
    on: dict[str, dict[str, list[float]]] = {}
    for title, method in METHODS.items():
        each = {
            name: evaluation.energy_inside(method(model, x, name).cpu(), both)
            for name in model.classes
            if name not in ANIMALS
        }
        on[title] = {name: interval(values) for name, values in each.items()}
        on[title]["all"] = interval(torch.stack([*each.values()]).mean(dim=0))
    return on


def fainter(maps: Tensor, scenes: list[Any]) -> Tensor:
    """The peak of each map on the fainter of two animals, as a fraction of the one on the other.

    Args:
        maps: (N, H, W).
        scenes: N pairs.

    Returns:
        (N,), at most 1; 0 where the map is empty on both.
    """
    highs = [[float(M[p.masks[n]].max()) for n in p.objects] for M, p in zip(maps.cpu(), scenes, strict=True)]
    low, high = torch.tensor(highs).aminmax(dim=1)
    return torch.where(high > 0, low / high, 0)


def measure(pairs: int = 100, strangers: int = 24, progress: Progress = None) -> results.Result:
    """All three, on drawn pairs.

    Args:
        pairs: how many pictures of cat and dog, and of two cats.
        strangers: of how many of them maps of the absent classes are made.
        progress: True, or a callback (done, total), in networks.

    Returns:
        "found": see `found`; "worst": network -> the seed of the pair whose map has the smallest fraction on the cat;
        "absent": network -> `absent`; "area": of both animals in these pictures; "cats": network -> method ->
        "fainter": see `fainter`, with its 95 % interval, "smallest", and "seed", the pair that has it.
    """
    networks = {title: models.load(name, device="cpu") for title, name in NETWORKS.items()}
    scenes = [menagerie.draw_pair(*ANIMALS, seed=seed) for seed in range(pairs)]
    cats = [menagerie.draw_pair("cat", "cat", seed=seed) for seed in range(pairs)]
    x, two = (torch.stack([scene.image for scene in some]) for some in (scenes, cats))
    on_cat = torch.stack([scene.masks["cat"] for scene in scenes])
    animals = torch.stack([scene.masks["cat"] | scene.masks["dog"] for scene in scenes[:strangers]])
    values: dict[str, Any] = {"found": found(networks, scenes), "worst": {}, "absent": {}, "cats": {}}
    values["area"] = float(animals.float().mean())
    with Meter(progress, len(networks)) as meter:
        for title, network in networks.items():
            heat = cam.grad_cam(network, x, "cat").cpu()
            values["worst"][title] = int(evaluation.energy_inside(heat, on_cat).argmin())
            values["absent"][title] = absent(network, scenes[:strangers])
            values["cats"][title] = {}
            for name in ("Grad-CAM", "Grad-CAM++"):
                ratio = fainter(METHODS[name](network, two, "cat"), cats)
                kept = {"fainter": interval(ratio), "smallest": float(ratio.min()), "seed": int(ratio.argmin())}
                values["cats"][title][name] = kept
            meter.add(1)
    settings = {"pairs": pairs, "strangers": strangers, "networks": list(NETWORKS.values())}
    return results.Result(settings, values)
