"""Photographs: what is refused and how it is said, the limits, and that nothing is left behind."""

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, ImageFile

import image_bombs
import image_corpus as files
from xai_lessons.data import photos

COLORS = files.colors()


def pixels(source) -> np.ndarray:
    return np.asarray(photos.open_image(source))


def near(got: np.ndarray, expected: np.ndarray, by: float = 0) -> bool:
    return got.shape == expected.shape and np.abs(got.astype(int) - expected.astype(int)).max() <= by


# What is refused, and how that is said.

REFUSED = {
    "empty": (b"", "is empty: it has 0 bytes"),
    "text": (b"Dear teacher,\nmy picture is late.\n" * 9, "is not an image that can be read: use JPEG, PNG, WebP"),
    "bytes": (bytes(range(256)) * 4, "is not an image that can be read"),
    "zeros": (bytes(4000), "is not an image that can be read"),
    "page": (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page: use JPEG"),
    "svg": (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "is an SVG drawing"),
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "zip": (b"PK\3\4" + bytes(40), "is an archive"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC or AVIF file: use JPEG"),
    "jpeg-2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "is not an image that can be read"),
    "ppm": (b"P6 2 2 255\n" + bytes(12), "is not an image that can be read"),
    "ico": (b"\0\0\1\0" + bytes(40), "is not an image that can be read"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image that can be read"),
    "float-colors": (
        files.array_tiff(COLORS.astype(np.float32) / 255, sample_format=3),
        "is damaged or of a kind that is not read: take another copy, or save it as PNG",
    ),
    "jpeg-head": (files.corpus()["jpeg"][:3], "is damaged"),
    "png-head": (files.corpus()["png"][:8], "is damaged"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_image_is_refused_in_one_sentence(tmp_path, name):
    content, said = REFUSED[name]
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    for source, called in ((path, "holiday.jpg"), (content, "the upload")):
        with pytest.raises(ValueError, match=f"^{called} {re.escape(said)}") as refused:
            photos.load(source)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", sorted(files.corpus()))
def test_a_file_cut_short_is_opened_or_refused_and_nothing_else(name, fraction):
    content = files.corpus()[name]
    assert files.verdict(content[: int(len(content) * fraction)]) in ("opened", "refused")


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_file_cut_in_half_is_said_to_be_damaged(name):
    content = files.corpus()[name]
    with pytest.raises(ValueError, match="^the upload is damaged.*: take another copy, or save it as PNG$|copy$"):
        photos.load(content[: len(content) // 2])


def photographs_as_jpeg():
    """60 JPEG files: five photographs in three sizes and four forms."""
    forms = ({"quality": 75}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"restart_marker_rows": 1})
    for name in ("chelsea", "coffee", "rocket", "astronaut", "camera"):
        photograph = Image.fromarray((photos.sample(name).permute(1, 2, 0).numpy() * 255).astype(np.uint8))
        for size in ((64, 64), (224, 224), photograph.size):
            yield from (files.saved(photograph.resize(size), "JPEG", **form) for form in forms)


def test_a_jpeg_whose_second_half_is_zeros_is_said_to_be_damaged():
    opened_by_pillow, contents = 0, list(photographs_as_jpeg())
    for content in contents:
        assert photos.open_image(content).mode == "RGB"
        broken = content[: len(content) // 2].ljust(len(content), b"\0")
        with pytest.raises(ValueError, match="is damaged"):
            photos.load(broken)
        try:
            Image.open(io.BytesIO(broken)).load()
            opened_by_pillow += 1
        except OSError:
            continue
    assert len(contents) == 60
    assert opened_by_pillow > 10  # which fills them with gray: Pillow alone does not tell


def test_what_libtiff_prints_is_not_shown(capfd):
    dice, refused = random.Random(0), 0
    for number in range(60):
        content = files.mutated(files.corpus()[("tiff-lzw", "tiff-deflate", "tiff-g4")[number % 3]], dice)
        refused += files.verdict(content) == "refused"
    os.write(2, b"still open")
    assert refused > 10
    assert capfd.readouterr().err == "still open"


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
    with pytest.raises(TypeError, match="expected a path, or the bytes of a file, got"):
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


def test_a_run_length_bitmap_has_a_lower_limit(monkeypatch):
    content = image_bombs.bmp(8, 8, 1, b"\x08\xff\0\0" * 7 + b"\x08\xff\0\1")
    assert (pixels(content) == 0).all()  # the palette is black
    monkeypatch.setattr(photos, "MAX_RLE_BYTES", 10)
    with pytest.raises(ValueError, match="takes too long to decode: save it as PNG"):
        photos.load(content)


@pytest.mark.parametrize("name", sorted(image_bombs.bombs()))
def test_a_bomb_is_refused(name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the image was decoded"))
    with pytest.raises(ValueError, match="^the upload (has|is|would|claims)") as refused:
        photos.open_image(image_bombs.bombs()[name])
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from Linux's /proc")
def test_bombs_take_no_memory(root):
    """Peak memory (not only Python's) while each is refused, in a process of its own."""
    command = [sys.executable, str(root / "tests" / "image_bombs.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peaks = json.loads(done.stdout)
    assert set(peaks) == {*image_bombs.bombs(), "jpeg-exif"}
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


def test_threads_that_overlap_leave_filters_and_the_standard_error_as_they_were():
    before, error = list(warnings.filters), os.fstat(2)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with photos._without_warnings, photos._without_stderr:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with photos._without_warnings, photos._without_stderr:
        thread.start()
        assert inside.wait(10)
    assert warnings.filters[0] == photos._PILLOW  # one is still at it
    assert os.path.samestat(os.fstat(2), os.stat(os.devnull))
    leave.set()
    thread.join()
    assert list(warnings.filters) == before
    assert os.path.samestat(os.fstat(2), error)


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
    with pytest.raises(ValueError, match="needs more memory than there is"):
        photos.load(files.corpus()["bmp"])


def test_stopping_the_cell_is_not_swallowed(monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", stop)
    with pytest.raises(KeyboardInterrupt):
        photos.load(files.corpus()["bmp"])
    assert photos._without_warnings.users == 0
