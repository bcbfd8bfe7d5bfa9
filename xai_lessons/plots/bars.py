"""Bars and confusion matrices, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.plots.text import INK, PALE, PALETTE, RULE, fit, fitting, font


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    marked: Sequence[int] = (),
    colors: Sequence[int] = (),
    before: Sequence[float] | None = None,
    errors: Sequence[tuple[float, float]] | None = None,
    low: float = 0.0,
    high: float = 1.0,
    percent: bool = True,
    width: int = 384,
    row: int = 34,
) -> np.ndarray:
    """Horizontal bars with their labels and values, largest as given first; drawn at twice the size, to look sharp.

    Args:
        labels: one text per bar.
        values: lengths of the bars, `low` to `high`; bars begin at 0.
        marked: indices of the bars in orange (say, the true class).
        colors: each bar's place in `PALETTE`, where bars belong to curves or boxes of that color.
        before: earlier values, shown as a thin mark on each bar.
        errors: the lower and the upper end of each value's error bar; NaN for none.
        low: the value at the left edge, 0 or below.
        high: the value at the right edge.
        percent: write values as percentages.
        width: width in screen pixels; the array is twice as wide.
        row: height per bar in screen pixels.

    Returns:
        The image, uint8 (2 * row * number of bars, 2 * width, 3).

    Example:
        >>> from xai_lessons import plots
        >>> plots.bars(["cat", "dog"], [0.9, 0.1], width=200).shape
        (136, 400, 3)
    """
    if len(labels) != len(values):
        raise ValueError(f"expected as many labels as values, got {len(labels)} labels and {len(values)} values")
    twice, step = 2 * width, 2 * row
    image = Image.new("RGB", (twice, step * max(1, len(labels))), "white")
    draw, face = ImageDraw.Draw(image), fitting([str(label) for label in labels], twice * 0.45, (30, 28, 26, 24, 22))
    names = [fit(str(label), face, twice * 0.5) for label in labels]
    x0 = max([face.getlength(name) for name in names], default=0) + 16
    decimals = max(0, 2 - math.floor(math.log10(max(abs(low), abs(high), 1e-3))))  # three digits of the longest bar
    room = twice - x0 - face.getlength("100.0%" if percent else "-00.000") - 20

    def place(value: float) -> float:
        return x0 + room * min(max((float(value) - low) / (high - low), 0.0), 1.0)

    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        middle = (i + 0.5) * step
        draw.text((x0 - 12, middle), name, INK, face, anchor="rm")
        zero, end = place(0), place(value)
        draw.rectangle((x0, middle - step * 0.3, x0 + room, middle + step * 0.3), fill="#F1F1F1")
        bar = (min(zero, end), middle - step * 0.3, max(zero, end, min(zero, end) + 2), middle + step * 0.3)
        draw.rectangle(bar, PALETTE[colors[i] % len(PALETTE) if colors else int(i in marked)])
        if low < 0:
            draw.line((zero, middle - step * 0.5, zero, middle + step * 0.5), PALE, 2)
        if before is not None:
            x = place(before[i])
            draw.line((x, middle - step * 0.42, x, middle + step * 0.42), INK, 4)
        if errors is not None and not np.isnan(errors[i]).any():
            ends = [place(one) for one in errors[i]]
            draw.line((ends[0], middle, ends[1], middle), INK, 3)
            for x in ends:
                draw.line((x, middle - step * 0.15, x, middle + step * 0.15), INK, 3)
        said = f"{100 * value:.1f}%" if percent else f"{round(value, decimals) + 0.0:.{decimals}f}"  # no minus before 0
        draw.text((x0 + room + 12, middle), said, INK, face, "lm")
    return np.asarray(image)


def matrix(
    counts: Any,
    names: Sequence[str],
    *,
    marked: tuple[int | None, int | None] = (None, None),
    high: float | None = None,
    width: int = 480,
) -> np.ndarray:
    """A confusion matrix: rows are the true classes, columns the predicted ones; the more mistakes, the darker.

    Args:
        counts: (K, K), a tensor or an array.
        names: of the K classes.
        marked: a row, a column, or both (then their cell), to be framed; None for none.
        high: the number of mistakes that is darkest; by default the largest here. Pass one to compare matrices.
        width: width in screen pixels; the array is twice as wide.

    Returns:
        The image, uint8 (about 2 * width, 2 * width, 3).

    Example:
        >>> from xai_lessons import plots
        >>> plots.matrix([[9, 1], [2, 8]], ["cat", "dog"], width=200).shape[1]
        400
    """
    values = np.asarray(counts, dtype=float)
    k = len(names)
    if values.shape != (k, k):
        raise ValueError(f"counts must have the shape ({k}, {k}) of {k} names, got {values.shape}")
    wrong = np.where(np.eye(k, dtype=bool), 0.0, values)
    most = max(wrong.max() if high is None else high, 1)
    face, twice = font(min(width // 14, 360 // k)), 2 * width
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
            depth = min(1.0, float(np.sqrt(wrong[i, j] / most)))
            fill = (222, 235, 247) if i == j else tuple(int(v) for v in 255 - depth * (255 - deep))
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill, RULE)
            if values[i, j]:
                ink = "white" if depth > 0.8 else INK
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
