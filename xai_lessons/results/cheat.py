"""Does an explanation show that a network cheats? Methods and controls on an honest, a cheating, a repaired network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.lessons import detective
from xai_lessons.methods import cam, saliency

KIND, CUE = "bird", "tree"
REPAIR = {"count": 1200, "epochs": 4}
IMAGES = 100
BATCH = 20
COPIES, SIGMA = 8, 0.04  # of SmoothGrad
NETWORKS = ("honest", "shortcut", "repaired")
METRICS = ("peak on the bird", "fraction on the bird", "fraction on the tree")
METHODS: dict[str, Callable[..., Tensor]] = {
    "Gradient": saliency.gradient,
    "Gradient × input": saliency.gradient_x_input,
    "Deconvnet": saliency.deconvnet,
    "Guided backprop": saliency.guided_backprop,
    "Integrated gradients": partial(saliency.integrated_gradients, steps=8),
    "Gradient SHAP": partial(saliency.gradient_shap, samples=8),
    "DeepLIFT": saliency.deep_lift,
    "LRP, epsilon": saliency.lrp,
    "LRP, gamma": partial(saliency.lrp, rule="gamma"),
    "Guided Grad-CAM": saliency.guided_grad_cam,
    "Grad-CAM": cam.grad_cam,
}
#: Maps that ignore the network.
BASELINES = {"edges": "edges", "center blob": "center blob"}
#: Squares, roots and products of the maps above, of what the methods and baselines give.
CONTROLS: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "Gradient, squared": lambda heat: heat["Gradient"] ** 2,
    "SmoothGrad², root": lambda heat: heat["SmoothGrad²"].sqrt(),
    "VarGrad, root": lambda heat: heat["VarGrad"].sqrt(),
    "edges, squared": lambda heat: heat["edges"] ** 2,
    "edges × Grad-CAM": lambda heat: heat["edges"] * heat["Grad-CAM"],
}


def interval(values: Tensor, proportion: bool = False) -> list[float]:
    """The mean of values with its 95 % interval: that of the bootstrap, or Wilson's of a proportion.

    Args:
        values: (N,).
        proportion: whether the values are only 0 and 1.

    Returns:
        The mean, the lower and the upper end.

    Example:
        >>> import torch
        >>> [round(end, 2) for end in interval(torch.ones(100), proportion=True)]
        [1.0, 0.96, 1.0]

    Source:
        `evaluation.wilson_interval`; Efron, 1979, "Bootstrap methods: another look at the jackknife".
    """
    values = values.double()
    n, mean = len(values), float(values.mean())
    if proportion:
        return [mean, *evaluation.wilson_interval(mean, n)]
    drawn = torch.randint(n, (2000, n), generator=torch.Generator().manual_seed(0))
    ends = values[drawn].mean(dim=1).quantile(torch.tensor([0.025, 0.975]).double())
    return [mean, *ends.tolist()]


def networks() -> dict[str, models.Classifier]:
    """The honest network, the one that learned birds by their trees, and a repaired copy of it.

    Returns:
        Name -> network. The repair trains for about a minute.
    """
    shortcut = models.load("menagerie-shortcut", device="cpu")
    suspect = detective.Suspect("shortcut", shortcut, planted=("tree", "tag"))
    repaired = detective.repair(suspect, CUE, **REPAIR).model
    return {"honest": models.load("menagerie-resnet", device="cpu"), "shortcut": shortcut, "repaired": repaired}


def heatmaps(model: models.Classifier, images: Tensor, target: int) -> dict[str, Tensor]:
    """The maps of all methods, baselines and controls.

    Args:
        model: the network.
        images: (N, 3, H, W), RGB in [0, 1].
        target: the class to explain.

    Returns:
        Name -> (N, H, W), at least 0; see `evaluation.heat`.
    """
    maps = {name: method(model, images, target) for name, method in METHODS.items()}
    noise = SIGMA * torch.randn(COPIES, *images.shape[1:], generator=torch.Generator().manual_seed(0))
    copies = torch.stack([saliency.gradient(model, (images + one).clamp(0, 1), target) for one in noise])
    maps["SmoothGrad"] = copies.mean(dim=0)
    maps["SmoothGrad²"] = (copies**2).mean(dim=0)
    maps["VarGrad"] = copies.var(dim=0, correction=0)
    heat = {name: evaluation.heat(attribution) for name, attribution in maps.items()}
    heat |= {name: evaluation.heat(evaluation.CONTROLS[key](model, images)) for name, key in BASELINES.items()}
    return heat | {name: control(heat) for name, control in CONTROLS.items()}


def scenes(count: int) -> dict[str, list[menagerie.Scene]]:
    """Birds in leafy trees, the same birds without them, and cats in such trees.

    Args:
        count: of each.

    Returns:
        Name -> scenes.
    """
    birds = [menagerie.draw(KIND, seed=seed, tree=True) for seed in range(count)]
    return {
        "bird in a tree": birds,
        "bird without its tree": [scene.with_(tree=False) for scene in birds],
        "cat in a tree": [menagerie.draw("cat", seed=seed, tree=True) for seed in range(count)],
    }


def score(
    model: models.Classifier, drawn: dict[str, list[menagerie.Scene]], meter: Meter | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's probabilities of a bird, and the scores of all maps of the birds in trees.

    Args:
        model: the network.
        drawn: see `scenes`.
        meter: counts the birds.

    Returns:
        Name of the scenes -> (N,), and name of the map -> (3, N), the scores in the order of `METRICS`.
    """
    c = model.class_index(KIND)
    said = {name: model.predict(torch.stack([scene.image for scene in some]))[:, c] for name, some in drawn.items()}
    birds = drawn["bird in a tree"]
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(birds), BATCH):
        batch = birds[start : start + BATCH]
        masks = [scene.masks for scene in batch]
        for name, heat in heatmaps(model, torch.stack([scene.image for scene in batch]), c).items():
            inside = [evaluation.energy_inside(heat, masks, name=mask) for mask in ("object", CUE)]
            parts.setdefault(name, []).append(torch.stack([evaluation.pointing_game(heat, masks), *inside]))
        if meter is not None:
            meter.add(len(batch))
    return said, {name: torch.cat(each, dim=1) for name, each in parts.items()}


def measure(images: int = IMAGES, progress: Progress = None) -> results.Result:
    """Score all maps of birds in leafy trees on the three networks.

    Args:
        images: how many birds.
        progress: True, or a callback (done, total), called after every batch.

    Returns:
        Per network its probabilities of a bird, and per map and metric the mean with its 95 % interval; "moved" is the
        paired difference of the honest and the shortcut network.
    """
    drawn = scenes(images)
    with Meter(progress, len(NETWORKS) * images) as meter:
        scored = {name: score(model, drawn, meter) for name, model in networks().items()}
    truth = {network: {name: interval(p) for name, p in said.items()} for network, (said, _) in scored.items()}
    maps: dict[str, Any] = {}
    for name in scored["honest"][1]:
        each = {network: scores[name] for network, (_, scores) in scored.items()}
        each["moved"] = each["honest"] - each["shortcut"]
        maps[name] = {
            key: {METRICS[i]: interval(row, proportion=i == 0 and key != "moved") for i, row in enumerate(rows)}
            for key, rows in each.items()
        }
    masks = [scene.masks for scene in drawn["bird in a tree"]]
    covers = {name: float(torch.stack([m[name] for m in masks]).float().mean()) for name in ("object", CUE)}
    settings = {"images": images, "copies": COPIES, "sigma": SIGMA}
    return results.Result(settings, {"covers": covers, "truth": truth, "maps": maps})
