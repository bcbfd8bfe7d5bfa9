"""The gradient family: its theorems, values worked out by hand, and ReLUs in every spelling."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.core.inputs import generator
from xai_lessons.methods import cam, saliency

GRADIENTS = [saliency.gradient, saliency.guided_backprop, saliency.deconvnet]


def linear(x: Tensor) -> Tensor:
    """Scores that are linear in the pixels: twice the red minus the blue, and the green."""
    return torch.stack([(2 * x[:, 0] - x[:, 2]).sum(dim=(1, 2)), x[:, 1].sum(dim=(1, 2))], dim=1)


def quadratic(x: Tensor) -> Tensor:
    """Y = sum of x^2: the gradient is 2 x."""
    return torch.stack([(x**2).sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1)


@pytest.mark.parametrize("method", [*GRADIENTS, saliency.smooth_grad])
def test_a_linear_score_by_hand(method) -> None:
    x = pictures(2, size=4)
    G = method(linear, x, 0)
    expected = torch.tensor([2.0, 0.0, -1.0], dtype=x.dtype).view(1, 3, 1, 1).expand_as(x)
    torch.testing.assert_close(G, expected)


def test_gradient_by_finite_differences() -> None:
    net, x = seeded(FlatNet), pictures(1)
    G = saliency.gradient(net, x, 2)[0]
    for place in [(0, 3, 4), (1, 0, 0), (2, 15, 15), (0, 8, 8)]:
        step = torch.zeros_like(x)
        step[0][place] = 1e-6
        slope = (net(x + step) - net(x - step))[0, 2] / 2e-6
        torch.testing.assert_close(G[place], slope.detach(), rtol=1e-5, atol=1e-9)


def test_gradient_x_input_sums_to_the_logit_without_biases() -> None:
    net, x = seeded(FlatNet), pictures()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    total = saliency.gradient_x_input(net, x, 1).sum(dim=(1, 2, 3))
    torch.testing.assert_close(total, net(x)[:, 1].detach())


class OneReLU(nn.Module):
    """Y = sum of v * relu(x - 1/2), pixel by pixel: every rule can be read off."""

    spellings = ("module", "in place", "function", "function in place", "method", "method in place", "clamp", "torch")

    def __init__(self, spelling: str = "module", v: Tensor | None = None) -> None:
        super().__init__()
        self.spelling = spelling
        self.module, self.in_place, self.v = nn.ReLU(), nn.ReLU(inplace=True), v

    def forward(self, x: Tensor) -> Tensor:
        a = x - 0.5
        relu = {
            "module": self.module,
            "in place": self.in_place,
            "function": F.relu,
            "function in place": partial(F.relu, inplace=True),
            "method": Tensor.relu,
            "method in place": Tensor.relu_,
            "clamp": partial(torch.clamp, min=0),
            "torch": torch.relu,
        }[self.spelling]
        return torch.stack([(self.v * relu(a)).sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1)


@pytest.mark.parametrize("spelling", OneReLU.spellings)
def test_relu_rules_by_hand(spelling: str) -> None:
    x = torch.tensor([0.2, 0.3, 0.7, 0.8], dtype=torch.float64).expand(1, 3, 4, 4)
    v = torch.tensor([3.0, -3.0, 5.0, -5.0], dtype=torch.float64)  # off/off/on/on, from above + - + -
    net = OneReLU(spelling, v)

    def first_row(method) -> list[float]:
        return method(net, x, 0)[0, 0, 0].tolist()

    assert first_row(saliency.gradient) == [0, 0, 5, -5]
    assert first_row(saliency.guided_backprop) == [0, 0, 5, 0]
    assert first_row(saliency.deconvnet) == [3, 0, 5, 0]


def chain(rule: str, net: FlatNet, x: Tensor, c: int) -> Tensor:
    """A slow textbook pass through FlatNet: each ReLU's backward step by hand."""
    layers = [net.conv1, "relu", net.pool, net.conv2, "relu", net.pool, nn.Flatten(), net.fc1, "relu", net.fc2]
    inputs = [x]
    for layer in layers:
        inputs.append((inputs[-1].clamp(min=0) if layer == "relu" else layer(inputs[-1])).detach())
    R = torch.zeros_like(inputs[-1])
    R[:, c] = 1
    for layer, a in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
        if layer == "relu":
            on = torch.ones_like(a) if rule == "deconvnet" else (a > 0).to(a)
            R = R * on * ((R > 0) if rule != "gradient" else 1)
        else:
            a = a.clone().requires_grad_()
            (R,) = torch.autograd.grad(layer(a), a, R)
    return R


@pytest.mark.parametrize("method", GRADIENTS)
def test_slow_loop_through_pooling_functional_and_in_place_relus(method) -> None:
    net, x = seeded(FlatNet), pictures()
    rule = {"guided_backprop": "guided"}.get(method.__name__, method.__name__)
    torch.testing.assert_close(method(net, x, 1), chain(rule, net, x, 1))


def test_rules_reach_reused_relus_and_residual_sums() -> None:
    """PoolingNet with every ReLU spelled out on its own gives the same."""
    net, x = seeded(PoolingNet), pictures()

    class SpelledOut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.relus = net, nn.ModuleList(nn.ReLU() for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.relus[0](net.norm(net.conv1(x)))
            y = self.relus[1](net.conv2(x))
            x = self.relus[3](self.relus[2](net.conv3(y) + x))
            return net.head(x.mean(dim=(2, 3)))

    spelled = SpelledOut().eval()
    for method in GRADIENTS[1:]:
        ours = method(net, x, 1)
        torch.testing.assert_close(ours, method(spelled, x, 1))
        with_hooks = by_hooks(spelled, x, 1, guided=method is saliency.guided_backprop)
        torch.testing.assert_close(ours, with_hooks)
        assert not torch.allclose(ours, saliency.gradient(net, x, 1))


def by_hooks(net: nn.Module, x: Tensor, c: int, guided: bool) -> Tensor:
    """The usual implementation: backward hooks on ReLU modules."""

    def rule(_: nn.Module, grad_in: tuple[Tensor], grad_out: tuple[Tensor]) -> tuple[Tensor]:
        return (grad_in[0].relu() if guided else grad_out[0].relu(),)

    handles = [m.register_full_backward_hook(rule) for m in net.relus]
    x = x.clone().requires_grad_()
    (R,) = torch.autograd.grad(net(x)[:, c].sum(), x)
    for handle in handles:
        handle.remove()
    return R


@pytest.mark.parametrize("rule", [saliency.guided_backprop, saliency.deconvnet])
@pytest.mark.parametrize(
    "activation",
    [
        nn.GELU(),
        nn.SiLU(),
        nn.Hardswish(),
        nn.LeakyReLU(),
        nn.ELU(),
        nn.PReLU(),
        nn.Sigmoid(),
        nn.Hardtanh(-1, 1),
        nn.Tanh(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_other_activations_are_refused(rule, activation: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"saliency\.gradient"):
        rule(net, pictures(dtype=torch.float32), 0)


def test_relu6_keeps_its_ceiling() -> None:
    class Six(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu6(8 * x).sum(dim=(2, 3))

    x = torch.tensor([0.0, 0.74, 0.75, 0.76], dtype=torch.float64).expand(1, 3, 4, 4)  # 8 * 0.75 is the ceiling
    for module in (Six(), nn.Sequential(_Times8(), nn.ReLU6(), _Sum())):
        assert saliency.guided_backprop(module, x, 0)[0, 0, 0].tolist() == [0, 8, 0, 0]
        assert saliency.deconvnet(module, x, 0)[0, 0, 0].tolist() == [8, 8, 8, 8]
        torch.testing.assert_close(saliency.gradient(module, x, 0), saliency.guided_backprop(module, x, 0))


class _Times8(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 8 * x


class _Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=(2, 3))


def test_clamping_pictures_is_no_relu() -> None:
    def scores(x: Tensor) -> Tensor:
        return -x.clamp(0, 1).sum(dim=(2, 3))

    x = pictures() * 0.9 + 0.05
    torch.testing.assert_close(saliency.guided_backprop(scores, x, 0), saliency.gradient(scores, x, 0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused() -> None:
    net = seeded(FlatNet)
    traced = torch.jit.trace(net, pictures(1))
    with pytest.raises(ValueError, match="TorchScript"):
        saliency.guided_backprop(traced, pictures(1), 0)


@pytest.mark.parametrize("kind", ["mean", "square", "var"])
@pytest.mark.parametrize("method", [saliency.gradient, saliency.guided_backprop, cam.grad_cam])
def test_smooth_grad_without_noise_is_its_base(kind: str, method) -> None:
    net, x = seeded(PoolingNet), pictures()
    base = method(net, x, 1)
    expected = {"mean": base, "square": base**2, "var": torch.zeros_like(base)}[kind]
    S = saliency.smooth_grad(net, x, 1, method=method, sigma=0.0, samples=4, kind=kind)
    torch.testing.assert_close(S, expected, rtol=1e-10, atol=1e-15)


def test_variance_is_not_lost_in_float32() -> None:
    net, x = seeded(PoolingNet, dtype=torch.float32), pictures(dtype=torch.float32)
    var = saliency.smooth_grad(net, x, 1, kind="var", sigma=0.0)
    assert var.dtype == torch.float32
    assert var.max() <= 1e-14


@pytest.mark.parametrize("kind", ["mean", "square", "var"])
def test_smooth_grad_slow_loop(kind: str) -> None:
    net, x = seeded(FlatNet), pictures()
    epsilon = 0.1 * torch.randn(6, 3, 16, 16, generator=generator(5)).double()
    M = torch.stack([saliency.gradient_x_input(net, (x + e).clamp(0, 1), [0, 1, 2]) for e in epsilon])
    expected = {"mean": M.mean(0), "square": (M**2).mean(0), "var": M.var(0, correction=0)}[kind]
    S = saliency.smooth_grad(
        net, x, [0, 1, 2], method=saliency.gradient_x_input, samples=6, sigma=0.1, kind=kind, seed=5, batch_size=4
    )
    torch.testing.assert_close(S, expected, rtol=1e-8, atol=1e-12)


def test_smooth_grad_of_a_quadratic_by_hand() -> None:
    """Gradient 2 (x + e): mean 2 x, variance 4 sigma^2, square their sum; in mid-gray nothing is clamped."""
    x = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    options = {"samples": 400, "sigma": 0.05}
    assert saliency.smooth_grad(quadratic, x, 0, **options).sub(1).abs().mean() < 0.006
    var = saliency.smooth_grad(quadratic, x, 0, kind="var", **options)
    assert abs(float(var.mean()) / (4 * 0.05**2) - 1) < 0.02
    square = saliency.smooth_grad(quadratic, x, 0, kind="square", **options)
    torch.testing.assert_close(square, var + saliency.smooth_grad(quadratic, x, 0, **options) ** 2)


def test_smooth_grad_takes_any_method_with_options() -> None:
    net, x = seeded(PoolingNet), pictures()
    method = partial(saliency.integrated_gradients, steps=4)
    assert saliency.smooth_grad(net, x, 1, method=method, samples=2).shape == x.shape
    assert saliency.smooth_grad(net, x[0], 1, method=cam.grad_cam, samples=2).shape == (16, 16)


def test_smooth_grad_explains_the_class_predicted_without_noise() -> None:
    net, x = seeded(PoolingNet), pictures()
    seen = []

    def spy(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        return images

    saliency.smooth_grad(net, x, method=spy, sigma=0.5, samples=4)
    assert torch.equal(torch.cat(seen), net(x).argmax(dim=1).repeat_interleave(4))


def test_smooth_grad_refuses() -> None:
    net, x = seeded(PoolingNet), pictures()
    with pytest.raises(ValueError, match="kind must be"):
        saliency.smooth_grad(net, x, kind="median")
    with pytest.raises(ValueError, match="sigma must be"):
        saliency.smooth_grad(net, x, sigma=-0.1)
    with pytest.raises(ValueError, match="samples must be"):
        saliency.smooth_grad(net, x, samples=0)


def test_guided_grad_cam_is_the_product() -> None:
    net, x = seeded(PoolingNet), pictures()
    for layer in (None, "conv2"):
        product = saliency.guided_backprop(net, x, 3) * cam.grad_cam(net, x, 3, layer=layer)[:, None]
        assert product.abs().max() > 0
        torch.testing.assert_close(saliency.guided_grad_cam(net, x, 3, layer=layer), product)


def test_layer_gradient_x_activation_is_hires_cam_before_its_sum() -> None:
    net, x = seeded(PoolingNet), pictures()
    for layer in ("conv2", "last"):
        owed = saliency.layer_gradient_x_activation(net, x, 3, layer=layer)
        assert owed.shape == (3, 6, 8, 8)
        torch.testing.assert_close(owed.sum(dim=1).relu(), cam.hires_cam(net, x, 3, layer=layer, size=None))


def test_layer_gradient_x_activation_of_the_last_linear_layer_is_the_logit() -> None:
    net, x = seeded(FlatNet), pictures()
    owed = saliency.layer_gradient_x_activation(net, x, 3, layer="fc2")
    expected = torch.zeros_like(owed)
    expected[:, 3] = net(x)[:, 3].detach()
    torch.testing.assert_close(owed, expected)


def test_neuron_gradient() -> None:
    net, x = seeded(FlatNet), pictures()
    z = x.clone().requires_grad_()
    A = net.conv1(z)
    (one,) = torch.autograd.grad(A[:, 2, 3, 4].sum(), z, retain_graph=True)
    (whole,) = torch.autograd.grad(A[:, 2].sum(), z)
    torch.testing.assert_close(saliency.neuron_gradient(net, x, (2, 3, 4), layer="conv1"), one)
    torch.testing.assert_close(saliency.neuron_gradient(net, x, 2, layer="conv1"), whole)
    torch.testing.assert_close(saliency.neuron_gradient(net, x, 1, layer="fc2"), saliency.gradient(net, x, 1))
    assert saliency.neuron_gradient(net, x[0], 2, layer="conv1").shape == (3, 16, 16)
    receptive = saliency.neuron_gradient(net, x[0], (2, 3, 4), layer="conv1")
    receptive[:, 2:5, 3:6] = 0
    assert receptive.abs().max() == 0, "a 3 x 3 filter sees 3 x 3 pixels"


@pytest.mark.parametrize("neuron", [6, -1, (1, 2), (0, 99, 0)])
def test_neuron_gradient_refuses_what_is_not_there(neuron) -> None:
    with pytest.raises(ValueError, match="no neuron"):
        saliency.neuron_gradient(seeded(FlatNet), pictures(), neuron, layer="conv1")


def test_scores_without_gradient_are_refused() -> None:
    def numpy_scores(x: Tensor):
        return x.detach().numpy().mean(axis=(2, 3))

    with pytest.raises(ValueError, match="occlusion"):
        saliency.gradient(numpy_scores, pictures(), 0)


def test_no_gradient_of_a_weight_is_computed() -> None:
    net, x = seeded(PoolingNet), pictures()
    needed = []
    handle = net.head.register_forward_hook(lambda m, i, o: needed.append(m.weight.requires_grad))
    saliency.gradient(net, x)
    handle.remove()
    assert needed == [False]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
