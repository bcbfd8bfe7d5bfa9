"""The class-activation family against torchcam, pytorch-grad-cam and captum, in float64, at the layer's resolution."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam
    import torchcam.methods
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from xai_lessons.methods import cam

CLASSES = [0, 1, 2]
NETS = [(PoolingNet, "last"), (PoolingNet, "conv2"), (FlatNet, "conv2")]


@pytest.fixture(params=NETS, ids=lambda p: f"{p[0].__name__}-{p[1]}")
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    make, layer = request.param
    return seeded(make, seed=2), layer


def by_torchcam(make: type, net: nn.Module, layer: str, x: Tensor, **options: object) -> Tensor:
    with make(net, layer, input_shape=tuple(x.shape[1:]), **options) as extractor:
        scores = net(x)
        return extractor(CLASSES, scores, normalized=False)[0].detach()


def by_grad_cam(make: type, net: nn.Module, layer: str, x: Tensor) -> Tensor:
    """The library's formula on its own activations and gradients, before it rescales them to float32."""
    targets = [ClassifierOutputTarget(c) for c in CLASSES]
    with make(net, [net.get_submodule(layer)]) as extractor:
        extractor(x.clone().requires_grad_(), targets)
        kept = extractor.activations_and_grads
        A, g = (each[0].cpu().numpy() for each in (kept.activations, kept.gradients or kept.activations))
        return torch.from_numpy(np.maximum(extractor.get_cam_image(x, None, targets, A, g, False), 0))


def test_cam_torchcam() -> None:
    net, x = seeded(PoolingNet, seed=2), pictures()
    theirs = by_torchcam(torchcam.methods.CAM, net, "last", x, fc_layer="head")
    ours = cam.cam(net, x, CLASSES, size=None)
    assert record_deviation("cam.cam", "torchcam", relative(ours, theirs)) < 1e-5


def test_grad_cam_torchcam(case: tuple[nn.Module, str]) -> None:
    (net, layer), x = case, pictures()
    theirs = by_torchcam(torchcam.methods.GradCAM, net, layer, x)
    ours = cam.grad_cam(net, x, CLASSES, layer=layer, size=None)
    assert record_deviation("cam.grad_cam", "torchcam", relative(ours, theirs)) < 1e-5


def test_grad_cam_captum(case: tuple[nn.Module, str]) -> None:
    (net, layer), x = case, pictures()
    theirs = LayerGradCam(net, net.get_submodule(layer)).attribute(x, torch.tensor(CLASSES), relu_attributions=True)
    ours = cam.grad_cam(net, x, CLASSES, layer=layer, size=None)
    assert record_deviation("cam.grad_cam", "captum", relative(ours, theirs[:, 0].detach())) < 1e-5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cam.grad_cam, pytorch_grad_cam.GradCAM),
        (cam.hires_cam, pytorch_grad_cam.HiResCAM),
        (cam.layer_cam, pytorch_grad_cam.LayerCAM),
    ],
)
def test_pytorch_grad_cam(ours, theirs: type, case: tuple[nn.Module, str]) -> None:
    (net, layer), x = case, pictures()
    deviation = relative(ours(net, x, CLASSES, layer=layer, size=None), by_grad_cam(theirs, net, layer, x))
    assert record_deviation(f"cam.{ours.__name__}", "pytorch-grad-cam (its formula, float64)", deviation) < 1e-5


def test_layer_cam_torchcam(case: tuple[nn.Module, str]) -> None:
    (net, layer), x = case, pictures()
    theirs = by_torchcam(torchcam.methods.LayerCAM, net, layer, x)
    ours = cam.layer_cam(net, x, CLASSES, layer=layer, size=None)
    assert record_deviation("cam.layer_cam", "torchcam", relative(ours, theirs)) < 1e-5


def test_grad_cam_plus_plus_pytorch_grad_cam() -> None:
    """Its denominator carries + 1e-6: with gradients scaled up (a head 10,000 times as steep) that no longer shows."""
    net, x = seeded(PoolingNet, seed=2), pictures()
    with torch.no_grad():
        net.head.weight *= 1e4
    theirs = by_grad_cam(pytorch_grad_cam.GradCAMPlusPlus, net, "last", x)
    ours = cam.grad_cam_plus_plus(net, x, CLASSES, layer="last", size=None)
    name = "pytorch-grad-cam (its formula, float64; its + 1e-6 outweighed)"
    assert record_deviation("cam.grad_cam_plus_plus", name, relative(ours, theirs)) < 1e-5


def test_grad_cam_plus_plus_by_derivatives() -> None:
    """The paper's equation 10 with autograd's own second and third derivatives of exp(Y), place by place."""
    net, x = seeded(PoolingNet, seed=2), pictures(1)
    A = net.last(torch.randn(1, 6, 3, 3, generator=torch.Generator().manual_seed(0), dtype=x.dtype)).detach()
    total = A.sum(dim=(2, 3))[0]

    def weight(k: int) -> Tensor:
        w = torch.zeros((), dtype=x.dtype)
        for i in range(3):
            for j in range(3):
                a = A[0, k, i, j].clone().requires_grad_()
                maps = A.clone()
                maps[0, k, i, j] = a
                Y = net.head(maps.mean(dim=(2, 3)))[0, 1].exp()
                (first,) = torch.autograd.grad(Y, a, create_graph=True)
                (second,) = torch.autograd.grad(first, a, create_graph=True)
                (third,) = torch.autograd.grad(second, a)
                w = w + second / (2 * second + total[k] * third) * first.relu()
        return w.detach() / Y.detach()  # exp(Y), which the package leaves out

    theirs = sum(weight(k) * A[0, k] for k in range(6)).relu()
    net.forward = lambda _: net.head(net.last(A).mean(dim=(2, 3)))
    ours = cam.grad_cam_plus_plus(net, x, 1, layer="last", size=None)[0]
    assert (
        record_deviation("cam.grad_cam_plus_plus", "derivatives of exp(Y) by autograd", relative(ours, theirs)) < 1e-5
    )


def test_score_cam_torchcam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchcam scales the maps before it resizes them: with its two steps swapped it is the paper's formula."""
    net, x = seeded(PoolingNet, seed=2), pictures()

    def swapped(self: object, activation: Tensor) -> Tensor:
        return torchcam.methods.ScoreCAM._normalize(upsample(self, activation), 2)

    upsample = torchcam.methods.ScoreCAM._upsample
    monkeypatch.setattr(torchcam.methods.ScoreCAM, "_upsample", swapped)
    theirs = by_torchcam(torchcam.methods.ScoreCAM, net, "last", x)
    ours = cam.score_cam(net, x, CLASSES, layer="last", size=None)
    name = "torchcam (resized before it is scaled, as in the paper)"
    assert record_deviation("cam.score_cam", name, relative(ours, theirs)) < 1e-5


def test_score_cam_pytorch_grad_cam(monkeypatch: pytest.MonkeyPatch) -> None:
    """It resizes with align_corners=True; given the other resizing, only its float32 scores and + 1e-8 differ."""
    net, x = seeded(PoolingNet, seed=2), pictures()
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", partial(nn.Upsample, mode="bilinear", align_corners=False))
    theirs = by_grad_cam(pytorch_grad_cam.ScoreCAM, net, "last", x)
    ours = cam.score_cam(net, x, CLASSES, layer="last", size=None)
    name = "pytorch-grad-cam (with align_corners=False; float32 scores)"
    assert record_deviation("cam.score_cam", name, relative(ours, theirs)) < 1e-5
