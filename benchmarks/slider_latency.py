"""From a slider's move to the new picture, in JupyterLab in Chromium: python benchmarks/slider_latency.py.

The clock runs in the page: from the key that moves the handle until the browser has decoded the new picture. The bar is
a median of 80 ms and a 95th percentile of 160 ms on a quiet machine with two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import conftest  # noqa: E402
from browser.lab import open_notebook, run_all, show_cell  # noqa: E402

CELL = "from xai_lessons.explorers import PredictionExplorer\nPredictionExplorer('cat')"
STAND_IN = """
import torch
from xai_lessons import menagerie, models
from xai_lessons.explorers import PredictionExplorer
net = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 6, 2), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.ReLU(),
                          torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10))
PredictionExplorer('cat', models.wrap(net, classes=menagerie.CLASSES, input_size=96))
"""
CLOCK = """async ([css, moves, pause]) => {
    const wait = ms => new Promise(done => setTimeout(done, ms));
    const image = document.querySelector('.xai-prediction img'), handle = document.querySelector(css), times = [];
    handle.focus();
    let key = 'ArrowRight';
    for (let i = 0; i < moves; i++) {
        const shown = new Promise(done => {
            const watch = new MutationObserver(() => { watch.disconnect(); image.decode().then(done, done); });
            watch.observe(image, {attributes: true, attributeFilter: ['src']});
        });
        if (handle.getAttribute('aria-valuenow') === handle.getAttribute('aria-valuemax')) key = 'ArrowLeft';
        const start = performance.now();
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
        await shown;
        times.push(performance.now() - start);
        await wait(pause);
    }
    return times;
}"""


class _Folders:
    """What pytest's fixture would give: fresh folders."""

    def mktemp(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-"))


def plain(fixture: Any) -> Any:
    """The function below a pytest fixture."""
    return getattr(fixture, "__wrapped__", None) or fixture.__pytest_wrapped__.obj


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=60, help="at most 70")
    parser.add_argument("--stand-in", action="store_true", help="a network with random weights")
    options = parser.parse_args()
    chromium = plain(conftest.chromium)()
    fixtures = (conftest.lab, conftest.browser, conftest.page)
    lab_, browser_, page_ = (contextlib.contextmanager(plain(fixture)) for fixture in fixtures)
    with lab_(chromium, _Folders()) as lab, browser_(chromium) as browser, page_(lab, browser) as page:
        open_notebook(page, lab.put("latency.ipynb", STAND_IN if options.stand_in else CELL))
        run_all(page)
        page.locator(".xai-prediction .noUi-handle").first.wait_for()
        show_cell(page, 0)
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'slider':24} {'median':>8} {'95 %':>8} {'worst':>8}   milliseconds, {options.moves} moves")
        for name, says in (("turn", "turn the picture"), ("seed", "draw another picture")):
            css = f".xai-prediction .xai-control-{name} .noUi-handle"
            page.evaluate(CLOCK, [css, 3, 300])
            times = sorted(page.evaluate(CLOCK, [css, options.moves, 250]))
            middle, high = times[len(times) // 2], times[int(len(times) * 0.95)]
            print(f"{says:24} {middle:8.0f} {high:8.0f} {times[-1]:8.0f}")


if __name__ == "__main__":
    main()
