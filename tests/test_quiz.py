"""Questions: answered by buttons and in Python, readable without widgets."""

import pytest

from xai_lessons.lessons import quiz


@pytest.fixture
def question():
    return quiz.ask("Which <one>?", ["this", "that"], answer="b", why="Because.", hints={"a": "No tail."})


@pytest.mark.parametrize("choice", ["b", "B ", "that"])
def test_the_right_answer(question, choice):
    verdict = question.judge(choice)
    assert verdict.right
    assert verdict.message == "Because."
    assert question.given == "b"


def test_a_wrong_answer_gets_its_hint_the_right_one_and_the_reason(question):
    assert question.judge("a").message == "No tail. It is b) that. Because."


def test_an_answer_that_does_not_exist_is_refused(question):
    with pytest.raises(ValueError, match="expected one of a, b"):
        question.answer("z")


def test_in_python_the_verdict_is_shown_and_nothing_returned(question, capsys):
    assert question.answer("b") is None
    assert capsys.readouterr().out == "Right. Because.\n"


def test_the_buttons(question):
    _, radio, reveal, said = question.widget.children
    assert reveal.disabled
    radio.value = "a"
    assert not reveal.disabled
    assert said.value == ""
    reveal.click()
    assert "No tail." in said.value
    radio.value = "b"
    reveal.click()
    assert "Right." in said.value
    assert question.given == "b"


def test_without_widgets_question_options_and_folded_answer_are_there(question):
    bundle = question._repr_mimebundle_()
    assert bundle["text/plain"] == "Predict. Which <one>?\n  a) this\n  b) that"
    assert "Which &lt;one&gt;?" in bundle["text/html"]
    assert "<details><summary>Reveal</summary>b) that. Because.</details>" in bundle["text/html"]
    assert any("widget-view" in kind for kind in bundle)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": ["one"]},
        {"options": ["one", "one"]},
        {"answer": "c"},
        {"hints": {"f": "no"}},
    ],
)
def test_an_impossible_question_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        quiz.ask(**{"text": "?", "options": ["x", "y"], "answer": "a", "why": "", **wrong})
