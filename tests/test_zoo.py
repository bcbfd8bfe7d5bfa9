"""Every method on torchvision's networks, with random weights: it works, or it refuses and names what does."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from methods import METHODS, Method
from nets import pictures
from xai_lessons import models
from xai_lessons.methods import cam, saliency

LINEAR = {"resnet18", "resnet50", "densenet121", "mobilenet_v2"}  # a linear layer after global average pooling
POOLING = LINEAR | {"squeezenet1_1"}
RELUS = POOLING | {"vgg19"}
ALL = sorted(RELUS | {"mobilenet_v3_small", "convnext_tiny"})
NARROW = {"resnet50": {"width_per_group": 16}}  # a quarter of the channels, and the same operations
SMALL = {
    "occlusion": {"patch": 32, "stride": 32},
    "lime": {"samples": 4},
    "kernel_shap": {"samples": 4},
    "rise": {"samples": 3},
    "smooth_grad": {"samples": 2},
    "integrated_gradients": {"steps": 2},
    "gradient_shap": {"samples": 2},
    "smallest_epsilon": {"steps": 2},
}


@functools.cache
def built(name: str) -> nn.Module:
    """A network of torchvision's with random weights, the same each time; VGG and ResNet-50 are narrower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name != "vgg19":
            return getattr(zoo, name)(weights=None, num_classes=10, **NARROW.get(name, {})).eval()
        with torch.device("meta"):
            net = zoo.vgg19(weights=None, init_weights=False)
        net.features = zoo.vgg.make_layers([c if c == "M" else c // 4 for c in zoo.vgg.cfgs["E"]])
        head = [nn.Linear(128 * 49, 32), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(32, 10)]
        net.classifier = nn.Sequential(*head)
        return net.eval()


@functools.cache
def network(name: str) -> models.Classifier:
    return models.wrap(built(name), input_size=64)


def narrow(net: nn.Module) -> dict[str, object]:
    """Score-CAM asks once for each channel: a layer with few of them, early in the network."""
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    return {"layer": first, "batch_size": 32}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_works_or_is_refused(method: Method, name: str) -> None:
    net, x = network(name), pictures(1, size=64, dtype=torch.float32)
    options = narrow(net) if method.name == "score_cam" else SMALL.get(method.name, {})
    applies = {"pooling": name in POOLING, "relu": name in RELUS}.get(method.needs, True)
    if not applies:
        with pytest.raises(ValueError, match=r"cam\.|saliency\.|paths\.|occlusion\.") as refusal:
            method(net, x, 3, **options)
        assert "\n" not in str(refusal.value)
        return
    result = method(net, x, 3, **options)
    if method.returns != "other":
        assert result.shape == ((1, 64, 64) if method.returns == "heatmap" else (1, 3, 64, 64))
        assert torch.isfinite(result).all()
    if method.returns == "attribution" and method.name != "guided_grad_cam":
        assert result.abs().max() > 0, "something must come back"


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_the_cam_theorem_on_the_zoo(name: str) -> None:
    """Before resizing, on logits, Grad-CAM at the last maps is ReLU(CAM) / Z: in float64."""
    net = models.wrap(copy.deepcopy(built(name)).double(), input_size=64)
    x = pictures(2, size=64)
    M = cam.cam(net, x, [3, 4], size=None)
    Y = net(x).detach()[[0, 1], [3, 4]]
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    torch.testing.assert_close(M.mean(dim=(1, 2)) + head.bias.detach()[[3, 4]], Y)
    if name != "densenet121":  # its last ReLU is no module, so no layer's output is the maps that the head sees
        L = cam.grad_cam(net, x, [3, 4], size=None)
        torch.testing.assert_close(L, M.relu() / M[0].numel(), rtol=1e-9, atol=1e-12)


def test_the_cam_of_a_squeezenet() -> None:
    """Its head: a 1 x 1 convolution to a map per class, a ReLU, the mean. The map is the CAM and its mean the logit."""
    squeezenet = built("squeezenet1_1").double()
    net, x = models.wrap(squeezenet, mean=(0, 0, 0), std=(1, 1, 1), input_size=64), pictures(2, size=64)
    head = squeezenet.classifier[1]
    A = squeezenet.features(x).detach()
    M = torch.einsum("nk,nkij->nij", head.weight.detach()[[3, 4], :, 0, 0], A) + head.bias.detach()[[3, 4], None, None]
    ours = cam.cam(net, x, [3, 4], size=None)
    torch.testing.assert_close(ours, M.relu())
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours.mean(dim=(1, 2)), net(x).detach()[[0, 1], [3, 4]])
    L = cam.grad_cam(net, x, [3, 4], layer=squeezenet.classifier[2], size=None)
    torch.testing.assert_close(L, M.relu() / M[0].numel())


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_guided_backprop_reaches_every_relu_of_the_zoo(name: str) -> None:
    """Functional and reused ReLUs counted by a second implementation: F.relu itself replaced."""
    net, x = network(name), pictures(1, size=64, dtype=torch.float32)
    x = x.clone().requires_grad_()
    plain = nn.functional.relu

    def guided(a: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        y = plain(a)
        if y.requires_grad:
            y.register_hook(lambda g: g.clamp(min=0))
        return y

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "relu", guided)
        (expected,) = torch.autograd.grad(net(x)[:, 3].sum(), x)
    torch.testing.assert_close(saliency.guided_backprop(net, x, 3), expected, rtol=1e-3, atol=1e-6)
