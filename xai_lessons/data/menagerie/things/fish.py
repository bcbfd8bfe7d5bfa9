"""The fish: from the side, diving, rising, round, long, tall and from the front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import ArrayLike

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, tube
from ..palette import BRIGHT, INK, WHITE, Color, darker, jitter, lighter, mix, pick

PARTS = ("tail", "fins", "spines", "body", "markings", "eyes", "mouth")
PATTERNS = ("stripes", "scales", "plain", "dots", "band")


@dataclass(frozen=True)
class Look:
    """What one fish looks like, whatever its pose."""

    coat: Color
    fin: Color
    marking: Color
    pattern: str
    height: float
    tail: float
    bend: float
    tilt: float
    bubbles: bool
    dots: np.ndarray  # (12, 3): x and y in [-1, 1], and the radius


def _look(rng: np.random.Generator, color: Color | None) -> Look:
    drawn = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
    coat = drawn if color is None else color
    marking = jitter(rng, pick(rng, BRIGHT))
    return Look(
        coat=coat,
        fin=[darker(coat, 0.15), marking, lighter(coat, 0.35)][rng.integers(3)],
        marking=marking,
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        height=rng.uniform(0.36, 0.5),
        tail=rng.uniform(0.9, 1.2),
        bend=rng.uniform(-1, 1),
        tilt=rng.uniform(-1, 1),
        bubbles=rng.random() < 0.6,
        dots=_scatter(rng, 12),
    )


def _scatter(rng: np.random.Generator, count: int) -> np.ndarray:
    """Well spread points: a jittered lattice, so that no two of them touch."""
    column, row = np.arange(count) % 4, np.arange(count) // 4
    x = (column + 0.25 + 0.5 * (row % 2)) / 2 - 1 + rng.uniform(-0.08, 0.08, count)
    y = (row + 0.5) * 2 / 3 - 1 + rng.uniform(-0.1, 0.1, count)
    return np.stack([x, y, rng.uniform(0.045, 0.08, count)], 1)


def fish(canvas: Canvas, rng: np.random.Generator, pose: str, *, color: Color | None = None) -> None:
    """Draw a fish that looks to the right; `color` is its coat, else one of the bright colors."""
    _POSES[pose](canvas, _look(rng, color))


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
    with canvas.clipped(body):
        patch = curve(bent([[-0.7, h * 0.3], [0, h * 0.55], [0.95, h * 0.3], [0.9, h * 1.2], [-0.7, h * 1.2]]))
        canvas.mark(patch, "body", lighter(look.coat, 0.6), alpha=0.5)
        if "body" not in canvas.hidden:
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
        tail = curve([[-0.6, -0.1], [-0.8, -0.2], [-1.0, -0.3], [-0.93, 0], [-1.0, 0.28], [-0.8, 0.18], [-0.6, 0.1]])
        canvas.shape(tail, "tail", look.fin)
        canvas.shape(curve([[-0.42, -0.5], [-0.5, -0.86], [-0.2, -0.9], [0.0, -0.6]]), "fins", look.fin)
        angles = np.linspace(0, 2 * pi, 45)[:-1]
        reach = np.where(np.arange(44) % 2 == 0, 0.71, 0.85)
        star = np.stack([reach * np.cos(angles) + 0.06, 0.95 * reach * np.sin(angles)], 1)
        canvas.shape(star, "spines", darker(look.coat, 0.25))
        body = ellipse(0.06, 0, 0.72, 0.68, n=40)
        canvas.shape(body, "body", look.coat)
        with canvas.clipped(body):
            patch = curve([[-0.8, 0.3], [-0.2, 0.4], [0.4, 0.26], [0.95, 0.2], [0.9, 0.8], [-0.6, 0.8]])
            canvas.mark(patch, "body", lighter(look.coat, 0.7), alpha=0.8)
            if "body" not in canvas.hidden:
                _dots(canvas, look, look.dots[:8], (-0.08, -0.18), (0.55, 0.5))
            for x, y in ((-0.2, 0.48), (0.06, 0.54), (0.3, 0.46), (-0.38, 0.36)):
                canvas.line(
                    [[x - 0.04, y], [x, y - 0.05], [x + 0.04, y]], "spines", darker(look.coat, 0.35), width=0.025
                )
        canvas.shape(curve([[0.08, 0.06], [-0.16, 0.0], [-0.3, 0.18], [-0.14, 0.34], [0.08, 0.24]]), "fins", look.fin)
        _ray(canvas, look, [[-0.02, 0.14], [-0.18, 0.17]])
        for x in (0.24, 0.62):
            _eye(canvas, x, -0.16, 0.13)
        _pout(canvas, look, 0.5, 0.13, 0.1)
        _bubbles(canvas, look, 0.86, -0.4)


def _long(canvas: Canvas, look: Look) -> None:
    """A long fish that winds through the water."""
    spine = curve([[0.6, -0.1], [0.3, -0.16], [0.02, -0.02], [-0.26, 0.14], [-0.54, 0.1], [-0.78, -0.12]], closed=False)
    with canvas.placed(0.03, 0.02, 0.95, rotation=0.12 * look.tilt):
        tail = [[-0.68, -0.08], [-0.8, -0.32], [-0.78, -0.62], [-0.92, -0.42], [-1.04, -0.22], [-1.06, 0.02],
            [-0.84, 0.0]]  # fmt: skip
        canvas.shape(curve(tail), "tail", look.fin)
        for tip in ([-0.84, -0.44], [-0.98, -0.16]):
            _ray(canvas, look, [[-0.78, -0.12], tip], "tail")
        canvas.shape(_ribbon(spine[4:], 0.35, 0.13), "fins", look.fin)
        for i in range(8, len(spine) - 6, 3):
            across = _across(spine)[i]
            for side in (-1, 1):
                ray = [spine[i] + side * w * across for w in (0.16, 0.3 - 0.006 * i)]
                _ray(canvas, look, ray)
        body = _ribbon(spine, 0.23, 0.06)
        head = curve([[0.98, -0.02], [0.9, -0.16], [0.68, -0.3], [0.46, -0.37], [0.4, -0.1], [0.5, 0.12],
            [0.72, 0.15], [0.92, 0.1]])  # fmt: skip
        canvas.group([(body, "body", look.coat), (head, "body", look.coat)])
        if "body" not in canvas.hidden:
            with canvas.clipped(body):
                _bands(canvas, look, spine)
        canvas.line(
            curve([[0.5, -0.3], [0.43, -0.1], [0.52, 0.1]], closed=False), "body", darker(look.coat, 0.45), width=0.03
        )
        canvas.shape(curve([[0.38, -0.02], [0.2, -0.02], [0.06, 0.16], [0.2, 0.26], [0.38, 0.14]]), "fins", look.fin)
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
        tail = curve([[-0.4, -0.12], [-0.62, -0.2], [-0.86, -0.36], [-0.78, 0], [-0.86, 0.36], [-0.62, 0.2],
            [-0.4, 0.12]])  # fmt: skip
        canvas.shape(tail, "tail", look.fin)
        long = curve([[0.3, -0.3], [0.18, -0.66], [-0.1, -0.88], [-0.46, -0.98], [-0.26, -0.72], [-0.3, -0.46],
            [-0.4, -0.2], [-0.1, -0.1]])  # fmt: skip
        for flipped in (1, -1):
            outline = long * [1, flipped]
            canvas.shape(outline, "fins", look.fin)
            for x in (-0.18, 0.0):
                _ray(canvas, look, np.array([[x + 0.02, -0.5], [x - 0.1, -0.76]]) * [1, flipped])
        canvas.shape(tube([[0.2, 0.4], [0.12, 0.66], [-0.04, 0.9]], 0.1, 0.03), "fins", look.fin)
        body = curve([[0.72, 0.03], [0.52, -0.22], [0.22, -0.44], [-0.14, -0.46], [-0.42, -0.2], [-0.5, 0],
            [-0.42, 0.2], [-0.14, 0.46], [0.22, 0.44], [0.52, 0.26]])  # fmt: skip
        canvas.shape(body, "body", look.coat)
        with canvas.clipped(body):
            if "body" not in canvas.hidden:
                _tall_pattern(canvas, look)
            _gill(canvas, look, ellipse(0.22, 0, 0.12, 0.3, n=10, start=-0.42 * pi, end=0.42 * pi))
        canvas.shape(curve([[0.2, 0.08], [0.02, 0.04], [-0.1, 0.16], [0.02, 0.26], [0.18, 0.2]]), "fins", look.fin)
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
        tail = curve([[-0.3, -0.14], [-0.66, -0.3], [-0.92, -0.54 * look.tail], [-0.86, -0.06],
            [-0.94, 0.36 * look.tail], [-0.66, 0.2], [-0.3, 0.12]])  # fmt: skip
        canvas.shape(tail, "tail", look.fin)
        for y in (-0.26, -0.05, 0.16):
            _ray(canvas, look, [[-0.62, -0.04 + y * 0.5], [-0.82, -0.06 + y]], "tail")
        fin = curve([[0.16, -0.5], [0.1, -0.92], [-0.18, -0.98], [-0.4, -0.74], [-0.36, -0.4]])
        canvas.shape(fin, "fins", look.fin)
        canvas.shape(curve([[-0.1, 0.46], [-0.24, 0.84], [0.02, 0.86], [0.16, 0.5]]), "fins", look.fin)
        fin = curve([[0.46, 0.1], [0.66, 0.06], [0.92, 0.24], [0.86, 0.44], [0.6, 0.42], [0.44, 0.28]])
        canvas.shape(fin, "fins", look.fin)
        side = curve([[0.2, -0.6], [-0.2, -0.56], [-0.52, -0.24], [-0.6, 0.02], [-0.5, 0.28], [-0.16, 0.56],
            [0.2, 0.6], [0.6, 0.0]])  # fmt: skip
        face = curve([[0.18, -0.62], [0.42, -0.52], [0.58, -0.26], [0.6, 0.06], [0.46, 0.4], [0.18, 0.56],
            [-0.08, 0.44], [-0.22, 0.08], [-0.2, -0.26], [-0.06, -0.52]])  # fmt: skip
        canvas.group([(side, "body", darker(look.coat, 0.12)), (face, "body", look.coat)])
        with canvas.clipped(side):
            if "body" not in canvas.hidden:
                _flank_pattern(canvas, look)
            edge = curve([[-0.04, -0.5], [-0.21, -0.2], [-0.22, 0.1], [-0.06, 0.44]], closed=False)
            _gill(canvas, look, edge)
        with canvas.clipped(face):
            canvas.mark(ellipse(0.2, 0.5, 0.3, 0.26), "body", lighter(look.coat, 0.6), alpha=0.7)
            if look.pattern in ("stripes", "band") and "body" not in canvas.hidden:
                patch = curve([[0.14, -0.7], [0.26, -0.7], [0.24, -0.3], [0.2, -0.2], [0.16, -0.3]])
                canvas.mark(patch, "markings", look.marking)
        fin = curve([[-0.2, 0.14], [-0.36, 0.12], [-0.58, 0.34], [-0.46, 0.5], [-0.26, 0.44], [-0.16, 0.28]])
        canvas.shape(fin, "fins", look.fin)
        for x in (-0.02, 0.42):
            _eye(canvas, x, -0.14, 0.13)
        _pout(canvas, look, 0.2, 0.2, 0.12)
        _bubbles(canvas, look, 0.66, -0.4)


def _flank_pattern(canvas: Canvas, look: Look) -> None:
    """The markings on the side of a fish that comes towards us."""
    if look.pattern in ("dots", "scales"):
        _dots(canvas, look, look.dots[[0, 4, 5, 8]], (-0.32, 0), (0.14, 0.3))
    elif look.pattern != "plain":
        right = [[-0.24, -0.6], [-0.3, -0.3], [-0.33, 0], [-0.3, 0.3], [-0.24, 0.6]]
        left = [[-0.38, 0.6], [-0.44, 0.3], [-0.46, 0], [-0.44, -0.3], [-0.38, -0.6]]
        canvas.mark(curve(right + left), "markings", look.marking)


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
            canvas.line(
                ellipse(x - 0.05 * (i % 2), y - 0.2 * i, 0.04 + 0.012 * i, 0.04 + 0.012 * i, n=14),
                None,
                WHITE,
                width=0.02,
            )


_POSES = {"side": _side, "dive": _dive, "rise": _rise, "round": _round, "long": _long, "tall": _tall, "front": _front}
POSES = tuple(_POSES)
