"""What a network answers on pictures that nobody showed it: confusion, confidence, and mistakes that two share.

Of CIFAR-10's networks the figures are stored in `examination.json` beside this file, so that they can be shown where
the pictures are not; `python -m xai_lessons.training.test_set --source FOLDER` measures them anew and prints them.
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


class Examination(NamedTuple):
    """How a network did.

    Attributes:
        confusion: how often each class (row) was called each class (column), (K, K).
        reliability: how often it was right when it was that sure.
    """

    confusion: Tensor
    reliability: scoring.Reliability

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def by_class(self) -> list[float]:
        """The share of each class that is right."""
        return (self.confusion.diagonal() / self.confusion.sum(dim=1).clamp_min(1)).tolist()


class Report(NamedTuple):
    """The stored figures of both networks.

    Attributes:
        classes: their names.
        networks: by their names.
        together: how many pictures the first is wrong or right on (row), and the second (column), (2, 2).
    """

    classes: tuple[str, ...]
    networks: dict[str, Examination]
    together: Tensor


def answers(model: models.Classifier, images: Tensor, *, batch_size: int = 250, progress: Progress = None) -> Tensor:
    """The probabilities of many pictures, a batch at a time.

    Args:
        model: the network.
        images: (N, 3, H, W), bytes or floats in [0, 1].
        batch_size: pictures at once.
        progress: True for a bar, or a callback ``(done, total)``; one that raises stops it.

    Returns:
        (N, K), each row summing to 1, on the CPU.

    Raises:
        ValueError: if there is no picture.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"pictures (N, 3, H, W) are needed, and one at least: got {tuple(images.shape)}")
    found = []
    with Meter(progress, len(images)) as meter:
        for batch in images.split(batch_size):
            found.append(model.predict(pixels(batch)).cpu())
            meter.add(len(batch))
    return torch.cat(found)


def examine(probabilities: Tensor, labels: Tensor) -> Examination:
    """What the answers to pictures come to.

    Args:
        probabilities: (N, K), see `answers`.
        labels: (N,), what the pictures are.
    """
    k = probabilities.shape[1]
    confusion = scoring.confusion(probabilities.argmax(dim=1), labels, [""] * k)
    return Examination(confusion, scoring.reliability(probabilities, labels))


def most_confused(confusion: Tensor, classes: Sequence[str], count: int = 5) -> list[tuple[str, str, int]]:
    """The pairs of classes that are taken for each other most: C_ab + C_ba, largest first.

    Args:
        confusion: (K, K), rows are what the pictures are.
        classes: the K names.
        count: how many pairs.

    Returns:
        Both names, and how many pictures.
    """
    both = confusion + confusion.T
    pairs = [(a, b, int(both[i, j])) for i, a in enumerate(classes) for j, b in enumerate(classes) if i < j]
    return sorted(pairs, key=lambda pair: -pair[2])[:count]


def together(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """How many pictures two networks get wrong and right.

    Args:
        first: (N, K), the probabilities of one network.
        second: (N, K), those of the other.
        labels: (N,).

    Returns:
        (2, 2): the first is wrong (row 0) or right (row 1), the second wrong (column 0) or right (column 1).
    """
    a, b = (p.argmax(dim=1) == labels for p in (first, second))
    return torch.bincount(2 * a + b, minlength=4).reshape(2, 2)


def stored(path: Path = STORED) -> Report:
    """The figures of CIFAR-10's networks on its 10,000 test pictures, as measured."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    networks = {
        name: Examination(torch.tensor(each["confusion"]), scoring.Reliability(**each["reliability"]))
        for name, each in facts["networks"].items()
    }
    return Report(tuple(facts["classes"]), networks, torch.tensor(facts["together"]))


def measure(pictures: datasets.Pictures, names: Sequence[str] = NETWORKS, progress: Progress = None) -> dict[str, Any]:
    """Examine two networks on pictures, as it is stored: the figures, and which weights they are of.

    Args:
        pictures: to test on.
        names: two built-in networks, or paths of saved ones.
        progress: True for bars, or a callback.

    Raises:
        ValueError: if a network has other classes than the pictures.
    """
    given, networks = [], {}
    for name in names:
        model = models.load(name)
        if tuple(model.classes) != tuple(pictures.classes):
            raise ValueError(
                f"{name} knows {', '.join(model.classes)}, but the pictures are of {', '.join(pictures.classes)}"
            )
        given.append(answers(model, pictures.images, progress=progress))
        found = examine(given[-1], pictures.labels)
        bins = {key: _rounded(value) for key, value in found.reliability._asdict().items()}
        facts = {"sha256": store.card(name)["sha256"], "confusion": found.confusion.tolist(), "reliability": bins}
        networks[Path(name).name] = facts
    both = together(given[0], given[1], pictures.labels).tolist()
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
    (neither, second), (first, both) = report.together.tolist()
    lines += ["", f"Both right {both}, only {names[0]} {first}, only {names[1]} {second}, neither {neither}."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, path: Path = STORED) -> None:
    """Measure both networks on CIFAR-10's test pictures, store the figures, and print them."""
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
