"""The interceptor of torch functions: every ReLU is recognized or refused by name, in every spelling."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nets import PoolingNet, pictures, seeded
from xai_lessons import models
from xai_lessons.core.operations import ReluWatch
from xai_lessons.methods import inversion, saliency

RULES = (saliency.guided_backprop, saliency.deconvnet, saliency.lrp, saliency.deep_lift)
SIX = 6 * torch.ones((), dtype=torch.float64)


class Between(nn.Module):
    """A convolution, an operation of the test's, pooling and a linear head."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operation(20 * self.conv(x)).mean(dim=(2, 3)))


def between(operation: Any) -> nn.Module:
    return seeded(lambda: Between(operation))


EXACT = {
    "module": nn.ReLU(),
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp(0)": lambda x: x.clamp(0),
    "clamp with a tensor": lambda x: x.clamp(min=torch.zeros((), dtype=x.dtype)),
    "clamp with a map of zeros": lambda x: torch.clamp(x, min=torch.zeros_like(x)),
    "clamp in place": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0.0),
    "clamp_min in place": lambda x: x.clamp_min_(0.0),
    "clip": lambda x: x.clip(min=0),
    "keyword": lambda x: F.relu(input=x),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum, zero first": lambda x: torch.maximum(x.new_zeros(()), x),
    "max": lambda x: x.max(x.new_zeros(1)),
    "fmax": lambda x: torch.fmax(x, x.new_zeros(())),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "threshold in place": lambda x: F.threshold_(x, 0, 0),
    "nn.Threshold": nn.Threshold(0, 0),
    "operator": torch.ops.aten.relu,
    "operator's overload": lambda x: torch.ops.aten.clamp_min.default(x, 0),
    "each channel": lambda x: torch.cat([torch.relu(channel) for channel in x.split(1, dim=1)], dim=1),
    "checkpoint": lambda x: checkpoint(torch.relu, x, use_reentrant=False),
    "compiled": torch.compile(lambda x: torch.relu(x), backend="eager"),
    "compiled module": torch.compile(nn.ReLU(), backend="eager"),
    "functional_call": lambda x: torch.func.functional_call(nn.ReLU(), {}, (x,)),
}
EXACT_SIX = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "clamp(0, 6)": lambda x: x.clamp(0, 6),
    "clip": lambda x: x.clip(min=0.0, max=6.0),
    "clamp with tensors": lambda x: x.clamp(min=0 * SIX, max=SIX),
}


def test_every_exact_spelling_gives_the_same_map() -> None:
    x = pictures()
    for plain, spellings in ((torch.relu, EXACT), (F.relu6, EXACT_SIX)):
        for rule in RULES:
            wanted = rule(between(plain), x, 1)
            assert wanted.abs().max() > 0
            assert not torch.allclose(wanted, saliency.gradient(between(plain), x, 1))
            for name, spelling in spellings.items():
                with torch.no_grad():
                    assert torch.equal(between(spelling)(x), between(plain)(x)), name
                torch.testing.assert_close(rule(between(spelling), x, 1), wanted, msg=f"{rule.__name__}, {name}")
                exact_zeros = between(lambda x, spelling=spelling: spelling(x.relu()))
                torch.testing.assert_close(
                    rule(exact_zeros, x, 1), rule(between(lambda x, plain=plain: plain(x.relu())), x, 1), msg=name
                )


class OwnRelu(torch.autograd.Function):
    """A ReLU that torch functions do not show."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (ctx.saved_tensors[0] > 0)


def under_no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        on = torch.relu(x) / torch.relu(x).clamp(min=1e-9)
    return x * on


def set_to_zero(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0
    return x


REFUSED = {
    "clamp(max=0)": (lambda x: x.clamp(max=0), "'clamp'"),
    "minimum": (lambda x: -torch.minimum(-x, torch.zeros_like(x)), "'minimum'"),
    "other limits": (lambda x: x.clamp(0, 2), "'clamp'"),
    "another threshold": (lambda x: F.threshold(x, 1, 0), "'threshold'"),
    "a limit from the image": (lambda x: torch.maximum(x, 0 * x), "'maximum'"),
    "where": (lambda x: torch.where(x > 0, x, 0), "'gt'"),
    "a mask": (lambda x: x * (x > 0), "'gt'"),
    "a mask, other way round": (lambda x: x * (x >= 0), "'ge'"),
    "a mask of a copy": (lambda x: x * (x.detach() > 0), "'detach'"),
    "a mask of data": (lambda x: x * (x.data > 0), "'data'"),
    "a mask without gradients": (under_no_grad, "no_grad"),
    "setitem": (set_to_zero, "'lt'"),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0), "'lt'"),
    "selected": (lambda x: x[x > 0].mean().expand(len(x), 4, 1, 1), "'gt'"),
    "abs": (lambda x: (x + x.abs()) / 2, "'abs'"),
    "sign": (lambda x: x * (1 + x.sign()) / 2, "'sign'"),
    "a root of a square": (lambda x: (x + (x * x).sqrt()) / 2, "'sqrt'|product"),
    "heaviside": (lambda x: x * torch.heaviside(x, x.new_zeros(1)), "'heaviside'"),
    "the larger of two": (lambda x: torch.stack([x, torch.zeros_like(x)]).amax(dim=0), "'amax'"),
    "max over an axis": (lambda x: torch.stack([x, torch.zeros_like(x)]).max(dim=0).values, "'max'"),
    "a number": (lambda x: x * max(float(x.mean()), 0), "'item'"),
    "prelu": (nn.PReLU(init=0.0).double(), "'prelu'"),
    "softplus": (lambda x: F.softplus(x, beta=1e6), "'softplus'"),
    "vmap": (torch.vmap(torch.relu), "cannot be seen"),
    "an autograd function": (OwnRelu.apply, "no_grad|cannot be seen"),
}


def test_what_is_not_exactly_a_relu_is_refused_by_name() -> None:
    x = pictures()
    for name, (operation, words) in REFUSED.items():
        for rule in RULES:
            with pytest.raises(ValueError, match=words) as refusal:
                rule(between(operation), x, 1)
            assert str(refusal.value).startswith(f"{rule.__name__} has no rule for "), name
            assert "saliency.integrated_gradients" in str(refusal.value)
            assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_and_traced_code_is_refused() -> None:
    x = pictures()
    scripted = torch.jit.trace(nn.ReLU(), torch.zeros(1))
    for network in (between(scripted), torch.jit.trace(between(torch.relu), x)):
        for rule in RULES:
            with pytest.raises(ValueError, match="TorchScript"):
                rule(network, x, 1)


def test_a_compiled_network_is_explained_as_the_network_itself() -> None:
    x, network = pictures(), seeded(PoolingNet)
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        compiled(x)
    for rule in RULES:
        assert torch.equal(rule(compiled, x, 1), rule(network, x, 1))


def test_what_a_guided_signal_may_pass_as_an_ordinary_gradient() -> None:
    """Behind the last ReLU only smooth operations: the product of the ReLU's rule and their gradient."""
    x = pictures()
    smooth = {
        "softmax": lambda y: y.softmax(dim=1),
        "log_softmax": lambda y: y.log_softmax(dim=1),
        "probabilities": lambda y: y.softmax(dim=1).clamp_min(1e-12).log(),
        "a product": lambda y: y * y.mean(dim=1, keepdim=True),
        "a quotient": lambda y: y / y.sum(dim=1, keepdim=True),
        "attention": lambda y: F.scaled_dot_product_attention(y, y, y),
        "layer norm": lambda y: F.layer_norm(y, y.shape[1:]),
        "global maximum": lambda y: y + y.amax(dim=(2, 3), keepdim=True),
        "global maximum, its axes counted from the end": lambda y: y + y.amax(dim=(-2, -1), keepdim=True),
        "global maximum, the last axis first": lambda y: y + y.amax((-1, -2), True),
        "interpolation": lambda y: F.interpolate(y, scale_factor=2.0, mode="bilinear"),
        "a transposed convolution": lambda y: F.conv_transpose2d(y, torch.ones(4, 4, 2, 2, dtype=y.dtype)),
    }
    for name, operation in smooth.items():
        network = between(lambda x, operation=operation: operation(torch.relu(x) + 1))
        conv = network.conv(x).detach() * 20
        y = torch.relu(conv).requires_grad_()
        Y = network.head(operation(y + 1).mean(dim=(2, 3)))[:, 1].sum()
        (signal,) = torch.autograd.grad(Y, y)
        for rule, on in ((saliency.guided_backprop, conv > 0), (saliency.deconvnet, torch.ones_like(conv))):
            wanted = F.conv_transpose2d(20 * signal.relu() * on, network.conv.weight.detach())
            torch.testing.assert_close(rule(network, x, 1), wanted, msg=name)


def test_a_network_that_returns_probabilities() -> None:
    network = nn.Sequential(seeded(PoolingNet), nn.Softmax(dim=1)).eval()
    with pytest.warns(UserWarning, match="probabilities"):
        model = models.wrap(network, input_size=16)
    x = pictures()
    assert saliency.guided_backprop(model, x, 1).abs().max() > 0


def test_weights_of_a_closure_are_constants() -> None:
    """A callable's weights cannot be frozen; they are told from the image all the same."""
    network, x = seeded(PoolingNet), pictures()
    scale = torch.full((1,), 2.0, dtype=x.dtype, requires_grad=True)

    def scores(x: Tensor) -> Tensor:
        return network(x * (scale * 0.5))

    for rule in RULES[:2]:
        torch.testing.assert_close(rule(scores, x, 1), rule(network, x, 1))
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_relus_are_counted_and_the_latest_is_kept() -> None:
    network, x = seeded(PoolingNet), pictures()
    with ReluWatch() as watch, torch.no_grad():
        network(x)
    assert watch.count == 4
    with torch.no_grad():
        features = network.last(watch.before)
    assert torch.equal(watch.after, features)
    with ReluWatch() as watch:
        for name, spelling in EXACT.items():
            before, n = watch.count, 4 if name == "each channel" else 1
            spelling(torch.ones(3, 4))
            assert watch.count == before + n, name


def test_maximizing_takes_the_value_before_a_relu_of_any_spelling() -> None:
    starts = []
    for spelling in (nn.ReLU(), nn.ReLU6(inplace=True), nn.Threshold(0, 0)):
        network = between(spelling)
        options = {"layer": "operation", "size": 16, "steps": 1, "tv": 0.0, "jitter": 0}
        starts.append(float(inversion.maximize(network, 2, **options).losses))
    bare = between(nn.Identity())
    wanted = float(inversion.maximize(bare, 2, **options).losses)
    assert starts == pytest.approx([wanted] * 3)


def test_other_threads_are_not_seen() -> None:
    x, seen = torch.ones(3), []
    with ReluWatch() as watch:
        thread = threading.Thread(target=lambda: seen.append(torch.relu(x)))
        thread.start()
        thread.join()
    assert len(seen) == 1
    assert watch.count == 0
