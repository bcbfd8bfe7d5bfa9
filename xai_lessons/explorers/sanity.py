"""What becomes of a map when the network's weights are randomized: the sanity check of saliency maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter
from xai_lessons.explorers.kit.controls import Control, Many, Slider, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import catalog

EDGES = "Edges (no network)"
NAMES = ("gradient", "guided_backprop", "integrated_gradients", "smooth_grad", "guided_grad_cam", "grad_cam")
METHODS: dict[str, Any] = {catalog.METHODS[name].label: catalog.METHODS[name] for name in NAMES}
METHODS[EDGES] = evaluation.CONTROLS["edges"]
TILE = 220
POINTS = 12  # of the curve, at most


@dataclass(frozen=True)
class SanityState(ImageState):
    """An image, a network, and how many of its layers, from the top, have forgotten everything."""

    picture: str = "bird"
    methods: tuple[str, ...] = ("Gradient", "Guided backprop", "Grad-CAM", EDGES)  # labels of `METHODS`
    forgotten: int = 0  # the number of layers
    chance: int = 0  # the seed of the random weights


@dataclass(frozen=True)
class SanityResult(ImageResult):
    """Maps before and after."""

    target: int  # the number of the class that the whole network predicts; it is explained before and after
    probability: float  # of that class, after
    # before, maps: the maps (M, S, S) of the whole network and of the one that has forgotten
    before: np.ndarray
    maps: np.ndarray
    correlations: np.ndarray  # rank correlation of the two (M,)
    counts: np.ndarray  # numbers of forgotten layers (P,) of the curve
    curve: np.ndarray  # rank correlations (M, P); NaN where they are not computed yet


class SanityExplorer(ImageExplorer):
    """A slider that makes the network forget, layer by layer from the top: which explanation notices?"""

    name, title = "sanity", "Does the explanation notice that the network is broken?"
    question = "Make it forget, layer by layer. Which map still draws the object?"
    State = SanityState
    stage = ("forgotten", "network", "seed")
    shown_by_code = ("maps", "correlations")

    def controls(self) -> tuple[Control, ...]:
        """How much is forgotten, the methods, network and image."""
        return (
            *group(
                "The network forgets",
                Slider(
                    "forgotten",
                    "Forgotten",
                    high=lambda state: len(evaluation.weight_layers(self.model(state))),
                    changes=("maps", "correlations", "probability"),
                    help="How many layers, from the top, have random weights",
                ),
                Slider("chance", "Weights", high=9, changes=("maps", "curve"), help="The seed of the random weights"),
            ),
            *group("Maps", Many("methods", "Methods", choices=tuple(METHODS), changes=("maps",))),
            *self.network_controls("before", "maps"),
            *self.image_controls("image", "before"),
        )

    def compute(self, state: SanityState, progress: Reporter) -> Iterator[SanityResult]:
        """The maps at the slider first, then the curve over all layers, a point at a time."""
        model, image = self.model(state), self.image(state)
        target = int(model.predict(image).argmax())

        def broken(layers: int) -> Any:
            return evaluation.randomize_layers(model, layers, seed=state.chance)

        network, layers = broken(state.forgotten), len(evaluation.weight_layers(model))
        before, maps = _maps(model, image, target, state.methods), _maps(network, image, target, state.methods)
        counts = np.unique(np.linspace(0, layers, min(layers + 1, POINTS)).round().astype(int))
        result = SanityResult(
            *self.both_sizes(image),
            target,
            float(network.predict(image)[target]),
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
            progress.update(i, len(counts))
            after = _maps(broken(int(count)), image, target, state.methods)
            curve = result.curve.copy()
            curve[:, i] = evaluation.rank_correlation(before, after).numpy()
            result = replace(result, curve=curve)
            yield result

    def panels(self, result: SanityResult, state: SanityState) -> list[Panel]:
        """Each map before above the one after, and the curves."""
        title = f"{self.model(state).classes[result.target]} {result.probability:.0%}"
        image = Panel(title, result.shown, self.alt(state), TILE, caption=f"Forgotten: {state.forgotten}.", below=True)
        panels, under = [], [image]
        correlations = dict(zip(state.methods, (result.correlations + 0.0).tolist(), strict=True))
        every = zip(correlations.items(), result.before, result.maps, strict=True)
        for i, ((method, value), before, after) in enumerate(every):
            now, whole = (plots.attribution(one, size=self.screen) for one in (after, before))
            alt, caption = (
                f"{method} with {state.forgotten} layers forgotten",
                f"Correlation with the whole network's map: {value:.2f}.",
            )
            panels.append(Panel(method, now, alt, TILE, caption=caption, below=i > 2))
            under.append(Panel(f"{method}, before", whole, f"{method} with all layers", TILE, below=True))
        done = ~np.isnan(result.curve).any(axis=0)
        if done.any():
            xs = result.counts[done].tolist()
            chart = plots.curves(
                {m: (xs, row[done].tolist()) for m, row in zip(state.methods, result.curve, strict=True)},
                x_label="layers forgotten, from the top",
                y_label="rank correlation",
                y_limits=(-0.2, 1.05),
                marker=state.forgotten,
                places=tuple(METHODS),
                width=330,
                height=300,
            )
            caption = (
                "The curves compare sizes only: the gradient's can stay high although its signs have changed. "
                "A map that keeps its signs as well hardly needs the lost layers."
            )
            alt = "Curves; at the line: " + ", ".join(f"{m} {value:.2f}" for m, value in correlations.items())
            panels.append(chart_panel("Who notices?", chart, alt, 330, caption))
        return panels + under

    def describe(self, result: SanityResult, state: SanityState) -> str:
        """What is left of the network, and of the maps."""
        name = self.model(state).classes[result.target]
        layers = "layer" if state.forgotten == 1 else "layers"
        text = f"{state.forgotten} {layers} forgotten: the network gives {name} {result.probability:.0%}."
        pairs = zip(state.methods, result.correlations.tolist(), strict=True)
        listed = ", ".join(f"{m} {round(c, 1) + 0.0:.1f}" for m, c in pairs)
        return text + (f" Rank correlation with the map before: {listed}." if listed else " Choose a method.")

    def code(self, state: SanityState) -> str:
        """The maps of the network that has forgotten, and their correlations."""
        calls = ["evaluation.CONTROLS['edges']" if name == EDGES else METHODS[name].code for name in state.methods]
        return self.script(
            state,
            "target = int(model.predict(image).argmax())",
            f"broken = evaluation.randomize_layers(model, {state.forgotten}, seed={state.chance})",
            f"methods = [{', '.join(calls)}]",
            "before = torch.cat([evaluation.heat(method(model, image[None], target)) for method in methods])",
            "maps = torch.cat([evaluation.heat(method(broken, image[None], target)) for method in methods])",
            "correlations = evaluation.rank_correlation(before, maps)",
            "pictures = [plots.attribution(one) for one in (*before, *maps)]",
            "plots.show(pictures, columns=max(1, len(methods)), caption='Above: before. Below: after.')",
        )


def _maps(model: models.Classifier, image: Tensor, target: int, methods: Sequence[str]) -> Tensor:
    """The maps (M, S, S) without sign; zero where a method has no answer."""
    maps = [torch.empty(0, *image.shape[1:])]
    for name in methods:
        try:
            maps.append(evaluation.heat(METHODS[name](model, image[None], target)).float().cpu())
        except ValueError:  # say, guided backprop of a network without ReLUs
            maps.append(torch.zeros(1, *image.shape[1:]))
    return torch.cat(maps)
