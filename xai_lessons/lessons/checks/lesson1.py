"""Checks of lesson 1: softmax and top-k, the shape of a layer's output, the epoch where overfitting starts."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from xai_lessons.lessons.checks.matrices import precision_recall as precision_recall
from xai_lessons.lessons.exercise import Mistake, exercise


def _logits(rng: torch.Generator) -> tuple[Tensor, int]:
    """Logits of one picture, in every other round so large that exp overflows; and k."""
    z = 3 * torch.randn(10, generator=rng)
    large = bool(torch.rand((), generator=rng) < 0.5)
    return z + (100.0 if large else 0.0), int(torch.randint(2, 6, (), generator=rng))


@exercise(
    draw=_logits,
    says=("logits", "k"),
    tolerance=1e-3,
    praise="Probabilities, largest first, also for logits of over 100, where exp alone would overflow.",
    mistakes=(
        Mistake(
            "exp overflows",
            lambda z, k: (z.exp() / z.exp().sum()).topk(k),
            "Right for small logits, but exp(100) is infinite in float32 and inf / inf is NaN. Softmax stays the same "
            "if the same number is taken away from all logits: which one makes sure that no exp is above 1?",
        ),
        Mistake(
            "no exponential",
            lambda z, k: (z / z.sum()).topk(k),
            "You divide the logits by their sum; softmax divides their exponentials, so that none is negative.",
        ),
        Mistake(
            "logits themselves",
            lambda z, k: z.topk(k),
            "The classes are right, but the numbers are still logits: turn them into probabilities before the top-k.",
        ),
        Mistake(
            "softmax of the top-k only",
            lambda z, k: (z.topk(k).values.softmax(0), z.topk(k).indices),
            "You take the top k first and the softmax of those alone: they sum to 1, as if no other class existed.",
        ),
        Mistake(
            "sigmoid",
            lambda z, k: z.sigmoid().topk(k),
            "That is the sigmoid: each class for itself. In softmax the classes share one probability of 1.",
        ),
        Mistake(
            "log-probabilities",
            lambda z, k: z.log_softmax(0).topk(k),
            "These are logarithms of probabilities: the last step, exp, is missing.",
        ),
        Mistake(
            "smallest first",
            lambda z, k: z.softmax(0).topk(k, largest=False),
            "These are the k least likely classes: sort the other way round.",
        ),
        Mistake(
            "ascending",
            lambda z, k: (z.softmax(0).topk(k).values.flip(0), z.softmax(0).topk(k).indices.flip(0)),
            "The right classes, but the likeliest must come first.",
        ),
        Mistake(
            "indices first",
            lambda z, k: (z.softmax(0).topk(k).indices, z.softmax(0).topk(k).values),
            "Both are right, but in the wrong order: return the probabilities first, then the classes.",
        ),
        Mistake(
            "all classes",
            lambda z, k: z.softmax(0),
            "These are all the probabilities: return the k largest of them, and the numbers of their classes.",
        ),
        Mistake(
            "not divided",
            lambda z, k: (z - z.max()).exp().topk(k),
            "The exponentials are right, but they must be divided by their sum: the likeliest class has 1 now.",
        ),
        Mistake(
            "largest taken away above only",
            lambda z, k: ((z - z.max()).exp() / z.exp().sum()).topk(k),
            "You take the largest logit away above the fraction line, but not below it: "
            "use the same exponentials in both.",
        ),
        Mistake(
            "counted from 1",
            lambda z, k: (z.softmax(0).topk(k).values, z.softmax(0).topk(k).indices + 1),
            "The probabilities are right, but the classes are counted from 0.",
        ),
        Mistake(
            "per cent",
            lambda z, k: (100 * z.softmax(0).topk(k).values, z.softmax(0).topk(k).indices),
            "Those are per cent: a probability lies between 0 and 1.",
        ),
        Mistake(
            "probabilities only",
            lambda z, k: z.softmax(0).topk(k).values,
            "The probabilities are right; return the numbers of their classes as well.",
        ),
    ),
)
def softmax_top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest probabilities p_c = exp(z_c) / sum_j exp(z_j), and their classes."""
    e = (logits - logits.max()).exp()
    top = (e / e.sum()).topk(k)
    return top.values, top.indices


def _layer(rng: torch.Generator) -> tuple[tuple[int, int, int], int, int, int, int]:
    """A shape (C, H, W), H unlike W, and a convolution: filters, kernel, stride, padding.

    Along the height nearly one more step would fit, along the width the last one fits exactly, and the padding is one
    more than the stride: so formulas that are wrong in different ways never agree in both.
    """

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=rng))

    c, kernel, stride = integer(1, 5), integer(8, 14), integer(3, 5)
    padding = stride + 1
    high, wide = integer(20, 36), integer(44, 56)
    high += (stride - 1 - (high + 2 * padding - kernel)) % stride
    wide += -(wide + 2 * padding - kernel) % stride
    return (c, high, wide), c + integer(3, 30), kernel, stride, padding


def _out(n: int, kernel: int, stride: int, padding: int) -> int:
    return (n + 2 * padding - kernel) // stride + 1


@exercise(
    draw=_layer,
    says=("the shape", "filters", "kernel", "stride", "padding"),
    mistakes=(
        Mistake(
            "no + 1",
            lambda s, f, k, t, p: (f, *(_out(n, k, t, p) - 1 for n in s[1:])),
            "One is missing in height and width: the filter's first place counts too, before it ever moves.",
        ),
        Mistake(
            "+ 1 before the division",
            lambda s, f, k, t, p: (f, *((n + 2 * p - k + 1) // t for n in s[1:])),
            "One short, but only where the last step fits exactly: count the first place, and then as many "
            "whole steps as fit into what is left.",
        ),
        Mistake(
            "kernel forgotten",
            lambda s, f, k, t, p: (f, *((n + 2 * p) // t for n in s[1:])),
            "The kernel's size does not occur: a filter cannot begin so late that it hangs over the edge.",
        ),
        Mistake(
            "square",
            lambda s, f, k, t, p: (f, _out(s[1], k, t, p), _out(s[1], k, t, p)),
            "You use the height for the width as well: the maps need not be square.",
        ),
        Mistake(
            "batch axis",
            lambda s, f, k, t, p: (1, f, *(_out(n, k, t, p) for n in s[1:])),
            "The numbers are right, but there is no batch here: return three of them, (C, H, W).",
        ),
        Mistake(
            "stride forgotten",
            lambda s, f, k, t, p: (f, *(_out(n, k, 1, p) for n in s[1:])),
            "That is the shape for stride 1: with stride s only every s-th place is visited.",
        ),
        Mistake(
            "padding forgotten",
            lambda s, f, k, t, p: (f, *(_out(n, k, t, 0) for n in s[1:])),
            "That is the shape without padding: it makes the picture larger before the filter comes.",
        ),
        Mistake(
            "padding on one side",
            lambda s, f, k, t, p: (f, *((n + p - k) // t + 1 for n in s[1:])),
            "The padding is put on both sides: left and right, above and below.",
        ),
        Mistake(
            "channels kept",
            lambda s, f, k, t, p: (s[0], *(_out(n, k, t, p) for n in s[1:])),
            "Height and width are right. But each filter looks at all channels and gives one map: "
            "how many maps come out?",
        ),
        Mistake(
            "channels multiplied",
            lambda s, f, k, t, p: (s[0] * f, *(_out(n, k, t, p) for n in s[1:])),
            "Height and width are right. A filter sums over all channels that come in: it gives "
            "one map, not one a channel.",
        ),
        Mistake(
            "rounded up",
            lambda s, f, k, t, p: (f, *(math.ceil((n + 2 * p - k) / t) + 1 for n in s[1:])),
            "You round up, or to the nearest number: a place where the filter would hang over the edge is not visited.",
        ),
        Mistake(
            "not rounded",
            lambda s, f, k, t, p: (f, *((n + 2 * p - k) / t + 1 for n in s[1:])),
            "A shape holds whole numbers: the filter visits whole places only, so round down with //.",
        ),
        Mistake(
            "height and width exchanged",
            lambda s, f, k, t, p: (f, _out(s[2], k, t, p), _out(s[1], k, t, p)),
            "Height and width are exchanged: PyTorch's order is (C, H, W).",
        ),
        Mistake(
            "channels last",
            lambda s, f, k, t, p: (_out(s[1], k, t, p), _out(s[2], k, t, p), f),
            "The right numbers, but PyTorch's order is channels, height, width.",
        ),
        Mistake(
            "only the stride",
            lambda s, f, k, t, p: (f, *(n // t for n in s[1:])),
            "You divide by the stride only. That is a rule of thumb for a padding of half the kernel: "
            "put kernel and padding in.",
        ),
    ),
)
def output_shape(
    shape: tuple[int, int, int], filters: int, kernel: int, stride: int, padding: int
) -> tuple[int, int, int]:
    """The shape (C, H, W) that a convolution puts out: floor((n + 2 p - k) / s) + 1 each way."""
    _, high, wide = shape
    return filters, _out(high, kernel, stride, padding), _out(wide, kernel, stride, padding)


def _curves(rng: torch.Generator) -> tuple[list[float], list[float]]:
    """Losses of a training in which every wrong reading finds another epoch.

    The validation loss rises once before its lowest point and falls a little at the end; the training loss is
    lowest in one epoch of luck, and the gap widest in another.
    """

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=rng))

    turn, bump = integer(10, 18), integer(5, 8)
    epochs = turn + integer(12, 20)
    train = [2.3 * math.exp(-0.9 * t) + 0.9 * math.exp(-0.03 * t) for t in range(epochs)]
    validation = [1.0 + (0.002 * (turn - t) ** 2 if t < turn else 0.1 * (t - turn)) for t in range(epochs)]
    validation[bump] += 0.3
    train[turn + 5], train[epochs - 6] = 0.005, 0.01
    for t in range(epochs - 3, epochs):
        validation[t] = validation[t - 1] - 0.02
    return train, validation


def _first_rise(train: list[float], validation: list[float]) -> int:
    return next(t for t in range(1, len(validation)) if validation[t] > validation[t - 1]) + 1


def _lowest_train(train: list[float], validation: list[float]) -> int:
    return train.index(min(train)) + 1


def _highest(train: list[float], validation: list[float]) -> int:
    return validation.index(max(validation)) + 1


def _widest(train: list[float], validation: list[float]) -> int:
    gaps = [v - t for t, v in zip(train, validation, strict=True)]
    return gaps.index(max(gaps)) + 1


def _crossing(train: list[float], validation: list[float]) -> int:
    return next(t for t in range(len(train)) if validation[t] > train[t]) + 1


def _wrong_place(name: str, find: Callable[[list[float], list[float]], int], hint: str) -> tuple[Mistake, Mistake]:
    """The same wrong place, counted from 1 and from 0."""
    from_0 = f"{hint} (And lists count from 0, epochs from 1.)"
    return Mistake(name, find, hint), Mistake(f"{name}, from 0", lambda t, v: find(t, v) - 1, from_0)


@exercise(
    draw=_curves,
    tolerance=1e-6,
    praise="Until there, learning the training pictures helped with new ones as well; after it, no longer.",
    mistakes=(
        Mistake(
            "counted from 0",
            lambda t, v: v.index(min(v)),
            "You found the right place in the list, but lists count from 0 and epochs from 1.",
        ),
        Mistake(
            "one too late",
            lambda t, v: v.index(min(v)) + 2,
            "One epoch too late: asked for is the last epoch that still helped.",
        ),
        Mistake(
            "first rise",
            _first_rise,
            "There the validation loss rises for the first time, but it falls again later: look for "
            "the lowest point of all.",
        ),
        Mistake(
            "before the first rise",
            lambda t, v: _first_rise(t, v) - 1,
            "You stop at the first rise of the validation loss, but it falls again later: look for "
            "the lowest point of all.",
        ),
        *_wrong_place(
            "lowest training loss",
            _lowest_train,
            "That is the lowest training loss. It can fall for ever: overfitting shows on pictures that "
            "are not trained on.",
        ),
        *_wrong_place(
            "highest validation loss",
            _highest,
            "That is the highest validation loss: the worst epoch for new pictures, not the best one.",
        ),
        *_wrong_place(
            "widest gap",
            _widest,
            "There the two losses are furthest apart. But a growing gap alone is no harm: does "
            "validation still get better?",
        ),
        *_wrong_place(
            "where the curves cross",
            _crossing,
            "There validation becomes worse than training. That is usual long before it does any harm.",
        ),
        Mistake(
            "last epoch",
            lambda t, v: len(v),
            "That is the last epoch. Had the training gone on for longer, would it have been that one, too?",
        ),
        Mistake(
            "both",
            lambda t, v: (v.index(min(v)) + 1, min(v)),
            "The epoch is right: return it alone, without its loss.",
        ),
        Mistake(
            "the loss itself",
            lambda t, v: min(v),
            "That is the lowest validation loss itself; asked for is its epoch.",
        ),
    ),
)
def overfitting_starts(train_loss: list[float], validation_loss: list[float]) -> int:
    """The epoch (from 1) of the lowest validation loss: from the next one on, training on only hurts."""
    return validation_loss.index(min(validation_loss)) + 1
