"""Run a network many times: batches, progress, cancellation, memory, precision and memory layout, for all methods.

Every method is written for a batch of images in the default memory layout; a network that can gets them in
channels_last, in which convolutions on a CPU are nearly twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core.inputs import Targets, check_images, check_scores, check_targets, whole
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.core.state import preserved

# Pixels of a batch: one that stays in a core's cache is fastest on a CPU; a GPU wants many images at once.
CPU_BATCH_PIXELS = 32 * 96 * 96
CUDA_BATCH_PIXELS = 64 * 224 * 224

# glibc gives large blocks back to the system, and every pass spends a fifth of its time on fresh pages. Once a block of
# this size has been allocated and freed, which costs nothing, it keeps up to twice as much for the next pass.
torch.empty(31 << 20, dtype=torch.uint8)

_default_layout: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # modules that refused channels_last


def logits(model: Any, x: Tensor) -> Tensor:
    """Run a network, or any callable from images to scores, in the memory layout that is fastest.

    A plain module that flattens its maps with ``view`` refuses channels_last; it is run in the default layout.

    Args:
        model: a network, or a callable from (N, 3, H, W) to scores (N, K), a tensor or a numpy array.
        x: (N, 3, H, W).

    Returns:
        Scores (N, K).

    Raises:
        ValueError: if the result is not one row of scores per image.
    """
    plain = isinstance(model, nn.Module) and not hasattr(model, "layout")  # a Classifier has found its layout itself
    if plain and model not in _default_layout:
        try:
            scores = model(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _default_layout[model] = True
            scores = model(x)
    else:
        scores = model(x)
    if isinstance(scores, np.ndarray):
        scores = torch.from_numpy(scores).to(x.device)
    scores = check_scores(scores, len(x))
    if scores.dtype == torch.bfloat16:  # of a fast pass: what follows is computed precisely
        return scores.float()
    return scores if scores.is_floating_point() else scores.to(x.dtype)


def score(scores: Tensor, targets: Tensor | None = None, output: str = "logit") -> Tensor:
    """The target's score for each image: Y^c, or its probability.

    Args:
        scores: logits (N, K).
        targets: (N,) class numbers; None stands for the class with the highest score.
        output: "logit" or "probability" (softmax).

    Returns:
        (N,).

    Raises:
        ValueError: if a class does not exist or the output is unknown.

    Example:
        >>> score(torch.tensor([[1.0, 3.0]]), torch.tensor([0]))
        tensor([1.])
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


def log_odds_against(scores: Tensor, targets: Tensor) -> Tensor:
    r"""The log-odds against each target, log((1 - p_c) / p_c): what an attack increases in place of the cross-entropy.

    $m = \log \sum_{k \ne c} e^{z_k} - z_c$, and the cross-entropy is $J = \log(1 + e^m)$: it grows with m, and its
    gradient is $1 - p_c$ times that of m. So both gradients have the same direction and the same signs. That of J is
    lost where the network is sure, because in float32 1 - p_c is rounded to a multiple of 6e-8; that of m is not. Where
    the images of a batch depend on each other, ``F.softplus`` of the result is J itself, computed without that loss.

    Args:
        scores: logits (N, K).
        targets: (N,) class numbers.

    Returns:
        (N,).

    Raises:
        ValueError: if a class does not exist.

    Example:
        >>> log_odds_against(torch.tensor([[2.0, 2.0, 30.0]]), torch.tensor([2]))
        tensor([-27.3069])
    """
    target_score = score(scores, targets)
    return scores.scatter(1, targets[:, None], -torch.inf).logsumexp(dim=1) - target_score


def predicted(model: Any, images: Tensor, targets: Tensor | None, batch_size: int | None = None) -> Tensor:
    """The targets, or where there are none the predicted classes (N,)."""
    if targets is not None:
        return targets

    def classes(x: Tensor, _: Tensor | None) -> Tensor:
        with torch.no_grad():
            return logits(model, x).argmax(dim=1)

    found: Tensor = over_images(classes, model, images, batch_size=batch_size)
    return found


def input_gradient(model: Any, x: Tensor, targets: Tensor | None = None) -> Tensor:
    """The gradient of the class score with respect to each pixel, dY^c/dx (N, 3, H, W)."""
    x = x.detach().requires_grad_()
    Y = score(logits(model, x), targets)
    gradient = torch.autograd.grad(Y.sum(), x, allow_unused=True)[0] if Y.requires_grad else None
    if gradient is None:
        raise ValueError("the scores have no gradient: use a method that needs none, such as occlusion.occlusion")
    return gradient


def default_batch_size(images: Tensor) -> int:
    """How many images of this size make a good batch on this device."""
    pixels = CUDA_BATCH_PIXELS if images.is_cuda else CPU_BATCH_PIXELS
    return max(4, min(1024, pixels // (images.shape[-1] * images.shape[-2])))


def knows_bfloat16(device: torch.device) -> bool:
    """Whether this machine has bfloat16 arithmetic; where it is emulated, it is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def fast_math(fast: bool, device: torch.device) -> AbstractContextManager[object]:
    """A context with bfloat16 arithmetic inside the network if ``fast``."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else nullcontext()


def in_batches(run: Callable[[int, int], None], total: int, batch_size: int) -> None:
    """Call ``run(start, stop)`` over 0 ... total; if the GPU's memory runs out, halve the batch and go on.

    Args:
        run: processes the items start ... stop - 1; called again with fewer if memory ran out.
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
        torch.cuda.empty_cache()  # only here is the failed pass's memory free: the exception held it


def over_images(
    function: Callable[[Tensor, Tensor | None], Any],
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Any:
    """Call ``function(x, c)`` for all images, batch by batch, with the network's state preserved and gradients enabled.

    Args:
        function: from images (B, 3, H, W) and class numbers (B,), or None for the predicted ones, to a tensor, or a
            tuple of tensors, with B rows.
        model: a network or a callable.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: see `check_targets`.
        batch_size: images at once; chosen from their size if not given.
        progress: True for a bar, a callback ``(done, total)`` or a `Reporter`; an exception in it cancels.

    Returns:
        The results, concatenated; without the batch axis for a single image.

    Example:
        >>> over_images(lambda x, c: x.mean(dim=(1, 2, 3)), None, torch.ones(2, 3, 4, 4))
        tensor([1., 1.])
    """
    x, single = check_images(model, images)
    c = check_targets(model, targets, x)
    results: list[Any] = []
    with torch.inference_mode(False), torch.enable_grad(), preserved(model), Meter(progress, len(x)) as meter:

        def run(start: int, stop: int) -> None:
            out = function(x[start:stop], None if c is None else c[start:stop])
            results.append(tuple(t.detach() for t in out) if isinstance(out, tuple) else out.detach())
            meter.add(stop - start)

        in_batches(run, len(x), _batch_size(batch_size, x))
    if isinstance(results[0], tuple):
        joined = tuple(torch.cat([r[i] for r in results]) for i in range(len(results[0])))
        return tuple(r[0] for r in joined) if single else joined
    everything = torch.cat(results) if len(results) > 1 else results[0]
    return everything[0] if single else everything


def over_passes(
    function: Callable[..., Tensor | tuple[Tensor, Tensor]],
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
    """Call ``function(x, c, k)`` for every image and every pass k = 0 ... passes - 1; a batch may span several images.

    Args:
        function: from images (B, 3, H, W), which it must not change in place, class numbers (B,), pass numbers (B,) and
            the rows of each tensor in ``per_image``, to a tensor with B rows; or to weights (B,) and maps to be summed.
        passes: the number of passes per image.
        model: a network or a callable.
        images: (N, 3, H, W), already through `check_images`.
        targets: (N,), already through `check_targets` and `predicted`.
        per_image: tensors with N rows, one for each image, such as a baseline or a mask.
        reduce: "stack" returns every pass, (N, passes, ...); "sum" adds them up, (N, ...).
        gradients: whether ``function`` needs autograd.
        fast: bfloat16 inside the network.
        batch_size: passes at once; chosen from the images' size if not given.
        progress: True for a bar, a callback ``(done, total)`` or a `Reporter`; an exception in it cancels.

    Returns:
        (N, passes, ...) or (N, ...).

    Example:
        >>> def brightness(x, c, k):
        ...     return x.mean(dim=(1, 2, 3)) * k
        >>> over_passes(brightness, 3, None, torch.ones(1, 3, 4, 4), torch.tensor([0]))
        tensor([[0., 1., 2.]])
    """
    n, total = len(images), len(images) * passes
    result: Tensor | None = None

    def run(start: int, stop: int) -> None:
        nonlocal result
        flat = torch.arange(start, stop, device=images.device)
        i, k = flat // passes, flat % passes
        first, last = start // passes, (stop - 1) // passes
        same = first == last  # one image: a view serves all its passes
        x, *others = (t[first].expand(stop - start, *t.shape[1:]) if same else t[i] for t in (images, *per_image))
        out = function(x, targets[i], k, *others)
        weights, out = out if isinstance(out, tuple) else (1, out.detach())
        if result is None:
            result = out.new_zeros((n, *out.shape[1:]) if reduce == "sum" else (n, passes, *out.shape[1:]))
        if reduce == "sum":
            each = ((i == torch.arange(first, last + 1, device=i.device)[:, None]) * weights).to(out)  # (images, B)
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
        return n * (3 if n >= 16 else 2) if fast else n  # bfloat16 halves the memory
    return whole("batch_size", batch_size, 1)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (N, h, w) to (N, H, W) bicubically: bilinear shows the grid of a small map as diamonds."""
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]
