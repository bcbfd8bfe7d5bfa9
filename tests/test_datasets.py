"""Sets of images: drawn, in folders, CIFAR-10; splits that hold every class."""

import numpy as np
import pytest
import torch
from PIL import Image

from xai_lessons.data import datasets


@pytest.fixture
def leaves(tmp_path):
    """Three classes of plain colors in several formats, with what a real folder also holds."""
    colors = {"oak": (200, 0, 0), "birch": (0, 200, 0), "elm": (0, 0, 200)}
    for name, color in colors.items():
        (tmp_path / name / "deeper").mkdir(parents=True)
        for i, ending in enumerate(("png", "bmp", "PNG", "webp", "gif")):
            place = tmp_path / name / ("deeper" if i == 4 else "")
            Image.new("RGB", (20 + i, 30), color).save(place / f"{i}.{ending}")
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
    with pytest.raises(ValueError, match="at least two subfolders with images, one per class; found 0"):
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
    train, test = datasets.split(numbered, fraction=0.4, seed=1)
    assert torch.bincount(test.labels).tolist() == [2, 2, 2]
    assert sorted([*train.images[:, 0].tolist(), *test.images[:, 0].tolist()]) == list(range(15))
    assert torch.equal(datasets.split(numbered, 0.4, 1)[1].images, test.images)
    assert not torch.equal(datasets.split(numbered, 0.4, 2)[1].images, test.images)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_even_the_smallest_and_largest_fraction_leave_one_image_a_class(leaves, fraction):
    train, test = datasets.split(datasets.folder(leaves, 8), fraction)
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == {0, 1, 2}


def test_a_share_or_class_that_cannot_be_split_is_refused(leaves):
    pictures = datasets.folder(leaves, 8)
    with pytest.raises(ValueError, match="fraction must be at least 0 and at most 1, got 20"):
        datasets.split(pictures, 20)
    one = datasets.Pictures(pictures.images[4:7], pictures.labels[4:7], pictures.classes)
    with pytest.raises(ValueError, match="class 'birch' has 1 image"):
        datasets.split(one)


def test_drawn_images_are_bytes_kept_in_a_cache_and_drawn_again_if_it_is_damaged(tmp_path):
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


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine that has no CIFAR-10."""
    monkeypatch.delenv("XAI_LESSONS_CIFAR10", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def test_only_some_of_each_class(leaves):
    few = datasets.folder(leaves, 8, each=2)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(few.images[2:4], datasets.folder(leaves, 8).images[[5, 7]])
    with pytest.raises(ValueError, match="each must be at least 1"):
        datasets.folder(leaves, 8, each=0)


def test_cifar10_from_folders(leaves, nowhere):
    root = nowhere / "cifar"
    root.mkdir()
    (root / "train").symlink_to(leaves)
    (root / "test").symlink_to(leaves)
    train, test = datasets.cifar10(root)
    assert train.images.shape == test.images.shape == (15, 3, 32, 32)
    assert torch.equal(datasets.cifar10_test(root).images, test.images)
    assert datasets.cifar10_test(root, each=2).labels.tolist() == [0, 0, 1, 1, 2, 2]
    (root / "test").unlink()
    with pytest.raises(ValueError, match=r"does not hold CIFAR-10: expected the folders train and test.*the path"):
        datasets.cifar10(root)


def test_cifar10_is_found_where_it_is_named_and_never_downloaded_for_that(nowhere, monkeypatch):
    assert datasets.cifar10_folder() is None
    named, cached = nowhere / "named", nowhere / "torch" / "hub" / "datasets"
    for part in ("train", "test"):
        (named / part).mkdir(parents=True)
    (cached / "cifar-10-batches-py").mkdir(parents=True)
    assert datasets.cifar10_folder() == cached
    assert datasets.cifar10_folder(cached / "cifar-10-batches-py") == cached
    monkeypatch.setenv("XAI_LESSONS_CIFAR10", str(named))
    assert datasets.cifar10_folder() == named
    assert datasets.cifar10_folder(cached) == cached
    monkeypatch.setenv("XAI_LESSONS_CIFAR10", str(nowhere / "mistyped"))
    with pytest.raises(ValueError, match=r"mistyped does not hold CIFAR-10.*check XAI_LESSONS_CIFAR10"):
        datasets.cifar10_folder()


def test_torchvisions_own_files_are_read(nowhere, monkeypatch):
    import torchvision

    class Stored:
        data, targets = np.arange(30 * 32 * 32 * 3).reshape(30, 32, 32, 3).astype(np.uint8), list(range(10)) * 3

        def __init__(self, root, train, download):
            assert (root, download) == (str(nowhere), False)

    (nowhere / "cifar-10-batches-py").mkdir()
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Stored)
    train, test = datasets.cifar10(nowhere)
    assert train.classes == test.classes == datasets.CIFAR10_CLASSES
    assert torch.equal(test.images, torch.from_numpy(Stored.data).permute(0, 3, 1, 2))
    first = datasets.cifar10_test(nowhere, each=2)
    assert first.labels.tolist() == [k for k in range(10) for _ in range(2)]
    assert torch.equal(first.images[1], test.images[10])
    assert torch.equal(datasets.cifar10_test(nowhere, each=3).images[:3], test.images[[0, 10, 20]])


def test_torchvisions_damaged_files_are_one_sentence(nowhere):
    (nowhere / "cifar-10-batches-py").mkdir()
    with pytest.raises(ValueError, match=r"is damaged \(.*\): delete it and fetch it again"):
        datasets.cifar10_test(nowhere)


def test_cifar10_offline_is_one_sentence(nowhere, monkeypatch):
    import torchvision

    def offline(*_, **__):
        raise OSError

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(OSError\): connect, or name the folder"):
        datasets.cifar10()
