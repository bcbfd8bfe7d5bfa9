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
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState, Touch
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel
from xai_lessons.methods import catalog, occlusion

METHODS = {method.label: method for method in catalog.METHODS.values() if method.family == "occlusion"}
WINDOW, RISE, LIME, SHAP = METHODS
OPTIONS = ("patch", "stride", "segments", "samples", "fill", "output")  # of the methods, that are fields of the state
ORANGE = "#E69F00"
KEPT = 24  # so many of the images that the network is shown can be looked at


class Recorder:
    """A network that remembers its scores, and some of the images that it is shown.

    Args:
        model: the network, or any callable from images (N, 3, H, W) to scores (N, K).
        count: about how many images will come; `KEPT` of them are kept, evenly spread.
    """

    def __init__(self, model: Any, count: int) -> None:
        self.model, self.every, self.count = model, -(-count // KEPT), 0
        self._images: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def __call__(self, images: Tensor) -> Tensor:
        """The network's scores (N, K) of images (N, 3, H, W)."""
        scores = passes.logits(self.model, images)
        for i in range(-self.count % self.every, len(images), self.every):
            self._images.append((255 * images[i].float()).round().byte().cpu().numpy())
        self._scores.append(scores.detach().float().cpu().numpy())
        self.count += len(images)
        return scores

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that were kept so far (F, 3, H, W), uint8, and the scores of all (P, K)."""
        return np.stack(self._images), np.concatenate(self._scores)


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
    output: str = "logit"  # the score; RISE, an average weighted by the score, always takes the probability
    look: int = 14  # which window, or which of the images that were kept
    opacity: float = 0.75  # of the map over the image


@dataclass(frozen=True)
class OcclusionResult(ImageResult):
    """A map, and what the network was shown to make it."""

    heatmap: np.ndarray  # the map so far (S, S), in units of the output
    target: int  # the number of the class that is explained
    probabilities: np.ndarray  # of the whole image (K,)
    seen: np.ndarray  # some of the images that the network was shown (F, 3, S, S), uint8
    scores: np.ndarray  # its logits for all of them (P, K); of a sliding window, the whole image comes first
    passes: int  # how many images it was shown
    # fraction of what helps that lies on the object; None if nobody knows where that is, or nothing helps
    inside: float | None
    area: float  # the object's fraction of the image
    scale: tuple[float, float]  # of the map's colors; it stays the same while the map forms
    done: bool  # whether the map is finished


class OcclusionExplorer(ImageExplorer):
    """Parts are hidden, the network runs again, and a map of what it needed forms."""

    name, title = "occlusion", "Take it away and see"
    question = (
        "What does the network need? Point at the map: the window there is hidden. "
        "Change what fills it: does the map still say the same?"
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
                Choice(
                    "output",
                    "Score",
                    choices=("logit", "probability"),
                    buttons=True,
                    changes=("heatmap",),
                    when=_takes("output"),
                ),
            ),
            *group(
                "How it is shown",
                Slider(
                    "look", "Picture shown", low=1, high=self._pictures, help="One of those that the network is shown"
                ),
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
        signed, count = METHODS[state.method].signed, state.samples
        if state.method == WINDOW:
            count = 1 + occlusion.windows(side, side, state.patch, state.stride).flatten(0, 1).shape[0]
        recorder, shown = Recorder(model, count), self.screen_image(state).numpy()
        masks = evaluation.object_masks(self.scene(state, side)) if self.is_drawn(state) else {}
        mask = masks.get(model.classes[target])
        options = _options(state)
        with torch.no_grad():  # the scale of a map that forms: no drop is larger if the score cannot fall below 0
            score = passes.score(model(image[None].to(model.device)).cpu(), torch.tensor([target]), _output(state))
        whole: float = abs(score.item())

        def result(heatmap: Tensor) -> OcclusionResult:
            if heatmap.numel() != side * side:  # half-way through, LIME and Kernel SHAP have answers but no map
                heatmap = torch.zeros(side, side)
            heatmap = heatmap.reshape(side, side).float().cpu()
            if state.method == RISE:  # so far a part of the sum
                heatmap = heatmap * state.samples / max(recorder.count, 1)
            high = max(whole, float(heatmap.abs().max()))
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
                (-high if signed else 0.0, high),
                done=False,
            )

        progress = progress.showing(result)
        heatmap = METHODS[state.method](recorder, image.to(model.device), target, progress=progress, **options)
        yield replace(result(heatmap), scale=plots.limits(heatmap, signed=signed), done=True)

    def panels(self, result: OcclusionResult, state: OcclusionState) -> list[Panel]:
        """The map over the image, what the network is shown, and its answer to that."""
        model = self.model(state)
        classes, name = model.classes, model.classes[result.target]
        laid = plots.overlay(result.shown, result.heatmap, state.opacity, _colors(state), result.scale)
        seen, scores, text = self._look(result, state)
        if state.method == WINDOW:
            x0, y0, x1, y1 = (laid.shape[0] * edge / result.image.shape[-1] for edge in _window(result, state))
            laid = plots.box(laid, (x0, y0, x1, y1), ORANGE)
        answer = torch.from_numpy(scores).softmax(dim=0).numpy()
        top = int(answer.argmax())
        other = "" if top == result.target else f"; {name} {answer[result.target]:.0%}"
        bars = self.probability_panel(
            state,
            answer,
            result.probabilities,
            title="What it says about that picture",
            marked=name,
            include=top,
            order=result.probabilities,
            caption=f"It says {classes[top]}, {answer[top]:.0%}{other}. Orange: {name}. Line: the whole picture.",
            width=350,
            row=46,
        )
        title, alt, caption = f"Where {name} comes from: {state.method}", self.alt(state), _meaning(state, name)
        if state.method == WINDOW:
            caption += " Point at a window to hide it."
        return [
            Panel(
                title,
                laid,
                f"map over {alt}",
                312,
                caption=caption,
                scale=(*result.scale, _colors(state)),
                touch="map" if state.method == WINDOW else "",
            ),
            Panel("What the network is shown", seen, f"{alt}, partly hidden", 312, sharp=True, caption=text),
            bars,
        ]

    def touch(self, at: Touch, result: OcclusionResult, state: OcclusionState) -> OcclusionState:
        """The window whose center is nearest to the pointer."""
        side = result.image.shape[-1]
        grid = occlusion.windows(side, side, state.patch, state.stride).float()
        centers = grid[..., :2] + state.patch / 2
        nearest = (centers - side * torch.tensor([at.x, at.y])).square().sum(dim=-1).argmin()
        return replace(state, look=1 + int(nearest)) if state.method == WINDOW else state

    def _pictures(self, state: OcclusionState) -> int:
        """How many images that the network is shown can be looked at: all windows, or those that are kept."""
        if state.method != WINDOW:
            return KEPT
        side = self.model(state).input_size
        return occlusion.windows(side, side, state.patch, min(state.stride, state.patch)).flatten(0, 1).shape[0]

    def _look(self, result: OcclusionResult, state: OcclusionState) -> tuple[np.ndarray, np.ndarray, str]:
        """One of the images that the network was shown, its scores (K,), and which it is, in words."""
        if state.method == WINDOW:
            number = _number(result, state)
            image = torch.from_numpy(result.image)
            hidden = occlusion.hide(image, torch.tensor(_window(result, state)), state.fill).clamp(0, 1)
            of_target = torch.from_numpy(result.scores[[0, number]])
            before, after = passes.score(of_target, torch.tensor([result.target] * 2), state.output).tolist()
            text = f"Window {number} of {self._pictures(state)}: "
            text += f"the {state.output} goes from {before:.2f} to {after:.2f}."
            return plots.enlarge(hidden, self.screen), result.scores[number], text
        number = min(state.look, len(result.seen)) - 1
        text = f"Picture {number + 1} of {len(result.seen)} that were kept, of {result.passes} shown so far."
        every = -(-state.samples // KEPT)
        return plots.enlarge(result.seen[number], self.screen), result.scores[number * every], text

    def describe(self, result: OcclusionResult, state: OcclusionState) -> str:
        """The network's answer, and how much of what helps lies on the object."""
        classes = self.model(state).classes
        answers = torch.from_numpy(result.scores).softmax(dim=1)[:, result.target]
        name, top = classes[result.target], int(result.probabilities.argmax())
        text = f"The network says {classes[top]}, {result.probabilities[top]:.0%}"
        text += f", and {name}, {result.probabilities[result.target]:.0%}" * (top != result.target)
        text += f"; with parts hidden, it gives {name} {answers.min():.0%} to {answers.max():.0%}"
        if result.inside is not None:
            text += (
                f". {result.inside:.0%} of the map's positive values lie on the {name}, which covers {result.area:.0%}"
            )
        return text + ("." if result.done else " (so far).")

    def code(self, state: OcclusionState) -> str:
        """The call that makes the map."""
        options = "".join(f", {name}={value!r}" for name, value in _options(state).items())
        call = f"{METHODS[state.method].code}(model, image, {self.target(state)!r}{options})"
        over = f"plots.overlay(image, heatmap, {state.opacity}, {_colors(state)!r})"
        if state.method != WINDOW:
            return self.script(state, f"heatmap = {call}", f"plots.show([image, {over}])")
        return self.script(
            state,
            f"heatmap = {call}",
            f"windows = occlusion.windows(*image.shape[-2:], patch={state.patch}, stride={state.stride}).flatten(0, 1)",
            f"hidden = occlusion.hide(image, windows[{state.look - 1}], fill={state.fill!r})",
            f"plots.show([image, {over}, hidden])",
        )


def _number(result: OcclusionResult, state: OcclusionState) -> int:
    """The number of the window that is looked at, from 1; the latest one while the map has not come so far."""
    return max(1, min(state.look, len(result.scores) - 1))


def _window(result: OcclusionResult, state: OcclusionState) -> list[int]:
    """The window that is looked at: x0, y0, x1, y1."""
    side = result.image.shape[-1]
    grid = occlusion.windows(side, side, state.patch, state.stride).flatten(0, 1)
    return [int(edge) for edge in grid[min(_number(result, state), len(grid)) - 1]]


def _takes(option: str) -> Any:
    """Whether the method of a state takes this option."""
    return lambda state: option in _options(state)


def _options(state: OcclusionState) -> dict[str, Any]:
    """What the method of a state is called with."""
    taken = METHODS[state.method].options.keys() - ({"output"} if state.method == RISE else set())
    return {option: getattr(state, option) for option in OPTIONS if option in taken}


def _output(state: OcclusionState) -> str:
    return "probability" if state.method == RISE else state.output


def _colors(state: OcclusionState) -> str:
    return "signed" if METHODS[state.method].signed else "heat"


def _meaning(state: OcclusionState, name: str) -> str:
    """What the colors mean, in the catalog's words."""
    meaning = METHODS[state.method].meaning.replace("score", f"{_output(state)} of {name}")
    read = (
        "Red above 0, blue below."
        if METHODS[state.method].signed
        else "Bright is high; there is no zero to compare with."
    )
    return f"{meaning[0].upper()}{meaning[1:]}. {read}"
