"""The class-activation, gradient and path methods beside captum, torchcam and pytorch-grad-cam."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from captum import attr
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from benchmarks.speed import Case, bare, labeled, plain
from xai_lessons import evaluation
from xai_lessons.core import activations
from xai_lessons.methods import cam, saliency

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam
    import torchcam.methods
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

warnings.filterwarnings("ignore", module="captum")
PASSES = 32
BATCHES = (8, 16, 32)  # captum's passes at once: the table shows each


def cases(name: str) -> dict[str, Callable[[], Case]]:
    """Label -> how to set the case up for this network."""
    makers = {
        "grad_cam": _grad_cam,
        "score_cam": _score_cam,
        "gradient": _gradient,
        "guided_backprop": _guided_backprop,
        "smooth_grad": _smooth_grad,
        "integrated_gradients": _integrated_gradients,
        "gradient_shap": _gradient_shap,
        "max_sensitivity": _max_sensitivity,
    }
    return labeled(makers, name)


def _ready(x: Tensor) -> Tensor:
    return x[None].clone().requires_grad_()


def _grad_cam(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    peer, layer = plain(model), activations.find_layer(model)[1]
    theirs = activations.find_layer(peer)[1]

    def captum() -> Tensor:
        L = attr.LayerGradCam(peer, theirs).attribute(_ready(x), c, relu_attributions=True)
        return attr.LayerAttribution.interpolate(L, tuple(x.shape[-2:]), "bicubic")

    def by_torchcam() -> Tensor:
        with torchcam.methods.GradCAM(peer, theirs, input_shape=tuple(x.shape)) as extractor:
            L = extractor(c, peer(_ready(x)), normalized=False)[0]
        return attr.LayerAttribution.interpolate(L[None], tuple(x.shape[-2:]), "bicubic")

    def floor() -> None:  # the forward pass, and back to the layer only
        kept: list[Tensor] = []
        handle = layer.register_forward_hook(lambda m, i, o: kept.append(o.detach().requires_grad_()) or kept[0])
        Y = model(x[None])
        handle.remove()
        torch.autograd.grad(Y[:, c].sum(), kept[0])

    return Case(
        case, lambda: cam.grad_cam(model, x, c), {"captum": captum, "torchcam": by_torchcam}, {1: floor}, many=False
    )


def _score_cam(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    peer = plain(model)
    layer = activations.find_layer(peer)[1]
    channels = activations.activation(model, None, x[None])[0].shape[1]

    def by_torchcam(at_once: int) -> Callable[[], Tensor]:
        def go() -> Tensor:
            make = torchcam.methods.ScoreCAM
            with make(peer, layer, batch_size=at_once, input_shape=tuple(x.shape)) as extractor:
                return extractor(c, peer(x[None]), normalized=False)[0]

        return go

    def by_grad_cam() -> object:
        with pytorch_grad_cam.ScoreCAM(peer, [layer]) as extractor:
            extractor.batch_size = 16
            return extractor(x[None], [ClassifierOutputTarget(c)])

    def ours(fast: bool = False) -> Tensor:
        return cam.score_cam(model, x, c, fast=fast)

    peers = {f"torchcam, {n} at once": by_torchcam(n) for n in BATCHES} | {"pytorch-grad-cam": by_grad_cam}
    floor = bare(model, x, channels)
    return Case(f"{case}, {channels} channels", ours, peers, floor, lambda: ours(fast=True))


def _gradient(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    method = attr.Saliency(plain(model))
    peers = {"captum": lambda: method.attribute(_ready(x), c, abs=False)}
    return Case(case, lambda: saliency.gradient(model, x, c), peers, bare(model, x, 1, backward=True), many=False)


def _guided_backprop(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    method = attr.GuidedBackprop(plain(model))
    peers = {"captum": lambda: method.attribute(_ready(x), c)}
    return Case(
        case, lambda: saliency.guided_backprop(model, x, c), peers, bare(model, x, 1, backward=True), many=False
    )


def _smooth_grad(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    def captum(at_once: int) -> Callable[[], Tensor]:
        method = attr.NoiseTunnel(attr.Saliency(plain(model)))
        options = {"nt_samples": PASSES, "nt_samples_batch_size": at_once, "stdevs": 0.04, "abs": False}
        return lambda: method.attribute(_ready(x), target=c, **options)

    def ours() -> Tensor:
        return saliency.smooth_grad(model, x, c, samples=PASSES)

    return _many(f"{case}, {PASSES} samples", ours, captum, model, x)


def _integrated_gradients(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    method = attr.IntegratedGradients(plain(model))

    def captum(at_once: int) -> Callable[[], Tensor]:
        return lambda: method.attribute(_ready(x), 0.0, c, n_steps=PASSES, internal_batch_size=at_once)

    def ours() -> Tensor:
        return saliency.integrated_gradients(model, x, c, steps=PASSES)

    return _many(f"{case}, {PASSES} steps", ours, captum, model, x)


def _gradient_shap(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    method = attr.GradientShap(plain(model))

    def captum() -> Tensor:
        return method.attribute(_ready(x), torch.zeros_like(x)[None], n_samples=PASSES, target=c)

    def ours() -> Tensor:
        return saliency.gradient_shap(model, x, c, samples=PASSES)

    return Case(f"{case}, {PASSES} samples", ours, {"captum": captum}, bare(model, x, PASSES, backward=True))


def _max_sensitivity(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    method, samples = attr.Saliency(plain(model)), 10

    def explain(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (method.attribute(images[0].detach().requires_grad_(), c, abs=False),)

    def captum(at_once: int) -> Callable[[], Tensor]:
        options = {"perturb_radius": 0.02, "n_perturb_samples": samples, "max_examples_per_batch": at_once}
        return lambda: sensitivity_max(explain, x[None], **options)

    def ours() -> Tensor:
        return evaluation.max_sensitivity(saliency.gradient, model, x, c, radius=0.02, samples=samples)

    peers = {f"captum, {n} at once": captum(n) for n in (5, 10)}
    floor = bare(model, x, samples + 1, backward=True)
    return Case(f"{case} of the gradient, {samples} samples", ours, peers, floor)


def _many(
    name: str, ours: Callable[[], Tensor], captum: Callable[[int], Callable[[], Tensor]], model: nn.Module, x: Tensor
) -> Case:
    peers = {f"captum, {n} at once": captum(n) for n in BATCHES}
    return Case(name, ours, peers, bare(model, x, PASSES, backward=True))
