"""The one loop over many passes: checks, batches, progress, cancelling, running out of memory, dtype and layout.

Every method is written for a batch; the functions here see to the rest, once and for all methods. Pictures stay in the
default layout, in which one can compute with them fastest; a network gets them in channels last, in which convolutions
on a CPU are nearly twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core.inputs import Targets, check_images, check_scores, check_targets, whole
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.core.state import preserved

# A batch that stays in a core's cache is fastest on a CPU; a GPU wants many pictures at once. In pixels of a picture.
CPU_BATCH_PIXELS = 32 * 96 * 96
CUDA_BATCH_PIXELS = 64 * 224 * 224

# glibc gives large blocks back to the system, and every pass pays a fifth of its time for fresh pages. Once a block of
# this size has come and gone, which costs nothing, it keeps up to twice as much for the next pass.
torch.empty(31 << 20, dtype=torch.uint8)


def logits(model: Any, x: Tensor) -> Tensor:
    """Ask a network, or any callable from pictures to scores, in the layout that is fastest.

    Args:
        model: a network, or a callable from (N, 3, H, W) to scores (N, K); a numpy array may come back.
        x: (N, 3, H, W).

    Returns:
        Scores (N, K).

    Raises:
        ValueError: if what comes back is not one row of scores a picture.
    """
    if isinstance(model, nn.Module) and not hasattr(model, "layout"):  # a Classifier does so after normalizing
        x = x.contiguous(memory_format=torch.channels_last)
    scores = model(x)
    if isinstance(scores, np.ndarray):
        scores = torch.from_numpy(scores).to(x.device)
    scores = check_scores(scores, len(x))
    return scores if scores.is_floating_point() else scores.to(x.dtype)


def score(scores: Tensor, targets: Tensor | None = None, output: str = "logit") -> Tensor:
    """The target's score of each picture: Y^c, or its probability.

    Args:
        scores: logits (N, K).
        targets: (N,) class numbers; None stands for the class with the highest score.
        output: "logit" or "probability" (softmax).

    Returns:
        (N,).

    Raises:
        ValueError: if a class does not exist or the output is unknown.
    """
    if output not in ("logit", "probability"):
        raise ValueError(f"output must be 'logit' or 'probability', got {output!r}")
    if output == "probability":
        scores = scores.softmax(dim=1)
    if targets is None:
        targets = scores.detach().argmax(dim=1)
    if int(targets.max()) >= scores.shape[1]:
        raise ValueError(f"there is no class {int(targets.max())}: this network has classes 0 to {scores.shape[1] - 1}")
    return scores.gather(1, targets[:, None])[:, 0]


def predicted(model: Any, images: Tensor, targets: Tensor | None, batch_size: int | None = None) -> Tensor:
    """The targets, or where there are none the predicted classes (N,)."""
    if targets is not None:
        return targets
    found: list[Tensor] = []

    def run(start: int, stop: int) -> None:
        found.append(logits(model, images[start:stop]).argmax(dim=1))

    with torch.inference_mode(False), torch.no_grad(), preserved(model):
        in_batches(run, len(images), _batch_size(batch_size, images))
        return torch.cat(found)


def input_gradient(model: Any, x: Tensor, targets: Tensor | None = None) -> Tensor:
    """How the class score changes with each pixel, dY^c/dx (N, 3, H, W): no gradient of a weight is computed."""
    x = x.detach().requires_grad_()
    Y = score(logits(model, x), targets)
    gradient = torch.autograd.grad(Y.sum(), x, allow_unused=True)[0] if Y.requires_grad else None
    if gradient is None:
        raise ValueError("the scores have no gradient to the pictures: use one that needs none, as occlusion.occlusion")
    return gradient


def default_batch_size(images: Tensor) -> int:
    """How many pictures of this size to send at once on this device."""
    pixels = CUDA_BATCH_PIXELS if images.is_cuda else CPU_BATCH_PIXELS
    return max(4, min(1024, pixels // (images.shape[-1] * images.shape[-2])))


def knows_bfloat16(device: torch.device) -> bool:
    """Whether this machine computes in bfloat16 by itself; where it only imitates it, it is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def fast_math(fast: bool, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 arithmetic inside the network where ``fast`` asks for it."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else nullcontext()


def in_batches(run: Callable[[int, int], None], total: int, batch_size: int) -> None:
    """Call ``run(start, stop)`` over 0 ... total; where the GPU's memory runs out, halve the batch and go on.

    Args:
        run: does the work of the items start ... stop - 1; called again with fewer if memory ran out.
        total: the number of items.
        batch_size: how many at once, to begin with.
    """
    start = 0
    while start < total:
        stop = min(start + batch_size, total)
        try:
            run(start, stop)
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
            batch_size = (stop - start) // 2
        else:
            start = stop
            continue
        torch.cuda.empty_cache()  # only out here is the failed pass's memory given up: the exception held it


def over_images(
    of: Callable[[Tensor, Tensor | None], Any],
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Any:
    """Do ``of(x, c)`` for all pictures, batch by batch, with the network's state preserved and gradients allowed.

    Args:
        of: from pictures (B, 3, H, W) and class numbers (B,), or None for the predicted ones, to a tensor, or a tuple
            of tensors, with B rows.
        model: a network or a callable.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: see `check_targets`.
        batch_size: pictures at once; chosen from their size if not given.
        progress: True for a bar, or a callback ``(done, total)``; one that raises cancels.

    Returns:
        What ``of`` returned, joined; without the batch axis for a single picture.
    """
    x, single = check_images(model, images)
    c = check_targets(model, targets, x)
    results: list[Any] = []
    with torch.inference_mode(False), torch.enable_grad(), preserved(model), Meter(progress, len(x)) as meter:

        def run(start: int, stop: int) -> None:
            out = of(x[start:stop], None if c is None else c[start:stop])
            results.append(tuple(t.detach() for t in out) if isinstance(out, tuple) else out.detach())
            meter.add(stop - start)

        in_batches(run, len(x), _batch_size(batch_size, x))
    if isinstance(results[0], tuple):
        joined = tuple(torch.cat([r[i] for r in results]) for i in range(len(results[0])))
        return tuple(r[0] for r in joined) if single else joined
    everything = torch.cat(results) if len(results) > 1 else results[0]
    return everything[0] if single else everything


def over_passes(
    of: Callable[..., Tensor | tuple[Tensor, Tensor]],
    passes: int,
    model: Any,
    images: Tensor,
    targets: Tensor,
    *,
    per_image: Sequence[Tensor] = (),
    reduce: str = "stack",
    gradients: bool = False,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """Do ``of(x, c, k)`` for every picture and every pass k = 0 ... passes - 1, filling the batches across pictures.

    Args:
        of: from pictures (B, 3, H, W), which it must not change in place, class numbers (B,) and pass numbers (B,), and
            the rows of each tensor in ``per_image``, to a tensor with B rows; or to weights (B,) and maps to be summed.
        passes: how many passes a picture.
        model: a network or a callable.
        images: (N, 3, H, W), already through `check_images`.
        targets: (N,), already through `check_targets` and `predicted`.
        per_image: tensors with N rows, one for each image, such as a baseline or a mask.
        reduce: "stack" returns every pass, (N, passes, ...); "sum" adds them up, (N, ...).
        gradients: whether ``of`` needs autograd.
        fast: bfloat16 inside the network.
        batch_size: passes at once; chosen from the pictures' size if not given.
        progress: True for a bar, or a callback ``(done, total)``; or a `Reporter`.

    Returns:
        (N, passes, ...) or (N, ...).
    """
    n, total = len(images), len(images) * passes
    result: Tensor | None = None

    def run(start: int, stop: int) -> None:
        nonlocal result
        flat = torch.arange(start, stop, device=images.device)
        i, k = flat // passes, flat % passes
        first, last = start // passes, (stop - 1) // passes
        same = first == last  # one picture: a view serves all its passes
        x, *others = (t[first].expand(stop - start, *t.shape[1:]) if same else t[i] for t in (images, *per_image))
        out = of(x, targets[i], k, *others)
        weights, out = out if isinstance(out, tuple) else (1, out.detach())
        if result is None:
            result = out.new_zeros((n, *out.shape[1:]) if reduce == "sum" else (n, passes, *out.shape[1:]))
        if reduce == "sum":
            each = ((i == torch.arange(first, last + 1, device=i.device)[:, None]) * weights).to(out)  # (pictures, B)
            with torch.autocast(out.device.type, enabled=False):
                sums = (each @ out.reshape(len(k), -1)).view(-1, *out.shape[1:])
            result[first : last + 1] += sums  # all at once: nothing is counted twice if memory runs out before
        else:
            result[i, k] = out
        meter.add(stop - start, result)

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(preserved(model))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(fast_math(fast, images.device))
        meter = stack.enter_context(Meter(progress, total))
        in_batches(run, total, _batch_size(batch_size, images, fast))
    assert result is not None
    return result


def _batch_size(batch_size: int | None, images: Tensor, fast: bool = False) -> int:
    if batch_size is None:
        n = default_batch_size(images)
        return n * (3 if n >= 16 else 2) if fast else n  # bfloat16 pays from larger batches on, if the cache holds them
    return whole("batch_size", batch_size, 1)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (N, h, w) to (N, H, W), bicubically: bilinear shows the grid of a small map as diamonds."""
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]
