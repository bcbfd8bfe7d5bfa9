"""The photograph parts of all lessons, run with networks of photographs, where the test data are available."""

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
PHOTOS = ("triceratops.jpg", "cat_dog.png")
NETWORK = "squeezenet1_0"
DETECTOR = "ssdlite320_mobilenet_v3_large"  # of lesson 8, with random weights: the test data hold none
# one of scikit-image's photographs beside those two, all of 112 pixels instead of 224
START = """%reset -f
from torchvision.models import SqueezeNet1_0_Weights
from xai_lessons.results import reference
reference.SAMPLES = ("chelsea",)
SqueezeNet1_0_Weights.DEFAULT.transforms.keywords["crop_size"] = 112"""
# the same cells with fewer steps: lesson -> {what its cells say: what they say here}
LESS = {
    "03": {
        "steps=32": "steps=8",
        "samples=8": "samples=2",
        "saliency.gradient_shap": "partial(saliency.gradient_shap, samples=2)",
        "patch=56, stride=28": "patch=112, stride=56",
        '"SmoothGrad")': '"SmoothGrad"), samples=2',
    },
    "04": {"patch=24, stride=12": "patch=48, stride=24", "menagerie.sample(10, seed=6)": "menagerie.sample(2, seed=6)"},
    "06": {"steps=20": "steps=4", "steps=40": "steps=10"},
}
# cells above the part that it takes something from
BEFORE = ("l3-eight-methods", "l7-detective-suspects")


def random_detector(folder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = zoo.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91).state_dict()
    save_file(state, folder / f"{DETECTOR}.safetensors")


def text(cell):
    """All that a cell has printed and shown, as text."""
    said = [output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return "\n".join(said)


def part(path):
    """The set-up and the photograph part of a lesson, with fewer steps."""
    cells = nbformat.read(path, as_version=4).cells
    chosen = [cell for cell in cells if re.match(r"l\d-(setup|photo|own)", cell.id) or cell.id in BEFORE]
    for usual, less in LESS.get(path.stem[:2], {}).items():
        assert any(usual in cell.source for cell in chosen), f"no cell of {path.name} says {usual}"
        for cell in chosen:
            cell.source = cell.source.replace(usual, less)
    return [nbformat.v4.new_code_cell(START), *chosen]


@pytest.mark.data
@pytest.mark.slow
def test_the_photograph_parts_run_on_a_real_network(test_data, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in PHOTOS:
        shutil.copy(test_data / "photos" / name, tmp_path / "photos")
    shutil.copy(test_data / f"{NETWORK}.safetensors", tmp_path)
    random_detector(tmp_path)
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XAI_LESSONS_PHOTOS", str(tmp_path / "photos"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    parts = {path.stem: part(path) for path in NOTEBOOKS}
    book = nbformat.v4.new_notebook(cells=[cell for cells in parts.values() for cell in cells])
    execute_notebooks.execute(book, tmp_path)  # in one kernel, which loads torch once
    assert execute_notebooks.problems(book, 0) == []
    for lesson, cells in parts.items():
        said = "\n".join(text(cell) for cell in cells if cell.cell_type == "code")
        network = DETECTOR if lesson.startswith("08") else NETWORK
        assert network in said, f"lesson {lesson} did not run the available network"
        assert not re.search("No (ImageNet network|detector)", said), lesson
