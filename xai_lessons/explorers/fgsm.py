"""One image under attack: the answer before and after, and the way from one to the other.

An epsilon is counted in gray values here, of 255, which a slider shows best; the methods take it in pixel units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import plots
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, Touch
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import cam, fgsm

FGSM, PGD, NOISE = "FGSM", "PGD", "random signs"
ATTACKS = {FGSM: "fgsm", PGD: "pgd", NOISE: "noise"}  # as `fgsm.robust_accuracy` calls them
AWAY = "away from its answer"
GRAY, LARGEST = 255, 32


@dataclass(frozen=True)
class AttackState(ImageState):
    """An image, a network, and the attack."""

    method: str = FGSM  # one of `ATTACKS`
    epsilon: float = 4.0  # the largest change of a pixel, in gray values
    target: str = AWAY  # the target class, or `AWAY`
    steps: int = 10  # of PGD
    magnify: int = 20  # how many times larger the change is shown
    # original, as_seen: what is shown
    original: bool = False
    as_seen: bool = False
    maps: bool = False  # whether Grad-CAM is computed before and after


@dataclass(frozen=True)
class AttackResult(ImageResult):
    """What the attack did."""

    attacked: np.ndarray  # the image after it (3, S, S) in [0, 1]
    # before, probabilities: of all classes (K,), before and after
    before: np.ndarray
    probabilities: np.ndarray
    # epsilons, logits: the way there: (n,) in gray values, and the logits (n, K) at each
    epsilons: np.ndarray = field(default_factory=lambda: np.zeros(0))
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))
    # Grad-CAM of the answer before and of the answer after (2, S, S), where it is computed
    maps: np.ndarray = field(default_factory=lambda: np.zeros(0))


class AttackExplorer(ImageExplorer):
    """An image under attack: the change magnified, the answer before and after, and the way from one to the other."""

    name, title = "attack", "How is it fooled?"
    question = "How few gray values change the answer? And what do random signs do?"
    State = AttackState
    stage = ("epsilon", "method", "target", "enough")
    shown_by_code = ("attacked", "probabilities")
    pairs = ("cat + dog",)

    def controls(self) -> tuple[Control, ...]:
        """The attack first, then how it is shown, then the network and the image."""
        most, enough = "No pixel changes by more gray values than that", "Looks for the smallest ε"
        return (
            *group(
                "Attack",
                Slider("epsilon", "ε, of 255", low=0.0, high=float(LARGEST), step=0.5, format=".1f", help=most),
                Choice("method", "Attack", choices=tuple(ATTACKS), buttons=True),
                Choice("target", "Target", choices=self._targets, when=lambda state: state.method != NOISE),
                Slider("steps", "Steps", low=1, high=40, when=lambda state: state.method == PGD),
                Button("enough", "Just enough to flip it", act=self._enough, help=enough, when=_is_fgsm),
                changes=("attacked", "probabilities"),
            ),
            *group(
                "How it is shown",
                Slider("magnify", "Magnify", values=(1, 5, 10, 20, 40), format="d", help="The change"),
                Toggle("original", "Show the original instead"),
                Toggle("as_seen", "Show what the network sees"),
                Toggle("maps", "Where does it look? (Grad-CAM)", changes=("maps",)),
                changes=(PANELS,),
            ),
            *self.network_controls("attacked", "probabilities"),
            *self.image_controls("image", "attacked"),
        )

    def compute(self, state: AttackState, progress: Reporter) -> Iterator[AttackResult]:
        """The attack first, which is quick; then the image for the screen, the way there, and the maps."""
        model, image = self.model(state), self.image(state)
        attacked = self._attack(state, model, image, state.epsilon / GRAY, progress).cpu()
        before, after = model.predict(torch.stack([image, attacked])).cpu().numpy()
        result = AttackResult(*self.both_sizes(image), attacked.numpy(), before, after)
        yield result
        result = replace(result, shown=self.screen_image(state).numpy())
        yield result
        # FGSM's image of every epsilon is its image of epsilon 1, clipped to within epsilon of the original
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
        """The image, the answer, where it looks, the change, and the way there."""
        change = result.attacked - result.image
        classes, side = self.model(state).classes, result.image.shape[-1]
        title = "The original" if state.original else f"{state.method}, ε = {state.epsilon:g} of 255"
        if state.as_seen:
            title += f", the {side} × {side} pixels"
        was, now = int(result.before.argmax()), int(result.probabilities.argmax())
        panels = [
            Panel(
                title,
                self._shown_image(result, state, attacked=not state.original),
                f"{self.alt(state)}, {title}",
                320,
                sharp=True,  # without loss: JPEG would change more gray values than the attack does
                caption=f"Click it (or press Enter) to see it {'after' if state.original else 'before'} the attack.",
                touch="picture",
            ),
            self.probability_panel(
                state,
                result.probabilities,
                result.before,
                marked=self.label(state) or classes[was],
                order=np.maximum(result.probabilities, result.before),
                caption="Orange: what it is. Line: before."
                if self.label(state)
                else "Orange: the answer before. Line: before.",
                width=380,
                row=50,
            ),
        ]
        maps: list[Panel] = []
        for i, (when, c) in enumerate((("Before", was), ("After", now))):
            if len(result.maps):
                shown = self._shown_image(result, state, attacked=bool(i))
                overlay = plots.overlay(shown, result.maps[i], scale=(0.0, float(result.maps.max()) or 1.0))
                title = f"{when}: Grad-CAM for {classes[c]}"
                maps.append(
                    Panel(
                        title, overlay, f"{when.lower()}, the map", 320, below=True, caption="Both maps on one scale."
                    )
                )
        magnified = plots.enlarge(plots.pixels(0.5 + state.magnify * change), self.screen)
        caption = f"Gray: no change. The largest is {GRAY * float(np.abs(change).max()):.1f} gray values."
        name = f"The change × {state.magnify}"
        panels.append(Panel(name, magnified, "what was added", 320, sharp=True, caption=caption))
        panels += maps
        if result.logits.size:
            panels.append(self._way(result, state, was))
        return panels

    def touch(self, at: Touch, result: AttackResult, state: AttackState) -> AttackState:
        """A click flickers between the image after the attack and the one before it."""
        return replace(state, original=not state.original) if at.kind == "click" else state

    def describe(self, result: AttackResult, state: AttackState) -> str:
        """What it says now, and what it said before."""
        classes = self.model(state).classes
        was, now = int(result.before.argmax()), int(result.probabilities.argmax())
        text = f"Before: {classes[was]}, {result.before[was]:.0%}. "
        text += f"With {state.method} and ε = {state.epsilon:g} of 255: {classes[now]}, {result.probabilities[now]:.0%}"
        wanted = self._target(state)
        if wanted is not None:
            text += f" (the target, {wanted}: {result.probabilities[classes.index(wanted)]:.0%})"
        return text + (". The answer has not changed." if was == now else ".")

    def code(self, state: AttackState) -> str:
        """The attack, and the probabilities before and after."""
        epsilon, target = f"epsilon={state.epsilon:g} / {GRAY}", self._target(state)
        call = f"fgsm.random_signs(image, {epsilon})"
        if state.method != NOISE:
            options = [epsilon] + [f"steps={state.steps}"] * (state.method == PGD)
            options = options if target is None else [repr(target), *options, "targeted=True"]
            call = f"fgsm.{ATTACKS[state.method]}(model, image, {', '.join(options)})"
        return self.script(
            state,
            f"attacked = {call}",
            "before, probabilities = model.predict(image), model.predict(attacked)",
            f"for p, i in zip(*probabilities.topk({min(3, len(self.model(state).classes))})):",
            "    print(f'{model.classes[i]:20} {p:.1%}')",
            *["maps = [cam.grad_cam(model, one) for one in (image, attacked)]"] * state.maps,
            f"shown = [image, attacked, 0.5 + {state.magnify} * (attacked - image)]",
            *[
                "scale = (0, float(max(M.max() for M in maps)))",
                "shown += [plots.overlay(*pair, scale=scale) for pair in zip((image, attacked), maps)]",
            ]
            * state.maps,
            "plots.show(shown, ['before', 'after', 'the change, magnified'])",
        )

    def _target(self, state: AttackState) -> str | None:
        """The target class of a targeted attack."""
        return None if state.target == AWAY or state.method == NOISE else state.target

    def _targets(self, state: AttackState) -> tuple[str, ...]:
        return (AWAY, *self.model(state).classes)

    def _attack(self, state: AttackState, model: Any, image: Tensor, epsilon: float, progress: Reporter) -> Tensor:
        if state.method == NOISE:
            return fgsm.random_signs(image, epsilon)
        target = self._target(state)
        options: dict[str, Any] = {"epsilon": epsilon, "targeted": target is not None, "progress": progress}
        if state.method == PGD:
            return fgsm.pgd(model, image, target, steps=state.steps, **options)
        return fgsm.fgsm(model, image, target, **options)

    def _enough(self, state: AttackState) -> AttackState:
        """The slider at the smallest epsilon that flips the answer; at its end, if none does."""
        model, image, target = self.model(state), self.image(state), self._target(state)
        found = fgsm.smallest_epsilon(model, image, target, targeted=target is not None, largest=LARGEST / GRAY)
        gray = GRAY * float(found)
        return replace(state, epsilon=float(min(math.ceil(2 * gray) / 2, LARGEST) if math.isfinite(gray) else LARGEST))

    def _shown_image(self, result: AttackResult, state: AttackState, attacked: bool) -> np.ndarray:
        """The image for the screen: the change added to the sharp drawing, or the network's own pixels."""
        if state.as_seen:
            return plots.enlarge(result.attacked if attacked else result.image, self.screen)
        if not attacked:
            return plots.pixels(result.shown)
        change = torch.from_numpy(result.attacked - result.image)[None]
        large = torch.nn.functional.interpolate(change, size=result.shown.shape[-2:], mode="nearest")[0].numpy()
        return plots.pixels(np.clip(result.shown + large, 0, 1))

    def _way(self, result: AttackResult, state: AttackState, was: int) -> Panel:
        """The logits along the way: of the answer, and of the target or the first class that overtakes."""
        classes, target = self.model(state).classes, self._target(state)
        answers = result.logits.argmax(1)
        overtaking = answers[answers != was]
        others = np.where(np.arange(len(classes)) == was, -np.inf, result.logits[-1])
        rival = int(overtaking[0]) if overtaking.size else int(others.argmax())  # else the nearest at the end
        if target is not None and classes.index(target) != was:
            rival = classes.index(target)
        lines: dict[str, Any] = {classes[c]: (result.epsilons, result.logits[:, c]) for c in (was, rival)}
        colors = (classes[rival], classes[was])  # orange is the answer before, as among the bars
        chart = plots.curves(
            lines, x_label="ε, of 255", y_label="logit", marker=state.epsilon, places=colors, width=384, height=300
        )
        alt = f"The logits of {classes[was]} and {classes[rival]} along the way to the largest ε"
        return chart_panel("The way there", chart, alt, 384, "Where they cross, the other class overtakes.", below=True)


def _is_fgsm(state: AttackState) -> bool:
    return state.method == FGSM
