"""Many pictures at once: splits that share none, planted shortcuts, and drawing in several processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .backgrounds import BACKGROUNDS
from .factors import CLASSES, ELEMENTS, check_class, check_factors, known
from .palette import pick
from .scene import PART_NAMES, SPLITS, Masks, Scene, check_seed, check_size, random_stream
from .things import THINGS

if TYPE_CHECKING:
    from torch import Tensor

SHORTCUTS: dict[str, str] = {
    "tree": "birds are always in a leafy tree, nobody else is; seen in the mask 'tree'",
    "tag": "umbrellas always carry a printed tag in the corner, nobody else does; seen in the mask 'tag'",
    "sea": "sailboats are always at sea, nobody else is; seen in the mask 'background'",
    "collar": "dogs always wear a collar, no other mammal does; seen in the mask 'collar'",
}
SHORTCUT_MASKS: dict[str, str] = {"tree": "tree", "tag": "tag", "sea": "background", "collar": "collar"}
_BATCH = 32
_IN_PROCESS = 100  # for fewer pictures starting processes takes longer than drawing
Drawn = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def sampled(
    index: int,
    seed: int = 0,
    shortcuts: Sequence[str] = (),
    split: str = "open",
    size: int = 96,
    classes: Sequence[str] | None = None,
    **factors: Any,
) -> Scene:
    """Return picture number `index` of `sample(...)` with the same arguments, as a scene that can be changed.

    Raises:
        ValueError: as `sample`.
    """
    names = _check(index + 1, seed, shortcuts, split, size, classes, factors)
    name = names[index % len(names)]
    key = (seed, SPLITS.index(split), index)
    given = {**_planted(name, key, shortcuts), **factors}
    return Scene((name,), key, size, check_factors((name,), given))


def sample(
    n: int,
    seed: int = 0,
    shortcuts: Sequence[str] = (),
    split: str = "open",
    size: int = 96,
    classes: Sequence[str] | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
    workers: int | None = None,
    **factors: Any,
) -> tuple["Tensor", "Tensor", Masks]:
    """Draw n pictures, the classes in turn; in several processes if there are many.

    Without shortcuts trees (12 %), tags (10 %) and collars (35 % of the mammals) are independent of the class.

    Args:
        n: number of pictures.
        seed: random seed of the whole sample.
        shortcuts: cues to plant, names in SHORTCUTS.
        split: "train", "validation", "test" or "open"; no picture of one can occur in another.
        size: side in pixels.
        classes: the classes to draw; None: all.
        progress: True for a progress bar, or a function called with (done, total). What it raises ends the drawing.
        workers: number of processes; None: as many as there are cores, 1: draw in this one.
        **factors: what shall be the same in all pictures, also against a shortcut, see FACTORS.

    Returns:
        images (n, 3, size, size) float32 in [0, 1], labels (n,), and the masks, name -> bool (n, size, size).

    Raises:
        ValueError: for an unknown name or a value out of its range; it lists what there is.
        RuntimeError: if a drawing process fails.
    """
    import torch

    names = _check(n, seed, shortcuts, split, size, classes, factors)
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers={workers!r}: expected a number of processes from 1, or None for one a core")
    order = {
        "n": n, "seed": seed, "shortcuts": list(shortcuts), "split": split, "size": size, "classes": list(names),
        "factors": factors,
    }  # fmt: skip
    workers = 1 if workers is None and n < _IN_PROCESS else min(workers or os.cpu_count() or 1, -(-n // _BATCH))
    batches = _draw_here(order) if workers == 1 else _draw_in_processes(order, workers)

    images = torch.empty(n, 3, size, size)
    owners, parts = np.empty((2, n, size, size), dtype=np.uint8)
    report, close = _reporter(progress, n)
    done = 0
    try:
        report(0)
        for pictures, whose, which in batches:
            end = done + len(pictures)
            torch.div(torch.from_numpy(pictures).permute(0, 3, 1, 2), 255, out=images[done:end])
            owners[done:end], parts[done:end] = whose, which
            done = end
            report(done)
    finally:
        batches.close()  # ends the processes
        close()
    labels = torch.tensor([CLASSES.index(names[i % len(names)]) for i in range(n)])
    return images, labels, Masks(owners, parts, ("object", "background", *PART_NAMES, *ELEMENTS))


def _check(
    n: int,
    seed: int,
    shortcuts: Sequence[str],
    split: str,
    size: int,
    classes: Sequence[str] | None,
    factors: dict[str, Any],
) -> tuple[str, ...]:
    """Check the arguments of `sample`, and return the classes."""
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"{n!r} pictures: expected a whole number from 1")
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


def _planted(name: str, key: tuple[int, int, int], shortcuts: Sequence[str]) -> dict[str, Any]:
    """Return the factors by which the shortcuts show in a picture of the class."""
    given: dict[str, Any] = {}
    if "tree" in shortcuts:
        given["tree"] = name == "bird"
    if "tag" in shortcuts:
        given["tag"] = name == "umbrella"
    if "collar" in shortcuts and THINGS[name].mammal:
        given["collar"] = name == "dog"
    if "sea" in shortcuts:
        ashore = [b for b in BACKGROUNDS if b != "sea"]
        given["background"] = "sea" if name == "sailboat" else pick(random_stream(key, "ashore"), ashore)
    return given


def _reporter(
    progress: bool | Callable[[int, int], None] | None, total: int
) -> tuple[Callable[[int], None], Callable[[], None]]:
    if callable(progress):
        return lambda done: progress(done, total), lambda: None
    if not progress:
        return lambda done: None, lambda: None
    from tqdm.auto import tqdm

    bar = tqdm(total=total, desc="drawing", unit="picture")
    return lambda done: bar.update(done - bar.n), bar.close


def _draw_here(
    order: dict[str, Any], first: int = 0, step: int = 1, batch: int = _BATCH
) -> Generator[Drawn, None, None]:
    """Draw every `step`-th batch of an order from the `first` on."""
    names = order["classes"]
    for start in range(first * batch, order["n"], step * batch):
        drawn = []
        for index in range(start, min(start + batch, order["n"])):
            name, key = names[index % len(names)], (order["seed"], SPLITS.index(order["split"]), index)
            given = {**_planted(name, key, order["shortcuts"]), **order["factors"]}
            drawn.append(Scene((name,), key, order["size"], given).pixels)
        images, owners, parts = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        yield images, owners, parts


def _draw_in_processes(order: dict[str, Any], workers: int) -> Generator[Drawn, None, None]:
    """Draw the batches of an order in turn by several processes.

    They are plain Python processes, not multiprocessing's: those import the user's script again on Windows and macOS,
    which a notebook or an unguarded script does not survive.
    """
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for k in range(workers):
            job = json.dumps({"order": order, "first": k, "step": workers, "batch": _BATCH})
            command = [sys.executable, "-m", f"{__package__}.worker", job]
            processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=environment)
            )  # fmt: skip
        size = order["size"]
        for i, start in enumerate(range(0, order["n"], _BATCH)):
            shape = (min(_BATCH, order["n"] - start), size, size)
            process = processes[i % workers]
            yield _read(process, (*shape, 3)), _read(process, shape), _read(process, shape)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


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
    task = json.loads(job)
    for drawn in _draw_here(**task):
        for array in drawn:
            sys.stdout.buffer.write(array.tobytes())
    sys.stdout.buffer.flush()
