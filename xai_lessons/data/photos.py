"""Photographs: open files, uploads, folders and scikit-image's samples safely, as RGB in [0, 1]."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python shows what Pillow logs
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
SAMPLES = ("chelsea", "coffee", "rocket", "astronaut", "camera", "coins", "moon", "horse")
MAX_BYTES = 50_000_000
MAX_PIXELS = 50_000_000
MAX_SIDE = 32_767
MAX_SCANNED = 1_000_000_000  # pixels times scans of a progressive JPEG: each scan is a pass over all pixels
MAX_TIFF_HEADER = 1_000_000  # bytes; each strip that it lists takes Pillow 250 bytes and time
MAX_RLE_BYTES = 5_000_000  # Pillow decodes a run-length BMP in Python, byte by byte

_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBP|BM|II[*+]\0|MM\0[*+]", re.DOTALL)
_OTHER_KINDS = {
    rb".{4}ftyp": "a HEIC or AVIF file",
    rb"%PDF": "a PDF",
    rb"(?i)\s*<(!doctype )?html": "a web page",
    rb"(?i)\s*<(\?xml|svg)": "an SVG drawing",
    rb"PK\x03\x04|\x1f\x8b|Rar!": "an archive",
}
_TRANSPOSE = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))  # EXIF orientation -> Image.Transpose


def load(source: str | os.PathLike[str] | bytes) -> Tensor:
    """Load an image file as it would be seen: upright, on white, in RGB.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        (3, H, W), float32 in [0, 1], of the image's own size; `model.prepare` makes it fit a network.

    Raises:
        ValueError: in one sentence, if it is not an image, damaged, or too large.
        TypeError: if it is neither a path nor bytes.

    Example:
        >>> from skimage import data
        >>> load(f"{data.data_dir}/chelsea.png").shape
        torch.Size([3, 300, 451])
    """
    return _tensor(open_image(source))


def open_image(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """Open an image file with Pillow: first frame, EXIF orientation applied, transparency on white.

    JPEG, PNG, WebP, GIF, BMP and TIFF are read, by the content of the file and not by its name. 16-bit values count to
    65,535, floating-point values to 1, or to the largest if it is more. Color profiles are ignored, as in the training
    of the networks.

    Args:
        source: a path, or the bytes of a file of at most 50 MB and 50 million pixels.

    Returns:
        The image in mode RGB.

    Raises:
        ValueError: in one sentence, if it is not an image, damaged, or too large.
        TypeError: if it is neither a path nor bytes.

    Example:
        >>> from skimage import data
        >>> open_image(f"{data.data_dir}/coffee.png").size
        (600, 400)
    """
    content, name = _read(source)
    try:
        return _decode(content)
    except _Refused as error:
        reason = str(error)
    except Image.DecompressionBombError:
        reason = f"has far more than {MAX_PIXELS // 1_000_000} million pixels: make it smaller first"
    except MemoryError:
        reason = "needs more memory than there is: make it smaller first"
    except Exception as error:  # decoders raise many kinds; for the student they all mean the same
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({_first_line(error)})"
        reason = f"is damaged or of a kind that is not read{said}: take another copy, or save it as PNG"
    del content  # an error that is kept, as Jupyter keeps the last one, must not keep the file
    raise ValueError(f"{name} {reason}")


def ending(content: bytes) -> str:
    """The usual ending of an image file's name, known by its content and not by its name.

    Args:
        content: the bytes of a file.

    Returns:
        One of `ENDINGS`.

    Raises:
        ValueError: in one sentence, if it is not an image, damaged, or too large.

    Example:
        >>> from skimage import data
        >>> ending((Path(data.data_dir) / "coffee.png").read_bytes())
        '.png'
    """
    open_image(content)
    starts = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif", b"BM": ".bmp"}
    return starts.get(content[:2], ".tif")


def folder(path: str | os.PathLike[str]) -> dict[str, Path]:
    """List the image files of a folder by name, as the explorers' `photographs=` takes them; none is opened yet.

    Args:
        path: the folder; its subfolders and hidden files are ignored.

    Returns:
        File name without its ending -> path, sorted by name; two files that differ only in the ending keep it.

    Raises:
        ValueError: if there is no such folder, or no image in it.

    Example:
        >>> from skimage import data
        >>> "chelsea" in folder(data.data_dir)
        True
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}: check the path")
    files = sorted(file for file in root.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in files if file.suffix.lower() in ENDINGS]
    if not found:
        raise ValueError(f"{root} has no images: expected files that end in {', '.join(ENDINGS)}")
    stems = [file.stem for file in found]
    return {file.name if stems.count(file.stem) > 1 else file.stem: file for file in found}


def sample(name: str = "chelsea") -> Tensor:
    """Load one of the photographs that come with scikit-image: no download.

    Args:
        name: one of `SAMPLES`.

    Returns:
        (3, H, W), float32 in [0, 1].

    Raises:
        ValueError: if there is no such sample.

    Example:
        >>> sample("rocket").shape
        torch.Size([3, 427, 640])
    """
    from skimage import data

    if name not in SAMPLES:
        raise ValueError(f"there is no sample photograph {name!r}: there are {', '.join(SAMPLES)}")
    return _tensor(Image.fromarray(getattr(data, name)()).convert("RGB"))


def _tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).contiguous().div_(255)


class _File(BytesIO):
    """A file of which Pillow may read only `left` more bytes."""

    left = math.inf

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.left -= len(content)
        if self.left < 0:
            raise _Refused(f"is a TIFF with more than {MAX_TIFF_HEADER / 1e6:.0f} MB of metadata: save it as PNG")
        return content


class _Refused(ValueError):
    """A file that is not opened; the message continues after the name of the file."""


def _read(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """Return the content of a file, and its name."""
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes, "the upload")
        return bytes(source), "the upload"
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"expected a path, or the bytes of a file, got {type(source).__name__}")
    path = Path(os.fsdecode(source))
    try:
        path = path.expanduser()
        if path.is_file():
            _check_bytes(path.stat().st_size, path.name)
            return path.read_bytes(), path.name
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path.name[:80]} cannot be read: {_first_line(error)}") from None
    if is_folder:
        raise ValueError(f"{path} is a folder: photos.folder lists the images in it")
    raise ValueError(f"there is no file {path}: check the path")


def _check_bytes(count: int, name: str) -> None:
    if not count:
        raise ValueError(f"{name} is empty: it has 0 bytes; take another copy")
    if count > MAX_BYTES:
        raise ValueError(f"{name} has {count / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}: make it smaller first")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        most = f"{MAX_PIXELS // 1_000_000} million or {MAX_SIDE:,} on a side"
        raise _Refused(f"has {width} x {height} pixels, more than {most}: make it smaller first")


def _decode(content: bytes) -> Image.Image:
    """Check the beginning of a file and the sizes that it declares, then decode."""
    if not _SIGNATURES.match(content):
        known = (kind for start, kind in _OTHER_KINDS.items() if re.match(start, content[:1000], re.DOTALL))
        raise _Refused(f"is {next(known, 'not an image that can be read')}: use JPEG, PNG, WebP, GIF, BMP or TIFF")
    file = _File(content)
    file.left = MAX_TIFF_HEADER if content[:2] in (b"II", b"MM") else math.inf
    with _without_warnings, Image.open(file, formats=FORMATS) as image:
        file.left = math.inf
        codec = image.tile[0].codec_name if image.tile else ""
        tags = getattr(image, "tag_v2", {})
        _check_size(*image.size)
        _check_size(tags.get(322, 1), tags.get(323, 1))  # of a TIFF's tiles
        if codec == "bmp_rle" and len(content) > MAX_RLE_BYTES:
            raise _Refused("is a run-length BMP, which takes too long to decode: save it as PNG")
        if "progressive" in image.info and content.count(b"\xff\xda") * image.width * image.height > MAX_SCANNED:
            raise _Refused("is a progressive JPEG with too many scans: save it anew")
        if codec == "jpeg" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
            raise _Refused("is damaged: the end of the JPEG is missing; take another copy")
        with _without_stderr if codec == "libtiff" else nullcontext():
            image.load()
        rgb = _rgb(image)
        turn = _TRANSPOSE.get(_orientation(image))
    rgb = rgb if turn is None else rgb.transpose(Image.Transpose(turn))
    rgb.info.clear()
    return rgb


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; Pillow turns a TIFF itself, and metadata that cannot be read says nothing."""
    try:
        return 1 if image.format == "TIFF" else image.getexif().get(274, 1)
    except Exception:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, with transparency on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_gray(image)
    if image.has_transparency_data:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image.convert("RGB")


def _deep_gray(image: Image.Image) -> Image.Image:
    """Convert gray values of more than 8 bits, scaled by the white of their format."""
    values = np.array(image, dtype=np.float32)
    tags, largest = getattr(image, "tag_v2", {}), float(values.max(where=np.isfinite(values), initial=0))
    if image.mode == "F":
        white = max(1.0, largest)
    elif image.mode == "I":  # 32 bits: the smallest usual depth that holds the values
        white = next((white for white in (255, 65535) if largest <= white), largest)
    else:
        white = max(1, 2 ** tags.get(258, (16,))[0] - 1)
        if tags.get(262) == 0:  # white is zero
            values = white - values
        if isinstance(clear := image.info.get("transparency"), int):
            values[values == clear] = white
    with np.errstate(all="ignore"):  # damaged files hold any value
        scaled = np.nan_to_num(values / white, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return Image.fromarray((scaled * 255 + 0.5).astype(np.uint8)).convert("RGB")


def _first_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


class _Shared:
    """A setting of the whole process that the first thread to enter changes and the last one to leave restores."""

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self.change, self.users, self.lock = change, 0, threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.restore = self.change()

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                self.restore()


def _hide_warnings() -> Callable[[], None]:
    """Ignore Pillow's warnings; `warnings.catch_warnings` would put back the whole list, whatever others changed."""
    filters: list = warnings.filters  # type: ignore[assignment]
    filters.insert(0, _PILLOW)
    return lambda: filters.remove(_PILLOW) if _PILLOW in filters else None


def _hide_stderr() -> Callable[[], None]:
    """Send what C libraries print to nowhere: libtiff prints its errors, and Pillow has no option against it."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)

    def restore() -> None:
        os.dup2(kept, 2)
        os.close(kept)

    return restore


_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\b"), 0)
_without_warnings, _without_stderr = _Shared(_hide_warnings), _Shared(_hide_stderr)
