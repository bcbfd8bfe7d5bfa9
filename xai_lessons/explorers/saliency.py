"""Which pixels? The gradient family side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.explorers.kit import (
    PANELS,
    Choice,
    Control,
    ImageExplorer,
    ImageState,
    Many,
    NetworkState,
    Panel,
    Slider,
    Toggle,
    resized,
)
from xai_lessons.methods import paths, saliency

# name -> the function of `saliency`, the fields of the state that it takes, and what else it is given
METHODS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "Gradient": ("gradient", (), {}),
    "Gradient × input": ("gradient_x_input", (), {}),
    "Deconvnet": ("deconvnet", (), {}),
    "Guided backprop": ("guided_backprop", (), {}),
    "SmoothGrad": ("smooth_grad", ("samples", "sigma"), {}),
    "SmoothGrad²": ("smooth_grad", ("samples", "sigma"), {"kind": "square"}),
    "VarGrad": ("smooth_grad", ("samples", "sigma"), {"kind": "var"}),
    "Integrated gradients": ("integrated_gradients", ("steps", "baseline"), {}),
    "Gradient SHAP": ("gradient_shap", ("samples", "baseline"), {}),
    "DeepLIFT": ("deep_lift", ("baseline",), {}),
    "LRP": ("lrp", (), {}),
    "Guided Grad-CAM": ("guided_grad_cam", (), {}),
}
FEW = ("Gradient", "Guided backprop", "SmoothGrad", "Integrated gradients", "DeepLIFT")
COMPLETE = ("Integrated gradients", "Gradient SHAP", "DeepLIFT")  # these promise a sum
BASELINES: dict[str, float | str] = {"black": 0.0, "gray": 0.5, "white": 1.0, "mean color": "mean", "blurred": "blur"}
PREDICTED = "what it predicts"
SIGNED, SIZE, POSITIVE = "for and against", "size", "only for"
OWN, ONE = "each its own", "one for all"
HOW = {SIGNED: "signed", SIZE: "absolute", POSITIVE: "positive"}  # as `plots.attribution` calls it


@dataclass(frozen=True)
class SaliencyState(ImageState, NetworkState):
    """A picture, a network, a class, and which maps are made and how they are shown.

    Attributes:
        methods: names of `METHODS`.
        target: the class, or what the network predicts.
        samples, sigma, steps, baseline: what the methods take.
        shown_as: with the sign, without it, or only what speaks for the class.
        scale: whether each map has colors of its own, or all share those of "share of the whole map".
        blended: whether a map is laid over the picture.
    """

    methods: tuple[str, ...] = FEW
    target: str = PREDICTED
    samples: int = 25
    sigma: float = 0.04
    steps: int = 32
    baseline: str = "black"
    shown_as: str = SIZE
    scale: str = OWN
    blended: bool = False


@dataclass(frozen=True)
class SaliencyResult:
    """The maps that are ready.

    Attributes:
        image: the picture as the network takes it (3, S, S).
        shown: the same, drawn for the screen.
        target: the class that is explained.
        probability: of that class.
        maps: the attributions (M, 3, S, S) of the first M methods; NaN where a method has no answer.
        sums: what the attributions of each add up to (M,).
        change: the class's logit for the picture less that for the baseline.
        inside: share of each map on the thing (M,); of the tree and the tag too, where they are; empty for photographs.
        blind: the share of a blob in the center, thing -> share.
        refused: method -> why it has no answer.
    """

    image: np.ndarray
    shown: np.ndarray
    target: int
    probability: float
    maps: np.ndarray
    sums: np.ndarray
    change: float
    inside: dict[str, np.ndarray]
    blind: dict[str, float]
    refused: dict[str, str]


class SaliencyExplorer(ImageExplorer):
    """Several methods side by side on one picture; each map appears as it is ready."""

    name, title = "saliency", "Which pixels?"
    question = "One picture, one network: do the methods agree? What do network, noise, baseline and colors change?"
    State = SaliencyState
    shown_by_code = ("maps",)
    pairs = ("cat + dog",)

    def controls(self) -> tuple[Control, ...]:
        """The network, the methods, what they take, how they are shown, then the picture."""
        taken: dict[str, Any] = {"changes": ("maps",), "group": "What they take"}
        shown: dict[str, Any] = {"changes": (PANELS,), "group": "How they are shown"}
        return (
            *self.network_controls("maps", "probability"),
            Many(name="methods", label="Methods", choices=tuple(METHODS), changes=("maps", "sums"), group="Maps"),
            Choice(name="target", label="Class", choices=self._targets, changes=("target", "maps"), group="Maps"),
            Slider(
                name="sigma",
                label="Noise σ",
                values=(0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5),
                when=_takes("sigma"),
                help="Standard deviation of SmoothGrad's noise; pixels run from 0 to 1",
                **taken,
            ),
            Slider(
                name="samples",
                label="Samples",
                values=(1, 2, 5, 10, 25, 50, 100),
                when=_takes("samples"),
                help="How many noisy copies, or points on the way",
                **taken,
            ),
            Slider(
                name="steps",
                label="Steps",
                values=(1, 2, 4, 8, 16, 32, 64, 128),
                when=_takes("steps"),
                help="Of integrated gradients, from the baseline to the picture",
                **taken,
            ),
            Choice(
                name="baseline",
                label="Baseline",
                choices=tuple(BASELINES),
                when=_takes("baseline"),
                help="The picture that stands for nothing",
                **{**taken, "changes": ("maps", "change")},
            ),
            Choice(name="shown_as", label="Show", choices=(SIZE, SIGNED, POSITIVE), **shown),
            Choice(
                name="scale",
                label="Colors",
                choices=(OWN, ONE),
                help="One for all: the color says which share of its whole map a pixel has",
                **shown,
            ),
            Toggle(name="blended", label="Over the picture", **shown),
            *self.image_controls("image", "maps"),
        )

    def compute(self, state: SaliencyState, progress: Callable[[int, int], object]) -> Iterator[SaliencyResult]:
        """One map after the other, then the picture drawn for the screen."""
        model, image = self.model(state), self.image(state)
        x = image.to(model.device, model.dtype)
        probabilities = model.predict(image).float().cpu()
        target = int(probabilities.argmax()) if state.target == PREDICTED else model.class_index(state.target)
        start = paths.baseline_pictures(BASELINES[state.baseline], x[None])
        with torch.no_grad():
            scores = model(torch.cat([x[None], start]))[:, target].float().cpu()
        truths = self._truths(state, image.shape[-1])
        blob = evaluation.CONTROLS["center blob"](model, image).cpu()
        result = SaliencyResult(
            image.numpy(),
            resized(image, self.screen).numpy(),
            target,
            float(probabilities[target]),
            np.empty((0, *image.shape), np.float32),
            np.empty(0),
            float(scores[0] - scores[1]),
            {name: np.empty(0) for name in truths},
            {name: float(evaluation.energy_inside(blob, mask)) for name, mask in truths.items()},
            {},
        )
        yield result
        for name in state.methods:
            try:
                one, refused = _map(name, state, model, image, target, progress), result.refused
            except ValueError as reason:  # say, guided backprop of a network without ReLUs
                one, refused = torch.full_like(image, float("nan")), {**result.refused, name: str(reason)}
            shares = {thing: _share(one, mask) for thing, mask in truths.items()}
            result = replace(
                result,
                maps=np.concatenate([result.maps, one[None].numpy()]),
                sums=np.append(result.sums, float(one.sum())),
                inside={thing: np.append(result.inside[thing], share) for thing, share in shares.items()},
                refused=refused,
            )
            yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: SaliencyResult, state: SaliencyState) -> list[Panel]:
        """The picture and its maps, what their colors mean, and how much of each lies on the thing."""
        name, said = self.model(state).classes[result.target], self.alt(state)
        size = 384 if len(state.methods) < 2 else 208 if len(state.methods) < 6 else 132
        picture = plots.enlarge(result.shown, size, smooth=True)
        panels = [Panel(f"{name} {result.probability:.0%}", picture, said, size)]
        for i, method in enumerate(state.methods):
            ready = i < len(result.maps)
            if not ready or method in result.refused:
                title, note = (f"{method}: no answer", result.refused[method]) if ready else (f"{method} ...", "")
                panels.append(Panel(title, np.full_like(picture, 215), f"{title} {note}", size, caption=note))
                continue
            one = result.maps[i]
            scale = plots.common_scale(one, HOW[state.shown_as]) if state.scale == ONE else None
            over = picture if state.blended else None
            tile = plots.attribution(one, HOW[state.shown_as], over=over, scale=scale, size=size)
            panels.append(Panel(method, tile, f"{method} for {name} of {said}", size))
        return [*panels, _colors(state, name), *self._charts(result, state)]

    def describe(self, result: SaliencyResult, state: SaliencyState) -> str:
        """Which map lies most on the thing, and what the sums are."""
        name = self.model(state).classes[result.target]
        text = f"The network: {result.probability:.0%} {name}."
        if not len(result.sums):
            return text + " Choose a method."
        shares = result.inside.get(self.label(state) or "", np.empty(0))
        ranked = sorted((-s, m) for m, s in zip(state.methods, shares, strict=False) if s == s)
        if ranked:
            (most, first), (least, last) = ranked[0], ranked[-1]
            text += f" Most on the {self.label(state)}: {first}, {-most:.0%} of its map"
            text += f"; least: {last}, {-least:.0%}." if len(ranked) > 1 else "."
        sums = [f"{m} {s:.1f}" for m, s in zip(state.methods, result.sums, strict=False) if m in COMPLETE and s == s]
        if sums:
            text += f" From the baseline the logit rises by {result.change:.1f}; sums: {', '.join(sums)}."
        return text

    def code(self, state: SaliencyState) -> str:
        """The maps, in the order in which they are shown."""
        target = "int(model.predict(image).argmax())"
        if state.target != PREDICTED:
            target = f"model.class_index({state.target!r})"
        calls = [f"    {_call(name, state)},  # {name}" for name in state.methods]
        lines = [self.setup_code(state, "saliency", also=["import torch"]), f"target = {target}"]
        return "\n".join([*lines, "maps = torch.stack([", *calls, "])"])

    # What the parts are made of.

    def _targets(self, state: SaliencyState) -> tuple[str, ...]:
        return (PREDICTED, *dict.fromkeys(self.model(state).classes))

    def _truths(self, state: SaliencyState, size: int) -> dict[str, Tensor]:
        """The masks of what may be looked at in a drawn picture."""
        if not self.is_drawn(state):
            return {}
        masks = evaluation.object_masks(self.scene(state, size))
        return {name: mask for name, mask in masks.items() if mask.any()}

    def _charts(self, result: SaliencyResult, state: SaliencyState) -> list[Panel]:
        """For each thing of the picture, the share of each map on it."""
        panels = []
        for thing, shares in result.inside.items():
            done = [(m, float(s)) for m, s in zip(state.methods, shares, strict=False) if s == s]
            if not done:
                continue
            values = [s for _, s in done]
            chart = plots.bars(
                [m for m, _ in done], values, before=[result.blind[thing]] * len(done), width=400, row=30
            )
            alt = f"Share on the {thing}: " + ", ".join(f"{m} {s:.0%}" for m, s in done)
            caption = "Black line: a blob in the center, which knows nothing."
            panels.append(Panel(f"How much lies on the {thing}?", chart, alt, 400, sharp=True, caption=caption))
        return panels


def _takes(field: str) -> Callable[[SaliencyState], bool]:
    """Whether one of the chosen methods takes this."""
    return lambda state: any(field in METHODS[name][1] for name in state.methods)


def _options(name: str, state: SaliencyState) -> dict[str, Any]:
    """What a method is given."""
    given = {field: getattr(state, field) for field in METHODS[name][1]}
    if "baseline" in given:
        given["baseline"] = BASELINES[state.baseline]
    return {**given, **METHODS[name][2]}


def _call(name: str, state: SaliencyState) -> str:
    """The call of a method, as code."""
    options = "".join(f", {key}={value!r}" for key, value in _options(name, state).items())
    return f"saliency.{METHODS[name][0]}(model, image, target{options})"


def _map(
    name: str,
    state: SaliencyState,
    model: models.Classifier,
    image: Tensor,
    target: int,
    progress: Callable[[int, int], object],
) -> Tensor:
    """The attribution (3, S, S) of one method."""
    function = getattr(saliency, METHODS[name][0])
    return function(model, image, target, progress=progress, **_options(name, state)).float().cpu()


def _share(attribution: Tensor, mask: Tensor) -> float:
    """Share of a map's size on a thing; NaN if there is no map."""
    if torch.isnan(attribution).any():
        return float("nan")
    return float(evaluation.energy_inside(attribution[None], mask[None])[0])


def _colors(state: SaliencyState, name: str) -> Panel:
    """What the colors of the maps mean."""
    caption = {
        SIZE: "Bright: a small change of the pixel, up or down, matters much.",
        SIGNED: f"Red: speaks for {name}. Blue: speaks against.",
        POSITIVE: f"Bright: speaks for {name}.",
    }[state.shown_as]
    if state.scale == ONE:
        high, note = (
            float(plots.BRIGHTEST),
            "One scale for all: how many times its even share of its whole map a pixel holds.",
        )
    else:
        high, note = (
            1.0,
            f"Each map has its own scale: 1 is what all but {plots.SATURATED:.1%} of its pixels stay below.",
        )
    scale = (-high if state.shown_as == SIGNED else 0.0, high)
    bar = plots.color_bar(scale, "signed" if state.shown_as == SIGNED else "heat", width=400)
    return Panel("The colors", bar, f"{caption} {note}", 400, sharp=True, caption=f"{caption} {note}")
