"""LIME and Kernel SHAP against scikit-learn's regressions and captum, on the same coalitions."""

import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import KernelShap, Lime, ShapleyValues
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.methods.occlusion import kernel_shap, lime

NETS = [PoolingNet, FlatNet]
CUT = torch.arange(256).view(16, 16) // 32  # eight superpixels
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # captum's


def coalitions(samples: int) -> Tensor:
    z = torch.rand(samples, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.5
    z[0] = True
    return z


def answers(model: nn.Module, x: Tensor, z: Tensor, target: int) -> Tensor:
    with torch.no_grad():
        return torch.stack([model((x * on[CUT])[None])[0, target] for on in z])


def closeness(z: Tensor) -> Tensor:
    cosine = torch.nn.functional.cosine_similarity(z.double(), torch.ones_like(z).double(), dim=1)
    return torch.exp(-((1 - cosine) ** 2) / 0.25**2)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("strength", [0.1, 1.0, 20.0])
def test_lime_is_scikit_learns_ridge(net: type[nn.Module], strength: float) -> None:
    model, x = seeded(net), pictures(1)[0]
    z = coalitions(80)
    ridge = Ridge(alpha=strength).fit(z, answers(model, x, z, 1), sample_weight=closeness(z))
    ours = lime(model, x, 1, segments=CUT, samples=80, strength=strength, fill="black")
    theirs = torch.tensor(ridge.coef_)[CUT]
    assert record_deviation("surrogates.lime (ridge)", "scikit-learn", relative(ours, theirs)) < 1e-5


@pytest.mark.parametrize("net", NETS)
def test_lime_is_scikit_learns_lasso(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures(1)[0]
    z = coalitions(80)
    f = answers(model, x, z, 1)
    strength = 0.02 * float(f.std())
    lasso = Lasso(alpha=strength, tol=1e-12, max_iter=100000).fit(z.double(), f, sample_weight=closeness(z))
    ours = lime(model, x, 1, segments=CUT, samples=80, penalty="lasso", strength=strength, fill="black")
    theirs = torch.tensor(lasso.coef_)[CUT]
    assert record_deviation("surrogates.lime (lasso)", "scikit-learn", relative(ours, theirs)) < 1e-5


@pytest.mark.parametrize("net", NETS)
def test_lime_is_captums(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures(1)
    z = iter(coalitions(60))

    def distance(_original: Tensor, _perturbed: Tensor, seen: Tensor, **_: object) -> Tensor:
        return closeness(seen)[0]

    theirs = Lime(
        model,
        interpretable_model=SkLearnRidge(alpha=1.0),
        similarity_func=distance,
        perturb_func=lambda *_, **__: next(z).double()[None],
    ).attribute(x, target=1, feature_mask=CUT, n_samples=60, baselines=0.0)
    ours = lime(model, x, 1, segments=CUT, samples=60, fill="black")
    assert record_deviation("surrogates.lime (ridge)", "captum, same coalitions", relative(ours, theirs[:, 0])) < 1e-5


@pytest.mark.parametrize("net", NETS)
def test_exact_kernel_shap_is_captums_shapley_value(net: type[nn.Module]) -> None:
    model, x = seeded(net), pictures(1)
    cut = torch.arange(256).view(16, 16) // 52  # five superpixels: 120 orders, captum takes all at random
    torch.manual_seed(0)
    sampled = ShapleyValues(model).attribute(x, target=1, feature_mask=cut, baselines=0.5)[:, 0]
    ours = kernel_shap(model, x, 1, segments=cut, fill="gray")
    assert record_deviation("surrogates.kernel_shap", "captum's ShapleyValues", relative(ours, sampled)) < 1e-5


def test_many_samples_of_captums_kernel_shap_come_near() -> None:
    model, x = seeded(PoolingNet), pictures(1)
    torch.manual_seed(0)
    theirs = KernelShap(model).attribute(x, target=1, feature_mask=CUT, n_samples=3000, baselines=0.0)[:, 0]
    ours = kernel_shap(model, x, 1, segments=CUT, fill="black")
    value = relative(ours, theirs)
    assert record_deviation("surrogates.kernel_shap", "captum's KernelShap, 3000 random coalitions", value) < 0.05
