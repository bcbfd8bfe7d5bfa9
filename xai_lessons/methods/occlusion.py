"""Hide parts of an image and run the network again: windows, random masks, erasing by a map.

Nothing here looks inside the network: every method takes any callable from images (N, 3, H, W) to scores (N, K).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets, whole
from xai_lessons.core.passes import logits, score
from xai_lessons.core.progress import Progress
from xai_lessons.methods.perturbation import FILLS, Fill, filling, prepare
from xai_lessons.methods.surrogates import kernel_shap, lime, superpixels

__all__ = [
    "FILLS", "erase_top", "filling", "hide", "keep_top", "kernel_shap", "lime", "occlusion", "random_masks", "rise",
    "superpixels", "windows",
]  # fmt: skip


def windows(height: int, width: int, patch: int | None = None, stride: int | None = None) -> Tensor:
    """The square windows that slide over an image, row by row; the last window of a row ends at the border.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        patch: side of the window in pixels; a fifth of the shorter side if not given.
        stride: pixels from one window to the next, at most ``patch``; a third of ``patch`` if not given.

    Returns:
        (rows, columns, 4), whole numbers: x0, y0, x1, y1 of each window, the right and lower edge not included.

    Raises:
        ValueError: if the window does not fit into the image, or the stride leaves pixels uncovered.

    Example:
        >>> windows(4, 6, patch=4, stride=2)
        tensor([[[0, 0, 4, 4],
                 [2, 0, 6, 4]]])
    """
    patch = max(1, round(min(height, width) / 5)) if patch is None else whole("patch", patch, 1, min(height, width))
    stride = max(1, patch // 3) if stride is None else whole("stride", stride, 1, patch)
    y0, x0 = (torch.arange(0, side - patch + stride, stride).clamp(max=side - patch) for side in (height, width))
    y, x = torch.meshgrid(y0, x0, indexing="ij")
    return torch.stack([x, y, x + patch, y + patch], dim=-1)


def hide(images: Tensor, window: Tensor, fill: Fill = "black", seed: int = 0) -> Tensor:
    """The images with one window hidden: exactly what `occlusion` shows to the network.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        window: (4,) or (N, 4): x0, y0, x1, y1 in pixels, for instance one of `windows`.
        fill: see `filling`.
        seed: of the noise.

    Returns:
        Images like ``images``.

    Example:
        >>> hide(torch.ones(3, 2, 3), torch.tensor([0, 0, 2, 1]))[0]
        tensor([[0., 0., 1.],
                [1., 1., 1.]])
    """
    hidden = _inside(torch.as_tensor(window, device=images.device), *images.shape[-2:])
    return torch.where(hidden[..., None, :, :], filling(images, fill, seed), images)


def _inside(window: Tensor, height: int, width: int) -> Tensor:
    """Which pixels (..., H, W) lie in windows (..., 4)."""
    x0, y0, x1, y1 = window[..., None].unbind(dim=-2)
    row, column = torch.arange(height, device=window.device), torch.arange(width, device=window.device)
    return ((row >= y0) & (row < y1))[..., :, None] & ((column >= x0) & (column < x1))[..., None, :]


def _times_covered(grid: Tensor, height: int, width: int) -> Tensor:
    """How many windows of a grid (rows, columns, 4) cover each pixel (H, W)."""
    rows = _inside(grid[:, 0] * grid.new_tensor([0, 1, 0, 1]) + grid.new_tensor([0, 0, 1, 0]), height, 1).sum(dim=0)
    columns = _inside(grid[0] * grid.new_tensor([1, 0, 1, 0]) + grid.new_tensor([0, 0, 0, 1]), 1, width).sum(dim=0)
    return rows * columns


def occlusion(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    fill: Fill = "black",
    output: str = "logit",
    size: str | None = "image",
    seed: int = 0,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """Occlusion: how far the score drops when a window is hidden.

    With x_w the image whose window w is filled, the map at pixel p is the mean of Y^c(x) - Y^c(x_w) over the windows w
    that cover p: positive where hiding lowers the score.

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: class numbers or names; None for the predicted class.
        patch: side of the window in pixels; a fifth of the shorter side if not given.
        stride: pixels from one window to the next, 1 to ``patch``; a third of ``patch`` if not given.
        fill: what is seen in the window: "black", "gray", "mean", "blur", "noise", a number, a color or images.
        output: "logit", or "probability", whose differences lie in [-1, 1].
        size: "image" for (N, H, W); None for one number per window, (N, rows, columns).
        seed: of the noise.
        fast: bfloat16 inside the network: about twice as fast, and off by about a hundredth of the logit.
        batch_size: windows at once; chosen from the images' size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in windows.

    Returns:
        (N, H, W) or (N, rows, columns), unscaled; without N for a single image.

    Raises:
        ValueError: if an option is out of range, or a class does not exist.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> image = menagerie.draw("cat", seed=3).image
        >>> tuple(occlusion(models.load("menagerie-resnet"), image, "cat", patch=32, stride=32).shape)
        (96, 96)

    Source: Zeiler and Fergus, 2013, "Visualizing and understanding convolutional networks", arXiv 1311.2901.
    Differs from the paper: the drop in the score is shown, not the score, and overlapping windows are averaged.
    """
    x, c, background, single = prepare(model, images, targets, fill, seed, output)
    grid = windows(x.shape[2], x.shape[3], patch, stride).to(x.device)
    boxes, covered = grid.flatten(0, 1), _times_covered(grid, *x.shape[-2:])
    c = passes.predicted(model, x, c, batch_size)

    def original(x: Tensor, c: Tensor, _: Tensor) -> Tensor:
        return score(logits(model, x), c, output)

    def drop(x: Tensor, c: Tensor, k: Tensor, background: Tensor, Y: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        hidden = _inside(boxes[k], *x.shape[-2:]).to(x)
        x_w = torch.lerp(x, background, hidden[:, None])  # as torch.where, and ten times faster
        difference = Y - score(logits(model, x_w), c, output)
        return difference if size is None else (difference, hidden / covered)

    Y = passes.over_passes(original, 1, model, x, c, fast=fast, batch_size=batch_size)[:, 0]
    options: dict[str, Any] = {"fast": fast, "batch_size": batch_size, "progress": progress}
    options |= {"per_image": (background, Y), "reduce": "stack" if size is None else "sum"}
    maps = passes.over_passes(drop, len(boxes), model, x, c, **options)
    maps = maps.unflatten(1, grid.shape[:2]) if size is None else maps
    return maps[0] if single else maps


def random_masks(
    samples: int, height: int, width: int, *, cells: int = 8, fraction: float = 0.5, seed: int = 0
) -> Tensor:
    """RISE's masks: coarse random grids, enlarged smoothly and shifted by a random part of a cell.

    Args:
        samples: how many masks.
        height: of the image in pixels.
        width: of the image in pixels.
        cells: cells of the coarse grid along a side.
        fraction: of the cells that are seen, on average, in (0, 1].
        seed: of the random numbers.

    Returns:
        (samples, H, W) in [0, 1].

    Example:
        >>> tuple(random_masks(10, 96, 96).shape)
        (10, 96, 96)
    """
    k = torch.arange(whole("samples", samples, 1))
    like = torch.empty(0, 3, whole("height", height, 1), whole("width", width, 1), dtype=torch.float64)
    return mask_maker(samples, cells, fraction, seed)(k, like)


def mask_maker(samples: int, cells: int, fraction: float, seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Draw the random part of RISE's masks, and return a function that makes some of them when they are needed.

    Args:
        samples: how many masks.
        cells: cells of the coarse grid along a side.
        fraction: of the cells that are seen, on average, in (0, 1].
        seed: of the random numbers.

    Returns:
        A function from mask numbers (B,) and images (B, 3, H, W), for their size, precision and device, to masks
        (B, H, W).

    Raises:
        ValueError: if an option is out of range.

    Example:
        >>> mask_maker(100, 8, 0.5, seed=0)(torch.arange(2), torch.empty(2, 3, 96, 96)).shape
        torch.Size([2, 96, 96])
    """
    whole("samples", samples, 1)
    whole("cells", cells, 1)
    inputs.at_least("fraction", fraction, 0, 1)
    if fraction == 0:
        raise ValueError("fraction must be above 0: with every cell dark nothing is ever seen")
    random = inputs.generator(seed)
    offsets = torch.rand(samples, 2, generator=random, dtype=torch.float64)
    grids = (torch.rand(samples, cells + 1, cells + 1, generator=random, dtype=torch.float64) < fraction).double()

    def masks(k: Tensor, like: Tensor) -> Tensor:
        return _enlarge(grids.to(like)[k], offsets.to(like)[k], *like.shape[-2:])

    return masks


def _enlarge(grids: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
    """Bilinear enlargement of grids (B, h + 1, w + 1) to (B, H, W), each shifted by its own part of a cell."""

    def weights(side: int, shift: Tensor) -> Tensor:  # (B, side, cells + 1): what each pixel takes from each cell
        cells = grids.shape[-1] - 1
        at = (torch.arange(side, device=grids.device) + 0.5) * cells / side + shift[:, None] - 0.5
        node = torch.arange(cells + 1, device=grids.device)
        return (1 - (at.clamp(0, cells)[..., None] - node).abs()).clamp(min=0).to(grids)

    with torch.autocast(grids.device.type, enabled=False):  # fast=True is for the network, not for the masks
        return weights(height, offsets[:, 0]) @ grids @ weights(width, offsets[:, 1]).mT


def rise(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    samples: int = 400,
    cells: int = 8,
    fraction: float = 0.5,
    fill: Fill = "black",
    output: str = "probability",
    seed: int = 0,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """RISE: a pixel is important if the score is high whenever a random mask leaves it visible.

    S(p) = 1/(E[M] * samples) * sum over k of Y^c(x * M_k) * M_k(p).

    Args:
        model: a network, or any callable from images to scores (N, K).
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: class numbers or names; None for the predicted class.
        samples: how many masks, shared by all images.
        cells: cells of the coarse grid along a side.
        fraction: of the cells that are seen, on average: E[M], in (0, 1].
        fill: what is seen where the mask is dark.
        output: "probability" as in the paper, or "logit".
        seed: of the masks and the noise.
        fast: bfloat16 inside the network: about twice as fast.
        batch_size: masks at once; chosen from the images' size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in masks.

    Returns:
        (N, H, W), unscaled: the mean score where the pixel was seen; without N for a single image.

    Raises:
        ValueError: if an option is out of range, or a class does not exist.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> rise(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", samples=16).shape
        torch.Size([96, 96])

    Source: Petsiuk, Das and Saenko, 2018, "RISE: randomized input sampling for explanation of black-box models",
    arXiv 1806.07421.
    Differs from the paper: shifts may be parts of a pixel, and hidden pixels need not be black.
    """
    masks = mask_maker(samples, cells, fraction, seed)
    x, c, background, single = prepare(model, images, targets, fill, seed, output)
    c = passes.predicted(model, x, c, batch_size)

    def seen(x: Tensor, c: Tensor, k: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        M = masks(k, x)
        scores = logits(model, torch.lerp(background, x, M[:, None]))
        return score(scores, c, output) / (fraction * samples), M

    options: dict[str, Any] = {"fast": fast, "batch_size": batch_size, "progress": progress}
    S = passes.over_passes(seen, samples, model, x, c, per_image=(background,), reduce="sum", **options)
    return S[0] if single else S


def erase_top(
    images: Tensor, maps: Tensor, fraction: float, *, boxes: int | None = None, fill: Fill = "black", seed: int = 0
) -> Tensor:
    """Erase the pixels where the map is highest: a network that needed them changes its answer.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: heatmaps (N, H, W) or (H, W).
        fraction: of the image to erase, 0 to 1.
        boxes: None erases single pixels; a number places that many square boxes over the highest areas, one after the
            other, which together cover at most ``fraction``.
        fill: what is put there; see `filling`.
        seed: of the noise.

    Returns:
        Images like ``images``.

    Raises:
        ValueError: if the maps do not belong to the images, or the fraction is out of range.

    Example:
        >>> erase_top(torch.ones(3, 1, 4), torch.tensor([[0.1, 0.9, 0.2, 0.8]]), 0.5)[0]
        tensor([[1., 0., 1., 0.]])
    """
    top, x = _top(images, maps, fraction, boxes)
    return torch.where(top, filling(x, fill, seed), x)


def keep_top(
    images: Tensor, maps: Tensor, fraction: float, *, boxes: int | None = None, fill: Fill = "black", seed: int = 0
) -> Tensor:
    """Keep only the pixels where the map is highest: a network that needs no others keeps its answer.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        maps: heatmaps (N, H, W) or (H, W).
        fraction: of the image to keep, 0 to 1.
        boxes: None keeps single pixels; a number keeps that many square boxes.
        fill: what is put elsewhere; see `filling`.
        seed: of the noise.

    Returns:
        Images like ``images``.

    Raises:
        ValueError: if the maps do not belong to the images, or the fraction is out of range.

    Example:
        >>> keep_top(torch.ones(3, 1, 4), torch.tensor([[0.1, 0.9, 0.2, 0.8]]), 0.5)[0]
        tensor([[0., 1., 0., 1.]])
    """
    top, x = _top(images, maps, fraction, boxes)
    return torch.where(top, x, filling(x, fill, seed))


def _top(images: Tensor, maps: Tensor, fraction: float, boxes: int | None) -> tuple[Tensor, Tensor]:
    """Where (N, 1, H, W) the maps are highest; and the checked images."""
    inputs.at_least("fraction", fraction, 0, 1)
    x, single = inputs.check_images(None, images)
    if not isinstance(maps, Tensor) or maps.shape != (*images.shape[:-3], *images.shape[-2:]):
        got = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(
            f"maps must be heatmaps (N, H, W) of the images {tuple(images.shape)}, got {got}: "
            "make them with size='image', and sum attributions over the colors"
        )
    maps = maps.detach().to(x).reshape(len(x), *x.shape[-2:]).nan_to_num()
    top = _top_pixels(maps, fraction) if boxes is None else _top_boxes(maps, fraction, boxes)
    return (top[0], x[0]) if single else (top, x)


def _top_pixels(maps: Tensor, fraction: float) -> Tensor:
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)[:, : round(fraction * maps[0].numel())]
    return torch.zeros_like(maps, dtype=torch.bool).flatten(1).scatter_(1, order, True).view_as(maps)[:, None]


def _top_boxes(maps: Tensor, fraction: float, boxes: int) -> Tensor:
    whole("boxes", boxes, 1)
    height, width = maps.shape[-2:]
    side = min(int((fraction * height * width / boxes) ** 0.5), height, width)
    top = torch.zeros_like(maps, dtype=torch.bool)
    for _ in range(boxes if side else 0):
        rest = torch.where(top, maps.amin(dim=(1, 2), keepdim=True), maps)  # a covered place attracts no second box
        best = F.avg_pool2d(rest[:, None], side, stride=1).flatten(1).argmax(dim=1)
        x0, y0 = best % (width - side + 1), best // (width - side + 1)
        top |= _inside(torch.stack([x0, y0, x0 + side, y0 + side], dim=1), height, width)
    return top[:, None]
