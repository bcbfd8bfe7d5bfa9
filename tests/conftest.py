"""What all tests share: one thread, the CPU, no user's settings; and their order when several processes divide them."""

import os
import shutil
import zipfile
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two OpenMP threads on a busy machine are far slower than one
os.environ.setdefault("XAI_LESSONS_DEVICE", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

# the tests of the second device want a process of their own: `make test-devices`
collect_ignore = [] if os.environ["XAI_LESSONS_DEVICE"] == "ghost" else ["second_device"]

ROOT = Path(__file__).resolve().parent.parent
LONG = ("test_lessons.py", "test_stage.py", "test_photograph_parts.py", "test_own_network.py", "test_notebooks.py")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real photographs, CIFAR-10 and SqueezeNet; tests that want it skip where it is not."""
    folder = os.environ.get("XAI_LESSONS_TEST_DATA")
    if not folder:
        pytest.skip(
            "XAI_LESSONS_TEST_DATA is not set: it names the folder of test data, which is not in the repository"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; tests of the browser skip where it is not."""
    if not (found := _chromium()):
        pytest.skip("no Chromium found: install it, or name it in XAI_LESSONS_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def some_of_cifar10(test_data, tmp_path_factory) -> Path:
    """A folder with forty of each class's test pictures of CIFAR-10: only these are unpacked."""
    folder, chosen = tmp_path_factory.mktemp("cifar"), tuple(f"/{i:04d}.webp" for i in range(0, 1000, 25))
    with zipfile.ZipFile(test_data / "cifar10.zip") as archive:
        names = [name for name in archive.namelist() if "/test/" in name and name.endswith(chosen)]
        archive.extractall(folder, names)
    (folder / "cifar10" / "train").mkdir()  # empty: nothing is trained
    return folder / "cifar10"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that at the end no process waits for one of them; no lesson is run twice.

    Where the browser runs the lessons, it compares their outputs as nbval does, and nbval need not run them again.
    """
    in_browser = [item for item in items if item.path.name == "test_lessons.py" and item.path.parent.name == "browser"]
    if in_browser and _chromium():
        items[:] = [item for item in items if item.path.suffix != ".ipynb"]
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> LoadFileScheduling:
    """With ``-n``: a file stays in one process (a notebook has one kernel)."""
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """A file is a piece of work, and so is each lesson in the browser."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "/browser/test_lessons.py" in nodeid else super()._split_scope(nodeid)


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return os.environ.get("XAI_LESSONS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
