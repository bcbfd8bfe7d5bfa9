"""Lesson 1 in JupyterLab in Chromium: Run All, a slider, a question, training with Stop while another slider moves."""

import re

from playwright.sync_api import expect

from browser.lab import MINUTE, console_errors, open_notebook, run_all, show_cell

OPENING, LAYERS, TRAINING = ".xai-prediction", ".xai-layers", ".xai-training"


def cell_of(cells, text: str) -> int:
    """The number of the first code cell that holds this text."""
    return next(number for number, cell in enumerate(cells) if text in cell["source"])


def press(page, css: str, key: str, times: int = 1) -> None:
    handle = page.locator(f"{css} .noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def test_lesson_1(lab, page):
    open_notebook(page, "01_classification.ipynb")
    cells = run_all(page, timeout=10 * MINUTE)
    texts = [str(output.get("text", "")) for cell in cells for output in cell["outputs"]]
    assert any("right on" in text for text in texts)

    show_cell(page, cell_of(cells, "PredictionExplorer("))
    headline = page.locator(f"{OPENING} .xai-headline").first
    expect(headline).to_contain_text("The network says cat")
    picture = page.locator(f"{OPENING} img.xai-touch").first
    box = picture.bounding_box()
    ear = {"x": 0.215 * box["width"], "y": 0.59 * box["height"]}
    picture.click(position=ear)  # taken away by a click, brought back by another
    expect(headline).to_contain_text("The network says umbrella", timeout=MINUTE)
    expect(headline).to_contain_text("logit of cat")
    picture.click(position=ear)
    expect(headline).to_have_text("The network says cat, 39%, and is right.", timeout=MINUTE)
    press(page, f"{OPENING} .xai-control-noise", "ArrowRight", 20)
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
    page.locator(f"{LAYERS} .xai-control-layer select").select_option("stage2.0")
    expect(page.locator(f"{LAYERS} .xai-headline")).to_contain_text("stage2.0: residual block", timeout=MINUTE)

    show_cell(page, cell_of(cells, "TrainingExplorer("))
    trained = page.locator(f"{TRAINING} .xai-headline")
    expect(trained).to_contain_text("not trained yet")
    page.locator(f"{TRAINING} .xai-run").click()
    stop = page.locator(f"{TRAINING} .xai-stop")
    expect(stop).to_be_visible(timeout=MINUTE)
    show_cell(page, cell_of(cells, "LayerExplorer("))  # another slider stays live meanwhile
    page.locator(f"{LAYERS} .xai-control-layer select").select_option("stem.0")
    expect(page.locator(f"{LAYERS} .xai-headline")).to_contain_text("stem.0: convolution", timeout=MINUTE)
    show_cell(page, cell_of(cells, "TrainingExplorer("))
    stop.click()
    expect(page.locator(f"{TRAINING} .xai-note")).to_have_text(re.compile("Stopped"), timeout=MINUTE)
    assert console_errors(page) == []
