"""What does a layer remember? Look for a picture that has the same code, or that excites one channel or class most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons import models
from xai_lessons.core import activations, inputs, passes
from xai_lessons.core.operations import ReluWatch
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.core.state import preserved


class Inversion(NamedTuple):
    """Pictures found by descent, (N, 3, H, W) or (3, H, W) in [0, 1], and their losses, (N, steps) or (steps,)."""

    images: Tensor
    losses: Tensor


def total_variation(images: Tensor, beta: float = 1.5) -> Tensor:
    """How restless a picture is: the mean over pixels of ((right - here)^2 + (below - here)^2)^(beta / 2).

    Args:
        images: (N, 3, H, W) or (3, H, W).
        beta: 1 allows sharp edges, 2 prefers soft ones.

    Returns:
        (N,), or () for a single picture.

    Source:
        Mahendran and Vedaldi 2014, Understanding deep image representations by inverting them, arXiv 1412.0035.
    Differs from the paper: the mean instead of the sum, so that its weight does not depend on the pictures' size.
    """
    here = images[..., :-1, :-1]
    right, below = images[..., :-1, 1:] - here, images[..., 1:, :-1] - here
    return (right**2 + below**2).clamp(min=1e-12).pow(beta / 2).mean(dim=(-3, -2, -1))  # no infinite slope at zero


def invert(
    model: nn.Module,
    images: Tensor,
    *,
    layer: str | nn.Module | None = None,
    mean: bool = False,
    steps: int = 200,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    tv: float = 2.0,
    jitter: int = 0,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Inversion:
    """Find, from noise, a picture whose code at a layer is that of a given one.

    Minimize over x: |Phi(x) - Phi_0|^2 / |Phi_0|^2 + tv * TV(x), where Phi is what the layer puts out, flattened, and
    Phi_0 the code of the picture, or the mean code of all pictures.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W) or (3, H, W) in [0, 1], whose codes are to be met.
        layer: name or module, spatial or flat; the last spatial one if not given.
        mean: one picture for the mean of all codes, instead of one for each.
        steps: of the descent.
        optimizer: "adam", "sgd" (with momentum) or "lbfgs".
        learning_rate: at the start; it falls to 0 along a cosine. 0.02 for Adam, 0.0005 for SGD, 1 for
            L-BFGS (where it does not fall) if not given.
        tv: weight of the total variation; 0 shows why it is needed.
        jitter: each step but the last quarter shifts the picture by up to so many pixels.
        seed: of the noise and the shifts.
        batch_size: pictures at once; L-BFGS takes them one by one.
        progress: True for a bar, or a callback ``(done, total)`` in steps; or a `Reporter`,
            whose ``intermediate`` is called with the pictures so far; an exception cancels.

    Returns:
        The pictures found, and their losses; without N for a single picture and for a mean.

    Raises:
        ValueError: if an option is out of range, or the layer does not exist or does not change with the picture.

    Source:
        Mahendran and Vedaldi 2014, Understanding deep image representations by inverting them, arXiv 1412.0035.
    Differs from the paper: Adam or L-BFGS besides SGD with momentum; pixels are kept in [0, 1], not merely pulled there
    by an alpha-norm.
    """
    _check_network(model)
    inputs.at_least("tv", tv, 0)
    x, single = inputs.check_images(model, images)
    with _working(model):
        code = _code_at(model, layer, x)
        with torch.no_grad():
            goal = torch.cat([code(part) for part in x.split(passes.default_batch_size(x))])
        goal = goal.mean(dim=0, keepdim=True) if mean else goal
        start = _noise(x.shape[1:], seed).to(x).expand(len(goal), -1, -1, -1)
    scale = goal.square().sum(dim=1).clamp(min=1e-12)

    def loss(x: Tensor, i: slice) -> Tensor:
        distance = (code(x) - goal[i]).square().sum(dim=1) / scale[i]
        return distance + tv * total_variation(x)

    found = _descend(model, loss, start, steps, optimizer, learning_rate, jitter, seed, batch_size, progress)
    return Inversion(found.images[0], found.losses[0]) if single or mean else found


def maximize(
    model: nn.Module,
    what: int | str | Sequence[int | str],
    *,
    layer: str | nn.Module | None = None,
    where: str = "everywhere",
    size: int | None = None,
    steps: int = 128,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    tv: float = 2.0,
    jitter: int = 4,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Inversion:
    """Find, from noise, the picture that excites a class, a channel or a single unit most.

    Minimize over x: -a(x) + tv * TV(x), where a is the logit of a class or, with a layer, the channel's activation
    before its ReLU: where a ReLU is shut it passes no gradient, and the picture would stay gray.

    Args:
        model: a network from pixels to logits.
        what: a class number or name; with ``layer``, the number of a channel; or several of either, a picture each.
        layer: name or module, spatial or flat; None for the classes.
        where: "everywhere" for the mean over the channel's map, "center" for its middle unit alone: the filter itself.
        size: side of the picture; the network's ``input_size``, or 96, if not given.
        steps: of the ascent.
        optimizer: "adam", "sgd" (with momentum) or "lbfgs".
        learning_rate: see `invert`.
        tv: weight of the total variation.
        jitter: each step but the last quarter shifts the picture by up to so many pixels.
        seed: of the noise and the shifts.
        batch_size: pictures at once; L-BFGS takes them one by one.
        progress: True for a bar, or a callback ``(done, total)`` in steps, or a `Reporter`; see `invert`.

    Returns:
        The pictures found, and their losses; without N for a single one.

    Raises:
        ValueError: if an option is out of range, or there is no such class, layer or channel.

    Source:
        Erhan et al. 2009, Visualizing higher-layer features of a deep network; Olah, Mordvintsev and Schubert 2017,
        Feature visualization, https://distill.pub/2017/feature-visualization.
    """
    _check_network(model)
    inputs.at_least("tv", tv, 0)
    if where not in ("everywhere", "center"):
        raise ValueError(f"where must be 'everywhere' or 'center', got {where!r}")
    device, dtype = inputs.device_of(model)
    side: Any = size or getattr(model, "input_size", 96)
    several = not isinstance(what, int | str)
    wanted = [what] if isinstance(what, int | str) else list(what)
    with _working(model):
        start = _noise((3, side, side), seed).to(device, dtype)[None]
        a, count = _activation_of(model, layer, where, start)
        classes = getattr(model, "classes", ()) if layer is None else ()
        numbers = [_channel(classes, one, count, layer) for one in wanted]
        index = torch.tensor(numbers, device=device)

    def loss(x: Tensor, i: slice) -> Tensor:
        return tv * total_variation(x) - a(x).gather(1, index[i, None])[:, 0]

    start = start.expand(len(index), -1, -1, -1)
    found = _descend(model, loss, start, steps, optimizer, learning_rate, jitter, seed, batch_size, progress)
    return found if several else Inversion(found.images[0], found.losses[0])


def layers(model: models.Classifier) -> tuple[str, ...]:
    """The layers whose codes are worth inverting: the first convolution alone, the spatial ones, the flat ones.

    Args:
        model: the network.

    Returns:
        Their names, in the order of the network.

    Example:
        >>> layers(models.load("menagerie-resnet"))
        ('stem.0', 'stem', 'stage1', 'stage2', 'stage3', 'pool', 'head')
    """
    first = next(name for name, module in model.network.named_modules() if isinstance(module, nn.Conv2d))
    return tuple(dict.fromkeys((first, *model.layers, *model.flat_layers)))


def code(model: models.Classifier, images: Tensor, layer: str) -> Tensor:
    r"""The code $\Phi(x)$ of images: a layer's output, flattened.

    Args:
        model: the network.
        images: (N, 3, H, W) in [0, 1].
        layer: its name.

    Returns:
        (N, D).

    Example:
        >>> code(models.load("menagerie-resnet"), torch.zeros(2, 3, 96, 96), "head").shape
        torch.Size([2, 10])
    """
    A, _ = activations.activations(model, [layer], images.to(model.device, model.dtype))
    return next(iter(A.values())).flatten(1).float()


def similarity(found: Tensor, image: Tensor, cell: int = 8) -> dict[str, float]:
    """How much of an image is in another, as correlations over square cells: 1 all of it, 0 nothing.

    Args:
        found: the image found from a code, (3, H, W).
        image: the image whose code it was, (3, H, W).
        cell: side of the cells, in pixels.

    Returns:
        The correlations of "color", the mean color without its lightness; "light", the mean lightness; and "place", the
        roughness of each cell, which says where the lines of a drawing are.

    Example:
        >>> image = torch.linspace(0, 1, 3 * 32 * 32).reshape(3, 32, 32) ** 2
        >>> round(similarity(image, image)["light"], 3)
        1.0
    """

    def cells(x: Tensor) -> dict[str, Tensor]:
        gray = x.mean(dim=0, keepdim=True)
        here = gray[:, :-1, :-1]
        slope = ((gray[:, :-1, 1:] - here) ** 2 + (gray[:, 1:, :-1] - here) ** 2).sqrt()
        parts = {"color": x - gray, "light": gray, "place": slope}
        means = {name: F.avg_pool2d(part, cell).flatten() for name, part in parts.items()}
        return {name: mean - mean.mean() for name, mean in means.items()}

    ours, theirs = cells(found), cells(image)
    return {name: float(F.cosine_similarity(ours[name], theirs[name], dim=0)) for name in ours}


def _check_network(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"inversion looks inside the network: it needs an nn.Module, got {type(model).__name__}")


@contextmanager
def _working(model: nn.Module) -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad(), preserved(model):
        yield


def _code_at(model: nn.Module, layer: str | nn.Module | None, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Phi: from pictures to what the layer puts out, flattened (N, D)."""
    name, module = activations.find_layer(model, layer, x)

    def code(x: Tensor) -> Tensor:
        kept, _ = activations.activations(model, [module], _fast_layout(x), gradient=torch.is_grad_enabled())
        if not kept:
            raise ValueError(f"layer {name!r} is never used: choose one that the picture passes through")
        (A,) = kept.values()
        return A.flatten(1)

    return code


def _activation_of(
    model: nn.Module, layer: str | nn.Module | None, where: str, x: Tensor
) -> tuple[Callable[[Tensor], Tensor], int]:
    """From pictures to the activations (N, C) that may be maximized, and how many there are."""

    def activation(x: Tensor) -> Tensor:
        A = passes.logits(model, x) if layer is None else _before_relu(model, module, x)
        if A.ndim == 4:
            return A.mean(dim=(2, 3)) if where == "everywhere" else A[:, :, A.shape[2] // 2, A.shape[3] // 2]
        return A.flatten(1)

    module = None if layer is None else activations.find_layer(model, layer, x)[1]
    with torch.no_grad():
        return activation, activation(x).shape[1]


def _before_relu(model: nn.Module, module: Any, x: Tensor) -> Tensor:
    """What a layer puts out or, if it ends in a ReLU, what that was given."""
    kept: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        kept.append(relu.before if output is relu.after and relu.before is not None else output)
        return output.clone()  # a later in-place ReLU must not reach what is kept

    with ReluWatch() as relu, activations.hooked(module, keep):
        model(_fast_layout(x))
    if not kept or not isinstance(kept[-1], Tensor):
        raise ValueError("this layer puts out no tensor for a picture: choose one that the picture passes through")
    return kept[-1]


def _channel(classes: Sequence[str], what: int | str, count: int, layer: Any) -> int:
    number = inputs.class_index(classes, what)
    if number >= count:
        place = "the network" if layer is None else f"layer {layer!r}" if isinstance(layer, str) else "this layer"
        raise ValueError(f"there is no channel {number}: {place} has 0 to {count - 1}")
    return number


def _fast_layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    """Soft gray noise: what is rough in the start is seen by deep layers only, and stays."""
    noise = 0.1 * torch.randn((1, *shape), generator=inputs.generator(seed), dtype=torch.float64)
    return 0.5 + F.avg_pool2d(noise, 5, stride=1, padding=2)[0]


_OPTIMIZERS = {"adam": 0.02, "sgd": 0.0005, "lbfgs": 1.0}  # and their usual learning rates


def _optimizer(name: str, x: Tensor) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam([x])
    if name == "sgd":
        return torch.optim.SGD([x], momentum=0.9)
    options: dict[str, Any] = {"line_search_fn": "strong_wolfe", "tolerance_grad": 0, "tolerance_change": 0}
    return torch.optim.LBFGS([x], max_iter=1, max_eval=25, history_size=20, **options)


def _descend(
    model: nn.Module,
    loss: Callable[[Tensor, slice], Tensor],
    start: Tensor,
    steps: int,
    optimizer: str,
    learning_rate: float | None,
    jitter: int,
    seed: int,
    batch_size: int | None,
    progress: Progress,
) -> Inversion:
    """Descend from ``start`` (N, 3, H, W) on ``loss(x, which)``, each picture on its own, and stay in [0, 1]."""
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be 'adam', 'sgd' or 'lbfgs', got {optimizer!r}")
    rate = _OPTIMIZERS[optimizer] if learning_rate is None else learning_rate
    inputs.at_least("learning_rate", rate, 0)
    inputs.at_least("steps", steps, 1)
    inputs.at_least("jitter", jitter, 0, min(start.shape[-2:]) // 2)
    shifts = torch.randint(-jitter, jitter + 1, (steps, 2), generator=inputs.generator(seed)).tolist()
    bounded = optimizer == "lbfgs"  # its line search cannot be clipped: it moves u, and the picture is sigmoid(u)
    values_a_picture = start[0].numel()

    def run(first: int, last: int) -> None:
        which = slice(first, last)
        u = start[which].clone(memory_format=torch.contiguous_format)  # L-BFGS needs plain strides
        u = (u.logit() if bounded else u).requires_grad_()
        descent = _optimizer(optimizer, u)
        meter.done = first * steps
        for t in range(steps):
            seen: list[Tensor] = []  # L-BFGS asks several times a step: first for the picture as it stands
            shift = shifts[t] if t < 0.75 * steps else (0, 0)

            def closure(shift: Sequence[int] = shift, seen: list[Tensor] = seen) -> Tensor:
                x = (u.sigmoid() if bounded else u).roll(tuple(shift), (2, 3))
                values = loss(x, which)
                whole = values.sum() * values_a_picture  # a mean over the picture has tiny slopes
                u.grad = torch.autograd.grad(whole, u)[0].contiguous()
                seen.append(values.detach())
                return whole.detach()

            descent.param_groups[0]["lr"] = rate if bounded else rate * (1 + math.cos(math.pi * t / steps)) / 2
            descent.step(closure)  # type: ignore[arg-type]
            losses[which, t] = seen[0]
            images[which] = u.detach().sigmoid() if bounded else u.detach().clamp_(0, 1)
            meter.add(last - first, images)

    with _working(model), Meter(progress, len(start) * steps) as meter:
        images, losses = start.clone(), start.new_zeros(len(start), steps)
        size = 1 if optimizer == "lbfgs" else batch_size or passes.default_batch_size(start)
        passes.in_batches(run, len(start), size)
    return Inversion(images, losses)
