"""How much can it bear: the accuracy of several networks against epsilon, under one attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers.fgsm import ATTACKS, FGSM, GRAY, PGD
from xai_lessons.explorers.kit import BUILT_IN, PANELS, Choice, Control, Explorer, Many, Panel, Slider, network
from xai_lessons.methods import fgsm


@lru_cache(maxsize=4)
def _pictures(n: int) -> tuple[Tensor, Tensor]:
    """Pictures that no network was trained on."""
    return menagerie.sample(n, seed=5)[:2]


@dataclass(frozen=True)
class RobustnessState:
    """Which networks, under which attack.

    Attributes:
        networks: their names.
        attack: one of `ATTACKS`.
        pictures: how many are attacked.
        largest: the largest epsilon, in gray values.
        at: where the curves are read off, in gray values.
    """

    networks: tuple[str, ...] = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust")
    attack: str = FGSM
    pictures: int = 20
    largest: int = 16
    at: float = 8.0


@dataclass(frozen=True)
class RobustnessResult:
    """The curves that are done.

    Attributes:
        names: of the networks.
        epsilons: (n,) in pixel units.
        curves: accuracy (networks, n).
    """

    names: tuple[str, ...]
    epsilons: np.ndarray
    curves: np.ndarray


class RobustnessExplorer(Explorer):
    """Accuracy against epsilon: several networks, one attack.

    Args:
        networks: names, or Classifiers, to choose from.
        data: pictures (N, 3, H, W) and labels (N,); drawn if not given.
        initial: fields of the state to start from.
    """

    name, title = "robustness", "How much can it bear?"
    question = "Which network stands longest under FGSM? Is it still so under PGD? And under random signs?"
    State = RobustnessState
    shown_by_code = ("epsilons", "curves")

    def __init__(self, networks: Sequence[Any] = (), data: tuple[Tensor, Tensor] | None = None, **initial: Any) -> None:
        self.data, self.given = data, {one.name: one for one in networks if isinstance(one, models.Classifier)}
        self.network_names = tuple(getattr(one, "name", one) for one in networks) or BUILT_IN
        self._done: dict[tuple[Any, ...], np.ndarray] = {}  # curves of this session
        if networks:
            initial = {"networks": self.network_names, **initial}
        super().__init__(**initial)

    def controls(self) -> tuple[Control, ...]:
        """Networks, attack, pictures, and where to read."""
        what: dict[str, Any] = {"changes": ("curves",), "group": "Attack"}
        counts = (10, 20, 50, 100, 200) if self.data is None else (len(self.data[1]) // 2, len(self.data[1]))
        return (
            Many(name="networks", label="Networks", choices=self.network_names, **what),
            Choice(name="attack", label="How", choices=tuple(ATTACKS), buttons=True, **what),
            Slider(
                name="largest",
                label="ε up to",
                values=(4, 8, 16, 32),
                format="d",
                group="Attack",
                changes=("epsilons",),
            ),
            Slider(name="pictures", label="Pictures", values=counts, format="d", **what),
            Slider(
                name="at",
                label="Read off at",
                low=0.0,
                high=lambda state: float(state.largest),
                step=0.5,
                format=".1f",
                changes=(PANELS,),
                group="Attack",
            ),
        )

    def compute(self, state: RobustnessState, progress: Callable[[int, int], object]) -> Iterator[RobustnessResult]:
        """One curve after the other."""
        epsilons = np.linspace(0, state.largest, 9) / GRAY
        images, labels = self._data(state)
        curves: list[np.ndarray] = []
        for name in state.networks:
            key = (name, state.attack, state.pictures, state.largest)
            if key not in self._done:
                self._done[key] = fgsm.robust_accuracy(
                    self.given.get(name) or network(name),
                    images,
                    labels,
                    epsilons.tolist(),
                    ATTACKS[state.attack],
                    steps=5,
                    batch_size=1 if state.attack == PGD else 4,  # so that Stop is answered soon
                    progress=progress,
                ).numpy()
            curves.append(self._done[key])
            yield RobustnessResult(state.networks[: len(curves)], epsilons, np.stack(curves))
        if not curves:
            yield RobustnessResult((), epsilons, np.zeros((0, len(epsilons))))

    def panels(self, result: RobustnessResult, state: RobustnessState) -> list[Panel]:
        """The curves, and the bars of one epsilon."""
        at = min(state.at, state.largest)
        read = [float(np.interp(at, GRAY * result.epsilons, curve)) for curve in result.curves]
        lines: dict[str, tuple[Any, Any]] = {
            name: (GRAY * result.epsilons, curve) for name, curve in zip(result.names, result.curves, strict=True)
        }
        chart = plots.curves(
            lines,
            x_label="ε, of 255",
            y_label="accuracy",
            x_limits=(0, state.largest),
            y_limits=(0, 1),
            marker=at,
            width=560,
            height=340,
        )
        listed = ", ".join(f"{name} {value:.0%}" for name, value in zip(result.names, read, strict=True))
        bars = plots.bars(result.names, read, width=440, row=44)
        title = f"Right under {state.attack} with ε up to {state.largest} of 255"
        return [
            Panel(title, chart, f"Curves of the accuracy; at {at:g} of 255: {listed}", 560, sharp=True),
            Panel(f"At ε = {at:g} of 255", bars, f"Bars of the accuracy: {listed}", 440, sharp=True),
        ]

    def describe(self, result: RobustnessResult, state: RobustnessState) -> str:
        """How many are still right with the largest epsilon."""
        if not result.names:
            return "Tick a network."
        ends = [
            f"{name} {curve[0]:.0%} → {curve[-1]:.0%}" for name, curve in zip(result.names, result.curves, strict=True)
        ]
        return f"{state.pictures} pictures, {state.attack}, ε from 0 to {state.largest} of 255: {'; '.join(ends)}."

    def code(self, state: RobustnessState) -> str:
        """The same curves."""
        lines = ["import numpy as np", "", "from xai_lessons import fgsm, menagerie, models", ""]
        n, given = state.pictures, [name for name in state.networks if name in self.given]
        if self.data is None:
            lines.append(f"images, labels, _ = menagerie.sample({n}, seed=5)")
        else:
            lines.append(f"images, labels = images[:{n}], labels[:{n}]  # of the pictures that you gave")
        if given:
            lines.append("# networks are those that you gave, by name")
        loaded = ", ".join(
            f"networks[{name!r}]" if name in given else f"models.load({name!r})" for name in state.networks
        )
        lines += [
            f"epsilons = np.linspace(0, {state.largest}, 9) / {GRAY}",
            f"chosen = [{loaded}]",
            "options = dict(epsilons=epsilons.tolist(), "
            f"attack={ATTACKS[state.attack]!r}{', steps=5' if state.attack == PGD else ''})",
            "curves = np.stack([fgsm.robust_accuracy(model, images, labels, **options) for model in chosen])",
        ]
        return "\n".join(lines)

    def code_names(self, state: RobustnessState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names: dict[str, Any] = {"networks": self.given} if self.given else {}
        return names if self.data is None else {**names, "images": self.data[0], "labels": self.data[1]}

    def _data(self, state: RobustnessState) -> tuple[Tensor, Tensor]:
        images, labels = _pictures(state.pictures) if self.data is None else self.data
        return images[: state.pictures], labels[: state.pictures]
