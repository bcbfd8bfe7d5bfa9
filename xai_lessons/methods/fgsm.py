"""Attacks: one step along the sign of the gradient (FGSM), many small ones (PGD), and how small a step suffices.

Everything is in pixel units: the normalization is inside the network, so an epsilon of 8/255 is eight gray values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets, whole
from xai_lessons.core.passes import predicted
from xai_lessons.core.progress import Progress


def _signs(model: Any, x: Tensor, c: Tensor, targeted: bool) -> Tensor:
    """The sign of the gradient of the loss, reversed for a targeted attack."""
    inputs.check_probabilities(model, "an attack needs a classifier")
    x = x.detach().requires_grad_()
    loss = passes.log_odds_against(passes.logits(model, x), c)  # the signs of the cross-entropy, without its rounding
    (gradient,) = torch.autograd.grad(loss.sum(), x)  # the sum: each image has its own gradient
    return -gradient.sign() if targeted else gradient.sign()


def _check_targeted(targets: Targets, targeted: bool) -> None:
    if targeted and targets is None:
        raise ValueError("a targeted attack needs targets: give the class that the network should predict")


def fgsm(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    epsilon: float = 8 / 255,
    targeted: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """The fast gradient sign method: change every pixel a little, in the direction that increases the loss.

    x' = clip(x + epsilon * sign(dJ/dx), 0, 1), with J the cross-entropy of the true class; if targeted, the sign is
    reversed and J is that of the target class.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the true classes; None for the predicted ones. If ``targeted``, the target classes.
        epsilon: the largest change of a pixel, in [0, 1].
        targeted: whether to move towards the targets rather than away from them.
        batch_size: images at once; chosen from their size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        The attacked images, like ``images``, in [0, 1] and within epsilon of them.

    Raises:
        ValueError: if epsilon is out of range, or a targeted attack has no targets.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> fgsm(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", epsilon=4 / 255).shape
        torch.Size([3, 96, 96])

    Source: Goodfellow, Shlens and Szegedy, 2014, "Explaining and harnessing adversarial examples", arXiv 1412.6572.
    Differs from the paper: the result is clipped to [0, 1]; without targets the predicted class counts as true; the
    gradient is that of log((1 - p) / p), p the probability of the class, which has the signs of the cross-entropy's
    gradient without its rounding (`xai_lessons.core.passes.log_odds_against`).
    """
    _check_targeted(targets, targeted)
    inputs.at_least("epsilon", epsilon, 0, 1)

    def attack(x: Tensor, c: Tensor | None) -> Tensor:
        return (x + epsilon * _signs(model, x, predicted(model, x, c), targeted)).clamp(0, 1)

    return passes.over_images(attack, model, images, targets, batch_size=batch_size, progress=progress)


def pgd(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    epsilon: float = 8 / 255,
    alpha: float | None = None,
    steps: int = 10,
    targeted: bool = False,
    random_start: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """Projected gradient descent: many small FGSM steps, each projected back into the epsilon ball.

    x_0 = x;  x_{t+1} = clip(x_t + alpha * sign(dJ/dx_t), x - epsilon, x + epsilon), and to [0, 1].

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the true classes; None for the predicted ones. If ``targeted``, the target classes.
        epsilon: the largest change of a pixel, in [0, 1].
        alpha: the size of a step; 2.5 epsilon / steps if not given, and at most epsilon.
        steps: the number of steps.
        targeted: whether to move towards the targets rather than away from them.
        random_start: begin at a random point of the ball (the same offset for all images) instead of the image.
        seed: of the random start.
        batch_size: images at once; chosen from their size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        The attacked images, like ``images``, in [0, 1] and within epsilon of them.

    Raises:
        ValueError: if an option is out of range, or a targeted attack has no targets.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> pgd(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", steps=3).shape
        torch.Size([3, 96, 96])

    Source: Madry et al., 2017, "Towards deep learning models resistant to adversarial attacks", arXiv 1706.06083.
    Differs from the paper: the start is the image itself unless ``random_start``; the result is clipped to [0, 1]; the
    gradient does not vanish where the network is sure, see `fgsm`.
    """
    _check_targeted(targets, targeted)
    inputs.at_least("epsilon", epsilon, 0, 1)
    whole("steps", steps, 1)
    alpha = min(epsilon, 2.5 * epsilon / steps) if alpha is None else alpha
    inputs.at_least("alpha", alpha, 0, 1)
    whole("seed", seed)

    def offset(x: Tensor) -> Tensor:
        return 2 * torch.rand(x.shape[1:], generator=inputs.generator(seed), dtype=torch.float64).to(x) - 1

    def attack(x: Tensor, c: Tensor | None) -> Tensor:
        c = predicted(model, x, c)
        low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
        x_t = (x + epsilon * offset(x)).clamp(low, high) if random_start else x
        for _ in range(steps):
            x_t = (x_t + alpha * _signs(model, x_t, c, targeted)).clamp(low, high)
        return x_t

    return passes.over_images(attack, model, images, targets, batch_size=batch_size, progress=progress)


def smallest_epsilon(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    targeted: bool = False,
    largest: float = 0.25,
    steps: int = 16,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor | float:
    """The smallest epsilon at which FGSM changes the answer.

    The sign of the gradient does not depend on epsilon, so one backward pass gives the FGSM images of all epsilon:
    x(epsilon) = clip(x + epsilon * sign(dJ/dx), 0, 1). They are tried in ``steps`` equal steps up to the first other
    answer; the crossing before it is then found by bisection, to ``largest / (256 * steps)``. A change that is undone
    within one step is missed.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the true classes; None for the predicted ones. If ``targeted``, the target classes.
        targeted: look for the answer ``targets`` rather than any other answer.
        largest: where to stop looking, in (0, 1].
        steps: of the first search.
        batch_size: images at once; chosen from their size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        (N,), or a float for a single image: 0 where the answer is wrong already (targeted: is the target), inf where no
        epsilon up to ``largest`` changes it.

    Raises:
        ValueError: if an option is out of range, or a targeted attack has no targets.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> smallest_epsilon(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat") < 0.1
        True
    """
    _check_targeted(targets, targeted)
    inputs.at_least("largest", largest, 0, 1)
    whole("steps", steps, 1)

    def search(x: Tensor, c: Tensor | None) -> Tensor:
        c = predicted(model, x, c)
        direction = _signs(model, x, c, targeted)

        def fooled(epsilon: Tensor) -> Tensor:
            with torch.no_grad():
                scores = passes.logits(model, (x + epsilon[:, None, None, None] * direction).clamp(0, 1))
            return (scores.argmax(dim=1) == c) == targeted

        low, high = x.new_zeros(len(x)), x.new_full((len(x),), float("inf"))
        for epsilon in torch.linspace(0, largest, steps + 1).tolist():
            at = torch.full_like(high, epsilon)
            found = high.isinf() & fooled(at)
            high = torch.where(found, at, high)
            low = torch.where(high.isinf(), at, low)
        for _ in range(8):
            middle = torch.where(high.isinf(), low, (low + high) / 2)
            yes = fooled(middle)
            high, low = torch.where(yes & high.isfinite(), middle, high), torch.where(yes, low, middle)
        return high

    epsilons = passes.over_images(search, model, images, targets, batch_size=batch_size, progress=progress)
    return float(epsilons) if epsilons.ndim == 0 else epsilons


def random_signs(images: Tensor, epsilon: float, seed: int = 0) -> Tensor:
    r"""The control of every attack: random signs of the same size.

    $x' = clip(x + \epsilon s, 0, 1)$, where each component of $s$ is -1 or 1 with equal probability.

    Args:
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        epsilon: the change of each pixel, in [0, 1].
        seed: of the signs, which are the same for all images.

    Returns:
        The changed images, with the shape of `images`.

    Example:
        >>> random_signs(torch.full((3, 2, 2), 0.5), 0.25).unique()
        tensor([0.2500, 0.7500])
    """
    return (images + epsilon * _coin(images, seed)).clamp(0, 1)


def _coin(images: Tensor, seed: int) -> Tensor:
    coin = torch.rand(images.shape[-3:], generator=inputs.generator(seed)).to(images.device)
    return torch.where(coin < 0.5, 1.0, -1.0)


def robust_accuracy(
    model: Any,
    images: Tensor,
    labels: Targets,
    epsilons: Sequence[float] = (0, 2 / 255, 4 / 255, 8 / 255, 16 / 255),
    attack: str = "fgsm",
    *,
    steps: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    """The accuracy under attack, for each epsilon.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W) in [0, 1].
        labels: the true classes.
        epsilons: the largest changes of a pixel to try, each in [0, 1].
        attack: "fgsm", "pgd", or "noise": random signs of the same size, for comparison.
        steps: of PGD.
        seed: of the noise.
        batch_size: images at once; chosen from their size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        (len(epsilons),) in [0, 1].

    Raises:
        ValueError: if an epsilon is out of range, the labels are missing or the attack is unknown.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> images, labels, _ = menagerie.sample(4)
        >>> tuple(robust_accuracy(models.load("menagerie-resnet"), images, labels, epsilons=(0, 0.01)).shape)
        (2,)
    """
    if attack not in ("fgsm", "pgd", "noise"):
        raise ValueError(f"attack must be 'fgsm', 'pgd' or 'noise', got {attack!r}")
    if labels is None:
        raise ValueError("labels are missing: accuracy needs the true classes, one per image")
    whole("steps", steps, 1)
    whole("seed", seed)
    for epsilon in epsilons:
        inputs.at_least("epsilon", float(epsilon), 0, 1)

    def attacks(x: Tensor, c: Tensor) -> Iterator[Tensor]:
        if attack == "pgd":
            yield from (pgd(model, x, c, epsilon=float(e), steps=steps, batch_size=len(x)) for e in epsilons)
            return
        signs = _signs(model, x, c, False) if attack == "fgsm" else _coin(x, seed)
        yield from ((x + float(e) * signs).clamp(0, 1) for e in epsilons)

    def right(x: Tensor, c: Tensor | None) -> Tensor:
        assert c is not None  # labels were given
        answers = []
        for attacked in attacks(x, c):
            with torch.no_grad():
                answers.append(passes.logits(model, attacked).argmax(dim=1))
        return torch.stack(answers, dim=1).eq(c[:, None]).to(inputs.widest(x.device))

    correct = passes.over_images(right, model, images, labels, batch_size=batch_size, progress=progress)
    return correct if correct.ndim == 1 else correct.mean(dim=0)
