"""Every lesson in JupyterLab in Chromium: Run All, scrolled from top to bottom, a slider of each explorer moved."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from browser.lab import MINUTE, NOTEBOOK, console_errors, open_notebook, run_all, show_cell

VIEW = "application/vnd.jupyter.widget-view+json"
NAMES = sorted(p.name for p in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def named(page: Page, number: int) -> Locator:
    """The code cell of this number, found again by an attribute that it is given."""
    page.evaluate(
        f"number => {NOTEBOOK}.content.widgets.filter(cell => cell.model.type === 'code')[number]"
        ".node.setAttribute('data-number', number)",
        number,
    )
    return page.locator(f"[data-number='{number}']")


def moves(page: Page, handle: Locator) -> bool:
    """Press the arrow keys on a slider's handle; whether it moves."""
    place = "handle => handle.parentElement.style.transform"  # the value that is read out is rounded
    before = handle.evaluate(place)
    handle.focus()
    for key in ("ArrowRight", "ArrowLeft"):  # at one end of its range only one of them moves it
        page.keyboard.press(key)
        if handle.evaluate(place) != before:
            return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_runs_scrolls_and_moves(lab, page, name):
    open_notebook(page, name)
    cells = run_all(page, timeout=10 * MINUTE)
    moved = 0
    for number, cell in enumerate(cells):
        show_cell(page, number)
        if "Explorer(" not in cell["source"] or not any(VIEW in output.get("data", {}) for output in cell["outputs"]):
            continue  # one that is used without being shown
        explorer = named(page, number)
        explorer.locator(".xai-headline").first.wait_for(timeout=MINUTE)
        handles = explorer.locator(".noUi-handle:visible")
        if not handles.count() and (more := explorer.locator(".xai-more-button")).count():
            more.first.click()  # its puzzle needs no slider: if there are any, they stand under More
            explorer.locator(".xai-more").first.wait_for(timeout=MINUTE)
        if handles.count():
            assert moves(page, handles.first), f"the first slider of code cell {number} does not move"
            moved += 1
        said = explorer.locator(".xai-error").all_inner_texts()
        assert not any(text.strip() for text in said), said
    assert moved, f"{name} has no explorer with a slider in sight"
    assert console_errors(page) == []
