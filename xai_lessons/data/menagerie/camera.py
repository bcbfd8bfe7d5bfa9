"""What the camera does to a drawn image: uneven light, a color cast, brightness and grain."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GRAINS = 96  # grain has this many grains across, whatever the size of the image


def photograph(colors: NDArray[np.float32], rng: np.random.Generator, factors: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Apply light, vignette, warmth, tint, brightness and grain to colors in [0, 1]; returns 0 to 255."""
    size = len(colors)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = across[None, :], across[:, None]
    angle = math.radians(factors["light"])
    side = 0.08 * factors["light_strength"] * (math.sin(angle) * x - math.cos(angle) * y)
    light = (1 + side) * (1 - 0.17 * factors["vignette"] * (x**2 + y**2))
    warmth, tint = 0.07 * factors["warmth"], 0.05 * factors["tint"]
    cast = np.array([1 + warmth + tint / 2, 1 - tint, 1 - warmth + tint / 2], dtype=np.float32)
    image = np.clip(colors * light[..., None].astype(np.float32) * cast, 0, 1)
    if factors["brightness"] != 1:
        image = image ** np.float32(1 / factors["brightness"])
    if factors["grain"]:
        # the same grains at every size: finer would vanish when a large image is shown small
        grains = 0.6 * rng.standard_normal((_GRAINS, _GRAINS, 1), dtype=np.float32)
        grains = grains + 0.4 * rng.standard_normal((_GRAINS, _GRAINS, 3), dtype=np.float32)
        image = image + factors["grain"] * (grains if size == _GRAINS else _resized(grains, size))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _resized(grains: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    channels = [Image.fromarray(grains[..., c]).resize((size, size), Image.Resampling.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(c) for c in channels], axis=2)
