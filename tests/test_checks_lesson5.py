"""Lesson 5's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.methods import fgsm

LESSON = checks.lesson5


def targeted_by_the_lesson(model, x, t, epsilon):
    x = x.clone().requires_grad_()
    J = torch.nn.functional.cross_entropy(model(x), t)
    (gradient,) = torch.autograd.grad(J, x)
    return (x - epsilon * gradient.sign()).clamp(0, 1).detach()


def targeted_without_detach(model, x, t, epsilon):
    x = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(x), t, reduction="sum").backward()
    return torch.clip(x - epsilon * torch.sign(x.grad), 0, 1)


def targeted_of_the_package(model, x, t, epsilon):
    return fgsm.fgsm(model, x, t, epsilon=epsilon, targeted=True)


def step_by_hand(g, epsilon):
    r = torch.where(g > 0, epsilon, -epsilon)
    return r, (g * r).sum()


def step_as_a_list(g, epsilon):
    return [epsilon * g.sign(), epsilon * g.abs().sum().item()]


def normalized_there_and_back(z, g, epsilon, mean, std):
    mean, std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
    x = z * std + mean
    return ((x + epsilon * g.sign()).clamp(0, 1) - mean) / std


def normalized_by_limits(z, g, epsilon, mean, std):
    mean, std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
    return torch.maximum(torch.minimum(z + epsilon / std * g.sign(), (1 - mean) / std), (0 - mean) / std)


SOLUTIONS = [
    (LESSON.targeted_fgsm, targeted_by_the_lesson),
    (LESSON.targeted_fgsm, targeted_without_detach),
    (LESSON.targeted_fgsm, targeted_of_the_package),
    (LESSON.best_step, step_by_hand),
    (LESSON.best_step, step_as_a_list),
    (LESSON.normalized_fgsm, normalized_there_and_back),
    (LESSON.normalized_fgsm, normalized_by_limits),
]


@pytest.mark.parametrize(("check", "solution"), SOLUTIONS, ids=[solution.__name__ for _, solution in SOLUTIONS])
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def uphill_with_a_mean_loss(model, x, t, epsilon):
    x = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(x), t).backward()
    return (x + epsilon * x.grad.sign()).clamp(0, 1)


def in_normalized_space(z, g, epsilon, mean, std):
    return torch.clamp(z + epsilon * g.sign(), 0, 1)


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert LESSON.targeted_fgsm.judge(uphill_with_a_mean_loss, 1).mistake == "uphill"
    assert LESSON.best_step.judge(lambda g, e: (e * g, e * (g**2).sum()), 1).mistake == "along the gradient"
    assert "wrong units" in LESSON.normalized_fgsm.judge(in_normalized_space, 1).message


def test_another_wrong_answer_is_described():
    verdict = LESSON.normalized_fgsm.judge(lambda z, g, e, m, s: z[0], 0)
    assert verdict.kind == "wrong"
    assert "expected the shape" in verdict.message


def test_an_error_is_told_with_its_line():
    verdict = LESSON.normalized_fgsm.judge(lambda z, g, e, m, s: z + e / s * g, 0)
    assert verdict.kind == "error"
    assert "shapes do not match" in verdict.message


def test_right_answers_are_run_on_the_lessons_scenes():
    one, four = (finding.text for finding in LESSON.best_step.findings(step_by_hand))
    assert "rises by 3.5; the network's rises by 3." in one
    assert "ε = 4 of 255" in four
    said, figure = LESSON.targeted_fgsm.findings(targeted_by_the_lesson)
    assert "to 7 of 9 target classes" in said.text or "to 6 of 9" in said.text
    assert figure.picture
    attacked, bug = (finding.text for finding in LESSON.normalized_fgsm.findings(normalized_by_limits))
    assert "at most 6.0 gray values" in attacked
    assert "only clipped" in bug
    wrong = LESSON.normalized_fgsm.findings(lambda z, g, e, m, s: z + 2 * e / s[:, None, None] * g.sign())
    assert "at most 12.0 gray values" in wrong[0].text, "it is the student's function that runs"
