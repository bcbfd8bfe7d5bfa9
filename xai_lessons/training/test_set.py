"""Evaluate networks on a test set: confusion matrix, calibration, and the mistakes that two of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xai_lessons import models
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.training import scoring
from xai_lessons.training.augmentation import pixels


class Evaluation(NamedTuple):
    """The result of a network on a test set.

    Attributes:
        confusion: how often each class (row) was predicted as each class (column), (K, K).
        reliability: how often its answers were right, by their confidence.
    """

    confusion: Tensor
    reliability: scoring.Reliability

    @property
    def accuracy(self) -> float:
        """The fraction of all images that is right."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def by_class(self) -> list[float]:
        """The fraction of each class that is right."""
        return (self.confusion.diagonal() / self.confusion.sum(dim=1).clamp_min(1)).tolist()


def predict(model: models.Classifier, images: Tensor, *, batch_size: int = 250, progress: Progress = None) -> Tensor:
    """Predict the probabilities of many images, one batch at a time.

    Args:
        model: the network.
        images: (N, 3, H, W), bytes or floats in [0, 1].
        batch_size: images per forward pass.
        progress: True for a bar, or a callback ``(done, total)``; one that raises stops it.

    Returns:
        (N, K), each row summing to 1, on the CPU.

    Raises:
        ValueError: if there is no image.

    Example:
        >>> predict(models.load("menagerie-resnet"), torch.zeros(2, 3, 96, 96)).shape
        torch.Size([2, 10])
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"expected at least one image, (N, 3, H, W), got {tuple(images.shape)}")
    parts = []
    with Meter(progress, len(images)) as meter:
        for batch in images.split(batch_size):
            parts.append(model.predict(pixels(batch)).cpu())
            meter.add(len(batch))
    return torch.cat(parts)


def summarize(probabilities: Tensor, labels: Tensor) -> Evaluation:
    """The confusion matrix and the reliability diagram of predicted probabilities.

    Args:
        probabilities: (N, K), see `predict`.
        labels: (N,).

    Returns:
        Both, with the accuracies that follow.

    Example:
        >>> summarize(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1])).accuracy
        0.5
    """
    confusion = scoring.confusion(probabilities.argmax(dim=1), labels, range(probabilities.shape[1]))
    return Evaluation(confusion, scoring.reliability(probabilities, labels))


def most_confused(confusion: Tensor, classes: Sequence[str], count: int = 5) -> list[tuple[str, str, int]]:
    """The pairs of classes that are confused most, in either direction: C_ab + C_ba, largest first.

    Args:
        confusion: (K, K), rows are the true classes.
        classes: the K names.
        count: how many pairs.

    Returns:
        Both names, and the number of images.

    Example:
        >>> most_confused(torch.tensor([[8, 2, 0], [1, 9, 0], [0, 1, 9]]), ("cat", "dog", "ship"), 1)
        [('cat', 'dog', 3)]
    """
    both = confusion + confusion.T
    pairs = [(a, b, int(both[i, j])) for i, a in enumerate(classes) for j, b in enumerate(classes) if i < j]
    return sorted(pairs, key=lambda pair: -pair[2])[:count]


def contingency(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Contingency table of two networks: how many images each gets wrong or right.

    Args:
        first: (N, K), the probabilities of one network.
        second: (N, K), those of the other.
        labels: (N,).

    Returns:
        (2, 2): the first is wrong (row 0) or right (row 1), the second wrong (column 0) or right (column 1).

    Example:
        >>> p, q = torch.eye(2)[[0, 0, 1]], torch.eye(2)[[0, 1, 1]]
        >>> contingency(p, q, torch.tensor([0, 1, 1])).tolist()
        [[0, 1], [0, 2]]
    """
    a, b = (p.argmax(dim=1) == labels for p in (first, second))
    return torch.bincount(2 * a + b, minlength=4).reshape(2, 2)
