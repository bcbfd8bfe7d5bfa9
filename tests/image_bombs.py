"""Small files that claim to be huge. Run as a script, it prints the peak of memory in MB that each of them took."""

from __future__ import annotations

import json
import struct
import zlib
from functools import lru_cache
from pathlib import Path

from PIL import Image

import image_corpus as files


def png(width: int, height: int, more: bytes = b"") -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(3_000_000))),
    ]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed) + more


def shared_entries(order: str = "<", entries: int = 60_000, data: int = 1_000_000) -> bytes:
    """A directory whose every entry claims the same data: small to store, terabytes to parse."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    size = 2 + 12 * entries + 4
    packed = [struct.pack(order + "HHII", 1000 + n % 60_000, 7, data, 8 + size) for n in range(entries)]
    return head + struct.pack(order + "H", entries) + b"".join(packed) + bytes(4) + bytes(data)


def exif_in_jpeg() -> bytes:
    """Many EXIF segments, which Pillow joins into one directory of shared entries: here they are cut off."""
    bomb = shared_entries(entries=20_000, data=1_500_000)
    parts = [bomb[at : at + 65_000] for at in range(0, len(bomb), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts]
    jpeg = files.corpus()["jpeg"]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def scans() -> bytes:
    """A progressive JPEG of 49 million pixels and thousands of scans that hold nothing."""
    jpeg = bytearray(files.corpus()["jpeg-progressive"])
    at = jpeg.index(b"\xff\xc2")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 7000, 7000)
    start = jpeg.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", jpeg, start + 2)
    return bytes(jpeg[:-2] + jpeg[start : start + 2 + length] * 4000 + jpeg[-2:])


def bmp(width: int, height: int, compression: int = 0, data: bytes = b"") -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(data), 0, 0, 256, 0)
    palette = bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(data), 0, 0, 14 + 40 + 1024) + head + palette + data


def tiff(width: int, height: int, **more: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    tags.update({int(name[1:]): value for name, value in more.items()})
    return files.tiff({tag: ("I", (value,)) for tag, value in tags.items()}, bytes(100))


def webp(what: bytes) -> bytes:
    data = {
        b"VP8X": bytes(4) + (16_382).to_bytes(3, "little") * 2,
        b"VP8L": b"\x2f" + (16_383 << 14 | 16_383).to_bytes(4, "little"),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383),
    }[what]
    body = b"WEBP" + what + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@lru_cache(maxsize=1)
def bombs() -> dict[str, bytes]:
    jpeg = bytearray(files.corpus()["jpeg"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    gif = bytearray(files.corpus()["gif"])
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    frame = bytearray(files.corpus()["gif"])
    at = frame.index(b",\0\0\0\0")
    frame[at + 5 : at + 9] = struct.pack("<HH", 65_535, 65_535)
    tags = {tag: ("I", (value,)) for tag, value in {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}.items()}
    return {
        "jpeg": bytes(jpeg),
        "jpeg-scans": scans(),
        "png": png(40_000, 40_000),
        "png-just-over": png(7_072, 7_072),
        "png-a-line": png(49_000_000, 1),
        "gif": bytes(gif),
        "gif-frame": bytes(frame),
        "webp-canvas": webp(b"VP8X"),
        "webp-lossless": webp(b"VP8L"),
        "webp-lossy": webp(b"VP8 "),
        "bmp": bmp(30_000, 30_000),
        "bmp-upside-down": bmp(30_000, -30_000),
        "bmp-runs": bmp(30_000, 30_000, 1, b"\0\2\xff\xff" * 100),
        "tiff": tiff(30_000, 30_000),
        "tiff-tile": tiff(64, 64, t322=30_000, t323=30_000, t324=8, t325=100),
        "tiff-directory": shared_entries(),
        "tiff-strips": files.tiff({**tags, 273: ("I", (8,) * 500_000), 279: ("I", (1,) * 500_000)}, bytes(100)),
        "tiff-directory-big-endian": shared_entries(">"),
    }


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> float:
    (line,) = (x for x in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    Image.init()
    grown = {}
    files.verdict(files.corpus()["png"])
    expected = {name: (content, "refused") for name, content in bombs().items()}
    for name, (content, becomes) in {**expected, "jpeg-exif": (exif_in_jpeg(), "opened")}.items():
        reset_peak()
        before = peak()
        if files.verdict(content) != becomes:
            raise SystemExit(f"{name} was not {becomes}")
        grown[name] = round(peak() - before, 1)
    print(json.dumps(grown))
