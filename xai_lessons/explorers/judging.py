"""Which explanation should you believe? All methods on the same pictures, beside controls that know nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons import evaluation, plots, results
from xai_lessons.data import menagerie
from xai_lessons.evaluation import METRICS
from xai_lessons.explorers.kit import (
    PANELS,
    Choice,
    Control,
    ImageExplorer,
    Many,
    NetworkState,
    Panel,
    Slider,
    Toggle,
)
from xai_lessons.methods import catalog
from xai_lessons.results import leaderboard

METHODS = {catalog.get(name).label: name for name in leaderboard.CHOSEN}
INK = "#222222"
DARK, PALE = np.array([0, 114, 178]), np.array([255, 255, 255])


@dataclass(frozen=True)
class LeaderboardState(NetworkState):
    """What is compared, on how many pictures, and what is shown of it.

    Attributes:
        methods: names of `METHODS`.
        metrics: names of `evaluation.METRICS`.
        pictures: how many.
        metric: the one that decides the order.
        blind: whether the controls are shown.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    metrics: tuple[str, ...] = tuple(METRICS)
    pictures: int = 8
    metric: str = "pointing_game"
    blind: bool = True


@dataclass(frozen=True)
class LeaderboardResult:
    """A table.

    Attributes:
        methods: the rows, methods first, then controls.
        control: which rows are controls (M,).
        metrics: the columns.
        scores: (M, K); NaN where a method has no answer.
        seconds: a picture (M,).
        pictures: on how many.
        rows: how many there will be.
        note: where it comes from.
    """

    methods: tuple[str, ...]
    control: np.ndarray
    metrics: tuple[str, ...]
    scores: np.ndarray
    seconds: np.ndarray
    pictures: int
    rows: int
    note: str = ""


class LeaderboardExplorer(ImageExplorer):
    """A leaderboard of explanations: methods against metrics, and the controls among them.

    Args:
        network: a network by its name, or a `models.Classifier`.
        networks: those to choose from.
        initial: fields of the state to start from.
    """

    name, title = "leaderboard", "Which one should you believe?"
    question = (
        "Order by one metric after the other. Who wins? Is it the same one twice? And where do the orange bars stand?"
    )
    State = LeaderboardState
    shown_by_code = ("scores", "control")
    counts: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    live = False

    def __init__(self, network: Any = None, *, networks: Sequence[Any] = (), **initial: Any) -> None:
        self._computed: dict[LeaderboardState, LeaderboardResult] = {}
        super().__init__(None, network, networks=networks, **initial)

    def controls(self) -> tuple[Control, ...]:
        """What orders the rows first; then what is computed."""
        what: dict[str, Any] = {"group": "Computed on Run"}
        return (
            Choice(
                name="metric",
                label="Order by",
                choices=lambda state: state.metrics or tuple(METRICS),
                names=_words,
                changes=(PANELS,),
                group="Shown",
            ),
            Toggle(
                name="blind",
                label="Show the controls",
                changes=(PANELS,),
                help="Maps that know nothing of the network",
                group="Shown",
            ),
            *self.network_controls("scores"),
            Slider(name="pictures", label="Pictures", values=self.counts, changes=("scores", "pictures"), **what),
            Many(name="methods", label="Methods", choices=tuple(METHODS), changes=("methods",), **what),
            Many(name="metrics", label="Metrics", choices=tuple(METRICS), names=_words, changes=("metrics",), **what),
        )

    def preview(self, state: LeaderboardState) -> LeaderboardResult:
        """What was computed last with these settings, else what is stored."""
        known = self._computed.get(_key(state))
        if known is not None:
            return known
        settings, stored = results.load("leaderboard")
        rows = stored.get(state.network, []) if state.network not in self._models else []
        note = f"Stored, of {settings['images']} pictures; Run computes it on {state.pictures} others."
        return _result(rows, state, settings["images"], note if rows else "Nothing is stored: press Run.")

    def compute(self, state: LeaderboardState, progress: Callable[[int, int], object]) -> Iterator[LeaderboardResult]:
        """A row after the other, each shown when it is ready."""
        model, rows = self.model(state), []
        scenes = menagerie.sample(state.pictures, seed=1, size=model.input_size, workers=1)
        chosen = leaderboard.methods({METHODS[label]: leaderboard.CHOSEN[METHODS[label]] for label in state.methods})
        for row in evaluation.each_row(chosen, {state.network: model}, scenes, state.metrics, progress=progress):
            rows.append(row)
            yield _result(rows, state, state.pictures)
        self._computed[_key(state)] = _result(rows, state, state.pictures)

    def panels(self, result: LeaderboardResult, state: LeaderboardState) -> list[Panel]:
        """The bars of one metric, and the whole table colored by rank."""
        order = _order(result, state)
        if not order:
            return [Panel("Nothing yet", np.full((40, 384, 3), 255, np.uint8), "an empty chart")]
        column = result.metrics.index(state.metric)
        values = result.scores[order, column]
        labels = [result.methods[i] for i in order]
        good = "high is good" if METRICS[state.metric].high else "low is good"
        bars = plots.bars(
            labels,
            np.nan_to_num(values).tolist(),
            marked=[k for k, i in enumerate(order) if result.control[i]],
            high=float(np.nanmax(np.abs(values), initial=1e-9)),
            percent=False,
            width=430,
            row=26,
        )
        told = ", ".join(f"{name} {value:.2f}" for name, value in zip(labels, values, strict=True))
        told_by = METRICS[state.metric].help
        caption = f"{told_by[0].upper()}{told_by[1:]}. Orange: controls, which know nothing of the network."
        return [
            Panel(f"{_words(state.metric)}: {good}", bars, f"Bars, the best first: {told}", 430, True, caption),
            Panel(
                "The whole table",
                table(result, order),
                f"A table of {len(order)} rows and {len(result.metrics)} metrics, ordered by {_words(state.metric)}",
                600,
                True,
                "Dark: best in its column. †: a control does at least as well.",
            ),
        ]

    def describe(self, result: LeaderboardResult, state: LeaderboardState) -> str:
        """Who wins, and whom a control beats."""
        if not _order(result, replace(state, blind=True)):
            return f"{state.network}: {result.note}"
        scores = dict(zip(result.methods, result.scores[:, result.metrics.index(state.metric)].tolist(), strict=True))
        text = f"{state.network}, {_words(state.metric)}: "
        controls = {m: scores[m] for m, c in zip(result.methods, result.control, strict=True) if c}
        own = {m: v for m, v in scores.items() if m not in controls and not math.isnan(v)}
        if own:
            first = _best(own, state.metric)
            others = sum(score == own[first] for score in own.values()) - 1
            shared = f", and {others} more share its score" if others else ""
            text += f"the best method is {first} ({own[first]:.2f}){shared}. "
        if controls:
            first = _best(controls, state.metric)
            lost = evaluation.beaten(own, controls[first], state.metric)
            text += f"The control {first!r} ({controls[first]:.2f}) does at least as well as "
            text += f"{', '.join(lost) if 0 < len(lost) < len(own) else 'every method' if lost else 'none'}. "
        if state.metric == "pointing_game":
            text += f"With {result.pictures} pictures a single one counts {1 / result.pictures:.2f}. "
        if len(result.methods) < result.rows:
            text += f"{len(result.methods)} of {result.rows} rows so far. "
        return f"{text}{result.note}".rstrip()

    def code(self, state: LeaderboardState) -> str:
        """The same table."""
        given = state.network in self._models
        modules = ["cam", "evaluation", "menagerie", "occlusion", "saliency", *([] if given else ["models"])]
        size = self.model(state).input_size
        sized = "" if size == 96 else f", size={size}"
        return "\n".join(
            [
                "from functools import partial",
                "",
                "import numpy as np",
                "",
                f"from xai_lessons import {', '.join(sorted(modules))}",
                "",
                "# model is the network that you gave" if given else f"model = models.load({state.network!r})",
                f"scenes = menagerie.sample({state.pictures}, seed=1{sized})",
                "methods = {",
                *(f"    {label!r}: {_code(label)}," for label in state.methods),
                "}",
                f"metrics = {list(state.metrics)!r}",
                "rows = evaluation.compare(methods, {'network': model}, scenes, metrics)",
                "print(evaluation.table(rows))",
                "scores = np.array([[row[metric] for metric in metrics] for row in rows])",
                "control = np.array([row['control'] for row in rows])",
            ]
        )

    def code_names(self, state: LeaderboardState) -> dict[str, Any]:
        """What the shown code takes as given."""
        return {"model": self._models[state.network]} if state.network in self._models else {}


def table(result: LeaderboardResult, order: Sequence[int]) -> np.ndarray:
    """The table as a picture at twice its size: a row a method, a column a metric, colored by rank."""
    names, row, cell, head = 330, 44, 124, 96
    image = Image.new("RGB", (names + cell * (len(result.metrics) + 1), head + row * len(order)), "white")
    draw, face, small = ImageDraw.Draw(image), plots.font(26), plots.font(20)
    for k, metric in enumerate([*result.metrics, "ms a picture"]):
        arrow = "" if metric not in METRICS else " ↑" if METRICS[metric].high else " ↓"
        text = (_words(metric) + arrow).replace(" ", "\n", 1)
        draw.multiline_text((names + cell * (k + 0.5), head / 2), text, INK, small, anchor="mm", align="center")
    for j, i in enumerate(order):
        y = head + row * j
        color = plots.PALETTE[1] if result.control[i] else INK
        draw.text((names - 12, y + row / 2), plots.fit(result.methods[i], face, names - 16), color, face, anchor="rm")
        for k in range(len(result.metrics)):
            text, share = _cell(result, order, i, k)
            x = names + cell * k
            shade = PALE + (DARK - PALE) * share
            draw.rectangle((x + 2, y + 2, x + cell - 2, y + row - 2), (int(shade[0]), int(shade[1]), int(shade[2])))
            color = "white" if share > 0.5 else INK
            draw.text((x + cell / 2, y + row / 2), text, color, face, anchor="mm")
        if np.isfinite(result.seconds[i]):
            x = names + cell * len(result.metrics)
            draw.text((x + cell / 2, y + row / 2), f"{1000 * result.seconds[i]:.0f}", INK, face, anchor="mm")
    return np.asarray(image)


def _cell(result: LeaderboardResult, order: Sequence[int], i: int, k: int) -> tuple[str, float]:
    """What a cell says, and the share of the shown rows that it beats."""
    good = result.scores[:, k] if METRICS[result.metrics[k]].high else -result.scores[:, k]
    if np.isnan(good[i]):
        return "-", 0.0
    lost = not result.control[i] and bool((good[result.control] >= good[i]).any())
    return f"{result.scores[i, k]:.2f}{'†' if lost else ''}", float((good[list(order)] < good[i]).mean())


def _code(label: str) -> str:
    """How the shown code calls a method."""
    method, options = catalog.get(METHODS[label]), leaderboard.CHOSEN[METHODS[label]]
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    return f"partial({method.code}{given})" if given else method.code


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _key(state: LeaderboardState) -> LeaderboardState:
    """The state without what only draws."""
    return replace(state, metric="pointing_game", blind=True)


def _best(scores: Mapping[str, float], metric: str) -> str:
    return (max if METRICS[metric].high else min)(scores, key=lambda name: scores[name])


def _result(
    rows: Sequence[Mapping[str, Any]], state: LeaderboardState, pictures: int, note: str = ""
) -> LeaderboardResult:
    """Rows of `evaluation.compare`, those of the state, as arrays."""
    kept = [row for row in rows if row["control"] or row["method"] in state.methods]
    return LeaderboardResult(
        tuple(row["method"] for row in kept),
        np.array([row["control"] for row in kept], dtype=bool),
        state.metrics,
        np.array([[row[m] for m in state.metrics] for row in kept], dtype=float).reshape(len(kept), len(state.metrics)),
        np.array([row["seconds"] for row in kept], dtype=float),
        pictures,
        len(state.methods) + len(evaluation.CONTROLS),
        note,
    )


def _order(result: LeaderboardResult, state: LeaderboardState) -> list[int]:
    """The rows to be shown, the best first by the chosen metric; those without an answer last."""
    if state.metric not in result.metrics:
        return []
    sign = -1 if METRICS[state.metric].high else 1
    scores = np.nan_to_num(sign * result.scores[:, result.metrics.index(state.metric)], nan=np.inf)
    return [int(i) for i in np.argsort(scores, kind="stable") if state.blind or not result.control[i]]
