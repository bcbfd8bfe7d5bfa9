"""FGSM and PGD against captum's, which silently want probabilities, and against a loop in the words of the papers."""

import pytest
import torch
from captum.robust import FGSM, PGD
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.methods.fgsm import fgsm, pgd, smallest_epsilon

NETS = [PoolingNet, FlatNet]
pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")  # captum's
CLASSES = torch.tensor([0, 3, 1])


def probabilities(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.Softmax(dim=1))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_is_captums(net: type[nn.Module], targeted: bool) -> None:
    model, x = seeded(net), pictures()
    attack = FGSM(probabilities(model), lower_bound=0, upper_bound=1)
    attack.zero_thresh = 0  # captum leaves pixels alone whose gradient is below 1e-6
    theirs = attack.perturb(x.clone(), epsilon=0.03, target=CLASSES, targeted=targeted)
    ours = fgsm(model, x, CLASSES, epsilon=0.03, targeted=targeted)
    assert record_deviation("fgsm.fgsm", "captum", relative(ours - x, theirs.detach() - x)) < 1e-5


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_is_captums(net: type[nn.Module], targeted: bool) -> None:
    model, x = seeded(net), pictures()
    attack = PGD(probabilities(model), lower_bound=0, upper_bound=1)
    attack.fgsm.zero_thresh = 0
    theirs = attack.perturb(x.clone(), 0.05, 0.02, 6, CLASSES, targeted=targeted)
    ours = pgd(model, x, CLASSES, epsilon=0.05, alpha=0.02, steps=6, targeted=targeted)
    assert record_deviation("fgsm.pgd", "captum", relative(ours - x, theirs.detach() - x)) < 1e-5


def slow_pgd(model: nn.Module, x: Tensor, c: int, epsilon: float, alpha: float, steps: int) -> Tensor:
    x_t = x.clone()
    for _ in range(steps):
        x_t = x_t.detach().requires_grad_()
        (-model(x_t[None]).log_softmax(dim=1)[0, c]).backward()
        x_t = x_t + alpha * x_t.grad.sign()
        x_t = torch.max(torch.min(x_t, x + epsilon), x - epsilon).clamp(0, 1)
    return x_t.detach()


@pytest.mark.parametrize("net", NETS)
def test_attacks_are_slow_loops(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures()
    for method, ours, options in (
        ("fgsm.fgsm", fgsm(model, x, 2, epsilon=0.04), (0.04, 0.04, 1)),
        ("fgsm.pgd", pgd(model, x, 2, epsilon=0.04, alpha=0.015, steps=5), (0.04, 0.015, 5)),
    ):
        theirs = torch.stack([slow_pgd(model, picture, 2, *options) for picture in x])
        assert record_deviation(method, "a slow loop", relative(ours - x, theirs - x)) < 1e-5


def test_the_smallest_epsilon_is_a_fine_scans() -> None:
    model, x = seeded(FlatNet, seed=6), pictures(3)
    c = model(x).argmax(dim=1)
    ours = smallest_epsilon(model, x, largest=1.0, steps=250)
    scanned = torch.full((3,), float("inf"), dtype=torch.float64)
    for step in reversed(range(251)):
        flips = model(fgsm(model, x, c, epsilon=step / 250)).argmax(dim=1) != c
        scanned[flips] = step / 250
    assert scanned.isfinite().any()
    assert torch.equal(ours.isinf(), scanned.isinf())
    late = float((scanned - ours)[ours.isfinite()].max())
    assert -1e-9 <= record_deviation("fgsm.smallest_epsilon", "a scan in steps of 1/250", late) <= 1 / 250
