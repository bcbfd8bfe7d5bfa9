"""Photographs: every format by value, what is refused and how it is said, and that nothing is left behind."""

import io
import json
import os
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

import picture_bombs
import picture_corpus as files
from xai_lessons import photos, picture_files

COLOURS = files.colours()


def pixels(source) -> np.ndarray:
    return np.asarray(photos.open_picture(source))


def near(got: np.ndarray, expected: np.ndarray, by: float = 0) -> bool:
    return got.shape == expected.shape and np.abs(got.astype(int) - expected.astype(int)).max() <= by


def in_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


# Formats, by value.


@pytest.mark.parametrize("name", sorted(files.corpus()))
def test_every_valid_file_opens_as_upright_rgb(name):
    picture = photos.open_picture(files.corpus()[name])
    assert picture.mode == "RGB"
    assert not picture.info
    assert min(picture.size) > 0


@pytest.mark.parametrize("name", ["png", "apng", "bmp", "tiff", "tiff-lzw", "tiff-deflate", "ppm"])
def test_lossless_formats_give_the_very_pixels(name):
    assert near(pixels(files.corpus()[name]), COLOURS)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "mpo", "webp", "webp-animated", "tiff-jpeg", "avif"])
def test_lossy_formats_come_near(name):
    if name not in files.corpus():
        pytest.skip("this Pillow does not write AVIF")
    got = pixels(files.corpus()[name]).astype(int)
    assert np.abs(got - COLOURS).mean() < (12 if name == "tiff-jpeg" else 6)


def test_cmyk_of_adobe_is_turned_back_from_its_inverse():
    assert np.abs(pixels(files.corpus()["jpeg-cmyk"]).astype(int) - COLOURS).mean() < 6
    assert near(pixels(files.corpus()["tiff-cmyk"]), COLOURS, 1)
    white = files.saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert near(pixels(white), np.full((8, 8, 3), 255), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_of_any_orientation_comes_upright(form, orientation):
    turns = {
        2: [0],
        3: [3],
        4: [1],
        5: [5],
        6: [2],
        7: [6],
        8: [4],
    }  # how the camera lays it: the inverse of the repair
    stored = files.rgb()
    for turn in turns.get(orientation, []):
        stored = stored.transpose(Image.Transpose(turn))
    options = {"quality": 95} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    content = files.saved(stored, form, exif=files.turned_exif(orientation), **options)
    got = pixels(content).astype(int)
    assert got.shape == COLOURS.shape
    assert np.abs(got - COLOURS).mean() < (6 if form == "JPEG" else 0.1)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x" * 40])
def test_broken_exif_leaves_the_picture_as_it_is(exif):
    assert near(pixels(files.saved(files.rgb(), "PNG", exif=exif)), COLOURS)


def test_sixteen_bits_of_grey():
    expected = in_grey((files.grey16() / 65535 * 255 + 0.5).astype(np.uint8))
    for name in ("png-grey-16", "tiff-grey-16"):
        assert near(pixels(files.corpus()[name]), expected)
    assert near(pixels(files.array_tiff(files.grey16(), order=">")), expected)
    assert near(pixels(files.array_tiff(files.grey16(), photometric=0)), 255 - expected, 1)  # white is zero
    assert near(pixels(files.corpus()["pgm-16"]), expected)
    dark = files.array_tiff(np.full((4, 4), 200, np.uint16))
    assert pixels(dark).max() == 1  # as any viewer shows it: 200 of 65535


def test_sixteen_bits_of_colour():
    for name in ("png-rgb-16", "tiff-rgb-16"):
        assert near(pixels(files.corpus()[name]), COLOURS)
    assert pixels(files.corpus()["ppm-16"])[0].tolist() == [[0, 20, 41], [61, 82, 102]]


def test_a_clear_value_of_sixteen_bits_is_white():
    values = np.full((4, 4), 1000, np.uint16)
    values[0, 0] = 77
    content = files.saved(Image.fromarray(values), "PNG")
    at = content.index(b"IDAT") - 4
    chunk = b"tRNS" + struct.pack(">H", 77)
    clear = content[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[at:]
    got = pixels(clear)
    assert got[0, 0].tolist() == [255] * 3
    assert got[1, 1].tolist() == [4] * 3


@pytest.mark.parametrize(("values", "white"), [([0, 255], 255), ([0, 65535], 65535), ([0, 1_000_000], 1_000_000)])
def test_whole_numbers_of_32_bits_count_to_the_least_depth_that_holds_them(values, white):
    content = files.array_tiff(np.array([[*values, white // 2, -5]], np.int32), sample_format=2)
    assert pixels(content)[0, :, 0].tolist() == [0, 255, 128 if white % 2 == 0 else 127, 0]


def test_floating_point_counts_to_one_or_to_its_largest():
    grey, colour = files.corpus()["tiff-grey-float"], files.corpus()["tiff-rgb-float"]
    assert near(pixels(grey), in_grey((files.grey16() / 65535 * 255 + 0.5).astype(np.uint8)))
    assert near(pixels(colour), COLOURS)
    bright = np.array([[0.0, 2.0, 4.0, np.nan, np.inf, -np.inf, -1.0]], np.float32)
    expected = [0, 128, 255, 0, 255, 0, 0]
    assert pixels(files.saved(Image.fromarray(bright), "TIFF"))[0, :, 0].tolist() == expected
    for order in "<>":
        for kind in (np.float16, np.float32, np.float64):
            content = files.array_tiff(np.repeat(bright[..., None], 3, -1).astype(kind), sample_format=3, order=order)
            assert pixels(content)[0, :, 1].tolist() == expected


@pytest.mark.parametrize("name", ["hdr", "hdr-flat"])
def test_radiance_is_exposed_so_that_its_light_is_seen(name):
    got = pixels(files.corpus()[name])
    assert got.shape == (files.HEIGHT, files.WIDTH, 3)
    assert not got[:, 0].any()
    assert (got[:, 1:] == 255).all()


def test_radiance_keeps_ratios_of_light():
    light = picture_files.radiance(b"#?RADIANCE\n\n-Y 1 +X 2\n" + bytes([64, 128, 255, 129, 1, 0, 0, 120]))
    assert light[0, 0].tolist() == [0.5, 1.0, 255 / 128]
    assert light[0, 1].tolist() == [2.0**-16, 0, 0]


def test_what_is_clear_is_white():
    half = files.WIDTH // 2
    expected = COLOURS.copy()
    expected[:, :half] = 255
    for name in ("png-rgba", "webp-lossless"):
        assert near(pixels(files.corpus()[name]), expected)
    grey = in_grey(COLOURS[..., 0]).copy()
    grey[:, :half] = 255
    assert near(pixels(files.corpus()["png-la"]), grey)
    thin = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert pixels(files.saved(thin, "PNG"))[0, 0].tolist() == [255, 127, 127]


def test_clear_colours_of_palettes_and_pngs_are_white():
    palette = files.rgb().quantize(16)
    shown = np.asarray(palette.convert("RGB")).copy()
    shown[np.asarray(palette) == 0] = 255
    assert near(pixels(files.corpus()["png-palette-clear"]), shown)
    one = Image.new("RGB", (2, 1), (1, 2, 3))
    one.putpixel((1, 0), (9, 9, 9))
    assert pixels(files.saved(one, "PNG", transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [9] * 3]


def test_palette_one_bit_and_grey():
    palette = np.asarray(files.rgb().quantize(16).convert("RGB"))
    for name in ("png-palette", "gif", "bmp-palette", "tiff-packbits"):
        assert near(pixels(files.corpus()[name]), palette)
    bits = in_grey(np.asarray(files.grey().convert("1")).astype(np.uint8) * 255)
    for name in ("png-1-bit", "tiff-g4", "pbm"):
        assert near(pixels(files.corpus()[name]), bits)
    assert near(pixels(files.corpus()["jpeg-grey"]), in_grey(COLOURS[..., 0]), 4)


def test_modes_that_files_seldom_have():
    for mode in ("PA", "La", "RGBa", "HSV", "YCbCr"):
        source = files.rgb().convert("RGBA" if mode == "RGBa" else "L" if mode == "La" else "RGB")
        source = source.convert("LA").convert("La") if mode == "La" else source.convert(mode)
        got = photos._rgb(source)
        assert got.mode == "RGB"
        assert got.size == (files.WIDTH, files.HEIGHT)


def test_lab_is_seen_in_its_colours():
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    content = files.saved(to_lab.apply(Image.new("RGB", (4, 4), (200, 30, 30))), "TIFF")
    assert near(pixels(content), np.full((4, 4, 3), (200, 30, 30)), 3)


def test_the_first_frame_is_taken():
    first = np.asarray(files.rgb().convert("P").convert("RGB"))
    assert near(pixels(files.corpus()["gif-animated"]), first)


def test_a_tensor_of_the_pictures_own_size(tmp_path):
    path = tmp_path / "mine.png"
    path.write_bytes(files.corpus()["png"])
    for source in (path, str(path), os.fsencode(path).decode(), path.read_bytes(), memoryview(path.read_bytes())):
        image = photos.load(source)
        assert image.shape == (3, files.HEIGHT, files.WIDTH)
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        assert torch.equal(image, torch.from_numpy(COLOURS.copy()).permute(2, 0, 1) / 255)


def test_the_ending_of_a_name_says_nothing(tmp_path):
    path = tmp_path / "really a png.jpg"
    path.write_bytes(files.corpus()["png"])
    assert near(pixels(path), COLOURS)


@pytest.mark.parametrize("name", photos.SAMPLES)
def test_samples_need_no_download(name):
    image = photos.sample(name)
    assert image.ndim == 3
    assert image.shape[0] == 3
    assert 0 <= image.min() < image.max() <= 1


def test_an_unknown_sample_names_those_there_are():
    with pytest.raises(ValueError, match="no sample photograph 'dog': there are chelsea, coffee"):
        photos.sample("dog")


def test_a_folder_is_listed(tmp_path):
    for name in ("b.png", "a.JPG", "b.gif", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(files.corpus()["png"])
    (tmp_path / "sub.png").mkdir()
    assert list(photos.folder(tmp_path)) == ["a", "b.gif", "b.png"]
    assert photos.folder(str(tmp_path))["a"] == tmp_path / "a.JPG"
    with pytest.raises(ValueError, match="has no pictures"):
        photos.folder(tmp_path / "sub.png")
    with pytest.raises(ValueError, match="there is no folder"):
        photos.folder(tmp_path / "nowhere")


# What is refused, and how that is said.

REFUSED = {
    "empty": (b"", "is empty: it has 0 bytes"),
    "text": (b"Dear teacher,\nmy picture is late.\n" * 9, "is text, not a picture"),
    "bytes": (bytes(range(256)) * 4, "is not a picture that can be read"),
    "zeros": (bytes(4000), "is not a picture that can be read"),
    "page": (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
    "svg": (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "is a drawing in SVG"),
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "zip": (b"PK\3\4" + bytes(40), "is an archive"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC picture: save it as JPEG"),
    "jpeg-2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "is a JPEG 2000 picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is text, not a picture"),
    "jpeg-head": (files.corpus()["jpeg"][:3], "is damaged: it ends before the picture begins"),
    "png-head": (files.corpus()["png"][:8], "is damaged"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path, name):
    content, said = REFUSED[name]
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    for source, called in ((path, "holiday.jpg"), (content, "the upload")):
        with pytest.raises(ValueError, match=f"^{called} {re.escape(said)}") as refused:
            photos.load(source)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", sorted(set(files.corpus()) - {"ppm-plain", "ppm-16"}))
def test_a_file_cut_short_is_opened_or_refused_and_nothing_else(name, share):
    content = files.corpus()[name]
    assert files.verdict(content[: int(len(content) * share)]) in ("opened", "refused")


@pytest.mark.parametrize(
    "name", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "ppm", "hdr", "hdr-flat", "tiff-rgb-float"]
)
def test_a_file_cut_in_half_is_said_to_be_damaged(name):
    content = files.corpus()[name]
    with pytest.raises(ValueError, match="^the upload is damaged: .*; take another copy$"):
        photos.load(content[: len(content) // 2])


def test_paths_that_lead_nowhere(tmp_path):
    for source, said in (
        (tmp_path / "none.jpg", "there is no file .*none.jpg: check the path"),
        (tmp_path, "is a folder: photos.folder lists"),
        ("", "is a folder"),
        ("a\0b.jpg", "there is no file|cannot be read"),
        ("x" * 5000, "cannot be read|there is no file"),
        ("~nobody-of-that-name/x.jpg", "cannot be read|there is no file"),
    ):
        with pytest.raises(ValueError, match=said):
            photos.load(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="there is no file"):
        photos.load(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "mine.jpg"
    path.write_bytes(files.corpus()["jpeg"])

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(ValueError, match="^mine.jpg cannot be read: Permission denied$"):
        photos.load(path)


@pytest.mark.parametrize("source", [None, 3, np.zeros((4, 4, 3)), Image.new("RGB", (2, 2)), torch.zeros(3, 4, 4)])
def test_what_is_neither_a_path_nor_bytes(source):
    with pytest.raises(TypeError, match="came as picture; expected a path"):
        photos.load(source)


# Limits.


def test_more_bytes_than_allowed_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_BYTES", 1000)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(1001))
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the file was read"))
    for source in (path, bytes(1001)):
        with pytest.raises(ValueError, match="make it smaller first"):
            photos.load(source)


def test_a_form_that_is_unpacked_in_python_has_a_lower_limit(monkeypatch):
    monkeypatch.setattr(photos, "MAX_SLOW_BYTES", 10)
    for name in ("ppm-plain", "ppm-16"):
        with pytest.raises(ValueError, match="takes too long to unpack: save it as PNG"):
            photos.load(files.corpus()[name])
    assert near(pixels(files.corpus()["ppm"]), COLOURS)


@pytest.mark.parametrize("name", sorted(picture_bombs.bombs()))
def test_a_bomb_is_refused(name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the picture was unpacked"))
    with pytest.raises(ValueError, match="^the upload (has|is|would|claims)") as refused:
        photos.open_picture(picture_bombs.bombs()[name])
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from Linux's /proc")
def test_bombs_take_no_memory(root):
    """Peak memory (not only Python's) while each is refused, in a process of its own."""
    command = [sys.executable, str(root / "tests" / "picture_bombs.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peaks = json.loads(done.stdout)
    assert set(peaks) == {*picture_bombs.bombs(), "jpeg-exif"}
    assert max(peaks.values()) < 40, peaks  # MB; the largest of these files is 3 MB, what they claim is gigabytes


# Nothing is left behind.


def test_state_of_pillow_and_of_warnings_is_as_it_was(recwarn):
    photos.load(files.corpus()["png"])
    kept = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN), list(Image.ID))
    filters, before = warnings.filters, list(warnings.filters)
    for content in (*files.corpus().values(), *(c for c, _ in REFUSED.values()), files.corpus()["png"][:90]):
        files.verdict(content)
    assert kept == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN), list(Image.ID))
    assert warnings.filters is filters
    assert warnings.filters == before
    assert not recwarn.list


def test_what_pillow_warns_of_is_not_shown_whatever_the_filters():
    warning = files.corpus()["apng"].replace(b"acTL\0\0\0\2", b"acTL\0\0\0\0")  # "Invalid APNG, will use default"
    for action in ("always", "error"):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter(action)
            assert files.verdict(warning) in ("opened", "refused")
            with pytest.raises(UserWarning) if action == "error" else warnings.catch_warnings():
                warnings.warn("our own are", stacklevel=1)
        assert [str(w.message) for w in shown if "APNG" in str(w.message)] == []


def test_threads_that_overlap_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with photos._quiet():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with photos._quiet():
        thread.start()
        assert inside.wait(10)
    assert warnings.filters[0] == photos._PILLOW  # one is still at it
    leave.set()
    thread.join()
    assert list(warnings.filters) == before


def test_no_file_is_left_open(tmp_path):
    process = psutil.Process()
    path = tmp_path / "x"
    path.write_bytes(files.corpus()["tiff-lzw"])
    photos.load(path)
    before = len(process.open_files())
    for content in (*files.corpus().values(), *(c[: len(c) // 2] for c in files.corpus().values())):
        path.write_bytes(content)
        for _ in range(2):
            try:
                photos.load(path)
            except ValueError:
                continue
    assert len(process.open_files()) == before


def test_an_error_that_is_kept_keeps_no_file(tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(files.corpus()["png-rgb-16"][:2000])
    with pytest.raises(ValueError, match="damaged") as refused:
        photos.load(path)
    assert refused.value.__context__ is None
    trace = refused.value.__traceback__.tb_next
    held = []
    while trace:
        held += trace.tb_frame.f_locals.values()
        trace = trace.tb_next
    assert not [one for one in held if isinstance(one, bytes | Image.Image | np.ndarray | io.BytesIO)]


def test_running_out_of_memory_is_one_sentence(monkeypatch):
    def out(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", out)
    with pytest.raises(ValueError, match="does not fit into the memory that is left"):
        photos.load(files.corpus()["bmp"])


def test_stopping_the_cell_is_not_swallowed(monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", stop)
    with pytest.raises(KeyboardInterrupt):
        photos.load(files.corpus()["bmp"])
    assert photos._opening == 0


@pytest.mark.data
def test_the_photographs_of_the_test_data(test_data):
    found = photos.folder(test_data / "photos")
    assert found
    for path in found.values():
        image = photos.load(path)
        assert image.shape[0] == 3
        assert 0 <= image.min() < image.max() <= 1
