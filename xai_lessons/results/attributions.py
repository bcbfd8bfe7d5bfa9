"""What lesson 3 says of many pictures: scores, sums, the way from black, a broken network, noise, baselines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, saliency
from xai_lessons.results import cheat
from xai_lessons.results.cheat import interval

SAMPLES = 8  # noisy copies, random points
STEPS = 16  # of the way from the baseline
METHODS: dict[str, Callable[..., Tensor]] = {
    name: method for name, method in cheat.METHODS.items() if name not in ("LRP, gamma", "Grad-CAM")
} | {
    "Integrated gradients": partial(saliency.integrated_gradients, steps=STEPS),
    "SmoothGrad": partial(saliency.smooth_grad, samples=SAMPLES),
    "SmoothGrad²": partial(saliency.smooth_grad, samples=SAMPLES, kind="square"),
    "VarGrad": partial(saliency.smooth_grad, samples=SAMPLES, kind="var"),
}
CONTROLS = ("center blob", "edges")
ADD_UP = ("Integrated gradients", "Gradient SHAP", "DeepLIFT", "Gradient × input")
SUSPECTS: dict[str, Callable[..., Tensor]] = {
    "gradient": saliency.gradient,
    "guided backprop": saliency.guided_backprop,
    "Grad-CAM": cam.grad_cam,
    "edges (no network)": evaluation.CONTROLS["edges"],
}
FORGOTTEN = (0, 1, 4, 7, 9, 10, 11)  # layers
SIGMAS = (0.0, 0.02, 0.04, 0.08, 0.15, 0.3)
BASELINES: dict[str, Any] = {"black": 0.0, "gray": 0.5, "white": 1.0, "mean color": "mean", "blurred": "blur"}


def on_the_object(model: Any, x: Tensor, classes: Tensor, objects: Tensor) -> dict[str, list[float]]:
    """The fraction of each map that lies on the object.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.
        objects: bool (N, H, W), the masks.

    Returns:
        Name of the method or control -> the mean with its 95 % interval.
    """
    maps = METHODS | {name: evaluation.CONTROLS[name] for name in CONTROLS}
    return {
        name: interval(evaluation.energy_inside(one(model, x, classes).cpu(), objects)) for name, one in maps.items()
    }


def sums(model: Any, x: Tensor, classes: Tensor) -> dict[str, float]:
    """How far the sums of the maps that should add up are from the change of the logit, from black.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.

    Returns:
        Method -> the median deviation, relative to the change.
    """
    change = rise(model, x, classes)
    found = {}
    for name in ADD_UP:
        total = METHODS[name](model, x, classes).sum(dim=(1, 2, 3)).cpu()
        found[name] = float(((total - change).abs() / change).median())
    return found


def rise(model: Any, x: Tensor, classes: Tensor) -> Tensor:
    """The logits of these classes, minus those of a black image, (N,)."""
    n = torch.arange(len(x))
    with torch.no_grad():
        return (model(x) - model(torch.zeros_like(x[:1])))[n, classes].cpu()


def on_the_way(model: Any, x: Tensor, classes: Tensor) -> dict[str, Any]:
    """What each quarter of the way from black to the image brings in.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.

    Returns:
        "quarters": for each the sums of the positive ("for") and of the negative contributions ("against"), "together"
        with its 95 % interval, and the "size" of the gradient, relative to the largest of that image; "off": how far
        the sum of all is from the change of the logit, relative to it: "median" and "most".
    """
    slopes = torch.stack([saliency.gradient(model, (k + 0.5) / STEPS * x, classes).cpu() for k in range(STEPS)])
    steps, sizes = slopes * x / STEPS, slopes.flatten(2).norm(dim=2)
    quarters = []
    for k in range(0, STEPS, STEPS // 4):
        part = steps[k : k + STEPS // 4].sum(dim=0).flatten(1)
        size = (sizes[k : k + STEPS // 4].mean(dim=0) / sizes.amax(dim=0)).mean()
        ends = {"for": part.clamp(min=0), "against": part.clamp(max=0)}
        quarter = {key: float(each.sum(dim=1).mean()) for key, each in ends.items()}
        quarters.append(quarter | {"together": interval(part.sum(dim=1)), "size": float(size)})
    change = rise(model, x, classes)
    off = (steps.sum(dim=(0, 2, 3, 4)) - change).abs() / change
    return {"quarters": quarters, "off": {"median": float(off.median()), "most": float(off.max())}}


def forgotten(
    model: Any, x: Tensor, classes: Tensor, birds: list[menagerie.Scene], seeds: int, meter: Meter
) -> dict[str, dict[str, list[list[float]]]]:
    """What maps do while the network forgets, layer by layer from the top.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.
        birds: scenes for the peak.
        seeds: how many random networks.
        meter: counts the broken networks.

    Returns:
        Suspect -> for each of `FORGOTTEN`, with 95 % intervals: "same": the rank correlation with the map of the
        trained network; "peak": the fraction of peaks on the bird. Each image has the mean of the random networks.
    """
    y, masks, bird = torch.stack([scene.image for scene in birds]), [scene.masks for scene in birds], birds[0].name
    trained = {name: evaluation.heat(method(model, x, classes)) for name, method in SUSPECTS.items()}
    found: dict[str, dict[str, list[list[float]]]] = {name: {"same": [], "peak": []} for name in SUSPECTS}
    for n in FORGOTTEN:
        each: dict[str, dict[str, list[Tensor]]] = {name: {"same": [], "peak": []} for name in SUSPECTS}
        for seed in range(seeds):
            broken = evaluation.randomize_layers(model, n, seed=seed)
            for name, method in SUSPECTS.items():
                after = evaluation.heat(method(broken, x, classes))
                each[name]["same"].append(evaluation.rank_correlation(trained[name], after))
                each[name]["peak"].append(evaluation.pointing_game(method(broken, y, bird), masks))
            meter.add(1)
        for name, measured in each.items():
            for key, values in measured.items():
                found[name][key].append(interval(torch.stack(values).mean(dim=0)))
    return found


def noise(model: Any, x: Tensor, classes: Tensor, objects: Tensor) -> dict[str, Any]:
    """What SmoothGrad gains or loses with the strength of the noise.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.
        objects: bool (N, H, W), the masks.

    Returns:
        For each of `SIGMAS`: "fraction" of the map on the object, "gained" over no noise (paired), with 95 % intervals;
        "right": how often the network is right on noisy copies.
    """
    found: dict[str, Any] = {"fraction": [], "gained": [], "right": []}
    before = None
    drawn = torch.randn(4, *x.shape, generator=torch.Generator().manual_seed(0))
    for sigma in SIGMAS:
        maps = saliency.smooth_grad(model, x, classes, samples=SAMPLES, sigma=sigma).cpu()
        inside = evaluation.energy_inside(maps, objects)
        before = inside if before is None else before
        noisy = (x + sigma * drawn).clamp(0, 1).flatten(0, 1)
        right = model.predict(noisy).argmax(dim=1).cpu() == classes.repeat(4)
        found["fraction"].append(interval(inside))
        found["gained"].append(interval(inside - before))
        found["right"].append(float(right.float().mean()))
    return found


def baselines(model: Any, x: Tensor, classes: Tensor, objects: Tensor) -> dict[str, Any]:
    """How much of a map lies on the object, and of that on its darkest fifth, from several baselines.

    Args:
        model: the network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.
        objects: bool (N, H, W), the masks.

    Returns:
        "integrated gradients", "Gradient SHAP" -> baseline -> "object" and "dark", with their 95 % intervals.
    """
    light = x.amax(dim=1)
    dark = torch.stack([t & (v <= v[t].quantile(0.2)) for t, v in zip(objects, light, strict=True)])
    others = torch.stack([menagerie.draw(name, seed=60 + i).image for i, name in enumerate(menagerie.CLASSES)])

    def scored(maps: Tensor) -> dict[str, list[float]]:
        heat = evaluation.heat(maps).cpu()
        of_the_object = (heat * dark).sum((1, 2)) / (heat * objects).sum((1, 2))
        return {"object": interval(evaluation.energy_inside(heat, objects)), "dark": interval(of_the_object)}

    start = {name: BASELINES[name] for name in ("black", "gray")} | {"ten drawings": others}
    integrated = partial(saliency.integrated_gradients, model, x, classes, steps=STEPS)
    expected = partial(saliency.gradient_shap, model, x, classes, samples=20)
    return {
        "integrated gradients": {name: scored(integrated(baseline=value)) for name, value in BASELINES.items()},
        "Gradient SHAP": {name: scored(expected(baseline=value)) for name, value in start.items()},
    }


def noticed(networks: dict[str, Any], birds: list[menagerie.Scene]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Whether integrated gradients notice that a network takes the tree for the bird, from several baselines.

    Args:
        networks: title -> network.
        birds: scenes.

    Returns:
        Baseline -> network -> "peak" on the bird and "fraction" of the map there, with their 95 % intervals.
    """
    x, masks = torch.stack([scene.image for scene in birds]), [scene.masks for scene in birds]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, value in BASELINES.items():
        found[name] = {}
        for title, network in networks.items():
            maps = saliency.integrated_gradients(network, x, birds[0].name, steps=STEPS, baseline=value).cpu()
            peak = interval(evaluation.pointing_game(maps, masks), proportion=True)
            found[name][title] = {"peak": peak, "fraction": interval(evaluation.energy_inside(maps, masks))}
    return found


def robust(networks: dict[str, Any], x: Tensor, classes: Tensor, objects: Tensor) -> dict[str, dict[str, list[float]]]:
    """Whether the gradient of a robust network looks more like a drawing.

    Args:
        networks: title -> network.
        x: images (N, 3, H, W).
        classes: (N,), their classes.
        objects: bool (N, H, W), the masks.

    Returns:
        Network -> "fraction" on the object and rank correlation with the "edges", with their 95 % intervals.
    """
    edges, found = evaluation.CONTROLS["edges"](None, x), {}
    for title, network in networks.items():
        heat = evaluation.heat(saliency.gradient(network, x, classes)).cpu()
        inside, outlines = evaluation.energy_inside(heat, objects), evaluation.rank_correlation(heat, edges)
        found[title] = {"fraction": interval(inside), "edges": interval(outlines)}
    return found


def measure(each: int = 10, birds: int = 40, seeds: int = 3, progress: Progress = None) -> results.Result:
    """All of them, on drawn images.

    Args:
        each: how many images of each class.
        birds: how many, for the peaks of a broken network.
        seeds: how many networks with random layers.
        progress: True, or a callback (done, total), in broken networks.

    Returns:
        "covers": what fraction of the images is object; and `on_the_object`, `sums`, `on_the_way` (of the plain and the
        robust network), `forgotten`, `noise`, `baselines`, `noticed` and `robust` by their names.
    """
    model, hardened, cheating = (
        models.load(f"menagerie-{name}", device="cpu") for name in ("resnet", "robust", "shortcut")
    )
    both = {"plain": model, "robust": hardened}
    scenes = [menagerie.draw(name, seed=100 + k) for name in menagerie.CLASSES for k in range(each)]
    x, objects = torch.stack([scene.image for scene in scenes]), torch.stack([s.masks["object"] for s in scenes])
    classes = torch.tensor([scene.label for scene in scenes])
    in_trees = [menagerie.draw(cheat.KIND, seed=seed, tree=True) for seed in range(birds)]
    with Meter(progress, len(FORGOTTEN) * seeds) as meter:
        values = {
            "covers": float(objects.float().mean()),
            "on the object": on_the_object(model, x, classes, objects),
            "sums": sums(model, x, classes),
            "on the way": {title: on_the_way(network, x, classes) for title, network in both.items()},
            "forgotten": forgotten(model, x, classes, in_trees, seeds, meter),
            "noise": noise(model, x, classes, objects),
            "baselines": baselines(model, x, classes, objects),
            "noticed": noticed({"honest": model, "shortcut": cheating}, in_trees),
            "robust": robust(both, x, classes, objects),
        }
    settings = {"images": len(x), "birds": birds, "seeds": seeds, "samples": SAMPLES, "steps": STEPS}
    return results.Result(settings | {"forgotten": FORGOTTEN, "sigmas": SIGMAS}, values)
