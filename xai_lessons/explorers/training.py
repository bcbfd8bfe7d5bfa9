"""Train a network from nothing, watch its curves, stop it, go on, and compare it with the trainings before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xai_lessons import plots, training
from xai_lessons.data import datasets
from xai_lessons.explorers.kit import PANELS, Button, Choice, Control, Explorer, Many, Panel, Slider, Toggle
from xai_lessons.results import histories

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual": ("ResNet", {}),
    "residual, no shortcuts": ("ResNet", {"residual": False}),
    "VGG-like": ("Vgg", {}),
}
VALIDATION = 500
CURVES = ("training loss", "validation loss", "training accuracy", "validation accuracy")
FIELDS = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
SHIPPED = ("residual", "vgg")
HIGHEST_LOSS = 2.5  # guessing among ten classes costs log 10 = 2.3
GLANCE = 0.5  # seconds between two looks at a training


@dataclass(frozen=True)
class TrainingState:
    """What is trained, on how much, and how.

    Attributes:
        network: one of `NETWORKS`.
        pictures: how many it is trained on.
        epochs, batch_size, learning_rate, weight_decay: see `training.Settings`.
        augmentation: whether pictures are mirrored and shifted.
        curves: which are drawn.
        earlier: whether the trainings before are drawn too.
    """

    network: str = "residual"
    pictures: int = 2000
    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 0.006
    weight_decay: float = 5e-4
    augmentation: bool = True
    curves: tuple[str, ...] = CURVES
    earlier: bool = True

    @property
    def settings(self) -> training.Settings:
        """The same for `training.Training`."""
        return training.Settings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            flip=self.augmentation,
            shift=4 if self.augmentation else 0,
        )

    @property
    def name(self) -> str:
        """It in a few words, for the legend."""
        usual = TrainingState()
        told = [f"{self.pictures:,} pictures, {self.epochs} epochs"]
        for field, word in (("batch_size", "batches of"), ("learning_rate", "rate"), ("weight_decay", "decay")):
            if getattr(self, field) != getattr(usual, field):
                told.append(f"{word} {getattr(self, field):g}")
        return ", ".join([self.network, *told] + ["not augmented"] * (not self.augmentation))


@dataclass(frozen=True)
class TrainingResult:
    """How far a training is.

    Attributes:
        step, steps: batches done, and in all.
        train_loss, validation_loss, train_accuracy, validation_accuracy: one value an epoch.
        earlier: name -> the four curves of each training before.
        note: what is being done, if it is not training.
    """

    step: int
    steps: int
    train_loss: np.ndarray
    validation_loss: np.ndarray
    train_accuracy: np.ndarray
    validation_accuracy: np.ndarray
    earlier: dict[str, dict[str, np.ndarray]]
    note: str = ""


class TrainingExplorer(Explorer):
    """Train a small network in the notebook.

    Args:
        data: (pictures to train on, pictures to validate on), each a `datasets.Pictures`; drawn when needed if not
            given. Of the first, as many are taken as the slider says.
        initial: fields of the state to start from.
    """

    name, title = "training", "Train it yourself"
    question = "Fewer pictures, more epochs, another learning rate: which change hurts validation, but not training?"
    State = TrainingState
    shown_by_code = FIELDS
    live = False
    threads = min(4, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))

    def __init__(self, data: tuple[datasets.Pictures, datasets.Pictures] | None = None, **initial: Any) -> None:
        self.data = data
        self._drawn: dict[str, datasets.Pictures] = {}
        self._begun: dict[TrainingState, training.Training] = {}  # trainings of this session, finished or stopped
        self.runs: dict[str, list[training.Epoch]] = {}
        if data is None:
            shipped = (replace(TrainingState(), **_of_run(histories.RUNS[name])) for name in SHIPPED)
            self.runs = {f"{s.name} (shipped)": histories.load(n) for n, s in zip(SHIPPED, shipped, strict=True)}
        super().__init__(**initial)

    def controls(self) -> tuple[Control, ...]:
        """What is trained, on what, how; and what is drawn."""
        what: dict[str, Any] = {"changes": ("train_loss", "validation_loss"), "group": "Training"}
        most = len(self.data[0].labels) if self.data else 4000
        counts = tuple(n for n in (100, 250, 500, 1000, 2000, 4000) if n < most) + (most,)
        return (
            Choice(name="network", label="Network", choices=tuple(NETWORKS), **what),
            Slider(name="pictures", label="Pictures", values=counts, format=",d", **what),
            Slider(name="epochs", label="Epochs", low=1, high=30, **what, help="Passes over all pictures"),
            Slider(name="batch_size", label="Batch size", values=(32, 64, 128, 256), format="d", **what),
            Slider(
                name="learning_rate", label="Learning rate", values=(1e-4, 3e-4, 0.001, 0.003, 0.006, 0.02, 0.1), **what
            ),
            Slider(name="weight_decay", label="Weight decay", values=(0.0, 5e-4, 0.01, 0.1, 1.0), **what),
            Toggle(name="augmentation", label="Mirror and shift the pictures", **what),
            Button(name="again", label="Begin this one anew", act=self._forget, **what),
            Many(name="curves", label="Curves", choices=CURVES, changes=(PANELS,), group="Shown"),
            Toggle(name="earlier", label="The trainings before, for comparison", changes=(PANELS,), group="Shown"),
        )

    def preview(self, state: TrainingState) -> TrainingResult:
        """How far the training of these settings is: mostly, not begun."""
        begun = self._begun.get(_key(state))
        return self._result(state, begun, "" if begun else "Press Run to train it.")

    def compute(self, state: TrainingState, progress: Callable[[int, int], object]) -> Iterator[TrainingResult]:
        """Draw the pictures, then train; a stopped training goes on from its next batch."""
        begun = self._begun.get(_key(state))
        if begun is None:
            yield self._result(state, None, "Drawing the pictures first.")
            train, validation = self._pictures(state.pictures, progress)
            architecture, arguments = NETWORKS[state.network]
            size = train.images.shape[-1]
            model = histories.fresh(architecture, size=size, classes=train.classes, **arguments)
            begun = training.Training(model, train.images, train.labels, validation[:2], state.settings)
            self._begun[_key(state)] = begun
        while not begun.finished:
            self._train(begun, progress)
            self.runs[_key(state).name] = list(begun.history)
            yield self._result(state, begun, "Stop at any time: Run goes on from there.")
        yield self._result(state, begun)

    def panels(self, result: TrainingResult, state: TrainingState) -> list[Panel]:
        """A chart of the losses and one of the accuracies."""
        return [self._chart("accuracy", result, state), self._chart("loss", result, state)]

    def describe(self, result: TrainingResult, state: TrainingState) -> str:
        """Where the training stands."""
        text = f"{state.network}, {state.pictures:,} pictures: "
        if len(result.train_loss):
            train, validation = result.train_accuracy[-1], result.validation_accuracy[-1]
            text += f"epoch {len(result.train_loss)} of {state.epochs}; right on {train:.0%} of the pictures "
            text += f"that it trains on, and on {validation:.0%} of new ones"
        else:
            text += "not trained yet"
        if result.step < result.steps and result.step:
            text += f"; batch {result.step} of {result.steps}"
        return f"{text}. {result.note}".rstrip()

    def code(self, state: TrainingState) -> str:
        """The same training."""
        architecture, arguments = NETWORKS[state.network]
        given = "".join(f", {k}={v!r}" for k, v in arguments.items())
        s = state.settings
        lines = ["from xai_lessons import datasets, histories, training", "import numpy as np", ""]
        if self.data is None:
            lines += [
                f"train = datasets.drawn({state.pictures})",
                f"validation = datasets.drawn({VALIDATION}, split='validation')",
                f"model = histories.fresh({architecture!r}{given})",
            ]
        else:
            size, n = self.data[0].images.shape[-1], state.pictures
            lines += [
                "# train and validation are the pictures that you gave",
                f"train = datasets.Pictures(train.images[:{n}], train.labels[:{n}], train.classes)",
                f"model = histories.fresh({architecture!r}, size={size}, classes=train.classes{given})",
            ]
        lines += [
            "history = training.fit(",
            "    model, train.images, train.labels, validation[:2],",
            f"    epochs={s.epochs}, batch_size={s.batch_size}, learning_rate={s.learning_rate}, "
            f"weight_decay={s.weight_decay}, flip={s.flip}, shift={s.shift},",
            ")",
            *(f"{name} = np.array([epoch.{name} for epoch in history])" for name in FIELDS),
        ]
        return "\n".join(lines)

    def code_names(self, state: TrainingState) -> dict[str, Any]:
        """What the shown code takes as given."""
        return {} if self.data is None else {"train": self.data[0], "validation": self.data[1]}

    # How it works.

    def _pictures(self, n: int, progress: Callable[[int, int], object]) -> tuple[datasets.Pictures, datasets.Pictures]:
        """The pictures, drawn at most once; the first n of the largest set are the n of a smaller one."""
        if self.data is not None:
            train, validation = self.data
        else:
            for split, count in (("train", n), ("validation", VALIDATION)):
                if split not in self._drawn or len(self._drawn[split].labels) < count:
                    self._drawn[split] = datasets.drawn(count, split=split, progress=progress)
            train, validation = self._drawn["train"], self._drawn["validation"]
        return train._replace(images=train.images[:n], labels=train.labels[:n]), validation

    def _train(self, begun: training.Training, progress: Callable[[int, int], object]) -> None:
        """Train to the end of the epoch, or for half a second."""
        until = time.monotonic() + GLANCE
        for step in begun.steps():
            progress(step.done, step.total)  # raises where Stop was pressed
            if step.epoch is not None or time.monotonic() > until:
                return

    def _forget(self, state: TrainingState) -> TrainingState:
        self._begun.pop(_key(state), None)
        self.runs.pop(_key(state).name, None)
        return state

    def _result(self, state: TrainingState, begun: training.Training | None, note: str = "") -> TrainingResult:
        own = _key(state).name
        earlier = {name: _curves(history) for name, history in self.runs.items() if name != own and history}
        step, steps = (begun.step, begun.total_steps) if begun else (0, 0)
        return TrainingResult(step, steps, **_curves(begun.history if begun else []), earlier=earlier, note=note)

    def _chart(self, what: str, result: TrainingResult, state: TrainingState) -> Panel:
        """The curves of the losses, or of the accuracies."""
        lines: dict[str, tuple[Any, Any]] = {}
        sets = {"now": {name: getattr(result, name) for name in FIELDS}}
        if state.earlier:
            sets |= {f"{i + 1} {name}": curves for i, (name, curves) in enumerate(result.earlier.items())}
        for run, curves in sets.items():
            for label, name in zip(CURVES, FIELDS, strict=True):
                if label in state.curves and label.endswith(what) and len(curves[name]):
                    short = label.split()[0]
                    key = short if run == "now" else f"{run.split(',')[0]} {short[:5]}."
                    lines[key] = (np.arange(1, len(curves[name]) + 1), curves[name])
        longest = max([state.epochs, *(len(x) for x, _ in lines.values())])
        limits = (0.0, 1.0) if what == "accuracy" else (0.0, HIGHEST_LOSS)
        said = ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in lines.items())
        lines = {name: (x, np.minimum(y, limits[1])) for name, (x, y) in lines.items()}  # higher: along the edge
        chart = plots.curves(
            lines, x_label="epoch", y_label=what, x_limits=(0, longest), y_limits=limits, width=408, height=330
        )
        named = "; ".join(f"{i + 1}: {name}" for i, name in enumerate(result.earlier)) if state.earlier else ""
        caption = named if what == "accuracy" else ""
        return Panel(what.capitalize(), chart, f"Curves of the {what}: {said}", 408, sharp=True, caption=caption)


def _key(state: TrainingState) -> TrainingState:
    """The state without what only draws."""
    return replace(state, curves=CURVES, earlier=True)


def _curves(history: Sequence[training.Epoch]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(epoch, name) for epoch in history]) for name in FIELDS}


def _of_run(run: histories.Run) -> dict[str, Any]:
    """The fields of the state that a shipped training stands for."""
    network = next(k for k, v in NETWORKS.items() if v == (run.architecture, run.arguments))
    return {"network": network, "pictures": run.pictures, **run.settings}
