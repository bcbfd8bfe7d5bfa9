"""What becomes of a map when the network forgets: the sanity check of saliency maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.explorers.kit import Control, ImageExplorer, ImageState, Many, NetworkState, Panel, Slider, resized
from xai_lessons.methods import cam, saliency

# name -> the function, and how the shown code calls it
METHODS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "Gradient": (saliency.gradient, "saliency.gradient"),
    "Guided backprop": (saliency.guided_backprop, "saliency.guided_backprop"),
    "Integrated gradients": (saliency.integrated_gradients, "saliency.integrated_gradients"),
    "SmoothGrad": (saliency.smooth_grad, "saliency.smooth_grad"),
    "Guided Grad-CAM": (saliency.guided_grad_cam, "saliency.guided_grad_cam"),
    "Grad-CAM": (cam.grad_cam, "cam.grad_cam"),
    "Edges (no network)": (evaluation.CONTROLS["edges"], "evaluation.CONTROLS['edges']"),
}
POINTS = 12  # of the curve, at most


@dataclass(frozen=True)
class SanityState(ImageState, NetworkState):
    """A picture, a network, and how many of its layers, from the top, have forgotten everything.

    Attributes:
        methods: names of `METHODS`.
        forgotten: the number of layers.
        chance: the seed of the random weights.
    """

    picture: str = "bird"
    methods: tuple[str, ...] = ("Gradient", "Guided backprop", "Grad-CAM", "Edges (no network)")
    forgotten: int = 0
    chance: int = 0


@dataclass(frozen=True)
class SanityResult:
    """Maps before and after.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        shown: the same, drawn for the screen.
        target: the class that the whole network predicts; it is explained before and after.
        probability: of that class, after.
        before, maps: the maps (M, S, S) of the whole network and of the one that has forgotten.
        correlations: rank correlation of the two (M,).
        counts: numbers of forgotten layers (P,) of the curve.
        curve: rank correlations (M, P); NaN where they are not computed yet.
    """

    image: np.ndarray
    shown: np.ndarray
    target: int
    probability: float
    before: np.ndarray
    maps: np.ndarray
    correlations: np.ndarray
    counts: np.ndarray
    curve: np.ndarray


class SanityExplorer(ImageExplorer):
    """A slider that makes the network forget, layer by layer from the top: which explanation notices?"""

    name, title = "sanity", "Does the explanation notice that the network is broken?"
    question = "Make it forget, layer by layer. Above: the maps before; below: after. Which still draws the bird?"
    State = SanityState
    shown_by_code = ("maps", "correlations")

    def controls(self) -> tuple[Control, ...]:
        """How much is forgotten, the methods, network and picture."""
        return (
            Slider(
                name="forgotten",
                label="Forgotten",
                high=lambda state: len(evaluation.weight_layers(self.model(state))),
                changes=("maps", "correlations", "probability"),
                help="How many layers, from the top, have random weights",
                group="The network forgets",
            ),
            Slider(
                name="chance",
                label="Weights",
                high=9,
                changes=("maps", "curve"),
                help="The seed of the random weights",
                group="The network forgets",
            ),
            Many(name="methods", label="Methods", choices=tuple(METHODS), changes=("maps",), group="Maps"),
            *self.network_controls("before", "maps"),
            *self.image_controls("image", "before"),
        )

    def compute(self, state: SanityState, progress: Callable[[int, int], object]) -> Iterator[SanityResult]:
        """The maps at the slider first, then the curve over all layers, a point at a time."""
        model, image = self.model(state), self.image(state)
        target = int(model.predict(image).argmax())
        broken = _broken(model, state)
        before, maps = _maps(model, image, target, state.methods), _maps(broken, image, target, state.methods)
        counts = _counts(len(evaluation.weight_layers(model)))
        result = SanityResult(
            image.numpy(),
            resized(image, self.screen).numpy(),
            target,
            float(_probabilities(broken, image)[target]),
            before.numpy(),
            maps.numpy(),
            evaluation.rank_correlation(before, maps).numpy() if len(maps) else np.empty(0),
            counts,
            np.full((len(maps), len(counts)), np.nan),
        )
        yield result
        result = replace(result, shown=self.screen_image(state).numpy())
        yield result
        for i, count in enumerate(counts if len(maps) else ()):
            progress(i, len(counts))
            after = _maps(_broken(model, replace(state, forgotten=int(count))), image, target, state.methods)
            curve = result.curve.copy()
            curve[:, i] = evaluation.rank_correlation(before, after).numpy()
            result = replace(result, curve=curve)
            yield result

    def panels(self, result: SanityResult, state: SanityState) -> list[Panel]:
        """Each map before above the one after, and the curves."""
        size = 132 if len(state.methods) > 2 else 208
        name, said = self.model(state).classes[result.target], self.alt(state)
        picture = plots.enlarge(result.shown, size, smooth=True)
        panels = [
            Panel(f"{name} {result.probability:.0%}", picture, said, size, caption=f"forgotten: {state.forgotten}")
        ]
        gap = np.full((6, size, 3), 255, np.uint8)
        for method, before, after, c in zip(
            state.methods, result.before, result.maps, result.correlations + 0.0, strict=True
        ):
            pair = np.concatenate([plots.attribution(before, size=size), gap, plots.attribution(after, size=size)])
            alt = f"{method}: above with all layers, below with {state.forgotten} forgotten"
            panels.append(Panel(method, pair, alt, size, caption=f"correlation {c:.2f}"))
        done = ~np.isnan(result.curve).any(axis=0)
        if not done.any():
            return panels
        xs = result.counts[done].tolist()
        series = {m: (xs, row[done].tolist()) for m, row in zip(state.methods, result.curve, strict=True)}
        chart = plots.curves(
            series,
            x_label="layers forgotten, from the top",
            y_label="rank correlation",
            y_limits=(-0.2, 1.05),
            marker=state.forgotten,
            width=450,
        )
        caption = "An explanation of the network should fall; a curve that stays up explains the picture."
        told = ", ".join(f"{m} {c:.2f}" for m, c in zip(state.methods, result.correlations, strict=True))
        chart_panel = Panel("Who notices?", chart, f"Curves; at the line: {told}", 450, sharp=True, caption=caption)
        return [*panels, chart_panel]

    def describe(self, result: SanityResult, state: SanityState) -> str:
        """What is left of the network, and of the maps."""
        name = self.model(state).classes[result.target]
        layers = "layer" if state.forgotten == 1 else "layers"
        text = f"{state.forgotten} {layers} forgotten: the network gives {name} {result.probability:.0%}."
        pairs = zip(state.methods, result.correlations, strict=True)
        told = ", ".join(f"{m} {round(float(c), 1) + 0.0:.1f}" for m, c in pairs)
        return text + (f" Rank correlation with the map before: {told}." if told else " Choose a method.")

    def code(self, state: SanityState) -> str:
        """The maps of the network that has forgotten, and their correlations."""
        forget = f"evaluation.randomize_layers(model, {state.forgotten}, seed={state.chance})"
        return "\n".join(
            [
                self.setup_code(state, "cam", "evaluation", "saliency", also=["import torch"]),
                "target = int(model.predict(image).argmax())",
                f"broken = {forget}",
                "methods = [",
                *(f"    {METHODS[name][1]}," for name in state.methods),
                "]",
                "before = torch.cat([evaluation.heat(method(model, image[None], target)) for method in methods])",
                "maps = torch.cat([evaluation.heat(method(broken, image[None], target)) for method in methods])",
                "correlations = evaluation.rank_correlation(before, maps)",
            ]
        )


def _broken(model: models.Classifier, state: SanityState) -> models.Classifier:
    """A copy of the network with forgotten layers."""
    forgotten: Any = evaluation.randomize_layers(model, state.forgotten, seed=state.chance)
    return forgotten


def _probabilities(model: models.Classifier, image: Tensor) -> Tensor:
    return model.predict(image).float().cpu()


def _maps(model: models.Classifier, image: Tensor, target: int, methods: Sequence[str]) -> Tensor:
    """The maps (M, S, S) by size; zero where a method has no answer."""
    found = []
    for name in methods:
        try:
            one = METHODS[name][0](model, image[None], target)
            found.append(evaluation.heat(one).float().cpu())
        except ValueError:  # say, guided backprop of a network without ReLUs
            found.append(torch.zeros(1, *image.shape[1:]))
    return torch.cat(found) if found else torch.empty(0, *image.shape[1:])


def _counts(layers: int) -> np.ndarray:
    """The numbers of forgotten layers of the curve: all, or evenly spaced ones."""
    return np.unique(np.linspace(0, layers, min(layers + 1, POINTS)).round().astype(int))
