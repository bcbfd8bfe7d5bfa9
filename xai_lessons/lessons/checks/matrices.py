"""The check of lesson 1's exercise on a confusion matrix: what a class is found by, and what its name is worth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons.lessons.exercise import Mistake, exercise


def _matrix(rng: torch.Generator) -> tuple[Tensor, int]:
    """A confusion matrix with classes of unlike sizes, and a class that is neither the first nor the last."""
    k = int(torch.randint(4, 7, (), generator=rng))
    confusion = torch.randint(1, 30, (k, k), generator=rng) + torch.diag(torch.randint(60, 200, (k,), generator=rng))
    c = int(torch.randint(1, k - 1, (), generator=rng))
    confusion[c] += torch.randint(20, 40, (k,), generator=rng)  # often overlooked: recall falls below precision
    return confusion, c


def _parts(confusion: Tensor, c: int) -> tuple[float, float, float, float]:
    """Right answers of the class, how often it was said, how many there are, and all pictures."""
    said, there = float(confusion[:, c].sum()), float(confusion[c].sum())
    return float(confusion[c, c]), said, there, float(confusion.sum())


def _from(formula: Any) -> Any:
    return lambda confusion, c: formula(*_parts(confusion, c))


@exercise(
    draw=_matrix,
    says=("the confusion matrix", "c"),
    tolerance=1e-3,
    praise="Precision is asked of a column, recall of a row; the diagonal stands above the line in both.",
    mistakes=(
        Mistake(
            "exchanged",
            _from(lambda right, said, there, every: (right / there, right / said)),
            "Both numbers are right, but in the wrong order: precision, of what was *called* c, comes first.",
        ),
        Mistake(
            "row in both",
            _from(lambda right, said, there, every: (right / there, right / there)),
            "Recall is right, but precision asks of all pictures that were *called* c: is that a row or a column?",
        ),
        Mistake(
            "column in both",
            _from(lambda right, said, there, every: (right / said, right / said)),
            "Precision is right, but recall asks of all pictures that *are* c: is that a row or a column?",
        ),
        Mistake(
            "divided by all",
            _from(lambda right, said, there, every: (right / every, right / every)),
            "You divide by the number of all pictures. Precision counts only those called c, recall those that are c.",
        ),
        Mistake(
            "accuracy",
            lambda confusion, c: (float(confusion.trace() / confusion.sum()),) * 2,
            "That is the accuracy, of all classes together: here a single class is asked about.",
        ),
        Mistake(
            "right to wrong",
            _from(lambda right, said, there, every: (right / (said - right), right / (there - right))),
            "You divide the right answers by the wrong ones; a share is right divided by right and wrong together.",
        ),
        Mistake(
            "the wrong ones",
            _from(lambda right, said, there, every: (1 - right / said, 1 - right / there)),
            "These are the shares that are wrong: asked for are those that are right, 1 minus yours.",
        ),
        Mistake(
            "per cent",
            _from(lambda right, said, there, every: (100 * right / said, 100 * right / there)),
            "Those are per cent: a share lies between 0 and 1.",
        ),
        Mistake(
            "whole numbers",
            _from(lambda right, said, there, every: (right // said, right // there)),
            "Both are 0: // drops what follows the point. Divide with a single /.",
        ),
        Mistake(
            "rounded",
            _from(lambda right, said, there, every: (round(right / said, 2), round(right / there, 2))),
            "Right, but rounded: return the shares as they are, and round where you print them.",
        ),
        Mistake(
            "counts",
            _from(lambda right, said, there, every: (said, there)),
            "These are the sums of the column and of the row: divide what is right by each of them.",
        ),
        Mistake(
            "every class",
            lambda confusion, c: (confusion.diagonal() / confusion.sum(0), confusion.diagonal() / confusion.sum(1)),
            "Right for every class at once: return the two numbers of class c alone.",
        ),
        Mistake(
            "precision alone",
            _from(lambda right, said, there, every: right / said),
            "That is the precision; return the recall as well.",
        ),
        Mistake(
            "recall alone",
            _from(lambda right, said, there, every: right / there),
            "That is the recall; return the precision as well, and first.",
        ),
        Mistake(
            "counted from 1",
            lambda confusion, c: _from(lambda right, said, there, every: (right / said, right / there))(
                confusion, c - 1
            ),
            "Those are the numbers of the class before: classes are counted from 0, so c needs no change.",
        ),
    ),
)
def precision_recall(confusion: Tensor, c: int) -> tuple[float, float]:
    """Precision C_cc / sum_i C_ic, of all that is called c, and recall C_cc / sum_j C_cj, of all that is c."""
    right, said, there, _ = _parts(confusion, c)
    return right / said, right / there
