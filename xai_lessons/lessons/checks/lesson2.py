"""Checks of lesson 2: Grad-CAM's weights, the class whose map lies on a part, the box of a map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.core import activations
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import exercise, integer
from xai_lessons.methods import cam


def _layer(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps after a ReLU (K, h, w) and a gradient of either sign; K, h and w all differ."""
    K, h, w = integer(rng, 12, 20), integer(rng, 4, 7), integer(rng, 7, 11)
    return torch.randn(K, h, w, generator=rng).relu(), torch.randn(K, h, w, generator=rng) + 0.2


def _weights_found(student: Callable[..., Any]) -> Iterator[Any]:
    """The student's weights on the lesson's cat and dog, for both networks."""
    scene = menagerie.draw_pair("cat", "dog", seed=0, background="meadow", tree=False, tag=False)
    lines, tiles, titles = [], [], []
    for head, name in (("pooling head", "menagerie-resnet"), ("fully-connected head", "menagerie-vgg")):
        model = models.load(name)
        x = scene.image[None].to(model.device)
        for animal, other in (("cat", "dog"), ("dog", "cat")):
            target = torch.tensor([model.class_index(animal)], device=x.device)
            A, gradient = (t[0].cpu() for t in activations.activation_and_gradient(model, None, x, target)[:2])
            alpha = torch.as_tensor(student(A, gradient)).float()
            heat = (alpha[:, None, None] * A).sum(dim=0).relu()
            tiles.append(plots.overlay(scene.at(240).image, heat))
            titles.append(f"{animal}, {head.split()[0]}")
            large = torch.nn.functional.interpolate(heat[None, None], scene.image.shape[-1:] * 2, mode="bilinear")[0, 0]
            on, off = (float(evaluation.energy_inside(large, scene.masks[which])) for which in (animal, other))
            lines.append(f"{head}, class {animal}: {on:.0%} of your map on the {animal}, {off:.0%} on the {other}")
    yield "Grad-CAM with your weights, on the lesson's cat and dog.\n" + "\n".join(lines)
    yield plots.show(tiles, titles, "Your weights times the maps, added up; ReLU at the end.", size=2.1)


@exercise(
    draw=_layer,
    arguments=("maps A", "gradient"),
    shows=_weights_found,
    praise="One weight per map: the mean of its gradient. The map's own strength enters only when you multiply.",
    mistakes={
        "sum instead of mean": lambda A, g: g.sum((1, 2)),
        "divided by K": lambda A, g: g.sum((1, 2)) / len(g),
        "divided by everything": lambda A, g: g.sum((1, 2)) / g.numel(),
        "mean over the maps": lambda A, g: g.mean(0),
        "one weight for all": lambda A, g: g.mean(),
        "one axis only": lambda A, g: g.mean(2),
        "the other axis only": lambda A, g: g.mean(1),
        "the wrong two axes": lambda A, g: g.mean((0, 1)),
        "shape kept": lambda A, g: g.mean((1, 2), keepdim=True),
        "mean of the maps": lambda A, g: A.mean((1, 2)),
        "gradient times activation": lambda A, g: (g * A).mean((1, 2)),
        "gradient times activation, summed": lambda A, g: (g * A).sum((1, 2)),
        "weighted maps": lambda A, g: g.mean((1, 2))[:, None, None] * A,
        "rectified gradient": lambda A, g: g.relu().mean((1, 2)),
        "rectified weights": lambda A, g: g.mean((1, 2)).relu(),
        "absolute values only": lambda A, g: g.abs().mean((1, 2)),
        "largest gradient": lambda A, g: g.amax((1, 2)),
        "the map itself": lambda A, g: (g.mean((1, 2))[:, None, None] * A).sum(0).relu(),
    },
    hints={
        "sum instead of mean": "You sum the gradient over all positions: that is Z times too large. The equation "
        "begins with 1 / Z, and Z is the number of positions.",
        "divided by K": "You divide by K, the number of maps. Z is the number of positions of one map, h times w.",
        "divided by everything": "You divide by all numbers of the gradient. Z is the number of positions of one map.",
        "mean over the maps": "You average over the K maps and are left with one number per position. Average over the "
        "positions instead: one number per map.",
        "one weight for all": "That is one number, the mean of everything. Each of the K maps needs its own weight.",
        "one axis only": "You averaged over one axis of the map. A map has two: height and width.",
        "the other axis only": "You averaged over the height only. Average over the width too.",
        "the wrong two axes": "You averaged over axes 0 and 1, but axis 0 counts the maps. Average over the other two.",
        "shape kept": "The numbers are right; the shape is (K, 1, 1), from keepdim=True. Return (K,).",
        "mean of the maps": "You averaged the maps A: that says how strong a map is, not how much it matters to the "
        "class. Average the gradient.",
        "gradient times activation": "You multiply with A before you average. That is HiResCAM's product, summed up; "
        "Grad-CAM's weight uses the gradient only.",
        "gradient times activation, summed": "You multiply with A and sum up: that is what each map adds to the logit, "
        "if the gradient stays constant. The weight is a mean of the gradient alone.",
        "weighted maps": "These are the weighted maps. Return only the weights, one number per map.",
        "rectified gradient": "You drop the negative gradients first. A map that speaks against the class needs its "
        "negative weight; the ReLU comes at the very end, after the sum over maps.",
        "rectified weights": "You drop the negative weights. A map that speaks against the class must count; the ReLU "
        "comes after the sum over maps.",
        "absolute values only": "Now a map that speaks against the class looks as if it spoke for it: keep the sign.",
        "largest gradient": "That is the largest gradient of each map. Grad-CAM takes the mean over all positions.",
        "the map itself": "That is the whole heatmap, and it is right. Return only the weights.",
    },
)
def grad_cam_weights(A: Tensor, gradient: Tensor) -> Tensor:
    """alpha_k = mean over the positions ij of dY / dA^k_ij."""
    return gradient.mean(dim=(1, 2))


def _maps(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps of classes (K, h, w), of which the one that lies on a part is faint; and the part's mask (h, w)."""
    K, h, w = integer(rng, 6, 10), integer(rng, 9, 13), integer(rng, 14, 19)
    mask = torch.zeros(h, w, dtype=torch.bool)
    top, left = integer(rng, 1, h - 5), integer(rng, 1, w - 6)
    mask[top : top + 3, left : left + 4] = True
    order = torch.randperm(K, generator=rng)
    maps = torch.rand(K, h, w, generator=rng) * (1 + torch.rand(K, 1, 1, generator=rng))
    maps[order[0]] *= 0.02  # faint all over, and most of it on the part
    maps[order[0]][mask] *= 60
    maps[order[1]] *= 8  # strong all over, also on the part
    maps[order[2], top, left] = 20  # its peak is on the part, and much elsewhere
    maps[order[3]] *= 12  # the strongest, but not on the part
    maps[order[3]][mask] *= 0.001
    maps[order[4]] *= 0.001  # the faintest of all, but spread evenly
    maps[order[5]] *= 0.0006  # the least outside the part
    maps[order[5]][mask] *= 25
    return maps, mask


def _fraction(maps: Tensor, mask: Tensor) -> Tensor:
    return maps[:, mask].sum(1) / maps.sum((1, 2))


def _classes_found(student: Callable[..., Any]) -> Iterator[str]:
    """Whose map lies on each part of the lesson's tabby, and how strong it is."""
    model, tabby = models.load("menagerie-resnet"), menagerie.draw("cat", seed=0, grain=0.0)
    K = len(model.classes)
    maps = cam.grad_cam(model, tabby.image.expand(K, -1, -1, -1), list(range(K))).cpu()
    lines = []
    for part in menagerie.PARTS["cat"]:
        if part in tabby.masks:
            c = int(student(maps, tabby.masks[part]))
            lines.append(f"{part}: {model.classes[c]}, whose map peaks at {float(maps[c].max()):.2f}")
    peak = float(maps[tabby.label].max())
    yield (
        f"Whose map has the largest fraction on each part of the lesson's tabby? The map of cat peaks at {peak:.2f}; a "
        "map that peaks far below that is nearly empty, wherever it lies.\n" + "\n".join(lines)
    )


@exercise(
    draw=_maps,
    arguments=("maps", "mask"),
    shows=_classes_found,
    tolerance=1e-6,
    praise="A fraction does not depend on how strong a map is, only on where it lies.",
    mistakes={
        "not divided": lambda M, m: int(M[:, m].sum(1).argmax()),
        "highest value on the part": lambda M, m: int(M[:, m].amax(1).argmax()),
        "divided by the peak": lambda M, m: int((M[:, m].sum(1) / M.amax((1, 2))).argmax()),
        "the smallest fraction": lambda M, m: int(_fraction(M, m).argmin()),
        "the faintest map": lambda M, m: int(M.sum((1, 2)).argmin()),
        "least outside": lambda M, m: int(M[:, ~m].sum(1).argmin()),
        "per pixel of the part": lambda M, m: float((M[:, m].sum(1) / m.sum()).max()),
        "the fraction itself": lambda M, m: float(_fraction(M, m).max()),
        "all fractions": _fraction,
        "counted from 1": lambda M, m: int(_fraction(M, m).argmax()) + 1,
    },
    hints={
        "not divided": "You compare how much of each map is on the part. A map that is strong everywhere wins that "
        "without pointing at anything: divide by the sum of the map.",
        "highest value on the part": "One bright spot on the part does not say where the rest lies: use the sum.",
        "divided by the peak": "You divide by the highest value of each map: divide by the sum of the map.",
        "the smallest fraction": "That is the class whose map avoids the part most: argmin, or the inverted mask?",
        "the faintest map": "You look for the faintest map. How faint it is does not say where it lies.",
        "least outside": "You look for the map with the least outside the part, which a faint map always wins. Divide "
        "by the sum of the map.",
        "per pixel of the part": "That is a mean value on the part. Divide by the sum of the map, and take argmax.",
        "the fraction itself": "That is the largest fraction; return the number of its class: argmax instead of max.",
        "all fractions": "These are the right fractions, one per class. Return the class with the largest.",
        "counted from 1": "The class is right, but classes are counted from 0.",
    },
)
def class_on_part(maps: Tensor, mask: Tensor) -> int:
    """argmax_c of (sum of M^c on the part) / (sum of M^c)."""
    return int((maps[:, mask].sum(dim=1) / maps.sum(dim=(1, 2))).argmax())


def _blob(rng: torch.Generator) -> tuple[Tensor, float]:
    """A smooth spot well inside a map, higher than wide or wider than high, and a threshold."""
    h, w = integer(rng, 40, 50), integer(rng, 60, 70)
    i, j = integer(rng, 15, 22), integer(rng, 26, 34)
    tall, wide = 2 + 2 * torch.rand((), generator=rng), 5 + 3 * torch.rand((), generator=rng)
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    spot = torch.exp(-(((rows - i) / tall) ** 2) - ((columns - j) / wide) ** 2)
    high = 3 + 4 * torch.rand((), generator=rng)
    return high * spot, round(0.3 + 0.25 * float(torch.rand((), generator=rng)), 2)


def _box(on: Tensor, more: int = 1) -> tuple[int, int, int, int]:
    i, j = torch.where(on)
    return int(j.min()), int(i.min()), int(j.max()) + more, int(i.max()) + more


def _order(box: tuple[int, int, int, int], *order: int) -> tuple[int, ...]:
    return tuple(box[i] for i in order)


def _boxes_found(student: Callable[..., Any]) -> Iterator[Any]:
    """The student's boxes around the maps of ten scenes, beside the true ones."""
    model = models.load("menagerie-resnet")
    scenes = [menagerie.draw(name, 60 + i, tree=False, tag=False) for i, name in enumerate(menagerie.CLASSES)]
    heat = cam.grad_cam(model, torch.stack([scene.image for scene in scenes]), list(range(len(scenes)))).cpu()
    truth = cam.bounding_box(torch.stack([scene.masks["object"] for scene in scenes]).float(), 0.5).tolist()
    found, lines = {}, []
    for threshold in (0.2, 0.4, 0.6):
        found[threshold] = [[int(edge) for edge in student(M, threshold)] for M in heat]
        ious = [evaluation.intersection_over_union(*pair) for pair in zip(found[threshold], truth, strict=True)]
        lines.append(f"threshold {threshold}: mean overlap with the true box {sum(map(float, ious)) / len(ious):.2f}")
    yield "Your boxes around the maps of ten pictures, one of each class.\n" + "\n".join(lines)
    tiles, size = [], 240
    for i in range(4):
        tile = plots.overlay(scenes[i].at(size).image, heat[i])
        for edges, color in ((truth[i], "#56B4E9"), (found[0.2][i], "white")):
            scaled = [edge * size / heat.shape[-1] for edge in edges]
            tile = plots.box(tile, tuple(scaled), color)
        tiles.append(tile)
    yield plots.show(tiles, menagerie.CLASSES[:4], "White: your box at threshold 0.2. Blue: the true one.", size=2.1)


@exercise(
    draw=_blob,
    arguments=("heatmap", "threshold"),
    shows=_boxes_found,
    tolerance=1e-6,
    praise="The package does one more thing: of several separate spots it takes the largest.",
    mistakes={
        "last pixel left out": lambda M, t: _box(t * M.max() <= M, 0),
        "rows and columns swapped": lambda M, t: _order(_box(t * M.max() <= M), 1, 0, 3, 2),
        "threshold not relative": lambda M, t: _box(t <= M),
        "fraction of the mean": lambda M, t: _box(t * M.mean() <= M),
        "everything above zero": lambda M, t: _box(M > 0),
        "the largest values only": lambda M, t: _box((1 - t) * M.max() <= M),
        "first and last found": lambda M, t: (
            lambda at: (int(at[0, 1]), int(at[0, 0]), int(at[-1, 1]) + 1, int(at[-1, 0]) + 1)
        )(torch.nonzero(t * M.max() <= M)),
        "0.2 written in": lambda M, t: _box(0.2 * M.max() <= M),
        "two corners": lambda M, t: (lambda b: (b[:2], b[2:]))(_box(t * M.max() <= M)),
        "width and height": lambda M, t: (lambda b: (b[0], b[1], b[2] - b[0], b[3] - b[1]))(_box(t * M.max() <= M)),
        "both x first": lambda M, t: _order(_box(t * M.max() <= M), 0, 2, 1, 3),
    },
    hints={
        "last pixel left out": "Your box ends where its last pixel begins: x2 and y2 are the right and the lower edge "
        "of that pixel, so add one.",
        "0.2 written in": "You wrote 0.2 into the code. Use the argument `threshold`: it differs each time.",
        "two corners": "Both corners are right. Return four numbers, (x1, y1, x2, y2), not two pairs.",
        "rows and columns swapped": "x counts columns and y counts rows: torch.where gives the rows first.",
        "threshold not relative": "You compare the map with the threshold itself. It is a fraction of the map's "
        "maximum: a map in other units must give the same box.",
        "fraction of the mean": "You take a fraction of the map's mean; the paper takes a fraction of its maximum.",
        "everything above zero": "Your box is nearly the whole map, as if every pixel above zero counted: do you use "
        "the threshold, and keep what is above it?",
        "the largest values only": "You keep values above 1 - t of the maximum. Keep values above t of it.",
        "first and last found": "You take the first and the last pixel that torch.where found. They are the top and "
        "the bottom one; the leftmost and the rightmost can be anywhere: take the smallest and the largest column.",
        "width and height": "You return width and height at the end; return the edges x2 and y2 instead.",
        "both x first": "The numbers are right, but in the order x1, x2, y1, y2; return x1, y1, x2, y2.",
    },
)
def box(heatmap: Tensor, threshold: float) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around all pixels of at least threshold times the maximum."""
    rows, columns = torch.where(heatmap >= threshold * heatmap.max())
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
