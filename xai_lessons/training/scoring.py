"""Evaluate a classifier on a set of images: loss, accuracy, confusion matrix, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.state import preserved
from xai_lessons.training.augmentation import pixels


class Score(NamedTuple):
    """Mean loss and accuracy on a set of images."""

    loss: float
    accuracy: float


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 64) -> Score:
    """Cross-entropy and accuracy on a set of images.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,) class indices.
        batch_size: images per forward pass.

    Returns:
        The mean loss and the fraction that is right.

    Raises:
        ValueError: if there is no image, or not one label per image.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> 0 <= evaluate(model, torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])).accuracy <= 1
        True
    """
    if len(images) != len(labels) or not len(images):
        raise ValueError(
            f"expected at least one image and one label per image, got {len(images)} images and {len(labels)} labels"
        )
    loss, right = 0.0, 0
    device, dtype = inputs.device_of(model)
    with torch.inference_mode(False), torch.no_grad(), preserved(model):
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            scores, y = passes.logits(model, pixels(x.to(device)).to(dtype)), y.to(device)
            loss += F.cross_entropy(scores, y, reduction="sum").item()
            right += int((scores.argmax(dim=1) == y).sum())
    return Score(loss / len(labels), right / len(labels))


class Reliability(NamedTuple):
    """A reliability diagram: confidence, accuracy and number of images of each bin, and the calibration error."""

    confidence: list[float]
    accuracy: list[float]
    pictures: list[int]
    expected_calibration_error: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Reliability:
    """Compare confidence with accuracy: ECE = sum_b n_b / n |accuracy_b - confidence_b|.

    Args:
        probabilities: (N, K), each row summing to 1.
        labels: (N,).
        bins: number of equal bins of the confidence in [0, 1].

    Returns:
        Mean confidence, accuracy and count of each bin that is not empty, and the expected calibration error.

    Example:
        >>> p = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
        >>> reliability(p, torch.tensor([0, 0])).expected_calibration_error
        0.25

    Source: Guo, Pleiss, Sun, Weinberger, 2017, "On calibration of modern neural networks", arXiv:1706.04599.
    """
    confidence, answer = probabilities.max(dim=1)
    right = (answer == labels).to(inputs.widest(labels.device))
    bin_index = (confidence * bins).long().clamp(max=bins - 1)
    rows = [
        (float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (bin_index == b for b in range(bins))
        if inside.any()
    ]
    error = sum(n * abs(a - c) for c, a, n in rows) / len(labels)
    return Reliability([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], error)


def confusion(answers: Tensor, labels: Tensor, classes: Sequence[object]) -> Tensor:
    """Confusion matrix: how often each class (row) is predicted as each class (column).

    Args:
        answers: (N,) predicted class indices.
        labels: (N,) class indices.
        classes: the K names.

    Returns:
        LongTensor (K, K).

    Example:
        >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), ("cat", "dog")).tolist()
        [[1, 1], [0, 1]]
    """
    k = len(classes)
    return torch.bincount(labels * k + answers, minlength=k * k).reshape(k, k)
