"""Integrated gradients and Gradient SHAP: completeness, values worked out by hand, baselines."""

import pytest
import torch
from torch import Tensor

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.core.inputs import generator
from xai_lessons.methods import paths


def cubic(x: Tensor) -> Tensor:
    """Y = sum of x^3, and the sum of x."""
    return torch.stack([(x**3).sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1)


def gap(net, x: Tensor, phi: Tensor, b: Tensor, c: int) -> Tensor:
    """By how much the attributions miss the change of the score."""
    return (phi.sum(dim=(1, 2, 3)) - (net(x) - net(b))[:, c]).detach().abs()


@pytest.mark.parametrize("steps", [1, 2, 5, 32])
def test_cubic_by_hand(steps: int) -> None:
    """Of x^3 from 0 each pixel owns x^3; the midpoint rule with m steps finds x^3 (1 - 1 / 4m^2)."""
    x = pictures(2, size=4)
    phi = paths.integrated_gradients(cubic, x, 0, steps=steps)
    torch.testing.assert_close(phi, x**3 * (1 - 1 / (4 * steps**2)))


def test_a_linear_score_needs_one_step() -> None:
    x = pictures(2, size=4)
    torch.testing.assert_close(paths.integrated_gradients(cubic, x, 1, steps=1, baseline=0.3), x - 0.3)


@pytest.mark.parametrize("make", [PoolingNet, FlatNet])
@pytest.mark.parametrize("baseline", [0.0, 0.5, 1, "mean", "blur"])
def test_completeness_bounded_by_steps(make: type, baseline: float | str) -> None:
    """The gap is at most V / 2m, V the total variation of the directional derivative along the way."""
    net, x = seeded(make), pictures()
    b = paths.baseline_pictures(baseline, x)
    alpha = torch.linspace(0, 1, 401, dtype=x.dtype)
    slopes = []
    for a in alpha:
        z = torch.lerp(b, x, a).requires_grad_()
        (g,) = torch.autograd.grad(net(z)[:, 1].sum(), z)
        slopes.append((g * (x - b)).sum(dim=(1, 2, 3)))
    V = torch.stack(slopes).diff(dim=0).abs().sum(dim=0)
    gaps = {}
    for m in (2, 8, 32, 128):
        phi = paths.integrated_gradients(net, x, 1, steps=m, baseline=baseline)
        gaps[m] = gap(net, x, phi, b, 1)
    for m, found in gaps.items():
        assert (found <= V / (2 * m) + 1e-9).all()
    assert gaps[128].max() <= max(float(gaps[2].max()), 1e-9)
    assert gaps[128].max() < 1e-3 * float(net(x).detach().abs().max())


def test_slow_loop() -> None:
    net, x = seeded(FlatNet), pictures()
    expected = torch.zeros_like(x)
    for k in range(7):
        z = (0.2 + (k + 0.5) / 7 * (x - 0.2)).requires_grad_()
        expected += torch.autograd.grad(net(z)[:, 2].sum(), z)[0] * (x - 0.2) / 7
    ours = paths.integrated_gradients(net, x, 2, steps=7, baseline=0.2, batch_size=5)
    torch.testing.assert_close(ours, expected)


def test_the_picture_as_its_own_baseline_gets_nothing() -> None:
    net, x = seeded(FlatNet), pictures()
    assert paths.integrated_gradients(net, x, 1, baseline=x).abs().max() == 0
    assert paths.gradient_shap(net, x[0], 1, baseline=x[0]).abs().max() == 0


@pytest.mark.parametrize("method", [paths.integrated_gradients, paths.gradient_shap])
def test_each_picture_has_its_own_baseline(method) -> None:
    net, x = seeded(FlatNet), pictures()
    both = method(net, x, 1, baseline="mean")
    for i in range(3):
        mean = x[i].mean(dim=(1, 2), keepdim=True).expand_as(x[i])
        torch.testing.assert_close(both[i], method(net, x[i], 1, baseline=mean))


def test_baselines() -> None:
    x = pictures(2, size=20)
    assert torch.equal(paths.baseline_pictures(0.25, x), torch.full_like(x, 0.25))
    assert torch.equal(paths.baseline_pictures(x[0], x)[1], x[0])
    assert torch.equal(paths.baseline_pictures(x.flip(0), x), x.flip(0))
    assert paths.baseline_pictures("mean", x)[1, 2].unique().item() == pytest.approx(float(x[1, 2].mean()))
    blurred = paths.baseline_pictures("blur", x)
    assert blurred.std() < 0.5 * x.std()
    assert paths.baseline_pictures("blur", x[..., :1, :1]).shape == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ("black", "'mean', 'blur'"),
        (1.5, "at most 1"),
        (torch.zeros(3, 5, 5), "shape"),
        (torch.full((3, 16, 16), -1.0), "0, 1"),
    ],
)
def test_baselines_are_refused(baseline, words: str) -> None:
    net, x = seeded(FlatNet), pictures()
    for method in (paths.integrated_gradients, paths.gradient_shap):
        with pytest.raises(ValueError, match=words):
            method(net, x, baseline=baseline)


def test_options_are_refused() -> None:
    net, x = seeded(FlatNet), pictures()
    with pytest.raises(ValueError, match="steps must be"):
        paths.integrated_gradients(net, x, steps=0)
    with pytest.raises(ValueError, match="samples must be"):
        paths.gradient_shap(net, x, samples=0)
    with pytest.raises(ValueError, match="sigma must be"):
        paths.gradient_shap(net, x, sigma=-1)


def test_gradient_shap_slow_loop() -> None:
    net, x, several = seeded(FlatNet), pictures(), pictures(4, seed=9)
    random = generator(3)
    drawn = torch.randint(4, (6,), generator=random)
    alpha = (torch.arange(6) + torch.rand(6, generator=random)) / 6
    epsilon = 0.1 * torch.randn(6, 3, 16, 16, generator=random)
    expected = torch.zeros_like(x)
    for k in range(6):
        noisy, b = (x + epsilon[k]).clamp(0, 1), several[drawn[k]]
        z = (b + alpha[k].double() * (noisy - b)).requires_grad_()
        expected += torch.autograd.grad(net(z)[:, 2].sum(), z)[0] * (noisy - b) / 6
    ours = paths.gradient_shap(net, x, 2, samples=6, baseline=several, sigma=0.1, seed=3, batch_size=4)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)


def test_gradient_shap_is_complete_in_the_mean() -> None:
    net, x, several = seeded(FlatNet), pictures(), pictures(2, seed=9)
    phi = paths.gradient_shap(net, x, 2, samples=600, baseline=several)
    expected = (net(x)[:, 2] - net(several)[:, 2].mean()).detach()
    spread = float((net(several)[:, 2] - net(several)[:, 2].mean()).detach().abs().max())
    torch.testing.assert_close(phi.sum(dim=(1, 2, 3)), expected, rtol=0, atol=0.2 * spread)


def test_gradient_shap_converges_to_integrated_gradients() -> None:
    net, x = seeded(FlatNet), pictures()
    ig = paths.integrated_gradients(net, x, 2, steps=300)
    shap = paths.gradient_shap(net, x, 2, samples=300)
    assert (ig - shap).abs().max() < 0.02 * ig.abs().max()


def test_seeds() -> None:
    net, x = seeded(FlatNet), pictures()
    once = paths.gradient_shap(net, x, 1, samples=4, seed=1)
    assert torch.equal(once, paths.gradient_shap(net, x, 1, samples=4, seed=1))
    assert not torch.equal(once, paths.gradient_shap(net, x, 1, samples=4, seed=2))
