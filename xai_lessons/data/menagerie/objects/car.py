"""The car: beetle, hatchback, van, pick-up and sports car from the side; from the front; at three quarters."""

from __future__ import annotations

from math import cos, sin

import numpy as np
from numpy.typing import ArrayLike

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, mirror, path, rounded_box, symmetric
from ..palette import BRIGHT, INK, WHITE, Rng, darker, jitter, lighter, mix, pick, rgb

PARTS = ("body", "windows", "lights", "wheels", "luggage", "mirrors")

TYRE, RIM, HUB = rgb(66, 60, 66), rgb(214, 208, 200), rgb(100, 95, 100)
HEADLIGHT, TAILLIGHT = rgb(252, 226, 130), rgb(222, 80, 70)


class Look:
    """What one car looks like, whatever its make."""

    def __init__(self, rng: Rng) -> None:
        self.paint = paint = jitter(rng, pick(rng, BRIGHT))
        self.second = pick(rng, (lighter(paint, 0.6), darker(paint, 0.3), WHITE))  # of the lower half
        self.glass = mix(rgb(170, 210, 226), WHITE, rng.uniform(0, 0.4))
        self.luggage = pick(rng, BRIGHT)
        self.two_tone = rng.random() < 0.35
        self.loaded = rng.random() < 0.4
        self.wheel = rng.uniform(0.94, 1.06)
        self.tilt = rng.uniform(-1, 1)


def car(canvas: Canvas, rng: Rng, pose: str) -> None:
    """Draw a car that drives to the right."""
    look = Look(rng)
    with canvas.placed(0, 0.24, 1.04, rotation=0.05 * look.tilt):  # the wheels stand at y = 0.88
        _POSES[pose](canvas, look)


def _beetle(canvas: Canvas, look: Look) -> None:
    _load(canvas, look, -0.34, 0.1, -0.5)
    body = path("-92,34 -90,10 -72,-8 -54,-36 -20,-54 12,-53 38,-34 50,-8 78,0 92,18 93,32 84,40 0,42 -86,40")
    rear = curve(path("-48,-10 -40,-30 -14,-42 -10,-40 -9,-10 -20,-8"), n=4)
    front = curve(path("0,-10 0,-41 14,-40 30,-26 37,-10 20,-8"), n=4)
    _side(canvas, look, curve(body), (rear, front), door=(-0.08, 0.46))
    for x in (-0.53, 0.55):  # mudguards
        arch = ellipse(x, 0.36, 0.31, 0.33, n=14, start=-3.0, end=-0.14)
        canvas.line(arch, "body", darker(look.paint, 0.45), width=0.03)


def _hatch(canvas: Canvas, look: Look) -> None:
    _load(canvas, look, -0.44, 0.04, -0.52)
    body = path("-93,34 -92,0 -82,-10 -68,-46 -52,-54 8,-54 22,-47 46,-12 82,-2 94,12 94,32 85,40 0,41 -86,40")
    rear = _soft([[-0.69, -0.1], [-0.58, -0.42], [-0.2, -0.43], [-0.2, -0.1]])
    front = _soft([[-0.1, -0.1], [-0.1, -0.43], [0.11, -0.42], [0.34, -0.1]])
    _side(canvas, look, curve(body), (rear, front), door=(-0.15, 0.42))


def _van(canvas: Canvas, look: Look) -> None:
    _load(canvas, look, -0.6, 0.2, -0.6)
    body = path("-94,34 -94,-40 -86,-57 -60,-62 40,-62 60,-54 76,-12 92,2 96,20 94,34 84,41 0,42 -86,41")
    rear = (rounded_box(x, -0.48, end, -0.12, 0.06) for x, end in ((-0.82, -0.42), (-0.31, 0.1)))
    front = _soft([[0.22, -0.12], [0.22, -0.48], [0.49, -0.47], [0.64, -0.12]])
    _side(canvas, look, curve(body), (*rear, front), door=(0.16, 0.62))


def _pickup(canvas: Canvas, look: Look) -> None:
    if look.loaded:
        for x0, y0, x1 in ((-0.86, -0.3, -0.56), (-0.54, -0.42, -0.22)):
            canvas.shape(rounded_box(x0, y0, x1, 0.1, 0.04), "luggage", look.luggage)
            strap = [[x0 + 0.02, y0 + 0.14], [x1 - 0.02, y0 + 0.14]]
            canvas.line(strap, "luggage", darker(look.luggage, 0.4), width=0.03)
    body = path(
        "-95,34 -95,10 -95,-10 -92,-13 -50,-12 -16,-13 -13,-30 -6,-55 6,-59 26,-57 "
        "38,-48 54,-12 86,-5 95,10 95,32 86,39 0,41 -87,40"
    )
    window = _soft([[-0.05, -0.12], [0.02, -0.46], [0.26, -0.46], [0.42, -0.12]])
    _side(canvas, look, curve(body, n=5), (window,), door=(-0.1, 0.46))
    canvas.line([[-0.9, -0.04], [-0.2, -0.04]], "body", darker(look.paint, 0.4), width=0.03)


def _sports(canvas: Canvas, look: Look) -> None:
    wing = curve(path("-98,-26 -70,-24 -62,-20 -74,-16 -76,0 -84,0 -84,-16 -98,-18"), n=4)
    canvas.shape(wing, "body", darker(look.paint, 0.15))
    body = path("-95,32 -94,4 -86,-6 -60,-10 -38,-34 -10,-42 12,-38 40,-10 76,2 97,18 98,31 88,39 0,41 -87,39")
    window = curve(path("-42,-8 -30,-27 -10,-33 10,-29 28,-8 0,-7"), n=5)
    _side(canvas, look, curve(body), (window,), door=(-0.36, 0.32))
    canvas.line([[-0.06, -0.32], [-0.1, -0.08]], "windows", darker(look.paint, 0.3), width=0.05)


def _side(canvas: Canvas, look: Look, body: Points, windows: tuple[Points, ...], door: tuple[float, float]) -> None:
    """Paint what all side views share: two tones, doors, glass, lights and wheels."""
    canvas.shape(body, "body", look.paint)
    with canvas.clipped(body):
        if look.two_tone:
            canvas.mark([[-1, 0.06], [1, 0.06], [1, 0.6], [-1, 0.6]], "body", look.second)
        lower = look.second if look.two_tone else look.paint
        canvas.line([[-1, 0.27], [1, 0.27]], "body", darker(lower, 0.35), width=0.03)
        for x in (-0.53, 0.55):
            canvas.mark(ellipse(x, 0.38, 0.275, 0.275, n=24), "body", darker(look.paint, 0.75))
    for x in door:
        canvas.line([[x, -0.03], [x, 0.24]], "body", darker(look.paint, 0.4), width=0.022)
    canvas.line([[door[0] + 0.06, 0.04], [door[0] + 0.16, 0.04]], "body", darker(look.paint, 0.55), width=0.04)
    for outline in windows:
        _glass(canvas, look, outline)
    front = windows[-1]
    mirror = ellipse(front[:, 0].max() - 0.02, -0.08, 0.06, 0.045, n=14)
    canvas.shape(mirror, "mirrors", darker(look.paint, 0.1), width=0.7)
    for x, width, height, color in ((0.88, 0.06, 0.09, HEADLIGHT), (-0.91, 0.04, 0.075, TAILLIGHT)):
        canvas.shape(ellipse(x, 0.13, width, height, n=16), "lights", color, width=0.7)
    for x in (-0.53, 0.55):
        _wheel(canvas, ellipse(x, 0.38, 0.23 * look.wheel, 0.23 * look.wheel))


def _load(canvas: Canvas, look: Look, left: float, right: float, roof: float) -> None:
    """Cases on a rack."""
    if not look.loaded:
        return
    middle = left * 0.4 + right * 0.6
    for x0, x1, top in ((left, middle - 0.01, 0.2), (middle + 0.01, right, 0.27)):
        color = look.luggage if x0 == left else lighter(look.luggage, 0.35)
        canvas.shape(rounded_box(x0, roof - top, x1, roof - 0.03, 0.05), "luggage", color)
        x = x0 * 0.6 + x1 * 0.4
        canvas.line([[x, roof - top + 0.01], [x, roof - 0.04]], "luggage", darker(color, 0.4), width=0.03)
    canvas.line([[left - 0.06, roof - 0.03], [right + 0.06, roof - 0.03]], "luggage", INK, width=0.035)
    for x in (left + 0.04, right - 0.04):
        canvas.line([[x, roof - 0.03], [x, roof + 0.06]], "luggage", INK, width=0.035)


def _glass(canvas: Canvas, look: Look, outline: Points) -> None:
    canvas.shape(outline, "windows", look.glass, width=0.8)
    (x0, y0), (x1, y1) = outline.min(axis=0), outline.max(axis=0)
    gleam = [[0.05, 1], [0.25, 1], [0.75, 0], [0.5, 0]]
    with canvas.clipped(outline):
        canvas.mark([[x0 + (x1 - x0) * u, y0 + (y1 - y0) * v] for u, v in gleam], "windows", WHITE, alpha=0.5)


def _wheel(canvas: Canvas, tyre: Points) -> None:
    """A wheel whose outline is a circle or, seen at a slant, an ellipse."""
    center = tyre.mean(axis=0)
    canvas.shape(tyre, "wheels", TYRE)
    canvas.shape(center + 0.54 * (tyre - center), "wheels", RIM, width=0.7)
    canvas.mark(center + 0.19 * (tyre - center), "wheels", HUB)


def _front(canvas: Canvas, look: Look) -> None:
    with canvas.placed(0, -0.1, 1.16):
        tyre = rounded_box(0.4, 0.24, 0.68, 0.61, 0.1)
        if look.loaded:
            canvas.shape(rounded_box(-0.34, -0.84, 0.2, -0.6, 0.06), "luggage", look.luggage)
            canvas.shape(rounded_box(0.22, -0.76, 0.4, -0.6, 0.05), "luggage", lighter(look.luggage, 0.35))
            canvas.line([[-0.42, -0.62], [0.46, -0.62]], "luggage", INK, width=0.035)
        for outline in (tyre, mirror(tyre)):
            canvas.shape(outline, "wheels", TYRE)
        for side in (-1, 1):
            canvas.shape(ellipse(0.69 * side, -0.12, 0.1, 0.075, n=18), "mirrors", darker(look.paint, 0.1))
        cabin = symmetric(path("0,-64 32,-62 46,-52 60,-12 60,10 0,12"))
        nose = symmetric(path("0,-8 42,-10 66,-4 76,16 75,40 60,48 0,50"))
        canvas.shape(cabin, "body", look.paint)
        _glass(canvas, look, symmetric(path("0,-54 30,-52 39,-45 50,-12 44,-7 0,-6")))
        canvas.shape(nose, "body", look.second if look.two_tone else look.paint)
        crease = curve([[0.3, -0.06], [0.27, 0.04], [0.26, 0.12]], closed=False)
        for outline in (crease, mirror(crease)):
            canvas.line(outline, "body", darker(look.paint, 0.35), width=0.025)
        canvas.shape(rounded_box(-0.28, 0.12, 0.28, 0.28, 0.07), "body", darker(look.paint, 0.7), width=0.7)
        for y in (0.17, 0.23):
            canvas.line([[-0.22, y], [0.22, y]], "body", RIM, width=0.025)
        canvas.shape(rounded_box(-0.8, 0.36, 0.8, 0.48, 0.06), "body", RIM)
        canvas.shape(rounded_box(-0.17, 0.35, 0.17, 0.49, 0.03), "body", WHITE, width=0.6)
        for x in (-0.09, 0, 0.09):
            canvas.line([[x - 0.025, 0.42], [x + 0.025, 0.42]], "body", INK, width=0.045)
        for side in (-1, 1):
            canvas.shape(ellipse(0.52 * side, 0.16, 0.14, 0.14), "lights", HEADLIGHT, width=0.9)
            canvas.mark(ellipse(0.52 * side - 0.04, 0.11, 0.045, 0.04, n=12), "lights", WHITE)


def _quarter(canvas: Canvas, look: Look) -> None:
    """A box with a cabin on it, in perspective: front and near side are seen."""
    lower = _box((-0.95, 0.98), (-0.06, 0.0), (-0.95, 0.98), 0.36, 0.46, 0.46)
    cabin = _box((-0.66, 0.1), (-0.52, -0.52), (-0.86, 0.46), -0.02, 0.36, 0.43)
    with canvas.placed(-0.06, -0.12, 0.91):
        for x, z in ((0.58, -0.46), (-0.58, 0.32), (0.58, 0.32)):  # the far wheel, and the near ones' inner rims
            canvas.shape(_seen(_disc(x, z, 0.22 * look.wheel)), "wheels", darker(TYRE, 0.2))
        if look.loaded:
            for x0, x1, top in ((-0.6, -0.3, -0.74), (-0.28, 0.02, -0.68)):
                case = _box((x0, x1), (top, top), (x0, x1), -0.5, 0.26, 0.26)
                canvas.shape(_hull(case), "luggage", look.luggage if x0 < -0.5 else lighter(look.luggage, 0.35))
                canvas.mark(_face(case, "top"), "luggage", lighter(look.luggage, 0.4), alpha=0.6)
        outlines = _soft(_hull(lower), 0.22), _soft(_hull(cabin), 0.2)
        canvas.group([(outline, "body", look.paint) for outline in outlines])
        with canvas.clipped(outlines[0]):
            _coachwork(canvas, look, _face(lower, "side"), _face(lower, "front"))
        with canvas.clipped(outlines[1]):
            canvas.mark(_face(cabin, "top"), "body", lighter(look.paint, 0.35), alpha=0.8)
        for uv in (_uv(0.08, 0.12, 0.47, 0.86), _uv(0.54, 0.12, 0.94, 0.86)):
            _glass(canvas, look, _soft(_on(_face(cabin, "side"), uv)))
        _glass(canvas, look, _soft(_on(_face(cabin, "front"), _uv(0.08, 0.12, 0.92, 0.84))))
        _nose(canvas, look, _face(lower, "front"))
        for z in (0.52, -0.5):
            x, y = _seen([[0.42, -0.08, z]])[0]
            canvas.shape(ellipse(x, y, 0.065, 0.055, n=16), "mirrors", darker(look.paint, 0.1), width=0.8)
        for x in (-0.58, 0.58):
            _wheel(canvas, _seen(_disc(x, 0.46, 0.22 * look.wheel)))


def _coachwork(canvas: Canvas, look: Look, side: Points, front: Points) -> None:
    """The shaded front, the second tone, the wheel arches and the doors of the three-quarter view."""
    canvas.mark(front, "body", darker(look.paint, 0.16), alpha=0.8)
    if look.two_tone:
        canvas.mark(_on(side, _uv(0, 0.45, 1, 1)), "body", look.second)
        canvas.mark(_on(front, _uv(0, 0.45, 1, 1)), "body", darker(look.second, 0.12))
    for x in (-0.58, 0.58):
        canvas.mark(_seen(_disc(x, 0.46, 0.27)), "body", darker(look.paint, 0.75))
    for u in (0.4, 0.7):
        canvas.line(_on(side, np.array([[u, 0.06], [u, 0.8]])), "body", darker(look.paint, 0.4), width=0.022)
    canvas.line(_on(side, np.array([[0.43, 0.24], [0.48, 0.24]])), "body", darker(look.paint, 0.55), width=0.04)


def _nose(canvas: Canvas, look: Look, front: Points) -> None:
    """Grille, bumper, number plate and headlights of the three-quarter view."""
    canvas.shape(_soft(_on(front, _uv(0.28, 0.28, 0.72, 0.56))), "body", darker(look.paint, 0.7), width=0.7)
    canvas.shape(_soft(_on(front, _uv(-0.02, 0.72, 1.02, 0.94))), "body", RIM, width=0.8)
    canvas.shape(_on(front, _uv(0.36, 0.7, 0.64, 0.96)), "body", WHITE, width=0.6)
    for u in (0.14, 0.86):
        canvas.shape(_on(front, ellipse(u, 0.38, 0.115, 0.22, n=20)), "lights", HEADLIGHT, width=0.8)


def _seen(points: ArrayLike, yaw: float = 0.66, pitch: float = 0.25) -> Points:
    """Project points (n, 3): x to the car's front, y down, z to its near side."""
    x, y, z = np.asarray(points, float).T
    depth = x * sin(yaw) + z * cos(yaw)
    nearer = 1 / (1 - 0.13 * depth)
    down = (y * cos(pitch) + depth * sin(pitch)) * nearer - 0.02
    return np.stack([(x * cos(yaw) - z * sin(yaw)) * nearer, down], axis=1)


def _box(top: tuple, heights: tuple, base: tuple, low: float, narrow: float, wide: float) -> dict[str, np.ndarray]:
    """Project the corners of a box, named back or front, near or far, top or low: "bnt" and so on."""
    corners = {}
    for end, i in (("b", 0), ("f", 1)):
        for side, sign in (("n", 1), ("f", -1)):
            corners[end + side + "t"] = _seen([[top[i], heights[i], sign * narrow]])[0]
            corners[end + side + "l"] = _seen([[base[i], low, sign * wide]])[0]
    return corners


def _hull(box: dict[str, np.ndarray]) -> Points:
    return np.array([box[name] for name in ("bnl", "bnt", "bft", "fft", "ffl", "fnl")])


def _face(box: dict[str, np.ndarray], name: str) -> Points:
    """Return the corners of a face: top left, top right, bottom right, bottom left."""
    corners = {"side": "bnt fnt fnl bnl", "front": "fnt fft ffl fnl", "top": "bft fft fnt bnt"}[name]
    return np.array([box[corner] for corner in corners.split()])


def _uv(u0: float, v0: float, u1: float, v1: float) -> Points:
    return np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])


def _on(face: Points, uv: Points) -> Points:
    """Lay points (u, v) in [0, 1] on a face."""
    u, v = uv[:, :1], uv[:, 1:]
    return (1 - v) * ((1 - u) * face[0] + u * face[1]) + v * ((1 - u) * face[3] + u * face[2])


def _disc(x: float, z: float, radius: float) -> np.ndarray:
    flat = ellipse(x, 0.38, radius, radius)
    return np.column_stack([flat, np.full(len(flat), z)])


def _soft(corners: ArrayLike, cut: float = 0.16) -> Points:
    """Round the corners of a polygon."""
    p = np.asarray(corners, float)
    before, after = p + cut * (np.roll(p, 1, 0) - p), p + cut * (np.roll(p, -1, 0) - p)
    steps = [(1 - t) ** 2 * before + 2 * t * (1 - t) * p + t**2 * after for t in (0, 0.25, 0.5, 0.75, 1)]
    return np.stack(steps, axis=1).reshape(-1, 2)


_POSES = {draw.__name__[1:]: draw for draw in (_beetle, _hatch, _van, _pickup, _sports, _front, _quarter)}
POSES = tuple(_POSES)
