"""Trainings that are shown instead of run: their histories, as JSON, and how each was made.

`python -m xai_lessons.results.histories NAME` makes one anew, from nothing, on the CPU (all of them, if none is named).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from xai_lessons import models, training
from xai_lessons.data import datasets, menagerie
from xai_lessons.models import architectures as networks

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """A training whose history is kept.

    Attributes:
        summary: one line about it.
        architecture, arguments: see `networks.build`.
        settings: see `training.Settings`.
        pictures, validation: how many are drawn.
        size: their side in pixels.
        constant: keeps the learning rate constant, so that a change of the weights is not one of the schedule.
    """

    summary: str
    architecture: str = "ResNet"
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: int = 2000
    validation: int = 500
    size: int = 96
    constant: bool = False


_FEW = {"epochs": 40, "batch_size": 50, "learning_rate": 0.001, "weight_decay": 0.0, "flip": False, "shift": 0}
_DEEP = {"epochs": 10, "batch_size": 50, "learning_rate": 0.003}
RUNS = {
    "overfitting": Run(
        "few pictures, many epochs, nothing against overfitting",
        "Vgg",
        arguments={"dropout": 0.0},
        settings=_FEW,
        pictures=400,
        constant=True,
    ),
    "residual": Run("the residual network, as TrainingExplorer begins", settings={"epochs": 8}),
    "vgg": Run("the VGG-like network on the same pictures", "Vgg", settings={"epochs": 8, "learning_rate": 0.0015}),
    "deep-residual": Run(
        "50 layers deep, with shortcuts", arguments={"blocks": (8, 8, 8)}, settings=_DEEP, pictures=1000, size=32
    ),
    "deep-plain": Run(
        "50 layers deep, without shortcuts",
        arguments={"blocks": (8, 8, 8), "residual": False},
        settings=_DEEP,
        pictures=1000,
        size=32,
    ),
}


def load(name: str) -> list[training.Epoch]:
    """The history of a training that is shipped.

    Args:
        name: one of `RUNS`.

    Returns:
        One entry an epoch, with what each layer's weights did.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in RUNS:
        raise ValueError(f"there is no history {name!r}; there are {', '.join(RUNS)}.")
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [
        training.Epoch(**{**entry, "layers": {n: training.LayerChange(*c) for n, c in entry["layers"].items()}})
        for entry in stored["history"]
    ]


def fresh(
    architecture: str,
    size: int = 96,
    seed: int = 0,
    classes: Sequence[str] = menagerie.CLASSES,
    **arguments: Any,
) -> models.Classifier:
    """An untrained network; the same weights for the same seed.

    Args:
        architecture: see `networks.build`.
        size: height and width of the pictures.
        seed: decides the weights.
        classes: the names.
        arguments: of the architecture.
    """
    if architecture == "Vgg":
        arguments = {"input_size": size, **arguments}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.build(architecture, classes=len(classes), **arguments)
    half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return models.wrap(network, classes, half, quarter, size)


def make(name: str, progress: Callable[[int, int], object] | None = None) -> list[training.Epoch]:
    """Train anew and keep the history.

    Args:
        name: one of `RUNS`.
        progress: a callback ``(done, total)``, called after every batch.
    """
    run = RUNS[name]
    data = datasets.drawn(run.pictures, size=run.size)
    validation = datasets.drawn(run.validation, split="validation", size=run.size)
    model = fresh(run.architecture, run.size, **run.arguments)
    settings = training.Settings(**run.settings)
    made = training.Training(model, *data[:2], validation[:2], settings, record_layers=True)
    if run.constant:
        _hold(made, settings.learning_rate)
    for step in made.steps():
        if progress is not None:
            progress(step.done, step.total)
    entries = [_rounded(asdict(epoch)) for epoch in made.history]
    facts = {"made_by": f"python -m xai_lessons.results.histories {name}", "run": asdict(run), "history": entries}
    text = json.dumps(facts, separators=(",", ":")).replace('{"epoch"', '\n{"epoch"')
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return made.history


def _hold(made: training.Training, rate: float) -> None:
    """Take the optimizer out of the hands of the one-cycle schedule."""
    for group in made.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = rate
        group["betas"] = (0.9, 0.999)
    made.schedule = torch.optim.lr_scheduler.LambdaLR(made.optimizer, lambda _step: 1.0)


def _rounded(entry: dict[str, Any]) -> dict[str, Any]:
    """An epoch with five significant digits, its layers as lists."""
    numbers = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in entry.items() if k != "layers"}
    numbers["seconds"] = round(numbers["seconds"], 1)
    layers = {n: [float(f"{c[k]:.5g}") for k in ("distance", "cosine", "gradient")] for n, c in _named(entry["layers"])}
    return {**numbers, "layers": layers}


def _named(layers: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(name, training.LayerChange(*change)._asdict()) for name, change in layers.items()]
