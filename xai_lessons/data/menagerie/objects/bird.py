"""The bird: perched, flying, soaring towards us, seen from the front, swimming, pecking."""

from __future__ import annotations

from math import cos, sin

import numpy as np
from numpy.typing import ArrayLike

from ..canvas import Canvas
from ..geometry import curve, ellipse, mirror, path, symmetric, tube
from ..palette import BRIGHT, INK, PINK, WHITE, Rng, colors, darker, jitter, lighter, pick

PARTS = ("legs", "tail", "body", "crest", "wings", "beak", "eyes")

BEAKS = colors("f0aa3c e27846 5a5054 f6ce60")
BREASTS = colors("f4e2be faf4e8")


class Plumage:
    """What one bird looks like, whatever its pose."""

    def __init__(self, rng: Rng) -> None:
        self.coat = coat = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
        self.breast = [lighter(coat, 0.6), pick(rng, BRIGHT), pick(rng, BREASTS)][rng.integers(3)]
        other = jitter(rng, pick(rng, BRIGHT))
        self.wing = darker(coat, 0.18) if rng.random() < 0.6 else other
        self.beak = pick(rng, BEAKS)
        self.crest = rng.random() < 0.4
        self.goggles = rng.random() < 0.5  # a white ring about the eye
        self.plump = rng.uniform(0.92, 1.1)
        self.tail = rng.uniform(0.8, 1.1)
        self.tilt = rng.uniform(-1, 1)


def bird(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw a bird that looks to the right."""
    _POSES[pose](canvas, Plumage(rng))


def _perch(canvas: Canvas, look: Plumage) -> None:
    for x in (-0.06, 0.13):
        _leg(canvas, look, (x, 0.42), (x + 0.03, 0.83))
    with canvas.placed(0.03, 0.02, 0.93, rotation=-0.03 + 0.16 * look.tilt):
        _tail(canvas, look, angle=2.72)
        _profile(canvas, look)
        _folded_wing(canvas, look)


def _peck(canvas: Canvas, look: Plumage) -> None:
    for x in (-0.2, 0.02):
        _leg(canvas, look, (x, 0.3), (x + 0.05, 0.83))
    with canvas.placed(-0.1, 0.06, 0.95, rotation=0.92 + 0.1 * look.tilt):
        _tail(canvas, look, angle=3.05)
        _profile(canvas, look)
        _folded_wing(canvas, look)


def _fly(canvas: Canvas, look: Plumage) -> None:
    with canvas.placed(-0.02, 0.14, 0.93, rotation=0.12 + 0.3 * look.tilt):
        far = path("14,-5 28,-55 16,-97 2,-74 -10,-85 -14,-58 -28,-60 -20,-10")
        canvas.shape(curve(far, n=5), "wings", darker(look.wing, 0.25))
        _tail(canvas, look, angle=2.95)
        for x in (-0.16, -0.04):
            canvas.line([[x, 0.44], [x - 0.16, 0.6], [x - 0.24, 0.58]], "legs", darker(look.beak, 0.25), width=0.045)
        _profile(canvas, look)
        near = path("20,-10 4,-50 -18,-95 -29,-70 -45,-79 -44,-52 -60,-48 -42,-14 -10,16 13,12")
        canvas.shape(curve(near, n=5), "wings", look.wing)
        _feathers(canvas, look, [[0, -0.06], [-0.22, -0.66]], [[-0.1, -0.02], [-0.4, -0.5]])


def _soar(canvas: Canvas, look: Plumage) -> None:
    """Wings spread, flying towards us."""
    wing = path("12,-20 42,-50 74,-58 100,-36 90,-27 86,-10 72,-13 64,6 50,0 40,18 20,22")
    feathers = np.array([[[0.3, 0.06], [0.48, -0.16]], [[0.54, -0.06], [0.64, -0.24]], [[0.75, -0.2], [0.8, -0.34]]])
    with canvas.placed(0, 0.04, 0.97, rotation=0.16 * look.tilt):
        for angle in (-0.36, 0.36, 0):
            tip = [0.55 * look.tail * sin(angle), 0.36 + 0.42 * look.tail * cos(angle)]
            feather = tube([[0, 0.25], [tip[0] / 2, tip[1] / 2 + 0.125], tip], 0.14, 0.2)
            canvas.shape(feather, "tail", darker(look.wing, 0.12 + abs(angle) / 3))
        for side in (1, -1):
            outline = curve(wing, n=5)
            canvas.shape(outline if side > 0 else mirror(outline), "wings", look.wing)
            for feather in feathers:
                canvas.line(feather * [side, 1], "wings", darker(look.wing, 0.4), width=0.022, alpha=0.8)
        for side in (-1, 1):
            foot = [[0.1 * side, 0.38], [0.12 * side, 0.5], [0.05 * side, 0.54]]
            canvas.line(foot, "legs", darker(look.beak, 0.25), width=0.05)
        _crest(canvas, look, 0, -0.6)
        body = symmetric(path("0,-62 20,-56 28,-34 27,-6 28,18 18,40 0,46"))
        canvas.shape(body, "body", look.coat)
        with canvas.clipped(body):
            canvas.mark(symmetric(path("0,-10 15,-14 21,10 14,50 0,60")), "body", look.breast)
        _face(canvas, look, 0, -0.34, 0.8)


def _front(canvas: Canvas, look: Plumage) -> None:
    for side in (-1, 1):
        _leg(canvas, look, (0.2 * side, 0.56), (0.23 * side, 0.84), spread=0.11)
    with canvas.placed(0, 0, 0.98, rotation=0.06 * look.tilt):
        for lean in (-0.11, 0.11, 0):
            feather = tube([[0, 0.4], [lean * 0.6, 0.62], [lean, 0.76]], 0.16, 0.15)
            canvas.shape(feather, "tail", darker(look.wing, 0.2 + abs(lean)))
        _crest(canvas, look, 0, -0.74)
        wide = 0.5 * look.plump
        body = symmetric([[0, -0.78], [0.26, -0.72], [0.4, -0.5], [0.43, -0.22], [wide, 0.14], [wide * 0.9, 0.45],
            [0.25, 0.66], [0, 0.7]])  # fmt: skip
        canvas.shape(body, "body", look.coat)
        with canvas.clipped(body):
            canvas.mark(symmetric(path("0,-16 16,-24 32,-8 36,20 30,50 0,72")), "body", look.breast)
            for x, y in ((-0.14, 0.16), (0.14, 0.16), (0, 0.28), (-0.14, 0.42), (0.14, 0.42)):
                tuft = [[x - 0.04, y - 0.02], [x, y + 0.02], [x + 0.04, y - 0.02]]
                canvas.line(tuft, "body", darker(look.breast, 0.25), width=0.022)
        wing = curve(path("38,-24 56,-2 60,28 50,58 38,36 32,2"), n=5)
        for outline in (wing, mirror(wing)):
            canvas.shape(outline, "wings", look.wing)
        _face(canvas, look, 0, -0.44, 1)


def _swim(canvas: Canvas, look: Plumage) -> None:
    """A duck on the water."""
    with canvas.placed(-0.04, 0.25, 1, rotation=0.05 * look.tilt):
        for x, y in ((-0.72, -0.2), (-0.8, -0.08)):
            canvas.shape(tube([[-0.4, 0.2], [-0.6, 0.1], [x, y]], 0.26, 0.12), "tail", darker(look.wing, 0.2))
        neck = curve(path("18,20 16,-10 20,-42 50,-40 56,-10 66,16 50,40"))
        belly = curve(path("-60,14 -30,6 10,12 45,6 70,20 62,48 30,60 -30,58 -58,42"))
        with canvas.placed(0.36, -0.46, 0.8, rotation=0.15):
            _crest(canvas, look, -0.04, -0.26)
        head = ellipse(0.36, -0.44, 0.27, 0.25)
        canvas.group([(outline, "body", look.coat) for outline in (belly, neck, head)])
        with canvas.clipped(belly):
            canvas.mark(curve(path("90,0 55,24 30,42 -50,50 -60,70 90,70")), "body", look.breast)
        canvas.mark(curve(path("17,2 36,6 58,0 58,8 36,14 17,10")), "body", lighter(look.coat, 0.7))
        canvas.shape(curve(path("56,-50 68,-44 90,-40 90,-32 72,-30 58,-34"), n=4), "beak", look.beak)
        canvas.line([[0.64, -0.37], [0.86, -0.36]], "beak", darker(look.beak, 0.45), width=0.02)
        _eye(canvas, look, 0.42, -0.5, 0.075)
        canvas.shape(curve(path("26,18 20,38 -10,46 -64,16 -30,6 4,4"), n=5), "wings", look.wing)
        _feathers(canvas, look, [[0.08, 0.2], [-0.28, 0.2]], [[0.06, 0.32], [-0.2, 0.31]])
        for left, right, y in ((-0.86, -0.3, 0.62), (-0.14, 0.5, 0.68), (0.56, 0.92, 0.6)):
            inner = [left * 0.7 + right * 0.3, y - 0.035], [left * 0.3 + right * 0.7, y + 0.03]
            ripple = [[left, y], *inner, [right, y]]
            canvas.line(curve(ripple, closed=False), None, WHITE, width=0.035, alpha=0.8)


def _profile(canvas: Canvas, look: Plumage) -> None:
    """Head and body from the side, with beak and eye."""
    _crest(canvas, look, 0.32, -0.6)
    body = curve([[0.62, -0.36], [0.5, -0.6], [0.24, -0.62], [0.02, -0.42], [-0.25, -0.16], [-0.48, 0.12],
        [-0.42, 0.36], [-0.12, 0.56 * look.plump], [0.24, 0.5 * look.plump], [0.5, 0.16], [0.58, -0.12]])  # fmt: skip
    canvas.shape(curve(path("57,-43 72,-40 95,-28 72,-23 57,-22"), n=4), "beak", look.beak)
    canvas.shape(body, "body", look.coat)
    with canvas.clipped(body):
        canvas.mark(curve(path("60,-14 32,-12 10,10 -22,38 -10,70 50,70 70,10")), "body", look.breast)
        for x, y in ((0.3, 0.06), (0.2, 0.24), (0.36, 0.26), (0.08, 0.4), (0.26, 0.42)):
            canvas.line([[x, y], [x - 0.05, y + 0.06]], "body", darker(look.breast, 0.25), width=0.022)
    canvas.line([[0.66, -0.31], [0.88, -0.285]], "beak", darker(look.beak, 0.45), width=0.02)
    canvas.mark(ellipse(0.36, -0.21, 0.075, 0.05, n=12), "body", PINK, alpha=0.6)
    _eye(canvas, look, 0.42, -0.39, 0.08)


def _folded_wing(canvas: Canvas, look: Plumage) -> None:
    canvas.shape(curve(path("18,-16 22,6 6,30 -20,37 -58,37 -32,12 -12,-12")), "wings", look.wing)
    _feathers(canvas, look, [[-0.04, 0.08], [-0.36, 0.29]], [[0.07, 0.07], [-0.14, 0.29]])


def _feathers(canvas: Canvas, look: Plumage, *lines: ArrayLike) -> None:
    for line in lines:
        canvas.line(line, "wings", darker(look.wing, 0.4), width=0.025, alpha=0.8)


def _tail(canvas: Canvas, look: Plumage, angle: float) -> None:
    root = np.array([-0.3, 0.18])
    for turn, shade in ((-0.2, 0.3), (0.2, 0.2), (0, 0.08)):
        reach = 0.66 * look.tail * np.array([cos(angle + turn), sin(angle + turn)])
        canvas.shape(tube([root, root + reach / 2, root + reach], 0.2, 0.14), "tail", darker(look.wing, shade))


def _crest(canvas: Canvas, look: Plumage, x: float, y: float) -> None:
    if look.crest:
        for lean in (-0.16, 0.14, 0):
            tip = [x - 0.06 + lean * 1.2, y - 0.22 + abs(lean) * 0.5]
            canvas.shape(tube([[x, y + 0.12], [x - 0.02 + lean * 0.7, y - 0.08], tip], 0.11, 0.05), "crest", look.wing)


def _leg(
    canvas: Canvas, look: Plumage, hip: tuple[float, float], foot: tuple[float, float], spread: float = 0.1
) -> None:
    color = darker(look.beak, 0.25)
    canvas.line([hip, foot], "legs", color, width=0.05)
    x, y = foot
    for toe in (-1, 0, 1):
        canvas.line([foot, [x + toe * spread + 0.02, y + 0.07 - 0.02 * abs(toe)]], "legs", color, width=0.042)


def _eye(canvas: Canvas, look: Plumage, x: float, y: float, radius: float) -> None:
    if look.goggles:
        canvas.mark(ellipse(x, y, radius * 1.75, radius * 1.75), "eyes", WHITE)
    canvas.mark(ellipse(x, y, radius, radius * 1.12, n=20), "eyes", INK)
    canvas.mark(ellipse(x - radius * 0.3, y - radius * 0.4, radius * 0.36, radius * 0.36, n=10), "eyes", WHITE)


def _face(canvas: Canvas, look: Plumage, x: float, y: float, scale: float) -> None:
    """Two eyes and a beak towards us."""
    with canvas.placed(x, y, scale):
        for side in (-1, 1):
            canvas.mark(ellipse(0.27 * side, 0.13, 0.075, 0.05, n=12), "body", PINK, alpha=0.6)
            _eye(canvas, look, 0.19 * side, -0.04, 0.08)
        canvas.shape(curve(path("-11,4 0,-3 11,4 3,18 0,23 -3,18"), n=4), "beak", look.beak, width=0.8)
        canvas.line([[-0.09, 0.06], [0, 0.085], [0.09, 0.06]], "beak", darker(look.beak, 0.45), width=0.02)


_POSES = {"perch": _perch, "fly": _fly, "soar": _soar, "front": _front, "swim": _swim, "peck": _peck}
POSES = tuple(_POSES)
