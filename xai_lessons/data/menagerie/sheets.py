"""Contact sheets: many images in one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .palette import BRIGHT, mix
from .scene import Scene


def contact_sheet(scenes: Sequence[Scene], columns: int = 8, gap: int = 4, masks: bool = False) -> Image.Image:
    """Put images of one size in rows on one sheet.

    Args:
        scenes: the images, row by row.
        columns: images in a row.
        gap: pixels between them.
        masks: put below each its masks, a color a part or element.

    Returns:
        The sheet, RGB.

    Example:
        >>> from xai_lessons import menagerie
        >>> contact_sheet([menagerie.draw("cat", seed) for seed in range(4)], columns=2).size
        (204, 204)
    """
    if not scenes:
        raise ValueError("no scenes: expected at least one")
    tiles = [Image.fromarray(scene.pixels[0]) for scene in scenes]
    if masks:
        tiles = [_stacked(tile, mask_image(scene), gap) for tile, scene in zip(tiles, scenes, strict=True)]
    rows = -(-len(tiles) // columns)
    (w, h), c = tiles[0].size, min(columns, len(tiles))
    sheet = Image.new("RGB", (c * (w + gap) + gap, rows * (h + gap) + gap), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (gap + i % columns * (w + gap), gap + i // columns * (h + gap)))
    return sheet


def mask_image(scene: Scene) -> Image.Image:
    """Paint every part and element of an image in a color of its own, the background in light gray.

    Args:
        scene: the scene.

    Returns:
        An RGB image of its size.

    Example:
        >>> from xai_lessons import menagerie
        >>> mask_image(menagerie.draw("cat", seed=3)).size
        (96, 96)
    """
    _, owners, parts = scene.pixels
    codes = parts.astype(int) + 40 * owners.astype(int)
    image = np.full((*owners.shape, 3), 0.93)
    for k, code in enumerate(np.unique(codes[owners > 0])):
        image[codes == code] = mix(BRIGHT[k % len(BRIGHT)], np.ones(3), 0.25 * (k // len(BRIGHT) % 3))
    return Image.fromarray((255 * image).astype(np.uint8))


def _stacked(top: Image.Image, bottom: Image.Image, gap: int) -> Image.Image:
    both = Image.new("RGB", (top.width, top.height + gap + bottom.height), "white")
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height + gap))
    return both
