"""Sets of pictures: drawn, in folders, CIFAR-10; splits that hold every class."""

import numpy as np
import pytest
import torch
from PIL import Image

from xai_lessons import datasets


@pytest.fixture
def leaves(tmp_path):
    """Three classes of plain colours in several formats, with what a real folder also holds."""
    colours = {"oak": (200, 0, 0), "birch": (0, 200, 0), "elm": (0, 0, 200)}
    for name, colour in colours.items():
        (tmp_path / name / "deeper").mkdir(parents=True)
        for i, ending in enumerate(("png", "bmp", "PNG", "webp", "gif")):
            place = tmp_path / name / ("deeper" if i == 4 else "")
            Image.new("RGB", (20 + i, 30), colour).save(place / f"{i}.{ending}")
    (tmp_path / "oak" / "._0.png").write_bytes(b"not a picture, but what a Mac leaves on a stick")
    (tmp_path / "oak" / "notes.txt").write_text("no picture")
    (tmp_path / ".git").mkdir()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_folder_with_a_subfolder_a_class(leaves, fit):
    images, labels, classes = datasets.folder(leaves, 8, fit)
    assert classes == ("birch", "elm", "oak")
    assert images.shape == (15, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    strongest = images.float().mean(dim=(2, 3)).argmax(dim=1)
    assert torch.equal(strongest, torch.tensor([1, 2, 0])[labels])


def test_crop_takes_the_middle_and_squash_takes_all(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        stripes = np.zeros((10, 30, 3), dtype=np.uint8)
        stripes[:, 10:20] = 255
        Image.fromarray(stripes).save(tmp_path / name / "x.png")
    assert datasets.folder(tmp_path, 10).images.float().mean() == 255
    assert datasets.folder(tmp_path, 10, "squash").images.float().mean() == pytest.approx(85, abs=8)


def test_a_folder_that_cannot_serve_is_refused_in_one_sentence(leaves):
    with pytest.raises(ValueError, match="at least two subfolders with pictures, one a class; found 0"):
        datasets.folder(leaves / "oak" / "deeper", 8)
    with pytest.raises(ValueError, match="found 0"):
        datasets.folder(leaves / "nowhere", 8)
    with pytest.raises(ValueError, match="'crop' or 'squash', got 'zoom'"):
        datasets.folder(leaves, 8, "zoom")
    (leaves / "elm" / "broken.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"broken\.png"):
        datasets.folder(leaves, 8)


def test_a_split_holds_every_class_on_both_sides_and_loses_nothing(leaves):
    pictures = datasets.folder(leaves, 8)
    numbered = pictures._replace(images=torch.arange(15)[:, None])
    train, test = datasets.split(numbered, share=0.4, seed=1)
    assert torch.bincount(test.labels).tolist() == [2, 2, 2]
    assert sorted([*train.images[:, 0].tolist(), *test.images[:, 0].tolist()]) == list(range(15))
    assert torch.equal(datasets.split(numbered, 0.4, 1)[1].images, test.images)
    assert not torch.equal(datasets.split(numbered, 0.4, 2)[1].images, test.images)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_even_the_smallest_and_largest_share_leave_one_picture_a_class(leaves, share):
    train, test = datasets.split(datasets.folder(leaves, 8), share)
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == {0, 1, 2}


def test_a_share_or_class_that_cannot_be_split_is_refused(leaves):
    pictures = datasets.folder(leaves, 8)
    with pytest.raises(ValueError, match="share must be at least 0 and at most 1, got 20"):
        datasets.split(pictures, 20)
    one = datasets.Pictures(pictures.images[4:7], pictures.labels[4:7], pictures.classes)
    with pytest.raises(ValueError, match="class 'birch' has 1 picture"):
        datasets.split(one)


def test_drawn_pictures_are_bytes_kept_in_a_cache_and_drawn_again_if_it_is_damaged(tmp_path):
    told = []
    first = datasets.drawn(4, split="open", size=24, cache=tmp_path, progress=lambda d, n: told.append((d, n)))
    assert first.images.shape == (4, 3, 24, 24)
    assert first.images.dtype == torch.uint8
    assert len(first.classes) == 10
    assert told[-1] == (4, 4)
    (kept,) = tmp_path.iterdir()
    again = datasets.drawn(4, split="open", size=24, cache=tmp_path, progress=lambda d, n: told.append("drawn"))
    assert torch.equal(again.images, first.images)
    assert "drawn" not in told
    kept.write_bytes(kept.read_bytes()[:50])
    assert torch.equal(datasets.drawn(4, split="open", size=24, cache=tmp_path).labels, first.labels)
    other = datasets.drawn(4, split="open", size=24, seed=1, cache=tmp_path)
    assert not torch.equal(other.images, first.images)


def test_a_callback_that_raises_stops_the_drawing(tmp_path):
    def stop(done, total):
        raise KeyError

    with pytest.raises(KeyError):
        datasets.drawn(4, split="open", size=24, cache=tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="n must be at least 1"):
        datasets.drawn(0)


def test_cifar10_from_folders(leaves, tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    (root / "train").symlink_to(leaves)
    (root / "test").symlink_to(leaves)
    train, test = datasets.cifar10(root)
    assert train.images.shape == test.images.shape == (15, 3, 32, 32)
    (root / "test").unlink()
    with pytest.raises(ValueError, match="needs at least two subfolders"):
        datasets.cifar10(root)


def test_cifar10_offline_is_one_sentence(tmp_path, monkeypatch):
    import torchvision

    def offline(*_, **__):
        raise OSError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(OSError\): connect, or name the folder"):
        datasets.cifar10()
