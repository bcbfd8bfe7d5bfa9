"""Train a network from nothing, watch its curves, stop it, go on, and compare it with the trainings before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xai_lessons import models, plots, training
from xai_lessons.data import datasets
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Many, Slider, Toggle, group
from xai_lessons.explorers.kit.live_training import Data, LiveTraining
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.results import histories

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual": ("ResNet", {}),
    "residual, no shortcuts": ("ResNet", {"residual": False}),
    "VGG-like": ("Vgg", {}),
}
CURVES = {
    "training loss": "train_loss",
    "validation loss": "validation_loss",
    "training accuracy": "train_accuracy",
    "validation accuracy": "validation_accuracy",
}
SHIPPED = ("residual", "vgg")
LIMITS = {"accuracy": 1.0, "loss": 2.5}  # guessing among ten classes costs log 10 = 2.3


@dataclass(frozen=True)
class TrainingState:
    """What is trained, on how many images, and how."""

    network: str = "residual"  # one of `NETWORKS`
    pictures: int = 2000  # how many it is trained on
    # epochs, batch_size, learning_rate, weight_decay: see `training.Settings`
    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 0.006
    weight_decay: float = 5e-4
    augmentation: bool = True  # whether images are flipped and shifted
    curves: tuple[str, ...] = tuple(CURVES)  # which are drawn
    earlier: bool = True  # whether the trainings before are drawn too

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
        """A few words for the legend."""
        words = [f"{self.pictures:,} pictures, {self.epochs} epochs"]
        for field, word in (("batch_size", "batches of"), ("learning_rate", "rate"), ("weight_decay", "decay")):
            if getattr(self, field) != getattr(TrainingState, field):
                words.append(f"{word} {getattr(self, field):g}")
        return ", ".join([self.network, *words] + ["not augmented"] * (not self.augmentation))


@dataclass(frozen=True)
class TrainingResult:
    """How far a training is."""

    # step, steps: steps done, and in all
    step: int
    steps: int
    # train_loss, validation_loss, train_accuracy, validation_accuracy: one value per epoch
    train_loss: np.ndarray
    validation_loss: np.ndarray
    train_accuracy: np.ndarray
    validation_accuracy: np.ndarray
    earlier: dict[str, dict[str, np.ndarray]]  # name -> the four curves of each training before
    note: str = ""  # what is being done, if it is not training


class TrainingExplorer(LiveTraining):
    """Train a small network in the notebook; arguments as of `LiveTraining`."""

    name, title = "training", "Train it yourself"
    question = "Fewer pictures, more epochs, another learning rate: which change hurts validation, but not training?"
    State = TrainingState
    stage = ("network", "pictures", "epochs", "learning_rate")
    shown_by_code = tuple(CURVES.values())
    counts = (100, 250, 500, 1000, 2000)

    def __init__(self, data: Data | None = None, **initial: Any) -> None:
        self._shipped: dict[str, list[training.Epoch]] = {}
        for name in SHIPPED if data is None else ():
            run = histories.RUNS[name]
            network = next(k for k, v in NETWORKS.items() if v == (run.architecture, run.arguments))
            state = TrainingState(network=network, pictures=run.images, **run.settings)
            self._shipped[f"{state.name} (shipped)"] = histories.load(name)
        super().__init__(data, **initial)

    @property
    def runs(self) -> dict[str, list[training.Epoch]]:
        """The histories of the shipped trainings and of those of this session."""
        return self._shipped | {state.name: made.history for state, made in self._training_cache.items()}

    def controls(self) -> tuple[Control, ...]:
        """What is trained, on what, how; and what is drawn."""
        rates = (1e-4, 3e-4, 0.001, 0.003, 0.006, 0.02, 0.1)
        changes = ("train_loss", "validation_loss")
        pictures, again = self.data_controls()
        return (
            *group(
                "Training",
                Choice(name="network", label="Network", choices=tuple(NETWORKS)),
                pictures,
                Slider(name="epochs", label="Epochs", low=1, high=30, help="Passes over all pictures"),
                Slider(name="batch_size", label="Batch size", values=(32, 64, 128, 256), format="d"),
                Slider(name="learning_rate", label="Learning rate", values=rates),
                Slider(name="weight_decay", label="Weight decay", values=(0.0, 5e-4, 0.01, 0.1, 1.0)),
                Toggle(name="augmentation", label="Mirror and shift the pictures"),
                again,
                changes=changes,
            ),
            *group(
                "Shown",
                Many(name="curves", label="Curves", choices=tuple(CURVES)),
                Toggle(name="earlier", label="The trainings before, for comparison"),
                changes=(PANELS,),
            ),
        )

    def key(self, state: TrainingState) -> TrainingState:
        """The state without what only draws."""
        return replace(state, curves=tuple(CURVES), earlier=True)

    def fresh(self, state: TrainingState, train: datasets.Pictures) -> models.Classifier:
        """An untrained network for these images."""
        architecture, arguments = NETWORKS[state.network]
        return histories.fresh(architecture, size=train.images.shape[-1], classes=train.classes, **arguments)

    def report(self, state: TrainingState, made: training.Training | None, note: str = "") -> TrainingResult:
        """Its curves, and those of the trainings before."""
        own = self.key(state).name
        earlier = {name: _curves(history) for name, history in self.runs.items() if name != own and history}
        step, steps, history = (made.step, made.total_steps, made.history) if made else (0, 0, [])
        return TrainingResult(step, steps, **_curves(history), earlier=earlier, note=note)

    def panels(self, result: TrainingResult, state: TrainingState) -> list[Panel]:
        """A chart of the accuracies and one of the losses."""
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
        lines = ["from xai_lessons import datasets, histories, plots, training", "import numpy as np", ""]
        if self.data is not None:
            given = f", size={self.data[0].images.shape[-1]}, classes=train.classes{given}"
        lines += [
            *self.data_code(state),
            f"model = histories.fresh({architecture!r}{given})",
            "history = training.fit(",
            "    model, train.images, train.labels, validation[:2],",
            f"    epochs={s.epochs}, batch_size={s.batch_size}, learning_rate={s.learning_rate}, "
            f"weight_decay={s.weight_decay}, flip={s.flip}, shift={s.shift},",
            ")",
            *(f"{name} = np.array([epoch.{name} for epoch in history])" for name in CURVES.values()),
            "epochs = np.arange(1, len(history) + 1)",
            "accuracies = {'training': (epochs, train_accuracy), 'validation': (epochs, validation_accuracy)}",
            "plots.plot(accuracies, x_label='epoch', y_label='accuracy', y_limits=(0, 1))",
        ]
        return "\n".join(lines)

    def _chart(self, what: str, result: TrainingResult, state: TrainingState) -> Panel:
        """The curves of the losses, or of the accuracies."""
        numbers = {name: i + 1 for i, name in enumerate(self.runs)}
        sets = {"now": {name: getattr(result, name) for name in CURVES.values()}}
        if state.earlier:
            sets |= {f"{numbers.get(name, 0)} {name}": curves for name, curves in result.earlier.items()}
        lines: dict[str, tuple[Any, Any]] = {}
        for run, curves in sets.items():
            for label in state.curves:
                y = curves[CURVES[label]]
                if label.endswith(what) and len(y):
                    lines[_key(run, label)] = (np.arange(1, len(y) + 1), y)
        alt = f"Curves of the {what}: " + ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in lines.items())
        longest, high = max([state.epochs, *(len(x) for x, _ in lines.values())]), LIMITS[what]
        lines = {name: (x, np.minimum(y, high)) for name, (x, y) in lines.items()}  # higher ones run along the edge
        axes: dict[str, Any] = {"x_limits": (0, longest), "y_limits": (0.0, high), "width": 520, "height": 330}
        named = "; ".join(f"{numbers.get(name, 0)}: {name}" for name in result.earlier) if state.earlier else ""
        caption = named if what == "accuracy" else ""
        every = ("now", *(f"{i} {name}" for name, i in numbers.items()))
        axes["places"] = [_key(run, label) for run in every for label in CURVES if label.endswith(what)]
        chart = plots.curves(lines, x_label="epoch", y_label=what, **axes)
        return chart_panel(what.capitalize(), chart, alt, 520, caption)


def _key(run: str, label: str) -> str:
    """The name of a curve in the legend."""
    short = label.split()[0]
    return short if run == "now" else f"{run.split(',')[0]} {short[:5]}."


def _curves(history: list[training.Epoch]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(epoch, name) for epoch in history]) for name in CURVES.values()}
