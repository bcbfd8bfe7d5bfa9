"""CIFAR-10: how its two networks did on the 10,000 test images, so that lesson 1 can show it without them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from xai_lessons import models, results
from xai_lessons.core.progress import Progress
from xai_lessons.data import datasets
from xai_lessons.models import store
from xai_lessons.training import scoring, test_set

NETWORKS = ("cifar10-resnet", "cifar10-vgg")


class Report(NamedTuple):
    """The evaluation of both networks.

    Attributes:
        classes: their names.
        networks: network -> evaluation.
        contingency: see `test_set.contingency`.
    """

    classes: tuple[str, ...]
    networks: dict[str, test_set.Evaluation]
    contingency: Tensor


def load() -> Report:
    """The stored evaluation of both networks on the test images.

    Example:
        >>> from xai_lessons.results import cifar10
        >>> print(f"{cifar10.load().networks['cifar10-resnet'].accuracy:.1%}")
        92.1%
    """
    settings, values = results.load("cifar10")
    networks = {
        name: test_set.Evaluation(torch.tensor(each["confusion"]), scoring.Reliability(**each["reliability"]))
        for name, each in values["networks"].items()
    }
    return Report(tuple(settings["classes"]), networks, torch.tensor(values["contingency"]))


def measure(
    source: str | os.PathLike[str] | None = None, names: Sequence[str] = NETWORKS, progress: Progress = None
) -> results.Result:
    """Evaluate two networks on the test images of CIFAR-10.

    Args:
        source: the folder of CIFAR-10, see `datasets.cifar10_test`.
        names: two built-in networks, or paths of saved ones.
        progress: True, or a callback (done, total).

    Returns:
        The evaluations, and in the settings the weights (SHA-256) that they are of.

    Raises:
        ValueError: if a network has other classes than the images.
    """
    images = datasets.cifar10_test(source)
    given, evaluations, weights = [], {}, {}
    for name in names:
        model = models.load(name)
        if tuple(model.classes) != tuple(images.classes):
            raise ValueError(
                f"{name} must have the classes {', '.join(images.classes)}, got {', '.join(model.classes)}"
            )
        given.append(test_set.predict(model, images.images, progress=progress))
        found, short = test_set.summarize(given[-1], images.labels), Path(name).name
        evaluations[short] = {
            "confusion": found.confusion.tolist(),
            "reliability": found.reliability._asdict(),
        }
        weights[short] = store.card(name)["sha256"]
    both = test_set.contingency(given[0], given[1], images.labels).tolist()
    settings = {"images": len(images.labels), "classes": list(images.classes), "sha256": weights}
    return results.Result(settings, {"networks": evaluations, "contingency": both})


def table(report: Report) -> str:
    """The report as tables in Markdown, for docs/cifar10.md."""
    names = list(report.networks)
    lines = ["| class | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for k, name in enumerate(report.classes):
        lines.append(f"| {name} | " + " | ".join(f"{e.by_class[k]:.1%}" for e in report.networks.values()) + " |")
    lines.append("| **all** | " + " | ".join(f"**{e.accuracy:.2%}**" for e in report.networks.values()) + " |")
    for name, each in report.networks.items():
        pairs = "; ".join(f"{a} and {b} {n}" for a, b, n in test_set.most_confused(each.confusion, report.classes))
        error = each.reliability.expected_calibration_error
        lines += ["", f"{name}: most confused {pairs}. Expected calibration error {error:.3f}."]
    (neither, second), (first, both) = report.contingency.tolist()
    lines += ["", f"Both right {both}, only {names[0]} {first}, only {names[1]} {second}, neither {neither}."]
    return "\n".join(lines)
