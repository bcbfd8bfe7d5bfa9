"""Every lesson in JupyterLab in Chromium: Run All, scrolled from top to bottom, a slider of each explorer moved.

What Run All gives is compared with the stored outputs by nbval's own rules, so `make test` runs a lesson once.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from nbformat import from_dict
from nbval.plugin import IPyNbFile, coalesce_streams, get_sanitize_patterns
from playwright.sync_api import Locator, Page, expect

from browser.lab import MINUTE, NOTEBOOK, console_errors, open_notebook, run_all, show_cell

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
Cells = list[dict[str, Any]]


def differences(session: pytest.Session, lesson: Path, cells: Cells) -> list[str]:
    """Where the outputs of these code cells are not the stored ones, as nbval sees it: pictures are not compared."""
    book = IPyNbFile.from_parent(session, path=lesson)
    stored = list(book.collect())
    book.sanitize_patterns.update(get_sanitize_patterns((ROOT / "tests/nbval_sanitize.cfg").read_text("utf-8")))
    found = []
    for item, cell in zip(stored, cells, strict=True):
        outputs = coalesce_streams([from_dict(output) for output in cell["outputs"]])
        if item.options["check"] and not item.compare_outputs(outputs, coalesce_streams(item.cell.outputs)):
            found.append(f"code cell {item.cell_num}: " + "\n".join(item.comparison_traceback))
    return found


def cell_of(cells: Cells, text: str) -> int:
    """The number of the first code cell that holds this text."""
    return next(number for number, cell in enumerate(cells) if text in cell["source"])


def keep(page: Page, name: str) -> None:
    """A picture of the window, where a folder for it is named."""
    if "XAI_LESSONS_SHOTS" in os.environ:
        page.screenshot(path=f"{os.environ['XAI_LESSONS_SHOTS']}/{name}.png")


def lesson_1(page: Page, cells: Cells) -> None:
    """A slider, a question, training with Stop while another control is used."""
    opening, layers, training = ".xai-prediction", ".xai-layers", ".xai-training"
    show_cell(page, cell_of(cells, "PredictionExplorer("))
    headline = page.locator(f"{opening} .xai-headline").first
    expect(headline).to_contain_text("The network says cat")
    handle = page.locator(f"{opening} .xai-control-noise .noUi-handle").first
    handle.focus()
    for _ in range(20):
        handle.press("ArrowRight")
    expect(headline).to_contain_text("before: cat", timeout=MINUTE)

    show_cell(page, cell_of(cells, 'quiz.ask("lesson1.shift")'))
    question = page.locator(".xai-quiz").first
    question.get_by_text("something else").click()
    question.get_by_role("button", name="Reveal").click()
    expect(question).to_contain_text("Choose again", timeout=MINUTE)  # a wrong first answer gets a hint
    question.get_by_text("still cat, about as confident").click()
    question.get_by_role("button", name="Reveal").click()
    expect(question).to_contain_text("Right.", timeout=MINUTE)

    show_cell(page, cell_of(cells, "LayerExplorer("))
    page.locator(f"{layers} .xai-control-layer select").select_option("stage2.0")
    expect(page.locator(f"{layers} .xai-headline")).to_contain_text("stage2.0: residual block", timeout=MINUTE)

    show_cell(page, cell_of(cells, "TrainingExplorer("))
    expect(page.locator(f"{training} .xai-headline")).to_contain_text("not trained yet")
    page.locator(f"{training} .xai-run").click()
    stop = page.locator(f"{training} .xai-stop")
    expect(stop).to_be_visible(timeout=MINUTE)
    show_cell(page, cell_of(cells, "LayerExplorer("))  # another slider stays live meanwhile
    page.locator(f"{layers} .xai-control-layer select").select_option("stem.0")
    expect(page.locator(f"{layers} .xai-headline")).to_contain_text("stem.0: convolution", timeout=MINUTE)
    show_cell(page, cell_of(cells, "TrainingExplorer("))
    stop.click()
    expect(page.locator(f"{training} .xai-note")).to_have_text(re.compile("Stopped"), timeout=MINUTE)


def lesson_7(page: Page, cells: Cells) -> None:
    """Another order of the leaderboard, an accusation, a repair and Stop."""
    show_cell(page, cell_of(cells, "LeaderboardExplorer()"))
    headline = page.locator(".xai-leaderboard .xai-headline").first
    expect(headline).to_contain_text("pointing game: the best method is Grad-CAM")
    page.locator(".xai-leaderboard .xai-control-metric select").select_option("deletion")
    expect(headline).to_contain_text("The control 'random'", timeout=MINUTE)
    keep(page, "leaderboard")

    show_cell(page, cell_of(cells, "DetectiveExplorer("))
    accused = page.locator(".xai-detective").first
    accused.locator(".xai-control-network select").select_option("suspect 4")
    accused.locator(".xai-control-cue select").select_option("umbrellas by the tag")
    expect(accused.locator(".xai-panels, .xai-headline").first).to_be_visible()
    keep(page, "detective")
    accused.locator(".xai-run").click()
    stop = accused.locator(".xai-stop")
    expect(stop).to_be_visible(timeout=MINUTE)
    expect(accused.locator(".xai-headline")).to_contain_text("in repair", timeout=3 * MINUTE)
    keep(page, "repair")
    stop.click()
    expect(accused.locator(".xai-note")).to_have_text(re.compile("Stopped"), timeout=MINUTE)


MORE = {"01": lesson_1, "07": lesson_7}  # what is tried in one lesson only


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


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_as_stored_scrolls_and_moves(lab, page, request, lesson):
    open_notebook(page, lesson.name)
    cells = run_all(page, timeout=10 * MINUTE)
    assert not (found := differences(request.session, lesson, cells)), "\n".join(found)
    if more := MORE.get(lesson.stem[:2]):
        more(page, cells)
    moved = 0
    for number, cell in enumerate(cells):
        show_cell(page, number)
        if "Explorer(" not in cell["source"]:
            continue
        explorer = named(page, number)
        explorer.locator(".xai-headline").first.wait_for(timeout=MINUTE)
        handles = explorer.locator(".noUi-handle:visible")
        if not handles.count() and (more := explorer.locator(".xai-more-button")).count():
            more.first.click()  # its puzzle needs no slider: those that there are stand under More
            handles.first.wait_for(timeout=MINUTE)
        if handles.count():
            assert moves(page, handles.first), f"the first slider of code cell {number} does not move"
            moved += 1
        said = explorer.locator(".xai-error").all_inner_texts()
        assert not any(text.strip() for text in said), said
    assert moved, f"{lesson.name} has no explorer with a slider in sight"
    assert console_errors(page) == []
