"""The photograph part of every lesson, run with a network of photographs, where the test data are available."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection as zoo

from tools import execute_notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PHOTOS = ("cheetah.jpg", "triceratops.jpg")  # beside scikit-image's own; lesson 2 looks at a pair, too
PAIR = "cat_dog.png"
NETWORK = "squeezenet1_0"
DETECTOR = "ssdlite320_mobilenet_v3_large"  # of lesson 8, with random weights: the test data hold none
# the same cells with fewer steps: lesson -> {what its cells say: what they say here}
LESS = {
    "03": {"steps=32": "steps=8", "samples=8": "samples=2"},
    "04": {"patch=24, stride=12": "patch=48, stride=24"},
    "06": {"steps=20": "steps=4", "steps=40": "steps=10"},
}
# cells above the part that it takes something from
BEFORE = {"03": ("l3-eight-methods",), "07": ("l7-detective-suspects",)}


def random_detector(folder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = zoo.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91).state_dict()
    save_file(state, folder / f"{DETECTOR}.safetensors")


def text(cell):
    """All that a cell has printed and shown, as text."""
    said = [output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return "\n".join(said)


@pytest.mark.data
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_photograph_part_runs_on_a_real_network(path, test_data, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in (*PHOTOS, PAIR) if path.stem.startswith("02") else PHOTOS:
        shutil.copy(test_data / "photos" / name, tmp_path / "photos")
    finds_boxes = path.stem.startswith("08")
    if finds_boxes:
        random_detector(tmp_path)
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(tmp_path if finds_boxes else test_data))
    monkeypatch.setenv("XAI_LESSONS_PHOTOS", str(tmp_path / "photos"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(path, as_version=4)
    setup = next(cell for cell in book.cells if cell.id.endswith("-setup"))
    chosen = [cell for cell in book.cells if re.match(r"l\d-(photo|own)", cell.id)]
    before = [cell for cell in book.cells if cell.id in BEFORE.get(path.stem[:2], ())]
    book.cells = [setup, *before, *chosen]
    for usual, less in LESS.get(path.stem[:2], {}).items():
        assert any(usual in cell.source for cell in book.cells), f"no cell says {usual}"
        for cell in book.cells:
            cell.source = cell.source.replace(usual, less)
    execute_notebooks.execute(book, tmp_path)
    part = {cell.id: text(cell) for cell in chosen if cell.cell_type == "code"}
    assert execute_notebooks.problems(book, 0) == []
    network = DETECTOR if finds_boxes else NETWORK
    assert any(network in said for said in part.values()), "it did not ask the available network"
    assert not any(re.search("No (ImageNet network|detector)", said) for said in part.values())
