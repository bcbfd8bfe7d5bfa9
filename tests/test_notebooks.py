"""The notebooks as they are stored; and that nbval, as the Makefile calls it, sees another number, but no widget view.

The notebooks themselves are run in Chromium (browser/test_lessons.py), and by nbval: ``make test-notebooks``.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest
import safetensors.torch

from stored_outputs import differences
from tools import execute_notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@every_notebook
def test_it_is_stored_as_make_notebooks_leaves_it(path):
    text = path.read_text(encoding="utf-8")
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert execute_notebooks.problems(book, len(text.encode())) == []
    execute_notebooks.tidy(book)
    assert nbformat.writes(book) + "\n" == text


@every_notebook
def test_every_cell_was_run_once_in_order(path):
    book = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@every_notebook
def test_it_shows_a_picture_and_no_widget_view(path):
    book = nbformat.read(path, as_version=4)
    kinds = {kind for cell in book.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/jpeg"}
    assert execute_notebooks.VIEW not in kinds
    assert "image/svg+xml" not in kinds, "nbval compares it byte by byte: store a PNG"


@every_notebook
def test_the_set_up_is_short(path):
    book = nbformat.read(path, as_version=4)
    setup = next(cell for cell in book.cells if cell.id.endswith("-setup"))
    lines = [line for line in setup.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 8


@every_notebook
def test_a_quiz_does_not_show_its_answer_in_its_code(path):
    book = nbformat.read(path, as_version=4)
    asked = [cell for cell in book.cells if cell.cell_type == "code" and "quiz.ask(" in cell.source]
    assert asked
    assert [cell.id for cell in asked if not cell.metadata.get("jupyter", {}).get("source_hidden")] == []


@every_notebook
def test_its_links_to_other_notebooks_lead_somewhere(path):
    book = nbformat.read(path, as_version=4)
    texts = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?:|#|attachment:|mailto:)([^)#\s]+)", texts):
        assert (path.parent / target).exists(), target


WIDGET = """
import ipywidgets
class Explorer(ipywidgets.VBox):
    def _repr_mimebundle_(self, **kwargs):
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": "an explorer", "image/jpeg": "/9j/"}
Explorer([ipywidgets.IntSlider()])
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A notebook with an explorer and a number, stored by `make notebooks`' own means."""
    folder = tmp_path_factory.mktemp("stored")
    cells = [nbformat.v4.new_code_cell(source) for source in (WIDGET, "print('accuracy', round(0.98765, 3))")]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A lesson"), *cells])
    execute_notebooks.execute(book, folder)
    execute_notebooks.tidy(book)
    nbformat.write(book, folder / "lesson.ipynb")
    return folder / "lesson.ipynb"


def nbval(notebook: Path, *more: str) -> subprocess.CompletedProcess:
    """Nbval with the options of the Makefile."""
    options = re.search(r"^NBVAL := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    options[options.index("--nbval-sanitize-with") + 1] = str(ROOT / "tests" / "nbval_sanitize.cfg")
    rules = [
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(notebook.parent),
        "-p",
        "no:cacheprovider",
        "--color=no",
    ]
    command = [sys.executable, "-m", "pytest", *rules, *options, *more, str(notebook)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    clean["PYTHONPATH"] = os.pathsep.join([str(notebook.parent), str(ROOT)])  # a copy beside the notebook comes first
    return subprocess.run(command, cwd=notebook.parent, env=clean, capture_output=True, text=True, check=False)


def test_what_is_stored_has_the_picture_and_not_the_view(stored):
    first, second = (cell for cell in nbformat.read(stored, as_version=4).cells if cell.cell_type == "code")
    assert set(first.outputs[0].data) == {"text/plain", "image/jpeg"}
    assert second.outputs[0].text == "accuracy 0.988\n"


def test_nbval_passes_although_the_view_is_only_in_the_run_and_fails_on_another_number(stored):
    other = stored.with_name("other.ipynb")
    other.write_text(stored.read_text(encoding="utf-8").replace("accuracy 0.988", "accuracy 0.987"), encoding="utf-8")
    done = nbval(stored, str(other))
    assert done.returncode == 1
    assert "1 failed, 3 passed" in done.stdout
    assert "FAILED other.ipynb::Cell 1" in done.stdout


def test_a_run_elsewhere_is_compared_as_nbval_does(stored, request):
    made = [cell.outputs for cell in nbformat.read(stored, as_version=4).cells if cell.cell_type == "code"]
    made[0][0].data[execute_notebooks.VIEW] = {"model_id": "1"}
    assert differences(request.session, stored, made) == []
    made[1][0].text = "accuracy 0.987\n"
    (found,) = differences(request.session, stored, made)
    assert found.startswith("lesson.ipynb, Cell 1")
    assert "0.987" in found


@pytest.mark.slow
def test_nbval_fails_on_lesson_1_when_one_weight_is_another(tmp_path):
    package = shutil.copytree(ROOT / "xai_lessons", tmp_path / "xai_lessons")
    weights, card = (
        package / "models" / "weights" / f"menagerie-resnet.{ending}" for ending in ("safetensors", "json")
    )
    state = safetensors.torch.load_file(weights)
    state["head.weight"][0, 0] += 1
    safetensors.torch.save_file(state, weights)
    facts = json.loads(card.read_text(encoding="utf-8"))
    facts["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card.write_text(json.dumps(facts), encoding="utf-8")
    done = nbval(Path(shutil.copy(NOTEBOOKS[0], tmp_path)), "-x")  # the copy here comes before the installed package
    assert done.returncode == 1, done.stdout
    assert "Cell outputs differ" in done.stdout


def test_a_second_run_stores_the_same_bytes(stored):
    book = nbformat.read(stored, as_version=4)
    execute_notebooks.execute(book, stored.parent)
    execute_notebooks.tidy(book)
    assert json.loads(nbformat.writes(book)) == json.loads(stored.read_text(encoding="utf-8"))


def cell(*outputs, source="1", identity="one"):
    made = nbformat.v4.new_code_cell(source, outputs=list(outputs), execution_count=1)
    made.id = identity
    return made


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), "raised ValueError: no"),
        (nbformat.v4.new_output("stream", name="stderr", text="Warning!"), "wrote to stderr: Warning!"),
        (nbformat.v4.new_output("display_data", {"text/plain": "Output(outputs=())"}), "shows an Output widget"),
    ],
)
def test_what_must_not_be_stored_is_refused(output, said):
    (problem,) = execute_notebooks.problems(nbformat.v4.new_notebook(cells=[cell(output)]), 100)
    assert said in problem


def test_a_notebook_that_is_too_large_is_refused():
    (problem,) = execute_notebooks.problems(nbformat.v4.new_notebook(cells=[cell()]), 2_000_000)
    assert "2.00 MB is over" in problem


def test_tidying_names_cells_by_their_place_and_keeps_given_names():
    book = nbformat.v4.new_notebook(cells=[cell(identity="0123abcd"), cell(identity="set-up")])
    book.cells[0].metadata = {"tags": ["core"], "execution": {"iopub.execute_input": "now"}, "collapsed": True}
    execute_notebooks.tidy(book)
    assert [each.id for each in book.cells] == ["cell-000", "set-up"]
    assert book.cells[0].metadata == {"tags": ["core"]}


def test_tidying_joins_what_a_stream_was_cut_into():
    parts = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a", "b")]
    book = nbformat.v4.new_notebook(cells=[cell(*parts)])
    execute_notebooks.tidy(book)
    assert [output.text for output in book.cells[0].outputs] == ["ab"]


@every_notebook
def test_its_opening_installs_what_is_missing_on_google_colab_and_nothing_elsewhere(path, monkeypatch):
    book = nbformat.read(path, as_version=4)
    source = next(cell.source for cell in book.cells if cell.cell_type == "code")
    asked = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: asked.append(words))
    install = compile(source[: source.index("from xai_lessons")], path.name, "exec")
    exec(install, {"get_ipython": lambda: shell})
    assert asked == []
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(install, {"get_ipython": lambda: shell})
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    assert asked == [("pip", f"install -q --no-deps git+{address} anywidget psygnal")]
