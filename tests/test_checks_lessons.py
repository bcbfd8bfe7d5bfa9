"""What holds for every exercise of every lesson: each common mistake gets its own hint, whatever the inputs."""

from __future__ import annotations

import pytest

from xai_lessons.lessons import checks
from xai_lessons.lessons.exercise import Check

LESSONS = [getattr(checks, f"lesson{number}") for number in range(1, 9)]
EXERCISES = [check for lesson in LESSONS for check in vars(lesson).values() if isinstance(check, Check)]
every_exercise = pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.__name__)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.__name__)
def test_a_lesson_has_two_exercises_or_more(lesson):
    assert sum(isinstance(value, Check) for value in vars(lesson).values()) >= 2


@every_exercise
def test_each_common_mistake_gets_its_own_hint(check):
    for mistake in check.mistakes:
        for seed in range(2):  # each judges five fresh inputs
            verdict = check.judge(mistake.function, seed)
            expected = ("mistake", mistake.name, mistake.hint)
            assert (verdict.kind, verdict.mistake, verdict.message) == expected, f"seed {seed}"


def test_no_exercise_and_no_mistake_is_lost():
    assert (len(EXERCISES), sum(len(check.mistakes) for check in EXERCISES)) == (29, 374)


@every_exercise
def test_there_are_enough_common_mistakes(check):
    assert len(check.mistakes) >= 5
    assert len({mistake.hint for mistake in check.mistakes}) == len(check.mistakes)


@every_exercise
def test_an_untouched_stub_is_not_an_error(check):
    assert check.judge(lambda *_: ...).kind == "unattempted"
