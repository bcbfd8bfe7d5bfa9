"""Train and evaluate a detector: which places learn which box, the loss, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs
from xai_lessons.core.libraries import torchvision
from xai_lessons.core.state import preserved
from xai_lessons.models import Detections
from xai_lessons.training.augmentation import pixels
from xai_lessons.training.fit import Settings
from xai_lessons.training.scoring import Score

MIDDLE = 0.3  # a place learns a box if it lies in the middle of it: at most so much of its sides from its center
NEAR = 5.0  # pixels from its center within which a place always learns a small box


class Detection:
    """Boxes with a class: labels (N, objects, 5) of left, top, right, bottom in pixels and class; zeros for none."""

    def check(self, images: Tensor, labels: Tensor, classes: int, least: int) -> None:
        """Refuse data that cannot be trained on, before any computing."""
        if len(images) != len(labels) or len(images) < least or images.ndim != 4 or labels.shape[2:] != (5,):
            raise ValueError(
                f"expected at least {least} image(s) (N, 3, H, W) and labels (N, objects, 5), got "
                f"{tuple(images.shape)} and {tuple(labels.shape)}: see datasets.drawn_pairs"
            )
        if int(labels[..., 4].min()) < 0 or int(labels[..., 4].max()) >= classes:
            raise ValueError(f"expected classes from 0 to {classes - 1}, got {int(labels[..., 4].max())}")

    def augment(
        self, images: Tensor, labels: Tensor, settings: Settings, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Flip half of the images horizontally, and their boxes with them."""
        for name in ("shift", "erase", "recolor", "adversarial", "label_smoothing"):
            if getattr(settings, name):
                raise ValueError(f"{name} must be 0 to train a detector, got {getattr(settings, name)}")
        if not settings.flip:
            return images, labels
        flipped = (torch.rand(len(images), generator=rng) < 0.5).to(images.device)
        left, top, right, bottom, kind = labels.unbind(dim=-1)
        exists, width = right > left, images.shape[3]
        mirrored = torch.stack([(width - right) * exists, top, (width - left) * exists, bottom, kind], dim=-1)
        return (
            torch.where(flipped[:, None, None, None], images.flip(3), images),
            torch.where(flipped[:, None, None], mirrored, labels),
        )

    def loss(self, model: Any, images: Tensor, labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        """Focal loss of the classes plus 1 - GIoU of the boxes; right are the places whose best class is right."""
        ops = torchvision().ops
        boxes, logits = (t.float() for t in model.candidates(images))
        height, width = (side // model.network.STRIDE for side in images.shape[-2:])
        centers = model.network.centers(height, width).to(boxes)
        truth, kind, learns = assign(centers, labels)
        wanted = F.one_hot(kind, logits.shape[-1]).to(logits) * learns[..., None]
        count = learns.sum().clamp(min=1)
        loss = ops.sigmoid_focal_loss(logits, wanted, alpha=0.25, gamma=2, reduction="sum") / count
        loss = loss + ops.generalized_box_iou_loss(boxes[learns], truth[learns].to(boxes), reduction="sum") / count
        right = (logits.detach().argmax(dim=-1) == kind)[learns].sum() / count
        return loss, right * len(images)

    def evaluate(self, model: Any, images: Tensor, labels: Tensor) -> Score:
        """The loss, and mean average precision in the place of the accuracy."""
        total, found = 0.0, []
        device, dtype = inputs.device_of(model)
        with torch.inference_mode(False), torch.no_grad(), preserved(model):
            for x, y in zip(images.split(64), labels.split(64), strict=True):
                x = pixels(x).to(device, dtype)
                found += model.detect(x, threshold=0.05)
                total += float(self.loss(model, x, y.to(device), Settings())[0]) * len(x)
        return Score(total / len(images), mean_average_precision(found, labels))


def assign(centers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which box each place learns: the smallest one in whose middle it lies.

    Args:
        centers: (M, 2), of the places, in pixels.
        labels: (N, objects, 5), see `Detection`.

    Returns:
        The box (N, M, 4) and the class (N, M) of each place, and whether it learns one at all (N, M).

    Example:
        >>> centers, labels = torch.tensor([[4.0, 4], [12, 4]]), torch.tensor([[[0, 0, 8, 8, 3]]])
        >>> assign(centers, labels)[2].tolist()
        [[True, False]]
    """
    boxes = labels[..., :4].to(centers)
    sides = boxes[..., 2:] - boxes[..., :2]
    reach = (MIDDLE * sides).clamp(min=NEAR)
    away = (centers[:, None] - (boxes[..., :2] + boxes[..., 2:])[:, None] / 2).abs()  # (N, M, objects, 2)
    area = sides.prod(dim=-1)[:, None].expand(away.shape[:-1])
    inside = (away <= reach[:, None]).all(dim=-1) & (area > 0)
    smallest, which = area.masked_fill(~inside, torch.inf).min(dim=-1)
    rows = torch.arange(len(labels), device=labels.device)[:, None]
    return boxes[rows, which], labels[..., 4][rows, which], smallest < torch.inf


def average_precision(found: Sequence[Detections], labels: Tensor, target: int, *, overlap: float = 0.5) -> float:
    r"""Average precision of one class: the area under the curve of precision over recall.

    .. math:: \mathrm{AP} = \sum_k (r_k - r_{k-1}) \max_{j \ge k} p_j

    Boxes of all images are sorted by their score; one is right if it overlaps a box of its class that no better one has
    claimed.

    Args:
        found: what `Detector.detect` returns for N images, with a low threshold.
        labels: (N, objects, 5), the true boxes and classes, see `datasets.drawn_pairs`.
        target: the class.
        overlap: the intersection over union from which a box is right.

    Returns:
        From 0 to 1; NaN if no image has the class.

    Example:
        >>> found = Detections(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[3.0, -3]]))
        >>> average_precision([found], torch.tensor([[[0, 0, 4, 5, 0]]]), 0)
        1.0

    Source: Everingham et al., 2010, "The PASCAL visual object classes (VOC) challenge",
    doi:10.1007/s11263-009-0275-4, section 4.2, with all recalls as in the challenges from 2010 on.
    """
    answers, objects = [], 0
    for each, truth in zip(found, labels, strict=True):
        exists = (truth[:, 2] > truth[:, 0]) & (truth[:, 4] == target)
        objects += int(exists.sum())
        own = each.take(torch.where(each.labels == target)[0])
        own = own.take(own.scores.argsort(descending=True, stable=True))
        iou = torchvision().ops.box_iou(own.boxes, truth[exists, :4].to(own.boxes))
        for score, row in zip(own.scores.tolist(), iou, strict=True):
            best = int(row.argmax()) if len(row) else -1
            right = best >= 0 and bool(row[best] >= overlap)
            if right:
                iou[:, best] = -1  # claimed
            answers.append((score, right))
    if not objects:
        return float("nan")
    answers.sort(key=lambda answer: -answer[0])
    hits = torch.tensor([right for _, right in answers], dtype=torch.float64).cumsum(0)
    precision = hits / torch.arange(1, len(answers) + 1)
    best_later = precision.flip(0).cummax(0).values.flip(0) if len(answers) else precision
    return float((torch.diff(hits / objects, prepend=hits.new_zeros(1)) * best_later).sum())


def recall(found: Sequence[Detections], labels: Tensor, target: int, *, overlap: float = 0.5) -> float:
    """The fraction of the objects of one class that are found: a box of that class overlaps them.

    Args:
        found: what `Detector.detect` returns for N images.
        labels: (N, objects, 5), the true boxes and classes, see `datasets.drawn_pairs`.
        target: the class.
        overlap: the intersection over union from which a box is right.

    Returns:
        From 0 to 1; NaN if no image has the class.

    Example:
        >>> found = Detections(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[3.0, -3]]))
        >>> recall([found], torch.tensor([[[0, 0, 4, 5, 0], [4, 4, 8, 8, 0]]]), 0)
        0.5
    """
    box_iou = torchvision().ops.box_iou
    hits = []
    for each, truth in zip(found, labels, strict=True):
        objects = truth[(truth[:, 2] > truth[:, 0]) & (truth[:, 4] == target), :4]
        boxes = each.boxes[each.labels == target].cpu()
        hits += [bool((row >= overlap).any()) for row in box_iou(objects.to(boxes), boxes)]
    return sum(hits) / len(hits) if hits else float("nan")


def mean_average_precision(found: Sequence[Detections], labels: Tensor, *, overlap: float = 0.5) -> float:
    """The mean of `average_precision` over the classes that occur: mAP@0.5.

    Args:
        found: what `Detector.detect` returns for N images, with a low threshold.
        labels: (N, objects, 5), the true boxes and classes, see `datasets.drawn_pairs`.
        overlap: the intersection over union from which a box is right.

    Returns:
        From 0 to 1.

    Example:
        >>> found = Detections(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[3.0, -3]]))
        >>> mean_average_precision([found], torch.tensor([[[0, 0, 4, 5, 0], [4, 4, 8, 8, 1]]]))
        0.5
    """
    present = labels[labels[..., 2] > labels[..., 0]][:, 4].unique().tolist()
    return sum(average_precision(found, labels, k, overlap=overlap) for k in present) / len(present)
