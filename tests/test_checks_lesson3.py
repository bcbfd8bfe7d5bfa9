"""Lesson 3's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.lessons.checks import lesson3
from xai_lessons.lessons.exercise import same

LESSON = checks.lesson3


def integrated_by_hand(gradient, x, b, m):
    total = torch.zeros_like(x)
    for k in range(1, m + 1):
        total += gradient(b + (k - 0.5) / m * (x - b))
    return (x - b) * total / m


def integrated_in_one_batch(gradient, x, b, m):
    alpha = ((torch.arange(m) + 0.5) / m).view(-1, 1, 1, 1)
    return (x - b) * gradient(b + alpha * (x - b)).mean(dim=0)


def broken_by_hand(maps, mask):
    fractions = []
    for attribution in maps:
        heat = attribution.abs().amax(dim=0)
        fractions.append(float(heat[mask].sum() / heat.sum()))
    return fractions, fractions.index(min(fractions))


def smooth_by_hand(gradient, x, noise, sigma):
    total = 0
    for epsilon in noise:
        total = total + gradient((x + sigma * epsilon).clamp(0, 1))
    return total / len(noise)


def smooth_in_one_batch(gradient, x, noise, sigma):
    return gradient((x + sigma * noise).clamp(0, 1)).mean(dim=0)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.integrated_gradients, integrated_by_hand),
        (LESSON.integrated_gradients, integrated_in_one_batch),
        (LESSON.broken_network, broken_by_hand),
        (LESSON.smooth_grad, smooth_by_hand),
        (LESSON.smooth_grad, smooth_in_one_batch),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def one_too_many(gradient, x, b, m):
    steps = torch.linspace(0, 1, m + 1)[1:]
    return sum(gradient(b + a * (x - b)) for a in steps) * (x - b) / m


def overwritten(gradient, x, noise, sigma):
    for epsilon in noise:
        answer = gradient((x + sigma * epsilon).clamp(0, 1))
    return answer


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert LESSON.integrated_gradients.judge(one_too_many, 3).mistake == "ends of the steps"
    assert LESSON.smooth_grad.judge(overwritten, 3).mistake == "last copy only"


def test_another_wrong_answer_is_described():
    verdict = LESSON.smooth_grad.judge(
        lambda gradient, x, noise, sigma: 1.5 * smooth_by_hand(gradient, x, noise, sigma)
    )
    assert verdict.kind == "wrong"
    assert "1.5 times" in verdict.message


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_the_exercise_is_that_of_its_score(seed):
    gradient, x, b, _ = lesson3._path(torch.Generator().manual_seed(seed))
    x = x.requires_grad_()
    gradient.score(x).backward()
    assert same(x.grad, gradient(x.detach()))
    total = integrated_by_hand(gradient, x.detach(), b, 200).sum()
    assert same(total, (gradient.score(x) - gradient.score(b)).detach())


def test_the_broken_network_is_any_of_the_three():
    drawn = [lesson3._three_maps(torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert {broken_by_hand(*each)[1] for each in drawn} == {0, 1, 2}


def test_after_right_the_students_function_runs_on_the_lessons_scenes():
    words = {
        LESSON.integrated_gradients: (integrated_in_one_batch, "from black: the logit rises by 12.4, yours add up to"),
        LESSON.broken_network: (broken_by_hand, "the honest one in 0"),
        LESSON.smooth_grad: (smooth_in_one_batch, "sigma 0.3: 39% on the elephant; 0 of 16"),
    }
    for check, (solution, expected) in words.items():
        found = check.findings(solution)
        assert expected in repr(found[0]), found
        assert "stopped" not in repr(found)
    halved = LESSON.integrated_gradients.findings(lambda *given: integrated_in_one_batch(*given) / 2)
    assert "rises by 12.4, yours add up to 6.2" in repr(halved[0])
