"""What is done to the pictures of a batch before a network is trained on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pixels(images: Tensor) -> Tensor:
    """Pictures as floats in [0, 1], whether they come as bytes or as floats."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def augment(x: Tensor, flip: bool, shift: int, erase: int, rng: torch.Generator) -> Tensor:
    """Mirror, shift and blank each picture of a batch at random, as asked.

    Args:
        x: (N, 3, H, W).
        flip: whether to mirror half of them.
        shift: by how many pixels to shift at most, each way.
        erase: side of a square blanked with gray, in pixels; 0 for none.
        rng: a generator on the CPU.

    Returns:
        (N, 3, H, W).
    """
    n, _, h, w = x.shape
    if flip:
        mirrored = (torch.rand(n, generator=rng) < 0.5).to(x.device)
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    if shift:
        s = shift
        down, right = torch.randint(0, 2 * s + 1, (2, n, 1), generator=rng).to(x.device)
        rows = torch.arange(h, device=x.device) + down
        columns = torch.arange(w, device=x.device) + right
        padded = F.pad(x, (s, s, s, s), mode="replicate").permute(0, 2, 3, 1)
        every = torch.arange(n, device=x.device)[:, None, None]
        x = padded[every, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if erase:
        top = torch.randint(0, h, (n, 1, 1), generator=rng).to(x.device) - erase // 2
        left = torch.randint(0, w, (n, 1, 1), generator=rng).to(x.device) - erase // 2
        row, column = torch.arange(h, device=x.device)[:, None], torch.arange(w, device=x.device)[None]
        inside = (row >= top) & (row < top + erase) & (column >= left) & (column < left + erase)
        x = torch.where(inside[:, None], x.new_tensor(0.5), x)
    return x


def attacked(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, rng: torch.Generator) -> Tensor:
    """The pictures under one step of attack from a random start: "fast" adversarial training.

    delta = clip(delta_0 + 1.25 epsilon sign(grad_x L(f(x + delta_0), y)), -epsilon, epsilon), delta_0 uniform

    Args:
        model: the network, in training mode.
        x: (N, 3, H, W) in [0, 1].
        y: (N,).
        epsilon: in pixel units.
        rng: a generator on the CPU.

    Returns:
        (N, 3, H, W) in [0, 1].

    Source: Wong, Rice, Kolter, 2020, arXiv:2001.03994.
    """
    start = epsilon * (2 * torch.rand(x.shape, generator=rng).to(x.device) - 1)
    probe = (x + start).clamp(0, 1).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)
    delta = (start + 1.25 * epsilon * gradient.sign()).clamp(-epsilon, epsilon)
    return (x + delta).clamp(0, 1).detach()
