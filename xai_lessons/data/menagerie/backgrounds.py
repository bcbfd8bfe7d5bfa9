"""The eight backgrounds: each a function of the canvas, its own random stream and the height of the horizon."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .canvas import Canvas
from .geometry import Points, curve, ellipse, tube
from .palette import BRIGHT, WHITE, Color, Rng, colors, darker, jitter, lighter, mix, pick, rgb

_SKY_TOPS = colors("96c8e2 f6be96 78aace b4b0d4 d2dcde 4a588a")
_SKIES = tuple(zip(_SKY_TOPS, colors("ecf0e2 fce8c4 cee4ec fadcd6 f2f0e8 b08ea8"), strict=True))  # (top, bottom)
_GRASS = colors("82a856 a8b860 629262 c4ba70 789c78")
_SUN = rgb(252, 226, 140)
_SEAS = colors("5498b0 4274a0 6eb0aa")
_WOODS = colors("608860 7e965c 96805c 5c7880")
_NIGHTS = colors("343e6c 463a68 284c64")
_WINTERS = colors("b0c8de cec4d8 96b0c8")
_SANDS = colors("e2b878 d69668 e6cea0")
_FLOORS = colors("b0825c ceaa82 8c6e64 aa9696")


def meadow(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw hills under a sky, with flowers."""
    top, bottom = _sky(canvas, rng, horizon + 0.1, 0.5)
    _clouds(canvas, rng)
    green = jitter(rng, pick(rng, _GRASS), 0.02, 0.06, 0.05)
    far = mix(lighter(green, 0.35), bottom, 0.35)
    canvas.gradient(_hill(rng, horizon - 0.05, 0.07), far, mix(green, top, 0.2), horizon - 0.12, horizon + 0.2)
    for x in rng.uniform(0, 1, int(rng.integers(0, 6))):
        _bush(canvas, x, horizon + 0.01, rng.uniform(0.02, 0.05), darker(far, 0.2))
    canvas.gradient(_hill(rng, horizon + 0.05, 0.035), green, darker(green, 0.22), horizon, 1.05)
    _tufts(canvas, rng, horizon + 0.1, darker(green, 0.3), 22)
    for _ in range(int(rng.integers(0, 8))):
        _flower(canvas, rng, horizon + 0.14)
    return green


def sea(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw waves up to the horizon, at times with an island."""
    _, bottom = _sky(canvas, rng, horizon, 0.35)
    _clouds(canvas, rng)
    water = jitter(rng, pick(rng, _SEAS), 0.02, 0.05, 0.05)
    if rng.random() < 0.35:
        x, w = rng.uniform(0, 1), rng.uniform(0.08, 0.2)
        canvas.tint(ellipse(x, horizon + 0.01, w, 0.4 * w, start=math.pi, end=2 * math.pi), mix(water, bottom, 0.5))
    across = np.linspace(-0.1, 1.1, 40)
    for i in range(6):
        y = horizon + (1 - horizon) * (i / 6) ** 1.3
        crest = y + 0.004 * (1 + i) * np.sin(across * (42 - 5 * i) + rng.uniform(0, 6))
        wave = np.stack([across, crest], axis=1)
        canvas.gradient(_above(wave), lighter(water, 0.3 - 0.05 * i), darker(water, 0.05 * i), y, y + 0.5)
        canvas.line(wave, None, lighter(water, 0.6), 0.004 + 0.0008 * i, 0.7)
    glints = np.stack([rng.uniform(0, 1, 14), rng.uniform(horizon + 0.02, 1, 14)], axis=1)
    canvas.strokes(np.stack([glints - (0.015, 0), glints + (0.015, 0)], axis=1), lighter(water, 0.7), 0.005, 0.6)
    return water


def forest(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw two rows of trunks under a roof of leaves."""
    green = jitter(rng, pick(rng, _WOODS), 0.02, 0.06, 0.05)
    canvas.gradient(_box(0, 0, 1, 1), lighter(green, 0.55), lighter(green, 0.15))
    for row in range(2):
        bark = mix(darker(green, 0.35), lighter(green, 0.3), 0.55 - 0.4 * row)
        for _ in range(5 - row):
            x, w = rng.uniform(0, 1), rng.uniform(0.03, 0.07) * (1 + 0.6 * row)
            foot, bend = horizon + 0.06 + 0.06 * row, rng.uniform(-0.04, 0.04, 2)
            canvas.tint(tube([[x, foot], [x + bend[0], 0.4], [x + bend.sum(), -0.1]], 1.3 * w, w), bark)
            spine = [[x + 0.2 * w, foot], [x + bend[0] + 0.2 * w, 0.4], [x + bend.sum(), -0.1]]
            canvas.tint(tube(spine, 0.5 * w, 0.3 * w), darker(bark, 0.16), 0.6)
        roof = mix(green, darker(green, 0.4), 0.25 + 0.4 * row)
        for x in rng.uniform(0, 1, 5):
            _foliage(canvas, rng, x, rng.uniform(-0.05, 0.07), rng.uniform(0.12, 0.19), mix(roof, green, rng.random()))
    canvas.gradient(_hill(rng, horizon + 0.06, 0.025), darker(green, 0.06), darker(green, 0.4), horizon, 1)
    _tufts(canvas, rng, horizon + 0.1, lighter(green, 0.2), 20)
    return darker(green, 0.15)


def room(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw a papered wall and a wooden floor, at times with a picture, a window and a rug."""
    wall = lighter(jitter(rng, pick(rng, BRIGHT)), 0.45)
    paper = mix(wall, jitter(rng, pick(rng, BRIGHT)), 0.35)
    canvas.gradient(_box(0, 0, 1, 1), lighter(wall, 0.15), wall)
    n, pattern = int(rng.integers(5, 9)), rng.integers(4)
    for i in range(n + 1):
        if pattern == 0:
            canvas.tint(_box(i / n, 0, (i + 0.45) / n, 1), paper)
        elif pattern == 1:
            for j in range(n):
                canvas.tint(ellipse((i + 0.5 * (j % 2) - 0.2) / n, (j + 0.3) / n, 0.018, 0.018, n=10), paper)
        elif pattern == 2:
            canvas.strokes([[[2 * i / n - 1, 0], [2 * i / n, 1]], [[2 * i / n, 0], [2 * i / n - 1, 1]]], paper, 0.01)
    floor = jitter(rng, pick(rng, _FLOORS))
    y = horizon + 0.05
    (u, v), window = rng.uniform((0.15, 0.13), (0.85, 0.26)), rng.random()
    if window < 0.3:
        _window(canvas, rng, u, v)
    elif window < 0.65:
        canvas.tint(_box(u - 0.1, v - 0.08, u + 0.1, v + 0.08), rgb(120, 86, 62))
        top, bottom = lighter(pick(rng, BRIGHT), 0.5), lighter(pick(rng, BRIGHT), 0.2)
        canvas.gradient(_box(u - 0.08, v - 0.06, u + 0.08, v + 0.06), top, bottom, v - 0.06, v + 0.06)
    canvas.gradient(_box(0, y, 1, 1.01), lighter(floor, 0.15), darker(floor, 0.2), y, 1)
    boards = [[[x, y], [x + 1.2 * (x - 0.5), 1]] for x in np.linspace(-0.1, 1.1, 9)]
    canvas.strokes(boards, darker(floor, 0.35), 0.006, 0.8)
    canvas.gradient(_box(0, y - 0.03, 1, y), WHITE, mix(WHITE, wall, 0.3), y - 0.03, y)
    if rng.random() < 0.6:
        rug, x, middle = pick(rng, BRIGHT), rng.uniform(0.35, 0.65), (y + 1.02) / 2
        height = 0.4 * (1.02 - y)
        canvas.tint(ellipse(x, middle, 0.44, height, n=40), darker(rug, 0.1))
        canvas.line(ellipse(x, middle, 0.38, 0.8 * height, n=40, end=2 * math.pi - 0.01), None, lighter(rug, 0.5), 0.01)
    return floor


def night(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw dark hills under the moon and stars."""
    blue = jitter(rng, pick(rng, _NIGHTS), 0.02, 0.05, 0.04)
    canvas.gradient(_box(0, 0, 1, 1), darker(blue, 0.3), lighter(blue, 0.35), 0, horizon + 0.15)
    moonlight = rgb(252, 240, 200)
    for x, y, r, a in rng.uniform((0, 0, 0.003, 0.5), (1, horizon, 0.009, 1), (26, 4)):
        canvas.tint(ellipse(x, y, r, r, n=8), moonlight, a)
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.28)
    canvas.tint(ellipse(x, y, 0.1, 0.1), moonlight, 0.25, blur=0.03)
    canvas.tint(ellipse(x, y, 0.07, 0.07), moonlight)
    for dx, dy, r in ((-0.02, -0.015, 0.014), (0.025, 0.02, 0.018), (0.01, -0.035, 0.009)):
        canvas.tint(ellipse(x + dx, y + dy, r, r, n=12), darker(moonlight, 0.12))
    canvas.gradient(_hill(rng, horizon - 0.03, 0.05), mix(blue, lighter(blue, 0.2), 0.5), blue, horizon - 0.1, 1)
    canvas.gradient(_hill(rng, horizon + 0.05, 0.04), darker(blue, 0.1), darker(blue, 0.5), horizon, 1)
    _tufts(canvas, rng, horizon + 0.1, lighter(blue, 0.15), 14)
    return darker(blue, 0.1)


def snow(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw snowy hills and firs in falling snow."""
    sky = pick(rng, _WINTERS)
    canvas.gradient(_box(0, 0, 1, 1), sky, lighter(sky, 0.6), 0, horizon + 0.1)
    if rng.random() < 0.5:
        x, w, peak = rng.uniform(0, 1), rng.uniform(0.25, 0.4), horizon - rng.uniform(0.12, 0.25)
        canvas.tint([[x - w, horizon + 0.08], [x, peak], [x + w, horizon + 0.08]], mix(sky, rgb(110, 120, 150), 0.3))
        edge = peak + 0.25 * (horizon + 0.08 - peak)
        cap = [[x - 0.25 * w, edge], [x, peak], [x + 0.25 * w, edge]]
        canvas.tint([*cap, [x + 0.08 * w, peak + 0.06], [x - 0.05 * w, peak + 0.085]], WHITE)
    for x in rng.uniform(0, 1, int(rng.integers(2, 6))):
        _fir(canvas, x, horizon + 0.04, rng.uniform(0.08, 0.16))
    canvas.gradient(_hill(rng, horizon, 0.04), WHITE, mix(WHITE, sky, 0.5), horizon, 1)
    canvas.gradient(_hill(rng, horizon + 0.18, 0.04), WHITE, mix(WHITE, sky, 0.4), horizon + 0.1, 1.1)
    for x, y, r in rng.uniform((0, 0, 0.004), (1, 1, 0.011), (30, 3)):
        canvas.tint(ellipse(x, y, r, r, n=8), WHITE, 0.85)
    return mix(WHITE, sky, 0.35)


def desert(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw dunes with cactuses."""
    _, bottom = _sky(canvas, rng, horizon, 0.8, rgb(252, 216, 130))
    sand = jitter(rng, pick(rng, _SANDS))
    if rng.random() < 0.4:
        x, w, y = rng.uniform(0, 1), rng.uniform(0.1, 0.2), horizon - rng.uniform(0.08, 0.16)
        rock = mix(darker(sand, 0.25), bottom, 0.4)
        outline = [[x - w, horizon + 0.05], [x - 0.7 * w, y], [x + 0.6 * w, y], [x + w, horizon + 0.05]]
        canvas.gradient(outline, lighter(rock, 0.2), rock, y, horizon)
    for i in range(3):
        y = horizon + 0.12 * i
        canvas.gradient(_hill(rng, y, 0.045), lighter(sand, 0.3 - 0.1 * i), darker(sand, 0.08 * (i + 1)), y - 0.05, 1)
    for _ in range(int(rng.integers(0, 3))):
        _cactus(canvas, rng.uniform(0.05, 0.95), horizon + 0.1, rng.uniform(0.08, 0.17))
    ripples = rng.uniform((0, horizon + 0.1), (1, 1), (16, 2))
    canvas.strokes(np.stack([ripples, ripples + (0.06, -0.006)], axis=1), darker(sand, 0.25), 0.005, 0.6)
    return sand


def wash(canvas: Canvas, rng: Rng, horizon: float) -> Color:
    """Draw an abstract wash of two colors, without ground."""
    a, b = (lighter(jitter(rng, pick(rng, BRIGHT)), t) for t in (0.3, 0.2))
    canvas.gradient(_box(0, 0, 1, 1), a, b)
    for x, y, rx, ry, turn, t in rng.uniform((0, 0, 0.08, 0.05, 0, 0), (1, 1, 0.25, 0.16, 3, 1), (14, 6)):
        blot = ellipse(x, y, rx, ry, turn, n=9) + rng.normal(0, 0.015, (9, 2))
        canvas.tint(curve(blot, n=4), mix(a, b, t) + rng.normal(0, 0.05), 0.45)
    for x, y, d, e, w, t in rng.uniform((0, 0, -0.04, -0.05, 0.008, 0), (1, 1, 0.04, 0.05, 0.02, 1), (8, 6)):
        stroke = curve([[x, y], [x + 0.1, y + d], [x + 0.22, y + e]], closed=False)
        canvas.line(stroke, None, lighter(mix(a, b, t), 0.4), w, 0.5)
    return mix(a, b, 0.8)


Background = Callable[[Canvas, Rng, float], Color]
BACKGROUNDS: dict[str, Background] = {  # each draws itself and returns the color of its ground
    f.__name__: f for f in (meadow, sea, forest, room, night, snow, desert, wash)
}


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


def _above(line: ArrayLike) -> Points:
    return np.vstack([line, [[1.2, 1.2], [-0.2, 1.2]]])


def _hill(rng: Rng, y: float, height: float) -> Points:
    ridge = np.stack([np.linspace(-0.1, 1.1, 6), y + height * rng.uniform(-1, 1, 6)], axis=1)
    return _above(curve(ridge, closed=False, n=8))


def _sky(canvas: Canvas, rng: Rng, horizon: float, sunny: float, sun: Color = _SUN) -> tuple[Color, Color]:
    """Draw a sky, by the chance `sunny` with the sun; return its colors at the top and at the horizon."""
    top, bottom = pick(rng, _SKIES)
    canvas.gradient(_box(0, 0, 1, 1), top, bottom, 0, horizon)
    shown, x, y = rng.random() < sunny, rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.28)
    if shown:
        canvas.tint(ellipse(x, y, 0.09, 0.09), sun, 0.35, blur=0.025)
        canvas.tint(ellipse(x, y, 0.065, 0.065), sun, 0.95)
    return top, bottom


def _clouds(canvas: Canvas, rng: Rng) -> None:
    puffs = ((-0.09, 0.01, 0.05), (0.1, 0.015, 0.04), (-0.03, -0.03, 0.07), (0.05, -0.015, 0.06), (0, 0.02, 0.07))
    for x, y, s in rng.uniform((0, 0.05, 0.7), (1, 0.3, 1.4), (int(rng.integers(0, 4)), 3)):
        for dx, dy, r in puffs:
            canvas.tint(ellipse(x + dx * s, y + dy * s, 1.2 * r * s, r * s, n=16), WHITE, 0.88)


def _tufts(canvas: Canvas, rng: Rng, y0: float, color: Color, n: int) -> None:
    places = rng.uniform((0, y0), (1, 1), (n, 2))
    height = 0.018 + 0.02 * (places[:, 1] - y0) / max(1 - y0, 0.1)
    blades = []
    for lean in (-0.5, 0.0, 0.5):
        tips = places + np.stack([0.7 * lean * height, -height * (1 - 0.25 * abs(lean))], axis=1)
        blades.append(np.stack([places, tips], axis=1))
    canvas.strokes(np.vstack(blades), color, 0.006, 0.8)


def _flower(canvas: Canvas, rng: Rng, y0: float) -> None:
    x, y, r = rng.uniform((0, min(y0, 0.95), 0.011), (1, 0.97, 0.019))
    color = pick(rng, BRIGHT)
    canvas.line([[x, y], [x + 0.2 * r, y + 3 * r]], None, rgb(90, 130, 70), 0.007)
    for k in range(5):
        a = k * 2 * math.pi / 5
        canvas.tint(ellipse(x + 0.8 * r * math.cos(a), y + 0.8 * r * math.sin(a), 0.6 * r, 0.6 * r, n=8), color)
    canvas.tint(ellipse(x, y, 0.5 * r, 0.5 * r, n=8), rgb(246, 210, 90))


def _bush(canvas: Canvas, x: float, y: float, r: float, color: Color) -> None:
    for dx, s in ((-0.8, 0.7), (0.8, 0.8), (0.0, 1.0)):
        canvas.tint(ellipse(x + dx * r, y - 0.2 * r, s * r, s * r, n=14), color)


def _foliage(canvas: Canvas, rng: Rng, x: float, y: float, r: float, color: Color) -> None:
    t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    reach = r * (1 + 0.09 * np.sin(9 * t + rng.uniform(0, 6)) + 0.05 * rng.uniform(-1, 1, 36))
    canvas.tint(np.stack([x + reach * np.cos(t), y + 0.62 * reach * np.sin(t)], axis=1), color, 0.96)


def _window(canvas: Canvas, rng: Rng, x: float, y: float) -> None:
    top, bottom = pick(rng, _SKIES)
    canvas.tint(_box(x - 0.13, y - 0.13, x + 0.13, y + 0.15), WHITE)
    canvas.gradient(_box(x - 0.11, y - 0.11, x + 0.11, y + 0.12), top, bottom, y - 0.11, y + 0.12)
    canvas.strokes([[[x, y - 0.11], [x, y + 0.12]], [[x - 0.11, y], [x + 0.11, y]]], WHITE, 0.014)


def _fir(canvas: Canvas, x: float, y: float, s: float) -> None:
    canvas.tint(_box(x - 0.08 * s, y - 0.3 * s, x + 0.08 * s, y), rgb(104, 82, 70))
    for k in range(3):
        base, half = y - (0.15 + 0.5 * k) * s, (0.75 - 0.17 * k) * s
        green = mix(rgb(86, 120, 116), WHITE, 0.12 * k)
        canvas.tint([[x, base - s], [x + half, base], [x - half, base]], green)
        canvas.tint([[x, base - s], [x + 0.35 * half, base - 0.62 * s], [x - 0.3 * half, base - 0.7 * s]], WHITE, 0.8)


def _cactus(canvas: Canvas, x: float, y: float, h: float) -> None:
    green = rgb(106, 146, 98)
    canvas.line([[x, y], [x, y - h]], None, green, 0.035)
    canvas.line([[x, y - 0.3 * h], [x + 0.05, y - 0.35 * h], [x + 0.05, y - 0.75 * h]], None, green, 0.022)
    canvas.line([[x, y - 0.45 * h], [x - 0.045, y - 0.5 * h], [x - 0.045, y - 0.8 * h]], None, darker(green, 0.1), 0.02)
    canvas.line([[x - 0.008, y], [x - 0.008, y - h]], None, lighter(green, 0.25), 0.006)
