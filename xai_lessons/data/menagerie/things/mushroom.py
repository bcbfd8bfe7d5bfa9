"""The mushroom: domed, flat, bell-shaped, a young button, a funnel, a pair and a cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..canvas import Canvas
from ..geometry import Points, curve, ellipse
from ..palette import BRIGHT, WHITE, Color, darker, jitter, lighter, mix, pick, rgb

PARTS = ("stem", "ring", "gills", "cap", "spots")

STEMS = (rgb(246, 236, 214), rgb(228, 206, 170), rgb(214, 196, 186))
FORMS = {"dome": (0.64, 0.78), "flat": (0.4, 0.9), "bell": (0.86, 0.6)}  # height and half-width of the cap
CLUSTER = ((0.1, 0.02, 0.88, 0.05), (-0.52, 0.36, 0.58, -0.2), (0.6, 0.46, 0.48, 0.24), (-0.08, 0.6, 0.36, -0.04))


@dataclass(frozen=True)
class Look:
    """What the mushrooms of one picture look like, whatever the pose."""

    cap: Color
    stem: Color
    spots: Color
    spotted: bool
    ringed: bool
    width: float
    thick: float
    lean: float
    side: int
    tilt: float
    form: str
    scatter: np.ndarray  # (9, 3): x, y in the cap's own measure, radius


def _look(rng: np.random.Generator, color: Color | None) -> Look:
    drawn = jitter(rng, pick(rng, BRIGHT), hue=0.03, saturation=0.08, value=0.06)
    cap = drawn if color is None else color
    rows = np.array([[-0.62, 0.14], [-0.2, 0.2], [0.22, 0.12], [0.64, 0.2], [-0.44, 0.5], [0.02, 0.52], [0.46, 0.5],
        [-0.2, 0.82], [0.24, 0.84]])  # fmt: skip
    scatter = np.column_stack([rows + rng.uniform(-0.07, 0.07, rows.shape), rng.uniform(0.06, 0.11, len(rows))])
    return Look(
        cap=cap,
        stem=jitter(rng, pick(rng, STEMS), hue=0.01, saturation=0.04, value=0.04),
        spots=WHITE if np.mean(cap) < 0.7 else darker(cap, 0.4),
        spotted=rng.random() < 0.75,
        ringed=rng.random() < 0.7,
        width=rng.uniform(0.94, 1.06),
        thick=rng.uniform(0.85, 1.15),
        lean=rng.uniform(-0.1, 0.1),
        side=1 if rng.random() < 0.5 else -1,
        tilt=rng.uniform(-1, 1),
        form=tuple(FORMS)[rng.integers(len(FORMS))],
        scatter=scatter,
    )


def mushroom(canvas: Canvas, rng: np.random.Generator, pose: str, *, color: Color | None = None) -> None:
    """Draw a mushroom, or some; `color` is that of the caps, else one of the bright colors."""
    _POSES[pose](canvas, _look(rng, color))


def _dome(canvas: Canvas, look: Look) -> None:
    _upright(canvas, look, "dome")


def _flat(canvas: Canvas, look: Look) -> None:
    _upright(canvas, look, "flat")


def _bell(canvas: Canvas, look: Look) -> None:
    _upright(canvas, look, "bell")


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
        stem = curve([[-0.3, -0.1], [0.3, -0.1], [0.36, 0.4], [0.46, 0.76], [0.2, 0.9], [-0.2, 0.9], [-0.46, 0.76],
            [-0.36, 0.4]])  # fmt: skip
        _stem(canvas, look, stem, 0.28)
        if look.ringed:
            skirt = curve([[-0.34, 0.26], [0.34, 0.26], [0.4, 0.4], [0, 0.42], [-0.4, 0.4]])
            canvas.shape(skirt, "ring", lighter(look.stem, 0.3))
        w = 0.68 * look.width
        cap = curve([[-w * 0.8, 0.18], [-w, -0.14], [-w * 0.86, -0.56], [-w * 0.42, -0.84], [0, -0.9],
            [w * 0.42, -0.84], [w * 0.86, -0.56], [w, -0.14], [w * 0.8, 0.18], [w * 0.4, 0.26], [0, 0.28],
            [-w * 0.4, 0.26]])  # fmt: skip
        _cap(canvas, look, cap, w, top=-0.9, bottom=0.2)


def _funnel(canvas: Canvas, look: Look) -> None:
    """A chanterelle: the cap turned up, its gills running down the stem."""
    with canvas.placed(0, 0.02, 0.98, rotation=0.1 * look.tilt):
        w = 0.8 * look.width
        stem = curve([[-0.2, -0.45], [0.2, -0.45], [0.17, 0.4], [0.24, 0.84], [0, 0.92], [-0.24, 0.84], [-0.17, 0.4]])
        _stem(canvas, look, stem, 0.13)
        gills = curve([[-w * 0.97, -0.5], [0, -0.4], [w * 0.97, -0.5], [w * 0.62, -0.12], [0.24, 0.2], [0, 0.28],
            [-0.24, 0.2], [-w * 0.62, -0.12]])  # fmt: skip
        canvas.shape(gills, "gills", mix(look.stem, look.cap, 0.35))
        for t in np.linspace(-0.8, 0.8, 7):
            rib = [[t * w, -0.42 - 0.02 * t * t], [t * w * 0.66, -0.1], [t * 0.28, 0.2]]
            canvas.line(curve(rib, closed=False), "gills", darker(look.stem, 0.4), width=0.022)
        rim = curve([[-w, -0.5], [-w * 0.84, -0.66], [-w * 0.4, -0.72], [0, -0.76], [w * 0.42, -0.7],
            [w * 0.86, -0.68], [w, -0.5], [w * 0.7, -0.38], [w * 0.3, -0.4], [0, -0.33], [-w * 0.34, -0.41],
            [-w * 0.72, -0.37]])  # fmt: skip
        canvas.shape(rim, "cap", look.cap)
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
    gills = ellipse(0, y + 0.02, w * 0.93, 0.19)
    canvas.shape(gills, "gills", mix(look.stem, darker(look.cap, 0.3), 0.25))
    for t in np.linspace(-0.86, 0.86, 9):
        canvas.line(
            [[t * 0.25, y + 0.03], [t * w * 0.9, y + 0.02 + 0.17 * np.sqrt(1 - t * t)]],
            "gills",
            darker(look.stem, 0.35),
            width=0.02,
        )
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
        canvas.line(
            [[x * half + look.lean * 0.8, start], [x * half + look.lean, end]],
            "stem",
            darker(look.stem, 0.25),
            width=0.022,
            alpha=0.7,
        )


def _cap(canvas: Canvas, look: Look, outline: Points, half: float, top: float, bottom: float) -> None:
    canvas.shape(outline, "cap", look.cap)
    if "cap" in canvas.hidden:
        return
    with canvas.clipped(outline):
        canvas.mark(
            ellipse(-half * 0.42, top + (bottom - top) * 0.28, half * 0.26, (bottom - top) * 0.1, rotation=-0.5),
            "cap",
            WHITE,
            alpha=0.25,
        )
        if look.spotted:
            flat = min(1.3 * (bottom - top), 0.9)
            for x, y, radius in look.scatter:
                room = 1 - 0.35 * y**2  # the rows towards the top are shorter
                canvas.mark(
                    ellipse(x * half * room, bottom - y * (bottom - top), radius, radius * flat, n=16),
                    "spots",
                    look.spots,
                )


_POSES = {
    "dome": _dome,
    "flat": _flat,
    "bell": _bell,
    "button": _button,
    "funnel": _funnel,
    "pair": _pair,
    "cluster": _cluster,
}
POSES = tuple(_POSES)
