"""`xai-lessons doctor`: what it finds, and what it advises."""

import sys

import pytest

from xai_lessons import models
from xai_lessons.command import cli, doctor, lab
from xai_lessons.models import store


def test_the_doctor_reports_everything_on_one_screen(capsys):
    cli.main(["doctor"])
    said = capsys.readouterr().out
    for subject in (
        "Python",
        "torch",
        "torchvision",
        "device",
        "ipykernel",
        "kernels",
        "widgets",
        "ImageNet",
        "CIFAR-10",
        "disk",
        "memory",
    ):
        assert f"  {subject} " in said, subject
    assert said.count("\n") <= 40
    assert "Traceback" not in said


def test_the_doctor_says_what_to_do(monkeypatch, capsys):
    found = [
        doctor.Finding("torch", "not installed", "pip install torch", fatal=True),
        doctor.Finding("disk", "9 GB free"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "NO  torch" in said
    assert "-> pip install torch" in said
    assert "ok  disk" in said
    assert said.endswith("The lessons cannot run yet: see torch.\n")


def test_the_doctor_survives_a_check_that_fails(monkeypatch):
    def broken():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "LOOKS", (broken, doctor.disk))
    first, second = doctor.examine()
    assert (first.subject, first.found) == ("broken", "could not be read: no such thing")
    assert second.subject == "disk"


@pytest.mark.parametrize(
    ("look", "versions", "advice"),
    [
        (doctor.torch_found, {}, "pip install torch torchvision"),
        (doctor.torch_found, {"torch": "2.4.1+cpu"}, "tested with torch 2.11"),
        (doctor.torch_found, {"torch": "2.15.0"}, "tested with torch 2.11"),
        (doctor.torchvision_found, {}, "pip install torchvision"),
        (doctor.kernel, {}, "ipykernel<7"),
        (doctor.kernel, {"ipykernel": "7.1.0"}, "disturb each other"),
        (doctor.widgets, {"jupyterlab": "4.6.6"}, "ipywidgets anywidget"),
    ],
)
def test_the_doctor_knows_what_is_missing(monkeypatch, look, versions, advice):
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert advice in look().advice


@pytest.fixture
def another_torchvision(monkeypatch):
    """A torchvision that was built for another torch."""

    class Refuses:
        def find_spec(self, name, *_):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])


def test_a_torchvision_of_another_torch_is_one_sentence_everywhere(another_torchvision, capsys):
    for command in (["prefetch", "resnet18"], ["prefetch", "cifar10"]):
        assert cli.main(command) == 2, command
        said = capsys.readouterr().err
        assert "install both again, from one index" in said, said
        assert said.count("\n") == 1
    for name in ("menagerie-resnett", "resnet18"):
        with pytest.raises(ImportError, match="does not import beside this torch .*nms does not exist"):
            models.load(name)


def test_the_doctor_sees_a_torchvision_of_another_torch(another_torchvision):
    finding = doctor.torchvision_found()
    assert finding.found.endswith("(operator torchvision::nms does not exist)")
    assert "from one index" in finding.advice


def test_the_doctor_sees_a_missing_front_end(monkeypatch):
    monkeypatch.setattr(doctor, "_front_end", {"anywidget": "0.11.0"}.get)
    finding = doctor.widgets()
    assert finding.fatal
    assert "--force-reinstall ipywidgets," in finding.advice


@pytest.mark.parametrize(
    ("wanted", "cuda", "fatal"), [("cuda", False, True), ("tpu", False, True), ("cpu", False, False)]
)
def test_the_doctor_checks_the_kernels_device(monkeypatch, wanted, cuda, fatal):
    import torch

    monkeypatch.setenv("XAI_LESSONS_DEVICE", wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    finding = doctor.device()
    assert (finding.fatal and bool(finding.advice)) == fatal


def test_the_doctor_says_how_much_memory_of_the_gpu_is_free(monkeypatch):
    import torch

    monkeypatch.delenv("XAI_LESSONS_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(6.04e9), int(8e9)))
    assert doctor.device().found.startswith("A card, 6.0 of 8.0 GB free (and ")


def test_the_doctor_counts_downloaded_weights(monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("XAI_LESSONS_WEIGHTS", raising=False)
    assert "prefetch" in doctor.cached_weights().advice
    (tmp_path / "checkpoints").mkdir()
    for number in range(8):
        (tmp_path / "checkpoints" / f"net{number}.pth").write_bytes(b"0" * 10)
    finding = doctor.cached_weights()
    assert finding.advice == ""
    assert finding.found.startswith("8 files")
    assert "and 2 more" in finding.found


def test_the_doctor_says_what_the_folder_of_weights_holds(monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(tmp_path))
    assert "prefetch" in doctor.cached_weights().advice
    assert "no network of the lessons" in doctor.cached_weights().found
    (tmp_path / "resnet18-f37072fd.pth").touch()
    finding = doctor.cached_weights()
    assert finding.found.startswith(f"resnet18 in {tmp_path} (XAI_LESSONS_WEIGHTS)")
    assert not finding.advice
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(tmp_path / "gone"))
    finding = doctor.cached_weights()
    assert "no such folder" in finding.found
    assert finding.advice.startswith("plug it in")
    assert not finding.fatal


def test_the_doctor_knows_where_cifar10_is(monkeypatch, tmp_path):
    monkeypatch.delenv("XAI_LESSONS_CIFAR10", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    missing = doctor.cifar10()
    assert (missing.found, missing.fatal) == ("not here", False)
    assert "xai-lessons prefetch cifar10" in missing.advice
    monkeypatch.setenv("XAI_LESSONS_CIFAR10", str(tmp_path))
    assert doctor.cifar10().found == f"{tmp_path} does not hold CIFAR-10"
    assert "check XAI_LESSONS_CIFAR10" in doctor.cifar10().advice
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    assert (doctor.cifar10().found, doctor.cifar10().advice) == (f"in {tmp_path}", "")


def test_the_doctor_finds_the_networks_and_the_lessons(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "WEIGHTS", tmp_path / "weights")
    assert doctor.networks().fatal
    assert doctor.networks().advice
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "menagerie-resnet.json").write_text("{}")
    assert doctor.networks().found == "1 networks: menagerie-resnet"
    (tmp_path / "01_classification.ipynb").write_text("first")
    (tmp_path / "picture.png").write_text("not a lesson")
    monkeypatch.setattr(lab, "lessons_folder", lambda: tmp_path)
    assert doctor.lessons().found == f"1 notebooks in {tmp_path}"
