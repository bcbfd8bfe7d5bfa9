"""Which ImageNet networks load without a download: from torch's cache, or from a folder that goes round in class."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from xai_lessons import models
from xai_lessons.command import cli
from xai_lessons.models import imagenet

NAME = "squeezenet1_1"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No network but what a test puts there, and no download."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(imagenet, "download", lambda *_: pytest.fail("it wanted to download"))
    monkeypatch.delenv("XAI_LESSONS_WEIGHTS", raising=False)


@pytest.fixture
def stick(tmp_path, monkeypatch):
    folder = tmp_path / "stick"
    folder.mkdir()
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", str(folder))
    return folder


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(NAME, weights=None).state_dict()


def test_those_in_the_cache_are_available_offline(tmp_path):
    assert imagenet.available_offline() == ()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for file in ("resnet18-f37072fd.pth", "squeezenet1_0-b66bff10.pth", "other.pth"):
        (tmp_path / "hub" / "checkpoints" / file).touch()
    assert imagenet.available_offline() == ("squeezenet1_0", "resnet18")


def test_those_in_the_named_folder_are_available_offline_as_well(tmp_path, stick):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    for file in ("squeezenet1_0.safetensors", "vgg16-397923af.pth", "resnet50.pth", "vgg19_bn-c79401a0.pth"):
        (stick / file).touch()
    assert imagenet.available_offline() == ("squeezenet1_0", "resnet18", "resnet50", "vgg16")


@pytest.mark.parametrize("file", [f"{NAME}.safetensors", f"{NAME}.pth", f"{NAME}-b8a52dc0.pth"])
def test_a_network_is_loaded_from_the_named_folder(stick, state, file):
    save_file(state, stick / file) if file.endswith("safetensors") else torch.save(state, stick / file)
    model = models.load(NAME, device="cpu")
    assert (model.name, len(model.classes)) == (NAME, 1000)
    assert torch.equal(model.network.state_dict()["classifier.1.bias"], state["classifier.1.bias"])


def test_weights_that_are_given_come_before_the_folder(tmp_path, stick, state):
    (stick / f"{NAME}.safetensors").write_bytes(b"damaged")
    save_file(state, tmp_path / "w.safetensors")
    assert models.load(NAME, weights=tmp_path / "w.safetensors", device="cpu").name == NAME


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x" * 100, "squeezenet1_1.safetensors is damaged or holds no weights"),
        (None, "squeezenet1_1.safetensors are not the weights of squeezenet1_1"),
    ],
)
def test_a_bad_file_in_the_folder_is_one_sentence(stick, content, says):
    file = stick / f"{NAME}.safetensors"
    save_file({"features.0.weight": torch.zeros(2)}, file) if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        models.load(NAME, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_one_sentence(stick, monkeypatch, capsys):
    stick.rmdir()
    for ask in (imagenet.available_offline, lambda: models.load(NAME, device="cpu")):
        with pytest.raises(ValueError, match=r"XAI_LESSONS_WEIGHTS names .*stick, and there is no such folder: plug"):
            ask()
    assert models.load("menagerie-resnet", device="cpu").name == "menagerie-resnet"
    cli.main(["doctor"])
    assert "no such folder" in capsys.readouterr().out


def test_without_the_variable_nothing_is_given(monkeypatch):
    assert imagenet.given_folder() is imagenet.given_file(NAME) is None
    monkeypatch.setenv("XAI_LESSONS_WEIGHTS", "")
    assert imagenet.given_folder() is None
