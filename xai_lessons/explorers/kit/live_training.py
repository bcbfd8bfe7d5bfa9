"""The base of the explorers that train a network: its images, its training, resumed after Stop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from torch import Tensor

from xai_lessons import models, training
from xai_lessons.data import datasets
from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.cache import Cache
from xai_lessons.explorers.kit.controls import Button, Control, Slider
from xai_lessons.explorers.kit.worker import Reporter

Data = tuple[datasets.Pictures, datasets.Pictures]
REFRESH = 1.0  # seconds between two results of a training
REMEMBERED = 16  # trainings
DRAWING = "Drawing the pictures first."


class LiveTraining(Explorer):
    """Trains a network of the student's choice on Run; a training that was stopped is resumed.

    The state has `pictures` (how many to train on) and `settings` (a `training.Settings`). The trainings of the session
    are cached, the last `REMEMBERED` of them: the same state resumes its own.

    Args:
        data: (images to train on, images to validate on), each a `datasets.Pictures`; drawn if not given. Of the first,
            as many are used as the state says.
        initial: fields of the state to start from.
    """

    live = False
    threads = min(4, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    counts: ClassVar[tuple[int, ...]] = ()
    validation_count: ClassVar[int] = 500
    invitation: ClassVar[str] = "Press Run to train it."

    def __init__(self, data: Data | None = None, **initial: Any) -> None:
        self.data = data
        self._drawn_cache: dict[tuple[str, int], datasets.Pictures] = {}  # the largest set of each split and size
        self._training_cache = Cache(REMEMBERED)
        self._losses: WeakKeyDictionary[training.Training, list[float]] = WeakKeyDictionary()
        super().__init__(**initial)

    # What an explorer writes.

    def fresh(self, state: Any, train: datasets.Pictures) -> models.Classifier:
        """The network to train."""
        raise NotImplementedError

    def report(self, state: Any, made: training.Training | None, note: str = "") -> Any:
        """The result: how far a training is."""
        raise NotImplementedError

    def drawing(self, state: Any, images: Tensor) -> Any:
        """The result while images are drawn: the latest of them."""
        return self.report(state, None, DRAWING)

    def key(self, state: Any) -> Any:
        """What a training depends on."""
        return state

    def size(self, state: Any) -> int:
        """The height and width of the images that are drawn."""
        return 96

    # What it gets.

    def data_controls(self, *changes: str) -> tuple[Control, ...]:
        """How many images, and a button that forgets the training."""
        most = len(self.data[0].labels) if self.data else max(self.counts)
        counts = (*(n for n in self.counts if n < most), most)
        return (
            Slider(name="pictures", label="Pictures", values=counts, format=",d", changes=changes),
            Button(name="again", label="Start this one again", act=self._forget, changes=changes),
        )

    def begun(self, state: Any) -> training.Training | None:
        """The training of a state, if it was begun."""
        return self._training_cache.get(self.key(state))

    def batch_losses(self, made: training.Training | None) -> list[float]:
        """The loss of each batch of a training so far."""
        return list(self._losses.get(made, [])) if made else []

    def preview(self, state: Any) -> Any:
        """How far the training of this state is."""
        made = self.begun(state)
        return self.report(state, made, "" if made else self.invitation)

    def compute(self, state: Any, progress: Reporter) -> Iterator[Any]:
        """Draw the images, then train."""
        made = self.begun(state)
        if made is None:
            if self.data is None:
                yield self.report(state, None, DRAWING)
            train, validation = self._images(state, progress)
            made = training.Training(self.fresh(state, train), *train[:2], validation[:2], state.settings)
        self._training_cache[self.key(state)] = made
        losses, shown = self._losses.setdefault(made, []), time.monotonic()
        for step in made.steps():
            losses[step.done - 1 :] = [float(step.loss)]
            progress(step.done, step.total)
            if step.epoch is not None or time.monotonic() - shown > REFRESH:
                yield self.report(state, made, "Stop at any time: Run goes on from there.")
                shown = time.monotonic()
        yield self.report(state, made)

    def data_code(self, state: Any) -> list[str]:
        """The lines of the shown code that make `train` and `validation`."""
        n = state.pictures
        if self.data is None:
            size = f", size={self.size(state)}" if self.size(state) != 96 else ""
            drawn = f"validation = datasets.drawn({self.validation_count}, split='validation'{size})"
            return [f"train = datasets.drawn({n}{size})", drawn]
        cut = f"train = datasets.Pictures(train.images[:{n}], train.labels[:{n}], train.classes)"
        return ["# train and validation are the pictures that you gave", cut]

    def code_names(self, state: Any) -> dict[str, Any]:
        """What the shown code takes as given."""
        return {} if self.data is None else {"train": self.data[0], "validation": self.data[1]}

    def _images(self, state: Any, progress: Reporter) -> Data:
        """The images, drawn at most once; the first n of a larger set are the n of a smaller one."""
        if self.data is not None:
            train, validation = self.data
        else:
            train = self._drawn("train", state.pictures, state, progress)
            validation = self._drawn("validation", self.validation_count, state, progress)
        n = state.pictures
        return train._replace(images=train.images[:n], labels=train.labels[:n]), validation

    def _drawn(self, split: str, count: int, state: Any, progress: Reporter) -> datasets.Pictures:
        """At least so many images of a split; those that are drawn now are shown."""
        size = self.size(state)
        known = self._drawn_cache.get((split, size))
        if known is None or len(known.labels) < count:
            showing = progress.showing(lambda images: self.drawing(state, images))
            known = datasets.drawn(count, split=split, size=size, progress=showing)
            self._drawn_cache[split, size] = known
        return known

    def _forget(self, state: Any) -> Any:
        self._training_cache.pop(self.key(state), None)
        return state
