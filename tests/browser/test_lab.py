"""JupyterLab itself, as the course starts it: it opens, runs, shows widgets, and asks nobody for news."""

import pytest

from browser.lab import console_errors, open_notebook, run_all, wait_idle

SLIDER = """
import ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(value=3, min=0, max=10, description="number")
said = ipywidgets.HTML("square 9")
slider.observe(lambda change: setattr(said, "value", f"square {change['new'] ** 2}"), "value")
display(slider, said)
"""


def test_a_slider_moves_what_is_shown(lab, page):
    name = lab.put("slider.ipynb", SLIDER, "slider.value * 2")
    open_notebook(page, name)
    cells = run_all(page)
    assert cells[1]["outputs"][0]["data"]["text/plain"] == "6"
    page.get_by_text("square 9", exact=True).wait_for()
    handle = page.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    page.get_by_text("square 16", exact=True).wait_for()
    wait_idle(page)
    assert console_errors(page) == []


def test_run_all_reports_the_error_of_a_cell(lab, page):
    open_notebook(page, lab.put("error.ipynb", "1 + 1", "1 / 0", "'never'"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_all(page)


def test_nobody_is_asked_for_news(lab, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    open_notebook(page, lab.put("quiet.ipynb", "1"))
    run_all(page)
    assert not [url for url in asked if not url.startswith((lab.url, "blob:", "data:"))]
    assert not [url for url in asked if "/lab/api/news" in url or "/lab/api/update" in url]
    assert page.get_by_text("Jupyter news").count() == 0
