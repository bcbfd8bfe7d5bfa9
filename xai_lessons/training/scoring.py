"""How well a network does on a set of pictures: loss, accuracy, confusion, and what its confidence is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.state import undisturbed
from xai_lessons.training.augmentation import pixels


class Score(NamedTuple):
    """How a network does on a set of pictures."""

    loss: float
    accuracy: float


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 64) -> Score:
    """Cross-entropy and accuracy on a set of pictures.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,) class numbers.
        batch_size: pictures at once.

    Returns:
        The mean loss and the share that is right.

    Raises:
        ValueError: if there is no picture, or not one label a picture.
    """
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"a label a picture is needed, and one picture at least: got {len(images)} and {len(labels)}")
    loss, right = 0.0, 0
    device, dtype = inputs.device_of(model)
    with torch.inference_mode(False), torch.no_grad(), undisturbed(model):
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            scores, y = passes.logits(model, pixels(x.to(device)).to(dtype)), y.to(device)
            loss += F.cross_entropy(scores, y, reduction="sum").item()
            right += int((scores.argmax(dim=1) == y).sum())
    return Score(loss / len(labels), right / len(labels))


class Reliability(NamedTuple):
    """How often a network is right when it is that sure, in bins of confidence."""

    confidence: list[float]
    accuracy: list[float]
    pictures: list[int]
    expected_calibration_error: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Reliability:
    """Confidence against correctness: ECE = sum_b n_b / n |accuracy_b - confidence_b|.

    Args:
        probabilities: (N, K), each row summing to 1.
        labels: (N,).
        bins: equal bins of confidence in [0, 1].

    Returns:
        The mean confidence, the share that is right and the count of each bin that is not empty, and the error.

    Source: Guo, Pleiss, Sun, Weinberger, 2017, arXiv:1706.04599.
    """
    sure, answer = probabilities.max(dim=1)
    right = (answer == labels).double()
    which = (sure * bins).long().clamp(max=bins - 1)
    rows = [
        (float(sure[m].mean()), float(right[m].mean()), int(m.sum()))
        for m in (which == b for b in range(bins))
        if m.any()
    ]
    error = sum(n * abs(a - c) for c, a, n in rows) / len(labels)
    return Reliability([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], error)


def confusion(answers: Tensor, labels: Tensor, classes: Sequence[str]) -> Tensor:
    """How often each class (row) was called each class (column): a LongTensor (K, K)."""
    k = len(classes)
    return torch.bincount(labels * k + answers, minlength=k * k).reshape(k, k)
