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

# an explorer's css name, the call that opens it, and the sliders to move: of each, what moving it asks for
CASES = (
    ("prediction", "PredictionExplorer('cat')", {"turn": "turn the picture", "seed": "draw another picture"}),
    ("cam", "CamExplorer('cat')", {"seed": "another picture and its CAM"}),
    ("attack", "AttackExplorer('elephant')", {"epsilon": "one step of FGSM"}),
)
CLOCK = """async ([name, slider, moves, pause]) => {
    const wait = ms => new Promise(done => setTimeout(done, ms));
    const root = document.querySelector('.xai-' + name), times = [];
    const handle = root.querySelector(`.xai-control-${slider} .noUi-handle`);
    handle.focus();
    let key = 'ArrowRight';
    for (let i = 0; i < moves; i++) {
        const shown = new Promise(done => {
            const watch = new MutationObserver(seen => {
                watch.disconnect();
                seen[0].target.decode().then(done, done);
            });
            watch.observe(root, {subtree: true, attributes: true, attributeFilter: ['src']});
        });
        if (handle.getAttribute('aria-valuenow') === handle.getAttribute('aria-valuemax')) key = 'ArrowLeft';
        if (handle.getAttribute('aria-valuenow') === handle.getAttribute('aria-valuemin')) key = 'ArrowRight';
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
    options = parser.parse_args()
    chromium = plain(conftest.chromium)()
    fixtures = (conftest.lab, conftest.browser, conftest.page)
    lab_, browser_, page_ = (contextlib.contextmanager(plain(fixture)) for fixture in fixtures)
    with lab_(chromium, _Folders()) as lab, browser_(chromium) as browser, page_(lab, browser) as page:
        opened = [f"from xai_lessons import explorers\nexplorers.{call}" for _, call, _ in CASES]
        open_notebook(page, lab.put("latency.ipynb", *opened))
        run_all(page)
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'slider':32} {'median':>8} {'95%':>8} {'worst':>8}   milliseconds, {options.moves} moves")
        for number, (name, _, sliders) in enumerate(CASES):
            show_cell(page, number)
            page.locator(f".xai-{name} .noUi-handle").first.wait_for()
            for slider, says in sliders.items():
                page.evaluate(CLOCK, [name, slider, 3, 300])
                times = sorted(page.evaluate(CLOCK, [name, slider, options.moves, 250]))
                middle, high = times[len(times) // 2], times[int(len(times) * 0.95)]
                print(f"{says:32} {middle:8.0f} {high:8.0f} {times[-1]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
