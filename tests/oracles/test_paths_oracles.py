"""Integrated gradients and Gradient SHAP against captum and zennit in float64, on the same points of the way."""

import numpy as np
import pytest
import torch
from captum import attr
from torch import Tensor, nn
from zennit.attribution import IntegratedGradients

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.core.inputs import generator
from xai_lessons.methods import paths

CLASSES = [0, 1, 2]
TARGETS = torch.tensor(CLASSES)


@pytest.fixture(params=[PoolingNet, FlatNet])
def net(request: pytest.FixtureRequest) -> nn.Module:
    return seeded(request.param, seed=2)


def close(name: str, reference: str, ours: Tensor, theirs: Tensor) -> bool:
    return record_deviation(f"paths.{name}", reference, relative(ours, theirs.detach())) < 1e-5


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("baseline", ["black", "gray", "pictures"])
def test_integrated_gradients_captum(net: nn.Module, steps: int, baseline: str) -> None:
    x = pictures()
    start = {"black": 0.0, "gray": 0.5, "pictures": pictures(seed=7)}[baseline]
    theirs = attr.IntegratedGradients(net).attribute(
        x, start, TARGETS, n_steps=steps, method="riemann_middle", internal_batch_size=6
    )
    ours = paths.integrated_gradients(net, x, CLASSES, steps=steps, baseline=start, batch_size=7)
    assert close("integrated_gradients", "captum (riemann_middle)", ours, theirs)


def test_integrated_gradients_converge_to_gauss_legendre(net: nn.Module) -> None:
    """Another quadrature: the two agree the better the more steps, both being right in the limit."""
    x = pictures()
    theirs = attr.IntegratedGradients(net).attribute(x, 0.0, TARGETS, n_steps=300, internal_batch_size=60)
    gaps = [relative(paths.integrated_gradients(net, x, CLASSES, steps=m), theirs) for m in (4, 32, 256)]
    assert gaps[2] < gaps[0]
    assert gaps[2] < 0.01


def test_integrated_gradients_zennit(net: nn.Module) -> None:
    """It takes the ends of the steps: twice the sum with 16 steps less that with 8 leaves the 8 midpoints."""
    x = pictures()

    def ends(m: int) -> Tensor:
        with IntegratedGradients(net, n_iter=m) as attributor:
            return attributor(x, torch.eye(5, dtype=x.dtype)[CLASSES])[1]

    theirs = 2 * ends(16) - ends(8)
    ours = paths.integrated_gradients(net, x, CLASSES, steps=8)
    assert close("integrated_gradients", "zennit (2 x 16 steps - 8 steps)", ours, theirs)


@pytest.mark.parametrize("sigma", [0.0, 0.02])
def test_gradient_shap_captum(net: nn.Module, sigma: float, monkeypatch) -> None:
    """With the same places on the way and the same noise, in the middle grays, where nothing is clamped."""
    x, start = 0.3 + 0.4 * pictures(), pictures(1, seed=7)
    random = generator(0)
    torch.randint(1, (8,), generator=random)
    alpha = ((torch.arange(8) + torch.rand(8, generator=random)) / 8).double()
    epsilon = sigma * torch.randn(8 if sigma else 1, 3, 16, 16, generator=random).double().expand(8, -1, -1, -1)
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: alpha.repeat(3).numpy())
    monkeypatch.setattr(torch, "normal", lambda mean, std: epsilon.repeat(3, 1, 1, 1))
    theirs = attr.GradientShap(net).attribute(x, start, n_samples=8, stdevs=sigma, target=TARGETS)
    ours = paths.gradient_shap(net, x, CLASSES, samples=8, baseline=start, sigma=sigma, batch_size=5)
    assert close("gradient_shap", "captum (the same samples)", ours, theirs)


def test_gradient_shap_over_all_baselines_is_their_mean_integrated_gradient(net: nn.Module) -> None:
    """In the limit: expected gradients are integrated gradients averaged over the baselines."""
    x, several = pictures(1), pictures(2, seed=7)
    ig = attr.IntegratedGradients(net)
    theirs = sum(ig.attribute(x, b[None], 1, n_steps=100) for b in several) / 2
    ours = paths.gradient_shap(net, x, 1, samples=4000, baseline=several)
    assert relative(ours, theirs) < 0.1
