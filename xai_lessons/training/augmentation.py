"""Data augmentation: random flips, shifts, erased squares and swapped colors; the attack of adversarial training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import passes


def pixels(images: Tensor) -> Tensor:
    """Convert images from bytes to floats in [0, 1]; floats are returned as they are.

    Args:
        images: any shape, bytes or floats.

    Returns:
        Floats of the same shape.

    Example:
        >>> pixels(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([0., 1.])
    """
    return images.float() / 255 if images.dtype == torch.uint8 else images


def augment(images: Tensor, flip: bool, shift: int, erase: int, rng: torch.Generator, recolor: float = 0.0) -> Tensor:
    """Flip, shift, erase and recolor each image of a batch at random.

    Args:
        images: (N, 3, H, W).
        flip: whether to flip half of them horizontally.
        shift: largest shift in pixels; the edge is repeated.
        erase: side of a square that is set to gray, in pixels; 0 for none.
        rng: a generator on the CPU.
        recolor: the probability that the red, green and blue of an image change places at random.

    Returns:
        (N, 3, H, W).

    Example:
        >>> images = torch.zeros(2, 3, 8, 8)
        >>> augment(images, flip=True, shift=2, erase=4, rng=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 8, 8])
    """
    n, _, h, w = images.shape
    x, device = images, images.device
    if flip:
        flipped = (torch.rand(n, generator=rng) < 0.5).to(device)
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    if shift:
        down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=rng).to(device)
        rows = torch.arange(h, device=device) + down
        columns = torch.arange(w, device=device) + right
        padded = F.pad(x, (shift, shift, shift, shift), mode="replicate").permute(0, 2, 3, 1)
        index = torch.arange(n, device=device)[:, None, None]
        x = padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if erase:
        top = torch.randint(0, h, (n, 1, 1), generator=rng).to(device) - erase // 2
        left = torch.randint(0, w, (n, 1, 1), generator=rng).to(device) - erase // 2
        row, column = torch.arange(h, device=device)[:, None], torch.arange(w, device=device)[None]
        inside = (row >= top) & (row < top + erase) & (column >= left) & (column < left + erase)
        x = torch.where(inside[:, None], x.new_tensor(0.5), x)
    if recolor:
        order = torch.rand(n, 3, generator=rng).argsort(dim=1)
        order[torch.rand(n, generator=rng) >= recolor] = torch.arange(3)
        x = x[torch.arange(n, device=device)[:, None], order.to(device)]
    return x


def adversarial(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, rng: torch.Generator) -> Tensor:
    """Attack images in one step from a random start: "fast" adversarial training.

    delta = clip(delta_0 + 1.25 epsilon sign(grad_x L(f(x + delta_0), y)), -epsilon, epsilon), delta_0 uniform

    Args:
        model: the network, in training mode.
        images: (N, 3, H, W) in [0, 1].
        labels: (N,).
        epsilon: largest change of a pixel, in pixel units.
        rng: a generator on the CPU.

    Returns:
        (N, 3, H, W) in [0, 1].

    Example:
        >>> model, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.rand(4, 3, 2, 2)
        >>> attacked = adversarial(model, images, torch.tensor([0, 1, 0, 1]), 0.1, torch.Generator())
        >>> bool((attacked - images).abs().max() <= 0.1001)
        True

    Source: Wong, Rice, Kolter, 2020, "Fast is better than free", arXiv:2001.03994.
    """
    start = epsilon * (2 * torch.rand(images.shape, generator=rng).to(images.device) - 1)
    probe = (images + start).clamp(0, 1).detach().requires_grad_()
    loss = F.softplus(passes.log_odds_against(model(probe), labels))  # the cross-entropy, its gradient not rounded to 0
    (gradient,) = torch.autograd.grad(loss.sum(), probe)
    delta = (start + 1.25 * epsilon * gradient.sign()).clamp(-epsilon, epsilon)
    return (images + delta).clamp(0, 1).detach()
