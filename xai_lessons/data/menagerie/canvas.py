"""The canvas: color, drawn three times as large and averaged down, and beside it the exact identity of every pixel.

Identity says which element (the object, the tree, a tag ...) and which of its parts a pixel belongs to. It is drawn at
the final size without smoothing, so that masks are exact. Points are in the frame set by `placed`; the whole image
is (0, 0) to (1, 1), y down.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .palette import INK, Color, Rng, darker, lighter, rgb

INK_STYLES = ("dark", "ink", "soft", "none")
_OVERSAMPLING = 3  # the colors are drawn so many times larger
_TILE = 16  # the lighting of a shape is worked out on this many squared points, and smoothed
_THINNEST = 0.0045  # of the image's width: thinner lines would vanish
_NOWHERE = ((50.0, 50.0), (50.1, 50.0), (50.0, 50.1))  # outside every image
_Box = tuple[int, int, int, int]
_Draw = Callable[[ImageDraw.ImageDraw, tuple[float, float], float, Any], None]


class Canvas:
    """A square image of size pixels, and who is where in it.

    Args:
        size: side in pixels.
        ink: style of the contours, one of INK_STYLES.
        ink_width: width of a contour in units of the object (about 0.03).
        light: angle of the light in radians, clockwise from the right (-pi/2: from above).
        shade: strength of light and shade on a surface, 0 (flat) to 1.5.
    """

    def __init__(
        self, size: int, ink: str = "dark", ink_width: float = 0.03, light: float = -2.2, shade: float = 1.0
    ) -> None:
        self.size, self.fine = size, size * _OVERSAMPLING
        self.ink, self.ink_width, self.shade = ink, ink_width, shade
        self.hidden: frozenset[str] = frozenset()
        self.parts: list[str] = [""]
        self.elements: list[str] = [""]
        self._element = 0
        self._matrix, self._scale = np.eye(3), 1.0
        self._clips: list[tuple[Image.Image, Image.Image]] = []
        self._colors = Image.new("RGB", (self.fine, self.fine))
        self._ids = Image.new("I", (size, size))
        self._draw, self._draw_ids = ImageDraw.Draw(self._colors), ImageDraw.Draw(self._ids)
        self._lit = _lit_tile(light)

    def shape(
        self, points: ArrayLike, part: str | None, color: ArrayLike, *,
        ink: bool = True, flat: bool = False, width: float = 1.0, alpha: float = 1.0
    ) -> None:  # fmt: skip
        """Fill an outline with a softly lit color, and draw a contour of `width` times the ink's width around it."""
        if part in self.hidden:
            return
        q = self._to_image(points)
        if ink:
            self._contour(q, part, color, width, alpha)
        self._paint(_filled(q), q, 0, color, alpha, lit=not flat)
        self._identify(_filled(q), q, 0, part)

    def group(self, items: Sequence[tuple[ArrayLike, str | None, ArrayLike]]) -> None:
        """Draw shapes (points, part, color), all contours first: limbs grow out of a body."""
        shown = [(self._to_image(points), part, color) for points, part, color in items if part not in self.hidden]
        for q, part, color in shown:
            self._contour(q, part, color, 1.0, 1.0)
        for q, part, color in shown:
            self._paint(_filled(q), q, 0, color, 1.0, lit=True)
            self._identify(_filled(q), q, 0, part)

    def line(
        self, points: ArrayLike, part: str | None, color: ArrayLike, width: float = 0.03, alpha: float = 1.0
    ) -> None:
        """Draw a line with round ends; with part None it is color only."""
        if part in self.hidden:
            return
        q = self._to_image(points)
        w = max(width * self._scale, _THINNEST)
        self._paint(_stroked(q, w), q, w, color, alpha)
        self._identify(_stroked(q, w), q, w, part)

    def mark(self, points: ArrayLike, part: str | None, color: ArrayLike, alpha: float = 1.0) -> None:
        """Draw a marking on a surface: color and the part's identity, without contour or lighting."""
        self.shape(points, part, color, ink=False, flat=True, alpha=alpha)

    def tint(self, points: ArrayLike, color: ArrayLike, alpha: float = 1.0, blur: float = 0.0) -> None:
        """Draw color only, no identity; blur is the standard deviation of a soft edge."""
        q = self._to_image(points)
        if blur:
            self._paint_blurred(q, color, alpha, blur * self._scale)
        else:
            self._paint(_filled(q), q, 0, color, alpha)

    def fur(self, rng: Rng, box: Sequence[float], color: ArrayLike, n: int, angle: float = 1.5) -> None:
        """Scatter n short hairs over box (x0, y0, x1, y1), about in the direction angle; color only."""
        starts = rng.uniform(box[:2], box[2:], (n, 2))
        angles = angle + rng.uniform(-0.35, 0.35, n)
        ends = starts + 0.09 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.strokes(np.stack([starts, ends], axis=1), color, 0.018, 0.5)

    def strokes(self, lines: ArrayLike, color: ArrayLike, width: float, alpha: float = 1.0) -> None:
        """Draw many lines (m, n, 2) of one color at once; color only."""
        q = self._to_image(lines)
        w = max(width * self._scale, _THINNEST)
        self._paint(_stroked(q, w), q.reshape(-1, 2), w, color, alpha)

    def many(self, outlines: ArrayLike, part: str | None, color: ArrayLike) -> None:
        """Fill many small outlines (m, n, 2) of one color at once, without contour or lighting."""
        if part in self.hidden:
            return
        q = self._to_image(outlines)
        self._paint(_filled(q), q.reshape(-1, 2), 0, color, 1.0)
        self._identify(_filled(q), q.reshape(-1, 2), 0, part)

    def spots(self, rng: Rng, box: Sequence[float], color: ArrayLike, radius: float, n: int) -> None:
        """Scatter up to n round spots, the part "markings", over box (x0, y0, x1, y1), none touching another."""
        centers: list[list[float]] = []
        apart = (2.3 * radius) ** 2
        for x, y in rng.uniform(box[:2], box[2:], (6 * n, 2)).tolist():  # floats: 20 times faster than arrays of two
            if len(centers) < n and all((x - a) * (x - a) + (y - b) * (y - b) > apart for a, b in centers):
                centers.append([x, y])
        t = np.linspace(0, 2 * math.pi, 10, endpoint=False)
        size, squash, turn = rng.uniform((0.65, 0.7, 0), (1.35, 1.1, 3), (n, 3))[: len(centers), :, None].swapaxes(0, 1)
        u, v = radius * size * np.cos(t), radius * size * squash * np.sin(t)
        c, s = np.cos(turn), np.sin(turn)
        rings = np.stack([c * u - s * v, s * u + c * v], axis=2)
        if centers:
            self.many(np.array(centers)[:, None, :] + rings, "markings", color)

    @contextmanager
    def clipped(self, points: ArrayLike) -> Iterator[None]:
        """Restrict color and identity to the inside of an outline."""
        q = self._to_image(points)
        fine, coarse = Image.new("L", self._colors.size), Image.new("L", self._ids.size)
        _filled(q)(ImageDraw.Draw(fine), (0, 0), self.fine, 255)
        _filled(q)(ImageDraw.Draw(coarse), (0, 0), self.size, 255)
        if self._clips:
            fine, coarse = (ImageChops.darker(a, b) for a, b in zip((fine, coarse), self._clips[-1], strict=True))
        self._clips.append((fine, coarse))
        try:
            yield
        finally:
            self._clips.pop()

    def surface(self, points: ArrayLike, part: str) -> AbstractContextManager[None]:
        """Restrict color and identity to the outline of a part, and to nothing where the part is hidden."""
        return self.clipped(_NOWHERE if part in self.hidden else points)

    @contextmanager
    def placed(
        self, x: float = 0, y: float = 0, scale: float = 1, rotation: float = 0, flip: bool = False
    ) -> Iterator[None]:
        """Draw in a frame whose origin is at (x, y), scaled, turned (radians, clockwise) and mirrored left to right."""
        before = self._matrix, self._scale
        c, s, f = scale * math.cos(rotation), scale * math.sin(rotation), -1 if flip else 1
        self._matrix = before[0] @ np.array([[c * f, -s, x], [s * f, c, y], [0, 0, 1]])
        self._scale = math.sqrt(abs(float(np.linalg.det(self._matrix[:2, :2]))))
        try:
            yield
        finally:
            self._matrix, self._scale = before

    @contextmanager
    def element(self, name: str, hidden: frozenset[str] = frozenset()) -> Iterator[None]:
        """Give everything that is drawn inside to the element of this name, leaving out its hidden parts."""
        self.elements.append(name)
        before, self._element, self.hidden = (self._element, self.hidden), len(self.elements) - 1, hidden
        try:
            yield
        finally:
            self._element, self.hidden = before

    def gradient(self, points: ArrayLike, top: ArrayLike, bottom: ArrayLike, y0: float = 0, y1: float = 1) -> None:
        """Fill an outline with a color that runs from top (at height y0) to bottom (at height y1); color only."""
        q = self._to_image(points)
        box = self._box(q * self.fine, 0, self.fine)
        if box is None:
            return
        y = (np.linspace(box[1], box[3], 32) / self.fine - y0) / (y1 - y0)
        t = np.clip(y, 0, 1)[:, None, None]
        column = _bytes(np.asarray(top, float) * (1 - t) + np.asarray(bottom, float) * t)
        source = Image.fromarray(column).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
        self._colors.paste(source, box[:2], self._mask(_filled(q), box, 0, 1.0))

    def colors(self) -> NDArray[np.float32]:
        """Return the image so far, (size, size, 3) in [0, 1]."""
        small = self._colors.resize(self._ids.size, Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float32) / np.float32(255)

    def identity(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return for each pixel the index of its element and that of its part, (size, size) each; 0 is none."""
        ids = np.asarray(self._ids, dtype=np.int32)
        return ids // 256, ids % 256

    def _to_image(self, points: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(points, dtype=float) @ self._matrix[:2, :2].T + self._matrix[:2, 2]

    def _contour(self, q: NDArray[np.float64], part: str | None, color: ArrayLike, width: float, alpha: float) -> None:
        if self.ink == "none":
            return
        w = 2 * width * self.ink_width * self._scale
        closed = np.vstack([q, q[:1]])
        self._paint(_stroked(closed, w), q, w, self._ink_color(color), alpha)
        self._identify(_stroked(closed, w), q, w, part)

    def _ink_color(self, color: ArrayLike) -> Color:
        if self.ink == "ink":
            return INK + rgb(10, 6, 2)
        return darker(color, 0.62 if self.ink == "dark" else 0.35)

    def _paint(
        self, draw: _Draw, q: NDArray[np.float64], width: float, color: ArrayLike, alpha: float, lit: bool = False
    ) -> None:
        if alpha >= 1 and not self._clips and not lit:
            draw(self._draw, (0, 0), self.fine, _byte_color(color))
            return
        box = self._box(q * self.fine, width * self.fine, self.fine)
        if box is None:
            return
        mask = self._mask(draw, box, 0, alpha)
        if lit and self.shade > 0:
            self._colors.paste(self._lit_source(q * self.fine, box, color), box[:2], mask)
        else:
            self._colors.paste(_byte_color(color), box, mask)

    def _paint_blurred(self, q: NDArray[np.float64], color: ArrayLike, alpha: float, blur: float) -> None:
        box = self._box(q * self.fine, 6 * blur * self.fine, self.fine)
        if box is None:
            return
        shrink = max(1.0, blur * self.fine / 2)  # a blurred outline needs no fine pixels
        size = (max(1, round((box[2] - box[0]) / shrink)), max(1, round((box[3] - box[1]) / shrink)))
        mask = Image.new("L", size)
        moved = (q * self.fine - box[:2]) / (box[2] - box[0], box[3] - box[1]) * size
        _filled(moved)(ImageDraw.Draw(mask), (0, 0), 1.0, round(255 * alpha))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * self.fine / shrink))
        mask = mask.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
        if self._clips:
            mask = ImageChops.multiply(mask, self._clips[-1][0].crop(box))
        self._colors.paste(_byte_color(color), box, mask)

    def _identify(self, draw: _Draw, q: NDArray[np.float64], width: float, part: str | None) -> None:
        if part is None or not self._element:
            return
        if part not in self.parts:
            self.parts.append(part)
        code = self._element * 256 + self.parts.index(part)
        if not self._clips:
            draw(self._draw_ids, (0, 0), self.size, code)
            return
        box = self._box(q * self.size, width * self.size, self.size)
        if box is not None:
            self._ids.paste(code, box, self._mask(draw, box, 1, 1.0))

    def _mask(self, draw: _Draw, box: _Box, level: int, alpha: float) -> Image.Image:
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        draw(ImageDraw.Draw(mask), box[:2], (self.fine, self.size)[level], round(255 * min(max(alpha, 0), 1)))
        return ImageChops.multiply(mask, self._clips[-1][level].crop(box)) if self._clips else mask

    @staticmethod
    def _box(q: NDArray[np.float64], width: float, side: int) -> _Box | None:
        """Bound the points, with a margin for the line's width; None if nothing of it is in the image."""
        (x0, y0), (x1, y1) = q.min(axis=0) - width / 2, q.max(axis=0) + width / 2
        box = (max(int(x0) - 1, 0), max(int(y0) - 1, 0), min(int(x1) + 2, side), min(int(y1) + 2, side))
        return box if box[2] > box[0] and box[3] > box[1] else None

    def _lit_source(self, q: NDArray[np.float64], box: _Box, color: ArrayLike) -> Image.Image:
        """Color box with light and shade, as on a ball that would just hold the outline."""
        low, high = q.min(axis=0), q.max(axis=0)
        extent = max(float((high - low).max()), 1.0)
        corner = (low + high - extent) / 2
        tones = np.stack([lighter(color, 0.30 * self.shade), color, darker(color, 0.34 * self.shade)])
        tile = Image.fromarray(_bytes(self._lit @ tones))
        x0, y0 = ((np.array(box[:2]) - corner) / extent * _TILE).clip(0, _TILE - 0.5)
        x1, y1 = ((np.array(box[2:]) - corner) / extent * _TILE).clip((x0 + 0.5, y0 + 0.5), _TILE)
        size = (box[2] - box[0], box[3] - box[1])
        return tile.resize(size, Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))


def _lit_tile(light: float) -> NDArray[np.float64]:
    """Weigh the light, middle and dark tone over a ball lit from the angle light: (tile, tile, 3)."""
    u = (np.arange(_TILE) + 0.5) / _TILE - 0.5
    distance = np.hypot(u[None, :] - 0.32 * math.cos(light), u[:, None] - 0.32 * math.sin(light)) / 0.85
    t = 2 * np.clip(distance, 0, 1)
    return np.stack([np.clip(1 - t, 0, 1), 1 - np.abs(t - 1), np.clip(t - 1, 0, 1)], axis=2)


def _bytes(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (np.clip(colors, 0, 1) * 255 + 0.5).astype(np.uint8)


def _byte_color(color: ArrayLike) -> tuple[int, int, int]:
    r, g, b = (int(min(max(float(v), 0.0), 1.0) * 255 + 0.5) for v in np.asarray(color))
    return r, g, b


def _filled(q: NDArray[np.float64]) -> _Draw:
    def draw(to: ImageDraw.ImageDraw, offset: tuple[float, float], side: float, ink: Any) -> None:
        for outline in (q[None] if q.ndim == 2 else q) * side - offset:
            to.polygon(outline.ravel().tolist(), fill=ink)

    return draw


def _stroked(lines: NDArray[np.float64], width: float) -> _Draw:
    """Draw lines, (n, 2) or (m, n, 2), of a width in widths of the image, with round ends and corners."""
    lines = lines[None] if lines.ndim == 2 else lines

    def draw(to: ImageDraw.ImageDraw, offset: tuple[float, float], side: float, ink: Any) -> None:
        w = max(1, round(width * side))
        for line in lines * side - offset:
            to.line(line.ravel().tolist(), fill=ink, width=w)
        if w >= 3:
            r = (w - 1) / 2
            for x, y in (lines[_turns(lines) * r > 0.9] * side - offset).tolist():  # elsewhere the gap is under a pixel
                to.ellipse((x - r, y - r, x + r, y + r), fill=ink)

    return draw


def _turns(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by what angle lines (m, n, 2) turn at each point (m, n), 0 to pi; ends count as pi."""
    steps = np.diff(lines, axis=1)
    turns = np.full(lines.shape[:2], math.pi)
    turns[:, 1:-1] = np.diff(np.arctan2(steps[..., 1], steps[..., 0]), axis=1)
    return np.abs((turns + math.pi + 1e-9) % (2 * math.pi) - math.pi)
