"""All panels of an explorer on one sheet: what Save picture writes, and what is seen where no widget runs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons import plots
from xai_lessons.plots.charts import INK, PALE, fit, font

GAP, HEAD = 14, 26


def sheet(title: str, sentence: str, panels: Sequence[Any], width: int = 860) -> np.ndarray:
    """A white sheet with a title, a sentence, and the panels in rows, uint8 (H, W, 3).

    Args:
        title: what stands on top.
        sentence: what is to be seen.
        panels: `base.Panel`s, each drawn at its own width.
        width: the widest that a row may be, in pixels.
    """
    rows: list[list[tuple[Any, Image.Image]]] = [[]]
    for panel in panels:
        array = plots.pixels(panel.picture)
        size = (panel.width, max(1, round(array.shape[0] * panel.width / array.shape[1])))
        how = Image.Resampling.LANCZOS if panel.width < array.shape[1] else Image.Resampling.NEAREST
        if rows[-1] and sum(tile.width + GAP for _, tile in rows[-1]) + size[0] + 2 * GAP > width:
            rows.append([])
        rows[-1].append((panel, Image.fromarray(array).resize(size, how)))
    wide = max([sum(tile.width + GAP for _, tile in row) + GAP for row in rows] + [420])
    lines = textwrap.wrap(sentence, int(wide / 8.2))
    heights = [max((tile.height for _, tile in row), default=0) + HEAD + GAP for row in rows]
    top = 44 + 22 * len(lines) + 8
    image = Image.new("RGB", (wide, top + sum(heights) + GAP // 2), "white")
    draw = ImageDraw.Draw(image)
    draw.text((GAP, 12), title, INK, font(20, bold=True))
    for i, line in enumerate(lines):
        draw.text((GAP, 44 + 22 * i), line, INK, font(15))
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for panel, tile in row:
            draw.text((x, top + HEAD / 2), fit(panel.title, font(14), tile.width), PALE, font(14), anchor="lm")
            image.paste(tile, (x, top + HEAD))
            x += tile.width + GAP
        top += height
    return np.asarray(image)
