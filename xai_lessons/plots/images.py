"""Tensors to pictures: heatmaps, overlays, bars, curves, rows of pictures.

Everything here takes numbers and gives a uint8 array (H, W, 3), drawn with numpy and Pillow in a few milliseconds, so
that a slider can redraw it. `jpeg` and `png` turn such an array into bytes for `ipywidgets.Image`. The figures that a
notebook keeps (`show`, `plot`) are drawn with matplotlib, which is imported only when one of them is called.

The color maps are safe for color-blind readers: "heat", "magma" and "viridis" rise in lightness from end to end,
"signed" runs from blue (against) over white (nothing) to red (for). Scaling for display happens here and nowhere else:
methods return raw values, `limits` makes one scale for all the maps that are to be compared.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.plots.charts import INK, PALETTE, bars, curves, fit, font, matrix

__all__ = [
    "BRIGHTEST",
    "PALETTE",
    "SATURATED",
    "attribution",
    "bars",
    "box",
    "common_scale",
    "color_bar",
    "curves",
    "enlarge",
    "flatten",
    "grid",
    "heatmap",
    "jpeg",
    "limits",
    "matrix",
    "overlay",
    "pixels",
    "plot",
    "png",
    "point",
    "show",
]

FIGURE_BYTES = 130_000
SATURATED = 0.005  # fraction of the pixels of an attribution that may be brighter than its colors
BRIGHTEST = 15  # on a common scale: so many times the mean of the map

# A few stops of each color map; what lies between is interpolated (inferno, magma, viridis, RdBu of matplotlib).
_STOPS = {
    "heat": "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    "signed": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
    "gray": "000000 ffffff",
}


def pixels(picture: Any) -> np.ndarray:
    """The picture as uint8 (H, W, 3), from a tensor or array in [0, 1] (3, H, W), (H, W, 3), (H, W), or uint8."""
    tensor = hasattr(picture, "detach")
    array = picture.detach().cpu().float().numpy() if tensor else np.asarray(picture)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    elif array.ndim == 3 and array.shape[0] in (1, 3) and (tensor or array.shape[2] not in (1, 3)):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"a picture of shape {np.shape(picture)} came; expected (3, H, W), (H, W, 3) or (H, W).")
    if array.dtype == np.uint8:
        return array
    if array.dtype != bool and not np.isfinite(array).all():
        raise ValueError("the picture holds NaN or infinite values; look at what made it before showing it.")
    return (np.clip(array.astype(np.float32), 0, 1) * 255 + 0.5).astype(np.uint8)


def _values(values: Any) -> np.ndarray:
    """The map as float32 (H, W), checked."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"a map of shape {array.shape} came; expected (H, W). For (3, H, W) call flatten(...) first.")
    if not np.isfinite(array).all():
        raise ValueError("the map holds NaN or infinite values; look at what made it before showing it.")
    return array


@lru_cache
def _table(colors: str) -> np.ndarray:
    """The 256 colors (256, 3) uint8 of a color map."""
    if colors not in _STOPS:
        raise ValueError(f"no color map {colors!r}; there are {', '.join(_STOPS)}.")
    stops = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in _STOPS[colors].split()], np.float32)
    at = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(at, range(len(stops)), stops[:, c]) for c in range(3)], 1).round().astype(np.uint8)


def flatten(attribution: Any, how: str = "sum") -> np.ndarray:
    """A map (H, W) of an attribution (3, H, W): the signed "sum" over the colors, or the largest "absolute" value."""
    array = attribution.detach().cpu().float().numpy() if hasattr(attribution, "detach") else np.asarray(attribution)
    if array.ndim == 2:
        return array if how == "sum" else np.abs(array)
    if array.ndim != 3:
        raise ValueError(f"an attribution of shape {array.shape} came; expected (3, H, W) or (H, W).")
    if how not in ("sum", "absolute"):
        raise ValueError(f'how={how!r} came; expected "sum" (signed) or "absolute".')
    return array.sum(axis=0) if how == "sum" else np.abs(array).max(axis=0)


def limits(*maps: Any, signed: bool = False, clip: float = 0.0) -> tuple[float, float]:
    """One scale (low, high) for all the maps, so that their colors can be compared.

    Args:
        maps: arrays or tensors of any shape.
        signed: a scale that is symmetric about zero, for the "signed" colors.
        clip: share of the most extreme values (0 to 0.5) that may saturate.

    Returns:
        (low, high) with low < high, also for constant maps, which are then drawn in the lowest color.
    """
    arrays = [m.detach().cpu().float().numpy() if hasattr(m, "detach") else np.asarray(m, np.float32) for m in maps]
    if not arrays or not all(a.size for a in arrays):
        raise ValueError("no values came; expected at least one map that is not empty.")
    flat = np.concatenate([a.ravel() for a in arrays])
    if signed:
        high = float(np.quantile(np.abs(flat), 1 - clip))
        high = high if high > 0 else float(np.abs(flat).max()) or 1.0
        return -high, high
    low, high = (float(q) for q in np.quantile(flat, (clip, 1 - clip)))
    return (low, high) if high > low else (low, low + 1.0)


def heatmap(
    values: Any, colors: str = "heat", scale: tuple[float, float] | None = None, size: int | None = None
) -> np.ndarray:
    """A map (H, W) in colors, uint8 (H, W, 3).

    Args:
        values: the map, in whatever unit it has.
        colors: "heat", "magma", "viridis", "gray", or "signed" (blue below zero, white at zero, red above).
        scale: (low, high) of the colors; by default the map's own `limits`. Pass a common one to compare maps.
        size: width and height of the result in pixels; by default those of the map.
    """
    array = _values(values)
    low, high = scale if scale is not None else limits(array, signed=colors == "signed")
    if not high > low:
        raise ValueError(f"the scale ({low}, {high}) came; expected low < high.")
    index = (np.clip((array - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    picture = _table(colors)[index]
    return picture if size is None else enlarge(picture, size)


def attribution(
    values: Any,
    how: str = "absolute",
    *,
    over: Any = None,
    scale: float | None = None,
    size: int | None = None,
) -> np.ndarray:
    """An attribution in colors, alone or laid over an image, uint8 (H, W, 3).

    Args:
        values: an attribution (3, H, W), or a map (H, W).
        how: "absolute" (the largest absolute value of the three colors), "signed" (their sum, blue against and red
            for) or "positive" (the positive part of the sum).
        over: an image that it is laid over.
        scale: the value of the brightest color; by default only 0.5 % of the pixels are above it.
        size: width of the result in pixels; by default that of the map, or of `over`.

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.attribution(torch.eye(8), "signed", size=64).shape
        (64, 64, 3)
    """
    one = _summed(values, how)
    one = np.maximum(one, 0) if how == "positive" else one
    high = scale or limits(one, signed=True, clip=SATURATED)[1]
    colors, low = ("signed", -high) if how == "signed" else ("heat", 0.0)
    if over is not None:
        return overlay(over, one, 0.9, colors, (low, high))
    return heatmap(one, colors, (low, high), size)


def common_scale(values: Any, how: str = "absolute") -> float:
    """The value of the brightest color that lets maps of different units be compared: 15 times the mean of a map.

    Args:
        values: an attribution (3, H, W), or a map (H, W).
        how: as for `attribution`.

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.common_scale(torch.ones(4, 4))
        15.0
    """
    return BRIGHTEST * float(np.abs(_summed(values, how)).mean()) or 1.0


def _summed(values: Any, how: str) -> np.ndarray:
    if how not in ("absolute", "signed", "positive"):
        raise ValueError(f'how must be "absolute", "signed" or "positive", got {how!r}')
    return flatten(values, "absolute" if how == "absolute" else "sum")


def overlay(
    picture: Any,
    values: Any,
    opacity: float = 0.7,
    colors: str = "heat",
    scale: tuple[float, float] | None = None,
) -> np.ndarray:
    """The map laid over the picture; it is the less transparent the further the value is from nothing.

    `opacity` is that of the strongest value; the map is brought to the picture's size.
    """
    below, array = pixels(picture), _values(values)
    low, high = scale if scale is not None else limits(array, signed=colors == "signed")
    if array.shape != below.shape[:2]:
        array = np.asarray(Image.fromarray(array).resize(below.shape[1::-1], Image.Resampling.BICUBIC))
    strength = np.abs(array) / max(abs(low), abs(high)) if colors == "signed" else (array - low) / (high - low)
    alpha = (opacity * np.sqrt(np.clip(strength, 0, 1)))[..., None]
    return (below * (1 - alpha) + heatmap(array, colors, (low, high)) * alpha + 0.5).astype(np.uint8)


def enlarge(picture: Any, size: int, smooth: bool = False) -> np.ndarray:
    """The picture with `size` pixels along its longer side; hard-edged pixels, or smooth ones."""
    array = pixels(picture)
    height, width = array.shape[:2]
    wide, high = max(1, round(width * size / max(height, width))), max(1, round(height * size / max(height, width)))
    if (wide, high) == (width, height):
        return array
    how = Image.Resampling.BICUBIC if smooth or size < max(height, width) else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(array).resize((wide, high), how))


def box(picture: Any, corners: Sequence[float], color: str = "#FFFFFF", width: int = 3) -> np.ndarray:
    """The picture with a frame drawn at `corners` (x0, y0, x1, y1) in pixels, dark-edged so that it shows anywhere."""
    image = Image.fromarray(pixels(picture))
    draw, (x0, y0, x1, y1) = ImageDraw.Draw(image), corners
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="#000000", width=width + 2)
    draw.rectangle((x0, y0, x1, y1), outline=color, width=width)
    return np.asarray(image)


def point(picture: Any, at: Sequence[float], color: str = "#FFFFFF", radius: int = 7) -> np.ndarray:
    """The picture with a ring drawn about `at` (x, y) in pixels."""
    image = Image.fromarray(pixels(picture))
    draw, (x, y) = ImageDraw.Draw(image), at
    for r, ink, width in ((radius + 1, "#000000", 4), (radius, color, 2)):
        draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=width)
    return np.asarray(image)


def color_bar(scale: tuple[float, float], colors: str = "heat", width: int = 384, unit: str = "") -> np.ndarray:
    """The colors with their values below, drawn at twice `width`."""
    twice, face = 2 * width, font(24)
    image = Image.new("RGB", (twice, 80), "white")
    ramp = np.linspace(0, 255, twice - 80).astype(np.uint8)
    image.paste(Image.fromarray(np.repeat(_table(colors)[ramp][None], 36, axis=0)), (40, 2))
    draw = ImageDraw.Draw(image)
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        value = scale[0] + share * (scale[1] - scale[0])
        draw.text((40 + share * (twice - 80), 46), f"{value:.3g}{' ' + unit if unit else ''}", INK, face, anchor)
    return np.asarray(image)


def grid(
    pictures: Sequence[Any], titles: Sequence[str] = (), columns: int | None = None, size: int = 192, gap: int = 10
) -> np.ndarray:
    """The pictures in rows, each brought into `size` pixels, its title above."""
    if not len(pictures):
        raise ValueError("no pictures came; expected at least one.")
    columns = min(len(pictures), columns or 6)
    rows, head, face = -(-len(pictures) // columns), 24 if titles else 0, font(14)
    sheet = Image.new("RGB", (columns * (size + gap) + gap, rows * (size + head + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        x, y = gap + (i % columns) * (size + gap), gap + (i // columns) * (size + head + gap)
        tile = enlarge(picture, size)
        sheet.paste(Image.fromarray(tile), (x + (size - tile.shape[1]) // 2, y + head))
        if i < len(titles):
            draw.text((x + size / 2, y + head / 2), fit(titles[i], face, size), INK, face, anchor="mm")
    return np.asarray(sheet)


def jpeg(picture: Any, quality: int = 90) -> bytes:
    """The picture as JPEG: a millisecond, for photographs and drawings."""
    stream = io.BytesIO()
    Image.fromarray(pixels(picture)).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def png(picture: Any, level: int = 1, most: int | None = None) -> bytes:
    """The picture as PNG; `most` bytes at most, if given: by fewer colors, then by fewer pixels."""
    image = Image.fromarray(pixels(picture))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=level)
    while most is not None and stream.tell() > most and min(image.size) > 16:
        stream = io.BytesIO()
        image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        share = min(0.9, (most / stream.tell()) ** 0.5)
        image = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.LANCZOS)
    return stream.getvalue()


class Static:
    """A finished figure for a notebook: a PNG or JPEG with its caption drawn below, and the caption as text.

    Attributes:
        picture: the file's bytes.
        caption: what to see in it.
        kind: "png" or "jpeg".
    """

    def __init__(self, picture: bytes, caption: str, kind: str = "png") -> None:
        self.picture, self.caption, self.kind = picture, caption, kind

    def save(self, path: str | Path) -> Path:
        """Write the picture to a new file, never over an old one."""
        with open(path, "xb") as file:
            file.write(self.picture)
        return Path(path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {f"image/{self.kind}": self.picture, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"


def _finish(figure: Any, caption: str, most: int | None = None) -> Static:
    """The matplotlib figure as PNG, or as JPEG of at most `most` bytes, the caption wrapped below it."""
    width = figure.get_size_inches()[0]
    figure.text(0.01, -0.01, textwrap.fill(caption, int(width * 12.5)), fontsize=11, va="top", color="#333333")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, bbox_inches="tight", pad_inches=0.08, facecolor="white")
    few, content = Image.open(stream).convert("RGB"), io.BytesIO()
    if most is not None:
        files = (jpeg(np.asarray(few), quality) for quality in range(92, 20, -6))
        return Static(next((file for file in files if len(file) <= most), jpeg(np.asarray(few), 20)), caption, "jpeg")
    few.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)  # a notebook keeps many of them
    return Static(content.getvalue() if content.tell() <= FIGURE_BYTES else png(few, most=FIGURE_BYTES), caption)


def show(
    pictures: Sequence[Any],
    titles: Sequence[str] = (),
    caption: str = "",
    *,
    columns: int = 4,
    size: float = 2.6,
    most: int | None = None,
) -> Static:
    """Pictures side by side as a figure with a caption that says what to see.

    Args:
        pictures: pictures as `pixels` takes them; turn maps into pictures with `heatmap` or `overlay`.
        titles: one above each picture.
        caption: what to see; drawn below and read out to those who cannot.
        columns: pictures in a row.
        size: width of each in inches.
        most: bytes at most, if given, as JPEG: of maps full of detail a PNG is large.
    """
    from matplotlib.figure import Figure

    if not len(pictures):
        raise ValueError("no pictures came; expected at least one.")
    columns, rows = min(columns, len(pictures)), -(-len(pictures) // min(columns, len(pictures)))
    figure = Figure(figsize=(columns * size, rows * (size + 0.35 * bool(titles))), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if i < len(pictures):
            axes.imshow(pixels(pictures[i]), interpolation="antialiased")
            axes.set_title(titles[i] if i < len(titles) else "", fontsize=12)
    return _finish(figure, caption, most)


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
    """Lines `name -> (xs, ys)` as a figure with a legend and a caption that says what to see; `size` in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for i, (name, (x, y)) in enumerate(series.items()):
        style = ("-", "--", "-.", ":")[i // len(PALETTE) + i % 2]
        axes.plot(x, y, style, color=PALETTE[i % len(PALETTE)], label=name, linewidth=2)
    axes.set(xlabel=x_label, ylabel=y_label, xscale="log" if log_x else "linear")
    if y_limits:
        axes.set_ylim(*y_limits)
    axes.grid(color="#E3E3E3")
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False)
    return _finish(figure, caption)
