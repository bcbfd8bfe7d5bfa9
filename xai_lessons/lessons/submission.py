"""Submissions: a student's answers in all lessons, as one file that a teacher can collect.

The last cell of a notebook made by ``make student`` calls `hand_in`, which reads the answers from the running kernel.
A lesson that is handed in later is added to the same file.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xai_lessons.lessons import checks, quiz


def hand_in(student: str, lesson: str, folder: str | Path = ".") -> Path:
    """Write the answers of this notebook into the student's file, ``answers-NAME.json``.

    Args:
        student: the student's name.
        lesson: the notebook's name.
        folder: where the file is or will be.

    Returns:
        The file's path.

    Raises:
        ValueError: if the name is empty.
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
    file = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"lessons": {}}
    shown = shell.user_ns.get("Out", {}).values()
    answers = gather(shell.user_ns, shell.user_ns.get("In", []), shown)
    file["student"] = student.strip()
    file["lessons"][lesson] = answers
    path.write_text(json.dumps(file, indent=1, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    answered = sum(question["given"] is not None for question in answers["questions"])
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
        ``questions``: text, given (None if not answered) and whether it is right; ``exercises``: name -> verdict, the
        common mistake if it was one, and the student's code.

    Example:
        >>> code = "checks.lesson1.softmax_top_k(lambda logits, k: logits.topk(k))"
        >>> gather({}, [code])["exercises"]["lesson1.softmax_top_k"]["mistake"]
        'logits themselves'
    """
    found = {id(thing): thing for thing in [*shown, *space.values()] if isinstance(thing, quiz.Question)}
    questions = [
        {"question": each.text, "given": each.given, "right": each.given == each.right} for each in found.values()
    ]
    exercises = {}
    for cell in cells:
        for name, argument in _checked(cell):
            exercises[name] = _judged(name, argument, space)
    return {"questions": questions, "exercises": exercises}


def _checked(cell: str) -> list[tuple[str, str]]:
    """The exercises that a cell checks, as pairs such as (``lesson1.softmax``, the code of its argument)."""
    try:
        tree = ast.parse(cell)
    except SyntaxError:  # a cell of magics
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 1]
    named = [(re.fullmatch(r"checks\.(lesson\d+\.\w+)", ast.unparse(call.func)), call) for call in calls]
    return [(match[1], ast.unparse(call.args[0])) for match, call in named if match]


def _judged(name: str, argument: str, space: Mapping[str, Any]) -> dict[str, str]:
    lesson, _, exercise = name.partition(".")
    try:
        answer = eval(argument, dict(space))  # the student's own code, in the student's own kernel
    except Exception as error:
        return {"verdict": "error", "mistake": "", "code": f"{argument}  # {type(error).__name__}: {error}"}
    verdict = getattr(getattr(checks, lesson), exercise).judge(answer)
    try:
        code = inspect.getsource(answer) if callable(answer) else repr(answer)
    except (OSError, TypeError):
        code = argument
    return {"verdict": verdict.kind, "mistake": verdict.mistake, "code": code}
