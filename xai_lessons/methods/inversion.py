"""Feature inversion and activation maximization: find an image of a given code or for a channel."""

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
    """Images found by descent, (N, 3, H, W) or (3, H, W) in [0, 1], and their losses, (N, steps) or (steps,)."""

    images: Tensor
    losses: Tensor


def total_variation(images: Tensor, beta: float = 1.5) -> Tensor:
    r"""Total variation: how much neighboring pixels differ.

    .. math:: TV(x) = \mathrm{mean}_{ij} \left( (x_{i,j+1} - x_{ij})^2 + (x_{i+1,j} - x_{ij})^2 \right)^{\beta / 2}

    Args:
        images: (N, 3, H, W) or (3, H, W).
        beta: 1 allows sharp edges, 2 prefers soft ones.

    Returns:
        (N,), or () for a single image.

    Example:
        >>> round(total_variation(torch.linspace(0, 1, 11).expand(3, 11, 11), beta=2).item(), 6)  # steps of 0.1
        0.01

    Source:
        Mahendran and Vedaldi, 2014, "Understanding deep image representations by inverting them", arXiv 1412.0035.

    Differs from the paper:
        the mean instead of the sum, so that its weight does not depend on the size of the images.
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
    parametrization: str = "pixels",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Inversion:
    r"""Feature inversion: find, from noise, an image whose code at a layer is that of a given image.

    .. math:: \min_x \; \frac{\|\Phi(x) - \Phi_0\|^2}{\|\Phi_0\|^2} + \lambda \, TV(x)

    with the flattened output of the layer Phi, and Phi_0 the code of the image, or the mean code of all images.

    Args:
        model: a network (`nn.Module`).
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1], that give the codes.
        layer: name or module, spatial or flat; by default the last spatial one.
        mean: find one image for the mean of all codes, instead of one image per code.
        steps: of the descent.
        optimizer: "adam", "sgd" (with momentum) or "lbfgs".
        learning_rate: by default 0.02 for Adam (0.03 for waves), 0.0005 for SGD, falling to 0 along a cosine, and 1 for
            L-BFGS.
        tv: the weight lambda of the total variation.
        jitter: shift the image by up to this many pixels in each step but those of the last quarter.
        parametrization: what the descent moves: "pixels", or "fourier" for the amplitudes of waves in decorrelated
            colors, see `fourier_image`.
        seed: of the noise and the shifts.
        batch_size: images at once; L-BFGS takes them one by one.
        progress: True, a callback ``(done, total)`` in steps, or a `Reporter`, which gets the images found so far.

    Returns:
        The images found and their losses; without N for a single image and for a mean.

    Raises:
        TypeError: if the model is not a network.
        ValueError: if an option is out of range, or the layer does not exist or is not used.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> found = invert(model, image, layer="stem", steps=2)
        >>> found.images.shape, found.losses.shape
        (torch.Size([3, 96, 96]), torch.Size([2]))

    Source:
        Mahendran and Vedaldi, 2014, "Understanding deep image representations by inverting them", arXiv 1412.0035; for
        "fourier" Olah, Mordvintsev and Schubert, 2017, "Feature visualization", doi:10.23915/distill.00007.

    Differs from the paper:
        Adam and L-BFGS besides SGD with momentum; pixels are kept in [0, 1] instead of pulled there by an alpha-norm.
    """
    inputs.check_network("inversion", model)
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

    found = _descend(
        model, loss, start, steps, optimizer, learning_rate, jitter, parametrization, seed, batch_size, progress
    )
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
    parametrization: str = "pixels",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Inversion:
    r"""Activation maximization: find, from noise, the image that excites a class, a channel or a unit most.

    .. math:: \max_x \; a(x) - \lambda \, TV(x)

    with the logit a of a class or, with a layer, a channel's activation before its ReLU: behind it, a unit that is off
    has no gradient, and the image stays gray.

    Args:
        model: a network (`nn.Module`).
        what: a class number or name; with ``layer``, the number of a channel; or a list, for one image each.
        layer: name or module, spatial or flat; None for the classes.
        where: "everywhere" for the mean over the channel's map, "center" for its middle unit alone.
        size: side of the image in pixels; by default the network's ``input_size``, or 96.
        steps: of the ascent.
        optimizer: "adam", "sgd" (with momentum) or "lbfgs".
        learning_rate: see `invert`.
        tv: the weight lambda of the total variation.
        jitter: shift the image by up to this many pixels in each step but those of the last quarter.
        parametrization: "pixels" or "fourier", see `invert`.
        seed: of the noise and the shifts.
        batch_size: images at once; L-BFGS takes them one by one.
        progress: True, a callback ``(done, total)`` in steps, or a `Reporter`, which gets the images found so far.

    Returns:
        The images found and their losses, the negative of what is maximized; without N for a single one.

    Raises:
        TypeError: if the model is not a network.
        ValueError: if an option is out of range, or there is no such class, layer or channel.

    Example:
        >>> from xai_lessons import models
        >>> found = maximize(models.load("menagerie-resnet"), [0, 1], layer="stem", steps=2)
        >>> found.images.shape, found.losses.shape
        (torch.Size([2, 3, 96, 96]), torch.Size([2, 2]))

    Source:
        Erhan et al., 2009, "Visualizing higher-layer features of a deep network"; Olah, Mordvintsev and Schubert, 2017,
        "Feature visualization", doi:10.23915/distill.00007.
    """
    inputs.check_network("inversion", model)
    inputs.at_least("tv", tv, 0)
    if where not in ("everywhere", "center"):
        raise ValueError(f"where must be 'everywhere' or 'center', got {where!r}")
    device, dtype = inputs.device_of(model)
    side = inputs.whole("size", getattr(model, "input_size", 96) if size is None else size, 1)
    several = not isinstance(what, int | str)
    wanted = [what] if isinstance(what, int | str) else list(what)
    with _working(model):
        start = _noise((3, side, side), seed).to(device, dtype)[None]
        a, count = _activation_of(model, layer, where, start)
        classes = getattr(model, "classes", ()) if layer is None else ()
        numbers = [inputs.class_index(classes, one) for one in wanted]
        if max(numbers) >= count:
            place = "the network" if layer is None else f"layer {layer!r}" if isinstance(layer, str) else "this layer"
            raise ValueError(f"there is no channel {max(numbers)}: {place} has 0 to {count - 1}")
        index = torch.tensor(numbers, device=device)

    def loss(x: Tensor, i: slice) -> Tensor:
        return tv * total_variation(x) - a(x).gather(1, index[i, None])[:, 0]

    start = start.expand(len(index), -1, -1, -1)
    found = _descend(
        model, loss, start, steps, optimizer, learning_rate, jitter, parametrization, seed, batch_size, progress
    )
    return found if several else Inversion(found.images[0], found.losses[0])


def fourier_image(u: Tensor, width: int) -> Tensor:
    r"""The image of the amplitudes of waves: smooth waves count more than fine ones, and colors are decorrelated.

    .. math:: x = \sigma\left( C \, \mathcal{F}^{-1}(u / f) \right)

    with the inverse Fourier transform, the frequency f in cycles per pixel (for the mean at least that of the longest
    wave), and a matrix C that mixes three independent channels to colors as they occur in photographs: mostly light and
    dark, less blue and yellow, least green and red. A step of the same size in all u is then a large step in light over
    the whole image, and a small one in each pixel on its own.

    Args:
        u: real and imaginary parts, (N, 3, H, W // 2 + 1, 2).
        width: W, which u does not say.

    Returns:
        (N, 3, H, W) in (0, 1).

    Example:
        >>> fourier_image(torch.zeros(1, 3, 8, 5, 2), width=8).unique()
        tensor([0.5000])

    Source:
        Olah, Mordvintsev and Schubert, 2017, "Feature visualization", doi:10.23915/distill.00007.
    """
    height = u.shape[2]
    waves = torch.view_as_complex(u) / _frequencies(height, width).to(u)
    channels = torch.fft.irfft2(waves, s=(height, width), norm="ortho")
    return torch.einsum("ij,njhw->nihw", _color_mixer().to(u), channels).sigmoid()


def fourier_amplitudes(images: Tensor) -> Tensor:
    """The u of images (N, 3, H, W) in (0, 1): the inverse of `fourier_image`.

    Args:
        images: (N, 3, H, W); 0 and 1 themselves are moved inwards by 0.0001.

    Returns:
        (N, 3, H, W // 2 + 1, 2).

    Example:
        >>> image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(fourier_image(fourier_amplitudes(image), width=8), image, atol=1e-3)
        True
    """
    channels = torch.einsum("ij,njhw->nihw", _color_mixer().inverse().to(images), images.logit(eps=1e-4))
    waves = torch.fft.rfft2(channels, norm="ortho")
    return torch.view_as_real(waves * _frequencies(*images.shape[-2:]).to(images))


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


@contextmanager
def _working(model: nn.Module) -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad(), preserved(model):
        yield


def _code_at(model: nn.Module, layer: str | nn.Module | None, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Phi: from images to the flattened output of the layer (N, D)."""
    module = activations.find_layer(model, layer, x)[1]

    def code(x: Tensor) -> Tensor:
        kept, _ = activations.activations(model, [module], x, gradient=torch.is_grad_enabled())
        return kept.popitem()[1].flatten(1)

    return code


def _activation_of(
    model: nn.Module, layer: str | nn.Module | None, where: str, x: Tensor
) -> tuple[Callable[[Tensor], Tensor], int]:
    """From images to the activations (N, C) that may be maximized, and how many there are."""
    module = None if layer is None else activations.find_layer(model, layer, x)[1]

    def activation(x: Tensor) -> Tensor:
        A = passes.logits(model, x) if module is None else _before_relu(model, module, x)
        if A.ndim == 4:
            return A.mean(dim=(2, 3)) if where == "everywhere" else A[:, :, A.shape[2] // 2, A.shape[3] // 2]
        return A.flatten(1)

    with torch.no_grad():
        return activation, activation(x).shape[1]


def _before_relu(model: nn.Module, module: nn.Module, x: Tensor) -> Tensor:
    """The output of a layer or, if it ends in a ReLU, the input of that ReLU."""
    kept: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        kept.append(watch.before if output is watch.after and watch.before is not None else output)
        return output.clone()  # a later in-place ReLU must not reach what is kept

    with ReluWatch() as watch, activations.hooked(module, keep):
        passes.logits(model, x)
    if not kept or not isinstance(kept[-1], Tensor):
        raise ValueError("this layer gives no tensor for an image: choose one that the image passes through")
    return kept[-1]


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    """Soft gray noise: what is rough in the start would stay, where the layer hardly responds to it."""
    noise = 0.1 * torch.randn((1, *shape), generator=inputs.generator(seed), dtype=torch.float64)
    return 0.5 + F.avg_pool2d(noise, 5, stride=1, padding=2)[0]


def _frequencies(height: int, width: int) -> Tensor:
    """The frequency of each wave of a real Fourier transform, in cycles per pixel (H, W // 2 + 1)."""
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64)
    return (down**2 + across**2).sqrt().clamp(min=1 / max(height, width))


def _color_mixer() -> Tensor:
    """The square root of the covariance of the colors in ImageNet, from the code of Olah et al., largest column 1."""
    root = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
    return root / root.norm(dim=0).max()


_OPTIMIZERS = ("adam", "sgd", "lbfgs")
_LEARNING_RATES = {
    "pixels": {"adam": 0.02, "sgd": 0.0005, "lbfgs": 1.0},
    "fourier": {"adam": 0.03, "sgd": 0.0005, "lbfgs": 1.0},
}


def _optimizer(name: str, x: Tensor) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam([x])
    if name == "sgd":
        return torch.optim.SGD([x], momentum=0.9)
    options: dict[str, Any] = {"line_search_fn": "strong_wolfe", "tolerance_grad": 0, "tolerance_change": 0}
    return torch.optim.LBFGS([x], max_iter=1, max_eval=25, history_size=20, **options)


def _parameters(
    parametrization: str, optimizer: str, side: int
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From images to what is moved, and back."""
    if parametrization == "fourier":
        return fourier_amplitudes, lambda u: fourier_image(u, side)
    if parametrization != "pixels":
        raise ValueError(f"parametrization must be 'pixels' or 'fourier', got {parametrization!r}")
    if optimizer == "lbfgs":  # its line search cannot be clipped to [0, 1]
        return torch.logit, torch.sigmoid
    return torch.clone, lambda u: u


def _descend(
    model: nn.Module,
    loss: Callable[[Tensor, slice], Tensor],
    start: Tensor,
    steps: int,
    optimizer: str,
    learning_rate: float | None,
    jitter: int,
    parametrization: str,
    seed: int,
    batch_size: int | None,
    progress: Progress,
) -> Inversion:
    """Descend from ``start`` (N, 3, H, W) on ``loss(x, which)``, each image on its own, and stay in [0, 1]."""
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be 'adam', 'sgd' or 'lbfgs', got {optimizer!r}")
    to_parameters, to_images = _parameters(parametrization, optimizer, start.shape[-1])
    clipped = parametrization == "pixels" and optimizer != "lbfgs"
    rate = _LEARNING_RATES[parametrization][optimizer] if learning_rate is None else learning_rate
    inputs.at_least("learning_rate", rate, 0)
    steps, jitter = inputs.whole("steps", steps, 1), inputs.whole("jitter", jitter, 0, min(start.shape[-2:]) // 2)
    shifts = torch.randint(-jitter, jitter + 1, (steps, 2), generator=inputs.generator(seed)).tolist()
    values_per_image = start[0].numel()

    def run(first: int, last: int) -> None:
        which = slice(first, last)
        u = to_parameters(start[which].contiguous()).requires_grad_()  # L-BFGS needs plain strides
        descent = _optimizer(optimizer, u)
        meter.done = first * steps
        for t in range(steps):
            seen: list[Tensor] = []  # L-BFGS evaluates several times a step, first the image as it is
            shift = shifts[t] if t < 0.75 * steps else (0, 0)

            def closure(shift: Sequence[int] = shift, seen: list[Tensor] = seen) -> Tensor:
                x = to_images(u).roll(tuple(shift), (2, 3))
                values = loss(x, which)
                total = values.sum() * values_per_image  # a mean over the image has tiny gradients
                u.grad = torch.autograd.grad(total, u)[0].contiguous()
                seen.append(values.detach())
                return total.detach()

            decay = 1 if optimizer == "lbfgs" else (1 + math.cos(math.pi * t / steps)) / 2
            descent.param_groups[0]["lr"] = rate * decay
            descent.step(closure)  # type: ignore[arg-type]
            losses[which, t] = seen[0]
            if clipped:
                u.detach().clamp_(0, 1)
            images[which] = to_images(u.detach())
            meter.add(last - first, images)

    with _working(model), Meter(progress, len(start) * steps) as meter:
        images, losses = start.clone(), start.new_zeros(len(start), steps)
        size = 1 if optimizer == "lbfgs" else batch_size or passes.default_batch_size(start)
        passes.in_batches(run, len(start), size)
    return Inversion(images, losses)
