"""Faithfulness: does an explanation tell what the network does? Deletion, insertion, infidelity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.progress import Progress
from xai_lessons.evaluation.localization import heat
from xai_lessons.methods.perturbation import Fill, filling


class Curve(NamedTuple):
    """The score while pixels are removed or inserted.

    Attributes:
        curve: (N, steps + 1), or (steps + 1,) for a single image, from nothing changed to everything.
        area: (N,), or a 0-d tensor for a single image: the area under the curve over the fraction of pixels, 0 to 1.
    """

    curve: Tensor
    area: Tensor


def deletion(
    model: Any,
    images: Tensor,
    maps: Tensor,
    targets: Targets = None,
    *,
    steps: int = 32,
    fill: Fill = "black",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Curve:
    """How soon the score falls when the pixels with the highest values of the map are removed first.

        curve_k = Y^c(x with its k/steps highest pixels replaced),   area = integral of the curve

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        targets: see `inputs.check_targets`; None is the class predicted for the unchanged image.
        steps: number of steps; where they do not divide the number of pixels, the last one is smaller.
        fill: what replaces a pixel, see `perturbation.filling`.
        output: "probability" or "logit".
        seed: of the order of pixels with equal values.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        `Curve`; a small area is good.

    Raises:
        ValueError: if the maps do not fit the images, or an option is out of range.
        TypeError: if `steps` is not a whole number.

    Example:
        >>> from xai_lessons import cam, evaluation, menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> evaluation.deletion(model, image, cam.grad_cam(model, image), steps=4).curve.shape
        torch.Size([5])

    Source:
        Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421, section 4.

    Differs from the paper:
        pixels of equal value go in random order (the paper's code: row by row), so that an empty map removes at random.
    """
    return _curve(model, images, maps, targets, steps, fill, output, seed, batch_size, progress, insert=False)


def insertion(
    model: Any,
    images: Tensor,
    maps: Tensor,
    targets: Targets = None,
    *,
    steps: int = 32,
    fill: Fill = "blur",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Curve:
    """How soon the score rises when the pixels with the highest values of the map are inserted first.

        curve_k = Y^c(the fill with the k/steps highest pixels of x inserted),   area = integral of the curve

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        targets: see `inputs.check_targets`; None is the class predicted for the whole image.
        steps: number of steps; where they do not divide the number of pixels, the last one is smaller.
        fill: what it starts from, see `perturbation.filling`.
        output: "probability" or "logit".
        seed: of the order of pixels with equal values.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        `Curve`; a large area is good.

    Raises:
        ValueError: if the maps do not fit the images, or an option is out of range.
        TypeError: if `steps` is not a whole number.

    Example:
        >>> from xai_lessons import cam, evaluation, menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> float(evaluation.insertion(model, image, cam.grad_cam(model, image), steps=4).area) > 0.5
        True

    Source:
        Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421, section 4.

    Differs from the paper:
        the blur is a Gaussian of an eighth of the image (the paper's, of 5 pixels at 224, hides little).
    """
    return _curve(model, images, maps, targets, steps, fill, output, seed, batch_size, progress, insert=True)


def _curve(
    model: Any,
    images: Tensor,
    maps: Tensor,
    targets: Targets,
    steps: int,
    fill: Fill,
    output: str,
    seed: int,
    batch_size: int | None,
    progress: Progress,
    *,
    insert: bool,
) -> Curve:
    steps = inputs.whole("steps", steps, 1)
    x, single = inputs.check_images(model, images)
    M = heat(maps).to(x.device)
    if M.shape != x[:, 0].shape:
        raise ValueError(f"maps must fit the images {tuple(x.shape)}, got {tuple(maps.shape)}: use size='image'")
    empty = filling(x, fill, seed)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)
    rank = _rank(M, seed)
    counts = -(-torch.arange(steps + 1) * rank[0].numel() // steps)  # pixels of the first k / steps, rounded up
    counts = counts.to(x.device)

    def score(x: Tensor, c: Tensor, k: Tensor, rank: Tensor, empty: Tensor) -> Tensor:
        first = (rank < counts[k][:, None, None])[:, None]
        shown = torch.where(first, x, empty) if insert else torch.where(first, empty, x)
        return passes.score(passes.logits(model, shown), c, output)

    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    curve = passes.over_passes(score, steps + 1, model, x, c, per_image=[rank, empty], **options)
    area = torch.trapezoid(curve, counts.to(curve) / rank[0].numel(), dim=1)
    return Curve(curve[0], area[0]) if single else Curve(curve, area)


def _rank(maps: Tensor, seed: int) -> Tensor:
    """The rank of each pixel, 0 for the highest, (N, H, W); equal ones in random order, not by position."""
    flat = maps.flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=inputs.generator(seed)).to(flat.device)
    order = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view(maps.shape)


def infidelity(
    model: Any,
    images: Tensor,
    maps: Tensor,
    targets: Targets = None,
    *,
    perturbation: str | Tensor = "patch",
    sigma: float = 0.1,
    patch: int | None = None,
    samples: int = 64,
    normalize: bool = False,
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """How far the explanation Φ is from predicting the effect of changing the image by I.

        INFD = mean over I of (β I . Φ - (Y^c(x) - Y^c(x - I)))^2,   β = 1, or fitted with `normalize`

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: attributions (N, 3, H, W), or heatmaps (N, H, W), whose value counts for each channel; with their sign.
        targets: see `inputs.check_targets`; None is the class predicted for the unchanged image.
        perturbation: the I: "patch" (a square turns black), "noise" (Gaussian of `sigma`), or a tensor of them
            (samples, 3, H, W).
        sigma: of the noise, in pixel units.
        patch: side of the square in pixels; a quarter of the image if not given.
        samples: number of I, shared by all images.
        normalize: fit the best scale per image, β = max(0, sum (I . Φ)(ΔY) / sum (I . Φ)^2), for maps without a unit.
        output: "logit" or "probability".
        seed: of the I.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        (N,), or a 0-d tensor for a single image, in squared units of the score; small is good. An empty map
        scores mean (ΔY)^2; with `normalize` no map scores more, and one that predicts the wrong sign as much.

    Raises:
        ValueError: if the maps do not fit the images, or an option is out of range.
        TypeError: if `samples` or `patch` is not a whole number.

    Example:
        >>> from xai_lessons import evaluation, menagerie, models, saliency
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> maps = saliency.gradient_x_input(model, image)
        >>> evaluation.infidelity(model, image, maps, samples=4).shape
        torch.Size([])

    Source:
        Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019, arXiv:1901.09392 (INFD); β as in the
        authors' code.

    Differs from the paper:
        the fitted β is never negative: else a map and its negative would score the same.
    """
    samples = inputs.whole("samples", samples, 1)
    x, single = inputs.check_images(model, images)
    heat(maps)  # checks them
    if single:
        maps = maps[None]
    if maps.shape[-2:] != x.shape[-2:] or len(maps) != len(x):
        raise ValueError(f"maps must fit the images {tuple(x.shape)}, got {tuple(maps.shape)}: use size='image'")
    phi = (maps if maps.ndim == 4 else maps[:, None]).to(x).expand_as(x)
    change = _perturbations(perturbation, x, samples, sigma, patch, seed)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)

    def effects(x: Tensor, c: Tensor, k: Tensor, phi: Tensor) -> Tensor:  # pass 0 is the unchanged image
        I = change(x, k - 1) * (k > 0)[:, None, None, None]
        Y = passes.score(passes.logits(model, x - I), c, output)
        return torch.stack([(I * phi).sum(dim=(1, 2, 3)), Y], dim=1)

    total = 1 + (len(perturbation) if isinstance(perturbation, Tensor) else samples)
    both = passes.over_passes(effects, total, model, x, c, per_image=[phi], batch_size=batch_size, progress=progress)
    predicted, observed = both[:, 1:, 0], both[:, :1, 1] - both[:, 1:, 1]
    if normalize:
        power = (predicted**2).sum(dim=1, keepdim=True)
        beta = (predicted * observed).sum(dim=1, keepdim=True) / torch.where(power > 0, power, 1)
        predicted = beta.clamp(min=0) * predicted
    result = ((predicted - observed) ** 2).mean(dim=1)
    return result[0] if single else result


def _perturbations(
    kind: str | Tensor, x: Tensor, samples: int, sigma: float, patch: int | None, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function from images and indices k to the perturbations I_k."""
    random, (H, W) = inputs.generator(seed), x.shape[-2:]
    if isinstance(kind, Tensor):
        if kind.ndim != 4 or kind.shape[1:] != x.shape[1:]:
            raise ValueError(f"perturbation must be (samples, *{tuple(x.shape[1:])}), got {tuple(kind.shape)}")
        return lambda x, k: kind.to(x)[k.clamp(min=0)]
    if kind == "noise":
        inputs.at_least("sigma", sigma, 0)
        noise = (sigma * torch.randn((samples, *x.shape[1:]), generator=random, dtype=torch.float64)).to(x)
        return lambda x, k: noise[k.clamp(min=0)]
    if kind == "patch":
        side = max(1, min(H, W) // 4) if patch is None else patch
        side = inputs.whole("patch", side, 1, min(H, W))
        top, left = (torch.randint(0, n - side + 1, (samples, 1), generator=random).to(x.device) for n in (H, W))
        rows, columns = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
        tall, wide = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
        within = tall[:, None, :, None] & wide[:, None, None, :]
        return lambda x, k: x * within[k.clamp(min=0)]
    raise ValueError(f"perturbation must be 'patch', 'noise' or a tensor (samples, 3, H, W), got {kind!r}")
