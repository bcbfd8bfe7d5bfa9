"""A notebook that was run, saved and opened again shows pictures; an explorer says so when its kernel is gone."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from browser.lab import MINUTE, NOTEBOOK, next_notebook, open_notebook, press, run_all, show_cell, wait_idle
from browser.test_explorer_base import SETUP
from tools.execute_notebooks import VIEW

ASK = 'from xai_lessons import quiz\nquiz.ask("lesson1.shift")'


def saved(lab, page, name: str) -> list[dict]:
    """Save the open notebook; the outputs in its file."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function(f"() => !{NOTEBOOK}.context.model.dirty")
    return [output for cell in json.loads((lab.folder / name).read_text())["cells"] for output in cell["outputs"]]


def test_saved_reloaded_stopped_run_again_and_opened_without_its_kernel(lab, desk):
    name = lab.put("saved.ipynb", SETUP, "Disc(size=4)", ASK)
    next_notebook(desk, name)
    run_all(desk)
    show_cell(desk, 1)
    headline, gone = desk.locator(".xai-disc .xai-headline"), desk.locator(".xai-disc .xai-gone")
    expect(headline).to_have_text("The disc covers 0.12.")
    expect(desk.locator(".xai-disc [role=status] .xai-headline")).to_have_count(1)
    handle = desk.locator(".xai-disc .xai-control-size .noUi-handle")
    assert (handle.get_attribute("aria-label"), handle.get_attribute("aria-valuetext")) == ("Size", "4")
    disc, question = saved(lab, desk, name)
    assert (set(disc["data"]), set(question["data"])) == ({"text/plain", "image/jpeg"}, {"text/plain", "text/html"})
    assert VIEW in desk.evaluate(f"() => JSON.stringify({NOTEBOOK}.content.widgets[1].model.outputs.toJSON())")

    open_notebook(desk, name)  # the page anew, the kernel still there: the explorer lives
    show_cell(desk, 1)
    expect(headline).to_have_text("The disc covers 0.12.", timeout=MINUTE)
    press(desk, ".xai-disc .xai-control-size", "ArrowRight", 2)
    expect(headline).to_have_text("The disc covers 0.26.")
    expect(gone).to_be_empty()
    saved(lab, desk, name)

    (session,) = (one for one in json.loads(lab.ask("GET", "sessions")) if one["path"] == name)
    lab.ask("DELETE", f"kernels/{session['kernel']['id']}")
    expect(gone).to_contain_text("The kernel has stopped", timeout=MINUTE)
    desk.wait_for_function(f"() => !{NOTEBOOK}.sessionContext.session?.kernel")  # Lab notices a little later
    desk.locator(".lm-MenuBar-itemLabel", has_text="Kernel").first.click()
    desk.locator(".lm-Menu-itemLabel", has_text="Restart Kernel and Run All Cells").first.click()
    expect(headline).to_have_text("The disc covers 0.12.", timeout=MINUTE)
    expect(gone).to_be_empty()
    wait_idle(desk)
    saved(lab, desk, name)

    next_notebook(desk, name)
    show_cell(desk, 1)
    picture = desk.locator(".jp-OutputArea-output img").first
    expect(picture).to_be_visible(timeout=MINUTE)
    assert picture.evaluate("image => image.naturalWidth") > 300
    desk.wait_for_timeout(3000)  # a widget that is not found says so after two seconds
    said = desk.locator(".jp-Notebook").inner_text()
    assert "Error displaying widget" not in said
    assert "Run this cell to answer" in said
