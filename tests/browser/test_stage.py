"""Every explorer on a projector: its stage fits into 600 pixels of height, at several sizes, light and dark.

With XAI_LESSONS_SCREENSHOTS=FOLDER, a screenshot of each explorer is kept there, to be looked at.
"""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe

from browser.lab import MINUTE, POLL, SETTLED, console_errors, keep, show_cell

HEIGHT = 600
TILE = 220
IMPORTS = """
import torch
from xai_lessons import datasets, explorers, menagerie
from xai_lessons.explorers import *
torch.set_num_threads(1)
"""
#: css class -> the code that opens the explorer, as the lessons do, on less data where it would compute for long
EXPLORERS = {
    "prediction": 'PredictionExplorer("cat", seed=194, background="snow")',
    "cam": 'CamExplorer("cat + dog", seed=0)',
    "saliency": 'SaliencyExplorer("bird", seed=3, background="any", tree=True, samples=5, steps=8)',
    "eraser": 'EraserExplorer("cat", seed=4, fill="black", strokes=((0.4, 0.5, 0.06), (0.5, 0.5, 0.06)))',
    "attack": 'AttackExplorer("elephant", seed=0, epsilon=1.0)',
    "inversion": 'InversionExplorer("cat", background="meadow", layer="stem", steps=10)',
    "leaderboard": "LeaderboardExplorer()",
    "detection": 'DetectionExplorer("cat + umbrella", seed=0, background="any", explain="left")',
    "layers": 'LayerExplorer("cat", seed=0, layer="stem.2", networks=["menagerie-resnet", "menagerie-vgg"])',
    "training": "TrainingExplorer()",
    "mistakes": 'MistakesExplorer(datasets.drawn(24, split="test"), ["menagerie-resnet", "menagerie-vgg"], '
    'which="it is right")',
    "sanity": 'SanityExplorer("bird", seed=3, background="any", tree=True, forgotten=7)',
    "path": 'PathExplorer("cat", seed=1, alpha=0.6)',
    "occlusion": 'OcclusionExplorer("cat", seed=4, fill="gray", stride=16)',
    "deletion": 'DeletionExplorer("dog", seed=2, method="Grad-CAM", fill="gray", fraction=0.05)',
    "robustness": "RobustnessExplorer(pictures=10, largest=4)",
    "hardening": "HardeningExplorer()",
    "filter": 'FilterExplorer(network="menagerie-robust", layer="classes", channel=0, steps=10)',
    "candidates": 'CandidatesExplorer("cat + umbrella", seed=0, background="any")',
    "detective": "DetectiveExplorer(order=2)",
    "scores": "ScoresExplorer(mixture=0.5)",
}
OPENING = ("prediction", "cam", "saliency", "eraser", "attack", "inversion", "scores", "detection")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
MEASURE = """name => {
    const root = document.querySelector('.xai-' + name + '.xai-explorer'), home = root.getBoundingClientRect();
    const box = element => { const r = element.getBoundingClientRect();
        return {left: r.left - home.left, right: r.right - home.left, bottom: r.bottom - home.top, width: r.width,
                text: element.innerText?.slice(0, 60) ?? ''}; };
    const seen = css => [...root.querySelectorAll(css)].filter(e => e.getBoundingClientRect().height > 0);
    const all = css => seen(css).map(box);
    const cut = seen('*').filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0
        && !e.closest('.xai-code') && getComputedStyle(e).overflowX !== 'visible' && e.tagName !== 'SELECT');
    let scrolls = 0;
    for (let e = root; e; e = e.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1) scrolls++;
    return {width: home.width, height: home.height, controls: all('.xai-on-stage'), actions: all('.xai-actions button'),
            stage: all('.xai-stage:not(.xai-under) > *'), under: all('.xai-under > *'),
            headline: all('.xai-headline'), error: all('.xai-error'),
            cut: cut.map(e => e.className + ': ' + (e.innerText ?? '').slice(0, 40)), scrolls};
}"""


def theme(page, name: str) -> None:
    page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", THEMES[name])
    page.wait_for_function(
        "light => document.body.dataset.jpThemeLight === light", arg=str(name == "light").lower(), timeout=MINUTE
    )


def measure(page, name: str, label: str) -> dict:
    """The boxes of an explorer, scrolled into sight and done with computing."""
    show_cell(page, 1 + list(EXPLORERS).index(name))
    page.wait_for_function(SETTLED, arg=name, timeout=5 * MINUTE, polling=POLL)
    page.evaluate("css => document.querySelector(css).scrollIntoView({block: 'start'})", f".xai-{name}.xai-explorer")
    keep(page, f"{name}-{label}")
    return page.evaluate(MEASURE, name)


def barriers(page, name: str) -> list[str]:
    """What keeps somebody out of an explorer, by axe's rules: serious or critical."""
    found = Axe().run(page, f".xai-{name}.xai-explorer").response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in serious for node in rule["nodes"]]


def complaints(found: dict) -> list[str]:
    """What is wrong with the boxes of an explorer."""
    wrong = [f"cut: {text}" for text in found["cut"]]
    if found["scrolls"]:
        wrong.append("something scrolls sideways")
    if not 1 <= len(found["controls"]) <= 4:
        wrong.append(f"{len(found['controls'])} controls on the stage")
    if not found["stage"] or not found["headline"] or found["error"]:
        wrong.append(f"no panel, no headline, or an error: {found['error']}")
    for kind in ("headline", "controls", "actions", "stage"):
        wrong += [
            f"{kind} {box['text']!r}: to x {box['right']:.0f}, y {box['bottom']:.0f}"
            for box in found[kind]
            if box["bottom"] > HEIGHT or box["right"] > found["width"] + 1 or box["left"] < 0
        ]
    wrong += [f"{b['width']:.0f} wide: {b['text']!r}" for b in found["stage"] + found["under"] if b["width"] < TILE - 1]
    return wrong


@pytest.fixture(scope="module")
def stage(desk, opened):
    """A page with all explorers, one to a cell."""
    theme(desk, "light")
    opened(IMPORTS, *EXPLORERS.values(), timeout=15 * MINUTE)
    yield desk
    theme(desk, "light")
    desk.set_viewport_size({"width": 1280, "height": 800})


def test_every_stage_fits_into_600_pixels(stage):
    wrong = {name: complaints(measure(stage, name, "1280x800-light")) for name in EXPLORERS}
    assert not (found := {name: text for name, text in wrong.items() if text}), json.dumps(found, indent=1)
    assert console_errors(stage) == []


@pytest.mark.parametrize(("width", "height", "colors"), [(1280, 720, "light"), (1920, 1080, "dark")])
def test_the_opening_explorers_at_other_sizes(stage, width, height, colors):
    stage.set_viewport_size({"width": width, "height": height})
    theme(stage, colors)
    for name in OPENING:
        found = measure(stage, name, f"{width}x{height}-{colors}")
        used = max(box["right"] for box in found["stage"])
        assert used > 0.75 * found["width"], f"{name} uses {used:.0f} of {found['width']:.0f} pixels"
        tall = max(box["bottom"] for box in found["stage"])
        assert tall <= (HEIGHT if height < 800 else height - 150), f"{name} is {tall:.0f} tall"
        assert found["cut"] == []
        assert found["scrolls"] == 0
        assert barriers(stage, name) == []
