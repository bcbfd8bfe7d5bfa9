"""``make notebooks``: run the lessons on the CPU with one thread and store their outputs, clean.

Stored are texts and static pictures, not widgets' views (which would show "model not found" when opened): nbval
compares the former, and readers on GitHub see the latter. Ids are stable, metadata bare; an error is refused.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.pins import ROOT

NOTEBOOKS = ROOT / "notebooks"
LIMIT = 1_500_000  # bytes
VIEW = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ENVIRONMENT = {"XAI_LESSONS_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ENVIRONMENT["XAI_LESSONS_CIFAR10"] = ""  # no picture of that set may be stored


def execute(book: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel of this environment; an error in a cell is raised."""
    book.metadata.kernelspec = dict(KERNEL)
    options = {"timeout": 600, "kernel_name": "python3", "store_widget_state": False}
    client = NotebookClient(book, resources={"metadata": {"path": str(folder)}}, **options)
    client.execute(env={**os.environ, **ENVIRONMENT})


def tidy(book: nbformat.NotebookNode) -> None:
    """Leave only what is worth storing, in one order, so that a second run changes nothing."""
    book.metadata = nbformat.from_dict({"kernelspec": dict(KERNEL), "language_info": {"name": "python"}})
    book.nbformat, book.nbformat_minor = 4, 5
    for number, cell in enumerate(book.cells):
        cell.id = cell.id if _named(cell.id) else f"cell-{number:03d}"
        kept = {key: value for key, value in sorted(cell.metadata.items()) if key in ("tags", "jupyter")}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            cell.outputs = _join_streams([output for output in map(_clean, cell.outputs) if output is not None])


def problems(book: nbformat.NotebookNode, size: int) -> list[str]:
    """What must not be stored."""
    found = [f"{size / 1e6:.2f} MB is over {LIMIT / 1e6} MB"] if size > LIMIT else []
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            text = "".join(str(value) for key, value in output.get("data", {}).items() if key.startswith("text/"))
            if output.output_type == "error":
                found.append(f"cell {cell.id} raised {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {cell.id} wrote to stderr: {output.text.strip()[:200]}")
            elif text.startswith("Output("):
                found.append(f"cell {cell.id} shows an Output widget: show its content as a static picture or text")
    return found


def _named(identity: str) -> bool:
    """Whether a person gave this id: generated ones are eight hexadecimal digits, or a uuid."""
    return not all(letter in "0123456789abcdef-" for letter in identity) and not identity.startswith("cell-")


def _clean(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """An output without its widget's view; None if only the view was there."""
    if "data" in output:
        output.data.pop(VIEW, None)
        output.metadata = nbformat.from_dict({key: value for key, value in output.metadata.items() if key in PICTURES})
        if not output.data:
            return None
    return output


def _join_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Neighboring texts of one stream as one: how a kernel cuts them up depends on time."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def main() -> int:
    """Run and store the notebooks whose names begin so (all, if none is named)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 01")
    names = parser.parse_args().names
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not names or path.name.startswith(tuple(names))]
    refused = 0
    for path in paths:
        book, started = nbformat.read(path, as_version=4), time.perf_counter()
        execute(book, path.parent)
        tidy(book)
        text = nbformat.writes(book) + "\n"
        found = problems(book, len(text.encode()))
        seconds = time.perf_counter() - started
        if found:
            refused += 1
            print(f"{path.name}: not stored ({seconds:.0f} s)", *found, sep="\n  - ")
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path.name}: {len(text) / 1e6:.2f} MB, {seconds:.0f} s")
    return 1 if refused or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
