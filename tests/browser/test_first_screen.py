"""What a lesson opens on, at 1280 x 800 with the side bar closed: its title, one sentence, and the explorer.

JupyterLab runs no cell when it opens a notebook, so the explorer is a stored picture until the first cell is run.
"""

import os
from pathlib import Path

import pytest

from browser.lab import MINUTE, NOTEBOOK, console_errors, open_notebook
from browser.test_stage import SETTLED, close_side_bar

NAMES = sorted(p.name for p in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
BOXES = f"""() => {{
    const panel = {NOTEBOOK}.content.node, home = panel.getBoundingClientRect();
    const box = e => {{ const r = e.getBoundingClientRect(); return [r.top - home.top, r.bottom - home.top]; }};
    const all = css => [...panel.querySelectorAll(css)].filter(e => e.getBoundingClientRect().height > 0).map(box);
    const cells = [...panel.querySelectorAll('.jp-Cell')];
    return {{height: home.height, title: all('h1')[0], sentence: all('h1 ~ p')[0],
        picture: [...cells[1].querySelectorAll('.jp-OutputArea-output img')].map(box)[0],
        explorer: all('.xai-explorer')[0], parts: all('.xai-headline, .xai-on-stage, .xai-stage:not(.xai-under) > *')}};
}}"""


def keep(page, name):
    if folder := os.environ.get("XAI_LESSONS_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.fixture(scope="module")
def opened(lab, browser):
    context = browser.new_context(base_url=lab.url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_first_screen_holds_the_title_a_sentence_and_the_explorer(opened, name):
    open_notebook(opened, name)
    close_side_bar(opened)
    opened.wait_for_timeout(300)
    keep(opened, f"opened-{name[:2]}")
    found = opened.evaluate(BOXES)
    top, bottom = found["picture"]
    print(name, found)
    assert 0 <= found["title"][0] < found["title"][1] <= found["sentence"][0]
    assert found["sentence"][1] <= top
    assert min(bottom, found["height"]) - top >= 400, "less than 400 pixels of the stored picture are to be seen"

    opened.locator(".jp-Cell").nth(1).locator("img").click()
    opened.keyboard.press("Shift+Enter")
    kind = opened.locator(".xai-explorer").first
    kind.wait_for(timeout=2 * MINUTE)
    css = next(
        part[4:] for part in kind.get_attribute("class").split() if part.startswith("xai-") and part != "xai-explorer"
    )
    opened.wait_for_function(SETTLED, arg=css, timeout=2 * MINUTE)
    opened.evaluate(
        f"() => {{ {NOTEBOOK}.content.node.querySelector('.jp-WindowedPanel-outer, .jp-Notebook').scrollTop = 0; }}"
    )
    opened.wait_for_timeout(300)
    keep(opened, f"live-{name[:2]}")
    found = opened.evaluate(BOXES)
    print(name, found)
    assert found["title"][0] >= 0
    outside = [box for box in found["parts"] if box[1] > found["height"]]
    assert not outside, f"below {found['height']:.0f}: {outside}"
    assert console_errors(opened) == []
