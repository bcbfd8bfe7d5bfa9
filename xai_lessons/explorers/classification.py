"""The explorers of lesson 1: what a network says of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import plots
from xai_lessons.core import inputs
from xai_lessons.data import menagerie
from xai_lessons.explorers.kit import (
    PANELS,
    Choice,
    Control,
    ImageExplorer,
    ImageState,
    NetworkState,
    Panel,
    Slider,
    Toggle,
    resized,
)

NOTHING = "nothing"


def intervene(
    image: Tensor,
    *,
    turn: float = 0,
    upside_down: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
    brighten: float = 0.0,
    noise: float = 0.0,
    grain: int | None = None,
) -> Tensor:
    r"""Do something to a picture: $x' = clip(T(x) + b + \sigma n)$ with a turn and shift T, brightness b and noise n.

    Args:
        image: (3, H, W), RGB in [0, 1].
        turn: clockwise, in degrees, about the center.
        upside_down: flipped vertically, before the turn.
        shift: to the right and down, as a share of the width; what comes in at the edge is mirrored.
        brighten: added to every pixel, -1 to 1.
        noise: standard deviation of normal noise, in pixel units; always the same noise.
        grain: pixels of the noise along a side, where the picture is drawn larger than the network sees it.

    Returns:
        (3, H, W) in [0, 1].
    """
    x = image.flip(1) if upside_down else image
    if turn or any(shift):
        a = math.radians(turn)
        back = torch.tensor([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
        theta = torch.cat([back, -back @ torch.tensor([[2 * shift[0]], [2 * shift[1]]])], dim=1)
        at = F.affine_grid(theta[None], [1, *x.shape], align_corners=False)
        x = F.grid_sample(x[None], at, padding_mode="reflection", align_corners=False)[0]
    x = x + brighten
    if noise:
        side = grain or x.shape[-1]
        n = torch.randn(1, 3, side, side, generator=inputs.generator(0))
        x = x + noise * F.interpolate(n, size=x.shape[-2:], mode="nearest")[0]
    return x.clamp(0, 1)


@dataclass(frozen=True)
class PredictionState(ImageState, NetworkState):
    """A picture, a network, and what is done to the picture (see `intervene`)."""

    without: str = NOTHING
    turn: int = 0
    upside_down: bool = False
    shift_right: float = 0.0
    shift_down: float = 0.0
    brighten: float = 0.0
    noise: float = 0.0
    as_seen: bool = False


@dataclass(frozen=True)
class PredictionResult:
    """What the network sees and says.

    Attributes:
        image: what the network sees (3, S, S) in [0, 1].
        shown: the same, drawn for the screen.
        probabilities, before: of each class (K,), with what was done to the picture and without.
        touched: share of the pixels that were changed.
    """

    image: np.ndarray
    shown: np.ndarray
    probabilities: np.ndarray
    before: np.ndarray
    touched: float


class PredictionExplorer(ImageExplorer):
    """A picture, what a network says of it, and what becomes of that when something is done to the picture."""

    name, title = "prediction", "What does the network say?"
    question = "How much can you do to the picture before the answer changes? Which part makes a cat a cat?"
    State = PredictionState
    shown_by_code = ("image", "probabilities")

    def controls(self) -> tuple[Control, ...]:
        """The picture, the network, and what is done to the picture."""
        done: dict[str, Any] = {"changes": ("image", "shown", "probabilities"), "group": "Do something to it"}
        turn: dict[str, Any] = {"low": -180, "high": 180, "step": 5}
        shift: dict[str, Any] = {"low": -0.4, "high": 0.4, "step": 0.02, "format": ".0%"}
        return (
            *self.image_controls("image", "shown", "probabilities"),
            *self.network_controls("probabilities"),
            Choice(name="without", label="Take away", choices=self._parts, **done, when=self._is_single),
            Slider(name="turn", label="Turn", **turn, **done, help="Clockwise, in degrees"),
            Slider(name="shift_right", label="Shift right", **shift, **done, help="In widths of the picture"),
            Slider(name="shift_down", label="Shift down", **shift, **done, help="In widths of the picture"),
            Slider(name="brighten", label="Brighten", low=-0.6, high=0.6, step=0.05, **done),
            Slider(name="noise", label="Noise", low=0.0, high=0.5, step=0.02, **done, help="Its standard deviation"),
            Toggle(name="upside_down", label="Upside down", **done),
            Toggle(name="as_seen", label="Show what the network sees", changes=(PANELS,), group="Network"),
        )

    def compute(self, state: PredictionState, progress: Callable[[int, int], object]) -> Iterator[PredictionResult]:
        """The picture at the network's size first, which is quick; then the same drawn for the screen."""
        model, without = self.model(state), self._removed(state)
        plain, there = self.image(state), self.image(state, without)
        image = intervene(there, **_doings(state))
        probabilities, before = model.predict(torch.stack([image, plain])).cpu().numpy()
        touched = float((image - plain).abs().amax(0).gt(0.5 / 255).float().mean())
        shown = resized(image, self.screen).numpy()
        result = PredictionResult(image.numpy(), shown, probabilities, before, touched)
        yield result
        doings = {**_doings(state), "grain": image.shape[-1]}
        yield replace(result, shown=intervene(self.screen_image(state, without), **doings).numpy())

    def panels(self, result: PredictionResult, state: PredictionState) -> list[Panel]:
        """The picture, and the five likeliest classes."""
        classes, side = self.model(state).classes, result.image.shape[-1]
        if state.as_seen:
            picture = plots.enlarge(result.image, self.screen)
            title = f"The {side} × {side} pixels that the network sees"
        else:
            picture, title = result.shown, "The picture"
        first = np.argsort(-result.probabilities, kind="stable")[:5]
        label, names = self.label(state), [classes[i] for i in first]
        changed = not np.array_equal(result.probabilities, result.before)
        chart = plots.bars(
            names,
            result.probabilities[first].tolist(),
            marked=[i for i, name in enumerate(names) if name == label],
            before=result.before[first].tolist() if changed else None,
            width=380,
            row=44,
        )
        caption = "Orange: what it is. " * (label in names) + "Black line: before you did anything." * changed
        listed = ", ".join(f"{classes[i]} {result.probabilities[i]:.0%}" for i in first)
        return [
            Panel(title, picture, f"{self.alt(state)}{_said(state)}", sharp=state.as_seen),
            Panel("How sure is it?", chart, f"Bars of the probabilities: {listed}", 380, sharp=True, caption=caption),
        ]

    def describe(self, result: PredictionResult, state: PredictionState) -> str:
        """What the network says, whether that is right, and what it said before."""
        classes, label = self.model(state).classes, self.label(state)
        top, was = int(result.probabilities.argmax()), int(result.before.argmax())
        text = f"The network says {classes[top]}, {result.probabilities[top]:.0%}"
        if label is not None and label in classes:
            article = "an" if label[0] in "aeiou" else "a"
            text += ", and is right" if classes[top] == label else f", but it is {article} {label}"
        if result.touched > 0:
            text += f" (before: {classes[was]}, {result.before[was]:.0%})"
        elif state.without != NOTHING and self._is_single(state):
            text += f"; this picture shows no {state.without} to take away"
        return text + "."

    def code(self, state: PredictionState) -> str:
        """The picture, what is done to it, and the probabilities."""
        doings = _doings(state)
        also = ["from xai_lessons.explorers.classification import intervene"] if doings else []
        lines = [self.setup_code(state, without=self._removed(state), also=also)]
        if doings:
            lines.append(f"image = intervene(image, {', '.join(f'{k}={v!r}' for k, v in doings.items())})")
        lines.append("probabilities = model.predict(image)")
        some = min(5, len(self.model(state).classes))
        lines.append(f"for p, i in zip(*probabilities.topk({some})):\n    print(f'{{model.classes[i]:20}} {{p:.1%}}')")
        return "\n".join(lines)

    def _parts(self, state: PredictionState) -> tuple[str, ...]:
        return (NOTHING, *menagerie.PARTS.get(state.picture, ()))

    def _removed(self, state: PredictionState) -> tuple[str, ...]:
        return (state.without,) if self._is_single(state) and state.without != NOTHING else ()


def _doings(state: PredictionState) -> dict[str, Any]:
    """The arguments of `intervene` that do something."""
    every = {
        "turn": state.turn,
        "upside_down": state.upside_down,
        "shift": (state.shift_right, state.shift_down),
        "brighten": state.brighten,
        "noise": state.noise,
    }
    return {name: value for name, value in every.items() if value and value != (0.0, 0.0)}


def _said(state: PredictionState) -> str:
    """What was done to the picture, in words."""
    words = [f"{name} {value}" for name, value in _doings(state).items() if value is not True]
    words += ["upside down"] * state.upside_down + [f"without its {state.without}"] * (state.without != NOTHING)
    return "; " + ", ".join(words) if words else ""
