"""Erase the brightest part of any map, or keep nothing else: does the network agree with the explanation?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from xai_lessons import evaluation, plots
from xai_lessons.explorers.kit import ImageExplorer, ImageState, Reporter
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import catalog, occlusion

#: The methods whose maps can be tried, and their options.
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 20, "stride": 8, "fill": "blur"},
    "rise": {"samples": 200},
    "grad_cam": {},
    "gradient": {},
    "integrated_gradients": {},
}
CONTROLS = ("center blob", "random")
MAPS = {catalog.get(name).label: name for name in OPTIONS} | {name: name for name in CONTROLS}
ERASE, KEEP = "erase it", "keep only it"
PIXELS = "pixels"
STEPS = 32


def _not_yet() -> np.ndarray:
    """A curve that is not computed yet."""
    return np.full(STEPS + 1, np.nan)


@dataclass(frozen=True)
class DeletionState(ImageState):
    """An image, a network, a map of it, and what is done with its brightest part."""

    method: str = "Occlusion"  # one of `MAPS`
    way: str = ERASE  # the brightest part is erased, or nothing else is kept
    fraction: float = 0.1  # how large that part is
    pieces: str = PIXELS  # single pixels, or so many boxes
    fill: str = "black"  # what is put where something is erased
    show_map: bool = False  # whether the map lies over the image


@dataclass(frozen=True)
class DeletionResult:
    """An image with a part gone, and what the network says."""

    image: np.ndarray  # the image as the network takes it (3, S, S)
    heatmap: np.ndarray  # the map (S, S), at least 0
    left: np.ndarray  # what is left of the image (3, S, S)
    # probabilities, before: of what is left and of the whole (K,)
    probabilities: np.ndarray
    before: np.ndarray
    target: int  # the number of the class predicted for the whole
    # deletion, insertion: its probability when k/32 of the pixels are gone, or there (33,), in the map's order
    deletion: np.ndarray = field(default_factory=_not_yet)
    insertion: np.ndarray = field(default_factory=_not_yet)
    random: np.ndarray = field(default_factory=_not_yet)  # the deletion curve of a random order
    areas: tuple[float, float] = (np.nan, np.nan)  # under the first two curves


class DeletionExplorer(ImageExplorer):
    """A map is put to the test: without its brightest part, is the label gone? With nothing else, does it stay?"""

    name, title = "deletion", "Put the map to the test"
    question = (
        "How little must be erased before the label changes? Does keeping only that part bring it back? "
        "And is the map better than a random one?"
    )
    State = DeletionState
    stage = ("method", "way", "fraction", "fill")
    shown_by_code = ("heatmap", "left", "probabilities", "deletion", "insertion")
    pairs = ("cat + dog",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # the last eight maps and curves are cached, since the hand is mostly on the fraction
        self._map = lru_cache(maxsize=8)(self._compute_map)
        self._curves = lru_cache(maxsize=8)(self._compute_curves)
        super().__init__(*arguments, **options)

    def controls(self) -> tuple[Control, ...]:
        """The map, what is done with its brightest part, network and image."""
        return (
            *group(
                "Map",
                Choice("method", "Map", choices=tuple(MAPS), changes=("heatmap", "deletion")),
                Toggle("show_map", "Show the map", changes=(PANELS,)),
            ),
            *group(
                "Its brightest part",
                Choice("way", "What to do", choices=(ERASE, KEEP), buttons=True),
                Slider("fraction", "Fraction", low=0.01, high=0.3, step=0.01, format=".0%"),
                Choice("pieces", "Shape", choices=(PIXELS, "1 box", "3 boxes", "9 boxes")),
                Choice("fill", "Fill with", choices=occlusion.FILLS, changes=("left", "deletion", "insertion")),
                changes=("left", "probabilities"),
            ),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "left"),
        )

    def compute(self, state: DeletionState, progress: Reporter) -> Iterator[DeletionResult]:
        """The image and the answer first, then the curves."""
        model, image = self.model(state), self.image(state)
        heatmap = self._map(_without(state, "fill"))
        boxes = None if state.pieces == PIXELS else int(state.pieces.split()[0])
        function = occlusion.erase_top if state.way == ERASE else occlusion.keep_top
        left = function(image, heatmap, state.fraction, boxes=boxes, fill=state.fill)
        probabilities = model.predict(left).float().cpu().numpy()
        before = model.predict(image).float().cpu().numpy()
        arrays = (image.numpy(), heatmap.numpy(), left.numpy(), probabilities, before)
        result = DeletionResult(*arrays, target=int(before.argmax()))
        yield result
        progress.update(0, 1)
        deletion, insertion, random, areas = self._curves(_without(state))
        yield replace(result, deletion=deletion, insertion=insertion, random=random, areas=areas)

    def panels(self, result: DeletionResult, state: DeletionState) -> list[Panel]:
        """What is left, what the network says of it, and the curves."""
        name = self.model(state).classes[result.target]
        left = plots.enlarge(result.left, self.screen)
        bars = self.probability_panel(
            state,
            result.probabilities,
            result.before,
            marked=name,
            include=result.target,
            caption=f"Orange: {name}. Line: the whole picture.",
            width=330,
            row=46,
        )
        x: Any = np.linspace(0, 1, STEPS + 1)
        lines: dict[str, Any] = {"erased, brightest first": result.deletion, "erased at random": result.random}
        lines |= {"put back, brightest first": result.insertion}
        curves = plots.curves(
            {title: (x, y) for title, y in lines.items()},
            x_label="fraction of the pixels",
            y_label=f"probability of {name}",
            x_limits=(0, 1),
            y_limits=(0, 1),
            marker=state.fraction,
            width=395,
            height=320,
        )
        done = f"{state.fraction:.0%} of the picture {'gone' if state.way == ERASE else 'kept'}"
        gone, back = result.areas
        areas = (
            f"Areas: deletion {gone:.2f} (small is good), insertion {back:.2f} (large is good)." if gone == gone else ""
        )
        panels = [
            Panel(done, left, f"{self.alt(state)}, {done}", 300, sharp=True),
            bars,
            chart_panel("Deletion and insertion", curves, f"deletion and insertion curves. {areas}", 395, areas),
        ]
        if state.show_map:
            over = plots.overlay(plots.enlarge(result.image, self.screen), result.heatmap, 0.8)
            panels.append(
                Panel(f"The map: {state.method}", over, f"{state.method} over {self.alt(state)}", 300, below=True)
            )
        return panels

    def describe(self, result: DeletionResult, state: DeletionState) -> str:
        """What it says of the rest, and what it said of the whole."""
        classes, top = self.model(state).classes, int(result.probabilities.argmax())
        whole = f"a {state.method} map" if state.method in CONTROLS else state.method
        part = f"the brightest {state.fraction:.0%} of {whole}"
        part = f"Without {part}" if state.way == ERASE else f"With nothing but {part}"
        before, after = result.before[result.target], result.probabilities[result.target]
        return (
            f"{part} the network says {classes[top]}, {result.probabilities[top]:.0%}; "
            f"{classes[result.target]} went from {before:.0%} to {after:.0%}."
        )

    def code(self, state: DeletionState) -> str:
        """The map, what is left, the answer, and the curves."""
        name = MAPS[state.method]
        listed = "".join(f", {option}={value!r}" for option, value in OPTIONS.get(name, {}).items())
        method = catalog.METHODS[name].code if name in catalog.METHODS else f"evaluation.CONTROLS[{name!r}]"
        way = "erase_top" if state.way == ERASE else "keep_top"
        boxes = "" if state.pieces == PIXELS else f", boxes={state.pieces.split()[0]}"
        return self.script(
            state,
            f"heatmap = {method}(model, image{listed})",
            "heatmap = evaluation.heat(heatmap[None])[0].cpu()",
            f"left = occlusion.{way}(image, heatmap, {state.fraction}{boxes}, fill={state.fill!r})",
            "probabilities = model.predict(left)",
            f"deletion = evaluation.deletion(model, image, heatmap, fill={state.fill!r}).curve",
            f"insertion = evaluation.insertion(model, image, heatmap, fill={state.fill!r}).curve",
            "x = np.linspace(0, 1, len(deletion))",
            "curves = plots.curves({'deletion': (x, deletion.cpu()), 'insertion': (x, insertion.cpu())})",
            "plots.show([image, left, curves], ['the picture', 'shown', 'all the way'])",
        )

    def _compute_map(self, state: DeletionState) -> Tensor:
        """The map of an image, at least 0."""
        name = MAPS[state.method]
        function: Any = catalog.METHODS.get(name) or evaluation.CONTROLS[name]
        heatmap = function(self.model(state), self.image(state), **OPTIONS.get(name, {}))
        return evaluation.heat(heatmap[None])[0].float().cpu()

    def _compute_curves(self, state: DeletionState) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
        """Both curves of a map, the deletion curve of a random order, and the areas under the first two."""
        model, image, heatmap = self.model(state), self.image(state), self._map(_without(state, "fill"))
        options: dict[str, Any] = {"fill": state.fill, "steps": STEPS}
        gone = evaluation.deletion(model, image, heatmap, **options)
        back = evaluation.insertion(model, image, heatmap, **options)
        random = evaluation.deletion(model, image, evaluation.CONTROLS["empty"](model, image), **options)
        deletion, insertion, chance = (one.curve.cpu().numpy() for one in (gone, back, random))
        return deletion, insertion, chance, (float(gone.area), float(back.area))


def _without(state: DeletionState, *more: str) -> DeletionState:
    """The state with the default of what neither the map nor the curves depend on, and of these fields."""
    names = ("way", "fraction", "pieces", "show_map", *more)
    return replace(state, **{name: getattr(DeletionState, name) for name in names})
