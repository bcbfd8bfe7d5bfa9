"""Student copies of the notebooks: no solutions, and a last cell that writes the answers into one file."""

import json
import re
from pathlib import Path
from typing import Any

from xai_lessons.core.files import write_whole

DETAILS = re.compile(r"<details(?:(?!</?details).)*?</details>", re.DOTALL | re.IGNORECASE)
SOLUTION = re.compile(r"<summary>(?:(?!</summary>).)*(?:solution|answer)", re.DOTALL | re.IGNORECASE)
HAND_IN = """\
## Hand in

Put your name between the quotation marks, run the cell, and give the file to your teacher. It holds the answers to the
questions and the code of the exercises; each lesson adds to the same file."""


def without_solutions(book: dict[str, Any], lesson: str) -> dict[str, Any]:
    """The student's copy of a notebook: with hints, without solutions, and with a last cell to hand in the answers.

    Args:
        book: the notebook, as JSON.
        lesson: its name, such as ``01_classification``.

    Returns:
        The copy.

    Example:
        >>> solved = {"cell_type": "code", "metadata": {"tags": ["solution"]}, "source": "2 * x"}
        >>> [cell["id"] for cell in without_solutions({"cells": [solved]}, "01_classification")["cells"]]
        ['hand-in', 'hand-in-cell']
    """
    cells = []
    for cell in book["cells"]:
        if "solution" in cell["metadata"].get("tags", ()):
            continue
        if cell["cell_type"] == "markdown":
            text = DETAILS.sub(lambda found: "" if SOLUTION.search(found[0]) else found[0], "".join(cell["source"]))
            cell = {**cell, "source": text}
        cells.append(cell)
    code = f'from xai_lessons.lessons import submission\n\nsubmission.hand_in(student="", lesson="{lesson}")'
    last = {"cell_type": "code", "id": "hand-in-cell", "metadata": {}, "source": code}
    cells.append({"cell_type": "markdown", "id": "hand-in", "metadata": {}, "source": HAND_IN})
    cells.append({**last, "execution_count": None, "outputs": []})
    return {**book, "cells": cells}


def write_copies(source: Path, target: Path) -> list[Path]:
    """Write the student's copies of all notebooks of a folder; other files are copied as they are.

    Args:
        source: the folder of the lessons.
        target: where to write them.

    Returns:
        The files.

    Example:
        >>> import tempfile
        >>> from xai_lessons.command import lab
        >>> write_copies(lab.lessons_folder(), Path(tempfile.mkdtemp()))[0].name
        '01_classification.ipynb'
    """
    from xai_lessons.command import lab

    written = []
    for name in lab.lessons(source):
        content, place = (source / name).read_bytes(), target / name
        if place.suffix == ".ipynb":
            book = without_solutions(json.loads(content), place.stem)
            content = (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, content)
        written.append(place)
    return written
