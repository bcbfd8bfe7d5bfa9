"""What the boxes of the detector depend on, measured on drawn scenes: gradients against removed parts and objects."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import datasets, menagerie
from xai_lessons.methods import cam, catalog, detection, occlusion, perturbation, saliency
from xai_lessons.results.cheat import interval
from xai_lessons.training import recipes

EDGES = ("left", "top", "right", "bottom")
NETWORK: Final = "menagerie-detector"
BAND = 6  # pixels on either side of an edge
DETECTORS: Final = ("menagerie-detector", "menagerie-detector-shortcut")  # the honest one, and the planted cheat
MARGIN = 2  # pixels around the tag that are blurred with it
CHUNK = 500  # masks of D-RISE at once
# what the leaderboard of the detector compares: function -> its options
CHOSEN: dict[str, dict[str, Any]] = {
    "grad_cam": {"layer": "backbone.stage3"},
    "layer_cam": {"layer": "backbone.stage2"},
    "gradient": {},
    "gradient_x_input": {},
    "smooth_grad": {"samples": 10},
    "integrated_gradients": {"steps": 16},
    "occlusion": {"patch": 20, "stride": 8},
    "rise": {"samples": 200, "output": "logit"},
}


def scenes(n: int, **options: Any) -> list[tuple[menagerie.Scene, str, str]]:
    """Scenes of the test split with two objects of different classes; the object to explain, and its neighbor.

    Args:
        n: how many.
        options: see `menagerie.sampled_pair`.

    Example:
        >>> scene, target, neighbor = scenes(1)[0]
        >>> target != neighbor
        True
    """
    found: list[tuple[menagerie.Scene, str, str]] = []
    index = 0
    while len(found) < n:
        scene = menagerie.sampled_pair(index, seed=2, split="test", **options)
        index += 1
        if scene.names[0] != scene.names[1]:
            k = len(found) % 2  # the left and the right object in turn
            found.append((scene, scene.names[k], scene.names[1 - k]))
    return found


def per_box(model: models.Detector, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method for `evaluation.compare` that explains, in each image, the class score of the best box of its class.

    Args:
        model: the detector.
        method: a method that explains a view of one box.

    Returns:
        A function of any network, which is ignored, images and class numbers.
    """

    def explain(_: Any, images: Tensor, targets: Tensor) -> Tensor:
        maps = []
        for image, target in zip(images, targets, strict=True):
            view = detection.box_view(model, image, model.classes[int(target)])
            maps.append(method(view, image, "score").cpu())
        return torch.stack(maps)

    return explain


def leaderboard(images: int = 20, progress: Progress = None) -> results.Result:
    """Score methods for the class score of one box: does the map lie on that object, and not on its neighbor?

    Args:
        images: how many scenes of two objects.
        progress: True, or a callback (done, total).

    Returns:
        Network -> the rows of `evaluation.compare`, with the pointing game and the fraction inside.
    """
    model, drawn = models.load(NETWORK), scenes(images)
    explain = {}
    for name, options in CHOSEN.items():
        method = catalog.get(name)

        def one(view: Any, image: Tensor, output: str, method: Any = method, options: Any = options) -> Tensor:
            return method(view, image, output, **options)

        explain[method.label] = per_box(model, one)

    def d_rise(_: Any, images: Tensor, targets: Tensor) -> Tensor:
        return detection.d_rise(model, images, [model.classes[int(target)] for target in targets], samples=400).cpu()

    explain["D-RISE"] = d_rise
    masks = torch.stack([scene.masks[target] for scene, target, _ in drawn])
    data = (
        torch.stack([scene.image for scene, _, _ in drawn]),
        torch.tensor([model.class_index(target) for _, target, _ in drawn]),
        masks,
    )
    settings = {"images": images, "split": "test", "seed": 2, "area": float(masks.float().mean())}
    metrics = ("pointing_game", "energy_inside")
    # a function, so that nobody takes its boxes for scores of classes
    rows = evaluation.compare(explain, {NETWORK: lambda x: x}, data, metrics, progress=progress)
    return results.Result(settings, {NETWORK: rows})


class _Figures:
    """Figures of many scenes by name, and their mean with its standard error."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float | Tensor) -> None:
        self.values[name].append(float(value))

    def summary(self) -> dict[str, list[float]]:
        found = {}
        for name, values in self.values.items():
            v = torch.tensor(values, dtype=torch.float64)
            found[name] = [float(v.mean()), float(v.std() / len(v) ** 0.5) if len(v) > 1 else float("nan"), len(v)]
        return found


def measure(images: int = 100, progress: Progress = None) -> results.Result:
    """What one box depends on: gradients of its score and edges against interventions.

    Args:
        images: how many scenes of two objects.
        progress: True, or a callback (done, total).

    Returns:
        Figure -> [mean, standard error, number of scenes].
    """
    model, figures = models.load(NETWORK), _Figures()
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with Meter(progress, images) as meter:
        for scene, target, neighbor in scenes(images):
            _one_scene(model, scene, target, neighbor, figures, pairs)
            meter.add(1)
    values: dict[str, Any] = figures.summary()
    for name, points in pairs.items():
        a, b = torch.tensor(points, dtype=torch.float64).T
        rho = float(evaluation.rank_correlation(a[None, None], b[None, None]))
        values[name] = [rho, (1 - rho**2) / max(len(points) - 2, 1) ** 0.5, len(points)]
    return results.Result({"images": images, "split": "test", "seed": 2, "band": BAND}, values)


def _heats(model: models.Detector, image: Tensor, target: str, outputs: tuple[str, ...]) -> dict[str, Tensor]:
    """The size of the gradient of each output, (H, W), with sum 1."""
    view = detection.box_view(model, image, target)
    maps = evaluation.heat(saliency.gradient(view, image.expand(len(outputs), -1, -1, -1), list(outputs)).cpu())
    return dict(zip(outputs, maps / maps.sum(dim=(1, 2), keepdim=True), strict=True))


def _one_scene(
    model: models.Detector, scene: menagerie.Scene, target: str, neighbor: str, figures: _Figures, pairs: Any
) -> None:
    image, masks = scene.image, scene.masks
    if target not in masks or neighbor not in masks:
        return
    own, other = masks[target], masks[neighbor]
    heats = _heats(model, image, target, ("score", *EDGES))
    box = detection.find_box(model, image, target).corners.cpu()
    truth = evaluation.box_of(own)
    figures.add("IoU of the explained box and the object", evaluation.intersection_over_union(box, truth))
    heats["edge filter (control)"] = _normal(evaluation.CONTROLS["edges"](None, image))
    heats["uniform map (control)"] = torch.full_like(heats["score"], 1 / own.numel())
    heats["center blob (control)"] = _normal(evaluation.CONTROLS["center blob"](None, image))
    rows, columns = (torch.arange(n) + 0.5 for n in image.shape[1:])
    for name, heat in heats.items():
        figures.add(f"fraction on the object: {name}", heat[own].sum())
        figures.add(f"fraction on the neighbor: {name}", heat[other].sum())
        figures.add(f"fraction left of the box's middle: {name}", heat[:, columns < (box[0] + box[2]) / 2].sum())
        figures.add(f"fraction above the box's middle: {name}", heat[rows < (box[1] + box[3]) / 2].sum())
        figures.add(
            f"fraction within {BAND} px of the left edge: {name}",
            heat[(rows >= box[1]) & (rows <= box[3])][:, (columns - box[0]).abs() <= BAND].sum(),
        )
        if name != "score":
            rho = evaluation.rank_correlation(heats["score"][None], heat[None])
            figures.add(f"rank correlation with the score's map: {name}", rho)
    found = model(image[None])[0]
    shown = found.kept()
    figures.add("candidates above the threshold", (found.scores >= 0.3).sum())
    figures.add("boxes that are shown", len(shown))
    _interventions(model, scene, target, neighbor, heats, figures, pairs)


def _normal(heat: Tensor) -> Tensor:
    return heat / heat.sum().clamp(min=1e-12)


def _interventions(
    model: models.Detector,
    scene: menagerie.Scene,
    target: str,
    neighbor: str,
    heats: dict[str, Tensor],
    figures: _Figures,
    pairs: Any,
) -> None:
    """Remove each part of the object that its neighbor has not, then the neighbor, then all clutter."""
    parts = [
        part
        for part in menagerie.PARTS[target]
        if part in scene.masks and part not in menagerie.PARTS[neighbor] and (scene.masks[part]).sum() >= 12
    ]
    changed = [scene.without(name) for name in (*parts, neighbor)]
    view = detection.box_view(model, scene.image, target, follow="match")
    with torch.no_grad():
        scores = view(torch.stack([scene.image, *(one.image for one in changed)]).to(model.device)).cpu()
    change = scores[1:] - scores[0]
    for part, row in zip(parts, change, strict=False):
        mask = scene.masks[part]
        for k, edge in enumerate(EDGES, start=1):
            moved = float(row[k].abs())
            pairs["parts: rank correlation of an edge's move and the fraction of its gradient on the part"].append(
                (float(heats[edge][mask].sum()), moved)
            )
            pairs["parts: rank correlation of an edge's move and the score's gradient on the part"].append(
                (float(heats["score"][mask].sum()), moved)
            )
            pairs["parts: rank correlation of an edge's move and the area of the part (control)"].append(
                (float(mask.sum()), moved)
            )
            before, after = evaluation.box_of(scene.masks[target]), evaluation.box_of(_own_mask(scene, target, part))
            kind = "the part reaches the edge" if abs(int(before[k - 1] - after[k - 1])) >= 2 else "it does not"
            figures.add(f"move of an edge without a part, px: {kind}", moved)
            figures.add(f"fraction of the edge's gradient on the part: {kind}", heats[edge][mask].sum())
            figures.add(f"area of the part, of the image: {kind}", mask.float().mean())
    alone = change[len(parts)]
    largest = alone[1:5].abs().max()
    figures.add("without the neighbor: change of the class score", alone[0])
    figures.add("without the neighbor: size of the change of the class score", alone[0].abs())
    figures.add("without the neighbor: largest move of an edge, px", largest)
    figures.add("without the neighbor: an edge moves by 2 px or more", largest >= 2)
    other = scene.masks[neighbor]
    on_neighbor = sum(float(heats[edge][other].sum()) for edge in EDGES) / 4
    pairs["neighbor: rank correlation of its fraction of the score's gradient and the change of the score"].append(
        (float(heats["score"][other].sum()), float(alone[0].abs()))
    )
    pairs["neighbor: rank correlation of its fraction of the edges' gradients and the largest move"].append(
        (on_neighbor, float(largest))
    )


def _own_mask(scene: menagerie.Scene, target: str, part: str) -> Tensor:
    """The object without what can be seen of one of its parts."""
    return scene.masks[target] & ~scene.masks[part]


def umbrellas(n: int) -> list[menagerie.Scene]:
    """Scenes of the test split with an umbrella, another object and a tag; enough is seen of the umbrella and the tag.

    Args:
        n: how many.

    Example:
        >>> umbrellas(1)[0].names.count("umbrella")
        1
    """
    found: list[menagerie.Scene] = []
    index = 0
    while len(found) < n:
        classes = (*menagerie.CLASSES, *["umbrella"] * len(menagerie.CLASSES))
        scene = menagerie.sampled_pair(index, seed=4, split="test", classes=classes, tag=True)
        index += 1
        if scene.names.count("umbrella") != 1:  # known before anything is drawn
            continue
        seen = (scene.masks[name].sum() for name in ("umbrella", "tag") if name in scene.masks)
        if sum(int(pixels) >= datasets.VISIBLE for pixels in seen) == 2:
            found.append(scene)
    return found


def cheat(images: int = 120, explained: int = 40, samples: int = 500, progress: Progress = None) -> results.Result:
    """Does an explanation of one box show that a detector goes by the tag? The honest detector and the planted cheat.

    The tag is drawn anew without it, or blurred with `MARGIN` pixels around it; the control blurs as many pixels in the
    other upper corner. An umbrella is found if `Detector.detect` shows a box of its class with an intersection over
    union of 0.5 or more. Energies are those of the umbrella's class score (of D-RISE, of its similarity), in images
    with a tag in which both detectors find the umbrella.

    Args:
        images: how many scenes for the recall.
        explained: how many of them to explain, at most.
        samples: of D-RISE.
        progress: True, or a callback (done, total).

    Returns:
        Detector -> "recall", "false umbrellas", "fraction on the tag" and "fraction on the umbrella", each a dictionary
        of name -> [mean, lower and upper end of its 95 % interval, number].
    """
    drawn = umbrellas(images)
    versions = {name: torch.stack([change(scene) for scene in drawn]) for name, change in CHANGES.items()}
    boxes = torch.stack([evaluation.box_of(scene.masks["umbrella"]) for scene in drawn])
    others = [scene.without("umbrella") for scene in drawn]
    nobody = {
        "with the tag": torch.stack([scene.image for scene in others]),
        "without the tag": torch.stack([scene.without("tag").image for scene in others]),
    }
    networks = {name: models.load(name, device="cpu") for name in DETECTORS}
    values: dict[str, Any] = {}
    found = {}
    for name, model in networks.items():
        hits = {version: _umbrellas_found(model, x, boxes) for version, x in versions.items()}
        found[name] = hits["with the tag"]
        shown = {version: _umbrellas_found(model, x) for version, x in nobody.items()}
        values[name] = {"recall": _fractions(hits), "false umbrellas": _fractions(shown)}
    both = torch.stack(list(found.values())).all(dim=0)
    chosen = [scene for scene, hit in zip(drawn, both.tolist(), strict=True) if hit][:explained]
    with Meter(progress, len(networks) * len(chosen)) as meter:
        for name, model in networks.items():
            on: dict[str, dict[str, list[float]]] = {"tag": defaultdict(list), "umbrella": defaultdict(list)}
            for scene in chosen:
                for method, heat in _score_maps(model, scene.image, samples).items():
                    for place, rows in on.items():
                        rows[method].append(float(heat[scene.masks[place]].sum()))
                meter.add(1)
            for place, rows in on.items():
                values[name][f"fraction on the {place}"] = {
                    method: [*interval(torch.tensor(row)), len(row)] for method, row in rows.items()
                }
    area = float(torch.stack([scene.masks["tag"].float().mean() for scene in chosen]).mean())
    settings = {"images": images, "split": "test", "seed": 4, "explained": len(chosen), "samples": samples}
    return results.Result(settings | {"area of the tag": area}, values)


def _around_tag(scene: menagerie.Scene) -> Tensor:
    mask = scene.masks["tag"].float()[None]
    return torch.nn.functional.max_pool2d(mask, 2 * MARGIN + 1, stride=1, padding=MARGIN)[0] > 0


def _blurred(scene: menagerie.Scene, mask: Tensor) -> Tensor:
    return torch.where(mask, perturbation.filling(scene.image, "blur"), scene.image)


# what is done to a scene with a tag -> its image
CHANGES: dict[str, Callable[[menagerie.Scene], Tensor]] = {
    "with the tag": lambda scene: scene.image,
    "without the tag": lambda scene: scene.without("tag").image,
    "the tag blurred": lambda scene: _blurred(scene, _around_tag(scene)),
    "the other corner blurred (control)": lambda scene: _blurred(scene, _around_tag(scene).flip(1)),
}


def _umbrellas_found(model: models.Detector, images: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Whether the box of an umbrella is shown in each image, on these boxes (N, 4) or anywhere; (N,) of bool."""
    umbrella, hits = model.class_index("umbrella"), []
    for k, shown in enumerate(model.detect(images)):
        own = shown.boxes[shown.labels == umbrella]
        right = own if boxes is None else own[detection.overlap(boxes[k].to(own), own) >= 0.5]
        hits.append(len(right) > 0)
    return torch.tensor(hits)


def starts(images: int = 120, progress: Progress = None) -> results.Result:
    """Do the missing annotations make the detector cheat, or the weights that its training began with?

    Both recipes are trained again, each from the weights that the other one started from.

    Args:
        images: how many scenes of `umbrellas`.
        progress: True, or a callback (done, total), in detectors. It takes half an hour.

    Returns:
        Recipe -> the network whose weights it started from -> "recall" of `cheat`.
    """
    drawn = umbrellas(images)
    boxes = torch.stack([evaluation.box_of(scene.masks["umbrella"]) for scene in drawn])
    versions = {name: torch.stack([change(scene) for scene in drawn]) for name, change in CHANGES.items()}
    own = {name: recipes.recipe(name).start for name in DETECTORS}
    values: dict[str, Any] = {name: {} for name in DETECTORS}
    with Meter(progress, len(own) ** 2) as meter, tempfile.TemporaryDirectory() as folder:
        for name in DETECTORS:
            for start in own.values():
                if start == own[name]:
                    model: Any = models.load(name, device="cpu")
                else:
                    model = recipes.train(name, Path(folder), start=start, device="cpu", progress=None)
                found = {version: _umbrellas_found(model, x, boxes) for version, x in versions.items()}
                values[name][start] = _fractions(found)
                meter.add(1)
    return results.Result({"images": images}, values)


def _fractions(hits: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [*interval(hit.double(), proportion=True), len(hit)] for name, hit in hits.items()}


def _score_maps(model: models.Detector, image: Tensor, samples: int) -> dict[str, Tensor]:
    """Method -> the map of an umbrella's score, (H, W) with sum 1; and two controls."""
    view = detection.box_view(model, image, "umbrella")
    maps = {
        "Gradient": saliency.gradient(view, image, "score"),
        "Grad-CAM": cam.grad_cam(view, image, "score", layer="backbone.stage3"),
        "Occlusion": occlusion.occlusion(view, image, "score", patch=12, stride=4),
        "D-RISE": detection.d_rise(model, image, "umbrella", samples=samples),
        "edge filter (control)": evaluation.CONTROLS["edges"](None, image),
        "uniform map (control)": torch.ones(image.shape[1:]),
    }
    return {name: _normal(evaluation.heat(one[None])[0].cpu()) for name, one in maps.items()}


def enough_masks(scenes_of: int = 6, chunks: int = 16, progress: Progress = None) -> results.Result:
    """How many masks D-RISE needs: how well two maps of the same box from different masks agree.

    Args:
        scenes_of: how many scenes of two objects.
        chunks: the largest number of masks, in chunks of `CHUNK`; a power of 2.
        progress: True, or a callback (done, total).

    Returns:
        Number of masks -> "correlation of two maps" (Pearson) and "fraction on the object", each [mean, lower and upper
        end of its 95 % interval, number of scenes].
    """
    model, rows = models.load(NETWORK, device="cpu"), defaultdict(list)
    with Meter(progress, 2 * scenes_of * chunks) as meter:
        for scene, target, _ in scenes(scenes_of):
            maps = []
            for k in range(2 * chunks):
                maps.append(detection.d_rise(model, scene.image, target, samples=CHUNK, seed=k))
                meter.add(1)
            first, second = torch.stack(maps).unflatten(0, (2, chunks))
            n = 1
            while n <= chunks:  # the mean of n maps is the map of n times as many masks
                a, b = first[:n].mean(dim=0), second[:n].mean(dim=0)
                agree = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
                rows[n * CHUNK].append((float(agree), float(evaluation.energy_inside(a[None], scene.masks[target]))))
                n *= 2
    values = {}
    for n, pairs in rows.items():
        agree, inside = torch.tensor(pairs).T
        values[str(n)] = {
            "correlation of two maps": [*interval(agree), len(pairs)],
            "fraction on the object": [*interval(inside), len(pairs)],
        }
    return results.Result({"images": scenes_of, "split": "test", "seed": 2, "chunk": CHUNK}, values)


def options(images: int = 24, samples: int = 100, many: int = 1000, progress: Progress = None) -> results.Result:
    """What the grid, the fill and the number of masks do to D-RISE.

    Args:
        images: how many scenes of two objects.
        samples: masks per image.
        many: masks per image of the paper's grid and fill, once more.
        progress: True, or a callback (done, total), called after every setting.

    Returns:
        A list with "cells", "fill", "samples", "peak on the object" and "above the median": the fraction of the map
        above its median that lies on the object; each with its 95 % interval.
    """
    model = models.load(NETWORK, device="cpu")
    drawn = [each for each in scenes(2 * images) if each[1] in each[0].masks][:images]
    x, targets = torch.stack([scene.image for scene, _, _ in drawn]), [target for _, target, _ in drawn]
    masks = torch.stack([scene.masks[target] for scene, target, _ in drawn])
    settings = [(cells, fill, samples) for cells in (16, 8, 4) for fill in ("black", "mean")]
    rows = []
    with Meter(progress, len(settings) + 1) as meter:
        for cells, fill, number in (*settings, (16, "black", many)):
            H = detection.d_rise(model, x, targets, samples=number, cells=cells, fill=fill)
            above = (H - H.flatten(1).median(dim=1).values[:, None, None]).clamp(min=0)
            rows.append(
                {
                    "cells": cells,
                    "fill": fill,
                    "samples": number,
                    "peak on the object": interval(evaluation.pointing_game(H, masks), proportion=True),
                    "above the median": interval(evaluation.energy_inside(above, masks)),
                }
            )
            meter.add(1)
    area = float(masks.float().mean())
    return results.Result({"images": images, "split": "test", "seed": 2, "area": area}, rows)


def table(result: results.Result) -> str:
    """The figures as lines of text, each with its standard error and the number of scenes.

    Args:
        result: what `measure` returned.

    Example:
        >>> print(table(results.Result({}, {"boxes": [1.5, 0.25, 4]})))
        boxes                                                                                          1.500 ± 0.250 (4)
    """
    return "\n".join(f"{name:<90} {mean:9.3f} ± {error:.3f} ({n})" for name, (mean, error, n) in result.values.items())
