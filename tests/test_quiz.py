"""Questions: answered by buttons and in Python, readable without widgets, and no answer in what is stored."""

import json
import re
import string
from pathlib import Path

import pytest

from xai_lessons.lessons import quiz, quizzes

ROOT = Path(__file__).resolve().parent.parent
STORED = {f"{path.stem}.{name}": entry for path in sorted(quizzes.FOLDER.glob("*.json"))
          for name, entry in quizzes.load(path.stem).items()}  # fmt: skip


@pytest.fixture
def question():
    hints = {"a": "No tail.", "any": "Look again."}
    return quiz.Question("Which <one>?", ["this", "that", "both"], answer="b", why="Because.", hints=hints)


def test_the_stored_questions_are_as_they_are_sealed(tmp_path, monkeypatch):
    for path in sorted(quizzes.FOLDER.glob("*.json")):
        questions = quizzes.load(path.stem)
        with monkeypatch.context() as there:
            there.setattr(quizzes, "FOLDER", tmp_path)
            assert quizzes.store(path.stem, questions).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("choice", ["b", "B ", "that"])
def test_the_right_answer(question, choice):
    verdict = question.judge(choice)
    assert verdict.right
    assert verdict.message == "Because."
    assert question.given == ["b"]
    assert question.solved


def test_the_first_wrong_answer_gets_a_hint_and_the_second_the_solution(question):
    assert repr(question.judge("a")) == "Not yet. No tail. Choose again."
    assert repr(question.judge("c")) == "The answer. Look again. The answer is b) that. Because."
    assert question.given == ["a", "c"]
    assert not question.solved


def test_the_same_wrong_answer_twice_is_one_try(question):
    question.judge("a")
    assert question.judge("a").message == "No tail. Choose again."
    assert question.judge("b").right
    assert question.given == ["a", "b"]
    assert question.solved


def test_what_is_answered_after_the_solution_does_not_count(question):
    for choice in "acb":
        verdict = question.judge(choice)
    assert verdict.right
    assert question.given == ["a", "c"]
    assert not question.solved


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
    assert "that" not in said.value
    assert reveal.disabled
    radio.value = "b"
    reveal.click()
    assert "Right." in said.value
    assert question.given == ["a", "b"]


def test_without_widgets_the_question_and_its_options_are_shown_and_no_answer(question):
    bundle = question._repr_mimebundle_()
    assert bundle["text/plain"] == "Predict. Which <one>?\n  a) this\n  b) that\n  c) both"
    assert "Which &lt;one&gt;?" in bundle["text/html"]
    assert "Because" not in json.dumps(bundle)
    assert any("widget-view" in kind for kind in bundle)


@pytest.mark.parametrize(
    "wrong", [{"options": ["one"]}, {"options": ["one", "one"]}, {"answer": "c"}, {"hints": {"f": "no"}}]
)
def test_an_impossible_question_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        quiz.Question(**{"text": "?", "options": ["x", "y"], "answer": "a", "why": "", **wrong})


def test_an_unknown_question_or_a_missing_value_is_named():
    with pytest.raises(ValueError, match=r"did you mean 'lesson1\.shift'"):
        quiz.ask("lesson1.shif")
    with pytest.raises(ValueError, match="needs the value 'ratio'"):
        quiz.ask("lesson1.parameters", hidden=1, convolutions=2)


def test_the_answer_may_follow_from_a_value():
    hits = {0.95: "a", 0.9: "b", 0.7: "c", 0.1: "c"}
    found = {hit: quiz.ask("lesson1.sure", confident=1, total=2, hit=hit)._answer for hit in hits}
    assert found == hits
    assert quiz.ask("lesson3.odd", broken="map c").judge("map c").right


@pytest.mark.parametrize("name", STORED)
def test_each_stored_question_explains_its_answer_and_hints_at_each_wrong_one(name):
    entry = STORED[name]
    options, answer, hints = entry["options"], entry["answer"], entry["hints"]
    assert len(entry["why"]) > 40
    if isinstance(options, str):
        assert set(hints) == {"any"}
        return
    possible = set(quiz.LETTERS[: len(options)])
    right = {answer} if isinstance(answer, str) else set()
    if "of" in answer:
        assert {*answer["above"], answer["else"]} <= possible
    assert "any" in hints or set(hints) >= possible - right
    assert all(len(hint) > 15 for hint in hints.values())


def test_no_answer_can_be_read_in_the_stored_files():
    for path in quizzes.FOLDER.glob("*.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert {key for entry in stored.values() for key in entry} == {"text", "options", "sealed"}
        for name, entry in quizzes.load(path.stem).items():
            assert quizzes.unseal(quizzes.seal(entry)) == entry
            assert entry["why"] not in json.dumps(stored[name], ensure_ascii=False)


def test_the_lessons_ask_every_stored_question_once_and_show_no_answer():
    asked = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            asked += re.findall(r'quiz\.ask\(\s*"([^"]+)"', source)
            if "quiz.ask(" not in source:
                continue
            assert "answer=" not in source
            shown = json.dumps(cell["outputs"], ensure_ascii=False)
            why = STORED[asked[-1]]["why"]
            longest = max((text for text, *_ in string.Formatter().parse(why)), key=len)
            assert longest.strip() not in shown
    assert sorted(asked) == sorted(STORED)
