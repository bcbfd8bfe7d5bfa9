"""The questions of the lessons: a file per lesson, with readable questions and sealed answers.

Each entry of ``lessonN.json`` has the ``text`` and the ``options`` as they are, and ``sealed``: the answer, the
explanation and a hint for each wrong option, compressed and base64-encoded. Sealing keeps a reader of the source from
seeing an answer by accident; it is no encryption. To edit questions: ``python -m tools.quizzes open``, then ``seal``.
"""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
HIDDEN = ("answer", "why", "hints")


def seal(entry: dict[str, Any]) -> dict[str, Any]:
    """Hide the answer, the explanation and the hints of a question.

    Args:
        entry: a question as `load` returns it.

    Returns:
        The question as it is stored.

    Example:
        >>> stored = seal({"text": "2 + 2?", "options": ["3", "4"], "answer": "b", "why": "Count.", "hints": {}})
        >>> sorted(stored), unseal(stored)["answer"]
        (['options', 'sealed', 'text'], 'b')
    """
    hidden = json.dumps({key: entry[key] for key in HIDDEN}, ensure_ascii=False)
    packed = base64.b64encode(zlib.compress(hidden.encode("utf-8"), 9)).decode("ascii")
    return {**{key: value for key, value in entry.items() if key not in HIDDEN}, "sealed": packed}


def unseal(stored: dict[str, Any]) -> dict[str, Any]:
    """The reverse of `seal`."""
    hidden = json.loads(zlib.decompress(base64.b64decode(stored["sealed"])))
    return {**{key: value for key, value in stored.items() if key != "sealed"}, **hidden}


@cache
def load(lesson: str) -> dict[str, dict[str, Any]]:
    """All questions of a lesson.

    Args:
        lesson: such as ``lesson1``.

    Returns:
        Name -> ``text``, ``options`` (a list, or the name of the value that holds them), ``answer``, ``why`` and
        ``hints`` (letter -> sentence, or ``any``). Texts may contain values: ``{fraction:.0%}``. The answer is a
        letter, ``{"option": "best"}`` (the option that this value names) or
        ``{"of": "fraction", "above": {"a": 0.9, "b": 0.7}, "else": "c"}`` (the first limit that this value exceeds).

    Raises:
        FileNotFoundError: if there is no such lesson.

    Example:
        >>> load("lesson2")["scale"]["options"][2]
        'the network is wrong'
    """
    stored = json.loads((FOLDER / f"{lesson}.json").read_text(encoding="utf-8"))
    return {name: unseal(entry) for name, entry in stored.items()}


def store(lesson: str, questions: dict[str, dict[str, Any]]) -> Path:
    """Write all questions of a lesson, sealed.

    Args:
        lesson: such as ``lesson1``.
        questions: as `load` returns them.

    Returns:
        The file.
    """
    path = FOLDER / f"{lesson}.json"
    sealed = {name: seal(entry) for name, entry in questions.items()}
    path.write_text(json.dumps(sealed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
