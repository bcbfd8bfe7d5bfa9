"""What is looked at in a picture's file before a decoder sees it, and the formats that Pillow leaves out.

A file from anywhere may claim a billion pixels, or a directory that unpacks to terabytes. Nothing here trusts it: sizes
are read and refused first, all that is not the picture is cut off, and every loop ends by the length of the file.
"""

from __future__ import annotations

import re
import struct

import numpy as np

MAX_PIXELS = 50_000_000
MAX_SIDE = 32_767
MAX_STRIPS = 200_000
MAX_SCANNED = 1_000_000_000  # pixels times scans of a progressive JPEG: each scan costs a pass over all pixels
MAX_SEGMENTS = 10_000

KINDS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM",
    "PPM": rb"P[1-6f]\s",
    "ICO": rb"\x00\x00\x01\x00",
    "AVIF": rb".{4}ftypavi[fs]",
    "HDR": rb"#\?(RADIANCE|RGBE)\s",
}
OTHERS = {
    "a HEIC picture: save it as JPEG": rb".{4}ftyp(hei|hev|mif|msf)",
    "a JPEG 2000 picture: save it as JPEG": rb"\0\0\0\x0cjP|\xff\x4f\xff\x51",
    "a PDF: save the picture in it as PNG": rb"%PDF",
    "a drawing in SVG: save it as PNG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg",
    "a web page: save the picture itself, not the page around it": rb"(?i)\s*<(!doctype )?html",
    "an archive: unpack it first": rb"PK\x03\x04|\x1f\x8b|Rar!",
}
INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF's types
SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # of a value, in bytes, else 1
READ_TAGS = (256, 257, 258, 259, 262, 273, 274, 277, 279, 284, 322, 323, 324, 339)


class Refused(ValueError):
    """A file that is not opened. The message goes on where the file's name ended."""


def kind(content: bytes) -> str:
    """The format of a file by its first bytes, whatever its name says; `Refused` where it is none that is read."""
    for name, start in KINDS.items():
        if re.match(start, content, re.DOTALL):
            return name
    for what, start in OTHERS.items():
        if re.match(start, content[:4096], re.DOTALL):
            raise Refused(f"is {what}")
    text = not re.search(rb"[^\t\n\f\r\x20-\x7e\x80-\xff]", content[:1024])
    what = "is text, not a picture" if text else "is not a picture that can be read"
    raise Refused(f"{what}: use JPEG, PNG, WebP, GIF, BMP or TIFF")


def check_size(width: int, height: int) -> None:
    """Refuse more pixels than can be opened, and none."""
    if width < 1 or height < 1:
        raise Refused(f"is damaged: it claims {width} x {height} pixels; take another copy")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Refused(
            f"has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million or {MAX_SIDE:,} on a side: "
            "make it smaller first"
        )


def checked(content: bytes, name: str) -> tuple[bytes, bytes]:
    """A file of the format `name` without what could harm, and its EXIF where that is found here."""
    if name == "JPEG":
        return _checked_jpeg(content)
    if name == "TIFF":
        tags = directory(content)
        check_size(tags.get(256, (0,))[0], tags.get(257, (0,))[0])
        if 322 in tags:
            check_size(tags[322][0], tags.get(323, (0,))[0])
    elif name == "WEBP":
        check_size(*_webp_size(content))
    elif name == "ICO":
        _check_icon(content)
    return content, b""


def _checked_jpeg(content: bytes) -> tuple[bytes, bytes]:
    """A JPEG without its metadata (but JFIF's and Adobe's), whose parsing may take much memory; and its EXIF."""
    kept, exif, at = [content[:2]], b"", 2
    pixels = 0
    marker = re.compile(rb"\xff+([^\xff\x00\x01\xd0-\xd8])")
    for _ in range(MAX_SEGMENTS):
        found = marker.search(content, at)
        if not found or found.end() + 2 > len(content):
            break
        code, (length,) = found[1][0], struct.unpack_from(">H", content, found.end())
        if code == 0xDA:  # the scans begin
            scans = 1 + content.count(b"\xff\xda", found.end())
            if scans * pixels > MAX_SCANNED:
                raise Refused(f"is a progressive JPEG of {scans} scans, too many to unpack: save it anew")
            return b"".join((*kept, content[found.start() :])), exif
        at = found.end() + length
        segment = content[found.end() + 2 : at]
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and len(segment) >= 5:
            height, width = struct.unpack_from(">HH", segment, 1)
            check_size(width, height)
            pixels = width * height
        if code == 0xE1 and segment.startswith(b"Exif\0\0"):
            exif = exif or segment
        elif not (0xE1 <= code <= 0xED or code in (0xEF, 0xFE)):
            kept.append(b"\xff" + content[found.end() - 1 : at])
    raise Refused("is damaged: it ends before the picture begins; take another copy")


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height; Pillow would make room for them before it tells."""
    what, data = content[12:16], content[20:30].ljust(10, b"\0")
    if what == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if what == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _check_icon(content: bytes) -> None:
    """An icon's directory knows sizes to 256 only: the pictures in it have their own."""
    count = int.from_bytes(content[4:6], "little")
    for entry in range(min(count, len(content) // 16)):
        offset = int.from_bytes(content[6 + 16 * entry + 12 : 6 + 16 * entry + 16], "little")
        head = content[offset : offset + 24].ljust(24, b"\0")
        png = head.startswith(b"\x89PNG")
        width, height = struct.unpack_from(">II" if png else "<ii", head, 16 if png else 4)
        if head.strip(b"\0"):
            check_size(abs(width), abs(height))


def directory(content: bytes) -> dict[int, tuple[int, ...]]:
    """The whole numbers of a TIFF's first directory (EXIF is one, too), by tag.

    Raises:
        Refused: if it is cut off, or claims more data than the file has: entries that share their data are a bomb.
    """
    order, big = ("<" if content[:2] == b"II" else ">"), b"+" in content[2:4]
    count_form, size, entry_form, inline = ("Q", 20, "HHQ", 8) if big else ("H", 12, "HHI", 4)
    tags, total = {}, 0
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_form, content, start)
        start += struct.calcsize(order + count_form)
        if count > 65_535:
            raise Refused("is damaged: its directory is longer than the file; take another copy")
        for at in range(start, start + size * count, size):
            tag, form, number = struct.unpack_from(order + entry_form, content, at)
            here = at + size - inline
            claimed = number * SIZES.get(form, 1)
            total += claimed
            if total > len(content) or (number > MAX_STRIPS and tag in READ_TAGS):
                raise Refused("is damaged: its directory claims more than the file holds; take another copy")
            if claimed > inline:
                (here,) = struct.unpack_from(order + ("Q" if big else "I"), content, here)
            if tag in READ_TAGS and form in INTEGERS and number:
                tags[tag] = struct.unpack_from(f"{order}{number}{INTEGERS[form]}", content, here)
    except struct.error:
        raise Refused("is damaged: its directory is cut off; take another copy") from None
    return tags


def orientation(exif: bytes) -> int:
    """How the camera was held, 1 to 8, from EXIF; 1 where it does not say or cannot be read."""
    try:
        (turned,) = directory(exif.removeprefix(b"Exif\0\0")).get(274, (1,))
    except ValueError:
        return 1
    return turned if 1 <= turned <= 8 else 1


def float_tiff(content: bytes) -> np.ndarray | None:
    """A TIFF of floating-point colors, which Pillow leaves out, as float32 (H, W, 3); None for other TIFFs."""
    tags = directory(content)
    samples, bits = tags.get(277, (1,))[0], tags.get(258, (1,))[0]
    if set(tags.get(339, (1,))) != {3} or samples < 3:
        return None
    plain = tags.get(259, (1,))[0] == 1 and tags.get(284, (1,))[0] == 1 and 273 in tags and 279 in tags
    if not plain or bits not in (16, 32, 64):
        raise Refused("holds floating-point colors packed in a way that is not read: save it uncompressed, or as PNG")
    if sum(tags[279]) > len(content):
        raise Refused("is damaged: its strips claim more than the file holds; take another copy")
    width, height = tags[256][0], tags[257][0]
    data = b"".join(content[at : at + length] for at, length in zip(tags[273], tags[279], strict=False))
    need = width * height * samples * bits // 8
    if len(data) < need:
        raise Refused("is damaged: it ends before the picture does; take another copy")
    values = np.frombuffer(data[:need], ("<" if content[:2] == b"II" else ">") + f"f{bits // 8}")
    with np.errstate(all="ignore"):
        return values.reshape(height, width, samples)[..., :3].astype(np.float32)


def radiance(content: bytes) -> np.ndarray:
    """The light in a Radiance picture (.hdr), float32 (H, W, 3) (G. Ward, 1991: a shared exponent for three bytes)."""
    head = re.match(rb"#\?.{0,4000}?\n\n-Y (\d{1,6}) \+X (\d{1,6})\n", content, re.DOTALL)
    if not head or b"32-bit_rle_xyze" in head[0]:
        raise Refused("is a Radiance picture of a kind that is not read, or damaged: save it as PNG")
    height, width = int(head[1]), int(head[2])
    check_size(width, height)
    at, end = head.end(), len(content)
    if end - at < 4 * height:
        raise Refused("is damaged: it ends before the picture does; take another copy")
    if not 8 <= width <= MAX_SIDE or content[at : at + 2] != b"\2\2":
        flat = np.frombuffer(content[at : at + 4 * width * height], np.uint8)
        lines: np.ndarray = np.zeros((height, width, 4), np.uint8)
        lines.reshape(-1)[: flat.size] = flat
        if flat.size < lines.size:
            raise Refused("is damaged: it ends before the picture does; take another copy")
    else:
        lines = np.empty((height, width, 4), np.uint8)
        for y in range(height):
            at = _radiance_line(content, at, lines[y])
    scale = np.exp2(lines[..., 3:].astype(np.float32) - 136)
    return lines[..., :3] * scale * (lines[..., 3:] > 0)


def _radiance_line(content: bytes, at: int, line: np.ndarray) -> int:
    """Unpack one line, channel by channel; gives where the next begins."""
    width = line.shape[0]
    if content[at : at + 4] != b"\2\2" + struct.pack(">H", width):
        raise Refused("is damaged: a line of it does not begin where it should; take another copy")
    at += 4
    for channel in range(4):
        row, x = bytearray(), 0
        while x < width:
            run = content[at : at + 2]
            if len(run) < 2 or not run[0]:
                raise Refused("is damaged: it ends before the picture does; take another copy")
            if run[0] > 128:
                row += run[1:] * (run[0] - 128)
                at += 2
            else:
                row += content[at + 1 : at + 1 + run[0]]
                at += 1 + run[0]
            x += run[0] - 128 if run[0] > 128 else run[0]
        if len(row) != width:
            raise Refused("is damaged: a line of it has the wrong length; take another copy")
        line[:, channel] = np.frombuffer(row, np.uint8)
    return at
