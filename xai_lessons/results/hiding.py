"""What the choices of an occlusion method do: the size of the window, the superpixels, the score that RISE averages."""

from __future__ import annotations

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


def measure(images: int = 20, progress: Progress = None) -> results.Result:
    """Windows of several sizes, LIME and Kernel SHAP beside their controls, and RISE with two scores.

    Args:
        images: how many scenes, of all classes in turn.
        progress: True, or a callback (done, total), in scenes.

    Returns:
        "area": the objects' mean fraction of the image; "windows": side of windows next to each other -> and
        "superpixels": name -> the fraction of the positive values that lies on the object, with its 95 % interval;
        "rise": fill -> "negative": the fraction of masked images whose logit is below 0, "alike": the rank correlation
        of the maps of logit and probability, "seen": of the map of the logit and how often each pixel was seen,
        "probability" and "logit": the fraction of peaks on the object.
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
    }
    settings = {"network": NETWORK, "images": images, "segments": SEGMENTS, "samples": SAMPLES, "fill": FILL}
    return results.Result(settings, values)
