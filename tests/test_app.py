"""`xai-lessons app`: which notebook a name opens, and what is said where Voila is missing."""

import inspect
import sys

import nbformat

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
