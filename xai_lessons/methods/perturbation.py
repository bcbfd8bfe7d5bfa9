"""What is put where a picture is hidden, and the preparation that occlusion, RISE, LIME and Kernel SHAP share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes

FILLS = ("black", "gray", "mean", "blur", "noise")
Fill = str | float | Tensor


def filling(images: Tensor, fill: Fill = "black", seed: int = 0) -> Tensor:
    """Pictures that have nothing to say, to be seen through the holes cut into the given ones.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        fill: "black", "gray" (0.5), "mean" (each picture's mean color), "blur" (the picture out of focus: a Gaussian
            of an eighth of its longer side), "noise" (uniform, the same for all pictures), a number in [0, 1], a color
            (3,), or pictures that broadcast to ``images``.
        seed: of the noise.

    Returns:
        Of the shape of ``images``, in [0, 1].

    Raises:
        ValueError: if the fill is unknown, outside [0, 1] or of the wrong shape.
    """
    if isinstance(fill, str):
        if fill == "mean":
            return images.mean(dim=(-2, -1), keepdim=True).expand_as(images)
        if fill == "blur":
            sigma = max(images.shape[-2:]) / 8
            return _gaussian(images, -2, sigma) @ images @ _gaussian(images, -1, sigma).mT
        if fill == "noise":
            noise = torch.rand(images.shape[-3:], generator=inputs.generator(seed), dtype=torch.float64)
            return noise.to(images).expand_as(images)
        if fill not in FILLS:
            names = ", ".join(map(repr, FILLS))
            raise ValueError(f"fill must be {names}, a number, a color (3,) or pictures, got {fill!r}")
        fill = {"black": 0.0, "gray": 0.5}[fill]
    value = torch.as_tensor(fill).to(images)
    if not (value.numel() and value.min() >= 0 and value.max() <= 1):  # also for NaN
        raise ValueError(f"fill must be in [0, 1], got {fill if value.ndim == 0 else 'a tensor outside of it'}")
    if value.ndim == 1:
        value = value[:, None, None]
    try:
        return value.expand_as(images)
    except RuntimeError:
        raise ValueError(
            f"a fill of shape {tuple(value.shape)} does not fit pictures {tuple(images.shape)}: "
            "give a number, a color (3,) or pictures of that size"
        ) from None


def _gaussian(images: Tensor, dim: int, sigma: float) -> Tensor:
    """The matrix that blurs along one side; its rows sum to 1, so the rim keeps its brightness."""
    at = torch.arange(images.shape[dim], dtype=images.dtype, device=images.device)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)


def ask(model: Any, x: Tensor, c: Tensor, output: str = "logit") -> Tensor:
    """The score of the classes ``c`` that a network, or any callable, gives to the pictures ``x``.

    Args:
        model: a network or a callable.
        x: (B, 3, H, W) in [0, 1].
        c: (B,) class numbers.
        output: "logit" or "probability".

    Returns:
        (B,).
    """
    scores = passes.logits(model, x)
    return passes.score(scores.float() if scores.dtype == torch.bfloat16 else scores, c, output)


def prepare(
    model: Any, images: Tensor, targets: inputs.Targets, fill: Fill, seed: int, output: str
) -> tuple[Tensor, Tensor | None, Tensor, bool]:
    """Check what every perturbing method is given, before anything is computed.

    Args:
        model: a network or a callable.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: see `inputs.check_targets`.
        fill: see `filling`.
        seed: of the noise.
        output: "logit" or "probability".

    Returns:
        The pictures (N, 3, H, W), the class numbers (N,) or None, the filling (N, 3, H, W), and whether it was a single
        picture.

    Raises:
        ValueError: if the output is unknown.
    """
    if output not in ("logit", "probability"):
        raise ValueError(f"output must be 'logit' or 'probability', got {output!r}")
    x, single = inputs.check_images(model, images)
    return x, inputs.check_targets(model, targets, x), filling(x, fill, seed), single
