"""Occlusion, RISE, LIME, Kernel SHAP and the attacks beside captum's."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import KernelShap, Lime, Occlusion
from captum.robust import FGSM, PGD
from torch import Tensor, nn

from benchmarks.speed import Case, bare, labeled, plain
from xai_lessons.methods import fgsm, occlusion

warnings.filterwarnings("ignore", module="captum")
BATCHES = (8, 16, 64)  # captum's perturbations at once: the table shows each


def cases(name: str) -> dict[str, Callable[[], Case]]:
    """Label -> how to set the case up for this network."""
    makers = {
        "occlusion": _occlusion,
        "rise": _rise,
        "lime": _lime,
        "kernel_shap": _kernel_shap,
        "fgsm": _fgsm,
        "pgd": _pgd,
    }
    return labeled(makers, name)


def _occlusion(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    side = x.shape[-1]
    patch, stride = side // 5 + 1, max(6, side // 16)
    grid = occlusion.windows(side, side, patch, stride)
    passes = grid.shape[0] * grid.shape[1] + 1

    def ours(fast: bool = False) -> Tensor:
        return occlusion.occlusion(model, x, c, patch=patch, stride=stride, fast=fast)

    def captum(at_once: int) -> Callable[[], Tensor]:
        method, window, strides = Occlusion(plain(model)), (3, patch, patch), (3, stride, stride)
        return lambda: method.attribute(x[None], window, strides, 0.0, target=c, perturbations_per_eval=at_once)

    peers = {f"captum, {n} at once": captum(n) for n in BATCHES}
    return Case(f"{case}, {passes - 1} windows", ours, peers, bare(model, x, passes), lambda: ours(fast=True))


def _rise(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    def ours(fast: bool = False) -> Tensor:
        return occlusion.rise(model, x, c, samples=200, fast=fast)

    masks = occlusion.random_masks(200, *x.shape[-2:]).to(x.dtype)

    default = plain(model)

    def authors(at_once: int) -> Callable[[], Tensor]:
        def go() -> Tensor:  # as in the authors' code, the masks made before
            with torch.no_grad():
                p = torch.cat([default(x * part[:, None]).softmax(dim=1)[:, c] for part in masks.split(at_once)])
            return (p @ masks.flatten(1)).view_as(masks[0]) / (0.5 * len(masks))

        return go

    peers = {f"the authors' code, {n} at once": authors(n) for n in BATCHES}
    return Case(f"{case}, 200 masks", ours, peers, bare(model, x, 200), lambda: ours(fast=True))


def _lime(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    cut = occlusion.superpixels(x, 50)

    def ours(fast: bool = False) -> Tensor:
        return occlusion.lime(model, x, c, segments=cut, samples=200, fill="black", fast=fast)

    def captum(at_once: int) -> Callable[[], Tensor]:
        method = Lime(plain(model), interpretable_model=SkLearnRidge(alpha=1.0))
        return lambda: method.attribute(
            x[None], target=c, feature_mask=cut[None], n_samples=200, perturbations_per_eval=at_once, baselines=0.0
        )

    peers = {f"captum, {n} at once": captum(n) for n in BATCHES}
    return Case(f"{case}, 200 coalitions", ours, peers, bare(model, x, 200), lambda: ours(fast=True))


def _kernel_shap(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    cut = occlusion.superpixels(x, 50)

    def ours(fast: bool = False) -> Tensor:
        return occlusion.kernel_shap(model, x, c, segments=cut, samples=200, fill="black", fast=fast)

    def captum(at_once: int) -> Callable[[], Tensor]:
        method = KernelShap(plain(model))
        return lambda: method.attribute(
            x[None], target=c, feature_mask=cut[None], n_samples=202, perturbations_per_eval=at_once, baselines=0.0
        )

    peers = {f"captum, {n} at once": captum(n) for n in BATCHES}
    return Case(f"{case}, 200 coalitions", ours, peers, bare(model, x, 202), lambda: ours(fast=True))


def _fgsm(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    attack = FGSM(nn.Sequential(plain(model), nn.Softmax(dim=1)))

    def captum() -> Tensor:
        return attack.perturb(x[None].clone(), epsilon=0.03, target=c)

    return Case(
        case, lambda: fgsm.fgsm(model, x, c, epsilon=0.03), {"captum": captum}, bare(model, x, 1, True), many=False
    )


def _pgd(case: str, model: nn.Module, x: Tensor, c: int) -> Case:
    attack, once = PGD(nn.Sequential(plain(model), nn.Softmax(dim=1))), bare(model, x, 1, True)[1]

    def captum() -> Tensor:
        return attack.perturb(x[None].clone(), 0.03, 0.01, 10, c)

    floor = {1: lambda: [once() for _ in range(10)]}
    return Case(f"{case}, 10 steps", lambda: fgsm.pgd(model, x, c, epsilon=0.03), {"captum": captum}, floor, many=False)
