"""Real pictures: files, uploads, folders and scikit-image's samples, opened safely and brought to RGB in [0, 1]."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from xai_lessons.data import picture_files
from xai_lessons.data.picture_files import MAX_PIXELS as MAX_PIXELS
from xai_lessons.data.picture_files import Refused

MAX_BYTES = 50_000_000
MAX_SLOW_BYTES = 5_000_000  # of the few forms that Pillow decodes in Python, byte by byte
SLOW = ("ppm", "ppm_plain", "bmp_rle")
SAMPLES = ("chelsea", "coffee", "rocket", "astronaut", "camera", "coins", "moon", "horse")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".hdr")
UPRIGHT = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))  # EXIF's orientation -> Pillow's Transpose


def load(source: str | os.PathLike[str] | bytes) -> Tensor:
    """Load a picture of any common format as it would be seen: upright, on white, in RGB.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        (3, H, W), float32 in [0, 1], of the picture's own size; `model.prepare` makes it fit a network.

    Raises:
        ValueError: in one sentence, if it is not a picture, damaged, or too large.
        TypeError: if it is neither a path nor bytes.
    """
    return to_tensor(open_picture(source))


def to_tensor(picture: Image.Image) -> Tensor:
    """An RGB Pillow picture as (3, H, W), float32 in [0, 1]."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.uint8))
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).contiguous().div_(255)


def open_picture(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """Open a picture as an RGB Pillow picture: first frame, EXIF rotation done, transparency on white.

    JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, ICO, AVIF and Radiance HDR are read, by what is in the file and not by its
    name. 16-bit values count to 65,535. Floating-point values count to 1, or to the largest if it is more; Radiance's
    light is exposed so that 0.5 % of it is white. Color profiles are left aside, as in the training of the networks.

    Args:
        source: a path, or the bytes of a file of at most 50 MB and 50 million pixels.

    Returns:
        The picture in mode RGB.

    Raises:
        ValueError: in one sentence, if it is not a picture, damaged, or too large.
        TypeError: if it is neither a path nor bytes.
    """
    content, name = _content(source)
    try:
        with _quiet():
            return _opened(content)
    except Refused as error:
        reason = str(error)
    except Image.DecompressionBombError:
        reason = "would unpack to far too many pixels: make it smaller first"
    except UnidentifiedImageError:
        reason = "is damaged: its beginning cannot be read; take another copy"
    except MemoryError:
        reason = "does not fit into the memory that is left: make it smaller first"
    except Exception as error:  # decoders raise many kinds; for the student they all mean the same
        reason = f"is damaged: {_first_line(error)}; take another copy"
    del content  # an error that is kept, as Jupyter keeps the last one, must not keep the file
    raise ValueError(f"{name} {reason}")


def folder(path: str | os.PathLike[str]) -> dict[str, Path]:
    """The pictures of a folder by their names, as the explorers' `photographs=` takes them; none is opened yet.

    Args:
        path: the folder; its subfolders and hidden files are left aside.

    Returns:
        File name without its ending -> path, in the order of the names; two that differ by the ending alone keep it.

    Raises:
        ValueError: if there is no such folder, or no picture in it.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}: check the path")
    files = sorted(file for file in root.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in files if file.suffix.lower() in ENDINGS]
    if not found:
        raise ValueError(f"{root} has no pictures: expected files that end in {', '.join(ENDINGS)}")
    stems = [file.stem for file in found]
    return {file.name if stems.count(file.stem) > 1 else file.stem: file for file in found}


def sample(name: str = "chelsea") -> Tensor:
    """One of the photographs that come with scikit-image: no download.

    Args:
        name: one of `SAMPLES`.

    Returns:
        (3, H, W), float32 in [0, 1].

    Raises:
        ValueError: if there is no such sample.
    """
    from skimage import data

    if name not in SAMPLES:
        raise ValueError(f"there is no sample photograph {name!r}: there are {', '.join(SAMPLES)}")
    return to_tensor(Image.fromarray(getattr(data, name)()).convert("RGB"))


def _content(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """What is in the file, and what to call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        name = "the upload"
        _check_bytes(memoryview(source).nbytes, name)
        return bytes(source), name
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a {type(source).__name__} came as picture; expected a path, or the bytes of a file")
    path = Path(os.fsdecode(source))
    name = path.name or str(path)
    try:
        path = path.expanduser()
        if path.is_file():
            _check_bytes(path.stat().st_size, name)
            return path.read_bytes(), name
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name[:80]} cannot be read: {_first_line(error)}") from None
    if is_folder:
        raise ValueError(f"{path} is a folder: photos.folder lists the pictures in it")
    raise ValueError(f"there is no file {path}: check the path")


def _check_bytes(size: int, name: str) -> None:
    """Refuse what is empty or too long, before it is read."""
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}: make it smaller first")
    if not size:
        raise ValueError(f"{name} is empty: it has 0 bytes; take another copy")


def _opened(content: bytes) -> Image.Image:
    """The picture in a file; every size is looked at before there is room made for it."""
    kind = picture_files.kind(content)
    content, exif = picture_files.checked(content, kind)
    if kind == "HDR":
        return _exposed(picture_files.radiance(content))
    if kind == "TIFF" and (colors := picture_files.float_tiff(content)) is not None:
        return _turned(_scaled(colors), picture_files.orientation(content))
    if kind not in Image.OPEN:
        Image.init()  # Pillow brings its readers when they are first needed
    if kind not in Image.OPEN:
        raise Refused(f"is {kind}, which this Pillow does not read: save it as PNG")
    with Image.open(BytesIO(content), formats=[kind]) as picture:
        picture_files.check_size(*picture.size)
        if len(content) > MAX_SLOW_BYTES and picture.tile and picture.tile[0][0] in SLOW:
            raise Refused(f"is {kind} in a form that takes too long to unpack: save it as PNG")
        picture.load()
        if kind != "TIFF":  # which Pillow turns itself
            exif = exif or picture.info.get("exif") or b""
        return _turned(_rgb(picture), picture_files.orientation(exif))


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Upright, and without the file's metadata."""
    if orientation in UPRIGHT:
        picture = picture.transpose(Image.Transpose(UPRIGHT[orientation]))
    picture.info.clear()
    return picture


def _rgb(picture: Image.Image) -> Image.Image:
    """Any mode of Pillow's in RGB, what is transparent on white."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _deep(picture)
    if picture.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
        return white
    return picture.convert("RGB")


def _deep(picture: Image.Image) -> Image.Image:
    """Gray of more than 8 bits, by what its format says is white."""
    values = np.array(picture, dtype=np.float32)
    tags = getattr(picture, "tag_v2", {})
    if picture.mode == "F":
        return _scaled(values)
    if picture.mode == "I":  # only here the format does not say: the least usual depth that holds it
        largest = float(values.max())
        top = 65535 if picture.format == "PPM" else next((t for t in (255, 65535) if largest <= t), largest)
    else:
        top = 2 ** tags.get(258, (16,))[0] - 1
        if tags.get(262) == 0:  # white is zero
            np.subtract(top, values, out=values)
        clear = picture.info.get("transparency")
        if isinstance(clear, int):
            values[values == clear] = top
    return _eight_bits(values / top)


def _scaled(values: np.ndarray) -> Image.Image:
    """Floating-point values: 1 is white, or the largest if it is more; what is not a number is black."""
    finite = np.isfinite(values)
    top = max(1.0, float(values.max(where=finite, initial=0)))
    values[~finite & (values > 0)] = top
    values[np.isnan(values)] = 0
    return _eight_bits(values / top)


def _exposed(light: np.ndarray) -> Image.Image:
    """Light, as a camera would show it: 0.5 % of the picture is white, and the rest in sRGB's steps."""
    white = float(np.percentile(light.max(axis=2), 99.5)) or 1.0
    light = (light / white).clip(0, 1)
    return _eight_bits(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def _eight_bits(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255 + 0.5).astype(np.uint8)).convert("RGB")


def _first_line(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\b"), 0)
_opening = 0
_lock = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings from the student while pictures are opened, in however many threads.

    `warnings.catch_warnings` puts back the whole list of filters: of two threads that overlap, one could leave its own
    for good. Here one filter comes with the first thread and goes with the last.
    """
    global _opening
    filters: list = warnings.filters  # type: ignore[assignment]
    with _lock:
        if not _opening:
            filters.insert(0, _PILLOW)
        _opening += 1
    try:
        yield
    finally:
        with _lock:
            _opening -= 1
            if not _opening:
                now: list = warnings.filters  # type: ignore[assignment]
                for these in (filters, now):
                    if _PILLOW in these:
                        these.remove(_PILLOW)
