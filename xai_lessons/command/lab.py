"""``xai-lessons lab``: copy the notebooks, never over the student's own changes, and open them in JupyterLab."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from xai_lessons.command.kernels import MEMORY
from xai_lessons.core.files import write_whole

PACKAGE = Path(__file__).resolve().parents[1]
SETTINGS = Path(__file__).resolve().parent / "jupyter"
FIRST = "01_classification.ipynb"
RECORD = ".xai-lessons.json"  # in the student's folder: the hash of the last copied version of each file


def lessons_folder() -> Path:
    """The folder of the notebooks: inside the installed package, or next to it in a checkout.

    Raises:
        FileNotFoundError: if this installation does not contain them.

    Example:
        >>> lessons_folder().is_dir()
        True
    """
    folders = PACKAGE / "_notebooks", PACKAGE.parent / "notebooks"
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"there are no notebooks in {folders[0]} or {folders[1]}: install xai-lessons again")


def lessons(source: Path) -> list[str]:
    """The sorted names of all lesson files in ``source``, with forward slashes.

    Example:
        >>> lessons(lessons_folder())[0]
        '01_classification.ipynb'
    """
    files = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part[0] in "._" for part in path.parts))


def copy_lessons(source: Path, target: Path) -> list[str]:
    """Copy the lessons of ``source`` into ``target`` without touching what the student has changed there.

    A file that the student has not changed is updated. Next to one that the student has changed, a newer version is
    written once, as ``name.new.ipynb``.

    Args:
        source: the folder of the lessons.
        target: the student's folder; created if necessary.

    Returns:
        One line for each file that was written.

    Raises:
        NotADirectoryError: if ``target`` is a file.

    Example:
        >>> import tempfile
        >>> copy_lessons(lessons_folder(), Path(tempfile.mkdtemp()))[0]
        'copied 01_classification.ipynb'
    """
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file, expected a folder for the notebooks: name one with --folder")
    target.mkdir(parents=True, exist_ok=True)
    record = _read_record(target / RECORD)
    lines = []
    for name in lessons(source):
        new, place = (source / name).read_bytes(), target / name
        delivered, record[name] = record.get(name), _hash(new)
        present = _hash(place.read_bytes()) if place.exists() else None
        if present == _hash(new):
            continue
        if present is None or present == delivered:
            _write(place, new)
            lines.append(f"{'copied' if present is None else 'updated'} {name}")
        elif delivered != _hash(new):
            other = _free_name(place, new)
            _write(other, new)
            lines.append(f"kept your {name}; the new version is next to it as {other.name}")
    _write(target / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    return lines


def trust(source: Path, folder: Path) -> None:
    """Sign the lessons that are as they were delivered: Jupyter trusts those, so their first cell runs when they open.

    Where Jupyter's folder of signatures cannot be written, nothing is signed: the first cell waits for a click.

    Args:
        source: the folder of the lessons.
        folder: the student's folder.
    """
    from nbformat import read
    from nbformat.sign import NotebookNotary

    with contextlib.suppress(OSError):
        notary = NotebookNotary()
        for name in lessons(source):
            place = folder / name
            if place.suffix == ".ipynb" and place.is_file() and place.read_bytes() == (source / name).read_bytes():
                notary.sign(read(place, as_version=4))


def serve(notebook: str, root: Path, port: int | None = None, browser: bool = True, extra: Sequence[str] = ()) -> int:
    """Open a notebook in JupyterLab and wait until it is closed.

    JupyterLab prints the notebook's address, so it can also be opened by hand. It does not look for news or updates.

    Args:
        notebook: the notebook to open first, relative to ``root``.
        root: the folder that JupyterLab shows.
        port: the port to listen on; by default the first free one from 8888.
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
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # JupyterLab ends with this process
        while True:
            try:
                status = process.wait()
                return status if status >= 0 else 128 - status  # ended by a signal: as a shell says it
            except KeyboardInterrupt:  # Ctrl-C reaches JupyterLab too, which asks for confirmation
                continue


def environment() -> dict[str, str]:
    """The environment variables for JupyterLab: the current ones, with the course's settings before the user's."""
    ours = {
        name: os.pathsep.join(filter(None, [str(SETTINGS), os.environ.get(name)]))
        for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH")  # settings; the extension that opens a lesson live
    }
    return {**MEMORY, **os.environ, **ours}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged: then every difference counts as the student's
        return {}
    return record if isinstance(record, dict) else {}


def _free_name(place: Path, content: bytes) -> Path:
    """A free name next to ``place``, or one that already has exactly this content."""
    tries = (place.with_suffix(f".new{number}{place.suffix}") for number in ("", *range(2, 1000)))
    return next(path for path in tries if not path.exists() or path.read_bytes() == content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
