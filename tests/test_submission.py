"""Student copies without solutions, and answers handed in as one file per student."""

import csv
import io
import json
import os
import types

import nbformat
import pytest

from tools import execute_notebooks
from xai_lessons.command import cli, lab, student
from xai_lessons.lessons import checks, exercise, quiz, submission


@pytest.fixture(autouse=True)
def lesson(monkeypatch):
    """A lesson with one exercise: twice a number."""

    def draw(rng):
        return (float(rng.initial_seed() % 97 + 3),)  # for 2 the mistake would be right

    mistakes = {"squared": lambda x: x * x}
    twice = exercise.exercise(draw=draw, mistakes=mistakes, hints={"squared": "You square it."})(lambda x: 2 * x)
    monkeypatch.setitem(vars(checks), "lesson99", types.SimpleNamespace(twice=twice))


def ask(text="Which?"):
    return quiz.Question(text, ["this", "that", "both"], answer="b", why="Because.")


CHECK = "checks.lesson99.twice(mine)"


@pytest.mark.parametrize(
    ("mine", "verdict", "mistake"),
    [(lambda x: x + x, "right", ""), (lambda x: x * x, "mistake", "squared"), (lambda x: None, "unattempted", "")],
)
def test_an_exercise_is_judged_again_and_its_code_kept(mine, verdict, mistake):
    found = submission.gather({"mine": mine, "checks": checks}, ["import torch", CHECK])["exercises"]["lesson99.twice"]
    assert (found["verdict"], found["mistake"]) == (verdict, mistake)
    assert "lambda x" in found["code"]


def test_a_deleted_answer_is_an_error_not_a_crash():
    found = submission.gather({"checks": checks}, [CHECK, "%matplotlib inline"])["exercises"]["lesson99.twice"]
    assert found["verdict"] == "error"
    assert "NameError" in found["code"]


def test_a_check_that_does_not_exist_is_left_out():
    cells = ["checks.lesson99.typo(1)", "checks.lesson98.twice(1)"]
    assert submission.gather({"checks": checks}, cells)["exercises"] == {}


def test_questions_count_once_named_or_not_and_an_answered_one_counts():
    named, shown, again = ask(), ask("Why?"), ask()
    for choice in "ab":
        named.judge(choice)
    found = submission.gather({"q": named, "same": named}, [], [named, shown, again, 3])["questions"]
    assert [(each["question"], each["given"], each["right"]) for each in found] == [
        ("Which?", ["a", "b"], True),
        ("Why?", [], False),
    ]


def shell(monkeypatch, **space):
    import IPython

    running = types.SimpleNamespace(
        user_ns={"In": [CHECK], "Out": {1: space.pop("out", None)}, "checks": checks, **space}
    )
    monkeypatch.setattr(IPython, "get_ipython", lambda: running)


def test_lessons_join_in_one_file(monkeypatch, tmp_path, capsys):
    question = ask()
    question.judge("a")
    shell(monkeypatch, mine=lambda x: 2 * x, out=question)
    first = submission.hand_in("Ada Lovelace ", "01_classification", tmp_path)
    assert capsys.readouterr().out == f"1 of 1 questions answered, 1 of 1 exercises right: {first}\n"
    assert submission.hand_in("Ada Lovelace", "02_cam_to_gradcam", tmp_path) == first
    file = json.loads(first.read_text(encoding="utf-8"))
    assert first.name == "answers-ada-lovelace.json"
    assert file["student"] == "Ada Lovelace"
    assert list(file["lessons"]) == ["01_classification", "02_cam_to_gradcam"]


def test_a_broken_file_of_answers_is_named_and_kept(monkeypatch, tmp_path):
    shell(monkeypatch, mine=lambda x: x)
    (tmp_path / "answers-ada.json").write_text("[")
    with pytest.raises(ValueError, match=r"answers-ada\.json is not a file of answers \(not JSON\): move it away"):
        submission.hand_in("Ada", "01_classification", tmp_path)
    assert (tmp_path / "answers-ada.json").read_text() == "["


def test_an_empty_name_is_refused(monkeypatch, tmp_path):
    shell(monkeypatch)
    with pytest.raises(ValueError, match="expected a student's name"):
        submission.hand_in("  ", "01_classification", tmp_path)


def test_hand_in_needs_a_notebook(tmp_path):
    with pytest.raises(RuntimeError, match="running notebook"):
        submission.hand_in("Ada", "01_classification", tmp_path)


SOURCE = """Write it.

<details><summary>Hint 1</summary>Think.</details>
<details>
<summary><b>Solution</b></summary>

```python
return 2 * x
```
</details>
After."""


def book():
    asked = {"cell_type": "code", "id": "q", "source": 'quiz.ask("lesson1.shift")', "outputs": [], "execution_count": 1}
    png = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}, "metadata": {}}
    drawn = {"cell_type": "code", "id": "d", "source": "draw()", "outputs": [png], "execution_count": 2}
    solved = {**drawn, "id": "s", "source": "def mine(x): return 2 * x", "metadata": {"tags": ["solution"]}}
    text = {"cell_type": "markdown", "id": "t", "source": SOURCE.splitlines(keepends=True)}
    cells = [{"metadata": {}, **cell} for cell in (text, asked, drawn, solved)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_solutions_go_and_hints_stay():
    text, asked, drawn, hand_in, last = student.without_solutions(book(), "01_classification")["cells"]
    assert "Hint 1" in text["source"]
    assert text["source"].startswith("Write it.")
    assert text["source"].endswith("After.")
    assert "2 * x" not in json.dumps([text, asked, drawn, hand_in, last])
    assert drawn["outputs"][0]["data"]["image/png"]
    assert hand_in["source"].startswith("## Hand in")
    assert 'submission.hand_in(student="", lesson="01_classification")' in last["source"]


def test_a_students_folder_holds_valid_copies_of_all_lessons_without_a_solution_or_an_answer(tmp_path, capsys):
    assert cli.main(["lab", "--student", "--copy-only", "--folder", str(tmp_path)]) == 0
    names = [name for name in lab.lessons(lab.lessons_folder()) if name.endswith(".ipynb")]
    assert [line for line in capsys.readouterr().out.splitlines() if "ipynb" in line] == [f"copied {n}" for n in names]
    for name in names:
        made = nbformat.read(tmp_path / name, as_version=4)
        nbformat.validate(made)
        assert made.cells[-1].id == "hand-in-cell"
        texts = [cell.source for cell in made.cells]
        assert not any("<summary>Solution" in text or "answer=" in text for text in texts)
        assert any("<summary>Hint" in text for text in texts)


def test_student_copies_and_no_copies_exclude_each_other(capsys):
    assert cli.main(["lab", "--student", "--here"]) == 2
    assert "give one of the two" in capsys.readouterr().err


def test_the_last_cell_hands_in_from_a_real_kernel(tmp_path):
    cells = [
        "from xai_lessons import quiz",
        'q = quiz.ask("lesson1.shift")',
        'q.answer("b")',
        'q.answer("a")',
        "from xai_lessons.lessons import submission\nsubmission.hand_in('Ada', '01_classification')",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    execute_notebooks.execute(made, tmp_path)
    file = json.loads((tmp_path / "answers-ada.json").read_text(encoding="utf-8"))
    (question,) = file["lessons"]["01_classification"]["questions"]
    assert question["question"].startswith("Now a cat that the network is sure of")
    assert (question["given"], question["right"]) == (["b", "a"], True)


def test_the_teacher_collects_one_row_per_student_and_lesson(monkeypatch, tmp_path, capsys):
    at_once, later = ask(), ask("Why?")
    for question, choices in ((at_once, "b"), (later, "ab")):
        for choice in choices:
            question.judge(choice)
    shell(monkeypatch, mine=lambda x: x * x, out=at_once, q=later)
    submission.hand_in("Ada", "01_classification", tmp_path)
    submission.hand_in("Bob", "01_classification", tmp_path)
    capsys.readouterr()
    assert cli.main(["collect", str(tmp_path)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == submission.COLUMNS
    assert [row["student"] for row in rows] == ["Ada", "Bob"]
    counts = [rows[0][name] for name in ("questions", "answered", "right", "right at once")]
    assert counts == ["2", "2", "2", "1"]
    assert rows[0]["exercises"] == "lesson99.twice: mistake"
    assert rows[0]["notes"] == ""


LESSON = {"questions": [{"question": "?", "given": ["b"], "right": True}], "exercises": {"a": {"verdict": "right"}}}


def answers(student="Ada", **lesson):
    return {"student": student, "lessons": {"01": {**LESSON, **lesson}}}


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("", "not JSON"),
        ("\udce9", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("1" * 5_000, "not JSON"),
        ("null", "no lessons in it"),
        ('{"lessons": null}', "no lessons in it"),
        ('{"lessons": [1]}', "no lessons in it"),
        ('{"lessons": {}}', "no student's name in it"),
        ('{"lessons": {}, "student": ["a"]}', "no student's name in it"),
        (" " * (submission.LARGEST + 1), "larger than 5 MB"),
    ],
)
def test_a_file_that_holds_no_answers_is_one_row_with_a_note(tmp_path, content, note):
    (tmp_path / "answers-x.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    (tmp_path / "answers-y.json").write_text(json.dumps(answers()), encoding="utf-8")
    broken, sound = submission.collect(tmp_path)
    assert (broken["student"], broken["notes"]) == ("", f"answers-x.json: {note}")
    assert (sound["student"], sound["right"], sound["notes"]) == ("Ada", "1", "")


@pytest.mark.parametrize(
    ("lesson", "right", "note"),
    [
        ({"questions": None}, "0", "questions or exercises are missing"),
        ({"exercises": 3}, "1", "questions or exercises are missing"),
        ({"questions": [{"given": ["b"], "right": 10**9}]}, "0", "some answers are not readable"),
        ({"questions": [{"given": [], "right": True}]}, "0", "some answers are not readable"),
        ({"questions": [None, 1, "x", {}, *LESSON["questions"]]}, "1", "some answers are not readable"),
        ({"questions": LESSON["questions"] * 10_000}, "200", "more than 200 answers"),
        ({"exercises": {"a": {"verdict": "perfect"}, "b": None}}, "1", "some answers are not readable"),
    ],
)
def test_a_lesson_that_is_not_as_it_was_handed_in_is_noted(tmp_path, lesson, right, note):
    (tmp_path / "answers-x.json").write_text(json.dumps(answers(**lesson)), encoding="utf-8")
    (row,) = submission.collect(tmp_path)
    assert (row["right"], row["notes"]) == (right, note)


def test_a_lesson_of_another_kind_is_noted(tmp_path):
    (tmp_path / "answers-x.json").write_text('{"student": "Ada", "lessons": {"01": null, "02": [1]}}')
    assert {row["notes"] for row in submission.collect(tmp_path)} == {"questions or exercises are missing"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_folders_and_links_and_unreadable_files_do_not_stop_it(tmp_path):
    (tmp_path / "answers-folder.json").mkdir()
    (tmp_path / "answers-nowhere.json").symlink_to(tmp_path / "gone")
    (tmp_path / "answers-device.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "answers-pipe.json")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "answers-ada.json").write_text(json.dumps(answers()))
    rows = submission.collect(tmp_path)
    assert sorted(row["notes"] for row in rows) == [
        "",
        "answers-device.json: not a file",
        "answers-folder.json: not a file",
        "answers-nowhere.json: not a file",
        "answers-pipe.json: not a file",
    ]


def test_a_file_handed_in_twice_is_noted(tmp_path):
    for name in "xy":
        (tmp_path / f"answers-{name}.json").write_text(json.dumps(answers()))
    assert [row["notes"] for row in submission.collect(tmp_path)] == ["handed in more than once"] * 2


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\n@", "\uff1d"])
def test_no_cell_of_the_table_is_a_formula(tmp_path, start):
    file = answers(f"{start}HYPERLINK(1)", exercises={f"{start}1+1": {"verdict": "right"}})
    file["lessons"][f"{start}2"] = file["lessons"].pop("01")
    (tmp_path / "answers-x.json").write_text(json.dumps(file))
    (row,) = submission.collect(tmp_path)
    for name in ("student", "lesson", "exercises"):
        assert row[name][0] == "'"
        assert row[name].isprintable()


def test_collect_says_where_there_is_nothing(tmp_path, capsys):
    assert cli.main(["collect", str(tmp_path)]) == 1
    assert "there is no answers-NAME.json" in capsys.readouterr().err
    assert cli.main(["collect", str(tmp_path / "none")]) == 2
    assert "is not a folder" in capsys.readouterr().err
