"""A JupyterLab server on copies of the notebooks, and Chromium to look at it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browser.lab import (
    MINUTE,
    NOTEBOOK,
    TOKEN,
    close_side_bars,
    fresh_page,
    next_notebook,
    open_notebook,
    replace_cells,
    run_all,
    show_cell,
)
from xai_lessons.command import lab as lessons

DESK = "desk.ipynb"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Lab:
    """A running JupyterLab: its address, its folder, what it logged."""

    folder: Path
    url: str = ""
    log: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    def put(self, name: str, *sources: str) -> str:
        """Write a notebook of these code cells; its name."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        nbformat.write(book, self.folder / name)
        return name

    def ask(self, method: str, path: str) -> bytes:
        """A request to the server's own interface."""
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def answers(self, tries: int = 120) -> None:
        """Wait for the first answer: JupyterLab prints its address a little before it listens there."""
        for left in reversed(range(tries)):
            try:
                self.ask("GET", "status")
                return
            except urllib.error.URLError:
                if not left:
                    raise
                time.sleep(0.25)

    def listen(self, stream) -> None:
        """Keep the log, so that the pipe never fills; the address in it says that the server is ready."""
        for line in stream:
            self.log.append(line.rstrip())
            if address := re.search(r"(http://(?:127\.0\.0\.1|localhost):\d+)/", line):
                self.url = self.url or address[1]
                self.ready.set()
        self.ready.set()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; tests of the browser skip where it is not."""
    found = os.environ.get("XAI_LESSONS_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not found:
        pytest.skip(
            "no Chromium found: install it, or name it in XAI_LESSONS_CHROMIUM; "
            "`make test-notebooks` runs the lessons without it"
        )
    return found


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as `xai-lessons lab` starts it, on a copy of the notebooks and without the user's own settings."""
    home = tmp_path_factory.mktemp("jupyter")
    server = Lab(folder=tmp_path_factory.mktemp("lessons"))
    with contextlib.suppress(FileNotFoundError):  # before the first lesson is written
        lessons.copy_lessons(lessons.lessons_folder(), server.folder)
    root = Path(__file__).resolve().parents[2]
    own = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(home / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
    options = ["--no-browser", "--ip=127.0.0.1", "--allow-root", f"--ServerApp.root_dir={server.folder}"]
    # The system picks the port: of two servers that look for a free one from 8888 on, one took the other's.
    options += ["--port=0", f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    environment = {**lessons.environment(), **own}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, cwd=server.folder, **pipe) as process:
        listener = threading.Thread(target=server.listen, args=(process.stdout,), daemon=True)
        listener.start()
        try:
            server.ready.wait(120)
            assert server.url, "JupyterLab did not start:\n" + "\n".join(server.log)
            server.answers()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            listener.join(10)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium, through Playwright."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(lab: Lab, browser: Browser) -> Iterator[Page]:
    """A fresh page, for one test."""
    with fresh_page(lab, browser) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def desk(lab: Lab, browser: Browser) -> Iterator[Page]:
    """JupyterLab on a projector's page, its side bars closed: the tests open one notebook after the other in it."""
    with fresh_page(lab, browser, 1280, 800) as fresh:
        open_notebook(fresh, lab.put(DESK, "1"))
        close_side_bars(fresh)
        yield fresh


@pytest.fixture(scope="session")
def opened(desk: Page) -> Callable[..., list[dict[str, Any]]]:
    """Run these cells on the desk, in a notebook whose kernel goes on from test to test; scroll to the second one."""

    def of(*sources: str, timeout: float = 3 * MINUTE) -> list[dict[str, Any]]:
        if desk.evaluate(f"{NOTEBOOK}?.title.label") != DESK:
            next_notebook(desk, DESK)
        desk.complaints.clear()
        close_side_bars(desk)
        replace_cells(desk, *sources)
        cells = run_all(desk, timeout)
        show_cell(desk, 1)
        return cells

    return of
