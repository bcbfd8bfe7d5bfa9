"""Interventions: what is done to an image before the network sees it again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs

Stroke = tuple[float, float, float]


def intervene(
    image: Tensor,
    *,
    turn: float = 0,
    upside_down: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
    brighten: float = 0.0,
    noise: float = 0.0,
    grain: int | None = None,
) -> Tensor:
    r"""Do something to an image: $x' = clip(T(x) + b + \sigma n)$ with a turn and shift T, brightness b and noise n.

    Args:
        image: (3, H, W), RGB in [0, 1].
        turn: clockwise, in degrees, about the center.
        upside_down: flipped vertically, before the turn.
        shift: to the right and down, as a fraction of the width; what enters at the edge is mirrored.
        brighten: added to every pixel, -1 to 1.
        noise: standard deviation of normal noise, in pixel units; always the same noise.
        grain: pixels of the noise along a side, where the image is drawn larger than the network sees it.

    Returns:
        (3, H, W) in [0, 1].

    Example:
        >>> import torch
        >>> from xai_lessons import interventions
        >>> interventions.intervene(torch.full((3, 4, 4), 0.5), brighten=0.25)[0, 0, 0]
        tensor(0.7500)
    """
    x = image.flip(1) if upside_down else image
    if turn or any(shift):
        a = math.radians(turn)
        back = torch.tensor([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
        theta = torch.cat([back, -back @ torch.tensor([[2 * shift[0]], [2 * shift[1]]])], dim=1)
        at = F.affine_grid(theta[None], [1, *x.shape], align_corners=False)
        x = F.grid_sample(x[None], at, padding_mode="reflection", align_corners=False)[0]
    x = x + brighten
    if noise:
        side = grain or x.shape[-1]
        n = torch.randn(1, 3, side, side, generator=inputs.generator(0))
        x = x + noise * F.interpolate(n, size=x.shape[-2:], mode="nearest")[0]
    return x.clamp(0, 1)


def painted_mask(size: int, strokes: Sequence[Stroke] = (), box: Sequence[float] = (0, 0, 0, 0)) -> Tensor:
    """The pixels whose center lies in a dot of a brush or in a rectangle.

    Args:
        size: of the image in pixels.
        strokes: dots x, y, radius, as fractions of the image's side.
        box: left, top, width, height, likewise.

    Returns:
        Bool (size, size).

    Example:
        >>> from xai_lessons import interventions
        >>> int(interventions.painted_mask(8, box=(0, 0, 0.5, 0.25)).sum())
        8
    """
    at = (torch.arange(size) + 0.5) / size
    x, y = at[None, :], at[:, None]
    left, top, width, height = box
    mask = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    for center_x, center_y, radius in strokes:
        mask |= (x - center_x) ** 2 + (y - center_y) ** 2 <= radius**2
    return mask
