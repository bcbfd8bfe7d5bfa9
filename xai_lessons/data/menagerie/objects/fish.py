"""The fish: from the side, diving, rising, round, long, tall and from the front."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
from numpy.typing import ArrayLike

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, path, tube
from ..palette import BRIGHT, INK, WHITE, Rng, darker, jitter, lighter, mix, pick

PARTS = ("tail", "fins", "spines", "body", "markings", "eyes", "mouth")
PATTERNS = ("stripes", "scales", "plain", "dots", "band")


class Look:
    """What one fish looks like, whatever its pose."""

    def __init__(self, rng: Rng) -> None:
        self.coat = coat = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
        self.marking = marking = jitter(rng, pick(rng, BRIGHT))
        self.fin = [darker(coat, 0.15), marking, lighter(coat, 0.35)][rng.integers(3)]
        self.pattern = PATTERNS[rng.integers(len(PATTERNS))]
        self.height = rng.uniform(0.36, 0.5)
        self.tail = rng.uniform(0.9, 1.2)
        self.bend = rng.uniform(-1, 1)
        self.tilt = rng.uniform(-1, 1)
        self.bubbles = rng.random() < 0.6
        self.dots = _scatter(rng, 12)  # (12, 3): x and y in [-1, 1], and the radius


def _scatter(rng: Rng, count: int) -> np.ndarray:
    """Well spread points: a jittered lattice, so that no two of them touch."""
    column, row = np.arange(count) % 4, np.arange(count) // 4
    x = (column + 0.25 + 0.5 * (row % 2)) / 2 - 1 + rng.uniform(-0.08, 0.08, count)
    y = (row + 0.5) * 2 / 3 - 1 + rng.uniform(-0.1, 0.1, count)
    return np.stack([x, y, rng.uniform(0.045, 0.08, count)], 1)


def fish(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw a fish that looks to the right."""
    _POSES[pose](canvas, Look(rng))


def _side(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0.02, 0, 0.97, rotation=0.12 * look.tilt):
        _swimmer(canvas, look, 0.12 * look.bend)


def _dive(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0.03, 0.16, 0.9, rotation=0.7 + 0.12 * look.tilt):
        _swimmer(canvas, look, -0.24)


def _rise(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0.03, -0.12, 0.92, rotation=-0.66 + 0.12 * look.tilt):
        _swimmer(canvas, look, 0.2)


def _swimmer(canvas: Canvas, look: Look, bend: float) -> None:
    """A fish from the side, its spine bent: the tail is carried down by `bend`."""
    h = look.height

    def bent(points: ArrayLike) -> Points:
        p = np.array(points, float)
        p[:, 1] += bend * np.clip(0.35 - p[:, 0], 0, None) ** 2
        return p

    tail = bent([[-0.45, -0.08], [-0.74, -0.18], [-0.99, -0.44 * look.tail], [-0.88, 0], [-0.99, 0.42 * look.tail],
        [-0.74, 0.16], [-0.45, 0.08]])  # fmt: skip
    canvas.shape(curve(tail), "tail", look.fin)
    for y in (-0.2, 0, 0.2):
        _ray(canvas, look, bent([[-0.68, y * 0.4], [-0.84, y]]), "tail")
    back = bent([[-0.34, -h * 0.5], [-0.2, -h * 1.45], [0.1, -h * 1.7], [0.33, -h * 1.3], [0.38, -h * 0.6]])
    belly = bent([[-0.2, h * 0.6], [-0.28, h * 1.42], [0.0, h * 1.34], [0.14, h * 0.7]])
    for outline in (back, belly):
        canvas.shape(curve(outline), "fins", look.fin)
    for x in (-0.12, 0.04, 0.2):
        _ray(canvas, look, bent([[x, -h * 1.0], [x - 0.04, -h * 1.38]]))
    body = curve(bent([[0.87, 0.0], [0.7, -h * 0.62], [0.34, -h], [-0.1, -h * 0.92], [-0.46, -h * 0.42], [-0.62, 0],
        [-0.46, h * 0.44], [-0.1, h * 0.92], [0.34, h], [0.7, h * 0.6]]))  # fmt: skip
    canvas.shape(body, "body", look.coat)
    with canvas.surface(body, "body"):
        patch = curve(bent([[-0.7, h * 0.3], [0, h * 0.55], [0.95, h * 0.3], [0.9, h * 1.2], [-0.7, h * 1.2]]))
        canvas.mark(patch, "body", lighter(look.coat, 0.6), alpha=0.5)
        _pattern(canvas, look, bent)
        _gill(canvas, look, ellipse(0.42, 0, 0.12, h * 0.68, n=10, start=-0.42 * pi, end=0.42 * pi))
    fin = curve(bent([[0.22, 0.08], [-0.02, 0.05], [-0.17, 0.23], [0.03, 0.34], [0.22, 0.22]]))
    canvas.shape(fin, "fins", look.fin)
    _ray(canvas, look, [[0.1, 0.14], [-0.06, 0.22]])
    _eye(canvas, 0.62, -h * 0.24, 0.11)
    _mouth(canvas, look, [[0.86, 0.06], [0.78, 0.13], [0.69, 0.1]])
    _bubbles(canvas, look, 0.92, -0.3)


def _pattern(canvas: Canvas, look: Look, bent: Callable[[ArrayLike], Points]) -> None:
    """The markings of a fish about 1.2 long and 2 h high."""
    h = look.height
    if look.pattern == "stripes":
        for x, w in ((0.24, 0.07), (-0.05, 0.08), (-0.34, 0.065)):
            band = [[x - w, -0.7], [x + w, -0.7], [x + w + 0.05, 0], [x + w, 0.7], [x - w, 0.7], [x - w + 0.05, 0]]
            canvas.mark(curve(bent(band)), "markings", look.marking)
    elif look.pattern == "scales":
        for column in range(4):
            for row in range(3):
                x, y = 0.2 - 0.18 * column, h * (-0.62 + 0.54 * row + 0.27 * (column % 2))
                scale = ellipse(x, y, 0.08, 0.13, n=7, start=0.5 * pi, end=1.5 * pi)
                canvas.line(bent(scale), "markings", darker(look.coat, 0.35), width=0.024)
    elif look.pattern == "dots":
        for x, y, r in look.dots:
            (u, v), *_ = bent([[0.38 * x - 0.12, h * 0.82 * y]])
            canvas.mark(ellipse(u, v, r, r, n=12), "markings", look.marking)
    elif look.pattern == "band":
        patch = curve(bent([[0.9, -0.03], [0.3, -0.13], [-0.7, -0.06], [-0.7, 0.06], [0.3, 0.09], [0.9, 0.07]]))
        canvas.mark(patch, "markings", look.marking)


def _round(canvas: Canvas, look: Look) -> None:
    """A puffer fish."""
    with canvas.placed(0.02, 0, 0.96, rotation=0.12 * look.tilt):
        canvas.shape(curve(path("-60,-10 -80,-20 -100,-30 -93,0 -100,28 -80,18 -60,10")), "tail", look.fin)
        canvas.shape(curve([[-0.42, -0.5], [-0.5, -0.86], [-0.2, -0.9], [0.0, -0.6]]), "fins", look.fin)
        angles = np.linspace(0, 2 * pi, 45)[:-1]
        reach = np.where(np.arange(44) % 2 == 0, 0.71, 0.85)
        star = np.stack([reach * np.cos(angles) + 0.06, 0.95 * reach * np.sin(angles)], 1)
        canvas.shape(star, "spines", darker(look.coat, 0.25))
        body = ellipse(0.06, 0, 0.72, 0.68, n=40)
        canvas.shape(body, "body", look.coat)
        with canvas.surface(body, "body"):
            patch = curve(path("-80,30 -20,40 40,26 95,20 90,80 -60,80"))
            canvas.mark(patch, "body", lighter(look.coat, 0.7), alpha=0.8)
            _dots(canvas, look, look.dots[:8], (-0.08, -0.18), (0.55, 0.5))
            for x, y in ((-0.2, 0.48), (0.06, 0.54), (0.3, 0.46), (-0.38, 0.36)):
                spine = [[x - 0.04, y], [x, y - 0.05], [x + 0.04, y]]
                canvas.line(spine, "spines", darker(look.coat, 0.35), width=0.025)
        canvas.shape(curve(path("8,6 -16,0 -30,18 -14,34 8,24")), "fins", look.fin)
        _ray(canvas, look, [[-0.02, 0.14], [-0.18, 0.17]])
        for x in (0.24, 0.62):
            _eye(canvas, x, -0.16, 0.13)
        _pout(canvas, look, 0.5, 0.13, 0.1)
        _bubbles(canvas, look, 0.86, -0.4)


def _long(canvas: Canvas, look: Look) -> None:
    """A long fish that winds through the water."""
    spine = curve(path("60,-10 30,-16 2,-2 -26,14 -54,10 -78,-12"), closed=False)
    with canvas.placed(0.03, 0.02, 0.95, rotation=0.12 * look.tilt):
        canvas.shape(curve(path("-68,-8 -80,-32 -78,-62 -92,-42 -104,-22 -106,2 -84,0")), "tail", look.fin)
        for tip in ([-0.84, -0.44], [-0.98, -0.16]):
            _ray(canvas, look, [[-0.78, -0.12], tip], "tail")
        canvas.shape(_ribbon(spine[4:], 0.35, 0.13), "fins", look.fin)
        for i in range(8, len(spine) - 6, 3):
            across = _across(spine)[i]
            for side in (-1, 1):
                ray = [spine[i] + side * w * across for w in (0.16, 0.3 - 0.006 * i)]
                _ray(canvas, look, ray)
        body = _ribbon(spine, 0.23, 0.06)
        head = curve(path("98,-2 90,-16 68,-30 46,-37 40,-10 50,12 72,15 92,10"))
        canvas.group([(body, "body", look.coat), (head, "body", look.coat)])
        with canvas.surface(body, "body"):
            _bands(canvas, look, spine)
        _gill(canvas, look, curve([[0.5, -0.3], [0.43, -0.1], [0.52, 0.1]], closed=False))
        canvas.shape(curve(path("38,-2 20,-2 6,16 20,26 38,14")), "fins", look.fin)
        _eye(canvas, 0.7, -0.12, 0.105)
        _mouth(canvas, look, [[0.97, 0.02], [0.88, 0.06], [0.76, 0.03]])
        _bubbles(canvas, look, 0.9, -0.36)


def _bands(canvas: Canvas, look: Look, spine: Points) -> None:
    """The markings of a long fish: bands across it, or dots along it."""
    across = 0.3 * _across(spine)
    color = darker(look.coat, 0.25) if look.pattern == "plain" else look.marking
    for i in range(4, len(spine) - 4, 4):
        if look.pattern in ("dots", "scales"):
            x, y = spine[i] - 0.2 * across[i] * (-1) ** (i // 4)
            canvas.mark(ellipse(x, y, 0.06, 0.06, n=12), "markings", color)
        else:
            along = np.array([across[i, 1], -across[i, 0]]) * 0.16
            corners = [spine[i] + a * across[i] + b * along for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            canvas.mark(corners, "markings", color)


def _across(spine: Points) -> Points:
    """Unit vectors square to a line, at each of its points."""
    along = np.gradient(spine, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def _ribbon(spine: Points, start: float, end: float) -> Points:
    """The outline of a band along a line, tapering from one half-width to the other."""
    out = _across(spine) * np.linspace(start, end, len(spine))[:, None]
    return np.vstack([spine + out, (spine - out)[::-1]])


def _tall(canvas: Canvas, look: Look) -> None:
    """An angelfish: a disc with long fins above and below."""
    with canvas.placed(0.04, 0, 0.98, rotation=0.1 * look.tilt):
        canvas.shape(curve(path("-40,-12 -62,-20 -86,-36 -78,0 -86,36 -62,20 -40,12")), "tail", look.fin)
        long = curve(path("30,-30 18,-66 -10,-88 -46,-98 -26,-72 -30,-46 -40,-20 -10,-10"))
        for flipped in (1, -1):
            outline = long * [1, flipped]
            canvas.shape(outline, "fins", look.fin)
            for x in (-0.18, 0.0):
                _ray(canvas, look, np.array([[x + 0.02, -0.5], [x - 0.1, -0.76]]) * [1, flipped])
        canvas.shape(tube([[0.2, 0.4], [0.12, 0.66], [-0.04, 0.9]], 0.1, 0.03), "fins", look.fin)
        body = curve(path("72,3 52,-22 22,-44 -14,-46 -42,-20 -50,0 -42,20 -14,46 22,44 52,26"))
        canvas.shape(body, "body", look.coat)
        with canvas.surface(body, "body"):
            _tall_pattern(canvas, look)
            _gill(canvas, look, ellipse(0.22, 0, 0.12, 0.3, n=10, start=-0.42 * pi, end=0.42 * pi))
        canvas.shape(curve(path("20,8 2,4 -10,16 2,26 18,20")), "fins", look.fin)
        _eye(canvas, 0.47, -0.08, 0.105)
        _mouth(canvas, look, [[0.72, 0.07], [0.65, 0.13], [0.57, 0.11]])
        _bubbles(canvas, look, 0.84, -0.3)


def _tall_pattern(canvas: Canvas, look: Look) -> None:
    if look.pattern == "dots":
        _dots(canvas, look, look.dots, (-0.12, 0), (0.34, 0.4))
    elif look.pattern != "plain":
        for x, w in ((0.16, 0.06), (-0.1, 0.07), (-0.36, 0.05)):
            right = [[x + w - 0.04, -0.6], [x + w, 0], [x + w - 0.04, 0.6]]
            left = [[x - w - 0.04, 0.6], [x - w, 0], [x - w - 0.04, -0.6]]
            canvas.mark(curve(right + left), "markings", look.marking)


def _front(canvas: Canvas, look: Look) -> None:
    """Coming towards us, the tail still to be seen behind."""
    with canvas.placed(0.06, 0.02, 0.98, rotation=0.08 * look.tilt):
        canvas.shape(curve([[-0.3, -0.14], [-0.66, -0.3], [-0.92, -0.54 * look.tail], [-0.86, -0.06],
            [-0.94, 0.36 * look.tail], [-0.66, 0.2], [-0.3, 0.12]]), "tail", look.fin)  # fmt: skip
        for y in (-0.26, -0.05, 0.16):
            _ray(canvas, look, [[-0.62, -0.04 + y * 0.5], [-0.82, -0.06 + y]], "tail")
        canvas.shape(curve(path("16,-50 10,-92 -18,-98 -40,-74 -36,-40")), "fins", look.fin)
        canvas.shape(curve([[-0.1, 0.46], [-0.24, 0.84], [0.02, 0.86], [0.16, 0.5]]), "fins", look.fin)
        canvas.shape(curve(path("46,10 66,6 92,24 86,44 60,42 44,28")), "fins", look.fin)
        side = curve(path("20,-60 -20,-56 -52,-24 -60,2 -50,28 -16,56 20,60 60,0"))
        face = curve(path("18,-62 42,-52 58,-26 60,6 46,40 18,56 -8,44 -22,8 -20,-26 -6,-52"))
        canvas.group([(side, "body", darker(look.coat, 0.12)), (face, "body", look.coat)])
        with canvas.surface(side, "body"):
            _flank_pattern(canvas, look)
            edge = curve([[-0.04, -0.5], [-0.21, -0.2], [-0.22, 0.1], [-0.06, 0.44]], closed=False)
            _gill(canvas, look, edge)
        with canvas.surface(face, "body"):
            canvas.mark(ellipse(0.2, 0.5, 0.3, 0.26), "body", lighter(look.coat, 0.6), alpha=0.7)
            if look.pattern in ("stripes", "band"):
                canvas.mark(curve(path("14,-70 26,-70 24,-30 20,-20 16,-30")), "markings", look.marking)
        canvas.shape(curve(path("-20,14 -36,12 -58,34 -46,50 -26,44 -16,28")), "fins", look.fin)
        for x in (-0.02, 0.42):
            _eye(canvas, x, -0.14, 0.13)
        _pout(canvas, look, 0.2, 0.2, 0.12)
        _bubbles(canvas, look, 0.66, -0.4)


def _flank_pattern(canvas: Canvas, look: Look) -> None:
    """The markings on the side of a fish that comes towards us."""
    if look.pattern in ("dots", "scales"):
        _dots(canvas, look, look.dots[[0, 4, 5, 8]], (-0.32, 0), (0.14, 0.3))
    elif look.pattern != "plain":
        stripe = path("-24,-60 -30,-30 -33,0 -30,30 -24,60 -38,60 -44,30 -46,0 -44,-30 -38,-60")
        canvas.mark(curve(stripe), "markings", look.marking)


def _dots(
    canvas: Canvas, look: Look, dots: np.ndarray, middle: tuple[float, float], spread: tuple[float, float]
) -> None:
    color = darker(look.coat, 0.2) if look.pattern == "plain" else look.marking
    for x, y, r in dots:
        canvas.mark(ellipse(middle[0] + spread[0] * x, middle[1] + spread[1] * y, r, r, n=12), "markings", color)


def _eye(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.shape(ellipse(x, y, radius, radius * 1.06, n=22), "eyes", WHITE, flat=True, width=0.8)
    canvas.mark(ellipse(x + radius * 0.2, y, radius * 0.62, radius * 0.66, n=16), "eyes", INK)
    canvas.mark(ellipse(x, y - radius * 0.28, radius * 0.24, radius * 0.24, n=10), "eyes", WHITE)


def _ray(canvas: Canvas, look: Look, points: ArrayLike, part: str = "fins") -> None:
    canvas.line(points, part, darker(look.fin, 0.3), width=0.022)


def _gill(canvas: Canvas, look: Look, points: ArrayLike) -> None:
    canvas.line(points, "body", darker(look.coat, 0.45), width=0.03)


def _mouth(canvas: Canvas, look: Look, points: ArrayLike) -> None:
    """A smile."""
    canvas.line(curve(points, closed=False), "mouth", darker(look.coat, 0.6), width=0.034)


def _pout(canvas: Canvas, look: Look, x: float, y: float, radius: float) -> None:
    """A round mouth, seen from the front."""
    canvas.shape(ellipse(x, y, radius, radius * 0.72, n=18), "mouth", mix(look.coat, WHITE, 0.3), width=0.8)
    canvas.mark(ellipse(x, y, radius * 0.53, radius * 0.35, n=12), "mouth", darker(look.coat, 0.6))


def _bubbles(canvas: Canvas, look: Look, x: float, y: float) -> None:
    """Three rings above the mouth; they belong to no part."""
    if look.bubbles:
        for i in range(3):
            radius = 0.04 + 0.012 * i
            canvas.line(ellipse(x - 0.05 * (i % 2), y - 0.2 * i, radius, radius, n=14), None, WHITE, width=0.02)


_POSES = {"side": _side, "dive": _dive, "rise": _rise, "round": _round, "long": _long, "tall": _tall, "front": _front}
POSES = tuple(_POSES)
