"""Checks of lesson 6: total variation, a loss that meets two layers, the layer from which on color is gone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xai_lessons.lessons.exercise import Mistake, exercise


def _integer(rng: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def _picture(rng: torch.Generator) -> tuple[Tensor, float]:
    """A picture (3, H, W), H and W different, and a beta that is neither 1 nor 2."""
    h, w = _integer(rng, 5, 9), _integer(rng, 9, 13)
    return torch.rand(3, h, w, generator=rng), 1.2 + 0.6 * float(torch.rand((), generator=rng))


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Right neighbor less here, lower neighbor less here, where both exist."""
    here = x[:, :-1, :-1]
    return x[:, :-1, 1:] - here, x[:, 1:, :-1] - here


def _energy(x: Tensor) -> Tensor:
    right, below = _slopes(x)
    return right**2 + below**2


def _wrapped(x: Tensor) -> Tensor:
    return (x.roll(-1, 2) - x) ** 2 + (x.roll(-1, 1) - x) ** 2


def _each_way(x: Tensor, beta: float) -> Tensor:
    right, below = x[:, :, 1:] - x[:, :, :-1], x[:, 1:] - x[:, :-1]
    return right.abs().pow(beta).mean() + below.abs().pow(beta).mean()


@exercise(
    draw=_picture,
    says=("picture", "beta"),
    praise="Zero for one color, small for soft shading, large for noise: that is what is punished.",
    mistakes=(
        Mistake(
            "sum instead of mean",
            lambda x, b: _energy(x).pow(b / 2).sum(),
            "You sum over all places. Then the weight lambda would mean something else for each size of picture: take "
            "the mean.",
        ),
        Mistake(
            "power of beta",
            lambda x, b: _energy(x).pow(b).mean(),
            "The squares are already in the bracket: the power is beta / 2, so that with beta = 1 it is the length of "
            "the slope.",
        ),
        Mistake(
            "power forgotten",
            lambda x, b: _energy(x).mean(),
            "You left beta out: the mean of the squares is the case beta = 2 only. Raise each place's sum to beta / 2.",
        ),
        Mistake(
            "root always",
            lambda x, b: _energy(x).sqrt().mean(),
            "That is the case beta = 1 only: raise each place's sum to beta / 2 instead of taking the root.",
        ),
        Mistake(
            "power after the mean",
            lambda x, b: _energy(x).mean().pow(b / 2),
            "You take the mean first, then the power. The power belongs to each place; the mean comes last.",
        ),
        Mistake(
            "across the edge",
            lambda x, b: _wrapped(x).pow(b / 2).mean(),
            "roll goes round the edge: it compares the last column with the first one. Use slices, [:, :, 1:] and "
            "[:, :, :-1], instead.",
        ),
        Mistake(
            "only to the right",
            lambda x, b: _slopes(x)[0].abs().pow(b).mean(),
            "You compare each pixel with its right neighbor only: a picture of horizontal stripes would cost nothing. "
            "Add the one below.",
        ),
        Mistake(
            "only below",
            lambda x, b: _slopes(x)[1].abs().pow(b).mean(),
            "You compare each pixel with the one below only: a picture of vertical stripes would cost nothing. Add "
            "the right one.",
        ),
        Mistake(
            "each direction on its own",
            _each_way,
            "You raise each direction to its power, then add. Squares of both directions are added first, at the same "
            "place; the power comes after. Cut both to (3, H-1, W-1).",
        ),
        Mistake(
            "differences that cancel",
            lambda x, b: torch.add(*_slopes(x)).abs().pow(b).mean(),
            "You add the two differences before you square: one up and one down cancel. Square each, then add.",
        ),
        Mistake(
            "absolute differences added",
            lambda x, b: (_slopes(x)[0].abs() + _slopes(x)[1].abs()).pow(b).mean(),
            "You add absolute differences, then raise to beta. Add the squares, then raise to beta / 2.",
        ),
        Mistake(
            "times instead of power",
            lambda x, b: (_energy(x) * b / 2).mean(),
            "You multiply by beta / 2 instead of raising to it: ** (beta / 2), with the brackets.",
        ),
        Mistake(
            "colors summed",
            lambda x, b: _energy(x).pow(b / 2).sum(0).mean(),
            "Exactly three times too large: you sum over the three colors and take the mean over places. The mean "
            "goes over colors as well.",
        ),
    ),
)
def total_variation(x: Tensor, beta: float) -> Tensor:
    """Mean over colors and places of ((right - here)^2 + (below - here)^2)^(beta / 2)."""
    return _energy(x).pow(beta / 2).mean()


def _codes(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Codes of the found and of the given picture at an early, large layer and at a late, small one."""
    early, late = (_integer(rng, 3, 6), 8, 8), (_integer(rng, 6, 9), 2, 2)
    A0, B0 = 3 * torch.randn(early, generator=rng).relu(), 0.3 * torch.randn(late, generator=rng).relu()
    return A0 + torch.rand(early, generator=rng), A0, B0 + 0.2 * torch.rand(late, generator=rng), B0


def _square(x: Tensor) -> Tensor:
    return x.square().sum()


@exercise(
    draw=_codes,
    says=("A", "A_0", "B", "B_0"),
    praise="Each distance is told in units of its own code: so neither layer drowns the other one out.",
    mistakes=(
        Mistake(
            "not divided",
            lambda A, A0, B, B0: _square(A - A0) + _square(B - B0),
            "The early layer has more and larger numbers, so that its distance drowns the late one's. Divide each by "
            "the square of its own code.",
        ),
        Mistake(
            "means instead of shares",
            lambda A, A0, B, B0: (A - A0).square().mean() + (B - B0).square().mean(),
            "A mean makes up for how many numbers a layer has, but not for how large they are. Divide by the sum of "
            "the squares of its own code.",
        ),
        Mistake(
            "one denominator",
            lambda A, A0, B, B0: (_square(A - A0) + _square(B - B0)) / (_square(A0) + _square(B0)),
            "Both distances are divided by one common number, and the larger layer still rules. Divide each by "
            "its own.",
        ),
        Mistake(
            "divided by the found code",
            lambda A, A0, B, B0: _square(A - A0) / _square(A) + _square(B - B0) / _square(B),
            "You divide by the code of the picture that is looked for. It changes in every step, and a loud picture "
            "would look near: divide by the given codes A_0 and B_0.",
        ),
        Mistake(
            "not squared",
            lambda A, A0, B, B0: (A - A0).norm() / A0.norm() + (B - B0).norm() / B0.norm(),
            "These are the distances, not their squares: the equation says |.|^2 above and below.",
        ),
        Mistake(
            "denominators not squared",
            lambda A, A0, B, B0: _square(A - A0) / A0.norm() + _square(B - B0) / B0.norm(),
            "Above the line the norms are squared, below it they are not: divide by the square of each norm.",
        ),
        Mistake(
            "denominators exchanged",
            lambda A, A0, B, B0: _square(A - A0) / _square(B0) + _square(B - B0) / _square(A0),
            "Each distance is divided by the code of the other layer: A belongs to A_0, B to B_0.",
        ),
        Mistake(
            "root of the whole",
            lambda A, A0, B, B0: (_square(A - A0) / _square(A0) + _square(B - B0) / _square(B0)).sqrt(),
            "The sum is right, but you take its root: leave it squared.",
        ),
        Mistake(
            "only the first layer",
            lambda A, A0, B, B0: _square(A - A0) / _square(A0),
            "Only A is met. Add the same for B.",
        ),
        Mistake(
            "only the second layer",
            lambda A, A0, B, B0: _square(B - B0) / _square(B0),
            "Only B is met. Add the same for A.",
        ),
        Mistake(
            "product",
            lambda A, A0, B, B0: _square(A - A0) / _square(A0) * _square(B - B0) / _square(B0),
            "You multiply the two. Then it is enough that one of them is met, and the other is free: add them.",
        ),
        Mistake(
            "differences summed, then squared",
            lambda A, A0, B, B0: (A - A0).sum() ** 2 / _square(A0) + (B - B0).sum() ** 2 / _square(B0),
            "You sum the differences before you square: one too high and one too low cancel. Square each, then sum.",
        ),
        Mistake(
            "absolute differences",
            lambda A, A0, B, B0: (A - A0).abs().sum() / A0.abs().sum() + (B - B0).abs().sum() / B0.abs().sum(),
            "You take absolute differences. The squared distance is asked for: it hates one large error more than many "
            "small ones.",
        ),
    ),
)
def two_layers(A: Tensor, A_0: Tensor, B: Tensor, B_0: Tensor) -> Tensor:
    """|A - A_0|^2 / |A_0|^2 + |B - B_0|^2 / |B_0|^2."""
    return _square(A - A_0) / _square(A_0) + _square(B - B_0) / _square(B_0)


def _colors(rng: torch.Generator) -> tuple[list[str], list[float], float]:
    """Names of layers, what is kept of the color at each, and a threshold.

    One early layer is below it, a later one above it once more: the last one above it comes after the first below.
    """
    limit = round(0.25 + 0.2 * float(torch.rand((), generator=rng)), 2)
    above = [limit + 0.1 + 0.1 * float(v) for v in torch.rand(2, generator=rng)]
    below = [limit - 0.05 - 0.15 * float(v) for v in torch.rand(5, generator=rng)]
    again = [
        above[1],
        limit + 0.6,
        limit + 0.05,
        limit + 0.03,
    ]  # the largest fall is inside, where the color is still there
    values = [above[0], below[0], *[below[1]] * _integer(rng, 0, 2), *again, below[2], below[3], limit - 0.3, below[4]]
    order = torch.randperm(30, generator=rng)[: len(values)].tolist()
    return [f"layer{i}" for i in order], [round(v, 3) for v in values], limit


@exercise(
    draw=_colors,
    says=("names", "color", "limit"),
    praise="From there on, at no layer does it come back: that is what lost means.",
    mistakes=(
        Mistake(
            "first below",
            lambda n, c, t: next(name for name, value in zip(n, c, strict=True) if value < t),
            "You take the first layer that is below the limit. A later layer is above it again, so the color was "
            "still in the code. It is lost only where it never comes back.",
        ),
        Mistake(
            "last above",
            lambda n, c, t: [name for name, value in zip(n, c, strict=True) if value >= t][-1],
            "That is the last layer that still has the color. The one after it is the first that lost it.",
        ),
        Mistake(
            "smallest",
            lambda n, c, t: n[c.index(min(c))],
            "You take the layer with the smallest value of all. The color was gone before that: below the limit is "
            "enough.",
        ),
        Mistake(
            "largest fall",
            lambda n, c, t: n[max(range(1, len(c)), key=lambda i: c[i - 1] - c[i])],
            "You take the layer after the largest fall. How far it falls does not matter, only from where on it stays "
            "below the limit.",
        ),
        Mistake(
            "last layer",
            lambda n, c, t: n[-1],
            "That is the last layer of all. Go back from it as long as the value is below the limit.",
        ),
        Mistake(
            "first layer",
            lambda n, c, t: n[0],
            "That is the first layer, where the color is still there. If you wrote any(...): from there on all "
            "values have to be below the limit.",
        ),
        Mistake(
            "the index",
            lambda n, c, t: max(i for i, value in enumerate(c) if value >= t) + 1,
            "The place is right, but it is the index: return the name of the layer, names[i].",
        ),
        Mistake(
            "one too far",
            lambda n, c, t: n[max(i for i, value in enumerate(c) if value >= t) + 2],
            "One layer too far: the layer directly after the last one that still has the color.",
        ),
    ),
)
def color_gone(names: Sequence[str], color: Sequence[float], limit: float) -> str:
    """The first layer from which on all values are below the limit."""
    return names[max(i for i, value in enumerate(color) if value >= limit) + 1]
