"""Train a network from nothing, watch its curves and its answers, and keep it for all other explorers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import models, plots, training
from xai_lessons.data import datasets, menagerie
from xai_lessons.explorers.kit import ImageExplorer, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Many, Slider, Toggle, group
from xai_lessons.explorers.kit.live_training import DRAWING, Data, LiveTraining
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.results import histories
from xai_lessons.training.augmentation import pixels

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual": ("ResNet", histories.NARROW),
    "residual, no shortcuts": ("ResNet", histories.NARROW | {"residual": False}),
    "VGG-like": ("Vgg", {}),
}
CURVES = {
    "training loss": "train_loss",
    "validation loss": "validation_loss",
    "training accuracy": "train_accuracy",
    "validation accuracy": "validation_accuracy",
}
SHIPPED = ("residual", "vgg")
AUGMENTED = ("shift", "recolor")  # settings that follow from the state's `augmentation`
LIMITS = {"accuracy": 1.0, "loss": 2.5}  # guessing among ten classes costs log 10 = 2.3
KEPT = "my-menagerie"  # the name under which a trained network is saved beside the notebook
ON_WALL, COLUMNS, TILE = 24, 6, 80  # new images whose predictions are shown
WIDTH = 560  # of the charts


@dataclass(frozen=True)
class TrainingState:
    """What is trained, on how many images, and how."""

    network: str = "residual"  # one of `NETWORKS`
    pictures: int = 2500  # how many it is trained on
    # epochs, batch_size, learning_rate, weight_decay: see `training.Settings`
    epochs: int = 16
    batch_size: int = 32
    learning_rate: float = 0.006
    weight_decay: float = 5e-4
    augmentation: bool = True  # whether images are flipped, shifted and recolored
    size: int = 64  # height and width of the images in pixels
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
            shift=self.size // 16 if self.augmentation else 0,
            recolor=0.5 if self.augmentation else 0.0,
        )

    @property
    def name(self) -> str:
        """A few words for the legend."""
        words = [f"{self.pictures:,} pictures, {self.epochs} epochs"]
        for field, word in (("batch_size", "batches of"), ("learning_rate", "rate"), ("weight_decay", "decay")):
            if getattr(self, field) != getattr(TrainingState, field):
                words.append(f"{word} {getattr(self, field):g}")
        words += [f"{self.size} pixels wide"] * (self.size != TrainingState.size)
        return ", ".join([self.network, *words] + ["not augmented"] * (not self.augmentation))


@dataclass(frozen=True)
class TrainingResult:
    """How far a training is."""

    # step, steps: steps done, and in all
    step: int
    steps: int
    seconds: float  # that the epochs took
    # train_loss, validation_loss, train_accuracy, validation_accuracy: one value per epoch
    train_loss: np.ndarray
    validation_loss: np.ndarray
    train_accuracy: np.ndarray
    validation_accuracy: np.ndarray
    earlier: dict[str, dict[str, np.ndarray]]  # name -> the four curves of each training before
    batch_loss: np.ndarray  # the loss of each batch so far
    # wall, labels: some new images (n, 3, S, S) and their classes (n,); while images are drawn, the latest of those
    wall: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray  # what the network says of them now (n, K); none (0, K) while images are drawn
    note: str = ""  # what is being done, if it is not training


class TrainingExplorer(LiveTraining):
    """Train a small network in the notebook; arguments as of `LiveTraining`."""

    name, title = "training", "Train it yourself"
    question = "Fewer pictures, more epochs, no mirroring: which changes together hurt validation, but not training?"
    State = TrainingState
    stage = ("pictures", "epochs", "learning_rate", "keep")
    shown_by_code = (*CURVES.values(), "batch_loss", "probabilities")
    counts = (100, 250, 500, 1000, 2500, 4000, 6000)
    validation_count = 300

    def __init__(self, data: Data | None = None, **initial: Any) -> None:
        self._shipped: dict[str, list[training.Epoch]] = {}
        self._wall_cache: dict[int, datasets.Pictures] = {}
        self._kept: Any = None  # the training that was saved last, and its step
        for name in SHIPPED if data is None else ():
            run = histories.RUNS[name]
            network = next(k for k, v in NETWORKS.items() if v == (run.architecture, run.arguments))
            settings = {name: value for name, value in run.settings.items() if name not in AUGMENTED}
            state = TrainingState(network=network, pictures=run.images, size=run.size, **settings)
            self._shipped[f"{state.name} (shipped)"] = histories.load(name)
        super().__init__(data, **initial)

    @property
    def runs(self) -> dict[str, list[training.Epoch]]:
        """The histories of the shipped trainings and of those of this session."""
        return self._shipped | {state.name: made.history for state, made in self._training_cache.items()}

    def controls(self) -> tuple[Control, ...]:
        """What is trained, on what, how; and what is drawn."""
        rates = (1e-4, 3e-4, 0.001, 0.0015, 0.003, 0.006, 0.02, 0.1)
        changes = ("train_loss", "validation_loss", "batch_loss", "probabilities")
        pictures, again = self.data_controls()
        size = Slider(name="size", label="Pixels", values=(32, 48, 64, 96), format="d", help="Width of a picture")
        drawn = (size,) if self.data is None else ()
        return (
            *group(
                "Training",
                Choice(name="network", label="Network", choices=tuple(NETWORKS)),
                pictures,
                Slider(name="epochs", label="Epochs", low=1, high=30, help="Passes over all pictures"),
                Slider(name="batch_size", label="Batch size", values=(32, 64, 128, 256), format="d"),
                Slider(name="learning_rate", label="Learning rate", values=rates),
                Slider(name="weight_decay", label="Weight decay", values=(0.0, 5e-4, 0.01, 0.1, 1.0)),
                Toggle(
                    name="augmentation",
                    label="Mirror, shift and recolor the pictures",
                    help="Not for classes that differ in color",
                ),
                *drawn,
                again,
                changes=changes,
            ),
            Button("keep", f"Keep it as {KEPT}", act=self._keep, changes=("note",), help="For most other explorers"),
            *group(
                "Shown",
                Many(name="curves", label="Curves", choices=tuple(CURVES)),
                Toggle(name="earlier", label="Earlier trainings, for comparison"),
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

    def size(self, state: TrainingState) -> int:
        """That of the state."""
        return state.size

    def report(self, state: TrainingState, made: training.Training | None, note: str = "") -> TrainingResult:
        """Its curves, those of the trainings before, and what it says of some new images."""
        wall = self._wall(state)
        model: Any = made.model if made else self.fresh(state, wall)
        said = model.predict(pixels(wall.images)).float().cpu().numpy()
        return self._result(state, made, note, wall.images.numpy(), wall.labels.numpy(), said)

    def drawing(self, state: TrainingState, images: Tensor) -> TrainingResult:
        """The images drawn last, without predictions."""
        first = max(0, len(images) - ON_WALL)
        latest = (pixels(images[first:]) * 255 + 0.5).to(torch.uint8).numpy()
        labels = np.arange(first, len(images)) % len(menagerie.CLASSES)  # they are drawn in turn
        return self._result(state, None, DRAWING, latest, labels, np.zeros((0, len(menagerie.CLASSES))))

    def preview(self, state: TrainingState) -> TrainingResult:
        """How far the training of this state is, and whether it was saved."""
        result, made = super().preview(state), self.begun(state)
        kept = made is not None and self._kept == (self.key(state), made.step)
        return replace(result, note=f"Kept: choose {KEPT} under Network in most other explorers.") if kept else result

    def panels(self, result: TrainingResult, state: TrainingState) -> list[Panel]:
        """A chart of the losses above one of the accuracies, and the wall of predictions."""
        charts = [self._chart(what, result, state) for what in ("loss", "accuracy")]
        both, alt = np.concatenate([chart for chart, _ in charts]), "; ".join(alt for _, alt in charts)
        named = (
            "; ".join(f"{number}: {name}" for name, number in self._numbers(result).items()) if state.earlier else ""
        )
        clipped = f"Losses above {LIMITS['loss']} are drawn at {LIMITS['loss']}. "
        return [chart_panel("Loss and accuracy", both, alt, WIDTH, clipped + named), self._wall_panel(result)]

    def describe(self, result: TrainingResult, state: TrainingState) -> str:
        """Where the training stands."""
        text = f"{state.network}, {state.pictures:,} pictures: "
        if len(result.train_loss):
            train, validation = result.train_accuracy[-1], result.validation_accuracy[-1]
            text += f"epoch {len(result.train_loss)} of {state.epochs}; right on {train:.0%} of the pictures "
            text += f"that it trains on, and on {validation:.0%} of new ones, after {result.seconds:.0f} s of training"
        else:
            text += "not trained yet"
        if result.step < result.steps and result.step:
            text += f"; batch {result.step} of {result.steps}"
        return f"{text}. {result.note}".rstrip()

    def code(self, state: TrainingState) -> str:
        """The same training, with its curves and the wall."""
        architecture, arguments = NETWORKS[state.network]
        given = "".join(f", {k}={v!r}" for k, v in arguments.items())
        s = state.settings
        if self.data is not None:
            given = f", size={self.data[0].images.shape[-1]}, classes=train.classes{given}"
        elif state.size != 96:
            given = f", size={state.size}{given}"
        return with_imports(
            *self.data_code(state),
            f"model = histories.fresh({architecture!r}{given})",
            f"settings = training.Settings(epochs={s.epochs}, batch_size={s.batch_size}, "
            f"learning_rate={s.learning_rate},",
            f"    weight_decay={s.weight_decay}, flip={s.flip}, shift={s.shift}, recolor={s.recolor})",
            "made = training.Training(model, *train[:2], validation[:2], settings)",
            "batch_loss = np.array([float(step.loss) for step in made.steps()])",
            *(f"{name} = np.array([epoch.{name} for epoch in made.history])" for name in CURVES.values()),
            f"wall, labels = pixels(validation.images[:{ON_WALL}]), validation.labels[:{ON_WALL}]",
            "probabilities = model.predict(wall).cpu()",
            "said = probabilities.argmax(dim=1)",
            "batches, epochs = np.arange(1, made.step + 1) / made.steps_per_epoch, np.arange(1, len(made.history) + 1)",
            "losses = {'training': (batches, batch_loss), 'validation': (epochs, validation_loss)}",
            "accuracies = {'training': (epochs, train_accuracy), 'validation': (epochs, validation_accuracy)}",
            "charts = [plots.curves(losses, x_label='epoch', y_label='loss'),",
            "          plots.curves(accuracies, x_label='epoch', y_label='accuracy', y_limits=(0, 1))]",
            "names = [validation.classes[c] for c in said]",
            "plots.show([*charts, plots.wall(wall, names, (said == labels).tolist())])",
            also=["from xai_lessons.training.augmentation import pixels"],
        )

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(menagerie.CLASSES) if self.data is None else self.data[1].classes

    def _result(
        self,
        state: TrainingState,
        made: training.Training | None,
        note: str,
        wall: np.ndarray,
        labels: np.ndarray,
        said: np.ndarray,
    ) -> TrainingResult:
        """A result with the curves of this training and those of the trainings before."""
        own = self.key(state).name
        covered = {own, f"{own} (shipped)"} if made else {own}  # the same training: its curves would cover these
        earlier = {name: _curves(history) for name, history in self.runs.items() if name not in covered and history}
        step, steps, history = (made.step, made.total_steps, made.history) if made else (0, 0, [])
        losses = np.array(self.batch_losses(made))
        return TrainingResult(
            step,
            steps,
            sum(epoch.seconds for epoch in history),
            **_curves(history),
            earlier=earlier,
            batch_loss=losses,
            wall=wall,
            labels=labels,
            probabilities=said,
            note=note,
        )

    def _wall(self, state: TrainingState) -> datasets.Pictures:
        """The first of the new images."""
        if self.data is not None:
            validation = self.data[1]
            return validation._replace(images=validation.images[:ON_WALL], labels=validation.labels[:ON_WALL])
        if state.size not in self._wall_cache:
            self._wall_cache[state.size] = datasets.drawn(ON_WALL, split="validation", size=state.size)
        return self._wall_cache[state.size]

    def _wall_panel(self, result: TrainingResult) -> Panel:
        """New images with what the network says of them now; while images are drawn, the latest of those."""
        said = result.probabilities.argmax(1)
        if not len(said):
            names = [self._classes[k] for k in result.labels]
            sheet = plots.wall(list(result.wall), names, columns=COLUMNS, size=TILE)
            return Panel("Drawn just now, to train on", sheet, f"drawn: {', '.join(names)}", COLUMNS * TILE)
        right, names = said == result.labels, [self._classes[k] for k in said]
        sheet = plots.wall(list(result.wall), names, right.tolist(), COLUMNS, TILE)
        title = f"{len(said)} new pictures, {right.sum()} right"
        caption = "Below each, what the network says now. Blue: right; orange: wrong."
        return Panel(title, sheet, f"{title}: {', '.join(names)}", COLUMNS * TILE, caption=caption)

    def _keep(self, state: TrainingState) -> TrainingState:
        """Save the network beside the notebook, and offer it in every explorer."""
        made = self.begun(state)
        if made is None or not made.step:
            raise ValueError("There is no training to keep yet: press Run first.")
        model: Any = made.model
        architecture, arguments = NETWORKS[state.network]
        arguments = {"classes": len(model.classes), **arguments}
        if architecture == "Vgg":
            arguments["input_size"] = model.input_size
        done = f"right on {made.history[-1].validation_accuracy:.0%} of new pictures" if made.history else "stopped"
        card = {"architecture": architecture, "arguments": arguments, "summary": f"yours: {state.name}; {done}"}
        models.save(model, KEPT, {**card, "recipe": asdict(state.settings)})
        ImageExplorer.refresh_networks()
        self._kept = (self.key(state), made.step)
        return state

    def _numbers(self, result: TrainingResult) -> dict[str, int]:
        """The numbers of the trainings before in the legend."""
        numbers = {name: i + 1 for i, name in enumerate(self.runs)}
        return {name: numbers.get(name, 0) for name in result.earlier}

    def _chart(self, what: str, result: TrainingResult, state: TrainingState) -> tuple[np.ndarray, str]:
        """The curves of the losses, or of the accuracies, and their alt text."""
        numbers = self._numbers(result)
        sets = {"now": {name: getattr(result, name) for name in CURVES.values()}}
        if state.earlier:
            sets |= {f"{numbers[name]} {name}": curves for name, curves in result.earlier.items()}
        lines: dict[str, tuple[Any, Any]] = {}
        for run, curves in sets.items():
            for label in state.curves:
                y = curves[CURVES[label]]
                if label.endswith(what) and len(y):
                    lines[_key(run, label)] = (np.arange(1, len(y) + 1), y)
        if "training loss" in state.curves and what == "loss" and len(result.batch_loss):  # each batch, not their mean
            x = np.arange(1, len(result.batch_loss) + 1) * state.epochs / result.steps
            lines[_key("now", "training loss")] = (x, result.batch_loss)
        alt = f"Curves of the {what}: " + ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in lines.items())
        longest, high = (
            max([state.epochs, *(len(x) for name, (x, _) in lines.items() if name != "training")]),
            LIMITS[what],
        )
        lines = {name: (x, np.minimum(y, high)) for name, (x, y) in lines.items()}  # higher ones run along the edge
        axes: dict[str, Any] = {"x_limits": (0, longest), "y_limits": (0.0, high), "width": WIDTH, "height": 186}
        every = ("now", *(f"{i + 1} {name}" for i, name in enumerate(self.runs)))
        axes["places"] = [_key(run, label) for run in every for label in CURVES if label.endswith(what)]
        return plots.curves(lines, x_label="epoch", y_label=what, **axes), alt


def _key(run: str, label: str) -> str:
    """The name of a curve in the legend."""
    short = label.split()[0]
    return short if run == "now" else f"{run.split(',')[0]} {short[:5]}."


def _curves(history: list[training.Epoch]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(epoch, name) for epoch in history]) for name in CURVES.values()}
