"""``xai-lessons app``: one explorer or one lesson as a page of its own, served by Voila."""

import importlib
import os
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

from xai_lessons.command import lab
from xai_lessons.core.files import write_whole

NEED_DATA = ("mistakes",)  # explorers that do not open without a set of images


def explorers() -> dict[str, str]:
    """The explorers that open by themselves: name -> class.

    Example:
        >>> explorers()["cam"]
        'CamExplorer'
    """
    from xai_lessons import explorers as package

    classes = {name.removesuffix("Explorer").lower(): name for name in package.__all__ if name.endswith("Explorer")}
    return {name: classes[name] for name in sorted(classes) if name not in NEED_DATA}


def lessons() -> dict[str, str]:
    """The lessons: number -> file.

    Example:
        >>> lessons()["1"]
        '01_classification.ipynb'
    """
    files = [name for name in lab.lessons(lab.lessons_folder()) if name.endswith(".ipynb")]
    return {str(int(name[:2])): name for name in files}


def page(name: str, folder: Path) -> Path:
    """The notebook that is shown: the lesson's own, or a new one in ``folder`` that only opens an explorer.

    Args:
        name: an explorer, such as "cam" or "CamExplorer", or a lesson's number.
        folder: where to write the new notebook.

    Returns:
        The notebook.

    Raises:
        ValueError: if there is no such explorer or lesson.

    Example:
        >>> page("3", Path()).name
        '03_saliency.ipynb'
    """
    key = name.lower().removesuffix("explorer").lstrip("0")
    if key in lessons():
        return lab.lessons_folder() / lessons()[key]
    if key not in explorers():
        from xai_lessons.core.inputs import closest

        near = closest(key, [*explorers(), *lessons()])
        raise ValueError(f"there is no explorer or lesson {name!r}: did you mean {near}? `xai-lessons app` lists them")
    import nbformat

    shown = explorers()[key]
    cell = nbformat.v4.new_code_cell(f"from xai_lessons.explorers import {shown}\n\n{shown}()")
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    write_whole(folder / f"{key}.ipynb", nbformat.writes(book).encode())
    return folder / f"{key}.ipynb"


def serve(notebook: Path, port: int | None = None, browser: bool = True) -> int:
    """Show a notebook as a page until Ctrl-C; its address, with a token, is printed.

    A lesson is shown with its code, and as far as it has run: its text at once, its first explorer some seconds later.

    Args:
        notebook: what `page` returned. Its kernel works in the current folder.
        port: the port to listen on; by default the first free one from 8866.
        browser: whether to open a browser.

    Returns:
        The exit status.

    Raises:
        ImportError: if Voila is not installed.
    """
    try:
        voila = importlib.import_module("voila.app")
    except ImportError:
        raise ImportError('Voila is not installed: pip install "xai-lessons[app]"') from None

    class App(voila.Voila):  # type: ignore[name-defined]
        def launch_browser(self) -> None:  # Voila's own leaves out the token
            threading.Thread(target=webbrowser.open, args=(self.display_url,)).start()

    lesson = notebook.parent == lab.lessons_folder()
    os.environ |= lab.environment()
    options: dict[str, Any] = {
        "Voila.auto_token": True,
        "Voila.ip": "127.0.0.1",
        "Voila.open_browser": browser,
        "VoilaConfiguration.template": "xai-lessons",
        "VoilaConfiguration.strip_sources": not lesson,
        "VoilaConfiguration.progressive_rendering": lesson,
        # the first fails outside Notebook, the second is for JupyterLab
        "VoilaConfiguration.extension_denylist": ["@jupyter-notebook/lab-extension", "xai-lessons"],
        "MappingKernelManager.root_dir": str(Path.cwd()),
    }
    if port is not None:
        options["Voila.port"] = port
    App.launch_instance([str(notebook), *(f"--{name}={value}" for name, value in options.items())])
    return 0


def show(name: str, port: int | None = None, browser: bool = True) -> int:
    """Show one explorer or one lesson; see `page` and `serve`."""
    with tempfile.TemporaryDirectory() as folder:
        return serve(page(name, Path(folder)), port, browser)
