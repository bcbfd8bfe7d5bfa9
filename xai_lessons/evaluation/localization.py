"""Localization: does a map lie on the object? Masks, boxes, the pointing game, the fraction inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs
from xai_lessons.data.menagerie import Scene

Masks = Tensor | Sequence[Any] | Mapping[str, Any]
Box = Sequence[float] | Tensor | np.ndarray
Explain = Callable[..., Tensor]


def heat(maps: Tensor) -> Tensor:
    """One nonnegative value per pixel, from any explanation: what the metrics read.

    A heatmap keeps its positive part; of an attribution, each pixel takes the largest absolute value of its channels.

    Args:
        maps: heatmaps (N, H, W) or (H, W), or attributions (N, 3, H, W).

    Returns:
        (N, H, W), at least 0.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if it has another shape, or values that are not finite.

    Example:
        >>> import torch
        >>> from xai_lessons import evaluation
        >>> evaluation.heat(torch.tensor([[1.0, -2.0]])).tolist()
        [[[1.0, 0.0]]]

    Source:
        Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2014, arXiv:1312.6034, section 3.1.
    """
    if not isinstance(maps, Tensor):
        raise TypeError(f"maps must be a tensor (N, H, W), got {type(maps).__name__}")
    if maps.ndim not in (2, 3, 4) or maps.numel() == 0:
        raise ValueError(f"maps must have the shape (N, H, W), (H, W) or (N, 3, H, W), got {tuple(maps.shape)}")
    if not torch.isfinite(maps).all():
        raise ValueError("maps must be finite, got NaN or infinite values")
    maps = maps.detach()
    if maps.ndim == 4:
        return maps.abs().amax(dim=1)
    return (maps[None] if maps.ndim == 2 else maps).clamp(min=0)


def _inside(masks: Any, like: Tensor, name: str) -> Tensor:
    """The masks as (N, H, W) in the dtype of the maps, 1 inside and 0 outside."""
    if isinstance(masks, Mapping):
        masks = masks[name]
    elif not isinstance(masks, Tensor):
        masks = torch.stack([torch.as_tensor(m[name] if isinstance(m, Mapping) else m) for m in masks])
    masks = (masks[None] if masks.ndim == 2 else masks).to(like.device)
    if masks.shape != like.shape:
        raise ValueError(
            f"masks must have the shape of the maps {tuple(like.shape)}, got {tuple(masks.shape)}: use size='image'"
        )
    return (masks != 0).to(like.dtype)


def pointing_game(maps: Tensor, masks: Masks, *, tolerance: int = 0, name: str = "object") -> Tensor:
    """Whether the peak of each map lies on the object.

        hit = [argmax_p M_p lies inside the mask, or at most `tolerance` pixels from it]

    Args:
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        masks: bool (N, H, W) or (H, W), a list of masks, or masks by name: what `menagerie.sample` returns, a scene's
            `masks`, or a list of those.
        tolerance: whole pixels.
        name: which mask, if they have names.

    Returns:
        (N,): 1 for a hit, 0 for a miss.

    Raises:
        ValueError: if maps and masks do not fit, or the tolerance is negative.
        TypeError: if the tolerance is not a whole number.

    Example:
        >>> from xai_lessons import cam, evaluation, menagerie, models
        >>> model, scene = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3)
        >>> evaluation.pointing_game(cam.grad_cam(model, scene.image), scene.masks).tolist()
        [1.0]

    Source:
        Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016, arXiv:1608.00507 (with 15
        pixels of tolerance).

    Differs from the paper:
        where several pixels share the peak, the fraction of them that hits: an empty map scores the object's area, as
        a guess would.
    """
    tolerance = inputs.whole("tolerance", tolerance, 0)
    M = heat(maps)
    inside = _inside(masks, M, name)
    if tolerance:
        t = torch.arange(-tolerance, tolerance + 1, device=M.device, dtype=M.dtype)
        disc = (t[:, None] ** 2 + t**2 <= tolerance**2).to(M.dtype)
        inside = (F.conv2d(inside[:, None], disc[None, None], padding=len(t) // 2)[:, 0] > 0.5).to(M.dtype)
    peak = M.eq(M.amax(dim=(1, 2), keepdim=True)).to(M.dtype)
    return (peak * inside).sum(dim=(1, 2)) / peak.sum(dim=(1, 2))


def energy_inside(maps: Tensor, masks: Masks, *, name: str = "object") -> Tensor:
    """The fraction inside: how much of each map lies on the object.

        sum over p inside the mask of M_p / sum over all p of M_p

    Args:
        maps: (N, H, W), (H, W) or (N, 3, H, W), see `heat`.
        masks: as for `pointing_game`.
        name: which mask, if they have names.

    Returns:
        (N,) in [0, 1]; 0 for an empty map.

    Raises:
        ValueError: if maps and masks do not fit.

    Example:
        >>> from xai_lessons import cam, evaluation, menagerie, models
        >>> model, scene = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3)
        >>> float(evaluation.energy_inside(cam.grad_cam(model, scene.image), scene.masks)) > 0.5
        True

    Source:
        Wang et al.: Score-CAM, 2020, arXiv:1910.01279, section 4.3 (the energy-based pointing game).

    Differs from the paper:
        the positive part of the map is taken as it is; the paper moves its minimum to 0 first.
    """
    M = heat(maps)
    total = M.sum(dim=(1, 2))
    return (M * _inside(masks, M, name)).sum(dim=(1, 2)) / torch.where(total > 0, total, 1)


def object_masks(scene: Scene) -> dict[str, Tensor]:
    """The objects of a drawn scene by the name of their class, and its tree and tag: what a map can lie on.

    Args:
        scene: a scene of `menagerie`; two objects of one class share a mask.

    Returns:
        Name -> bool mask (H, W).

    Example:
        >>> from xai_lessons import evaluation, menagerie
        >>> list(evaluation.object_masks(menagerie.draw_pair("cat", "dog", seed=0)))
        ['cat', 'dog']
    """
    masks = scene.masks
    if len(scene.names) == 1:
        found = {scene.name: masks["object"]}
    else:
        found = {name: torch.zeros_like(masks["object"]) for name in scene.names}
        for name, thing in zip(scene.names, scene.objects, strict=True):
            found[name] = found[name] | masks[thing] if thing in masks else found[name]
    return found | {name: masks[name] for name in ("tree", "tag") if name in masks}


def box_of(mask: Tensor) -> Tensor:
    """The smallest box around a mask (`cam.bounding_box` gives that of a heatmap).

    Args:
        mask: bool (H, W).

    Returns:
        x1, y1, x2, y2 in pixels, LongTensor (4,), from the left and top edge of the first pixel to the right and bottom
        edge of the last; all zeros for an empty mask.

    Example:
        >>> import torch
        >>> from xai_lessons import evaluation
        >>> evaluation.box_of(torch.eye(4) > 0).tolist()
        [0, 0, 4, 4]
    """
    i, j = torch.where(mask)
    if not len(i):
        return torch.zeros(4, dtype=torch.long)
    return torch.stack([j.min(), i.min(), j.max() + 1, i.max() + 1]).cpu()


def intersection_over_union(a: Box, b: Box) -> float:
    """How well two boxes agree.

        IoU = |A ∩ B| / |A ∪ B|

    Args:
        a: x1, y1, x2, y2.
        b: the other box.

    Returns:
        From 0, where they do not overlap, to 1, where they are the same; 0 for two empty boxes.

    Example:
        >>> from xai_lessons import evaluation
        >>> evaluation.intersection_over_union((0, 0, 4, 4), (1, 1, 3, 3))
        0.25

    Source:
        Everingham et al.: The PASCAL Visual Object Classes (VOC) Challenge, 2010,
        doi:10.1007/s11263-009-0275-4, section 4.2.
    """
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = ([float(v) for v in box] for box in (a, b))
    intersection = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    return intersection / union if union else 0.0
