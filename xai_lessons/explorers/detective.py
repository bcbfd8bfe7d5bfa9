"""Four suspects: which of them cheat, and by what? Explain them, accuse one, repair it, and explain again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.explorers.kit import (
    PANELS,
    Button,
    Choice,
    Control,
    ImageExplorer,
    ImageState,
    NetworkState,
    Panel,
    Slider,
    Toggle,
)
from xai_lessons.lessons.detective import CUES, MAMMALS, Repair, Suspect, line_up
from xai_lessons.methods import cam, occlusion, saliency

# name -> the function, and how the shown code calls it
METHODS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "Grad-CAM": (cam.grad_cam, "cam.grad_cam(model, image)"),
    "Guided backprop": (saliency.guided_backprop, "saliency.guided_backprop(model, image).abs().amax(0)"),
    "Integrated gradients": (
        lambda model, image: saliency.integrated_gradients(model, image, steps=16),
        "saliency.integrated_gradients(model, image, steps=16).abs().amax(0)",
    ),
    "Occlusion": (
        lambda model, image: occlusion.occlusion(model, image, patch=image.shape[-1] // 5, stride=image.shape[-1] // 8),
        "occlusion.occlusion(model, image, patch=image.shape[-1] // 5, stride=image.shape[-1] // 8)",
    ),
}
TILE = 186
NOTHING = "nothing: it is honest"


@dataclass(frozen=True)
class DetectiveState(ImageState, NetworkState):
    """A picture, a suspect, a method, and the accusation.

    Attributes:
        collar: whether an animal of the picture wears a collar.
        method: one of `METHODS`.
        opacity: of the map over the picture.
        cue: what the suspect is accused of; Run breaks this cue and trains on.
        pictures, epochs: of the repair.
    """

    picture: str = "umbrella"
    collar: bool = False
    method: str = "Grad-CAM"
    opacity: float = 0.7
    cue: str = NOTHING
    pictures: int = 400
    epochs: int = 3


@dataclass(frozen=True)
class DetectiveResult:
    """All suspects on one picture, and what became of the accused.

    Attributes:
        image: the picture as the networks take it (3, S, S).
        shown: the same, drawn for the screen.
        probabilities: of each suspect (4, K).
        maps: of the class that each predicts (4, S, S), at least 0.
        chosen: which of them is shown large.
        after: the accused's map after the repair (S, S); empty before.
        after_probabilities: (K,); empty before.
        marks: exam -> shares that are right, before the repair and after each of its epochs.
        step, steps: batches of the repair done, and in all.
        note: what is being done.
    """

    image: np.ndarray
    shown: np.ndarray
    probabilities: np.ndarray
    maps: np.ndarray
    chosen: int
    after: np.ndarray
    after_probabilities: np.ndarray
    marks: dict[str, np.ndarray]
    step: int = 0
    steps: int = 0
    note: str = ""


class DetectiveExplorer(ImageExplorer):
    """Explain four suspects, accuse one, and repair it.

    Args:
        suspects: the line-up; by default `line_up(seed of the order)`.
        order: the seed of the order.
        picture: as for `ImageExplorer`.
        initial: fields of the state to start from.
    """

    name, title = "detective", "The detective"
    question = (
        "One of the four is honest. Which, and by what do the others cheat? Change one thing in the picture at a time."
    )
    State = DetectiveState
    shown_by_code = ("maps",)
    counts: ClassVar[tuple[int, ...]] = (100, 200, 400, 800, 1600)
    live = False

    def __init__(
        self, picture: Any = None, *, suspects: Sequence[Suspect] = (), order: int = 0, **initial: Any
    ) -> None:
        self.order, self.given = order, bool(suspects)
        self.suspects = tuple(suspects) or line_up(order)
        self._begun: dict[tuple[Any, ...], Repair] = {}
        super().__init__(picture, networks=[one.model for one in self.suspects], **initial)

    def controls(self) -> tuple[Control, ...]:
        """The suspect and the method, the picture, then the accusation."""
        accuse: dict[str, Any] = {"group": "Accuse, then press Run to repair"}
        names = {cue: it.words for cue, it in CUES.items()}
        return (
            *self.network_controls("chosen"),
            Choice(name="method", label="Method", choices=tuple(METHODS), changes=("maps",), group="Map"),
            Slider(name="opacity", label="Opacity", low=0.0, high=1.0, step=0.1, changes=(PANELS,), group="Map"),
            *self.image_controls("image", "maps"),
            Toggle(
                name="collar",
                label="A collar",
                when=lambda state: state.picture in MAMMALS,
                changes=("image", "maps"),
                group="Picture",
            ),
            Choice(
                name="cue",
                label="It knows",
                choices=(NOTHING, *CUES),
                names=lambda cue: names.get(cue, cue),
                changes=("after", "marks"),
                help="Run breaks this cue: half of the pictures carry it, whatever they show",
                **accuse,
            ),
            Slider(name="pictures", label="Pictures", values=self.counts, changes=("after",), **accuse),
            Slider(name="epochs", label="Epochs", low=1, high=6, changes=("marks",), **accuse),
            Button(name="again", label="Begin the repair anew", act=self._forget, changes=("after",), **accuse),
        )

    def preview(self, state: DetectiveState) -> DetectiveResult:
        """The maps of all suspects, and of the accused one as far as it is repaired."""
        image = self.image(state)
        maps, said = [], []
        for one in self.suspects:
            said.append(one.model.predict(image).float().cpu().numpy())
            maps.append(_map(state.method, one.model, image))
        result = DetectiveResult(
            image.numpy(),
            self.screen_image(state).numpy(),
            np.stack(said),
            np.stack(maps),
            self.network_names.index(state.network),
            np.empty(0),
            np.empty(0),
            {},
        )
        return self._with(result, state, self._begun.get(_key(state)))

    def compute(self, state: DetectiveState, progress: Callable[[int, int], object]) -> Iterator[DetectiveResult]:
        """Draw pictures with the cue broken, then train on; the map is drawn anew after each epoch."""
        result = self.preview(state)
        repair = self._begun.get(_key(state))
        if repair is None:
            yield replace(result, note="Drawing pictures with the cue broken.")
            accused = self.suspects[result.chosen]
            repair = Repair(accused, state.cue, state.pictures, state.epochs, progress)
            self._begun[_key(state)] = repair
        for step in repair.steps():
            progress(step.done, step.total)
            if step.epoch is not None:
                yield self._with(result, state, repair)
        yield self._with(result, state, repair)

    def panels(self, result: DetectiveResult, state: DetectiveState) -> list[Panel]:
        """The chosen suspect large, all four small, and the repair."""
        name = self.model(state).classes[int(result.probabilities[result.chosen].argmax())]
        laid = _laid(result.shown, result.maps[result.chosen], state)
        words = f"{state.method} of {state.network}, which says {name}"
        tiles, titles = [], []
        for suspect, one, p in zip(self.network_names, result.maps, result.probabilities, strict=True):
            tiles.append(_laid(plots.enlarge(result.shown, TILE, smooth=True), one, state))
            titles.append(f"{suspect}: {self.model(state).classes[int(p.argmax())]} {p.max():.0%}")
        row = plots.grid(tiles, titles, columns=2, size=TILE)
        beside = f"{state.method} of all suspects over the same picture; {'; '.join(titles)}"
        found = [
            Panel(words, laid, f"{words}, over {self.alt(state)}", caption="Bright: what speaks for its answer."),
            Panel("All four", row, beside, row.shape[1], caption="The same picture, asked of each."),
        ]
        if not result.marks:
            return found
        p = result.after_probabilities
        healed = f"{state.network} after the repair: {self.model(state).classes[int(p.argmax())]} {p.max():.0%}"
        chart = plots.curves(
            {exam: (range(len(marks)), marks.tolist()) for exam, marks in result.marks.items()},
            x_label="epochs of the repair",
            y_label="share that is right",
            x_limits=(0, state.epochs),
            y_limits=(0, 1.02),
            width=430,
            height=330,
        )
        told = ", ".join(f"{exam} {marks[-1]:.0%}" for exam, marks in result.marks.items())
        return [
            *found,
            Panel(healed, _laid(result.shown, result.after, state), f"{state.method} of {healed}"),
            Panel("Its exams", chart, f"Curves of the exams; at last: {told}", 430, sharp=True),
        ]

    def describe(self, result: DetectiveResult, state: DetectiveState) -> str:
        """What the suspects say, and how the repair stands."""
        classes = self.model(state).classes
        said = [
            f"{name}: {classes[p.argmax()]} {p.max():.0%}"
            for name, p in zip(self.network_names, result.probabilities, strict=True)
        ]
        text = f"{self.alt(state).capitalize()}. {'; '.join(said)}."
        if result.marks:
            marks = ", ".join(f"{name} {values[0]:.0%} → {values[-1]:.0%}" for name, values in result.marks.items())
            text += f" {state.network} in repair, step {result.step} of {result.steps}: {marks}."
        return f"{text} {result.note}".rstrip()

    def alt(self, state: Any) -> str:
        """The picture in words."""
        return super().alt(state) + (" and a collar" if state.collar and state.picture in MAMMALS else "")

    def code(self, state: DetectiveState) -> str:
        """The maps of all suspects, and the repair."""
        drawn = self.is_drawn(state)
        modules = [METHODS[state.method][1].split(".")[0], *(["menagerie"] if drawn else ["photos"])]
        lines = [f"from xai_lessons import {', '.join(sorted(modules))}"]
        lines += [] if self.given else ["from xai_lessons.lessons.detective import line_up"]
        lines += ["import torch", ""]
        lines.append("# suspects are those that you gave" if self.given else f"suspects = line_up({self.order})")
        if drawn:
            lines.append(f"image = {self._drawing_code(state)}.image")
        else:
            how = self.photographs[state.picture][1]
            lines.append(f"image = suspects[0].model.prepare({how})")
        call = METHODS[state.method][1].replace("(model,", "(one.model,")
        lines.append(f"maps = torch.stack([{call} for one in suspects]).clamp(min=0)")
        if state.cue in CUES:
            number = self.network_names.index(state.network)
            lines += [
                "",
                "from xai_lessons.lessons.detective import repair",
                "",
                f"one = repair(suspects[{number}], {state.cue!r}, count={state.pictures}, epochs={state.epochs})",
                f"after = {call}.clamp(min=0)",
                "print(one.accuracies)",
            ]
        return "\n".join(lines)

    def code_names(self, state: DetectiveState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names = super().code_names(state)
        if self.given:
            names["suspects"] = [replace(one, model=copy.deepcopy(one.model)) for one in self.suspects]
        return names

    # How it works.

    def _factors(self, state: Any) -> tuple[tuple[str, Any], ...]:
        collar = (("collar", state.collar),) if state.picture in MAMMALS else ()
        return (*super()._factors(state), *collar)

    def _forget(self, state: DetectiveState) -> DetectiveState:
        self._begun.pop(_key(state), None)
        return state

    def _with(self, result: DetectiveResult, state: DetectiveState, repair: Repair | None) -> DetectiveResult:
        """The result with what a repair has come to."""
        if repair is None:
            return result
        image = torch.from_numpy(result.image)
        return replace(
            result,
            after=_map(state.method, repair.model, image),
            after_probabilities=repair.model.predict(image).float().cpu().numpy(),
            marks={name: np.array(values) for name, values in repair.accuracies.items()},
            step=repair.training.step,
            steps=repair.training.total_steps,
        )


def _map(method: str, model: models.Classifier, image: Tensor) -> np.ndarray:
    """A map (S, S), at least 0, of the class that the network predicts."""
    one = METHODS[method][0](model, image).detach().float().cpu()
    return (one.abs().amax(dim=0) if one.ndim == 3 else one.clamp(min=0)).numpy()


def _laid(picture: np.ndarray, one: np.ndarray, state: DetectiveState) -> np.ndarray:
    """A map over a picture, each on its own scale."""
    high = plots.limits(one, signed=False, clip=0.0 if state.method in ("Grad-CAM", "Occlusion") else 0.005)[1]
    return plots.overlay(picture, one, state.opacity, scale=(0.0, high or 1.0))


def _key(state: DetectiveState) -> tuple[Any, ...]:
    """What a repair depends on."""
    return state.network, state.cue, state.pictures, state.epochs
