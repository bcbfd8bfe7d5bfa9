"""What stands around the object: shadow, tree, clutter, grass in front and the printed tag."""

import math

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .geometry import curve, ellipse, rounded_box, tube
from .palette import BRIGHT, INK, WHITE, Color, Rng, colors, darker, jitter, lighter, mix, pick, rgb

_LEAF = np.array([[0, 0], [0.3, 0.24], [0.65, 0.22], [1, 0], [0.65, -0.22], [0.3, -0.24]])
_GREENS = colors("608c48 7ea050 4e7a54")
_AUTUMN = colors("d68c3e c86846 deb450")


def shadow(canvas: Canvas, x: float, y: float, scale: float, light: float, aloft: bool, ground: Color) -> None:
    """Draw the shadow of an object: dark where it stands, longer in low light; soft and distant if it is aloft."""
    reach = -0.75 * math.sin(math.radians(light)) * scale
    dark = darker(ground, 0.75)
    if aloft:
        foot = min(y + 1.3 * scale, 0.97)
        canvas.tint(ellipse(x + reach, foot, 0.55 * scale, 0.08 * scale), dark, 0.3, blur=0.1 * scale)
        return
    foot = y + 0.93 * scale
    cast = ellipse(x + 0.75 * reach, foot, 0.5 * scale + 0.6 * abs(reach), 0.11 * scale, -0.08 * reach / scale)
    canvas.tint(cast, dark, 0.36, blur=0.055 * scale)
    canvas.tint(ellipse(x + 0.15 * reach, foot, 0.46 * scale, 0.07 * scale), dark, 0.45, blur=0.04 * scale)


def tree(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, light: float) -> Color:
    """Draw a leafy tree behind an object at (x, y), its crown of the given radius; return the color of its leaves."""
    color = jitter(rng, pick(rng, _AUTUMN if rng.random() < 0.3 else _GREENS), 0.02, 0.05, 0.05)
    bark = jitter(rng, rgb(112, 82, 62), 0.01, 0.04, 0.04)
    bend = rng.uniform(-0.05, 0.05, 2)
    trunk = tube([[x + bend[0], 1.08], [x + bend[1], 0.5 * (1 + y)], [x, y]], 0.45 * radius, 0.22 * radius)
    canvas.shape(trunk, "tree", bark, width=0.12)
    lines = [[[x + bend[0] + d, 1.02], [x + 0.8 * bend[1] + 0.7 * d, y + 0.6 * radius]] for d in (-0.03, 0.005, 0.035)]
    with canvas.clipped(trunk):
        canvas.strokes(lines, darker(bark, 0.3), 0.006, 0.7)
    angles = np.arange(10) * 2 * math.pi / 10 + rng.uniform(-0.2, 0.2, 10)
    around = x + 0.66 * radius * np.cos(angles), y + 0.58 * radius * np.sin(angles)
    clumps = np.column_stack([*around, radius * rng.uniform(0.34, 0.46, 10)])
    _crown(canvas, rng, np.vstack([clumps, [[x, y, 0.6 * radius]]]), color, light, 24)
    return color


def branch_in_front(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, light: float, color: Color) -> None:
    """Draw a few sprays of leaves of the tree in front of the object at (x, y), near its rim."""
    angles = rng.uniform(0.2, 2.9, 3)
    around = x + 0.98 * radius * np.cos(angles), y + 0.8 * radius * np.sin(angles)
    _crown(canvas, rng, np.column_stack([*around, radius * rng.uniform(0.13, 0.2, 3)]), color, light, 10)


def _crown(canvas: Canvas, rng: Rng, clumps: NDArray[np.float64], color: Color, light: float, leaves: int) -> None:
    """Draw clumps (x, y, radius) of leaves: dark ones out of the rim, light ones on the side of the light."""
    n = len(clumps) * leaves
    middles, r = np.repeat(clumps[:, :2], leaves, axis=0), np.repeat(clumps[:, 2], leaves)
    leaf = rng.uniform((0, 0.25, -0.6, 0.028), (2 * math.pi, 1, 0.6, 0.05), (3, n, 4))
    turns, depths, leans, lengths = leaf.transpose(2, 0, 1)
    shades = rng.uniform(0.1, 0.9, len(clumps))
    lengths = lengths * (0.6 + float(clumps[:, 2].max()))
    canvas.many(_leaves(middles, 0.84 * r, turns[0], leans[0], lengths[0]), "tree", darker(color, 0.36))
    for (x, y, radius), shade in zip(clumps, shades, strict=True):
        tone = mix(color, darker(color, 0.3), shade)
        canvas.shape(ellipse(x, y, radius, 0.88 * radius, n=18), "tree", tone, ink=False)
    inner = _leaves(middles, r * np.sqrt(depths[1]) * 0.97, turns[1], leans[1], lengths[1])
    canvas.many(inner[::2], "tree", darker(color, 0.3))
    canvas.many(inner[1::2], "tree", mix(color, darker(color, 0.3), 0.35))
    sunny = math.radians(light - 90) + 0.5 * (turns[2] - math.pi)
    outer = _leaves(middles, r * np.sqrt(depths[2]) * 0.9, sunny, leans[2], lengths[2])
    canvas.many(outer[::3], "tree", lighter(color, 0.12))
    canvas.many(outer[1::3], "tree", lighter(color, 0.3))


def _leaves(
    middles: NDArray[np.float64],
    radii: NDArray[np.float64],
    turns: NDArray[np.float64],
    leans: NDArray[np.float64],
    lengths: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Put a leaf at the angle `turns` on each circle, pointing outwards but for `leans`: (m, 6, 2)."""
    starts = middles + radii[:, None] * np.stack([np.cos(turns), 0.9 * np.sin(turns)], axis=1)
    return _turned(_LEAF, turns + leans, lengths) + starts[:, None, :]


def _turned(shape: NDArray[np.float64], turns: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    c, s = (sizes * np.cos(turns))[:, None], (sizes * np.sin(turns))[:, None]
    return np.stack([shape[:, 0] * c - shape[:, 1] * s, shape[:, 0] * s + shape[:, 1] * c], axis=2)


def grass(canvas: Canvas, rng: Rng, foot: float, ground: Color) -> None:
    """Draw tufts of grass in front, that rise from about the height `foot`."""
    n, blades = 16, 6
    across = np.linspace(-0.02, 1.02, n) + rng.uniform(-0.03, 0.03, n)
    places = np.stack([across, foot + rng.uniform(0, 0.05, n)], axis=1)
    places[:, 1] = np.minimum(places[:, 1], 1.03)
    x = np.repeat(places[:, 0], blades) + rng.uniform(-0.03, 0.03, n * blades)
    y = np.repeat(places[:, 1], blades)
    heights, leans = rng.uniform((0.035, -0.5), (0.095, 0.5), (n * blades, 2)).T
    w = 0.0055
    tips, bends = x + leans * heights, x + 0.3 * leans * heights
    outline = np.stack([
        np.stack([x - w, y], 1), np.stack([bends - 0.8 * w, y - 0.55 * heights], 1), np.stack([tips, y - heights], 1),
        np.stack([bends + 0.8 * w, y - 0.55 * heights], 1), np.stack([x + w, y], 1),
    ], axis=1)  # fmt: skip
    for k, tone in enumerate((darker(ground, 0.32), darker(ground, 0.12), lighter(ground, 0.18))):
        canvas.many(outline[k::3], "grass", tone)


def tag(canvas: Canvas, rng: Rng) -> None:
    """Draw a small printed tag in the upper right corner."""
    x, y = rng.uniform((0.84, 0.065), (0.875, 0.085))
    with canvas.placed(x, y, 0.105):
        canvas.shape(rounded_box(-1, -0.5, 1, 0.5, 0.2), "tag", WHITE, flat=True)
        canvas.line([[-0.6, 0.05], [-0.25, 0.05]], "tag", rgb(200, 60, 70), 0.22)
        canvas.line([[0, -0.15], [0.6, -0.15]], "tag", INK, 0.14)
        canvas.line([[0, 0.2], [0.5, 0.2]], "tag", INK, 0.14)


def clutter(canvas: Canvas, rng: Rng, count: int) -> None:
    """Draw `count` small items; those of a smaller count are the first of them."""
    for _ in range(count):
        x, y, scale, turn = rng.uniform((0.05, 0.08, 0.045, -0.4), (0.95, 0.95, 0.085, 0.4))
        kind, color = pick(rng, _CLUTTER), jitter(rng, pick(rng, BRIGHT))
        with canvas.placed(x, y, scale, turn):
            kind(canvas, color)


def _ball(canvas: Canvas, color: Color) -> None:
    outline = ellipse(0, 0, 0.8, 0.8)
    canvas.shape(outline, "clutter", color)
    with canvas.clipped(outline):
        canvas.tint(ellipse(0, 0, 0.25, 0.85), lighter(color, 0.6))


def _star(canvas: Canvas, color: Color) -> None:
    t, r = np.arange(10) * math.pi / 5, np.tile((0.9, 0.42), 5)
    canvas.shape(np.stack([r * np.sin(t), -r * np.cos(t)], axis=1), "clutter", color)


def _balloon(canvas: Canvas, color: Color) -> None:
    canvas.line(curve([[0, 0.52], [0.1, 0.9], [-0.05, 1.3]], closed=False), "clutter", darker(color, 0.4), 0.05)
    canvas.shape(ellipse(0, -0.2, 0.6, 0.72), "clutter", color)


def _stone(canvas: Canvas, color: Color) -> None:
    outline = curve([[-0.9, 0.5], [-0.7, -0.2], [-0.1, -0.5], [0.5, -0.3], [0.9, 0.5]])
    canvas.shape(outline, "clutter", mix(color, rgb(140, 136, 134), 0.75))


def _parcel(canvas: Canvas, color: Color) -> None:
    canvas.shape(rounded_box(-0.7, -0.6, 0.7, 0.6, 0.1), "clutter", color)
    canvas.line([[-0.7, 0], [0.7, 0]], "clutter", lighter(color, 0.6), 0.16)
    canvas.line([[0, -0.6], [0, 0.6]], "clutter", lighter(color, 0.6), 0.16)


def _butterfly(canvas: Canvas, color: Color) -> None:
    for side in (-1, 1):
        canvas.shape(ellipse(0.42 * side, -0.22, 0.42, 0.36, 0.4 * side), "clutter", color)
        canvas.shape(ellipse(0.34 * side, 0.32, 0.3, 0.28), "clutter", lighter(color))
    canvas.shape(ellipse(0, 0, 0.1, 0.5), "clutter", INK, ink=False)


def _kite(canvas: Canvas, color: Color) -> None:
    canvas.shape([[0, -0.9], [0.6, 0], [0, 0.9], [-0.6, 0]], "clutter", color)
    canvas.line([[0, -0.9], [0, 0.9]], "clutter", darker(color, 0.4), 0.05)
    canvas.line([[-0.6, 0], [0.6, 0]], "clutter", darker(color, 0.4), 0.05)


def _blossom(canvas: Canvas, color: Color) -> None:
    for t in np.arange(6) * math.pi / 3:
        canvas.shape(ellipse(0.5 * math.cos(t), 0.5 * math.sin(t), 0.36, 0.36, n=14), "clutter", color)
    canvas.shape(ellipse(0, 0, 0.32, 0.32, n=14), "clutter", rgb(246, 210, 90))


_CLUTTER = (_ball, _star, _balloon, _stone, _parcel, _butterfly, _kite, _blossom)
