"""The base of the exercises' checks: what is recognized, and what the student reads."""

import numpy as np
import pytest
import torch

from xai_lessons.lessons import checks
from xai_lessons.lessons.exercise import ROUNDS, Verdict, difference, exercise, same


@exercise(
    draw=lambda rng: (torch.randn(3, 4, generator=rng), 2),
    arguments=("x", "k"),
    mistakes={
        "one too few": lambda x, k: x.sum(dim=1) * (k - 1),
        "wrong axis": lambda x, k: x.sum(dim=0) * k,
        "impossible": lambda x, k: x.reshape(5, 5),
    },
    hints={
        "one too few": "You multiply by too little.",
        "wrong axis": "You sum over the wrong axis.",
        "impossible": "never",
    },
)
def row_sums(x, k):
    """k times the sum of each row."""
    return x.sum(dim=1) * k


def test_the_right_answer_is_accepted_in_any_kind_of_numbers():
    assert row_sums.judge(lambda x, k: x.sum(1) * k).right
    assert row_sums.judge(lambda x, k: x.numpy().sum(axis=1) * k).right
    assert row_sums.judge(lambda x, k: [float(row.sum()) * k for row in x]).right


@pytest.mark.parametrize(
    ("answer", "name"), [(lambda x, k: x.sum(1), "one too few"), (lambda x, k: x.sum(0) * k, "wrong axis")]
)
def test_a_common_mistake_gets_its_own_hint(answer, name):
    verdict = row_sums.judge(answer)
    assert (verdict.kind, verdict.mistake) == ("mistake", name)
    assert verdict.message in {m.hint for m in row_sums.mistakes}


def stub(x, k): ...


def half_done(x, k):
    factor = ...
    return x.sum(1) * factor


def refuses(x, k):
    raise NotImplementedError


@pytest.mark.parametrize(
    "answer", [stub, half_done, refuses, ..., None, lambda x, k: None, lambda x, k: (..., x), lambda x, k: ...]
)
def test_an_unattempted_exercise_says_so(answer):
    assert row_sums.judge(answer).kind == "unattempted"


def forgets(x, k):
    return x.sum(1) * factor  # noqa: F821


def test_an_error_is_explained_in_plain_words_with_its_line():
    verdict = row_sums.judge(forgets)
    assert verdict.kind == "error"
    assert 'in the line "return x.sum(1) * factor' in verdict.message
    assert "has no value yet" in verdict.message


def test_a_forgotten_requires_grad_is_recognized():
    verdict = row_sums.judge(lambda x, k: torch.autograd.grad(x.sum(), x)[0])
    assert verdict.kind == "error"
    assert "x.requires_grad_()" in verdict.message
    assert "shapes" not in verdict.message


@pytest.mark.parametrize(
    "error", [KeyError("a"), ValueError(), IndexError("no"), ZeroDivisionError("division by zero")]
)
def test_any_error_becomes_a_verdict(error):
    def fails(x, k):
        raise error

    assert row_sums.judge(fails).kind == "error"


def test_changing_the_inputs_in_place_is_harmless():
    def clears(x, k):
        answer = x.sum(1) * k
        x.zero_()
        return answer

    assert row_sums.judge(clears).right


def test_inputs_are_fresh_each_time_and_the_global_random_state_is_left_alone():
    seen = []
    before = torch.get_rng_state()
    row_sums.judge(lambda x, k: seen.append(x) or x.sum(1) * k)
    row_sums.judge(lambda x, k: seen.append(x) or x.sum(1) * k)
    assert len({float(x.sum()) for x in seen}) == 2 * ROUNDS
    assert torch.equal(before, torch.get_rng_state())


def test_a_right_answer_in_one_round_only_is_not_right():
    calls = []

    def once(x, k):
        calls.append(1)
        return x.sum(1) * k if len(calls) == 1 else torch.zeros(3)

    assert row_sums.judge(once).kind == "wrong"


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        (torch.zeros(3), torch.zeros(2), "expected the shape (2,), got (3,)"),
        (torch.zeros(3, 2), torch.zeros(2, 3), "transposed"),
        (torch.tensor([1.0, -2.0]), torch.tensor([-1.0, 2.0]), "sign is reversed"),
        (torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0]), "2 times as large"),
        (torch.tensor([2.0, 4.0]), torch.tensor([1.0, 3.0]), "off by +1"),
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]]), "Rows and columns"),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), "NaN"),
        (torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]), "at [1] expected 2, got 5"),
        (3, 4, "expected 4, got 3"),
        ("cat", "dog", "expected 'dog', got 'cat'"),
        ((torch.zeros(2), 1.0), (torch.zeros(2), 2.0), "Part 2 of 2"),
        ("cat", torch.zeros(20), "expected a tensor of shape (20,), got 'cat'"),
    ],
)
def test_a_difference_is_described(given, expected, words):
    assert not same(given, expected)
    assert words in difference(given, expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1, 1.0),
        (np.float32(2), torch.tensor(2)),
        ([1, 2], torch.tensor([1.0, 2.0])),
        ({"a": torch.ones(2)}, {"a": [1, 1]}),
        ((torch.ones(2), "cat"), (np.ones(2), "cat")),
        (torch.ones(2, dtype=torch.bfloat16), [1, 1]),
        (True, 1),
        (float("inf"), float("inf")),
        (None, None),
    ],
)
def test_equal_by_value(given, expected):
    assert same(given, expected)


@pytest.mark.parametrize(
    ("given", "expected"), [(1, "1"), ({"a": 1}, {"b": 1}), ([1, 2], [1, 2, 3]), (None, 0), (1, 2)]
)
def test_unequal(given, expected):
    assert not same(given, expected)


def test_a_value_may_be_the_answer():
    @exercise(draw=lambda rng: (), mistakes={"other": lambda: "a"}, hints={"other": "Look at the tail."})
    def which():
        return "b"

    assert which.judge("b").right
    assert which.judge("a").message == "Look at the tail."
    assert which.judge("c").kind == "wrong"


def test_accept_decides_where_more_than_one_answer_is_right():
    @exercise(
        draw=lambda rng: (torch.randint(2, 9, (1,), generator=rng).item(),),
        mistakes={},
        hints={},
        accept=lambda given, expected, arguments: given % arguments[0] == 0,
    )
    def a_multiple(n):
        return n

    assert a_multiple.judge(lambda n: 3 * n).right
    assert a_multiple.judge(lambda n: n + 1).kind == "wrong"


def test_it_is_shown_as_text_where_there_is_no_notebook(capsys):
    assert row_sums(lambda x, k: x.sum(1)) is None
    assert capsys.readouterr().out == "Not yet: a common mistake. You multiply by too little.\n"


def test_every_mistake_needs_a_hint():
    with pytest.raises(ValueError, match="one hint, but these have no partner: other, typo"):
        exercise(draw=tuple, mistakes={"other": int}, hints={"typo": "Look at the tail."})(int)


def test_html_is_escaped():
    assert "&lt;b&gt;" in Verdict("wrong", "<b>")._repr_html_()


def test_a_check_keeps_the_name_and_docstring_of_its_exercise():
    assert row_sums.__name__ == "row_sums"
    assert row_sums.__doc__ == "k times the sum of each row."


def test_there_are_no_checks_of_other_names():
    with pytest.raises(AttributeError, match="nonsense"):
        checks.nonsense  # noqa: B018


def test_a_forgotten_return_is_named():
    def prints(x, k):
        print(x.sum(1) * k)

    def computes(x, k):
        answer = x.sum(1) * k  # noqa: F841

    for answer in (prints, computes):
        verdict = row_sums.judge(answer)
        assert verdict.kind == "wrong"
        assert "returns nothing" in verdict.message


def test_a_constant_is_named():
    verdict = row_sums.judge(lambda x, k: [1, 2, 3])
    assert verdict.message == "Your function returns [1, 2, 3] whatever it is given: use its arguments."


def test_a_truth_value_of_a_tensor_is_explained():
    for answer in (lambda x, k: x if not x else k, lambda x, k: [r for r in x if r != x[0]]):
        verdict = row_sums.judge(answer)
        assert verdict.kind == "error"
        assert "single True or False" in verdict.message
        assert "shapes" not in verdict.message


def test_writing_into_an_expanded_picture_is_explained():
    def natural(x, k):
        copies = x.expand(2, -1, -1)
        copies *= 0
        return copies

    assert "`repeat`" in row_sums.judge(natural).message


def test_a_forbidden_function_is_named_wherever_it_is_used():
    twice = exercise(draw=row_sums.draw, mistakes={}, hints={}, forbidden={"relu": "Write it yourself."})(
        lambda x, k: x.relu()
    )
    assert twice.judge(lambda x, k: x.clamp(min=0)).right
    for answer in (lambda x, k: x.relu(), lambda x, k: torch.stack([torch.nn.functional.relu(row) for row in x])):
        assert (twice.judge(answer).kind, twice.judge(answer).message) == ("mistake", "Write it yourself.")


def test_a_wrong_kind_of_result_is_described():
    pair = exercise(draw=lambda rng: (torch.randn(10, generator=rng),), mistakes={}, hints={})(lambda x: (x, 1.0))
    message = pair.judge(lambda x: x).message
    assert message == "expected a tuple of 2: a tensor of shape (10,) and 1, got a tensor of shape (10,)."


def test_code_in_a_hint_is_set_as_code():
    shown = Verdict("wrong", "Write `a < b`.")._repr_html_()
    assert "<code>a &lt; b</code>" in shown
    assert "`" not in shown


def test_a_right_answer_is_run_on_the_lessons_scenes(capsys):
    shown = exercise(draw=row_sums.draw, mistakes={}, hints={}, shows=lambda f: [f"It gives {f(2, 3)}."])(
        lambda x, k: x * k
    )
    shown(lambda x, k: k * x)
    assert capsys.readouterr().out.splitlines()[1:] == ["It gives 6."]
    shown(lambda x, k: x)
    assert "It gives" not in capsys.readouterr().out


def test_an_error_on_the_lessons_scenes_is_one_line(capsys):
    broken = exercise(draw=row_sums.draw, mistakes={}, hints={}, shows=lambda f: [f(2, "a") + 1])(lambda x, k: x * k)
    broken(lambda x, k: x * k)
    assert capsys.readouterr().out.splitlines()[1].startswith("Here your function stopped: TypeError")
