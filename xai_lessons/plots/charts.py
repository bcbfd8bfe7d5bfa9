"""Bars and curves drawn with Pillow: the charts that move with a slider. `plots` gives them under its own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Line and bar colors that stay apart for color-blind readers (Okabe and Ito).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A", "#B8A800")
INK, PALE, RULE = "#222222", "#666666", "#D8D8D8"


@lru_cache
def font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans as it comes with matplotlib, without importing matplotlib; else Pillow's own font."""
    spec = find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def fit(text: str, face: Any, room: float) -> str:
    """The text, cut with an ellipsis where it is longer than `room` pixels."""
    if face.getlength(text) <= room:
        return text
    while text and face.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    marked: Sequence[int] = (),
    before: Sequence[float] | None = None,
    high: float = 1.0,
    percent: bool = True,
    width: int = 384,
    row: int = 34,
) -> np.ndarray:
    """Horizontal bars with their labels and values, largest as given first; drawn at twice the size, to look sharp.

    Args:
        labels: one text a bar.
        values: lengths of the bars, 0 to `high`.
        marked: indices of the bars in orange (say, the true class).
        before: earlier values, shown as a thin mark on each bar.
        high: the value of a full bar.
        percent: write values as percentages.
        width: width in screen pixels; the array is twice as wide.
        row: height of a bar's row in screen pixels.
    """
    if len(labels) != len(values):
        raise ValueError(f"{len(labels)} labels and {len(values)} values came; expected as many of each.")
    twice, step = 2 * width, 2 * row
    image = Image.new("RGB", (twice, step * max(1, len(labels))), "white")
    draw, face = ImageDraw.Draw(image), font(30)
    names = [fit(str(label), face, twice * 0.42) for label in labels]
    x0 = max([face.getlength(name) for name in names], default=0) + 16
    room = twice - x0 - face.getlength("100.0%" if percent else "-00.000") - 20
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        middle = (i + 0.5) * step
        draw.text((x0 - 12, middle), name, INK, face, anchor="rm")
        length = room * min(max(float(value) / high, 0.0), 1.0)
        draw.rectangle((x0, middle - step * 0.3, x0 + room, middle + step * 0.3), fill="#F1F1F1")
        draw.rectangle((x0, middle - step * 0.3, x0 + max(length, 2), middle + step * 0.3), PALETTE[int(i in marked)])
        if before is not None:
            x = x0 + room * min(max(float(before[i]) / high, 0.0), 1.0)
            draw.line((x, middle - step * 0.42, x, middle + step * 0.42), INK, 4)
        draw.text((x0 + room + 12, middle), f"{100 * value:.1f}%" if percent else f"{value:.3g}", INK, face, "lm")
    return np.asarray(image)


def matrix(
    counts: Any,
    names: Sequence[str],
    *,
    marked: tuple[int | None, int | None] = (None, None),
    high: float | None = None,
    width: int = 480,
) -> np.ndarray:
    """A confusion matrix: rows what it is, columns what it was called, mistakes the darker the more there are.

    Args:
        counts: (K, K), of a tensor or an array.
        names: of the K classes.
        marked: a row, a column, or both (then their cell), to be framed; None for none.
        high: how many mistakes are darkest; by default the most in this matrix. Pass one to compare matrices.
        width: width in screen pixels; the array is twice as wide.
    """
    values = np.asarray(counts, dtype=float)
    k = len(names)
    if values.shape != (k, k):
        raise ValueError(f"counts of shape {values.shape} and {k} names came; expected ({k}, {k}).")
    wrong = np.where(np.eye(k, dtype=bool), 0.0, values)
    most = max(wrong.max() if high is None else high, 1)
    face, twice = font(min(width // 20, 360 // k)), 2 * width
    left = int(max(face.getlength(name) for name in names)) + 24
    side = (twice - left - 6) // k
    image = Image.new("RGB", (twice, left + side * k + 6), "white")
    draw = ImageDraw.Draw(image)
    deep = np.array([213, 94, 0])
    for i, name in enumerate(names):
        draw.text((left - 12, left + (i + 0.5) * side), name, INK, face, anchor="rm")
        tall = Image.new("RGB", (left - 12, side), "white")
        ImageDraw.Draw(tall).text((0, side / 2), name, INK, face, anchor="lm")
        image.paste(tall.rotate(90, expand=True), (left + i * side, 0))
        for j in range(k):
            x, y = left + j * side, left + i * side
            share = min(1.0, float(np.sqrt(wrong[i, j] / most)))
            fill = (222, 235, 247) if i == j else tuple(int(v) for v in 255 - share * (255 - deep))
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill, RULE)
            if values[i, j]:
                ink = "white" if share > 0.8 else INK
                draw.text((x + side / 2, y + side / 2), f"{values[i, j]:g}", ink, face, anchor="mm")
    row, column = marked
    if row is not None or column is not None:
        top, low = (0, k) if row is None else (row, row + 1)
        first, last = (0, k) if column is None else (column, column + 1)
        frame = (left + first * side - 2, left + top * side - 2, left + last * side + 1, left + low * side + 1)
        draw.rectangle(frame, outline=PALETTE[0], width=6)
    draw.text((6, left - 14), "it is ↓", PALE, face, anchor="lb")
    draw.text((left - 12, 12), "it says →", PALE, face, anchor="rt")
    return np.asarray(image)


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between low and high, about `count` of them."""
    raw = (high - low) / max(count - 1, 1)
    unit = 10.0 ** np.floor(np.log10(raw))
    step = float(next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999))
    return [round(k * step, 10) for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str = "",
    y_label: str = "",
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    marker: float | None = None,
    width: int = 460,
    height: int = 300,
) -> np.ndarray:
    """Lines with axes and a legend, `series` name -> (xs, ys); `marker` draws a vertical line at that x.

    Drawn at twice `width` and `height`; a NaN breaks its line. Each line differs in color, and in dashes too.
    """
    big = (2 * width, 2 * height)
    image = Image.new("RGB", big, "white")
    draw, face = ImageDraw.Draw(image), font(26)
    xs = np.concatenate([np.asarray(x, float) for x, _ in series.values()] or [np.zeros(0)])
    ys = np.concatenate([np.asarray(y, float) for _, y in series.values()] or [np.zeros(0)])
    xs, ys = xs[np.isfinite(xs)], ys[np.isfinite(ys)]
    (low_x, high_x), (low_y, high_y) = x_limits or _span(xs), y_limits or _span(ys)
    left, right, top, bottom = 110, big[0] - 24, 44 + 36 * ((len(series) + 1) // 2), big[1] - 92

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (x - low_x) / (high_x - low_x),
            bottom - (bottom - top) * (y - low_y) / (high_y - low_y),
        )

    for tick in _ticks(low_y, high_y):
        y = place(low_x, tick)[1]
        draw.line((left, y, right, y), RULE, 2)
        draw.text((left - 10, y), f"{tick:g}", PALE, face, anchor="rm")
    for tick in _ticks(low_x, high_x):
        x = place(tick, low_y)[0]
        draw.line((x, bottom, x, bottom + 8), PALE, 2)
        draw.text((x, bottom + 12), f"{tick:g}", PALE, face, anchor="mt")
    draw.line((left, top, left, bottom, right, bottom), PALE, 2)
    draw.text(((left + right) / 2, big[1] - 8), x_label, INK, face, anchor="mb")
    draw.text((8, 4), y_label, INK, face, anchor="lt")
    if marker is not None:
        x = place(marker, low_y)[0]
        draw.line((x, top, x, bottom), INK, 3)
    for i, (name, (line_x, line_y)) in enumerate(series.items()):
        color, column = PALETTE[i % len(PALETTE)], left + (i % 2) * (right - left) // 2
        _line(draw, [place(x, y) for x, y in zip(line_x, line_y, strict=True)], color, dashed=i % 2 == 1)
        y = 54 + 36 * (i // 2)
        _line(draw, [(column, y), (column + 48, y)], color, dashed=i % 2 == 1)
        draw.text((column + 60, y), fit(name, face, (right - left) / 2 - 70), INK, face, anchor="lm")
    return np.asarray(image)


def _span(values: np.ndarray) -> tuple[float, float]:
    """The limits of an axis: those of the values, never empty."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _line(draw: Any, points: Sequence[tuple[float, float]], color: str, dashed: bool) -> None:
    """A line through the points, broken where one is not finite; a single point becomes a dot."""
    if len(points) == 1 and np.isfinite(points[0]).all():
        x, y = points[0]
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=color)
    traveled = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if not np.isfinite((x0, y0, x1, y1)).all():
            continue
        length = float(np.hypot(x1 - x0, y1 - y0)) or 1.0
        for start in np.arange(0, length, 12) if dashed else (0.0,):
            end = min(start + 12, length) if dashed else length
            if not dashed or int((traveled + start) // 12) % 2 == 0:
                a, b = start / length, end / length
                draw.line((x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + b * (x1 - x0), y0 + b * (y1 - y0)), color, 5)
        traveled += length
