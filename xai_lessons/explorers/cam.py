"""Where did it look? Class activation maps, scored against the truth and beside baselines that ignore the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.core import activations
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState, Touch
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel
from xai_lessons.methods import cam, catalog
from xai_lessons.models import anatomy

METHODS = {method.label: method for method in catalog.METHODS.values() if method.family == "cam"}
LAST = "last"
CLASSES, LAYERS, EVERY, NOTHING = "other classes", "all layers", "all methods", "nothing"
CONTROLS = {"center blob": "center blob", "random map": "random"}
ORANGE = "#E69F00"
TILES, SMALL, TILE = 4, 220, 249


@dataclass(frozen=True)
class CamState(ImageState, TargetState):
    """An image, a network, a class, and how the map is made and shown."""

    method: str = "Grad-CAM"  # a label of `METHODS`
    layer: str = LAST  # one of the network's layers, or the last of them
    compare: str = CLASSES  # what is shown in the row below: the same for other classes, layers or methods
    shared: bool = False  # whether the maps of all classes share one scale of colors
    threshold: float = 0.2  # fraction of the map's maximum from which on a pixel belongs to its box
    # boxes, opacity, as_seen: how it is drawn
    boxes: bool = True
    opacity: float = 0.7
    as_seen: bool = False
    place: tuple[int, int] | None = None  # row and column of the layer's map, whose receptive field is shown


@dataclass(frozen=True)
class CamResult(ImageResult):
    """A map and its scores."""

    heatmap: np.ndarray  # the map (S, S), in its own units
    target: int  # the number of the class that it explains
    probabilities: np.ndarray  # of all classes (K,)
    box: np.ndarray  # of the map (4,), x1, y1, x2, y2 in pixels of `image`
    true_box: np.ndarray | None = None  # of the object of that class; None if there is none, or nothing is known
    # fraction of the map on each object in the image, name -> 0 to 1
    inside: dict[str, float] = field(default_factory=dict)
    # the same fraction, on the object of the class, of maps that ignore the network
    controls: dict[str, float] = field(default_factory=dict)
    peak: str = ""  # on or next to which object the map's peak lies
    # title -> map (S, S), to compare; None where the method has no answer
    row: dict[str, np.ndarray | None] = field(default_factory=dict)
    # sum_k w_k A_k at each place of the layer (h, w), w the mean gradient; exact: whether they add up to the logit
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    exact: bool = False


class CamExplorer(ImageExplorer):
    """A class activation map of any class, layer, method and network, scored against the truth."""

    name, title = "cam", "Where did it look?"
    question = "Choose one class after the other: does the heat move?"
    State = CamState
    stage = ("target_class", "method", "layer", "seed")
    shown_by_code = ("heatmap", "box")
    only_drawn = ("place",)
    pairs = ("cat + dog", "cat + cat", "bird + umbrella")

    def controls(self) -> tuple[Control, ...]:
        """The class and the method first, then how the map is shown, then network and image."""
        return (
            *group(
                "Map",
                self.target_control("target", "heatmap", "box"),
                Choice("method", "Method", choices=tuple(METHODS)),
                Choice("layer", "Layer", choices=lambda s: (LAST, *self.model(s).layers), when=_has_layers),
                changes=("heatmap", "row"),
            ),
            *group(
                "How it is shown",
                Choice("compare", "Compare with", choices=_rows, changes=("row",)),
                Toggle(
                    "shared",
                    "One scale for all classes",
                    when=lambda state: state.compare == CLASSES,
                    help="Off: each map is stretched to its own maximum",
                ),
                Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.05),
                Toggle("boxes", "Boxes", help="White: of the map. Blue: true"),
                Slider(
                    "threshold",
                    "Box above",
                    low=0.05,
                    high=0.95,
                    step=0.05,
                    format=".0%",
                    changes=("box", PANELS),
                    when=lambda state: state.boxes,
                    help="A pixel belongs to the box from this fraction of the map's maximum on",
                ),
                Toggle("as_seen", "Show what the network sees"),
                changes=(PANELS,),
            ),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "heatmap"),
        )

    def compute(self, state: CamState, progress: Reporter) -> Iterator[CamResult]:
        """The map first, then the image drawn for the screen, then the row to compare, one map after the other."""
        model, image = self.model(state), self.image(state)
        probabilities = model.predict(image).float().cpu().numpy()
        target = self.target_index(state, probabilities)

        def heatmap_of(method: str, layer: str, number: int) -> Tensor:
            options = {"layer": None if layer == LAST else layer} if method != "CAM" else {}
            return METHODS[method](model, image, number, progress=progress, **options).float().cpu()

        try:
            heatmap = heatmap_of(state.method, state.layer, target)
        except ValueError as error:
            if state.method != "CAM":
                raise
            raise ValueError(
                f"{state.network} has no CAM: between its last maps and its classes there is more than one average and "
                "one weighted sum. Choose Grad-CAM, which every network has, or another network."
            ) from error
        result = CamResult(
            *self.both_sizes(image),
            heatmap.numpy(),
            target,
            probabilities,
            cam.bounding_box(heatmap, state.threshold).numpy(),
            **(self._scores(state, model, image, heatmap, target) if self.is_drawn(state) else {}),
        )
        result = replace(result, **_places(model, image, self._layer(state), target))
        yield result
        result = replace(result, shown=self.screen_image(state).numpy())
        yield result
        for title, method, layer, number in self._row(state, model, result):
            try:
                one = heatmap_of(method, layer, number).numpy()
            except ValueError:  # no CAM without global average pooling: the row says so
                one = None
            result = replace(result, row={**result.row, title: one})
            yield result

    def panels(self, result: CamResult, state: CamState) -> list[Panel]:
        """The map over the image, the map with its units, its scores, and the row to compare."""
        title = self._title(result, state)
        scale = _scale(result, state, result.heatmap)
        image = plots.enlarge(result.image, self.screen) if state.as_seen else plots.pixels(result.shown)
        laid = plots.overlay(image, result.heatmap, state.opacity, scale=scale)
        caption = ""
        if state.boxes:
            side = laid.shape[0] / result.image.shape[-1]
            if result.true_box is not None:
                laid = plots.box(laid, side * result.true_box, color="#56B4E9")
                caption = "Blue: the true box. "
            if result.box.any():
                laid = plots.box(laid, side * result.box)
                caption += "White: the map's box. "
        laid, seen = self._seen(laid, result, state)
        alone = plots.enlarge(plots.heatmap(result.heatmap, scale=scale), self.screen, smooth=True)
        unit = "In units of the logit." if state.method == "CAM" else "In its own units."
        return [
            Panel(title, laid, f"{title}, laid over {self.alt(state)}", 330, caption=caption + seen, touch="map"),
            Panel("The map itself", alone, f"the map of {title}", SMALL, caption=unit, scale=(*scale, "heat")),
            self._bars(result, state),
            *_row_panels(result, state),
        ]

    def touch(self, at: Touch, result: CamResult, state: CamState) -> CamState:
        """The place of the layer's map under the pointer."""
        return replace(state, place=at.cell(*result.places.shape))

    def describe(self, result: CamResult, state: CamState) -> str:
        """Where the map lies, beside what two maps that ignore the network reach."""
        name = self.model(state).classes[result.target]
        text = f"{self._title(result, state)} (the network: {result.probabilities[result.target]:.0%} {name})"
        if not result.inside:
            return f"{text}. Nobody knows the truth of a photograph: does the heat lie where you would look?"
        if not result.heatmap.any():
            return f"{text}: the map is empty, nothing here speaks for {name}."
        if result.true_box is None:
            return f"{text}: there is no {name} here, and still a map; its peak is {result.peak}."
        controls = ", ".join(f"{control} {fraction:.0%}" for control, fraction in result.controls.items())
        overlap = evaluation.intersection_over_union(result.box, result.true_box)
        return (
            f"{text}: its peak is {result.peak}; {result.inside[name]:.0%} of it lies on the {name} "
            f"({controls}). Box: overlap {overlap:.1f} with the true one."
        )

    def code(self, state: CamState) -> str:
        """The map, its box, and the fraction of it on the object."""
        target = f", {state.target_class!r}" if self.target(state) else ""
        layer = f", layer={state.layer!r}" if state.layer != LAST and _has_layers(state) else ""
        number = f", torch.tensor([{self.model(state).class_index(state.target_class)}])" if target else ""
        inside = (
            "for name, mask in evaluation.object_masks(scene).items():",
            "    print(f'{float(evaluation.energy_inside(heatmap, mask)):.0%} of the map lies on the {name}')",
        )
        name = self._layer(state)
        place = (
            f"field = anatomy.receptive_field(model, {name!r}, {state.place})  # what this place sees",
            f"A, slope, _ = activations.activation_and_gradient(model, {name!r}, image[None].to(model.device){number})",
            "places = torch.einsum('nk,nkij->nij', slope.mean(dim=(2, 3)), A)[0]  # sum of w A",
            f"print(f'place {state.place}: {{float(places[{state.place}]):+.2f}} of {{float(places.sum()):+.2f}}')",
            "plots.show([plots.box(image, field, width=1)])",
        )
        return self.script(
            state,
            f"heatmap = {METHODS[state.method].code}(model, image{target}{layer})",
            f"box = cam.bounding_box(heatmap, {state.threshold})",
            *(inside if self.is_drawn(state) else ()),
            f"over = plots.overlay(image, heatmap, {state.opacity})",
            "plots.show([image, plots.box(over, box, width=1), plots.heatmap(heatmap)])",
            *(place if state.place else ()),
            also=("from xai_lessons.core import activations", "from xai_lessons.models import anatomy")
            if state.place
            else (),
        )

    # What the parts are made of.

    def _title(self, result: CamResult, state: CamState) -> str:
        at = f" at {self._layer(state)}" if _has_layers(state) else ""
        return f"{state.method} for {self.model(state).classes[result.target]}{at}"

    def _layer(self, state: CamState) -> str:
        """The layer whose maps are added up."""
        return self.model(state).layers[-1] if state.layer == LAST or not _has_layers(state) else state.layer

    def _seen(self, laid: np.ndarray, result: CamResult, state: CamState) -> tuple[np.ndarray, str]:
        """The image with the touched place and its receptive field, and what the place contributes, in words."""
        if state.place is None:
            return laid, "Point at a place: what does it see, and what does it add?"
        (rows, columns), name = result.places.shape, self.model(state).classes[result.target]
        row, column = min(state.place[0], rows - 1), min(state.place[1], columns - 1)  # another layer's map is smaller
        side = laid.shape[0] / result.image.shape[-1]
        field = side * np.array(_receptive_field(self.model(state), self._layer(state), (row, column)))
        own = laid.shape[0] * np.array([column / columns, row / rows, (column + 1) / columns, (row + 1) / rows])
        laid = plots.box(plots.box(laid, field.tolist(), ORANGE), own.tolist(), ORANGE, 2)
        text, all_of_them = f"Orange: the place {row, column} and all that it sees", f"{rows} x {columns} places"
        value, total = float(result.places[row, column]), float(result.places.sum())
        if state.method not in ("CAM", "Grad-CAM"):
            return laid, f"{text}."
        if result.exact:
            return laid, f"{text}. It adds {value:+.2f} to the logit of {name}; all {all_of_them} add {total:+.2f}."
        return (
            laid,
            f"{text}. Its sum of w A is {value:+.2f}; that of all {all_of_them} is {total:+.2f}, not the logit.",
        )

    def _scores(
        self, state: CamState, model: models.Classifier, image: Tensor, heatmap: Tensor, target: int
    ) -> dict[str, Any]:
        """The fields of the result for which the truth of a drawn image is needed."""
        masks, name = evaluation.object_masks(self.scene(state, image.shape[-1])), model.classes[target]
        scores: dict[str, Any] = {
            "inside": {item: float(evaluation.energy_inside(heatmap, mask)) for item, mask in masks.items()},
            "peak": _place(masks, divmod(int(heatmap.argmax()), heatmap.shape[1])),
        }
        if name in masks and masks[name].any():
            maps = {title: evaluation.CONTROLS[key](model, image).cpu() for title, key in CONTROLS.items()}
            scores["controls"] = {t: float(evaluation.energy_inside(m, masks[name])) for t, m in maps.items()}
            scores["true_box"] = evaluation.box_of(masks[name]).numpy()
        return scores

    def _row(self, state: CamState, model: models.Classifier, result: CamResult) -> list[tuple[str, str, str, int]]:
        """The maps to compare: title, method, layer, class."""
        if state.compare == LAYERS:
            return [(layer, state.method, layer, result.target) for layer in model.layers]
        if state.compare == EVERY:
            return [(method, method, state.layer, result.target) for method in METHODS]
        if state.compare == NOTHING:
            return []
        order = [model.classes[i] for i in np.argsort(-result.probabilities, kind="stable")]
        present = [name for name in state.picture.split(" + ") if self.is_drawn(state) and name in model.classes]
        names = list(dict.fromkeys([model.classes[result.target], *present, *order]))[:TILES]
        numbers = {name: model.class_index(name) for name in names}
        return [(f"{n} {result.probabilities[c]:.0%}", state.method, state.layer, c) for n, c in numbers.items()]

    def _bars(self, result: CamResult, state: CamState) -> Panel:
        """Bars: where the map lies, and the controls; of a photograph, what the network says."""
        name = self.model(state).classes[result.target]
        size: dict[str, Any] = {"width": 470, "row": 46}
        if not result.inside:
            title, caption = "What does the network say?", "Orange: the class of the map."
            return self.probability_panel(
                state, result.probabilities, title=title, marked=name, caption=caption, **size
            )
        bars = {f"on the {item}": fraction for item, fraction in result.inside.items()}
        bars |= {f"{control} on the {name}": fraction for control, fraction in result.controls.items()}
        caption = f"There is no {name} here."
        if name in result.inside:
            caption = "Orange: on the object of that class. A map must beat those that ignore the network."
        marked = [i for i, item in enumerate(result.inside) if item == name]
        title = "How much of the map lies where?"
        return bar_panel(title, list(bars), list(bars.values()), marked=marked, caption=caption, **size)


@lru_cache(maxsize=200)
def _receptive_field(model: models.Classifier, layer: str, place: tuple[int, int]) -> tuple[int, int, int, int]:
    return anatomy.receptive_field(model, layer, place)


def _places(model: models.Classifier, image: Tensor, layer: str, target: int) -> dict[str, Any]:
    """The fields of the result that say what each place of the layer's map adds, before rectification."""
    x = image[None].to(model.device, model.dtype)
    A, slope, _ = activations.activation_and_gradient(model, layer, x, torch.tensor([target], device=model.device))
    weights = slope.mean(dim=(2, 3), keepdim=True)
    # where the slope is the same at all places, the head averages: then the sums add up to the logit, but for the bias
    exact = bool(torch.allclose(slope, weights.expand_as(slope), rtol=1e-3, atol=1e-6))
    return {"places": (weights * A).sum(dim=1)[0].float().cpu().numpy(), "exact": exact}


def _scale(result: CamResult, state: CamState, heatmap: np.ndarray) -> tuple[float, float]:
    """From nothing to the map's maximum, or to that of all classes' maps."""
    maps = [heatmap]
    if state.shared and state.compare == CLASSES:
        maps += [result.heatmap, *(m for m in result.row.values() if m is not None)]
    return 0.0, max(float(m.max()) for m in maps) or 1.0


def _row_panels(result: CamResult, state: CamState) -> list[Panel]:
    """The maps to compare, over the image."""
    image = plots.pixels(result.shown)
    note = "On its own scale: even an almost empty map looks strong."
    if state.shared and state.compare == CLASSES:
        note = "One scale for all: where the picture is unchanged, there is next to nothing."
    panels = []
    for title, one in result.row.items():
        alt, shown = f"{state.compare}: {title}", np.full_like(image, 200)
        if one is not None:
            shown = plots.overlay(image, one, max(state.opacity, 0.5), scale=_scale(result, state, one))
        words = title if one is not None else f"{title}: no answer"
        panels.append(Panel(words, shown, alt, TILE, caption=note, below=True))
    return panels


def _place(masks: dict[str, Tensor], pixel: tuple[int, int]) -> str:
    """On what a pixel lies, or next to what: at most a twelfth of the image away, one cell of a 12 x 12 map."""
    distances = {
        name: float((mask.nonzero() - torch.tensor(pixel)).float().norm(dim=1).min())
        for name, mask in masks.items()
        if mask.any()
    }
    nearest = min(distances, key=distances.__getitem__, default="")
    if not nearest or distances[nearest] > len(masks[nearest]) / 12:
        return "on the background"
    return f"{'next to' if distances[nearest] else 'on'} the {nearest}"


def _has_layers(state: CamState) -> bool:
    """CAM is defined for the last layer only."""
    return state.method != "CAM"


def _rows(state: CamState) -> tuple[str, ...]:
    return (CLASSES, *((LAYERS,) if _has_layers(state) else ()), EVERY, NOTHING)
