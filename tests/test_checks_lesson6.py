"""Lesson 6's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import re

import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.methods import inversion

LESSON = checks.lesson6


def total_variation_by_hand(x, beta):
    values = [
        ((x[c, i, j + 1] - x[c, i, j]) ** 2 + (x[c, i + 1, j] - x[c, i, j]) ** 2) ** (beta / 2)
        for c in range(3)
        for i in range(x.shape[1] - 1)
        for j in range(x.shape[2] - 1)
    ]
    return sum(values) / len(values)


def total_variation_of_the_solution(x, beta):
    here = x[:, :-1, :-1]
    right = x[:, :-1, 1:] - here
    below = x[:, 1:, :-1] - here
    return ((right**2 + below**2) ** (beta / 2)).mean()


def two_layers_of_the_solution(A, A_0, B, B_0):
    early = ((A - A_0) ** 2).sum() / (A_0**2).sum()
    late = ((B - B_0) ** 2).sum() / (B_0**2).sum()
    return early + late


def two_layers_by_norms(A, A_0, B, B_0):
    return ((A - A_0).norm() / A_0.norm()) ** 2 + ((B - B_0).norm() / B_0.norm()) ** 2


def color_of_the_solution(names, color, limit):
    for i in range(len(names)):
        if all(value < limit for value in color[i:]):
            return names[i]
    return None


def color_from_behind(names, color, limit):
    i = len(names)
    while i > 0 and color[i - 1] < limit:
        i -= 1
    return names[i]


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.total_variation, total_variation_by_hand),
        (LESSON.total_variation, total_variation_of_the_solution),
        (LESSON.total_variation, inversion.total_variation),
        (LESSON.two_layers, two_layers_of_the_solution),
        (LESSON.two_layers, two_layers_by_norms),
        (LESSON.color_gone, color_of_the_solution),
        (LESSON.color_gone, color_from_behind),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def written_wrongly_on_purpose(x, beta):
    right = x - torch.roll(x, 1, dims=2)
    below = x - torch.roll(x, 1, dims=1)
    return torch.mean((right**2 + below**2) ** (beta / 2))


def test_a_mistake_that_nobody_thought_of_is_described():
    verdict = LESSON.total_variation.judge(written_wrongly_on_purpose, 1)
    assert verdict.kind == "wrong"
    assert "expected" in verdict.message
    verdict = LESSON.two_layers.judge(lambda A, A_0, B, B_0: two_layers_of_the_solution(A, A_0, B, B_0) / 3, 1)
    assert verdict.kind == "wrong"


def test_the_same_mistake_written_another_way_gets_the_same_hint():
    two = LESSON.two_layers.judge(
        lambda A, A_0, B, B_0: torch.nn.functional.mse_loss(A, A_0) + torch.nn.functional.mse_loss(B, B_0), 1
    )
    assert two.mistake == "means instead of relative distances"
    assert LESSON.color_gone.judge(lambda n, c, t: n[[v < t for v in c].index(True)], 1).mistake == "first below"


def test_right_answers_are_run_on_the_lessons_scenes():
    said, figure = LESSON.total_variation.findings(LESSON.total_variation.reference)
    values = [float(value) for value in re.findall(r"0\.\d{4}", said.text)]
    assert values == sorted(values)
    assert values[0] == 0 < values[1]
    assert figure.picture
    said, _ = LESSON.two_layers.findings(LESSON.two_layers.reference)
    assert said.text.endswith("the network says cat.")
    said, _ = LESSON.two_layers.findings(lambda A, A_0, B, B_0: ((A - A_0) ** 2).sum() / (A_0**2).sum())
    assert said.text.endswith("the network says car."), "it is the student's function that runs"
    found = [finding.text for finding in LESSON.color_gone.findings(LESSON.color_gone.reference)]
    assert [text.rpartition(" ")[2] for text in found] == ["stage1.", "stage4."]
