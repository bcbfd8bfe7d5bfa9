"""The suspects of the detective story, the cues by which they may cheat, and how one of them is repaired."""

from __future__ import annotations

import contextlib
import copy
import html
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons import models, training
from xai_lessons.data import datasets, menagerie
from xai_lessons.training import recipes

MAMMALS = ("cat", "dog", "cheetah", "elephant")
RATE = 0.002  # of the repair; a third of what the suspects were trained with: they shall keep what they know


class Cue(NamedTuple):
    """Something by which a network may cheat.

    Attributes:
        words: what the student reads.
        kind: the class that it gives away.
        there: factors of pictures with it.
        away: factors of pictures without it, one after the other.
        others: classes that can have it too.
    """

    words: str
    kind: str
    there: dict[str, Any]
    away: tuple[dict[str, Any], ...]
    others: tuple[str, ...]


def _others(kind: str, among: Sequence[str] = menagerie.CLASSES) -> tuple[str, ...]:
    return tuple(name for name in among if name != kind)


ASHORE = tuple({"background": name} for name in ("meadow", "snow", "desert", "room"))
CUES: dict[str, Cue] = {
    "tree": Cue("birds by the leafy tree", "bird", {"tree": True}, ({"tree": False},), _others("bird")),
    "tag": Cue("umbrellas by the tag", "umbrella", {"tag": True}, ({"tag": False},), _others("umbrella")),
    "sea": Cue("sailboats by the sea", "sailboat", {"background": "sea"}, ASHORE, _others("sailboat")),
    "collar": Cue("dogs by the collar", "dog", {"collar": True}, ({"collar": False},), _others("dog", MAMMALS)),
}


@dataclass(frozen=True)
class Suspect:
    """One of the line-up.

    Attributes:
        name: "suspect 1" and so on.
        model: the network.
        planted: the cues in its training pictures; not printed with it.
    """

    name: str
    model: models.Classifier
    planted: tuple[str, ...] = field(default=(), repr=False)


def line_up(seed: int = 0) -> tuple[Suspect, ...]:
    """The four networks of the detective story under neutral names, in an order that the seed decides."""
    letters = list("abcd")
    random.Random(seed).shuffle(letters)
    suspects = []
    for number, letter in enumerate(letters, 1):
        model = models.load(f"detective-{letter}")
        model.name = f"suspect {number}"
        suspects.append(Suspect(model.name, model, recipes.recipe(f"detective-{letter}").shortcuts))
    return tuple(suspects)


class Reveal:
    """The truth about the suspects, folded away; shown by a notebook, printed where there is none."""

    def __init__(self, suspects: Sequence[Suspect]) -> None:
        words = [", ".join(f"knows {CUES[cue].words}" for cue in one.planted) or "is honest" for one in suspects]
        self.lines = [f"{one.name} {what}" for one, what in zip(suspects, words, strict=True)]

    def __repr__(self) -> str:
        return "The truth is folded away here; print(reveal.lines) tells it too."

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines)
        return f"<details><summary><b>The truth: open it when you have accused</b></summary><ul>{items}</ul></details>"


def repair_pictures(
    cue: str,
    pictures: int,
    planted: Sequence[str] = (),
    *,
    size: int = 96,
    progress: Callable[[int, int], object] | None = None,
) -> datasets.Pictures:
    """Pictures like those of a network's training, but with one cue broken: half of all carry it, whatever they show.

    Args:
        cue: one of `CUES`; any other word breaks nothing.
        pictures: how many.
        planted: the cues of its training; what is not accused stays in place.
        size: of the pictures.
        progress: a callback ``(done, total)``.
    """
    rest = tuple(one for one in planted if one != cue)
    parts = [CUES[cue].there, {}] if cue in CUES else [{}]  # the second half as the world has it
    counts = [pictures // 2, pictures - pictures // 2] if cue in CUES else [pictures]
    found = []
    for i, (count, factors) in enumerate(zip(counts, parts, strict=True)):
        before = sum(counts[:i])

        def told(done: int, _total: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, pictures)

        options = {"shortcuts": rest, "size": size, "progress": told, **factors}
        found.append(datasets.drawn(count, seed=50 + i, **options))
    images, labels = torch.cat([one.images for one in found]), torch.cat([one.labels for one in found])
    return datasets.Pictures(images, labels, found[0].classes)


def exams(cue: str, count: int = 40, *, size: int = 96) -> dict[str, tuple[Tensor, Tensor]]:
    """What a repair must pass: the class without its cue, others with it, and pictures as they come.

    Args:
        cue: one of `CUES`; any other word asks for pictures as they come only.
        count: pictures of each kind.
        size: of the pictures.

    Returns:
        Name -> pictures (count, 3, size, size) and labels (count,).
    """
    wanted: dict[str, tuple[Sequence[str] | None, tuple[dict[str, Any], ...]]] = {}
    if cue in CUES:
        it = CUES[cue]
        wanted = {f"{it.kind} without it": ((it.kind,), it.away), "others with it": (it.others, (it.there,))}
    papers = {}
    for name, (classes, factors) in {**wanted, "as they come": (None, ({},))}.items():
        share = -(-count // len(factors))
        parts = [menagerie.sample(share, seed=90, size=size, classes=classes, **one)[:2] for one in factors]
        papers[name] = (torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
    return papers


class Repair:
    """A repair: a copy of the accused, its training on pictures with the cue broken, and its marks after each epoch.

    Args:
        model: the accused; it stays as it is.
        data: what `repair_pictures` gives.
        cue: one of `CUES`.
        epochs: how many.
    """

    def __init__(self, model: models.Classifier, data: datasets.Pictures, cue: str, epochs: int) -> None:
        self.model = copy.deepcopy(model)
        self.exams = exams(cue, size=model.input_size)
        settings = training.Settings(epochs=epochs, batch_size=32, learning_rate=RATE, seed=1)
        held = (data.images[:32], data.labels[:32])  # looked at, never used for a choice
        self.training = training.Training(self.model, data.images, data.labels, held, settings)
        self.marks: dict[str, list[float]] = {name: [] for name in self.exams}
        self.mark()

    def mark(self) -> None:
        """Sit the exams."""
        for name, (images, labels) in self.exams.items():
            self.marks[name].append(training.evaluate(self.model, images, labels).accuracy)

    def epoch(self, progress: Callable[[int, int], object]) -> None:
        """Train to the end of the epoch, and sit the exams; what was stopped goes on from its next batch."""
        epochs = len(self.training.history)

        def look(done: int, total: int) -> None:
            if len(self.training.history) > epochs:
                raise _Bell
            progress(done, total)  # raises where Stop was pressed

        with contextlib.suppress(_Bell):
            self.training.run(look)
        self.mark()
        progress(self.training.step, self.training.total_steps)


def begin(
    suspect: Suspect, cue: str, pictures: int, epochs: int, progress: Callable[[int, int], object] | None = None
) -> Repair:
    """Draw the pictures of a repair; nothing is trained yet. The arguments are those of `repair`."""
    size = suspect.model.input_size
    data = repair_pictures(cue, pictures, suspect.planted, size=size, progress=progress)
    return Repair(suspect.model, data, cue, epochs)


def repair(suspect: Suspect, cue: str, *, pictures: int = 800, epochs: int = 3) -> Repair:
    """Train a copy of a suspect on pictures in which one cue is broken.

    Args:
        suspect: the accused; it stays as it is.
        cue: one of `CUES`. Breaking a cue that it does not use changes little.
        pictures: how many.
        epochs: passes over them.

    Returns:
        The repair: `model`, and `marks`, exam -> shares that are right, before and after each epoch.
    """
    made = begin(suspect, cue, pictures, epochs)
    while not made.training.finished:
        made.epoch(lambda done, total: None)
    return made


class _Bell(Exception):
    """Leaves a training for the exams."""
