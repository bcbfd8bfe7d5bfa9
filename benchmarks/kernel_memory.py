"""The memory that each lesson's kernel needs at most above ``import torch``.

Binder gives all kernels together 2 GB; the bar is 500 MB a lesson.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"  # Linux counts in KiB
BAR = 500


def bare() -> float:
    """The peak of a process that only imports torch, in MiB."""
    return float(
        subprocess.run([sys.executable, "-c", f"import torch; {PEAK}"], capture_output=True, check=True).stdout
    )


def lesson(path: Path) -> float:
    """The peak of the kernel that runs a notebook from top to bottom, in MiB."""
    book = nbformat.read(path, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(PEAK))
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    return float(book.cells[-1].outputs[0]["text"])


def main() -> None:
    """Print the table, of all lessons or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.kernel_memory")
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="of lessons: 01 02; without one all (10 minutes)")
    numbers = tuple(parser.parse_args().numbers) or ("",)
    os.environ |= {"XAI_LESSONS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    start = bare()
    print(f"import torch alone: {start:.0f} MB\n\n| lesson | peak, MB | above torch, MB | bar |\n|---|---|---|---|")
    for path in sorted(p for p in NOTEBOOKS.glob("*.ipynb") if p.name.startswith(numbers)):
        peak = lesson(path)
        print(
            f"| {path.stem} | {peak:.0f} | {peak - start:.0f} | {'ok' if peak - start <= BAR else 'over'} |", flush=True
        )


if __name__ == "__main__":
    main()
