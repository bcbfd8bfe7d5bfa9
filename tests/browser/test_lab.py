"""JupyterLab itself, as the course starts it: it opens, runs, shows widgets, and asks nobody for news."""

import pytest

from browser.lab import console_errors, wait_idle

SLIDER = """
import ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(value=3, min=0, max=10, description="number")
said = ipywidgets.HTML("square 9")
slider.observe(lambda change: setattr(said, "value", f"square {change['new'] ** 2}"), "value")
display(slider, said)
"""


def test_a_slider_moves_what_is_shown(opened, desk):
    cells = opened(SLIDER, "slider.value * 2")
    assert cells[1]["outputs"][0]["data"]["text/plain"] == "6"
    desk.get_by_text("square 9", exact=True).wait_for()
    handle = desk.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    desk.get_by_text("square 16", exact=True).wait_for()
    wait_idle(desk)
    assert console_errors(desk) == []


def test_run_all_reports_the_error_of_a_cell(opened):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        opened("1 + 1", "1 / 0", "'never'")


def test_nobody_is_asked_for_news(lab, opened, desk):
    opened("1", "2")
    assert any("/lab/api/" in url for url in desk.asked)
    assert not [url for url in desk.asked if not url.startswith((lab.url, "blob:", "data:"))]
    assert not [url for url in desk.asked if "/lab/api/news" in url or "/lab/api/update" in url]
    assert desk.get_by_text("Jupyter news").count() == 0
