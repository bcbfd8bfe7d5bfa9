"""The mushroom: domed, flat, bell-shaped, a young button, a funnel, a pair and a cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, path
from ..palette import BRIGHT, WHITE, Rng, colors, darker, jitter, lighter, mix, pick

PARTS = ("stem", "ring", "gills", "cap", "spots")

STEMS = colors("f6ecd6 e4ceaa d6c4ba")
FORMS = {"dome": (0.64, 0.78), "flat": (0.4, 0.9), "bell": (0.86, 0.6)}  # height and half-width of the cap
CLUSTER = ((0.1, 0.02, 0.88, 0.05), (-0.52, 0.36, 0.58, -0.2), (0.6, 0.46, 0.48, 0.24), (-0.08, 0.6, 0.36, -0.04))


class Look:
    """What the mushrooms of one image look like, whatever the pose."""

    def __init__(self, rng: Rng) -> None:
        self.cap = cap = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
        rows = path("-62,14 -20,20 22,12 64,20 -44,50 2,52 46,50 -20,82 24,84")
        rows = rows + rng.uniform(-0.07, 0.07, rows.shape)
        self.scatter = np.column_stack([rows, rng.uniform(0.06, 0.11, len(rows))])  # x, y in the cap's measure; radius
        self.stem = jitter(rng, pick(rng, STEMS), hue=0.01, saturation=0.04, value=0.04)
        self.spots = WHITE if np.mean(cap) < 0.7 else darker(cap, 0.4)
        self.spotted = rng.random() < 0.75
        self.ringed = rng.random() < 0.7
        self.width = rng.uniform(0.94, 1.06)
        self.thick = rng.uniform(0.85, 1.15)
        self.lean = rng.uniform(-0.1, 0.1)
        self.side = 1 if rng.random() < 0.5 else -1
        self.tilt = rng.uniform(-1, 1)
        self.form = tuple(FORMS)[rng.integers(len(FORMS))]


def mushroom(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw a mushroom, or some."""
    _POSES[pose](canvas, Look(rng))


def _upright(canvas: Canvas, look: Look, form: str) -> None:
    with canvas.placed(0, 0.02, 0.98, rotation=0.1 * look.tilt):
        _one(canvas, look, form)


def _pair(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0.5 * look.side, 0.4, 0.54, rotation=0.16 * look.side):
        _one(canvas, look, look.form)
    with canvas.placed(-0.16 * look.side, 0.04, 0.92, rotation=-0.08 * look.side):
        _one(canvas, look, look.form)


def _cluster(canvas: Canvas, look: Look) -> None:
    form = "dome" if look.form == "flat" else look.form
    for x, y, scale, rotation in CLUSTER:
        with canvas.placed(x * look.side, y, scale, rotation=rotation * look.side):
            _one(canvas, look, form)


def _button(canvas: Canvas, look: Look) -> None:
    """A young one: a round cap that is hardly open, on a stout stem."""
    with canvas.placed(0, 0, 1, rotation=0.1 * look.tilt):
        _stem(canvas, look, curve(path("-30,-10 30,-10 36,40 46,76 20,90 -20,90 -46,76 -36,40")), 0.28)
        if look.ringed:
            canvas.shape(curve(path("-34,26 34,26 40,40 0,42 -40,40")), "ring", lighter(look.stem, 0.3))
        w = 0.68 * look.width
        cap = curve([[-w * 0.8, 0.18], [-w, -0.14], [-w * 0.86, -0.56], [-w * 0.42, -0.84], [0, -0.9],
            [w * 0.42, -0.84], [w * 0.86, -0.56], [w, -0.14], [w * 0.8, 0.18], [w * 0.4, 0.26], [0, 0.28],
            [-w * 0.4, 0.26]])  # fmt: skip
        _cap(canvas, look, cap, w, top=-0.9, bottom=0.2)


def _funnel(canvas: Canvas, look: Look) -> None:
    """A chanterelle: the cap turned up, its gills running down the stem."""
    with canvas.placed(0, 0.02, 0.98, rotation=0.1 * look.tilt):
        w = 0.8 * look.width
        _stem(canvas, look, curve(path("-20,-45 20,-45 17,40 24,84 0,92 -24,84 -17,40")), 0.13)
        canvas.shape(curve([[-w * 0.97, -0.5], [0, -0.4], [w * 0.97, -0.5], [w * 0.62, -0.12], [0.24, 0.2], [0, 0.28],
            [-0.24, 0.2], [-w * 0.62, -0.12]]), "gills", mix(look.stem, look.cap, 0.35))  # fmt: skip
        for t in np.linspace(-0.8, 0.8, 7):
            rib = [[t * w, -0.42 - 0.02 * t * t], [t * w * 0.66, -0.1], [t * 0.28, 0.2]]
            canvas.line(curve(rib, closed=False), "gills", darker(look.stem, 0.4), width=0.022)
        canvas.shape(curve([[-w, -0.5], [-w * 0.84, -0.66], [-w * 0.4, -0.72], [0, -0.76], [w * 0.42, -0.7],
            [w * 0.86, -0.68], [w, -0.5], [w * 0.7, -0.38], [w * 0.3, -0.4], [0, -0.33], [-w * 0.34, -0.41],
            [-w * 0.72, -0.37]]), "cap", look.cap)  # fmt: skip
        canvas.mark(ellipse(0, -0.55, w * 0.52, 0.1), "cap", darker(look.cap, 0.3), alpha=0.7)
        if look.spotted and "cap" not in canvas.hidden:
            for x, y in ((-0.74, -0.52), (-0.56, -0.62), (0.6, -0.46), (0.72, -0.58), (0.3, -0.66), (-0.3, -0.45)):
                canvas.mark(ellipse(x * w, y, 0.06, 0.035, n=12), "spots", look.spots)


def _one(canvas: Canvas, look: Look, form: str) -> None:
    """One grown mushroom, its foot at y = 0.9."""
    height, half = FORMS[form]
    w, y, s = half * look.width, -0.05, look.thick
    lean = look.lean
    stem = curve([[-0.17 * s, y - 0.06], [0.17 * s, y - 0.06], [0.18 * s + lean, 0.5], [0.27 * s + lean, 0.84],
        [lean, 0.92], [-0.27 * s + lean, 0.84], [-0.18 * s + lean, 0.5]])  # fmt: skip
    _stem(canvas, look, stem, 0.11 * s)
    canvas.shape(ellipse(0, y + 0.02, w * 0.93, 0.19), "gills", mix(look.stem, darker(look.cap, 0.3), 0.25))
    for t in np.linspace(-0.86, 0.86, 9):
        gill = [[t * 0.25, y + 0.03], [t * w * 0.9, y + 0.02 + 0.17 * np.sqrt(1 - t * t)]]
        canvas.line(gill, "gills", darker(look.stem, 0.35), width=0.02)
    if look.ringed:
        skirt = [[-0.17 * s + lean * 0.4, 0.22], [0.17 * s + lean * 0.4, 0.22], [0.26 * s + lean * 0.5, 0.35],
            [0.1 + lean * 0.4, 0.36], [-0.1 + lean * 0.4, 0.36], [-0.26 * s + lean * 0.5, 0.35]]  # fmt: skip
        canvas.shape(curve(skirt, n=5), "ring", lighter(look.stem, 0.3))
    cap = curve([[-w, y + 0.02], [-w * 0.9, y - height * 0.5], [-w * 0.45, y - height * 0.95], [0, y - height * 1.08],
        [w * 0.45, y - height * 0.95], [w * 0.9, y - height * 0.5], [w, y + 0.02], [w * 0.6, y + 0.08], [0, y + 0.03],
        [-w * 0.6, y + 0.08]])  # fmt: skip
    _cap(canvas, look, cap, w, top=y - height, bottom=y)


def _stem(canvas: Canvas, look: Look, outline: Points, half: float) -> None:
    canvas.shape(outline, "stem", look.stem)
    for x, start, end in ((-0.6, 0.5, 0.78), (0.1, 0.58, 0.82), (0.7, 0.46, 0.7)):
        groove = [[x * half + look.lean * 0.8, start], [x * half + look.lean, end]]
        canvas.line(groove, "stem", darker(look.stem, 0.25), width=0.022, alpha=0.7)


def _cap(canvas: Canvas, look: Look, outline: Points, half: float, top: float, bottom: float) -> None:
    canvas.shape(outline, "cap", look.cap)
    high = bottom - top
    with canvas.surface(outline, "cap"):
        canvas.mark(ellipse(-half * 0.42, top + high * 0.28, half * 0.26, high * 0.1, -0.5), "cap", WHITE, alpha=0.25)
        if look.spotted:
            flat = min(1.3 * high, 0.9)
            for x, y, radius in look.scatter:
                room = 1 - 0.35 * y**2  # the rows towards the top are shorter
                spot = ellipse(x * half * room, bottom - y * high, radius, radius * flat, n=16)
                canvas.mark(spot, "spots", look.spots)


_POSES: dict[str, Callable[[Canvas, Look], None]] = {form: partial(_upright, form=form) for form in FORMS}
_POSES |= {"button": _button, "funnel": _funnel, "pair": _pair, "cluster": _cluster}
POSES = tuple(_POSES)
