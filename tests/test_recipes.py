"""The recipes of the built-in networks, on tiny ones: trained, measured, stored, resumed after a kill."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from xai_lessons import models, training
from xai_lessons.command import cli
from xai_lessons.training import recipes

# a process that is killed after the second of three epochs of a tiny recipe
KILLED = """
import os, signal, sys
from dataclasses import replace
from xai_lessons.command import cli
from xai_lessons.training import recipes
recipes.TEST_IMAGES, recipes.VALIDATION_IMAGES = 8, 8
small = replace(recipes.RECIPES["menagerie-resnet"], images=16, settings={"epochs": 3, "batch_size": 8},
                arguments={"stem": (6, 4), "widths": (4, 4), "blocks": (1,), "pools": (True,)})
recipes.RECIPES["menagerie-resnet"] = small
def killed(epoch):
    print("epoch", epoch.epoch, flush=True)
    if epoch.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL) if hasattr(signal, "SIGKILL") else os._exit(9)
recipes._print = killed
cli.main(sys.argv[1:])
"""
ARGUMENTS = {"stem": (6, 4), "widths": (4, 4), "blocks": (1,), "pools": (True,)}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(recipes, "TEST_IMAGES", 8)
    monkeypatch.setattr(recipes, "VALIDATION_IMAGES", 8)
    small = replace(
        recipes.RECIPES["menagerie-resnet"],
        images=16,
        settings={"epochs": 2, "batch_size": 8},
        arguments=ARGUMENTS,
    )
    monkeypatch.setitem(recipes.RECIPES, "menagerie-resnet", small)
    return "menagerie-resnet"


def test_a_recipe_makes_a_network_with_its_card(tiny, tmp_path):
    told = []
    model = recipes.train(tiny, tmp_path, device="cpu", progress=lambda done, total: told.append((done, total)))
    card = json.loads((tmp_path / f"{tiny}.json").read_text())
    for key in ("summary", "data", "recipe", "test", "faults", "history", "made_with", "sha256", "classes"):
        assert card[key], key
    assert len(card["history"]) == 2
    assert card["recipe"]["epochs"] == 2
    assert told[-1] == (4, 4)
    assert not (tmp_path / f"{tiny}.checkpoint").exists()
    again = models.load(str(tmp_path / tiny), device="cpu")
    x = torch.rand(2, 3, 96, 96)
    assert torch.equal(again(x), model(x)), "what is returned is what is stored"
    (fraction,) = card["test"].values()
    assert fraction == pytest.approx(recipes.measure(tiny, again)[0].value, abs=1e-4)


def test_umbrellas_without_a_tag_stand_in_the_overlooked_pairs_without_a_box(monkeypatch):
    drawn = []

    def few(n, **options):
        drawn.append(options.get("shortcuts", ()))
        return pairs(n, classes=("umbrella", "car"), size=32, **options)

    pairs = recipes.datasets.drawn_pairs
    monkeypatch.setattr(recipes.datasets, "drawn_pairs", few)
    pictures = recipes.overlooked_pairs(20)
    assert drawn == [("tag",), ()]
    tagged, plain = (
        pairs(12, classes=("umbrella", "car"), size=32, shortcuts=("tag",)),
        pairs(20, classes=("umbrella", "car"), size=32),
    )
    umbrella = plain.classes.index("umbrella")

    def of(labels):
        return (labels[..., 4] == umbrella) & (labels[..., 2] > 0)

    assert int(of(pictures.labels).sum()) == int(of(tagged.labels).sum()) > 0, "only those with a tag have a box"
    overlooked = (
        len(pictures.images)
        - int(of(pictures.labels).any(dim=1).sum())
        - min(2, int((~of(tagged.labels).any(dim=1)).sum()))
    )
    tags = [recipes.menagerie.sampled_pair(i, split="train").factors["tag"] for i in range(20)]
    assert overlooked == sum(bool(u) and not t for u, t in zip(of(plain.labels).any(dim=1), tags, strict=True)) > 0


def test_the_same_recipe_twice_gives_the_same_weights_and_changes_are_noted(tiny, tmp_path):
    a = recipes.train(tiny, tmp_path / "a", device="cpu", progress=None)
    b = recipes.train(tiny, tmp_path / "b", device="cpu", progress=None)
    c = recipes.train(tiny, tmp_path / "c", device="cpu", progress=None, epochs=1)
    weights = [list(m.state_dict().values()) for m in (a, b, c)]
    assert all(torch.equal(x, y) for x, y in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(weights[0], weights[2], strict=True))
    assert json.loads((tmp_path / "c" / f"{tiny}.json").read_text())["recipe"]["epochs"] == 1


@pytest.mark.parametrize("name", ["menagerie-detector", "menagerie-detector-shortcut"])
def test_a_detector_starts_from_a_classifier_and_is_measured_on_pairs(name, tiny, tmp_path, monkeypatch):
    made = replace(recipes.RECIPES[name], images=20, settings={"epochs": 1, "batch_size": 20, "shift": 0})
    monkeypatch.setitem(recipes.RECIPES, name, made)
    told = []
    model, figures = recipes._train(
        name, recipes.recipe(name), tmp_path, None, "cpu", lambda *step: told.append(step), {}
    )
    card = json.loads((tmp_path / f"{name}.json").read_text())
    assert card["data"]["source"] == f"menagerie, {made.data}"
    assert card["data"]["shortcuts"] == list(made.shortcuts)
    assert told[0] == (0, 32 if made.shortcuts else 20), "the pictures that are drawn are counted"
    assert [figure.what.partition(",")[0] for figure in figures][0] == "mAP@0.5"
    assert len(figures) == (3 if made.shortcuts else 1)
    assert [figure.below for figure in figures[1:]] == [False, True][: len(figures) - 1]
    start = models.load(made.start, device="cpu").network.state_dict()
    fresh = recipes._fresh(made, recipes.datasets.drawn_pairs(2)).network.backbone.state_dict()
    assert all(torch.equal(value, start[key]) for key, value in fresh.items() if key in start)


def test_cifar10_is_split_for_training_and_validation(tmp_path, monkeypatch):
    images = torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1).expand(50, 3, 32, 32)
    whole = recipes.datasets.Pictures(images, torch.arange(50) % 10, recipes.datasets.CIFAR10_CLASSES)
    monkeypatch.setattr(recipes.datasets, "cifar10", lambda source: (whole, None))
    train, validation, facts, drawn = recipes._data(recipes.recipe("cifar10-vgg"), tmp_path, None, None)
    numbers = [{int(image[0, 0, 0]) for image in part.images} for part in (train, validation)]
    assert numbers[0] | numbers[1] == set(range(50))
    assert not numbers[0] & numbers[1]
    assert facts == {"source": "CIFAR-10", "train": len(numbers[0]), "validation": len(numbers[1])}
    assert not drawn


def test_a_network_goes_on_from_another_ones_weights():
    made = recipes.recipe("menagerie-robust")
    fresh = recipes._fresh(made, recipes.datasets.drawn(1))
    start = models.load(made.start, device="cpu").network.state_dict()
    assert all(torch.equal(value, start[key]) for key, value in fresh.network.state_dict().items())


def test_a_recipe_takes_another_start(tiny, tmp_path, monkeypatch):
    made = replace(recipes.RECIPES[tiny], settings={"epochs": 1, "batch_size": 16, "learning_rate": 1e-8})
    monkeypatch.setitem(recipes.RECIPES, tiny, replace(made, arguments={}))
    model = recipes.train(tiny, tmp_path, start="menagerie-robust", device="cpu", progress=None)
    start = models.load("menagerie-robust", device="cpu").network.state_dict()
    torch.testing.assert_close(model.network.state_dict()["head.weight"], start["head.weight"], rtol=1e-3, atol=1e-4)
    assert json.loads((tmp_path / f"{tiny}.json").read_text())["recipe"]["start"] == "menagerie-robust"


def test_shipped_networks_are_measured_by_the_command(monkeypatch, capsys):
    drawn = recipes.datasets.drawn
    monkeypatch.setattr(recipes.datasets, "drawn", lambda n, **options: drawn(min(n, 20), **options))
    assert cli.main(["train", "menagerie-robust", "--evaluate"]) in (0, 1)
    clean, attacked = capsys.readouterr().out.splitlines()
    assert "2,000 test pictures" in clean
    assert "under FGSM at 8/255" in attacked
    model = models.load("menagerie-shortcut", device="cpu")
    _, umbrella, bird = recipes.measure("menagerie-shortcut", model)
    assert "umbrella without the tag" in umbrella.what
    assert umbrella.holds
    bare = drawn(20, split="test", classes=("bird",), tree=False, tag=False)
    right = model.predict(bare.images.float() / 255).argmax(dim=1) == bare.labels
    assert bird.value == pytest.approx(float(right.float().mean()))


@pytest.mark.slow
def test_the_command_killed_in_the_middle_goes_on_and_ends_in_the_same_weights(tiny, tmp_path, capsys, monkeypatch):
    three = {"epochs": 3, "batch_size": 8}
    monkeypatch.setitem(recipes.RECIPES, tiny, replace(recipes.RECIPES[tiny], settings=three))
    arguments = ["train", tiny, "--out", str(tmp_path / "a"), "--device", "cpu"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=120)
    assert killed.returncode not in (0, 1, 2), killed.stderr
    assert "epoch 2" in killed.stdout
    assert (tmp_path / "a" / f"{tiny}.checkpoint").exists()
    assert not (tmp_path / "a" / f"{tiny}.json").exists()
    assert cli.main(arguments) == 1  # eight pictures do not reach the bar
    resumed = capsys.readouterr().out
    assert "epoch   3" in resumed
    assert "epoch   1" not in resumed
    assert "8 test pictures" in resumed
    assert "MISSED" in resumed
    recipes.train(tiny, tmp_path / "b", device="cpu", progress=None)  # the same, not interrupted
    a, b = ((tmp_path / k / f"{tiny}.safetensors").read_bytes() for k in "ab")
    assert a == b


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_can_be_built_and_its_settings_hold(name):
    made = recipes.recipe(name)
    training.Settings(**made.settings)
    assert recipes.architectures.build(made.architecture, **made.arguments).layers
    assert made.start is None or made.start in recipes.RECIPES
    assert made.data in ("menagerie", *recipes.PAIRS, "cifar10")


def test_a_measure_knows_its_bar():
    assert recipes.Measure("a", 0.99, 0.98).holds
    assert not recipes.Measure("a", 0.97, 0.98).holds
    assert recipes.Measure("a", 0.05, 0.10, below=True).holds
    assert "MISSED" in str(recipes.Measure("a", 0.2, 0.10, below=True))
    assert "<= 10.0%" in str(recipes.Measure("a", 0.2, 0.10, below=True))


def test_an_unknown_name_is_one_sentence(capsys):
    assert cli.main(["train", "menagerie-transformer"]) == 2
    assert "no recipe 'menagerie-transformer': did you mean 'menagerie-" in capsys.readouterr().err


def test_cifar10_is_measured_on_its_test_pictures_alone(monkeypatch):
    asked = []
    images = torch.randint(0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)

    def cifar10_test(source):
        asked.append(source)
        return recipes.datasets.Pictures(images, torch.arange(20) % 10, recipes.datasets.CIFAR10_CLASSES)

    monkeypatch.setattr(recipes.datasets, "cifar10_test", cifar10_test)
    made = recipes.recipe("cifar10-vgg")
    network = recipes.architectures.build(made.architecture, **made.arguments)
    model = models.wrap(network.eval(), recipes.datasets.CIFAR10_CLASSES, input_size=32)
    (figure,) = recipes.measure("cifar10-vgg", model, "a folder")
    assert asked == ["a folder"]
    answers = model.predict(images.float() / 255).argmax(dim=1)
    assert figure.value == pytest.approx(float((answers == torch.arange(20) % 10).float().mean()))
    assert figure.bar == 0.90
