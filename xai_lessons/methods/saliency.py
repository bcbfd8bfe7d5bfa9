"""The gradient family: how the class score changes with each pixel.

Attributions have the images' shape (N, 3, H, W) and a sign. `integrated_gradients` and `gradient_shap` are written in
`paths`, `lrp` and `deep_lift` in `relevance`, the rules of guided backpropagation and the deconvnet in `guided`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons.core import activations
from xai_lessons.core.inputs import Targets, at_least, check_images, check_targets, generator, whole, widest
from xai_lessons.core.passes import input_gradient, over_images, over_passes, predicted
from xai_lessons.core.progress import Progress
from xai_lessons.methods import cam
from xai_lessons.methods.guided import rule_gradient
from xai_lessons.methods.paths import gradient_shap, integrated_gradients
from xai_lessons.methods.relevance import deep_lift, lrp

__all__ = [
    "deconvnet", "deep_lift", "gradient", "gradient_shap", "gradient_x_input", "guided_backprop", "guided_grad_cam",
    "integrated_gradients", "layer_gradient_x_activation", "lrp", "neuron_gradient", "smooth_grad",
]  # fmt: skip


def gradient(
    model: Any, images: Tensor, targets: Targets = None, *, batch_size: int | None = None, progress: Progress = None
) -> Tensor:
    r"""Gradient (saliency map): how much the logit would change with each pixel.

    .. math:: \frac{\partial Y^c}{\partial x}

    Args:
        model: a network, or a differentiable callable from images to scores.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed: logit per unit of pixel.

    Raises:
        ValueError: if the scores have no gradient.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> gradient(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([3, 96, 96])

    Source: Simonyan et al., 2013, "Deep inside convolutional networks", arXiv 1312.6034.
    Differs from the paper: signed; the paper shows the largest absolute value of the three colors.
    """
    explain = partial(input_gradient, model)
    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def gradient_x_input(
    model: Any, images: Tensor, targets: Targets = None, *, batch_size: int | None = None, progress: Progress = None
) -> Tensor:
    r"""Gradient times input: what each pixel contributes if the network were linear.

    .. math:: x \odot \frac{\partial Y^c}{\partial x}

    For a network of ReLUs without biases it sums to the logit. x is in [0, 1]: a black pixel gets nothing.

    Args:
        model: a network, or a differentiable callable from images to scores.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed, in units of the logit.

    Raises:
        ValueError: if the scores have no gradient.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> gradient_x_input(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([3, 96, 96])

    Source: Shrikumar et al., 2016, "Not just a black box", arXiv 1605.01713.
    """

    def explain(x: Tensor, c: Tensor | None) -> Tensor:
        return x * input_gradient(model, x, c)

    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def guided_backprop(
    model: Any, images: Tensor, targets: Targets = None, *, batch_size: int | None = None, progress: Progress = None
) -> Tensor:
    r"""Guided backpropagation: a gradient of which only the positive part passes back through each ReLU.

    .. math:: R^l = [a^l > 0] \; [R^{l+1} > 0] \; R^{l+1}

    with a the ReLU's input and R the signal from above. It hardly depends on the class: see lesson 7.

    Args:
        model: a network, or a differentiable callable, that uses ReLU or ReLU6 only: as module, function, method, in
            place or reused.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed.

    Raises:
        ValueError: if the network uses another activation.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> guided_backprop(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([3, 96, 96])

    Source: Springenberg et al., 2014, "Striving for simplicity", arXiv 1412.6806.
    """
    explain = partial(rule_gradient, model, guided=True)
    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def deconvnet(
    model: Any, images: Tensor, targets: Targets = None, *, batch_size: int | None = None, progress: Progress = None
) -> Tensor:
    r"""Deconvnet: guided backpropagation that ignores whether a ReLU was active.

    .. math:: R^l = [R^{l+1} > 0] \; R^{l+1}

    Max-pooling passes the signal back to the place of the maximum ("switches").

    Args:
        model: a network, or a differentiable callable, that uses ReLU or ReLU6 only.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed.

    Raises:
        ValueError: if the network uses another activation.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> deconvnet(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([3, 96, 96])

    Source: Zeiler and Fergus, 2013, "Visualizing and understanding convolutional networks", arXiv 1311.2901.
    """
    explain = partial(rule_gradient, model, guided=False)
    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def smooth_grad(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    method: Callable[[Any, Tensor, Tensor], Tensor] = gradient,
    samples: int = 25,
    sigma: float = 0.04,
    kind: str = "mean",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""SmoothGrad: the mean, mean square or variance of an attribution over noisy copies of the image.

    .. math:: \tfrac1n \sum_k M(x + \epsilon_k), \qquad \tfrac1n \sum_k M(x + \epsilon_k)^2, \qquad
              \mathrm{Var}_k \, M(x + \epsilon_k), \qquad \epsilon_k \sim N(0, \sigma^2)

    Args:
        model: what ``method`` takes.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the class predicted without noise.
        method: any attribution ``method(model, images, targets)``; give it options with `functools.partial`.
        samples: n, the number of noisy copies; each image gets the same noise.
        sigma: standard deviation of the noise, in pixel units.
        kind: "mean" (SmoothGrad), "square" or "var" (VarGrad; divided by n).
        seed: of the noise.
        batch_size: noisy copies at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in noisy copies.

    Returns:
        What the method returns: attributions (N, 3, H, W) or heatmaps (N, H, W).

    Raises:
        ValueError: if an option is out of range.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> smooth_grad(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", samples=4).shape
        torch.Size([3, 96, 96])

    Source: Smilkov et al., 2017, "SmoothGrad", arXiv 1706.03825; squares: Hooker et al., 2018, arXiv 1806.10758;
    variance: Adebayo et al., 2018, arXiv 1810.03307.
    Differs from the paper: a noisy image is clamped to [0, 1].
    """
    whole("samples", samples, 1)
    at_least("sigma", sigma, 0)
    if kind not in ("mean", "square", "var"):
        raise ValueError(f"kind must be 'mean', 'square' or 'var', got {kind!r}")
    x, single = check_images(model, images)
    epsilon = torch.randn(samples, *x.shape[1:], generator=generator(seed)).to(x).mul_(sigma)
    c = predicted(model, x, check_targets(model, targets, x), batch_size)

    def explain(x: Tensor, c: Tensor, k: Tensor) -> Tensor:
        M = method(model, (x + epsilon[k]).clamp_(0, 1), c)
        if kind == "var":
            M = M.to(widest(M.device))
            return torch.stack([M, M**2], dim=1)  # their difference would drown in float32
        return M if kind == "mean" else M**2

    options: dict[str, Any] = {"reduce": "sum", "batch_size": batch_size, "progress": progress}
    mean = over_passes(explain, samples, model, x, c, **options) / samples
    if kind == "var":
        mean = (mean[:, 1] - mean[:, 0] ** 2).clamp(min=0).to(x.dtype)
    return mean[0] if single else mean


def guided_grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: cam.Layer = None,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Guided Grad-CAM: guided backpropagation times Grad-CAM, its detail where the class is.

    .. math:: R^{guided} \odot L^c_{Grad-CAM}

    Args:
        model: a network that uses ReLU or ReLU6 only.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: Grad-CAM's layer; by default the last spatial one.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed.

    Raises:
        ValueError: if the network uses another activation, or the layer's output is no map.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> guided_grad_cam(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([3, 96, 96])

    Source: Selvaraju et al., 2017, arXiv 1610.02391, section 3.2.
    Differs from the paper: Grad-CAM is resized bicubically.
    """

    def explain(x: Tensor, c: Tensor | None) -> Tensor:
        heatmaps = cam.grad_cam(model, x, c, layer=layer, batch_size=len(x))
        return rule_gradient(model, x, c, guided=True) * heatmaps[:, None]

    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def layer_gradient_x_activation(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: cam.Layer = None,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Gradient times activation of a layer: what each of its units contributes if the layers after it were linear.

    .. math:: A \odot \frac{\partial Y^c}{\partial A}

    Summed over the channels and rectified it is HiResCAM.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        A tensor of the layer's shape, (N, K, h, w) for maps, signed, in units of the logit.

    Raises:
        ValueError: if there is no such layer, or the score does not depend on it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> image = menagerie.draw("cat", seed=3).image
        >>> tuple(layer_gradient_x_activation(models.load("menagerie-resnet"), image, "cat").shape)
        (128, 12, 12)

    Source: Ancona et al., 2017, "Towards better understanding of gradient-based attribution methods", arXiv 1711.06104,
    with a layer in the place of the input.
    """

    def explain(x: Tensor, c: Tensor | None) -> Tensor:
        A, dY_dA, _ = activations.activation_and_gradient(model, layer, x, c)
        return A * dY_dA

    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def neuron_gradient(
    model: nn.Module,
    images: Tensor,
    neuron: int | tuple[int, int, int],
    *,
    layer: cam.Layer = None,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Gradient of one neuron: how much it would change with each pixel.

    .. math:: \frac{\partial A_{kij}}{\partial x} \qquad\text{or}\qquad \frac{\partial}{\partial x} \sum_{ij} A_{kij}

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        neuron: the channel k, summed over all places, or one place as (k, i, j): channel, row and column of the map.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Attributions (N, 3, H, W), signed: activation per unit of pixel.

    Raises:
        ValueError: if there is no such layer or neuron.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> neuron_gradient(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, (5, 6, 6)).shape
        torch.Size([3, 96, 96])

    Source: Simonyan et al., 2013, arXiv 1312.6034, with a neuron in the place of the class.
    """
    place = [whole("neuron", index) for index in (neuron if isinstance(neuron, list | tuple) else [neuron])]

    def explain(x: Tensor, _: Tensor | None) -> Tensor:
        x = x.detach().requires_grad_()
        name, A = activations.activations(model, [layer], x, gradient=True)[0].popitem()
        if len(place) not in (1, A.ndim - 1) or not all(0 <= p < n for p, n in zip(place, A.shape[1:], strict=False)):
            raise ValueError(f"layer {name!r} has the shape {tuple(A.shape[1:])} per image and no neuron {neuron}")
        for p in place:
            A = A.select(1, p)
        return torch.autograd.grad(A.sum(), x)[0]

    return over_images(explain, model, images, batch_size=batch_size, progress=progress)
