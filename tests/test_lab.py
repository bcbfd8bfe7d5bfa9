"""`xai-lessons lab`: what a student's folder keeps, and how JupyterLab is started."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from xai_lessons.command import cli, lab


@pytest.fixture
def source(tmp_path):
    """A small course: two lessons and a picture."""
    folder = tmp_path / "source"
    (folder / "pictures").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "01_classification-checkpoint.ipynb").write_text("old")
    (folder / "01_classification.ipynb").write_text("first")
    (folder / "02_cam_to_gradcam.ipynb").write_text("second")
    (folder / "pictures" / "a.png").write_bytes(b"\x89PNG")
    return folder


def held(folder: Path) -> dict[str, str]:
    """What is in a student's folder, the record aside."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != lab.RECORD)
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode("latin-1") for path in paths}


FRESH = {"01_classification.ipynb": "first", "02_cam_to_gradcam.ipynb": "second", "pictures/a.png": "\x89PNG"}


def test_copies_all_lessons_and_says_so(source, tmp_path):
    said = lab.copy_lessons(source, tmp_path / "mine" / "deep")
    assert held(tmp_path / "mine" / "deep") == FRESH
    assert said == ["copied 01_classification.ipynb", "copied 02_cam_to_gradcam.ipynb", "copied pictures/a.png"]


def test_a_second_copy_writes_nothing(source, tmp_path):
    lab.copy_lessons(source, tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*.ipynb")}
    assert lab.copy_lessons(source, tmp_path / "mine") == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_students_changes_stay(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (mine / "notes.txt").write_text("mine, too")
    assert lab.copy_lessons(source, mine) == []
    assert held(mine) == {**FRESH, "01_classification.ipynb": "my work", "notes.txt": "mine, too"}


def test_an_untouched_lesson_is_updated(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (source / "01_classification.ipynb").write_text("first, better")
    assert lab.copy_lessons(source, mine) == ["updated 01_classification.ipynb"]
    assert held(mine) == {**FRESH, "01_classification.ipynb": "first, better"}


def test_a_new_version_is_written_next_to_the_students_own_once(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (source / "01_classification.ipynb").write_text("first, better")
    (said,) = lab.copy_lessons(source, mine)
    assert "kept your 01_classification.ipynb" in said
    assert "01_classification.new.ipynb" in said
    expected = {**FRESH, "01_classification.ipynb": "my work", "01_classification.new.ipynb": "first, better"}
    assert held(mine) == expected
    assert lab.copy_lessons(source, mine) == []
    assert held(mine) == expected


def test_a_second_new_version_does_not_write_over_the_first_new_one(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    for text in ("better", "best"):
        (source / "01_classification.ipynb").write_text(text)
        lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "my work"
    assert held(mine)["01_classification.new.ipynb"] == "better"
    assert held(mine)["01_classification.new2.ipynb"] == "best"


def test_files_that_were_there_before_are_the_students(source, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01_classification.ipynb").write_text("by hand")
    lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "by hand"
    assert held(mine)["01_classification.new.ipynb"] == "first"


@pytest.mark.parametrize("damage", ["", "not json", "[]"])
def test_a_damaged_record_costs_no_work(source, tmp_path, damage):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (mine / lab.RECORD).write_text(damage)
    lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "my work"


def test_a_deleted_lesson_comes_back(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "02_cam_to_gradcam.ipynb").unlink()
    assert lab.copy_lessons(source, mine) == ["copied 02_cam_to_gradcam.ipynb"]
    assert held(mine) == FRESH


def test_a_file_in_the_folders_place_is_one_sentence(source, tmp_path):
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(NotADirectoryError, match="expected a folder"):
        lab.copy_lessons(source, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "a file"


def test_the_lessons_of_a_checkout_are_next_to_the_package(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(lab, "PACKAGE", tmp_path / "xai_lessons")
    assert lab.lessons_folder() == tmp_path / "notebooks"
    (tmp_path / "xai_lessons" / "_notebooks").mkdir(parents=True)
    assert lab.lessons_folder() == tmp_path / "xai_lessons" / "_notebooks"


def test_an_installation_without_lessons_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lab, "PACKAGE", tmp_path / "xai_lessons")
    assert cli.main(["lab", "--copy-only"]) == 2
    assert "there are no notebooks" in capsys.readouterr().err


class Started:
    """Stands in for a running JupyterLab."""

    calls: list = []

    def __init__(self, command, env):
        Started.calls.append((command, env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def wait(self):
        return 0


@pytest.fixture
def started(monkeypatch, source):
    Started.calls = []
    monkeypatch.setattr(lab.subprocess, "Popen", Started)
    monkeypatch.setattr(lab.signal, "signal", lambda *_: None)
    monkeypatch.setattr(lab, "lessons_folder", lambda: source)
    monkeypatch.setattr(lab, "trust", lambda *_: None)  # these lessons are no notebooks
    return Started.calls


def test_lab_opens_lesson_1_in_the_students_folder(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab"]) == 0
    ((command, environment),) = started
    folder = tmp_path / "xai-lessons-notebooks"
    assert held(folder) == FRESH
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/01_classification.ipynb" in command
    assert f"--ServerApp.root_dir={folder}" in command
    assert "--no-browser" not in command
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0] == str(lab.SETTINGS)


def test_ctrl_c_leaves_the_end_to_jupyterlab(started, tmp_path, monkeypatch):
    """It asks for confirmation, and is ended by a signal: as a shell says it."""
    ends = iter([KeyboardInterrupt, KeyboardInterrupt, -15])

    def wait(_):
        end = next(ends)
        if end is KeyboardInterrupt:
            raise end
        return end

    monkeypatch.setattr(Started, "wait", wait)
    assert cli.main(["lab", "--folder", str(tmp_path / "mine")]) == 143
    assert next(ends, None) is None


def test_lab_hands_its_options_on(started, tmp_path):
    folder = str(tmp_path / "class")
    assert cli.main(["lab", "--folder", folder, "--no-browser", "--port", "9999", "--", "--ip=0.0.0.0"]) == 0
    ((command, _),) = started
    assert {"--no-browser", "--port=9999", "--ip=0.0.0.0"} <= set(command)
    assert "--" not in command


def test_lessons_are_signed_as_delivered_and_only_where_that_can_be_kept(tmp_path, monkeypatch):
    source, mine = tmp_path / "source", tmp_path / "mine"
    source.mkdir()
    for name in ("01_a.ipynb", "02_b.ipynb"):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(name, id="one")])
        nbformat.write(book, source / name)
    lab.copy_lessons(source, mine)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("mine", id="one")]), mine / "02_b.ipynb")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(source / "01_a.ipynb" / "no folder"))
    lab.trust(source, mine)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    trusted = [NotebookNotary().check_signature(nbformat.read(path, 4)) for path in sorted(mine.glob("*.ipynb"))]
    assert trusted == [False, False]
    lab.trust(source, mine)
    trusted = [NotebookNotary().check_signature(nbformat.read(path, 4)) for path in sorted(mine.glob("*.ipynb"))]
    assert trusted == [True, False]


def test_lab_here_copies_nothing(started, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab", "--here"]) == 0
    assert f"--ServerApp.root_dir={source}" in started[0][0]
    assert not (tmp_path / "xai-lessons-notebooks").exists()


def test_copy_only_starts_nothing(started, tmp_path, capsys):
    assert cli.main(["lab", "--copy-only", "--folder", str(tmp_path / "mine")]) == 0
    assert started == []
    assert f"the lessons are in {tmp_path / 'mine'}" in capsys.readouterr().out


def test_the_users_own_jupyter_settings_come_after_ours(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    assert lab.environment()["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(lab.SETTINGS), "theirs"])


def test_our_settings_turn_off_news():
    settings = json.loads((lab.SETTINGS / "labconfig" / "default_setting_overrides.json").read_text())
    config = json.loads((lab.SETTINGS / "jupyter_lab_config.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"] == {"checkForUpdates": False, "fetchNews": "false"}
    assert config["LabApp"]["news_url"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_sigterm_ends_jupyterlab_too(tmp_path):
    """With a stand-in for JupyterLab that would run on for a minute."""
    (tmp_path / "jupyterlab").mkdir()
    stand_in = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    (tmp_path / "jupyterlab" / "__main__.py").write_text(stand_in)
    command = [sys.executable, "-m", "xai_lessons", "lab", "--no-browser", "--folder", str(tmp_path / "mine")]
    path = os.pathsep.join([str(tmp_path), str(Path(lab.__file__).parents[2])])
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    ) as process:
        jupyter = int(next(line for line in process.stdout if line.strip().isdigit()))
        process.terminate()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(jupyter, 0)
