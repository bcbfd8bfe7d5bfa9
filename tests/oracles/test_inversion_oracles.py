"""Inversion against a textbook Adam and least squares where the code is linear; total variation by a slow loop."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.methods.inversion import invert, maximize, total_variation


def soft_noise() -> Tensor:
    noise = torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 0.5 + F.conv2d(0.1 * noise, torch.ones(3, 1, 5, 5).double() / 25, padding=2, groups=3)


def adam(loss, x: Tensor, steps: int, rate: float) -> Tensor:
    """Kingma and Ba's algorithm 1, with a cosine in front of the rate and the picture kept in [0, 1]."""
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    for t in range(1, steps + 1):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(loss(x), x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = rate * (1 + math.cos(math.pi * (t - 1) / steps)) / 2
        x = x - step * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8 / 768)  # ours scales the loss by 768
        x = x.clamp(0, 1)
    return x.detach()


def slow_total_variation(x: Tensor, beta: float) -> float:
    total = 0.0
    for c in range(3):
        for i in range(x.shape[1] - 1):
            for j in range(x.shape[2] - 1):
                right, below = x[c, i, j + 1] - x[c, i, j], x[c, i + 1, j] - x[c, i, j]
                total += float(right**2 + below**2) ** (beta / 2)
    return total / (3 * (x.shape[1] - 1) * (x.shape[2] - 1))


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_total_variation_is_a_slow_loop(beta: float) -> None:
    x = pictures(1)[0]
    theirs = torch.tensor(slow_total_variation(x, beta), dtype=torch.float64)
    ours = total_variation(x, beta)
    assert record_deviation("inversion.total_variation", "a slow loop", relative(ours[None], theirs[None])) < 1e-5


@pytest.mark.parametrize("net", [PoolingNet, FlatNet])
def test_inversion_is_a_textbook_adam(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures(1)
    phi_0 = model.conv1(x).detach()

    def loss(z: Tensor) -> Tensor:
        variation = total_variation(z)[0]
        return ((model.conv1(z) - phi_0) ** 2).sum() / (phi_0**2).sum() + 0.5 * variation

    theirs = adam(loss, soft_noise(), 20, 0.02)
    ours = invert(model, x, layer="conv1", steps=20, tv=0.5).images
    assert record_deviation("inversion.invert", "a textbook Adam", relative(ours, theirs)) < 1e-5


def test_maximizing_is_a_textbook_adam() -> None:
    model = seeded(FlatNet)
    theirs = adam(lambda z: -model(z)[0, 2] + 0.5 * total_variation(z)[0], soft_noise(), 20, 0.02)
    ours = maximize(model, 2, size=16, steps=20, tv=0.5, jitter=0).images[None]
    assert record_deviation("inversion.maximize", "a textbook Adam", relative(ours, theirs)) < 1e-5


def test_a_linear_code_is_met_as_least_squares_says() -> None:
    """With fewer numbers in the code than in the picture the loss reaches 0; it is met nearest to the start."""
    model, x = seeded(PoolingNet), 0.4 + 0.2 * pictures(1)
    start = soft_noise()
    W = torch.autograd.functional.jacobian(lambda z: model.conv1(z).flatten(), start).flatten(1).reshape(-1, 768)
    change = torch.linalg.lstsq(W, (model.conv1(x) - model.conv1(start)).flatten()[:, None], driver="gelsd").solution
    theirs = start + change.view_as(start)
    assert theirs.min() > 0
    assert theirs.max() < 1
    ours = invert(model, x, layer="conv1", steps=1000, tv=0.0, optimizer="sgd", learning_rate=0.05).images
    assert record_deviation("inversion.invert", "least squares, linear code", relative(ours, theirs.detach())) < 1e-3
