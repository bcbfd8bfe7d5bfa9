"""Maps in colors: heatmaps, overlays and the scales that they share.

The color maps are safe for color-blind readers: "heat", "magma" and "viridis" rise in lightness from end to end,
"signed" runs from blue (against) over white (zero) to red (for). Scaling for display happens only here: methods return
raw values, and `limits` makes one scale for all the maps that are to be compared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.core.inputs import closest
from xai_lessons.plots.images import enlarge, pixels
from xai_lessons.plots.text import INK, font

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


def heatmap(
    values: Any, colors: str = "heat", scale: tuple[float, float] | None = None, size: int | None = None
) -> np.ndarray:
    """A map (H, W) in colors, uint8 (H, W, 3).

    Args:
        values: the map, in whatever unit it has.
        colors: "heat", "magma", "viridis", "gray", or "signed" (blue below zero, white at zero, red above).
        scale: (low, high) of the colors; by default the map's own `limits`. Pass a common one to compare maps.
        size: width and height of the result in pixels; by default those of the map.

    Returns:
        The image, uint8 (H, W, 3).

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.heatmap(torch.eye(8), size=64).shape
        (64, 64, 3)
    """
    array = _values(values)
    low, high = scale if scale is not None else limits(array, signed=colors == "signed")
    if not high > low:
        raise ValueError(f"scale must be (low, high) with low < high, got ({low}, {high})")
    index = (np.clip((array - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    image = _table(colors)[index]
    return image if size is None else enlarge(image, size)


def overlay(
    image: Any,
    values: Any,
    opacity: float = 0.7,
    colors: str = "heat",
    scale: tuple[float, float] | None = None,
) -> np.ndarray:
    """The map laid over the image: the further a value is from zero, the more opaque.

    Args:
        image: as `pixels` takes it.
        values: the map; it is resized to the image.
        opacity: of the strongest value.
        colors: as for `heatmap`.
        scale: as for `heatmap`.

    Returns:
        The image, uint8 (H, W, 3).

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.overlay(image, image.mean(dim=0)).shape
        (96, 96, 3)
    """
    below, array = pixels(image), _values(values)
    low, high = scale if scale is not None else limits(array, signed=colors == "signed")
    if array.shape != below.shape[:2]:
        array = np.asarray(Image.fromarray(array).resize(below.shape[1::-1], Image.Resampling.BICUBIC))
    strength = np.abs(array) / max(abs(low), abs(high)) if colors == "signed" else (array - low) / (high - low)
    alpha = (opacity * np.sqrt(np.clip(strength, 0, 1)))[..., None]
    return (below * (1 - alpha) + heatmap(array, colors, (low, high)) * alpha + 0.5).astype(np.uint8)


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

    Returns:
        The image, uint8 (H, W, 3).

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

    Returns:
        The value, to be given to `attribution` as its scale; 1 for a map of zeros.

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.common_scale(torch.ones(4, 4))
        15.0
    """
    return BRIGHTEST * float(np.abs(_summed(values, how)).mean()) or 1.0


def limits(*maps: Any, signed: bool = False, clip: float = 0.0) -> tuple[float, float]:
    """One scale (low, high) for all the maps, so that their colors can be compared.

    Args:
        maps: arrays or tensors of any shape.
        signed: a scale that is symmetric about zero, for the "signed" colors.
        clip: fraction of the most extreme values (0 to 0.5) that may saturate.

    Returns:
        (low, high) with low < high, also for constant maps, which are then drawn in the lowest color.

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.limits(torch.tensor([-1.0, 3.0]), signed=True)
        (-3.0, 3.0)
    """
    arrays = [m.detach().cpu().float().numpy() if hasattr(m, "detach") else np.asarray(m, np.float32) for m in maps]
    if not arrays or not all(a.size for a in arrays):
        raise ValueError("expected at least one map with values, got none")
    flat = np.concatenate([a.ravel() for a in arrays])
    if signed:
        high = float(np.quantile(np.abs(flat), 1 - clip))
        high = high if high > 0 else float(np.abs(flat).max()) or 1.0
        return -high, high
    low, high = (float(q) for q in np.quantile(flat, (clip, 1 - clip)))
    return (low, high) if high > low else (low, low + 1.0)


def flatten(attribution: Any, how: str = "sum") -> np.ndarray:
    """A map (H, W) of an attribution (3, H, W): the signed "sum" over the colors, or the largest "absolute" value.

    Args:
        attribution: (3, H, W); a map (H, W) is taken as the sum already.
        how: "sum" or "absolute".

    Returns:
        The map (H, W).

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.flatten(torch.tensor([[[1.0]], [[-3.0]], [[1.0]]])).tolist()
        [[-1.0]]
    """
    array = attribution.detach().cpu().float().numpy() if hasattr(attribution, "detach") else np.asarray(attribution)
    if array.ndim == 2:
        return array if how == "sum" else np.abs(array)
    if array.ndim != 3:
        raise ValueError(f"an attribution must have the shape (3, H, W) or (H, W), got {array.shape}")
    if how not in ("sum", "absolute"):
        raise ValueError(f'how must be "sum" (signed) or "absolute", got {how!r}')
    return array.sum(axis=0) if how == "sum" else np.abs(array).max(axis=0)


def color_bar(scale: tuple[float, float], colors: str = "heat", width: int = 384) -> np.ndarray:
    """The colors with their values below, drawn at twice `width`.

    Args:
        scale: (low, high), the values of the first and the last color.
        colors: as for `heatmap`.
        width: in screen pixels.

    Returns:
        The image, uint8 (80, 2 * width, 3).

    Example:
        >>> from xai_lessons import plots
        >>> plots.color_bar((0, 1), width=200).shape
        (80, 400, 3)
    """
    twice, face = 2 * width, font(24)
    image = Image.new("RGB", (twice, 80), "white")
    ramp = np.linspace(0, 255, twice - 80).astype(np.uint8)
    image.paste(Image.fromarray(np.repeat(_table(colors)[ramp][None], 36, axis=0)), (40, 2))
    draw = ImageDraw.Draw(image)
    texts = [f"{scale[0] + f * (scale[1] - scale[0]):.3g}" for f in (0.0, 0.5, 1.0)]
    crowded = sum(face.getlength(text) for text in texts) > twice - 120
    for text, fraction, anchor in zip(texts, (0.0, 0.5, 1.0), ("la", "ma", "ra"), strict=True):
        if not (crowded and anchor == "ma"):
            draw.text((40 + fraction * (twice - 80), 46), text, INK, face, anchor)
    return np.asarray(image)


def _summed(values: Any, how: str) -> np.ndarray:
    if how not in ("absolute", "signed", "positive"):
        raise ValueError(f'how must be "absolute", "signed" or "positive", got {how!r}')
    return flatten(values, "absolute" if how == "absolute" else "sum")


def _values(values: Any) -> np.ndarray:
    """The map as float32 (H, W), checked."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"a map must have the shape (H, W), got {array.shape}: for (3, H, W) call flatten(...) first")
    if not np.isfinite(array).all():
        raise ValueError("the map must be finite, got NaN or infinite values")
    return array


@lru_cache
def _table(colors: str) -> np.ndarray:
    """The 256 colors (256, 3) uint8 of a color map."""
    if colors not in _STOPS:
        raise ValueError(f"there is no color map {colors!r}: did you mean {closest(colors, _STOPS)}?")
    stops = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in _STOPS[colors].split()], np.float32)
    at = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(at, range(len(stops)), stops[:, c]) for c in range(3)], 1).round().astype(np.uint8)
