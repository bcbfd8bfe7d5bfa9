"""Lesson 1's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons import models
from xai_lessons.lessons import checks
from xai_lessons.models import anatomy
from xai_lessons.results import cifar10, histories

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


def test_a_right_answer_is_run_on_the_scenes_of_the_lesson():
    texts = {name: [each.text for each in getattr(LESSON, name).findings(solution)] for name, solution in {
        "softmax_top_k": softmax_by_hand, "output_shape": shape_by_hand, "overfitting_starts": epoch_by_hand,
        "precision_recall": precision_recall_by_hand}.items()}  # fmt: skip
    model, cat = models.load("menagerie-resnet"), LESSON.opening_cat()
    for scene in (cat, cat.without("ears"), cat.without("body")):
        values, classes = model.predict(scene.image).topk(3)
        said = ", ".join(f"{model.classes[c]} {p:.0%}" for p, c in zip(values, classes, strict=True))
        assert said in texts["softmax_top_k"][0]
    for text, name in zip(texts["output_shape"], ("menagerie-resnet", "menagerie-vgg"), strict=True):
        count = sum(isinstance(m, torch.nn.Conv2d) for m in models.load(name).modules())
        assert f"the shape of {count} of its {count} convolutions" in text
        first = anatomy.layer(models.load(name), anatomy.names(models.load(name))[0]).shape
        assert f"3 x 96 x 96 to {' x '.join(map(str, first))}" in text
    losses = [epoch.validation_loss for epoch in histories.load("overfitting")]
    assert f"after epoch {losses.index(min(losses)) + 1} of {len(losses)}" in texts["overfitting_starts"][0]
    assert f"{min(losses):.2f}, at the end {losses[-1]:.2f}" in texts["overfitting_starts"][0]
    confusion = cifar10.load().networks["cifar10-resnet"].confusion.double()
    recall = confusion.diagonal() / confusion.sum(1)
    assert f"missed most: {cifar10.load().classes[int(recall.argmin())]}, " in texts["precision_recall"][0]
    assert f"recall {recall.min():.1%}" in texts["precision_recall"][0]

    other = LESSON.output_shape.findings(lambda *arguments: (0, 0, 0))[0].text
    assert "yours is the shape of 0 of" in other, "it is the student's own function that runs"
