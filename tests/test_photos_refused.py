"""Photographs: what is refused and how it is said, the limits, and that nothing is left behind."""

import io
import json
import os
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

import picture_bombs
import picture_corpus as files
from xai_lessons.data import photos

COLORS = files.colors()


def pixels(source) -> np.ndarray:
    return np.asarray(photos.open_picture(source))


def near(got: np.ndarray, expected: np.ndarray, by: float = 0) -> bool:
    return got.shape == expected.shape and np.abs(got.astype(int) - expected.astype(int)).max() <= by


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
    assert near(pixels(files.corpus()["ppm"]), COLORS)


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
