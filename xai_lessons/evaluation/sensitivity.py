"""Sensitivity: how far does an explanation move when the image hardly changes?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.evaluation.localization import Explain


def max_sensitivity(
    explain: Explain,
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """The largest relative change of an explanation Φ under a change of the image that nobody sees.

        max over ||δ||_inf <= radius of ||Φ(x + δ) - Φ(x)||_F / ||Φ(x)||_F,   with `samples` uniform random δ

    Args:
        explain: any method: called as ``explain(model, images, targets)``.
        model: a network or callable.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the class that is explained throughout; None is the one predicted for the unchanged image.
        radius: in pixel units.
        samples: number of δ.
        seed: of the δ, which all images share.
        batch_size: explanations at once.
        progress: True, or a callback (done, total), in explanations.

    Returns:
        (N,), or a 0-d tensor for a single image; small is good. 0 for an explanation that is always empty.

    Raises:
        ValueError: if an option is out of range.
        TypeError: if `samples` is not a whole number.

    Example:
        >>> from xai_lessons import cam, evaluation, menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> bool(evaluation.max_sensitivity(cam.grad_cam, model, image, "cat", samples=2) < 0.2)
        True

    Source:
        Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019, arXiv:1901.09392 (SENS_MAX); divided by
        ||Φ(x)||_F, as in the authors' code.

    Differs from the paper:
        x + δ is clipped to [0, 1]: what is explained is always an image.
    """
    inputs.at_least("radius", radius, 0)
    samples = inputs.whole("samples", samples, 1)
    x, single = inputs.check_images(model, images)
    c = passes.predicted(model, x, inputs.check_targets(model, targets, x), batch_size)
    uniform = torch.rand((samples, *x.shape[1:]), generator=inputs.generator(seed))
    delta = torch.cat([torch.zeros_like(x[:1]), (radius * (2 * uniform - 1)).to(x)])  # the first leaves x unchanged

    def explained(x: Tensor, c: Tensor, k: Tensor) -> Tensor:
        return explain(model, (x + delta[k]).clamp(0, 1), c)

    worst = []
    with Meter(progress, len(x) * len(delta)) as meter:
        for one, target in zip(x.split(1), c.split(1), strict=True):  # holds the maps of one image at a time
            phi = passes.over_passes(explained, len(delta), model, one, target, batch_size=batch_size)[0].flatten(1)
            norm = phi[0].norm()
            worst.append((phi[1:] - phi[0]).norm(dim=1).max() / torch.where(norm > 0, norm, 1))
            meter.add(len(delta))
    return worst[0] if single else torch.stack(worst)
