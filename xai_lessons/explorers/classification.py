"""What does a network say of an image, and what if something is done to the image?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from xai_lessons import plots
from xai_lessons.data import menagerie
from xai_lessons.data.interventions import intervene
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel

NOTHING = "nothing"


@dataclass(frozen=True)
class PredictionState(ImageState):
    """An image, a network, and what is done to the image (see `intervene`)."""

    without: str = NOTHING
    turn: int = 0
    upside_down: bool = False
    shift_right: float = 0.0
    shift_down: float = 0.0
    brighten: float = 0.0
    noise: float = 0.0
    as_seen: bool = False


@dataclass(frozen=True)
class PredictionResult(ImageResult):
    """What the network sees and says."""

    # probabilities, before: of each class (K,), with what was done to the image and without
    probabilities: np.ndarray
    before: np.ndarray
    changed: float  # fraction of the pixels that were changed


class PredictionExplorer(ImageExplorer):
    """An image, what a network says of it, and what becomes of that when something is done to the image."""

    name, title = "prediction", "What does the network say?"
    question = "How much can you do to the picture before the answer changes? Which part makes a cat a cat?"
    State = PredictionState
    stage = ("seed", "without", "turn", "noise")
    shown_by_code = ("image", "probabilities")

    def controls(self) -> tuple[Control, ...]:
        """The image, the network, and what is done to the image."""
        shift: dict[str, Any] = {"low": -0.4, "high": 0.4, "step": 0.02, "format": ".0%"}
        return (
            *self.image_controls("image", "shown", "probabilities"),
            *self.network_controls("probabilities"),
            *group(
                "Do something to it",
                Choice("without", "Take away", choices=self._parts, when=self._is_single),
                Slider("turn", "Turn", low=-180, high=180, step=5, help="Clockwise, in degrees"),
                Slider("shift_right", "Shift right", **shift, help="In widths of the picture"),
                Slider("shift_down", "Shift down", **shift, help="In widths of the picture"),
                Slider("brighten", "Brighten", low=-0.6, high=0.6, step=0.05),
                Slider("noise", "Noise", low=0.0, high=0.5, step=0.02, help="Its standard deviation"),
                Toggle("upside_down", "Upside down"),
                changes=("image", "shown", "probabilities"),
            ),
            *group("Network", Toggle("as_seen", "Show what the network sees", changes=(PANELS,))),
        )

    def compute(self, state: PredictionState, progress: Reporter) -> Iterator[PredictionResult]:
        """The image at the network's size first, which is quick; then the same drawn for the screen."""
        model, without, changes = self.model(state), self._removed(state), _interventions(state)
        plain = self.image(state)
        image = intervene(self.image(state, without), **changes)
        probabilities, before = model.predict(torch.stack([image, plain])).cpu().numpy()
        changed = float((image - plain).abs().amax(0).gt(0.5 / 255).float().mean())
        result = PredictionResult(*self.both_sizes(image), probabilities, before, changed)
        yield result
        shown = intervene(self.screen_image(state, without), **{**changes, "grain": image.shape[-1]})
        yield replace(result, shown=shown.numpy())

    def panels(self, result: PredictionResult, state: PredictionState) -> list[Panel]:
        """The image, and the five most probable classes."""
        side, label = result.image.shape[-1], self.label(state)
        image, title = result.shown, "The picture"
        if state.as_seen:
            image, title = plots.enlarge(result.image, self.screen), f"The {side} × {side} pixels that the network sees"
        changed = not np.array_equal(result.probabilities, result.before)
        known = label in self.model(state).classes
        bars = self.probability_panel(
            state,
            result.probabilities,
            result.before if changed else None,
            title="How sure is it?",
            marked=label,
            caption="Orange: what it is. " * known + "Line: before you did anything." * changed,
            width=640,
            row=56,
        )
        return [Panel(title, image, f"{self.alt(state)}{_in_words(state)}", 380, sharp=state.as_seen), bars]

    def describe(self, result: PredictionResult, state: PredictionState) -> str:
        """What the network says, whether that is right, and what it said before."""
        classes, label = self.model(state).classes, self.label(state)
        top, was = int(result.probabilities.argmax()), int(result.before.argmax())
        text = f"The network says {classes[top]}, {result.probabilities[top]:.0%}"
        if label is not None and label in classes:
            article = "an" if label[0] in "aeiou" else "a"
            text += ", and is right" if classes[top] == label else f", but it is {article} {label}"
        if result.changed > 0:
            text += f" (before: {classes[was]}, {result.before[was]:.0%})"
        elif state.without != NOTHING and self._is_single(state):
            text += f"; this picture shows no {state.without} to take away"
        return text + "."

    def code(self, state: PredictionState) -> str:
        """The image, what is done to it, and the probabilities."""
        changes = ", ".join(f"{name}={value!r}" for name, value in _interventions(state).items())
        most = min(5, len(self.model(state).classes))
        return self.script(
            state,
            *([f"image = interventions.intervene(image, {changes})"] if changes else []),
            "probabilities = model.predict(image)",
            f"values, numbers = probabilities.topk({most})",
            "bars = plots.bars([model.classes[i] for i in numbers], values)",
            "plots.show([image, bars], ['The picture', 'How sure is it?'])",
            without=self._removed(state),
        )

    def _parts(self, state: PredictionState) -> tuple[str, ...]:
        return (NOTHING, *menagerie.PARTS.get(state.picture, ()))

    def _removed(self, state: PredictionState) -> tuple[str, ...]:
        return (state.without,) if self._is_single(state) and state.without != NOTHING else ()


def _interventions(state: PredictionState) -> dict[str, Any]:
    """The arguments of `intervene` that do something."""
    every = {
        "turn": state.turn,
        "upside_down": state.upside_down,
        "shift": (state.shift_right, state.shift_down),
        "brighten": state.brighten,
        "noise": state.noise,
    }
    return {name: value for name, value in every.items() if value and value != (0.0, 0.0)}


def _in_words(state: PredictionState) -> str:
    """What was done to the image, for the alt text."""
    words = [f"{name} {value}" for name, value in _interventions(state).items() if value is not True]
    words += ["upside down"] * state.upside_down + [f"without its {state.without}"] * (state.without != NOTHING)
    return "; " + ", ".join(words) if words else ""
