"""Four suspects: which of them cheat, and by what? Explain them, accuse one, repair it, and explain again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.explorers.kit import Cache, ImageExplorer, ImageResult, ImageState, Reporter, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.lessons.detective import CUES, MAMMALS, Repair, Suspect, line_up
from xai_lessons.methods import catalog

METHODS = {
    method.label: method
    for method in map(catalog.get, ("grad_cam", "guided_backprop", "integrated_gradients", "occlusion"))
}
TILE = 252
NOTHING = "nothing: it is honest"


@dataclass(frozen=True)
class DetectiveState(ImageState):
    """An image, a suspect, a method, and the accusation."""

    picture: str = "umbrella"
    collar: bool = False  # whether the animal wears a collar
    method: str = "Grad-CAM"  # one of `METHODS`
    opacity: float = 0.7  # of the map over the image
    cue: str = NOTHING  # what the suspect is accused of; Run breaks this cue and trains on
    # pictures, epochs: of the repair
    pictures: int = 400
    epochs: int = 3


@dataclass(frozen=True)
class DetectiveResult(ImageResult):
    """All suspects on one image, and the repair of the accused."""

    probabilities: np.ndarray  # of each suspect (4, K)
    maps: np.ndarray  # of the class that each predicts (4, S, S), at least 0
    chosen: int  # which of them is shown large
    # the accused's map after the repair (S, S); empty before
    after: np.ndarray = field(default_factory=lambda: np.empty(0))
    after_probabilities: np.ndarray = field(default_factory=lambda: np.empty(0))  # (K,); empty before
    # test set -> accuracy before the repair and after each of its epochs
    accuracies: dict[str, np.ndarray] = field(default_factory=dict)
    # step, steps: steps of the repair done, and in all
    step: int = 0
    steps: int = 0
    note: str = ""  # what is being done


class DetectiveExplorer(ImageExplorer):
    """Explain four suspects, accuse one, and repair it.

    Args:
        suspects: by default `line_up(seed of the order)`.
        order: the seed of the order.
        picture: as for `ImageExplorer`.
        initial: fields of the state to start from.
    """

    name, title = "detective", "The detective"
    question = (
        "One of the four is honest. Which, and by what do the others cheat? Change one thing in the picture at a time."
    )
    State = DetectiveState
    stage = ("network", "method", "picture", "cue")
    shown_by_code = ("maps",)
    counts: ClassVar[tuple[int, ...]] = (100, 200, 400, 800, 1600)
    live = False

    def __init__(
        self, picture: Any = None, *, suspects: Sequence[Suspect] = (), order: int = 0, **initial: Any
    ) -> None:
        self.order, self.given = order, bool(suspects)
        self.suspects = tuple(suspects) or line_up(order)
        self._repair_cache = Cache(8)
        super().__init__(picture, networks=[one.model for one in self.suspects], **initial)

    def controls(self) -> tuple[Control, ...]:
        """The suspect and the method, the image, then the accusation."""
        names, broken = (
            {cue: one.words for cue, one in CUES.items()},
            "half of the pictures carry it, whatever they show",
        )
        collar = Toggle("collar", "A collar", when=lambda state: state.picture in MAMMALS, changes=("image", "maps"))
        return (
            *self.network_controls("chosen"),
            *group(
                "Map",
                Choice("method", "Method", choices=tuple(METHODS), changes=("maps",)),
                Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.1, changes=(PANELS,)),
            ),
            *self.image_controls("image", "maps"),
            *group("Picture", collar),
            *group(
                "Accuse, then press Run to repair",
                Choice(
                    "cue",
                    "It knows",
                    choices=(NOTHING, *CUES),
                    names=lambda cue: names.get(cue, cue),
                    changes=("after", "accuracies"),
                    help=broken,
                ),
                Slider("pictures", "Pictures", values=self.counts),
                Slider("epochs", "Epochs", low=1, high=6, changes=("accuracies",)),
                Button("again", "Begin the repair anew", act=self._forget),
                changes=("after",),
            ),
        )

    def preview(self, state: DetectiveState) -> DetectiveResult:
        """The maps of all suspects, and of the accused one as far as it is repaired."""
        image = self.image(state)
        said = np.stack([one.model.predict(image).float().cpu().numpy() for one in self.suspects])
        maps = np.stack([_explain(state.method, one.model, image) for one in self.suspects])
        shown, chosen = self.screen_image(state).numpy(), self.network_names.index(state.network)
        return self._with_repair(DetectiveResult(image.numpy(), shown, said, maps, chosen), state)

    def compute(self, state: DetectiveState, progress: Reporter) -> Iterator[DetectiveResult]:
        """Draw images with the cue broken, then train; the map is computed again after each epoch."""
        result = self.preview(state)
        if _key(state) not in self._repair_cache:
            yield replace(result, note="Drawing pictures with the cue broken.")
            accused = self.suspects[result.chosen]
            self._repair_cache[_key(state)] = Repair(accused, state.cue, state.pictures, state.epochs, progress)
        for step in self._repair_cache[_key(state)].steps():
            progress(step.done, step.total)
            if step.epoch is not None:
                yield self._with_repair(result, state)
        yield self._with_repair(result, state)

    def panels(self, result: DetectiveResult, state: DetectiveState) -> list[Panel]:
        """The chosen suspect large, all four small, and the repair."""
        classes = self.model(state).classes
        name = classes[int(result.probabilities[result.chosen].argmax())]
        large = _overlay(result.shown, result.maps[result.chosen], state)
        words = f"{state.method} of {state.network}, which says {name}"
        said = zip(self.network_names, result.probabilities, strict=True)
        titles = [f"{suspect}: {classes[int(p.argmax())]} {p.max():.0%}" for suspect, p in said]
        alts = [f"{state.method} of {title}, over {self.alt(state)}" for title in titles]
        tiles = [_overlay(result.shown, one, state) for one in result.maps]
        found = [Panel(*tile, TILE) for tile in zip(titles, tiles, alts, strict=True)]
        caption = "Bright: what speaks for its answer."
        found.append(Panel(words, large, f"{words}, over {self.alt(state)}", 330, caption=caption, below=True))
        if not result.accuracies:
            return found
        p = result.after_probabilities
        healed = f"{state.network} after the repair: {classes[int(p.argmax())]} {p.max():.0%}"
        curves = {name: (range(len(y)), y.tolist()) for name, y in result.accuracies.items()}
        axes: dict[str, Any] = {"x_limits": (0, state.epochs), "y_limits": (0, 1.02), "width": 430, "height": 340}
        chart = plots.curves(curves, x_label="epochs of the repair", y_label="share that is right", **axes)
        listed = ", ".join(f"{name} {y[-1]:.0%}" for name, y in result.accuracies.items())
        return [
            *found,
            Panel(healed, _overlay(result.shown, result.after, state), f"{state.method} of {healed}", 330, below=True),
            chart_panel("Its exams", chart, f"Curves of the exams; at last: {listed}", 375, below=True),
        ]

    def describe(self, result: DetectiveResult, state: DetectiveState) -> str:
        """What the suspects say, and how the repair stands."""
        classes = self.model(state).classes
        said = [
            f"{name}: {classes[p.argmax()]} {p.max():.0%}"
            for name, p in zip(self.network_names, result.probabilities, strict=True)
        ]
        text = f"{self.alt(state).capitalize()}. {'; '.join(said)}."
        if result.accuracies:
            listed = ", ".join(f"{name} {y[0]:.0%} → {y[-1]:.0%}" for name, y in result.accuracies.items())
            text += f" {state.network} in repair, step {result.step} of {result.steps}: {listed}."
        return f"{text} {result.note}".rstrip()

    def alt(self, state: Any) -> str:
        """The image in words."""
        return super().alt(state) + (" and a collar" if state.collar and state.picture in MAMMALS else "")

    def code(self, state: DetectiveState) -> str:
        """The maps of all suspects, and the repair."""
        image = f"{self._drawing_code(state)}.image"
        if not self.is_drawn(state):
            image = f"suspects[0].model.prepare({self.photographs[state.picture].code})"
        method = METHODS[state.method]
        options = "".join(f", {k}={v!r}" for k, v in _options(method, self.model(state).input_size).items())
        call = f"{method.code}(one.model, image{options})" + ".abs().amax(0)" * (method.returns == "attribution")
        lines = [
            "# suspects are those that you gave" if self.given else f"suspects = detective.line_up({self.order})",
            f"image = {image}",
            f"maps = torch.stack([{call} for one in suspects]).clamp(min=0)",
        ]
        repaired = state.cue in CUES
        if repaired:
            accused = f"suspects[{self.network_names.index(state.network)}], {state.cue!r}"
            lines += [
                f"one = detective.repair({accused}, count={state.pictures}, epochs={state.epochs})",
                f"after = {call}.clamp(min=0)",
                "print(one.accuracies)",
            ]
        also = ["from xai_lessons.lessons import detective"] if repaired or not self.given else []
        over = "[plots.overlay(image, heatmap) for heatmap in maps]"
        if repaired:
            over = over[:-1] + "] + [plots.overlay(image, after)]"
        return with_imports(*lines, f"plots.show({over})", also=also)

    def code_names(self, state: DetectiveState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names = super().code_names(state)
        if self.given:
            names["suspects"] = [replace(one, model=copy.deepcopy(one.model)) for one in self.suspects]
        return names

    def _factors(self, state: Any) -> tuple[tuple[str, Any], ...]:
        collar = (("collar", state.collar),) if state.picture in MAMMALS else ()
        return (*super()._factors(state), *collar)

    def _forget(self, state: DetectiveState) -> DetectiveState:
        self._repair_cache.pop(_key(state), None)
        return state

    def _with_repair(self, result: DetectiveResult, state: DetectiveState) -> DetectiveResult:
        """The result with how far the repair is, if there is one."""
        repair: Repair | None = self._repair_cache.get(_key(state))
        if repair is None:
            return result
        image = torch.from_numpy(result.image)
        return replace(
            result,
            after=_explain(state.method, repair.model, image),
            after_probabilities=repair.model.predict(image).float().cpu().numpy(),
            accuracies={name: np.array(values) for name, values in repair.accuracies.items()},
            step=repair.training.step,
            steps=repair.training.total_steps,
        )


def _key(state: DetectiveState) -> tuple[Any, ...]:
    """What a repair depends on."""
    return state.network, state.cue, state.pictures, state.epochs


def _options(method: catalog.Method, side: int) -> dict[str, Any]:
    options = {"integrated_gradients": {"steps": 16}, "occlusion": {"patch": side // 5, "stride": side // 8}}
    return options.get(method.name, {})


def _explain(name: str, model: models.Classifier, image: Tensor) -> np.ndarray:
    """A map (S, S), at least 0, of the class that the network predicts."""
    method = METHODS[name]
    one = method(model, image, **_options(method, image.shape[-1])).detach().float().cpu()
    return (one.abs().amax(dim=0) if method.returns == "attribution" else one.clamp(min=0)).numpy()


def _overlay(image: np.ndarray, one: np.ndarray, state: DetectiveState) -> np.ndarray:
    """A map over an image, each on its own scale."""
    clip = 0.005 if METHODS[state.method].returns == "attribution" else 0.0
    high = plots.limits(one, signed=False, clip=clip)[1]
    return plots.overlay(image, one, state.opacity, scale=(0.0, high or 1.0))
