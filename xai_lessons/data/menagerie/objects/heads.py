"""The four faces, looking at the reader, each in its own frame: center (0, 0), about half a unit in radius."""

import math

import numpy as np

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse, mirror, path, symmetric, tube
from ..palette import INK, PINK, WHITE, Color, Rng, darker, lighter, mix, rgb
from .looks import Look

SIDES = (-1, 1)


def draw_head(canvas: Canvas, rng: Rng, look: Look, asleep: bool = False) -> None:
    """Draw the collar and the head of an animal, turned to the reader: center (0, 0), radius about 0.5."""
    collar(canvas, look)
    HEADS[look.kind](canvas, rng, look, asleep)


def collar(canvas: Canvas, look: Look) -> None:
    """A band under the chin, with a bell."""
    if look.collar is None:
        return
    band = path("-34,20 0,38 34,20 37,32 20,47 0,52 -20,47 -37,32")
    outline, bell = curve(band, True, 5), [0, 0.53]
    if look.kind == "elephant":  # lower and wider, and the bell aside: there is a trunk in front
        outline, bell = outline * [1.25, 1.1] + [0, 0.06], [-0.25 * np.sign(look.trunk_side), 0.6]
    canvas.shape(outline, "collar", look.collar, flat=True, width=0.7)
    canvas.shape(ellipse(bell[0], bell[1], 0.07, 0.07, n=14), "collar", rgb(244, 204, 84), width=0.7)


def round_eye(canvas: Canvas, x: float, y: float, radius: float, look: Look, slit: bool = False) -> None:
    """A white, an iris, a pupil and a gleam; it looks where the head is turned."""
    dx, dy = 0.3 * radius * look.yaw, 0.3 * radius * look.gaze
    pupil = (0.3, 0.74) if slit else (0.54, 0.58)
    canvas.shape(ellipse(x, y, radius, radius * 1.08), "eyes", WHITE, flat=True, width=0.8)
    canvas.mark(ellipse(x + dx, y + dy, radius * 0.8, radius * 0.84, n=20), "eyes", look.iris)
    canvas.mark(ellipse(x + dx, y + dy, radius * pupil[0], radius * pupil[1], n=16), "eyes", INK)
    _gleam(canvas, x - 0.24 * radius + dx * 0.6, y - 0.3 * radius, 0.24 * radius)


def button_eye(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """A dark round eye with a gleam."""
    canvas.mark(ellipse(x, y, radius, radius * 1.15, n=20), "eyes", INK)
    _gleam(canvas, x - 0.3 * radius, y - 0.4 * radius, 0.36 * radius)


def closed_eye(canvas: Canvas, x: float, y: float, radius: float, look: Look) -> None:
    """A lid: an arc that hangs down."""
    lid = [[x - radius, y], [x - 0.5 * radius, y + 0.5 * radius], [x + 0.5 * radius, y + 0.5 * radius], [x + radius, y]]
    canvas.line(curve(lid, False, 4), "eyes", _line_on(look.coat), 0.034)


def eyebrow(canvas: Canvas, x: float, y: float, side: int, look: Look, width: float = 0.025) -> None:
    """A short arc over an eye."""
    slope = 0.01 + 0.012 * look.brow
    brow = [[x + side * 0.07, y + 0.03 + slope], [x, y], [x - side * 0.07, y + 0.02 - slope]]
    canvas.line(curve(brow, False, 4), "eyes", _line_on(look.coat), width)


def _gleam(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.mark(ellipse(x, y, radius, radius, n=8), "eyes", WHITE)


def _line_on(coat: Color) -> Color:
    """A color that is seen on the coat."""
    return darker(coat, 0.75) if np.mean(coat) > 0.38 else lighter(coat, 0.6)


def _smile(canvas: Canvas, x: float, y: float, color: Color, reach: float = 0.12) -> None:
    """The mouth under a nose: two arcs that hang from one point."""
    right = path("0,-4.5 14,1.2 42,4 75,3 100,-0.5") * [reach, 1]
    arcs = np.vstack([mirror(right), right[1:]]) + [x, y]
    canvas.line(curve(arcs, False, 4), "mouth", color, 0.024)


def cat_head(canvas: Canvas, rng: Rng, look: Look, asleep: bool) -> None:
    """Pointed ears, slanting eyes, a small nose and whiskers."""
    turn = 0.07 * look.yaw
    tip_y = -0.68 * look.ear_size
    for side in SIDES:
        tip = [side * 0.44 + 0.4 * turn, tip_y]
        inner = [[side * 0.31, -0.55], [side * 0.06, -0.34], [side * 0.2, -0.1]]
        ear = [[side * 0.48, -0.05], [side * 0.50, -0.34], tip, *inner]
        inside = [[side * 0.425, -0.26], [side * 0.43, 0.88 * tip_y], [side * 0.17, -0.33]]
        canvas.shape(np.array(ear), "ears", look.coat)
        canvas.shape(np.array(inside), "ears", mix(PINK, look.coat, 0.2), ink=False)
    skull = symmetric(path("0,-40 22,-38.5 42,-22 50,2 42,24 20,36 0,38.5"))
    canvas.shape(skull, "head", look.coat)
    with canvas.surface(skull, "head"):
        _cat_markings(canvas, look, turn)
        pale = lighter(look.coat, 0.72 if look.pale_muzzle else 0.3)
        for side in SIDES:
            canvas.mark(ellipse(turn * 1.3 + side * 0.1, 0.235, 0.135, 0.115, n=20), "muzzle", pale, 0.95)
        canvas.mark(ellipse(turn * 1.3, 0.32, 0.09, 0.08, n=14), "muzzle", pale, 0.95)
    for side in SIDES:
        x = side * 0.205 + turn
        if asleep:
            closed_eye(canvas, x, -0.03, 0.105, look)
        else:
            round_eye(canvas, x, -0.05, 0.118, look, slit=look.slit_pupils)
    x = 1.4 * turn
    nose = curve([[x - 0.06, 0.105], [x + 0.06, 0.105], [x, 0.175]], True, 4)
    canvas.shape(nose, "nose", rgb(214, 112, 116), width=0.5)
    _smile(canvas, x, 0.235, INK)
    _whiskers(canvas, look, turn)


def _cat_markings(canvas: Canvas, look: Look, turn: float) -> None:
    if look.pattern == "tabby":
        for x in (-0.13, 0, 0.13):
            stripe = [[x - 0.045 + turn, -0.46], [x + 0.045 + turn, -0.46], [0.65 * x + turn, -0.16]]
            canvas.mark(curve(stripe, True, 4), "markings", look.marking)
        for side in SIDES:
            for y in (-0.03, 0.1):
                stripe = [[side * 0.56, y - 0.035], [side * 0.56, y + 0.05], [side * 0.35, y + 0.03]]
                canvas.mark(curve(stripe, True, 4), "markings", look.marking)
    elif look.pattern == "patches":
        canvas.mark(ellipse(0.27 * look.side, -0.17, 0.27, 0.3), "markings", look.marking)
    elif look.pattern == "points":
        canvas.mark(ellipse(turn, 0.05, 0.33, 0.3), "markings", look.marking, 0.4)
        canvas.mark(ellipse(turn, 0.08, 0.24, 0.27), "markings", look.marking, 0.4)


def _whiskers(canvas: Canvas, look: Look, turn: float) -> None:
    color = WHITE if look.pale_whiskers else darker(look.coat, 0.6)
    for side in SIDES:
        for y, rise in ((0.15, -0.10), (0.21, 0.02), (0.27, 0.13)):
            end = y + rise + look.whisker_droop
            hair = [[turn + side * 0.17, y], [turn + side * 0.43, y + 0.35 * rise - 0.025], [turn + side * 0.70, end]]
            canvas.line(curve(hair, False, 4), "whiskers", color, 0.018)


def dog_head(canvas: Canvas, rng: Rng, look: Look, asleep: bool) -> None:
    """Hanging or folded ears, a large muzzle with a broad nose, a tongue."""
    coat = look.coat
    turn = 0.1 * look.yaw
    skull = symmetric(path("0,-42 22,-40 36,-25 38.5,0 33,22 19,37 0,41"))
    canvas.shape(skull, "head", coat)
    with canvas.surface(skull, "head"):
        if look.pattern == "patches":
            canvas.mark(ellipse(0.2 * look.side, -0.12, 0.23, 0.27), "markings", look.marking)
        elif look.pattern == "spots":
            canvas.spots(rng, (-0.36, -0.38, 0.36, 0.08), look.marking, 0.042, 6)
        if look.blaze:
            blaze = [[turn - 0.05, -0.46], [turn + 0.05, -0.46], [turn + 0.09, 0.1], [turn - 0.09, 0.1]]
            canvas.mark(curve(blaze, True, 5), "markings", lighter(coat, 0.72), 0.95)
    muzzle = symmetric(path("0,-3 13,2 23.5,16 22.5,30 10,38.5 0,39.5")) + [turn, 0]
    if look.tongue and not asleep:
        x = turn
        tongue = [[x - 0.075, 0.30], [x + 0.075, 0.30], [x + 0.08, 0.46], [x, 0.54], [x - 0.08, 0.46]]
        canvas.shape(curve(tongue, True, 5), "tongue", rgb(232, 112, 120), width=0.7)
        canvas.line([[x, 0.38], [x, 0.48]], "tongue", rgb(188, 78, 92), 0.018)
    canvas.shape(muzzle, "muzzle", lighter(coat, 0.66 if look.pale_muzzle else 0.14), width=0.7)
    canvas.line([[turn, 0.12], [turn, 0.26]], "mouth", INK, 0.022)
    _smile(canvas, turn, 0.275, INK, reach=0.155)
    nose = symmetric(path("0,-1.5 9,1 11.5,7 5.5,14.5 0,16")) + [1.15 * turn, 0]
    canvas.mark(nose, "nose", INK)
    canvas.mark(ellipse(1.15 * turn - 0.035, 0.035, 0.035, 0.02, n=8), "nose", rgb(160, 150, 158))
    for side in SIDES:
        x = side * 0.17 + 0.5 * turn
        if asleep:
            closed_eye(canvas, x, -0.09, 0.085, look)
        else:
            canvas.mark(ellipse(x, -0.1, 0.094, 0.105, n=20), "eyes", lighter(coat, 0.75))
            button_eye(canvas, x, -0.1, 0.076)
        eyebrow(canvas, x, -0.27, side, look)
    ears = darker(coat, 0.3) if look.dark_ears else look.marking if look.pattern != "plain" else lighter(coat, 0.25)
    for side in SIDES:
        canvas.shape(_dog_ear(side, look) + [0.3 * turn, 0], "ears", ears)


def _dog_ear(side: int, look: Look) -> Points:
    if look.floppy:
        long = 0.34 * look.ear_size + 0.04
        outer = [[0.18, -0.41], [0.42, -0.39], [0.58, -0.1], [0.61, long - 0.1]]
        inner = [[0.5, long], [0.38, long - 0.14], [0.32, -0.1]]
    else:
        outer = [[0.10, -0.36], [0.22, -0.57], [0.42, -0.63], [0.52, -0.45]]
        inner = [[0.66, -0.24], [0.54, -0.14], [0.34, -0.2]]
    return curve(np.array(outer + inner) * [side, 1], True, 5)


def cheetah_head(canvas: Canvas, rng: Rng, look: Look, asleep: bool) -> None:
    """Small round ears, spots, and the black tear lines from the eyes to the mouth."""
    coat, marking = look.coat, look.marking
    turn = 0.07 * look.yaw
    for side in SIDES:
        canvas.shape(ellipse(side * 0.34, -0.32, 0.15 * look.ear_size, 0.16 * look.ear_size), "ears", coat)
        canvas.shape(ellipse(side * 0.345, -0.31, 0.08, 0.09, n=18), "ears", darker(coat, 0.55), ink=False)
    skull = symmetric(path("0,-41 22,-38 40,-20 43.5,2 35,24 18,37 0,40"))
    canvas.shape(skull, "head", coat)
    pale = lighter(coat, 0.68)
    with canvas.surface(skull, "head"):
        canvas.spots(rng, (-0.36, -0.40, 0.36, -0.22), marking, 0.032, 9)
        canvas.spots(rng, (-0.43, -0.04, -0.29, 0.24), marking, 0.028, 4)
        canvas.spots(rng, (0.29, -0.04, 0.43, 0.24), marking, 0.028, 4)
        for side in SIDES:
            canvas.mark(ellipse(side * 0.18 + turn, -0.08, 0.135, 0.125, n=20), "head", pale, 0.55)
            canvas.mark(ellipse(side * 0.1 + 1.3 * turn, 0.245, 0.145, 0.125, n=20), "muzzle", pale, 0.95)
        canvas.mark(ellipse(1.3 * turn, 0.33, 0.12, 0.09, n=16), "muzzle", pale, 0.95)
    for side in SIDES:
        x = side * 0.18 + turn
        tear = np.array([[0.1, -0.05], [0.105, 0.08], [0.165, 0.17], [0.2, 0.29]]) * [side, 1] + [1.1 * turn, 0]
        canvas.line(curve(tear, False, 5), "tear lines", INK, 0.048)
        if asleep:
            closed_eye(canvas, x, -0.07, 0.09, look)
        else:
            round_eye(canvas, x, -0.09, 0.095, look)
    x = 1.4 * turn
    nose = [[x - 0.085, 0.085], [x + 0.085, 0.085], [x + 0.03, 0.17], [x - 0.03, 0.17]]
    canvas.mark(curve(nose, True, 4), "nose", INK)
    _smile(canvas, x, 0.245, INK, reach=0.09)


def elephant_head(canvas: Canvas, rng: Rng, look: Look, asleep: bool) -> None:
    """Large fan-shaped ears and a long trunk, often tusks."""
    coat = look.coat
    turn = 0.08 * look.yaw
    upper = [[0.18, -0.30], [0.42, -0.46], [0.76, -0.38], [0.88, -0.04]]
    lower = [[0.74, 0.28], [0.5, 0.40], [0.36, 0.24], [0.2, 0.12]]
    for side in SIDES:
        outline = np.array(upper + lower) * [side * look.ear_spread, look.ear_spread]
        canvas.shape(curve(outline, True, 5), "ears", darker(coat, 0.06))
        canvas.shape(curve(outline * 0.74 + [side * 0.13, -0.01], True, 5), "ears", mix(PINK, coat, 0.45), ink=False)
    skull = symmetric(path("0,-43 20,-41 36,-24 37,2 27,22 14,34 0,36"))
    spine = _trunk_spine(look, turn)
    trunk = tube(spine, 0.27, 0.13)
    canvas.group([(skull, "head", coat), (trunk, "trunk", coat)])
    if look.tusks:
        for side in SIDES:
            tusk = tube([[side * 0.13 + turn, 0.2], [side * 0.22 + turn, 0.38], [side * 0.34 + turn, 0.47]], 0.11, 0.03)
            canvas.shape(tusk, "tusks", rgb(250, 244, 226), width=0.8)
    canvas.shape(trunk, "trunk", coat, ink=False)
    with canvas.surface(skull, "head"):
        canvas.tint(ellipse(turn, -0.1, 0.2, 0.1, n=16), coat, 0.9, 0.05)  # the trunk grows out of the face
    _trunk_lines(canvas, look, spine)
    for side in SIDES:
        x = side * 0.21 + 0.6 * turn
        if asleep:
            closed_eye(canvas, x, -0.06, 0.07, look)
        else:
            canvas.mark(ellipse(x, -0.06, 0.074, 0.08, n=18), "eyes", lighter(coat, 0.6))
            button_eye(canvas, x, -0.06, 0.056)
        eyebrow(canvas, x, -0.17, side, look, 0.02)


def _trunk_spine(look: Look, turn: float) -> Points:
    """The middle of a trunk, from between the eyes to the tip: hanging, curled or raised to one side."""
    reach, lift = look.trunk_side, look.trunk_lift
    below = [[0, -0.1], [0, 0.28], [0.04 * reach, 0.52], [(0.14 + 0.06 * lift) * reach, 0.70 - 0.18 * lift]]
    tip = [[(0.34 + 0.08 * lift) * reach, 0.72 - 0.36 * lift], [(0.42 + 0.1 * lift) * reach, 0.62 - 0.54 * lift]]
    return np.array(below + tip) + [turn, 0]


def _trunk_lines(canvas: Canvas, look: Look, spine: Points) -> None:
    """The sides of the trunk in the face, and the wrinkles across it."""
    for side in SIDES:
        edge = [[spine[0, 0] + side * x, y] for x, y in ((0.137, 0.02), (0.128, 0.18), (0.118, 0.36))]
        canvas.line(curve(edge, False, 4), "trunk", look.seam, 0.024)
    middle = curve(spine, False, 4)
    for i in range(6, len(middle) - 3, 3):
        along = middle[i + 1] - middle[i - 1]
        along /= math.hypot(*along)
        across = np.array([-along[1], along[0]]) * 0.1 * (1 - 0.5 * i / len(middle))
        canvas.line([middle[i] - across, middle[i] + 0.03 * along, middle[i] + across], "trunk", look.seam, 0.018, 0.8)


HEADS = {"cat": cat_head, "dog": dog_head, "cheetah": cheetah_head, "elephant": elephant_head}
