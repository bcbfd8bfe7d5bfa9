"""Colors: (3,) float arrays in [0, 1]."""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Color = NDArray[np.float64]
T = TypeVar("T")


def rgb(r: float, g: float, b: float) -> Color:
    """Make a color from red, green and blue in 0 to 255."""
    return np.array((r, g, b), dtype=float) / 255


def mix(a: ArrayLike, b: ArrayLike, t: float) -> Color:
    """Blend from color a (t = 0) to color b (t = 1)."""
    return np.asarray(a, dtype=float) * (1 - t) + np.asarray(b, dtype=float) * t


def lighter(c: ArrayLike, t: float = 0.3) -> Color:
    """Blend a color towards sunlight."""
    return mix(c, _SUNLIGHT, t)


def darker(c: ArrayLike, t: float = 0.3) -> Color:
    """Blend a color towards a warm shade."""
    return mix(c, _SHADE, t)


def jitter(
    rng: np.random.Generator, c: ArrayLike, hue: float = 0.02, saturation: float = 0.08, value: float = 0.07
) -> Color:
    """Vary a color at random by the given standard deviations of hue, saturation and value."""
    h, s, v = colorsys.rgb_to_hsv(*np.clip(c, 0, 1))
    h, s, v = h + rng.normal(0, hue), s + rng.normal(0, saturation), v + rng.normal(0, value)
    return np.array(colorsys.hsv_to_rgb(h % 1, min(max(s, 0), 1), min(max(v, 0), 1)))


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Take one of the choices at random."""
    return choices[int(rng.integers(len(choices)))]


_SUNLIGHT, _SHADE = rgb(255, 250, 235), rgb(45, 28, 48)
PINK, WHITE, INK = rgb(232, 150, 150), rgb(252, 248, 240), rgb(46, 32, 38)
FUR = (
    rgb(222, 140, 68),
    rgb(240, 214, 172),
    rgb(142, 146, 156),
    rgb(84, 78, 84),
    rgb(152, 104, 70),
    rgb(242, 237, 228),
    rgb(224, 184, 116),
    rgb(108, 122, 146),
    rgb(188, 150, 120),
)
BRIGHT = (
    rgb(224, 92, 76),
    rgb(236, 178, 64),
    rgb(66, 152, 150),
    rgb(58, 86, 138),
    rgb(128, 78, 132),
    rgb(110, 158, 82),
    rgb(104, 172, 210),
    rgb(226, 128, 148),
    rgb(232, 132, 62),
    rgb(238, 222, 190),
    rgb(150, 106, 76),
    rgb(120, 128, 140),
)
