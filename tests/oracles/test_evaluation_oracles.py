"""The metrics against Quantus, captum, SciPy and slow loops, given the same perturbations."""

from __future__ import annotations

import math
import warnings
from typing import Any

import captum.metrics
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.core import inputs
from xai_lessons.evaluation import (
    deletion,
    energy_inside,
    infidelity,
    insertion,
    max_sensitivity,
    pointing_game,
    rank_correlation,
    wilson_interval,
)
from xai_lessons.methods import saliency

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

TOLERANCE = 1e-5
C = torch.tensor([0, 1, 3])


def maps(n: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, size, size, generator=inputs.generator(11), dtype=torch.float64)


def masks(n: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, size, size, generator=inputs.generator(12)) > 0.6


def by_quantus(metric: Any, model: Any = None, **options: Any) -> Tensor:
    inputs = {"x_batch": pictures().numpy(), "y_batch": C.numpy(), "channel_first": True, "softmax": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.tensor(np.array(metric(model=model or seeded(PoolingNet), **inputs, **options)).astype(float))


QUIET: dict[str, Any] = {"disable_warnings": True, "normalise": False, "abs": False}  # quantus spells it so


@pytest.mark.filterwarnings("ignore")
def test_localization_is_quantus() -> None:
    given = {"a_batch": maps()[:, None].numpy(), "s_batch": masks()[:, None].numpy()}
    wanted = by_quantus(quantus.PointingGame(**QUIET), **given)
    assert wanted.unique().tolist() == [0.0, 1.0]
    deviation = relative(pointing_game(maps(), masks()), wanted)
    assert record_deviation("evaluation.pointing_game", "Quantus", deviation) == 0
    deviation = relative(energy_inside(maps(), masks()), by_quantus(quantus.RelevanceMassAccuracy(**QUIET), **given))
    assert record_deviation("evaluation.energy_inside", "Quantus", deviation) < TOLERANCE


def test_localization_is_the_slow_loop() -> None:
    M, inside = maps(), masks()
    for tolerance in (0, 1, 3):
        hits, energy = [], []
        for m, mask in zip(M, inside, strict=True):
            best = max((float(m[i, j]), i, j) for i in range(16) for j in range(16))
            near = [(i - best[1]) ** 2 + (j - best[2]) ** 2 <= tolerance**2 for i, j in mask.nonzero().tolist()]
            hits.append(float(any(near)))
            energy.append(sum(float(m[i, j]) for i, j in mask.nonzero().tolist()) / float(m.sum()))
        assert pointing_game(M, inside, tolerance=tolerance).tolist() == hits
    deviation = relative(energy_inside(M, inside), torch.tensor(energy, dtype=torch.float64))
    assert record_deviation("evaluation.energy_inside", "slow loop", deviation) < TOLERANCE


@pytest.mark.parametrize("steps", [4, 7])
def test_curves_are_the_slow_loops(steps: int) -> None:
    """Pixel by pixel, in the order of the map, as the paper tells it."""
    model, x, M = seeded(FlatNet), pictures(), maps()
    for method, start, goal in ((deletion, x, torch.zeros_like(x)), (insertion, torch.full_like(x, 0.3), x)):
        wanted = torch.zeros(3, steps + 1, dtype=torch.float64)
        for i in range(3):
            order = sorted(range(256), key=lambda p, i=i: -float(M[i].flatten()[p]))  # type: ignore[misc]
            shown, gone = start[i].clone().flatten(1), 0
            for k in range(steps + 1):
                while gone < k / steps * 256:
                    shown[:, order[gone]] = goal[i].flatten(1)[:, order[gone]]
                    gone += 1
                wanted[i, k] = model(shown.view(1, 3, 16, 16)).softmax(dim=1)[0, C[i]].detach()
        curve, area = method(model, x, M, C, steps=steps, fill=0.0 if method is deletion else 0.3)
        assert record_deviation(f"evaluation.{method.__name__}", "slow loop", relative(curve, wanted)) < TOLERANCE
        fractions = [math.ceil(k * 256 / steps) / 256 for k in range(steps + 1)]
        by_numpy = torch.tensor(np.trapezoid(wanted.numpy(), fractions, axis=1))
        assert relative(area, by_numpy) < TOLERANCE


def deltas(samples: int, radius: float) -> Tensor:
    """The perturbations that the package draws, from its seed."""
    uniform = torch.rand((samples, 3, 16, 16), generator=inputs.generator(0))
    return (radius * (2 * uniform - 1)).double()


@pytest.mark.filterwarnings("ignore")
def test_max_sensitivity_is_captums() -> None:
    model, x, samples, radius = seeded(PoolingNet), pictures(), 6, 0.05
    ours = max_sensitivity(saliency.gradient, model, x, C, radius=radius, samples=samples)

    def moved(x: Tensor) -> Tensor:
        return (x + deltas(samples, radius).repeat(3, 1, 1, 1)).clamp(0, 1)

    def explain(x: Any, target: Tensor) -> Any:  # captum gives a tuple the first time, and wants one back
        phi = saliency.gradient(model, x[0] if isinstance(x, tuple) else x, target).contiguous()
        return (phi,) if isinstance(x, tuple) else phi

    theirs = captum.metrics.sensitivity_max(explain, x, moved, n_perturb_samples=samples, target=C)
    assert record_deviation("evaluation.max_sensitivity", "captum", relative(ours, theirs)) < TOLERANCE


@pytest.mark.filterwarnings("ignore")
def test_max_sensitivity_is_quantus() -> None:
    model, x, samples, radius = seeded(PoolingNet), pictures(), 6, 0.05
    ours = max_sensitivity(saliency.gradient, model, x, C, radius=radius, samples=samples)
    given = iter(deltas(samples, radius))

    def moved(arr: np.ndarray, **_: Any) -> np.ndarray:
        return (arr + next(given).flatten().numpy()).clip(0, 1)

    def explain(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
        return saliency.gradient(model, torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

    metric = quantus.MaxSensitivity(nr_samples=samples, perturb_func=moved, **QUIET)
    theirs = by_quantus(metric, model, a_batch=saliency.gradient(model, x, C).numpy(), explain_func=explain)
    assert record_deviation("evaluation.max_sensitivity", "Quantus", relative(ours, theirs)) < TOLERANCE


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_is_captums(normalize: bool) -> None:
    model, x, I = seeded(PoolingNet), pictures(), 0.1 * (pictures(5, seed=6) - 0.5)
    phi = saliency.gradient(model, x, C) * pictures(3, seed=7)

    def change(x: Tensor) -> tuple[Tensor, Tensor]:
        return I.repeat(3, 1, 1, 1), x - I.repeat(3, 1, 1, 1)

    with torch.no_grad():
        theirs = captum.metrics.infidelity(model, change, x, phi, target=C, n_perturb_samples=5, normalize=normalize)
    ours = infidelity(model, x, phi, C, perturbation=I, normalize=normalize)
    assert record_deviation("evaluation.infidelity", "captum", relative(ours, theirs)) < TOLERANCE


def test_infidelity_of_black_squares_is_the_slow_loop() -> None:
    model, x, samples = seeded(PoolingNet), pictures(), 5
    phi = saliency.gradient(model, x, C)
    random = inputs.generator(0)
    tops, lefts = (torch.randint(0, 16 - 4 + 1, (samples, 1), generator=random) for _ in "ab")
    wanted = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for i in range(3):
            for top, left in zip(tops.flatten().tolist(), lefts.flatten().tolist(), strict=True):
                black = x[i].clone()
                black[:, top : top + 4, left : left + 4] = 0
                told = ((x[i] - black) * phi[i]).sum()
                happened = model(x[i][None])[0, C[i]] - model(black[None])[0, C[i]]
                wanted[i] += (told - happened) ** 2 / samples
    deviation = relative(infidelity(model, x, phi, C, samples=samples), wanted)
    assert record_deviation("evaluation.infidelity", "slow loop", deviation) < TOLERANCE


def test_rank_correlation_is_scipys() -> None:
    a = maps()
    b = (a * 5).round() + (5 * maps(6)[3:]).round()  # with ties
    theirs = torch.tensor(
        [scipy.stats.spearmanr(u.flatten(), v.flatten()).statistic for u, v in zip(a, b, strict=True)]
    )
    assert (
        record_deviation("evaluation.rank_correlation", "SciPy", relative(rank_correlation(a, b), theirs)) < TOLERANCE
    )


def test_wilsons_interval_is_scipys() -> None:
    ours, theirs = [], []
    for n in (1, 7, 40, 200):
        for k in range(n + 1):
            ends = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
            ours.append(wilson_interval(k / n, n, z=scipy.stats.norm.ppf(0.975)))
            theirs.append((ends.low, ends.high))
    deviation = relative(torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64))
    assert record_deviation("evaluation.wilson_interval", "SciPy", deviation) < TOLERANCE
