"""Trainings that are shown instead of run: how each was made, and its stored history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from xai_lessons import models, results, training
from xai_lessons.core.inputs import closest
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import datasets, menagerie
from xai_lessons.models import architectures


@dataclass(frozen=True)
class Run:
    """A training whose history is stored.

    Attributes:
        summary: one line about it.
        architecture, arguments: see `architectures.build`.
        settings: see `training.Settings`.
        images, validation: how many are drawn.
        size: their height and width in pixels.
        constant: keeps the learning rate constant, so that a change of the weights is not one of the schedule.
    """

    summary: str
    architecture: str = "ResNet"
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    images: int = 2000
    validation: int = 500
    size: int = 96
    constant: bool = False


_FEW = {"epochs": 30, "batch_size": 50, "learning_rate": 0.001, "weight_decay": 0.0, "flip": False, "shift": 0}
NARROW: dict[str, Any] = {"widths": (16, 32, 64, 64)}  # half as many channels in the last stage, for a quick training
_MINUTE = {"epochs": 16, "batch_size": 32, "shift": 4, "recolor": 0.5}
_DEEP = {"epochs": 10, "batch_size": 50, "learning_rate": 0.003}
RUNS = {
    "overfitting": Run(
        "few images, many epochs, nothing against overfitting",
        "Vgg",
        arguments={"dropout": 0.0},
        settings=_FEW,
        images=1000,
        size=48,
        constant=True,
    ),
    "residual": Run(
        "the residual network, as TrainingExplorer begins",
        arguments=NARROW,
        settings=_MINUTE,
        images=2500,
        validation=300,
        size=64,
    ),
    "vgg": Run(
        "the VGG-like network on the same images",
        "Vgg",
        settings=_MINUTE | {"learning_rate": 0.0015},
        images=2500,
        validation=300,
        size=64,
    ),
    "deep-residual": Run(
        "50 layers deep, with shortcuts", arguments={"blocks": (8, 8, 8)}, settings=_DEEP, images=1000, size=32
    ),
    "deep-plain": Run(
        "50 layers deep, without shortcuts",
        arguments={"blocks": (8, 8, 8), "residual": False},
        settings=_DEEP,
        images=1000,
        size=32,
    ),
}


def load(name: str) -> list[training.Epoch]:
    """The history of a stored training.

    Args:
        name: one of `RUNS`.

    Returns:
        One entry per epoch, with the change of each layer's weights.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> from xai_lessons import histories
        >>> len(histories.load("overfitting"))
        30
    """
    if name not in RUNS:
        raise ValueError(f"there is no history {name!r}: did you mean {closest(name, RUNS)}?")
    history = []
    for entry in results.load(f"history-{name}").values:
        facts = {key: value for key, value in entry.items() if key != "batch_losses"}
        layers = {layer: training.LayerChange(*change) for layer, change in entry["layers"].items()}
        history.append(training.Epoch(**{**facts, "layers": layers}))
    return history


def batch_losses(name: str) -> list[float]:
    """The loss of every batch of a stored training.

    Args:
        name: one of `RUNS`, of those whose losses are stored.

    Returns:
        One value per batch, from the first to the last.

    Example:
        >>> from xai_lessons import histories
        >>> losses = histories.batch_losses("residual")
        >>> losses[-1] < losses[0]
        True
    """
    return [loss for entry in results.load(f"history-{name}").values for loss in entry.get("batch_losses", [])]


def fresh(
    architecture: str,
    size: int = 96,
    seed: int = 0,
    classes: Sequence[str] = menagerie.CLASSES,
    **arguments: Any,
) -> models.Classifier:
    """An untrained network; the same seed gives the same weights.

    Args:
        architecture: see `architectures.build`.
        size: height and width of the images.
        seed: of the weights.
        classes: their names.
        arguments: of the architecture.

    Example:
        >>> from xai_lessons import histories
        >>> histories.fresh("ResNet").input_size
        96
    """
    if architecture == "Vgg":
        arguments = {"input_size": size, **arguments}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architectures.build(architecture, classes=len(classes), **arguments)
    half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return models.wrap(network, classes, half, quarter, size)


def measure(name: str, progress: Progress = None) -> results.Result:
    """Run a training again, from nothing, on the CPU.

    Args:
        name: one of `RUNS`.
        progress: True, or a callback (done, total), called after every batch.

    Returns:
        How it was made, and its epochs.
    """
    run = RUNS[name]
    data = datasets.drawn(run.images, size=run.size)
    validation = datasets.drawn(run.validation, split="validation", size=run.size)
    model = fresh(run.architecture, run.size, **run.arguments)
    settings = training.Settings(**run.settings)
    made = training.Training(model, *data[:2], validation[:2], settings, record_layers=True)
    if run.constant:
        _keep_rate(made, settings.learning_rate)
    losses = []
    with Meter(progress, made.total_steps) as meter:
        for step in made.steps():
            losses.append(float(step.loss))
            meter.add(1)
    history = [asdict(epoch) for epoch in made.history]
    for number, epoch in enumerate(history):
        start = number * made.steps_per_epoch
        epoch["batch_losses"] = [round(loss, 3) for loss in losses[start : start + made.steps_per_epoch]]
        epoch["layers"] = {layer: list(training.LayerChange(*change)) for layer, change in epoch["layers"].items()}
    return results.Result(asdict(run), history)


def _keep_rate(made: training.Training, rate: float) -> None:
    """Replace the one-cycle schedule of the optimizer by a constant learning rate."""
    for group in made.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = rate
        group["betas"] = (0.9, 0.999)
    made.schedule = torch.optim.lr_scheduler.LambdaLR(made.optimizer, lambda _step: 1.0)
