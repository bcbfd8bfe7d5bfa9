"""The pictures that two networks get wrong: which class is taken for which, how surely, and where they looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.data import datasets
from xai_lessons.explorers.kit import ANY, PANELS, Button, Choice, Control, Explorer, Panel, Toggle, network
from xai_lessons.methods import cam
from xai_lessons.results import cifar10
from xai_lessons.training import test_set
from xai_lessons.training.augmentation import pixels

SHOWN, COLUMNS, TILE = 6, 3, 144
WRONG, ALONE, BOTH, RIGHT = "it is wrong", "it is wrong, the other right", "both are wrong", "it is right"


@dataclass(frozen=True)
class MistakesState:
    """Which pictures are shown.

    Attributes:
        network: whose answers are looked at.
        truth, said: what the picture is, and what that network says; "any" for all.
        which: one of the four kinds of pictures.
        surest: whether the pictures that it is surest of come first, else last.
        page: how many times the next six were asked for.
        looked: whether its Grad-CAM lies over the pictures.
    """

    network: str = ""
    truth: str = ANY
    said: str = ANY
    which: str = WRONG
    surest: bool = True
    page: int = 0
    looked: bool = False


@dataclass(frozen=True)
class MistakesResult:
    """Up to six pictures and what both networks say of them.

    Attributes:
        index: their numbers among all pictures (n,).
        found: how many pictures there are of that kind.
        images: (n, 3, H, W) in [0, 1].
        answers: of each network the probabilities (2, n, K), the chosen network first.
        maps: Grad-CAM of the chosen network's answer (n, H, W), where it was asked for.
        counts: the confusion matrix of the chosen network (K, K).
    """

    index: np.ndarray
    found: int
    images: np.ndarray
    answers: np.ndarray
    maps: np.ndarray
    counts: np.ndarray


class MistakesExplorer(Explorer):
    """What two networks get wrong in a set of pictures, a cell of the confusion matrix at a time.

    Args:
        pictures: any set with labels, such as `datasets.cifar10_test()`; bytes or floats.
        networks: two of them, names or `models.Classifier`s that know the same classes.
        answers: their probabilities (N, K) if they are known already, by name; else they are computed, which takes a
            while for many pictures.
        initial: fields of the state to start from.

    Raises:
        ValueError: if there are not two networks with these classes.
    """

    name, title = "mistakes", "What do they get wrong?"
    question = "Choose a cell of the matrix. Would you have known better? And does the other network?"
    State = MistakesState
    shown_by_code = ("index", "counts")

    def __init__(
        self,
        pictures: datasets.Pictures,
        networks: Sequence[str | models.Classifier] = cifar10.NETWORKS,
        *,
        answers: Mapping[str, Tensor] | None = None,
        **initial: Any,
    ) -> None:
        self.pictures = pictures
        loaded = [network(one) if isinstance(one, str) else one for one in networks]
        self.models = {model.name: model for model in loaded}
        if len(self.models) != 2 or any(tuple(m.classes) != tuple(pictures.classes) for m in loaded):
            raise ValueError(f"two networks that know {', '.join(pictures.classes)} are needed; see networks=")
        known = answers or {}
        self.answers = {
            name: known[name].cpu() if name in known else test_set.predict(model, pictures.images)
            for name, model in self.models.items()
        }
        super().__init__(**{"network": next(iter(self.models)), **initial})

    def controls(self) -> tuple[Control, ...]:
        """The network, the cell of its confusion matrix, and which pictures of it."""
        classes = (ANY, *self.pictures.classes)
        which: dict[str, Any] = {"changes": ("index",), "group": "Which pictures"}
        others: dict[str, Any] = {"choices": (WRONG, ALONE, BOTH, RIGHT), "label": "Those where"}
        return (
            Choice(
                name="network", label="Network", choices=tuple(self.models), changes=("index", "counts"), buttons=True
            ),
            Choice(name="truth", label="It is", choices=classes, **which, help="A row of the matrix"),
            Choice(name="said", label="It says", choices=classes, **which, help="A column of the matrix"),
            Choice(name="which", **others, **which, help="The other is the network that is not chosen"),
            Toggle(name="surest", label="Surest first", **which, help="How sure the chosen network is of its answer"),
            Button(name="more", label="The next six", act=_more, **which),
            Toggle(name="looked", label="Where it looked", changes=("maps", PANELS), help="Grad-CAM of its answer"),
        )

    def compute(self, state: MistakesState, progress: Callable[[int, int], object]) -> MistakesResult:
        """Choose the pictures, and look at them again."""
        model, (first, second) = self.models[state.network], self._both(state)
        index = _chosen(first, second, self.pictures, state)
        shown = _page(index, state.page)
        images = pixels(self.pictures.images[shown])
        maps = torch.zeros(0)
        if state.looked and len(shown):
            maps = cam.grad_cam(model, images, first[shown].argmax(dim=1), progress=progress).cpu()
        counts = test_set.summarize(first, self.pictures.labels).confusion
        answers = torch.stack([first[shown], second[shown]])
        return MistakesResult(shown.numpy(), len(index), images.numpy(), answers.numpy(), maps.numpy(), counts.numpy())

    def panels(self, result: MistakesResult, state: MistakesState) -> list[Panel]:
        """The confusion matrix with the chosen cell, and the pictures."""
        classes = self.pictures.classes
        marked = [None if name == ANY else classes.index(name) for name in (state.truth, state.said)]
        matrix = plots.matrix(result.counts, classes, marked=(marked[0], marked[1]), width=430)
        right = result.counts.trace() / max(1, result.counts.sum())
        said = f"{state.network} is right on {right:.1%} of {result.counts.sum():,} pictures"
        first = SHOWN * (state.page % max(1, -(-result.found // SHOWN)))
        numbers = f"{first + 1} to {first + len(result.index)} of {result.found}"
        title = numbers if result.found else "There is no such picture"
        return [
            Panel(title, self._sheet(result, state), self._told(result, state), COLUMNS * (TILE + 10), sharp=True),
            Panel(f"All answers of {state.network}", matrix, f"Its confusion matrix: {said}", 430, sharp=True),
        ]

    def describe(self, result: MistakesResult, state: MistakesState) -> str:
        """How many pictures there are of that kind."""
        conditions = [f"the truth is {state.truth}"] * (state.truth != ANY)
        conditions += [f"it says {state.said}"] * (state.said != ANY) + [state.which]
        order = "surest" if state.surest else "least sure"
        return (
            f"{state.network}: {result.found:,} of {len(self.pictures.labels):,} pictures where "
            f"{', '.join(conditions)}. First stand those that it is {order} of."
        )

    def code(self, state: MistakesState) -> str:
        """The same pictures and the confusion matrix."""
        other = next(name for name in self.models if name != state.network)
        conditions = {
            WRONG: "answer != labels",
            ALONE: "(answer != labels) & (others == labels)",
            BOTH: "(answer != labels) & (others != labels)",
            RIGHT: "answer == labels",
        }
        lines = [
            "from xai_lessons.training import test_set",
            "",
            "# pictures are the pictures that you gave, first and second the two networks",
            f"# first: {state.network}, second: {other}",
            "labels = pictures.labels",
            "probabilities = test_set.predict(first, pictures.images)",
            "sure, answer = probabilities.max(dim=1)",
            "others = test_set.predict(second, pictures.images).argmax(dim=1)",
            f"chosen = {conditions[state.which]}",
        ]
        for name, what in ((state.truth, "labels"), (state.said, "answer")):
            if name != ANY:
                lines.append(f"chosen &= {what} == {self.pictures.classes.index(name)}  # {name}")
        pages = f"[{SHOWN} * ({state.page} % max(1, -(-len(index) // {SHOWN}))) :][:{SHOWN}]"
        return "\n".join(
            [
                *lines,
                "index = chosen.nonzero()[:, 0]",
                f"index = index[sure[index].argsort(descending={state.surest}, stable=True)]{pages}",
                "counts = test_set.summarize(probabilities, labels).confusion",
            ]
        )

    def code_names(self, state: MistakesState) -> dict[str, Any]:
        """What the shown code takes as given."""
        other = next(name for name in self.models if name != state.network)
        return {"pictures": self.pictures, "first": self.models[state.network], "second": self.models[other]}

    def _both(self, state: MistakesState) -> tuple[Tensor, Tensor]:
        """The answers of the chosen network, and of the other."""
        other = next(name for name in self.models if name != state.network)
        return self.answers[state.network], self.answers[other]

    def _sheet(self, result: MistakesResult, state: MistakesState) -> np.ndarray:
        """The pictures at twice their size on the screen, below each what it is and what both say."""
        side, foot = 2 * TILE, 124
        rows = max(1, -(-len(result.index) // COLUMNS))
        image = Image.new("RGB", (COLUMNS * (side + 20), rows * (side + foot)), "white")
        draw = ImageDraw.Draw(image)
        for n in range(len(result.index)):
            x, y = (n % COLUMNS) * (side + 20), (n // COLUMNS) * (side + foot)
            tile = plots.enlarge(result.images[n], side, smooth=True)
            if state.looked and len(result.maps):
                tile = plots.overlay(tile, result.maps[n])
            image.paste(Image.fromarray(tile), (x, y))
            lines = [(f"is {self._truth(result, n)}", plots.INK)]
            told = self._say(result, state, n)
            lines += [(f"{who}: {said}", plots.PALETTE[int(not right)]) for who, said, right in told]
            for k, (line, ink) in enumerate(lines):
                fonts = (plots.font(size) for size in (30, 26, 22))  # a long name is set smaller
                face = next((one for one in fonts if one.getlength(line) <= side), plots.font(22))
                draw.text((x, y + side + 22 + 36 * k), plots.fit(line, face, side), ink, face, anchor="lm")
        return np.asarray(image)

    def _truth(self, result: MistakesResult, n: int) -> str:
        return self.pictures.classes[int(self.pictures.labels[int(result.index[n])])]

    def _say(self, result: MistakesResult, state: MistakesState, n: int) -> list[tuple[str, str, bool]]:
        """Of both networks a short name, what it says of the n-th picture, and whether that is right."""
        others = [name for name in self.models if name != state.network]
        names = [name.rpartition("-")[2] for name in (state.network, *others)]
        if len(set(names)) < 2:
            names = ["it", "other"]
        truth, classes = self._truth(result, n), self.pictures.classes
        best = [(p.max(), classes[int(p.argmax())]) for p in result.answers[:, n]]
        return [(who, f"{sure:.0%} {said}", said == truth) for who, (sure, said) in zip(names, best, strict=True)]

    def _told(self, result: MistakesResult, state: MistakesState) -> str:
        told = []
        for n in range(len(result.index)):
            said = ", ".join(f"{who} says {what}" for who, what, _ in self._say(result, state, n))
            told.append(f"{self._truth(result, n)} ({said})")
        return "Pictures: " + "; ".join(told) if told else "no picture"


def _more(state: MistakesState) -> MistakesState:
    """The next page; after the last comes the first."""
    return replace(state, page=state.page + 1)


def _page(index: Tensor, page: int) -> Tensor:
    """The six of that page, counted round and round."""
    pages = max(1, -(-len(index) // SHOWN))
    return index[SHOWN * (page % pages) :][:SHOWN]


def _chosen(first: Tensor, second: Tensor, pictures: datasets.Pictures, state: MistakesState) -> Tensor:
    """The numbers of all pictures of the chosen kind, in order of the chosen network's confidence."""
    (sure, answer), other = first.max(dim=1), second.argmax(dim=1)
    wrong, also = answer != pictures.labels, other != pictures.labels
    chosen = {WRONG: wrong, ALONE: wrong & ~also, BOTH: wrong & also, RIGHT: ~wrong}[state.which]
    for name, values in ((state.truth, pictures.labels), (state.said, answer)):
        if name != ANY:
            chosen = chosen & (values == pictures.classes.index(name))
    index = chosen.nonzero()[:, 0]
    return index[sure[index].argsort(descending=state.surest, stable=True)]
