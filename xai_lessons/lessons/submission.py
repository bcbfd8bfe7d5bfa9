"""Submissions: a student's answers in all lessons, as one file that a teacher can collect.

The last cell of a student's copy (``xai-lessons lab --student``) calls `hand_in`, which reads the answers from the
running kernel; a lesson that is handed in later is added to the same file. `collect` makes one table of all files.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xai_lessons.core.files import write_whole
from xai_lessons.lessons import checks, quiz, trust
from xai_lessons.lessons.exercise import Check

COLUMNS = ("student", "lesson", "questions", "answered", "right", "right at once", "exercises", "notes")
LARGEST = 5_000_000  # bytes of a file of answers
MOST = 200  # questions or exercises of a lesson
LONGEST = 2_000  # characters of a cell
_KINDS = ("right", "mistake", "wrong", "error", "unattempted")


def hand_in(student: str, lesson: str, folder: str | Path = ".") -> Path:
    """Write the answers of this notebook into the student's file, ``answers-NAME.json``.

    Args:
        student: the student's name.
        lesson: the notebook's name.
        folder: where the file is or will be.

    Returns:
        The file's path.

    Raises:
        ValueError: if the name is empty, or the file is there and no file of answers.
        RuntimeError: if it is not called in a notebook.

    Example:
        >>> hand_in(student="", lesson="01_classification")
        Traceback (most recent call last):
            ...
        ValueError: expected a student's name, got '': write yours between the quotes, as in student="Ada Lovelace"
    """
    slug = re.sub(r"\W+", "-", student.strip().lower()).strip("-")
    if not slug:
        example = 'write yours between the quotes, as in student="Ada Lovelace"'
        raise ValueError(f"expected a student's name, got {student!r}: {example}")
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise RuntimeError("hand_in reads the answers from a running notebook: call it in the notebook's last cell")
    path = Path(folder) / f"answers-{slug}.json"
    try:
        file = _read(path) if path.exists() else {"lessons": {}}
    except ValueError as error:
        raise ValueError(f"{path} is not a file of answers ({error}): move it away and run this cell again") from None
    shown = shell.user_ns.get("Out", {}).values()
    answers = gather(shell.user_ns, shell.user_ns.get("In", []), shown)
    file["student"] = student.strip()
    file["lessons"][lesson] = answers
    write_whole(path, json.dumps(file, indent=1, ensure_ascii=False, sort_keys=True).encode("utf-8"))
    answered = sum(bool(question["given"]) for question in answers["questions"])
    right = sum(each["verdict"] == "right" for each in answers["exercises"].values())
    print(f"{answered} of {len(answers['questions'])} questions answered, ", end="")
    print(f"{right} of {len(answers['exercises'])} exercises right: {path}")
    return path


def gather(space: Mapping[str, Any], cells: Sequence[str], shown: Iterable[Any] = ()) -> dict[str, Any]:
    """Collect the answers of a notebook.

    Args:
        space: the notebook's variables.
        cells: the code that was run, oldest first; if an exercise was checked more than once, the last check counts.
        shown: the displayed values, since a question often has no name.

    Returns:
        ``questions``: text, the letters given before the solution was shown (none, one or two) and whether the last
        one is right; ``exercises``: name -> verdict, the
        common mistake if it was one, and the student's code; ``votes``, where there are some: network, evidence, vote.

    Example:
        >>> code = "checks.lesson1.softmax_top_k(lambda logits, k: logits.topk(k))"
        >>> gather({}, [code])["exercises"]["lesson1.softmax_top_k"]["mistake"]
        'logits themselves'
    """
    found: dict[str, quiz.Question] = {}  # a cell that was run again made the question anew: an answered one counts
    for thing in [*shown, *space.values()]:
        if isinstance(thing, quiz.Question) and (thing.given or not (thing.text in found and found[thing.text].given)):
            found[thing.text] = thing
    questions = [{"question": each.text, "given": each.given, "right": each.solved} for each in found.values()]
    exercises = {}
    for cell in cells:
        for name, argument in _checked(cell):
            if isinstance(check := _check(name), Check):
                exercises[name] = _judged(check, argument, space)
    votes = [vote for thing in space.values() if isinstance(thing, trust.Votes) for vote in thing.given]
    return {"questions": questions, "exercises": exercises, **({"votes": votes} if votes else {})}


def _checked(cell: str) -> list[tuple[str, str]]:
    """The exercises that a cell checks, as pairs such as (``lesson1.softmax``, the code of its argument)."""
    try:
        tree = ast.parse(cell)
    except SyntaxError:  # a cell of magics
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 1]
    named = [(re.fullmatch(r"checks\.(lesson\d+\.\w+)", ast.unparse(call.func)), call) for call in calls]
    return [(match[1], ast.unparse(call.args[0])) for match, call in named if match]


def _check(name: str) -> Any:
    lesson, _, exercise = name.partition(".")
    return getattr(getattr(checks, lesson, None), exercise, None)


def _judged(check: Check, argument: str, space: Mapping[str, Any]) -> dict[str, str]:
    try:
        answer = eval(argument, dict(space))  # the student's own code, in the student's own kernel
    except Exception as error:
        return {"verdict": "error", "mistake": "", "code": f"{argument}  # {type(error).__name__}: {error}"}
    verdict = check.judge(answer)
    try:
        code = inspect.getsource(answer) if callable(answer) else repr(answer)
    except (OSError, TypeError):
        code = argument
    return {"verdict": verdict.kind, "mistake": verdict.mistake, "code": code}


def collect(folder: str | Path) -> list[dict[str, str]]:
    """Read all files of answers in a folder and its subfolders.

    A file that cannot be read, or that holds something else than answers, becomes one row with a note. Nothing in a
    file is run, and a cell that a spreadsheet would take for a formula begins with an apostrophe.

    Args:
        folder: where the files ``answers-NAME.json`` are.

    Returns:
        One row per student and lesson, with the keys of ``COLUMNS``: how many questions there are, were answered, are
        right in the end and at once; the verdicts of the exercises; notes.

    Raises:
        NotADirectoryError: if there is no such folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "answers-ada.json").write_text("no JSON")
        >>> collect(folder)[0]["notes"]
        'answers-ada.json: not JSON'
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: name the one that holds the files answers-NAME.json")
    rows = []
    for path in sorted(folder.rglob("answers-*.json")):
        try:
            file = _read(path)
            rows += [_row(file["student"], lesson, answers) for lesson, answers in sorted(file["lessons"].items())]
        except ValueError as error:
            rows.append({"notes": f"{path.relative_to(folder)}: {error}"})
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row.get("student", ""), row.get("lesson", "")
        seen[key] = seen.get(key, 0) + 1
    for row in rows:
        if row.get("student") and seen[row["student"], row["lesson"]] > 1:
            row["notes"] = f"{row['notes']}; handed in more than once".removeprefix("; ")
    return [{column: _cell(row.get(column, "")) for column in COLUMNS} for row in rows]


def _read(path: Path) -> dict[str, Any]:
    """A file of answers whose outer form is right; a ValueError says in a few words what is wrong with any other."""
    try:
        if not path.is_file():
            raise ValueError("not a file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST / 1e6:.0f} MB")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    try:
        file = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(file, dict) or not isinstance(file.get("lessons"), dict):
        raise ValueError("no lessons in it")
    if not isinstance(file.get("student"), str):
        raise ValueError("no student's name in it")
    return file


def _row(student: str, lesson: str, answers: Any) -> dict[str, str]:
    """The row of one lesson; what is not as `hand_in` writes it is left out and noted."""
    notes = []
    answers = answers if isinstance(answers, dict) else {}
    questions, exercises = answers.get("questions"), answers.get("exercises")
    if not isinstance(questions, list) or not isinstance(exercises, dict):
        notes.append("questions or exercises are missing")
    asked = [q for q in questions if _is_answer(q)] if isinstance(questions, list) else []
    done = {k: e for k, e in exercises.items() if _is_verdict(e)} if isinstance(exercises, dict) else {}
    if max(len(asked), len(done)) > MOST:
        notes.append(f"more than {MOST} answers")
        asked, done = asked[:MOST], dict(list(done.items())[:MOST])
    elif (
        isinstance(questions, list)
        and isinstance(exercises, dict)
        and (len(asked), len(done))
        != (
            len(questions),
            len(exercises),
        )
    ):
        notes.append("some answers are not readable")
    right = [question for question in asked if question["right"]]
    return {
        "student": student,
        "lesson": lesson,
        "questions": str(len(asked)),
        "answered": str(sum(bool(question["given"]) for question in asked)),
        "right": str(len(right)),
        "right at once": str(sum(len(question["given"]) == 1 for question in right)),
        "exercises": "; ".join(f"{name}: {each['verdict']}" for name, each in sorted(done.items())),
        "notes": "; ".join(notes),
    }


def _is_answer(question: Any) -> bool:
    if not isinstance(question, dict) or not isinstance(question.get("right"), bool):
        return False
    given = question.get("given")
    return isinstance(given, list) and len(given) <= 2 and (bool(given) or not question["right"])


def _is_verdict(exercise: Any) -> bool:
    return isinstance(exercise, dict) and exercise.get("verdict") in _KINDS


def _cell(text: str) -> str:
    """One line of printable text that no spreadsheet takes for a formula."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]
    return f"'{line}" if line[:1] and line[0] in "=+-@\uff1d\uff0b\uff0d\uff20" else line
