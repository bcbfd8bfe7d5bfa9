"""Erase the brightest part of any map, or keep nothing else: does the network agree with the explanation?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from xai_lessons import evaluation, plots
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
)
from xai_lessons.methods import cam, occlusion, saliency

#: Each map that can be tried: what is called, and with which options.
MAPS: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "occlusion": (occlusion.occlusion, {"patch": 20, "stride": 8, "fill": "blur"}),
    "RISE": (occlusion.rise, {"samples": 200}),
    "Grad-CAM": (cam.grad_cam, {}),
    "gradient": (saliency.gradient, {}),
    "integrated gradients": (saliency.integrated_gradients, {}),
    "center blob": (evaluation.CONTROLS["center blob"], {}),
    "random": (evaluation.CONTROLS["random"], {}),
}
ERASE, KEEP = "erase it", "keep only it"
PIXELS = "pixels"
STEPS = 32


@dataclass(frozen=True)
class DeletionState(ImageState, NetworkState):
    """A picture, a network, a map of it, and what is done with its brightest part.

    Attributes:
        method: one of `MAPS`.
        way: the brightest part is erased, or nothing else is kept.
        share: how large that part is.
        pieces: single pixels, or so many boxes.
        fill: what is put where something is erased.
        show_map: whether the map lies over the picture.
    """

    method: str = "occlusion"
    way: str = ERASE
    share: float = 0.1
    pieces: str = PIXELS
    fill: str = "black"
    show_map: bool = False


@dataclass(frozen=True)
class DeletionResult:
    """A picture with a part gone, and what the network says.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        heatmap: the map (S, S), at least 0.
        left: what is left of the picture (3, S, S).
        probabilities, before: of what is left and of the whole (K,).
        target: the class predicted for the whole.
        deletion, insertion: its probability when k/32 of the pixels are gone, or there (33,), in the map's order.
        areas: under both curves.
        chance: the deletion curve of a random order.
    """

    image: np.ndarray
    heatmap: np.ndarray
    left: np.ndarray
    probabilities: np.ndarray
    before: np.ndarray
    target: int
    deletion: np.ndarray = field(default_factory=lambda: np.full(STEPS + 1, np.nan))
    insertion: np.ndarray = field(default_factory=lambda: np.full(STEPS + 1, np.nan))
    areas: tuple[float, float] = (np.nan, np.nan)
    chance: np.ndarray = field(default_factory=lambda: np.full(STEPS + 1, np.nan))


class DeletionExplorer(ImageExplorer):
    """A map is put to the test: without its brightest part, is the label gone? With nothing else, does it stay?"""

    name, title = "deletion", "Put the map to the test"
    question = (
        "How little must go before the label goes? Does keeping the same part bring it back? "
        "And is the map better than a random one?"
    )
    State = DeletionState
    shown_by_code = ("heatmap", "left", "probabilities", "deletion", "insertion")
    pairs = ("cat + dog",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._mapped = lru_cache(maxsize=8)(self._map)
        self._run_off = lru_cache(maxsize=8)(self._curves)
        super().__init__(*arguments, **options)

    def controls(self) -> tuple[Control, ...]:
        """The map, what is done with its brightest part, network and picture."""
        done: dict[str, Any] = {"group": "Its brightest part", "changes": ("left", "probabilities")}
        return (
            Choice(name="method", label="Map", choices=tuple(MAPS), changes=("heatmap", "deletion"), group="Map"),
            Toggle(name="show_map", label="Show the map", changes=(PANELS,), group="Map"),
            Choice(name="way", label="What to do", choices=(ERASE, KEEP), buttons=True, **done),
            Slider(name="share", label="Share", low=0.01, high=0.3, step=0.01, format=".0%", **done),
            Choice(name="pieces", label="In", choices=(PIXELS, "1 box", "3 boxes", "9 boxes"), **done),
            Choice(
                name="fill",
                label="Fill with",
                choices=occlusion.FILLS,
                **{**done, "changes": ("left", "deletion", "insertion")},
            ),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "left"),
        )

    def compute(self, state: DeletionState, progress: Callable[[int, int], object]) -> Iterator[DeletionResult]:
        """The picture and the answer first, the curves then."""
        model, image = self.model(state), self.image(state)
        heatmap = self._mapped(replace(_only(state), method=state.method))
        boxes = None if state.pieces == PIXELS else int(state.pieces.split()[0])
        function = occlusion.erase_top if state.way == ERASE else occlusion.keep_top
        left = function(image, heatmap, state.share, boxes=boxes, fill=state.fill)
        probabilities = model.predict(left).float().cpu().numpy()
        before = model.predict(image).float().cpu().numpy()
        result = DeletionResult(
            image.numpy(), heatmap.numpy(), left.numpy(), probabilities, before, int(before.argmax())
        )
        yield result
        progress(0, 1)
        deletion, insertion, areas, chance = self._run_off(replace(_only(state), method=state.method, fill=state.fill))
        yield replace(result, deletion=deletion, insertion=insertion, areas=areas, chance=chance)

    def panels(self, result: DeletionResult, state: DeletionState) -> list[Panel]:
        """What is left, what the network says of it, and the curves."""
        classes = self.model(state).classes
        left = plots.enlarge(result.left, self.screen)
        if state.show_map:
            left = plots.overlay(left, result.heatmap, 0.8)
        first = np.argsort(-result.probabilities, kind="stable")[:5]
        if result.target not in first:
            first = np.append(first[:4], result.target)
        listed = ", ".join(f"{classes[i]} {result.probabilities[i]:.0%}" for i in first)
        chart = plots.bars(
            [classes[i] for i in first],
            result.probabilities[first].tolist(),
            marked=[i for i, c in enumerate(first) if c == result.target],
            before=result.before[first].tolist(),
            width=380,
            row=40,
        )
        x = np.linspace(0, 1, STEPS + 1)
        lines: dict[str, Any] = {
            "erased, brightest first": (x, result.deletion),
            "erased at random": (x, result.chance),
            "put in, brightest first": (x, result.insertion),
        }
        curves = plots.curves(
            lines,
            x_label="share of the pixels",
            y_label=f"probability of {classes[result.target]}",
            x_limits=(0, 1),
            y_limits=(0, 1),
            marker=state.share,
            width=560,
        )
        done = f"{state.share:.0%} of the picture {'gone' if state.way == ERASE else 'kept'}"
        areas = ""
        if np.isfinite(result.areas[0]):
            gone, come = result.areas
            areas = f"Areas: erased {gone:.2f} (small is good), put in {come:.2f} (large is good)."
        return [
            Panel(f"What the network is shown: {done}", left, f"{self.alt(state)}, {done}", sharp=True),
            Panel("What it says", chart, listed, 380, sharp=True, caption="Black: of the whole picture."),
            Panel("All the way", curves, f"deletion and insertion curves. {areas}", 560, sharp=True, caption=areas),
        ]

    def describe(self, result: DeletionResult, state: DeletionState) -> str:
        """What it says of the rest, and what it said of the whole."""
        classes, top = self.model(state).classes, int(result.probabilities.argmax())
        name = classes[result.target]
        where = f"the brightest {state.share:.0%} of {state.method}"
        where = f"Without {where}" if state.way == ERASE else f"With nothing but {where}"
        return (
            f"{where} the network says {classes[top]}, {result.probabilities[top]:.0%}; "
            f"{name} went from {result.before[result.target]:.0%} to {result.probabilities[result.target]:.0%}."
        )

    def code(self, state: DeletionState) -> str:
        """The map, what is left, the answer, and the curves."""
        function, options = MAPS[state.method]
        if state.method in evaluation.CONTROLS:
            module, call = "evaluation", f"evaluation.CONTROLS[{state.method!r}](model, image)"
        else:
            module = function.__module__.rsplit(".", 1)[-1]
            module = "saliency" if module == "paths" else module
            listed = "".join(f", {name}={value!r}" for name, value in options.items())
            call = f"{module}.{function.__name__}(model, image{listed})"
        way = "erase_top" if state.way == ERASE else "keep_top"
        boxes = "" if state.pieces == PIXELS else f", boxes={state.pieces.split()[0]}"
        heat = "heatmap = evaluation.heat(heatmap[None])[0].cpu()"
        return "\n".join(
            [
                self.setup_code(state, "occlusion", "evaluation", module),
                f"heatmap = {call}",
                heat,
                f"left = occlusion.{way}(image, heatmap, {state.share}{boxes}, fill={state.fill!r})",
                "probabilities = model.predict(left)",
                f"deletion = evaluation.deletion(model, image, heatmap, fill={state.fill!r}).curve",
                f"insertion = evaluation.insertion(model, image, heatmap, fill={state.fill!r}).curve",
            ]
        )

    # What is kept, since the hand is mostly on the share.

    def _map(self, state: DeletionState) -> Tensor:
        """The map of a picture, at least 0."""
        function, options = MAPS[state.method]
        return evaluation.heat(function(self.model(state), self.image(state), **options)[None])[0].float().cpu()

    def _curves(self, state: DeletionState) -> tuple[np.ndarray, np.ndarray, tuple[float, float], np.ndarray]:
        """Both curves of a map, their areas, and the deletion curve of a random order."""
        model, image = self.model(state), self.image(state)
        options: dict[str, Any] = {"fill": state.fill, "steps": STEPS}
        heatmap = self._mapped(replace(state, fill=DeletionState.fill))
        gone = evaluation.deletion(model, image, heatmap, **options)
        come = evaluation.insertion(model, image, heatmap, **options)
        chance = evaluation.deletion(model, image, evaluation.CONTROLS["empty"](model, image), **options)
        areas = (float(gone.area), float(come.area))
        return gone.curve.cpu().numpy(), come.curve.cpu().numpy(), areas, chance.curve.cpu().numpy()


def _only(state: DeletionState) -> DeletionState:
    """The state with picture and network alone: what a map depends on, beside its method."""
    names = ("method", "way", "share", "pieces", "fill", "show_map")
    return replace(state, **{name: getattr(DeletionState, name) for name in names})
