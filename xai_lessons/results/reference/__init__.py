"""What student reports and papers published on photographs, and the same measured here: tables and figures.

`tables` and `figures` take any ImageNet network. Those of SqueezeNet 1.0 are stored (figures of scikit-image's
photographs only): a lesson shows them where no such network is available.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xai_lessons import models, plots, results
from xai_lessons.core.inputs import closest
from xai_lessons.data import photos

FOLDER = "XAI_LESSONS_PHOTOS"  # names a folder of your own photographs
SAMPLES = ("chelsea", "coffee", "rocket", "astronaut")  # scikit-image's
MOST = 16

# What was published. A photograph is named after what is in it.
LOOKED = {
    "labrador_retriever": ("the dog",),
    "cat_dog": ("the dog", "the cat"),
    "tabby": ("its face",),
    "cheetah": ("its face and spots",),
    "african_elephant": ("the elephant",),
}
PAIRS = {"cat_dog": ("boxer", "tiger cat")}  # a photograph of two animals: a map for each of these classes
# Which classes are right for a photograph that is not named after a class; ImageNet has none for an astronaut.
RIGHT: dict[str, tuple[str, ...]] = {
    "chelsea": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "coffee mug", "cup"),
    "rocket": ("missile", "projectile"),
    "astronaut": (),
    "cat_dog": PAIRS["cat_dog"],
}
ERASED = {"egyptian_cat": "perfume", "umbrella": "envelope", "mushroom": "birdhouse", "bloodhound": "fur coat"}
LEFT = {"cheetah": "0.88"}  # the probability in a report that hid patches of it
CHANGED = "stretcher, mountain tent, conch"  # labels after a flip or a change of brightness


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
        """The table as text, in columns of equal width."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def only(self, *names: str) -> Table:
        """The rows whose first cell is one of these."""
        return Table(self.columns, tuple(row for row in self.rows if row[0] in names))


def photographs(
    network: models.Classifier, folder: str | os.PathLike[str] | None = None, most: int = MOST
) -> dict[str, Tensor]:
    """scikit-image's photographs and those of your folder, prepared for the network.

    Args:
        network: for which they are prepared.
        folder: by default the one named by the environment variable `XAI_LESSONS_PHOTOS`, if any. A file that is named
            after its subject (`umbrella.jpg`, `tiger_cat.png`) is explained for that class.
        most: at most so many of the folder, the first by name.

    Returns:
        Name -> (3, input_size, input_size). A file that cannot be read is left out, with a warning.

    Raises:
        ValueError: if the folder does not exist or holds no images.

    Example:
        >>> from xai_lessons import models, reference
        >>> list(reference.photographs(models.load("menagerie-resnet"), most=0))
        ['chelsea', 'coffee', 'rocket', 'astronaut']
    """
    images = {name: network.prepare(photos.sample(name)) for name in SAMPLES}
    folder = folder or os.environ.get(FOLDER)
    for name, path in list(photos.folder(folder).items() if folder else ())[:most]:
        try:
            images[name] = network.prepare(photos.load(path))
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return images


def subject(network: models.Classifier, name: str, image: Tensor) -> int:
    """The class that a photograph is explained for: the one of its name, or else the predicted one.

    Args:
        network: the network.
        name: of the photograph.
        image: (3, S, S).

    Example:
        >>> from xai_lessons import menagerie, models, reference
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> model.classes[reference.subject(model, "dog", image)], model.classes[reference.subject(model, "pet", image)]
        ('dog', 'cat')
    """
    words, classes = name.replace("_", " ").casefold(), [one.casefold() for one in network.classes]
    return classes.index(words) if words in classes else int(network.predict(image).argmax())


def right(name: str, answer: str) -> bool:
    """Whether a class is right for a photograph: one of `RIGHT`, or the class of its name ("king snake" for "snake").

    Args:
        name: of the photograph.
        answer: name of the class.

    Example:
        >>> from xai_lessons import reference
        >>> reference.right("tiger_cat", "tiger cat"), reference.right("snake", "king snake")
        (True, True)
    """
    words = name.replace("_", " ").casefold()
    if name in RIGHT:
        return answer in RIGHT[name]
    return f" {answer.casefold()}".endswith(f" {words}")


def says(network: models.Classifier, image: Tensor) -> str:
    """The predicted class and its probability as a short text.

    Args:
        network: the network.
        image: (3, S, S).

    Example:
        >>> from xai_lessons import menagerie, models, reference
        >>> reference.says(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image).split()[0]
        'cat'
    """
    p, c = network.predict(image).cpu().max(dim=0)
    return f"{short(network.classes[int(c)], 15)} {float(p):.0%}"


def short(name: str, most: int = 18) -> str:
    """The name of a class, cut to so many letters.

    Args:
        name: of the class.
        most: letters.

    Example:
        >>> from xai_lessons import reference
        >>> reference.short("black-footed ferret", 8)
        'black-f…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def stored(name: str) -> Table:
    """A table of `tables`, as SqueezeNet 1.0 gave it.

    Args:
        name: of the table.

    Raises:
        ValueError: if there is no such table.

    Example:
        >>> from xai_lessons import reference
        >>> reference.stored("looked").columns[:2]
        ('photograph', 'published')
    """
    columns, rows = _stored("tables", name)
    return Table(tuple(columns), tuple(map(tuple, rows)))


def stored_figure(name: str) -> plots.Static:
    """A figure of `figures` on scikit-image's photographs, as SqueezeNet 1.0 gave it.

    Args:
        name: of the figure.

    Raises:
        ValueError: if there is no such figure.

    Example:
        >>> from xai_lessons import reference
        >>> reference.stored_figure("eight").kind
        'jpeg'
    """
    caption = _stored("captions", name)
    return plots.Static((results.FOLDER / f"reference-{name}.jpg").read_bytes(), caption, "jpeg")


def _stored(kind: str, name: str) -> Any:
    known = results.load("reference").values[kind]
    if name not in known:
        raise ValueError(f"there is no {name!r} in the stored {kind}: did you mean {closest(name, known)}?")
    return known[name]
