"""What replaces hidden pixels, and the checks that occlusion, RISE, LIME and Kernel SHAP share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons.core import inputs

FILLS = ("black", "gray", "mean", "blur", "noise")
Fill = str | float | Tensor


def filling(images: Tensor, fill: Fill = "black", seed: int = 0) -> Tensor:
    """The images that replace the hidden pixels of the given ones.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        fill: "black", "gray" (0.5), "mean" (each image's mean color), "blur" (the image out of focus: a Gaussian of an
            eighth of its longer side), "noise" (uniform, the same for all images), a number in [0, 1], a color (3,), or
            images that broadcast to ``images``.
        seed: of the noise.

    Returns:
        Of the shape of ``images``, in [0, 1].

    Raises:
        ValueError: if the fill is unknown, outside [0, 1] or of the wrong shape.
        TypeError: if it is neither a name, a number nor a tensor.

    Example:
        >>> filling(torch.zeros(3, 2, 2), "gray")[0]
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    names = f"fill must be {', '.join(map(repr, FILLS))}, a number, a color (3,) or images, got {fill!r}"
    random = inputs.generator(seed)
    if isinstance(fill, str):
        if fill == "mean":
            return images.mean(dim=(-2, -1), keepdim=True).expand_as(images)
        if fill == "blur":
            sigma = max(images.shape[-2:]) / 8
            return _gaussian(images, -2, sigma) @ images @ _gaussian(images, -1, sigma).mT
        if fill == "noise":
            noise = torch.rand(images.shape[-3:], generator=random, dtype=torch.float64)
            return noise.to(images).expand_as(images)
        if fill not in FILLS:
            raise ValueError(names)
        fill = {"black": 0.0, "gray": 0.5}[fill]
    try:
        value = torch.as_tensor(None if isinstance(fill, bool) else fill).to(images)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(names) from None
    if not (value.numel() and value.min() >= 0 and value.max() <= 1):  # also for NaN
        raise ValueError(f"fill must be in [0, 1], got {fill if value.ndim == 0 else 'a tensor outside of it'}")
    if value.ndim == 1:
        value = value[:, None, None]
    try:
        return value.expand_as(images)
    except RuntimeError:
        raise ValueError(
            f"a fill of shape {tuple(value.shape)} does not fit images {tuple(images.shape)}: "
            "give a number, a color (3,) or images of that size"
        ) from None


def _gaussian(images: Tensor, dim: int, sigma: float) -> Tensor:
    """The matrix that blurs along one side; its rows sum to 1, so the border keeps its brightness."""
    at = torch.arange(images.shape[dim], dtype=images.dtype, device=images.device)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)


def prepare(
    model: Any, images: Tensor, targets: inputs.Targets, fill: Fill, seed: int, output: str
) -> tuple[Tensor, Tensor | None, Tensor, bool]:
    """Check the arguments that all perturbation methods share, before any computing.

    Returns:
        The images (N, 3, H, W), the class numbers (N,) or None, the filling (N, 3, H, W), and whether it was one image.

    Args:
        model: a network or a callable.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        fill: what replaces hidden pixels, see `filling`.
        seed: of the noise.
        output: "logit" or "probability".

    Raises:
        ValueError: if the output is unknown.

    Example:
        >>> x, targets, fill, single = prepare(None, torch.zeros(3, 2, 2), None, "gray", 0, "logit")
        >>> x.shape, targets, fill.unique().item(), single
        (torch.Size([1, 3, 2, 2]), None, 0.5, True)
    """
    if output not in ("logit", "probability"):
        raise ValueError(f"output must be 'logit' or 'probability', got {output!r}")
    if output == "probability":
        inputs.check_probabilities(model, "use output='logit'")
    x, single = inputs.check_images(model, images)
    return x, inputs.check_targets(model, targets, x), filling(x, fill, seed), single
