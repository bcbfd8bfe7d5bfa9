"""Lesson 1's part on CIFAR-10: what is stored shows no picture of the set, and with the set available its cells run."""

from pathlib import Path

import nbformat
import pytest

from xai_lessons import models
from xai_lessons.data import menagerie
from xai_lessons.explorers import MistakesExplorer
from xai_lessons.models import store
from xai_lessons.results import cifar10

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "01_classification.ipynb"
QUIZZES = ("l1-quiz-cifar", "l1-quiz-confusion", "l1-quiz-together")
SHOWS_THE_SET = ("l1-cifar-measured", "l1-cifar-explorer", "l1-cifar-worst")  # if it is available


@pytest.fixture(scope="module")
def cells() -> dict[str, nbformat.NotebookNode]:
    return {cell.id: cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells}


def test_no_picture_of_the_set_is_stored(cells):
    for name in SHOWS_THE_SET:
        assert "nbval-ignore-output" in cells[name].metadata.tags
    (measured,), (explorer,), (worst,) = (cells[name].outputs for name in SHOWS_THE_SET)
    assert measured.text.startswith("CIFAR-10 is not available")
    assert worst.text.startswith("CIFAR-10 is not available")
    assert "menagerie-resnet: " in explorer.data["text/plain"], "the explorer's picture must be one of drawings"


def test_every_other_cell_needs_no_set(cells):
    for name, cell in cells.items():
        if cell.cell_type == "code" and name not in SHOWS_THE_SET:
            assert "cifar10_folder" not in cell.source
            assert "if found" not in cell.source


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not set(cifar10.NETWORKS) <= set(store.built_in()), reason="the networks are not in weights/")
def test_with_the_set_available_it_is_measured_and_its_mistakes_are_shown(cells, some_of_cifar10, monkeypatch, capsys):
    monkeypatch.setenv("XAI_LESSONS_CIFAR10", str(some_of_cifar10))
    shown: list = []
    images, labels, _ = menagerie.sample(4, seed=1)
    given = {"display": lambda *figures: shown.extend(figures)}
    given |= {"images": images, "labels": labels, "model": models.load("menagerie-resnet")}
    exec(cells["l1-setup"].source, given)
    for name, cell in cells.items():
        if cell.cell_type == "code" and (name.startswith("l1-cifar") or name in QUIZZES):
            exec(compile(cell.source, name, "exec"), given)
    said = capsys.readouterr().out
    assert said.count("of 400 here") == 2
    assert "not available" not in said
    assert [figure.caption.split(" is wrong")[0] for figure in shown] == ["cifar10-vgg", "cifar10-resnet"]
    explorer = MistakesExplorer(given["test"], list(given["cifar"].values()), answers=given["cifar_answers"])
    assert explorer.result.images.shape[1:] == (3, 32, 32)
