"""Which explanation should you believe? All methods on the same images, beside controls that ignore the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons import evaluation, plots, results
from xai_lessons.data import menagerie
from xai_lessons.evaluation import METRICS
from xai_lessons.explorers.kit import Cache, ImageExplorer, NetworkState, Reporter, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Many, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import catalog
from xai_lessons.results import leaderboard

METHODS = {catalog.get(name).label: name for name in leaderboard.CHOSEN}
DARK, PALE = np.array([0, 114, 178]), np.array([255, 255, 255])
HEADINGS = {
    "max_sensitivity": "max\nsensi-\ntivity",
    "randomization": "random-\nization",
    "ms per picture": "ms per\npicture",
}
TABLE = 0.47  # of the table's pixels, how many wide it stands on the page


@dataclass(frozen=True)
class LeaderboardState(NetworkState):
    """What is compared, on how many images, and what is shown of it."""

    methods: tuple[str, ...] = tuple(METHODS)  # names of `METHODS`
    metrics: tuple[str, ...] = tuple(METRICS)  # names of `evaluation.METRICS`
    pictures: int = 8  # how many
    metric: str = "pointing_game"  # the one that decides the order
    blind: bool = True  # whether the controls are shown


@dataclass(frozen=True)
class LeaderboardResult:
    """A table."""

    methods: tuple[str, ...]  # the rows, methods first, then controls
    control: np.ndarray  # which rows are controls (M,)
    metrics: tuple[str, ...]  # the columns
    scores: np.ndarray  # (M, K); NaN where a method has no answer
    seconds: np.ndarray  # per image (M,)
    errors: np.ndarray  # the standard errors of the scores (M, K); NaN where they are not known
    pictures: int  # on how many images
    rows: int  # how many there will be
    note: str = ""  # where it comes from


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
    stage = ("metric", "blind", "network")
    shown_by_code = ("scores", "control")
    counts: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    live = False

    def __init__(self, network: Any = None, *, networks: Sequence[Any] = (), **initial: Any) -> None:
        self._table_cache = Cache(16)
        super().__init__(None, network, networks=networks, **initial)

    def controls(self) -> tuple[Control, ...]:
        """What orders the rows first; then what is computed."""
        blind = "Maps that ignore the network"
        return (
            *group(
                "Shown",
                Choice("metric", "Order by", choices=lambda state: state.metrics or tuple(METRICS), names=_words),
                Toggle("blind", "Show the controls (orange)", help=blind),
                changes=(PANELS,),
            ),
            *self.network_controls("scores"),
            *group(
                "Computed when you press Run",
                Slider("pictures", "Pictures", values=self.counts, changes=("scores", "pictures")),
                Many("methods", "Methods", choices=tuple(METHODS), changes=("methods",)),
                Many("metrics", "Metrics", choices=tuple(METRICS), names=_words, changes=("metrics",)),
            ),
        )

    def preview(self, state: LeaderboardState) -> LeaderboardResult:
        """What was computed last with these settings, else what is stored."""
        known: LeaderboardResult | None = self._table_cache.get(_key(state))
        if known is not None:
            return known
        settings, stored = results.load("leaderboard")
        rows = stored.get(state.network, []) if state.network not in self._models else []
        note = f"Stored, of {settings['images']} pictures; Run computes it on {state.pictures} others."
        return _result(rows, state, settings["images"], note if rows else "Nothing is stored: press Run.")

    def compute(self, state: LeaderboardState, progress: Reporter) -> Iterator[LeaderboardResult]:
        """A row after the other, each shown when it is ready."""
        model, rows = self.model(state), []
        scenes = menagerie.sample(state.pictures, seed=1, size=model.input_size, workers=1)
        chosen = leaderboard.methods({METHODS[label]: leaderboard.CHOSEN[METHODS[label]] for label in state.methods})
        for row in evaluation.each_row(chosen, {state.network: model}, scenes, state.metrics, progress=progress):
            rows.append(row)
            result = _result(rows, state, state.pictures)
            yield result
        self._table_cache[_key(state)] = result

    def panels(self, result: LeaderboardResult, state: LeaderboardState) -> list[Panel]:
        """The bars of one metric, and the whole table colored by rank."""
        order = _order(result, state)
        if not order:
            return [Panel("Nothing yet", np.full((40, 384, 3), 255, np.uint8), "an empty chart")]
        k = result.metrics.index(state.metric)
        values, errors = result.scores[order, k], [_ends(result, i, k) for i in order]
        labels, metric, words = [result.methods[i] for i in order], METRICS[state.metric], _words(state.metric)
        bars = plots.bars(
            labels,
            np.nan_to_num(values).tolist(),
            marked=[row for row, i in enumerate(order) if result.control[i]],
            errors=errors,
            high=float(np.nanmax(np.abs(np.column_stack([values, np.array(errors)])), initial=1e-9)),
            percent=False,
            width=380,
            row=22,
        )
        listed = ", ".join(f"{name} {value:.2f}" for name, value in zip(labels, values, strict=True))
        caption = f"{metric.help[0].upper()}{metric.help[1:]}. "
        caption += "Orange: controls, which ignore the network. " * state.blind
        wilson = " (Wilson's, as it counts hits)" if state.metric == "pointing_game" else ""
        caption += f"The thin line: one standard error to each side{wilson}."
        title = f"{words}: {'high' if metric.high else 'low'} is good"
        whole = f"A table of {len(order)} rows and {len(result.metrics)} metrics, ordered by {words}"
        rows = table(result, order)
        legend = "Strongest blue: best in its column. †: a control does at least as well."
        return [
            chart_panel(title, bars, f"Bars, the best first: {listed}", 380, caption),
            chart_panel("The whole table", rows, whole, round(rows.shape[1] * TABLE), legend),
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
            column = result.errors[:, result.metrics.index(state.metric)].tolist()
            errors = dict(zip(result.methods, column, strict=True))
            spread = "" if math.isnan(errors[first]) else f" ± {errors[first]:.2f}"
            text += f"the best method is {first} ({own[first]:.2f}{spread})"
            close = len(evaluation.leaders(own, errors, state.metric)) - 1
            if close:
                many = f"{close} of the {len(own) - 1}" if close < len(own) - 1 else "all"
                text += f", but its lead over {many} others is within two standard errors: no winner"
            elif spread and len(own) > 1:
                text += ", and its lead is larger than two standard errors"
            text += ". "
        if controls:
            first = _best(controls, state.metric)
            lost = evaluation.beaten(own, controls[first], state.metric)
            text += f"The control {first!r} ({controls[first]:.2f}) equals or beats "
            text += f"{', '.join(lost) if 0 < len(lost) < len(own) else 'every method' if lost else 'no method'}. "
        if state.metric == "pointing_game":
            text += f"With {result.pictures} pictures a single one counts {1 / result.pictures:.2f}. "
        if len(result.methods) < result.rows:
            text += f"{len(result.methods)} of {result.rows} rows so far. "
        return f"{text}{result.note}".rstrip()

    def code(self, state: LeaderboardState) -> str:
        """The same table."""
        size = self.model(state).input_size
        sized = "" if size == 96 else f", size={size}"
        return with_imports(
            self.network_code(state),
            f"scenes = menagerie.sample({state.pictures}, seed=1{sized})",
            "methods = {",
            *(f"    {label!r}: {_code(label)}," for label in state.methods),
            "}",
            f"metrics = {list(state.metrics)!r}",
            "rows = evaluation.compare(methods, {'network': model}, scenes, metrics)",
            "print(evaluation.table(rows))",
            "scores = np.array([[row[metric] for metric in metrics] for row in rows])",
            "control = np.array([row['control'] for row in rows])",
            f"values = [row[{state.metric!r}] for row in rows]",
            *_error_code(state.metric),
            "names, marked = [row['method'] for row in rows], control.nonzero()[0]",
            "options = dict(marked=marked, errors=errors, high=np.nanmax(errors), percent=False)",
            "plots.show([plots.bars(names, np.nan_to_num(values), **options)])",
        )


def table(result: LeaderboardResult, order: Sequence[int]) -> np.ndarray:
    """The table as an image at twice its size: one row per method, one column per metric, colored by rank."""
    names, row, cell, head = 284, 44, 138, 96
    columns = [*result.metrics, "ms per picture"]
    image = Image.new("RGB", (names + cell * len(columns), head + row * len(order)), "white")
    draw, face = ImageDraw.Draw(image), plots.font(26)
    headings = [_heading(name) for name in columns]
    small = plots.fitting([line for text in headings for line in text.split("\n")], cell - 4, (25, 23, 21))
    for k, text in enumerate(headings):
        draw.multiline_text((names + cell * (k + 0.5), head / 2), text, plots.INK, small, anchor="mm", align="center")
    for j, i in enumerate(order):
        top, y = head + row * j, head + row * (j + 0.5)
        color = plots.PALETTE[1] if result.control[i] else plots.INK
        draw.text((names - 12, y), plots.fit(result.methods[i], face, names - 16), color, face, anchor="rm")
        for k in range(len(columns)):
            text, beaten = _cell(result, order, i, k)
            x, shade = names + cell * k, PALE + (DARK - PALE) * beaten
            draw.rectangle((x + 2, top + 2, x + cell - 2, top + row - 2), tuple(shade.astype(int).tolist()))
            draw.text((x + cell / 2, y), text, "white" if beaten > 0.85 else plots.INK, face, anchor="mm")
    return np.asarray(image)


def _cell(result: LeaderboardResult, order: Sequence[int], i: int, k: int) -> tuple[str, float]:
    """The text of a cell, and the fraction of the shown rows that it beats; the last column is the time."""
    if k == len(result.metrics):
        return f"{1000 * result.seconds[i]:.0f}" if np.isfinite(result.seconds[i]) else "", 0.0
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


def _ends(result: LeaderboardResult, i: int, k: int) -> tuple[float, float]:
    """The score one standard error down and up; of the pointing game, which counts hits, Wilson's interval."""
    score, error = float(result.scores[i, k]), float(result.errors[i, k])
    if result.metrics[k] == "pointing_game" and not math.isnan(score):
        return evaluation.wilson_interval(score, result.pictures, z=1)
    return score - error, score + error


def _error_code(metric: str) -> list[str]:
    """How the shown code gets the ends of the error bars."""
    if metric == "pointing_game":
        return ["errors = [evaluation.wilson_interval(value, len(scenes[0]), z=1) for value in values]"]
    return [
        f"spread = [row['standard_errors'][{metric!r}] for row in rows]",
        "errors = [(value - one, value + one) for value, one in zip(values, spread)]",
    ]


def _heading(column: str) -> str:
    """The heading of a column in lines that are short enough, and an arrow to where the good values are."""
    text = HEADINGS.get(column, _words(column).replace(" ", "\n", 1))
    if column not in METRICS:
        return text
    gap = " " if "\n" in text else "\n"
    return f"{text}{gap}{'↑' if METRICS[column].high else '↓'}"


def _words(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


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
        np.array([[row.get("standard_errors", {}).get(m, math.nan) for m in state.metrics] for row in kept]).reshape(
            len(kept), len(state.metrics)
        ),
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
