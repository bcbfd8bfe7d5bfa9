"""Erase with the mouse: paint over the image, and the probabilities follow the hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xai_lessons import plots
from xai_lessons.data.interventions import Stroke, painted_mask
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Job, Reporter
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel
from xai_lessons.methods import occlusion

#: The canvas in the browser.
SCRIPT = Path(__file__).with_name("eraser_canvas.js").read_text(encoding="utf-8")


def canvas(side: int) -> Any:
    """The canvas: an image (JPEG) and what the brush uncovers, with `strokes` x, y, radius as fractions of its side."""
    import anywidget
    import traitlets

    class Canvas(anywidget.AnyWidget):
        """A picture to paint on."""

        _esm = SCRIPT
        picture = traitlets.Bytes(b"").tag(sync=True)
        filling = traitlets.Bytes(b"").tag(sync=True)
        strokes: Any = traitlets.List([]).tag(sync=True)
        box: Any = traitlets.List([]).tag(sync=True)
        side = traitlets.Int(384).tag(sync=True)

    return Canvas(side=side)


@dataclass(frozen=True)
class EraserState(ImageState):
    """An image, a network, and what is erased."""

    strokes: tuple[Stroke, ...] = ()  # dots of the brush: x, y, radius as fractions of the image's side
    # left, top, width, height: of a rectangle, likewise; for those without a mouse
    left: float = 0.3
    top: float = 0.3
    width: float = 0.0
    height: float = 0.3
    fill: str = "gray"  # what is put there


@dataclass(frozen=True)
class EraserResult(ImageResult):
    """What is left of the image, and what the network says."""

    left: np.ndarray  # what is left of the image (3, S, S)
    # probabilities, before: of what is left and of the whole (K,)
    probabilities: np.ndarray
    before: np.ndarray
    fraction: float  # of the image, erased


class EraserExplorer(ImageExplorer):
    """Paint over the image, and see what the network still says."""

    name, title = "eraser", "Erase with the mouse"
    question = "What is the smallest spot of paint that changes the answer?"
    State = EraserState
    stage = ("fill", "clear", "picture", "seed")
    shown_by_code = ("left", "probabilities")
    pairs = ("cat + dog", "bird + umbrella")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.canvas: Any = None
        super().__init__(*arguments, **options)

    def controls(self) -> tuple[Control, ...]:
        """What is erased, network and image; the mouse's strokes have no control but the canvas."""
        percent: dict[str, Any] = {"step": 0.02, "format": ".0%"}
        there: dict[str, Any] = {**percent, "when": lambda state: state.width > 0}
        changes = ("left", "probabilities")
        return (
            *group(
                "Erase",
                Choice("fill", "Fill with", choices=occlusion.FILLS),
                Button("clear", "Everything back", act=lambda state: replace(state, strokes=(), width=0.0)),
                changes=changes,
            ),
            *group(
                "A rectangle, without the mouse",
                Slider("width", "Width", low=0.0, high=1.0, **percent),
                Slider("height", "Height", low=0.02, high=1.0, **there),
                Slider("left", "From left", low=0.0, high=0.98, **there),
                Slider("top", "From top", low=0.0, high=0.98, **there),
                changes=changes,
            ),
            *self.network_controls("probabilities"),
            *self.image_controls("image", "left"),
        )

    def extras(self) -> list[Any]:
        """The canvas, where anywidget is installed; the sliders do without."""
        if find_spec("anywidget") is None:
            return []
        self.canvas = canvas(self.screen)
        self.canvas.layout.width = "max(min(220px, 100%), 30.9cqw)"
        self._follow()
        self.canvas.observe(self._painted, "strokes")
        return [self.canvas]

    def compute(self, state: EraserState, progress: Reporter) -> Iterator[EraserResult]:
        """What is left, and the answer, first with the image resized, then with it drawn for the screen."""
        model, image = self.model(state), self.image(state)
        mask = painted_mask(image.shape[-1], state.strokes, _box(state))
        left = torch.where(mask, occlusion.filling(image, state.fill), image)
        probabilities, before = model.predict(torch.stack([left, image])).float().cpu().numpy()
        fraction = float(mask.float().mean())
        result = EraserResult(*self.both_sizes(image), left.numpy(), probabilities, before, fraction)
        yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: EraserResult, state: EraserState) -> list[Panel]:
        """What the network is shown, and what it says; the canvas stands above them."""
        if self.canvas is not None:  # its image, what the brush uncovers, and the rectangle
            fill = occlusion.filling(torch.from_numpy(result.image), state.fill).clamp(0, 1)
            with self.canvas.hold_sync():
                self.canvas.picture = plots.jpeg(result.shown)
                self.canvas.filling = plots.jpeg(plots.enlarge(fill, self.screen))
                self.canvas.box = list(_box(state))
        bars = self.probability_panel(
            state,
            result.probabilities,
            result.before,
            marked=self.label(state),
            include=int(result.before.argmax()),
            caption="Orange: what it is. Line: the whole picture." if self.label(state) else "Line: the whole picture.",
            width=370,
            row=46,
        )
        seen, caption = plots.enlarge(result.left, self.screen), f"{result.fraction:.0%} of it erased."
        alt = f"{self.alt(state)}, {caption}"
        return [Panel("What the network is shown", seen, alt, 330, sharp=True, caption=caption), bars]

    def describe(self, result: EraserResult, state: EraserState) -> str:
        """What it says now, and what it said before."""
        classes, top, was = self.model(state).classes, int(result.probabilities.argmax()), int(result.before.argmax())
        if not result.fraction:
            return f"The network says {classes[top]}, {result.probabilities[top]:.0%}. Nothing is erased yet."
        verdict = f"still says {classes[top]}" if top == was else f"says {classes[top]} instead of {classes[was]}"
        erased = f"With {result.fraction:.0%} of the picture erased"
        return f"{erased} the network {verdict}, {result.probabilities[top]:.0%}."

    def code(self, state: EraserState) -> str:
        """What is erased, what is left, and the answer."""
        given = f", strokes={list(state.strokes)!r}" if state.strokes else ""
        given += f", box={_box(state)!r}" if state.width else ""
        return self.script(
            state,
            f"mask = interventions.painted_mask(image.shape[-1]{given})",
            f"left = torch.where(mask, occlusion.filling(image, {state.fill!r}), image)",
            "probabilities = model.predict(left)",
            "plots.show([image, left], ['the picture', 'what is left'])",
        )

    # The canvas.

    def request(self, **changes: Any) -> Job:
        """Move controls without waiting; the canvas follows changes from elsewhere, such as Reset."""
        job = super().request(**changes)
        self._follow()
        return job

    def _follow(self) -> None:
        """Bring the canvas's strokes to those of the state; called where the hand's moves arrive, so none is lost."""
        strokes = [list(dot) for dot in self.state.strokes]
        if self.canvas is not None and self.canvas.strokes != strokes:
            self.canvas.strokes = strokes

    def _painted(self, change: dict[str, Any]) -> None:
        """The hand moved: request the latest strokes."""
        strokes = tuple(tuple(float(v) for v in dot) for dot in change["new"])
        if strokes != self.state.strokes:
            self.request(strokes=strokes)


def _box(state: EraserState) -> tuple[float, float, float, float]:
    return (state.left, state.top, state.width, state.height if state.width else 0.0)
