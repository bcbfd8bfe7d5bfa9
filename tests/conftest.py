"""What all tests share: one thread, the CPU, no user's settings; and their order when two processes share them out."""

import os
import zipfile
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two OpenMP threads on a busy machine are far slower than one
os.environ.setdefault("XAI_LESSONS_DEVICE", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

# the tests of the second device want a process of their own: `make test-devices`
collect_ignore = [] if os.environ["XAI_LESSONS_DEVICE"] == "ghost" else ["second_device"]

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("lessons", "browser", "slow", "tests", "examples")


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
def some_of_cifar10(test_data, tmp_path_factory) -> Path:
    """A folder with forty of each class's test pictures of CIFAR-10: only these are unpacked."""
    folder, chosen = tmp_path_factory.mktemp("cifar"), tuple(f"/{i:04d}.webp" for i in range(0, 1000, 25))
    with zipfile.ZipFile(test_data / "cifar10.zip") as archive:
        names = [name for name in archive.namelist() if "/test/" in name and name.endswith(chosen)]
        archive.extractall(folder, names)
    (folder / "cifar10" / "train").mkdir()  # empty: nothing is trained
    return folder / "cifar10"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with the longest tests first and examples last, so that no process waits for the other at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: STAGES.index(_stage(item, slow)))
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


def _stage(item: pytest.Item, slow: set[Path]) -> str:
    if "browser" in item.path.parts:
        return "lessons" if item.path.stem == "test_lessons" else "browser"
    if isinstance(item, pytest.DoctestItem):
        return "examples"
    return "slow" if item.path in slow else "tests"
