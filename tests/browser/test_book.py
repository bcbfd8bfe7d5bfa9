"""The built web book in Chromium: every player is dragged. ``make test-site`` builds it and says where it lies."""

import functools
import http.server
import json
import os
import re
import threading
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("XAI_LESSONS_SITE" not in os.environ, reason="the book is built and tested by `make test-site`"),
]
SITE = Path(os.environ.get("XAI_LESSONS_SITE", "."))
LESSONS = sorted(path.stem for path in (SITE / "notebooks").glob("*.html"))
FRAME = "player => Number(player.dataset.frame)"
UNSEEN = """player => [...player.querySelectorAll('img')].filter(image => !image.naturalWidth).length"""
CLIPPED = """() => [...document.querySelectorAll('pre')].filter(code => code.offsetParent)
    .filter(code => code.scrollWidth > code.clientWidth + 1 && getComputedStyle(code).whiteSpace !== 'pre-wrap')
    .map(code => code.textContent.slice(0, 80))"""
WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that logs nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def reader(browser, address):
    """A page that remembers complaints and every request to another server, which it refuses."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 800}, has_touch=True)
    page = context.new_page()
    page.complaints, page.foreign = [], []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("response", lambda answer: page.complaints.append(answer.url) if answer.status >= 400 else None)

    def elsewhere(route):
        page.foreign.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(address), elsewhere)
    yield page
    context.close()


def moves(page: Page, player, data: dict) -> int:
    """Move each control to its other end, as a reader does; the number of different frames seen."""
    seen, places = {player.evaluate(FRAME)}, [control["start"] for control in data["controls"]]
    for number, control in enumerate(data["controls"]):
        last = len(control["positions"]) - 1
        end = last if places[number] != last else 0
        element = player.locator(f"#{player.get_attribute('id')}-{number}")
        if control["kind"] == "slider":
            element.scroll_into_view_if_needed()
            box = element.bounding_box()
            page.mouse.move(box["x"] + box["width"] * (places[number] + 0.5) / (last + 1), box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
            page.mouse.move(box["x"] + (box["width"] + 20 if end else -20), box["y"] + box["height"] / 2, steps=4)
            page.mouse.up()
            places[number] = end
        elif element.count():
            element.select_option(str(end))
            places[number] = end
        else:
            player.locator("fieldset label", has_text=re.compile(f"^{re.escape(control['positions'][end])}$")).click()
            places[number] = end
        shape = [len(one["positions"]) for one in data["controls"]]
        index = functools.reduce(lambda total, pair: total * pair[0] + pair[1], zip(shape, places, strict=True), 0)
        expect(player).to_have_attribute("data-frame", str(index))
        frame = data["frames"][index]
        expect(player.locator(".xp-sentence")).to_have_text(" ".join(frame["sentence"].split()))
        alts = player.locator("img").evaluate_all("images => images.map(image => image.alt)")
        assert sorted(alts) == sorted(panel["alt"] for panel in frame["panels"])
        assert all(alts)
        assert player.evaluate(UNSEEN) == 0
        seen.add(index)
    return len(seen)


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_player_of_a_lesson_moves(reader, lesson):
    reader.goto(f"/notebooks/{lesson}.html")
    players = reader.locator(".xai-player")
    assert players.count() >= 3
    for number in range(players.count()):
        player = players.nth(number)
        data = json.loads(player.locator("script").text_content())
        assert moves(reader, player, data) >= 2, player.get_attribute("id")
    assert reader.evaluate(CLIPPED) == []
    assert reader.locator("mjx-container").count() > 0 or "$" not in reader.locator("article").inner_text()
    assert not reader.foreign
    assert not reader.complaints


def test_the_keyboard_and_a_finger_move_a_player(reader):
    reader.goto("/notebooks/02_cam_to_gradcam.html")
    player = reader.locator("#l2-layers-explorer")
    slider = player.locator("input[type=range]")
    slider.focus()
    before = player.evaluate(FRAME)
    reader.keyboard.press("ArrowRight")
    expect(player).to_have_attribute("data-frame", str(before + 1))
    assert (
        slider.get_attribute("aria-valuetext")
        == json.loads(player.locator("script").text_content())["controls"][1]["positions"][3]
    )
    box = slider.bounding_box()
    reader.touchscreen.tap(box["x"] + 2, box["y"] + box["height"] / 2)
    expect(slider).to_have_value("0")
    choice = player.locator("input[type=radio]").nth(0)
    choice.focus()
    reader.keyboard.press("ArrowRight")
    assert player.evaluate(FRAME) % 6 == 0


def test_a_phone_shows_it_all_and_the_dark_theme_reaches_players(reader):
    reader.set_viewport_size({"width": 390, "height": 844})
    for lesson in (LESSONS[0], LESSONS[4]):
        reader.goto(f"/notebooks/{lesson}.html")
        assert reader.evaluate(WIDE) <= 0
        assert reader.evaluate(CLIPPED) == []
    backgrounds = []
    for theme in ("light", "dark"):
        reader.evaluate(f"() => {{ document.documentElement.dataset.theme = '{theme}'; }}")
        first = reader.locator(".xai-player").first
        backgrounds.append(first.evaluate("player => getComputedStyle(player).backgroundColor"))
        found = Axe().run(reader, context={"include": [[".xai-player"]]}).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    assert backgrounds[0] != backgrounds[1]


def test_the_search_finds_a_method(reader):
    reader.goto("/search.html?q=SmoothGrad")
    expect(reader.locator("#search-results li").first).to_be_visible(timeout=20_000)
    assert not reader.foreign
