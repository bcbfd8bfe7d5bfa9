"""Lesson 4's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.methods import occlusion

LESSON = checks.lesson4


def loop(ask, image, c, patch, stride):
    _, H, W = image.shape
    rows, columns = range(0, H - patch + 1, stride), range(0, W - patch + 1, stride)
    R = torch.zeros(len(rows), len(columns))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            hidden = image.clone()
            hidden[:, i : i + patch, j : j + patch] = 0
            R[a, b] = ask(image[None])[0, c] - ask(hidden[None])[0, c]
    return R


def loop_of_the_package(ask, image, c, patch, stride):
    return occlusion.occlusion(ask, image, c, patch=patch, stride=stride, size=None)


def batches(ask, image, c, boxes, batch_size):
    whole, drops = ask(image[None])[0, c], []
    for start in range(0, len(boxes), batch_size):
        some = boxes[start : start + batch_size]
        pictures = image.repeat(len(some), 1, 1, 1)
        for picture, (x0, y0, x1, y1) in zip(pictures, some, strict=True):
            picture[:, y0:y1, x0:x1] = 0
        drops.append(whole - ask(pictures)[:, c])
    return torch.cat(drops)


def sign(p, left):
    return p - left


def fill(filled, redrawn):
    errors = {name: (drop - redrawn).abs().mean() for name, drop in filled.items()}
    return min(errors, key=errors.get)


def flips(before, after):
    return [part for part in after if after[part].argmax() != before.argmax()]


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.occlusion_loop, loop),
        (LESSON.occlusion_loop, loop_of_the_package),
        (LESSON.occlusion_batches, batches),
        (LESSON.mended_sign, sign),
        (LESSON.honest_fill, fill),
        (LESSON.flipping_parts, flips),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def one_at_a_time(ask, image, c, boxes, batch_size):
    return batches(ask, image, c, boxes, 1)


def all_at_once(ask, image, c, boxes, batch_size):
    return batches(ask, image, c, boxes, len(boxes))


def test_batches_have_a_limit_both_ways():
    verdict = LESSON.occlusion_batches.judge(one_at_a_time, 0)
    assert verdict.kind == "error"
    assert "fill each batch" in verdict.message
    verdict = LESSON.occlusion_batches.judge(all_at_once, 0)
    assert verdict.kind == "error"
    assert "take slices" in verdict.message


def test_a_picture_without_its_batch_axis_is_named():
    verdict = LESSON.occlusion_loop.judge(lambda ask, image, *_: ask(image), 0)
    assert "pictures (N, 3," in verdict.message


def drawn_into_the_picture(ask, image, c, patch, stride):
    whole, rows = ask(image[None])[0, c], []
    for i in range(0, image.shape[1] - patch + 1, stride):
        rows.append([])
        for j in range(0, image.shape[2] - patch + 1, stride):
            image[:, i : i + patch, j : j + patch] = 0
            rows[-1].append(whole - ask(image[None])[0, c])
    return torch.tensor(rows)


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert LESSON.occlusion_loop.judge(drawn_into_the_picture, 1).mistake == "never restored"


def test_after_right_the_students_function_runs_on_the_lessons_scenes():
    words = {
        LESSON.occlusion_loop: (loop, "your loop runs 49 windows"),
        LESSON.occlusion_batches: (batches, "needs 5 calls instead of 122"),
        LESSON.mended_sign: (sign, "of what is positive in yours"),
        LESSON.honest_fill: (fill, "your function chooses blur"),
        LESSON.flipping_parts: (flips, "fish: body, eyes"),
    }
    for check, (solution, expected) in words.items():
        found = check.findings(solution)
        assert expected in repr(found[0]), found
        assert "stopped" not in repr(found)
    assert "your function chooses black" in repr(LESSON.honest_fill.findings(lambda filled, redrawn: "black")[0])
