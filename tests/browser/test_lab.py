"""JupyterLab itself, as the course starts it: it opens, runs, shows widgets, and asks nobody for news."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page

from browser.lab import MINUTE, NOTEBOOK, SETTLED, console_errors, keep, next_notebook, wait_idle

SLIDER = """
import ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(value=3, min=0, max=10, description="number")
said = ipywidgets.HTML("square 9")
slider.observe(lambda change: setattr(said, "value", f"square {change['new'] ** 2}"), "value")
display(slider, said)
"""


def test_a_slider_moves_what_is_shown(opened, desk):
    cells = opened(SLIDER, "slider.value * 2")
    assert cells[1]["outputs"][0]["data"]["text/plain"] == "6"
    desk.get_by_text("square 9", exact=True).wait_for()
    handle = desk.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    desk.get_by_text("square 16", exact=True).wait_for()
    wait_idle(desk)
    assert console_errors(desk) == []


def test_run_all_reports_the_error_of_a_cell(opened):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        opened("1 + 1", "1 / 0", "'never'")


def test_nobody_is_asked_for_news(lab, opened, desk):
    opened("1", "2")
    assert any("/lab/api/" in url for url in desk.asked)
    assert not [url for url in desk.asked if not url.startswith((lab.url, "blob:", "data:"))]
    assert not [url for url in desk.asked if "/lab/api/news" in url or "/lab/api/update" in url]
    assert desk.get_by_text("Jupyter news").count() == 0


@pytest.fixture
def opened_by_command(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page that `xai-lessons lab` opens."""
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    environment = {**os.environ, **own, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        "-m",
        "xai_lessons",
        "lab",
        "--no-browser",
        "--port=0",
        "--folder",
        str(tmp_path / "mine"),
    ]
    command += ["--", "--LabApp.expose_app_in_browser=True"]
    pipe = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    foreign = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('ran')", id="l9-open-explorer")])
    foreign.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    with subprocess.Popen(command, env=environment, **pipe) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(found[0] for line in lines if (found := re.search(r"http://127\S+token=\w+", line)))
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.goto(address)
            nbformat.write(foreign, tmp_path / "mine" / "foreign.ipynb")
            yield page
            context.close()
        finally:
            process.terminate()
            process.stderr.read()


def test_a_lesson_opens_with_its_explorer_live(opened_by_command):
    """Title, sentence and explorer on the first screen, without a click; when the page is loaded again, too.

    What somebody else sent is not run, however its cell is called.
    """
    page = opened_by_command
    counts = f"() => {NOTEBOOK}.content.widgets.filter(c => c.model.type === 'code').map(c => c.model.executionCount)"
    for run in (1, 2):
        page.wait_for_function(SETTLED, arg="prediction", timeout=2 * MINUTE)
        keep(page, "opened-by-command")
        assert page.locator("h1").first.is_visible()
        box = page.locator(".xai-prediction .xai-headline").bounding_box()
        assert box["y"] + box["height"] < 800
        assert page.evaluate(counts)[0] == run
        page.reload()
    page.wait_for_function(SETTLED, arg="prediction", timeout=2 * MINUTE)
    next_notebook(page, "foreign.ipynb")
    page.wait_for_timeout(1000)
    assert page.evaluate(counts) == [None]
