"""The umbrella: a little model in space, seen level, from above, tilted, from below; and folded."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from numpy.typing import ArrayLike

from ..canvas import Canvas
from ..geometry import TAU, Points, curve, ellipse, path, tube
from ..palette import BRIGHT, WHITE, Color, Rng, colors, darker, jitter, lighter, pick

PARTS = ("shaft", "handle", "canopy", "tip")

HANDLES = colors("825638 504650 c4965a 3c5a82")
STEPS = np.linspace(0, 1, 7)  # along a rib, from the top to the rim


class Look:
    """What one umbrella looks like, whatever its pose."""

    def __init__(self, rng: Rng) -> None:
        self.cloth = cloth = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
        other = jitter(rng, pick(rng, BRIGHT))
        self.second = pick(rng, (lighter(cloth, 0.6), other, cloth, darker(cloth, 0.2), WHITE))  # of every other panel
        self.wood = pick(rng, HANDLES)
        self.ribs = 2 * int(rng.integers(4, 6))
        self.height = rng.uniform(0.58, 0.72)
        self.width = rng.uniform(0.86, 0.98)
        self.turn = rng.uniform(-0.2, 0.2)  # of the ribs about the shaft
        self.tilt = rng.uniform(-1, 1)  # to the left or right, -1 to 1
        self.dotted = rng.random() < 0.3
        self.dots = rng.uniform(-0.3, 0.3, (12, 2))


def umbrella(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw an umbrella."""
    _POSES[pose](canvas, Look(rng))


def _open(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0, 0.0, 0.97, rotation=0.22 * look.tilt):
        _spread(canvas, look, view=0.06)


def _leaning(canvas: Canvas, look: Look) -> None:
    """As over a shoulder: we see a little of the inside."""
    with canvas.placed(0.1 * _sign(look), 0.1, 0.96, rotation=0.62 * _sign(look) + 0.12 * look.tilt):
        _spread(canvas, look, view=-0.34)


def _above(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0, 0.07, 0.98, rotation=0.2 * look.tilt):
        _spread(canvas, look, view=0.5)


def _below(canvas: Canvas, look: Look) -> None:
    """The inside, with the shaft coming towards us."""
    with canvas.placed(0.06 * look.tilt, 0.15, 0.97, rotation=0.5 * look.tilt):
        _spread(canvas, look, view=-0.86)


def _folded(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0, 0, 0.96, rotation=0.2 * _sign(look) + 0.2 * look.tilt):
        canvas.shape(tube([[0, 0.7], [0, 0.84], [0, 0.97]], 0.07, 0.04), "tip", look.wood)
        canvas.shape(tube([[0, 0.72], [0, 0.1], [0, -0.66]], 0.07, 0.07), "shaft", look.wood)
        canvas.shape(_hook(np.array([0, -0.58]), np.array([0.0, -1.0]), 0.4 * _sign(look)), "handle", look.wood)
        cone = curve(path("-30,-26 0,-30 30,-26 20,20 6,78 -6,78 -20,20"), n=5)
        canvas.shape(cone, "canopy", darker(look.cloth, 0.35))
        for x, top, panel in ((-0.25, -0.3, 1), (0.25, -0.3, 1), (-0.13, -0.4, 0), (0.13, -0.38, 0), (0, -0.44, 1)):
            fold = curve([[x, top], [x * 0.95 + 0.09, -0.16], [x * 0.7 + 0.07, 0.2], [x * 0.2 + 0.03, 0.78],
                [x * 0.2 - 0.03, 0.78], [x * 0.7 - 0.07, 0.2], [x * 0.95 - 0.09, -0.16]], n=5)  # fmt: skip
            canvas.shape(fold, "canopy", _cloth(look, panel), width=0.8)
        band = curve(path("-26,10 0,16 26,10 24,21 0,27 -24,21"), n=5)
        canvas.shape(band, "canopy", darker(look.cloth, 0.25), width=0.9)
        canvas.mark(ellipse(0.02, 0.215, 0.04, 0.04, n=14), "canopy", lighter(look.second, 0.6))


def _sign(look: Look) -> int:
    return 1 if look.tilt >= 0 else -1


def _seen(points: ArrayLike, view: float) -> np.ndarray:
    """Turn points (..., 3) about the x axis; view > 0 looks from above, < 0 from below. The last column is nearness."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    return np.stack([x, y * cos(view) + z * sin(view), z * cos(view) - y * sin(view)], axis=-1)


def _spread(canvas: Canvas, look: Look, view: float) -> None:
    """Draw the open umbrella: what is far, the shaft, what is near."""
    top = -0.08 - look.height
    angles = look.turn + TAU * (np.arange(look.ribs + 1) + 0.5) / look.ribs
    ribs = [_seen(_rib(look, angle, top), view) for angle in angles]
    panels = [_panel(ribs[i], ribs[i + 1]) for i in range(look.ribs)]
    order = sorted(range(look.ribs), key=lambda i: panels[i][:, 2].mean())
    inside = [i for i in order if _area(panels[i][:, :2]) < 0]
    outside = [i for i in order if i not in inside]
    tip = _seen([[0, top + 0.03, 0], [0, top - 0.06, 0], [0, top - 0.15, 0]], view)[:, :2]
    if view < 0:
        canvas.shape(tube(tip, 0.07, 0.035), "tip", look.wood)
    for i in inside:
        canvas.shape(panels[i][:, :2], "canopy", darker(_cloth(look, i), 0.3))
    for i in inside:
        canvas.line(ribs[i][:, :2], "canopy", darker(look.wood, 0.35), width=0.02)
    _pole(canvas, look, view, top)
    for i in outside:
        canvas.shape(panels[i][:, :2], "canopy", _cloth(look, i))
        if look.dotted:
            _dots(canvas, look, panels[i][:, :2], i)
    if view >= 0:
        canvas.shape(tube(tip, 0.07, 0.035), "tip", look.wood)


def _rib(look: Look, angle: float, top: float) -> np.ndarray:
    out = look.width * np.sin(STEPS * pi / 2) ** 0.9
    down = top + look.height * (1 - np.cos(STEPS * pi / 2))
    return np.stack([out * cos(angle), down, out * sin(angle)], axis=1)


def _panel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The cloth between two ribs; its rim is drawn in and up."""
    rim = []
    for t in (0.25, 0.5, 0.75):
        between = left[-1] * (1 - t) + right[-1] * t
        inner = left[-2] * (1 - t) + right[-2] * t
        rim.append(between + (inner - between) * 0.6 * sin(pi * t))
    return np.vstack([left, rim, right[::-1]])


def _area(points: np.ndarray) -> float:
    """Signed area: positive where we see the outside of a panel, negative for its inside."""
    x, y = points.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _cloth(look: Look, panel: int) -> Color:
    return look.cloth if panel % 2 == 0 else look.second


def _dots(canvas: Canvas, look: Look, panel: Points, index: int) -> None:
    color = lighter(look.second if index % 2 == 0 else look.cloth, 0.6)
    with canvas.surface(panel, "canopy"):
        for t, shift in zip((0.45, 0.75), look.dots[index], strict=True):
            center = panel[0] * (1 - t) + panel[8] * t + (panel[6] - panel[10]) * shift
            canvas.mark(ellipse(center[0], center[1], 0.05, 0.05, n=12), "canopy", color)


def _pole(canvas: Canvas, look: Look, view: float, top: float) -> None:
    ends = _seen([[0, top + 0.06, 0], [0, 0.1, 0], [0, 0.62, 0]], view)[:, :2]
    canvas.shape(tube(ends, 0.06, 0.065), "shaft", look.wood)
    along = (ends[2] - ends[1]) / np.hypot(*(ends[2] - ends[1]))
    canvas.shape(_hook(ends[2] - 0.16 * along, along, 0.46), "handle", look.wood)


def _hook(start: Points, along: Points, size: float) -> Points:
    """A handle that leaves `start` in the direction `along` and turns back; its side is the sign of size."""
    side = np.array([-along[1], along[0]]) * (-1 if size > 0 else 1)
    size = abs(size)
    spine = [(0, 0), (0.5, 0), (0.82, 0.12), (0.94, 0.36), (0.82, 0.6), (0.58, 0.66)]
    return tube([start + size * (a * along + b * side) for a, b in spine], 0.1, 0.1)


_POSES = {"open": _open, "leaning": _leaning, "above": _above, "below": _below, "folded": _folded}
POSES = tuple(_POSES)
