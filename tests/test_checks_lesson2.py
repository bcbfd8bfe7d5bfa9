"""Lesson 2's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.methods import cam

LESSON = checks.lesson2


def weights_by_hand(A, gradient):
    K, h, w = gradient.shape
    return torch.stack([gradient[k].sum() / (h * w) for k in range(K)])


def weights_by_torch(A, gradient):
    return gradient.flatten(1).mean(dim=1)


def class_by_hand(maps, mask):
    fractions = [float((M * mask).sum() / M.sum()) for M in maps]
    return fractions.index(max(fractions))


def box_by_hand(heatmap, threshold):
    on = [
        (x, y)
        for y in range(heatmap.shape[0])
        for x in range(heatmap.shape[1])
        if heatmap[y, x] >= threshold * heatmap.max()
    ]
    return min(x for x, _ in on), min(y for _, y in on), max(x for x, _ in on) + 1, max(y for _, y in on) + 1


def box_of_the_package(heatmap, threshold):
    return cam.bounding_box(heatmap, threshold)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.grad_cam_weights, weights_by_hand),
        (LESSON.grad_cam_weights, weights_by_torch),
        (LESSON.class_on_part, class_by_hand),
        (LESSON.box, box_by_hand),
        (LESSON.box, box_of_the_package),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def written_wrongly_on_purpose(heatmap, threshold):
    rows = (heatmap >= threshold * heatmap.max()).any(dim=1).nonzero()
    columns = (heatmap >= threshold * heatmap.max()).any(dim=0).nonzero()
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert "x counts columns" in LESSON.box.judge(written_wrongly_on_purpose, 1).message
    assert LESSON.grad_cam_weights.judge(lambda A, g: torch.einsum("kij->k", g), 1).mistake == "sum instead of mean"


def test_another_wrong_answer_is_described():
    verdict = LESSON.box.judge(lambda M, t: (0, 0, M.shape[1], 1), 0)
    assert verdict.kind == "wrong"
    assert "For heatmap of shape" in verdict.message


def test_a_wrong_index_is_an_error_and_not_a_stub():
    assert LESSON.box.judge(lambda M, t: M[t], 0).kind == "error"


def test_after_right_the_students_function_runs_on_the_lessons_scenes():
    words = {
        LESSON.grad_cam_weights: (weights_by_torch, "pooling head, class cat: 46% of your map on the cat"),
        LESSON.class_on_part: (class_by_hand, "tail: elephant, whose map peaks at 0.06"),
        LESSON.box: (box_of_the_package, "threshold 0.2: mean overlap with the true box 0.6"),
    }
    for check, (solution, expected) in words.items():
        found = check.findings(solution)
        assert expected in repr(found[0]), found
        assert "stopped" not in repr(found)
    whole = LESSON.box.findings(lambda heatmap, threshold: (0, 0, 96, 96))
    assert "threshold 0.2: mean overlap with the true box 0.3" in repr(whole[0])
