"""The command `xai-lessons`: its command line, what each sub-command passes on, how it fails."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import xai_lessons
from xai_lessons.command import cli

ROOT = Path(__file__).resolve().parent.parent


def stand_in(monkeypatch, name, **members):
    """Replace a module, such as ``training.recipes``."""
    package, _, module = name.partition(".")
    replacement = types.SimpleNamespace(**members)
    monkeypatch.setitem(sys.modules, f"xai_lessons.{name}", replacement)
    monkeypatch.setattr(importlib.import_module(f"xai_lessons.{package}"), module, replacement, raising=False)


def test_train_passes_its_options_to_the_recipe(monkeypatch):
    calls = []
    stand_in(monkeypatch, "training.recipes", main=lambda name, **options: calls.append((name, options)) or True)
    assert cli.main(["train", "menagerie-resnet", "--evaluate"]) == 0
    assert cli.main(["train", "menagerie-vgg", "--epochs", "2", "--device", "cpu", "--out", "runs"]) == 0
    assert calls == [
        ("menagerie-resnet", {"evaluate": True}),
        ("menagerie-vgg", {"evaluate": False, "epochs": 2, "device": "cpu", "out": Path("runs")}),
    ]


def test_train_fails_below_the_required_accuracy(monkeypatch):
    stand_in(monkeypatch, "training.recipes", main=lambda name, **options: False)
    assert cli.main(["train", "menagerie-resnet", "--evaluate"]) == 1


def test_prefetch_passes_the_names_on_and_prints_the_files(monkeypatch, capsys):
    def prefetch(names):
        return {name: Path("cache") / f"{name}.pth" for name in names}

    stand_in(monkeypatch, "models.imagenet", prefetch=prefetch, NAMES=("resnet50",))
    assert cli.main(["prefetch", "resnet18", "vgg16"]) == 0
    assert cli.main(["prefetch"]) == 0
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["resnet18", "vgg16", "resnet50"]


def test_prefetch_knows_cifar10(monkeypatch, capsys):
    fetched = []
    stand_in(monkeypatch, "models.imagenet", prefetch=lambda names: dict.fromkeys(names, "there"), NAMES=("resnet50",))
    stand_in(
        monkeypatch,
        "data.datasets",
        cifar10=lambda: fetched.append("all"),
        cifar10_folder=lambda: Path("cache/datasets"),
    )
    assert cli.main(["prefetch", "cifar10", "vgg16"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"cifar10: {Path('cache/datasets')}", "vgg16: there"]
    assert cli.main(["prefetch"]) == 0
    assert fetched == ["all"], "only where it was asked for"


def test_a_mistake_is_one_sentence(monkeypatch, capsys):
    def refuse(name, **options):
        raise ValueError(f"no network is called {name!r}")

    stand_in(monkeypatch, "training.recipes", main=refuse)
    assert cli.main(["train", "menagery"]) == 2
    assert capsys.readouterr().err == "xai-lessons train: no network is called 'menagery'\n"


def test_a_folder_that_may_not_be_written_is_one_sentence(monkeypatch, tmp_path, capsys):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cli.main(["lab", "--copy-only", "--folder", str(tmp_path / "mine")]) == 2
    advice = "choose a folder of your own, or ask who owns it"
    assert capsys.readouterr().err == f"xai-lessons lab: no permission to write {tmp_path / 'mine'}: {advice}\n"


def test_ctrl_c_ends_quietly(monkeypatch, capsys):
    def interrupt(name, **options):
        raise KeyboardInterrupt

    stand_in(monkeypatch, "training.recipes", main=interrupt)
    assert cli.main(["train", "menagerie-resnet"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("arguments", [[], ["draw"], ["train"], ["lab", "--port", "x"]])
def test_a_wrong_command_line_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: xai-lessons" in capsys.readouterr().err


def test_help_is_instant_because_it_imports_nothing():
    asked = "import sys; from xai_lessons.command import cli; cli.parser().format_help(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_python_dash_m_is_the_command():
    command = [sys.executable, "-m", "xai_lessons", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"xai-lessons {xai_lessons.__version__}\n"
