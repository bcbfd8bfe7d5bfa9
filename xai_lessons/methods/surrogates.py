"""LIME and Kernel SHAP: a linear model of how the score depends on which superpixels are seen.

A coalition z says which superpixels are seen; f(z) is the network's score for the image with the others filled. Both
methods fit a linear model to f; they differ in the coalitions and in their weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets, whole
from xai_lessons.core.progress import Progress
from xai_lessons.methods.perturbation import Fill, prepare


def superpixels(images: Tensor, segments: int | Tensor = 50) -> Tensor:
    """Superpixels: segments of similar color (SLIC), or a given segmentation, checked.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        segments: about how many segments per image, or a segmentation of your own: whole numbers (N, H, W) or (H, W).

    Returns:
        (N, H, W) or (H, W), on the CPU: the segment of each pixel, numbered from 0 without gaps.

    Raises:
        ValueError: if a given segmentation does not belong to the images.

    Example:
        >>> from xai_lessons import menagerie
        >>> tuple(superpixels(menagerie.draw("cat", seed=3).image, 20).shape)
        (96, 96)

    Source: Achanta et al., 2012, "SLIC superpixels compared to state-of-the-art superpixel methods",
    doi:10.1109/TPAMI.2012.120; scikit-image's `slic`.
    """
    if images.ndim == 3:
        return superpixels(images[None], segments)[0]
    if isinstance(segments, Tensor):
        cut = segments.detach().cpu()
        fits = cut.shape in (images.shape[-2:], (len(images), *images.shape[-2:]))
        if not fits or cut.is_floating_point():
            raise ValueError(
                f"segments must be whole numbers (N, H, W) for images {tuple(images.shape)}, "
                f"got {cut.dtype} {tuple(cut.shape)}"
            )
        each = list(cut.reshape(-1, *cut.shape[-2:]).expand(len(images), -1, -1))
    else:
        from skimage.segmentation import slic

        segments = whole("segments", segments, 1)
        arrays = images.detach().permute(0, 2, 3, 1).cpu().double().numpy()
        each = [torch.from_numpy(slic(a, n_segments=segments, compactness=10, start_label=0)) for a in arrays]
    return torch.stack([cut.unique(return_inverse=True)[1] for cut in each])


def lime(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    segments: int | Tensor = 50,
    samples: int = 500,
    width: float = 0.25,
    penalty: str = "ridge",
    strength: float | None = None,
    fill: Fill = "mean",
    output: str = "logit",
    seed: int = 0,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """LIME: the weights of a linear model that agrees with the network near the image.

    ridge: minimize over w, b: sum over z of pi(z) * (f(z) - w.z - b)^2 + strength * |w|^2;
    lasso: half the mean of the same squares, weighted by pi, + strength * |w|_1;
    pi(z) = exp(-D(z)^2 / width^2) with D(z) = 1 - sqrt(|z| / S), the cosine distance from the whole image.
    Each of the S superpixels is seen with probability 1/2; the first z is the whole image.

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: class numbers or names; None for the predicted class.
        segments: about how many superpixels, or a segmentation of your own (N, H, W); see `superpixels`.
        samples: how many coalitions z.
        width: of the kernel, in cosine distance.
        penalty: "ridge" or "lasso" (few superpixels with a weight, the others exactly 0).
        strength: of the penalty; 1 for a ridge, 0.01 for a lasso if not given.
        fill: what is seen in place of a missing superpixel; see `occlusion.filling`.
        output: "logit" or "probability".
        seed: of the coalitions and the noise.
        fast: bfloat16 inside the network: about twice as fast.
        batch_size: coalitions at once; chosen from the images' size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in coalitions.

    Returns:
        (N, H, W): at each pixel the weight w of its superpixel; without N for a single image.

    Raises:
        ValueError: if an option is out of range, or a class does not exist.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> image = menagerie.draw("cat", seed=3).image
        >>> tuple(lime(models.load("menagerie-resnet"), image, "cat", segments=10, samples=16).shape)
        (96, 96)

    Source: Ribeiro, Singh and Guestrin, 2016, "Why should I trust you?", arXiv 1602.04938.
    Differs from the paper: a ridge, as in the authors' code, or a plain lasso, instead of K features chosen by a lasso.
    """
    fits = {"ridge": (_ridge, 1.0), "lasso": (_lasso, 0.01)}
    if penalty not in fits:
        raise ValueError(f"penalty must be 'ridge' or 'lasso', got {penalty!r}")
    fit, usual = fits[penalty]
    strength = usual if strength is None else strength
    inputs.at_least("strength", strength, 0)
    whole("samples", samples, 2)
    inputs.at_least("width", width, 1e-3)

    def coalitions(S: int) -> Tensor:
        z = torch.rand(samples, S, generator=inputs.generator(seed), dtype=torch.float64) < 0.5
        z[0] = True
        return z

    def explain(z: Tensor, f: Tensor) -> Tensor:
        D = 1 - z.mean(dim=1).sqrt()
        return fit(z, f, torch.exp(-(D**2) / width**2), strength)

    game = prepare(model, images, targets, fill, seed, output)
    return _explain(model, game, segments, coalitions, explain, output, fast, batch_size, progress)


def kernel_shap(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    segments: int | Tensor = 50,
    samples: int = 500,
    fill: Fill = "mean",
    output: str = "logit",
    seed: int = 0,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """Kernel SHAP: each superpixel's Shapley value, its fair part of what the image adds to the score.

    Minimize over phi: sum over z of pi(z) * (f(z) - f(0) - phi.z)^2, subject to sum of phi = f(1) - f(0), with
    pi(z) = (S - 1) / (binom(S, |z|) * |z| * (S - |z|)). If all 2^S - 2 coalitions fit into ``samples``, each is
    used once and phi is the exact Shapley value; else they are drawn with probability proportional to pi(z), each with
    its complement.

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: class numbers or names; None for the predicted class.
        segments: about how many superpixels, or a segmentation of your own (N, H, W); see `superpixels`.
        samples: the most coalitions, besides the whole and the empty one.
        fill: what is seen in place of a missing superpixel; see `occlusion.filling`.
        output: "logit" or "probability".
        seed: of the coalitions and the noise.
        fast: bfloat16 inside the network: about twice as fast.
        batch_size: coalitions at once; chosen from the images' size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in coalitions.

    Returns:
        (N, H, W): at each pixel the phi of its superpixel; without N for a single image.

    Raises:
        ValueError: if an option is out of range, or a class does not exist.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> image = menagerie.draw("cat", seed=3).image
        >>> tuple(kernel_shap(models.load("menagerie-resnet"), image, "cat", segments=10, samples=16).shape)
        (96, 96)

    Source: Lundberg and Lee, 2017, "A unified approach to interpreting model predictions", arXiv 1705.07874; coalitions
    in pairs: Covert and Lee, 2021, arXiv 2012.01536.
    Differs from the paper: sampled coalitions come in pairs with their complements, which halves the noise.
    """
    whole("samples", samples, 2)

    def coalitions(S: int) -> Tensor:
        whole_and_empty = torch.tensor([True, False])[:, None].expand(2, S)
        return torch.cat([whole_and_empty, _all(S) if _exact(S, samples) else _drawn(S, samples, seed)])

    def explain(z: Tensor, f: Tensor) -> Tensor:
        S = z.shape[1]
        pi = _shapley_kernel(z[2:].sum(dim=1), S) if _exact(S, samples) else torch.ones_like(f[2:])
        return _shapley(z[2:], f[2:] - f[1], pi, f[0] - f[1])

    game = prepare(model, images, targets, fill, seed, output)
    return _explain(model, game, segments, coalitions, explain, output, fast, batch_size, progress)


def _explain(
    model: Any,
    game: tuple[Tensor, Tensor | None, Tensor, bool],
    segments: int | Tensor,
    coalitions: Callable[[int], Tensor],
    explain: Callable[[Tensor, Tensor], Tensor],
    output: str,
    fast: bool,
    batch_size: int | None,
    progress: Progress,
) -> Tensor:
    """Run the network on the coalitions (K, S) of each image, and paint the result of ``explain(z, f)``."""
    x, c, background, single = game
    cut = superpixels(x, segments)
    z = [coalitions(int(s.max()) + 1) for s in cut]
    c = passes.predicted(model, x, c, batch_size)
    count, most = max(len(one) for one in z), max(one.shape[1] for one in z)
    table = torch.zeros(len(x), count, most, dtype=torch.bool)  # images may differ in S: the rest is never used
    for row, one in zip(table, z, strict=True):
        row[: len(one), : one.shape[1]] = one

    def seen(x: Tensor, c: Tensor, k: Tensor, background: Tensor, table: Tensor, patch: Tensor) -> Tensor:
        on = table[torch.arange(len(k)), k].gather(1, patch).view(-1, 1, *x.shape[-2:])
        x_z = torch.lerp(background, x, on)  # as torch.where(on, ...), and ten times faster
        return passes.score(passes.logits(model, x_z), c, output)

    options: dict[str, Any] = {"fast": fast, "batch_size": batch_size, "progress": progress}
    options["per_image"] = (background, table.to(x), cut.to(x.device).flatten(1))
    f = (
        passes.over_passes(seen, count, model, x, c, **options).cpu().double()
    )  # the fit is small, and the same on every device
    maps = torch.stack([explain(one.double(), y[: len(one)])[s] for one, y, s in zip(z, f, cut, strict=True)]).to(x)
    return maps[0] if single else maps


def _normal_equations(z: Tensor, f: Tensor, pi: Tensor) -> tuple[Tensor, Tensor]:
    """Z' Pi Z and Z' Pi f, centered on the weighted means, so that the intercept b is free."""
    z, f = z - pi @ z / pi.sum(), f - pi @ f / pi.sum()
    return z.mT @ (pi[:, None] * z), z.mT @ (pi * f)


def _ridge(z: Tensor, f: Tensor, pi: Tensor, strength: float) -> Tensor:
    A, b = _normal_equations(z, f, pi)
    A = A + strength * torch.eye(len(b), dtype=A.dtype)
    return torch.linalg.lstsq(A, b[:, None], driver="gelsd").solution[:, 0]


def _lasso(z: Tensor, f: Tensor, pi: Tensor, strength: float) -> Tensor:
    """Coordinate descent: each weight in turn takes its best value, until none moves."""
    A, b = (part / pi.sum() for part in _normal_equations(z, f, pi))
    w = torch.zeros_like(b)
    for _ in range(1000):
        before = w.clone()
        for j in range(len(w)):
            rest = b[j] - A[j] @ w + A[j, j] * w[j]
            w[j] = rest.sign() * (rest.abs() - strength).clamp(min=0) / A[j, j].clamp(min=1e-12)
        if (w - before).abs().max() <= 1e-9 * w.abs().max():
            break
    return w


def _exact(S: int, samples: int) -> bool:
    return S < 31 and samples >= 2**S - 2


def _all(S: int) -> Tensor:
    """Every coalition but the whole and the empty one, (2^S - 2, S)."""
    return (torch.arange(1, 2**S - 1)[:, None] >> torch.arange(S) & 1).bool()


def _drawn(S: int, samples: int, seed: int) -> Tensor:
    """Coalitions drawn with probability proportional to pi(z), each followed by its complement, (samples, S)."""
    random = inputs.generator(seed)
    size = torch.arange(1, S, dtype=torch.float64)
    drawn = 1 + torch.multinomial(1 / (size * (S - size)), (samples + 1) // 2, replacement=True, generator=random)
    rank = torch.rand(len(drawn), S, generator=random, dtype=torch.float64).argsort(dim=1).argsort(dim=1)
    z = rank < drawn[:, None]
    return torch.stack([z, ~z], dim=1).flatten(0, 1)[:samples]


def _shapley_kernel(size: Tensor, S: int) -> Tensor:
    """pi(z) of coalitions of this size, 0 < size < S."""
    return (S - 1) / (torch.tensor([math.comb(S, int(s)) for s in size], dtype=torch.float64) * size * (S - size))


def _shapley(z: Tensor, f: Tensor, pi: Tensor, total: Tensor) -> Tensor:
    """The phi of least squares whose sum is ``total``, by Lagrange's conditions."""
    S = z.shape[1]
    conditions = torch.ones(S + 1, S + 1, dtype=torch.float64)
    conditions[:S, :S], conditions[S, S] = z.mT @ (pi[:, None] * z), 0
    right = torch.cat([z.mT @ (pi * f), total[None]])
    return torch.linalg.lstsq(conditions, right[:, None], driver="gelsd").solution[:S, 0]
