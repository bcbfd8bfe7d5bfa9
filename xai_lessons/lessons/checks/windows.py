"""What the checks of lesson 4 are made of: a small function that is asked, and the occlusion loop with its slips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Ask = Callable[[Tensor], Tensor]


class Scores:
    """A small function from pictures (N, 3, H, W) to scores (N, 4); it may have little memory and little patience.

    Args:
        rng: of its weights.
        shape: of the pictures, (3, H, W).
        most: pictures at once.
        calls: how often it may be asked.
    """

    def __init__(self, rng: torch.Generator, shape: tuple[int, ...], most: int = 10**9, calls: int = 10**9) -> None:
        self.weights, self.shape = torch.rand(4, *shape, generator=rng) - 0.3, shape
        self.most, self.calls, self.asked = most, calls, 0

    def __call__(self, images: Tensor) -> Tensor:
        """The scores (N, 4)."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"pictures (N, {wanted}) are expected, {tuple(images.shape)} came")
        if len(images) > self.most:
            raise MemoryError(f"{len(images)} pictures came at once, and there is memory for {self.most}: take slices")
        self.asked += 1
        if self.asked > self.calls:
            raise TimeoutError(f"asked for the {self.asked}th time: fill each batch, then {self.calls} calls do")
        return (images[:, None] * self.weights).flatten(2).mean(dim=2) + images.amax(dim=(1, 2, 3))[:, None]


def places(side: int, patch: int, stride: int) -> range:
    """Where a window begins along one side."""
    return range(0, side - patch + 1, stride)


def loop(
    image: Tensor,
    patch: int,
    stride: int,
    fall: Callable[[Tensor], Tensor],
    hide: Callable[[Tensor, int, int, int], None] | None = None,
    fresh: bool = True,
) -> Tensor:
    """fall(x) of each picture x with a hidden window, (rows, columns)."""
    _, H, W = image.shape
    rows, x = [], image.clone()
    for i in places(H, patch, stride):
        row = []
        for j in places(W, patch, stride):
            x = image.clone() if fresh else x
            if hide is None:
                x[:, i : i + patch, j : j + patch] = 0
            else:
                hide(x, i, j, patch)
            row.append(fall(x))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def falls_of(ask: Ask, image: Tensor, c: int, patch: int, stride: int, **options: Any) -> Tensor:
    """The falls of class c for all windows (rows, columns)."""
    whole = ask(image[None])[0, c]
    return loop(image, patch, stride, lambda hidden: whole - ask(hidden[None])[0, c], **options)


def one_channel(x: Tensor, i: int, j: int, patch: int) -> None:
    """Hide the red channel only."""
    x[0, i : i + patch, j : j + patch] = 0


def gray(x: Tensor, i: int, j: int, patch: int) -> None:
    """Fill with gray instead of black."""
    x[:, i : i + patch, j : j + patch] = 0.5


def too_large(x: Tensor, i: int, j: int, patch: int) -> None:
    """Hide a pixel too much, right and below."""
    x[:, i : i + patch + 1, j : j + patch + 1] = 0


def all_but(x: Tensor, i: int, j: int, patch: int) -> None:
    """Hide everything but the window."""
    kept = x[:, i : i + patch, j : j + patch].clone()
    x.zero_()
    x[:, i : i + patch, j : j + patch] = kept
