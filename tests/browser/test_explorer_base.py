"""Explorers in JupyterLab in Chromium: what a hand does, and what the eye then sees."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from browser.lab import MINUTE, console_errors, press, wait_idle

SETUP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from toys import Disc, Endless
"""
PREDICTION = """
import torch
from xai_lessons.data import menagerie
from xai_lessons import models
from xai_lessons.explorers import PredictionExplorer
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
                          torch.nn.Flatten(), torch.nn.Linear(128, 10))
PredictionExplorer("cat", models.wrap(net, classes=menagerie.CLASSES, input_size=96), seed=3)
"""


def source(page, css: str) -> str:
    """The address of the picture; the widget makes a new one for each picture."""
    return page.locator(f"{css} img").first.get_attribute("src")


def wait_for_new_picture(page, css: str, old: str) -> None:
    page.wait_for_function(
        "([css, old]) => { const img = document.querySelector(css + ' img');"
        " return img && img.src !== old && img.complete && img.naturalWidth > 0; }",
        arg=[css, old],
    )


def test_a_slider_moves_the_picture_and_the_sentence(opened, desk):
    outputs = opened(SETUP, "Disc(size=4)")
    kept = outputs[1]["outputs"][0]["data"]
    assert kept["text/plain"].startswith("A disc The disc covers")
    assert kept["image/jpeg"].startswith("/9j/")
    before = source(desk, ".xai-disc")
    press(desk, ".xai-disc .xai-control-size", "ArrowRight", 2)
    wait_for_new_picture(desk, ".xai-disc", before)
    expect(desk.locator(".xai-disc .xai-headline")).to_have_text("The disc covers 0.26.")
    assert desk.locator(".xai-disc img").first.get_attribute("title") == "a disc"
    assert console_errors(desk) == []


def test_dragging_ends_where_the_hand_ends(opened, desk):
    opened(SETUP, "disc = Disc(size=1)\ndisc", "disc.state.size, disc.shown.size")
    track = desk.locator(".xai-disc .xai-control-size .noUi-base").bounding_box()
    desk.locator(".xai-disc .xai-control-size .noUi-handle").hover()
    desk.mouse.down()
    for share in range(0, 81, 4):
        desk.mouse.move(track["x"] + track["width"] * share / 100, track["y"] + 3)
    desk.mouse.move(track["x"] + track["width"] * 0.75, track["y"] + 3, steps=8)
    desk.mouse.up()
    expect(desk.locator(".xai-disc .xai-control-size .widget-readout")).to_have_text("7")
    expect(desk.locator(".xai-disc .xai-headline")).to_have_text("The disc covers 0.37.")
    assert console_errors(desk) == []


def test_a_picture_is_touched_by_the_pointer_and_by_the_keyboard(opened, desk):
    opened(SETUP, "Disc(size=4)")
    picture, headline = desk.locator(".xai-disc img"), desk.locator(".xai-disc .xai-headline")
    box = picture.bounding_box()
    picture.click(position={"x": 0.6 * box["width"], "y": 0.5 * box["height"]})
    expect(headline).to_have_text("The disc covers 0.26.")  # size 6
    desk.mouse.down()
    desk.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])
    expect(desk.locator(".xai-disc .xai-control-size .widget-readout")).to_have_text("9")
    desk.mouse.up()
    desk.locator(".xai-disc .xai-reset").click()
    expect(headline).to_have_text("The disc covers 0.12.")
    assert picture.get_attribute("alt").startswith("a disc. Arrow keys")
    picture.focus()
    for _ in range(30):
        picture.press("ArrowLeft")
    cursor = desk.locator(".xai-disc .xai-cursor").bounding_box()
    assert abs(cursor["x"] + cursor["width"] / 2 - box["x"]) < 3
    picture.press("Enter")
    expect(headline).to_have_text("The disc covers 0.00.")  # size 1
    expect(picture).to_be_focused()
    assert console_errors(desk) == []


def test_an_error_is_shown_and_goes_again(opened, desk):
    opened(SETUP, "Disc(size=7)")
    press(desk, ".xai-disc .xai-control-size", "ArrowRight")
    line = desk.locator(".xai-disc .xai-error")
    expect(line).to_have_text("size must not be 8.")
    press(desk, ".xai-disc .xai-control-size", "ArrowRight")
    expect(line).to_be_hidden()
    assert console_errors(desk) == []


def test_show_code_reset_and_save(opened, desk, lab):
    opened(SETUP, "Disc(size=4)")
    desk.locator(".xai-disc .xai-show-code").click()
    expect(desk.locator(".xai-disc .xai-code")).to_contain_text("DiscState(size=4")
    press(desk, ".xai-disc .xai-control-size", "ArrowRight")
    expect(desk.locator(".xai-disc .xai-code")).to_contain_text("DiscState(size=5")
    desk.locator(".xai-disc .xai-reset").click()
    expect(desk.locator(".xai-disc .xai-code")).to_contain_text("DiscState(size=4")
    desk.locator(".xai-disc .xai-save").click()
    expect(desk.locator(".xai-disc .xai-note")).to_contain_text("Saved as disc-1.png")
    assert (lab.folder / "disc-1.png").read_bytes().startswith(b"\x89PNG")
    assert console_errors(desk) == []


def test_stop_is_heard_while_it_runs_and_another_slider_stays_live(opened, desk):
    opened(SETUP, "from IPython.display import display\ndisplay(Endless(), Disc(size=4))")
    desk.locator(".xai-endless .xai-run").click()
    stop = desk.locator(".xai-endless .xai-stop")
    expect(stop).to_be_visible()
    press(desk, ".xai-disc .xai-control-size", "ArrowRight", 2)
    expect(desk.locator(".xai-disc .xai-headline")).to_have_text("The disc covers 0.26.")
    expect(stop).to_be_visible()
    stop.click()
    expect(desk.locator(".xai-endless .xai-note")).to_have_text("Stopped.")
    expect(stop).to_be_hidden()
    wait_idle(desk)
    assert console_errors(desk) == []


def test_the_prediction_explorer_moves(opened, desk):
    opened(SETUP, PREDICTION)
    desk.locator(".xai-prediction .xai-more-button").click()
    desk.locator(".xai-prediction .xai-control-turn .noUi-handle").first.wait_for()
    for control, key in (("turn", "ArrowRight"), ("seed", "ArrowRight"), ("noise", "ArrowRight")):
        before = source(desk, ".xai-prediction")
        press(desk, f".xai-prediction .xai-control-{control}", key)
        wait_for_new_picture(desk, ".xai-prediction", before)
    desk.locator(".xai-prediction .xai-control-without select").select_option("whiskers")
    shown = desk.locator(".xai-prediction img").first
    expect(shown).to_have_attribute("title", re.compile("turn 5, noise 0.02, without its whiskers$"))
    expect(desk.locator(".xai-prediction .xai-headline")).to_contain_text("The network says")
    assert console_errors(desk) == []


def test_the_code_opens_beside_the_picture_and_more_unfolds_the_rest(opened, desk):
    opened(SETUP, "Disc(size=4)")
    rest = desk.locator(".xai-disc .xai-control-inverted")
    expect(rest).to_be_hidden()
    desk.locator(".xai-disc .xai-more-button").click()
    expect(rest).to_be_visible()
    desk.locator(".xai-disc .xai-show-code").click()
    code, picture = desk.locator(".xai-disc .xai-code").bounding_box(), desk.locator(".xai-disc img").bounding_box()
    assert code["x"] >= picture["x"] + picture["width"]
    assert code["y"] < picture["y"] + picture["height"]
    assert console_errors(desk) == []


def test_an_error_takes_the_place_of_the_headline_and_the_old_picture_grows_pale(opened, desk):
    opened(SETUP, "Disc(size=7)")
    press(desk, ".xai-disc .xai-control-size", "ArrowRight")
    expect(desk.locator(".xai-disc .xai-error")).to_have_text("size must not be 8.")
    expect(desk.locator(".xai-disc .xai-headline")).to_be_hidden()
    expect(desk.locator(".xai-disc .xai-stage").first).to_have_class(re.compile("xai-outdated"))
    press(desk, ".xai-disc .xai-control-size", "ArrowRight")
    expect(desk.locator(".xai-disc .xai-headline")).to_be_visible()
    assert console_errors(desk) == []


def test_pictures_of_9_to_60_megabytes_arrive_smaller(opened, desk, lab, tmp_path):
    opened(SETUP, PREDICTION)
    desk.locator(".xai-prediction .xai-more-button").click()
    noise = np.random.default_rng(0).integers(0, 256, (4475, 4475, 3), dtype=np.uint8)
    for megabytes, side in ((9, 1750), (12, 2000), (45, 3875), (60, 4475)):
        file = tmp_path / f"noise {megabytes}.png"
        Image.fromarray(noise[:side, :side]).save(file, compress_level=0)  # noise cannot be compressed
        assert megabytes * 1e6 < file.stat().st_size < (megabytes + 2) * 1e6
        desk.set_input_files(".xai-prediction input[type=file]", file)
        expect(desk.locator(".xai-prediction .xai-control-picture select")).to_have_value(
            re.compile(f"noise {megabytes}"), timeout=MINUTE
        )
        assert (lab.folder / f"noise {megabytes}.jpg").stat().st_size < 3e6
    Image.fromarray(noise[:2000, :2000]).save(tmp_path / "noise.tiff")
    desk.set_input_files(".xai-prediction input[type=file]", tmp_path / "noise.tiff")
    expect(desk.locator(".xai-prediction .xai-error")).to_contain_text("noise.tiff has 12 MB", timeout=MINUTE)
    assert console_errors(desk) == []
