"""The sailboat: one sail, two, a spinnaker, square-rigged, a junk, two masts, a catamaran."""

from __future__ import annotations

import numpy as np

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, path, tube
from ..palette import BRIGHT, WHITE, Color, Rng, darker, jitter, lighter, mix, pick, rgb

PARTS = ("mast", "flag", "sails", "hull", "portholes")

WOOD = rgb(132, 90, 60)
GLASS = rgb(186, 216, 226)
CLOTHS = (*BRIGHT, WHITE, WHITE, rgb(244, 226, 190))


class Look:
    """What one boat looks like, whatever its rig."""

    def __init__(self, rng: Rng) -> None:
        self.hull = jitter(rng, pick(rng, BRIGHT))
        self.main = main = jitter(rng, pick(rng, CLOTHS), hue=0.02, saturation=0.05, value=0.04)
        other = jitter(rng, pick(rng, BRIGHT))
        self.jib = pick(rng, (main, lighter(main, 0.4), other, WHITE))
        self.flag = pick(rng, BRIGHT)
        self.striped = rng.random() < 0.45
        self.portholes = rng.random() < 0.5
        self.belly = rng.uniform(0.02, 0.13)  # how far the wind fills the sails
        self.tilt = rng.uniform(-1, 1)


def sailboat(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw a sailboat whose bow is on the right."""
    look = Look(rng)
    with canvas.placed(0, 0.02, 0.97, rotation=0.12 * look.tilt):
        _POSES[pose](canvas, look)


def _one(canvas: Canvas, look: Look) -> None:
    """A dinghy: one tall sail behind the mast."""
    _mast(canvas, look, 0.26)
    sail = curve([[0.18, -0.84], [0.2, -0.3], [0.18, 0.28], [-0.3, 0.34], [-0.76, 0.26], [-0.56 - look.belly, -0.1],
        [-0.2 - look.belly, -0.5]], n=5)  # fmt: skip
    _sail(canvas, look, sail, look.main)
    canvas.line([[0.26, 0.32], [-0.72, 0.32]], "mast", darker(WOOD, 0.2), width=0.045)
    _hull(canvas, look)


def _two(canvas: Canvas, look: Look) -> None:
    _mast(canvas, look, 0)
    main = curve([[-0.06, -0.78], [-0.28, -0.45], [-0.55 - look.belly, 0.0], [-0.72, 0.3], [-0.4, 0.36],
        [-0.06, 0.34], [-0.08, -0.2]], n=5)  # fmt: skip
    jib = curve([[0.08, -0.7], [0.28 + look.belly, -0.36], [0.52 + look.belly, 0.0], [0.74, 0.3], [0.4, 0.35],
        [0.1, 0.31], [0.15, -0.2]], n=5)  # fmt: skip
    _sail(canvas, look, main, look.main)
    _sail(canvas, look, jib, look.jib, striped=False)
    _hull(canvas, look)


def _spinnaker(canvas: Canvas, look: Look) -> None:
    """A balloon of a sail before the mast, the mainsail behind it."""
    _mast(canvas, look, -0.16)
    main = curve([[-0.22, -0.76], [-0.4, -0.4], [-0.6 - look.belly, 0.02], [-0.72, 0.28], [-0.46, 0.34],
        [-0.22, 0.32], [-0.24, -0.2]], n=5)  # fmt: skip
    _sail(canvas, look, main, look.jib, striped=False)
    balloon = curve([[-0.1, -0.84], [0.3, -0.74], [0.72, -0.42], [0.92 + look.belly / 2, -0.02], [0.8, 0.26],
        [0.5, 0.18], [0.12, 0.24], [0.08, -0.1], [0.02, -0.5]])  # fmt: skip
    _sail(canvas, look, balloon, look.main, striped=True)
    for x in (0.8, 0.13):
        canvas.line([[x, 0.24], [0.5, 0.44]], "mast", darker(WOOD, 0.3), width=0.02)
    _hull(canvas, look)


def _square(canvas: Canvas, look: Look) -> None:
    _mast(canvas, look, 0)
    for top, bottom, half, color in ((-0.74, -0.3, 0.44, look.main), (-0.22, 0.28, 0.62, look.jib)):
        middle = (top + bottom) / 2
        sail = curve([[-half * 0.92, top], [0, top - 0.02], [half * 0.92, top], [half + look.belly, middle],
            [half, bottom], [0, bottom - 0.08], [-half, bottom], [-half * 0.84 + look.belly, middle]])  # fmt: skip
        _sail(canvas, look, sail, color)
        yard = tube([[-half - 0.02, top], [0, top - 0.01], [half + 0.02, top]], 0.05, 0.05)
        canvas.shape(yard, "mast", WOOD, width=0.7)
    _hull(canvas, look, stern=0.18)


def _junk(canvas: Canvas, look: Look) -> None:
    """Battened sails like the fins of a fish, and a high stern."""
    for x, scale in ((0.46, 0.7), (-0.14, 1.0)):
        with canvas.placed(x, 0.42 * (1 - scale), scale):
            canvas.shape(tube([[0, 0.5], [0, -0.2], [0, -0.96]], 0.07, 0.05), "mast", WOOD)
            edge = [[0.16, -0.9], [0.3, -0.52], [0.3, -0.2], [0.28, 0.08], [0.24, 0.3], [-0.2, 0.33], [-0.56, 0.24],
                [-0.66 - look.belly, 0.0], [-0.62 - look.belly, -0.28], [-0.48 - look.belly, -0.52]]  # fmt: skip
            color = look.main if scale == 1 else look.jib
            _sail(canvas, look, np.array(edge), color, striped=False)
            for left, right in ((9, 1), (8, 2), (7, 3)):
                canvas.line([edge[left], edge[right]], "sails", darker(color, 0.4), width=0.035)
    _hull(canvas, look, stern=0.26)


def _schooner(canvas: Canvas, look: Look) -> None:
    """Two masts, four sails."""
    for x, top in ((-0.22, -0.98), (0.3, -0.84)):
        canvas.shape(tube([[x, 0.5], [x, -0.2], [x, top]], 0.065, 0.045), "mast", WOOD)
        _flag(canvas, look, x, top, 0.7)
        gaff = curve([[x - 0.04, top + 0.42], [x - 0.34, top + 0.28], [x - 0.44 - look.belly / 2, 0.0],
            [x - 0.48, 0.34], [x - 0.2, 0.37], [x - 0.04, 0.35]], n=4)  # fmt: skip
        _sail(canvas, look, gaff, look.main)
        topsail = np.array([[x - 0.035, top + 0.06], [x - 0.05, top + 0.36], [x - 0.34, top + 0.22]])
        canvas.shape(topsail, "sails", look.jib)
    jib = curve([[0.36, -0.6], [0.54 + look.belly / 2, -0.2], [0.9, 0.26], [0.6, 0.33], [0.37, 0.31]], n=4)
    canvas.shape(jib, "sails", look.jib)
    canvas.line([[0.7, 0.42], [1.0, 0.26]], "mast", WOOD, width=0.05)
    _hull(canvas, look)


def _catamaran(canvas: Canvas, look: Look) -> None:
    """Two hulls, a net between them, and a tall sail."""
    canvas.shape(curve(path("-62,34 20,32 98,26 86,44 50,52 -40,54 -62,46")), "hull", darker(look.hull, 0.25))
    _mast(canvas, look, 0.12, top=-1.0, foot=0.5)
    sail = curve([[0.04, -0.9], [-0.22 - look.belly, -0.56], [-0.52 - look.belly, -0.1], [-0.72, 0.3], [-0.3, 0.34],
        [0.04, 0.3], [0.06, -0.3]], n=5)  # fmt: skip
    _sail(canvas, look, sail, look.main)
    jib = curve([[0.19, -0.66], [0.36 + look.belly, -0.28], [0.8, 0.24], [0.46, 0.26], [0.2, 0.24]], n=4)
    _sail(canvas, look, jib, look.jib, striped=False)
    deck = np.array([[-0.6, 0.42], [0.6, 0.36], [0.46, 0.66], [-0.74, 0.7]])
    canvas.shape(deck, "hull", mix(look.hull, rgb(220, 205, 180), 0.75), width=0.8)
    for t in (0.2, 0.4, 0.6, 0.8):
        rope = [deck[0] * (1 - t) + deck[1] * t, deck[3] * (1 - t) + deck[2] * t]
        canvas.line(rope, "hull", darker(look.hull, 0.3), width=0.018, alpha=0.7)
    canvas.shape(curve(path("-88,56 -20,58 50,54 94,44 84,66 50,80 -60,82 -86,72")), "hull", look.hull)
    canvas.line([[-0.78, 0.66], [0.74, 0.62]], "hull", lighter(look.hull, 0.6), width=0.06)


def _mast(canvas: Canvas, look: Look, x: float, top: float = -0.98, foot: float = 0.5) -> None:
    canvas.shape(tube([[x, foot], [x, -0.2], [x, top]], 0.07, 0.05), "mast", WOOD)
    _flag(canvas, look, x, top, 1)


def _flag(canvas: Canvas, look: Look, x: float, top: float, scale: float) -> None:
    """A pennant; the wind comes from the left."""
    pennant = path("0,-3 14,-1 36,7 16,13 0,17")
    canvas.shape(curve(pennant * scale + [x, top], n=4), "flag", look.flag, width=0.8)


def _sail(canvas: Canvas, look: Look, outline: Points, color: Color, striped: bool | None = None) -> None:
    canvas.shape(outline, "sails", color)
    if look.striped if striped is None else striped:
        stripe = look.jib if np.abs(look.jib - color).sum() > 0.3 else darker(color, 0.25)
        top, bottom = outline[:, 1].min(), outline[:, 1].max()
        with canvas.surface(outline, "sails"):
            for t in (0.2, 0.47, 0.74):
                y0, y1 = top + (bottom - top) * t, top + (bottom - top) * (t + 0.13)
                patch = curve([[-1.2, y0], [0, y0 + 0.05], [1.2, y0], [1.2, y1], [0, y1 + 0.05], [-1.2, y1]])
                canvas.mark(patch, "sails", stripe)


def _hull(canvas: Canvas, look: Look, stern: float = 0.0) -> None:
    """The hull, bow to the right; `stern` raises the other end."""
    outline = curve([[-0.86, 0.4 - stern], [-0.5, 0.44 - stern * 0.6], [-0.3, 0.46], [0.4, 0.46], [0.94, 0.35],
        [0.82, 0.62], [0.6, 0.8], [0, 0.86], [-0.5, 0.82], [-0.74, 0.66]])  # fmt: skip
    canvas.shape(outline, "hull", look.hull)
    with canvas.surface(outline, "hull"):
        rail = [[-1, 0.34 - stern], [-0.5, 0.4 - stern * 0.6], [-0.3, 0.44], [0.4, 0.44], [1, 0.3]]
        canvas.line(curve(rail, closed=False) + [0, 0.05], "hull", lighter(look.hull, 0.55), width=0.11)
        canvas.line([[-0.9, 0.72], [0, 0.75], [0.9, 0.7]], "hull", darker(look.hull, 0.3), width=0.03)
    if look.portholes:
        for x in (-0.36, -0.04, 0.28):
            canvas.shape(ellipse(x, 0.63, 0.06, 0.06, n=14), "portholes", GLASS, width=0.7)


_POSES = {draw.__name__[1:]: draw for draw in (_one, _two, _spinnaker, _square, _junk, _schooner, _catamaran)}
POSES = tuple(_POSES)
