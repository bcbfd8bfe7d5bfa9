"""Images as uint8 arrays (H, W, 3): resized, framed, in rows, and as bytes for `ipywidgets.Image`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xai_lessons.plots.text import INK, PALETTE, fit, fitting

CRISP = 40  # the lowest quality of a JPEG at which text is still easy to read


def pixels(image: Any) -> np.ndarray:
    """The image as uint8 (H, W, 3), from a tensor or array in [0, 1] (3, H, W), (H, W, 3), (H, W), or uint8.

    Args:
        image: the image; values outside [0, 1] are clipped.

    Returns:
        An array uint8 (H, W, 3).

    Raises:
        ValueError: if it has another shape, or values that are not finite.

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> plots.pixels(menagerie.draw("cat", seed=3).image).shape
        (96, 96, 3)
    """
    tensor = hasattr(image, "detach")
    array = image.detach().cpu().float().numpy() if tensor else np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    elif array.ndim == 3 and array.shape[0] in (1, 3) and (tensor or array.shape[2] not in (1, 3)):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"an image must have the shape (3, H, W), (H, W, 3) or (H, W), got {np.shape(image)}")
    if array.dtype == np.uint8:
        return array
    if array.dtype != bool and not np.isfinite(array).all():
        raise ValueError("the image must be finite, got NaN or infinite values")
    return (np.clip(array.astype(np.float32), 0, 1) * 255 + 0.5).astype(np.uint8)


def enlarge(image: Any, size: int, smooth: bool = False) -> np.ndarray:
    """The image with `size` pixels along its longer side; hard-edged pixels, or smooth ones.

    Args:
        image: as `pixels` takes it.
        size: in pixels; it may be smaller than the image.
        smooth: whether to interpolate between the pixels; done anyway where the image becomes smaller.

    Returns:
        An array uint8 (H, W, 3).

    Example:
        >>> import torch
        >>> from xai_lessons import plots
        >>> plots.enlarge(torch.zeros(3, 10, 20), 40).shape
        (20, 40, 3)
    """
    array = pixels(image)
    height, width = array.shape[:2]
    wide, high = max(1, round(width * size / max(height, width))), max(1, round(height * size / max(height, width)))
    if (wide, high) == (width, height):
        return array
    how = Image.Resampling.BICUBIC if smooth or size < max(height, width) else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(array).resize((wide, high), how))


def box(image: Any, corners: Sequence[float], color: str = "#FFFFFF", width: int = 3) -> np.ndarray:
    """The image with a frame drawn at `corners` (x0, y0, x1, y1) in pixels, dark-edged so that it shows anywhere.

    Args:
        image: as `pixels` takes it.
        corners: (x0, y0, x1, y1) in pixels.
        color: of the frame.
        width: of the frame, in pixels.

    Returns:
        An array uint8 (H, W, 3).

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.box(image, (10, 10, 60, 80)).shape
        (96, 96, 3)
    """
    canvas = Image.fromarray(pixels(image))
    draw, (x0, y0, x1, y1) = ImageDraw.Draw(canvas), corners
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="#000000", width=width + 2)
    draw.rectangle((x0, y0, x1, y1), outline=color, width=width)
    return np.asarray(canvas)


def grid(
    images: Sequence[Any],
    titles: Sequence[str] = (),
    columns: int | None = None,
    size: int = 192,
    gap: int = 10,
    paper: str = "white",
) -> np.ndarray:
    """The images in rows, each resized to `size` pixels, its title above.

    Args:
        images: each as `pixels` takes it.
        titles: one above each image.
        columns: images per row; six, or all if there are fewer.
        size: of each, in pixels along its longer side.
        gap: between them, in pixels.
        paper: the color between them.

    Returns:
        The sheet, uint8 (H, W, 3).

    Raises:
        ValueError: if there are no images.

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.grid([image, image], ["one", "two"], size=64, gap=4).shape
        (96, 140, 3)
    """
    if not len(images):
        raise ValueError("expected at least one image, got none")
    columns = min(len(images), columns or 6)
    rows, head, face = -(-len(images) // columns), 24 if titles else 0, fitting(titles, size, (14, 13, 12))
    sheet = Image.new("RGB", (columns * (size + gap) + gap, rows * (size + head + gap) + gap), paper)
    draw = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        x, y = gap + (i % columns) * (size + gap), gap + (i // columns) * (size + head + gap)
        tile = enlarge(image, size)
        sheet.paste(Image.fromarray(tile), (x + (size - tile.shape[1]) // 2, y + head))
        if i < len(titles):
            draw.text((x + size / 2, y + head / 2), fit(titles[i], face, size), INK, face, anchor="mm")
    return np.asarray(sheet)


def wall(
    images: Sequence[Any], labels: Sequence[str], right: Sequence[bool] = (), columns: int = 6, size: int = 96
) -> np.ndarray:
    """The images side by side, each with its label below: white on blue if that is right, on orange if it is wrong.

    Drawn at twice the size, to look sharp.

    Args:
        images: each as `pixels` takes it, square.
        labels: one below each image.
        right: whether each label is right; gray where that is not said.
        columns: images per row.
        size: of each, in screen pixels.

    Returns:
        The sheet, uint8 (H, 2 * columns * size, 3).

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.wall([image, image], ["cat", "dog"], [True, False], columns=2, size=64).shape
        (168, 256, 3)
    """
    size, rows, foot = 2 * size, -(-len(images) // columns), 40
    face = fitting([f"✓ {label}" for label in labels], size - 8, (28, 26, 24, 22))
    sheet = Image.new("RGB", (columns * size, rows * (size + foot)), PALETTE[6])
    draw = ImageDraw.Draw(sheet)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        x, y = i % columns * size, i // columns * (size + foot)
        sheet.paste(Image.fromarray(enlarge(image, size, smooth=True)), (x, y))
        if i < len(right):
            draw.rectangle((x, y + size, x + size - 1, y + size + foot - 1), PALETTE[0 if right[i] else 1])
            label = f"{'✓' if right[i] else '✗'} {label}"
        draw.text((x + size / 2, y + size + foot / 2), fit(label, face, size - 8), "white", face, anchor="mm")
    return np.asarray(sheet)


def jpeg(image: Any, quality: int = 90, most: int | None = None) -> bytes:
    """The image as JPEG: a millisecond, for photographs, drawings and maps.

    Args:
        image: as `pixels` takes it.
        quality: 1 to 95.
        most: the largest size in bytes; kept by a lower quality, then by fewer pixels.

    Returns:
        The bytes of the file.

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.jpeg(image)[6:10]
        b'JFIF'
    """
    canvas = Image.fromarray(pixels(image))
    while True:
        stream = io.BytesIO()
        canvas.save(stream, "JPEG", quality=quality, subsampling=0)
        if most is None or stream.tell() <= most or min(canvas.size) <= 16:
            return stream.getvalue()
        if quality > CRISP:
            quality = max(quality - 5, CRISP)
        else:
            scale = min(0.95, (most / stream.tell()) ** 0.5)
            canvas = canvas.resize((int(canvas.width * scale), int(canvas.height * scale)), Image.Resampling.LANCZOS)


def png(image: Any, level: int = 1) -> bytes:
    """The image as PNG: exact, for charts and hard-edged pixels.

    Args:
        image: as `pixels` takes it.
        level: of compression, 0 to 9.

    Returns:
        The bytes of the file.

    Example:
        >>> from xai_lessons import menagerie, plots
        >>> image = menagerie.draw("cat", seed=3).image
        >>> plots.png(image)[1:4]
        b'PNG'
    """
    stream = io.BytesIO()
    Image.fromarray(pixels(image)).save(stream, "PNG", compress_level=level)
    return stream.getvalue()


def few_colors(image: Image.Image) -> Image.Image:
    """The image in 256 colors, which are found in a part of its pixels if it has many: 20 times faster, as close.

    Args:
        image: of Pillow, RGB.

    Returns:
        An image of Pillow with a palette.

    Example:
        >>> from PIL import Image
        >>> few_colors(Image.new("RGB", (8, 8), "red")).mode
        'P'
    """
    sample = image
    if image.getcolors(4096) is None:
        scale = min(1.0, (30_000 / (image.width * image.height)) ** 0.5)
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        sample = image.resize(size, Image.Resampling.NEAREST)
    palette = sample.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few = image.quantize(256, palette=palette, dither=Image.Dither.NONE)
    white = few.palette.colors.get((255, 255, 255)) if few.palette else None
    if white is not None:  # Pillow takes a color that is nearly the closest: a white page must stay white
        few.paste(white, mask=Image.fromarray((np.asarray(image) == 255).all(axis=2)))
    return few
