"""LIME and Kernel SHAP: exact on games whose answer is known, and superpixels that cover the picture."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from nets import PoolingNet, pictures, seeded
from xai_lessons.methods.occlusion import kernel_shap, lime, superpixels

QUARTERS = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])


def additive(x: Tensor) -> Tensor:
    """Red in each quarter counts 1, 2, 3 and 4 times; the second class counts nothing."""
    weights = torch.tensor([1.0, 2, 3, 4], dtype=x.dtype)[QUARTERS]
    score = (x[:, 0] * weights).sum(dim=(1, 2)) / 4
    return torch.stack([score, 0 * score], dim=1)


def together(x: Tensor) -> Tensor:
    """The first two quarters count only together."""
    on = (x[:, 0] > 0.5).to(x.dtype)
    return torch.stack([on[:, 0, 0] * on[:, 0, 2], on[:, 2, 0]], dim=1)


def white() -> Tensor:
    return torch.ones(3, 4, 4, dtype=torch.float64)


def test_superpixels_cover_the_picture_without_gaps() -> None:
    x = torch.nn.functional.interpolate(pictures(2, 4), 24, mode="bilinear")  # of pure noise SLIC makes one patch
    cut = superpixels(x, 9)
    assert cut.shape == (2, 24, 24)
    for one in cut:
        assert one.unique().tolist() == list(range(int(one.max()) + 1))
        assert 2 <= one.max() <= 30
    assert torch.equal(superpixels(x[1], 9), cut[1])
    own = QUARTERS.repeat_interleave(6, 0).repeat_interleave(6, 1)
    assert torch.equal(superpixels(x, own * 7 - 3), torch.stack([own, own]))


def test_superpixels_follow_the_colors() -> None:
    x = torch.zeros(3, 32, 32)
    x[0, :, :15] = 1
    cut = superpixels(x, 4)
    assert not set(cut[:, :13].unique().tolist()) & set(cut[:, 17:].unique().tolist())


def test_kernel_shap_of_an_additive_game_by_hand() -> None:
    phi = kernel_shap(additive, white(), 0, segments=QUARTERS, fill="black")
    assert torch.allclose(phi, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)[QUARTERS])
    assert kernel_shap(additive, white(), 1, segments=QUARTERS, fill="black").abs().max() < 1e-12


def test_kernel_shap_shares_what_two_earn_together() -> None:
    phi = kernel_shap(together, white(), 0, segments=QUARTERS, fill="black")
    assert torch.allclose(phi, torch.tensor([0.5, 0.5, 0, 0], dtype=torch.float64)[QUARTERS])


def shapley(model: object, x: Tensor, cut: Tensor, target: int) -> Tensor:
    """The definition: each superpixel's mean contribution over all orders."""
    S = int(cut.max()) + 1

    def f(seen: tuple[int, ...]) -> Tensor:
        on = torch.isin(cut, torch.tensor(seen, dtype=torch.long))
        return model((x * on)[None])[0, target]

    phi = torch.zeros(S, dtype=torch.float64)
    for order in itertools.permutations(range(S)):
        for place, j in enumerate(order):
            phi[j] += (f(order[: place + 1]) - f(order[:place])).detach() / math.factorial(S)
    return phi[cut]


def test_kernel_shap_is_exact_when_all_coalitions_are_seen() -> None:
    net, x = seeded(PoolingNet), pictures(2)
    cut = torch.stack([torch.arange(256).view(16, 16) // 64, torch.arange(256).view(16, 16).mT // 100])
    ours = kernel_shap(net, x, 1, segments=cut, samples=100, fill="black")
    theirs = torch.stack([shapley(net, a, b, 1) for a, b in zip(x, cut, strict=True)])
    assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("samples", [20, 101, 2000])
def test_kernel_shap_sums_to_what_the_picture_adds(samples: int) -> None:
    net, x = seeded(PoolingNet), pictures(1)
    cut = torch.arange(256).view(16, 16) // 20
    phi = kernel_shap(net, x, 2, segments=cut, samples=samples, fill="gray")[0]
    total = sum(phi[cut == s][0] for s in range(13))
    assert torch.allclose(total, net(x)[0, 2] - net(torch.full_like(x, 0.5))[0, 2])


def test_sampled_kernel_shap_nears_the_exact_one() -> None:
    net, x = seeded(PoolingNet), pictures(1)
    cut = torch.arange(256).view(16, 16) // 32
    exact, few, many = (kernel_shap(net, x, 1, segments=cut, samples=n) for n in (254, 30, 200))
    assert (many - exact).norm() < (few - exact).norm()
    assert (many - exact).norm() < 0.2 * exact.norm()


def test_one_superpixel_takes_all() -> None:
    net, x = seeded(PoolingNet), pictures(1)
    phi = kernel_shap(net, x, 1, segments=torch.zeros(16, 16, dtype=torch.long), fill="black")
    assert torch.allclose(phi, (net(x) - net(0 * x))[0, 1].detach())
    assert lime(net, x, 1, segments=torch.zeros(16, 16, dtype=torch.long)).isfinite().all()


def test_lime_without_penalty_is_exact_on_an_additive_game() -> None:
    w = lime(additive, white(), 0, segments=QUARTERS, samples=50, strength=0.0, fill="black")
    assert torch.allclose(w, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)[QUARTERS])
    w = lime(additive, white(), 0, segments=QUARTERS, samples=50, penalty="lasso", strength=0.0, fill="black")
    assert torch.allclose(w, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)[QUARTERS], atol=1e-6)


def test_penalties_shrink_and_a_lasso_selects() -> None:
    free, ridge = (lime(additive, white(), 0, segments=QUARTERS, fill="black", strength=s) for s in (0.0, 100.0))
    assert (ridge < free).all()
    assert ridge.min() > 0
    lasso = lime(additive, white(), 0, segments=QUARTERS, fill="black", penalty="lasso", strength=0.5)
    assert lasso[0, 0] == 0
    assert lasso[3, 3] > 0


def test_pictures_with_other_numbers_of_superpixels_share_a_batch() -> None:
    net, x = seeded(PoolingNet), pictures(2)
    cut = torch.stack([torch.arange(256).view(16, 16) // 64, torch.arange(256).view(16, 16) // 16])
    for method in (lime, kernel_shap):
        both = method(net, x, 1, segments=cut, samples=40)
        alone = [method(net, x[i], 1, segments=cut[i], samples=40) for i in (0, 1)]
        assert torch.allclose(both, torch.stack(alone), atol=1e-12)


def test_another_seed_draws_other_coalitions() -> None:
    net, x = seeded(PoolingNet), pictures(1)
    cut = torch.arange(256).view(16, 16) // 16
    for method in (lime, kernel_shap):
        a, b, c = (method(net, x, 1, segments=cut, samples=40, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: lime(additive, x, 0, penalty="none"), "penalty must be"),
        (lambda x: lime(additive, x, 0, samples=1), "samples must be at least 2"),
        (lambda x: lime(additive, x, 0, strength=-1.0), "strength must be at least 0"),
        (lambda x: lime(additive, x, 0, segments=0), "segments must be at least 1"),
        (lambda x: lime(additive, x, 0, segments=QUARTERS[:3]), "segments must be whole numbers"),
        (lambda x: kernel_shap(additive, x, 0, segments=torch.zeros(4, 4)), "segments must be whole numbers"),
        (lambda x: kernel_shap(additive, x, 2), "there is no class 2"),
        (lambda x: kernel_shap(additive, x, 0, output="p"), "output must be"),
    ],
)
def test_bad_options_are_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(white())
