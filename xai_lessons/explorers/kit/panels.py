"""Panels: the images of an explorer, each with a title and a text, and all of them on one image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons import plots
from xai_lessons.plots import INK, PALE, fit, font, wrap

GAP, HEAD, NOTE = 14, 26, 16  # pixels between panels, of a title, of a line below a panel
STAGE = 1068  # the width that the panels of a stage share in JupyterLab, 1280 pixels wide, side bar closed


@dataclass(frozen=True)
class Panel:
    """One image on the screen."""

    title: str  # what stands above it
    image: Any  # uint8 (H, W, 3), or anything that `plots.pixels` takes
    alt: str  # what it shows, for those who listen
    width: int = 320  # its width in pixels on a stage that is `STAGE` wide; it grows and shrinks with the stage
    sharp: bool = False  # PNG (charts, hard-edged pixels) instead of JPEG
    caption: str = ""  # what stands below it
    chart: bool = False  # ink on white, which a dark theme turns into light ink on black
    scale: tuple[float, float, str] | None = None  # lowest and highest value and color map of a bar below the image
    below: bool = False  # whether it stands below the stage, in a row with others of its kind
    touch: str = ""  # the name under which the explorer's `touch` hears where it is touched; none: it is not


def chart_panel(title: str, image: np.ndarray, alt: str, width: int = 384, caption: str = "", **more: Any) -> Panel:
    """A panel of a chart: sharp, in the colors of the theme, and as wide on the screen as it was drawn for."""
    return Panel(title, image, alt, width, sharp=True, caption=caption, chart=True, **more)


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


def contact_sheet(title: str, sentence: str, panels: Sequence[Panel]) -> np.ndarray:
    """A title, a sentence, and the panels in rows on white, uint8 (H, W, 3): what Save image writes."""
    rows: list[list[tuple[Panel, Image.Image]]] = [[]]
    for panel in panels:
        array = plots.pixels(panel.image)
        tile = _resized(array, panel.width)
        if panel.scale is not None:
            bar = plots.color_bar(panel.scale[:2], panel.scale[2], panel.width)
            tile = Image.fromarray(np.concatenate([np.asarray(tile), np.asarray(_resized(bar, panel.width))]))
        if panel.caption:
            tile = _captioned(tile, panel.caption)
        if rows[-1] and sum(other.width + GAP for _, other in rows[-1]) + tile.width + 2 * GAP > STAGE + 40:
            rows.append([])
        rows[-1].append((panel, tile))
    wide = max([sum(tile.width + GAP for _, tile in row) + GAP for row in rows] + [420])
    lines = textwrap.wrap(sentence, int(wide / 8.2), break_on_hyphens=False)
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


def _captioned(tile: Image.Image, caption: str) -> Image.Image:
    """The image with a text below it."""
    lines = wrap(caption, font(12), tile.width)
    image = Image.new("RGB", (tile.width, tile.height + 4 + NOTE * len(lines)), "white")
    image.paste(tile)
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((0, tile.height + 4 + NOTE * i), line, PALE, font(12))
    return image


def _resized(array: np.ndarray, width: int) -> Image.Image:
    """An image array (H, W, 3) as wide as that."""
    size = (width, max(1, round(array.shape[0] * width / array.shape[1])))
    return Image.fromarray(array).resize(
        size, Image.Resampling.LANCZOS if width < array.shape[1] else Image.Resampling.NEAREST
    )
