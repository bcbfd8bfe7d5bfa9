"""What a layer remembers: an image with the same code forms out of noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import plots
from xai_lessons.explorers.kit import ImageExplorer, ImageState, Reporter, resized
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import inversion

STEPS = (10, 20, 40, 60, 100, 200, 400)
PRIORS = (0.0, 0.02, 0.2, 1.0, 2.0, 5.0, 20.0)
RUNGS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # a descent is chaotic: its loss is told as "below 0.1"


@dataclass(frozen=True)
class InversionState(ImageState):
    """Which code is to be matched, and how an image with it is searched for."""

    layer: str = "stage2"  # its name
    steps: int = 60  # of the descent
    tv: float = 0.2  # weight of the total variation
    jitter: int = 0  # largest shift of a step in pixels
    optimizer: str = "adam"  # "adam", "sgd" or "lbfgs"
    parametrization: str = "pixels"  # or "fourier": waves in decorrelated colors
    noise: int = 0  # seed of the noise that it starts from
    pictures: int = 1  # how many drawings of the class; of more than one, the mean of their codes is matched
    pixels: bool = False  # whether the pixels are shown as they are, hard-edged


@dataclass(frozen=True)
class InversionResult:
    """The image found so far."""

    images: np.ndarray  # those whose code, or mean code, is matched (N, 3, S, S)
    shown: np.ndarray  # the first one, drawn for the screen
    found: np.ndarray  # the image so far (3, S, S)
    # steps, losses: the loss at some steps, at last at all of them
    steps: np.ndarray
    losses: np.ndarray
    distance: float  # |Phi(x) - Phi_0|^2 / |Phi_0|^2 of the image so far
    similarity: dict[str, float]  # to the first image, see `inversion.similarity`
    # before, after: the probabilities of the first image and of the one found (K,)
    before: np.ndarray
    after: np.ndarray


class InversionExplorer(ImageExplorer):
    """From noise, step by step, to an image that the layer cannot tell from the given one."""

    name, title = "inversion", "What does a layer remember?"
    question = "What is missing on the right?"
    State = InversionState
    stage = ("layer", "parametrization", "tv", "network")
    shown_by_code = ("found", "losses")

    def controls(self) -> tuple[Control, ...]:
        """The layer first, then the search, what is shown, network and image."""
        several = "Of more than one drawing of the class: the mean of their codes"
        search = search_controls(Choice("optimizer", "Optimizer", choices=("adam", "sgd", "lbfgs"), buttons=True))
        return (
            *group(
                "Search",
                Choice("layer", "Layer", choices=lambda state: inversion.layers(self.model(state))),
                *search[:-1],
                Slider("pictures", "Mean code of", low=1, high=8, help=several, when=self._is_single),
                search[-1],
                changes=("found", "losses"),
            ),
            *group("Shown", Toggle("pixels", "Show the network's own pixels", changes=(PANELS,))),
            *self.network_controls("found", "before"),
            *self.image_controls("images", "found"),
        )

    def compute(self, state: InversionState, progress: Reporter) -> InversionResult:
        """The image with every step's loss; while it forms it is shown with the losses of some steps."""
        model, images = self.model(state), self._images(state)
        shown = self.screen_image(state).numpy()
        goal = inversion.code(model, images, state.layer).mean(dim=0, keepdim=True)
        before = model.predict(images)[0].float().cpu().numpy()
        steps: list[int] = []
        losses: list[float] = []

        def result(found: Tensor) -> InversionResult:
            apart = (inversion.code(model, found[None], state.layer) - goal).square().sum()
            distance = float(apart / goal.square().sum().clamp(min=1e-12))
            steps.append(reporter.done + 1)  # of this step nothing was told yet
            losses.append(distance + state.tv * float(inversion.total_variation(found)))
            after = model.predict(found[None])[0].float().cpu().numpy()
            found = found.float().cpu()
            similarity = inversion.similarity(found, images[0])
            curve = np.array(steps), np.array(losses)
            return InversionResult(images.numpy(), shown, found.numpy(), *curve, distance, similarity, before, after)

        reporter = progress.showing(lambda found: result(found[0]))
        found, all_losses = inversion.invert(
            model,
            images if self._several(state) else images[0],
            layer=state.layer,
            mean=self._several(state),
            steps=state.steps,
            optimizer=state.optimizer,
            tv=state.tv,
            jitter=state.jitter,
            parametrization=state.parametrization,
            seed=state.noise,
            progress=reporter,
        )
        return replace(result(found), steps=np.arange(state.steps), losses=all_losses.float().cpu().numpy())

    def panels(self, result: InversionResult, state: InversionState) -> list[Panel]:
        """The image beside the one found, the loss, and what the network says to both."""
        given, alt, title = result.images, self.alt(state), "The picture"
        left = self._on_screen(given[0], result.shown, state)
        if len(given) > 1:
            alt, title = f"{len(given)} drawings like {alt}", f"{len(given)} drawings"
            left = plots.grid(list(given), columns=2 if len(given) < 5 else 3, size=180, gap=0)
        big = resized(torch.from_numpy(result.found), self.screen).numpy()
        right = self._on_screen(result.found, big, state)
        last = int(result.steps[-1]) if len(result.steps) else 0
        step = f"{state.steps}" if len(result.steps) == state.steps else f"{last} of {state.steps}"
        like = "correlation: " + ", ".join(f"{name} {max(value, 0):.2f}" for name, value in result.similarity.items())
        found = f"Found from {state.layer}, step {step}"
        return [
            Panel(title, left, alt, 345, sharp=state.pixels),
            Panel(found, right, f"{found}; {like}", 345, sharp=state.pixels, caption=f"{like.capitalize()}."),
            self.probability_panel(
                state,
                result.after,
                result.before,
                title="What the network says about it",
                caption="Line: for the picture itself.",
                width=335,
                row=44,
            ),
            self._loss_panel(result, state),
        ]

    def describe(self, result: InversionResult, state: InversionState) -> str:
        """How well the code is met, and whether the network can tell the two apart."""
        names = self.model(state).classes
        whose = f"to the mean code of {len(result.images)} drawings" if len(result.images) > 1 else "of the codes"
        rung = next((f"fell below {rung:g}" for rung in RUNGS if result.distance < rung), "is above 1")
        a, b = names[int(result.before.argmax())], names[int(result.after.argmax())]
        answer = f"says {a} for both" if a == b else f"says {a} for the first and {b} for what was found"
        return f"{state.network}, {state.layer}: the distance {whose} {rung}; the network {answer}."

    def code(self, state: InversionState) -> str:
        """The same descent."""
        options = f"layer={state.layer!r}, steps={state.steps}, tv={state.tv!r}, jitter={state.jitter}, "
        options += f"optimizer={state.optimizer!r},"
        more = f"    parametrization={state.parametrization!r}, seed={state.noise},"
        if not self._several(state):
            call = ("found, losses = inversion.invert(", f"    model, image, {options}", more, ")")
            return self.script(state, *call, "plots.show([image, found], ['the picture', 'found'])")
        drawn = self._drawing_code(state).replace(f"seed={state.seed}", "seed=s", 1)
        seeds = f"range({state.seed}, {state.seed + state.pictures})"
        images = f"images = torch.stack([{drawn}.image for s in {seeds}])"
        call = ("found, losses = inversion.invert(", f"    model, images, {options}", f"{more} mean=True,", ")")
        return self.script(state, images, *call, "plots.show([*images, found])")

    def _several(self, state: InversionState) -> bool:
        return state.pictures > 1 and self._is_single(state)

    def _images(self, state: InversionState) -> Tensor:
        """The images whose code is matched (N, 3, S, S)."""
        count = state.pictures if self._several(state) else 1
        return torch.stack([self.image(replace(state, seed=state.seed + i)) for i in range(count)])

    def _on_screen(self, small: np.ndarray, big: np.ndarray, state: InversionState) -> np.ndarray:
        """The network's own pixels, enlarged with hard edges, or the image for the screen."""
        return plots.enlarge(small, self.screen) if state.pixels else big

    def _loss_panel(self, result: InversionResult, state: InversionState) -> Panel:
        lines: dict[str, tuple[Any, Any]] = {"loss": (result.steps, result.losses)} if len(result.steps) else {}
        high = max(1.0, float(np.max(result.losses, initial=0)))
        axes: dict[str, Any] = {"x_limits": (0, state.steps), "y_limits": (0, high), "width": 384, "height": 250}
        chart = plots.curves(lines, x_label="step", **axes)
        last = f"{result.losses[-1]:.2f}" if len(result.losses) else "not known yet"
        caption = "Distance of the codes, plus the weighted total variation."
        return chart_panel("Loss", chart, f"The loss, now {last}", caption=caption, below=True)


def search_controls(*more: Control) -> tuple[Control, ...]:
    """The controls of a search from noise: prior, steps, `more`, jitter, noise."""
    return (
        Slider("tv", "TV weight", values=PRIORS, help="Weight of the total variation: 0 allows any noise"),
        Choice(
            "parametrization",
            "Searched in",
            choices=("pixels", "fourier"),
            buttons=True,
            help="Pixels, each on its own; or Fourier: waves in decorrelated colors, which prefer what is smooth",
        ),
        Slider("steps", "Steps", values=STEPS, format="d"),
        *more,
        Slider("jitter", "Jitter", high=8, help="Each step shifts the picture by up to this many pixels"),
        Slider("noise", "Noise", high=9, help="The seed of the noise that it starts from"),
    )
