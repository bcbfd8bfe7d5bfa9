"""`xai-lessons app`: which notebook a name opens, and what is said where Voila is missing."""

import inspect
import os
import sys
import types

import nbformat
import pytest

from xai_lessons import explorers
from xai_lessons.command import app, cli, lab


def test_every_explorer_that_is_offered_opens_without_arguments(tmp_path):
    assert {*app.explorers(), *app.NEED_DATA} == {
        name.removesuffix("Explorer").lower() for name in explorers.__all__ if name.endswith("Explorer")
    }
    for name, shown in app.explorers().items():
        inspect.signature(getattr(explorers, shown)).bind()
        (cell,) = nbformat.read(app.page(name, tmp_path), as_version=4).cells
        assert cell.source == f"from xai_lessons.explorers import {shown}\n\n{shown}()"
    assert app.page("CamExplorer", tmp_path) == app.page("cam", tmp_path)


def test_a_lesson_is_named_by_its_number(tmp_path):
    assert app.page("2", tmp_path) == app.page("02", tmp_path) == lab.lessons_folder() / "02_cam_to_gradcam.ipynb"
    assert [*app.lessons()] == [str(number) for number in range(1, 9)]


def test_an_unknown_name_is_one_sentence(capsys):
    assert cli.main(["app", "grad-cam"]) == 2
    assert "there is no explorer or lesson 'grad-cam': did you mean 'cam'" in capsys.readouterr().err


def test_without_a_name_all_are_listed(capsys):
    assert cli.main(["app"]) == 0
    said = capsys.readouterr().out
    assert "explorers: attack, cam, " in said
    assert "8 (08_detection.ipynb)" in said


def test_without_voila_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "voila.app", None)
    assert cli.main(["app", "cam"]) == 2
    assert capsys.readouterr().err == 'xai-lessons app: Voila is not installed: pip install "xai-lessons[app]"\n'


@pytest.mark.parametrize(("name", "lesson"), [("cam", False), ("2", True)])
def test_voila_shows_an_explorer_without_code_and_a_lesson_with_it_as_far_as_it_has_run(name, lesson, monkeypatch):
    started = []

    class Voila:
        @classmethod
        def launch_instance(cls, arguments):
            started.append(arguments)

    monkeypatch.setitem(sys.modules, "voila.app", types.SimpleNamespace(Voila=Voila))
    monkeypatch.setattr(os, "environ", {**os.environ, "JUPYTER_PATH": "theirs"})
    assert cli.main(["app", name, "--port", "9000", "--no-browser"]) == 0
    ((notebook, *options),) = started
    assert notebook.endswith("02_cam_to_gradcam.ipynb" if lesson else "cam.ipynb")
    assert {"--Voila.ip=127.0.0.1", "--Voila.auto_token=True", "--Voila.open_browser=False"} <= set(options)
    assert "--Voila.port=9000" in options
    assert f"--VoilaConfiguration.strip_sources={not lesson}" in options
    assert f"--VoilaConfiguration.progressive_rendering={lesson}" in options
    assert os.environ["JUPYTER_PATH"].split(os.pathsep) == [str(lab.SETTINGS), "theirs"]
