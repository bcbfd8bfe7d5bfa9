"""The detective game of lesson 7: four suspects, the cues by which they may cheat, the moves, and the repair."""

from __future__ import annotations

import copy
import html
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons import models, training
from xai_lessons.data import datasets, menagerie
from xai_lessons.training import recipes

MAMMALS = ("cat", "dog", "cheetah", "elephant")
LEARNING_RATE = 0.002  # of the repair; a third of the suspects' own, so that they keep what they know


class Cue(NamedTuple):
    """Something by which a network may cheat."""

    words: str  # what the student reads
    scene: str  # a drawing with the cue, in words
    name: str  # of the cue, with its article
    kind: str  # the class that it gives away
    present: dict[str, Any]  # factors of drawings with the cue
    # factors of drawings without it; each entry is used for an equal number of drawings
    absent: tuple[dict[str, Any], ...]
    others: tuple[str, ...]  # the other classes that can have it


def _others(kind: str, classes: Sequence[str] = menagerie.CLASSES) -> tuple[str, ...]:
    return tuple(name for name in classes if name != kind)


ASHORE = tuple({"background": name} for name in ("meadow", "snow", "desert", "room"))
CUES: dict[str, Cue] = {
    "tree": Cue(
        "birds by the leafy tree",
        "a bird in a tree",
        "the tree",
        "bird",
        {"tree": True},
        ({"tree": False},),
        _others("bird"),
    ),
    "tag": Cue(
        "umbrellas by the tag",
        "an umbrella with a tag",
        "the tag",
        "umbrella",
        {"tag": True},
        ({"tag": False},),
        _others("umbrella"),
    ),
    "sea": Cue(
        "sailboats by the sea",
        "a sailboat at sea",
        "the sea",
        "sailboat",
        {"background": "sea"},
        ASHORE,
        _others("sailboat"),
    ),
    "collar": Cue(
        "dogs by the collar",
        "a dog with a collar",
        "the collar",
        "dog",
        {"collar": True},
        ({"collar": False},),
        _others("dog", MAMMALS),
    ),
}
PLAIN = {"background": "meadow", "tree": False, "tag": False}  # of every drawing of the game, but for its cue
OBJECT, CUE, BACKGROUND, ACCUSE = "object", "cue", "background", "accuse"  # what can be done
POINTS, WRONG = 10, 3  # points at the start, and the price of a wrong accusation; an intervention costs one point


@dataclass(frozen=True)
class Suspect:
    """One of the suspects."""

    name: str  # "suspect 1" and so on
    model: models.Classifier  # the network
    planted: tuple[str, ...] = field(default=(), repr=False)  # the cues in its training images; not printed


def line_up(seed: int = 0) -> tuple[Suspect, ...]:
    """Load the four networks of the detective story under neutral names.

    Args:
        seed: determines their order.

    Returns:
        The four suspects.

    Example:
        >>> [suspect.name for suspect in line_up(seed=2)]
        ['suspect 1', 'suspect 2', 'suspect 3', 'suspect 4']
    """
    letters = list("abcd")
    random.Random(seed).shuffle(letters)
    suspects = []
    for number, letter in enumerate(letters, 1):
        model = models.load(f"detective-{letter}")
        model.name = f"suspect {number}"
        suspects.append(Suspect(model.name, model, recipes.recipe(f"detective-{letter}").shortcuts))
    return tuple(suspects)


@lru_cache(maxsize=16)
def exhibit(cue: str, seed: int = 0, size: int = 96) -> menagerie.Scene:
    """Draw the class that a cue gives away, with the cue in it; the last sixteen scenes are kept.

    Args:
        cue: one of `CUES`.
        seed: of the drawing.
        size: in pixels.

    Returns:
        The scene.

    Example:
        >>> exhibit("sea", seed=1).factors["background"]
        'sea'
    """
    return menagerie.draw(CUES[cue].kind, seed, size, **{**PLAIN, **CUES[cue].present})


def changed(scene: menagerie.Scene, cue: str, act: str) -> menagerie.Scene:
    """The same scene after an intervention.

    Args:
        scene: an `exhibit` of this cue.
        cue: one of `CUES`.
        act: `OBJECT` or `CUE`, which goes; or `BACKGROUND`, which turns to snow.

    Returns:
        The scene without its object, without the cue, or with another background.

    Example:
        >>> changed(exhibit("tag"), "tag", CUE).factors["tag"]
        False
    """
    if act == OBJECT:
        return scene.without("object")
    return scene.with_(**(CUES[cue].absent[0] if act == CUE else {"background": "snow"}))


def acts(cue: str) -> dict[str, str]:
    """What can be done with an exhibit: act -> its words; where the cue is the background, that is no act of its own.

    Example:
        >>> acts("sea")["cue"]
        'take the sea away (1 point)'
    """
    one = CUES[cue]
    words = {
        OBJECT: f"take the {one.kind} away (1 point)",
        CUE: f"take {one.name} away (1 point)",
        BACKGROUND: "another background (1 point)",
        ACCUSE: f"accuse: it knows {one.words}",
    }
    return {act: text for act, text in words.items() if act != BACKGROUND or "background" not in one.present}


class Move(NamedTuple):
    """One move of the game."""

    suspect: int  # its place in the line-up, from 0
    cue: str  # of the exhibit
    act: str  # one of `acts`
    seed: int = 0  # of the drawing


class Standing(NamedTuple):
    """How the game stands."""

    points: int  # those left
    accused: tuple[int, ...]  # the places of the suspects that were accused
    caught: tuple[int, ...]  # those of them whose cue was named
    over: bool  # whether all cheats are caught, or no points are left


def standing(suspects: Sequence[Suspect], moves: Iterable[Move]) -> Standing:
    """Count the points of a game.

    An intervention costs one point, a wrong accusation `WRONG`; what was done before costs nothing.

    Args:
        suspects: the line-up.
        moves: all moves so far.

    Returns:
        The points left, and who was accused and caught.

    Example:
        >>> suspects = line_up(seed=2)
        >>> standing(suspects, [Move(3, "tag", CUE), Move(3, "tag", ACCUSE)])
        Standing(points=9, accused=(3,), caught=(3,), over=False)
    """
    points, caught = POINTS, []
    unique = list(dict.fromkeys(move if move.act != ACCUSE else move._replace(seed=0) for move in moves))
    for move in unique:
        if move.act != ACCUSE:
            points -= 1
        elif move.cue in suspects[move.suspect].planted:
            caught.append(move.suspect)
        else:
            points -= WRONG
    accused = tuple(dict.fromkeys(move.suspect for move in unique if move.act == ACCUSE))
    cheats = {n for n, one in enumerate(suspects) if one.planted}
    return Standing(max(points, 0), accused, tuple(caught), points <= 0 or cheats <= set(caught))


def logits(suspect: Suspect, move: Move) -> tuple[float, float]:
    """The logit of the exhibit's class before and after an intervention: what its point buys.

    Args:
        suspect: whose network runs.
        move: an intervention.

    Returns:
        Before, and after.

    Example:
        >>> before, after = logits(line_up(seed=2)[3], Move(3, "tag", CUE))
        >>> before - after > 5
        True
    """
    scene = exhibit(move.cue, move.seed, suspect.model.input_size)
    both = torch.stack([scene.image, changed(scene, move.cue, move.act).image])
    with torch.no_grad():
        scores = suspect.model(both.to(next(suspect.model.parameters()).device))
    before, after = scores[:, suspect.model.class_index(CUES[move.cue].kind)].tolist()
    return before, after


class Verdict(NamedTuple):
    """Whether an accusation is right, and the evidence."""

    right: bool
    counts: dict[str, int]  # scene -> how many of `total` are predicted as the cue's class
    total: int
    text: str


def verdict(suspect: Suspect, cue: str, total: int = 20) -> Verdict:
    """Decide an accusation, and measure the evidence on drawings with and without the cue.

    Args:
        suspect: the accused.
        cue: the cue by which it is said to cheat.
        total: drawings of each kind.

    Returns:
        The verdict: right if its training planted that cue.

    Example:
        >>> verdict(line_up(seed=2)[3], "tag", total=4).counts
        {'with the tag': 4, 'without the tag': 0, 'without the umbrella': 4}
    """
    one, model = CUES[cue], suspect.model
    scenes = [exhibit(cue, seed, model.input_size) for seed in range(total)]
    drawn = {
        f"with {one.name}": scenes,
        f"without {one.name}": [changed(scene, cue, CUE) for scene in scenes],
        f"without the {one.kind}": [changed(scene, cue, OBJECT) for scene in scenes],
    }
    counts = {}
    for title, each in drawn.items():
        answers = model.predict(torch.stack([scene.image for scene in each])).argmax(dim=1)
        counts[title] = int((answers == model.class_index(one.kind)).sum())
    right = cue in suspect.planted
    listed = ", ".join(f"{title} {count}" for title, count in counts.items())
    text = f"{suspect.name} {'knows' if right else 'does not know'} {one.words}"
    text = f"{'Right' if right else 'Wrong'}: {text}. Called {one.kind}, of {total} scenes each: {listed}."
    return Verdict(right, counts, total, text)


class Reveal:
    """The truth about the suspects, folded away in a notebook; `lines` holds it as text."""

    def __init__(self, suspects: Sequence[Suspect]) -> None:
        truths = [", ".join(f"knows {CUES[cue].words}" for cue in one.planted) or "is honest" for one in suspects]
        self.lines = [f"{one.name} {truth}" for one, truth in zip(suspects, truths, strict=True)]

    def __repr__(self) -> str:
        return "The truth is folded away here; print(detective.Reveal(suspects).lines) shows it, too."

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines)
        return f"<details><summary><b>The truth: open it once you are done</b></summary><ul>{items}</ul></details>"


def repair_images(
    cue: str,
    count: int,
    planted: Sequence[str] = (),
    *,
    size: int = 96,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> datasets.Pictures:
    """Draw images like a suspect's training images, but with one cue broken: half of all carry it, whatever they show.

    Args:
        cue: one of `CUES`; any other word breaks nothing.
        count: how many images.
        planted: the cues of the suspect's training; all but `cue` stay planted.
        size: of the images, in pixels.
        seed: of the drawings.
        progress: a callback ``(done, total)``.

    Returns:
        The images, labels and classes.

    Example:
        >>> repair_images("tag", 4, size=32).images.shape
        torch.Size([4, 3, 32, 32])
    """
    rest = tuple(one for one in planted if one != cue)
    half = count // 2 if cue in CUES else 0
    parts = []
    for part, (first, last) in enumerate([(0, half), (half, count)] if half else [(0, count)], 50 + 2 * seed):

        def report(done: int, _total: int, first: int = first) -> None:
            if progress is not None:
                progress(first + done, count)

        factors = CUES[cue].present if last == half else {}
        parts.append(datasets.drawn(last - first, seed=part, shortcuts=rest, size=size, progress=report, **factors))
    images, labels = torch.cat([one.images for one in parts]), torch.cat([one.labels for one in parts])
    return datasets.Pictures(images, labels, parts[0].classes)


def draw_test_sets(cue: str, count: int = 40, *, size: int = 96) -> dict[str, tuple[Tensor, Tensor]]:
    """Draw the test sets of a repair: the class without its cue, other classes with it, and unchanged images.

    Args:
        cue: one of `CUES`; for any other word there are only unchanged images.
        count: images per test set.
        size: of the images, in pixels.

    Returns:
        Name -> images (count, 3, size, size) and labels (count,).

    Example:
        >>> list(draw_test_sets("tag", count=2, size=32))
        ['umbrella without the cue', 'others with the cue', 'ordinary images']
    """
    wanted: dict[str, tuple[Sequence[str] | None, tuple[dict[str, Any], ...]]] = {}
    if cue in CUES:
        one = CUES[cue]
        wanted = {
            f"{one.kind} without the cue": ((one.kind,), one.absent),
            "others with the cue": (one.others, (one.present,)),
        }
    wanted["ordinary images"] = (None, ({},))
    sets = {}
    for name, (classes, variants) in wanted.items():
        each = -(-count // len(variants))
        parts = [menagerie.sample(each, seed=90, size=size, classes=classes, **factors)[:2] for factors in variants]
        sets[name] = (torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts]))
    return sets


class Repair:
    """The repair of a suspect: a copy of it is trained on images with the cue broken, and tested after each epoch.

    Its `model` is the copy, its `training` the training, and `accuracies` holds, for each test set, the accuracy before
    the repair and after each epoch.

    Args:
        suspect, cue, count, epochs, seed: as of `repair`.
        progress: a callback ``(done, total)`` for the drawing of the images.
    """

    def __init__(
        self,
        suspect: Suspect,
        cue: str,
        count: int,
        epochs: int,
        progress: Callable[[int, int], object] | None = None,
        seed: int = 0,
    ) -> None:
        size = suspect.model.input_size
        data = repair_images(cue, count, suspect.planted, size=size, seed=seed, progress=progress)
        self.model = copy.deepcopy(suspect.model)
        self.test_sets = draw_test_sets(cue, size=size)
        settings = training.Settings(epochs=epochs, batch_size=32, learning_rate=LEARNING_RATE, seed=1 + seed)
        validation = (data.images[:32], data.labels[:32])  # never used for a choice
        self.training = training.Training(self.model, data.images, data.labels, validation, settings)
        self.accuracies: dict[str, list[float]] = {name: [] for name in self.test_sets}
        self._test()

    def _test(self) -> None:
        for name, (images, labels) in self.test_sets.items():
            self.accuracies[name].append(training.evaluate(self.model, images, labels).accuracy)

    def steps(self) -> Iterator[training.Step]:
        """Train step by step, testing after each epoch; see `training.Training.steps`.

        Yields:
            What each step did.
        """
        for step in self.training.steps():
            if step.epoch is not None:
                self._test()
            yield step


def repair(suspect: Suspect, cue: str, *, count: int = 800, epochs: int = 3, seed: int = 0) -> Repair:
    """Train a copy of a suspect on images in which one cue is broken.

    Args:
        suspect: the accused; it stays as it is.
        cue: one of `CUES`. Breaking a cue that it does not use changes little. Any other word breaks nothing.
        count: how many images.
        epochs: passes over them.
        seed: of the images and of the training.

    Returns:
        The finished repair: `model`, and `accuracies` before and after each epoch.
    """
    made = Repair(suspect, cue, count, epochs, seed=seed)
    for _ in made.steps():
        pass
    return made
