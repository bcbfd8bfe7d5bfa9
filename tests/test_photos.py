"""Photographs: every format by value, samples, folders."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import image_corpus as files
from xai_lessons.data import photos

COLORS = files.colors()


def pixels(source) -> np.ndarray:
    return np.asarray(photos.open_image(source))


def near(got: np.ndarray, expected: np.ndarray, by: float = 0) -> bool:
    return got.shape == expected.shape and np.abs(got.astype(int) - expected.astype(int)).max() <= by


def in_gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


# Formats, by value.


@pytest.mark.parametrize("name", sorted(files.corpus()))
def test_every_valid_file_opens_as_upright_rgb(name):
    picture = photos.open_image(files.corpus()[name])
    assert picture.mode == "RGB"
    assert not picture.info
    assert min(picture.size) > 0


@pytest.mark.parametrize("name", ["png", "apng", "bmp", "tiff", "tiff-lzw", "tiff-deflate"])
def test_lossless_formats_give_the_very_pixels(name):
    assert near(pixels(files.corpus()[name]), COLORS)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "mpo", "webp", "webp-animated", "tiff-jpeg"])
def test_lossy_formats_come_near(name):
    got = pixels(files.corpus()[name]).astype(int)
    assert np.abs(got - COLORS).mean() < (12 if name == "tiff-jpeg" else 6)


def test_cmyk_of_adobe_is_turned_back_from_its_inverse():
    assert np.abs(pixels(files.corpus()["jpeg-cmyk"]).astype(int) - COLORS).mean() < 6
    assert near(pixels(files.corpus()["tiff-cmyk"]), COLORS, 1)
    white = files.saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert near(pixels(white), np.full((8, 8, 3), 255), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_of_any_orientation_comes_upright(form, orientation):
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
    assert got.shape == COLORS.shape
    assert np.abs(got - COLORS).mean() < (6 if form == "JPEG" else 0.1)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x" * 40])
def test_broken_exif_leaves_the_image_as_it_is(exif):
    assert near(pixels(files.saved(files.rgb(), "PNG", exif=exif)), COLORS)


def test_sixteen_bits_of_gray():
    expected = in_gray((files.gray16() / 65535 * 255 + 0.5).astype(np.uint8))
    for name in ("png-gray-16", "tiff-gray-16"):
        assert near(pixels(files.corpus()[name]), expected)
    assert near(pixels(files.array_tiff(files.gray16(), order=">")), expected)
    assert near(pixels(files.array_tiff(files.gray16(), photometric=0)), 255 - expected, 1)  # white is zero
    dark = files.array_tiff(np.full((4, 4), 200, np.uint16))
    assert pixels(dark).max() == 1  # as any viewer shows it: 200 of 65535


def test_sixteen_bits_of_color():
    for name in ("png-rgb-16", "tiff-rgb-16"):
        assert near(pixels(files.corpus()[name]), COLORS)


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


def test_floating_point_gray_counts_to_one_or_to_its_largest():
    gray = files.corpus()["tiff-gray-float"]
    assert near(pixels(gray), in_gray((files.gray16() / 65535 * 255 + 0.5).astype(np.uint8)))
    bright = np.array([[0.0, 2.0, 4.0, np.nan, np.inf, -np.inf, -1.0]], np.float32)
    expected = [0, 128, 255, 0, 255, 0, 0]
    assert pixels(files.saved(Image.fromarray(bright), "TIFF"))[0, :, 0].tolist() == expected


def test_what_is_clear_is_white():
    half = files.WIDTH // 2
    expected = COLORS.copy()
    expected[:, :half] = 255
    for name in ("png-rgba", "webp-lossless"):
        assert near(pixels(files.corpus()[name]), expected)
    gray = in_gray(COLORS[..., 0]).copy()
    gray[:, :half] = 255
    assert near(pixels(files.corpus()["png-la"]), gray)
    thin = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert pixels(files.saved(thin, "PNG"))[0, 0].tolist() == [255, 127, 127]


def test_clear_colors_of_palettes_and_pngs_are_white():
    palette = files.rgb().quantize(16)
    shown = np.asarray(palette.convert("RGB")).copy()
    shown[np.asarray(palette) == 0] = 255
    assert near(pixels(files.corpus()["png-palette-clear"]), shown)
    one = Image.new("RGB", (2, 1), (1, 2, 3))
    one.putpixel((1, 0), (9, 9, 9))
    assert pixels(files.saved(one, "PNG", transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [9] * 3]


def test_palette_one_bit_and_gray():
    palette = np.asarray(files.rgb().quantize(16).convert("RGB"))
    for name in ("png-palette", "gif", "bmp-palette", "tiff-packbits"):
        assert near(pixels(files.corpus()[name]), palette)
    bits = in_gray(np.asarray(files.gray().convert("1")).astype(np.uint8) * 255)
    for name in ("png-1-bit", "tiff-g4"):
        assert near(pixels(files.corpus()[name]), bits)
    assert near(pixels(files.corpus()["jpeg-gray"]), in_gray(COLORS[..., 0]), 4)


def test_modes_that_files_seldom_have():
    for mode in ("PA", "La", "RGBa", "HSV", "YCbCr"):
        source = files.rgb().convert("RGBA" if mode == "RGBa" else "L" if mode == "La" else "RGB")
        source = source.convert("LA").convert("La") if mode == "La" else source.convert(mode)
        got = photos._rgb(source)
        assert got.mode == "RGB"
        assert got.size == (files.WIDTH, files.HEIGHT)


def test_lab_is_seen_in_its_colors():
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    content = files.saved(to_lab.apply(Image.new("RGB", (4, 4), (200, 30, 30))), "TIFF")
    assert near(pixels(content), np.full((4, 4, 3), (200, 30, 30)), 3)


def test_the_first_frame_is_taken():
    first = np.asarray(files.rgb().convert("P").convert("RGB"))
    assert near(pixels(files.corpus()["gif-animated"]), first)


def test_a_tensor_of_the_images_own_size(tmp_path):
    path = tmp_path / "mine.png"
    path.write_bytes(files.corpus()["png"])
    for source in (path, str(path), os.fsencode(path).decode(), path.read_bytes(), memoryview(path.read_bytes())):
        image = photos.load(source)
        assert image.shape == (3, files.HEIGHT, files.WIDTH)
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        assert torch.equal(image, torch.from_numpy(COLORS.copy()).permute(2, 0, 1) / 255)


def test_the_ending_of_a_name_says_nothing(tmp_path):
    path = tmp_path / "really a png.jpg"
    path.write_bytes(files.corpus()["png"])
    assert near(pixels(path), COLORS)


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
    with pytest.raises(ValueError, match="has no images"):
        photos.folder(tmp_path / "sub.png")
    with pytest.raises(ValueError, match="there is no folder"):
        photos.folder(tmp_path / "nowhere")


@pytest.mark.data
def test_the_photographs_of_the_test_data(test_data):
    found = photos.folder(test_data / "photos")
    assert found
    for path in found.values():
        image = photos.load(path)
        assert image.shape[0] == 3
        assert 0 <= image.min() < image.max() <= 1
