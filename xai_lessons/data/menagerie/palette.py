"""Colors: (3,) float arrays in [0, 1]."""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Color = NDArray[np.float64]
Rng = np.random.Generator
T = TypeVar("T")


def rgb(r: float, g: float, b: float) -> Color:
    """Make a color from red, green and blue in 0 to 255."""
    return np.array((r, g, b), dtype=float) / 255


def colors(names: str) -> tuple[Color, ...]:
    """Read colors as in a web page: "ffffff 000000" is white and black."""
    return tuple(rgb(*bytes.fromhex(name)) for name in names.split())


def mix(a: ArrayLike, b: ArrayLike, t: float) -> Color:
    """Blend from color a (t = 0) to color b (t = 1)."""
    return np.asarray(a, dtype=float) * (1 - t) + np.asarray(b, dtype=float) * t


def lighter(c: ArrayLike, t: float = 0.3) -> Color:
    """Blend a color towards sunlight."""
    return mix(c, _SUNLIGHT, t)


def darker(c: ArrayLike, t: float = 0.3) -> Color:
    """Blend a color towards a warm shade."""
    return mix(c, _SHADE, t)


def jitter(rng: Rng, c: ArrayLike, hue: float = 0.02, saturation: float = 0.08, value: float = 0.07) -> Color:
    """Vary a color at random by the given standard deviations of hue, saturation and value."""
    h, s, v = colorsys.rgb_to_hsv(*np.clip(c, 0, 1))
    h, s, v = h + rng.normal(0, hue), s + rng.normal(0, saturation), v + rng.normal(0, value)
    return np.array(colorsys.hsv_to_rgb(h % 1, min(max(s, 0), 1), min(max(v, 0), 1)))


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """Take one of the choices at random."""
    return choices[int(rng.integers(len(choices)))]


_SUNLIGHT, _SHADE = colors("fffaeb 2d1c30")
PINK, WHITE, INK = colors("e89696 fcf8f0 2e2026")
FUR = colors("de8c44 f0d6ac 8e929c 544e54 986846 f2ede4 e0b874 6c7a92 bc9678")
BRIGHT = colors("e05c4c ecb240 429896 3a568a 804e84 6e9e52 68acd2 e28094 e8843e eedebe 966a4c 78808c")
