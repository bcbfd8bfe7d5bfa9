"""Lesson 1's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons.lessons import checks

LESSON = checks.lesson1


def softmax_by_hand(logits, k):
    e = torch.exp(logits - logits.max())
    p = e / e.sum()
    order = p.argsort(descending=True)[:k]
    return p[order], order


def shape_by_hand(shape, filters, kernel, stride, padding):
    c, h, w = shape
    return filters, (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1


def shape_by_torch(shape, filters, kernel, stride, padding):
    return tuple(torch.nn.Conv2d(shape[0], filters, kernel, stride, padding)(torch.zeros(1, *shape)).shape[1:])


def epoch_by_hand(train_loss, validation_loss):
    best = 0
    for epoch in range(len(validation_loss)):
        if validation_loss[epoch] < validation_loss[best]:
            best = epoch
    return best + 1


def precision_recall_by_hand(confusion, c):
    called = sum(int(confusion[i][c]) for i in range(len(confusion)))
    there = sum(int(n) for n in confusion[c])
    return int(confusion[c][c]) / called, int(confusion[c][c]) / there


def precision_recall_of_tensors(confusion, c):
    return confusion[c, c] / confusion[:, c].sum(), confusion[c, c] / confusion[c].sum()


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.softmax_top_k, softmax_by_hand),
        (LESSON.output_shape, shape_by_hand),
        (LESSON.output_shape, shape_by_torch),
        (LESSON.overfitting_starts, epoch_by_hand),
        (LESSON.precision_recall, precision_recall_by_hand),
        (LESSON.precision_recall, precision_recall_of_tensors),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def written_wrongly_on_purpose(logits, k):
    p = torch.exp(logits) / torch.exp(logits).sum()
    values, indices = torch.sort(p, descending=True)
    return values[:k], indices[:k]


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert "exp of a large number" in LESSON.softmax_top_k.judge(written_wrongly_on_purpose, 3).message
    assert LESSON.overfitting_starts.judge(lambda t, v: sorted(range(len(v)), key=v.__getitem__)[0]).kind == "mistake"


def test_another_wrong_answer_is_described():
    verdict = LESSON.output_shape.judge(lambda s, f, k, t, p: (f, k, t + p), 0)
    assert verdict.kind == "wrong"
    assert "For the shape" in verdict.message
