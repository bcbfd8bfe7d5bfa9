"""Student copies without solutions, and answers handed in as one file per student."""

import json
import types

import nbformat
import pytest

from tools import execute_notebooks, student
from xai_lessons.lessons import checks, exercise, quiz, submission


@pytest.fixture(autouse=True)
def lesson(monkeypatch):
    """A lesson with one exercise: twice a number."""

    def draw(rng):
        return (float(rng.initial_seed() % 97 + 3),)  # for 2 the mistake would be right

    mistakes = {"squared": lambda x: x * x}
    twice = exercise.exercise(draw=draw, mistakes=mistakes, hints={"squared": "You square it."})(lambda x: 2 * x)
    monkeypatch.setitem(vars(checks), "lesson99", types.SimpleNamespace(twice=twice))


def ask():
    return quiz.ask("Which?", ["this", "that"], answer="b", why="Because.")


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


def test_questions_count_once_named_or_not():
    named, shown = ask(), ask()
    named.judge("b")
    found = submission.gather({"q": named, "again": named}, [], [named, shown, 3])["questions"]
    assert [(each["given"], each["right"]) for each in found] == [("b", True), (None, False)]


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
    new = nbformat.v4
    asked = new.new_code_cell('quiz.ask("Which?", ["this", "that"], answer="b", why="Because.")', execution_count=1)
    asked.outputs = [new.new_output("execute_result", {"text/html": "<details>b) that</details>"}, execution_count=1)]
    drawn = new.new_code_cell("draw()", execution_count=2)
    drawn.outputs = [new.new_output("display_data", {"image/png": "iVBORw0KGgo="})]
    solved = new.new_code_cell("def mine(x): return 2 * x", metadata={"tags": ["solution"]})
    return new.new_notebook(cells=[new.new_markdown_cell(SOURCE), asked, drawn, solved])


def test_solutions_go_and_hints_stay():
    copy = student.without_solutions(book(), "01_classification")
    text, asked, drawn, hand_in, last = copy.cells
    assert "Hint 1" in text.source
    assert text.source.startswith("Write it.")
    assert text.source.endswith("After.")
    assert "2 * x" not in nbformat.writes(copy)
    assert asked.outputs == []
    assert asked.metadata.jupyter.source_hidden
    assert drawn.outputs[0].data["image/png"]
    assert hand_in.source.startswith("## Hand in")
    assert 'submission.hand_in(student="", lesson="01_classification")' in last.source


def test_a_copy_is_made_of_every_notebook(monkeypatch, tmp_path):
    monkeypatch.setattr(student, "NOTEBOOKS", tmp_path)
    nbformat.write(book(), tmp_path / "01_classification.ipynb")
    (path,) = student.write_copies(tmp_path / "student")
    made = nbformat.read(path, as_version=4)
    assert path.name == "01_classification.ipynb"
    assert made.cells[-1].id == "hand-in-cell"


def test_the_last_cell_hands_in_from_a_real_kernel(tmp_path):
    cells = [
        "from xai_lessons import quiz",
        'q = quiz.ask("Which?", ["a", "b"], answer="b", why="So.")',
        'q.answer("b")',
    ]
    cells.append("from xai_lessons.lessons import submission\nsubmission.hand_in('Ada', '01_classification')")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    execute_notebooks.execute(made, tmp_path)
    file = json.loads((tmp_path / "answers-ada.json").read_text(encoding="utf-8"))
    assert file["lessons"]["01_classification"]["questions"] == [{"question": "Which?", "given": "b", "right": True}]


def test_the_teacher_collects_one_row_per_student_and_lesson(monkeypatch, tmp_path, capsys):
    question = ask()
    question.judge("b")
    shell(monkeypatch, mine=lambda x: x * x, out=question)
    submission.hand_in("Ada", "01_classification", tmp_path)
    submission.hand_in("Bob", "01_classification", tmp_path)
    (tmp_path / "answers-empty.json").write_text("")
    rows = student.collect(tmp_path)
    assert [row["student"] for row in rows] == ["Ada", "Bob"]
    assert rows[0]["right"] == "1"
    assert rows[0]["exercises"] == "lesson99.twice: mistake"
    assert "skipped" in capsys.readouterr().err
