"""A folder of one's own pictures: trained on as the README says; then every lesson's own-picture cells run with it."""

import ast
import contextlib
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from sweep import check_code, seen
from xai_lessons import explorers, models, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers import kit

ROOT = Path(__file__).resolve().parent.parent
# lesson 8 takes detectors: a folder of pictures has no boxes to train one on
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if not path.stem.startswith("08"))
CLASSES = ("brolly", "moggy")
BEFORE = ("l7-detective-suspects", "l7-photo-ask")  # what a part takes from above
LINE = 'own = models.load(available[0] if available else "menagerie-resnet")  # your own: models.load("./my-network")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a student has pictures and follows the README."""
    home = tmp_path_factory.mktemp("student")
    for name, mine in zip(("umbrella", "cat"), CLASSES, strict=True):
        (home / "my-pictures" / mine).mkdir(parents=True)
        for seed in range(20):
            picture = Image.fromarray(plots.pixels(menagerie.draw(name, seed, tree=False, tag=False).image))
            picture.save(home / "my-pictures" / mine / f"{seed}.png")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "my-pictures" in block]
    assert "epochs=20" in code
    with contextlib.chdir(home), contextlib.redirect_stdout(io.StringIO()) as said, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(code.replace("epochs=20", "epochs=2").replace(", progress=True", ""), {})
    assert "% of the test images are right" in said.getvalue()
    return home


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def own_cells(path):
    """The code of the set-up and what else is taken from above, and that of the part "Your own picture"."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    before = [cell for cell in cells if cell.id.endswith("-setup") or cell.id in BEFORE]
    return [cell.source for cell in before], [cell.source for cell in cells if re.match(r"l\d-own", cell.id)]


def run(code, names):
    """Run a cell, and give the value of its last line."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_network_knows_the_names_of_the_folders(here):
    model = models.load("./my-network")
    assert model.classes == CLASSES
    assert model.name == "my-network"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_lesson_says_in_the_same_line_where_it_goes(path):
    assert any(LINE in code for code in own_cells(path)[1])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_lesson_runs_on_it(path, here, monkeypatch):
    above, cells = own_cells(path)
    names = {"available": ()}
    with contextlib.redirect_stdout(io.StringIO()):
        for code in above:
            run(code, names)
        for code in cells:
            code = code.replace(LINE, 'own = models.load("./my-network")').replace(
                '"coffee"', '"my-pictures/moggy/3.png"'
            )
            shown = run(code.replace('photos.sample("my-pictures', 'photos.load("my-pictures'), names)
            assert names["own"].classes == CLASSES
            if isinstance(shown, kit.Explorer) and shown.live:
                seen(shown)
            elif isinstance(shown, kit.Explorer):
                assert shown.describe(shown.preview(shown.state), shown.state)


PICTURES = ("PredictionExplorer", "LayerExplorer", "CamExplorer", "SaliencyExplorer", "SanityExplorer",
            "EraserExplorer", "OcclusionExplorer", "DeletionExplorer", "AttackExplorer")  # fmt: skip
LESS = {"SaliencyExplorer": {"samples": 5, "steps": 8}, "SanityExplorer": {"methods": ("Gradient", "Grad-CAM")}}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("picture", ["my-pictures/moggy/3.png", "bird"])
def test_every_explorer_and_its_code_take_classes_of_ones_own(name, picture, here, monkeypatch):
    kind = getattr(explorers, name)
    monkeypatch.setattr(kind, "screen", 64)
    explorer = kind(picture, network="./my-network", **LESS.get(name, {}))
    result = explorer.evaluate()
    assert explorer.describe(result, explorer.state)
    assert all(np.asarray(plots.pixels(panel.image)).size for panel in explorer.panels(result, explorer.state))
    with contextlib.redirect_stdout(io.StringIO()):
        check_code(explorer, 1e-4)
