"""The lessons elsewhere than in JupyterLab: as pages of Voila (`xai-lessons app`), and in Notebook 7."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page

from browser.lab import MINUTE, TOKEN
from xai_lessons.command import lab as lessons

SLIDER = ".xai-explorer .noUi-handle:visible"
HEADLINE = ".xai-headline"


@contextlib.contextmanager
def app(name: str, folder: Path) -> Iterator[str]:
    """The address of a page that `xai-lessons app` shows."""
    pytest.importorskip("voila", reason='Voila is not installed: pip install "xai-lessons[app]"')
    command = [sys.executable, "-m", "xai_lessons", "app", name, "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUNBUFFERED": "1"}
    pipe = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=folder, **pipe) as process:
        try:
            lines = iter(process.stderr.readline, "")
            yield next(found[0] for line in lines if (found := re.search(r"http://127\S+token=\w+", line)))
        finally:
            process.terminate()
            process.stderr.read()


@pytest.fixture
def fresh(browser: Browser) -> Iterator[Page]:
    """A page that remembers which other servers were asked for something."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.foreign = []
    page.on(
        "request", lambda r: None if re.match("http://127|data:|blob:|ws://127", r.url) else page.foreign.append(r.url)
    )
    yield page
    context.close()


def said_before_and_after(page: Page) -> tuple[str, str]:
    """The explorer's sentence before its first slider is moved by three steps, and when it is another one."""
    before = page.locator(HEADLINE).first.inner_text()
    page.locator(SLIDER).first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([css, before]) => document.querySelector(css).innerText !== before", arg=[HEADLINE, before], timeout=MINUTE
    )
    return before, page.locator(HEADLINE).first.inner_text()


def test_an_explorer_is_a_page_of_voila(fresh, tmp_path):
    with app("cam", tmp_path) as address:
        fresh.goto(address, timeout=MINUTE)
        fresh.locator(HEADLINE).first.wait_for(timeout=2 * MINUTE)
        before, after = said_before_and_after(fresh)
        assert before != after
        assert fresh.locator("pre").count() == 1, "the only code is the explorer's own, under Show code"
        fresh.locator(".xai-save").first.click()
        fresh.get_by_text(f"Saved as cam-1.png in {tmp_path}").wait_for(timeout=MINUTE)
    assert fresh.foreign == []


def test_a_lesson_is_a_page_of_voila_as_far_as_it_has_run(fresh, tmp_path):
    with app("8", tmp_path) as address:
        fresh.goto(address, timeout=MINUTE)
        fresh.get_by_role("heading", name="8 · Detection").wait_for(timeout=MINUTE)
        fresh.locator(HEADLINE).first.wait_for(timeout=2 * MINUTE)
        assert fresh.locator("pre", has_text="import torch").count()
        assert fresh.locator("mjx-container").count(), "the equations are drawn"
    assert fresh.foreign == []


def test_notebook_7_runs_a_lessons_beginning_and_moves_a_slider(lab, page):
    pytest.importorskip("notebook", reason="Notebook 7 is not installed: pip install notebook")
    book = nbformat.read(lessons.lessons_folder() / "02_cam_to_gradcam.ipynb", as_version=4)
    sources = [cell.source for cell in book.cells if cell.cell_type == "code"]
    first = next(number for number, source in enumerate(sources) if "CamExplorer(" in source)
    lab.put("beginning.ipynb", *sources[: first + 1])
    page.goto(f"/notebooks/beginning.ipynb?token={TOKEN}", timeout=MINUTE)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for(timeout=MINUTE)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
    page.locator(HEADLINE).first.wait_for(timeout=2 * MINUTE)
    before, after = said_before_and_after(page)
    assert before != after
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert not page.locator(".xai-error").first.is_visible()
