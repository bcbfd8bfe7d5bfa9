"""Lesson 8's checks: every solution is accepted, wrong ways of students get their hint, findings are shown."""

import pytest
import torch
from torchvision.ops import batched_nms, box_iou

from xai_lessons import detection
from xai_lessons.lessons import checks

LESSON = checks.lesson8


def overlap_by_hand(box, boxes):
    found = []
    for other in boxes:
        width = max(min(float(box[2]), float(other[2])) - max(float(box[0]), float(other[0])), 0)
        height = max(min(float(box[3]), float(other[3])) - max(float(box[1]), float(other[1])), 0)
        areas = [float((b[2] - b[0]) * (b[3] - b[1])) for b in (box, other)]
        found.append(width * height / (sum(areas) - width * height))
    return found


def suppress_by_hand(boxes, scores, labels, limit):
    kept, left = [], scores.argsort(descending=True).tolist()
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if labels[i] != labels[best] or detection.overlap(boxes[best], boxes[i]) <= limit]
    return kept


def similarity_by_hand(overlaps, P, p):
    return max(
        float(iou) * float(row @ p) / float(row.norm() * p.norm()) * float(row.max())
        for iou, row in zip(overlaps, P, strict=True)
    )


def holds_by_hand(before, after, edge):
    k = ["left", "top", "right", "bottom"].index(edge)
    inwards = {part: box[k] - before[k] if k < 2 else before[k] - box[k] for part, box in after.items()}
    return sorted(inwards, key=inwards.get)[-1]


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.overlap, overlap_by_hand),
        (LESSON.overlap, lambda box, boxes: box_iou(box[None], boxes)[0]),
        (LESSON.suppress, suppress_by_hand),
        (LESSON.suppress, batched_nms),
        (LESSON.similarity, similarity_by_hand),
        (LESSON.holds, holds_by_hand),
    ],
)
def test_solutions_are_accepted_and_find_something_on_the_lesson_s_scene(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}: {check.judge(solution, seed)}"
    found = check.findings(solution)
    assert found
    assert not any("stopped" in repr(each) for each in found), found


def unclamped(box, boxes):
    left, top = torch.max(box[0], boxes[:, 0]), torch.max(box[1], boxes[:, 1])
    right, bottom = torch.min(box[2], boxes[:, 2]), torch.min(box[3], boxes[:, 3])
    both = (right - left) * (bottom - top)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) - both)


def without_subtracting(box, boxes):
    both = unclamped_both(box, boxes)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(dim=1))


def unclamped_both(box, boxes):
    sides = torch.min(box[2:], boxes[:, 2:]) - torch.max(box[:2], boxes[:, :2])
    return sides.clamp(min=0).prod(dim=1)


def across(boxes, scores, labels, limit):
    return suppress_by_hand(boxes, scores, torch.zeros_like(labels), limit)


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    for check, answer, words in (
        (LESSON.overlap, unclamped, "two negatives multiply"),
        (LESSON.overlap, without_subtracting, "counted twice"),
        (LESSON.overlap, lambda a, b: unclamped_both(a, b), "Divide it by the area of the union"),
        (LESSON.overlap, lambda a, b: (lambda wh: box_iou(wh(a)[None], wh(b))[0])(
            lambda t: torch.cat([t[..., :2], t[..., :2] + t[..., 2:]], -1)), "x, y, width, height"),
        (LESSON.suppress, across, "Compare labels"),
        (LESSON.suppress, lambda b, s, c, t: sorted(batched_nms(b, s, c, t).tolist()), "best first"),
        (LESSON.suppress, lambda b, s, c, t: batched_nms(b, -s, c, t), "Sort in descending order"),
        (LESSON.suppress, lambda b, s, c, t: batched_nms(b, s, c, 0.5), "wrote 0.5"),
        (LESSON.similarity, lambda iou, P, p: (iou * (P @ p) * P.max(1).values).max(), "it is no cosine yet"),
        (LESSON.holds, lambda b, after, e: max(after, key=lambda k: after[k][
            ["left", "top", "right", "bottom"].index(e)]), "You look for the largest increase"),
    ):  # fmt: skip
        for seed in range(4):
            verdict = check.judge(answer, seed)
            assert verdict.kind == "mistake", f"{words}, seed {seed}: {verdict}"
            assert words in verdict.message, f"{words}, seed {seed}: {verdict}"
