"""Outlines: every function returns the points of one polygon or line, an (n, 2) array; y points down."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
TAU = 2 * math.pi


def path(points: str) -> Points:
    """Read points as in an SVG path, in hundredths: "0,0 100,-50" is [[0, 0], [1, -0.5]]."""
    return np.array([point.split(",") for point in points.split()], dtype=float) / 100


def curve(points: ArrayLike | Sequence[Sequence[float]], closed: bool = True, n: int = 6) -> Points:
    """Draw a smooth (Catmull-Rom) curve through the points, with n steps between two of them."""
    p = np.asarray(points, dtype=float)
    if closed:
        a, b, c, d = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        longer = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
        a, b, c, d = longer[:-3], longer[1:-2], longer[2:-1], longer[3:]
    steps = (_weights(n) @ np.stack([a, b, c, d], axis=1)).reshape(-1, 2)
    return steps if closed else np.vstack([steps, p[-1:]])


@lru_cache
def _weights(n: int) -> Points:
    """Weigh four neighboring points (a, b, c, d) for n steps from b to c: (n, 4)."""
    t = np.arange(n) / n
    a, b, c = -t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3
    return np.stack([a, b, c, t**3 - t**2], axis=1) / 2


@lru_cache
def _circle(n: int, start: float, end: float) -> tuple[Points, Points]:
    t = np.linspace(start, end, n, endpoint=end - start < TAU - 1e-6)
    return np.cos(t), np.sin(t)


def ellipse(
    cx: float, cy: float, rx: float, ry: float, rotation: float = 0, n: int = 28, start: float = 0, end: float = TAU
) -> Points:
    """Draw an ellipse, or the arc of it from angle start to end (radians, clockwise as y points down)."""
    cosines, sines = _circle(n, start, end)
    x, y = rx * cosines, ry * sines
    c, s = math.cos(rotation), math.sin(rotation)
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


def rounded_box(x0: float, y0: float, x1: float, y1: float, radius: float) -> Points:
    """Draw a box whose corners are quarter circles."""
    r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    t = np.linspace(0, math.pi / 2, 5)
    corners = ((x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r), (x1 - r, y0 + r))
    angles = (t + i * math.pi / 2 for i in range(4))
    return np.vstack(
        [center + r * np.stack([np.cos(a), np.sin(a)], 1) for center, a in zip(corners, angles, strict=True)]
    )


def mirror(points: ArrayLike | Sequence[Sequence[float]]) -> Points:
    """Mirror the points at x = 0, in the reverse order."""
    p = np.array(points, dtype=float)
    p[:, 0] *= -1
    return p[::-1]


def symmetric(right_half: ArrayLike | Sequence[Sequence[float]]) -> Points:
    """Draw a smooth closed outline that is symmetric about x = 0 from its right half, given from top to bottom."""
    right = np.asarray(right_half, dtype=float)
    left = mirror(right)
    return curve(np.vstack([right, left[np.abs(left[:, 0]) > 1e-6]]))


def tube(spine: ArrayLike | Sequence[Sequence[float]], start_width: float, end_width: float) -> Points:
    """Draw a tapering limb along a smooth spine, with a round end."""
    s = curve(spine, closed=False, n=8)
    along = np.gradient(s, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.linspace(start_width, end_width, len(s))[:, None] / 2
    t = np.linspace(0, math.pi, 7)[1:-1, None]
    cap = s[-1] + end_width / 2 * (np.cos(t) * across[-1] + np.sin(t) * along[-1])
    return np.vstack([s + across * half, cap, (s - across * half)[::-1]])
