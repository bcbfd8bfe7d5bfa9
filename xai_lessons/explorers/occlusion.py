"""Take it away and see: a map that forms while the network is asked about one perturbed picture after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, plots
from xai_lessons.core import passes
from xai_lessons.explorers.kit import PANELS, Choice, Control, ImageExplorer, ImageState, NetworkState, Panel, Slider
from xai_lessons.explorers.kit.forming import forming
from xai_lessons.methods import occlusion

WINDOW, RISE, LIME, SHAP = "sliding window", "RISE", "LIME", "Kernel SHAP"
METHODS = (WINDOW, RISE, LIME, SHAP)
PREDICTED = "what it predicts"
KEPT = 24  # of the pictures that the network is shown, so many can be looked at


class Witness:
    """A network that remembers some of the pictures it is really shown, and what it says of them.

    Args:
        model: the network, or any callable from pictures (N, 3, H, W) to scores (N, K).
        passes: about how many pictures will come; `KEPT` of them are kept, evenly spread.
    """

    def __init__(self, model: Any, passes: int) -> None:
        self.model, self.every, self.count = model, -(-passes // KEPT), 0
        self._pictures: list[np.ndarray] = []
        self._answers: list[np.ndarray] = []

    def __call__(self, images: Tensor) -> Tensor:
        """The network's scores (N, K) of pictures (N, 3, H, W)."""
        scores = passes.logits(self.model, images)
        for i in range(-self.count % self.every, len(images), self.every):
            self._pictures.append((255 * images[i].float()).round().byte().cpu().numpy())
            self._answers.append(scores[i].float().softmax(dim=0).cpu().numpy())
        self.count += len(images)
        return scores

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures that were kept so far (F, 3, H, W), uint8, and the probabilities given to them (F, K)."""
        answers = list(self._answers)  # another thread may be adding to them
        return np.stack(self._pictures[: len(answers)]), np.stack(answers)


@dataclass(frozen=True)
class OcclusionState(ImageState, NetworkState):
    """A picture, a network, a class, and how parts of the picture are taken away.

    Attributes:
        method: one of `METHODS`.
        target: the class, or what the network predicts.
        patch, stride: of the sliding window, in pixels.
        samples: masks or coalitions.
        segments: superpixels, about.
        fill: what is seen in place of what is taken away.
        output: what falls: the logit or the probability.
        look: which of the pictures that the network is shown.
        opacity: of the map over the picture.
    """

    method: str = WINDOW
    target: str = PREDICTED
    patch: int = 20
    stride: int = 6
    samples: int = 400
    segments: int = 40
    fill: str = "black"
    output: str = "logit"
    look: int = 14
    opacity: float = 0.75


@dataclass(frozen=True)
class OcclusionResult:
    """A map, and what was asked to make it.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        shown: the same, drawn for the screen.
        heatmap: the map so far (S, S), in units of the output.
        target: the class that it is of.
        probabilities: of the whole picture (K,).
        seen: some of the pictures that the network was shown (F, 3, S, S), uint8.
        answers: its probabilities for those (F, K).
        asked: how many pictures it was shown.
        inside: share of what helps that lies on the thing; None if nobody knows where that is, or nothing helps.
        area: the thing's share of the picture.
        whole: whether the map is finished.
    """

    image: np.ndarray
    shown: np.ndarray
    heatmap: np.ndarray
    target: int
    probabilities: np.ndarray
    seen: np.ndarray
    answers: np.ndarray
    asked: int
    inside: float | None
    area: float
    whole: bool


class OcclusionExplorer(ImageExplorer):
    """Parts are hidden, the network is asked again, and a map of what it needed forms."""

    name, title = "occlusion", "Take it away and see"
    question = (
        "What does the network need? Change what is put into the hole: does the map still say the same? "
        "Look at the pictures that the network is really shown."
    )
    State = OcclusionState
    shown_by_code = ("heatmap",)
    pairs = ("cat + dog", "bird + umbrella")
    counts: ClassVar[tuple[int, ...]] = (100, 200, 400, 800, 1600, 3200)

    def controls(self) -> tuple[Control, ...]:
        """How parts are taken away, for which class, how it is shown; then network and picture."""
        how: dict[str, Any] = {"group": "Take away", "changes": ("heatmap", "seen")}
        window, random = {**how, "when": lambda s: s.method == WINDOW}, {**how, "when": lambda s: s.method != WINDOW}
        pixels = "In pixels of what the network sees"
        return (
            Choice(name="method", label="Method", choices=METHODS, **how),
            Slider(name="patch", label="Window", low=4, high=48, step=2, help=pixels, **window),
            Slider(name="stride", label="Step", low=2, high=lambda s: min(s.patch, 24), step=1, help=pixels, **window),
            Slider(name="samples", label="Pictures", values=self.counts, format="d", **random),
            Slider(
                name="segments",
                label="Superpixels",
                low=10,
                high=80,
                step=5,
                **{**how, "when": lambda s: s.method in (LIME, SHAP)},
            ),
            Choice(name="fill", label="Fill with", choices=occlusion.FILLS, **how),
            Choice(name="target", label="Class", choices=self._targets, changes=("target", "heatmap"), group="Ask for"),
            Choice(
                name="output",
                label="Fall of the",
                choices=("logit", "probability"),
                buttons=True,
                changes=("heatmap",),
                group="Ask for",
            ),
            Slider(
                name="look",
                label="Picture shown",
                low=1,
                high=KEPT,
                changes=(PANELS,),
                group="How it is shown",
                help="Which of the pictures that the network is shown",
            ),
            Slider(
                name="opacity",
                label="Opacity",
                low=0.0,
                high=1.0,
                step=0.05,
                changes=(PANELS,),
                group="How it is shown",
            ),
            *self.network_controls("heatmap", "probabilities"),
            *self.image_controls("image", "heatmap"),
        )

    def compute(self, state: OcclusionState, progress: Callable[[int, int], object]) -> Iterator[OcclusionResult]:
        """The map so far, a few times a second."""
        model, image = self.model(state), self.image(state)
        probabilities = model.predict(image).float().cpu().numpy()
        target = int(probabilities.argmax()) if state.target == PREDICTED else model.class_index(state.target)
        passes = state.samples
        if state.method == WINDOW:
            side = image.shape[-1]
            passes = 1 + occlusion.windows(side, side, state.patch, state.stride).flatten(0, 1).shape[0]
        witness, shown = Witness(model, passes), self.screen_image(state).numpy()
        thing = self._thing(state, model.classes[target], image.shape[-1])
        function, options = _call(state)
        x = image.to(model.device)
        result = None
        for heatmap in forming(lambda callback: function(witness, x, target, progress=callback, **options), progress):
            result = self._result(state, image, shown, heatmap, target, probabilities, witness, thing)
            yield result
        if result is not None:
            yield replace(result, whole=True)

    def panels(self, result: OcclusionResult, state: OcclusionState) -> list[Panel]:
        """The map over the picture, what the network is shown, and what it says of that."""
        classes = self.model(state).classes
        name, number = classes[result.target], min(state.look, len(result.seen)) - 1
        colors = "heat" if state.method == RISE else "signed"
        scale = plots.limits(result.heatmap, signed=colors == "signed")
        laid = plots.overlay(result.shown, result.heatmap, state.opacity, colors, scale)
        bar = plots.color_bar(scale, colors, self.screen)
        laid = np.concatenate([plots.enlarge(laid, bar.shape[1], smooth=True), bar])
        answer, first = result.answers[number], np.argsort(-result.probabilities, kind="stable")[:5]
        top = int(answer.argmax())
        if top not in first:
            first = np.append(first[:4], top)
        listed = ", ".join(f"{classes[i]} {answer[i]:.0%}" for i in first)
        chart = plots.bars(
            [classes[i] for i in first],
            answer[first].tolist(),
            marked=[i for i, c in enumerate(first) if c == result.target],
            before=result.probabilities[first].tolist(),
            width=380,
            row=40,
        )
        caption = _meaning(state, name)
        seen = plots.enlarge(result.seen[number], self.screen)
        where = f"{number + 1} of the {len(result.seen)} kept, of {result.asked} asked so far"
        said = f"There it says {classes[top]}, {answer[top]:.0%}; {name} {answer[result.target]:.0%}."
        return [
            Panel(f"Where {name} comes from: {state.method}", laid, f"map over {self.alt(state)}", caption=caption),
            Panel("What the network is shown", seen, f"{self.alt(state)}, partly hidden", sharp=True, caption=where),
            Panel("What it says of that", chart, listed, 380, sharp=True, caption=f"{said} Black: the whole picture."),
        ]

    def describe(self, result: OcclusionResult, state: OcclusionState) -> str:
        """The network's answer, and how much of what helps lies on the thing."""
        name = self.model(state).classes[result.target]
        text = f"The network says {name}, {result.probabilities[result.target]:.0%}"
        low = int(result.answers[:, result.target].argmin())
        text += f"; of the pictures kept, the worst leaves {result.answers[low, result.target]:.0%}"
        if result.inside is not None:
            text += f". {result.inside:.0%} of what helps lies on the {name}, which is {result.area:.0%} of the picture"
        return text + ("." if result.whole else " (so far).")

    def code(self, state: OcclusionState) -> str:
        """The call that makes the map."""
        function, options = _call(state)
        target = None if state.target == PREDICTED else state.target
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        call = f"heatmap = occlusion.{function.__name__}(model, image, {target!r}, {listed})"
        return f"{self.setup_code(state, 'occlusion')}\n{call}"

    # What the parts are made of.

    def _targets(self, state: OcclusionState) -> tuple[str, ...]:
        return (PREDICTED, *dict.fromkeys(self.model(state).classes))

    def _thing(self, state: OcclusionState, name: str, size: int) -> Tensor | None:
        """Where the thing of that class is; None if there is none, or nobody knows."""
        if not self.is_drawn(state) or name not in state.picture.split(" + "):
            return None
        masks = self.scene(state, size).masks
        return masks[name if " + " in state.picture else "object"]

    def _result(
        self,
        state: OcclusionState,
        image: Tensor,
        shown: np.ndarray,
        heatmap: Tensor,
        target: int,
        probabilities: np.ndarray,
        witness: Witness,
        thing: Tensor | None,
    ) -> OcclusionResult:
        """The result of a map, whole or so far."""
        if heatmap.shape[-2:] != image.shape[-2:]:  # half-way through, LIME and Kernel SHAP have answers but no map
            heatmap = torch.zeros(image.shape[-2:])
        heatmap = heatmap.reshape(image.shape[-2:]).float().cpu()
        inside, area = None, 0.0
        if thing is not None:
            area = float(thing.float().mean())
            inside = float(evaluation.energy_inside(heatmap, thing)) if heatmap.max() > 0 else None
        seen, answers = witness.seen()
        numbers = (image.numpy(), shown, heatmap.numpy(), target, probabilities, seen, answers, witness.count)
        return OcclusionResult(*numbers, inside, area, whole=False)


def _call(state: OcclusionState) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """The method's function, and its options."""
    common = {"fill": state.fill, "output": state.output}
    if state.method == WINDOW:
        return occlusion.occlusion, {"patch": state.patch, "stride": state.stride, **common}
    if state.method == RISE:
        return occlusion.rise, {"samples": state.samples, **common}
    function = occlusion.lime if state.method == LIME else occlusion.kernel_shap
    return function, {"segments": state.segments, "samples": state.samples, **common}


def _meaning(state: OcclusionState, name: str) -> str:
    """What the colors say."""
    return {
        WINDOW: f"Red: hide it and the {state.output} of {name} falls. Blue: hide it and it rises.",
        RISE: f"Bright: whenever it was seen, the {state.output} of {name} was high. Its zero means nothing.",
        LIME: f"Red: a superpixel whose presence raises the {state.output} of {name}. Blue: lowers it.",
        SHAP: f"Red: the superpixel's fair share of the {state.output} of {name}. All shares sum to the whole rise.",
    }[state.method]
