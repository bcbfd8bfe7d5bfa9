"""Curves with axes and a legend, drawn with Pillow in a few milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.plots.text import INK, PALE, PALETTE, RULE, fit, fitting, font


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str = "",
    y_label: str = "",
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    marker: float | None = None,
    places: Sequence[str] = (),
    width: int = 460,
    height: int = 300,
) -> np.ndarray:
    """Lines with axes and a legend, drawn at twice the size; each line differs in color and in dashes.

    Earlier lines are thicker than later ones, so that lines on top of each other all stay visible.

    Args:
        series: name -> (xs, ys); a NaN breaks its line.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        x_limits: of the horizontal axis.
        y_limits: of the vertical axis.
        marker: the x of a vertical line.
        places: names in an order that gives each line its color and dashes, drawn or not; by default those of `series`.
        width: in screen pixels.
        height: in screen pixels.

    Returns:
        The image, uint8 (2 * height, 2 * width, 3).

    Example:
        >>> from xai_lessons import plots
        >>> plots.curves({"loss": ([1, 2, 3], [3, 2, 1])}).shape
        (600, 920, 3)
    """
    big = (2 * width, 2 * height)
    image = Image.new("RGB", big, "white")
    draw, face = ImageDraw.Draw(image), font(26)
    arrays = {name: (np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in series.items()}
    xs = np.concatenate([x for x, _ in arrays.values()] or [np.zeros(0)])
    ys = np.concatenate([y for _, y in arrays.values()] or [np.zeros(0)])
    xs, ys = xs[np.isfinite(xs)], ys[np.isfinite(ys)]
    (low_x, high_x), (low_y, high_y) = x_limits or _span(xs), y_limits or _span(ys)
    left, right, bottom = 110, big[0] - 24, big[1] - 92
    columns = next((n for n in (3, 2) if _legend(series, (right - left) / n).size == 26), 1)
    legend = _legend(series, (right - left) / columns)
    top = 44 + 36 * -(-len(series) // columns)

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
    for i, (name, (line_x, line_y)) in enumerate(arrays.items()):
        number = places.index(name) if name in places else i
        color, column = PALETTE[number % len(PALETTE)], left + (i % columns) * (right - left) // columns
        points = [place(x, y) for x, y in zip(line_x, line_y, strict=True)]
        _line(draw, points, color, number % 2 == 1, width=5 + 4 * min(len(arrays) - 1 - i, 2))
        y = 54 + 36 * (i // columns)
        _line(draw, [(column, y), (column + 48, y)], color, dashed=number % 2 == 1)
        draw.text((column + 60, y), fit(name, legend, (right - left) / columns - 66), INK, legend, anchor="lm")
    return np.asarray(image)


def _legend(names: Iterable[str], width: float) -> Any:
    """The font of a legend with columns of that width."""
    return fitting(list(names), width - 70, (26, 24, 22))


def _span(values: np.ndarray) -> tuple[float, float]:
    """The limits of an axis: those of the values, never empty."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between low and high, about five of them."""
    raw = (high - low) / 4
    unit = 10.0 ** np.floor(np.log10(raw))
    step = float(next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999))
    return [round(k * step, 10) for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def _line(draw: Any, points: Sequence[tuple[float, float]], color: str, dashed: bool, width: int = 5) -> None:
    """A line through the points, broken where one is not finite; a single point becomes a dot."""
    if len(points) == 1 and np.isfinite(points[0]).all():
        x, y = points[0]
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=color)
    traveled = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if not np.isfinite((x0, y0, x1, y1)).all():
            continue
        length = float(np.hypot(x1 - x0, y1 - y0)) or 1.0
        inner = np.arange(12 - traveled % 12, length, 12) if dashed else ()  # a dash goes on around the corner
        cuts = [0.0, *inner, length]
        for start, end in zip(cuts, cuts[1:], strict=False):
            if not dashed or int((traveled + (start + end) / 2) // 12) % 2 == 0:
                a, b = start / length, end / length
                draw.line(
                    (x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + b * (x1 - x0), y0 + b * (y1 - y0)), color, width
                )
        traveled += length
