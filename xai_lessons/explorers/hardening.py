"""Adversarial training, live: the history of the robust network, and the same training of the plain one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from xai_lessons import models, plots, training
from xai_lessons.data import datasets
from xai_lessons.explorers.kit import Reporter, network
from xai_lessons.explorers.kit.controls import Control, Slider, group
from xai_lessons.explorers.kit.live_training import Data, LiveTraining
from xai_lessons.explorers.kit.panels import Panel, bar_panel, chart_panel
from xai_lessons.methods import fgsm
from xai_lessons.models import store
from xai_lessons.training.augmentation import pixels

START, SHIPPED = "menagerie-resnet", "menagerie-robust"
GRAY = 255
ATTACK = 8  # gray values of the attack that is measured with


@dataclass(frozen=True)
class HardeningState:
    """How it is trained."""

    epsilon: int = 8  # of the attack that each image is trained under, in gray values
    pictures: int = 2000  # how many
    epochs: int = 4  # passes over them

    @property
    def settings(self) -> training.Settings:
        """The same for `training.Training`."""
        return training.Settings(
            epochs=self.epochs, batch_size=32, learning_rate=0.002, adversarial=self.epsilon / GRAY
        )


@dataclass(frozen=True)
class HardeningResult:
    """How far the training is."""

    # step, steps: steps done, and in all
    step: int
    steps: int
    # clean, attacked: accuracy after each epoch on new images, and during it on attacked ones
    clean: np.ndarray
    attacked: np.ndarray
    # accuracy on new images as they are and under FGSM, of the network at the start and at the end (2, 2); empty
    # until then
    final: np.ndarray
    note: str = ""  # what there is to do, or what is being done


class HardeningExplorer(LiveTraining):
    """Train a network on attacked images.

    Args:
        start: the network to begin with, a name or a Classifier; it is copied.
        data, initial: as of `LiveTraining`.

    """

    name, title = "hardening", "Adversarial training"
    question = "What does training under attack cost on clean pictures? And what if ε is 0?"
    State = HardeningState
    stage = ("epsilon", "pictures", "epochs")
    shown_by_code = ("clean", "attacked")
    counts = (500, 1000, 2000, 4000)
    validation_count = 200
    invitation = "Press Run to train it; that takes a minute or two."

    def __init__(self, start: Any = START, data: Data | None = None, **initial: Any) -> None:
        self.start = start
        self._final_cache: WeakKeyDictionary[training.Training, np.ndarray] = WeakKeyDictionary()
        super().__init__(data, **initial)

    def controls(self) -> tuple[Control, ...]:
        """The attack, the images, the epochs."""
        pictures, again = self.data_controls()
        return group(
            "Training",
            Slider(name="epsilon", label="ε, of 255", low=0, high=16, help="0: training as usual"),
            pictures,
            Slider(name="epochs", label="Epochs", low=1, high=6),
            again,
            changes=("clean", "attacked"),
        )

    def fresh(self, state: HardeningState, train: datasets.Pictures) -> models.Classifier:
        """A copy of the network to begin with."""
        model = copy.deepcopy(self._start())
        model.name = f"trained at {state.epsilon} of {GRAY}"
        return model

    def report(self, state: HardeningState, made: training.Training | None, note: str = "") -> HardeningResult:
        """Its curves, and what it came to in the end."""
        step, steps, history = (made.step, made.total_steps, made.history) if made else (0, 0, [])
        clean = np.array([epoch.validation_accuracy for epoch in history])
        attacked = np.array([epoch.train_accuracy for epoch in history])
        final = self._final_cache.get(made, np.zeros((0, 2))) if made else np.zeros((0, 2))
        return HardeningResult(step, steps, clean, attacked, final, note)

    def compute(self, state: HardeningState, progress: Reporter) -> Iterator[HardeningResult]:
        """Draw, train, then attack the network before and after."""
        yield from super().compute(state, progress)
        made = self.begun(state)
        assert made is not None
        made.release()
        made.model.eval().requires_grad_(False)
        if made not in self._final_cache:
            _, (images, labels, _) = self._images(state, progress)
            images, labels = pixels(images[: self.validation_count]), labels[: self.validation_count]
            options: dict[str, Any] = {"epsilons": (0, ATTACK / GRAY), "batch_size": 16, "progress": progress}
            rows = [fgsm.robust_accuracy(model, images, labels, **options) for model in (self._start(), made.model)]
            self._final_cache[made] = np.stack([row.cpu().numpy() for row in rows])
        yield self.report(state, made)

    @property
    def trained(self) -> models.Classifier | None:
        """The network of the last finished training, if there is one."""
        finished: list[Any] = [made.model for made in self._training_cache.values() if made in self._final_cache]
        return finished[-1] if finished else None

    def panels(self, result: HardeningResult, state: HardeningState) -> list[Panel]:
        """The curves beside those of the shipped network, and what came of it."""
        epochs = np.arange(1, len(result.clean) + 1)
        clean, attacked = shipped()
        x = np.arange(1, len(clean) + 1)
        lines: dict[str, tuple[Any, Any]] = {"new, clean (shipped)": (x, clean), "attacked (shipped)": (x, attacked)}
        if len(epochs):
            lines |= {"new, clean (yours)": (epochs, result.clean), "attacked (yours)": (epochs, result.attacked)}
        width = 560 if result.final.size else 1040  # alone until there is a result to stand beside it
        axes: dict[str, Any] = {"x_limits": (0, len(x)), "y_limits": (0, 1), "width": width, "height": 320}
        chart = plots.curves(lines, x_label="epoch", y_label="accuracy", **axes)
        alt = "Accuracy by epoch: " + ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in lines.items())
        caption = "Shipped: 14,000 pictures, 6 epochs at 8 of 255. Attacked: while it trains on them."
        panels = [chart_panel("During training", chart, alt, width, caption)]
        if result.final.size:
            values = result.final.T.ravel().tolist()
            names = ["clean, before", "clean, after", f"FGSM {ATTACK}, before", f"FGSM {ATTACK}, after"]
            panels.append(bar_panel("On new pictures", names, values, marked=[1, 3], width=460, row=50))
        return panels

    def describe(self, result: HardeningResult, state: HardeningState) -> str:
        """Where the training stands."""
        text = f"ε = {state.epsilon} of {GRAY}, {state.pictures:,} pictures: "
        if result.final.size:
            (_, low), (clean, high) = result.final
            text += f"under FGSM with {ATTACK} of {GRAY} right on {low:.0%} at the start and on {high:.0%} now; "
            text += f"clean on {clean:.0%}"
        elif result.step:
            text += f"batch {result.step} of {result.steps}"
        else:
            text += "not trained yet"
        return f"{text}. {result.note}".rstrip()

    def code(self, state: HardeningState) -> str:
        """The same training."""
        s = state.settings
        start = f"models.load({self.start!r})" if isinstance(self.start, str) else "start"
        lines = [
            "import copy",
            "",
            "import numpy as np",
            "",
            "from xai_lessons import datasets, models, plots, training",
            "",
        ]
        lines += [
            *self.data_code(state),
            f"model = copy.deepcopy({start})",
            f"history = training.fit(model, *train[:2], validation[:2], adversarial={state.epsilon} / {GRAY},",
            f"    epochs={s.epochs}, batch_size={s.batch_size}, learning_rate={s.learning_rate})",
            "clean = np.array([epoch.validation_accuracy for epoch in history])",
            "attacked = np.array([epoch.train_accuracy for epoch in history])",
            "epochs = np.arange(1, len(clean) + 1)",
            "plots.plot({'new, clean': (epochs, clean), 'attacked': (epochs, attacked)}, x_label='epoch')",
        ]
        return "\n".join(lines)

    def code_names(self, state: HardeningState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names = super().code_names(state)
        return names if isinstance(self.start, str) else {**names, "start": self.start}

    def _start(self) -> models.Classifier:
        return network(self.start) if isinstance(self.start, str) else self.start


def shipped() -> tuple[np.ndarray, np.ndarray]:
    """The robust network's training, from its card: accuracy by epoch on new clean images, and on attacked ones."""
    history = store.card(SHIPPED)["history"]
    clean = np.array([epoch["validation_accuracy"] for epoch in history])
    return clean, np.array([epoch["train_accuracy"] for epoch in history])
