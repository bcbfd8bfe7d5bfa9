"""Checks of lesson 3: integrated gradients and their sum, the map of the broken network, SmoothGrad by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xai_lessons.lessons.exercise import Mistake, exercise

SHAPE = (3, 5, 6)


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
    return _gradient(rng), x, 0.6 * b + 0.1, int(torch.randint(3, 9, (), generator=rng))


def _along(gradient: Gradient, x: Tensor, b: Tensor, alphas: Tensor) -> Tensor:
    return torch.stack([gradient(b + a * (x - b)) for a in alphas])


def _midpoints(m: int) -> Tensor:
    return (torch.arange(m, dtype=torch.float64) + 0.5) / m


def _integral(gradient: Gradient, x: Tensor, b: Tensor, alphas: Tensor) -> Tensor:
    return (x - b) * _along(gradient, x, b, alphas).mean(0)


@exercise(
    draw=_path,
    says=("the gradient", "the picture", "the baseline", "m"),
    praise="And they add up: the sum of your attributions is the score of the picture less that of the baseline.",
    mistakes=(
        Mistake(
            "baseline ignored",
            lambda g, x, b, m: x * torch.stack([g(a * x) for a in _midpoints(m)]).mean(0),
            "That is the lesson's version, which starts from black. Two places change if it starts from b: the way "
            "and the factor.",
        ),
        Mistake(
            "times the picture",
            lambda g, x, b, m: x * _along(g, x, b, _midpoints(m)).mean(0),
            "You multiply by x. That is right for a black baseline only: what did each pixel walk, from b to x?",
        ),
        Mistake(
            "difference forgotten",
            lambda g, x, b, m: _along(g, x, b, _midpoints(m)).mean(0),
            "That is the mean gradient on the way. An attribution is a slope times a way: how far did each pixel go?",
        ),
        Mistake(
            "sum instead of mean",
            lambda g, x, b, m: (x - b) * _along(g, x, b, _midpoints(m)).sum(0),
            "m times too large: each gradient stands for the m-th part of the way only.",
        ),
        Mistake(
            "wrong way",
            lambda g, x, b, m: -_integral(g, x, b, _midpoints(m)),
            "All signs are the other way round: the way leads from the baseline b to the picture x, so it is x - b.",
        ),
        Mistake(
            "only at the picture",
            lambda g, x, b, m: (x - b) * g(x),
            "You take the gradient at the picture only. It may be saturated there: walk, and look at every step.",
        ),
        Mistake(
            "only in the middle",
            lambda g, x, b, m: (x - b) * g((x + b) / 2),
            "You take one gradient, in the middle of the way; take m of them, each in the middle of its own step.",
        ),
        Mistake(
            "from black",
            lambda g, x, b, m: (x - b) * torch.stack([g(a * x) for a in _midpoints(m)]).mean(0),
            "Your way begins at black, a x. It has to begin at the baseline: where are you for a = 0?",
        ),
        Mistake(
            "ends of the steps",
            lambda g, x, b, m: _integral(g, x, b, torch.arange(1, m + 1, dtype=torch.float64) / m),
            "You look at the end of each step, k / m. The paper does too, but with the middle, (k - 1/2) / m, the "
            "sum is met far better: compare both.",
        ),
        Mistake(
            "beginnings of the steps",
            lambda g, x, b, m: _integral(g, x, b, torch.arange(m, dtype=torch.float64) / m),
            "You look at the beginning of each step, (k - 1) / m: the picture is never reached. Take the middle.",
        ),
        Mistake(
            "both ends",
            lambda g, x, b, m: _integral(g, x, b, torch.linspace(0, 1, m, dtype=torch.float64)),
            "linspace(0, 1, m) includes both ends, as if a step reached beyond them. Take the middles, (k - 1/2) / m.",
        ),
        Mistake(
            "k counted from 0",
            lambda g, x, b, m: _integral(g, x, b, (torch.arange(m, dtype=torch.float64) - 0.5) / m),
            "With k = 0 your first place lies before the baseline, and the last step is missing. range(m) begins at "
            "0: take range(1, m + 1).",
        ),
        Mistake(
            "last step missing",
            lambda g, x, b, m: (x - b) * _along(g, x, b, _midpoints(m)[:-1]).sum(0) / m,
            "Your last step is missing: range(1, m) ends at m - 1. Take range(1, m + 1).",
        ),
        Mistake(
            "overshoots",
            lambda g, x, b, m: (x - b) * torch.stack([g(b + a * x) for a in _midpoints(m)]).mean(0),
            "You walk b + a x, beyond the picture. The way is x - b: after the share a of it you are at b + a (x - b).",
        ),
        Mistake(
            "the sum alone",
            lambda g, x, b, m: _integral(g, x, b, _midpoints(m)).sum(),
            "That is the sum of the attributions, and it is right. Return the attributions themselves, one a pixel.",
        ),
        Mistake(
            "without sign",
            lambda g, x, b, m: _integral(g, x, b, _midpoints(m)).abs(),
            "The sizes are right, the signs are lost: with them gone, nothing adds up to the score any more.",
        ),
    ),
)
def integrated_gradients(gradient: Gradient, x: Tensor, b: Tensor, m: int) -> Tensor:
    """(x - b) times the mean of the gradients at b + (k - 1/2) / m (x - b), k = 1 ... m."""
    return _integral(gradient, x, b, _midpoints(m))


def _three_maps(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Attributions (3, 3, H, W) of three networks of one picture, one of them broken, and the thing's mask (H, W)."""
    high, wide = 10, 12
    mask = torch.zeros(high, wide, dtype=torch.bool)
    top, left = (int(torch.randint(1, 4, (), generator=rng)) for _ in range(2))
    mask[top : top + 5, left : left + 4] = True
    maps = torch.randn(3, 3, high, wide, generator=rng, dtype=torch.float64)
    broken = int(torch.randint(3, (), generator=rng))
    for i in range(3):
        maps[i] *= torch.where(mask, 6.0, 1.0) if i != broken else 5.0  # the broken one is strong, but everywhere
    return maps, mask


def _sizes(maps: Tensor) -> Tensor:
    return maps.abs().amax(1)


def _shares(heat: Tensor, mask: Tensor) -> Tensor:
    return (heat * mask).sum((1, 2)) / heat.sum((1, 2))


def _verdict(values: Tensor, lowest: bool = True) -> tuple[Tensor, int]:
    return values, int(values.argmin() if lowest else values.argmax())


@exercise(
    draw=_three_maps,
    says=("the maps", "the mask"),
    praise="A broken network has no reason to look at the thing. Strength proves nothing: its map may be strong.",
    mistakes=(
        Mistake(
            "highest share",
            lambda maps, mask: _verdict(_shares(_sizes(maps), mask), lowest=False),
            "The shares are right. But you name the network that looks at the thing most; the broken one does not.",
        ),
        Mistake(
            "with the sign",
            lambda maps, mask: _verdict(_shares(maps.sum(1), mask)),
            "You add up signed values: for and against cancel out. Take sizes first (abs), then the largest color.",
        ),
        Mistake(
            "sum of the colors",
            lambda maps, mask: _verdict(_shares(maps.abs().sum(1), mask)),
            "Sizes, yes; but of a pixel's three colors take the largest (amax), as the paper does, not the sum.",
        ),
        Mistake(
            "only for",
            lambda maps, mask: _verdict(_shares(maps.amax(1).clamp(min=0), mask)),
            "You keep positive values only. A gradient of -1 matters as much as one of +1: take abs.",
        ),
        Mistake(
            "amount instead of share",
            lambda maps, mask: _verdict((_sizes(maps) * mask).sum((1, 2))),
            "That is how much lies on the thing, not which share of the map: divide by the sum of the whole map.",
        ),
        Mistake(
            "share of the outside",
            lambda maps, mask: _verdict(_shares(_sizes(maps), ~mask)),
            "That is the share beside the thing (~mask): the broken network has the largest of those.",
        ),
        Mistake(
            "mean inside",
            lambda maps, mask: _verdict((_sizes(maps) * mask).sum((1, 2)) / mask.sum()),
            "You divide by the number of pixels of the thing; divide by the map's sum, so that strength drops out.",
        ),
        Mistake(
            "inside to outside",
            lambda maps, mask: _verdict(
                (_sizes(maps) * mask).sum((1, 2)) / (_sizes(maps) * ~mask).sum((1, 2)),
            ),
            "The right network, but you divide by what lies outside; a share is divided by the whole.",
        ),
        Mistake(
            "weakest map",
            lambda maps, mask: _verdict(_sizes(maps).sum((1, 2))),
            "You look for the weakest map. Random weights may give strong gradients: ask where they are.",
        ),
        Mistake(
            "the wrong dimension",
            lambda maps, mask: _verdict(_shares(maps.abs().amax(0), mask)),
            "You take the largest over the networks, dimension 0. The colors are dimension 1.",
        ),
        Mistake(
            "counted from 1",
            lambda maps, mask: (_shares(_sizes(maps), mask), int(_shares(_sizes(maps), mask).argmin()) + 1),
            "The shares are right, and you mean the right network; but count the networks from 0.",
        ),
        Mistake(
            "number first",
            lambda maps, mask: _verdict(_shares(_sizes(maps), mask))[::-1],
            "Both are right, in the other order: first the shares, then the number.",
        ),
        Mistake(
            "shares only",
            lambda maps, mask: _shares(_sizes(maps), mask),
            "The shares are right. Return the number of the broken network as well: (shares, number).",
        ),
        Mistake(
            "number only",
            lambda maps, mask: _verdict(_shares(_sizes(maps), mask))[1],
            "You name the right network. Return the three shares before it: (shares, number).",
        ),
    ),
)
def broken_network(maps: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    """The share of each map's size on the thing, and the number of the map with the lowest share."""
    return _verdict(_shares(_sizes(maps), mask))


def _noisy(rng: torch.Generator) -> tuple[Gradient, Tensor, Tensor, float]:
    """A gradient, a picture near black and white, noise of standard deviation 1, and sigma."""
    x = (torch.rand(SHAPE, generator=rng, dtype=torch.float64) * 1.6 - 0.3).clamp(0, 1)
    n = torch.randn(int(torch.randint(3, 8, (), generator=rng)), *SHAPE, generator=rng, dtype=torch.float64)
    return _gradient(rng), x, n, 0.2 + 0.2 * float(torch.rand((), generator=rng))


def _copies(x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    return (x + sigma * noise).clamp(0, 1)


@exercise(
    draw=_noisy,
    says=("the gradient", "the picture", "the noise", "sigma"),
    praise="The mean of the gradients of noisy pictures: the noise averages out, what the copies share remains.",
    mistakes=(
        Mistake(
            "gradient of the mean",
            lambda g, x, n, s: g(_copies(x, n, s).mean(0)),
            "You average the noisy pictures and take one gradient: the noise is gone before the network sees it. "
            "Average the gradients.",
        ),
        Mistake(
            "not clamped",
            lambda g, x, n, s: torch.stack([g(x + s * e) for e in n]).mean(0),
            "Some noisy pixels are below 0 or above 1, which no picture has: clamp each copy to [0, 1].",
        ),
        Mistake(
            "sigma forgotten",
            lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, 1.0)]).mean(0),
            "The noise comes with standard deviation 1: multiply it by sigma before adding it.",
        ),
        Mistake(
            "sigma squared",
            lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s**2)]).mean(0),
            "You multiply the noise by sigma squared, which is its variance; the standard deviation is sigma.",
        ),
        Mistake(
            "sum instead of mean",
            lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s)]).sum(0),
            "n times too large: divide by the number of copies.",
        ),
        Mistake(
            "noise on the gradient",
            lambda g, x, n, s: torch.stack([g(x) + s * e for e in n]).mean(0),
            "You add the noise to the gradient. It belongs to the picture: the network is asked again each time.",
        ),
        Mistake(
            "first copy only",
            lambda g, x, n, s: g(_copies(x, n, s)[0]),
            "That is the gradient of the first noisy copy alone: is there a return inside the loop?",
        ),
        Mistake(
            "last copy only",
            lambda g, x, n, s: g(_copies(x, n, s)[-1]),
            "That is the gradient of the last copy: each round of the loop overwrites the one before; add them up.",
        ),
        Mistake(
            "the same noise for all pixels",
            lambda g, x, n, s: torch.stack([g((x + s * e.mean()).clamp(0, 1)) for e in n]).mean(0),
            "All pixels get the same shift; every pixel has a noise of its own: add the whole tensor.",
        ),
        Mistake(
            "sizes averaged",
            lambda g, x, n, s: torch.stack([g(y).abs() for y in _copies(x, n, s)]).mean(0),
            "You average sizes: then noise cannot cancel out any more. Average with the sign; take sizes at the end.",
        ),
        Mistake(
            "squares",
            lambda g, x, n, s: torch.stack([g(y) ** 2 for y in _copies(x, n, s)]).mean(0),
            "That is SmoothGrad squared; here the gradients themselves are averaged.",
        ),
        Mistake(
            "noise clamped",
            lambda g, x, n, s: torch.stack([g(x + (s * e).clamp(0, 1)) for e in n]).mean(0),
            "You clamp the noise, so none of it darkens a pixel. Add it first, then clamp the noisy picture.",
        ),
        Mistake(
            "size at the end",
            lambda g, x, n, s: torch.stack([g(y) for y in _copies(x, n, s)]).mean(0).abs(),
            "The mean is right; its signs are lost. Sizes are for drawing: return the mean as it is.",
        ),
        Mistake(
            "times the picture",
            lambda g, x, n, s: x * torch.stack([g(y) for y in _copies(x, n, s)]).mean(0),
            "You multiply by the picture, as gradient × input does. SmoothGrad is the mean gradient alone.",
        ),
        Mistake(
            "no noise",
            lambda g, x, n, s: g(x),
            "That is the plain gradient: the noisy copies are never used.",
        ),
    ),
)
def smooth_grad(gradient: Gradient, x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """The mean of the gradients at clamp(x + sigma noise_k, 0, 1)."""
    return torch.stack([gradient(y) for y in _copies(x, noise, sigma)]).mean(0)
