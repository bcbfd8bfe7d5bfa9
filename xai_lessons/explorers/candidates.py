"""Where do the boxes come from? All candidates of a detector, the threshold, and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers.kit import Cache, ImageExplorer, ImageResult, ImageState, Reporter
from xai_lessons.explorers.kit.controls import Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel
from xai_lessons.models import store

DETECTOR, NOTHING = "menagerie-detector", "nothing"


@dataclass(frozen=True)
class PairState(ImageState):
    """A detector, and an image of one or two objects."""

    network: str = DETECTOR
    neighbor: str = "umbrella"  # the class of the second object, or "nothing"
    background: str = "any"


class PairExplorer(ImageExplorer):
    """An explorer of an image of two objects and a detector; the options are those of `ImageExplorer`."""

    State = PairState
    offers_saved: ClassVar[bool] = False
    built_in: ClassVar[tuple[str, ...]] = tuple(n for n in store.built_in() if n.startswith(DETECTOR))
    takes: ClassVar[Any] = models.Detector

    def __init__(self, picture: Any = None, network: Any = None, **options: Any) -> None:
        if isinstance(picture, str) and picture.count(" + ") == 1:
            picture, options["neighbor"] = picture.split(" + ")
        elif isinstance(picture, str) and picture in menagerie.CLASSES:
            options.setdefault("neighbor", NOTHING)
        self._found = Cache(8)  # the detections of the last images
        super().__init__(picture, network, **options)

    def image_controls(self, *changes: str) -> tuple[Control, ...]:
        """The controls of the image, with the class of the second object after that of the first."""

        def others_of(state: Any) -> tuple[str, ...]:
            return (NOTHING, *(name for name in menagerie.CLASSES if name != state.picture))

        neighbor = Choice("neighbor", "Neighbor", choices=others_of, changes=changes, when=self.is_drawn)
        first, *others = super().image_controls(*changes)
        return (first, *group("Picture", neighbor), *others)

    def drawn_names(self, state: Any) -> list[str]:
        """The classes of the one or two objects."""
        return [state.picture] + [state.neighbor] * (state.neighbor != NOTHING)

    def detector(self, state: Any) -> models.Detector:
        """The detector of a state."""
        found: Any = self.model(state)
        return found

    def found(self, state: Any) -> models.Detections:
        """All candidates of the image of a state; those of the last eight images are kept."""
        key = (state.network, *self.drawn_names(state), state.seed, self._factors(state), self.is_drawn(state))
        if key not in self._found:
            model = self.detector(state)
            with torch.no_grad():
                (found,) = model(self.image(state)[None].to(model.device))
            self._found[key] = models.Detections(found.boxes.float().cpu(), found.logits.float().cpu())
        return self._found[key]

    def _of_scene(self, scene: Any) -> dict[str, Any]:
        first, *second = scene.names
        return {**super()._of_scene(scene), "picture": first, "neighbor": (*second, NOTHING)[0]}


@dataclass(frozen=True)
class CandidatesState(PairState):
    """A detector, an image, and what becomes of its candidates."""

    threshold: float = 0.3  # the lowest score that is kept
    overlap: float = 0.5  # intersection over union above which the weaker of two boxes is dropped


@dataclass(frozen=True)
class CandidatesResult(ImageResult):
    """All candidates, and those that are left."""

    boxes: np.ndarray  # of all candidates (M, 4), left, top, right, bottom in pixels
    scores: np.ndarray  # the probability of the best class of each (M,)
    labels: np.ndarray  # the number of that class (M,)
    sure: np.ndarray  # the numbers of those above the threshold, best first
    kept: np.ndarray  # the numbers of those that non-maximum suppression leaves, best first


class CandidatesExplorer(PairExplorer):
    """The candidates above a threshold, and those that non-maximum suppression leaves."""

    name, title = "candidates", "Where do the boxes come from?"
    question = "How many candidates does one object have? Which of the two sliders makes a real object disappear?"
    State = CandidatesState
    stage = ("threshold", "overlap", "seed")
    shown_by_code = ("boxes", "kept")

    def controls(self) -> tuple[Control, ...]:
        """What becomes of the candidates, then the network and the image."""
        limits: dict[str, Any] = {"step": 0.01, "format": ".2f"}
        return (
            *group(
                "Candidates",
                Slider("threshold", "Score above", low=0.02, high=0.98, changes=("sure", "kept"), **limits),
                Slider(
                    "overlap",
                    "Overlap up to",
                    low=0.0,
                    high=1.0,
                    changes=("kept",),
                    help="The weaker of two boxes with a larger intersection over union is dropped",
                    **limits,
                ),
            ),
            *self.network_controls("boxes", "scores"),
            *self.image_controls("image", "boxes"),
        )

    def compute(self, state: CandidatesState, progress: Reporter) -> Any:
        """The candidates, then the image drawn for the screen."""
        found = self.found(state)
        sure = torch.where(found.scores >= state.threshold)[0]
        result = CandidatesResult(
            *self.both_sizes(self.image(state)),
            found.boxes.numpy(),
            found.scores.numpy(),
            found.labels.numpy(),
            sure[found.scores[sure].argsort(descending=True, stable=True)].numpy(),
            found.kept(state.threshold, state.overlap).numpy(),
        )
        yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: CandidatesResult, state: CandidatesState) -> list[Panel]:
        """All boxes above the threshold, those that are left, and how sure they are."""
        alt = self.alt(state)
        names = self._names(result, state)
        bars = bar_panel(
            "How sure it is of those",
            [name.rsplit(" ", 1)[0] for name in names[:6]] or ["no box"],
            result.scores[result.kept][:6].tolist() or [0.0],
            colors=[int(result.labels[i]) for i in result.kept][:6],
            caption="A class has the same color in the picture and here.",
            width=330,
            row=46,
        )
        sure, kept = (framed(result, result.boxes[i], result.labels[i]) for i in (result.sure, result.kept))
        said = f"{len(result.sure)} of {len(result.scores)} are at least {state.threshold:.0%} sure"
        left = "What suppression leaves"
        return [
            Panel("Candidates above the threshold", sure, f"candidates on {alt}", 340, caption=f"{said}."),
            Panel(left, kept, f"boxes on {alt}", 340, caption=", ".join(names[:4]) or "Nothing is left."),
            bars,
        ]

    def describe(self, result: CandidatesResult, state: CandidatesState) -> str:
        """How many there are, and which are left."""
        left = ", ".join(self._names(result, state)[:6]) or "nothing"
        return (
            f"Of {len(result.scores)} candidates {len(result.sure)} have a score of at least {state.threshold:.0%}; "
            f"suppression leaves {len(result.kept)}: {left}."
        )

    def code(self, state: CandidatesState) -> str:
        """The candidates and the boxes that are left."""
        return self.script(
            state,
            "(found,) = model(image[None].to(model.device))",
            "boxes = found.boxes.detach().cpu()",
            f"kept = found.kept({state.threshold}, {state.overlap}).cpu()",
            "picture = image",
            "for box in boxes[kept]:",
            "    picture = plots.box(picture, box.tolist(), width=1)",
            "plots.show([image, picture])",
        )

    def _names(self, result: CandidatesResult, state: CandidatesState) -> list[str]:
        classes = self.model(state).classes
        return [f"{classes[result.labels[i]]} {result.scores[i]:.0%}" for i in result.kept]


def framed(result: Any, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image of a result with boxes, each class in its own color; the first box is drawn last, on top."""
    image = plots.pixels(result.shown)
    scale = image.shape[0] / result.image.shape[-1]
    for box, label in zip(boxes[::-1], labels[::-1], strict=True):
        corners = (scale * box).clip(1, image.shape[0] - 2)  # an edge outside of the image is drawn at its border
        image = plots.box(image, corners, plots.PALETTE[int(label) % len(plots.PALETTE)], 2)
    return image
