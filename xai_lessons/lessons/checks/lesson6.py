"""Checks of lesson 6: total variation, a loss that meets two layers, the layer from which on color is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import models, plots
from xai_lessons.core import activations
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import alternates, exercise, integer
from xai_lessons.methods import inversion


def _picture(rng: torch.Generator) -> tuple[Tensor, float]:
    """A picture (3, H, W), H and W different, and a beta that is neither 1 nor 2."""
    h, w = integer(rng, 5, 9), integer(rng, 9, 13)
    return torch.rand(3, h, w, generator=rng), 1.2 + 0.6 * float(torch.rand((), generator=rng))


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Right neighbor minus here, and lower neighbor minus here, where both exist."""
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


def _rough(student: Callable[..., Any]) -> Iterator[Any]:
    """The student's prior of the lesson's cat, of a blurred cat and of one with noise."""
    cat = menagerie.draw("cat", seed=0, background="meadow").image
    noise = 8 / 255 * torch.randn(cat.shape, generator=torch.Generator().manual_seed(0))
    versions = {
        "one color": torch.full_like(cat, 0.5),
        "blurred": F.avg_pool2d(cat[None], 9, stride=1, padding=4, count_include_pad=False)[0],
        "the lesson's cat": cat,
        "with noise of 8 gray values": (cat + noise).clamp(0, 1),
    }
    values = {name: float(student(x, 1.5)) for name, x in versions.items()}
    yield "Your prior, beta = 1.5: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()) + "."
    titles = [f"{name}\n{value:.4f}" for name, value in values.items()]
    yield plots.show(
        list(versions.values()), titles, "The prior prefers the pictures on the left.", columns=4, size=2.0
    )


@exercise(
    draw=_picture,
    arguments=("picture", "beta"),
    shows=_rough,
    praise="It is zero for one color, small for soft shading and large for noise: noise is what it penalizes.",
    mistakes={
        "sum instead of mean": lambda x, b: _energy(x).pow(b / 2).sum(),
        "power of beta": lambda x, b: _energy(x).pow(b).mean(),
        "power before the division": lambda x, b: (_energy(x) ** b / 2).mean(),
        "squares not taken": lambda x, b: torch.add(*(v.abs() for v in _slopes(x))).pow(b / 2).mean(),
        "power forgotten": lambda x, b: _energy(x).mean(),
        "root always": lambda x, b: _energy(x).sqrt().mean(),
        "power after the mean": lambda x, b: _energy(x).mean().pow(b / 2),
        "across the edge": lambda x, b: _wrapped(x).pow(b / 2).mean(),
        "only to the right": lambda x, b: _slopes(x)[0].abs().pow(b).mean(),
        "only below": lambda x, b: _slopes(x)[1].abs().pow(b).mean(),
        "each direction on its own": _each_way,
        "differences that cancel": lambda x, b: torch.add(*_slopes(x)).abs().pow(b).mean(),
        "absolute differences added": lambda x, b: (_slopes(x)[0].abs() + _slopes(x)[1].abs()).pow(b).mean(),
        "times instead of power": lambda x, b: (_energy(x) * b / 2).mean(),
        "colors summed": lambda x, b: _energy(x).pow(b / 2).sum(0).mean(),
    },
    hints={
        "sum instead of mean": "You sum over all positions. Then the weight lambda would mean something else for each "
        "image size: take the mean.",
        "power of beta": "The squares are already inside the parentheses: the power is beta / 2, so that beta = 1 "
        "gives the length of the slope.",
        "power before the division": "** binds more tightly than /: `** beta / 2` raises to beta and halves the "
        "result. Write `** (beta / 2)`.",
        "squares not taken": "You add the differences themselves. Add their squares, then raise to beta / 2.",
        "power forgotten": "You left beta out: the mean of the squares is the case beta = 2 only. Raise the sum at "
        "each position to beta / 2.",
        "root always": "That is the case beta = 1 only: raise the sum at each position to beta / 2.",
        "power after the mean": "You take the mean first, then the power. Take the power first, at each position.",
        "across the edge": "roll wraps around the edge: it compares the last column with the first one. Use slices, "
        "[:, :, 1:] and [:, :, :-1], instead.",
        "only to the right": "You compare each pixel with its right neighbor only: a picture of horizontal stripes "
        "would cost nothing. Add the one below.",
        "only below": "You compare each pixel with the one below only: a picture of vertical stripes would cost "
        "nothing. Add the right one.",
        "each direction on its own": "You raise each direction to its power, then add. Add the squares of both "
        "directions at the same position first; the power comes after. Crop both to (3, H-1, W-1).",
        "differences that cancel": "You add the differences first: one up and one down cancel. Square first.",
        "absolute differences added": "You add absolute differences. Add the squares, then raise to beta / 2.",
        "times instead of power": "You multiply by beta / 2 instead of raising to it: ** (beta / 2), in parentheses.",
        "colors summed": "This is exactly three times too large: you sum over the three colors and take the mean over "
        "positions. Take the mean over colors as well.",
    },
)
def total_variation(x: Tensor, beta: float) -> Tensor:
    """Mean over colors and positions of ((right - here)^2 + (below - here)^2)^(beta / 2)."""
    return _energy(x).pow(beta / 2).mean()


def _codes(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Codes of the found and of the given picture at an early, large layer and at a late, small one.

    In every other round the early layer is relatively further off, in the others the late one.
    """
    early, late = (integer(rng, 3, 6), 8, 8), (integer(rng, 6, 9), 2, 2)
    A0, B0 = 3 * torch.randn(early, generator=rng).relu(), 0.3 * torch.randn(late, generator=rng).relu()
    first, second = (2.0, 0.1) if alternates(rng) else (0.5, 0.4)
    return A0 + first * torch.rand(early, generator=rng), A0, B0 + second * torch.rand(late, generator=rng), B0


def _square(x: Tensor) -> Tensor:
    return x.square().sum()


def _mixed(student: Callable[..., Any]) -> Iterator[Any]:
    """A search with the student's loss: the stem of a car and the pool of a cat."""
    model, layers = models.load("menagerie-resnet"), ["stem", "pool"]
    car, cat = (menagerie.draw(name, seed=1).image[None].to(model.device) for name in ("car", "cat"))

    def codes(x: Tensor) -> list[Tensor]:
        return list(activations.activations(model, layers, x, gradient=True)[0].values())

    A_0, B_0 = codes(car)[0].detach(), codes(cat)[1].detach()
    u = inversion.fourier_amplitudes(car).requires_grad_()
    adam, losses = torch.optim.Adam([u], lr=0.03), []
    for _ in range(60):
        A, B = codes(inversion.fourier_image(u, car.shape[-1]))
        loss = student(A, A_0, B, B_0)
        u.grad = torch.autograd.grad(loss * u.numel(), u)[0]
        adam.step()
        losses.append(loss.item())
    found = inversion.fourier_image(u.detach(), car.shape[-1])
    says = model.classes[int(model.predict(found).argmax())]
    yield (
        f"A search of 60 steps with your loss, for the stem of a car and the pool of a cat: the loss falls from "
        f"{losses[0]:.2f} to {losses[-1]:.2f}, and the network says {says}."
    )
    tiles, titles = [car[0].cpu(), cat[0].cpu(), found[0].cpu()], ["stem of this car", "pool of this cat", "found"]
    yield plots.show(tiles, titles, "Both codes in one picture.", columns=3, size=2.1)


@exercise(
    draw=_codes,
    arguments=("A", "A_0", "B", "B_0"),
    shows=_mixed,
    praise="Each distance is measured in units of its own code, so neither layer drowns out the other.",
    mistakes={
        "not divided": lambda A, A0, B, B0: _square(A - A0) + _square(B - B0),
        "means instead of relative distances": lambda A, A0, B, B0: (A - A0).square().mean() + (B - B0).square().mean(),
        "one denominator": lambda A, A0, B, B0: (_square(A - A0) + _square(B - B0)) / (_square(A0) + _square(B0)),
        "divided by the found code": lambda A, A0, B, B0: _square(A - A0) / _square(A) + _square(B - B0) / _square(B),
        "not squared": lambda A, A0, B, B0: (A - A0).norm() / A0.norm() + (B - B0).norm() / B0.norm(),
        "denominators not squared": lambda A, A0, B, B0: _square(A - A0) / A0.norm() + _square(B - B0) / B0.norm(),
        "denominators swapped": lambda A, A0, B, B0: _square(A - A0) / _square(B0) + _square(B - B0) / _square(A0),
        "root of the whole": lambda A, A0, B, B0: (
            _square(A - A0) / _square(A0) + _square(B - B0) / _square(B0)
        ).sqrt(),
        "only the first layer": lambda A, A0, B, B0: _square(A - A0) / _square(A0),
        "only the second layer": lambda A, A0, B, B0: _square(B - B0) / _square(B0),
        "the larger of the two": lambda A, A0, B, B0: torch.maximum(
            _square(A - A0) / _square(A0), _square(B - B0) / _square(B0)
        ),
        "mean of the two": lambda A, A0, B, B0: (_square(A - A0) / _square(A0) + _square(B - B0) / _square(B0)) / 2,
        "product": lambda A, A0, B, B0: _square(A - A0) / _square(A0) * _square(B - B0) / _square(B0),
        "differences summed, then squared": lambda A, A0, B, B0: (
            (A - A0).sum() ** 2 / _square(A0) + (B - B0).sum() ** 2 / _square(B0)
        ),
        "absolute differences": lambda A, A0, B, B0: (
            (A - A0).abs().sum() / A0.abs().sum() + (B - B0).abs().sum() / B0.abs().sum()
        ),
    },
    hints={
        "not divided": "The early layer has more and larger numbers, so its distance drowns out the late one's. Divide "
        "each by the square of its own code.",
        "means instead of relative distances": "A mean corrects for how many numbers a layer has, but not for how "
        "large they are. Divide by the sum of the squares of its own code.",
        "one denominator": "You divide both by one number, so the larger layer dominates. Divide each by its own.",
        "divided by the found code": "You divide by the code of the picture that is optimized. It changes in every "
        "step, and a strong code would look close: divide by the given codes A_0 and B_0.",
        "not squared": "These are the distances, not their squares: the equation says |.|^2 above and below.",
        "denominators not squared": "The numerators are squared norms, the denominators are not: square each norm.",
        "denominators swapped": "Each distance is divided by the code of the other layer: A belongs to A_0, B to B_0.",
        "root of the whole": "The sum is right, but you take its root: leave it squared.",
        "only the first layer": "Only A is compared. Add the same for B.",
        "only the second layer": "Only B is compared. Add the same for A.",
        "the larger of the two": "You take the larger of the two. Then each step matches one layer only: add them.",
        "mean of the two": "That is the mean of the two, half of the sum in the equation.",
        "product": "You multiply the two. Then it is enough to match one of them, and the other is free: add them.",
        "differences summed, then squared": "You sum the differences first, so they cancel. Square each, then sum.",
        "absolute differences": "Use squared differences: one large error counts more than many small ones.",
    },
)
def two_layers(A: Tensor, A_0: Tensor, B: Tensor, B_0: Tensor) -> Tensor:
    """|A - A_0|^2 / |A_0|^2 + |B - B_0|^2 / |B_0|^2."""
    return _square(A - A_0) / _square(A_0) + _square(B - B_0) / _square(B_0)


def _colors(rng: torch.Generator) -> tuple[list[str], list[float], float]:
    """Names of layers, how much of the color each keeps, and a threshold.

    One early layer is below it, a later one above it once more: the last one above it comes after the first below.
    """
    limit = round(0.25 + 0.2 * float(torch.rand((), generator=rng)), 2)
    above = [limit + 0.1 + 0.1 * float(v) for v in torch.rand(2, generator=rng)]
    below = [limit - 0.05 - 0.15 * float(v) for v in torch.rand(5, generator=rng)]
    again = [
        above[1],
        limit + 0.6,
        limit + 0.05,
        limit + 0.03 * alternates(rng),
    ]  # the largest drop is here; at the limit is not below it
    values = [above[0], below[0], *[below[1]] * integer(rng, 0, 2), *again, below[2], below[3], limit - 0.3, below[4]]
    order = torch.randperm(30, generator=rng)[: len(values)].tolist()
    return [f"layer{i}" for i in order], [round(v, 3) for v in values], limit


def _gray(student: Callable[..., Any]) -> Iterator[str]:
    """From which layer on losing the color hardly moves the codes of the lesson's ten drawings."""
    ten = torch.stack([menagerie.draw(name, 0).image for name in menagerie.CLASSES])
    gray = ten.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    for network in ("menagerie-resnet", "menagerie-vgg"):
        model = models.load(network)
        names, effect = list(inversion.layers(model)), []
        for layer in names:
            Phi, other = (inversion.code(model, x, layer).cpu() for x in (ten, gray))
            apart = (Phi[:, None] - Phi[None]).square().sum(dim=2).sum() / (len(ten) * (len(ten) - 1))
            effect.append(float((other - Phi).square().sum(dim=1).mean() / apart))
        values = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, effect, strict=True))
        yield (
            f"{network}: made gray, ten drawings move the codes by {values} of the squared distance between two "
            "drawings. "
            f"With the limit 0.05 your function says {student(names, effect, 0.05)}."
        )


@exercise(
    draw=_colors,
    arguments=("names", "color", "limit"),
    shows=_gray,
    praise="From there on it is found at no layer. (Not found by this search: it may still be in the code.)",
    mistakes={
        "first below": lambda n, c, t: next(name for name, value in zip(n, c, strict=True) if value < t),
        "last above": lambda n, c, t: [name for name, value in zip(n, c, strict=True) if value >= t][-1],
        "at the limit": lambda n, c, t: n[max(i for i, value in enumerate(c) if value > t) + 1],
        "smallest": lambda n, c, t: n[c.index(min(c))],
        "largest drop": lambda n, c, t: n[max(range(1, len(c)), key=lambda i: c[i - 1] - c[i])],
        "last layer": lambda n, c, t: n[-1],
        "first layer": lambda n, c, t: n[0],
        "the index": lambda n, c, t: max(i for i, value in enumerate(c) if value >= t) + 1,
        "one too far": lambda n, c, t: n[max(i for i, value in enumerate(c) if value >= t) + 2],
    },
    hints={
        "first below": "You take the first layer that is below the limit. A later layer is above it again, so the "
        "color was still in the code. Look for the layer from which on it is never found again.",
        "last above": "That is the last layer that still has the color. The one after it is the answer.",
        "at the limit": "A value equal to the limit is not below it: compare with < (and its opposite is >=).",
        "smallest": "You take the layer with the smallest value. Being below the limit is enough.",
        "largest drop": "You take the layer after the largest drop. The size of the drop does not matter, only where "
        "the value starts to stay below the limit.",
        "last layer": "That is the last layer. Go back from it as long as the value is below the limit.",
        "first layer": "That is the first layer, where the color is still there. If you wrote any(...): from there on "
        "all values have to be below the limit.",
        "the index": "The position is right, but it is the index: return the name of the layer, names[i].",
        "one too far": "This is one layer too far: return the layer right after the last one with the color.",
    },
)
def color_gone(names: Sequence[str], color: Sequence[float], limit: float) -> str:
    """The first layer from which on all values are below the limit."""
    return names[max(i for i, value in enumerate(color) if value >= limit) + 1]
