"""Contact sheets: many pictures in one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .palette import BRIGHT, mix
from .scene import Scene


def contact_sheet(scenes: Sequence[Scene], columns: int = 8, gap: int = 4, masks: bool = False) -> Image.Image:
    """Put pictures of one size in rows on one sheet.

    Args:
        scenes: the pictures, row by row.
        columns: pictures in a row.
        gap: pixels between them.
        masks: put below each its masks, a color a part or element.

    Returns:
        The sheet, RGB.
    """
    if not scenes:
        raise ValueError("no scenes: expected at least one")
    tiles = [Image.fromarray(scene.pixels[0]) for scene in scenes]
    if masks:
        tiles = [_stacked(tile, mask_picture(scene), gap) for tile, scene in zip(tiles, scenes, strict=True)]
    rows = -(-len(tiles) // columns)
    (w, h), c = tiles[0].size, min(columns, len(tiles))
    sheet = Image.new("RGB", (c * (w + gap) + gap, rows * (h + gap) + gap), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (gap + i % columns * (w + gap), gap + i // columns * (h + gap)))
    return sheet


def mask_picture(scene: Scene) -> Image.Image:
    """Paint every part and element of a picture in a color of its own, the background in light gray."""
    _, owners, parts = scene.pixels
    codes = parts.astype(int) + 40 * owners.astype(int)
    picture = np.full((*owners.shape, 3), 0.93)
    for k, code in enumerate(np.unique(codes[owners > 0])):
        picture[codes == code] = mix(BRIGHT[k % len(BRIGHT)], np.ones(3), 0.25 * (k // len(BRIGHT) % 3))
    return Image.fromarray((255 * picture).astype(np.uint8))


def _stacked(top: Image.Image, bottom: Image.Image, gap: int) -> Image.Image:
    both = Image.new("RGB", (top.width, top.height + gap + bottom.height), "white")
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height + gap))
    return both
