"""Panels: the images of an explorer, each with a title and a text, and all of them on one image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons import plots
from xai_lessons.plots import INK, PALE, fit, font

GAP, HEAD = 14, 26


@dataclass(frozen=True)
class Panel:
    """One image on the screen."""

    title: str  # what stands above it
    image: Any  # uint8 (H, W, 3), or anything that `plots.pixels` takes
    alt: str  # what it shows, for those who listen
    width: int = 384  # its width on the screen in pixels
    sharp: bool = False  # PNG (charts, hard-edged pixels) instead of JPEG
    caption: str = ""  # what stands below it


def chart_panel(title: str, image: np.ndarray, alt: str, width: int = 384, caption: str = "") -> Panel:
    """A panel of a chart: sharp, and as wide on the screen as it was drawn for."""
    return Panel(title, image, alt, width, sharp=True, caption=caption)


def bar_panel(
    title: str, names: Sequence[str], values: Sequence[float], *, width: int = 384, caption: str = "", **options: Any
) -> Panel:
    """A panel of bars, see `plots.bars`; its alt text lists the values."""
    listed = ", ".join(f"{name} {value:.0%}" for name, value in zip(names, values, strict=True))
    return chart_panel(title, plots.bars(names, values, width=width, **options), f"{title} {listed}", width, caption)


def top_classes(scores: np.ndarray, include: int | None = None, count: int = 5) -> np.ndarray:
    """The numbers of the `count` highest scores, in order; `include` is always among them."""
    first = np.argsort(-scores, kind="stable")[:count]
    return first if include is None or include in first else np.append(first[:-1], include)


def contact_sheet(title: str, sentence: str, panels: Sequence[Panel], width: int = 860) -> np.ndarray:
    """A title, a sentence, and the panels in rows on white, uint8 (H, W, 3): what Save image writes."""
    rows: list[list[tuple[Panel, Image.Image]]] = [[]]
    for panel in panels:
        array = plots.pixels(panel.image)
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
