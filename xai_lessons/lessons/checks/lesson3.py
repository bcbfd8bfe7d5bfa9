"""Checks of lesson 3: integrated gradients and their sum, the map of the broken network, SmoothGrad by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, plots
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import exercise, integer
from xai_lessons.methods import saliency

SHAPE = (3, 5, 6)


def _slope(model: Any, scene: Any) -> Callable[[Tensor], Tensor]:
    """The gradient of the logit of a scene's class, as a function of one picture or of several."""
    return lambda x: saliency.gradient(model, x, scene.label).cpu()


@dataclass(frozen=True)
class Gradient:
    """The gradient of the score f(x) = sum (w x + v x^3 / 3), as a function of the picture: w + v x^2."""

    w: Tensor
    v: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The gradient at the picture, or at each of several."""
        if x.shape[-3:] != SHAPE:
            raise ValueError(f"the gradient takes pictures of shape {SHAPE}, got {tuple(x.shape)}")
        return self.w + self.v * x**2

    def score(self, x: Tensor) -> Tensor:
        """The score f(x)."""
        return (self.w * x + self.v * x**3 / 3).sum()


def _gradient(rng: torch.Generator) -> Gradient:
    w, v = torch.randn(2, *SHAPE, generator=rng, dtype=torch.float64)
    return Gradient(w, 3 * v.abs() + 1)


def _path(rng: torch.Generator) -> tuple[Gradient, Tensor, Tensor, int]:
    """A gradient, a picture, a baseline that is not black, and few steps."""
    x, b = torch.rand(2, *SHAPE, generator=rng, dtype=torch.float64)
    return _gradient(rng), x, 0.6 * b + 0.1, integer(rng, 3, 9)


def _along(gradient: Gradient, x: Tensor, b: Tensor, alphas: Tensor) -> Tensor:
    return torch.stack([gradient(b + a * (x - b)) for a in alphas])


def _midpoints(m: int) -> Tensor:
    return (torch.arange(m, dtype=torch.float64) + 0.5) / m


def _integral(gradient: Gradient, x: Tensor, b: Tensor, alphas: Tensor) -> Tensor:
    return (x - b) * _along(gradient, x, b, alphas).mean(0)


def _integrated_found(student: Callable[..., Any]) -> Iterator[Any]:
    """The student's attributions of the lesson's cat from three baselines, and what they add up to."""
    model, scene = models.load("menagerie-resnet"), menagerie.draw("cat", 1, background="meadow", tree=False, tag=False)
    x, lines = scene.image, []
    tiles: list[Any] = [scene.at(240).image]
    baselines = {"black": torch.zeros_like(x), "gray": torch.full_like(x, 0.5), "white": torch.ones_like(x)}
    for name, b in baselines.items():
        phi = torch.as_tensor(student(_slope(model, scene), x, b, 32))
        with torch.no_grad():
            ends = model(torch.stack([x, b]).to(model.device))[:, scene.label]
        inside = float(evaluation.energy_inside(phi[None], scene.masks["object"][None])[0])
        lines.append(
            f"from {name}: the logit rises by {float(ends[0] - ends[1]):.1f}, yours add up to {float(phi.sum()):.1f}; "
            f"{inside:.0%} of their absolute values lie on the cat"
        )
        tiles.append(plots.attribution(phi, size=240))
    yield "Your attributions of the lesson's cat, in 32 steps.\n" + "\n".join(lines)
    yield plots.show(tiles, ["the picture", *baselines], "Bright: a large attribution, whatever its sign.", size=2.1)


@exercise(
    draw=_path,
    shows=_integrated_found,
    arguments=("the gradient", "the picture", "the baseline", "m"),
    praise="And they nearly add up: their sum is close to the score of the picture minus that of the baseline.",
    mistakes={
        "baseline ignored": lambda g, x, b, m: x * torch.stack([g(a * x) for a in _midpoints(m)]).mean(0),
        "times the picture": lambda g, x, b, m: x * _along(g, x, b, _midpoints(m)).mean(0),
        "difference forgotten": lambda g, x, b, m: _along(g, x, b, _midpoints(m)).mean(0),
        "sum instead of mean": lambda g, x, b, m: (x - b) * _along(g, x, b, _midpoints(m)).sum(0),
        "wrong direction": lambda g, x, b, m: -_integral(g, x, b, _midpoints(m)),
        "only at the picture": lambda g, x, b, m: (x - b) * g(x),
        "only in the middle": lambda g, x, b, m: (x - b) * g((x + b) / 2),
        "from black": lambda g, x, b, m: (x - b) * torch.stack([g(a * x) for a in _midpoints(m)]).mean(0),
        "ends of the steps": lambda g, x, b, m: _integral(g, x, b, torch.arange(1, m + 1, dtype=torch.float64) / m),
        "beginnings of the steps": lambda g, x, b, m: _integral(g, x, b, torch.arange(m, dtype=torch.float64) / m),
        "both ends": lambda g, x, b, m: _integral(g, x, b, torch.linspace(0, 1, m, dtype=torch.float64)),
        "k counted from 0": lambda g, x, b, m: _integral(g, x, b, (torch.arange(m, dtype=torch.float64) - 0.5) / m),
        "0.5 / m": lambda g, x, b, m: _integral(g, x, b, torch.arange(1, m + 1, dtype=torch.float64) - 0.5 / m),
        "m + 1 points": lambda g, x, b, m: _integral(g, x, b, torch.linspace(0, 1, m + 1, dtype=torch.float64)),
        "m + 1 points, divided by m": lambda g, x, b, m: (
            (x - b) * _along(g, x, b, torch.linspace(0, 1, m + 1, dtype=torch.float64)).sum(0) / m
        ),
        "the offset alone": lambda g, x, b, m: (x - b) * torch.stack([g(a * (x - b)) for a in _midpoints(m)]).mean(0),
        "last step missing": lambda g, x, b, m: (x - b) * _along(g, x, b, _midpoints(m)[:-1]).sum(0) / m,
        "overshoots": lambda g, x, b, m: (x - b) * torch.stack([g(b + a * x) for a in _midpoints(m)]).mean(0),
        "the sum alone": lambda g, x, b, m: _integral(g, x, b, _midpoints(m)).sum(),
        "without sign": lambda g, x, b, m: _integral(g, x, b, _midpoints(m)).abs(),
    },
    hints={
        "baseline ignored": "That is the lesson's version, which starts from black. Two things change if it starts "
        "from b: the path and the factor.",
        "times the picture": "You multiply by x, which is right for a black baseline only: how far does each pixel "
        "move?",
        "difference forgotten": "That is the mean gradient along the path. An attribution is a slope times a distance: "
        "how far does each pixel move?",
        "sum instead of mean": "This is m times too large: each gradient stands for only 1 / m of the path.",
        "wrong direction": "All signs are reversed: the path leads from the baseline b to the picture x, so use x - b.",
        "only at the picture": "You take the gradient at the picture only. The network may be saturated there: follow "
        "the path and take the gradient at every step.",
        "only in the middle": "You take one gradient, in the middle of the path; take m, one in the middle of each "
        "step.",
        "from black": "Your path begins at black, a x. It has to begin at the baseline: where are you for a = 0?",
        "ends of the steps": "You take the end of each step, k / m, as the paper does. With the middle, (k - 1/2) / m, "
        "the attributions add up far better: compare both.",
        "beginnings of the steps": "You take the beginning of each step, (k - 1) / m. Take the middle.",
        "both ends": "linspace(0, 1, m) includes both ends, which no step has in its middle. Take (k - 1/2) / m.",
        "k counted from 0": "With k = 0 your first point lies before the baseline, and the last step is missing. "
        "range(m) begins at 0: take range(1, m + 1).",
        "0.5 / m": "k - 0.5 / m is k - (0.5 / m): the division comes first. You need (k - 0.5) / m.",
        "m + 1 points": "You use m + 1 points, both ends included. Take m, one in the middle of each step.",
        "m + 1 points, divided by m": "You add up m + 1 gradients, both ends included, and divide by m. Take m of "
        "them, one in the middle of each step.",
        "the offset alone": "You take the gradient at a (x - b), which is only the distance covered. You are at "
        "b + a (x - b).",
        "last step missing": "Your last step is missing: range(1, m) ends at m - 1. Take range(1, m + 1).",
        "overshoots": "You follow b + a x, beyond the picture. The path is x - b: after the fraction a of it you are "
        "at b + a (x - b).",
        "the sum alone": "That is the sum of the attributions. Return the attributions themselves, one per pixel.",
        "without sign": "The absolute values are right, but without the signs nothing adds up to the score.",
    },
)
def integrated_gradients(gradient: Gradient, x: Tensor, b: Tensor, m: int) -> Tensor:
    """(x - b) times the mean of the gradients at b + (k - 1/2) / m (x - b), k = 1 ... m."""
    return _integral(gradient, x, b, _midpoints(m))


def _three_maps(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Attributions (3, 3, H, W) of three networks of one picture, one of them broken, and the object's mask (H, W)."""
    high, wide = 10, 12
    mask = torch.zeros(high, wide, dtype=torch.bool)
    top, left = (integer(rng, 1, 4) for _ in range(2))
    mask[top : top + 5, left : left + 4] = True
    maps = torch.randn(3, 3, high, wide, generator=rng, dtype=torch.float64)
    broken = integer(rng, 0, 3)
    for i in range(3):
        maps[i] *= torch.where(mask, 6.0, 1.0) if i != broken else 5.0  # the broken one is strong, but everywhere
    return maps, mask


def _absolute(maps: Tensor) -> Tensor:
    return maps.abs().amax(1)


def _fractions(heat: Tensor, mask: Tensor) -> Tensor:
    return (heat * mask).sum((1, 2)) / heat.sum((1, 2))


def _verdict(values: Tensor, lowest: bool = True) -> tuple[Tensor, int]:
    return values, int(values.argmin() if lowest else values.argmax())


def _right(maps: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    return _verdict(_fractions(_absolute(maps), mask))


def _broken_found(student: Callable[..., Any]) -> Iterator[str]:
    """Which network the student's function calls broken, on ten birds, by two methods."""
    honest, cheat = (models.load(f"menagerie-{name}") for name in ("resnet", "shortcut"))
    broken: Any = evaluation.randomize_layers(honest, 7)
    networks = {"the honest one": honest, "the one that cheats": cheat, "the broken one": broken}
    birds = [menagerie.draw("bird", seed=12 + k, tree=True) for k in range(10)]
    x, lines = torch.stack([bird.image for bird in birds]), []
    for title, method in (("guided backprop", saliency.guided_backprop), ("gradient", saliency.gradient)):
        maps = torch.stack([method(network, x, birds[0].label).cpu() for network in networks.values()], dim=1)
        answers = [student(each, bird.masks["object"]) for each, bird in zip(maps, birds, strict=True)]
        first = ", ".join(f"{float(fraction):.0%}" for fraction in answers[0][0])
        named = [int(number) for _, number in answers]
        counts = (f"{name} in {named.count(i)}" for i, name in enumerate(networks))
        lines.append(f"{title}: fractions on the first bird {first}; lowest of ten: {', '.join(counts)}")
    yield (
        "Ten birds in trees, the lesson's first; three networks: an honest one, one that cheats, one whose upper seven "
        "layers are random. Which has the lowest fraction?\n" + "\n".join(lines)
    )


@exercise(
    draw=_three_maps,
    shows=_broken_found,
    arguments=("the maps", "the mask"),
    praise="A broken network has no reason to look at the object. Strength proves nothing: its map may be strong.",
    mistakes={
        "highest fraction": lambda maps, mask: _verdict(_fractions(_absolute(maps), mask), lowest=False),
        "with the sign": lambda maps, mask: _verdict(_fractions(maps.sum(1), mask)),
        "sum of the colors": lambda maps, mask: _verdict(_fractions(maps.abs().sum(1), mask)),
        "only for": lambda maps, mask: _verdict(_fractions(maps.amax(1).clamp(min=0), mask)),
        "amount instead of fraction": lambda maps, mask: _verdict((_absolute(maps) * mask).sum((1, 2))),
        "fraction of the outside": lambda maps, mask: _verdict(_fractions(_absolute(maps), ~mask)),
        "mean inside": lambda maps, mask: _verdict((_absolute(maps) * mask).sum((1, 2)) / mask.sum()),
        "inside to outside": lambda maps, mask: _verdict(
            (_absolute(maps) * mask).sum((1, 2)) / (_absolute(maps) * ~mask).sum((1, 2)),
        ),
        "weakest map": lambda maps, mask: _verdict(_absolute(maps).sum((1, 2))),
        "the wrong dimension": lambda maps, mask: _verdict(_fractions(maps.abs().amax(0), mask)),
        "counted from 1": lambda maps, mask: (_right(maps, mask)[0], _right(maps, mask)[1] + 1),
        "number first": lambda maps, mask: _right(maps, mask)[::-1],
        "fractions only": lambda maps, mask: _right(maps, mask)[0],
        "number only": lambda maps, mask: _right(maps, mask)[1],
    },
    hints={
        "highest fraction": "The fractions are right. But return the number of the lowest one, not of the highest.",
        "with the sign": "You add signed values: evidence for and against cancels out. Take absolute values first "
        "(abs), then the largest color.",
        "sum of the colors": "Absolute values are right; but take the largest of a pixel's three colors (amax), as the "
        "paper does, not the sum.",
        "only for": "You keep positive values only. A gradient of -1 matters as much as one of +1: take abs.",
        "amount instead of fraction": "That is the amount on the object: divide by the sum of the whole map.",
        "fraction of the outside": "That is the fraction outside the object (~mask): take the one on the object.",
        "mean inside": "You divide by the number of pixels of the object; divide by the sum of the whole map.",
        "inside to outside": "The network is right, but you divide by what lies outside: divide by the whole.",
        "weakest map": "You look for the weakest map. Random weights may give strong gradients in the wrong places.",
        "the wrong dimension": "You take the largest over the networks, dimension 0. The colors are dimension 1.",
        "counted from 1": "The fractions are right, and so is the network; but count the networks from 0.",
        "number first": "Both are right, but in the wrong order: first the fractions, then the number.",
        "fractions only": "The fractions are right. Return the number of the lowest one, too: (fractions, number).",
        "number only": "You name the right network. Return the three fractions before it: (fractions, number).",
    },
)
def broken_network(maps: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    """The fraction of each map's absolute values on the object, and the number of the map with the lowest fraction."""
    return _right(maps, mask)


def _noisy(rng: torch.Generator) -> tuple[Gradient, Tensor, Tensor, float]:
    """A gradient, a picture near black and white, noise of standard deviation 1, and sigma."""
    x = (torch.rand(SHAPE, generator=rng, dtype=torch.float64) * 1.6 - 0.3).clamp(0, 1)
    n = torch.randn(integer(rng, 3, 8), *SHAPE, generator=rng, dtype=torch.float64)
    return _gradient(rng), x, n, 0.2 + 0.2 * float(torch.rand((), generator=rng))


def _copies(x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    return (x + sigma * noise).clamp(0, 1)


def _smooth_found(student: Callable[..., Any]) -> Iterator[Any]:
    """How much of the student's map lies on the lesson's elephant, for several amounts of noise."""
    model, scene = models.load("menagerie-resnet"), menagerie.draw("elephant", seed=3)
    x, lines = scene.image, []
    tiles: list[Any] = [scene.at(240).image]
    noise = torch.randn(16, *x.shape, generator=torch.Generator().manual_seed(0))
    sigmas = (0.0, 0.04, 0.15, 0.3)
    for sigma in sigmas:
        one = torch.as_tensor(student(_slope(model, scene), x, noise, sigma))
        inside = float(evaluation.energy_inside(one[None], scene.masks["object"][None])[0])
        said = model.predict((x + sigma * noise).clamp(0, 1)).cpu().argmax(dim=1)
        right = int((said == scene.label).sum())
        lines.append(f"sigma {sigma:g}: {inside:.0%} on the elephant; {right} of 16 copies are still recognized")
        tiles.append(plots.attribution(one, size=240))
    yield "Your SmoothGrad of the lesson's elephant, 16 copies.\n" + "\n".join(lines)
    titles = ["the picture", *(f"sigma {sigma:g}" for sigma in sigmas)]
    yield plots.show(tiles, titles, "Bright: a large mean gradient, whatever its sign.", columns=5, size=1.9)


@exercise(
    draw=_noisy,
    shows=_smooth_found,
    arguments=("the gradient", "the picture", "the noise", "sigma"),
    praise="The mean of the gradients of noisy pictures: with enough copies, what they do not share averages out.",
    mistakes={
        "gradient of the mean": lambda g, x, n, s: g(_copies(x, n, s).mean(0)),
        "not clamped": lambda g, x, n, s: torch.stack([g(x + s * e) for e in n]).mean(0),
        "sigma forgotten": lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, 1.0)]).mean(0),
        "sigma squared": lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s**2)]).mean(0),
        "sum instead of mean": lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s)]).sum(0),
        "noise on the gradient": lambda g, x, n, s: torch.stack([g(x) + s * e for e in n]).mean(0),
        "first copy only": lambda g, x, n, s: g(_copies(x, n, s)[0]),
        "last copy only": lambda g, x, n, s: g(_copies(x, n, s)[-1]),
        "the same noise for all pixels": lambda g, x, n, s: torch.stack(
            [g((x + s * e.mean()).clamp(0, 1)) for e in n]
        ).mean(0),
        "absolute values averaged": lambda g, x, n, s: torch.stack([g(y).abs() for y in _copies(x, n, s)]).mean(0),
        "squares": lambda g, x, n, s: torch.stack([g(y) ** 2 for y in _copies(x, n, s)]).mean(0),
        "noise clamped": lambda g, x, n, s: torch.stack([g(x + (s * e).clamp(0, 1)) for e in n]).mean(0),
        "absolute value at the end": lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s)]).mean(0).abs(),
        "times the picture": lambda g, x, n, s: x * torch.stack([g(y) for y in _copies(x, n, s)]).mean(0),
        "no noise": lambda g, x, n, s: g(x),
    },
    hints={
        "gradient of the mean": "You average the noisy pictures and take one gradient: the noise is gone before the "
        "network sees it. Average the gradients.",
        "not clamped": "Some noisy pixels are below 0 or above 1, which no picture has: clamp each copy to [0, 1].",
        "sigma forgotten": "The noise comes with standard deviation 1: multiply it by sigma before adding it.",
        "sigma squared": "You multiply the noise by its variance, sigma squared; the standard deviation is sigma.",
        "sum instead of mean": "This is n times too large: divide by the number of copies.",
        "noise on the gradient": "You add the noise to the gradient. Add it to the picture, and run the network again.",
        "first copy only": "That is the gradient of the first noisy copy alone: is there a return inside the loop?",
        "last copy only": "That is the gradient of the last copy: each round overwrites the one before; add them up.",
        "the same noise for all pixels": "You shift all pixels alike; each has its own noise: add the whole tensor.",
        "absolute values averaged": "You average absolute values: then the noise cannot cancel out. Average with the "
        "sign; take absolute values at the end.",
        "squares": "That is SmoothGrad squared; here the gradients themselves are averaged.",
        "noise clamped": "You clamp the noise, so none of it darkens a pixel. Add it, then clamp the picture.",
        "absolute value at the end": "The mean is right, but its signs are lost: return the mean as it is.",
        "times the picture": "You multiply by the picture. SmoothGrad is the mean gradient alone.",
        "no noise": "That is the plain gradient: the noisy copies are never used.",
    },
)
def smooth_grad(gradient: Gradient, x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """The mean of the gradients at clamp(x + sigma noise_k, 0, 1)."""
    return torch.stack([gradient(y) for y in _copies(x, noise, sigma)]).mean(0)
