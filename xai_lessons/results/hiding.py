"""What the choices of an occlusion method do: windows, superpixels, the score of RISE, the fill of Shapley values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import occlusion
from xai_lessons.results.cheat import interval

NETWORK = "menagerie-resnet"
PATCHES = (4, 8, 12, 16, 20, 24, 32, 48)
SEGMENTS, SAMPLES = 40, 300
FILL = "blur"
MASK_FILLS = ("black", "blur")
PLAYERS = ("ears", "eyes", "nose", "mouth", "tear lines", "markings", "body", "legs")  # of a cheetah
PART_FILLS = ("gray", "blur")


def superpixel_maps(model: Any, x: Tensor, c: int, mask: Tensor, seed: int) -> dict[str, Tensor]:
    """LIME and Kernel SHAP, and what other values for the same superpixels give.

    Args:
        model: the network.
        x: (3, H, W) in [0, 1].
        c: the class.
        mask: bool (H, W), the object, for the best possible map.
        seed: of the random values.

    Returns:
        Name -> (H, W).
    """
    cut = occlusion.superpixels(x, SEGMENTS)
    some = [cut == i for i in range(int(cut.max()) + 1)]
    options: dict[str, Any] = {"segments": cut, "samples": SAMPLES, "fill": FILL}
    window = occlusion.occlusion(model, x, c, fill=FILL)
    with torch.no_grad():
        hidden = model(torch.stack([x, *(torch.where(one, occlusion.filling(x, FILL), x) for one in some)]))[:, c]
    inside = torch.stack([mask[one].float().mean() for one in some])
    means = torch.stack([window[one].mean() for one in some])
    random = torch.rand(len(some), generator=torch.Generator().manual_seed(seed))
    return {
        "sliding window": window,
        "the same, averaged in superpixels": means[cut],
        "superpixels hidden one by one": (hidden[0] - hidden[1:])[cut],
        "LIME": occlusion.lime(model, x, c, **options),
        "Kernel SHAP": occlusion.kernel_shap(model, x, c, **options),
        "random values": random[cut],
        "the best single superpixel": (inside == inside.max()).float()[cut],
    }


def rise_maps(model: Any, x: Tensor, c: int, fill: str) -> dict[str, Tensor]:
    """RISE with the probability and with the logit, and how often each pixel was seen.

    Args:
        model: the network.
        x: (3, H, W) in [0, 1].
        c: the class.
        fill: see `occlusion.filling`.

    Returns:
        "probability", "logit", "seen": (H, W); "logits": (SAMPLES,), of the masked images.
    """
    masks = occlusion.random_masks(SAMPLES, *x.shape[-2:]).float()
    images = torch.lerp(occlusion.filling(x, fill), x, masks[:, None])
    with torch.no_grad():
        Y = torch.cat([model(batch) for batch in images.split(50)])
    weights = {"probability": Y.softmax(dim=1)[:, c], "logit": Y[:, c]}
    maps = {name: torch.einsum("n,nhw->hw", one, masks) / (0.5 * SAMPLES) for name, one in weights.items()}
    return {**maps, "seen": masks.mean(dim=0), "logits": Y[:, c]}


def shapley(v: Tensor) -> Tensor:
    """Exact Shapley values: phi_i = sum over S without i of (v(S + i) - v(S)) / (n binom(n - 1, |S|)).

    Args:
        v: (2^n,), the value of each coalition, with a bit of its number for each player.

    Returns:
        (n,).

    Example:
        >>> shapley(torch.tensor([0.0, 1.0, 1.0, 4.0])).tolist()
        [2.0, 2.0]

    Source: Shapley, 1953, "A value for n-person games", doi:10.1515/9781400881970-018.
    """
    n = len(v).bit_length() - 1
    phi = v.new_zeros(n)
    for i in range(n):
        for S in range(len(v)):
            if not S >> i & 1:
                phi[i] += (v[S | 1 << i] - v[S]) / (n * math.comb(n - 1, S.bit_count()))
    return phi


def of_parts(model: Any, scene: menagerie.Scene) -> dict[str, Tensor]:
    """The Shapley values of `PLAYERS` for the logit, where absent parts are redrawn and where they are filled.

    Args:
        model: the network.
        scene: in which all players can be seen.

    Returns:
        "redrawn" and each of `PART_FILLS` -> (n,).
    """
    x, n = scene.image, len(PLAYERS)
    gone = [[part for i, part in enumerate(PLAYERS) if not S >> i & 1] for S in range(2**n)]
    holes = [torch.stack([torch.zeros_like(scene.masks["object"]), *(scene.masks[p] for p in g)]).any(0) for g in gone]
    shown = {"redrawn": torch.stack([scene.without(*parts).image for parts in gone])}
    shown |= {fill: torch.where(torch.stack(holes)[:, None], occlusion.filling(x, fill), x) for fill in PART_FILLS}
    found = {}
    with torch.no_grad():
        for way, images in shown.items():
            found[way] = shapley(torch.cat([model(batch) for batch in images.split(64)])[:, scene.label].double())
    return found


def filled_parts(cheetahs: int, progress: Progress = None) -> dict[str, dict[str, list[float]]]:
    """How far the Shapley values of filled parts are from those of redrawn parts.

    Args:
        cheetahs: how many scenes in which all players can be seen.
        progress: True, or a callback (done, total), in scenes.

    Returns:
        Fill -> "error": the mean |phi filled - phi redrawn|; "same first": whether both put the same part first; each
        with its 95 % interval; and "nearest": the fraction of the scenes in which this fill has the smallest error.
    """
    model = models.load(NETWORK, device="cpu")
    errors: dict[str, list[Tensor]] = {fill: [] for fill in PART_FILLS}
    first: dict[str, list[Tensor]] = {fill: [] for fill in PART_FILLS}
    seed = 0
    with Meter(progress, cheetahs) as meter:
        while len(errors[FILL]) < cheetahs:
            scene = menagerie.draw("cheetah", seed, tree=False, tag=False)
            seed += 1
            if not all(part in scene.masks for part in PLAYERS):
                continue
            phi = of_parts(model, scene)
            for fill in PART_FILLS:
                errors[fill].append((phi[fill] - phi["redrawn"]).abs().mean())
                first[fill].append((phi[fill].argmax() == phi["redrawn"].argmax()).double())
            meter.add(1)
    least = torch.stack([torch.stack(each) for each in errors.values()]).argmin(dim=0)
    return {
        fill: {
            "error": interval(torch.stack(errors[fill])),
            "same first": interval(torch.stack(first[fill]), proportion=True),
            "nearest": interval((least == k).double(), proportion=True),
        }
        for k, fill in enumerate(PART_FILLS)
    }


def measure(images: int = 20, cheetahs: int = 12, progress: Progress = None) -> results.Result:
    """Windows of several sizes, LIME and Kernel SHAP beside their controls, RISE with two scores, filled parts.

    Args:
        images: how many scenes, of all classes in turn.
        cheetahs: how many for the Shapley values.
        progress: True, or a callback (done, total), in scenes.

    Returns:
        "area": the objects' mean fraction of the image; "windows": side of windows next to each other -> and
        "superpixels": name -> the fraction of the positive values that lies on the object, with its 95 % interval;
        "rise": fill -> "negative": the fraction of masked images whose logit is below 0, "alike": the rank correlation
        of the maps of logit and probability, "seen" and "probability, seen": of the map of the logit, or of the
        probability, and how often each pixel was seen, "probability" and "logit": the fraction of peaks on the object;
        "shapley" as of `filled_parts`.
    """
    model = models.load(NETWORK, device="cpu")
    windows: dict[int, list[Tensor]] = {patch: [] for patch in PATCHES}
    superpixels: dict[str, list[Tensor]] = {}
    rise: dict[str, dict[str, list[Tensor]]] = {fill: {} for fill in MASK_FILLS}
    areas = []
    with Meter(progress, images) as meter:
        for number in range(images):
            name = menagerie.CLASSES[number % len(menagerie.CLASSES)]
            scene = menagerie.draw(name, 100 + number, tree=False, tag=False)
            x, mask = scene.image, scene.masks["object"]
            areas.append(mask.float().mean())
            for patch in PATCHES:
                heat = occlusion.occlusion(model, x, scene.label, patch=patch, stride=patch, fill="gray")
                windows[patch].append(evaluation.energy_inside(heat, mask))
            for key, heat in superpixel_maps(model, x, scene.label, mask, seed=number).items():
                superpixels.setdefault(key, []).append(evaluation.energy_inside(heat, mask))
            for fill, kept in rise.items():
                maps = rise_maps(model, x, scene.label, fill)
                found = {
                    "negative": (maps["logits"] < 0).float().mean(),
                    "alike": evaluation.rank_correlation(maps["logit"][None], maps["probability"][None])[0],
                    "seen": evaluation.rank_correlation(maps["logit"][None], maps["seen"][None])[0],
                    "probability, seen": evaluation.rank_correlation(maps["probability"][None], maps["seen"][None])[0],
                    **{key: mask.flatten()[maps[key].argmax()].float() for key in ("probability", "logit")},
                }
                for key, value in found.items():
                    kept.setdefault(key, []).append(value)
            meter.add(1)
    values = {
        "area": float(torch.stack(areas).mean()),
        "windows": {str(patch): interval(torch.stack(each).nan_to_num()) for patch, each in windows.items()},
        "superpixels": {key: interval(torch.stack(each).nan_to_num()) for key, each in superpixels.items()},
        "rise": {
            fill: {
                key: interval(torch.stack(each), proportion=key in ("probability", "logit"))
                for key, each in kept.items()
            }
            for fill, kept in rise.items()
        },
        "shapley": filled_parts(cheetahs, progress),
    }
    settings = {"network": NETWORK, "images": images, "segments": SEGMENTS, "samples": SAMPLES, "fill": FILL}
    return results.Result({**settings, "cheetahs": cheetahs}, values)
