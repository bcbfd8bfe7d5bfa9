"""Integrated gradients, a step at a time: drag alpha from the baseline to the image while the attribution adds up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, plots
from xai_lessons.core import passes
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState, Touch
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.explorers.saliency import BASELINES, HOW, SIGNED, SIZE
from xai_lessons.methods import paths, saliency

POINTS = 33  # of the curve of the logit
LOGIT, SUM = "of the network", "sum of the attributions"
TILE = 232


@dataclass(frozen=True)
class PathState(ImageState, TargetState):
    """An image, a network, a class, a path from a baseline to the image, and a place on it."""

    alpha: float = 0.5  # how far along: 0 is the baseline, 1 the image
    baseline: str = "black"  # one of `BASELINES`
    steps: int = 32  # the number of gradients on the whole path
    shown_as: str = SIZE  # with the sign, or without it


@dataclass(frozen=True)
class PathResult(ImageResult):
    """The whole path; `alpha` only chooses what of it is drawn."""

    start: np.ndarray  # the baseline (3, S, S)
    gradients: np.ndarray  # in the middle of each step (M, 3, S, S)
    logits: np.ndarray  # of the class at `POINTS` places of the path (P,)
    target: int  # the number of the class
    mask: np.ndarray | None  # where the object is (S, S); None if nobody knows
    sums: np.ndarray  # of the attributions after each step (M + 1,)
    brightest: dict[str, tuple[float, float]]  # how shown -> the brightest value of all gradients, of the attribution

    def attribution(self, alpha: float) -> np.ndarray:
        """What has added up on the way to alpha (3, S, S); of a step that is not complete, the part that is."""
        done = np.clip(alpha * len(self.gradients) - np.arange(len(self.gradients)), 0, 1).astype(np.float32)
        total: np.ndarray = np.tensordot(done, self.gradients, axes=1)
        return (self.image - self.start) * total / len(self.gradients)

    def sum(self, alpha: float) -> float:
        """The sum of what has added up on the way to alpha."""
        return float(np.interp(alpha, np.linspace(0, 1, len(self.sums)), self.sums)) + 0.0

    def rise(self, alpha: float) -> float:
        """How far the logit has risen from the baseline to alpha."""
        return float(np.interp(alpha, np.linspace(0, 1, POINTS), self.logits - self.logits[0]))


class PathExplorer(ImageExplorer):
    """One slider runs along the path of integrated gradients; the gradients of all steps are computed once."""

    name, title = "path", "From the baseline to the picture"
    question = "Drag α. Where on the path does the attribution come in?"
    State = PathState
    stage = ("alpha", "baseline", "steps", "network")
    shown_by_code = ("gradients", "logits")

    def controls(self) -> tuple[Control, ...]:
        """The place on the path, the path, then class, network and image."""
        return (
            Slider("alpha", "α", low=0.0, step=0.01, changes=(PANELS,), help="0: the baseline. 1: the picture"),
            Choice(
                "baseline",
                "Baseline",
                choices=tuple(BASELINES),
                changes=("start", "gradients", "logits"),
                help="The picture that stands for nothing",
            ),
            Slider("steps", "Steps", values=(1, 2, 4, 8, 16, 32, 64), changes=("gradients",), help="Of the whole path"),
            *group("Explain", self.target_control("target", "gradients")),
            *group("How it is shown", Choice("shown_as", "Show", choices=(SIZE, SIGNED), changes=(PANELS,))),
            *self.network_controls("gradients", "logits"),
            *self.image_controls("image", "gradients"),
        )

    def compute(self, state: PathState, progress: Reporter) -> PathResult:
        """The gradients of all steps, and the logit along the path."""
        model, image = self.model(state), self.image(state)
        target = self.target_index(state, model.predict(image).cpu())
        start = paths.baseline_pictures(BASELINES[state.baseline], image[None])[0]

        def at(alphas: Tensor) -> Tensor:
            return torch.lerp(start, image, alphas.view(-1, 1, 1, 1))

        def logit(x: Tensor, c: Tensor | None) -> Tensor:
            with torch.no_grad():
                return passes.score(passes.logits(model, x), c)

        middles = (torch.arange(state.steps) + 0.5) / state.steps
        gradients = saliency.gradient(model, at(middles), target, progress=progress)
        logits: Tensor = passes.over_images(logit, model, at(torch.linspace(0, 1, POINTS)), target, progress=progress)
        masks = evaluation.object_masks(self.scene(state, image.shape[-1])) if self.is_drawn(state) else {}
        mask = masks.get(model.classes[target])
        phi = (image - start) * gradients.float().cpu() / state.steps  # of each step
        return PathResult(
            image.numpy(),
            self.screen_image(state).numpy(),
            start.numpy(),
            gradients.float().cpu().numpy(),
            logits.float().cpu().numpy(),
            target,
            None if mask is None else mask.numpy(),
            np.append(0, phi.sum(dim=(1, 2, 3)).cumsum(0).numpy()),
            {how: (_brightest(gradients.cpu(), how), _brightest(phi.sum(dim=0)[None], how)) for how in HOW.values()},
        )

    def panels(self, result: PathResult, state: PathState) -> list[Panel]:
        """The image at alpha, the gradient there, what has added up, and both curves."""
        alpha, m, how = state.alpha, len(result.gradients), HOW[state.shown_as]
        name, alt = self.model(state).classes[result.target], self.alt(state)
        step, shown = min(int(alpha * m), m - 1), torch.from_numpy(result.shown)
        start = paths.baseline_pictures(BASELINES[state.baseline], shown[None])[0]
        gradient, sofar, brightest = result.gradients[step], result.attribution(alpha), result.brightest[how]
        tiles = [
            Panel(
                f"The picture at α = {alpha:.2f}",
                torch.lerp(start, shown, alpha),
                f"{alt}, {alpha:.0%} of the way",
                TILE,
            ),
            Panel(
                "The gradient there",
                plots.attribution(gradient, how, scale=brightest[0], size=self.screen),
                f"gradient of the logit of {name} at α = {(step + 0.5) / m:.2f}",
                TILE,
            ),
            Panel(
                "The attribution so far",
                plots.attribution(sofar, how, scale=brightest[1], size=self.screen),
                f"integrated gradients of the logit of {name} up to α = {alpha:.2f}",
                TILE,
            ),
        ]
        said = float(result.logits[0]) + result.rise(alpha)
        captions = (
            f"Logit of {name}: {said:.1f}. Drag across a picture: left is α = 0.",
            _caption(
                gradient, result.mask, name, f"Step {step + 1} of {m}. Bright: a small change moves the logit most."
            ),
            _caption(sofar, result.mask, name, f"Its sum: {result.sum(alpha):.1f}."),
        )
        panels = [replace(tile, caption=text, touch="path") for tile, text in zip(tiles, captions, strict=True)]
        curve, places = result.logits - result.logits[0], [*np.arange(0, alpha, 1 / m).tolist(), alpha]
        every = np.concatenate([curve, result.sums])
        chart = plots.curves(
            {
                LOGIT: (np.linspace(0, 1, POINTS).tolist(), curve.tolist()),
                SUM: (places, [result.sum(a) for a in places]),
            },
            x_label="α",
            y_label=f"change of the logit of {name}",
            x_limits=(0, 1),
            y_limits=(float(every.min()) - 0.5, 1.1 * float(every.max()) + 0.5),
            marker=alpha,
            width=320,
            height=270,
        )
        listed = f"at α = {alpha:.2f} the logit has {_moved(result.rise(alpha))}; the sum is {result.sum(alpha):.1f}"
        text = "Where the logit's curve is flat, nothing is added to the sum."
        return [*panels, chart_panel("Do they add up?", chart, f"Two curves: {listed}", 320, text)]

    def touch(self, at: Touch, result: PathResult, state: PathState) -> PathState:
        """Alpha is how far from the left edge a picture is touched."""
        return replace(state, alpha=round(at.x, 2)) if at.kind != "move" else state

    def describe(self, result: PathResult, state: PathState) -> str:
        """The rise of the logit and the sum of the attributions, here and at the end of the path."""
        name, alpha = self.model(state).classes[result.target], state.alpha
        change, total = result.rise(1), result.sum(1)
        off = f", {abs(total - change) / abs(change):.1%} off" if change else ""
        return (
            f"α = {alpha:.2f}: the logit of {name} has {_moved(result.rise(alpha))} since the baseline, and the "
            f"attributions add up to {result.sum(alpha):.1f}. At the picture: {change:.2f} and {total:.2f}{off}."
        )

    def code(self, state: PathState) -> str:
        """The whole path, and what is shown of it."""
        target = f"model.class_index({state.target_class!r})" if self.target(state) else None
        m, how = state.steps, HOW[state.shown_as]
        return self.script(
            state,
            f"target = {target or 'int(model.predict(image).argmax())'}",
            f"start = paths.baseline_pictures({BASELINES[state.baseline]!r}, image[None])[0]",
            f"middles = (torch.arange({m}) + 0.5) / {m}  # of {m} steps",
            "gradients = saliency.gradient(model, torch.lerp(start, image, middles.view(-1, 1, 1, 1)), target).cpu()",
            "with torch.no_grad():",
            f"    path = torch.lerp(start, image, torch.linspace(0, 1, {POINTS}).view(-1, 1, 1, 1))",
            "    logits = model(path.to(model.device))[:, target].cpu()",
            f"alpha = {state.alpha}",
            f"done = (alpha * {m} - torch.arange({m})).clamp(0, 1)  # 1: this step is complete",
            f"attribution = (image - start) * torch.tensordot(done, gradients, 1) / {m}",
            "print(f'rise of the logit on the whole path: {logits[-1] - logits[0]:.2f}')",
            "print(f'sum of the attributions so far:      {attribution.sum():.2f}')",
            f"maps = [gradients[{min(int(state.alpha * m), m - 1)}], attribution]",
            f"shown = [torch.lerp(start, image, alpha), *(plots.attribution(one, {how!r}) for one in maps)]",
            "plots.show(shown, ['the picture at alpha', 'the gradient there', 'the attribution so far'])",
        )


def _brightest(maps: Tensor, how: str) -> float:
    """The value of the brightest color for several attributions (M, 3, S, S) on one scale."""
    each = maps.sum(dim=1).abs() if how == "signed" else maps.abs().amax(dim=1)
    return float(np.quantile(each.numpy(), 1 - plots.SATURATED)) or 1.0


def _caption(one: np.ndarray, mask: np.ndarray | None, name: str, text: str) -> str:
    """A caption, with how much of an attribution lies on the object."""
    if mask is None or not one.any():
        return text
    inside = float(evaluation.energy_inside(torch.from_numpy(one)[None], torch.from_numpy(mask)[None])[0])
    return f"{text} {inside:.0%} on the {name}."


def _moved(change: float) -> str:
    return f"{'fallen' if change < -0.05 else 'risen'} by {abs(change):.1f}"
