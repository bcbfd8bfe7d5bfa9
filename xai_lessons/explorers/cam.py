"""Where did it look? Class activation maps, scored against the truth and beside controls that know nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
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
from xai_lessons.methods import cam

METHODS = {
    "CAM": "cam",
    "Grad-CAM": "grad_cam",
    "Grad-CAM++": "grad_cam_plus_plus",
    "LayerCAM": "layer_cam",
    "HiResCAM": "hires_cam",
    "Score-CAM": "score_cam",
}
PREDICTED, LAST = "what it predicts", "last"
CLASSES, LAYERS, EVERY, NOTHING = "other classes", "all layers", "all methods", "nothing"
CONTROLS = {"center blob": "center blob", "random map": "random"}
TILES, BESIDE = 5, 160


@dataclass(frozen=True)
class CamState(ImageState, NetworkState):
    """A picture, a network, a class, and how the map is made and shown.

    Attributes:
        target: the class, or what the network predicts.
        method: one of `METHODS`.
        layer: one of the network's layers, or the last of them.
        beside: what is shown in the row below: the same for other classes, layers or methods.
        shared: whether the maps of all classes share one scale of colors.
        threshold: share of the map's maximum that belongs to its box.
        boxes, opacity, as_seen: how it is drawn.
    """

    target: str = PREDICTED
    method: str = "Grad-CAM"
    layer: str = LAST
    beside: str = CLASSES
    shared: bool = False
    threshold: float = 0.2
    boxes: bool = True
    opacity: float = 0.7
    as_seen: bool = False


@dataclass(frozen=True)
class CamResult:
    """A map and its marks.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        shown: the same, drawn for the screen.
        heatmap: the map (S, S), in its own units.
        target: the class that it is of.
        probabilities: of all classes (K,).
        box: of the map (4,), x1, y1, x2, y2 in pixels of `image`.
        true_box: of the thing of that class; None if there is none, or nothing is known.
        marks: share of the map on each thing in the picture, name -> 0 to 1.
        controls: the same share of maps that know nothing, on the thing of the class.
        peak: on or beside what the map's highest place lies.
        beside: title -> map (S, S); None where the method has no answer.
    """

    image: np.ndarray
    shown: np.ndarray
    heatmap: np.ndarray
    target: int
    probabilities: np.ndarray
    box: np.ndarray
    true_box: np.ndarray | None = None
    marks: dict[str, float] = field(default_factory=dict)
    controls: dict[str, float] = field(default_factory=dict)
    peak: str = ""
    beside: dict[str, np.ndarray | None] = field(default_factory=dict)


class CamExplorer(ImageExplorer):
    """A class activation map of any class, layer, method and network, marked against the truth."""

    name, title = "cam", "Where did it look?"
    question = (
        "Ask for one class after the other: does the light move to the right thing? And for a class that is absent?"
    )
    State = CamState
    shown_by_code = ("heatmap", "box")
    pairs = ("cat + dog", "cat + cat", "bird + umbrella")

    def controls(self) -> tuple[Control, ...]:
        """The class and the method first, then how the map is shown, then network and picture."""
        place: dict[str, Any] = {"group": "Map"}
        shown: dict[str, Any] = {"group": "How it is shown"}
        made = ("heatmap", "beside")
        return (
            Choice(name="target", label="Class", choices=self._targets, changes=("target", "heatmap", "box"), **place),
            Choice(name="method", label="Method", choices=tuple(METHODS), changes=made, **place),
            Choice(name="layer", label="Layer", choices=self._layers, changes=made, when=_has_layers, **place),
            Choice(name="beside", label="Beside it", choices=_besides, changes=("beside",), **shown),
            Toggle(
                name="shared",
                label="One scale for all classes",
                changes=(PANELS,),
                when=lambda state: state.beside == CLASSES,
                help="Off: each map is stretched to its own maximum",
                **shown,
            ),
            Slider(name="opacity", label="Opacity", low=0.0, high=1.0, step=0.05, changes=(PANELS,), **shown),
            Toggle(name="boxes", label="Boxes", changes=(PANELS,), help="White: of the map. Blue: true", **shown),
            Slider(
                name="threshold",
                label="Box above",
                low=0.05,
                high=0.95,
                step=0.05,
                format=".0%",
                changes=("box", PANELS),
                when=lambda state: state.boxes,
                help="Share of the map's maximum from which on a pixel belongs to the box",
                **shown,
            ),
            Toggle(name="as_seen", label="Show what the network sees", changes=(PANELS,), **shown),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "heatmap"),
        )

    def compute(self, state: CamState, progress: Callable[[int, int], object]) -> Iterator[CamResult]:
        """The map first, then the picture drawn for the screen, then the row beside it, one after the other."""
        model, image = self.model(state), self.image(state)
        probabilities = model.predict(image).float().cpu().numpy()
        target = int(probabilities.argmax()) if state.target == PREDICTED else model.class_index(state.target)
        heatmap = _map(state.method, state.layer, model, image, target, progress)
        result = CamResult(
            image.numpy(),
            resized(image, self.screen).numpy(),
            heatmap.numpy(),
            target,
            probabilities,
            cam.bounding_box(heatmap, state.threshold).numpy(),
            **(self._marked(state, model, image, heatmap, target) if self.is_drawn(state) else {}),
        )
        yield result
        result = replace(result, shown=self.screen_image(state).numpy())
        yield result
        for title, method, layer, c in self._row(state, model, result):
            try:
                one = _map(method, layer, model, image, c, progress).numpy()
            except ValueError:  # no CAM without global average pooling: the row says so
                one = None
            result = replace(result, beside={**result.beside, title: one})
            yield result

    def panels(self, result: CamResult, state: CamState) -> list[Panel]:
        """The map over the picture, the map with its units, its marks, and the row beside it."""
        name = self.model(state).classes[result.target]
        what = f"{state.method} for {name}{self._at(state)}"
        scale = self._scale(result, state, result.heatmap)
        picture = plots.enlarge(result.image, self.screen) if state.as_seen else plots.pixels(result.shown)
        laid = plots.overlay(picture, result.heatmap, state.opacity, scale=scale)
        caption = ""
        if state.boxes:
            side = laid.shape[0] / result.image.shape[-1]
            if result.true_box is not None:
                laid = plots.box(laid, side * result.true_box, color="#56B4E9")
                caption = "Blue: the true box. "
            if result.box.any():
                laid = plots.box(laid, side * result.box)
                caption += "White: the map's box. "
        bar = plots.color_bar(scale, width=BESIDE)
        big = plots.enlarge(plots.heatmap(result.heatmap, scale=scale), bar.shape[1], smooth=True)
        unit = "In units of the logit." if state.method == "CAM" else "In its own units."
        return [
            Panel(what, laid, f"{what}, laid over {self.alt(state)}", caption=caption),
            Panel("The map itself", np.concatenate([big, bar]), f"the map of {what}", BESIDE, caption=unit),
            *self._row_panel(result, state),
            self._chart(result, state),
        ]

    def describe(self, result: CamResult, state: CamState) -> str:
        """On what the map lies, beside what two maps that know nothing reach."""
        name = self.model(state).classes[result.target]
        sure = f"the network: {result.probabilities[result.target]:.0%} {name}"
        text = f"{state.method} for {name}{self._at(state)} ({sure})"
        if not result.marks:
            return f"{text}. Nobody knows the truth of a photograph: does the light lie where you would look?"
        if not result.heatmap.any():
            return f"{text}: the map is empty, nothing here speaks for {name}."
        if name not in result.marks:
            return f"{text}: there is no {name} here, and still a map; its highest place is {result.peak}."
        controls = ", ".join(f"{control} {share:.0%}" for control, share in result.controls.items())
        iou = evaluation.intersection_over_union(result.box, result.true_box) if result.true_box is not None else 0
        return (
            f"{text}: its highest place is {result.peak}; {result.marks[name]:.0%} of it lies on the {name} "
            f"({controls}). Box: overlap {iou:.1f} with the true one."
        )

    def code(self, state: CamState) -> str:
        """The map, its box, and the share of it on the thing."""
        target = "" if state.target == PREDICTED else f", {state.target!r}"
        layer = f", layer={state.layer!r}" if state.layer != LAST and _has_layers(state) else ""
        lines = [
            self.setup_code(state, "cam", *(["evaluation"] if self._is_single(state) else [])),
            f"heatmap = cam.{METHODS[state.method]}(model, image{target}{layer})",
            f"box = cam.bounding_box(heatmap, {state.threshold})",
        ]
        if self._is_single(state):
            lines.append("print(evaluation.energy_inside(heatmap, scene.masks, name='object'))")
        return "\n".join(lines)

    # What the parts are made of.

    def _targets(self, state: CamState) -> tuple[str, ...]:
        return (PREDICTED, *dict.fromkeys(self.model(state).classes))

    def _layers(self, state: CamState) -> tuple[str, ...]:
        return (LAST, *self.model(state).layers)

    def _at(self, state: CamState) -> str:
        layer = self.model(state).layers[-1] if state.layer == LAST else state.layer
        return f" at {layer}" if _has_layers(state) else ""

    def _marked(
        self, state: CamState, model: models.Classifier, image: Tensor, heatmap: Tensor, target: int
    ) -> dict[str, Any]:
        """What the truth says of a map of a drawn picture."""
        known, name = evaluation.object_masks(self.scene(state, image.shape[-1])), model.classes[target]
        peak = _place(known, divmod(int(heatmap.argmax()), heatmap.shape[1]))
        marks = {thing: float(evaluation.energy_inside(heatmap, mask)) for thing, mask in known.items()}
        if name not in known or not known[name].any():
            return {"marks": marks, "peak": peak}
        blind = {title: evaluation.CONTROLS[key](model, image).cpu() for title, key in CONTROLS.items()}
        controls = {control: float(evaluation.energy_inside(m, known[name])) for control, m in blind.items()}
        box = evaluation.box_of(known[name]).numpy()
        return {"marks": marks, "peak": peak, "controls": controls, "true_box": box}

    def _row(self, state: CamState, model: models.Classifier, result: CamResult) -> list[tuple[str, str, str, int]]:
        """The maps beside: title, method, layer, class."""
        if state.beside == LAYERS:
            return [(layer, state.method, layer, result.target) for layer in model.layers]
        if state.beside == EVERY:
            return [(method, method, state.layer, result.target) for method in METHODS]
        if state.beside == NOTHING:
            return []
        order = [model.classes[i] for i in np.argsort(-result.probabilities, kind="stable")]
        there = [name for name in state.picture.split(" + ") if self.is_drawn(state) and name in model.classes]
        names = list(dict.fromkeys([model.classes[result.target], *there, *order]))[:TILES]
        numbers = {name: model.class_index(name) for name in names}
        return [(f"{n} {result.probabilities[c]:.0%}", state.method, state.layer, c) for n, c in numbers.items()]

    def _scale(self, result: CamResult, state: CamState, heatmap: np.ndarray) -> tuple[float, float]:
        """From nothing to the map's maximum, or to that of all classes' maps."""
        maps = [heatmap]
        if state.shared and state.beside == CLASSES:
            maps += [result.heatmap, *(m for m in result.beside.values() if m is not None)]
        return 0.0, max(float(m.max()) for m in maps) or 1.0

    def _row_panel(self, result: CamResult, state: CamState) -> list[Panel]:
        """The maps beside the chosen one, small, over the picture."""
        if not result.beside:
            return []
        tile = 150 if len(result.beside) <= TILES else 120
        small = plots.enlarge(result.image, tile, smooth=True)
        pictures = [
            np.full_like(small, 200)
            if m is None
            else plots.overlay(small, m, max(state.opacity, 0.5), scale=self._scale(result, state, m))
            for m in result.beside.values()
        ]
        titles = [title if m is not None else f"{title}: no answer" for title, m in result.beside.items()]
        note = "Each on its own scale: a map with next to nothing in it looks as strong as any."
        if state.shared and state.beside == CLASSES:
            note = "One scale for all: where it stays dark, there is nothing."
        sheet = plots.grid(pictures, titles, columns=6, size=tile, gap=8)
        alt = f"{state.beside}: {', '.join(titles)}"
        return [Panel(state.beside.capitalize(), sheet, alt, sheet.shape[1], sharp=True, caption=note)]

    def _chart(self, result: CamResult, state: CamState) -> Panel:
        """Bars: where the map lies, and the controls; of a photograph, what the network says."""
        classes = self.model(state).classes
        if not result.marks:
            first = np.argsort(-result.probabilities, kind="stable")[:5]
            names, values = [classes[i] for i in first], result.probabilities[first].tolist()
            marked, title = [i for i, c in enumerate(first) if c == result.target], "What does the network say?"
            return _bars(title, names, values, marked, "Orange: the class of the map.")
        name = classes[result.target]
        bars = {f"on the {thing}": share for thing, share in result.marks.items()}
        marked = [i for i, thing in enumerate(result.marks) if thing == name]
        bars |= {f"{control} on the {name}": share for control, share in result.controls.items()}
        caption = "Orange: on the thing of that class. A map is worth something if it beats the two that know nothing."
        return _bars("How much of the map lies where?", list(bars), list(bars.values()), marked, caption)


def _map(
    method: str, layer: str, model: models.Classifier, image: Tensor, target: int, progress: Callable[..., object]
) -> Tensor:
    """The map (S, S) of one class."""
    function = getattr(cam, METHODS[method])
    chosen = {} if method == "CAM" else {"layer": None if layer == LAST else layer}
    return function(model, image, target, progress=progress, **chosen).float().cpu()


def _place(known: dict[str, Tensor], at: tuple[int, int]) -> str:
    """On what a pixel lies, or beside what: at most a twelfth of the picture away, one place of a 12 x 12 map."""
    away = {}
    for thing, mask in known.items():
        if mask.any():
            away[thing] = float((mask.nonzero() - torch.tensor(at)).float().norm(dim=1).min())
    nearest = min(away, key=away.__getitem__, default="")
    if not nearest or away[nearest] > len(known[nearest]) / 12:
        return "on the background"
    return f"{'beside' if away[nearest] else 'on'} the {nearest}"


def _has_layers(state: CamState) -> bool:
    return state.method != "CAM"


def _besides(state: CamState) -> tuple[str, ...]:
    """CAM knows the last layer only."""
    return (CLASSES, *((LAYERS,) if _has_layers(state) else ()), EVERY, NOTHING)


def _bars(title: str, names: list[str], values: list[float], marked: list[int], caption: str) -> Panel:
    chart = plots.bars(names, values, marked=marked, width=560, row=30)
    alt = f"{title} " + ", ".join(f"{name} {value:.0%}" for name, value in zip(names, values, strict=True))
    return Panel(title, chart, alt, 560, sharp=True, caption=caption)
