"""Layer by layer through a network: what goes in, what comes out, and how much of the picture it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xai_lessons import plots
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
from xai_lessons.models import anatomy

SHOWN = 24
WHAT = {
    "convolution": "A convolution lays one small filter over every place and notes how well it fits.",
    "batch normalization": "Batch normalization shifts and stretches each channel, the same at every place.",
    "ReLU": "ReLU keeps what is above zero and makes all else zero.",
    "average pooling": "Pooling makes the map smaller: each number is the mean of 2 × 2 neighbors.",
    "max-pooling": "Pooling makes the map smaller: each number is the largest of its neighbors.",
    "residual block": "A residual block adds what its convolutions find to what came in.",
    "block without a shortcut": "Two convolutions after each other; what came in is not added.",
    "global average pooling": "Of each channel only its mean is left: what was found, no longer where.",
    "fully-connected layer": "Every number out is a weighted sum of all numbers in.",
    "flattening": "The same numbers, in one row.",
    "dropout": "Does something in training only.",
}


@dataclass(frozen=True)
class LayerState(ImageState, NetworkState):
    """A picture, a network, a layer of it and a channel of that.

    Attributes:
        layer: its name.
        channel: the number of the map.
        shared: whether all maps share one scale of colors.
    """

    layer: str = "stem.0"
    channel: int = 0
    shared: bool = False


@dataclass(frozen=True)
class LayerResult:
    """What goes into a layer and what comes out.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        shown: the same, drawn for the screen.
        activation: all maps (C, H, W); a flat layer's numbers are (C, 1, 1).
        map: the chosen one (H, W).
        incoming: the map of the same channel before the layer (H, W); None if the layer mixes channels.
        weights: the filter of the channel (C_in, k, k), if it is a convolution.
        box: what the strongest place of the map depends on (x0, y0, x1, y1), in pixels of `image`.
        facts: what the layer is.
    """

    image: np.ndarray
    shown: np.ndarray
    activation: np.ndarray
    map: np.ndarray
    incoming: np.ndarray | None
    weights: np.ndarray | None
    box: tuple[int, int, int, int]
    facts: anatomy.Layer


class LayerExplorer(ImageExplorer):
    """What each layer of a network makes of a picture."""

    name, title = "layers", "What happens in each layer?"
    question = (
        "Which channel finds edges, which one eyes? How much of the picture does one number of the map depend on?"
    )
    State = LayerState
    shown_by_code = ("image", "activation", "map")

    def controls(self) -> tuple[Control, ...]:
        """The layer and its channel first, then network and picture."""
        place: dict[str, Any] = {"group": "Layer"}
        return (
            Choice(name="layer", label="Layer", choices=self._layers, changes=("activation", "map"), **place),
            Slider(
                name="channel", label="Channel", high=self._last, changes=("map",), help="Number of the map", **place
            ),
            Button(name="strongest", label="Strongest channel", act=self._strongest, changes=("map",), **place),
            Toggle(name="shared", label="One scale of colors for all maps", changes=(PANELS,), **place),
            *self.network_controls("activation", "map"),
            *self.image_controls("image", "activation"),
        )

    def compute(self, state: LayerState, progress: Callable[[int, int], object]) -> Iterator[LayerResult]:
        """Everything at the network's size first, which is quick; then the picture drawn for the screen."""
        model, image = self.model(state), self.image(state)
        a, b = anatomy.inside(model, state.layer, image)
        a, b = (t.float().cpu().reshape(t.shape if t.ndim == 3 else (-1, 1, 1)) for t in (a, b))
        map_ = b[state.channel]
        at = divmod(int(map_.argmax()), map_.shape[1])
        facts = anatomy.layer(model, state.layer)
        box = anatomy.receptive_field(model, state.layer, at if len(facts.shape) == 3 else None)
        module = dict(model.named_modules())[f"network.{state.layer}"]
        weights = module.weight[state.channel].float().cpu().numpy() if facts.kind == "convolution" else None
        same = len(a) == len(b) and facts.kind not in ("convolution", "fully-connected layer")
        result = LayerResult(
            image.numpy(),
            resized(image, self.screen).numpy(),
            b.numpy(),
            map_.numpy(),
            a[state.channel].numpy() if same else None,
            weights,
            box,
            facts,
        )
        yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: LayerResult, state: LayerState) -> list[Panel]:
        """The picture with what the layer sees of it, the map, what came in or the filter, and all maps."""
        side = result.shown.shape[-1] / result.image.shape[-1]
        framed = plots.box(result.shown, [side * v for v in result.box], color="#FFD24A", width=4)
        size = "the whole picture" if result.box[2] - result.box[0] == result.image.shape[-1] else _size(result.box)
        panels = [
            Panel("The picture", framed, f"{self.alt(state)}; framed: {size}", 296, caption=f"Framed: all that the "
                  f"brightest place of the map depends on ({size})."),
        ]  # fmt: skip
        if result.incoming is not None and result.incoming.size > 1:
            own = plots.limits(result.incoming, signed=bool(result.incoming.min() < 0))
            panels.append(self._map(f"In: channel {state.channel}", result.incoming, own))
        if result.map.size == 1:
            return [*panels, self._bars(result, state)]
        if result.weights is not None:
            panels.append(_filter(result.weights))
        scale = plots.limits(result.activation if state.shared else result.map, signed=_signed(result))
        return [*panels, self._map(f"Out: channel {state.channel}", result.map, scale), self._all(result, state)]

    def describe(self, result: LayerResult, state: LayerState) -> str:
        """What the layer does, in numbers."""
        facts = result.facts
        shape = " × ".join(map(str, facts.shape))
        learned = f"{facts.parameters:,} learned numbers" if facts.parameters else "nothing to learn"
        sees = (
            "the whole picture"
            if min(facts.sees) >= result.image.shape[-1]
            else f"{facts.sees[1]} × {facts.sees[0]} pixels"
        )
        return (
            f"{state.layer}: {facts.kind}, out come {shape} numbers, {learned}; one of them depends on {sees}. "
            f"{WHAT.get(facts.kind, '')}"
        ).rstrip()

    def code(self, state: LayerState) -> str:
        """The maps of the layer, and the chosen one."""
        return "\n".join(
            [
                self.setup_code(state, "anatomy"),
                f"before, activation = anatomy.inside(model, {state.layer!r}, image)",
                "activation = activation.reshape(activation.shape if activation.ndim == 3 else (-1, 1, 1))",
                f"map = activation[{state.channel}]",
                f"print(anatomy.layer(model, {state.layer!r}))",
            ]
        )

    def _layers(self, state: LayerState) -> tuple[str, ...]:
        return anatomy.names(self.model(state))

    def _last(self, state: LayerState) -> int:
        names = self._layers(state)
        return anatomy.channels(self.model(state), state.layer if state.layer in names else names[0]) - 1

    def _strongest(self, state: LayerState) -> LayerState:
        _, out = anatomy.inside(self.model(state), state.layer, self.image(state))
        return replace(state, channel=int(out.reshape(len(out), -1).amax(1).argmax()))

    def _map(self, title: str, values: np.ndarray, scale: tuple[float, float]) -> Panel:
        signed = scale[0] < 0
        picture = plots.enlarge(plots.heatmap(values, "signed" if signed else "viridis", scale), 500)
        high, wide = values.shape
        shades = "red above zero, blue below" if signed else "the lighter, the larger"
        caption = f"{wide} × {high} numbers, {values.min():.2f} to {values.max():.2f}; {shades}."
        return Panel(title, picture, f"{title}: a map of {wide} by {high} numbers", 250, sharp=True, caption=caption)

    def _all(self, result: LayerResult, state: LayerState) -> Panel:
        """The strongest maps side by side."""
        a, signed = result.activation, _signed(result)
        first = np.argsort(-np.abs(a).reshape(len(a), -1).max(1), kind="stable")[:SHOWN]
        colors = "signed" if signed else "viridis"
        scale = plots.limits(a, signed=signed)
        maps = [plots.heatmap(a[c], colors, scale if state.shared else None) for c in first]
        sheet = plots.grid(maps, [str(c) for c in first], columns=12, size=72, gap=6)
        title = f"All {len(a)} channels" if len(a) <= SHOWN else f"The {SHOWN} strongest of {len(a)} channels"
        note = "One scale for all." if state.shared else "Each on its own scale: a faint map looks as strong as any."
        return Panel(title, sheet, f"{title} of {state.layer}", 860, sharp=True, caption=note)

    def _bars(self, result: LayerResult, state: LayerState) -> Panel:
        """The numbers of a flat layer."""
        values = result.activation[:, 0, 0]
        classes = self.model(state).classes
        names = classes if len(classes) == len(values) else [f"channel {i}" for i in range(len(values))]
        first = np.argsort(-values, kind="stable")[:10]
        shown = values[first].clip(min=0)
        marked = [i for i, c in enumerate(first) if c == state.channel]
        high = max(float(shown.max(initial=0)), 1e-6)
        chart = plots.bars(
            [names[i] for i in first], shown.tolist(), high=high, percent=False, marked=marked, width=420
        )
        what = "logits" if names is classes else "numbers"
        title = f"The ten largest of {len(values)} {what}"
        said = ", ".join(f"{names[i]} {values[i]:.1f}" for i in first[:5])
        caption = f"Orange: channel {state.channel}, {values[state.channel]:.2f}."
        return Panel(title, chart, f"{title}: {said}", 420, sharp=True, caption=caption)


def _signed(result: LayerResult) -> bool:
    return bool(result.activation.min() < 0)


def _size(box: tuple[int, int, int, int]) -> str:
    return f"{box[2] - box[0]} × {box[3] - box[1]} pixels"


def _filter(weights: np.ndarray) -> Panel:
    """A filter: in color if it looks at the picture itself, else its strongest slices."""
    if len(weights) == 3:
        picture = plots.enlarge(0.5 + 0.5 * weights / np.abs(weights).max(), 250)
        caption = "Gray: zero. It answers most where the picture looks like this."
    else:
        first = np.argsort(-np.abs(weights).sum((1, 2)), kind="stable")[:9]
        scale = plots.limits(weights, signed=True)
        tiles = [plots.heatmap(weights[c], "signed", scale) for c in first]
        picture = plots.grid(tiles, [f"of {c}" for c in first], columns=3, size=110, gap=8)
        caption = f"The 9 strongest of {len(weights)} slices, one a channel that comes in; red adds, blue takes away."
    high, wide = weights.shape[1:]
    return Panel(
        f"Its filter, {wide} × {high}", picture, f"the filter, {wide} by {high}", 250, sharp=True, caption=caption
    )
