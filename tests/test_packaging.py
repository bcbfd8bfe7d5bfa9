"""One lock, one version, one address: what must agree is compared, and a wheel brings the lessons with it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import xai_lessons
from tools import lock, pins

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = pins.read((ROOT / "requirements.lock").read_text(encoding="utf-8"))
MACHINES = [
    {"python_version": v[:4], "python_full_version": v, "sys_platform": p, "os_name": o, "platform_machine": m}
    for v in ("3.11.4", "3.12.9", "3.13.2")
    for p, o, m in (("linux", "posix", "x86_64"), ("darwin", "posix", "arm64"), ("win32", "nt", "AMD64"))
]
CONDA = ["environment.yml", "binder/environment.yml"]


def active(lines: list[str], machine: dict[str, str]) -> list[Requirement]:
    """The pins that hold on one machine."""
    wanted = map(Requirement, lines)
    return [
        r for r in wanted if not r.marker or r.marker.evaluate({**machine, "platform_python_implementation": "CPython"})
    ]


def direct(kind: str = "") -> list[Requirement]:
    project = PROJECT["project"]
    return [Requirement(line) for line in (project["optional-dependencies"][kind] if kind else project["dependencies"])]


def conda_pins(name: str) -> list[str]:
    dependencies = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dependencies"]
    (inner,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert inner[0] == f"--extra-index-url {pins.CPU_INDEX}"
    return inner[1:]


def test_the_lock_is_exact_and_names_no_address():
    assert len(LOCK) > 100
    for line in LOCK:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+( ; .+)?", line), line
    assert "://" not in "".join(LOCK)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['sys_platform']}")
def test_the_lock_holds_one_version_of_all_that_is_wanted(machine):
    chosen = active(LOCK, machine)
    versions = {pins.name(r.name): str(r.specifier).removeprefix("==") for r in chosen}
    assert len(versions) == len(chosen), "two versions of one distribution"
    for wanted in [*direct(), *direct("dev"), *direct("site")]:
        assert wanted.specifier.contains(versions[pins.name(wanted.name)]), wanted


def test_torch_and_torchvision_are_the_matching_pair():
    pair = {"torch==2.14.1", "torchvision==0.29.1"}
    assert pair <= set(LOCK)
    assert pair <= set(PROJECT["tool"]["uv"]["constraint-dependencies"])


@pytest.mark.parametrize("name", CONDA)
def test_conda_holds_the_locks_pins_for_the_cpu(name):
    held = conda_pins(name)
    assert set(held) <= set(LOCK)
    assert not [line for line in held if pins.cuda_only(line)]
    assert {pins.name(r.name) for r in direct()} <= {pins.name(line) for line in held}


def test_binder_and_conda_are_one_environment():
    first, second = ((ROOT / name).read_text(encoding="utf-8") for name in CONDA)
    assert first == second == lock.conda(conda_pins(CONDA[0]))


def test_installed_here_is_what_the_lock_says():
    from importlib.metadata import version

    for requirement in active(LOCK, {}):
        if requirement.name in {"torch", "torchvision", "numpy", "ipykernel", "jupyterlab", "ipywidgets", "nbval"}:
            assert requirement.specifier.contains(version(requirement.name).split("+")[0]), requirement


def test_cuda_only_knows_what_the_cpu_build_does_without():
    assert pins.cuda_only("nvidia-nccl-cu13==2.30.7 ; sys_platform == 'linux'")
    assert pins.cuda_only("cuda-bindings==13.5.0")
    assert pins.cuda_only("triton==3.8.0")
    assert not pins.cuda_only("torch==2.14.1")
    assert pins.name("Foo_bar.baz[x]>=1") == "foo-bar-baz"


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(.+?)\]", changes, re.MULTILINE)[1] in {xai_lessons.__version__, "Unreleased"}


def test_the_address_stands_in_one_place_but_for_badges():
    address = PROJECT["project"]["urls"]["Repository"]
    where = address.removeprefix("https://github.com/")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "notebooks").glob("*.ipynb"))]:
        text = path.read_text(encoding="utf-8")
        for found in re.findall(
            r"(?:mybinder\.org/v2/gh|github\.com|colab\.research\.google\.com/github)/([\w-]+/[\w-]+)", text
        ):
            if found.split("/")[1].startswith("xai"):
                assert found == where, f"{path.name} names {found}, pyproject.toml {where}"


@pytest.mark.parametrize("name", [".ci/run", "binder/postBuild", "binder/start"])
def test_scripts_can_be_run(name):
    assert (ROOT / name).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert os.access(ROOT / name, os.X_OK) or sys.platform == "win32"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-s", name], capture_output=True, text=True, check=False
    )
    assert listed.stdout.startswith(("100755", "")) if not listed.stdout else listed.stdout.startswith("100755")


def test_the_lock_moves_no_pin_unless_asked(monkeypatch, tmp_path):
    for name in ("requirements.lock", "pyproject.toml", "binder/", "environment.yml"):
        (tmp_path / name).mkdir() if name.endswith("/") else shutil.copy(ROOT / name, tmp_path)
    asked = []

    def uv(command, **_):
        asked.append(command)
        return types.SimpleNamespace(stdout=(ROOT / "requirements.lock").read_text(encoding="utf-8"))

    monkeypatch.setattr(pins, "ROOT", tmp_path)
    monkeypatch.setattr(pins, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(lock.subprocess, "run", uv)
    for options in [], ["--upgrade"]:
        monkeypatch.setattr(sys, "argv", ["lock", *options])
        lock.main()
        first = asked[-2]
        assert first[first.index("--output-file") + 1] == str(pins.LOCK), "uv keeps the pins of the file it writes to"
        assert ("--upgrade" in first) == bool(options)
    assert pins.LOCK.read_text(encoding="utf-8") == (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_every_target_of_make_is_explained():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split()) - {"environment"}
    assert named == set(re.findall(r"^([a-z-]+):.*  ## \S", text, re.MULTILINE))
    assert {"lab", "test", "test-gpu", "notebooks", "student", "benchmark", "lock", "lint", "clean", "help"} <= named


def test_a_wheel_brings_the_lessons_and_copies_them(tmp_path):
    source = tmp_path / "source"
    for name in ("xai_lessons", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for stray in ("my notes.txt", "02_cam_to_gradcam-Copy1.ipynb", "02_cam_to_gradcam.new.ipynb"):
        (source / "notebooks" / stray).write_text("a stray file")
    (source / "notebooks" / "Untitled.ipynb").write_text("{}")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, cwd=tmp_path, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert xai_lessons.__version__ in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    lessons = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {f"xai_lessons/_notebooks/{name}" for name in lessons} == {n for n in names if "_notebooks/" in n}
    assert "xai_lessons/command/jupyter/labconfig/default_setting_overrides.json" in names
    weights = {path.name for path in (ROOT / "xai_lessons" / "models" / "weights").glob("*")}
    assert len(weights) >= 2
    assert {f"xai_lessons/models/weights/{name}" for name in weights} <= names
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]

    command = [sys.executable, "-m", "xai_lessons", "lab", "--copy-only", "--folder", "mine"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "mine").glob("*.ipynb")} == lessons
