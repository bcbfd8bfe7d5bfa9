"""Lesson 4's explorers in JupyterLab in Chromium: the mouse erases, a map forms and is stopped."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from browser.lab import console_errors

NETWORK = """
import torch
from xai_lessons.data import menagerie
from xai_lessons import models
from xai_lessons.explorers import EraserExplorer, OcclusionExplorer
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
                          torch.nn.Flatten(), torch.nn.Linear(128, 10))
model = models.wrap(net, classes=menagerie.CLASSES, input_size=96)
"""


def test_the_mouse_erases_and_everything_comes_back(opened, desk):
    opened(NETWORK, 'eraser = EraserExplorer("cat", model, fill="black")\neraser')
    canvas, headline = desk.locator(".xai-canvas"), desk.locator(".xai-eraser .xai-headline")
    expect(headline).to_contain_text("Nothing is erased yet", timeout=60_000)
    box = canvas.bounding_box()
    assert box["width"] >= 220
    desk.mouse.move(box["x"] + 0.26 * box["width"], box["y"] + 0.39 * box["height"])
    desk.mouse.down()
    desk.mouse.move(box["x"] + 0.65 * box["width"], box["y"] + 0.42 * box["height"], steps=12)
    desk.mouse.up()
    expect(headline).to_contain_text(re.compile(r"With [1-9]\d?% of the picture erased"), timeout=30_000)
    ink = desk.evaluate(
        "() => [...document.querySelector('.xai-canvas').getContext('2d').getImageData(180, 155, 1, 1).data]"
    )
    assert ink[:3] == [0, 0, 0]
    desk.locator(".xai-eraser .xai-control-clear").click()
    expect(headline).to_contain_text("Nothing is erased yet", timeout=30_000)
    desk.wait_for_function(
        "() => document.querySelector('.xai-canvas').getContext('2d').getImageData(180, 155, 1, 1).data[1] > 30"
    )
    assert console_errors(desk) == []


def test_a_map_that_forms_is_stopped(opened, desk):
    opened(NETWORK, 'OcclusionExplorer("cat", model, patch=24, stride=24)')
    css = ".xai-occlusion"
    headline = desk.locator(f"{css} .xai-headline")
    expect(headline).to_contain_text("The network says", timeout=60_000)
    desk.locator(f"{css} .xai-more-button").click()
    handle = desk.locator(f"{css} .xai-control-stride .noUi-handle").first
    handle.focus()
    handle.press("Home")  # a step of 2 pixels: more than a thousand windows
    stop = desk.locator(f"{css} .xai-stop")
    if stop.is_visible():
        stop.click()
    expect(stop).to_be_hidden(timeout=60_000)
    expect(headline).to_contain_text("The network says")
    assert desk.locator(f"{css} .xai-error").count() == 0
    assert console_errors(desk) == []
