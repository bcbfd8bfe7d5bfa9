"""What student reports and papers published on photographs, and the same tried here: tables, and figures.

`tables` and `figures` ask any network that knows photographs. What SqueezeNet 1.0 answered is kept in `stored.json`
(numbers and names of classes) and, for scikit-image's photographs only, in `*.jpg`; both are made anew by
`python -m benchmarks.reference`. A lesson without such a network at hand shows those.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.data import photos

HERE = Path(__file__).parent
FOLDER = "XAI_LESSONS_PHOTOS"  # names a folder of photographs of one's own
SAMPLES = ("chelsea", "coffee", "rocket", "astronaut")  # scikit-image's, which are always there
MOST = 16

# What was published. Photographs go by the names of their files, which are those of what is in them.
LOOKED = {
    "labrador_retriever": ("the dog",),
    "cat_dog": ("the dog", "the cat"),
    "tabby": ("its face",),
    "cheetah": ("its face and spots",),
    "african_elephant": ("the elephant",),
}
PAIRS = {"cat_dog": ("boxer", "tiger cat")}  # a photograph of two things: a map for each of these classes
ERASED = {"egyptian_cat": "perfume", "umbrella": "envelope", "mushroom": "birdhouse", "bloodhound": "fur coat"}
LEFT = {"cheetah": "0.88"}  # the probability in a report that hid patches of it
CHANGED = "stretcher, mountain tent, conch"  # labels after a flip or a change of brightness
ATTACKED = "57.7 % -> gibbon"  # at an epsilon of 0.007


@dataclass(frozen=True)
class Table:
    """Rows of words and rounded numbers.

    Attributes:
        columns: their names.
        rows: one tuple each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """As text, in columns of equal width."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def markdown(self) -> str:
        """As a table of a page."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def only(self, *names: str) -> Table:
        """The rows whose first cell is one of these."""
        return Table(self.columns, tuple(row for row in self.rows if row[0] in names))


def photographs(
    network: models.Classifier, folder: str | os.PathLike[str] | None = None, most: int = MOST
) -> dict[str, Tensor]:
    """scikit-image's photographs and those of a folder of yours, as the network takes them.

    Args:
        network: for which they are prepared.
        folder: if not given, the one that the environment variable `XAI_LESSONS_PHOTOS` names, if it names one. A file
            that is called like its subject (`umbrella.jpg`, `tiger_cat.png`) is asked about that class.
        most: of the folder's pictures; the first by name.

    Returns:
        Name -> (3, input_size, input_size). A file that cannot be read is left out, with a warning.

    Raises:
        ValueError: if the folder is not there, or has no pictures in it.
    """
    pictures = {name: network.prepare(photos.sample(name)) for name in SAMPLES}
    folder = folder or os.environ.get(FOLDER)
    for name, path in list(photos.folder(folder).items() if folder else ())[:most]:
        try:
            pictures[name] = network.prepare(photos.load(path))
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return pictures


def subject(network: models.Classifier, name: str, picture: Tensor) -> int:
    """The class that a photograph is asked about: the one that its name says, else what the network sees in it."""
    words, classes = name.replace("_", " ").casefold(), [one.casefold() for one in network.classes]
    return classes.index(words) if words in classes else int(network.predict(picture).argmax())


def says(network: models.Classifier, picture: Tensor) -> str:
    """What a network says of a picture, and how sure it is, in a few letters: "tiger cat 70%"."""
    p, c = network.predict(picture).cpu().max(dim=0)
    return f"{short(network.classes[int(c)], 15)} {float(p):.0%}"


def short(name: str, most: int = 18) -> str:
    """The name of a class, cut to so many letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def stored(name: str) -> Table:
    """A table of `tables`, as SqueezeNet 1.0 gave it.

    Raises:
        ValueError: if there is no such table.
    """
    kept = facts()["tables"]
    if name not in kept:
        raise ValueError(f"no table {name!r} is stored; there are {', '.join(kept)}")
    columns, rows = kept[name]
    return Table(tuple(columns), tuple(map(tuple, rows)))


def facts() -> dict[str, Any]:
    """All that is stored: how and with what it was made, the tables, the captions of the figures."""
    content: dict[str, Any] = json.loads((HERE / "stored.json").read_text(encoding="utf-8"))
    return content


def stored_figure(name: str) -> plots.Static:
    """A figure of `figures` on scikit-image's photographs, as SqueezeNet 1.0 gave it.

    Raises:
        ValueError: if there is no such figure.
    """
    captions = facts()["captions"]
    if name not in captions:
        raise ValueError(f"no figure {name!r} is stored; there are {', '.join(captions)}")
    return plots.Static((HERE / f"{name}.jpg").read_bytes(), captions[name], "jpeg")


def store(tables: Mapping[str, Table], figures: Mapping[str, plots.Static], path: Path = HERE, **made: Any) -> None:
    """Keep what was measured: tables and captions in `stored.json`, each figure beside it as JPEG.

    Args:
        tables: name -> table.
        figures: name -> figure; of pictures that may be passed on only.
        path: the folder.
        made: how and with what it was made.
    """
    rows: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = {n: (t.columns, t.rows) for n, t in tables.items()}
    content = {**made, "captions": {name: one.caption for name, one in figures.items()}, "tables": rows}
    (path / "stored.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, figure in figures.items():
        (path / f"{name}.jpg").write_bytes(figure.picture)
