"""Take it away and see: a map that forms while the network runs on one perturbed image after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, plots
from xai_lessons.core import passes
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel
from xai_lessons.methods import occlusion

WINDOW, RISE, LIME, SHAP = "sliding window", "RISE", "LIME", "Kernel SHAP"
# label -> the function of `occlusion`, and the fields of the state that it takes
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    WINDOW: ("occlusion", ("patch", "stride", "fill", "output")),
    RISE: ("rise", ("samples", "fill", "output")),
    LIME: ("lime", ("segments", "samples", "fill", "output")),
    SHAP: ("kernel_shap", ("segments", "samples", "fill", "output")),
}
KEPT = 24  # so many of the images that the network is shown can be looked at


class Recorder:
    """A network that remembers some of the images it is shown, and its answers to them.

    Args:
        model: the network, or any callable from images (N, 3, H, W) to scores (N, K).
        passes: about how many images will come; `KEPT` of them are kept, evenly spread.
    """

    def __init__(self, model: Any, passes: int) -> None:
        self.model, self.every, self.count = model, -(-passes // KEPT), 0
        self._images: list[np.ndarray] = []
        self._answers: list[np.ndarray] = []

    def __call__(self, images: Tensor) -> Tensor:
        """The network's scores (N, K) of images (N, 3, H, W)."""
        scores = passes.logits(self.model, images)
        for i in range(-self.count % self.every, len(images), self.every):
            self._images.append((255 * images[i].float()).round().byte().cpu().numpy())
            self._answers.append(scores[i].float().softmax(dim=0).cpu().numpy())
        self.count += len(images)
        return scores

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that were kept so far (F, 3, H, W), uint8, and the probabilities given to them (F, K)."""
        return np.stack(self._images), np.stack(self._answers)


@dataclass(frozen=True)
class OcclusionState(ImageState, TargetState):
    """An image, a network, a class, and how parts of the image are taken away."""

    method: str = WINDOW  # one of `METHODS`
    # patch, stride: of the sliding window, in pixels
    patch: int = 20
    stride: int = 6
    samples: int = 400  # masks or coalitions
    segments: int = 40  # superpixels, about
    fill: str = "black"  # what is seen in place of what is taken away
    output: str = "logit"  # the score whose drop is measured: the logit or the probability
    look: int = 14  # which of the images that the network is shown
    opacity: float = 0.75  # of the map over the image


@dataclass(frozen=True)
class OcclusionResult(ImageResult):
    """A map, and what the network was shown to make it."""

    heatmap: np.ndarray  # the map so far (S, S), in units of the output
    target: int  # the number of the class that is explained
    probabilities: np.ndarray  # of the whole image (K,)
    seen: np.ndarray  # some of the images that the network was shown (F, 3, S, S), uint8
    answers: np.ndarray  # its probabilities for those (F, K)
    passes: int  # how many images it was shown
    # fraction of what helps that lies on the object; None if nobody knows where that is, or nothing helps
    inside: float | None
    area: float  # the object's fraction of the image
    done: bool  # whether the map is finished


class OcclusionExplorer(ImageExplorer):
    """Parts are hidden, the network runs again, and a map of what it needed forms."""

    name, title = "occlusion", "Take it away and see"
    question = (
        "What does the network need? Change what fills the hole: does the map still say the same? "
        "Look at the pictures that the network is really shown."
    )
    State = OcclusionState
    stage = ("method", "fill", "patch", "samples", "look")
    shown_by_code = ("heatmap",)
    pairs = ("cat + dog", "bird + umbrella")
    counts: ClassVar[tuple[int, ...]] = (100, 200, 400, 800, 1600, 3200)

    def controls(self) -> tuple[Control, ...]:
        """How parts are taken away, for which class, how it is shown; then network and image."""
        window: dict[str, Any] = {"step": 1, "when": _takes("patch"), "help": "In pixels of what the network sees"}
        superpixels: dict[str, Any] = {"low": 10, "high": 80, "step": 5, "when": _takes("segments")}
        return (
            *group(
                "Take away",
                Choice("method", "Method", choices=tuple(METHODS)),
                Slider("patch", "Window", low=4, high=48, **{**window, "step": 2}),
                Slider("stride", "Step", low=2, high=lambda state: min(state.patch, 24), **window),
                Slider("samples", "Pictures", values=self.counts, format="d", when=_takes("samples")),
                Slider("segments", "Superpixels", **superpixels),
                Choice("fill", "Fill with", choices=occlusion.FILLS),
                changes=("heatmap", "seen"),
            ),
            *group(
                "Explain",
                self.target_control("target", "heatmap"),
                Choice("output", "Drop in the", choices=("logit", "probability"), buttons=True, changes=("heatmap",)),
            ),
            *group(
                "How it is shown",
                Slider("look", "Picture shown", low=1, high=KEPT, help="Of the pictures that the network is shown"),
                Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.05),
                changes=(PANELS,),
            ),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "heatmap"),
        )

    def compute(self, state: OcclusionState, progress: Reporter) -> Iterator[OcclusionResult]:
        """The map, which is shown a few times a second while it forms."""
        model, image = self.model(state), self.image(state)
        probabilities = model.predict(image).float().cpu().numpy()
        target, side = self.target_index(state, probabilities), image.shape[-1]
        passes = state.samples
        if state.method == WINDOW:
            passes = 1 + occlusion.windows(side, side, state.patch, state.stride).flatten(0, 1).shape[0]
        recorder, shown = Recorder(model, passes), self.screen_image(state).numpy()
        masks = evaluation.object_masks(self.scene(state, side)) if self.is_drawn(state) else {}
        mask = masks.get(model.classes[target])

        def result(heatmap: Tensor) -> OcclusionResult:
            if heatmap.numel() != side * side:  # half-way through, LIME and Kernel SHAP have answers but no map
                heatmap = torch.zeros(side, side)
            heatmap = heatmap.reshape(side, side).float().cpu()
            helps = mask is not None and bool(heatmap.max() > 0)
            return OcclusionResult(
                image.numpy(),
                shown,
                heatmap.numpy(),
                target,
                probabilities,
                *recorder.kept(),
                recorder.count,
                float(evaluation.energy_inside(heatmap, mask)) if mask is not None and helps else None,
                0.0 if mask is None else float(mask.float().mean()),
                done=False,
            )

        function, options = METHODS[state.method][0], _options(state)
        progress = progress.showing(result)
        heatmap = getattr(occlusion, function)(recorder, image.to(model.device), target, progress=progress, **options)
        yield replace(result(heatmap), done=True)

    def panels(self, result: OcclusionResult, state: OcclusionState) -> list[Panel]:
        """The map over the image, what the network is shown, and its answer to that."""
        classes = self.model(state).classes
        name, number = classes[result.target], min(state.look, len(result.seen)) - 1
        colors = "heat" if state.method == RISE else "signed"
        scale = plots.limits(result.heatmap, signed=colors == "signed")
        laid = plots.overlay(result.shown, result.heatmap, state.opacity, colors, scale)
        answer = result.answers[number]
        top = int(answer.argmax())
        says = f"It says {classes[top]}, {answer[top]:.0%}; {name} {answer[result.target]:.0%}."
        bars = self.probability_panel(
            state,
            answer,
            result.probabilities,
            title="What it says of that",
            marked=name,
            include=top,
            order=result.probabilities,
            caption=f"{says} Line: the whole picture.",
            width=350,
            row=46,
        )
        title, alt, caption = f"Where {name} comes from: {state.method}", self.alt(state), _meaning(state, name)
        which = f"{number + 1} of the {len(result.seen)} kept, of {result.passes} so far"
        seen = plots.enlarge(result.seen[number], self.screen)
        return [
            Panel(title, laid, f"map over {alt}", 335, caption=caption, scale=(*scale, colors)),
            Panel("What the network is shown", seen, f"{alt}, partly hidden", 335, sharp=True, caption=which),
            bars,
        ]

    def describe(self, result: OcclusionResult, state: OcclusionState) -> str:
        """The network's answer, and how much of what helps lies on the object."""
        classes, answers = self.model(state).classes, result.answers[:, result.target]
        name, top = classes[result.target], int(result.probabilities.argmax())
        text = f"The network says {classes[top]}, {result.probabilities[top]:.0%}"
        text += f"; {name}, {result.probabilities[result.target]:.0%}" * (top != result.target)
        text += f"; for the worst of the pictures kept, {answers.min():.0%}"
        if result.inside is not None:
            text += f". {result.inside:.0%} of what helps lies on the {name}, which is {result.area:.0%} of the picture"
        return text + ("." if result.done else " (so far).")

    def code(self, state: OcclusionState) -> str:
        """The call that makes the map."""
        options = "".join(f", {name}={value!r}" for name, value in _options(state).items())
        call = f"occlusion.{METHODS[state.method][0]}(model, image, {self.target(state)!r}{options})"
        colors = "heat" if state.method == RISE else "signed"
        over = f"plots.overlay(image, heatmap, {state.opacity}, {colors!r})"
        return self.script(state, f"heatmap = {call}", f"plots.show([image, {over}])")


def _takes(field: str) -> Any:
    """Whether the method of a state takes this."""
    return lambda state: field in METHODS[state.method][1]


def _options(state: OcclusionState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in METHODS[state.method][1]}


def _meaning(state: OcclusionState, name: str) -> str:
    """What the colors mean."""
    score = f"the {state.output} of {name}"
    return {
        WINDOW: f"Red: hide it and {score} drops. Blue: hide it and it rises.",
        RISE: f"Bright: whenever it was seen, {score} was high. Its zero means nothing.",
        LIME: f"Red: a superpixel whose presence raises {score}. Blue: lowers it.",
        SHAP: f"Red: the superpixel's fair part of {score}. All parts sum to the whole rise.",
    }[state.method]
