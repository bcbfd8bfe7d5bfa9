"""Cat, dog, cheetah, elephant: all with the same poses, coats and collars, so that only the animal tells them apart.

Each is drawn in its own frame: center (0, 0), radius about 1; in profile it looks right.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, path, symmetric, tube
from ..palette import Color, Rng, darker, lighter
from .heads import SIDES, draw_head
from .looks import Look

_COMMON = ("head", "ears", "eyes", "body", "legs", "paws", "tail", "collar")
PARTS = {
    "cat": (*_COMMON, "nose", "mouth", "muzzle", "whiskers", "markings"),
    "dog": (*_COMMON, "nose", "mouth", "muzzle", "tongue", "markings"),
    "cheetah": (*_COMMON, "nose", "mouth", "muzzle", "tear lines", "markings"),
    "elephant": (*_COMMON, "trunk", "tusks"),
}
Box = tuple[float, float, float, float]
Shape = tuple[Points, str, Color]


def mammal(canvas: Canvas, rng: np.random.Generator, pose: str, kind: str, collar: bool | None = None) -> None:
    """Draw an animal: cat, dog, cheetah or elephant; for `collar` see `Look`."""
    look = Look(rng, kind, collar)
    size = look.build.size
    with canvas.placed(0, 1 - size, size):  # the feet stay on the ground
        _POSES[pose](canvas, rng, look)


def sit(canvas: Canvas, rng: Rng, look: Look) -> None:
    """Sitting, seen from the front."""
    side, wide, wag = look.side, look.girth, look.wag
    tails = {
        "elephant": [[0.40, 0.5], [0.64, 0.55], [0.76, 0.72 + 0.05 * wag]],
        "dog": [[0.3, 0.68], [0.58, 0.54], [0.70 + 0.06 * wag, 0.22 + 0.1 * wag]],
    }
    curled = [[0.2, 0.84], [0.56, 0.86], [0.78, 0.62], [0.66 + 0.08 * wag, 0.34], [0.78 + 0.08 * wag, 0.12]]
    with canvas.placed(0, 0.08, 0.95):
        tail(canvas, look, np.array(tails.get(look.kind, curled)) * [side, 1])
        half = path("0,-14 20,-12 34,18 48,52 48,80 30,92 0,93")
        outline = symmetric(np.array(half) * [wide, 1])
        thigh = path("30,58 52,66 56,86 42,94.5 22,93 20,80")
        thighs: list[Shape] = [(curve(thigh * [s * wide, 1]), "legs", look.coat) for s in SIDES]
        canvas.group([(outline, "body", look.coat), *thighs])
        with canvas.surface(outline, "body"):
            coat_pattern(canvas, rng, look, (-0.44 * wide, 0.12, 0.44 * wide, 0.76))
            if look.bib:
                canvas.mark(ellipse(0, 0.30, 0.2 * wide, 0.32), "body", lighter(look.coat, 0.66), 0.95)
            canvas.fur(rng, (-0.42, 0.2, 0.42, 0.85), darker(look.coat, 0.3), 7)
        for s in SIDES:
            crease = [[s * 0.24 * wide, 0.62], [s * 0.44 * wide, 0.64], [s * 0.5 * wide, 0.8]]
            canvas.line(curve(crease, False), "legs", look.seam, 0.02, 0.8)
        for s in SIDES:
            _front_leg(canvas, look, s * 0.15 * wide, 0.125 * look.build.limb)
        with canvas.placed(0, -0.40, look.head_size, look.tilt):
            draw_head(canvas, rng, look)


def _front_leg(canvas: Canvas, look: Look, x: float, half: float) -> None:
    """A straight leg and its paw, seen from the front; it grows out of the chest, so it has seams, no contour."""
    leg = curve(path("-85,40 85,40 80,70 90,92 -90,92 -80,70"), True, 4)
    canvas.shape(leg * [half, 1] + [x, 0], "legs", look.coat, ink=False)
    for s in SIDES:
        seam = [[x + s * 0.86 * half, 0.46], [x + s * 0.84 * half, 0.66], [x + s * 0.9 * half, 0.88]]
        canvas.line(curve(seam, False, 4), "legs", look.seam, 0.022, 0.9)
    canvas.shape(ellipse(x, 0.905, 1.12 * half, 0.082, n=20), "paws", look.paw)
    toes(canvas, look, x, 0.905, half)


def walk(canvas: Canvas, rng: Rng, look: Look) -> None:
    """Walking, seen from the side, the face turned to the reader."""
    hips = 0.62 - look.leg
    deep = 0.33 * look.depth
    step = 0.13 * look.gait
    wag = 0.05 * look.wag
    tails = {
        "elephant": [[-0.62, -0.2], [-0.82, -0.1], [-0.86 + wag, 0.2]],
        "dog": [[-0.58, -0.22], [-0.8, -0.45], [-0.82 + wag, -0.72]],
        "cheetah": [[-0.58, -0.2], [-0.84, -0.1], [-0.97, -0.36], [-0.86 + wag, -0.62], [-0.94, -0.84]],
        "cat": [[-0.56, -0.2], [-0.82, -0.3], [-0.88, -0.58], [-0.78 + wag, -0.82], [-0.86 + wag, -1.04]],
    }
    with canvas.placed(-0.02 - look.build.ahead, 0.06, 0.97):
        tail(canvas, look, np.array(tails[look.kind]) + [0, hips])
        shade = darker(look.coat, 0.22)
        canvas.group(_leg(look, -0.40, -step, hips, shade) + _leg(look, 0.28, step, hips, shade))
        outline = path("-64,-50 -50,-108 -10,-98 30,-112 56,-80 58,20 30,62 -15,50 -50,55 -67,10")
        outline = curve(outline * [1, deep] + [0, hips])
        near = _leg(look, -0.51, step, hips, look.coat) + _leg(look, 0.42, -step, hips, look.coat)
        canvas.group([(outline, "body", look.coat), *near])
        canvas.shape(outline, "body", look.coat, ink=False)
        with canvas.surface(outline, "body"):
            coat_pattern(canvas, rng, look, (-0.58, hips - 0.92 * deep, 0.5, hips + 0.45 * deep))
            canvas.tint(ellipse(-0.05, hips + 0.75 * deep, 0.5, 0.15), lighter(look.coat, 0.5), 0.6, 0.04)
            canvas.fur(rng, (-0.6, hips - deep, 0.5, hips + 0.5 * deep), darker(look.coat, 0.3), 7, angle=0.6)
        leg_spots(canvas, rng, look, near)
        half = 0.11 * look.build.limb
        toes(canvas, look, -0.48 + step, 0.885, half)
        toes(canvas, look, 0.45 - step, 0.885, half)
        neck = hips - 1.28 * deep - (0 if look.kind == "elephant" else 0.06)
        with canvas.placed(0.52, neck, 0.88 * look.head_size, look.tilt + 0.06):
            draw_head(canvas, rng, look)


def _leg(look: Look, x: float, swing: float, hips: float, color: Color) -> list[Shape]:
    """A standing leg in profile from the body at (x, hips) to the ground at x + swing, and its paw."""
    half = 0.11 * look.build.limb
    knee = hips + 0.5 * look.leg
    front = [[x + 1.2 * half, hips - 0.1], [x + 0.95 * half + 0.5 * swing, knee], [x + swing + 0.9 * half, 0.84]]
    back = [[x + swing - 0.9 * half, 0.84], [x - 0.9 * half + 0.5 * swing, knee]]
    leg = [[x - 1.25 * half, hips - 0.1], *front, *back]
    toe = ellipse(x + swing + 0.03, 0.885, 1.18 * half, 0.07, n=20)
    return [(curve(leg, True, 5), "legs", color), (toe, "paws", look.paw)]


def portrait(canvas: Canvas, rng: Rng, look: Look) -> None:
    """Head and shoulders."""
    with canvas.placed(0, -0.09, 0.82):
        outline = symmetric(path("0,20 30,30 62,55 80,90 86,240 0,240"))
        canvas.shape(outline, "body", look.coat)
        with canvas.surface(outline, "body"):
            if look.bib:
                canvas.mark(ellipse(0, 0.9, 0.32, 0.6), "body", lighter(look.coat, 0.66), 0.95)
            coat_pattern(canvas, rng, look, (-0.7, 0.48, 0.7, 1.2))
            canvas.fur(rng, (-0.7, 0.5, 0.7, 1.2), darker(look.coat, 0.3), 7)
        with canvas.placed(0, -0.08, 1.42 * look.head_size, look.tilt):
            draw_head(canvas, rng, look)


def lie(canvas: Canvas, rng: Rng, look: Look) -> None:
    """Lying on the belly, the fore paws stretched out; often asleep, with the head on the paws."""
    coat, shade, wag = look.coat, darker(look.coat, 0.2), look.wag
    half = 0.1 * look.build.limb
    rise = 0.06 * (look.depth - 1)
    straight = {
        "elephant": [[-0.7, 0.3], [-0.92, 0.45], [-0.95 + 0.02 * wag, 0.72]],
        "dog": [[-0.7, 0.5], [-0.92, 0.42], [-1.0, 0.14 + 0.05 * wag]],
    }
    with canvas.placed(-look.build.ahead, 0.1 - rise, 0.96):
        canvas.group(_stretched(look, (0.48, 0.52), (0.66, 0.73), (0.84, 0.735), half, shade))
        outline = path("-82,50 -74,12 -38,-12 5,-8 42,-16 64,15 62,60 42,85 -30,88 -70,84")
        outline = curve(outline * [1, 1 + rise])
        if look.kind in straight:
            tail(canvas, look, straight[look.kind])
        thigh = ellipse(-0.46, 0.58, 0.31, 0.27, -0.2)
        canvas.shape(outline, "body", coat)
        with canvas.surface(outline, "body"):
            coat_pattern(canvas, rng, look, (-0.72, -0.04, 0.5, 0.72))
            canvas.fur(rng, (-0.6, 0.0, 0.5, 0.75), darker(coat, 0.3), 7, angle=0.6)
        if look.kind not in straight:  # curled around the body: over its edge, under the thigh
            tail(canvas, look, [[-0.6, 0.5], [-0.92, 0.6], [-0.96, 0.84], [-0.68, 0.93], [-0.34 + 0.05 * wag, 0.90]])
        canvas.group([(thigh, "legs", coat), (ellipse(-0.2, 0.835, 0.2, 0.08), "paws", look.paw)])
        leg_spots(canvas, rng, look, [(thigh, "legs", coat)], 8)
        canvas.group(_stretched(look, (0.26, 0.52), (0.44, 0.81), (0.72, 0.83), half, coat))
        toes(canvas, look, 0.79, 0.83, 0.9 * half)
        y = 0.22 if look.asleep else -0.22
        with canvas.placed(0.44, y, 0.9 * look.head_size, look.tilt + (0.1 if look.asleep else 0)):
            draw_head(canvas, rng, look, look.asleep)


def _stretched(
    look: Look, root: Sequence[float], bend: Sequence[float], end: Sequence[float], half: float, color: Color
) -> list[Shape]:
    """A bent leg from the root over the bend to the end, and its paw."""
    paw = ellipse(end[0] + 0.05, end[1], 1.25 * half, 0.95 * half, n=20)
    shoulder = ellipse(root[0], root[1], 1.6 * half, 1.9 * half, -0.5, n=22)
    leg = tube([root, bend, end], 2.0 * half, 1.7 * half)
    return [(shoulder, "legs", color), (leg, "legs", color), (paw, "paws", look.paw)]


def run(canvas: Canvas, rng: Rng, look: Look) -> None:
    """Running at full stretch, off the ground."""
    deep = 0.34 * look.depth
    reach = 0.16 * look.gait
    wag = 0.06 * look.wag
    coat, shade = look.coat, darker(look.coat, 0.22)
    tails = {
        "elephant": [[-0.56, -0.1], [-0.76, -0.2], [-0.92, -0.12 + wag]],
        "dog": [[-0.54, -0.1], [-0.78, -0.26], [-0.92, -0.5 + wag]],
    }
    streaming = [[-0.54, -0.1], [-0.78, -0.12], [-0.92, -0.32], [-0.9 + wag, -0.56], [-1.02, -0.74]]
    with canvas.placed(0.02 - look.build.ahead, 0.2, 0.96, -0.12):
        tail(canvas, look, tails.get(look.kind, streaming))
        far = _striding(look, (-0.42, 0.04), 2.25 + reach, shade) + _striding(look, (0.4, 0.06), 0.62 - reach, shade)
        canvas.group(far)
        outline = path("-64,-10 -50,-82 -10,-86 28,-102 56,-70 60,20 34,72 -8,42 -42,50 -62,34")
        outline = curve(outline * [1, deep])
        near = _striding(look, (-0.46, 0.02), 2.6 + reach, coat) + _striding(look, (0.4, 0.1), 0.28 - reach, coat)
        canvas.group([(outline, "body", coat), *near])
        canvas.shape(outline, "body", coat, ink=False)
        with canvas.surface(outline, "body"):
            coat_pattern(canvas, rng, look, (-0.56, -0.82 * deep, 0.5, 0.42 * deep))
            canvas.tint(ellipse(0, 0.7 * deep, 0.5, 0.13), lighter(look.coat, 0.5), 0.6, 0.04)
            canvas.fur(rng, (-0.6, -deep, 0.5, 0.4 * deep), darker(look.coat, 0.3), 7, angle=0.3)
        leg_spots(canvas, rng, look, near)
        with canvas.placed(0.56, -1.2 * deep, 0.84 * look.head_size, look.tilt + 0.12):
            draw_head(canvas, rng, look)


def _striding(look: Look, root: Sequence[float], angle: float, color: Color) -> list[Shape]:
    """A leg thrown out from its root at an angle (radians, clockwise from the right), bent a little, and its paw."""
    if look.kind == "elephant":
        angle = 0.5 * (angle + math.pi / 2)  # an elephant never leaps
    half = 0.095 * look.build.limb
    length = 0.3 + 0.85 * look.leg
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]]) * (1 if along[0] < 0 else -1) * -0.06
    spine = np.array([root, root + 0.5 * length * along + across, root + length * along])
    x, y = spine[-1] + 0.04 * along
    paw = ellipse(x, y, 1.15 * half, 0.95 * half, angle, n=20)
    return [(tube(spine, 2.6 * half, 1.6 * half), "legs", color), (paw, "paws", look.paw)]


def tail(canvas: Canvas, look: Look, spine: Sequence[Sequence[float]] | Points) -> None:
    """A tail along the spine: long and ringed, tapering, or a thin one with a tuft, after the kind of animal."""
    widths = {"cat": (0.14, 0.11), "dog": (0.16, 0.07), "cheetah": (0.13, 0.11), "elephant": (0.08, 0.045)}
    start, end = widths[look.kind]
    outline = tube(spine, start, end)
    if look.kind == "elephant":
        x, y = spine[-1]
        canvas.shape(ellipse(x, y + 0.03, 0.05, 0.08, n=14), "tail", darker(look.coat, 0.55))
    canvas.shape(outline, "tail", look.coat)
    if look.pattern not in ("tabby", "cheetah"):
        return
    middle = curve(spine, False, 4)
    with canvas.surface(outline, "tail"):
        for i in range(len(middle) // 2, len(middle) - 1, 3):
            along = middle[i + 1] - middle[i - 1]
            across = np.array([-along[1], along[0]]) / math.hypot(*along) * start
            canvas.line([middle[i] - across, middle[i] + across], "markings", look.marking, 0.055)


def toes(canvas: Canvas, look: Look, x: float, y: float, half: float) -> None:
    """Lines between the toes, or an elephant's nails, on a paw at (x, y)."""
    for t in (-0.5, 0.0, 0.5):
        if look.kind == "elephant":
            nail = ellipse(x + 1.2 * t * half, y + 0.045, 0.26 * half, 0.03, n=10)
            canvas.mark(nail, "paws", lighter(look.coat, 0.7) if np.mean(look.coat) < 0.78 else darker(look.coat, 0.25))
        else:
            canvas.line([[x + t * half, y + 0.01], [x + t * half, y + 0.06]], "paws", look.seam, 0.016)


def coat_pattern(canvas: Canvas, rng: Rng, look: Look, box: Box) -> None:
    """Markings on the coat inside box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    if look.pattern == "tabby":
        for x in np.linspace(x0, x1, 7)[1:-1]:
            stripe = [[x - 0.04, y0 - 0.1], [x + 0.05, y0 - 0.1], [x + 0.02 + 0.05 * look.side, y0 + 0.48 * (y1 - y0)]]
            canvas.mark(curve(stripe, True, 4), "markings", look.marking)
    elif look.pattern == "cheetah":
        canvas.spots(rng, box, look.marking, 0.042, 26)
    elif look.pattern == "spots":
        canvas.spots(rng, box, look.marking, 0.065, 9)
    elif look.pattern == "patches":
        for size in (0.25, 0.18):
            x, y, turn = rng.uniform((x0, y0, 0), (x1, y1, 3))
            canvas.mark(ellipse(x, y, size, 0.85 * size, turn), "markings", look.marking)


def leg_spots(canvas: Canvas, rng: Rng, look: Look, legs: Sequence[Shape], n: int = 4) -> None:
    """A cheetah's spots on the upper parts of its legs."""
    if look.pattern != "cheetah":
        return
    for outline, part, _ in legs:
        if part == "legs":
            (x0, y0), (x1, y1) = outline.min(axis=0), outline.max(axis=0)
            with canvas.surface(outline, part):
                canvas.spots(rng, (x0, y0 + 0.1, x1, y0 + 0.8 * (y1 - y0)), look.marking, 0.038, n)


_POSES = {"sit": sit, "walk": walk, "head": portrait, "lie": lie, "run": run}
POSES = tuple(_POSES)
