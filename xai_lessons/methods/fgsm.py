"""Attacks on the answer, by one step along the gradient's signs (FGSM) or many (PGD), and on the explanation alone.

Everything is in pixel units: the normalization is inside the network, so an epsilon of 8/255 is eight gray values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import activations, inputs, passes
from xai_lessons.core.inputs import Targets, whole
from xai_lessons.core.operations import Call, Interceptor
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

    Source: Goodfellow, Shlens and Szegedy, 2014, "Explaining and harnessing adversarial examples", arXiv 1412.6572, for
    the attack.
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


EXPLANATIONS = ("grad_cam", "gradient")  # what `attack_map` can move
BOTH = "both"


class _Softplus(Interceptor):
    """Every ReLU becomes softplus(x) = log(1 + exp(beta x)) / beta, which has a second derivative."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def intercept(self, call: Call) -> Any:
        relu = call.relu()
        if relu is None:
            return call.run()
        x, ceiling = relu
        z = x.clone() if call.in_place else x  # the way back needs the values from before
        smooth = F.softplus(z, self.beta)
        smooth = smooth if ceiling is None else smooth - F.softplus(z - ceiling, self.beta)
        return x.copy_(smooth) if call.in_place else smooth


def _gradient_heat(model: Any, x: Tensor, c: Tensor, graph: bool) -> tuple[Tensor, Tensor]:
    """The size of the gradient, sum over the colors of |dY^c/dx|, (N, H, W), and the logits."""
    Y = passes.logits(model, x)
    (gradient,) = torch.autograd.grad(passes.score(Y, c).sum(), x, create_graph=graph)
    return gradient.abs().sum(dim=1), Y


def _grad_cam_heat(model: nn.Module, x: Tensor, c: Tensor, layer: str | nn.Module | None) -> tuple[Tensor, Tensor]:
    """Grad-CAM as of `cam.grad_cam`, still connected to the image, and the logits."""
    kept: list[Tensor] = []

    def keep(A: Tensor) -> Tensor:
        kept.append(A.clone())
        return kept[-1].clone()  # a later in-place operation may change the copy, not A

    with activations.hooked(activations.find_layer(model, layer, x)[1], keep):
        Y = passes.logits(model, x)
    A = kept[-1]
    (gradient,) = torch.autograd.grad(passes.score(Y, c).sum(), A, create_graph=True)
    M = (gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1)
    return passes.resize(M, (x.shape[-2], x.shape[-1])).relu(), Y


def attack_map(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    region: Tensor,
    explanation: str = "grad_cam",
    layer: str | nn.Module | None = None,
    epsilon: float = 8 / 255,
    alpha: float | None = None,
    steps: int = 20,
    beta: float = 10.0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Move an explanation into a region while the network's answer stays.

    .. math:: x_{t+1} = \mathrm{clip}\left(x_t + \alpha \, \mathrm{sign} \frac{\partial}{\partial x_t} \left(
              \frac{\sum_{ij \in R} h_{ij}(x_t)}{\sum_{ij} h_{ij}(x_t)} - J(x_t, \hat y) \right),
              x - \epsilon, x + \epsilon\right)

    h is the heatmap of the target class, R the region, and J the cross-entropy of the class that the network predicts
    for the image itself. Of all steps whose prediction is still that class, the one with the largest fraction of the
    map inside the region is returned; the image itself, if no step does better.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: the class whose map is moved; None for the predicted one.
        region: where the map should lie, (H, W) or (N, H, W), not 0 inside.
        explanation: "grad_cam", "gradient": the sum over the colors of its absolute value, or "both": the steps follow
            the sum of both directions, each divided by its norm, and the smaller of the two fractions counts.
        layer: of Grad-CAM; by default the last spatial layer.
        epsilon: the largest change of a pixel, in [0, 1].
        alpha: the size of a step; 2.5 epsilon / steps if not given, and at most epsilon.
        steps: the number of steps.
        beta: of the softplus that stands in for each ReLU where a gradient is moved; larger is closer to the ReLU.
        batch_size: images at once; chosen from their size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        The attacked images, like ``images``, in [0, 1], within epsilon of them and with the same predictions.

    Raises:
        ValueError: if an option is out of range, the explanation is unknown, or the region does not fit the images.

    Example:
        >>> from xai_lessons import cam, menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> corner = torch.zeros(96, 96)
        >>> corner[:48, :48] = 1
        >>> maps = cam.grad_cam(model, torch.stack([image, attack_map(model, image, region=corner, steps=5)]), "cat")
        >>> before, after = ((M * corner).sum() / M.sum() for M in maps)
        >>> bool(after > before)
        True

    Source: Ghorbani, Abid and Zou, 2019, "Interpretation of neural networks is fragile", arXiv 1710.10547 (the
    objective: the fraction of the map inside a region, and the best step that keeps the prediction); Dombrowski et al.,
    2019, "Explanations can be manipulated and geometry is to blame", arXiv 1906.07983 (the softplus).
    Differs from the papers: J keeps the search near images with the same prediction, where Ghorbani et al. only discard
    the others and Dombrowski et al. keep all outputs; Grad-CAM, which they did not attack, needs no softplus: its maps
    A have a first derivative, and the second derivative of the head's ReLUs, which is 0, only drops the change of the
    weights.
    """
    if explanation not in (*EXPLANATIONS, BOTH):
        raise ValueError(
            f"explanation must be one of {', '.join(map(repr, (*EXPLANATIONS, BOTH)))}, got {explanation!r}"
        )
    inputs.at_least("epsilon", epsilon, 0, 1)
    whole("steps", steps, 1)
    alpha = min(epsilon, 2.5 * epsilon / steps) if alpha is None else alpha
    inputs.at_least("alpha", alpha, 0, 1)
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    images, single = inputs.check_images(model, images)
    c = predicted(model, images, inputs.check_targets(model, targets, images))
    inside = torch.as_tensor(region).to(images)
    if inside.shape not in (images.shape[-2:], (len(images), *images.shape[-2:])):
        raise ValueError(
            f"region must be (H, W) or (N, H, W), here {tuple(images.shape[-2:])} or "
            f"{(len(images), *images.shape[-2:])}, got {tuple(inside.shape)}"
        )
    inside = (inside != 0).to(images).expand(len(images), -1, -1)

    moved = EXPLANATIONS if explanation == BOTH else (explanation,)

    def heat(name: str, x: Tensor, c: Tensor, smooth: bool) -> tuple[Tensor, Tensor]:
        if name == "grad_cam":
            return _grad_cam_heat(model, x, c, layer)
        if not smooth:
            return _gradient_heat(model, x, c, graph=False)
        with _Softplus(beta):
            return _gradient_heat(model, x, c, graph=True)

    def attack(x: Tensor, c: Tensor, _pass: Tensor, inside: Tensor) -> Tensor:
        low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
        answer = predicted(model, x, None)
        x_t, best, most = x, x, x.new_full((len(x),), -1.0)
        for t in range(steps + 1):
            x_t = x_t.detach().requires_grad_()
            found = {name: heat(name, x_t, c, smooth=False) for name in moved}
            fractions = {name: _inside(h, inside) for name, (h, _) in found.items()}
            Y = found[moved[0]][1]
            least = torch.stack([fraction.detach() for fraction in fractions.values()]).amin(dim=0)
            better = (Y.argmax(dim=1) == answer) & (least > most)
            best = torch.where(better[:, None, None, None], x_t.detach(), best)
            most = torch.where(better, least, most)
            if t == steps:
                break
            direction = torch.zeros_like(x)
            for name in moved:
                Y = found[name][1]
                if name == "gradient":  # the gradient of a ReLU network is constant nearly everywhere
                    h, Y = heat(name, x_t, c, smooth=True)
                    fractions[name] = _inside(h, inside)
                J = F.softplus(passes.log_odds_against(Y, answer))
                (gradient,) = torch.autograd.grad((fractions[name] - J).sum(), x_t)
                norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
                direction = direction + gradient / norm[:, None, None, None]
            x_t = (x_t + alpha * direction.sign()).clamp(low, high)
        return best

    options: dict[str, Any] = {"gradients": True, "batch_size": batch_size, "progress": progress}
    attacked = passes.over_passes(attack, 1, model, images, c, per_image=(inside,), **options)[:, 0]
    return attacked[0] if single else attacked


def _inside(heat: Tensor, inside: Tensor) -> Tensor:
    """The fraction of each heatmap inside its region (N,); 0 for an empty map."""
    return (heat * inside).sum(dim=(1, 2)) / heat.sum(dim=(1, 2)).clamp(min=1e-12)


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
