"""Sets of pictures to train on: drawn ones, CIFAR-10, and any folder with a subfolder a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from xai_lessons.core import inputs
from xai_lessons.data import menagerie
from xai_lessons.models import store

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FOLDER = "XAI_LESSONS_CIFAR10"  # the environment variable that names the folder with it
_BATCHES = "cifar-10-batches-py"  # what torchvision unpacks


class Pictures(NamedTuple):
    """Pictures as bytes (N, 3, H, W), their labels (N,) and the names of the classes."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def drawn(
    n: int,
    *,
    seed: int = 0,
    split: str = "train",
    shortcuts: Sequence[str] = (),
    progress: Callable[[int, int], object] | None = None,
    cache: Path | None = None,
    **options: Any,
) -> Pictures:
    """Pictures of the drawn world as bytes, a quarter of the memory of floats.

    Args:
        n: how many.
        seed: which.
        split: "train", "validation", "test" or "open".
        shortcuts: see `menagerie.sample`.
        progress: a callback ``(done, total)``; one that raises stops the drawing.
        cache: a folder that keeps the pictures, so that a training that is resumed need not draw them again.
        options: `size`, `classes`, `workers` and factors, see `menagerie.sample`.

    Returns:
        The pictures, with ten classes.
    """
    inputs.at_least("n", n, 1)
    name = f"{split}-{n}-{seed}-" + hashlib.sha256(repr((shortcuts, sorted(options.items()))).encode()).hexdigest()[:8]
    kept = None if cache is None else cache / f"pictures-{name}.safetensors"
    if kept is not None and kept.is_file():
        try:
            stored = safetensors.torch.load_file(kept)
            return Pictures(stored["images"], stored["labels"], tuple(menagerie.CLASSES))
        except (safetensors.SafetensorError, KeyError):  # damaged: drawn again
            kept.unlink()
    images, labels = [], []
    for start in range(0, n, 1000):  # floats of a thousand pictures at a time
        part = min(1000, n - start)

        def report(done: int, _total: int, start: int = start) -> None:
            if progress is not None:
                progress(start + done, n)

        x, y, _ = menagerie.sample(
            part, seed=seed * 1000 + start // 1000, split=split, shortcuts=shortcuts, progress=report, **options
        )
        images.append((x * 255 + 0.5).to(torch.uint8))
        labels.append(y)
    pictures = Pictures(torch.cat(images), torch.cat(labels), tuple(menagerie.CLASSES))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        content = safetensors.torch.save({"images": pictures.images.contiguous(), "labels": pictures.labels})
        store.write_whole(kept, content)
    return pictures


def folder(path: str | os.PathLike[str], size: int, fit: str = "crop", each: int | None = None) -> Pictures:
    """The pictures of a folder with a subfolder a class.

    Args:
        path: the folder.
        size: height and width to bring every picture to.
        fit: "crop" scales the short side and cuts out the center; "squash" scales both sides.
        each: only so many of each class, spread over the order of their names; all if not given.

    Returns:
        The pictures, in the order of their names.

    Raises:
        ValueError: if there are not at least two subfolders with pictures, or one file cannot be read.
    """
    inputs.at_least("size", size, 1)
    inputs.at_least("each", 1 if each is None else each, 1)
    if fit not in ("crop", "squash"):
        raise ValueError(f"fit must be 'crop' or 'squash', got {fit!r}")
    root = Path(path).expanduser()
    found = {
        sub.name: sorted(f for f in sub.rglob("*") if f.suffix.lower() in ENDINGS and not f.name.startswith("."))
        for sub in sorted(root.iterdir() if root.is_dir() else ())
        if sub.is_dir() and not sub.name.startswith(".")
    }
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise ValueError(f"{root} needs at least two subfolders with pictures, one a class; found {len(classes)}")
    files = [(file, k) for k, name in enumerate(classes) for file in _spread(found[name], each)]
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(lambda entry: _read(entry[0], size, fit), files))
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return Pictures(images, torch.tensor([k for _, k in files]), classes)


def _spread(members: Any, each: int | None) -> Any:
    """So many of them, evenly spaced: sets are seldom in an order that says nothing."""
    return members if each is None else members[:: max(1, len(members) // each)][:each]


def _read(file: Path, size: int, fit: str) -> np.ndarray:
    from xai_lessons.data import photos

    picture = photos.open_picture(file)
    if fit == "crop" and picture.width != picture.height:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def split(pictures: Pictures, share: float = 0.2, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Part a set into one to train on and one to test on, class by class, so that both hold every class.

    Args:
        pictures: what to part.
        share: of each class that is kept for testing, in (0, 1).
        seed: decides which.

    Returns:
        The pictures to train on, and those to test on.

    Raises:
        ValueError: if a class has fewer than two pictures.
    """
    inputs.at_least("share", share, 0, 1)
    rng = inputs.generator(seed)
    train, test = [], []
    for k, name in enumerate(pictures.classes):
        members = torch.nonzero(pictures.labels == k)[:, 0]
        if len(members) < 2:
            raise ValueError(
                f"the class {name!r} has {len(members)} picture(s): two are needed, one to train and one to test"
            )
        members = members[torch.randperm(len(members), generator=rng)]
        kept = min(len(members) - 1, max(1, round(share * len(members))))
        test.append(members[:kept])
        train.append(members[kept:])
    parts = [torch.cat(part).sort().values for part in (train, test)]
    a, b = (Pictures(pictures.images[i], pictures.labels[i], pictures.classes) for i in parts)
    return a, b


def cifar10_at_hand(source: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder on this machine that holds CIFAR-10, if there is one; nothing is downloaded.

    Args:
        source: a folder that holds `train` and `test`, each with a subfolder a class, or torchvision's
            `cifar-10-batches-py`. If not given, the folder that the environment variable `XAI_LESSONS_CIFAR10` names
            is taken, else torch's cache, where `cifar10` puts its download.

    Returns:
        The folder, or None if none was named and the cache has none.

    Raises:
        ValueError: if the named folder does not hold the set.
    """
    named = source or os.environ.get(CIFAR10_FOLDER)
    root = Path(named).expanduser() if named else _cache()
    if root.name == _BATCHES:
        root = root.parent
    if (root / _BATCHES).is_dir() or all((root / part).is_dir() for part in ("train", "test")):
        return root
    if not named:
        return None
    raise ValueError(
        f"{root} does not hold CIFAR-10: expected the folders train and test, or {_BATCHES} (check "
        f"{'the path' if source else CIFAR10_FOLDER})"
    )


def cifar10(source: str | os.PathLike[str] | None = None) -> tuple[Pictures, Pictures]:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 pictures of 32 x 32 pixels to train on and 10,000 to test on.

    Args:
        source: a folder, see `cifar10_at_hand`; where none is at hand, torchvision downloads the set into torch's
            cache.

    Returns:
        The pictures to train on, and those to test on.

    Raises:
        ValueError: if the folder does not hold the set.
        ConnectionError: if the download fails.
    """
    train, test = (_cifar10_part(source, part) for part in ("train", "test"))
    if train.classes != test.classes:
        raise ValueError(f"{source}: train and test hold different classes")
    return train, test


def cifar10_test(source: str | os.PathLike[str] | None = None, each: int | None = None) -> Pictures:
    """The pictures of CIFAR-10 to test on alone (see `cifar10`), or only `each` of each class."""
    return _cifar10_part(source, "test", each)


def _cifar10_part(source: str | os.PathLike[str] | None, part: str, each: int | None = None) -> Pictures:
    root = cifar10_at_hand(source)
    if root is not None and not (root / _BATCHES).is_dir():
        return folder(root / part, 32, each=each)
    import torchvision

    try:
        stored = torchvision.datasets.CIFAR10(str(root or _cache()), train=part == "train", download=root is None)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if root is not None:
            raise ValueError(f"CIFAR-10 in {root} is damaged ({reason}): delete it and fetch it again") from error
        raise ConnectionError(
            f"CIFAR-10 could not be downloaded ({reason}): connect, or name the folder with it"
        ) from error
    images, labels = torch.from_numpy(stored.data).permute(0, 3, 1, 2), torch.tensor(stored.targets)
    kept = torch.cat([_spread(torch.nonzero(labels == k)[:, 0], each) for k in range(10)]) if each else slice(None)
    return Pictures(images[kept].contiguous(), labels[kept], CIFAR10_CLASSES)


def _cache() -> Path:
    """Where torchvision's download goes."""
    return Path(torch.hub.get_dir()) / "datasets"
