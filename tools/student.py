"""``make student``: the notebooks without solutions, in student/; ``--collect FOLDER``: the submissions as a table.

The last cell of a student's copy writes all answers into one file, ``answers-NAME.json``; put those into one folder.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import nbformat

from tools.execute_notebooks import NOTEBOOKS, tidy
from tools.pins import ROOT

DETAILS = re.compile(r"<details(?:(?!</?details).)*?</details>", re.DOTALL | re.IGNORECASE)
SOLUTION = re.compile(r"<summary>(?:(?!</summary>).)*(?:solution|answer)", re.DOTALL | re.IGNORECASE)
HAND_IN = """\
## Hand in

Put your name between the quotation marks, run the cell, and give the file to your teacher. It holds the answers to the
questions and the code of the exercises; each lesson adds to the same file."""


def without_solutions(book: nbformat.NotebookNode, lesson: str) -> nbformat.NotebookNode:
    """The student's copy of a notebook: with hints, no solutions, hidden code of questions, and a last cell."""
    cells = []
    for cell in book.cells:
        if "solution" in cell.metadata.get("tags", ()):
            continue
        if cell.cell_type == "markdown":
            cell.source = DETAILS.sub(lambda found: "" if SOLUTION.search(found[0]) else found[0], cell.source)
        elif re.search(r"\bquiz\.\w+\(", cell.source):
            cell.metadata["jupyter"] = {"source_hidden": True}
            cell.outputs = []  # they contain the folded answer
        cells.append(cell)
    code = f'from xai_lessons.lessons import submission\n\nsubmission.hand_in(student="", lesson="{lesson}")'
    cells += [nbformat.v4.new_markdown_cell(HAND_IN, id="hand-in"), nbformat.v4.new_code_cell(code, id="hand-in-cell")]
    for cell in cells:
        if cell.cell_type == "code" and not cell.outputs:
            cell.execution_count = None
    book.cells = cells
    tidy(book)
    return book


def write_copies(target: Path) -> list[Path]:
    """Write all copies; other files in the folder stay."""
    target.mkdir(exist_ok=True)
    written = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        book = without_solutions(nbformat.read(path, as_version=4), path.stem)
        nbformat.write(book, target / path.name)
        written.append(target / path.name)
    return written


def collect(folder: Path) -> list[dict[str, str]]:
    """One row per student and lesson of the files in a folder: questions answered and right, verdicts of exercises."""
    rows = []
    for path in sorted(folder.rglob("answers-*.json")):
        try:
            file = json.loads(path.read_text(encoding="utf-8"))
            lessons = sorted(file["lessons"].items())
        except (ValueError, KeyError, TypeError):
            print(f"{path} is not a file of answers: skipped", file=sys.stderr)
            continue
        for lesson, answers in lessons:
            given = [question for question in answers["questions"] if question["given"] is not None]
            row = {"student": file["student"], "lesson": lesson, "questions": str(len(answers["questions"]))}
            row |= {"answered": str(len(given)), "right": str(sum(question["right"] for question in given))}
            verdicts = (f"{name}: {each['verdict']}" for name, each in sorted(answers["exercises"].items()))
            rows.append({**row, "exercises": "; ".join(verdicts)})
    return rows


def main() -> int:
    """Write the copies, or collect the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--collect", type=Path, metavar="FOLDER", help="the folder of the files that students handed in"
    )
    options = parser.parse_args()
    if options.collect is None:
        for path in write_copies(ROOT / "student"):
            print(path.relative_to(ROOT))
        return 0
    rows = collect(options.collect)
    if not rows:
        print(f"no answers-*.json in {options.collect}", file=sys.stderr)
        return 1
    table = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
