"""Checks of lesson 8: intersection over union, suppression class by class, D-RISE's similarity, the part at an edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import alternates, distinct, exercise, integer, uniform
from xai_lessons.methods import detection, occlusion

EDGES = ("left", "top", "right", "bottom")


def scene() -> menagerie.Scene:
    """The picture of the lesson."""
    return menagerie.draw_pair("cat", "umbrella", seed=0, tree=False, tag=False)


def _candidates() -> tuple[models.Detector, models.Detections]:
    model = models.load("menagerie-detector")
    with torch.no_grad():
        (found,) = model(scene().image[None].to(model.device))
    return model, models.Detections(found.boxes.cpu(), found.logits.cpu())


# Intersection over union.


def _boxes(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A box and others: the same, shifted, inside, beside it, diagonally apart, touching it, around it."""
    x, y = (float(v) for v in uniform(rng, 20, 40, 2))
    w, h = (float(v) for v in uniform(rng, 10, 30, 2))
    a, b = (float(v) for v in uniform(rng, 0.2, 0.4, 2))
    box = [x, y, x + w, y + h]
    others = [
        box,
        [x + a * w, y + b * h, x + (1 + a) * w, y + (1 + b) * h],
        [x + a * w, y + b * h, x + 0.8 * w, y + 0.9 * h],
        [x + (1 + a) * w, y + b * h, x + 2 * w, y + h],
        [x + (1 + a) * w, y + (1 + b) * h, x + 2 * w, y + 2 * h],
        [x - w, y, x, y + 0.7 * h],
        [x - a * w, y - b * h, x + 1.1 * w, y + 1.2 * h],
    ]
    return torch.tensor(box), torch.tensor(others)[torch.randperm(len(others), generator=rng)]


def _sides(box: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the intersection; below 0 where the boxes are apart."""
    width = torch.minimum(box[2], boxes[:, 2]) - torch.maximum(box[0], boxes[:, 0])
    height = torch.minimum(box[3], boxes[:, 3]) - torch.maximum(box[1], boxes[:, 1])
    return width, height


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _both(box: Tensor, boxes: Tensor) -> Tensor:
    width, height = _sides(box, boxes)
    return width.clamp(min=0) * height.clamp(min=0)


def _iou(both: Tensor, box: Tensor, boxes: Tensor) -> Tensor:
    return both / (_area(box) + _area(boxes) - both)


def _unclamped(box: Tensor, boxes: Tensor) -> Tensor:
    width, height = _sides(box, boxes)
    return width * height


def _of_corner_and_size(boxes: Tensor) -> Tensor:
    """What boxes are taken for by code that reads (x, y, width, height)."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)


def _enclosing(box: Tensor, boxes: Tensor) -> Tensor:
    corners = torch.minimum(box[:2], boxes[:, :2]), torch.maximum(box[2:], boxes[:, 2:])
    return _area(torch.cat(corners, dim=1))


def _inclusive(box: Tensor, boxes: Tensor) -> Tensor:
    more = torch.tensor([0.0, 0, 1, 1])
    return detection.overlap(box + more, boxes + more)


def _shows_overlap(student: Callable[..., Any]) -> Iterator[Any]:
    model, found = _candidates()
    for name in scene().names:
        k = int(found.logits[:, model.class_index(name)].argmax())
        iou = torch.as_tensor(student(found.boxes[k], found.boxes))
        yield (
            f"By your function {int((iou > 0.5).sum()) - 1} of the other {len(iou) - 1} candidates overlap the best "
            f"box of the {name} by more than a half. Suppression will drop those with a lower score."
        )


@exercise(
    draw=_boxes,
    arguments=("box", "boxes"),
    praise="A detector's suppression and its evaluation use this number, and often its training does, too.",
    shows=_shows_overlap,
    mistakes={
        "no clamp": lambda a, b: _iou(_unclamped(a, b), a, b),
        "clamped after the product": lambda a, b: _iou(_unclamped(a, b).clamp(min=0), a, b),
        "sum of the areas": lambda a, b: _both(a, b) / (_area(a) + _area(b)),
        "corner and size": lambda a, b: detection.overlap(_of_corner_and_size(a), _of_corner_and_size(b)),
        "size in the areas": lambda a, b: _both(a, b) / (a[2] * a[3] + b[:, 2] * b[:, 3] - _both(a, b)),
        "both x first": lambda a, b: detection.overlap(a[[0, 2, 1, 3]], b[:, [0, 2, 1, 3]]),
        "x and y swapped in one": lambda a, b: detection.overlap(a[[1, 0, 3, 2]], b),
        "area of the intersection": _both,
        "area of the union": lambda a, b: _area(a) + _area(b) - _both(a, b),
        "divided by the box": lambda a, b: _both(a, b) / _area(a),
        "divided by the others": lambda a, b: _both(a, b) / _area(b),
        "divided by the smaller": lambda a, b: _both(a, b) / torch.minimum(_area(a), _area(b)),
        "divided by the enclosing box": lambda a, b: _both(a, b) / _enclosing(a, b),
        "one pixel more": _inclusive,
        "one minus it": lambda a, b: 1 - detection.overlap(a, b),
        "the largest": lambda a, b: detection.overlap(a, b).max(),
    },
    hints={
        "no clamp": "Two boxes that are apart have a negative width or height of intersection; two negatives multiply "
        "to a positive area. Set negative sides to 0: clamp(min=0).",
        "clamped after the product": "You clamp the area. Where both sides are negative their product is positive, and "
        "the clamp comes too late: clamp width and height.",
        "sum of the areas": "You divide by the sum of both areas, in which the intersection is counted twice. Subtract "
        "it once.",
        "corner and size": "You read the boxes as x, y, width, height. They are left, top, right, bottom.",
        "size in the areas": "The intersection is right. In the areas you multiply the last two numbers, as if they "
        "were width and height; they are right and bottom.",
        "both x first": "You read the boxes as x1, x2, y1, y2. The order is left, top, right, bottom: x1, y1, x2, y2.",
        "x and y swapped in one": "In one of the two you have swapped x and y.",
        "area of the intersection": "That is the intersection alone. Divide it by the area of the union.",
        "area of the union": "That is the union alone. Divide the intersection by it.",
        "divided by the box": "You divide by the area of the one box: a huge box around it would score 1. Divide by "
        "the union.",
        "divided by the others": "You divide by the area of each other box: a tiny box inside would score 1. Divide by "
        "the union.",
        "divided by the smaller": "You divide by the smaller of both areas. Divide by the area of the union.",
        "divided by the enclosing box": "You divide by the box around both. The union has no empty corners: it is "
        "area plus area minus intersection.",
        "one pixel more": "You add 1 to the sides, as if the corners were pixels. They are edges: the width is "
        "right minus left.",
        "one minus it": "That is 1 - IoU, a distance: the same box gets 0. Return IoU.",
        "the largest": "That is the largest of them. Return one number per box.",
    },
)
def overlap(box: Tensor, boxes: Tensor) -> Tensor:
    """IoU of one box (4,) with each of M boxes (M, 4)."""
    both = _both(box, boxes)
    return both / (_area(box) + _area(boxes) - both)


# Suppression, class by class.


def _suppressed(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    limit: float,
    *,
    all_classes: bool = False,
    order: Tensor | None = None,
    dropped_too: bool = False,
    last_only: bool = False,
    far: bool = False,
) -> list[int]:
    kept: list[int] = []
    seen: list[int] = []
    iou, kinds = detection.overlap(boxes[:, None], boxes).tolist(), labels.tolist()
    for i in (scores.argsort(descending=True) if order is None else order).tolist():
        rivals = seen if dropped_too else kept[-1:] if last_only else kept
        alike = [j for j in rivals if all_classes or kinds[j] == kinds[i]]
        if not any((iou[i][j] < limit) if far else (iou[i][j] > limit) for j in alike):
            kept.append(i)
        seen.append(i)
    return kept


def _ascending(b: Tensor, s: Tensor, c: Tensor, t: float) -> list[int]:
    return _suppressed(b, s, c, t, order=s.argsort())


def _as_given(b: Tensor, s: Tensor, c: Tensor, t: float) -> list[int]:
    return _suppressed(b, s, c, t, order=torch.arange(len(s)))


def _places(b: Tensor, s: Tensor, c: Tensor, t: float) -> list[int]:
    """The numbers among the sorted boxes instead of those of the boxes as given."""
    order = s.argsort(descending=True).tolist()
    return [order.index(i) for i in _suppressed(b, s, c, t)]


def _one_per_class(b: Tensor, s: Tensor, c: Tensor, t: float) -> list[int]:
    best = {int(k): max((i for i in range(len(s)) if c[i] == k), key=lambda i: float(s[i])) for k in c.unique()}
    return sorted(best.values(), key=lambda i: -float(s[i]))


def _mask(b: Tensor, s: Tensor, c: Tensor, t: float) -> list[bool]:
    kept = _suppressed(b, s, c, t)
    return [i in kept for i in range(len(s))]


_SUPPRESSION: dict[str, Callable[..., Any]] = {
    "across classes": lambda b, s, c, t: _suppressed(b, s, c, t, all_classes=True),
    "weakest first": _ascending,
    "not sorted": _as_given,
    "dropped ones too": lambda b, s, c, t: _suppressed(b, s, c, t, dropped_too=True),
    "the last one only": lambda b, s, c, t: _suppressed(b, s, c, t, last_only=True),
    "far ones dropped": lambda b, s, c, t: _suppressed(b, s, c, t, far=True),
    "a limit of a half": lambda b, s, c, t: _suppressed(b, s, c, 0.5),
    "one per class": _one_per_class,
    "in the order given": lambda b, s, c, t: sorted(_suppressed(b, s, c, t)),
    "places among the sorted": _places,
    "a mask": _mask,
    "those that are dropped": lambda b, s, c, t: sorted(set(range(len(s))) - set(_suppressed(b, s, c, t))),
    "how many": lambda b, s, c, t: len(_suppressed(b, s, c, t)),
}


def _clusters(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    """Boxes of two classes in three heaps, in each a chain: each overlaps its neighbors, but not those beyond."""
    boxes = []
    for heap in range(3):
        x, y, step = 50.0 * heap, float(uniform(rng, 0, 30)), float(uniform(rng, 4.5, 6))
        boxes += [[x + n * step, y, x + n * step + 16, y + 20] for n in range(4)]
    n = len(boxes)
    scores = (torch.randperm(n, generator=rng) + 1) / (n + 1)
    limit = round(float(uniform(rng, 0.3, 0.36)), 2)
    return torch.tensor(boxes), scores, torch.randint(0, 2, (n,), generator=rng), limit


def _shows_suppression(student: Callable[..., Any]) -> Iterator[Any]:
    model, found = _candidates()
    sure = found.take(torch.where(found.scores >= 0.3)[0])
    kept = [int(i) for i in student(sure.boxes, sure.scores, sure.labels, 0.5)]
    names = ", ".join(f"{model.classes[int(sure.labels[i])]} {float(sure.scores[i]):.0%}" for i in kept)
    yield f"Of {len(sure.scores)} candidates that are at least 30% sure your function leaves {len(kept)}: {names}."


@exercise(
    draw=distinct(
        _clusters, [_suppressed, *(_SUPPRESSION[name] for name in ("dropped ones too", "a limit of a half"))]
    ),
    arguments=("boxes", "scores", "labels", "limit"),
    tolerance=1e-6,
    praise="A box hides only boxes of its own class. The package's detector lets it hide boxes of any class: on one "
    "object it shows one box.",
    shows=_shows_suppression,
    mistakes=_SUPPRESSION,
    hints={
        "across classes": "A box suppresses boxes of another class, too: a rider would hide his horse. Compare labels.",
        "weakest first": "You begin with the lowest score, so weak boxes hide better ones. Sort in descending order.",
        "not sorted": "You take the boxes as they come. The best one chooses first: sort by score.",
        "dropped ones too": "A box that was dropped must not suppress others: compare with the kept ones only.",
        "the last one only": "You compare with the box that was kept last. Compare with all that were kept.",
        "far ones dropped": "You drop the boxes that overlap little, and keep the doubles: the other way around.",
        "a limit of a half": "You wrote 0.5 into the code. Use the argument limit.",
        "one per class": "You keep the best box of each class. There may be two cats: only overlapping boxes go.",
        "in the order given": "These are the right boxes. Return their numbers best first.",
        "places among the sorted": "You return places in the sorted list. Return the numbers of the boxes as given.",
        "a mask": "That is True or False for each box. Return the numbers of the kept ones, best first.",
        "those that are dropped": "These are the boxes that are dropped. Return the others.",
        "how many": "That is how many are kept; return their numbers.",
    },
)
def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, limit: float) -> list[int]:
    """The numbers of the boxes that are kept, best first; a box drops weaker ones of its class that overlap it."""
    return _suppressed(boxes, scores, labels, limit)


# D-RISE's similarity.


def _found(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Overlaps (M,) of a box with M boxes that are found, their probabilities (M, K), and those of the box (K,)."""
    M, K = integer(rng, 5, 8), integer(rng, 9, 12)
    return uniform(rng, 0.05, 0.95, M), uniform(rng, 0.05, 0.9, M, K), uniform(rng, 0.05, 0.95, K)


def _cosine(P: Tensor, p: Tensor) -> Tensor:
    return F.cosine_similarity(P, p[None], dim=1)


_SIMILARITY: dict[str, Callable[..., Any]] = {
    "one per box": lambda iou, P, p: iou * _cosine(P, p) * P.amax(1),
    "sum": lambda iou, P, p: (iou * _cosine(P, p) * P.amax(1)).sum(),
    "mean": lambda iou, P, p: (iou * _cosine(P, p) * P.amax(1)).mean(),
    "number of the box": lambda iou, P, p: (iou * _cosine(P, p) * P.amax(1)).argmax(),
    "no objectness": lambda iou, P, p: (iou * _cosine(P, p)).max(),
    "no classes": lambda iou, P, p: (iou * P.amax(1)).max(),
    "overlap only": lambda iou, P, p: iou.max(),
    "classes only": lambda iou, P, p: _cosine(P, p).max(),
    "no lengths": lambda iou, P, p: (iou * (P @ p) * P.amax(1)).max(),
    "one length": lambda iou, P, p: (iou * (P @ p) / P.norm(dim=1) * P.amax(1)).max(),
    "maxima multiplied": lambda iou, P, p: iou.max() * _cosine(P, p).max() * P.max(),
    "objectness of the target": lambda iou, P, p: (iou * _cosine(P, p) * p.max()).max(),
    "probability of the class": lambda iou, P, p: (iou * _cosine(P, p) * P[:, p.argmax()]).max(),
    "factors added": lambda iou, P, p: (iou + _cosine(P, p) + P.amax(1)).max(),
}


def _shows_similarity(student: Callable[..., Any]) -> Iterator[Any]:
    model, image = models.load("menagerie-detector"), scene().image
    box, masks = detection.find_box(model, image, "cat"), occlusion.random_masks(200, 96, 96, cells=8).float()
    x = torch.lerp(image.mean(dim=(1, 2), keepdim=True), image, masks[:, None])
    with torch.no_grad():
        found = [each for part in x.split(50) for each in model(part.to(model.device))]
    weights = [
        student(detection.overlap(box.corners, d.boxes).cpu(), d.probabilities.cpu(), box.probabilities.cpu())
        for d in found
    ]
    w = torch.tensor([float(each) for each in weights])
    H = (w[:, None, None] * masks).sum(dim=0) / (0.5 * len(masks))
    yield (
        f"Under {len(w)} random masks the similarity to the box of the cat runs from {float(w.min()):.2f} to "
        f"{float(w.max()):.2f}. The weighted sum of the masks is a D-RISE map:"
    )
    yield plots.show(
        [plots.overlay(scene().at(288).image, H, scale=plots.limits(H))],
        caption="D-RISE for the box of the cat, with your similarity.",
        size=2.8,
    )


@exercise(
    draw=_found,
    arguments=("overlaps", "P", "p"),
    praise="A mask gets a large weight only if one and the same box fits in all three: place, class and certainty.",
    shows=_shows_similarity,
    mistakes=_SIMILARITY,
    hints={
        "one per box": "These are the right similarities, one per box. The mask's weight is the largest of them.",
        "sum": "You add up all boxes: many poor boxes would outweigh a good one. Take the largest.",
        "mean": "You take the mean of all boxes. Take the largest.",
        "number of the box": "That is the number of the best box. Return its similarity: max instead of argmax.",
        "no objectness": "The third factor O is missing: the largest probability of each box that is found.",
        "no classes": "The second factor is missing: the cosine of the angle between both lists of probabilities.",
        "overlap only": "That is the overlap alone. A dog in the place of the cat must not count as the cat.",
        "classes only": "That is the cosine alone. A cat elsewhere must not count as this one.",
        "no lengths": "You take the product P . p without dividing it by the two lengths: it is no cosine yet.",
        "one length": "You divide by the length of P only. Divide by that of p, too.",
        "maxima multiplied": "You take three maxima, perhaps of three different boxes. Multiply for each box first.",
        "objectness of the target": "You take the certainty of the explained box. O is that of the box that is found.",
        "probability of the class": "You take the probability of the target's class as O. It is the largest "
        "probability of the box, of whichever class.",
        "factors added": "You add the three factors. Multiply them: if one is zero, nothing was found again.",
    },
)
def similarity(overlaps: Tensor, P: Tensor, p: Tensor) -> Tensor:
    """max_j IoU_j * (P_j . p) / (|P_j| |p|) * max_k P_jk."""
    cosine = (P @ p) / (P.norm(dim=1) * p.norm())
    return (overlaps * cosine * P.amax(dim=1)).max()


# The part at an edge.

Edges = dict[str, list[float]]


def _removals(rng: torch.Generator) -> tuple[list[float], Edges, str]:
    """A box, what it becomes without each of some parts, and the name of an edge; each edge comes up in turn.

    Each edge has its own holder, and in every other round another part moves the edge further, outwards.
    """
    edge, parts = EDGES[rng.initial_seed() % 4], ["tail", "head", "body", "legs", "ears", "wings", "beak"]
    while True:
        before = [*uniform(rng, 10, 20, 2).tolist(), *uniform(rng, 60, 90, 2).tolist()]
        after = {part: [b + float(uniform(rng, -9, 9)) for b in before] for part in parts}
        holder = _holder(before, after, edge)
        others = (_widest(before, after, edge), _least(before, after, edge))
        furthest = _either_way(before, after, edge) == holder
        apart = len({_holder(before, after, each) for each in EDGES}) == 4 and holder not in others
        if apart and furthest == alternates(rng):
            return before, after, edge


def _inward(before: list[float], box: list[float], k: int) -> float:
    return (box[k] - before[k]) * (1 if k < 2 else -1)


def _holder(before: list[float], after: Edges, edge: str, order: tuple[str, ...] = EDGES) -> str:
    k = order.index(edge)
    return max(after, key=lambda part: _inward(before, after[part], k))


def _widest(before: list[float], after: Edges, edge: str) -> str:
    return max(after, key=lambda part: sum(abs(b - a) for a, b in zip(before, after[part], strict=True)))


def _either_way(before: list[float], after: Edges, edge: str) -> str:
    return max(after, key=lambda part: abs(_inward(before, after[part], EDGES.index(edge))))


def _least(before: list[float], after: Edges, edge: str) -> str:
    return min(after, key=lambda part: abs(_inward(before, after[part], EDGES.index(edge))))


_HOLDERS: dict[str, Callable[..., Any]] = {
    "outwards": lambda b, after, e: min(after, key=lambda part: _inward(b, after[part], EDGES.index(e))),
    "either way": _either_way,
    "least of all": _least,
    "x and y swapped": lambda b, after, e: _holder(b, after, e, ("top", "left", "bottom", "right")),
    "both x first": lambda b, after, e: _holder(b, after, e, ("left", "right", "top", "bottom")),
    "always to the right": lambda b, after, e: max(after, key=lambda p: after[p][EDGES.index(e)] - b[EDGES.index(e)]),
    "always to the left": lambda b, after, e: min(after, key=lambda p: after[p][EDGES.index(e)] - b[EDGES.index(e)]),
    "any edge": _widest,
    "how far": lambda b, after, e: max(_inward(b, box, EDGES.index(e)) for box in after.values()),
    "its number": lambda b, after, e: list(after).index(_holder(b, after, e)),
}


def _shows_holder(student: Callable[..., Any]) -> Iterator[Any]:
    model, one = models.load("menagerie-detector"), scene()
    parts = [p for p in menagerie.PARTS["cat"] if p in one.masks and p not in menagerie.PARTS["umbrella"]]
    view = detection.box_view(model, one.image, "cat", follow="match")
    images = torch.stack([one.image, *(one.without(part).image for part in parts)])
    with torch.no_grad():
        rows = view(images.to(model.device))[:, 1:5].cpu().tolist()
    after = dict(zip(parts, rows[1:], strict=True))
    said = []
    for edge in EDGES:
        part, k = student(rows[0], after, edge), EDGES.index(edge)
        said.append(f"{edge}: {part} ({_inward(rows[0], after[part], k):.1f} px inward)")
    yield f"By your function these parts of the lesson's cat hold the edges of its box. {', '.join(said)}."


@exercise(
    draw=_removals,
    arguments=(),
    praise="Removing the part and looking again answers the question that no map can answer alone.",
    shows=_shows_holder,
    mistakes=_HOLDERS,
    hints={
        "outwards": "You found the part without which the box grows most there. A part that holds an edge lets the "
        "box shrink when it goes.",
        "either way": "You compare absolute values, so an edge that moves outward counts, too. Only inward counts.",
        "least of all": "That is the part whose removal moves the edge least.",
        "x and y swapped": "You read the box as top, left, bottom, right. The order is left, top, right, bottom.",
        "both x first": "You read the box as left, right, top, bottom. The order is left, top, right, bottom.",
        "always to the right": "You look for the largest increase. That is inward for left and top; the right and the "
        "bottom edge move inward when their number falls.",
        "always to the left": "You look for the largest decrease. That is inward for right and bottom; the left and "
        "the top edge move inward when their number grows.",
        "any edge": "You add up all four edges. Only the named edge counts.",
        "how far": "That is how far it moves, and it is right. Return the name of the part.",
        "its number": "That is its place in the dictionary. Return the name of the part.",
    },
)
def holds(before: list[float], after: Edges, edge: str) -> str:
    """The part without which the named edge moves furthest inwards."""
    return _holder(before, after, edge)
