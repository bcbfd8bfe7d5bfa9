"""Attacks: the epsilon ball, values worked out by hand on a linear network, targeted attacks, the smallest epsilon."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons import cam, menagerie, models, saliency
from xai_lessons.core import passes
from xai_lessons.methods import fgsm as fgsm_module
from xai_lessons.methods.fgsm import attack_map, fgsm, pgd, robust_accuracy, smallest_epsilon

EPSILON = 8 / 255
NETS = [PoolingNet, FlatNet]


class Linear(nn.Module):
    """Logits (a, 0) with a = sum of (red - green) / 16 + bias: the answer flips where a crosses 0."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        a = (x[:, 0] - x[:, 1]).mean(dim=(1, 2)) + self.bias
        return torch.stack([a, torch.zeros_like(a)], dim=1)


def gray(value: float = 0.5) -> Tensor:
    return torch.full((1, 3, 4, 4), value, dtype=torch.float64)


def test_the_default_step_is_two_and_a_half_epsilons_over_the_steps() -> None:
    net, x = seeded(PoolingNet), pictures()
    for steps, alpha in ((10, 0.01), (5, 0.02), (2, 0.04)):  # never more than epsilon
        assert torch.equal(
            pgd(net, x, 1, epsilon=0.04, steps=steps), pgd(net, x, 1, epsilon=0.04, alpha=alpha, steps=steps)
        )


def test_fgsm_by_hand() -> None:
    attacked = fgsm(Linear(0.2), gray(), 0, epsilon=0.1)
    assert torch.allclose(attacked[:, 0], torch.tensor(0.4).double()), "less red"
    assert torch.allclose(attacked[:, 1], torch.tensor(0.6).double()), "more green"
    assert torch.equal(attacked[:, 2], gray()[:, 2]), "blue does not count, and the sign of 0 is 0"
    led = fgsm(Linear(0.2), gray(), 1, epsilon=0.1, targeted=True)
    assert torch.equal(led, attacked), "away from one of two classes is towards the other"


def test_it_is_clipped_to_a_picture() -> None:
    attacked = fgsm(Linear(), gray(0.02), 0, epsilon=0.1)
    assert attacked[:, 0].max() == 0
    assert torch.allclose(attacked[:, 1], torch.tensor(0.12).double())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("epsilon", [0.0, 1 / 255, 0.1, 1.0])
def test_attacks_stay_inside_the_ball_and_in_the_picture(net: type[nn.Module], epsilon: float) -> None:
    model, x = seeded(net), pictures()
    for attacked in (
        fgsm(model, x, epsilon=epsilon),
        fgsm(model, x, 2, epsilon=epsilon, targeted=True),
        pgd(model, x, epsilon=epsilon, steps=4),
        pgd(model, x, epsilon=epsilon, alpha=1.0, steps=3, random_start=True),
    ):
        assert (attacked - x).abs().max() <= epsilon + 1e-12
        assert attacked.min() >= 0
        assert attacked.max() <= 1


@pytest.mark.parametrize("net", NETS)
def test_attacks_raise_the_loss_and_targeted_ones_lower_it(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures()
    c = torch.tensor([0, 1, 2])

    def loss(x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), c, reduction="none")

    with torch.no_grad():
        assert (loss(fgsm(model, x, c, epsilon=1 / 255)) > loss(x)).all()
        assert (loss(fgsm(model, x, c, epsilon=1 / 255, targeted=True)) < loss(x)).all()
        assert (loss(pgd(model, x, c, epsilon=0.1, steps=20)) >= loss(fgsm(model, x, c, epsilon=0.1)) - 1e-9).all()
        assert (loss(pgd(model, x, c, epsilon=0.1, steps=20, targeted=True)) < loss(x)).all()


def test_the_loss_is_the_cross_entropy_and_its_gradient_survives_a_sure_network() -> None:
    scores = torch.tensor([[40.0, 1.0, 3.0], [0.5, 1.0, 0.2]], requires_grad=True)
    c = torch.tensor([0, 2])
    loss = nn.functional.softplus(passes.log_odds_against(scores, c))
    exact = scores.detach().double().requires_grad_()
    expected = nn.functional.cross_entropy(exact, c, reduction="none")
    assert torch.allclose(loss[1].double(), expected[1])
    wanted = torch.tensor([[-1.0, 0.1192029, 0.8807971]]) * (math.exp(-39) + math.exp(-37))  # softmax of 1 and 3
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert torch.allclose(gradient[:1], wanted, rtol=1e-5, atol=0)
    assert torch.allclose(gradient[1:].double(), torch.autograd.grad(expected[1], exact)[0][1:])
    with pytest.raises(ValueError, match="there is no class 5"):
        passes.log_odds_against(scores, torch.tensor([0, 5]))


@pytest.mark.parametrize("name", ["menagerie-resnet", "menagerie-vgg"])
def test_fgsm_in_float32_does_what_float64_does_where_the_rounded_cross_entropy_fails(name: str) -> None:
    images, labels, _ = menagerie.sample(80, seed=5)
    model = models.load(name)
    precise = copy.deepcopy(model).double()

    def textbook(network: models.Classifier) -> Tensor:
        attacked = []
        for some, c in zip(images.split(10), labels.split(10), strict=True):
            x = some.to(network.dtype).requires_grad_()
            loss = nn.functional.cross_entropy(network(x), c, reduction="sum")
            attacked.append((some + EPSILON * torch.autograd.grad(loss, x)[0].sign().float()).clamp(0, 1))
        return torch.cat(attacked)

    def flips(attacked: Tensor) -> int:
        return int((model.predict(attacked).argmax(dim=1) != labels).sum())

    def other(attacked: Tensor) -> Tensor:
        """The fraction of each scene's numbers that moved another way than in float64."""
        return ((attacked - exact).abs() > 1e-6).flatten(1).double().mean(dim=1)

    exact, rounded, ours = textbook(precise), textbook(model), fgsm(model, images, labels, epsilon=EPSILON)
    assert (other(rounded) > 0.2).double().mean() > 0.15, "scenes in which the rounded loss loses the gradient"
    assert other(ours).max() < 0.1
    assert other(ours).mean() < 0.002
    assert flips(rounded) < flips(exact) == flips(ours)


def test_one_full_step_of_pgd_is_fgsm() -> None:
    model, x = seeded(PoolingNet), pictures()
    assert torch.equal(pgd(model, x, 1, epsilon=0.05, alpha=0.05, steps=1), fgsm(model, x, 1, epsilon=0.05))


def test_a_random_start_follows_its_seed() -> None:
    model, x = seeded(PoolingNet), pictures()
    first, again, other = (
        pgd(model, x, 1, epsilon=0.1, alpha=0.001, steps=1, random_start=True, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first[1], pgd(model, x[1], 1, epsilon=0.1, alpha=0.001, steps=1, random_start=True))


@pytest.mark.parametrize(("bias", "epsilon"), [(0.1, 0.05), (0.0501, 0.02505), (-0.1, 0.0), (0.9, float("inf"))])
def test_the_smallest_epsilon_by_hand(bias: float, epsilon: float) -> None:
    found = smallest_epsilon(Linear(bias), gray(), 0)
    assert found.shape == (1,)
    assert found[0] == pytest.approx(epsilon, abs=0.25 / 16 / 256 + 1e-9)
    assert isinstance(smallest_epsilon(Linear(bias), gray()[0], 0), float)


def test_the_smallest_epsilon_of_a_targeted_attack() -> None:
    assert smallest_epsilon(Linear(0.1), gray(), 1, targeted=True)[0] == pytest.approx(0.05, abs=1e-4)
    assert smallest_epsilon(Linear(0.1), gray(), 0, targeted=True)[0] == 0


def test_the_smallest_epsilon_flips_and_a_little_less_does_not() -> None:
    model, x = seeded(PoolingNet, seed=5), pictures(4)
    c = model(x).argmax(dim=1)
    epsilons = smallest_epsilon(model, x, largest=1.0, steps=64)
    assert torch.equal(epsilons, smallest_epsilon(model, x, c, largest=1.0, steps=64))
    assert epsilons.isfinite().any()
    for picture, label, epsilon in zip(x, c, epsilons.tolist(), strict=True):
        if epsilon < float("inf"):
            assert model(fgsm(model, picture, label, epsilon=epsilon)[None]).argmax() != label
            assert model(fgsm(model, picture, label, epsilon=epsilon - 1e-4)[None]).argmax() == label


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_robust_accuracy_by_hand(attack: str) -> None:
    x = gray().expand(4, -1, -1, -1).clone()
    x[:, 0] += torch.tensor([0.05, 0.15, 0.25, -0.1], dtype=torch.float64)[:, None, None]
    accuracy = robust_accuracy(Linear(), x, 0, [0, 0.05, 0.1, 0.2], attack)
    assert accuracy.tolist() == [0.75, 0.5, 0.25, 0.0]


def test_random_signs_do_next_to_nothing() -> None:
    x = gray().expand(3, -1, -1, -1).clone()
    x = torch.nn.functional.interpolate(x, 64)
    x[:, 0] += torch.tensor([0.05, 0.15, 0.25], dtype=torch.float64)[:, None, None]
    assert robust_accuracy(Linear(), x, 0, [0.2, 0.3], "noise").tolist() == [1.0, 1.0]
    assert robust_accuracy(Linear(), x, 0, [0.2, 0.3], "fgsm").tolist() == [0.0, 0.0]


def test_robust_accuracy_is_that_of_the_attacked_pictures() -> None:
    model, x = seeded(FlatNet, seed=6), pictures(6)
    labels = model(x).argmax(dim=1)
    for attack in (fgsm, pgd):
        attacked = [attack(model, x, labels, epsilon=epsilon) for epsilon in (0.1, 0.3)]
        expected = torch.stack([(model(x).argmax(dim=1) == labels).double().mean() for x in attacked])
        assert torch.equal(robust_accuracy(model, x, labels, [0.1, 0.3], attack.__name__), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, x: fgsm(m, x, epsilon=-0.1), "epsilon must be at least 0"),
        (lambda m, x: fgsm(m, x, epsilon=8), "epsilon must be at least 0 and at most 1"),
        (lambda m, x: fgsm(m, x, targeted=True), "a targeted attack needs targets"),
        (lambda m, x: pgd(m, x, steps=0), "steps must be at least 1"),
        (lambda m, x: pgd(m, x, alpha=-1.0), "alpha must be at least 0"),
        (lambda m, x: smallest_epsilon(m, x, largest=3.0), "largest must be"),
        (lambda m, x: robust_accuracy(m, x, None), "labels are missing"),
        (lambda m, x: robust_accuracy(m, x, 0, attack="bim"), "attack must be"),
        (lambda m, x: robust_accuracy(m, x, 0, [2.0]), "epsilon must be"),
    ],
)
def test_bad_options_are_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Linear(), pictures())


def test_the_epsilons_may_be_a_tensor():
    model, x = seeded(PoolingNet), pictures(2)
    expected = robust_accuracy(model, x, [0, 1], epsilons=(0, 0.25))
    assert torch.equal(robust_accuracy(model, x, [0, 1], epsilons=torch.tensor([0, 0.25])), expected)


@pytest.mark.parametrize("explanation", ["grad_cam", "gradient", "both"])
@pytest.mark.parametrize("net", NETS)
def test_an_attack_on_the_map_moves_it_and_keeps_the_answer(net: type[nn.Module], explanation: str) -> None:
    model, x = seeded(net), pictures()
    region = torch.zeros(x.shape[-2:])
    region[: x.shape[-2] // 2, : x.shape[-1] // 2] = 1
    moved = attack_map(model, x, region=region, explanation=explanation, epsilon=0.1, steps=8)
    assert (moved - x).abs().max() <= 0.1 + 1e-12
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert torch.equal(model(moved).argmax(dim=1), model(x).argmax(dim=1))
    c = model(x).argmax(dim=1)

    def inside(images: Tensor) -> Tensor:  # by the methods themselves, which share no code with the attack
        heats = {"grad_cam": cam.grad_cam(model, images, c)}
        heats["gradient"] = saliency.gradient(model, images, c).abs().sum(dim=1)
        chosen = heats.values() if explanation == "both" else [heats[explanation]]
        fractions = [(h * region).sum(dim=(1, 2)) / h.sum(dim=(1, 2)).clamp(min=1e-12) for h in chosen]
        return torch.stack(fractions).amin(dim=0)

    assert (inside(moved) >= inside(x) - 1e-9).all()
    assert (inside(moved) > inside(x) + 0.01).any()
    alone = attack_map(model, x[1], region=region, explanation=explanation, epsilon=0.1, steps=8)
    torch.testing.assert_close(alone, moved[1])
    several = torch.stack([region, 1 - region, region])
    other = attack_map(model, x, region=several, explanation=explanation, epsilon=0.1, steps=8)
    torch.testing.assert_close(other[2], moved[2])
    assert not torch.equal(other[1], moved[1])


def test_the_softplus_of_an_attack_on_the_gradient_has_the_second_derivative_of_the_formula() -> None:
    x, beta = torch.tensor([[-0.5, 0.0, 0.3, 5.9, 7.0]], dtype=torch.float64, requires_grad=True), 10.0
    for relu, ceiling in ((torch.relu, None), (nn.ReLU6(), 6.0)):
        with fgsm_module._Softplus(beta):
            y = relu(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), x)
        parts = [(x.detach(), 1.0), *([(x.detach() - ceiling, -1.0)] if ceiling else [])]
        expected = sum(sign * beta * (beta * z).sigmoid() * (1 - (beta * z).sigmoid()) for z, sign in parts)
        torch.testing.assert_close(curve, expected)


def test_an_attack_on_the_map_refuses_what_does_not_fit() -> None:
    model, x = seeded(PoolingNet), pictures()
    with pytest.raises(ValueError, match="explanation must be one of 'grad_cam', 'gradient', 'both', got 'lrp'"):
        attack_map(model, x, region=x[0, 0], explanation="lrp")
    with pytest.raises(ValueError, match="region must be"):
        attack_map(model, x, region=torch.ones(2, 2))
    with pytest.raises(ValueError, match="beta must be above 0"):
        attack_map(model, x, region=x[0, 0], beta=0)
