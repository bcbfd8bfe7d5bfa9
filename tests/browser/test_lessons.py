"""Every lesson in JupyterLab in Chromium, once: its first screen, Run All against the stored outputs, a slider of each
explorer moved.

Lessons 1 and 7 are used at more length, on the same page: a click, a question, training; a game, a vote.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.lab import MINUTE, NOTEBOOK, POLL, SETTLED, console_errors, keep, next_notebook, press, run_all, show_cell
from stored_outputs import differences
from tools.execute_notebooks import VIEW

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
BOXES = f"""() => {{
    const panel = {NOTEBOOK}.content.node, home = panel.getBoundingClientRect();
    const box = e => {{ const r = e.getBoundingClientRect(); return [r.top - home.top, r.bottom - home.top]; }};
    const all = css => [...panel.querySelectorAll(css)].filter(e => e.getBoundingClientRect().height > 0).map(box);
    const cells = [...panel.querySelectorAll('.jp-Cell')];
    return {{height: home.height, title: all('h1')[0], sentence: all('h1 ~ p')[0],
        picture: [...cells[1].querySelectorAll('.jp-OutputArea-output img')].map(box)[0],
        explorer: all('.xai-explorer')[0], parts: all('.xai-headline, .xai-on-stage, .xai-stage:not(.xai-under) > *')}};
}}"""


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


def cell_of(cells: list, text: str) -> int:
    """The number of the first code cell that holds this text."""
    return next(number for number, cell in enumerate(cells) if text in cell["source"])


def first_screen(page: Page, name: str) -> None:
    """At 1280 x 800: title, sentence and stored picture; then, as its cell says, Shift + Enter makes it an explorer."""
    page.wait_for_timeout(300)
    keep(page, f"opened-{name}")
    found = page.evaluate(BOXES)
    top, bottom = found["picture"]
    assert 0 <= found["title"][0] < found["title"][1] <= found["sentence"][0]
    assert found["sentence"][1] <= top
    assert min(bottom, found["height"]) - top >= 400, "less than 400 pixels of the stored picture are to be seen"

    page.locator(".jp-Cell").nth(1).locator("img").click()
    page.keyboard.press("Shift+Enter")
    explorer = page.locator(".xai-explorer").first
    explorer.wait_for(timeout=2 * MINUTE)
    (css, *_) = re.findall(r"\bxai-(?!explorer)(\w+)", explorer.get_attribute("class"))
    page.wait_for_function(SETTLED, arg=css, timeout=2 * MINUTE, polling=POLL)
    page.evaluate(
        f"() => {{ {NOTEBOOK}.content.node.querySelector('.jp-WindowedPanel-outer, .jp-Notebook').scrollTop = 0; }}"
    )
    page.wait_for_timeout(300)
    keep(page, f"live-{name}")
    found = page.evaluate(BOXES)
    assert found["title"][0] >= 0
    outside = [box for box in found["parts"] if box[1] > found["height"]]
    assert not outside, f"below {found['height']:.0f}: {outside}"


def lesson_1(page: Page, cells: list) -> None:
    """A part taken away by a click, a question, training with Stop while another slider moves."""
    texts = [str(output.get("text", "")) for cell in cells for output in cell["outputs"]]
    assert any("right on" in text for text in texts)

    show_cell(page, cell_of(cells, "PredictionExplorer("))
    headline = page.locator(".xai-prediction .xai-headline").first
    expect(headline).to_contain_text("The network says cat")
    picture = page.locator(".xai-prediction img.xai-touch").first
    box = picture.bounding_box()
    ear = {"x": 0.215 * box["width"], "y": 0.59 * box["height"]}
    picture.click(position=ear)  # taken away by a click, brought back by another
    expect(headline).to_contain_text("The network says umbrella", timeout=MINUTE)
    expect(headline).to_contain_text("logit of cat")
    picture.click(position=ear)
    expect(headline).to_have_text("The network says cat, 39%, and is right.", timeout=MINUTE)
    press(page, ".xai-prediction .xai-control-noise", "ArrowRight", 20)
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
    page.locator(".xai-layers .xai-control-layer select").select_option("stage2.0")
    expect(page.locator(".xai-layers .xai-headline")).to_contain_text("stage2.0: residual block", timeout=MINUTE)

    show_cell(page, cell_of(cells, "TrainingExplorer("))
    trained = page.locator(".xai-training .xai-headline")
    expect(trained).to_contain_text("not trained yet")
    page.locator(".xai-training .xai-run").click()
    stop = page.locator(".xai-training .xai-stop")
    expect(stop).to_be_visible(timeout=MINUTE)
    show_cell(page, cell_of(cells, "LayerExplorer("))  # another slider stays live meanwhile
    page.locator(".xai-layers .xai-control-layer select").select_option("stem.0")
    expect(page.locator(".xai-layers .xai-headline")).to_contain_text("stem.0: convolution", timeout=MINUTE)
    show_cell(page, cell_of(cells, "TrainingExplorer("))
    stop.click()
    expect(page.locator(".xai-training .xai-note")).to_have_text(re.compile("Stopped"), timeout=MINUTE)


def lesson_7(page: Page, cells: list) -> None:
    """The leaderboard, a game up to the repair and Stop, a vote."""
    show_cell(page, cell_of(cells, "LeaderboardExplorer()"))
    headline = page.locator(".xai-leaderboard .xai-headline").first
    expect(headline).to_contain_text("pointing game: the best method is Grad-CAM")
    page.locator(".xai-leaderboard .xai-control-metric select").select_option("deletion")
    expect(headline).to_contain_text("The control 'empty'", timeout=MINUTE)
    keep(page, "leaderboard")

    show_cell(page, cell_of(cells, "DetectiveExplorer("))
    game = page.locator(".xai-detective").first
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


USED = {"01": lesson_1, "07": lesson_7}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_opens_runs_and_moves(desk, path, request):
    next_notebook(desk, path.name)
    desk.complaints.clear()
    first_screen(desk, path.stem[:2])
    cells = run_all(desk, timeout=10 * MINUTE)
    assert not (found := differences(request.session, path, [cell["outputs"] for cell in cells])), "\n\n".join(found)
    USED.get(path.stem[:2], lambda *_: None)(desk, cells)
    moved = 0
    for number, cell in enumerate(cells):
        if not any(VIEW in output.get("data", {}) for output in cell["outputs"]):
            continue  # texts and pictures, which were compared
        show_cell(desk, number)
        if "Explorer(" not in cell["source"]:
            continue  # a question or a vote is drawn
        explorer = named(desk, number)
        explorer.locator(".xai-headline").first.wait_for(timeout=MINUTE)
        handles = explorer.locator(".noUi-handle:visible")
        if not handles.count() and (more := explorer.locator(".xai-more-button")).count():
            more.first.click()  # its puzzle needs no slider: if there are any, they stand under More
            explorer.locator(".xai-more").first.wait_for(timeout=MINUTE)
        if handles.count():
            assert moves(desk, handles.first), f"the first slider of code cell {number} does not move"
            moved += 1
        said = explorer.locator(".xai-error").all_inner_texts()
        assert not any(text.strip() for text in said), said
    assert moved, f"{path.stem} has no explorer with a slider in sight"
    assert console_errors(desk) == []
