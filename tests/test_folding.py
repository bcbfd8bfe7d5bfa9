"""Batch normalisation folded into convolutions: the same scores, whatever the network, and nothing of it touched."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from xai_lessons import batching, folding, hooks, models, networks, saliency


def wakened(module: nn.Module) -> nn.Module:
    """With normalisations that do something, as after a training."""
    random = torch.Generator().manual_seed(1)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t, low in ((m.running_mean, -0.5), (m.running_var, 0.5), (m.weight, 0.5), (m.bias, -0.5)):
                if t is not None:
                    t.data.copy_(low + torch.rand(t.shape, generator=random))
    return module.double().eval()


def pictures(count: int = 4, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def folded(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """What is asked in the place of the model."""
    with hooks.undisturbed(model):
        return hooks.fastest(model, x)


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


class Net(nn.Module):
    """A convolution, a normalisation, and a head; what is in between is for the subclass to say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(x).relu().mean(dim=(2, 3)))


class UsedTwice(Net):
    def between(self, x):
        y = self.conv(x)
        return self.norm(y) + y


class UsedInAList(Net):
    def between(self, x):
        y = self.conv(x)
        return torch.cat([self.norm(y)[:, :2], torch.stack([y, y])[0][:, 2:]], dim=1)


class OneConvolutionTwice(Net):
    def between(self, x):
        return self.norm(self.conv(x)) + self.conv(x.flip(-1))


class OneNormTwice(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 4, 1)

    def between(self, x):
        return self.norm(self.conv(x)) + self.norm(self.other(x))


class SomethingBetween(Net):
    def between(self, x):
        return self.norm(self.conv(x) + 1)


class Functional(Net):
    def between(self, x):
        n = self.norm
        y = F.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        return F.batch_norm(y, n.running_mean, n.running_var, n.weight, n.bias, False, 0.1, n.eps)


class BehindTheBack(Net):
    """Calls its convolution by a way that is no attribute: a shadow would miss it."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = [self.conv]

    def between(self, x):
        return self.norm(self.ways[0](x))


class Counted(Net):
    """Computes in place on what the convolution put out."""

    def between(self, x):
        return self.norm(self.conv(x).mul_(2))


def plain_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.AvgPool2d(30), nn.Flatten()
    )


def batch_statistics() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.AvgPool2d(30), nn.Flatten()
    )


CASES = {
    "ours": (lambda: networks.build("ResNet"), 10),
    "ours for CIFAR-10": (lambda: networks.build("Vgg", **networks.CIFAR_VGG), 6),
    "no normalisation": (lambda: networks.build("Vgg", input_size=32), 0),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), 20),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), 34),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=5), 59),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=5), 0),
    "a plain one": (Net, 1),
    "without weights of its own": (plain_norm, 1),
    "with the batch's statistics": (batch_statistics, 0),
    "used twice": (UsedTwice, 0),
    "used in a list": (UsedInAList, 0),
    "one convolution twice": (OneConvolutionTwice, 0),
    "one normalisation twice": (OneNormTwice, 0),
    "something between": (SomethingBetween, 0),
    "in place": (Counted, 0),
    "functional": (Functional, 0),
    "behind the back": (BehindTheBack, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_scores_are_the_same_and_what_can_be_folded_is(name):
    make, count = CASES[name]
    torch.manual_seed(0)
    model = wakened(make())
    x = pictures(size=64 if name in ("densenet121", "squeezenet") else 32)
    shadow = folded(model, x)
    assert (norms(model) - norms(shadow) if isinstance(shadow, nn.Module) else 0) == count
    with torch.no_grad():
        assert torch.allclose(shadow(x), model(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["ours", "resnet18", "used twice", "behind the back"])
def test_gradients_to_the_picture_are_the_same(name):
    torch.manual_seed(0)
    model, x = wakened(CASES[name][0]()), pictures()
    x.requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    assert torch.allclose(saliency.gradient(model, x, 1), expected, rtol=1e-8, atol=1e-12)


def test_nothing_of_the_network_is_touched():
    model = wakened(networks.build("ResNet"))
    before, attributes = copy.deepcopy(model.state_dict()), {n: set(m.__dict__) for n, m in model.named_modules()}
    saliency.gradient(model, pictures(), 0)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert attributes == {n: set(m.__dict__) for n, m in model.named_modules()}
    assert all(p.grad is None for p in model.parameters())


def test_few_pictures_are_not_worth_it_until_there_were_enough():
    model, x = wakened(networks.build("ResNet")), pictures()
    with hooks.undisturbed(model):
        assert [hooks.fastest(model, x[:1]) is model for _ in range(5)] == [True, True, True, False, False]


def test_outside_of_undisturbed_the_network_itself_is_asked():
    model = wakened(networks.build("ResNet"))
    assert hooks.fastest(model, pictures()) is model
    with hooks.undisturbed(len):
        assert hooks.fastest(len, pictures()) is len


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_a_network_that_somebody_watches_is_asked_itself(kind):
    model, x = wakened(networks.build("ResNet")), pictures()
    with hooks.undisturbed(model):
        assert hooks.fastest(model, x) is not model
        handle = getattr(model.stage1[0].conv1, kind)(lambda *_: None)
        assert hooks.fastest(model, x) is model
        handle.remove()
        assert hooks.fastest(model, x) is not model


def test_a_torch_function_mode_sees_the_network_itself():
    from torch.overrides import BaseTorchFunctionMode

    model, x = wakened(networks.build("ResNet")), pictures()
    with hooks.undisturbed(model), BaseTorchFunctionMode():
        assert hooks.fastest(model, x) is model


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.stage1[0].conv1.weight.data.mul_(2),  # which torch's version counter does not see
        lambda m: m.stage1[0].norm1.running_mean.add_(1),
        lambda m: m.load_state_dict({k: v + 0.1 for k, v in m.state_dict().items()}),
        lambda m: setattr(m.stage1[0], "conv1", nn.Conv2d(16, 32, 3, padding=1).double()),
        lambda m: setattr(m.stage1[0], "norm2", nn.Identity()),
        lambda m: setattr(m.stage2[0].norm1, "eps", 0.5),
        lambda m: m.float().double(),
    ],
)
def test_a_change_of_the_network_is_seen_at_once(change):
    model, x = wakened(networks.build("ResNet")), pictures()
    folded(model, x)
    with torch.no_grad():
        change(model)
        model.eval()
        assert torch.allclose(folded(model, x)(x), model(x), rtol=1e-9, atol=1e-9)


def test_in_bfloat16_the_folded_weights_are_so_too():
    model, x = models.load("menagerie-resnet", device="cpu"), pictures(size=96).float()
    with hooks.undisturbed(model), torch.no_grad():
        exact = batching.logits(model, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shadow = hooks.fastest(model, x)
            fast = shadow(x)
        assert {m.weight.dtype for m in shadow.modules() if isinstance(m, nn.Conv2d)} == {torch.bfloat16}
        assert torch.allclose(fast.float(), exact, atol=0.15)
        assert torch.equal(batching.logits(model, x), exact)


def test_scripted_networks_are_let_be():
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(wakened(Net()))
    model, x = nn.Sequential(scripted), pictures()
    assert folded(model, x) is model


def test_a_network_that_is_gone_is_not_kept():
    import gc

    model = wakened(Net())
    folded(model, pictures())
    before = len(folding._known)
    del model
    gc.collect()
    assert len(folding._known) < before
