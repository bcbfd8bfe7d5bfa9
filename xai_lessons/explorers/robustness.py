"""How much can it take: the accuracy of several networks against epsilon, under one attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers.fgsm import ATTACKS, FGSM, GRAY, PGD
from xai_lessons.explorers.kit import BUILT_IN, Cache, Explorer, Reporter, network, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Many, Slider, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel, chart_panel
from xai_lessons.methods import fgsm


@lru_cache(maxsize=4)
def _images(n: int) -> tuple[Tensor, Tensor]:
    """Images that no network was trained on, with their labels."""
    return menagerie.sample(n, seed=5)[:2]


@dataclass(frozen=True)
class RobustnessState:
    """Which networks, under which attack."""

    networks: tuple[str, ...] = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust")  # their names
    attack: str = FGSM  # one of `ATTACKS`
    pictures: int = 20  # how many are attacked
    largest: int = 16  # the largest epsilon, in gray values
    at: float = 8.0  # where the curves are read off, in gray values


@dataclass(frozen=True)
class RobustnessResult:
    """The curves that are done."""

    names: tuple[str, ...]  # of the networks
    epsilons: np.ndarray  # (n,) in pixel units
    curves: np.ndarray  # accuracy (networks, n)


class RobustnessExplorer(Explorer):
    """Accuracy against epsilon: several networks, one attack.

    Args:
        networks: names, or Classifiers, to choose from.
        data: images (N, 3, H, W) and labels (N,); drawn if not given.
        initial: fields of the state to start from.
    """

    name, title = "robustness", "How much can it take?"
    question = "Which network stays right longest under FGSM? Is that still so under PGD? And with random signs?"
    State = RobustnessState
    stage = ("networks", "attack", "at")
    shown_by_code = ("epsilons", "curves")

    def __init__(self, networks: Sequence[Any] = (), data: tuple[Tensor, Tensor] | None = None, **initial: Any) -> None:
        self.data, self.given = data, {one.name: one for one in networks if isinstance(one, models.Classifier)}
        self.network_names = tuple(getattr(one, "name", one) for one in networks) or BUILT_IN
        self._curve_cache = Cache(64)
        if networks:
            initial = {"networks": self.network_names, **initial}
        super().__init__(**initial)

    def controls(self) -> tuple[Control, ...]:
        """Networks, attack, images, and where to read."""
        counts = (10, 20, 50, 100, 200) if self.data is None else (len(self.data[1]) // 2, len(self.data[1]))
        at: dict[str, Any] = {"low": 0.0, "high": lambda state: float(state.largest), "step": 0.5, "format": ".1f"}
        return group(
            "Attack",
            Many("networks", "Networks", choices=self.network_names),
            Choice("attack", "Attack", choices=tuple(ATTACKS), buttons=True),
            Slider("largest", "ε up to", values=(4, 8, 16, 32), format="d", changes=("epsilons",)),
            Slider("pictures", "Pictures", values=counts, format="d"),
            Slider("at", "Read off at", **at, changes=(PANELS,)),
            changes=("curves",),
        )

    def compute(self, state: RobustnessState, progress: Reporter) -> Iterator[RobustnessResult]:
        """One curve after the other."""
        epsilons = np.linspace(0, state.largest, 9) / GRAY
        curves = np.zeros((0, len(epsilons)))
        for n, name in enumerate(state.networks, 1):
            curves = np.concatenate([curves, self._curve(name, state, epsilons, progress)[None]])
            yield RobustnessResult(state.networks[:n], epsilons, curves)
        if not state.networks:
            yield RobustnessResult((), epsilons, curves)

    def panels(self, result: RobustnessResult, state: RobustnessState) -> list[Panel]:
        """The curves, and the bars of one epsilon."""
        at, x = min(state.at, state.largest), GRAY * result.epsilons
        values = [float(np.interp(at, x, curve)) for curve in result.curves]
        lines: dict[str, tuple[Any, Any]] = {
            n: (x, curve) for n, curve in zip(result.names, result.curves, strict=True)
        }
        axes: dict[str, Any] = {"x_limits": (0, state.largest), "y_limits": (0, 1), "width": 560, "height": 320}
        axes |= {"marker": at, "places": self.network_names}
        chart = plots.curves(lines, x_label="ε, of 255", y_label="accuracy", **axes)
        listed = ", ".join(f"{name} {value:.0%}" for name, value in zip(result.names, values, strict=True))
        title = f"Accuracy under {state.attack}, ε up to {state.largest} of 255"
        colors = [self.network_names.index(name) for name in result.names]
        return [
            chart_panel(title, chart, f"Curves of the accuracy; at {at:g} of 255: {listed}", 560),
            bar_panel(f"At ε = {at:g} of 255", result.names, values, colors=colors, width=460, row=50),
        ]

    def describe(self, result: RobustnessResult, state: RobustnessState) -> str:
        """How many are still right at the largest epsilon."""
        if not result.names:
            return "Tick a network."
        ends = [f"{name} {y[0]:.0%} → {y[-1]:.0%}" for name, y in zip(result.names, result.curves, strict=True)]
        return f"{state.pictures} pictures, {state.attack}, ε from 0 to {state.largest} of 255: {'; '.join(ends)}."

    def code(self, state: RobustnessState) -> str:
        """The same curves."""
        n, given = state.pictures, [name for name in state.networks if name in self.given]
        data = f"images, labels, _ = menagerie.sample({n}, seed=5)"
        if self.data is not None:
            data = f"images, labels = images[:{n}], labels[:{n}]  # of the pictures that you gave"
        chosen = [f"networks[{name!r}]" if name in given else f"models.load({name!r})" for name in state.networks]
        steps = ", steps=5" if state.attack == PGD else ""
        return with_imports(
            data,
            *["# networks are those that you gave, by name"] * bool(given),
            f"epsilons = np.linspace(0, {state.largest}, 9) / {GRAY}",
            f"chosen = [{', '.join(chosen)}]",
            f"options = dict(epsilons=epsilons.tolist(), attack={ATTACKS[state.attack]!r}{steps})",
            "curves = np.stack([fgsm.robust_accuracy(model, images, labels, **options) for model in chosen])",
            f"lines = {{name: (255 * epsilons, y) for name, y in zip({list(state.networks)!r}, curves)}}",
            "plots.plot(lines, x_label='epsilon, of 255', y_label='accuracy')",
        )

    def code_names(self, state: RobustnessState) -> dict[str, Any]:
        """What the shown code takes as given."""
        names: dict[str, Any] = {"networks": self.given} if self.given else {}
        return names if self.data is None else {**names, "images": self.data[0], "labels": self.data[1]}

    def _curve(self, name: str, state: RobustnessState, epsilons: np.ndarray, progress: Reporter) -> np.ndarray:
        """The accuracy of one network; the last curves are kept."""
        key = (name, state.attack, state.pictures, state.largest)
        if key not in self._curve_cache:
            images, labels = _images(state.pictures) if self.data is None else self.data
            accuracy = fgsm.robust_accuracy(
                self.given.get(name) or network(name),
                images[: state.pictures],
                labels[: state.pictures],
                epsilons.tolist(),
                ATTACKS[state.attack],
                steps=5,
                batch_size=1 if state.attack == PGD else 4,  # so that Stop is answered soon
                progress=progress,
            )
            self._curve_cache[key] = accuracy.cpu().numpy()
        curve: np.ndarray = self._curve_cache[key]
        return curve
