"""Randomization: does an explanation notice that the network has lost its weights?"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from xai_lessons.core import inputs


def weight_layers(model: nn.Module) -> list[str]:
    """The names of the layers that hold weights (convolutions, linear layers), from the first to the last.

    Args:
        model: the network.

    Returns:
        Names as in `named_modules()`.

    Example:
        >>> from xai_lessons import evaluation, models
        >>> evaluation.weight_layers(models.load("menagerie-resnet"))[-1]
        'network.head'
    """
    return [name for name, m in model.named_modules() if any(p.ndim > 1 for p in m.parameters(recurse=False))]


def randomize_layers(
    model: nn.Module, n: int | None = None, *, fraction: float | None = None, seed: int = 0
) -> nn.Module:
    """A copy of the network whose last n layers are initialized anew.

    Each of them, with the normalization that follows it, starts over: W ~ N(0, 2 / fan_in), biases 0.

    Args:
        model: the network; it is not changed.
        n: number of layers of `weight_layers`, counted from the top; all of them if neither n nor fraction is given.
        fraction: or which fraction of them, in [0, 1].
        seed: the same seed gives the same top layers for every n, so that a larger n changes one layer more.

    Returns:
        A new network.

    Raises:
        ValueError: if there are fewer layers, or both n and fraction are given.
        TypeError: if the model is not an `nn.Module`, or n is not a whole number.

    Example:
        >>> from xai_lessons import evaluation, menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> bool(model.predict(image).max() > evaluation.randomize_layers(model, 1).predict(image).max())
        True

    Source:
        Adebayo et al.: Sanity Checks for Saliency Maps, 2018, arXiv:1810.03292 (cascading randomization); He et al.,
        2015, arXiv:1502.01852 (the variance, which keeps the signal's size through the random layers).
    """
    inputs.check_network("randomize_layers", model)
    layers = weight_layers(model)
    if n is not None and fraction is not None:
        raise ValueError("n and fraction exclude each other: give only one of them")
    inputs.at_least("fraction", 1.0 if fraction is None else fraction, 0, 1)
    n = round((1.0 if fraction is None else fraction) * len(layers)) if n is None else n
    n = inputs.whole("n", n, 0, len(layers))
    random, randomized = inputs.generator(seed), copy.deepcopy(model)
    modules = list(randomized.named_modules())
    first = len(modules) if n == 0 else [name for name, _ in modules].index(layers[-n])
    with torch.inference_mode(False), torch.no_grad():
        for _, module in reversed(modules[first:]):
            _initialize(module, random)
    return randomized


def _initialize(module: nn.Module, random: torch.Generator) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()  # mean 0, variance 1
    for name, p in module.named_parameters(recurse=False):
        if p.ndim > 1:
            p.copy_(torch.randn(p.shape, generator=random, dtype=torch.float64) * math.sqrt(2 / p[0].numel()))
        else:
            p.fill_(0.0 if "bias" in name else 1.0)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps per image.

        ρ = cov(r_a, r_b) / (σ_{r_a} σ_{r_b}),   r the ranks, equal values sharing their mean rank

    Args:
        a: (N, ...); values are ranked with their sign: pass `heat` of a map to compare where it looks.
        b: the same shape.

    Returns:
        (N,) in [-1, 1]; 0 where one of the maps is constant and so has no order.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import torch
        >>> from xai_lessons import evaluation
        >>> evaluation.rank_correlation(torch.tensor([[1.0, 2, 3]]), torch.tensor([[1.0, 4, 9]])).tolist()
        [1.0]

    Source:
        Spearman: The Proof and Measurement of Association between Two Things, 1904.
    """
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"expected two maps (N, ...) of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")

    def ranks(row: Tensor) -> Tensor:
        _, place, count = torch.unique(row, return_inverse=True, return_counts=True)
        last = count.cumsum(0).to(inputs.widest(count.device))
        r = (last - (count - 1) / 2)[place]
        return r - r.mean()

    result = a.new_zeros(len(a))
    for i, (u, v) in enumerate(zip(a.flatten(1), b.flatten(1), strict=True)):
        r_a, r_b = ranks(u), ranks(v)
        length = r_a.norm() * r_b.norm()
        result[i] = r_a @ r_b / length if length > 0 else 0.0
    return result
