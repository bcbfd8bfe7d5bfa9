"""Adversarial training, watched: what the robust network went through, and the same from the plain one, live."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai_lessons import models, plots, training
from xai_lessons.data import datasets
from xai_lessons.explorers.kit import Button, Control, Explorer, Panel, Slider, network
from xai_lessons.methods import fgsm
from xai_lessons.models import store

START, SHIPPED = "menagerie-resnet", "menagerie-robust"
VALIDATION, GRAY = 200, 255
ATTACK = 8  # gray values of the attack that is measured with
GLANCE = 0.5  # seconds between two looks at the training


@dataclass(frozen=True)
class HardeningState:
    """How it is trained.

    Attributes:
        epsilon: of the attack that each picture is trained under, in gray values.
        pictures: how many.
        epochs: passes over them.
    """

    epsilon: int = 8
    pictures: int = 2000
    epochs: int = 4

    @property
    def settings(self) -> training.Settings:
        """The same for `training.Training`."""
        return training.Settings(
            epochs=self.epochs, batch_size=32, learning_rate=0.002, adversarial=self.epsilon / GRAY
        )


@dataclass(frozen=True)
class HardeningResult:
    """How far the training is.

    Attributes:
        step, steps: batches done, and in all.
        clean, attacked: accuracy after each epoch on new pictures, and during it on attacked ones.
        final: accuracy on new pictures as they are and under FGSM, of the network at the start and at the end (2, 2);
            empty until then.
        note: what there is to do, or what is being done.
    """

    step: int
    steps: int
    clean: np.ndarray
    attacked: np.ndarray
    final: np.ndarray
    note: str = ""


class HardeningExplorer(Explorer):
    """Train a network on attacked pictures.

    Args:
        start: the network to begin with, a name or a Classifier; it is copied.
        data: (pictures to train on, pictures to validate on), each a `datasets.Pictures`; drawn if not given.
        initial: fields of the state to start from.

    Attributes:
        trained: the network of the last finished training, or None.
    """

    name, title = "hardening", "Adversarial training"
    question = "What does training under attack cost on clean pictures? And what if ε is 0?"
    State = HardeningState
    shown_by_code = ("clean", "attacked")
    live = False
    threads = min(4, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))

    def __init__(
        self,
        start: Any = START,
        data: tuple[datasets.Pictures, datasets.Pictures] | None = None,
        **initial: Any,
    ) -> None:
        self.start, self.data = start, data
        self.trained: models.Classifier | None = None
        self._drawn: dict[str, datasets.Pictures] = {}
        self._begun: dict[HardeningState, training.Training] = {}
        self._finals: dict[HardeningState, np.ndarray] = {}
        super().__init__(**initial)

    def controls(self) -> tuple[Control, ...]:
        """The attack, the pictures, the epochs."""
        most = len(self.data[0].labels) if self.data else 4000
        counts = tuple(n for n in (500, 1000, 2000) if n < most) + (most,)
        what: dict[str, Any] = {"changes": ("clean", "attacked"), "group": "Training"}
        return (
            Slider(name="epsilon", label="ε, of 255", low=0, high=16, **what, help="0: training as usual"),
            Slider(name="pictures", label="Pictures", values=counts, format=",d", **what),
            Slider(name="epochs", label="Epochs", low=1, high=6, **what),
            Button(name="again", label="Begin this one anew", act=self._forget, **what),
        )

    def preview(self, state: HardeningState) -> HardeningResult:
        """How far the training of these settings is."""
        begun = self._begun.get(state)
        return self._result(state, begun, "" if begun else "Press Run to train it; that takes a minute or two.")

    def compute(self, state: HardeningState, progress: Callable[[int, int], object]) -> Iterator[HardeningResult]:
        """Draw, train, then measure; a stopped training goes on from its next batch."""
        if state not in self._begun:
            yield self._result(state, None, "Drawing the pictures first.")
        train, validation = self._pictures(state, progress)
        begun = self._begun.get(state)
        if begun is None:
            model = copy.deepcopy(self._start())
            model.name = f"trained at {state.epsilon} of {GRAY}"
            begun = training.Training(model, *train[:2], validation[:2], state.settings)
            self._begun[state] = begun
        while not begun.finished:
            self._train(begun, progress)
            yield self._result(state, begun, "Stop at any time: Run goes on from there.")
        begun.release()
        trained: Any = begun.model.eval().requires_grad_(False)
        self.trained = trained
        if state not in self._finals:
            rows = [self._measure(model, validation, progress) for model in (self._start(), trained)]
            self._finals[state] = np.stack(rows)
        yield self._result(state, begun)

    def panels(self, result: HardeningResult, state: HardeningState) -> list[Panel]:
        """The curves beside those of the shipped network, and what came of it."""
        epochs = np.arange(1, len(result.clean) + 1)
        clean, attacked = shipped()
        x = np.arange(1, len(clean) + 1)
        lines: dict[str, tuple[Any, Any]] = {"new, clean (shipped)": (x, clean), "attacked (shipped)": (x, attacked)}
        if len(epochs):
            lines |= {"new, clean (yours)": (epochs, result.clean), "attacked (yours)": (epochs, result.attacked)}
        chart = plots.curves(
            lines, x_label="epoch", y_label="accuracy", y_limits=(0, 1), x_limits=(0, len(x)), width=560, height=340
        )
        alt = "Accuracy by epoch: " + ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in lines.items())
        caption = "Shipped: 14,000 pictures, 6 epochs at 8 of 255. Attacked: while it trains on them."
        panels = [Panel("On the way", chart, alt, 560, sharp=True, caption=caption)]
        if result.final.size:
            values = result.final.T.ravel().tolist()
            names = ["clean, at the start", "clean, trained", f"FGSM {ATTACK}, at the start", f"FGSM {ATTACK}, trained"]
            bars = plots.bars(names, values, marked=[1, 3], width=440, row=40)
            said = ", ".join(f"{name} {value:.0%}" for name, value in zip(names, values, strict=True))
            panels.append(Panel("On new pictures", bars, f"Bars of the accuracy: {said}", 440, sharp=True))
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
        lines = ["import copy", "", "import numpy as np", "", "from xai_lessons import datasets, models, training", ""]
        if self.data is None:
            lines += [
                f"train = datasets.drawn({state.pictures})",
                f"validation = datasets.drawn({VALIDATION}, split='validation')",
            ]
        else:
            lines += [
                "# train and validation are the pictures that you gave",
                f"n = {state.pictures}",
                "train = train._replace(images=train.images[:n], labels=train.labels[:n])",
            ]
        lines += [
            f"model = copy.deepcopy({f'models.load({self.start!r})' if isinstance(self.start, str) else 'start'})",
            f"history = training.fit(model, *train[:2], validation[:2], adversarial={state.epsilon} / {GRAY},",
            f"    epochs={s.epochs}, batch_size={s.batch_size}, learning_rate={s.learning_rate})",
            "clean = np.array([epoch.validation_accuracy for epoch in history])",
            "attacked = np.array([epoch.train_accuracy for epoch in history])",
        ]
        return "\n".join(lines)

    def code_names(self, state: HardeningState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names = {} if self.data is None else {"train": self.data[0], "validation": self.data[1]}
        return names if isinstance(self.start, str) else {**names, "start": self.start}

    # How it works.

    def _start(self) -> models.Classifier:
        return network(self.start) if isinstance(self.start, str) else self.start

    def _pictures(
        self, state: HardeningState, progress: Callable[[int, int], object]
    ) -> tuple[datasets.Pictures, datasets.Pictures]:
        """The pictures, drawn at most once; the first n of the largest set are the n of a smaller one."""
        if self.data is not None:
            train, validation = self.data
        else:
            for split, count in (("train", state.pictures), ("validation", VALIDATION)):
                if split not in self._drawn or len(self._drawn[split].labels) < count:
                    self._drawn[split] = datasets.drawn(count, split=split, progress=progress)
            train, validation = self._drawn["train"], self._drawn["validation"]
        n = state.pictures
        return train._replace(images=train.images[:n], labels=train.labels[:n]), validation

    def _train(self, begun: training.Training, progress: Callable[[int, int], object]) -> None:
        """Train to the end of the epoch, or for half a second."""
        until = time.monotonic() + GLANCE
        for step in begun.steps():
            progress(step.done, step.total)  # raises where Stop was pressed
            if step.epoch is not None or time.monotonic() > until:
                return

    def _measure(
        self, model: models.Classifier, validation: datasets.Pictures, progress: Callable[[int, int], object]
    ) -> np.ndarray:
        """Accuracy on clean pictures and under FGSM."""
        images = validation.images[:VALIDATION].float() / GRAY
        labels = validation.labels[:VALIDATION]
        return fgsm.robust_accuracy(model, images, labels, (0, ATTACK / GRAY), batch_size=16, progress=progress).numpy()

    def _forget(self, state: HardeningState) -> HardeningState:
        self._begun.pop(state, None)
        self._finals.pop(state, None)
        return state

    def _result(self, state: HardeningState, begun: training.Training | None, note: str = "") -> HardeningResult:
        step, steps, history = (begun.step, begun.total_steps, begun.history) if begun else (0, 0, [])
        final = self._finals.get(state, np.zeros((0, 2)))
        return HardeningResult(step, steps, *_curves(history), final, note)


def _curves(history: Sequence[training.Epoch]) -> tuple[np.ndarray, np.ndarray]:
    clean = [epoch.validation_accuracy for epoch in history]
    return np.array(clean), np.array([epoch.train_accuracy for epoch in history])


def shipped() -> tuple[np.ndarray, np.ndarray]:
    """The robust network's training, from its card: accuracy by epoch on new clean pictures, and on attacked ones."""
    history = store.card(SHIPPED)["history"]
    clean = np.array([epoch["validation_accuracy"] for epoch in history])
    return clean, np.array([epoch["train_accuracy"] for epoch in history])
