"""Checks of lesson 1: softmax and top-k, a layer's output shape, the epoch of overfitting, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons import models
from xai_lessons.data import menagerie
from xai_lessons.lessons.exercise import alternates, distinct, exercise, integer
from xai_lessons.models import anatomy
from xai_lessons.results import cifar10, histories


def opening_cat() -> menagerie.Scene:
    """The cat of the lesson's opening picture, of which the network is not sure.

    Example:
        >>> opening_cat().name
        'cat'
    """
    return menagerie.draw("cat", seed=194, background="snow", tree=False, tag=False)


def _logits(rng: torch.Generator) -> tuple[Tensor, int]:
    """Logits of one picture, in every other round so large that exp overflows; and k."""
    z = 3 * torch.randn(10, generator=rng)
    return z + (100.0 if alternates(rng) else 0.0), integer(rng, 2, 6)


def _top_of_scenes(student: Callable[..., Any]) -> Iterator[str]:
    """The student's top three for the opening cat, whole and without two of its parts."""
    model, cat = models.load("menagerie-resnet"), opening_cat()
    scenes = {"The cat of the first screen": cat}
    scenes |= {f"The same without its {part}": cat.without(part) for part in ("ears", "body")}
    with torch.no_grad():
        logits = model(torch.stack([scene.image for scene in scenes.values()]).to(model.device)).cpu()
    lines = []
    for name, z in zip(scenes, logits, strict=True):
        values, classes = student(z, 3)
        said = (f"{model.classes[int(c)]} {float(p):.0%}" for p, c in zip(values, classes, strict=True))
        lines.append(f"{name}: {', '.join(said)}.")
    yield "Your function, with k = 3.\n" + "\n".join(lines)


@exercise(
    draw=_logits,
    shows=_top_of_scenes,
    arguments=("logits", "k"),
    tolerance=1e-3,
    forbidden=dict.fromkeys(
        ("softmax", "log_softmax", "Softmax", "softmin", "logsumexp", "logaddexp"),
        "The numbers are those of PyTorch's own function. Write the formula yourself: exp, and a division by the sum.",
    ),
    praise="Probabilities, largest first, also for logits of over 100, where exp alone would overflow.",
    mistakes={
        "exp overflows": lambda z, k: (z.exp() / z.exp().sum()).topk(k),
        "no exponential": lambda z, k: (z / z.sum()).topk(k),
        "logits themselves": lambda z, k: z.topk(k),
        "softmax of the top-k only": lambda z, k: (z.topk(k).values.softmax(0), z.topk(k).indices),
        "sigmoid": lambda z, k: z.sigmoid().topk(k),
        "log-probabilities": lambda z, k: z.log_softmax(0).topk(k),
        "smallest first": lambda z, k: z.softmax(0).topk(k, largest=False),
        "ascending": lambda z, k: (z.softmax(0).topk(k).values.flip(0), z.softmax(0).topk(k).indices.flip(0)),
        "indices first": lambda z, k: (z.softmax(0).topk(k).indices, z.softmax(0).topk(k).values),
        "all classes": lambda z, k: z.softmax(0),
        "not divided": lambda z, k: (z - z.max()).exp().topk(k),
        "largest subtracted in the numerator only": lambda z, k: ((z - z.max()).exp() / z.exp().sum()).topk(k),
        "counted from 1": lambda z, k: (z.softmax(0).topk(k).values, z.softmax(0).topk(k).indices + 1),
        "percent": lambda z, k: (100 * z.softmax(0).topk(k).values, z.softmax(0).topk(k).indices),
        "probabilities only": lambda z, k: z.softmax(0).topk(k).values,
        "classes only": lambda z, k: z.topk(k).indices,
        "pairs": lambda z, k: list(zip(*(t.tolist() for t in z.softmax(0).topk(k)), strict=True)),
        "pairs, class first": lambda z, k: list(zip(*(t.tolist() for t in z.softmax(0).topk(k)[::-1]), strict=True)),
    },
    hints={
        "exp overflows": "This is right for small logits, but exp(100) is infinite in float32, and inf / inf is NaN. "
        "Softmax does not change if you subtract the same number from all logits: which number keeps every exp at 1 "
        "or below?",
        "no exponential": "You divide the logits by their sum; softmax divides their exponentials, which are positive.",
        "logits themselves": "The classes are right, but these are still logits: make them probabilities first.",
        "softmax of the top-k only": "Your softmax covers the top k only, as if no other class existed.",
        "sigmoid": "That is the sigmoid, one class at a time. In softmax the probabilities of all classes sum to 1.",
        "log-probabilities": "These are logarithms of probabilities: the last step, exp, is missing.",
        "smallest first": "These are the k least likely classes: sort in the other order.",
        "ascending": "The classes are right, but the most likely one must come first.",
        "indices first": "Both are right, but in the wrong order: return the probabilities first, then the classes.",
        "all classes": "These are all the probabilities: return the k largest of them, and their class numbers.",
        "not divided": "The exponentials are right, but divide them by their sum: now the most likely class gets 1.",
        "largest subtracted in the numerator only": "You subtract the largest logit in the numerator, but not in the "
        "denominator: use the same exponentials in both.",
        "counted from 1": "The probabilities are right, but the classes are counted from 0.",
        "percent": "These are percentages: a probability lies between 0 and 1.",
        "probabilities only": "The probabilities are right; return the numbers of their classes as well.",
        "classes only": "The classes are right; return their probabilities as well, and first.",
        "pairs": "The pairs are right. Return two things instead: all probabilities, then all classes.",
        "pairs, class first": "The pairs are right, but return all probabilities together, then all classes.",
    },
)
def softmax_top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest probabilities p_c = exp(z_c) / sum_j exp(z_j), and their classes."""
    e = (logits - logits.max()).exp()
    top = (e / e.sum()).topk(k)
    return top.values, top.indices


def _layer(rng: torch.Generator) -> tuple[tuple[int, int, int], int, int, int, int]:
    """A shape (C, H, W), H unlike W, and a convolution: filters, kernel, stride, padding.

    Along the height nearly one more step would fit, along the width the last one fits exactly.
    """
    c, kernel, stride = integer(rng, 2, 5), integer(rng, 8, 14), integer(rng, 3, 5)
    padding = integer(rng, 2, 7)
    high, wide = integer(rng, 20, 36), integer(rng, 44, 56)
    high += (stride - 1 - (high + 2 * padding - kernel)) % stride
    wide += -(wide + 2 * padding - kernel) % stride
    return (c, high, wide), c + integer(rng, 3, 30), kernel, stride, padding


def _out(n: int, kernel: int, stride: int, padding: int) -> int:
    return (n + 2 * padding - kernel) // stride + 1


_OTHER_SHAPES: dict[str, Callable[..., Any]] = {
    "no + 1": lambda s, f, k, t, p: (f, *(_out(n, k, t, p) - 1 for n in s[1:])),
    "+ 1 before the division": lambda s, f, k, t, p: (f, *((n + 2 * p - k + 1) // t for n in s[1:])),
    "kernel forgotten": lambda s, f, k, t, p: (f, *((n + 2 * p) // t for n in s[1:])),
    "square": lambda s, f, k, t, p: (f, _out(s[1], k, t, p), _out(s[1], k, t, p)),
    "batch axis": lambda s, f, k, t, p: (1, f, *(_out(n, k, t, p) for n in s[1:])),
    "stride forgotten": lambda s, f, k, t, p: (f, *(_out(n, k, 1, p) for n in s[1:])),
    "padding forgotten": lambda s, f, k, t, p: (f, *(_out(n, k, t, 0) for n in s[1:])),
    "padding on one side": lambda s, f, k, t, p: (f, *((n + p - k) // t + 1 for n in s[1:])),
    "channels kept": lambda s, f, k, t, p: (s[0], *(_out(n, k, t, p) for n in s[1:])),
    "channels multiplied": lambda s, f, k, t, p: (s[0] * f, *(_out(n, k, t, p) for n in s[1:])),
    "rounded up": lambda s, f, k, t, p: (f, *(math.ceil((n + 2 * p - k) / t) + 1 for n in s[1:])),
    "not rounded": lambda s, f, k, t, p: (f, *((n + 2 * p - k) / t + 1 for n in s[1:])),
    "height and width swapped": lambda s, f, k, t, p: (f, _out(s[2], k, t, p), _out(s[1], k, t, p)),
    "channels last": lambda s, f, k, t, p: (_out(s[1], k, t, p), _out(s[2], k, t, p), f),
    "only the stride": lambda s, f, k, t, p: (f, *(n // t for n in s[1:])),
    "padding on one side, no + 1": lambda s, f, k, t, p: (f, *((n + p - k) // t for n in s[1:])),
    "padding forgotten, no + 1": lambda s, f, k, t, p: (f, *((n - k) // t for n in s[1:])),
    "height and width only": lambda s, f, k, t, p: tuple(_out(n, k, t, p) for n in s[1:]),
}


def _shapes_of_networks(student: Callable[..., Any]) -> Iterator[str]:
    """The student's shape of every convolution of the lesson's two networks, beside the network's own."""
    image = opening_cat().image
    for name in ("menagerie-resnet", "menagerie-vgg"):
        model, lines, agree, count = models.load(name), [], 0, 0
        for layer in anatomy.names(model):
            module = model.network.get_submodule(layer)
            if isinstance(module, nn.Conv2d):
                before, after = (tuple(t.shape) for t in anatomy.inside(model, layer, image))
                given = (module.kernel_size[0], module.stride[0], int(module.padding[0]))
                yours = tuple(int(n) for n in student(before, module.out_channels, *given))
                agree, count = agree + (yours == after), count + 1
                lines.append(f"{layer}: {' x '.join(map(str, before))} to {' x '.join(map(str, yours))}")
        yield f"{name}: yours is the shape of {agree} of its {count} convolutions.\n" + "\n".join([*lines[:3], "..."])


@exercise(
    shows=_shapes_of_networks,
    draw=distinct(_layer, [lambda s, f, k, t, p: (f, *(_out(n, k, t, p) for n in s[1:])), *_OTHER_SHAPES.values()]),
    arguments=("the shape", "filters", "kernel", "stride", "padding"),
    mistakes=_OTHER_SHAPES,
    hints={
        "no + 1": "Height and width are too small by one: the filter's first position counts too, before it moves.",
        "+ 1 before the division": "The result is too small by one where the last step fits exactly: count the first "
        "position, then as many whole steps as fit into the rest.",
        "kernel forgotten": "You do not use the kernel size: a filter cannot start so late that it leaves the map.",
        "square": "You use the height for the width as well: the maps need not be square.",
        "batch axis": "The numbers are right, but there is no batch here: return three of them, (C, H, W).",
        "stride forgotten": "That is the shape for stride 1: with stride s the filter visits only every s-th position.",
        "padding forgotten": "That is the shape without padding, which enlarges the picture before the filter.",
        "padding on one side": "Padding is added on both sides: left and right, top and bottom.",
        "channels kept": "Height and width are right. Each filter sees all channels and gives one map: how many maps?",
        "channels multiplied": "Height and width are right. A filter sums over all channels: it gives one map.",
        "rounded up": "You round up, or to the nearest integer: a filter that would extend beyond the edge is skipped.",
        "not rounded": "A shape consists of integers: only whole steps count, so round down with //.",
        "height and width swapped": "Height and width are swapped: PyTorch's order is (C, H, W).",
        "channels last": "The numbers are right, but PyTorch's order is channels, height, width.",
        "padding on one side, no + 1": "Two things are missing: padding is added on both sides, and the filter's first "
        "position counts too.",
        "padding forgotten, no + 1": "Two things are missing: the padding on both sides, and the filter's first "
        "position, before it moves.",
        "height and width only": "Height and width are right; put the number of maps before them, (C, H, W).",
        "only the stride": "You divide by the stride only. That rule of thumb holds for a padding of half the kernel: "
        "use kernel and padding too.",
    },
)
def output_shape(
    shape: tuple[int, int, int], filters: int, kernel: int, stride: int, padding: int
) -> tuple[int, int, int]:
    """The output shape (C, H, W) of a convolution: floor((n + 2 p - k) / s) + 1 in each direction."""
    _, high, wide = shape
    return filters, _out(high, kernel, stride, padding), _out(wide, kernel, stride, padding)


def _curves(rng: torch.Generator) -> tuple[list[float], list[float]]:
    """Losses of a training run in which every common mistake finds another epoch.

    Before its lowest point the validation loss rises once for one epoch and once for five, so that whoever waits for
    two, three or five rises stops too early; at the end it falls a little. The training loss is lowest in one lucky
    epoch, and the gap is widest in another.
    """
    bump, hill = integer(rng, 4, 6), integer(rng, 8, 10)
    turn = hill + integer(rng, 9, 14)
    epochs, level = turn + integer(rng, 12, 20), 0.7 + 0.6 * float(torch.rand((), generator=rng))
    train = [2.3 * math.exp(-0.9 * t) + 0.6 * math.exp(-0.03 * t) for t in range(epochs)]
    validation = [level + (0.002 * (turn - t) ** 2 if t < turn else 0.1 * (t - turn)) for t in range(epochs)]
    validation[bump] += 0.3
    for t in range(hill, hill + 5):
        validation[t] = validation[t - 1] + 0.04
    train[turn + 5], train[epochs - 6] = 0.005, 0.01
    for t in range(epochs - 3, epochs):
        validation[t] = validation[t - 1] - 0.02
    return train, validation


def _first_rise(train: list[float], validation: list[float]) -> int:
    return 1 + next(t for t in range(1, len(validation)) if validation[t] > validation[t - 1])


def _two_rises(train: list[float], validation: list[float]) -> int:
    return 1 + next(
        t
        for t in range(len(validation) - 2)
        if validation[t] < validation[t + 1] and validation[t + 1] < validation[t + 2]
    )


_OTHER_EPOCHS: dict[str, Callable[[list[float], list[float]], int]] = {
    "lowest training loss": lambda t, v: 1 + t.index(min(t)),
    "highest validation loss": lambda t, v: 1 + v.index(max(v)),
    "widest gap": lambda t, v: 1 + max(range(len(v)), key=lambda epoch: v[epoch] - t[epoch]),
    "where the curves cross": lambda t, v: 1 + next(epoch for epoch in range(len(v)) if v[epoch] > t[epoch]),
}
_OTHER_HINTS = {
    "lowest training loss": "That is the lowest training loss. It can keep falling: overfitting shows on pictures that "
    "the network was not trained on.",
    "highest validation loss": "That is the highest validation loss: the worst epoch for new pictures, not the best.",
    "widest gap": "There the two losses are furthest apart. A growing gap alone does no harm: does the validation loss "
    "still improve?",
    "where the curves cross": "There the validation loss exceeds the training loss. That happens long before it harms.",
}


def _stops_of_trainings(student: Callable[..., Any]) -> Iterator[str]:
    """The student's epoch in the stored trainings of the lesson."""
    for name, words in (("overfitting", "The overfitting run"), ("residual", "The live training")):
        history = histories.load(name)
        train, validation = ([getattr(e, f"{split}_loss") for e in history] for split in ("train", "validation"))
        epoch = int(student(train, validation))
        yield (
            f"{words}: you stop after epoch {epoch} of {len(history)}. There the loss on new pictures is "
            f"{validation[epoch - 1]:.2f}, at the end {validation[-1]:.2f}; guessing costs {math.log(10):.2f}."
        )


@exercise(
    draw=_curves,
    shows=_stops_of_trainings,
    tolerance=1e-6,
    praise="Until there, learning the training pictures lowered the loss on new ones as well; after it, no longer.",
    mistakes={
        "counted from 0": lambda t, v: v.index(min(v)),
        "one too late": lambda t, v: v.index(min(v)) + 2,
        "first rise": _first_rise,
        "before the first rise": lambda t, v: _first_rise(t, v) - 1,
        "stopped early": _two_rises,
        "stopped early, from 0": lambda t, v: _two_rises(t, v) - 1,
        **_OTHER_EPOCHS,
        **{f"{name}, from 0": lambda t, v, find=find: find(t, v) - 1 for name, find in _OTHER_EPOCHS.items()},
        "last epoch": lambda t, v: len(v),
        "both": lambda t, v: (v.index(min(v)) + 1, min(v)),
        "the loss itself": lambda t, v: min(v),
    },
    hints={
        "counted from 0": "You found the right place in the list, but lists count from 0 and epochs from 1.",
        "one too late": "This is one epoch too late: return the last epoch that still helped.",
        "first rise": "The validation loss first rises there, but it falls again later: look for its minimum.",
        "before the first rise": "You stop where the loss first rises, but it falls again: look for its minimum.",
        "stopped early": "You stop after a few rises in a row, or a few epochs without an improvement. That saves "
        "time, but here a better epoch comes later: look at all of them.",
        "stopped early, from 0": "You stop after a few rises in a row, but here a better epoch comes later: look at "
        "all of them. (And lists count from 0, epochs from 1.)",
        **_OTHER_HINTS,
        **{f"{name}, from 0": f"{h} (And lists count from 0, epochs from 1.)" for name, h in _OTHER_HINTS.items()},
        "last epoch": "That is the last epoch. If training had run longer, would it still be that one?",
        "both": "The epoch is right: return it alone, without its loss.",
        "the loss itself": "That is the lowest validation loss itself; return its epoch.",
    },
)
def overfitting_starts(train_loss: list[float], validation_loss: list[float]) -> int:
    """The epoch (from 1) of the lowest validation loss: from the next one on, training on only hurts."""
    return validation_loss.index(min(validation_loss)) + 1


def _matrix(rng: torch.Generator) -> tuple[Tensor, int]:
    """A confusion matrix with classes of unlike sizes, and a class that is neither the first nor the last."""
    k = integer(rng, 4, 7)
    confusion = torch.randint(1, 30, (k, k), generator=rng) + torch.diag(torch.randint(60, 200, (k,), generator=rng))
    c = integer(rng, 1, k - 1)
    confusion[c] += torch.randint(20, 40, (k,), generator=rng)  # often missed: recall falls below precision
    return confusion, c


def _parts(confusion: Tensor, c: int) -> tuple[float, ...]:
    """Correct answers for the class, pictures called c, pictures of c, and all pictures."""
    return tuple(float(n) for n in (confusion[c, c], confusion[:, c].sum(), confusion[c].sum(), confusion.sum()))


def _from(formula: Any) -> Any:
    return lambda confusion, c: formula(*_parts(confusion, c))


def _rates_of_classes(student: Callable[..., Any]) -> Iterator[str]:
    """The student's precision and recall of two classes of CIFAR-10, in the stored confusion matrices."""
    report = cifar10.load()
    for name, each in report.networks.items():
        rates = [tuple(float(rate) for rate in student(each.confusion, c)) for c in range(len(report.classes))]
        rows = []
        for words, c in (
            ("missed most", min(range(len(rates)), key=lambda c: rates[c][1])),
            ("the two furthest apart", max(range(len(rates)), key=lambda c: abs(rates[c][0] - rates[c][1]))),
        ):
            precision, recall = rates[c]
            rows.append(f"{words}: {report.classes[c]}, precision {precision:.1%}, recall {recall:.1%}")
        yield f"{name} on 10,000 photographs, of all classes\n" + "\n".join(rows)


@exercise(
    shows=_rates_of_classes,
    draw=_matrix,
    arguments=("the confusion matrix", "c"),
    tolerance=1e-3,
    praise="Precision looks at a column, recall at a row; the diagonal is the numerator of both.",
    mistakes={
        "swapped": _from(lambda right, called, are, every: (right / are, right / called)),
        "row in both": _from(lambda right, called, are, every: (right / are, right / are)),
        "column in both": _from(lambda right, called, are, every: (right / called, right / called)),
        "divided by all": _from(lambda right, called, are, every: (right / every, right / every)),
        "accuracy": lambda confusion, c: (float(confusion.trace() / confusion.sum()),) * 2,
        "right to wrong": _from(lambda right, called, are, every: (right / (called - right), right / (are - right))),
        "the wrong ones": _from(lambda right, called, are, every: (1 - right / called, 1 - right / are)),
        "percent": _from(lambda right, called, are, every: (100 * right / called, 100 * right / are)),
        "whole numbers": _from(lambda right, called, are, every: (right // called, right // are)),
        "rounded": _from(lambda right, called, are, every: (round(right / called, 2), round(right / are, 2))),
        "counts": _from(lambda right, called, are, every: (called, are)),
        "every class": lambda confusion, c: tuple(confusion.diagonal() / confusion.sum(axis) for axis in (0, 1)),
        "F1": _from(lambda right, called, are, every: 2 * right / (called + are)),
        "F1 twice": _from(lambda right, called, are, every: (2 * right / (called + are),) * 2),
        "precision alone": _from(lambda right, called, are, every: right / called),
        "recall alone": _from(lambda right, called, are, every: right / are),
        "counted from 1": lambda confusion, c: tuple(confusion[c - 1, c - 1] / confusion.sum(a)[c - 1] for a in (0, 1)),
    },
    hints={
        "swapped": "Both numbers are right, but in the wrong order: precision, of what was *called* c, comes first.",
        "row in both": "Recall is right, but precision is about all pictures *called* c: is that a row or a column?",
        "column in both": "Precision is right, but recall is about all pictures that *are* c: row or column?",
        "divided by all": "You divide by all pictures. Precision counts only those called c, recall those that are c.",
        "accuracy": "That is the accuracy, of all classes together: here we look at a single class.",
        "right to wrong": "You divide the right answers by the wrong ones; divide by right and wrong together.",
        "the wrong ones": "These are the fractions that are wrong: return those that are right, 1 minus yours.",
        "percent": "These are percentages: a fraction lies between 0 and 1.",
        "whole numbers": "Both are 0: // drops the decimals. Divide with a single /.",
        "rounded": "The numbers are right, but rounded: return them as they are, and round where you print them.",
        "counts": "These are the sums of the column and of the row: divide the right answers by each of them.",
        "every class": "Right for every class at once: return the two numbers of class c alone.",
        "F1": "That is F1, one number made of both. Return precision and recall themselves.",
        "F1 twice": "That is F1, twice. Return precision and recall themselves.",
        "precision alone": "That is the precision; return the recall as well.",
        "recall alone": "That is the recall; return the precision as well, and first.",
        "counted from 1": "Those are the numbers of the class before: classes are counted from 0, so use c itself.",
    },
)
def precision_recall(confusion: Tensor, c: int) -> tuple[float, float]:
    """Precision C_cc / sum_i C_ic, of all that is called c, and recall C_cc / sum_j C_cj, of all that is c."""
    right, called, are, _ = _parts(confusion, c)
    return right / called, right / are
