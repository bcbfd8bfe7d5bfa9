"""Valid files of every format and form, and what breaks them: for the tests of photographs and for the fuzz.

`corpus()` gives name -> bytes, `mutated` a broken copy, `verdict` what became of a file: "opened", "refused" (one
sentence), or, said in words, what should not have happened.
"""

from __future__ import annotations

import io
import random
import struct
from functools import lru_cache

import numpy as np
from PIL import Image

from xai_lessons.data import photos

WIDTH, HEIGHT = 40, 24
LONGEST = 400  # characters of a sentence that a student reads


def colors() -> np.ndarray:
    """uint8 (H, W, 3): a smooth image that is the same neither upside down nor mirrored."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), 255 - x * 200 // WIDTH], -1).astype(np.uint8)


def rgb() -> Image.Image:
    return Image.fromarray(colors())


def gray() -> Image.Image:
    return Image.fromarray(colors()[..., 0])


def gray16() -> np.ndarray:
    return np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)


def with_alpha(mode: str) -> Image.Image:
    """Left half clear, right half there."""
    alpha = Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] >= WIDTH // 2).astype(np.uint8) * 255)
    image = rgb() if mode == "RGBA" else gray()
    image.putalpha(alpha)
    return image


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def tiff(tags: dict[int, tuple[str, tuple[int, ...]]], data: bytes, order: str = "<") -> bytes:
    """A TIFF by hand: its one strip begins at byte 8, then its directory; `tags` gives type letter and values."""
    kinds = {"H": 3, "I": 4}
    body = data + b"\0" * (len(data) % 2)
    tail, entries = b"", []
    start = 8 + len(body)
    after = start + 2 + 12 * len(tags) + 4
    for tag, (letter, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            value = struct.pack(order + "I", after + len(tail))
            tail += packed
        else:
            value = packed.ljust(4, b"\0")
        entries.append(struct.pack(order + "HHI", tag, kinds[letter], len(values)) + value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + body + struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4) + tail


def array_tiff(values: np.ndarray, sample_format: int = 1, photometric: int | None = None, order: str = "<") -> bytes:
    """An uncompressed TIFF of an array (H, W) or (H, W, 3) of any type."""
    height, width, *rest = values.shape
    samples = rest[0] if rest else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (values.dtype.itemsize * 8,) * samples),
        259: ("H", (1,)),
        262: ("H", ((2 if samples == 3 else 1) if photometric is None else photometric,)),
        273: ("I", (8,)),
        277: ("H", (samples,)),
        278: ("I", (height,)),
        279: ("I", (len(data),)),
        339: ("H", (sample_format,) * samples),
    }
    return tiff(tags, data, order)


def png16() -> bytes:
    """A PNG of 16-bit colors, which Pillow reads but does not write."""
    import zlib

    values = (colors().astype(">u2") * 257).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@lru_cache(maxsize=1)
def corpus() -> dict[str, bytes]:
    """Valid files, name -> bytes."""
    frames = [rgb().convert("P"), gray().convert("P")]
    color, deep = rgb(), Image.fromarray(gray16())
    palette = color.quantize(16)
    return {
        "jpeg": saved(color, "JPEG", quality=90),
        "jpeg-progressive": saved(color, "JPEG", quality=90, progressive=True),
        "jpeg-gray": saved(gray(), "JPEG"),
        "jpeg-cmyk": saved(color.convert("CMYK"), "JPEG", quality=95),
        "jpeg-exif": saved(color, "JPEG", exif=turned_exif(6), comment=b"a comment"),
        "mpo": saved(color, "MPO", save_all=True, append_images=[gray().convert("RGB")]),
        "png": saved(color, "PNG"),
        "png-1-bit": saved(gray().convert("1"), "PNG"),
        "png-palette": saved(palette, "PNG"),
        "png-palette-clear": saved(palette, "PNG", transparency=0),
        "png-rgba": saved(with_alpha("RGBA"), "PNG"),
        "png-la": saved(with_alpha("LA"), "PNG"),
        "png-gray-16": saved(deep, "PNG"),
        "png-rgb-16": png16(),
        "png-rgb-clear": saved(color, "PNG", transparency=(0, 0, 255)),
        "png-exif": saved(color, "PNG", exif=turned_exif(8)),
        "apng": saved(color, "PNG", save_all=True, append_images=[gray().convert("RGB")]),
        "webp": saved(color, "WEBP", quality=90),
        "webp-lossless": saved(with_alpha("RGBA"), "WEBP", lossless=True),
        "webp-animated": saved(color, "WEBP", save_all=True, append_images=[gray().convert("RGB")]),
        "gif": saved(palette, "GIF"),
        "gif-animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "bmp": saved(color, "BMP"),
        "bmp-palette": saved(palette, "BMP"),
        "tiff": saved(color, "TIFF"),
        "tiff-lzw": saved(color, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": saved(color, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": saved(color, "TIFF", compression="jpeg"),
        "tiff-packbits": saved(palette, "TIFF", compression="packbits"),
        "tiff-g4": saved(gray().convert("1"), "TIFF", compression="group4"),
        "tiff-cmyk": saved(color.convert("CMYK"), "TIFF"),
        "tiff-lab": saved(Image.merge("LAB", gray().convert("RGB").split()), "TIFF"),
        "tiff-gray-16": saved(deep, "TIFF"),
        "tiff-rgb-16": array_tiff(colors().astype(np.uint16) * 257, order=">"),
        "tiff-gray-float": saved(Image.fromarray(gray16().astype(np.float32) / 65535), "TIFF"),
    }


def mutated(content: bytes, dice: random.Random) -> bytes:
    """A broken copy: bytes changed, bits flipped, numbers made huge, parts cut, repeated or taken from another file."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        at = dice.randrange(min(len(data), dice.choice((64, 512, len(data)))))  # headers more often than the rest
        length = dice.choice((1, 2, 4, 16, 200))
        how = dice.randrange(9)
        if how == 0:
            data[at] = dice.randrange(256)
        elif how == 1:
            data[at] ^= 1 << dice.randrange(8)
        elif how == 2:
            data[at : at + 4] = dice.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\1\0\0", b"\xff\x7f")
            )
        elif how == 3:
            data = data[:at]
        elif how == 4:
            del data[at : at + length]
        elif how == 5:
            data[at:at] = dice.randbytes(length)
        elif how == 6:
            data[at:at] = data[at : at + length] * dice.choice((1, 3, 50))
        elif how == 7:
            other = dice.choice(list(corpus().values()))
            data[at:] = other[dice.randrange(len(other)) :]
        else:
            data[at : at + length] = bytes(dice.choice((0, 255)) for _ in data[at : at + length])
    return bytes(data)


def verdict(content: bytes) -> str:
    """What became of a file: "opened", "refused", or what should not have happened."""
    try:
        image = photos.open_image(content)
    except ValueError as error:
        said = str(error)
        if "\n" in said or len(said) > LONGEST or not said.startswith("the upload ") or not said.isprintable():
            return f"not one clear sentence: {said!r}"
        return "kept the file in its error" if error.__context__ else "refused"
    except Exception as error:
        return f"{type(error).__name__} came out: {error}"
    if image.mode != "RGB" or image.width * image.height > photos.MAX_PIXELS:
        return f"{image.mode} of {image.size} came out"
    return "opened"
