"""Which pixels? The gradient family side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from xai_lessons import evaluation, plots
from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState
from xai_lessons.explorers.kit.controls import PANELS, Choice, Control, Many, Slider, Toggle, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel
from xai_lessons.methods import catalog, paths

# label -> the method, and the options that make it a variant
METHODS: dict[str, tuple[catalog.Method, dict[str, Any]]] = {}
for _method in catalog.METHODS.values():
    if _method.family == "saliency" and _method.returns == "attribution":
        METHODS[_method.label] = (_method, {})
        if _method.name == "smooth_grad":
            METHODS |= {"SmoothGrad²": (_method, {"kind": "square"}), "VarGrad": (_method, {"kind": "var"})}
SQUARES = {  # what a value of a variant means; neither has a sign
    "SmoothGrad²": "mean square of the gradients of noisy copies",
    "VarGrad": "variance of the gradients of noisy copies",
}
FEW = ("Gradient", "Guided backprop", "SmoothGrad", "Integrated gradients", "DeepLIFT")
COMPLETE = ("Integrated gradients", "Gradient SHAP", "DeepLIFT")  # their attributions sum to the change of the logit
BASELINES: dict[str, float | str] = {"black": 0.0, "gray": 0.5, "white": 1.0, "mean color": "mean", "blurred": "blur"}
SIGNED, SIZE, POSITIVE = "with its sign", "size", "only positive"
HOW = {SIGNED: "signed", SIZE: "absolute", POSITIVE: "positive"}  # as `plots.attribution` calls it
TILE = 236
OWN, ONE = "each its own", "one for all"


@dataclass(frozen=True)
class SaliencyState(ImageState, TargetState):
    """An image, a network, a class, and which maps are made and how they are shown."""

    methods: tuple[str, ...] = FEW  # labels of `METHODS`
    # samples, sigma, steps, baseline: options of the methods
    samples: int = 25
    sigma: float = 0.04
    steps: int = 32
    baseline: str = "black"
    shown_as: str = SIZE  # with the sign, without it, or only what speaks for the class
    scale: str = OWN  # whether each map has colors of its own, or all share those of "fraction of the whole map"
    blended: bool = False  # whether a map is laid over the image


@dataclass(frozen=True)
class SaliencyResult(ImageResult):
    """The maps that are ready."""

    target: int  # the number of the class that is explained
    probability: float  # of that class
    maps: np.ndarray  # the attributions (M, 3, S, S) of the first M methods; NaN where a method has no answer
    sums: np.ndarray  # of the attributions of each (M,)
    change: float  # the class's logit for the image minus that for the baseline
    inside: dict[str, np.ndarray]  # fraction of each map on each object, name -> (M,); empty for photographs
    blob: dict[str, float]  # the same of a blob in the center, name -> fraction
    refused: dict[str, str]  # method -> why it has no answer


class SaliencyExplorer(ImageExplorer):
    """Several methods side by side on one image; each map appears as it is ready."""

    name, title = "saliency", "Which pixels?"
    question = "One picture, one network: do the methods agree? What changes their maps?"
    State = SaliencyState
    stage = ("network", "target_class", "shown_as", "seed")
    shown_by_code = ("maps",)
    pairs = ("cat + dog",)

    def controls(self) -> tuple[Control, ...]:
        """The network, the methods, their options, how they are shown, then the image."""
        noise, points = (0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5), (1, 2, 5, 10, 25, 50, 100)
        deviation = "Standard deviation of SmoothGrad's noise; pixels run from 0 to 1"
        path = "Of integrated gradients, from the baseline to the picture"
        fractions = "One for all: the color says what fraction of its whole map a pixel holds"
        return (
            *self.network_controls("maps", "probability"),
            *group(
                "Maps",
                Many("methods", "Methods", choices=tuple(METHODS), changes=("maps", "sums")),
                self.target_control("target", "maps"),
            ),
            *group(
                "Options",
                Slider("sigma", "Noise σ", values=noise, when=_takes("sigma"), help=deviation),
                Slider("samples", "Samples", values=points, when=_takes("samples"), help="Noisy copies, or points"),
                Slider("steps", "Steps", values=(1, 2, 4, 8, 16, 32, 64, 128), when=_takes("steps"), help=path),
                Choice(
                    "baseline",
                    "Baseline",
                    choices=tuple(BASELINES),
                    changes=("maps", "change"),
                    when=_takes("baseline"),
                    help="The picture that stands for nothing",
                ),
                changes=("maps",),
            ),
            *group(
                "How they are shown",
                Choice("shown_as", "Show", choices=(SIZE, SIGNED, POSITIVE)),
                Choice("scale", "Colors", choices=(OWN, ONE), help=fractions),
                Toggle("blended", "Over the picture"),
                changes=(PANELS,),
            ),
            *self.image_controls("image", "maps"),
        )

    def compute(self, state: SaliencyState, progress: Reporter) -> Iterator[SaliencyResult]:
        """One map after the other, then the image drawn for the screen."""
        model, image = self.model(state), self.image(state)
        probabilities = model.predict(image).float().cpu()
        target = self.target_index(state, probabilities)
        x = image.to(model.device, model.dtype)[None]
        with torch.no_grad():
            baseline = paths.baseline_pictures(BASELINES[state.baseline], x)
            scores = model(torch.cat([x, baseline]))[:, target].float().cpu()
        masks = evaluation.object_masks(self.scene(state, image.shape[-1])) if self.is_drawn(state) else {}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        blob = evaluation.CONTROLS["center blob"](model, image).cpu()
        result = SaliencyResult(
            *self.both_sizes(image),
            target,
            float(probabilities[target]),
            maps=np.empty((0, *image.shape), np.float32),
            sums=np.empty(0),
            change=float(scores[0] - scores[1]),
            inside={name: np.empty(0) for name in masks},
            blob={name: float(evaluation.energy_inside(blob, mask)) for name, mask in masks.items()},
            refused={},
        )
        yield result
        for name in state.methods:
            inside = dict.fromkeys(masks, float("nan"))
            try:
                one = METHODS[name][0](model, image, target, progress=progress, **_options(name, state)).float().cpu()
                inside = {item: float(evaluation.energy_inside(one[None], mask)) for item, mask in masks.items()}
            except ValueError as reason:  # say, guided backprop of a network without ReLUs
                one = torch.full_like(image, float("nan"))
                result = replace(result, refused={**result.refused, name: str(reason)})
            result = replace(
                result,
                maps=np.concatenate([result.maps, one[None].numpy()]),
                sums=np.append(result.sums, float(one.sum())),
                inside={item: np.append(result.inside[item], fraction) for item, fraction in inside.items()},
            )
            yield result
        yield replace(result, shown=self.screen_image(state).numpy())

    def panels(self, result: SaliencyResult, state: SaliencyState) -> list[Panel]:
        """The image and its maps, what their colors mean, and how much of each lies on the object."""
        name, alt = self.model(state).classes[result.target], self.alt(state)
        image = plots.pixels(result.shown)
        size = TILE if len(state.methods) > 2 else 300
        panels = [Panel(f"{name} {result.probability:.0%}", image, alt, size)]
        for i, method in enumerate(state.methods):
            below = i > 2
            if i >= len(result.maps) or method in result.refused:
                note = result.refused.get(method, "")
                title = f"{method}: no answer" if note else f"{method} ..."
                gray = np.full_like(image, 215)
                panels.append(Panel(title, gray, f"{title} {note}", size, caption=note, below=below))
                continue
            one, how = result.maps[i], HOW[state.shown_as]
            scale = plots.common_scale(one, how) if state.scale == ONE else None
            tile = plots.attribution(one, how, over=image if state.blended else None, scale=scale, size=self.screen)
            panels.append(Panel(method, tile, f"{method} for {name} of {alt}", size, below=below))
        for item, fractions in result.inside.items():
            done = {m: float(f) for m, f in zip(state.methods, fractions, strict=False) if f == f}
            if done:
                blob, caption = [result.blob[item]] * len(done), "Line: a blob in the center."
                width = 526 if len(result.inside) > 1 else 700
                sizes: dict[str, Any] = {"width": width, "row": 19, "caption": caption}
                bars = bar_panel(f"How much lies on the {item}?", list(done), list(done.values()), before=blob, **sizes)
                panels.append(bars)
        return [*panels, _colors(state, name)]

    def describe(self, result: SaliencyResult, state: SaliencyState) -> str:
        """Which map lies most on the object, and what the sums are."""
        text = f"The network: {result.probability:.0%} {self.model(state).classes[result.target]}."
        if not len(result.sums):
            return text + " Choose a method."
        fractions = result.inside.get(self.label(state) or "", np.empty(0))
        ranked = sorted((-f, m) for m, f in zip(state.methods, fractions, strict=False) if f == f)
        if ranked:
            (most, first), (least, last) = ranked[0], ranked[-1]
            text += f" Most on the {self.label(state)}: {first}, {-most:.0%} of its map"
            text += f"; least: {last}, {-least:.0%}." if len(ranked) > 1 else "."
        sums = [f"{m} {s:.1f}" for m, s in zip(state.methods, result.sums, strict=False) if m in COMPLETE and s == s]
        if sums:
            way = "falls" if result.change < -0.05 else "rises"
            text += f" From the baseline the logit {way} by {abs(result.change):.1f}; sums: {', '.join(sums)}."
        return text

    def code(self, state: SaliencyState) -> str:
        """The maps, in the order in which they are shown."""
        target = f"model.class_index({state.target_class!r})" if self.target(state) else None
        calls = []
        for name in state.methods:
            options = "".join(f", {key}={value!r}" for key, value in _options(name, state).items())
            calls.append(f"    {METHODS[name][0].code}(model, image, target{options}),  # {name}")
        target = f"target = {target or 'int(model.predict(image).argmax())'}"
        drawn = (
            f"plots.show([plots.attribution(one, {HOW[state.shown_as]!r}) for one in maps], {list(state.methods)!r})"
        )
        show = [drawn] if state.methods else []
        return self.script(state, target, "maps = torch.stack([", *calls, "])", *show)


def _takes(option: str) -> Callable[[SaliencyState], bool]:
    """Whether one of the chosen methods has this option."""
    return lambda state: any(option in _options(name, state) for name in state.methods)


def _options(name: str, state: SaliencyState) -> dict[str, Any]:
    """The options of a method."""
    method, variant = METHODS[name]
    known = {"samples": state.samples, "steps": state.steps, "baseline": BASELINES[state.baseline]}
    if method.name == "smooth_grad":  # the noise of Gradient SHAP stays at its default
        known["sigma"] = state.sigma
    return {option: value for option, value in known.items() if option in method.options} | variant


def _colors(state: SaliencyState, name: str) -> Panel:
    """What the colors of the maps mean, for each of the methods."""
    text = {
        SIZE: "Bright: large, whatever its sign.",
        SIGNED: "Red: above zero. Blue: below zero.",
        POSITIVE: "Bright: large and above zero.",
    }[state.shown_as]
    meanings: dict[str, list[str]] = {}
    for method in state.methods:
        meanings.setdefault(SQUARES.get(method, METHODS[method][0].meaning), []).append(method)
    text += "".join(f" {', '.join(methods)}: {meaning}." for meaning, methods in meanings.items())
    text = text.replace("the logit", f"the logit of {name}").replace("the class", name)
    high, note = 1.0, f"Each map has its own scale: all but {plots.SATURATED:.1%} of its pixels stay below 1."
    if state.scale == ONE:
        high, note = float(plots.BRIGHTEST), "One scale for all: how many times the mean of its map a pixel has."
    signed = state.shown_as == SIGNED
    colors = "signed" if signed else "heat"
    low, strip = -high if signed else 0.0, np.linspace(0, 1, 768)[None].repeat(24, axis=0)
    image = plots.heatmap(strip, colors, (0, 1))
    caption = f"{low:g} to {high:g}. {text} {note}"
    return Panel("The colors", image, caption, 526, sharp=True, caption=caption, below=True)
