"""A student's hands: what the browser tests do in JupyterLab."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page

TOKEN = secrets.token_hex(16)
MINUTE = 60_000  # Playwright counts in milliseconds
POLL = 200  # milliseconds between two looks; without it, Playwright looks in each frame, and the page draws them all

# JupyterLab's own complaints, which no notebook of ours causes
NOT_OURS = ("favicon", "ResizeObserver loop", "Could not determine content type", "/lsp/", "webgl", "WebGL")

NOTEBOOK = "window.jupyterapp.shell.currentWidget"
CELLS = f"""() => {NOTEBOOK}.content.widgets.filter(cell => cell.model.type === 'code').map(cell => ({{
    source: cell.model.sharedModel.getSource(),
    count: cell.model.executionCount,
    state: cell.model.executionState,
    outputs: cell.model.outputs.toJSON(),
}}))"""
IDLE = f"""() => {NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'
    && {NOTEBOOK}.content.widgets.every(cell => cell.model.executionState !== 'running')"""
#: an explorer, by its css class, has drawn its images and computes nothing
SETTLED = """name => {
    const root = document.querySelector('.xai-' + name + '.xai-explorer');
    if (!root) return false;
    const images = [...root.querySelectorAll('.xai-panel img')];
    const drawn = images.length > 0 && images.every(i => i.complete && i.naturalWidth > 1);
    return drawn && root.querySelector('.xai-headline')
        && [...root.querySelectorAll('.xai-status')].every(e => getComputedStyle(e).visibility === 'hidden');
}"""


@contextlib.contextmanager
def fresh_page(lab: Any, browser: Browser, width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A page that remembers complaints and which addresses were asked; the kernels it started end with it."""
    before = {session["id"] for session in json.loads(lab.ask("GET", "sessions"))}
    context = browser.new_context(base_url=lab.url, viewport={"width": width, "height": height})
    fresh = context.new_page()
    fresh.complaints, fresh.asked = [], []
    fresh.on("pageerror", lambda error: fresh.complaints.append(str(error)))
    fresh.on("console", lambda message: fresh.complaints.append(message.text) if message.type == "error" else None)
    fresh.on("request", lambda request: fresh.asked.append(request.url))
    yield fresh
    context.close()
    for session in json.loads(lab.ask("GET", "sessions")):
        if session["id"] not in before:
            lab.ask("DELETE", f"sessions/{session['id']}")


def open_notebook(page: Page, name: str, timeout: float = 2 * MINUTE) -> None:
    """Open a notebook of the server's folder in a fresh JupyterLab and wait until its kernel is idle."""
    page.goto(f"/lab/tree/{quote(name)}?reset&token={TOKEN}", timeout=timeout)
    page.locator(".jp-StatusBar-TextItem", has_text="| Idle").first.wait_for(timeout=timeout)
    wait_open(page, name, timeout)


def next_notebook(page: Page, name: str, timeout: float = 2 * MINUTE) -> None:
    """Open a notebook in the JupyterLab that is open; the one before is closed, and its kernel is shut down."""
    page.evaluate(
        """async name => {
            const {commands, shell} = window.jupyterapp, before = shell.currentWidget;
            if (before?.sessionContext?.session) await before.sessionContext.shutdown();
            before?.dispose();
            await commands.execute('docmanager:open', {path: name});
        }""",
        name,
    )
    wait_open(page, name, timeout)
    close_side_bars(page)


def wait_open(page: Page, name: str, timeout: float = 2 * MINUTE) -> None:
    """Wait until this notebook is in front and its kernel is idle."""
    shown = f"window.jupyterapp?.shell?.currentWidget?.title?.label === {name.split('/')[-1]!r}"
    page.wait_for_function(shown, polling=POLL)
    wait_idle(page, timeout)


def close_side_bars(page: Page) -> None:
    """Leave all the width to the notebook."""
    page.evaluate(
        """async () => {
            const {restored, shell} = window.jupyterapp;
            await restored;  // which opens them again
            shell.collapseLeft();
            shell.collapseRight();
        }"""
    )


def keep(page: Page, name: str) -> None:
    """A picture of the window, to be looked at, in the folder that XAI_LESSONS_SCREENSHOTS names, if it does."""
    if folder := os.environ.get("XAI_LESSONS_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def wait_idle(page: Page, timeout: float = 2 * MINUTE) -> None:
    """Wait until no cell runs and the kernel is idle."""
    page.wait_for_function(IDLE, timeout=timeout, polling=POLL)


def run_all(page: Page, timeout: float = 3 * MINUTE) -> list[dict[str, Any]]:
    """Run All from the menu, wait for its end, and fail with the first error that a cell shows.

    Returns:
        The code cells: source, count, state, outputs.
    """
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
    has_run = (
        "cell => cell.model.type !== 'code' || cell.model.executionCount || !cell.model.sharedModel.getSource().trim()"
    )
    types = "Array.from({length: cell.model.outputs.length}, (_, i) => cell.model.outputs.get(i).type)"
    failed = f"cell => cell.model.type === 'code' && {types}.includes('error')"
    widgets = f"{NOTEBOOK}.content.widgets"
    ended = f"() => {widgets}.some({failed}) || {widgets}.every({has_run})"
    page.wait_for_function(ended, timeout=timeout, polling=POLL)
    wait_idle(page, timeout)
    cells = code_cells(page)
    errors = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert not errors, f"{errors[0]['ename']}: {errors[0]['evalue']}"
    return cells


def code_cells(page: Page) -> list[dict[str, Any]]:
    """The code cells of the open notebook, also those that are scrolled out of sight."""
    return page.evaluate(CELLS)


def replace_cells(page: Page, *sources: str) -> None:
    """Let the open notebook hold these code cells alone; its kernel goes on."""
    page.evaluate(
        f"""sources => {{
            const shared = {NOTEBOOK}.content.model.sharedModel;
            shared.deleteCellRange(0, shared.cells.length);
            sources.forEach(source => shared.addCell({{cell_type: 'code', source}}));
        }}""",
        list(sources),
    )


def press(page: Page, css: str, key: str, times: int = 1) -> None:
    """Press a key on the handle of the first slider in an element."""
    handle = page.locator(f"{css} .noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def show_cell(page: Page, number: int) -> None:
    """Scroll the code cell of this number (from 0) into sight."""
    page.evaluate(
        f"""async number => {{
            const notebook = {NOTEBOOK}.content;
            const cell = notebook.widgets.filter(cell => cell.model.type === 'code')[number];
            await notebook.scrollToItem(notebook.widgets.indexOf(cell), 'start');
        }}""",
        number,
    )


def console_errors(page: Page) -> list[str]:
    """What the page complained of since it was opened, JupyterLab's own noise left out."""
    return [text for text in page.complaints if not any(noise in text for noise in NOT_OURS)]  # type: ignore[attr-defined]
