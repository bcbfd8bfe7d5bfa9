"""`make`'s environment: made once, made again when the lock changes, CPU wheels from one place, plain messages."""

import ast
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

import tools
import xai_lessons
from tools import environment, pins

LOCK = """# made by hand
captum==0.9.0
nvidia-cublas==13.1.1.3 ; sys_platform == 'linux'
torch==2.14.1
torchvision==0.29.1
triton==3.8.0 ; sys_platform == 'linux'
"""


@pytest.fixture
def house(monkeypatch, tmp_path):
    """A small repository, and what pip is asked for there."""
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    asked = []

    def create(folder, **_):
        python = environment.PYTHON
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text("python")

    def run(command, **_):
        asked.append(command[4:])
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(pins, "ROOT", tmp_path)
    monkeypatch.setattr(pins, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "xai-lessons.stamp")
    monkeypatch.setattr(environment, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(environment.venv, "create", create)
    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["environment"])
    return types.SimpleNamespace(folder=tmp_path, asked=asked)


def test_it_is_made_once(house, capsys):
    environment.main()
    assert len(house.asked) == 2
    assert "making the environment" in capsys.readouterr().out
    environment.main()
    assert len(house.asked) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_it_is_made_again_when_what_it_is_made_from_changes(house, name):
    environment.main()
    (house.folder / name).write_text((house.folder / name).read_text() + "# changed\n")
    environment.main()
    assert len(house.asked) == 4


def test_an_interrupted_installation_is_gone_on_with(house, monkeypatch):
    working = environment.subprocess.run
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: types.SimpleNamespace(returncode=1))
    with pytest.raises(SystemExit, match="goes on where it stopped"):
        environment.main()
    assert not environment.present(cpu=False)
    monkeypatch.setattr(environment.subprocess, "run", working)
    environment.main()
    assert environment.present(cpu=False)


def test_by_default_all_of_the_lock_is_installed_and_then_the_package(house):
    environment.make(cpu=False)
    first, second = house.asked
    assert first[-1] == str(house.folder / ".venv" / "requirements.txt")
    assert (house.folder / ".venv" / "requirements.txt").read_text().splitlines() == pins.read(LOCK)
    assert second[-2:] == ["--editable", str(house.folder)]
    assert not any("index-url" in option for command in house.asked for option in command)


def test_for_the_cpu_the_pair_comes_from_pytorch_and_nothing_of_cuda(house):
    environment.make(cpu=True)
    pair, _, _ = house.asked
    assert pair[-5:] == ["--no-deps", "--index-url", pins.CPU_INDEX, "torch==2.14.1", "torchvision==0.29.1"]
    kept = (house.folder / ".venv" / "requirements.txt").read_text().splitlines()
    assert kept == ["captum==0.9.0", "torch==2.14.1", "torchvision==0.29.1"]


def test_a_cpu_environment_serves_where_any_will_do_but_not_the_other_way_round(house):
    environment.make(cpu=True)
    assert environment.present(cpu=False)
    environment.make(cpu=False)
    assert not environment.present(cpu=True)


def test_without_venv_the_package_to_install_is_named(house, monkeypatch):
    def fail(*_, **__):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(environment.venv, "create", fail)
    with pytest.raises(SystemExit, match="install python3-venv first"):
        environment.main()


@pytest.mark.parametrize("package", [tools, xai_lessons], ids=["make", "python -m xai_lessons"])
def test_an_old_python_is_told_so(package, monkeypatch):
    ast.parse(Path(package.__file__).read_text(encoding="utf-8"), feature_version=(3, 7))
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"3\.11 or later, and this is 3\.9"):
        importlib.reload(package)


def test_little_space_is_said_before(house, monkeypatch, capsys):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=3e9))
    environment.main()
    assert "only 3.0 GB are free" in capsys.readouterr().err


def test_the_dev_container_makes_the_environment_whose_python_it_names(monkeypatch):
    container = json.loads((pins.ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    python, flag, module, *options = container["onCreateCommand"].split()
    assert (python, flag, module) == ("python", "-m", environment.__name__)
    made = []
    monkeypatch.setattr(environment, "present", lambda cpu: False)
    monkeypatch.setattr(environment, "make", made.append)
    monkeypatch.setattr(sys, "argv", [module, *options])
    environment.main()
    assert made == [True]
    settings = container["customizations"]["vscode"]["settings"]
    named = settings["python.defaultInterpreterPath"].removeprefix("${containerWorkspaceFolder}/")
    assert named == environment.PYTHON.relative_to(pins.ROOT).as_posix()
    for name in container["customizations"]["codespaces"]["openFiles"]:
        assert (pins.ROOT / name).is_file()
