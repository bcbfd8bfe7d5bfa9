"""What a network looks for: an image that excites a channel, a filter or a class most forms out of noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from xai_lessons import plots
from xai_lessons.core import activations
from xai_lessons.data import menagerie
from xai_lessons.explorers.inversion import search_controls
from xai_lessons.explorers.kit import ImageExplorer, NetworkState, Reporter, resized, with_imports
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.methods import inversion


@dataclass(frozen=True)
class FilterState(NetworkState):
    """What is to be excited most, and how an image for it is searched for."""

    layer: str = "stage2"  # its name, or "classes"
    channel: int = 0  # number of the channel or the class
    where: str = "everywhere"  # "everywhere" for the whole map of the channel, "center" for its middle unit: the filter
    # steps, tv, jitter, noise, parametrization: as in `InversionState`
    steps: int = 60
    tv: float = 2.0
    jitter: int = 4
    noise: int = 0
    parametrization: str = "pixels"


@dataclass(frozen=True)
class FilterResult:
    """The image found so far."""

    found: np.ndarray  # (3, S, S)
    step: int  # how many steps are done
    activation: float  # of the channel, mean over its map
    drawn: np.ndarray  # its activation for a drawing of each class (10,)
    weights: np.ndarray | None  # the filter itself (3, k, k), if its input is the image
    after: np.ndarray  # the probabilities of the image found (K,)


class FilterExplorer(ImageExplorer):
    """The image that excites a filter, a channel or a class most."""

    name, title = "filter", "What is it looking for?"
    question = "Which picture excites this channel most? Does any real drawing excite it as much?"
    State = FilterState
    stage = ("layer", "channel", "next", "network")
    shown_by_code = ("found",)
    classes: ClassVar[str] = "classes"

    def controls(self) -> tuple[Control, ...]:
        """What is excited, then the search, then the network."""
        return (
            *group(
                "Excite",
                Choice("layer", "Layer", choices=self._layers),
                Slider("channel", "Channel", high=self._last, help="Number of the channel or class"),
                Button("next", "Next channel", act=self._next),
                changes=("found", "drawn"),
            ),
            *group(
                "Search",
                Choice(
                    "where", "Where in its map", choices=("everywhere", "center"), buttons=True, when=self._is_spatial
                ),
                *search_controls(),
                changes=("found",),
            ),
            *self.network_controls("found", "drawn"),
        )

    def compute(self, state: FilterState, progress: Reporter) -> FilterResult:
        """The image; it is shown while it forms."""
        model = self.model(state)
        drawn = self._activation(state, _drawings(model.input_size)).cpu().numpy()
        weights = self._weights(state)

        def result(found: Tensor) -> FilterResult:
            activation = float(self._activation(state, found[None])[0])
            after = model.predict(found[None])[0].float().cpu().numpy()
            return FilterResult(found.float().cpu().numpy(), reporter.done + 1, activation, drawn, weights, after)

        reporter = progress.showing(lambda found: result(found[0]))
        found, _ = inversion.maximize(
            model,
            state.channel,
            layer=self._layer(state),
            where=state.where,
            steps=state.steps,
            tv=state.tv,
            jitter=state.jitter,
            parametrization=state.parametrization,
            seed=state.noise,
            progress=reporter,
        )
        return replace(result(found), step=state.steps)

    def panels(self, result: FilterResult, state: FilterState) -> list[Panel]:
        """The image found, the filter's weights where they are colors, and the activations for it and for drawings."""
        big = resized(torch.from_numpy(result.found), self.screen)
        what = self._what(state)
        panels = [Panel(f"Excites {what}, step {result.step}", big, f"The picture found for {what}", 340)]
        if result.weights is not None:
            picture = plots.enlarge(0.5 + 0.5 * result.weights / np.abs(result.weights).max(), 384)
            caption = "Gray is zero; it responds most to a patch that looks like this."
            panels.append(Panel("Its weights", picture, "The filter as a picture", 290, sharp=True, caption=caption))
        order = np.argsort(-result.drawn, kind="stable")[:6]
        labels = ["this picture", *(menagerie.CLASSES[i] for i in order)]
        values = [round(float(v), 2) for v in (result.activation, *result.drawn[order])]
        high = max(1e-6, *values)
        width = 395 if result.weights is not None else 600
        chart = plots.bars(labels, values, high=high, percent=False, marked=(0,), width=width, row=42)
        said = ", ".join(f"{name} {value:.2f}" for name, value in zip(labels, values, strict=True))
        caption = "For the picture found and for one drawing of each class: the six strongest."
        title = "Logit" if state.layer == self.classes else "Activation"
        return [*panels, chart_panel(title, chart, f"{title}: {said}", width, caption)]

    def describe(self, result: FilterResult, state: FilterState) -> str:
        """How the image compares with drawings."""
        most = result.activation > float(result.drawn.max())
        more = "more than any of ten drawings does" if most else "less than the best of ten drawings does"
        said = self.model(state).classes[int(result.after.argmax())]
        return f"{state.network}: the picture found excites {self._what(state)} {more}; the network calls it {said}."

    def code(self, state: FilterState) -> str:
        """The same ascent."""
        return with_imports(
            self.network_code(state),
            "found, losses = inversion.maximize(",
            f"    model, {state.channel}, layer={self._layer(state)!r}, where={state.where!r},",
            f"    steps={state.steps}, tv={state.tv!r}, jitter={state.jitter}, seed={state.noise},",
            f"    parametrization={state.parametrization!r},",
            ")",
            "plots.show([found])",
        )

    def _layer(self, state: FilterState) -> str | None:
        return None if state.layer == self.classes else state.layer

    def _layers(self, state: FilterState) -> tuple[str, ...]:
        model = self.model(state)
        return (*(name for name in inversion.layers(model) if name not in model.flat_layers[-1:]), self.classes)

    def _last(self, state: FilterState) -> int:
        known = self._layers(state)
        at = replace(state, layer=state.layer if state.layer in known else known[0])
        return self._map(at, _drawings(self.model(at).input_size)[:1]).shape[1] - 1

    def _next(self, state: FilterState) -> FilterState:
        return replace(state, channel=(state.channel + 1) % (int(self._last(state)) + 1))

    def _is_spatial(self, state: FilterState) -> bool:
        return state.layer != self.classes and state.layer not in self.model(state).flat_layers

    def _what(self, state: FilterState) -> str:
        if state.layer == self.classes:
            return f"the class {self.model(state).classes[state.channel]}"
        return f"channel {state.channel} of {state.layer}"

    def _map(self, state: FilterState, images: Tensor) -> Tensor:
        """The layer's output for images (N, C, ...), or the logits."""
        model, layer = self.model(state), self._layer(state)
        A, logits = activations.activations(model, [layer] if layer else [], images.to(model.device, model.dtype))
        return next(iter(A.values())) if A else logits

    def _activation(self, state: FilterState, images: Tensor) -> Tensor:
        """The channel's mean activation, or its middle unit's, for each image (N,)."""
        A = self._map(state, images)[:, state.channel].float()
        if A.ndim == 3:
            return A.mean(dim=(1, 2)) if state.where == "everywhere" else A[:, A.shape[1] // 2, A.shape[2] // 2]
        return A.flatten(1).mean(dim=1) if A.ndim > 1 else A

    def _weights(self, state: FilterState) -> np.ndarray | None:
        layer = dict(self.model(state).network.named_modules()).get(state.layer)
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3:
            return layer.weight[state.channel].detach().float().cpu().numpy()
        return None


@lru_cache(maxsize=4)
def _drawings(size: int) -> Tensor:
    """A drawing of each class of the menagerie (10, 3, size, size)."""
    return torch.stack([menagerie.draw(name, 0, size).image for name in menagerie.CLASSES])
