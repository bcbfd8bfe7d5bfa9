"""Evaluate networks on a test set: confusion matrix, calibration, and the mistakes that two of them share.

The figures of the CIFAR-10 networks are stored, so that they can be shown where the images are not available;
`python -m xai_lessons.training.test_set --source FOLDER` measures them again and prints them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons import models
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import datasets
from xai_lessons.models import store
from xai_lessons.training import scoring
from xai_lessons.training.augmentation import pixels

STORED = Path(__file__).parents[1] / "results" / "cifar10.json"
NETWORKS = ("cifar10-resnet", "cifar10-vgg")


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


class Report(NamedTuple):
    """The stored figures of the two networks.

    Attributes:
        classes: their names.
        networks: by their names.
        contingency: see `contingency`.
    """

    classes: tuple[str, ...]
    networks: dict[str, Evaluation]
    contingency: Tensor


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


def stored(path: Path = STORED) -> Report:
    """The figures of CIFAR-10's networks on its 10,000 test images."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    networks = {
        name: Evaluation(torch.tensor(each["confusion"]), scoring.Reliability(**each["reliability"]))
        for name, each in facts["networks"].items()
    }
    return Report(tuple(facts["classes"]), networks, torch.tensor(facts["together"]))


def measure(pictures: datasets.Pictures, names: Sequence[str] = NETWORKS, progress: Progress = None) -> dict[str, Any]:
    """Measure two networks on a test set, in the form that is stored: the figures, and the hash of the weights.

    Args:
        pictures: the test set.
        names: two built-in networks, or paths of saved ones.
        progress: True for bars, or a callback.

    Raises:
        ValueError: if a network has other classes than the test set.
    """
    given, networks = [], {}
    for name in names:
        model = models.load(name)
        if tuple(model.classes) != tuple(pictures.classes):
            expected, got = (", ".join(classes) for classes in (pictures.classes, model.classes))
            raise ValueError(f"expected a network of the classes {expected}, got {name} of {got}")
        given.append(predict(model, pictures.images, progress=progress))
        found = summarize(given[-1], pictures.labels)
        bins = {key: _rounded(value) for key, value in found.reliability._asdict().items()}
        facts = {"sha256": store.card(name)["sha256"], "confusion": found.confusion.tolist(), "reliability": bins}
        networks[Path(name).name] = facts
    both = contingency(given[0], given[1], pictures.labels).tolist()
    return {"pictures": len(pictures.labels), "classes": pictures.classes, "networks": networks, "together": both}


def _rounded(value: Any) -> Any:
    return [_rounded(v) for v in value] if isinstance(value, list) else round(value, 4)


def table(report: Report) -> str:
    """The figures as tables in Markdown."""
    names = list(report.networks)
    lines = ["| class | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for k, kind in enumerate(report.classes):
        lines.append(f"| {kind} | " + " | ".join(f"{e.by_class[k]:.1%}" for e in report.networks.values()) + " |")
    lines.append("| **all** | " + " | ".join(f"**{e.accuracy:.2%}**" for e in report.networks.values()) + " |")
    for name, each in report.networks.items():
        pairs = "; ".join(f"{a} and {b} {n}" for a, b, n in most_confused(each.confusion, report.classes))
        error = each.reliability.expected_calibration_error
        lines += ["", f"{name}: most confused {pairs}. Expected calibration error {error:.3f}."]
    (neither, second), (first, both) = report.contingency.tolist()
    lines += ["", f"Both right {both}, only {names[0]} {first}, only {names[1]} {second}, neither {neither}."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, path: Path = STORED) -> None:
    """Measure both networks on CIFAR-10's test images, store the figures, and print them."""
    parser = argparse.ArgumentParser(prog="python -m xai_lessons.training.test_set", description=main.__doc__)
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="CIFAR-10; see datasets.cifar10_at_hand")
    source = parser.parse_args(arguments).source
    facts = {"made_by": "python -m xai_lessons.training.test_set --source FOLDER"}
    facts |= measure(datasets.cifar10_test(source), progress=True)
    short = re.sub(r"\[[\d\s.,]*\]", lambda row: " ".join(row[0].split()), json.dumps(facts, indent=1))
    store.write_whole(path, (short + "\n").encode())  # a row of numbers on a line
    print(table(stored(path)))


if __name__ == "__main__":
    main()
