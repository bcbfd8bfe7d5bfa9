"""LRP and DeepLIFT: their theorems, by hand, and what they must not miss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons import models
from xai_lessons.methods import saliency
from xai_lessons.methods.relevance import RULES, deep_lift, lrp

NETS = [PoolingNet, FlatNet]


class Made(nn.Module):
    """Two convolutions, with one operation of the test's in between, pooling and a linear head."""

    def __init__(self, between: Any = torch.relu, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=bias)
        self.head = nn.Linear(4, 3, bias=bias)
        self.scale = nn.Parameter(torch.full((1,), 1.5))
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self.conv1(x))
        return self.head(torch.relu(self.conv2(x)).mean(dim=(2, 3)))


def made(between: Any = torch.relu, **options: Any) -> nn.Module:
    return seeded(lambda: Made(between, **options))


def sums(maps: Tensor) -> Tensor:
    return maps.sum(dim=(1, 2, 3))


def difference(model: nn.Module, x: Tensor, reference: Tensor, c: Tensor) -> Tensor:
    with torch.no_grad():
        return (model(x) - model(reference.expand_as(x))).gather(1, c[:, None])[:, 0]


def predicted(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1)


def close(a: Tensor, b: Tensor, rtol: float = 1e-9) -> bool:
    """Whether two maps of one shape agree, and there is something in them to agree on."""
    return a.shape == b.shape and bool(b.abs().max() > 0) and bool((a - b).abs().max() <= rtol * b.abs().max())


@pytest.mark.parametrize("net", NETS)
def test_lrp_0_is_gradient_x_input_of_the_normalized_input(net: type[nn.Module]) -> None:
    model = models.wrap(seeded(net), input_size=16).double()
    x = pictures()
    a = ((x - model.mean) / model.std).requires_grad_()
    Y = model.network(a)
    (g,) = torch.autograd.grad(Y.gather(1, Y.argmax(1, keepdim=True)).sum(), a)
    assert close(lrp(model, x, epsilon=0.0), (a * g).detach())


def test_lrp_0_is_gradient_x_input_with_relu6_only_where_none_is_saturated() -> None:
    x = pictures()
    for scale, saturated in ((0.1, False), (100.0, True)):
        model = made(lambda x, scale=scale: F.relu6(scale * x))
        assert bool((scale * model.conv1(x) > 6).any()) == saturated
        maps = lrp(model, x, 1, epsilon=0.0)
        wanted = saliency.gradient_x_input(model, x, 1)
        assert close(maps, wanted) != saturated
        with torch.no_grad():  # what a saturated ReLU6 passes on is all of its relevance, as if it were 6 / z times z
            z = scale * model.conv1(x)
            slope = F.relu6(z) / z
        frozen = made(lambda x, scale=scale, slope=slope: scale * x * slope)
        assert close(maps, saliency.gradient_x_input(frozen, x, 1))


@pytest.mark.parametrize("net", NETS)
def test_lrp_0_and_what_the_biases_absorb_are_the_logit(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures(1)
    Y = model(x).amax()
    absorbed = Y.new_zeros(())
    for module in model.modules():
        if getattr(module, "bias", None) is None:
            continue
        (g,) = torch.autograd.grad(Y, module.bias, retain_graph=True)
        b = module.bias
        if isinstance(module, nn.BatchNorm2d):  # its shift is a bias too
            b = b - module.running_mean * module.weight / (module.running_var + module.eps).sqrt()
        absorbed = absorbed + (b * g).sum()
    relevance = lrp(model, x, epsilon=0.0).sum()
    assert (relevance + absorbed).item() == pytest.approx(Y.item(), rel=1e-9)
    assert absorbed.abs() > 0.01 * Y.abs()  # else nothing was tested


@pytest.mark.parametrize("rule", RULES)
def test_lrp_without_biases_keeps_the_logit(rule: str) -> None:
    model, x = made(bias=False), pictures()
    c = torch.tensor([0, 1, 2])
    assert close(sums(lrp(model, x, c, rule=rule, epsilon=0.0)), difference(model, x, torch.zeros_like(x), c))


def test_lrp_by_hand() -> None:
    """One 1x1 convolution from R, G, B to two channels, ReLU, mean over 2 x 2, one class: every rule on paper."""
    conv, head = nn.Conv2d(3, 2, 1), nn.Linear(2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[2.0, -1.0, 0.0], [1.0, 1.0, -4.0]]).view(2, 3, 1, 1))
        conv.bias.copy_(torch.tensor([1.0, 0.0]))
        head.weight.copy_(torch.tensor([[4.0, 8.0]]))
        head.bias.fill_(7.0)
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double()
    x = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    x[0, :, 0, 0] = torch.tensor([1.0, 0.5, 0.25])  # z = (2 - .5 + 1, 1 + .5 - 1) = (2.5, 0.5)
    # at that pixel each channel's output has the weights (4, 8) / 4 in the logit: relevance 2.5 and 1 of the channels
    wanted = {
        "epsilon": [2.0 / 2.5 * 2.5 + 1.0 / 0.5, -0.5 / 2.5 * 2.5 + 0.5 / 0.5, -1.0 / 0.5],
        "zplus": [2.0 / 3.0 * 2.5 + 1.0 / 1.5, 0.5 / 1.5, 0.0],
        "gamma": [4.0 / 5.5 * 2.5 + 2.0 / 2.0, -0.5 / 5.5 * 2.5 + 1.0 / 2.0, -1.0 / 2.0],  # gamma = 1
    }
    for rule, values in wanted.items():
        R = lrp(model, x, 0, rule=rule, gamma=1.0, epsilon=0.0)
        assert R[0, :, 0, 0].tolist() == pytest.approx(values)
        assert R[0, :, 1, :].abs().sum() == 0  # black pixels gave nothing; only the bias spoke there


def test_epsilon_takes_from_the_weak() -> None:
    model, x = made(), pictures()
    assert sums(lrp(model, x, 0, epsilon=0.5).abs()).max() < sums(lrp(model, x, 0, epsilon=0.0).abs()).min()


def test_gamma_lies_between_epsilon_and_zplus() -> None:
    model, x = made(), pictures()
    assert close(lrp(model, x, rule="gamma", gamma=0.0, epsilon=0.0), lrp(model, x, epsilon=0.0))
    assert close(lrp(model, x, rule="gamma", gamma=1e9, epsilon=0.0), lrp(model, x, rule="zplus", epsilon=0.0), 1e-6)


def test_a_batch_norm_after_a_convolution_is_one_layer_with_it() -> None:
    x = pictures()
    apart = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
    )
    fused = nn.Sequential(
        *(
            torch.nn.utils.fuse_conv_bn_eval(m, apart[i + 1]) if isinstance(m, nn.Conv2d) else m
            for i, m in enumerate(apart)
            if not isinstance(m, nn.BatchNorm2d)
        )
    )
    for rule in RULES:
        assert close(lrp(apart, x, 1, rule=rule, epsilon=0.1), lrp(fused, x, 1, rule=rule, epsilon=0.1))


def test_a_convolution_changed_in_place_is_not_merged_with_the_batch_norm() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            x += 2.0
            return self.head(torch.relu(self.norm(x)).mean(dim=(2, 3)))

    model, x = seeded(Shifted), pictures()
    a = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(a)[:, 0].sum(), a)
    assert close(lrp(model, x, 0, epsilon=0.0), (a * g).detach())


RELUS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu in place by position": lambda x: F.relu(x, True),
    "Tensor.relu": lambda x: x.relu(),
    "torch.relu_": torch.relu_,
    "relu_ whose result is not used": lambda x: (x.relu_(), x)[1],
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "twice": lambda x: torch.relu(torch.relu(x)),
}


def test_no_relu_is_missed() -> None:
    """The theorem of DeepLIFT fails if a single ReLU is taken for linear; and all ways to write it agree."""
    x, reference = pictures(), pictures(1, seed=5)[0]
    plain = made(torch.relu)
    wanted = [lrp(plain, x, rule=rule) for rule in RULES]
    for name, relu in RELUS.items():
        model = made(relu)
        maps = deep_lift(model, x, baseline=reference)
        assert close(sums(maps), difference(model, x, reference[None], predicted(model, x))), name
        assert close(maps, deep_lift(plain, x, baseline=reference)), name
        for rule, expected in zip(RULES, wanted, strict=True):
            assert close(lrp(model, x, rule=rule), expected), name


POOLS = {
    "overlapping": lambda x: F.max_pool2d(x, 3, stride=2),
    "padded": lambda x: F.max_pool2d(x, 3, stride=2, padding=1),
    "ceil mode": lambda x: F.max_pool2d(x, 3, stride=2, ceil_mode=True),
    "dilated": lambda x: F.max_pool2d(x, 2, dilation=2),
    "stride 1": nn.MaxPool2d(3, stride=1, padding=1),
    "torch's own": lambda x: torch.max_pool2d(x, 2),
}
LINEAR = {
    "a residual sum": lambda x: torch.relu(x) + x,
    "a sum in place": lambda x: torch.relu(x).add_(x),
    "+=": lambda x: _iadd(torch.relu(x), x),
    "torch.add": lambda x: torch.add(torch.relu(x), x, alpha=0.5),
    "a difference": lambda x: torch.relu(x) - 0.3 * x,
    "scale and shift": lambda x: 2.0 - torch.relu(x) * 3 / 4,
    "a negative": lambda x: -torch.relu(-x),
    "cat and slices": lambda x: torch.cat([torch.relu(x[:, 2:]), x[:, :2]], dim=1),
    "chunk": lambda x: torch.cat(torch.relu(x).chunk(2, dim=1)[::-1], dim=1),
    "average pooling": lambda x: F.avg_pool2d(torch.relu(x), 3, stride=1, padding=1),
    "there and back": lambda x: torch.relu(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "padding": lambda x: F.pad(torch.relu(x), (1, 1, 0, 2)),
    "dropout asleep": lambda x: F.dropout(torch.relu(x), 0.5, training=False),
    "ReLU6": lambda x: F.relu6(100 * x),
    "leaky ReLU": lambda x: F.leaky_relu(x, 0.1),
}


@pytest.mark.parametrize("method", [lrp, deep_lift])
def test_an_activation_in_place_is_the_activation(method) -> None:
    one, other = made(lambda x: F.leaky_relu(x, 0.1)), made(lambda x: F.leaky_relu(x, 0.1, inplace=True))
    assert torch.equal(method(one, pictures(), 1), method(other, pictures(), 1))


def _iadd(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


@pytest.mark.parametrize("name", [*POOLS, *LINEAR])
@pytest.mark.parametrize("black", [True, False])
def test_deep_lift_adds_up_exactly(name: str, black: bool) -> None:
    model, x = made({**POOLS, **LINEAR}[name]), pictures()
    reference = torch.zeros(3, 16, 16, dtype=torch.float64) if black else pictures(1, seed=5)[0]
    c = torch.tensor([2, 0, 1])
    assert close(sums(deep_lift(model, x, c, baseline=reference)), difference(model, x, reference[None], c))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("baseline", [0.0, 0.7, "mean", "blur"])
def test_deep_lift_adds_up_on_whole_networks(net: type[nn.Module], baseline: Any) -> None:
    from xai_lessons.methods.paths import baseline_pictures

    model, x = seeded(net), pictures()
    maps = deep_lift(model, x, baseline=baseline)
    assert close(sums(maps), difference(model, x, baseline_pictures(baseline, x), predicted(model, x)))


def test_deep_lift_takes_a_baseline_for_each_picture() -> None:
    model, x, references = seeded(PoolingNet), pictures(), pictures(seed=9)
    maps = deep_lift(model, x, baseline=references, batch_size=2)
    assert close(maps[2], deep_lift(model, x[2], baseline=references[2]))
    assert close(sums(maps), difference(model, x, references, predicted(model, x)))


def test_deep_lift_of_the_baseline_is_nothing() -> None:
    model, x = seeded(FlatNet), pictures()
    assert deep_lift(model, x, baseline=x).abs().max() == 0


def test_deep_lift_refuses_what_mixes_images_and_baselines() -> None:
    x = pictures()
    for operation in (
        lambda x: torch.stack([torch.relu(one) for one in x]),
        lambda x: torch.relu(x.transpose(0, 1)).transpose(0, 1),
    ):
        with pytest.raises(ValueError, match="first axis"):
            deep_lift(made(operation), x)


def test_deep_lift_by_hand() -> None:
    """Y = ReLU(2 R - 1) at each of 2 x 2 pixels, then the largest: x = (1, .5; 0, 0) against x' = (.75, 1; 0, 0)."""

    class Largest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            weight = torch.tensor([2.0, 0.0, 0.0]).view(1, 3, 1, 1)
            z = torch.relu(F.conv2d(x, weight, torch.tensor([-1.0])))
            return F.max_pool2d(z, 2).flatten(1)

    x, reference = torch.zeros(2, 3, 2, 2)
    x[0], reference[0] = torch.tensor([[1.0, 0.5], [0, 0]]), torch.tensor([[0.75, 0.6], [0, 0]])
    # y = 1, y' = 0.5, both at the first pixel, where z moved from 0.5 to 1: all of 0.5 is its own
    maps = deep_lift(Largest(), x, 0, baseline=reference)
    assert maps[0].tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert maps[1:].abs().max() == 0
    # now x' peaks at the second pixel, y' = 1, and x drops to 0.2 there: y = max(0, 0) = 0; -1 goes to the second
    x[0], reference[0] = torch.tensor([[0.5, 0.2], [0, 0]]), torch.tensor([[0.25, 1.0], [0, 0]])
    assert deep_lift(Largest(), x, 0, baseline=reference)[0].tolist() == [[0.0, -1.0], [0.0, 0.0]]


REFUSED = {
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "squeeze-and-excitation": (
        lambda x: x * torch.relu(x.mean(dim=(2, 3), keepdim=True)),
        "both depend on the image",
    ),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[1:]), "LayerNorm"),
    "group norm": (nn.GroupNorm(2, 4).double(), "group_norm"),
    "Hardswish": (F.hardswish, "Hardswish"),
    "GELU": (F.gelu, "gelu"),
    "softmax": (lambda x: x.softmax(dim=1), "softmax"),
    "a square": (lambda x: x**2, "pow"),
    "one over": (lambda x: 1 / (x + 9), "reciprocal|rdiv|rtruediv"),
    "a constant over": (lambda x: torch.div(torch.ones(1, dtype=x.dtype), x), "div"),
    "a decision": (lambda x: x if x.sum() > 0 else -x, "gt"),
    "a value read": (lambda x: x * x.mean().item(), "item"),
    "dropout awake": (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
    "the batch's own statistics": (lambda x: F.batch_norm(x, None, None, training=True), "own statistics"),
    "weights from the picture": (lambda x: F.conv2d(x, x[:1, :, :3, :3].expand(4, -1, -1, -1)), "conv2d"),
    "upsampling": (lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"), "interpolate"),
}


@pytest.mark.parametrize("method", [lrp, deep_lift])
def test_what_has_no_rule_is_refused_in_a_sentence(method: Any) -> None:
    for name, (between, named) in REFUSED.items():
        with pytest.raises(ValueError, match=named) as refusal:
            method(made(between), pictures())
        message = str(refusal.value)
        assert message.startswith(f"{method.__name__} has no rule for "), name
        assert "\n" not in message
        assert "integrated_gradients" in message


def test_a_weight_is_a_constant() -> None:
    """A learned scale does not depend on the picture, also while the network's weights ask for gradients."""
    model = made()
    model.between = lambda x: torch.relu(x * model.scale)
    assert model.scale.requires_grad
    x = pictures()
    assert close(sums(deep_lift(model, x)), difference(model, x, torch.zeros_like(x), predicted(model, x)))
    assert model.scale.requires_grad


def test_a_picture_used_raw_and_normalized_is_refused() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ((x - 0.5) / 2).mean(dim=(2, 3)) + x.mean(dim=(2, 3))

    with pytest.raises(ValueError, match="before and after"):
        lrp(Both(), pictures())


def test_normalizing_in_place_is_followed() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Made()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.clone().sub_(0.4).div_(0.2))

    model, x = seeded(InPlace), pictures()
    assert close(
        lrp(model, x), lrp(models.wrap(model.inner, mean=(0.4,) * 3, std=(0.2,) * 3, input_size=16).double(), x), 1e-6
    )


def test_the_pictures_are_left_as_they_were() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sub_(0.4).mean(dim=(2, 3))

    x = pictures()
    before = x.clone()
    lrp(InPlace(), x)
    deep_lift(InPlace(), x)
    assert torch.equal(x, before)


def test_options_are_checked() -> None:
    model, x = made(), pictures()
    with pytest.raises(ValueError, match="rule must be one of 'epsilon', 'gamma', 'zplus', got 'alpha'"):
        lrp(model, x, rule="alpha")
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        lrp(model, x, epsilon=-1.0)
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        lrp(model, x, rule="gamma", gamma=-1.0)
    with pytest.raises(ValueError, match="baseline"):
        deep_lift(model, x, baseline=torch.zeros(3, 4, 4))
    for method in (lrp, deep_lift):
        with pytest.raises(TypeError, match=r"takes a network, an nn\.Module"):
            method(lambda x: x.mean(dim=(2, 3)), x)


@pytest.mark.parametrize("rule", RULES)
def test_lrp_on_an_odd_picture_is_finite(rule: str) -> None:
    model = seeded(PoolingNet)
    for value in (0.0, 1.0, 0.5):
        assert lrp(model, torch.full((3, 9, 7), value, dtype=torch.float64), rule=rule).isfinite().all()


@pytest.mark.parametrize("method", [lrp, deep_lift])
def test_two_threads_do_not_meet(method: Any) -> None:
    """The rules belong to one thread: a plain forward pass beside it is untouched."""
    from concurrent.futures import ThreadPoolExecutor

    model, x = seeded(PoolingNet), pictures()
    wanted = method(model, x)
    plain = model(x).detach()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(method, model, x) for _ in range(4)] + [pool.submit(model, x) for _ in range(4)]
        results = [f.result().detach() for f in futures]
    for r in results[:4]:
        assert close(r, wanted)
    for r in results[4:]:
        assert close(r, plain)
