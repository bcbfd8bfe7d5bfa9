"""The photograph part of every lesson, run with a real ImageNet network at hand, where the test data are."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from tools import execute_notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PHOTOS = ("cat_dog.png", "cheetah.jpg", "triceratops.jpg")
NETWORK = "squeezenet1_0"
# cells above the part that it takes something from
BEFORE = {"03": ("l3-eight-methods",), "07": ("l7-detective-suspects",)}


def text(cell):
    """All that a cell has printed and shown, as text."""
    said = [output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return "\n".join(said)


@pytest.mark.data
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_photograph_part_runs_on_a_real_network(path, test_data, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in PHOTOS:
        shutil.copy(test_data / "photos" / name, tmp_path / "photos")
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(test_data))
    monkeypatch.setenv("XAI_LESSONS_PHOTOS", str(tmp_path / "photos"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(path, as_version=4)
    setup = next(cell for cell in book.cells if cell.cell_type == "code")
    chosen = [cell for cell in book.cells if re.match(r"l\d-(photo|own)", cell.id)]
    before = [cell for cell in book.cells if cell.id in BEFORE.get(path.stem[:2], ())]
    book.cells = [setup, *before, *chosen]
    execute_notebooks.execute(book, tmp_path)
    part = {cell.id: text(cell) for cell in chosen if cell.cell_type == "code"}
    assert execute_notebooks.problems(book, 0) == []
    assert any(NETWORK in said for said in part.values()), "it did not ask the network that is at hand"
    assert not any("No ImageNet network" in said for said in part.values())
