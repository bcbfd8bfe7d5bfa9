"""Layer by layer through a network: the input, the output, and how much of the image it depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from xai_lessons import plots
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel, top_classes
from xai_lessons.models import anatomy

SHOWN = 24
PAPER = "#9A9A9A"  # of the sheets: neither white on a dark theme nor black on a light one
WHAT = {
    "convolution": "A convolution lays one small filter over every place and notes how well it fits.",
    "batch normalization": "Batch normalization shifts and stretches each channel, the same at every place.",
    "ReLU": "ReLU keeps what is above zero and sets everything else to zero.",
    "average pooling": "Pooling makes the map smaller: each number is the mean of 2 × 2 neighbors.",
    "max-pooling": "Pooling makes the map smaller: each number is the largest of its neighbors.",
    "residual block": "A residual block adds what its convolutions find to its input.",
    "block without a shortcut": "Two convolutions in a row; the input is not added.",
    "global average pooling": "Of each channel only its mean is left: what was found, and little of where.",
    "fully-connected layer": "Each output is a weighted sum of all inputs.",
    "flattening": "The same numbers, in one row.",
    "dropout": "Active in training only.",
}


@dataclass(frozen=True)
class LayerState(ImageState):
    """An image, a network, a layer of it and a channel of that."""

    layer: str = "stem.0"  # its name
    channel: int = 0  # the number of the map
    shared: bool = False  # whether all maps share one scale of colors


@dataclass(frozen=True)
class LayerResult(ImageResult):
    """Input and output of a layer."""

    activation: np.ndarray  # all maps (C, H, W); a flat layer's numbers are (C, 1, 1)
    map: np.ndarray  # the chosen one (H, W)
    incoming: np.ndarray | None  # the map of the same channel before the layer (H, W); None if the layer mixes channels
    weights: np.ndarray | None  # the filter of the channel (C_in, k, k), if it is a convolution
    box: tuple[int, int, int, int]  # what the peak of the map depends on (x0, y0, x1, y1), in pixels of `image`
    facts: anatomy.Layer  # what the layer is


class LayerExplorer(ImageExplorer):
    """What each layer of a network makes of an image."""

    name, title = "layers", "What happens in each layer?"
    question = (
        "Which channel finds edges, which one eyes? How much of the picture does one number of the map depend on?"
    )
    State = LayerState
    stage = ("layer", "channel", "strongest", "network")
    shown_by_code = ("image", "activation", "map")

    def controls(self) -> tuple[Control, ...]:
        """The layer and its channel first, then network and image."""
        return (
            *group(
                "Layer",
                Choice("layer", "Layer", choices=self._layers, changes=("activation", "map")),
                Slider("channel", "Channel", high=self._last, help="Number of the map"),
                Button("strongest", "Strongest channel", act=self._strongest),
                Toggle("shared", "One scale of colors for all maps", changes=(PANELS,)),
                changes=("map",),
            ),
            *self.network_controls("activation", "map"),
            *self.image_controls("image", "activation"),
        )

    def compute(self, state: LayerState, progress: Reporter) -> Iterator[LayerResult]:
        """Everything at the network's size first, which is quick; then the image drawn for the screen."""
        model, image = self.model(state), self.image(state)
        a, b = anatomy.inside(model, state.layer, image)
        a, b = (t.float().cpu().reshape(t.shape if t.ndim == 3 else (-1, 1, 1)) for t in (a, b))
        map_ = b[state.channel]
        facts = anatomy.layer(model, state.layer)
        peak = divmod(int(map_.argmax()), map_.shape[1]) if len(facts.shape) == 3 else None
        module = dict(model.named_modules())[f"network.{state.layer}"]
        convolution = facts.kind == "convolution"
        mixes = len(a) != len(b) or facts.kind in ("convolution", "fully-connected layer")
        result = LayerResult(
            *self.both_sizes(image),
            activation=b.numpy(),
            map=map_.numpy(),
            incoming=None if mixes else a[state.channel].numpy(),
            weights=module.weight[state.channel].float().cpu().numpy() if convolution else None,
            box=anatomy.receptive_field(model, state.layer, peak),
            facts=facts,
        )
        yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: LayerResult, state: LayerState) -> list[Panel]:
        """The image with what the layer sees of it, the map, its input or the filter, and all maps."""
        side = result.shown.shape[-1] / result.image.shape[-1]
        framed = plots.box(result.shown, [side * v for v in result.box], color="#FFD24A", width=4)
        x0, y0, x1, y1 = result.box
        size = "the whole picture" if x1 - x0 == result.image.shape[-1] else f"{x1 - x0} × {y1 - y0} pixels"
        caption = f"Framed: all that the brightest place of the map depends on ({size})."
        panels = [Panel("The picture", framed, f"{self.alt(state)}; framed: {size}", 250, caption=caption)]
        if result.incoming is not None and result.incoming.size > 1:
            own = plots.limits(result.incoming, signed=bool(result.incoming.min() < 0))
            panels.append(_map_panel(f"In: channel {state.channel}", result.incoming, own))
        if result.map.size == 1:
            return [*panels, self._bars(result, state)]
        if result.weights is not None:
            panels.append(_filter_panel(result.weights))
        signed = bool(result.activation.min() < 0)
        scale = plots.limits(result.activation if state.shared else result.map, signed=signed)
        out = _map_panel(f"Out: channel {state.channel}", result.map, scale)
        return [*panels, out, _maps_panel(result.activation, state, signed)]

    def describe(self, result: LayerResult, state: LayerState) -> str:
        """What the layer does, in numbers."""
        facts, whole = result.facts, min(result.facts.sees) >= result.image.shape[-1]
        shape = " × ".join(f"{n:,}" for n in facts.shape)
        learned = f"{facts.parameters:,} learned numbers" if facts.parameters else "nothing to learn"
        x0, y0, x1, y1 = result.box  # what lies in the picture; near its edge that is less than a place could see
        sees = "the whole picture" if whole else f"{facts.sees[1]} × {facts.sees[0]} pixels"
        if not whole and (x1 - x0, y1 - y0) != (facts.sees[1], facts.sees[0]):
            sees += f" (the brightest, at the edge, on {x1 - x0} × {y1 - y0})"
        return (
            f"{state.layer}: {facts.kind}, its output is {shape} numbers, {learned}; one of them depends on {sees}. "
            f"{WHAT.get(facts.kind, '')}"
        ).rstrip()

    def code(self, state: LayerState) -> str:
        """The maps of the layer, and the chosen one."""
        return self.script(
            state,
            f"before, activation = anatomy.inside(model, {state.layer!r}, image)",
            "activation = activation.reshape(activation.shape if activation.ndim == 3 else (-1, 1, 1))",
            f"map = activation[{state.channel}]",
            f"print(anatomy.layer(model, {state.layer!r}))",
            "plots.show([image, plots.heatmap(map, size=384)])",
        )

    def _layers(self, state: LayerState) -> tuple[str, ...]:
        return anatomy.names(self.model(state))

    def _last(self, state: LayerState) -> int:
        names = self._layers(state)
        return anatomy.channels(self.model(state), state.layer if state.layer in names else names[0]) - 1

    def _strongest(self, state: LayerState) -> LayerState:
        _, out = anatomy.inside(self.model(state), state.layer, self.image(state))
        return replace(state, channel=int(out.reshape(len(out), -1).amax(1).argmax()))

    def _bars(self, result: LayerResult, state: LayerState) -> Panel:
        """The numbers of a flat layer."""
        values, classes = result.activation[:, 0, 0], self.model(state).classes
        names = classes if len(classes) == len(values) else [f"channel {i}" for i in range(len(values))]
        first = top_classes(values, count=10)
        shown = values[first]
        chart = plots.bars(
            [names[i] for i in first],
            shown.tolist(),
            low=min(0.0, float(shown.min(initial=0))),
            high=max(float(shown.max(initial=0)), 1e-6),
            percent=False,
            marked=[i for i, c in enumerate(first) if c == state.channel],
            width=420,
        )
        title = f"The ten largest of {len(values):,} {'logits' if names is classes else 'numbers'}"
        listed = ", ".join(f"{names[i]} {values[i]:.1f}" for i in first[:5])
        among = state.channel in first
        caption = f"{'Orange: channel' if among else 'Channel'} {state.channel}, {values[state.channel]:.2f}"
        caption += "." if among else ", is not among them."
        return chart_panel(title, chart, f"{title}: {listed}", 420, caption)


def _map_panel(title: str, values: np.ndarray, scale: tuple[float, float]) -> Panel:
    signed = scale[0] < 0
    image = plots.enlarge(plots.heatmap(values, "signed" if signed else "viridis", scale), 500)
    high, wide = values.shape
    shades = "red above zero, blue below" if signed else "the lighter, the larger"
    caption = f"{wide} × {high} numbers, {values.min():.2f} to {values.max():.2f}; {shades}."
    return Panel(title, image, f"{title}: a map of {wide} by {high} numbers", 250, sharp=True, caption=caption)


def _maps_panel(activation: np.ndarray, state: LayerState, signed: bool) -> Panel:
    """The strongest maps side by side."""
    count = len(activation)
    first = top_classes(np.abs(activation).reshape(count, -1).max(1), count=SHOWN)
    scale = plots.limits(activation, signed=signed) if state.shared else None
    maps = [plots.heatmap(activation[c], "signed" if signed else "viridis", scale) for c in first]
    grid = plots.grid(maps, [str(c) for c in first], columns=12, size=72, gap=6, paper=PAPER)
    title = f"All {count} channels, strongest first" if count <= SHOWN else f"The {SHOWN} strongest of {count} channels"
    note = "One scale for all." if state.shared else "Each on its own scale: a faint map looks as strong as any."
    return Panel(title, grid, f"{title} of {state.layer}", 1040, sharp=True, caption=note, below=True)


def _filter_panel(weights: np.ndarray) -> Panel:
    """A filter: in color if it looks at the image itself, else its strongest slices."""
    if len(weights) == 3:
        image = plots.enlarge(0.5 + 0.5 * weights / np.abs(weights).max(), 250)
        caption = "Gray: zero. It responds most where the picture looks like this."
    else:
        first = top_classes(np.abs(weights).sum((1, 2)), count=9)
        scale = plots.limits(weights, signed=True)
        tiles = [plots.heatmap(weights[c], "signed", scale) for c in first]
        image = plots.grid(tiles, [f"of {c}" for c in first], columns=3, size=110, gap=8, paper=PAPER)
        caption = f"The 9 strongest of {len(weights)} slices, one per input channel; red adds, blue takes away."
    high, wide = weights.shape[1:]
    return Panel(
        f"Its filter, {wide} × {high}", image, f"the filter, {wide} by {high}", 250, sharp=True, caption=caption
    )
