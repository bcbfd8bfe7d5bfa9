"""What a layer remembers: a picture with the same code forms out of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons import models, plots
from xai_lessons.core import activations
from xai_lessons.explorers.kit import (
    PANELS,
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
from xai_lessons.explorers.kit.forming import forming
from xai_lessons.methods import inversion

STEPS = (10, 20, 40, 60, 100, 200, 400)
PRIORS = (0.0, 0.02, 0.2, 1.0, 2.0, 5.0, 20.0)
RUNGS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # a descent is chaotic: its loss is told as "below 0.1"
CELL = 8
NOISE = "Which noise it begins with"


def layers(model: models.Classifier) -> tuple[str, ...]:
    """The layers whose codes are worth a look: the first convolution alone, the named layers, the flat ones."""
    name = next(name for name, module in model.network.named_modules() if isinstance(module, nn.Conv2d))
    return tuple(dict.fromkeys((name, *model.layers, *model.flat_layers)))


def kept(found: Tensor, image: Tensor) -> dict[str, float]:
    """How much of a picture is in another, as correlations over cells of 8 x 8 pixels: 1 all of it, 0 nothing.

    Args:
        found: the picture that a code gave back, (3, H, W).
        image: the picture whose code it was, (3, H, W).

    Returns:
        "color": of the mean color without its lightness; "light": of the mean lightness; "place": of how rough each
        cell is, which says where the lines of the drawing are.
    """

    def measures(x: Tensor) -> dict[str, Tensor]:
        gray = x.mean(dim=0, keepdim=True)
        here = gray[:, :-1, :-1]
        steps = ((gray[:, :-1, 1:] - here) ** 2 + (gray[:, 1:, :-1] - here) ** 2).sqrt()
        parts = {"color": x - gray, "light": gray, "place": steps}
        return {name: F.avg_pool2d(part, CELL).flatten() for name, part in parts.items()}

    ours, theirs = measures(found), measures(image)
    return {name: float(F.cosine_similarity(ours[name] - ours[name].mean(), theirs[name] - theirs[name].mean(), dim=0))
            for name in ours}  # fmt: skip


@dataclass(frozen=True)
class InversionState(ImageState, NetworkState):
    """Whose code at which layer is to be met, and how it is looked for.

    Attributes:
        layer: its name.
        steps: of the descent.
        tv: weight of the total variation.
        jitter: largest shift of a step in pixels.
        optimizer: "adam", "sgd" or "lbfgs".
        noise: seed of the noise at the beginning.
        pictures: how many drawings of the class; of more than one, the mean of their codes is to be met.
        pixels: whether the pixels are shown as they are, hard-edged.
    """

    layer: str = "stage2"
    steps: int = 60
    tv: float = 0.2
    jitter: int = 0
    optimizer: str = "adam"
    noise: int = 0
    pictures: int = 1
    pixels: bool = False


@dataclass(frozen=True)
class InversionResult:
    """A picture that was looked for, as far as it is.

    Attributes:
        images: those whose code, or mean code, is to be met (N, 3, S, S).
        shown: the first one, drawn for the screen.
        found: the picture so far (3, S, S).
        steps, losses: the loss at some steps, at last at all of them.
        distance: |Phi(x) - Phi_0|^2 / |Phi_0|^2 of the picture so far.
        kept: what of the first picture is in it, see `kept`.
        before, after: the probabilities given to the first picture and to the one found (K,).
    """

    images: np.ndarray
    shown: np.ndarray
    found: np.ndarray
    steps: np.ndarray
    losses: np.ndarray
    distance: float
    kept: dict[str, float]
    before: np.ndarray
    after: np.ndarray


class InversionExplorer(ImageExplorer):
    """From noise, step by step, to a picture that the layer cannot tell from the given one."""

    name, title = "inversion", "What does a layer remember?"
    question = "The picture on the right is found from the layer's numbers alone. At which layer does the color go?"
    State = InversionState
    shown_by_code = ("found", "losses")

    def controls(self) -> tuple[Control, ...]:
        """The layer first, then how it is looked for, network and picture."""
        how: dict[str, Any] = {"changes": ("found", "losses"), "group": "Look for the picture"}
        rough, still = "Weight of the total variation: 0 lets every noise pass", "Each step shifts the picture so far"
        more, single = "Of more than one drawing of the class: the mean of their codes", {"when": self._is_single}
        return (
            Choice(name="layer", label="Layer", choices=lambda s: layers(self.model(s)), **how),
            Slider(name="tv", label="TV weight", values=PRIORS, help=rough, **how),
            Slider(name="steps", label="Steps", values=STEPS, format="d", **how),
            Choice(name="optimizer", label="Optimizer", choices=("adam", "sgd", "lbfgs"), buttons=True, **how),
            Slider(name="jitter", label="Jitter", high=8, help=f"{still}, at most by so many pixels", **how),
            Slider(name="pictures", label="Mean code of", low=1, high=8, help=more, **{**how, **single}),
            Slider(name="noise", label="Noise", high=9, help=NOISE, **how),
            Toggle(name="pixels", label="Show the network's own pixels", changes=(PANELS,), group="Shown"),
            *self.network_controls("found", "before"),
            *self.image_controls("images", "found"),
        )

    def compute(self, state: InversionState, progress: Callable[[int, int], object]) -> Iterator[InversionResult]:
        """The picture as it forms, a few times a second, and at last with every step's loss."""
        model, images = self.model(state), self._images(state)
        shown, done = self.screen_image(state).numpy(), 0
        goal = _code(model, state.layer, images).mean(dim=0, keepdim=True)
        before = model.predict(images)[0].float().cpu().numpy()
        steps: list[int] = []
        losses: list[float] = []

        def counted(now: int, total: int) -> None:
            nonlocal done
            done = now
            progress(now, total)

        def result(found: Tensor, at: Any, values: Any) -> InversionResult:
            distance = _distance(model, state.layer, found, goal)
            after = model.predict(found[None])[0].float().cpu().numpy()
            found = found.float().cpu()
            what = kept(found, images[0])
            at, values = np.asarray(at), np.asarray(values)
            return InversionResult(images.numpy(), shown, found.numpy(), at, values, distance, what, before, after)

        descent: Any = partial(self._invert, model, images, state)
        for part in forming(descent, counted):
            if isinstance(part, inversion.Inversion):
                yield result(part.images, np.arange(state.steps), part.losses.float().cpu().numpy())
                return
            found = part[0]
            steps.append(done)
            losses.append(
                _distance(model, state.layer, found, goal) + state.tv * float(inversion.total_variation(found))
            )
            yield result(found, list(steps), list(losses))

    def panels(self, result: InversionResult, state: InversionState) -> list[Panel]:
        """The picture beside the one found, the loss, and what the network says to both."""
        given, said = result.images, self.alt(state)
        if len(given) == 1:
            left, title = _screen(given[0], result.shown, state), "The picture"
        else:
            left, title = (
                plots.grid(list(given), columns=2 if len(given) < 5 else 3, size=180),
                f"{len(given)} drawings",
            )
            said = f"{len(given)} drawings like {said}"
        big = resized(torch.from_numpy(result.found), self.screen).numpy()
        both = plots.grid([left, _screen(result.found, big, state)], size=self.screen)  # one picture shrinks as one
        title += f" (left), and what was found at {state.layer}, step {_step(result, state)}"
        kept = ", ".join(f"{name} {max(value, 0):.0%}" for name, value in result.kept.items())
        alt = f"{said}, and the picture found from the code of {state.layer}; kept: {kept}"
        caption = f"Kept: {kept}."
        pair = Panel(title, both, alt, 2 * 384 + 30, sharp=state.pixels, caption=caption)
        return [pair, self._curve(result, state), self._answers(result, state)]

    def describe(self, result: InversionResult, state: InversionState) -> str:
        """How well the code is met, and whether the network can tell the two apart."""
        names = self.model(state).classes
        whose = f"to the mean code of {len(result.images)} drawings" if len(result.images) > 1 else "of the codes"
        rung = next((f"fell below {rung:g}" for rung in RUNGS if result.distance < rung), "is above 1")
        a, b = names[int(result.before.argmax())], names[int(result.after.argmax())]
        answer = f"says {a} to both" if a == b else f"says {a} to the first and {b} to what was found"
        return f"{state.network}, {state.layer}: the distance {whose} {rung}; the network {answer}."

    def code(self, state: InversionState) -> str:
        """The same descent."""
        options = [f"layer={state.layer!r}", f"steps={state.steps}", f"tv={state.tv!r}", f"jitter={state.jitter}"]
        options += [f"optimizer={state.optimizer!r}", f"seed={state.noise}"]
        lines = [self.setup_code(state, "inversion", also=("import torch",) if self._several(state) else ())]
        if self._several(state):
            drawn = self._drawing_code(state).replace(f"seed={state.seed}", "seed=s", 1)
            seeds = f"range({state.seed}, {state.seed + state.pictures})"
            lines.append(f"images = torch.stack([{drawn}.image for s in {seeds}])")
            options.append("mean=True")
        what = "images" if self._several(state) else "image"
        call = f"found, losses = inversion.invert(\n    model, {what}, {', '.join(options)}\n)"
        return "\n".join([*lines, call])

    # How it works.

    def _several(self, state: InversionState) -> bool:
        return state.pictures > 1 and self._is_single(state)

    def _images(self, state: InversionState) -> Tensor:
        """The pictures whose code is to be met (N, 3, S, S)."""
        count = state.pictures if self._several(state) else 1
        return torch.stack([self.image(replace(state, seed=state.seed + i)) for i in range(count)])

    def _invert(self, model: Any, images: Tensor, state: InversionState, progress: Any) -> inversion.Inversion:
        return inversion.invert(
            model,
            images if self._several(state) else images[0],
            layer=state.layer,
            mean=self._several(state),
            steps=state.steps,
            optimizer=state.optimizer,
            tv=state.tv,
            jitter=state.jitter,
            seed=state.noise,
            progress=progress,
        )

    def _curve(self, result: InversionResult, state: InversionState) -> Panel:
        lines: dict[str, tuple[Any, Any]] = {"loss": (result.steps, result.losses)} if len(result.steps) else {}
        high = max(1.0, float(np.max(result.losses, initial=0)))
        chart = plots.curves(
            lines, x_label="step", x_limits=(0, state.steps), y_limits=(0, high), width=384, height=250
        )
        last = f"{result.losses[-1]:.2f}" if len(result.losses) else "not known yet"
        caption = "Distance of the codes, plus the weighted total variation."
        return Panel("Loss", chart, f"The loss, now {last}", 384, sharp=True, caption=caption)

    def _answers(self, result: InversionResult, state: InversionState) -> Panel:
        names, first = self.model(state).classes, np.argsort(-result.after, kind="stable")[:5]
        labels, values = [names[i] for i in first], result.after[first].tolist()
        chart = plots.bars(labels, values, before=result.before[first].tolist(), width=384, row=38)
        said = ", ".join(f"{name} {value:.0%}" for name, value in zip(labels, values, strict=True))
        caption = "The dark mark: to the picture itself."
        return Panel("What the network says to it", chart, f"Probabilities: {said}", 384, sharp=True, caption=caption)


def _code(model: models.Classifier, layer: str, images: Tensor) -> Tensor:
    """Phi: what the layer puts out, flattened (N, D)."""
    A, _ = activations.activations(model, [layer], images.to(model.device, model.dtype))
    return next(iter(A.values())).flatten(1).float()


def _distance(model: models.Classifier, layer: str, found: Tensor, goal: Tensor) -> float:
    """|Phi(x) - Phi_0|^2 / |Phi_0|^2."""
    return float((_code(model, layer, found[None]) - goal).square().sum() / goal.square().sum().clamp(min=1e-12))


def _screen(small: np.ndarray, big: np.ndarray, state: InversionState) -> np.ndarray:
    """The network's own pixels, enlarged with hard edges, or the picture for the screen."""
    return plots.enlarge(small, big.shape[-1]) if state.pixels else big


def _step(result: InversionResult, state: InversionState) -> str:
    at = int(result.steps[-1]) if len(result.steps) else 0
    return f"{state.steps}" if len(result.steps) == state.steps else f"{at} of {state.steps}"
