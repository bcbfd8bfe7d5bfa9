"""What does a network say of an image, and what if something is done to the image?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import plots
from xai_lessons.core import passes
from xai_lessons.data import menagerie
from xai_lessons.data.interventions import intervene
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, Touch
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel, top_classes

NOTHING = "nothing"
PROBABILITIES, LOGITS = "probabilities", "logits"
NEAR = 3  # pixels of the network's image: so far from a part a click still means it
MOVES = ("turn", "upside_down", "shift")  # what `intervene` does to places


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
    scores: str = PROBABILITIES  # what the bars show


@dataclass(frozen=True)
class PredictionResult(ImageResult):
    """What the network sees and says."""

    # logits, logits_before: of each class (K,), with what was done to the image and without
    logits: np.ndarray
    logits_before: np.ndarray
    # probabilities, before: the same after softmax
    probabilities: np.ndarray
    before: np.ndarray
    changed: float  # fraction of the pixels that were changed


class PredictionExplorer(ImageExplorer):
    """An image, what a network says of it, and what becomes of that when something is done to the image.

    A click on a part of a drawn object takes that part away, a click anywhere else brings it back.
    """

    name, title = "prediction", "What does the network say?"
    question = "Change the picture: what changes the answer?"
    State = PredictionState
    stage = ("without", "shift_right", "noise", "scores")
    shown_by_code = ("image", "logits", "probabilities")

    def controls(self) -> tuple[Control, ...]:
        """The image, the network, and what is done to the image."""
        shift: dict[str, Any] = {"low": -0.4, "high": 0.4, "step": 0.02, "format": ".0%"}
        return (
            *self.image_controls("image", "shown", "probabilities"),
            *self.network_controls("probabilities"),
            *group(
                "Change the picture",
                Choice("without", "Take away", choices=self._parts, when=self._is_single),
                Slider("turn", "Turn", low=-180, high=180, step=5, help="Clockwise, in degrees"),
                Slider("shift_right", "Shift right", **shift, help="As a fraction of its width"),
                Slider("shift_down", "Shift down", **shift, help="As a fraction of its height"),
                Slider("brighten", "Brighten", low=-0.6, high=0.6, step=0.05),
                Slider("noise", "Noise", low=0.0, high=0.5, step=0.02, help="Its standard deviation"),
                Toggle("upside_down", "Upside down"),
                changes=("image", "shown", "probabilities"),
            ),
            *group("Network", Toggle("as_seen", "Show what the network sees", changes=(PANELS,))),
            Choice("scores", "Show", choices=(PROBABILITIES, LOGITS), buttons=True, changes=(PANELS,)),
        )

    def compute(self, state: PredictionState, progress: Reporter) -> Iterator[PredictionResult]:
        """The image at the network's size first, which is quick; then the same drawn for the screen."""
        model, without, changes = self.model(state), self._removed(state), _interventions(state)
        plain = self.image(state)
        image = intervene(self.image(state, without), **changes)
        both = torch.stack([image, plain])
        logits = passes.over_images(lambda x, _: passes.logits(model, x), model, both).float().cpu()
        changed = float((image - plain).abs().amax(0).gt(0.5 / 255).float().mean())
        after, before = logits.numpy()
        probabilities, probabilities_before = logits.softmax(1).numpy()
        result = PredictionResult(*self.both_sizes(image), after, before, probabilities, probabilities_before, changed)
        yield result
        shown = intervene(self.screen_image(state, without), **{**changes, "grain": image.shape[-1]})
        yield replace(result, shown=shown.numpy())

    def panels(self, result: PredictionResult, state: PredictionState) -> list[Panel]:
        """The image, and the five most probable classes."""
        side = result.image.shape[-1]
        image, title = result.shown, "The picture"
        if state.as_seen:
            image, title = plots.enlarge(result.image, self.screen), f"The {side} × {side} pixels that the network sees"
        picture = Panel(
            title,
            image,
            f"{self.alt(state)}{_in_words(state)}",
            350,
            sharp=state.as_seen,
            caption="Click on a part to take it away." if self._is_single(state) else "",
            touch="picture" if self._is_single(state) else "",
        )
        return [picture, self._bars(result, state)]

    def touch(self, at: Touch, result: PredictionResult, state: PredictionState) -> PredictionState:
        """A click takes the part under the pointer away; a click next to all parts, or on the gap, brings it back."""
        if at.kind != "click":
            return state
        part = self._part_at(at, state)
        return replace(state, without=NOTHING if part == state.without else part)

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
            one = classes.index(label) if label in classes else was
            text += f"; logit of {classes[one]} {result.logits[one]:.1f} (before: {result.logits_before[one]:.1f})"
        elif state.without != NOTHING and self._is_single(state):
            text += f"; this picture shows no {state.without} to take away"
        return text + "."

    def code(self, state: PredictionState) -> str:
        """The image, what is done to it, and the probabilities."""
        changes = ", ".join(f"{name}={value!r}" for name, value in _interventions(state).items())
        most = min(5, len(self.model(state).classes))
        form = "" if state.scores == PROBABILITIES else ", low=-10, high=20, percent=False"
        return self.script(
            state,
            *([f"image = interventions.intervene(image, {changes})"] if changes else []),
            "logits = model(image[None].to(model.device))[0].detach().cpu()",
            "probabilities = logits.softmax(dim=0)",
            f"values, numbers = {state.scores}.topk({most})",
            f"bars = plots.bars([model.classes[i] for i in numbers], values{form})",
            "plots.show([image, bars], ['The picture', 'How sure is it?'])",
            without=self._removed(state),
        )

    def _bars(self, result: PredictionResult, state: PredictionState) -> Panel:
        """The five most probable classes and the true one, as probabilities or as logits."""
        label, classes = self.label(state), self.model(state).classes
        true, changed = classes.index(label) if label in classes else None, result.changed > 0
        caption = "Orange: what it is. " * (true is not None) + "Line: before your changes." * changed
        if state.scores == PROBABILITIES:
            before = result.before if changed else None
            more: dict[str, Any] = {"title": "How sure is it?", "marked": label, "include": true}
            return self.probability_panel(
                state, result.probabilities, before, caption=caption, width=640, row=56, **more
            )
        first = top_classes(result.probabilities, true)
        values, names = result.logits[first], [classes[i] for i in first]
        everything = np.concatenate([values, result.logits_before[first]])
        chart = plots.bars(
            names,
            values.tolist(),
            before=result.logits_before[first].tolist() if changed else None,
            marked=[i for i, k in enumerate(first) if k == true],
            low=5 * min(-1.0, float(np.floor(everything.min() / 5))),
            high=5 * max(1.0, float(np.ceil(everything.max() / 5))),
            percent=False,
            width=640,
            row=56,
        )
        listed = ", ".join(f"{name} {value:.1f}" for name, value in zip(names, values, strict=True))
        return chart_panel("Its logits", chart, f"Its logits {listed}", 640, caption)

    def _part_at(self, at: Touch, state: PredictionState) -> str:
        """The part under the pointer, or the nearest one within `NEAR` pixels; `NOTHING` if there is none."""
        side = self.model(state).input_size
        moves = {name: value for name, value in _interventions(state).items() if name in MOVES}
        masks = self.scene(state, side).masks  # of the whole object: what was taken away can be clicked as well
        row, column = at.y * side, at.x * side
        found = {}
        for part in self._parts(state)[1:]:
            if part in masks:
                seen: Tensor = intervene(masks[part].float().expand(3, -1, -1), **moves)[0] > 0.5
                ys, xs = seen.nonzero(as_tuple=True)
                if len(ys):
                    found[part] = float(torch.hypot(ys + 0.5 - row, xs + 0.5 - column).min())
        nearest = min(found, key=found.__getitem__, default=NOTHING)
        return nearest if nearest != NOTHING and found[nearest] < NEAR * side / 96 else NOTHING

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
