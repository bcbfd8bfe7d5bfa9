"""Checks of lesson 5: FGSM with a target, the best of all small steps, clipping where the pixels are normalized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import exercise, uniform
from xai_lessons.methods import fgsm

NETWORK = "menagerie-resnet"  # of the findings


def _elephant(model: models.Classifier) -> tuple[menagerie.Scene, Tensor]:
    """The lesson's scene, and its image (1, 3, H, W) where the network is."""
    scene = menagerie.draw("elephant", seed=0, background="meadow", tree=False, tag=False)
    return scene, scene.image[None].to(model.device)


def _attack(rng: torch.Generator) -> tuple[nn.Module, Tensor, Tensor, float]:
    """A small network with random weights, pictures with some values at the very edge, targets, an epsilon."""
    linear = nn.Linear(3 * 6 * 5, 7)
    linear.weight.data = torch.randn(7, 3 * 6 * 5, generator=rng)
    linear.bias.data = torch.randn(7, generator=rng)
    x = uniform(rng, -0.2, 1.2, 4, 3, 6, 5).clamp(0, 1)
    t = torch.randint(0, 7, (4,), generator=rng)
    model = nn.Sequential(nn.Flatten(), linear)
    said = model(x).argmax(1)
    return model, x, torch.where(t == said, (t + 1) % 7, t), float(uniform(rng, 0.02, 0.1))


def _gradient(model: Any, x: Tensor, t: Tensor, of: str = "loss") -> Tensor:
    x = x.detach().clone().requires_grad_()
    z = model(x)
    what = F.cross_entropy(z, t, reduction="sum") if of == "loss" else z.gather(1, t[:, None]).sum()
    return torch.autograd.grad(what, x)[0]


def _clip(x: Tensor) -> Tensor:
    return x.clamp(0, 1).detach()


def _per_picture(g: Tensor, norm: float) -> Tensor:
    return g / g.flatten(1).norm(p=norm, dim=1)[:, None, None, None]


def _reached(student: Callable[..., Any]) -> Iterator[Any]:
    """Which answers the student's attack reaches on the lesson's elephant."""
    model = models.load(NETWORK)
    scene, x = _elephant(model)
    names = [name for name in model.classes if name not in scene.names]
    t = torch.tensor([model.class_index(name) for name in names], device=model.device)
    attacked = torch.as_tensor(student(model, x.repeat(len(t), 1, 1, 1), t, 8 / 255)).detach()
    p, answers = model.predict(attacked).cpu().max(dim=1)
    reached = [name for name, c in zip(names, answers.tolist(), strict=True) if model.classes[c] == name]
    yield (
        f"With ε = 8 of 255, your attack leads the elephant to {len(reached)} of {len(names)} target classes"
        + (f": {', '.join(reached)}." if reached else ".")
    )
    titles = [f"{name}? {model.classes[c]} {q:.0%}" for name, c, q in zip(names, answers.tolist(), p, strict=True)]
    tiles = [plots.enlarge(image, 192) for image in attacked.cpu()]
    yield plots.show(tiles, titles, "Above each: the target class, and what the network says.", columns=5, size=1.8)


@exercise(
    draw=_attack,
    arguments=("model", "x", "t", "epsilon"),
    shows=_reached,
    praise="One sign away from the attack above: downhill on the loss of the class that you want.",
    mistakes={
        "uphill": lambda f, x, t, e: _clip(x + e * _gradient(f, x, t).sign()),
        "not clipped": lambda f, x, t, e: (x - e * _gradient(f, x, t).sign()).detach(),
        "no sign": lambda f, x, t, e: _clip(x - e * _gradient(f, x, t)),
        "gradient scaled to length 1": lambda f, x, t, e: _clip(x - e * _per_picture(_gradient(f, x, t), 2.0)),
        "gradient scaled to its largest value": lambda f, x, t, e: _clip(
            x - e * _per_picture(_gradient(f, x, t), torch.inf)
        ),
        "away from the answer": lambda f, x, t, e: _clip(x + e * _gradient(f, x, f(x).argmax(1)).sign()),
        "loss of the answer": lambda f, x, t, e: _clip(x - e * _gradient(f, x, f(x).argmax(1)).sign()),
        "down the logit": lambda f, x, t, e: _clip(x - e * _gradient(f, x, t, "logit").sign()),
        "up the logit": lambda f, x, t, e: _clip(x + e * _gradient(f, x, t, "logit").sign()),
        "cross-entropy of a softmax": lambda f, x, t, e: _clip(
            x - e * _gradient(lambda images: f(images).softmax(1), x, t).sign()
        ),
        "epsilon times 255": lambda f, x, t, e: _clip(x - 255 * e * _gradient(f, x, t).sign()),
        "epsilon divided by 255": lambda f, x, t, e: _clip(x - e / 255 * _gradient(f, x, t).sign()),
        "only the change": lambda f, x, t, e: (-e * _gradient(f, x, t).sign()).detach(),
    },
    hints={
        "uphill": "You increase the loss of t: that leads away from t. To reach the target class, decrease its loss.",
        "not clipped": "Some of your pixels are darker than black or brighter than white: clip the picture to [0, 1].",
        "no sign": "You step along the gradient itself. Then a pixel with a large gradient moves by more than epsilon, "
        "and most pixels hardly move: take its sign.",
        "gradient scaled to length 1": "You scale the gradient to length 1. That is the best step of a given length; "
        "here each pixel may move by epsilon on its own, so take the sign.",
        "gradient scaled to its largest value": "Only one pixel moves by the whole epsilon. With the sign, all do.",
        "away from the answer": "You move away from the network's own answer, the untargeted attack. Use t.",
        "loss of the answer": "You lower the loss of the network's own answer; lower that of t.",
        "down the logit": "You decrease the logit of t, which leads away from t. Take the gradient of the loss: "
        "minus goes down on the loss, and the loss also includes the other classes.",
        "up the logit": "You increase the logit of t alone. It may work, but it is not FGSM: the cross-entropy also "
        "lowers the other logits. Take the gradient of the loss.",
        "cross-entropy of a softmax": "cross_entropy takes logits and contains the softmax: you apply it twice. Give "
        "it model(x) itself.",
        "epsilon times 255": "Your step is 255 times too large: epsilon has the units of x, from 0 to 1.",
        "epsilon divided by 255": "Your step is 255 times too small: epsilon has the units of x, from 0 to 1.",
        "only the change": "That is the change alone, and it is right. Add the picture, and clip.",
    },
)
def targeted_fgsm(model: Any, x: Tensor, t: Tensor, epsilon: float) -> Tensor:
    """x' = clip(x - epsilon * sign(dJ(x, t) / dx), 0, 1)."""
    return _clip(x - epsilon * _gradient(model, x, t).sign())


def _slope(rng: torch.Generator) -> tuple[Tensor, float]:
    g = torch.randn(3, 4, 5, generator=rng) * torch.rand(3, 4, 5, generator=rng) ** 2
    return g, round(float(uniform(rng, 0.01, 0.2)), 3)


def _with_rise(r: Tensor, g: Tensor) -> tuple[Tensor, float]:
    return r, float((g * r).sum())


def _one_pixel(g: Tensor) -> Tensor:
    r = torch.zeros_like(g).flatten()
    at = g.abs().flatten().argmax()
    r[at] = g.flatten()[at].sign()
    return r.reshape(g.shape)


def _rises(student: Callable[..., Any]) -> Iterator[str]:
    """The rise that the student predicts on the lesson's elephant, beside the one of the network."""
    model = models.load(NETWORK)
    scene, x = _elephant(model)
    g = _gradient(model, x, torch.tensor([scene.label], device=model.device), "logit")
    for gray in (1, 4):
        r, rise = student(g, gray / 255)
        with torch.no_grad():
            random = fgsm.random_signs(x, gray / 255)
            before, after, other = model(torch.cat([x, x + r, random]))[:, scene.label].tolist()
        yield (
            f"The lesson's elephant, ε = {gray} of 255: you predict that its logit rises by {float(rise):.1f}; the "
            f"network's rises by {after - before:.1f}. Random signs change it by {other - before:+.2f}."
        )


@exercise(
    draw=_slope,
    arguments=("g", "epsilon"),
    shows=_rises,
    praise="Every number of the picture adds epsilon times |g_i|. That is why small steps in many directions are a "
    "large one for the network.",
    mistakes={
        "along the gradient": lambda g, e: _with_rise(e * g, g),
        "length 1": lambda g, e: _with_rise(e * g / g.norm(), g),
        "scaled to the largest": lambda g, e: _with_rise(e * g / g.abs().max(), g),
        "gradient clamped": lambda g, e: _with_rise(g.clamp(-e, e), g),
        "rise not summed": lambda g, e: (e * g.sign(), e * g.abs()),
        "step alone": lambda g, e: e * g.sign(),
        "rise alone": lambda g, e: float(e * g.abs().sum()),
        "one pixel": lambda g, e: _with_rise(e * _one_pixel(g), g),
        "all up": lambda g, e: _with_rise(e * torch.ones_like(g), g),
        "downhill": lambda g, e: _with_rise(-e * g.sign(), g),
        "rise without absolute values": lambda g, e: (e * g.sign(), float(e * g.sum())),
        "rise as a mean": lambda g, e: (e * g.sign(), float(e * g.abs().mean())),
        "rise as a length": lambda g, e: (e * g.sign(), float(e * g.norm())),
        "epsilon missing in the rise": lambda g, e: (e * g.sign(), float(g.abs().sum())),
        "epsilon forgotten": lambda g, e: (g.sign(), float(g.abs().sum())),
    },
    hints={
        "along the gradient": "Your step is epsilon times the gradient. Where |g_i| is below 1 the pixel could move "
        "further; above 1 it moves too far. Think of one pixel alone: how far should it go?",
        "length 1": "Your step has length epsilon: the best of that *length*. Here each number has its own limit.",
        "scaled to the largest": "Now one pixel moves by epsilon, all others by less. They may move just as far.",
        "gradient clamped": "You clamp the gradient. A pixel with a small slope then moves little, though it may move "
        "by epsilon, too: only the sign of its slope matters.",
        "rise not summed": "The step is right. These are the rises of the single pixels: add them up to one number.",
        "step alone": "The step is right; return the rise as well.",
        "rise alone": "The rise is right; return the step as well, and first.",
        "one pixel": "You move only the pixel with the largest gradient. The others may move at the same time.",
        "all up": "You move every pixel up. Where g_i is negative that lowers the score.",
        "downhill": "Your step lowers the score the most. Return the one that raises it the most.",
        "rise without absolute values": "The step is right, the rise is not: where g_i is negative, so is the step, "
        "and their product is positive.",
        "rise as a mean": "The step is right. The rise adds up over all pixels: sum, not mean.",
        "rise as a length": "The step is right. The rise is g · r; you took epsilon times the length of g, which is "
        "the rise of the best step of *length* epsilon.",
        "epsilon missing in the rise": "The step is right. The rise is that of a step of 1: epsilon is missing in it.",
        "epsilon forgotten": "The directions are right, but every pixel moves by 1: epsilon is missing.",
    },
)
def best_step(g: Tensor, epsilon: float) -> tuple[Tensor, float]:
    """r = epsilon * sign(g), and g . r = epsilon * sum |g_i|."""
    return epsilon * g.sign(), float(epsilon * g.abs().sum())


def _normalized(rng: torch.Generator) -> tuple[Tensor, Tensor, float, Tensor, Tensor]:
    """Normalized pictures that reach black and white in every channel, and constants that all differ."""
    mean, std = uniform(rng, 0.35, 0.55, 3), uniform(rng, 0.15, 0.35, 3)
    x = uniform(rng, -0.1, 1.1, 2, 3, 8, 7).clamp(0, 1)
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1
    g = torch.randn(x.shape, generator=rng)
    g[:, :, 0, 0], g[:, :, 0, 1] = -1, 1
    z = (x - _wide(mean)) / _wide(std)
    return z, g, round(float(uniform(rng, 0.02, 0.08)), 3), mean, std


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None]


def _step(z: Tensor, g: Tensor, e: float, s: Tensor) -> Tensor:
    return z + e / _wide(s) * g.sign()


def _pixels(z: Tensor, m: Tensor, s: Tensor) -> Tensor:
    return z * _wide(s) + _wide(m)


def _back(x: Tensor, m: Tensor, s: Tensor) -> Tensor:
    return (x - _wide(m)) / _wide(s)


def _fooled(student: Callable[..., Any]) -> Iterator[str]:
    """How well the student's attack in normalized space works, beside the lesson's bug."""
    model, mean, std = models.load(NETWORK), torch.full((3,), 0.5), torch.full((3,), 0.25)
    images, labels, _ = menagerie.sample(20, seed=5)
    x, m, s = (one.to(model.device) for one in (images, mean, std))
    g = _gradient(lambda x: model(x).double(), x, labels.to(model.device)) * _wide(s)
    attacked = _pixels(student(_back(x, m, s), g, 6 / 255, m, s), m, s)
    clipped = _pixels(_back(x, m, s).clamp(0, 1), m, s)
    for name, z in (("Your attack, ε = 6 of 255", attacked), ("No attack, only clipped to [0, 1] in z", clipped)):
        right = int((model.predict(z.clamp(0, 1)).argmax(1).cpu() == labels).sum())
        moved = 255 * float((z - x).abs().max())
        yield f"{name}: a number moves by at most {moved:.1f} gray values; the network is right on {right} of 20."


@exercise(
    draw=_normalized,
    arguments=("z", "g", "epsilon", "mean", "std"),
    shows=_fooled,
    praise="Black is at -mean/std and white at (1 - mean)/std, a pair for each channel. Or, as in this package: keep "
    "the normalization inside the network, and the trap is gone.",
    mistakes={
        "clipped to [0, 1]": lambda z, g, e, m, s: _step(z, g, e, s).clamp(0, 1),
        "clipped to [0, 1], epsilon not scaled": lambda z, g, e, m, s: (z + e * g.sign()).clamp(0, 1),
        "epsilon not scaled": lambda z, g, e, m, s: _back(_pixels(z + e * g.sign(), m, s).clamp(0, 1), m, s),
        "epsilon times std": lambda z, g, e, m, s: _back(_pixels(z + e * _wide(s) * g.sign(), m, s).clamp(0, 1), m, s),
        "mean subtracted from epsilon": lambda z, g, e, m, s: _back(
            _pixels(z + (e - _wide(m)) / _wide(s) * g.sign(), m, s).clamp(0, 1), m, s
        ),
        "not clipped": lambda z, g, e, m, s: _step(z, g, e, s),
        "clipped to [-1, 1]": lambda z, g, e, m, s: _step(z, g, e, s).clamp(-1, 1),
        "limits not divided by std": lambda z, g, e, m, s: torch.clamp(_step(z, g, e, s), -_wide(m), 1 - _wide(m)),
        "limits without the mean": lambda z, g, e, m, s: _step(z, g, e, s).clamp(
            torch.zeros_like(_wide(s)), 1 / _wide(s)
        ),
        "one limit for all channels": lambda z, g, e, m, s: _step(z, g, e, s).clamp(
            float((-m / s).min()), float(((1 - m) / s).max())
        ),
        "pixels returned": lambda z, g, e, m, s: _pixels(_step(z, g, e, s), m, s).clamp(0, 1),
        "mean and std swapped": lambda z, g, e, m, s: _back(_pixels(_step(z, g, e, m), s, m).clamp(0, 1), s, m),
        "no sign": lambda z, g, e, m, s: _back(_pixels(z + e / _wide(s) * g, m, s).clamp(0, 1), m, s),
        "minus": lambda z, g, e, m, s: _back(_pixels(_step(z, -g, e, s), m, s).clamp(0, 1), m, s),
    },
    hints={
        "clipped to [0, 1]": "You clip normalized values to [0, 1]. Black is -mean / std there, so this flattens "
        "everything darker than the mean: a huge change, far beyond epsilon.",
        "clipped to [0, 1], epsilon not scaled": "Two things are in the wrong units: epsilon is in pixels, but you add "
        "it to normalized values; and black and white are not at 0 and 1 there.",
        "epsilon not scaled": "Your limits are right, but epsilon is in pixel units and z is not: a step of epsilon in "
        "z moves the pixel only by epsilon times std.",
        "epsilon times std": "You multiply epsilon by std. Normalizing divides by std, so the step is divided too.",
        "mean subtracted from epsilon": "You normalize epsilon like a picture. It is a difference: the mean cancels.",
        "not clipped": "The step is right, but some pixels leave the range of a picture: clip at the right limits.",
        "clipped to [-1, 1]": "[-1, 1] is right for mean = std = 0.5 only. Where do black (0) and white (1) end up?",
        "limits not divided by std": "Your limits are 0 - mean and 1 - mean. Normalizing also divides by std.",
        "limits without the mean": "Your limits are 0 / std and 1 / std. Normalizing subtracts the mean first.",
        "one limit for all channels": "Each channel has its own mean and std, so it has its own two limits.",
        "pixels returned": "The picture is right, but not normalized: normalize it again.",
        "mean and std swapped": "You use mean where std belongs, and vice versa.",
        "no sign": "You step along the gradient itself: take its sign, so that every pixel moves by epsilon.",
        "minus": "You go down the gradient: add the step.",
    },
)
def normalized_fgsm(z: Tensor, g: Tensor, epsilon: float, mean: Tensor, std: Tensor) -> Tensor:
    """z' = clip(z + epsilon / std * sign(g), (0 - mean) / std, (1 - mean) / std)."""
    m, s = mean[:, None, None], std[:, None, None]
    return (z + epsilon / s * g.sign()).clamp(-m / s, (1 - m) / s)
