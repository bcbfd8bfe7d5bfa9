"""Attributions along a path: what each pixel contributes between a baseline and the image.

A plain gradient says what a tiny change would do; where the network is saturated that is nothing. These methods add up
the gradients on the way from a baseline to the image, so that the attributions sum to the change of the score.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core.inputs import Targets, at_least, check_images, check_targets, generator, whole
from xai_lessons.core.passes import input_gradient, over_passes, predicted
from xai_lessons.core.progress import Progress

Baseline = float | str | Tensor


def baseline_pictures(baseline: Baseline, x: Tensor) -> Tensor:
    """The images that stand for "nothing to see".

    Args:
        baseline: a gray level in [0, 1] (0 is black); "mean", each image's mean color; "blur", each image without
            everything finer than a sixteenth of it; or images of the same size (3, H, W) or (N, 3, H, W).
        x: the images (N, 3, H, W).

    Returns:
        (N, 3, H, W).

    Raises:
        ValueError: if it is none of these.
        TypeError: if it is neither a number, a name nor a tensor.

    Example:
        >>> float(baseline_pictures(0.5, torch.zeros(1, 3, 4, 4)).mean())
        0.5
    """
    if isinstance(baseline, Tensor) and baseline.ndim:
        if baseline.shape[-3:] != x.shape[1:] or baseline.shape[:-3] not in ((), (1,), x.shape[:1]):
            raise ValueError(f"baseline must have the images' shape {tuple(x.shape)}, got {tuple(baseline.shape)}")
        return check_images(None, baseline)[0].to(x).expand_as(x)
    if isinstance(baseline, str):
        if baseline == "mean":
            return x.mean(dim=(2, 3), keepdim=True).expand_as(x)
        if baseline == "blur":
            coarse = F.adaptive_avg_pool2d(x, (min(16, x.shape[2]), min(16, x.shape[3])))
            return F.interpolate(F.avg_pool2d(coarse, 2, ceil_mode=True), x.shape[2:], mode="bilinear")
        raise ValueError(f"baseline must be a number, 'mean', 'blur' or images, got {baseline!r}")
    level = baseline.item() if isinstance(baseline, Tensor) else baseline
    at_least("baseline", level, 0, 1)
    return torch.full_like(x, float(level))


def integrated_gradients(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    steps: int = 32,
    baseline: Baseline = 0.0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Integrated gradients: the sum of the gradients on the straight line from a baseline to the image.

    .. math:: \phi = (x - x') \odot \int_0^1 \nabla Y^c\big(x' + \alpha (x - x')\big) \, d\alpha
              \approx (x - x') \odot \tfrac1m \sum_{k=1}^m \nabla Y^c\big(x' + \tfrac{k - 1/2}{m} (x - x')\big)

    Completeness: the attributions of an image sum to Y(x) - Y(x'), up to an error that falls with the steps.

    Args:
        model: a network, or a differentiable callable from images to scores.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        steps: m, the number of gradients on the way.
        baseline: x': a gray level (0 is black), "mean", "blur" or images; see `baseline_pictures`.
        batch_size: gradients at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in gradients.

    Returns:
        Attributions (N, 3, H, W), signed, in units of the logit.

    Raises:
        ValueError: if the baseline does not fit, or the scores have no gradient.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> image = menagerie.draw("cat", seed=3).image
        >>> tuple(integrated_gradients(models.load("menagerie-resnet"), image, "cat", steps=4).shape)
        (3, 96, 96)

    Source: Sundararajan et al., 2017, "Axiomatic attribution for deep networks", arXiv 1703.01365.
    Differs from the paper: the midpoint of each step, not its end, so the error falls with the square of the steps
    wherever the gradient is smooth.
    """
    whole("steps", steps, 1)
    x, single = check_images(model, images)
    b = baseline_pictures(baseline, x)
    c = predicted(model, x, check_targets(model, targets, x), batch_size)
    alpha = (torch.arange(steps, device=x.device, dtype=x.dtype) + 0.5) / steps

    def step(x: Tensor, c: Tensor, k: Tensor, b: Tensor) -> Tensor:
        return input_gradient(model, torch.lerp(b, x, alpha[k].view(-1, 1, 1, 1)), c)

    options: dict[str, Any] = {"gradients": True, "batch_size": batch_size, "progress": progress}
    phi = (x - b) * over_passes(step, steps, model, x, c, per_image=(b,), reduce="sum", **options) / steps
    return phi[0] if single else phi


def gradient_shap(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    samples: int = 32,
    baseline: Baseline = 0.0,
    sigma: float = 0.0,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Gradient SHAP (expected gradients): integrated gradients over many baselines, each sampled at one place.

    .. math:: \phi = \mathbb E_{x', \alpha, \epsilon} \big[ (x + \epsilon - x') \odot
              \nabla Y^c\big(x' + \alpha (x + \epsilon - x')\big) \big], \qquad \epsilon \sim N(0, \sigma^2)

    On average the attributions sum to Y(x) minus the mean score of the baselines.

    Args:
        model: a network, or a differentiable callable from images to scores.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        samples: the number of gradients.
        baseline: where to start: images (M, 3, H, W), of which each sample draws one; or a gray level, "mean" or
            "blur", as in `integrated_gradients`.
        sigma: standard deviation of the noise on the image, in pixel units; noisy images are clamped to [0, 1].
        seed: of the samples, which are the same for all images.
        batch_size: gradients at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in gradients.

    Returns:
        Attributions (N, 3, H, W), signed, in units of the logit.

    Raises:
        ValueError: if the baseline does not fit, or the scores have no gradient.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> gradient_shap(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", samples=4).shape
        torch.Size([3, 96, 96])

    Source: Lundberg and Lee, 2017, arXiv 1705.07874; Erion et al., 2019, "Improving performance of deep learning models
    with axiomatic attribution priors and expected gradients", arXiv 1906.10670.
    Differs from the paper: alpha is drawn once in each of ``samples`` equal parts of [0, 1], which lowers the variance.
    """
    whole("samples", samples, 1)
    at_least("sigma", sigma, 0)
    x, single = check_images(model, images)
    random = generator(seed)
    rows = len(baseline) if isinstance(baseline, Tensor) and baseline.ndim == 4 else 1
    pool = baseline_pictures(baseline, x[:1].expand(rows, -1, -1, -1))
    drawn = torch.randint(rows, (samples,), generator=random).to(x.device)
    alpha = ((torch.arange(samples) + torch.rand(samples, generator=random)) / samples).to(x)
    epsilon = sigma * torch.randn(samples if sigma else 1, *x.shape[1:], generator=random).to(x)
    c = predicted(model, x, check_targets(model, targets, x), batch_size)

    def sample(x: Tensor, c: Tensor, k: Tensor) -> Tensor:
        b = baseline_pictures(baseline, x) if isinstance(baseline, str) else pool[drawn[k]]
        x = (x + epsilon[k]).clamp(0, 1) if sigma else x
        return (x - b) * input_gradient(model, torch.lerp(b, x, alpha[k].view(-1, 1, 1, 1)), c)

    options: dict[str, Any] = {"gradients": True, "batch_size": batch_size, "progress": progress}
    phi = over_passes(sample, samples, model, x, c, reduce="sum", **options) / samples
    return phi[0] if single else phi
