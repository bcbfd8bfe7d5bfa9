"""Networks that are better not folded: in any doubt the network itself is asked, and never fails for a trial."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from test_folding import BehindTheBack, Net, OneConvolutionTwice, folded, pictures, wakened
from xai_lessons import batching, hooks, saliency


class Branches(Net):
    """Leaves its normalisation out in some circumstances, which the network tells from what it is given."""

    def __init__(self, leave_out) -> None:
        super().__init__()
        self.leave_out = (leave_out,)

    def between(self, x):
        y = self.conv(x)
        return y if self.leave_out[0](x) else self.norm(y)


class Scores(Net):
    """Of which a part may do as it likes."""

    def __init__(self, between) -> None:
        super().__init__()
        self.way = (between,)

    def between(self, x):
        return self.way[0](self, x)


def asked(model: nn.Module, *batches: torch.Tensor) -> torch.Tensor:
    """The scores of the last batch."""
    with hooks.undisturbed(model), torch.no_grad():
        return [batching.logits(model, x) for x in batches][-1]


@pytest.mark.parametrize(
    ("leave_out", "other"),
    [
        (lambda x: x.mean() > 0.9, pictures() * 0.01 + 0.99),
        (lambda x: x.mean().item() > 0.9, pictures() * 0.01 + 0.99),
        (lambda x: float(x.detach().numpy().mean()) > 0.9, pictures() * 0.01 + 0.99),
        (lambda x: x.shape[-1] > 40, pictures(size=48)),
        (lambda x: x.dtype == torch.float32, pictures().float()),
        (lambda x: len(x) > 1, pictures(5)),
    ],
)
def test_other_pictures_may_go_another_way(leave_out, other):
    model = wakened(Branches(leave_out))
    model.to(other.dtype)
    with torch.no_grad():
        expected = model(other)
    with hooks.undisturbed(model), torch.no_grad():
        model.double()
        batching.logits(model, pictures())
        model.to(other.dtype)
        assert torch.allclose(batching.logits(model, other), expected, rtol=1e-5, atol=1e-6)


def test_with_gradients_a_network_may_go_another_way():
    model, x = wakened(Branches(lambda x: x.requires_grad)), pictures()
    asked(model, x)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    assert torch.allclose(saliency.gradient(model, x, 1), expected)


def hooked_tensor(net, x):
    y = net.norm(net.conv(x))
    y.register_hook(lambda g: None)  # as Grad-CAM is often taught; fails without gradients
    return y


def by_keywords(net, x):
    return net.norm(F.conv2d(input=x, weight=net.conv.weight, bias=net.conv.bias, padding=1))


def four_only(net, x):
    return net.norm(net.conv(x.view(4, 3, 32, 32)))


def cast_off(net, x):
    with torch.autocast("cpu", enabled=False):
        return net.norm(net.conv(x.float()))


@pytest.mark.parametrize("between", [hooked_tensor, by_keywords, four_only])
def test_what_the_network_can_do_does_not_fail_on_a_trial(between):
    model, x = wakened(Scores(between)), pictures().requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    assert torch.allclose(saliency.gradient(model, x, 1), expected)


def test_a_network_may_switch_autocast_off():
    model, x = Scores(cast_off).eval(), pictures().float()
    with hooks.undisturbed(model), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(batching.logits(model, x), model(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "leave_out", (lambda x: True,)),
        lambda m: setattr(m, "between", m.conv),
        lambda m: setattr(m.norm, "forward", lambda y: y.clamp(max=0.2)),
        lambda m: setattr(m, "__class__", OneConvolutionTwice),
        lambda m: (setattr(m.norm, "running_mean", None), setattr(m.norm, "running_var", None)),
    ],
)
def test_a_network_that_works_otherwise_by_now_is_watched_again(change):
    model, x = wakened(Branches(lambda x: False)), pictures()
    asked(model, x)
    change(model)
    with torch.no_grad():
        assert torch.allclose(asked(model, x), model(x), rtol=1e-9, atol=1e-9)


def test_a_class_given_another_forward_is_watched_again():
    class Mine(Net):
        pass

    model, x = wakened(Mine()), pictures()
    asked(model, x)
    Mine.forward = lambda self, x: self.head(self.conv(x).mean(dim=(2, 3)))
    with torch.no_grad():
        assert torch.allclose(asked(model, x), model(x))


class OnlyNorm(nn.Module):
    """Puts out what the convolution did: its normalisation is for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 32), nn.BatchNorm2d(5)

    def forward(self, x):
        y = self.conv(x)
        self.norm(y)
        return y


@pytest.mark.parametrize("make", [BehindTheBack, OnlyNorm])
def test_a_trial_before_the_training_proves_nothing_that_is_wrong_after_it(make):
    model, x = make().double().eval(), pictures()
    with hooks.undisturbed(model):
        hooks.fastest(model, x)  # the normalisation does nearly nothing
    wakened(model)
    shadow = folded(model, x)
    assert torch.allclose(shadow(x), model(x), rtol=1e-9, atol=1e-9)


class Diary(Net):
    """Keeps notes of its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.log = 0, []
        self.register_buffer("count", torch.zeros(()))

    def between(self, x):
        self.calls += 1
        self.count += 1
        self.log.append(len(x))
        self.maps = self.conv(x)
        return self.norm(self.maps)


def test_what_a_network_notes_of_its_passes_is_right():
    model, x = wakened(Diary()), pictures()
    asked(model, x, x)
    assert (model.calls, model.count.item(), model.log) == (2, 2, [4, 4])
    assert torch.allclose(model.maps, model.conv(x))


def test_a_network_may_change_its_pictures_in_place():
    model, x = wakened(Scores(lambda net, x: net.norm(net.conv(x.sub_(0.5).mul_(2))))), pictures()
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model(x.clone())
    assert torch.allclose(asked(model, x), expected)


def test_a_trial_draws_no_random_numbers():
    model, x = wakened(Scores(lambda net, x: F.dropout(net.norm(net.conv(x)), training=True))), pictures()
    with hooks.undisturbed(model), torch.no_grad():
        torch.manual_seed(0)
        first = batching.logits(model, x)
        torch.manual_seed(0)
        assert torch.equal(first, batching.logits(model, x))


def test_a_network_that_reads_its_weights_reads_its_own():
    model, x = wakened(Scores(lambda net, x: net.norm(net.conv(x)) + 1e-4 * net.conv.weight.sum())), pictures()
    with torch.no_grad():
        assert torch.allclose(asked(model, x), model(x), rtol=1e-12, atol=1e-12)


def test_gradients_may_follow_inference_mode():
    model, x = wakened(Net()), pictures()
    with hooks.undisturbed(model):
        with torch.inference_mode():
            batching.logits(model, x)
        assert saliency.gradient(model, x, 1).any()


def test_in_half_precision_nothing_is_folded():
    model, x = wakened(Net()), pictures()
    asked(model, x)
    model.bfloat16()
    assert folded(model, x.bfloat16()) is model


def test_hooks_of_all_modules_see_the_network_itself():
    model, seen = wakened(Net()), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, _inputs, _output: seen.append(module))
    try:
        asked(model, pictures())
    finally:
        handle.remove()
    assert seen
    assert set(seen) <= set(model.modules())
