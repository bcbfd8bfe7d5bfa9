"""Real pictures: files, uploads and scikit-image's samples, opened safely and brought to RGB in [0, 1]."""

from __future__ import annotations

import os
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MAX_BYTES = 50_000_000
MAX_PIXELS = 50_000_000
SAMPLES = ("chelsea", "coffee", "rocket", "astronaut", "camera", "coins", "moon", "horse")


def load(source: str | os.PathLike[str] | bytes) -> Tensor:
    """Load a picture of any common format as it would be seen: upright, on white, in RGB.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        (3, H, W), float32 in [0, 1], of the picture's own size; `model.prepare` makes it fit a network.

    Raises:
        ValueError: in one sentence, if it is not a picture, damaged, or too large.
    """
    return to_tensor(open_picture(source))


def to_tensor(picture: Image.Image) -> Tensor:
    """An RGB Pillow picture as (3, H, W), float32 in [0, 1]."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def open_picture(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """Open a picture as an RGB Pillow picture: first frame, EXIF rotation done, transparency on white.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        The picture in mode RGB.

    Raises:
        ValueError: in one sentence, if it is not a picture, damaged, or too large.
    """
    content, name = _content(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warnings; what matters is refused below
            picture = Image.open(BytesIO(content))
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ValueError(
                    f"{name} has {width} x {height} pixels, more than {MAX_PIXELS / 1e6:.0f} million: make it smaller first"
                )
            picture.load()
            return _rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that can be read: use JPEG, PNG, WebP, GIF, BMP or TIFF") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} would unpack to far too many pixels: it is refused") from None
    except ValueError as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} is damaged: {_reason(error)}") from None
    except Exception as error:  # decoders raise many kinds; for the student they all mean the same
        raise ValueError(f"{name} is damaged: {_reason(error)}") from None


def _content(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        content, name = bytes(source), "the upload"
    else:
        path = Path(source).expanduser()
        name = path.name or str(path)
        if not path.is_file():
            raise ValueError(f"there is no file {path}: check the path")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{name} has more than {MAX_BYTES / 1e6:.0f} MB: make it smaller first")
        content = path.read_bytes()
    if not content:
        raise ValueError(f"{name} is empty: it has 0 bytes")
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name} has more than {MAX_BYTES / 1e6:.0f} MB: make it smaller first")
    return content, name


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture, dtype=np.float64)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        top = 65535.0 if picture.mode != "F" and values.max(initial=0) > 255 else max(1.0, float(values.max(initial=0)))
        if picture.mode != "F" and values.max(initial=0) <= 255:
            top = 255.0
        return Image.fromarray((values.clip(0, top) / top * 255 + 0.5).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


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
