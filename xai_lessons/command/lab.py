"""Bring the lessons to a student: copy the notebooks, never over the student's own changes; open them in JupyterLab."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

PACKAGE = Path(__file__).resolve().parents[1]
SETTINGS = Path(__file__).resolve().parent / "jupyter"
FIRST = "01_classification.ipynb"
RECORD = ".xai-lessons.json"  # in the student's folder: the hash of what was last delivered under each name


def lessons_folder() -> Path:
    """Where the lessons are: inside the installed package, or beside it in a checkout.

    Returns:
        The folder that holds the notebooks.

    Raises:
        FileNotFoundError: if this installation came without them.
    """
    for folder in (PACKAGE / "_notebooks", PACKAGE.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no notebooks in {PACKAGE / '_notebooks'} nor in {PACKAGE.parent / 'notebooks'}: install xai-lessons again"
    )


def lessons(source: Path) -> list[str]:
    """The names of all files of the lessons below ``source``, sorted, with forward slashes."""
    files = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part[0] in "._" for part in path.parts))


def copy_lessons(source: Path, target: Path) -> list[str]:
    """Copy the lessons of ``source`` into ``target``, leaving alone whatever the student has changed there.

    A lesson that the student has not touched is brought up to date. Of one that the student has changed, a newer
    version is put beside it, as ``name.new.ipynb``, once.

    Args:
        source: the folder of the lessons.
        target: the student's folder; made if it is not there.

    Returns:
        One line for each file that was written.

    Raises:
        NotADirectoryError: if ``target`` is a file.
    """
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(
            f"{target} is a file, and a folder is wanted for the notebooks: name one with --folder"
        )
    target.mkdir(parents=True, exist_ok=True)
    record = _read_record(target / RECORD)
    said = []
    for name in lessons(source):
        new, place = (source / name).read_bytes(), target / name
        delivered, record[name] = record.get(name), _hash(new)
        present = _hash(place.read_bytes()) if place.exists() else None
        if present == _hash(new):
            continue
        if present is None or present == delivered:
            _write(place, new)
            said.append(f"{'copied' if present is None else 'updated'} {name}")
        elif delivered != _hash(new):
            beside = _beside(place, new)
            _write(beside, new)
            said.append(f"kept your {name}; the new version is beside it as {beside.name}")
    _write(target / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    return said


def serve(notebook: str, root: Path, port: int | None = None, browser: bool = True, extra: Sequence[str] = ()) -> int:
    """Open a notebook in JupyterLab and stay until it is closed.

    JupyterLab prints the notebook's address, so it can be opened by hand where no browser starts by itself. It asks
    nobody for news or updates.

    Args:
        notebook: what to open first, by its name below ``root``.
        root: the folder that JupyterLab shows.
        port: the port to listen on; None for the first free one from 8888.
        browser: whether to open a browser.
        extra: further options for ``jupyter lab``.

    Returns:
        JupyterLab's exit status.
    """
    first = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{quote(notebook)}"]
    command = [sys.executable, "-m", "jupyterlab", *first]
    if port is not None:
        command.append(f"--port={port}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        command.append("--allow-root")
    with subprocess.Popen([*command, *extra], env=environment()) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # Ctrl-C reaches JupyterLab too, which asks whether it is meant
                continue


def environment() -> dict[str, str]:
    """The variables that JupyterLab runs under: the present ones, with the course's settings before the user's."""
    paths = [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: then every difference counts as the student's
        return {}
    return record if isinstance(record, dict) else {}


def _beside(place: Path, content: bytes) -> Path:
    """A free name beside ``place``, or one that already holds just this content."""
    tries = (place.with_suffix(f".new{number}{place.suffix}") for number in ("", *range(2, 1000)))
    return next(path for path in tries if not path.exists() or path.read_bytes() == content)


def _write(path: Path, content: bytes) -> None:
    """Write all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
