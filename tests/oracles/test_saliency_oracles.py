"""The gradient family against captum and zennit in float64; where they need it, on ReLUs spelled out as modules."""

import pytest
import torch
from captum import attr
from torch import Tensor, nn
from zennit import attribution, composites

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.core.inputs import generator
from xai_lessons.methods import saliency

CLASSES = [0, 1, 2]
TARGETS = torch.tensor(CLASSES)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # captum tells what it sets and unsets


class SpelledOut(nn.Module):
    """PoolingNet's own function with a ReLU module for each use: captum and zennit miss functional and reused ones."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.relus = seeded(PoolingNet, seed=2), nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        x = self.relus[0](net.norm(net.conv1(x)))
        y = self.relus[1](net.conv2(x))
        x = self.relus[3](self.relus[2](net.conv3(y) + x))
        return net.head(x.mean(dim=(2, 3)))


class SpelledOutFlat(nn.Module):
    """The same for FlatNet."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.relus = seeded(FlatNet, seed=2), nn.ModuleList(nn.ReLU() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        x = net.pool(self.relus[0](net.conv1(x)))
        x = net.pool(self.relus[1](net.conv2(x)))
        return net.fc2(self.relus[2](net.fc1(x.flatten(1))))


@pytest.fixture(params=[PoolingNet, FlatNet])
def net(request: pytest.FixtureRequest) -> nn.Module:
    return seeded(request.param, seed=2)


def close(name: str, reference: str, ours: Tensor, theirs: Tensor) -> bool:
    return record_deviation(f"saliency.{name}", reference, relative(ours, theirs.detach())) < 1e-5


def by_zennit(
    net: nn.Module, x: Tensor, make: type = attribution.Gradient, composite: object = None, **options
) -> Tensor:
    with make(net, composite, **options) as attributor:
        return attributor(x, torch.eye(5, dtype=x.dtype)[CLASSES])[1]


def test_gradient(net: nn.Module) -> None:
    x = pictures()
    ours = saliency.gradient(net, x, CLASSES)
    assert close("gradient", "captum", ours, attr.Saliency(net).attribute(x, TARGETS, abs=False))
    assert close("gradient", "zennit", ours, by_zennit(net, x))


def test_gradient_x_input(net: nn.Module) -> None:
    x = pictures()
    ours = saliency.gradient_x_input(net, x, CLASSES)
    assert close("gradient_x_input", "captum", ours, attr.InputXGradient(net).attribute(x, TARGETS))
    assert close("gradient_x_input", "zennit", ours, x * by_zennit(net, x))


@pytest.mark.parametrize(
    ("name", "captum", "zennit"),
    [
        ("guided_backprop", attr.GuidedBackprop, composites.GuidedBackprop),
        ("deconvnet", attr.Deconvolution, composites.DeconvNet),
    ],
)
def test_relu_rules(name: str, captum: type, zennit: type) -> None:
    """Our answer on the awkward network itself, theirs on the one that is spelled out.

    captum's deconvnet is wrong where a ReLU takes another's output as it is (its hooks run in the wrong order), as
    PoolingNet's last does; zennit's is right there.
    """
    x = pictures()
    for make in (SpelledOut, SpelledOutFlat):
        spelled = make()
        ours = getattr(saliency, name)(spelled.net, x, CLASSES)
        assert close(name, "zennit (ReLUs spelled out)", ours, by_zennit(spelled, x, composite=zennit()))
        if make is SpelledOutFlat or name == "guided_backprop":
            assert close(name, "captum (ReLUs spelled out)", ours, captum(spelled).attribute(x, TARGETS))


def test_guided_grad_cam() -> None:
    """At a layer of the pictures' own size, where resizing (captum: nearest) plays no part."""

    full, x = SpelledOutFlat(), pictures()
    theirs = attr.GuidedGradCam(full, full.relus[0]).attribute(x, TARGETS)
    ours = saliency.guided_grad_cam(full, x, CLASSES, layer="relus.0")
    assert close("guided_grad_cam", "captum (layer of the pictures' size)", ours, theirs)


@pytest.mark.parametrize(("kind", "theirs"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("var", "vargrad")])
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input"])
def test_smooth_grad_captum(net: nn.Module, kind: str, theirs: str, method: str, monkeypatch) -> None:
    """With the same noise, on pictures in the middle grays, where nothing is clamped."""
    x = 0.3 + 0.4 * pictures()
    epsilon = 0.02 * torch.randn(8, 3, 16, 16, generator=generator(0)).double()
    monkeypatch.setattr(torch, "normal", lambda mean, std: epsilon.repeat(3, 1, 1, 1))
    base = {"gradient": attr.Saliency, "gradient_x_input": attr.InputXGradient}[method](net)
    options = {"abs": False} if method == "gradient" else {}
    expected = attr.NoiseTunnel(base).attribute(x, nt_type=theirs, nt_samples=8, stdevs=0.02, target=TARGETS, **options)
    ours = saliency.smooth_grad(
        net, x, CLASSES, method=getattr(saliency, method), samples=8, sigma=0.02, kind=kind, batch_size=5
    )
    assert close("smooth_grad", f"captum ({theirs}, the same noise)", ours, expected)


def test_smooth_grad_zennit(net: nn.Module, monkeypatch) -> None:
    """One picture; zennit takes its noise as a fraction of the picture's range and its first sample without noise."""
    x = 0.3 + 0.4 * pictures(1)
    epsilon = 0.02 * torch.randn(8, 3, 16, 16, generator=generator(0)).double()
    noisy = [by_zennit(net, (x + e).expand(3, -1, -1, -1))[0] for e in epsilon]
    ours = saliency.smooth_grad(net, x[0], 0, samples=8, sigma=0.02)
    assert close("smooth_grad", "zennit (a loop over the same noise)", ours, torch.stack(noisy).mean(0))


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_layer_gradient_x_activation(net: nn.Module, layer: str) -> None:
    x = pictures()
    theirs = attr.LayerGradientXActivation(net, net.get_submodule(layer)).attribute(x, TARGETS)
    ours = saliency.layer_gradient_x_activation(net, x, CLASSES, layer=layer)
    assert close("layer_gradient_x_activation", "captum", ours, theirs)


@pytest.mark.parametrize("neuron", [(0, 3, 4), (4, 7, 0)])
def test_neuron_gradient(net: nn.Module, neuron: tuple[int, int, int]) -> None:
    x = pictures()
    theirs = attr.NeuronGradient(net, net.conv2).attribute(x, neuron)
    ours = saliency.neuron_gradient(net, x, neuron, layer="conv2")
    assert close("neuron_gradient", "captum", ours, theirs)
