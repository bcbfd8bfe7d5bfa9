"""How well an explanation tells what the network does, and how still it holds: the metrics that ask the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.evaluation.localization import Explain, heat
from xai_lessons.methods.perturbation import Fill, filling


class Curve(NamedTuple):
    """How the score runs while pixels go or come.

    Attributes:
        curve: (N, steps + 1), or (steps + 1,) for a single picture, from nothing changed to everything.
        area: (N,), or a tensor of no axes: the area under the curve, over shares from 0 to 1.
    """

    curve: Tensor
    area: Tensor


def _rank(maps: Tensor, seed: int) -> Tensor:
    """The place of each pixel when the brightest come first, (N, H, W); equal ones in random order, not by position."""
    flat = maps.flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=inputs.generator(seed)).to(flat.device)
    order = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view(maps.shape)


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
    inputs.at_least("steps", steps, 1)
    x, single = inputs.check_images(model, images)
    M = heat(maps).to(x.device)
    if M.shape != x[:, 0].shape:
        raise ValueError(f"maps must fit the pictures {tuple(x.shape)}, got {tuple(maps.shape)}: use size='image'")
    empty = filling(x, fill, seed)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)
    rank = _rank(M, seed)
    pixels = rank[0].numel()

    def of(x: Tensor, c: Tensor, k: Tensor, rank: Tensor, empty: Tensor) -> Tensor:
        first = (rank * steps < (k * pixels)[:, None, None])[:, None]  # the brightest k / steps of the pixels
        shown = torch.where(first, x, empty) if insert else torch.where(first, empty, x)
        return passes.score(passes.logits(model, shown), c, output)

    beside = [rank, empty]
    curve = passes.over_passes(of, steps + 1, model, x, c, per_image=beside, batch_size=batch_size, progress=progress)
    area = torch.trapezoid(curve, dx=1 / steps, dim=1)
    return Curve(curve[0], area[0]) if single else Curve(curve, area)


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
    """Take the brightest pixels of the map away first: how soon does the score fall?

        curve_k = Y^c(x with its k/steps brightest pixels replaced),   area = integral of the curve

    Args:
        model: a network, or any callable from pictures to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        targets: see `inputs.check_targets`; None is the class predicted for the whole picture.
        steps: in how many equal steps all pixels go.
        fill: what is left, see `perturbation.filling`.
        output: "probability" or "logit".
        seed: of the order among pixels that the map holds equal.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        `Curve`; a small area is good.

    Raises:
        ValueError: if the maps do not fit the pictures, or an option is out of range.

    Source:
        Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421, section 4.

    Differs from the paper:
        equal pixels go in random order (the paper's code: row by row), so that an empty map erases at random.
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
    """Put the brightest pixels of the map in first: how soon does the score rise?

        curve_k = Y^c(the fill with the k/steps brightest pixels of x put in),   area = integral of the curve

    Args:
        model: a network, or any callable from pictures to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        targets: see `inputs.check_targets`; None is the class predicted for the whole picture.
        steps: in how many equal steps all pixels come.
        fill: what it begins with, see `perturbation.filling`.
        output: "probability" or "logit".
        seed: of the order among pixels that the map holds equal.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        `Curve`; a large area is good.

    Raises:
        ValueError: if the maps do not fit the pictures, or an option is out of range.

    Source:
        Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421, section 4.

    Differs from the paper:
        the blur is a Gaussian of an eighth of the picture (the paper's, of 5 pixels at 224, hides little).
    """
    return _curve(model, images, maps, targets, steps, fill, output, seed, batch_size, progress, insert=True)


def max_sensitivity(
    explain: Explain,
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """How far can an explanation Φ move while the picture stays, to the eye, the same?

        max over ||δ||_inf <= radius of ||Φ(x + δ) - Φ(x)||_F / ||Φ(x)||_F,   δ drawn `samples` times, evenly

    Args:
        explain: any method: called as ``explain(model, pictures, targets)``.
        model: a network or callable.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the class explained throughout; None is the one predicted for the untouched picture.
        radius: in pixel units.
        samples: how many δ.
        seed: of the δ, which all pictures share.
        batch_size: explanations at once.
        progress: True, or a callback (done, total), in explanations.

    Returns:
        (N,), or a tensor of no axes for a single picture; small is good. 0 for an explanation that is always empty.

    Raises:
        ValueError: if an option is out of range.

    Source:
        Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019, arXiv:1901.09392, definition 3; divided
        by ||Φ(x)||_F as is usual.

    Differs from the paper:
        x + δ is clipped to [0, 1]: what is explained is always a picture.
    """
    inputs.at_least("radius", radius, 0)
    inputs.at_least("samples", samples, 1)
    x, single = inputs.check_images(model, images)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)
    uniform = torch.rand((samples, *x.shape[1:]), generator=inputs.generator(seed))
    delta = torch.cat([torch.zeros_like(x[:1]), (radius * (2 * uniform - 1)).to(x)])  # the first leaves x as it is

    def of(x: Tensor, c: Tensor, k: Tensor) -> Tensor:
        return explain(model, (x + delta[k]).clamp(0, 1), c)

    worst = []
    with Meter(progress, len(x) * len(delta)) as meter:
        for one, target in zip(x.split(1), c.split(1), strict=True):  # so no more maps are held than one picture's
            phi = passes.over_passes(of, len(delta), model, one, target, batch_size=batch_size)[0].flatten(1)
            norm = phi[0].norm()
            worst.append((phi[1:] - phi[0]).norm(dim=1).max() / torch.where(norm > 0, norm, 1))
            meter.add(len(delta))
    return worst[0] if single else torch.stack(worst)


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
    """Does the explanation Φ foretell what the network does when the picture is changed by I?

        INFD = mean over I of (β I . Φ - (Y^c(x) - Y^c(x - I)))^2,   β = 1

    Args:
        model: a network, or any callable from pictures to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: attributions (N, 3, H, W), or heatmaps (N, H, W), whose value counts for each channel; with their sign.
        targets: see `inputs.check_targets`; None is the class predicted for the whole picture.
        perturbation: the I: "patch" (a square goes black), "noise" (Gaussian of `sigma`), or a tensor of many I
            (samples, 3, H, W).
        sigma: of the noise, in pixel units.
        patch: side of the square in pixels; a quarter of the picture if not given.
        samples: how many I, shared by all pictures.
        normalize: choose β = sum (I . Φ)(ΔY) / sum (I . Φ)^2, the best scale, a picture: for maps that have no unit.
        output: "logit" or "probability".
        seed: of the I.
        batch_size: passes at once.
        progress: True, or a callback (done, total).

    Returns:
        (N,), or a tensor of no axes for a single picture, in squared units of the score; small is good. An empty map
        scores mean (ΔY)^2.

    Raises:
        ValueError: if the maps do not fit the pictures, or an option is out of range.

    Source:
        Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019, arXiv:1901.09392, definition 1; β
        from its section 3.
    """
    inputs.at_least("samples", samples, 1)
    x, single = inputs.check_images(model, images)
    heat(maps)  # refuses what is no map
    if single:
        maps = maps[None]
    if maps.shape[-2:] != x.shape[-2:] or len(maps) != len(x):
        raise ValueError(f"maps must fit the pictures {tuple(x.shape)}, got {tuple(maps.shape)}: use size='image'")
    phi = (maps if maps.ndim == 4 else maps[:, None]).to(x).expand_as(x)
    change = _perturbations(perturbation, x, samples, sigma, patch, seed)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)

    def of(x: Tensor, c: Tensor, k: Tensor, phi: Tensor) -> Tensor:  # pass 0 is the picture itself
        I = change(x, k - 1) * (k > 0)[:, None, None, None]
        Y = passes.score(passes.logits(model, x - I), c, output)
        return torch.stack([(I * phi).sum(dim=(1, 2, 3)), Y], dim=1)

    total = 1 + (len(perturbation) if isinstance(perturbation, Tensor) else samples)
    both = passes.over_passes(of, total, model, x, c, per_image=[phi], batch_size=batch_size, progress=progress)
    told, happened = both[:, 1:, 0], both[:, :1, 1] - both[:, 1:, 1]
    if normalize:
        power = (told**2).sum(dim=1, keepdim=True)
        told = told * (told * happened).sum(dim=1, keepdim=True) / torch.where(power > 0, power, 1)
    result = ((told - happened) ** 2).mean(dim=1)
    return result[0] if single else result


def _perturbations(
    kind: str | Tensor, x: Tensor, samples: int, sigma: float, patch: int | None, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """From pictures and numbers k to the perturbations I_k of `infidelity`."""
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
        inputs.at_least("patch", side, 1, min(H, W))
        top, left = (torch.randint(0, n - side + 1, (samples, 1), generator=random).to(x.device) for n in (H, W))
        rows, columns = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
        tall, wide = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
        within = tall[:, None, :, None] & wide[:, None, None, :]
        return lambda x, k: x * within[k.clamp(min=0)]
    raise ValueError(f"perturbation must be 'patch', 'noise' or a tensor (samples, 3, H, W), got {kind!r}")
