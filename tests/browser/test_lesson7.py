"""Lesson 7 in JupyterLab in Chromium: Run All, the leaderboard, a game up to the repair and Stop, a vote."""

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
    game = page.locator(DETECTIVE).first
    headline = game.locator(".xai-headline")
    expect(headline).to_contain_text("10 points left")
    keep(page, "detective")
    game.locator(".xai-control-cue select").select_option("an umbrella with a tag")
    game.locator(".xai-control-suspect select").select_option("suspect 4")
    game.locator(".xai-control-act select").select_option("take the tag away (1 point)")
    game.locator(".xai-control-do").click()
    expect(headline).to_contain_text(
        "9 points left. suspect 4, an umbrella with a tag, the tag taken away", timeout=MINUTE
    )
    game.locator(".xai-control-act select").select_option("accuse: it knows umbrellas by the tag")
    game.locator(".xai-control-do").click()
    expect(headline).to_contain_text("Right: suspect 4 knows umbrellas by the tag", timeout=MINUTE)
    keep(page, "verdict")
    game.locator(".xai-run").click()
    stop = game.locator(".xai-stop")
    expect(stop).to_be_visible(timeout=MINUTE)
    expect(headline).to_contain_text("Repair, step", timeout=3 * MINUTE)
    keep(page, "repair")
    stop.click()
    expect(game.locator(".xai-note")).to_have_text(re.compile("Stopped"), timeout=MINUTE)

    show_cell(page, cell_of(cells, "three maps of guided backprop"))
    page.locator(".xai-vote").nth(1).get_by_role("button", name="2", exact=True).click()
    show_cell(page, cell_of(cells, "votes.plot("))
    keep(page, "votes")
    assert console_errors(page) == []
