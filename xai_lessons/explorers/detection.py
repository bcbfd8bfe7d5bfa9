"""Why this box? The map of its class score and of each of its edges, and what happens without a part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers.candidates import NOTHING, PairExplorer, PairState
from xai_lessons.explorers.kit import ImageResult, Reporter, Touch
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel
from xai_lessons.methods import catalog, detection

EXPLAINED = ("score", "left", "top", "right", "bottom")
GRADIENT, INTEGRATED, GRAD_CAM, OCCLUSION, D_RISE = (
    "Gradient",
    "Integrated gradients",
    "Grad-CAM",
    "Occlusion",
    "D-RISE",
)
# label -> the function of the catalog and its options
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    GRADIENT: ("gradient", {}),
    INTEGRATED: ("integrated_gradients", {"steps": 16}),
    GRAD_CAM: ("grad_cam", {}),
    OCCLUSION: ("occlusion", {"patch": 16, "stride": 8, "fill": "mean"}),
    D_RISE: ("d_rise", {"cells": 8, "fill": "mean"}),
}
SIGNED = (INTEGRATED, OCCLUSION)
SUREST = "the surest candidate"


@dataclass(frozen=True)
class DetectionState(PairState):
    """A detector, an image, one of its boxes, and what of it is explained how."""

    box: str = ""  # the class of the box, with its number if there are several: "cat", "cat 2"
    explain: str = "score"  # one of `EXPLAINED`
    method: str = GRADIENT  # one of `METHODS`
    layer: str = "backbone.stage3"  # of Grad-CAM
    samples: int = 400  # masks of D-RISE
    without: str = NOTHING  # the part or the object that is drawn no more
    opacity: float = 0.9


@dataclass(frozen=True)
class DetectionResult(ImageResult):
    """A map of one score of a box, and the box without a part."""

    changed: np.ndarray  # the image without the part, drawn for the screen
    heatmap: np.ndarray  # the map of the unchanged image (S, S), in units of its method
    boxes: np.ndarray  # all boxes that are found (B, 4)
    labels: np.ndarray  # the numbers of their classes (B,)
    before: np.ndarray  # logit, left, top, right, bottom and similarity of the box (6,)
    after: np.ndarray  # the same of what it has become without the part (6,)
    target: int  # the number of its class
    inside: dict[str, float]  # fraction of the map on each object and elsewhere; empty for a photograph
    areas: dict[str, float]  # fraction of the image that each covers
    edges: dict[str, float]  # fraction of an edge filter's map on each


class DetectionExplorer(PairExplorer):
    """One box explained: its class score or one of its edges, by a method, and without a part of the object."""

    name, title = "detection", "Why this box?"
    question = "Which pixels move an edge of the box?"
    State = DetectionState
    stage = ("box", "explain", "method", "without")
    shown_by_code = ("heatmap", "after")

    def controls(self) -> tuple[Control, ...]:
        """The box and what of it is explained, the intervention, how it is shown; then network and image."""
        words = {"score": "its class score", **{edge: f"its {edge} edge" for edge in EXPLAINED[1:]}}
        return (
            *self.network_controls("boxes", "heatmap"),
            *self.image_controls("image", "heatmap"),
            *group(
                "Explain",
                Choice("box", "Box", choices=self._boxes, changes=("heatmap", "before")),
                Choice(
                    "explain",
                    "Explain",
                    choices=EXPLAINED,
                    names=words.__getitem__,
                    when=lambda state: state.method != D_RISE,
                    help="D-RISE explains class and box together",
                ),
                Choice("method", "Method", choices=tuple(METHODS)),
                Choice("layer", "Layer", choices=self._layers, when=lambda state: state.method == GRAD_CAM),
                Slider("samples", "Masks", values=(100, 200, 400, 800, 1600), when=lambda s: s.method == D_RISE),
                changes=("heatmap",),
            ),
            *group(
                "Without",
                Choice("without", "Remove", choices=self._removable, changes=("after",), when=self.is_drawn),
            ),
            *group(
                "How it is shown",
                Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.05, changes=(PANELS,)),
            ),
        )

    def compute(self, state: DetectionState, progress: Reporter) -> Iterator[DetectionResult]:
        """The box with and without the part, its map, then both images drawn for the screen."""
        model, image, target = self.detector(state), self.image(state), self._target(state)
        x = image.to(model.device, model.dtype)
        without = () if state.without == NOTHING else (state.without,)
        changed = self.image(state, without) if without else image
        box = detection.find_box(model, x, target)
        place = detection.box_view(model, x, target)
        match = detection.box_view(model, x, target, follow="match")
        with torch.no_grad():
            before, after = (match(one[None].to(x))[0].float().cpu().numpy() for one in (x, changed))
        masks = self._masks(state, image.shape[-1])
        filtered = evaluation.CONTROLS["edges"](None, image)
        found = model.detect(x)

        def result(made: Tensor) -> DetectionResult:
            heatmap = self._heatmap(state, made.reshape(-1, *image.shape[-2:]))
            return DetectionResult(
                *self.both_sizes(image),
                self.both_sizes(changed)[1],
                heatmap.numpy(),
                found.boxes.float().cpu().numpy(),
                found.labels.cpu().numpy(),
                before,
                after,
                box.label,
                _fractions(_amount(state, heatmap), masks),
                {name: float(mask.float().mean()) for name, mask in masks.items()},
                _fractions(filtered, masks),
            )

        name, options = METHODS[state.method]
        method, given = catalog.get(name), {**options, "progress": progress}
        if state.method == D_RISE:
            given |= {"samples": state.samples, "progress": progress.showing(result)}
            made = method(model, x, target, **given)
        else:
            given |= {"layer": state.layer} if state.method == GRAD_CAM else {}
            made = method(place, x, state.explain, **given)
        done = result(made.detach().float().cpu())
        yield done
        screens = [self.screen_image(state, parts).numpy() for parts in ((), without)]
        yield replace(done, shown=screens[0], changed=screens[1])

    def panels(self, result: DetectionResult, state: DetectionState) -> list[Panel]:
        """The boxes, the map over the image, and where the map lies."""
        image, alt = plots.pixels(result.changed), self.alt(state)
        gone = "" if state.without == NOTHING else f" without the {state.without}"
        side = image.shape[0] / result.image.shape[-1]

        def drawn(image: np.ndarray, corners: np.ndarray, color: str, width: int = 3) -> np.ndarray:
            return plots.box(image, (side * corners).clip(2, image.shape[0] - 3), color, width)

        for corners in () if gone else result.boxes:
            image = drawn(image, corners, "#56B4E9", 2)
        image = drawn(image, result.before[1:5], "#FFFFFF")
        caption = "White: the box that is explained. Click on another box"
        caption += ", or remove a part." if self.is_drawn(state) else "."
        if gone:
            image = drawn(image, result.after[1:5], "#E69F00")
            caption = f"White: the box before. Orange: the box{gone}."
        colors = "signed" if state.method in SIGNED else "heat"
        if colors == "signed":
            scale = plots.limits(result.heatmap, signed=True, clip=0.002)
        else:
            low = float(result.heatmap.min()) if state.method == D_RISE else 0.0
            scale = low, max(plots.limits(result.heatmap, clip=0.002)[1], low + 1e-9)
        laid = drawn(
            plots.overlay(result.shown, result.heatmap, state.opacity, colors, scale), result.before[1:5], "#FFFFFF", 2
        )
        title = f"{state.method}: {self._explained(state)}"
        return [
            Panel(f"The boxes{gone}", image, f"boxes on {alt}{gone}", 304, caption=caption, touch="boxes"),
            Panel(title, laid, f"{title}, over {alt}", 304, caption=self._meaning(state), scale=(*scale, colors)),
            self._bars(result, state),
        ]

    def touch(self, at: Touch, result: DetectionResult, state: DetectionState) -> DetectionState:
        """A click chooses the box under the pointer; of several the smallest."""
        x, y = at.x * result.image.shape[-1], at.y * result.image.shape[-1]
        under = [k for k, box in enumerate(result.boxes) if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
        if at.kind != "click" or not under:
            return state
        smallest = min(under, key=lambda k: float(np.prod(result.boxes[k, 2:] - result.boxes[k, :2])))
        return replace(state, box=self._boxes(state)[smallest])

    def describe(self, result: DetectionResult, state: DetectionState) -> str:
        """Where the map lies, and what happens without the part."""
        name = self.detector(state).classes[result.target]
        text = f"{state.method} of {self._explained(state)} of the {name}'s box"
        text = text[0].upper() + text[1:]
        if name in result.inside:
            text += (
                f": {result.inside[name]:.0%} of the map lies on the {name}, which covers "
                f"{result.areas[name]:.0%} of the picture"
            )
        elif not result.inside:
            text += ": a photograph has no known objects to compare it with"
        if state.without != NOTHING:
            moved = result.after - result.before
            edges = ", ".join(f"{edge} {_signed(moved[k], 1)}" for k, edge in enumerate(EXPLAINED[1:], start=1))
            text += f". Without the {state.without} the edges move: {edges} px; its score: {_signed(moved[0], 2)}"
        return f"{text}."

    def code(self, state: DetectionState) -> str:
        """The map, and the box without the part."""
        target = self._target(state)
        name, options = METHODS[state.method]
        call = catalog.get(name).code
        if state.method == D_RISE:
            options = options | {"samples": state.samples}
        elif state.method == GRAD_CAM:
            options = options | {"layer": state.layer}
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        subject = f"model, image, {target}" if state.method == D_RISE else f"view, image, {state.explain!r}"
        made = f"{call}({subject}{given}).cpu()"
        if state.method == GRADIENT:
            made = f"evaluation.heat({made}[None])[0]"
        elif state.method == INTEGRATED:
            made = f"{made}.sum(dim=0)"
        colors = "signed" if state.method in SIGNED else "heat"
        changed = "image" if state.without == NOTHING else f"scene.without({state.without!r}).image"
        return self.script(
            state,
            *([f"view = detection.box_view(model, image, {target})"] if state.method != D_RISE else []),
            f"heatmap = {made}",
            f"match = detection.box_view(model, image, {target}, follow='match')  # what the box becomes",
            f"changed = {changed}",
            "after = match(changed[None].to(model.device))[0].detach().cpu()",
            f"over = plots.overlay(image, heatmap, {state.opacity}, {colors!r})",
            "plots.show([plots.box(changed, after[1:5].tolist(), width=1), over])",
        )

    # What the parts are made of.

    def _boxes(self, state: Any) -> tuple[str, ...]:
        """The boxes that are found, by class; a second one of a class has a number."""
        found, names = self.found(state), []
        classes = [self.detector(state).classes[int(label)] for label in found.labels[found.kept()]]
        for k, name in enumerate(classes):
            before = classes[:k].count(name)
            names.append(f"{name} {before + 1}" if before else name)
        return tuple(names) or (SUREST,)

    def _target(self, state: DetectionState) -> int | None:
        """The number of the box; None for the surest candidate, where no box is found."""
        return None if state.box == SUREST else self._boxes(state).index(state.box)

    def _layers(self, state: Any) -> tuple[str, ...]:
        return tuple(self.detector(state).layers)

    def _removable(self, state: Any) -> tuple[str, ...]:
        """What can be removed: the other object, the parts of the box's object that the other has not, the object."""
        if not self.is_drawn(state):
            return (NOTHING,)
        found, objects = self.found(state), self.drawn_names(state)
        target = self._target(state)
        label = found.labels[found.kept()[target]] if target is not None else found.labels[found.scores.argmax()]
        own = self.detector(state).classes[int(label)]
        masks = self.scene(state, self.detector(state).input_size).masks
        others = [name for name in objects if name != own]
        taken = {part for name in others for part in menagerie.PARTS[name]}
        parts = [
            part for part in menagerie.PARTS.get(own, ()) if own in objects and part in masks and part not in taken
        ]
        factors = [name for name in ("tree", "tag") if name in masks]
        return (NOTHING, *parts, *objects, *factors)

    def _masks(self, state: DetectionState, size: int) -> dict[str, Tensor]:
        """Object -> mask, and what is elsewhere; nothing for a photograph."""
        if not self.is_drawn(state):
            return {}
        masks = evaluation.object_masks(self.scene(state, size))
        return {**masks, "elsewhere": ~torch.stack([*masks.values()]).any(dim=0)}

    def _heatmap(self, state: DetectionState, made: Tensor) -> Tensor:
        """A map (H, W) of what a method returns, (1, H, W) or (3, H, W)."""
        if len(made) == 1:
            return made[0]
        return made.sum(dim=0) if state.method in SIGNED else evaluation.heat(made[None])[0]

    def _explained(self, state: DetectionState) -> str:
        if state.method == D_RISE:
            return "class and edges"
        return "the class score" if state.explain == "score" else f"the {state.explain} edge"

    def _meaning(self, state: DetectionState) -> str:
        """What the colors mean."""
        unit = "the score" if state.explain == "score" else "the edge, in px"
        moved = f"raises {unit}" if state.explain == "score" else "moves the edge right or down, in px"
        return {
            GRADIENT: f"Bright: a small change of the pixel changes {unit.split(',')[0]} most.",
            INTEGRATED: f"Red: {moved}, compared with a black picture. Blue: the reverse.",
            GRAD_CAM: f"Bright: evidence at {state.layer}, in its own units.",
            OCCLUSION: f"Red: what stands here {moved}. Blue: the reverse.",
            D_RISE: "Bright: the box is found again better when this is seen. Its zero means nothing.",
        }[state.method]

    def _bars(self, result: DetectionResult, state: DetectionState) -> Panel:
        """Bars: where the map lies, with the areas; for a photograph, how sure the detector is of its boxes."""
        size: dict[str, Any] = {"width": 350, "row": 46}
        classes = self.detector(state).classes
        if not result.inside:
            found = self.found(state)
            kept = found.kept()[:5]
            names = [classes[int(label)] for label in found.labels[kept]]
            scores = found.scores[kept].tolist()
            return bar_panel("How sure it is of its boxes", names or ["no box"], scores or [0.0], **size)
        name = classes[result.target]
        names = list(result.inside)
        caption = (
            f"Line: its area. An edge filter, which ignores the network: {result.edges.get(name, 0):.0%} on the {name}."
        )
        if name not in result.inside:
            caption = f"Line: its area. There is no {name} here."
        return bar_panel(
            "How much of the map lies where?",
            [n if n == "elsewhere" else f"on the {n}" for n in names],
            list(result.inside.values()),
            before=list(result.areas.values()),
            marked=[k for k, n in enumerate(names) if n == name],
            caption=caption,
            **size,
        )


def _signed(value: float, digits: int) -> str:
    """A number with its sign; zero has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def _amount(state: DetectionState, heatmap: Tensor) -> Tensor:
    """How much of the map lies at each pixel: its size, its positive part, or what lies above D-RISE's median."""
    if state.method == D_RISE:
        heatmap = heatmap - heatmap.median()
    return heatmap.abs() if state.method in SIGNED else heatmap.clamp(min=0)


def _fractions(heat: Tensor, masks: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(evaluation.energy_inside(heat, mask)) for name, mask in masks.items()}
