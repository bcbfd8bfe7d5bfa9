"""Many images at once: splits without overlap, planted shortcuts, and drawing in several processes."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .backgrounds import BACKGROUNDS
from .factors import CLASSES, ELEMENTS, check_class, check_factors, known
from .objects import OBJECTS
from .palette import pick
from .scene import PART_NAMES, SPLITS, Masks, Scene, check_seed, check_size, random_stream

if TYPE_CHECKING:
    from torch import Tensor

    from xai_lessons.core.progress import Progress

SHORTCUTS: dict[str, str] = {
    "tree": "birds are always in a leafy tree, nobody else is; seen in the mask 'tree'",
    "tag": "umbrellas always carry a printed tag in the corner, nobody else does; seen in the mask 'tag'",
    "sea": "sailboats are always at sea, nobody else is; seen in the mask 'background'",
    "collar": "dogs always wear a collar, no other mammal does; seen in the mask 'collar'",
}
SHORTCUT_MASKS: dict[str, str] = {"tree": "tree", "tag": "tag", "sea": "background", "collar": "collar"}
_BATCH = 32
_IN_PROCESS = 100  # for fewer images starting processes takes longer than drawing
Drawn = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def sampled(
    index: int, seed: int = 0, shortcuts: Sequence[str] = (), split: str = "open", size: int = 96,
    classes: Sequence[str] | None = None, **factors: Any
) -> Scene:  # fmt: skip
    """Return image number `index` of `sample(...)` with the same arguments, as a scene that can be changed.

    Args:
        index: of the image in the sample, from 0.
        seed: as for `sample`.
        shortcuts: as for `sample`.
        split: as for `sample`.
        size: height and width in pixels.
        classes: as for `sample`.
        **factors: as for `sample`.

    Returns:
        The scene.

    Raises:
        ValueError: as `sample`.

    Example:
        >>> sampled(3).name
        'elephant'
    """
    names = _check(index + 1, seed, shortcuts, split, size, classes, factors)
    return _scene(index, names, seed, shortcuts, split, size, factors)


def sampled_pair(
    index: int, seed: int = 0, shortcuts: Sequence[str] = (), split: str = "open", size: int = 96,
    classes: Sequence[str] | None = None, **factors: Any
) -> Scene:  # fmt: skip
    """Return image number `index` of `sample_pairs(...)` with the same arguments, as a scene that can be changed.

    Args:
        index: of the image in the sample, from 0.
        seed: as for `sample_pairs`.
        shortcuts: as for `sample_pairs`.
        split: as for `sample_pairs`.
        size: as for `sample_pairs`.
        classes: as for `sample_pairs`.
        **factors: as for `sample_pairs`.

    Returns:
        The scene.

    Raises:
        ValueError: as `sample`.

    Example:
        >>> sampled_pair(3).names
        ('sailboat', 'mushroom')
    """
    names = _check(index + 1, seed, shortcuts, split, size, classes, factors)
    return _scene(index, names, seed, shortcuts, split, size, factors, pair=True)


def sample_pairs(
    n: int, seed: int = 0, shortcuts: Sequence[str] = (), split: str = "open", size: int = 96,
    classes: Sequence[str] | None = None, progress: "Progress" = None, workers: int | None = None, start: int = 0,
    **factors: Any
) -> tuple["Tensor", "Tensor", Masks]:  # fmt: skip
    """Draw n images of two objects side by side, each of a random class: what a detector learns from.

    Args:
        n: number of images.
        seed: random seed of the whole sample.
        shortcuts: cues to plant, names in SHORTCUTS; a cue shows if one of the objects is of its class.
        split: "train", "validation", "test" or "open"; no image of one can occur in another.
        size: height and width in pixels.
        classes: the classes to draw; None: all.
        progress: as in `sample`.
        workers: as in `sample`.
        start: the index of the first image, to draw a large sample in parts.
        **factors: what is the same in all images, see FACTORS.

    Returns:
        images (n, 3, size, size) float32 in [0, 1], labels (n, 2) of the left and the right object, and the masks, name
        -> bool (n, size, size), where "first" and "second" are the two objects.

    Raises:
        ValueError: for an unknown name or a value out of its range; it lists what there is.
        RuntimeError: if a drawing process fails.

    Example:
        >>> images, labels, masks = sample_pairs(2, size=32)
        >>> labels.shape, masks["first"].shape
        (torch.Size([2, 2]), torch.Size([2, 32, 32]))
    """
    import torch

    names = _check(n, seed, shortcuts, split, size, classes, factors)
    order = {"seed": seed, "shortcuts": list(shortcuts), "split": split, "size": size, "factors": factors}
    images, owners, parts = _sample(n, order | {"names": names, "pair": True, "start": start}, workers, progress)
    keys = ((seed, SPLITS.index(split), start + i) for i in range(n))
    labels = torch.tensor([[CLASSES.index(name) for name in _pair(names, key)] for key in keys])
    seen = ("object", "background", "first", "second", *PART_NAMES, *ELEMENTS)
    return images, labels, Masks(owners, parts, seen, ("first", "second"))


def sample(
    n: int, seed: int = 0, shortcuts: Sequence[str] = (), split: str = "open", size: int = 96,
    classes: Sequence[str] | None = None, progress: "Progress" = None, workers: int | None = None, **factors: Any
) -> tuple["Tensor", "Tensor", Masks]:  # fmt: skip
    """Draw n images, the classes in turn; in several processes if there are many.

    Without shortcuts trees (12 %), tags (10 %) and collars (35 % of the mammals) are independent of the class.

    Args:
        n: number of images.
        seed: random seed of the whole sample.
        shortcuts: cues to plant, names in SHORTCUTS.
        split: "train", "validation", "test" or "open"; no image of one can occur in another.
        size: height and width in pixels.
        classes: the classes to draw; None: all.
        progress: True for a progress bar, or a function called with (done, total). What it raises ends the drawing.
        workers: number of processes; None: as many as there are cores, 1: draw in this one.
        **factors: what is the same in all images, also against a shortcut, see FACTORS.

    Returns:
        images (n, 3, size, size) float32 in [0, 1], labels (n,), and the masks, name -> bool (n, size, size).

    Raises:
        ValueError: for an unknown name or a value out of its range; it lists what there is.
        RuntimeError: if a drawing process fails.

    Example:
        >>> images, labels, masks = sample(4, split="train", size=32)
        >>> images.shape, labels.tolist(), masks["object"].shape
        (torch.Size([4, 3, 32, 32]), [0, 1, 2, 3], torch.Size([4, 32, 32]))
    """
    import torch

    names = _check(n, seed, shortcuts, split, size, classes, factors)
    order = {"seed": seed, "shortcuts": list(shortcuts), "split": split, "size": size, "factors": factors}
    images, owners, parts = _sample(n, order | {"names": names}, workers, progress)
    labels = torch.tensor([CLASSES.index(names[i % len(names)]) for i in range(n)])
    return images, labels, Masks(owners, parts, ("object", "background", *PART_NAMES, *ELEMENTS))


def _sample(
    n: int, order: dict[str, Any], workers: int | None, progress: "Progress"
) -> tuple["Tensor", NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw n images of an order, in several processes if there are many: images, owners and parts."""
    import torch

    from xai_lessons.core.progress import Meter

    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers={workers!r}: expected a number of processes from 1, or None for one per core")
    workers = 1 if workers is None and n < _IN_PROCESS else min(workers or os.cpu_count() or 1, -(-n // _BATCH))
    batches = _draw_here(n, order) if workers == 1 else _draw_in_processes(n, order, workers)
    size = order["size"]
    images = torch.empty(n, 3, size, size)
    owners, parts = np.empty((2, n, size, size), dtype=np.uint8)
    try:
        with Meter(progress, n) as meter:
            meter.add(0)
            for pixels, batch_owners, batch_parts in batches:
                here = slice(meter.done, meter.done + len(pixels))
                torch.div(torch.from_numpy(pixels).permute(0, 3, 1, 2), 255, out=images[here])
                owners[here], parts[here] = batch_owners, batch_parts
                meter.add(len(pixels), images[: here.stop])
    finally:
        batches.close()  # ends the processes
    return images, owners, parts


def _check(
    n: int, seed: int, shortcuts: Sequence[str], split: str, size: int, classes: Any, factors: dict[str, Any]
) -> tuple[str, ...]:
    """Check the arguments of `sample`, and return the classes."""
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n={n!r}: expected a whole number of images from 1")
    if isinstance(shortcuts, str) or isinstance(classes, str):
        raise ValueError("shortcuts and classes are sequences of names, as in shortcuts=('tag',)")
    names = tuple(check_class(name) for name in (CLASSES if classes is None else classes))
    if not names:
        raise ValueError(f"classes is empty; there are {', '.join(CLASSES)}")
    check_seed(seed)
    known(split, SPLITS, "split")
    for shortcut in shortcuts:
        known(shortcut, tuple(SHORTCUTS), "shortcut")
    check_size(size)
    for name in names:
        check_factors((name,), factors)
    return names


def _scene(
    index: int, names: Sequence[str], seed: int, shortcuts: Sequence[str], split: str, size: int, factors: Any,
    pair: bool = False, start: int = 0
) -> Scene:  # fmt: skip
    key = (seed, SPLITS.index(split), start + index)
    own = _pair(names, key) if pair else (names[index % len(names)],)
    return Scene(own, key, size, {**_planted(own, key, shortcuts), **check_factors(own, factors)})


def _pair(names: Sequence[str], key: tuple[int, int, int]) -> tuple[str, str]:
    """Return the classes of the left and the right object."""
    left, right = random_stream(key, "pair").integers(0, len(names), 2)
    return names[left], names[right]


def _planted(names: Sequence[str], key: tuple[int, int, int], shortcuts: Sequence[str]) -> dict[str, Any]:
    """Return the factors by which the shortcuts show in an image of these classes."""
    given: dict[str, Any] = {}
    if "tree" in shortcuts:
        given["tree"] = "bird" in names
    if "tag" in shortcuts:
        given["tag"] = "umbrella" in names
    if "collar" in shortcuts and any(OBJECTS[name].mammal for name in names):
        collars = tuple(name == "dog" for name in names)
        given["collar"] = collars if len(collars) > 1 else collars[0]
    if "sea" in shortcuts:
        ashore = [b for b in BACKGROUNDS if b != "sea"]
        given["background"] = "sea" if "sailboat" in names else pick(random_stream(key, "ashore"), ashore)
    return given


def _draw_here(
    n: int, order: dict[str, Any], first: int = 0, step: int = 1, batch: int = _BATCH
) -> Generator[Drawn, None, None]:
    """Draw every `step`-th batch of n images from the `first` on."""
    for start in range(first * batch, n, step * batch):
        drawn = [_scene(index, **order).pixels for index in range(start, min(start + batch, n))]
        images, owners, parts = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        yield images, owners, parts


def _draw_in_processes(n: int, order: dict[str, Any], workers: int) -> Generator[Drawn, None, None]:
    """Draw the batches in turn by several processes.

    They are plain Python processes, not multiprocessing's: those import the user's script again on Windows and macOS,
    which a notebook or an unguarded script does not survive.
    """
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for k in range(workers):
            job = json.dumps({"n": n, "order": order, "first": k, "step": workers, "batch": _BATCH})
            command = [sys.executable, "-m", f"{__package__}.worker", job]
            processes.append(subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment))
        for i, start in enumerate(range(0, n, _BATCH)):
            shape = (min(_BATCH, n - start), order["size"], order["size"])
            process = processes[i % workers]
            yield _read(process, (*shape, 3)), _read(process, shape), _read(process, shape)
    finally:
        for process in processes:
            process.kill()
            process.communicate()  # waits, and closes the pipes


def _read(process: "subprocess.Popen[bytes]", shape: tuple[int, ...]) -> NDArray[np.uint8]:
    assert process.stdout is not None
    assert process.stderr is not None
    data = process.stdout.read(int(np.prod(shape)))
    if len(data) < np.prod(shape):
        last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"a drawing process ended early ({''.join(last) or 'no message'}); try workers=1")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)


def serve(job: str) -> None:
    """Draw the batches of a job (JSON) and write them to the standard output: what a drawing process does."""
    for drawn in _draw_here(**json.loads(job)):
        for array in drawn:
            sys.stdout.buffer.write(array.tobytes())
    sys.stdout.buffer.flush()
