"""Fool it: one picture under attack, the answer before and after, and the way there.

An epsilon is counted in gray values here, of 255, because that is what a slider can be read by; the methods take it
in pixel units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import plots
from xai_lessons.core import inputs
from xai_lessons.explorers.kit import (
    PANELS,
    Button,
    Choice,
    Control,
    ImageExplorer,
    ImageState,
    NetworkState,
    Panel,
    Slider,
    Toggle,
    resized,
)
from xai_lessons.methods import cam, fgsm

FGSM, PGD, NOISE = "FGSM", "PGD", "random signs"
ATTACKS = {FGSM: "fgsm", PGD: "pgd", NOISE: "noise"}
AWAY = "away from its answer"
GRAY, LARGEST = 255, 32


def _nothing() -> np.ndarray:
    """What is not computed yet."""
    return np.zeros(0)


def random_signs(images: Tensor, epsilon: float, seed: int = 0) -> Tensor:
    r"""The control of every attack: $x' = clip(x + \epsilon s, 0, 1)$, each sign $s$ by the toss of a coin.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        epsilon: the change of each pixel, in [0, 1].
        seed: of the coin; the same signs for all pictures.

    Returns:
        The changed pictures, like `images`.
    """
    coin = torch.rand(images.shape[-3:], generator=inputs.generator(seed)).to(images.device)
    return (images + epsilon * torch.where(coin < 0.5, 1.0, -1.0)).clamp(0, 1)


@dataclass(frozen=True)
class AttackState(ImageState, NetworkState):
    """A picture, a network, and the attack.

    Attributes:
        method: one of `ATTACKS`.
        epsilon: the largest change of a pixel, in gray values.
        target: the class to be led to, or `AWAY`.
        steps: of PGD.
        magnify: how many times larger the change is shown.
        original, as_seen: what is shown.
        maps: whether Grad-CAM is computed before and after.
    """

    method: str = FGSM
    epsilon: float = 4.0
    target: str = AWAY
    steps: int = 10
    magnify: int = 20
    original: bool = False
    as_seen: bool = False
    maps: bool = False


@dataclass(frozen=True)
class AttackResult:
    """What the attack did.

    Attributes:
        image, attacked: before and after (3, S, S) in [0, 1].
        shown: the picture before, drawn for the screen.
        before, probabilities: of all classes (K,), before and after.
        epsilons, logits: the way there: (n,) in gray values, and the logits (n, K) at each.
        maps: Grad-CAM of the answer before and of the answer after (2, S, S), if asked for.
    """

    image: np.ndarray
    attacked: np.ndarray
    shown: np.ndarray
    before: np.ndarray
    probabilities: np.ndarray
    epsilons: np.ndarray = field(default_factory=_nothing)
    logits: np.ndarray = field(default_factory=_nothing)
    maps: np.ndarray = field(default_factory=_nothing)


class AttackExplorer(ImageExplorer):
    """A picture under attack: the change magnified, the answer before and after, and the way from one to the other."""

    name, title = "attack", "How is it fooled?"
    question = "How few gray values are enough? And what do random signs of the same size do?"
    State = AttackState
    shown_by_code = ("attacked", "probabilities")
    pairs = ("cat + dog",)

    def controls(self) -> tuple[Control, ...]:
        """The attack first, then how it is shown, then the network and the picture."""
        attack: dict[str, Any] = {"changes": ("attacked", "probabilities"), "group": "Attack"}
        shown: dict[str, Any] = {"changes": (PANELS,), "group": "How it is shown"}
        return (
            Slider(
                name="epsilon",
                label="ε, of 255",
                low=0.0,
                high=float(LARGEST),
                step=0.5,
                format=".1f",
                help="No pixel changes by more gray values than that",
                **attack,
            ),
            Choice(name="method", label="How", choices=tuple(ATTACKS), buttons=True, **attack),
            Choice(name="target", label="Lead it", choices=self._targets, **attack, when=_is_attack),
            Slider(name="steps", label="Steps", low=1, high=40, **attack, when=lambda state: state.method == PGD),
            Button(
                name="enough",
                label="Just enough to flip it",
                act=self._enough,
                help="Looks for the smallest ε",
                **attack,
                when=lambda state: state.method == FGSM,
            ),
            Slider(name="magnify", label="Magnify", values=(1, 5, 10, 20, 40), format="d", help="The change", **shown),
            Toggle(name="original", label="Show the original instead", **shown),
            Toggle(name="as_seen", label="Show what the network sees", **shown),
            Toggle(name="maps", label="Where does it look? (Grad-CAM)", **{**shown, "changes": ("maps",)}),
            *self.network_controls("attacked", "probabilities"),
            *self.image_controls("image", "attacked"),
        )

    def compute(self, state: AttackState, progress: Callable[[int, int], object]) -> Iterator[AttackResult]:
        """The attack first, which is quick; then the sharp picture, the way there, and the maps."""
        model, image = self.model(state), self.image(state)
        attacked = self._attack(state, model, image, state.epsilon / GRAY, progress).cpu()
        before, after = model.predict(torch.stack([image, attacked])).cpu().numpy()
        small = resized(image, self.screen).numpy()
        result = AttackResult(image.numpy(), attacked.numpy(), small, before, after)
        yield result
        result = replace(result, shown=self.screen_image(state).numpy())
        yield result
        # FGSM's pictures of every epsilon are its picture of epsilon 1, cut to within epsilon of the original
        far = attacked if state.method == PGD else self._attack(state, model, image, 1.0, progress).cpu()
        epsilons = torch.linspace(0, state.epsilon if state.method == PGD and state.epsilon else LARGEST, 17)
        way = torch.stack([far.clamp(image - e, image + e) for e in epsilons / GRAY])
        with torch.no_grad():
            logits = model(way.to(model.device)).float().cpu().numpy()
        result = replace(result, epsilons=epsilons.numpy(), logits=logits)
        yield result
        if state.maps:
            maps = [cam.grad_cam(model, one, progress=progress).cpu().numpy() for one in (image, attacked)]
            yield replace(result, maps=np.stack(maps))

    def panels(self, result: AttackResult, state: AttackState) -> list[Panel]:
        """The picture, the change, the answer, the way there, and where it looks."""
        change = result.attacked - result.image
        classes, side = self.model(state).classes, result.image.shape[-1]
        picture = self._picture(result, state, not state.original)
        title = "The original" if state.original else f"{state.method}, ε = {state.epsilon:g} of 255"
        if state.as_seen:
            title += f", the {side} × {side} pixels"
        was, now = int(result.before.argmax()), int(result.probabilities.argmax())
        first = np.argsort(-np.maximum(result.probabilities, result.before), kind="stable")[:5]
        names = [classes[i] for i in first]
        marked = [i for i, name in enumerate(names) if name == (self.label(state) or classes[was])]
        bars = plots.bars(
            names,
            result.probabilities[first].tolist(),
            marked=marked,
            before=result.before[first].tolist(),
            width=384,
            row=44,
        )
        listed = ", ".join(f"{classes[i]} {result.probabilities[i]:.0%}" for i in first)
        most = GRAY * float(np.abs(change).max())
        magnified = plots.enlarge(plots.pixels(0.5 + state.magnify * change), self.screen)
        caption = f"Gray: no change. The largest is {most:.1f} gray values."
        panels = [
            Panel(title, picture, f"{self.alt(state)}, {title}", sharp=state.as_seen),
            Panel(
                "What it says",
                bars,
                f"Bars of the probabilities: {listed}",
                sharp=True,
                caption="Orange: what it is. Black line: before.",
            ),
        ]
        for i, (when, c) in enumerate((("Before", was), ("After", now))):
            if len(result.maps):
                laid = plots.overlay(self._picture(result, state, bool(i)), result.maps[i])
                panels.append(Panel(f"{when}: Grad-CAM for {classes[c]}", laid, f"{when.lower()}, the map"))
        name = f"The change, {state.magnify} times"
        panels.append(Panel(name, magnified, "what was added", sharp=True, caption=caption))
        if result.logits.size:
            panels.append(self._way(result, state, was))
        return panels

    def describe(self, result: AttackResult, state: AttackState) -> str:
        """What it says now, and what it said before."""
        classes = self.model(state).classes
        was, now = int(result.before.argmax()), int(result.probabilities.argmax())
        text = f"Before: {classes[was]}, {result.before[was]:.0%}. "
        text += f"With {state.method} and ε = {state.epsilon:g} of 255: {classes[now]}, {result.probabilities[now]:.0%}"
        if state.target != AWAY and state.method != NOISE:
            wanted = state.target
            text += f" ({wanted} was wanted: {result.probabilities[classes.index(wanted)]:.0%})"
        return text + (". The answer has not changed." if was == now else ".")

    def code(self, state: AttackState) -> str:
        """The attack, and the probabilities before and after."""
        own = ["from xai_lessons.explorers.fgsm import random_signs"] if state.method == NOISE else []
        modules = ("fgsm",) if state.method != NOISE else ()
        lines = [self.setup_code(state, *modules, *(["cam"] if state.maps else []), also=own)]
        options = [f"epsilon={state.epsilon:g} / {GRAY}"]
        if state.method == NOISE:
            lines.append(f"attacked = random_signs(image, {options[0]})")
        else:
            options += [f"steps={state.steps}"] if state.method == PGD else []
            if state.target != AWAY:
                options = [repr(state.target), *options, "targeted=True"]
            lines.append(f"attacked = fgsm.{ATTACKS[state.method]}(model, image, {', '.join(options)})")
        lines.append("before, probabilities = model.predict(image), model.predict(attacked)")
        some = min(3, len(self.model(state).classes))
        lines.append(f"for p, i in zip(*probabilities.topk({some})):\n    print(f'{{model.classes[i]:20}} {{p:.1%}}')")
        if state.maps:
            lines.append("maps = [cam.grad_cam(model, picture) for picture in (image, attacked)]")
        return "\n".join(lines)

    # How it works.

    def _attack(
        self, state: AttackState, model: Any, image: Tensor, epsilon: float, progress: Callable[[int, int], object]
    ) -> Tensor:
        if state.method == NOISE:
            return random_signs(image, epsilon)
        target = None if state.target == AWAY else state.target
        options: dict[str, Any] = {"epsilon": epsilon, "targeted": target is not None, "progress": progress}
        if state.method == PGD:
            return fgsm.pgd(model, image, target, steps=state.steps, **options)
        return fgsm.fgsm(model, image, target, **options)

    def _enough(self, state: AttackState) -> AttackState:
        """The slider at the smallest epsilon that does it; at its end, if none does."""
        target = None if state.target == AWAY else state.target
        found = fgsm.smallest_epsilon(
            self.model(state), self.image(state), target, targeted=target is not None, largest=LARGEST / GRAY
        )
        gray = GRAY * float(found)
        return replace(state, epsilon=min(math.ceil(2 * gray) / 2, LARGEST) if math.isfinite(gray) else float(LARGEST))

    def _targets(self, state: AttackState) -> tuple[str, ...]:
        return (AWAY, *self.model(state).classes)

    def _picture(self, result: AttackResult, state: AttackState, attacked: bool) -> np.ndarray:
        """The picture for the screen: the change laid over the sharp drawing, or the network's own pixels."""
        if state.as_seen:
            return plots.enlarge(result.attacked if attacked else result.image, self.screen)
        if not attacked:
            return plots.pixels(result.shown)
        change = torch.from_numpy(result.attacked - result.image)[None]
        large = torch.nn.functional.interpolate(change, size=result.shown.shape[-2:], mode="nearest")[0].numpy()
        return plots.pixels(np.clip(result.shown + large, 0, 1))

    def _way(self, result: AttackResult, state: AttackState, was: int) -> Panel:
        """The logits of the answer and of its strongest rival along the way."""
        classes = self.model(state).classes
        if state.target != AWAY and state.method != NOISE and classes.index(state.target) != was:
            rival = classes.index(state.target)
        else:
            answers = result.logits.argmax(1)
            flipped = answers[answers != was]  # the first class that overtakes; if none does, the nearest at the end
            others = np.where(np.arange(len(classes)) == was, -np.inf, result.logits[-1])
            rival = int(flipped[0]) if flipped.size else int(others.argmax())
        lines: dict[str, tuple[Any, Any]] = {classes[c]: (result.epsilons, result.logits[:, c]) for c in (was, rival)}
        chart = plots.curves(lines, x_label="ε, of 255", y_label="logit", marker=state.epsilon, width=384, height=300)
        alt = f"The logits of {classes[was]} and {classes[rival]} along the way to the largest ε"
        return Panel("The way there", chart, alt, sharp=True, caption="Where the lines cross, the answer flips.")


def _is_attack(state: AttackState) -> bool:
    return state.method != NOISE
