"""Lesson 7 in JupyterLab in Chromium: Run All, another order of the leaderboard, an accusation, a repair and Stop."""

import os
import re

from playwright.sync_api import expect

from browser.lab import MINUTE, console_errors, open_notebook, run_all, show_cell

LEADERBOARD, DETECTIVE = ".xai-leaderboard", ".xai-detective"


def cell_of(cells, text: str) -> int:
    """The number of the first code cell that holds this text."""
    return next(number for number, cell in enumerate(cells) if text in cell["source"])


def keep(page, name: str) -> None:
    """A picture of the window, where a folder for it is named."""
    if "XAI_LESSONS_SHOTS" in os.environ:
        page.screenshot(path=f"{os.environ['XAI_LESSONS_SHOTS']}/{name}.png")


def test_lesson_7(lab, page):
    open_notebook(page, "07_judging_explanations.ipynb")
    cells = run_all(page, timeout=10 * MINUTE)

    show_cell(page, cell_of(cells, "LeaderboardExplorer()"))
    headline = page.locator(f"{LEADERBOARD} .xai-headline").first
    expect(headline).to_contain_text("pointing game: the best method is Grad-CAM")
    page.locator(f"{LEADERBOARD} .xai-control-metric select").select_option("deletion")
    expect(headline).to_contain_text("The control 'random'", timeout=MINUTE)
    keep(page, "leaderboard")

    show_cell(page, cell_of(cells, "DetectiveExplorer("))
    accused = page.locator(DETECTIVE).first
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
    assert console_errors(page) == []
