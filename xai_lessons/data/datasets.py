"""Datasets to train on: drawn images, CIFAR-10, and any folder with one subfolder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from xai_lessons.core import files, inputs
from xai_lessons.core.libraries import torchvision
from xai_lessons.core.progress import Meter, Progress, Reporter
from xai_lessons.data import menagerie, photos

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FOLDER = "XAI_LESSONS_CIFAR10"  # the environment variable that names the folder with it
VISIBLE = 12  # pixels of an object without which it has no box
_BATCHES = "cifar-10-batches-py"  # what torchvision unpacks


class Pictures(NamedTuple):
    """Images as bytes (N, 3, H, W), their labels (N,) and the names of the classes; see `drawn_pairs` for boxes."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def drawn(
    n: int, *, seed: int = 0, split: str = "train", progress: Progress = None, cache: Path | None = None, **options: Any
) -> Pictures:
    """Draw images of the menagerie as bytes, a quarter of the memory of floats.

    Args:
        n: the number of images.
        seed: the random seed.
        split: "train", "validation", "test" or "open".
        progress: True for a bar, a callback ``(done, total)``, or a `Reporter`, which also gets the images of the
            current thousand as they are drawn; what raises stops the drawing.
        cache: a folder that keeps the images, so that a training that is resumed need not draw them again.
        options: `size`, `classes`, `shortcuts`, `workers` and factors, see `menagerie.sample`.

    Returns:
        The images, with ten classes.

    Example:
        >>> drawn(4, size=32).images.shape
        torch.Size([4, 3, 32, 32])
    """

    def part(start: int, count: int, progress: Progress) -> tuple[Tensor, Tensor]:
        given = {"seed": seed * 1000 + start // 1000, "split": split, "progress": progress, **options}
        return menagerie.sample(count, **given)[:2]

    return _in_parts(n, part, progress, cache, f"pictures-{split}-{n}-{seed}", options)


def drawn_pairs(
    n: int, *, seed: int = 0, split: str = "train", progress: Progress = None, cache: Path | None = None, **options: Any
) -> Pictures:
    """Draw images of two objects as bytes, with their boxes: what a detector is trained on.

    Args:
        n: the number of images.
        seed: the random seed.
        split: "train", "validation", "test" or "open".
        progress: as for `drawn`.
        cache: a folder that keeps the images.
        options: `size`, `classes`, `shortcuts`, `workers` and factors, see `menagerie.sample_pairs`.

    Returns:
        The images, with labels (n, 2, 5): left, top, right and bottom of what can be seen of each object, in pixels,
        and its class; all zeros where fewer than `VISIBLE` pixels of it can be seen.

    Example:
        >>> drawn_pairs(4, size=32).labels.shape
        torch.Size([4, 2, 5])
    """

    def part(start: int, count: int, progress: Progress) -> tuple[Tensor, Tensor]:
        given = {"seed": seed, "split": split, "start": start, "progress": progress, **options}
        images, classes, masks = menagerie.sample_pairs(count, **given)
        boxes = torch.stack([visible_boxes(masks[name]) for name in ("first", "second")], dim=1)
        seen = boxes[..., 2] > 0
        return images, torch.cat([boxes, (classes * seen)[..., None]], dim=2)

    return _in_parts(n, part, progress, cache, f"pairs-{split}-{n}-{seed}", options)


def visible_boxes(masks: Tensor) -> Tensor:
    """The smallest box around each mask.

    Args:
        masks: bool (N, H, W).

    Returns:
        LongTensor (N, 4): left, top, right and bottom edge in pixels; zeros if fewer than `VISIBLE` pixels are in it.

    Example:
        >>> mask = torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> mask[0, 2:6, 1:5] = True
        >>> visible_boxes(mask).tolist()
        [[1, 2, 5, 6]]
    """
    found = []
    for side, dim in ((masks.shape[2], 1), (masks.shape[1], 2)):  # columns, then rows
        seen = masks.any(dim=dim).long()
        found.append((seen.argmax(dim=1), side - seen.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = found
    return torch.stack([left, top, right, bottom], dim=1) * (masks.sum(dim=(1, 2)) >= VISIBLE)[:, None]


def _in_parts(
    n: int, part: Callable[[int, int, Progress], tuple[Tensor, Tensor]], progress: Progress, cache: Path | None,
    name: str, options: dict[str, Any],
) -> Pictures:  # fmt: skip
    """Images and labels drawn by a thousand, whose floats fit into memory, or read from the file that keeps them."""
    inputs.at_least("n", n, 1)
    drawn_with = hashlib.sha256(repr(sorted(options.items())).encode()).hexdigest()[:8]
    kept = None if cache is None else cache / f"{name}-{drawn_with}.safetensors"
    if kept is not None and kept.is_file():
        try:
            stored = safetensors.torch.load_file(kept)
            return Pictures(stored["images"], stored["labels"], tuple(menagerie.CLASSES))
        except (safetensors.SafetensorError, KeyError):  # damaged: drawn again
            kept.unlink()
    images, labels = [], []
    with Meter(progress, n) as meter:
        for start in range(0, n, 1000):
            x, y = part(start, min(1000, n - start), _Part(meter, start))
            images.append((x * 255 + 0.5).to(torch.uint8))
            labels.append(y)
    dataset = Pictures(torch.cat(images), torch.cat(labels), tuple(menagerie.CLASSES))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(kept, safetensors.torch.save({"images": dataset.images, "labels": dataset.labels}))
    return dataset


class _Part(Reporter):
    """Passes the progress of one part on, counted from where it starts."""

    def __init__(self, whole: Meter, start: int) -> None:
        super().__init__()
        self.whole, self.start = whole, start

    def intermediate(self, result: Tensor) -> None:
        """The images of this part so far."""
        self.whole.reporter.intermediate(result)

    def update(self, done: int, total: int) -> None:
        """How many images of all are drawn."""
        self.whole.add(self.start + done - self.whole.done)


def folder(path: str | os.PathLike[str], size: int, fit: str = "crop", each: int | None = None) -> Pictures:
    """Load the images of a folder with one subfolder per class.

    Args:
        path: the folder.
        size: height and width to bring every image to.
        fit: "crop" scales the short side and cuts out the center; "squash" scales both sides.
        each: only so many of each class, spread over the order of their names; all if not given.

    Returns:
        The images, in the order of their names.

    Raises:
        ValueError: if there are not at least two subfolders with images, or a file cannot be read.

    Example:
        >>> images, labels, classes = folder("leaves", size=96)  # doctest: +SKIP
    """
    inputs.at_least("size", size, 1)
    inputs.at_least("each", 1 if each is None else each, 1)
    if fit not in ("crop", "squash"):
        raise ValueError(f"fit must be 'crop' or 'squash', got {fit!r}")
    root = Path(path).expanduser()
    found = {
        sub.name: sorted(f for f in sub.rglob("*") if f.suffix.lower() in photos.ENDINGS and f.name[0] != ".")
        for sub in sorted(root.iterdir() if root.is_dir() else ())
        if sub.is_dir() and not sub.name.startswith(".")
    }
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise ValueError(f"{root} needs at least two subfolders with images, one per class; found {len(classes)}")
    files = [(file, k) for k, name in enumerate(classes) for file in _spread(found[name], each)]
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(lambda entry: _open(entry[0], size, fit), files))
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return Pictures(images, torch.tensor([k for _, k in files]), classes)


def _spread(members: Any, each: int | None) -> Any:
    """Return so many members, evenly spaced: the order of a dataset is seldom random."""
    return members if each is None else members[:: max(1, len(members) // each)][:each]


def _open(file: Path, size: int, fit: str) -> np.ndarray:
    image = photos.open_image(file)
    if fit == "crop" and image.width != image.height:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR))


def split(pictures: Pictures, fraction: float = 0.2, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Split a dataset into a training set and a test set, class by class, so that both hold every class.

    Args:
        pictures: the dataset.
        fraction: the part of each class that is kept for testing, in (0, 1).
        seed: the random seed.

    Returns:
        The training set and the test set.

    Raises:
        ValueError: if a class has fewer than two images.

    Example:
        >>> digits = Pictures(torch.zeros(20, 3, 8, 8), torch.arange(20) % 10, tuple("0123456789"))
        >>> train, test = split(digits, fraction=0.5)
        >>> len(train.images), len(test.images)
        (10, 10)
    """
    inputs.at_least("fraction", fraction, 0, 1)
    rng = inputs.generator(seed)
    train, test = [], []
    for k, name in enumerate(pictures.classes):
        members = torch.nonzero(pictures.labels == k)[:, 0]
        if len(members) < 2:
            raise ValueError(f"the class {name!r} has {len(members)} image(s): two are needed, to train and to test")
        members = members[torch.randperm(len(members), generator=rng)]
        kept = min(len(members) - 1, max(1, round(fraction * len(members))))
        test.append(members[:kept])
        train.append(members[kept:])
    parts = [torch.cat(part).sort().values for part in (train, test)]
    a, b = (Pictures(pictures.images[i], pictures.labels[i], pictures.classes) for i in parts)
    return a, b


def cifar10_folder(source: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the folder on this machine that holds CIFAR-10; nothing is downloaded.

    Args:
        source: a folder that holds `train` and `test`, each with one subfolder per class, or torchvision's
            `cifar-10-batches-py`. If not given, the folder that the environment variable `XAI_LESSONS_CIFAR10` names
            is taken, else torch's cache, where `cifar10` puts its download.

    Returns:
        The folder, or None if none was named and the cache has none.

    Raises:
        ValueError: if the named folder does not hold the set.

    Example:
        >>> cifar10_folder("my-folder")  # doctest: +SKIP
        PosixPath('my-folder')
    """
    named = source or os.environ.get(CIFAR10_FOLDER)
    root = Path(named).expanduser() if named else _cache()
    if root.name == _BATCHES:
        root = root.parent
    if (root / _BATCHES).is_dir() or all((root / part).is_dir() for part in ("train", "test")):
        return root
    if not named:
        return None
    check = "the path" if source else CIFAR10_FOLDER
    raise ValueError(
        f"{root} does not hold CIFAR-10: expected the folders train and test, or {_BATCHES} (check {check})"
    )


def cifar10(source: str | os.PathLike[str] | None = None) -> tuple[Pictures, Pictures]:
    """Load CIFAR-10 (Krizhevsky, 2009): 50,000 images of 32 x 32 pixels to train on and 10,000 to test on.

    Args:
        source: a folder, see `cifar10_folder`; if there is none, torchvision downloads the set into torch's cache.

    Returns:
        The training set and the test set.

    Raises:
        ValueError: if the folder does not hold the set.
        ConnectionError: if the download fails.

    Example:
        >>> train, test = cifar10()  # doctest: +SKIP
    """
    train, test = (_cifar10_part(source, part) for part in ("train", "test"))
    if train.classes != test.classes:
        raise ValueError(f"{source}: train and test hold different classes")
    return train, test


def cifar10_test(source: str | os.PathLike[str] | None = None, each: int | None = None) -> Pictures:
    """Load the test set of CIFAR-10 alone (see `cifar10`), or only `each` images per class.

    Args:
        source: as for `cifar10`.
        each: the number of images per class; all of them if not given.

    Returns:
        The images, with the ten classes of CIFAR-10.

    Example:
        >>> some = cifar10_test(each=10)  # doctest: +SKIP
    """
    return _cifar10_part(source, "test", each)


def _cifar10_part(source: str | os.PathLike[str] | None, part: str, each: int | None = None) -> Pictures:
    root = cifar10_folder(source)
    if root is not None and not (root / _BATCHES).is_dir():
        return folder(root / part, 32, each=each)
    library = torchvision()
    try:
        stored = library.datasets.CIFAR10(str(root or _cache()), train=part == "train", download=root is None)
    except PermissionError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if root is not None:
            raise ValueError(f"CIFAR-10 in {root} is damaged ({reason}): delete it and fetch it again") from error
        advice = "connect, or name the folder with it"
        raise ConnectionError(f"CIFAR-10 could not be downloaded ({reason}): {advice}") from error
    images, labels = torch.from_numpy(stored.data).permute(0, 3, 1, 2), torch.tensor(stored.targets)
    kept = torch.cat([_spread(torch.nonzero(labels == k)[:, 0], each) for k in range(10)]) if each else slice(None)
    return Pictures(images[kept].contiguous(), labels[kept], CIFAR10_CLASSES)


def _cache() -> Path:
    """Where torchvision's download goes."""
    return Path(torch.hub.get_dir()) / "datasets"
