"""Figures that a notebook keeps, with a caption: images by Pillow in a hundredth of a second, charts by matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.plots.images import enlarge, few_colors, jpeg, pixels
from xai_lessons.plots.text import PALETTE, fitting, font, wrap

FIGURE_BYTES, FIGURE_QUALITY = 60_000, 70  # of a figure of images: at most
SMALLEST = 80  # pixels of an image in a figure, however few bytes it may have
LINE, GAP, CAPTION = 20, 12, "#333333"  # pixels from line to line and between images, and the color of a caption


class Static:
    """A finished figure for a notebook: a PNG or JPEG with its caption drawn below, and the caption as text.

    Attributes:
        picture: the bytes of the file.
        caption: what to see in it.
        kind: "png" or "jpeg".
    """

    def __init__(self, picture: bytes, caption: str, kind: str = "png") -> None:
        self.picture, self.caption, self.kind = picture, caption, kind

    def save(self, path: str | Path) -> Path:
        """Write the figure to a new file; an existing one is never overwritten.

        Args:
            path: of the new file.

        Returns:
            The path.

        Raises:
            FileExistsError: if there is such a file.
        """
        with open(path, "xb") as file:
            file.write(self.picture)
        return Path(path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {f"image/{self.kind}": self.picture, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"


def show(
    images: Sequence[Any],
    titles: Sequence[str] = (),
    caption: str = "",
    *,
    columns: int = 4,
    size: float = 2.6,
    most: int = FIGURE_BYTES,
) -> Static:
    """Images side by side as a figure with a caption that says what to see.

    Args:
        images: as `pixels` takes them; turn maps into images with `heatmap` or `overlay`.
        titles: one above each image.
        caption: what to see; drawn below and read out to those who cannot.
        columns: images per row.
        size: width of each in inches of 100 pixels.
        most: largest size in bytes, as JPEG; kept by a lower quality, then by smaller images.

    Returns:
        A figure that a notebook shows, and that `save` writes to a file.

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> plots.show([menagerie.draw("cat", seed=3).image], ["as drawn"], "A cat.")
        Figure: A cat.
    """
    if not len(images):
        raise ValueError("expected at least one image, got none")
    columns, side = min(columns, len(images)), round(100 * size)
    while True:
        sheet = _sheet([_tile(pixels(image), side) for image in images], titles, caption, columns, side)
        picture = jpeg(np.asarray(sheet), FIGURE_QUALITY, most)
        kept = Image.open(io.BytesIO(picture)).width / sheet.width
        if kept == 1 or side <= SMALLEST:
            return Static(picture, caption, "jpeg")
        side = max(int(side * kept), SMALLEST)  # smaller images instead of smaller letters


def _sheet(images: Sequence[np.ndarray], titles: Sequence[str], caption: str, columns: int, side: int) -> Image.Image:
    """Images of this width in rows, their titles above them and the caption below."""
    face = fitting([line for title in titles for line in title.split("\n")], side, (16, 15, 14, 13))
    heads = [wrap(title, face, side) for title in titles]
    tiles = [Image.fromarray(image) for image in images]
    rows = [slice(first, first + columns) for first in range(0, len(tiles), columns)]
    tops = [LINE * max(map(len, heads[row]), default=0) + 6 for row in rows]
    heights = [top + max(tile.height for tile in tiles[row]) for row, top in zip(rows, tops, strict=True)]
    width = columns * (side + GAP) + GAP
    lines = wrap(caption, font(15), width - 2 * GAP)
    sheet = Image.new("RGB", (width, sum(heights) + LINE * len(lines) + 2 * GAP), "white")
    draw, y = ImageDraw.Draw(sheet), 0
    for row, top, height in zip(rows, tops, heights, strict=True):
        for i in range(len(tiles))[row]:
            x = GAP + (i % columns) * (side + GAP)
            sheet.paste(tiles[i], (x + (side - tiles[i].width) // 2, y + top))
            for n, line in enumerate(reversed(heads[i] if i < len(heads) else ())):
                draw.text((x + side / 2, y + top - 4 - LINE * n), line, "black", face, anchor="md")
        y += height
    for n, line in enumerate(lines):
        draw.text((GAP, y + GAP + LINE * n), line, CAPTION, font(15))
    return sheet


def _tile(image: np.ndarray, side: int) -> np.ndarray:
    """The image, `side` pixels long: smooth, unless its pixels become large enough to be seen as squares."""
    return enlarge(image, side, smooth=side < 3 * max(image.shape[:2]))


def plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str = "",
    *,
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    y_limits: tuple[float, float] | None = None,
    size: tuple[float, float] = (7.0, 3.6),
) -> Static:
    """Lines as a figure with a legend and a caption that says what to see.

    Args:
        series: name -> (xs, ys).
        caption: what to see.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        log_x: whether the horizontal axis is logarithmic.
        y_limits: of the vertical axis.
        size: width and height in inches.

    Returns:
        A figure that a notebook shows, and that `save` writes to a file.

    Example:
        >>> from xai_lessons import plots
        >>> plots.plot({"loss": ([1, 2, 3], [3, 2, 1])}, "It falls.")
        Figure: It falls.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for i, (name, (x, y)) in enumerate(series.items()):
        style = ("-", "--", "-.", ":")[i // len(PALETTE) + i % 2]
        width = 2 + 1.5 * min(len(series) - 1 - i, 2)  # lines on top of each other all stay visible
        axes.plot(x, y, style, color=PALETTE[i % len(PALETTE)], label=name, linewidth=width)
    axes.set(xlabel=x_label, ylabel=y_label, xscale="log" if log_x else "linear")
    if y_limits:
        axes.set_ylim(*y_limits)
    axes.grid(color="#E3E3E3")
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False)
    return _finish(figure, caption)


def dots(
    series: Mapping[str, Sequence[float]],
    names: Sequence[str],
    caption: str = "",
    *,
    errors: Mapping[str, Sequence[float]] | None = None,
    x_label: str = "",
    x_limits: tuple[float, float] | None = None,
    size: tuple[float, float] = (7.0, 3.6),
) -> Static:
    """A row per name, a dot per series with its error bar: for values whose order on the axis means nothing.

    Args:
        series: name of the series -> a value per row.
        names: of the rows, from top to bottom.
        caption: what to see.
        errors: name of the series -> half the length of each bar.
        x_label: of the horizontal axis.
        x_limits: of the horizontal axis.
        size: width and height in inches.

    Returns:
        The figure, for a notebook to keep.

    Raises:
        ValueError: if a series does not have one value per name.

    Example:
        >>> from xai_lessons import plots
        >>> plots.dots({"mine": [0.2, 0.9]}, ["edges", "CAM"], "CAM is ahead.", errors={"mine": [0.1, 0.1]})
        Figure: CAM is ahead.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(series.items()):
        if len(values) != len(names):
            raise ValueError(f"expected {len(names)} values in {name!r}, one per name, got {len(values)}")
        rows = np.arange(len(names)) + 0.6 * ((i + 0.5) / len(series) - 0.5)
        bars = None if errors is None else errors[name]
        axes.errorbar(
            values, rows, xerr=bars, fmt="os^D"[i % 4], color=PALETTE[i % len(PALETTE)], label=name, capsize=2
        )
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=x_label, ylim=(len(names) - 0.5, -0.5))
    if x_limits:
        axes.set_xlim(*x_limits)
    axes.grid(axis="x", color="#E3E3E3")
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _finish(figure, caption)


def _finish(figure: Any, caption: str) -> Static:
    """The matplotlib figure with the caption wrapped below it."""
    width = figure.get_size_inches()[0]
    figure.text(0.01, -0.01, textwrap.fill(caption, int(width * 12.5)), fontsize=11, va="top", color=CAPTION)
    stream, chart = io.BytesIO(), io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, bbox_inches="tight", pad_inches=0.08, facecolor="white")
    few_colors(Image.open(stream).convert("RGB")).save(chart, "PNG", compress_level=8)  # a notebook keeps many of them
    return Static(chart.getvalue(), caption)
