"""The images that two networks get wrong: which class is taken for which, how surely, and where they looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.data import datasets
from xai_lessons.explorers.kit import ANY, Explorer, Reporter, network, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import cam
from xai_lessons.results import cifar10
from xai_lessons.training import test_set
from xai_lessons.training.augmentation import pixels

SHOWN, COLUMNS, TILE, SCREEN = 6, 3, 220, 384
WRONG, ALONE, BOTH, RIGHT = "it is wrong", "it is wrong, the other right", "both are wrong", "it is right"
CONDITIONS = {
    WRONG: "answer != labels",
    ALONE: "(answer != labels) & (others == labels)",
    BOTH: "(answer != labels) & (others != labels)",
    RIGHT: "answer == labels",
}


@dataclass(frozen=True)
class MistakesState:
    """Which images are shown."""

    network: str = ""  # whose answers are looked at
    # truth, said: the true class, and that network's answer; "any" for all
    truth: str = ANY
    said: str = ANY
    which: str = WRONG  # one of `CONDITIONS`
    surest: bool = True  # whether the images that it is surest of come first, else last
    page: int = 0  # how often the next six were wanted
    looked: bool = False  # whether its Grad-CAM lies over the images


@dataclass(frozen=True)
class MistakesResult:
    """Up to six images and what both networks say of them."""

    index: np.ndarray  # their indices among all images (n,)
    found: int  # how many images there are of that kind
    images: np.ndarray  # (n, 3, H, W) in [0, 1]
    answers: np.ndarray  # the probabilities of each network (2, n, K), the chosen network first
    maps: np.ndarray  # Grad-CAM of the chosen network's answer (n, H, W), where it is computed
    counts: np.ndarray  # the confusion matrix of the chosen network (K, K)


class MistakesExplorer(Explorer):
    """What two networks get wrong in a set of images, a cell of the confusion matrix at a time.

    Args:
        pictures: any set with labels, such as `datasets.cifar10_test()`; bytes or floats.
        networks: two of them, names or `models.Classifier`, which know the same classes.
        answers: their probabilities (N, K) if they are known already, by name; else they are predicted, which takes a
            while for many images.
        initial: fields of the state to start from.

    Raises:
        ValueError: if there are not two networks with these classes.
    """

    name, title = "mistakes", "What do they get wrong?"
    question = "Choose a cell of the matrix. Do you know better? Does the other network?"
    State = MistakesState
    stage = ("network", "truth", "said", "looked")
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
            expected = f"expected two networks of the classes {', '.join(pictures.classes)}"
            raise ValueError(f"{expected}, got {', '.join(model.name for model in loaded)}: see networks=")
        known = answers or {}
        self.answers = {
            name: known[name].cpu() if name in known else test_set.predict(model, pictures.images)
            for name, model in self.models.items()
        }
        super().__init__(**{"network": next(iter(self.models)), **initial})

    def controls(self) -> tuple[Control, ...]:
        """The network, the cell of its confusion matrix, and which images of it."""
        classes, either = (ANY, *self.pictures.classes), tuple(self.models)
        return (
            Choice("network", "Network", choices=either, changes=("index", "counts"), buttons=True),
            *group(
                "Which pictures",
                Choice("truth", "It is", choices=classes, help="A row of the matrix"),
                Choice("said", "It says", choices=classes, help="A column of the matrix"),
                Choice("which", "Those where", choices=tuple(CONDITIONS), help="The other is the one not chosen"),
                Toggle("surest", "Surest first", help="How sure the chosen network is of its answer"),
                Button("more", "The next six", act=lambda state: replace(state, page=state.page + 1)),
                changes=("index",),
            ),
            Toggle("looked", "Where it looked", changes=("maps", PANELS), help="Grad-CAM of its answer"),
        )

    def compute(self, state: MistakesState, progress: Reporter) -> MistakesResult:
        """Select the images, and compute where the network looked."""
        model, first, second = self.models[state.network], self.answers[state.network], self.answers[self._other(state)]
        index = _select(first, second, self.pictures, state)
        shown = index[SHOWN * (state.page % _pages(len(index))) :][:SHOWN]
        images, maps = pixels(self.pictures.images[shown]), torch.zeros(0)
        if state.looked and len(shown):
            maps = cam.grad_cam(model, images, first[shown].argmax(dim=1), progress=progress).cpu()
        counts = test_set.summarize(first, self.pictures.labels).confusion
        answers = torch.stack([first[shown], second[shown]])
        return MistakesResult(shown.numpy(), len(index), images.numpy(), answers.numpy(), maps.numpy(), counts.numpy())

    def panels(self, result: MistakesResult, state: MistakesState) -> list[Panel]:
        """The images, and the confusion matrix with the chosen cell."""
        classes = self.pictures.classes
        marked = [None if name == ANY else classes.index(name) for name in (state.truth, state.said)]
        matrix = plots.matrix(result.counts, classes, marked=(marked[0], marked[1]), width=350)
        right = result.counts.trace() / max(1, result.counts.sum())
        said = f"{state.network} is right on {right:.1%} of {result.counts.sum():,} pictures"
        first = SHOWN * (state.page % _pages(result.found))
        title = f"All answers of {state.network}"
        caption = f"Shown: {first + 1} to {first + len(result.index)} of {result.found}."
        return [
            *self._tiles(result, state),
            chart_panel(
                title,
                matrix,
                f"Its confusion matrix: {said}",
                350,
                caption if result.found else "There is no such picture.",
            ),
        ]

    def describe(self, result: MistakesResult, state: MistakesState) -> str:
        """How many images there are of that kind."""
        conditions = [f"the truth is {state.truth}"] * (state.truth != ANY)
        conditions += [f"it says {state.said}"] * (state.said != ANY) + [state.which]
        text = f"{state.network}: in {result.found:,} of {len(self.pictures.labels):,} pictures "
        text += f"{', '.join(conditions[:-1])}{' and ' * (len(conditions) > 1)}{conditions[-1]}."
        if result.found < 2:
            return text
        return f"{text} Those that it is {'surest' if state.surest else 'least sure'} of come first."

    def code(self, state: MistakesState) -> str:
        """The same images and the confusion matrix."""
        lines = [
            "# pictures are the pictures that you gave, first and second the two networks",
            f"# first: {state.network}, second: {self._other(state)}",
            "labels = pictures.labels",
            "probabilities = test_set.predict(first, pictures.images)",
            "sure, answer = probabilities.max(dim=1)",
            "others = test_set.predict(second, pictures.images).argmax(dim=1)",
            f"chosen = {CONDITIONS[state.which]}",
        ]
        for name, what in ((state.truth, "labels"), (state.said, "answer")):
            if name != ANY:
                lines.append(f"chosen &= {what} == {self.pictures.classes.index(name)}  # {name}")
        page = f"[{SHOWN} * ({state.page} % max(1, -(-len(index) // {SHOWN}))) :][:{SHOWN}]"
        return with_imports(
            *lines,
            "index = chosen.nonzero()[:, 0]",
            f"index = index[sure[index].argsort(descending={state.surest}, stable=True)]{page}",
            "counts = test_set.summarize(probabilities, labels).confusion",
            "matrix = plots.matrix(counts, pictures.classes)",
            "said = [f'{pictures.classes[labels[i]]}, called {pictures.classes[answer[i]]}' for i in index]",
            "plots.show([*augmentation.pixels(pictures.images[index]), matrix], said)",
            also=["from xai_lessons.training import augmentation, test_set"],
        )

    def code_names(self, state: MistakesState) -> dict[str, Any]:
        """What the shown code takes as given."""
        first, second = self.models[state.network], self.models[self._other(state)]
        return {"pictures": self.pictures, "first": first, "second": second}

    def _other(self, state: MistakesState) -> str:
        """The network that is not chosen."""
        return next(name for name in self.models if name != state.network)

    def _tiles(self, result: MistakesResult, state: MistakesState) -> list[Panel]:
        """The images, below each what both networks say of it."""
        panels = []
        for n, image in enumerate(result.images):
            tile = plots.enlarge(image, SCREEN, smooth=True)
            if state.looked and len(result.maps):
                tile = plots.overlay(tile, result.maps[n])
            told = self._say(result, state, n)
            caption = "; ".join(f"{who}: {said} {'✓' if right else '✗'}" for who, said, right in told)
            truth = self._truth(result, n)
            about = f"{truth} ({caption})"
            panels.append(Panel(f"It is: {truth}", tile, about, TILE, caption=caption, below=n >= COLUMNS))
        return panels

    def _truth(self, result: MistakesResult, n: int) -> str:
        return self.pictures.classes[int(self.pictures.labels[int(result.index[n])])]

    def _say(self, result: MistakesResult, state: MistakesState, n: int) -> list[tuple[str, str, bool]]:
        """Of both networks a short name, what it says of the n-th image, and whether that is right."""
        names = [name.rpartition("-")[2] for name in (state.network, self._other(state))]
        if len(set(names)) < 2:
            names = ["it", "other"]
        truth, classes = self._truth(result, n), self.pictures.classes
        best = [(p.max(), classes[int(p.argmax())]) for p in result.answers[:, n]]
        return [(who, f"{sure:.0%} {said}", said == truth) for who, (sure, said) in zip(names, best, strict=True)]


def _pages(found: int) -> int:
    """How many pages of six there are; after the last comes the first."""
    return max(1, -(-found // SHOWN))


def _select(first: Tensor, second: Tensor, pictures: datasets.Pictures, state: MistakesState) -> Tensor:
    """The indices of all images of the chosen kind, in order of the chosen network's confidence."""
    (sure, answer), labels = first.max(dim=1), pictures.labels
    wrong, also = answer != labels, second.argmax(dim=1) != labels
    chosen = {WRONG: wrong, ALONE: wrong & ~also, BOTH: wrong & also, RIGHT: ~wrong}[state.which]
    for name, values in ((state.truth, labels), (state.said, answer)):
        if name != ANY:
            chosen = chosen & (values == pictures.classes.index(name))
    index = chosen.nonzero()[:, 0]
    return index[sure[index].argsort(descending=state.surest, stable=True)]
