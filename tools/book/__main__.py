"""``make site``: the web book in build/site, from the stored outputs; only the frames of its players are computed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import nbformat

from tools import pins
from tools.book import frames, links, pages

BUILD = pins.ROOT / "build"
SITE, CACHE = BUILD / "site", BUILD / "frames"
MOST = 60e6  # bytes


def players() -> dict[str, Any]:
    """All players, cell id -> player; those that are not in the cache are computed, a process a core."""
    cells = [
        (path, cell.id)
        for path in sorted((pins.ROOT / "notebooks").glob("*.ipynb"))
        for cell in frames.explorer_cells(nbformat.read(path, as_version=4))
    ]
    (CACHE / "images").mkdir(parents=True, exist_ok=True)
    basis, started = frames.version(), time.monotonic()
    workers = int(os.environ.get("WORKERS", os.cpu_count() or 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        jobs = {cell_id: pool.submit(frames.recorded, path, cell_id, CACHE, basis) for path, cell_id in cells}
        made = {cell_id: job.result() for cell_id, job in jobs.items()}
    count = sum(len(one["frames"]) for one in made.values())
    print(f"{len(made)} players, {count} frames, {time.monotonic() - started:.0f} s", flush=True)
    return made


def main() -> None:
    """Build the site, check its links, print its size."""
    os.environ.setdefault("XAI_LESSONS_DEVICE", "cpu")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pages.assemble(players(), CACHE / "images", BUILD / "book")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", "docs/book", "-W", "--keep-going", "-q", "-E"]
    command += ["-d", str(BUILD / "book" / "doctrees"), str(BUILD / "book" / "source"), str(SITE)]
    shutil.rmtree(SITE, ignore_errors=True)
    subprocess.run(command, cwd=pins.ROOT, check=True)
    broken = links.problems(SITE)
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"{len(list(SITE.rglob('*.html')))} pages, {size / 1e6:.1f} MB, {len(broken)} broken links: {SITE}")
    if broken or size > MOST:
        sys.exit("\n".join(broken) or f"expected at most {MOST / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
