"""Slide a map away from the network, towards a map that ignores it: which score notices?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from xai_lessons import evaluation, plots, results
from xai_lessons.data import menagerie
from xai_lessons.explorers.kit import BUILT_IN, Explorer, NetworkState, Reporter, network, with_imports
from xai_lessons.explorers.kit.controls import Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.results.mixtures import (
    CONTROLS,
    FILLS,
    METHODS,
    MIXTURES,
    PICTURES,
    SCORES,
    STEPS,
    mixed,
    score,
)


@dataclass(frozen=True)
class ScoresState(NetworkState):
    """A method, a control, and how much of the map is the control."""

    method: str = "Grad-CAM"  # one of `METHODS`
    control: str = "random"  # one of `CONTROLS`
    mixture: float = 0.0  # the fraction of the map's sum that is the control's
    fill: str = "black"  # of insertion and deletion
    picture: int = 0  # which of the pictures is shown


@dataclass(frozen=True)
class ScoresResult:
    """A mixed map and its scores."""

    image: np.ndarray  # (3, S, S)
    heatmap: np.ndarray  # the mixed map of the shown picture (S, S)
    scores: np.ndarray  # the mean of each of `SCORES` over the pictures (4,)
    errors: np.ndarray  # their standard errors (4,)
    curves: np.ndarray  # the scores (11, 4) for each of `MIXTURES`, stored or computed; NaN where not computed yet


class ScoresExplorer(Explorer):
    """Mix the map of a method with one that ignores the network, and watch four scores.

    Args:
        initial: fields of the state to start from.
    """

    name, title = "scores", "Which score notices?"
    question = "Mix in a map that ignores the network. Which score notices it?"
    State = ScoresState
    stage = ("mixture", "control", "fill", "method")
    shown_by_code = ("heatmap", "scores")

    def __init__(self, **initial: Any) -> None:
        self._data = lru_cache(maxsize=4)(_data)
        self._maps = lru_cache(maxsize=8)(self._compute_maps)
        self._scores = lru_cache(maxsize=256)(self._compute_scores)
        super().__init__(**initial)

    def controls(self) -> tuple[Control, ...]:
        """The mixture first."""
        return (
            Slider("mixture", "Ignores the network", values=MIXTURES, format=".0%", changes=("heatmap", "scores")),
            Choice("control", "Mixed with", choices=CONTROLS, changes=("curves",)),
            Choice("fill", "Fill", choices=FILLS, changes=("curves",), help="Of insertion and deletion"),
            Choice("method", "Map", choices=tuple(METHODS), changes=("heatmap", "scores")),
            *group("Network", Choice("network", "Network", choices=BUILT_IN, changes=("heatmap", "scores"))),
            *group("Picture", Slider("picture", "Number", high=PICTURES - 1, changes=("image", "heatmap"))),
        )

    def compute(self, state: ScoresState, progress: Reporter) -> Iterator[ScoresResult]:
        """The scores at the slider first, then those of all mixtures, unless these are stored."""
        maps = self._maps(state.network, state.method, state.control)
        image, heatmap = self._data(network(state.network).input_size)[0][state.picture], mixed(*maps, state.mixture)
        key = (state.network, state.method, state.control, state.fill)
        scores, errors = self._scores(*key, state.mixture)
        stored = _stored(state)
        curves = np.full((len(MIXTURES), len(SCORES)), np.nan) if stored is None else stored
        result = ScoresResult(image.numpy(), heatmap[state.picture].numpy(), scores, errors, curves)
        yield result
        if stored is not None:
            return
        for i, mixture in enumerate(MIXTURES):
            progress.update(i, len(MIXTURES))
            curves = curves.copy()
            curves[i] = self._scores(*key, mixture)[0]
            yield replace(result, curves=curves)

    def panels(self, result: ScoresResult, state: ScoresState) -> list[Panel]:
        """The map, its scores beside those of the pure map, and the scores of all mixtures."""
        picture = plots.overlay(plots.enlarge(result.image, 384), result.heatmap, 0.7)
        title = f"{state.mixture:.0%} {state.control}, {1 - state.mixture:.0%} {state.method}"
        pure = result.curves[0]
        bars = plots.bars(
            SCORES,
            result.scores.tolist(),
            before=None if np.isnan(pure).any() else pure.tolist(),
            colors=range(len(SCORES)),
            percent=False,
            width=340,
            row=52,
        )
        listed = ", ".join(f"{name} {value:.2f}" for name, value in zip(SCORES, result.scores, strict=True))
        done = ~np.isnan(result.curves).any(axis=1)
        xs = np.array(MIXTURES)[done]
        chart = plots.curves(
            {name: (xs, result.curves[done, k]) for k, name in enumerate(SCORES)},
            x_label="fraction of the map that ignores the network",
            y_label="score",
            x_limits=(0, 1),
            y_limits=(0, 1),
            marker=state.mixture,
            width=380,
            height=320,
        )
        note = "" if _stored(state) is None else "The curves are stored results; the bars are computed now."
        low = f"Mean of {PICTURES} pictures; line: the pure map. Deletion: low is good."
        return [
            Panel(title, picture, f"a map over picture {state.picture}: {title}", 300),
            chart_panel("Its scores", bars, listed, 340, low),
            chart_panel("All mixtures", chart, f"Curves of four scores; now {listed}", 380, note),
        ]

    def describe(self, result: ScoresResult, state: ScoresState) -> str:
        """The scores with their standard errors."""
        every = zip(SCORES, result.scores, result.errors, strict=True)
        listed = ", ".join(f"{name} {value:.2f} ± {error:.2f}" for name, value, error in every)
        return f"{state.mixture:.0%} of the map is {state.control}: {listed} ({PICTURES} pictures, fill {state.fill})."

    def code(self, state: ScoresState) -> str:
        """The mixed maps and their scores."""
        size = network(state.network).input_size
        sized = "" if size == 96 else f", size={size}"
        options = f"steps={STEPS}, fill={state.fill!r}"
        return with_imports(
            f"model = models.load({state.network!r})",
            f"x, y, masks = menagerie.sample({PICTURES}, seed=0{sized})",
            f"method, control = {METHODS[state.method].code}, evaluation.CONTROLS[{state.control!r}]",
            "M, C = (evaluation.heat(f(model, x, y)).cpu() for f in (method, control))",
            "M, C = (one / one.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12) for one in (M, C))",
            f"M = (1 - {state.mixture}) * M + {state.mixture} * C",
            f"heatmap = M[{state.picture}]",
            "scores = [",
            "    float(evaluation.pointing_game(M, masks).mean()),",
            "    float(evaluation.energy_inside(M, masks).mean()),",
            f"    float(evaluation.insertion(model, x, M, y, {options}).area.mean()),",
            f"    float(evaluation.deletion(model, x, M, y, {options}).area.mean()),",
            "]",
            f"bars = plots.bars({list(SCORES)}, scores, percent=False)",
            f"plots.show([plots.overlay(x[{state.picture}], heatmap), bars])",
        )

    def _compute_maps(self, name: str, method: str, control: str) -> tuple[Tensor, Tensor]:
        """The maps (N, S, S) of a method and of a control."""
        model = network(name)
        x, y, _ = self._data(model.input_size)
        both = (METHODS[method], evaluation.CONTROLS[control])
        return tuple(evaluation.heat(f(model, x, y)).float().cpu() for f in both)  # type: ignore[return-value]

    def _compute_scores(
        self, name: str, method: str, control: str, fill: str, mixture: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The four scores of a mixture and their standard errors (4,) each."""
        model = network(name)
        M = mixed(*self._maps(name, method, control), mixture)
        each = score(model, self._data(model.input_size), M, fill, STEPS)
        return each.mean(dim=1).numpy(), (each.std(dim=1) / each.shape[1] ** 0.5).numpy()


def _stored(state: ScoresState) -> np.ndarray | None:
    """The curves (11, 4) of a state from the stored results, if they were made with the explorer's settings."""
    settings, values = results.load("mixtures")
    here = {"network": state.network, "pictures": PICTURES, "steps": STEPS, "mixtures": list(MIXTURES)}
    return np.array(values[state.method][state.control][state.fill]) if settings == here else None


def _data(size: int) -> tuple[Any, ...]:
    """The pictures, their labels and masks."""
    return tuple(menagerie.sample(PICTURES, seed=0, size=size, workers=1))
