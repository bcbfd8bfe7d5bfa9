"""Evaluation on a test set: confusion, calibration, shared mistakes, by hand; and the shipped networks on CIFAR-10."""

import json

import pytest
import torch
from torch import nn

from xai_lessons import models
from xai_lessons.data import datasets
from xai_lessons.models import architectures as networks
from xai_lessons.models import store
from xai_lessons.training import test_set
from xai_lessons.training.test_set import Evaluation, Report

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
SHIPPED = pytest.mark.skipif(
    not set(test_set.NETWORKS) <= set(store.built_in()), reason="the networks of CIFAR-10 are not in weights/"
)


def sure_of(answers: list[int], how: float = 0.8, k: int = 3) -> torch.Tensor:
    p = torch.full((len(answers), k), (1 - how) / (k - 1))
    p[range(len(answers)), answers] = how
    return p


def test_an_evaluation_by_hand():
    found = test_set.summarize(sure_of([0, 1, 1, 1, 2, 0]), LABELS)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.by_class == pytest.approx([0.5, 1.0, 0.5])
    assert found.reliability.pictures == [6]
    assert found.reliability.expected_calibration_error == pytest.approx(0.8 - 4 / 6, abs=1e-6)


def test_a_class_without_pictures_is_not_divided_by_nothing():
    assert test_set.summarize(sure_of([0, 0]), torch.tensor([0, 0])).by_class == [1.0, 0.0, 0.0]


def test_most_confused_counts_both_ways_and_leaves_out_what_is_right():
    confusion = torch.tensor([[90, 3, 7], [4, 95, 1], [8, 0, 92]])
    pairs = test_set.most_confused(confusion, ("cat", "dog", "ship"))
    assert pairs == [("cat", "ship", 15), ("cat", "dog", 7), ("dog", "ship", 1)]
    assert test_set.most_confused(confusion, ("cat", "dog", "ship"), 1) == pairs[:1]


def test_the_contingency_table_by_hand():
    first, second = sure_of([0, 1, 1, 1, 2, 0]), sure_of([0, 1, 0, 1, 0, 0])
    # wrong: first on 1 and 5, second on 1, 2, 4 and 5
    assert test_set.contingency(first, second, LABELS).tolist() == [[2, 0], [2, 2]]


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))
    return models.wrap(net, datasets.CIFAR10_CLASSES, input_size=32)


def test_predictions_of_many_images_are_those_of_each(model):
    images = torch.randint(0, 256, (7, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    told = []
    p = test_set.predict(model, images, batch_size=3, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert torch.allclose(p, model.predict(images.float() / 255), atol=1e-6)
    assert torch.allclose(p, test_set.predict(model, images.float() / 255), atol=1e-6)
    with pytest.raises(ValueError, match="at least one image"):
        test_set.predict(model, images[:0])


@pytest.fixture
def saved(tmp_path):
    """Two tiny untrained networks of CIFAR-10, by their paths."""
    names = []
    for seed, architecture in enumerate(("ResNet", "Vgg")):
        shape = {"ResNet": networks.CIFAR_RESNET | {"widths": (4, 4, 4, 4), "blocks": (1, 1, 1)}}
        arguments = shape.get(architecture, networks.CIFAR_VGG | {"stages": ((4,), (4,), (4,)), "hidden": 4})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = networks.build(architecture, **arguments)
        made = models.wrap(net, datasets.CIFAR10_CLASSES, (0.5,) * 3, (0.25,) * 3, 32)
        card = {"architecture": architecture, "arguments": arguments}
        names.append(str(models.save(made, tmp_path / f"net-{seed}", card)))
    return names


@pytest.fixture
def pictures():
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return datasets.Pictures(images, torch.arange(40) % 10, datasets.CIFAR10_CLASSES)


def test_what_is_measured_is_what_is_stored_and_printed(saved, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(test_set.datasets, "cifar10_test", lambda source: pictures)
    monkeypatch.setattr(test_set.measure, "__defaults__", (saved, None))
    path = tmp_path / "report.json"
    test_set.main(["--source", "anywhere"], path)
    report = test_set.stored(path)
    for name, each in zip(saved, report.networks.values(), strict=True):
        p = test_set.predict(models.load(name), pictures.images)
        assert each.confusion.tolist() == test_set.summarize(p, pictures.labels).confusion.tolist()
        assert int(each.confusion.sum()) == 40
    assert int(report.contingency.sum()) == 40
    said = capsys.readouterr().out
    assert f"| **all** | **{report.networks['net-0'].accuracy:.2%}**" in said
    assert "| cat |" in said
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 90, "a row of the matrix stands on one line"
    assert json.loads(text)["networks"]["net-1"]["sha256"] == store.card(saved[1])["sha256"]


def test_networks_of_other_classes_are_refused(saved, pictures):
    with pytest.raises(ValueError, match="classes a, b, got .* of airplane"):
        test_set.measure(pictures._replace(classes=("a", "b")), saved)


def test_the_table_says_who_is_right_alone():
    each = Evaluation(torch.tensor([[3, 1], [0, 4]]), test_set.scoring.Reliability([0.9], [0.8], [8], 0.1))
    text = test_set.table(Report(("a", "b"), {"one": each, "two": each}, torch.tensor([[1, 2], [3, 4]])))
    assert "| a | 75.0% | 75.0% |" in text
    assert "one: most confused a and b 1. Expected calibration error 0.100." in text
    assert text.endswith("Both right 4, only one 3, only two 2, neither 1.")


@SHIPPED
def test_the_stored_figures_are_of_the_shipped_weights():
    report, facts = test_set.stored(), json.loads(test_set.STORED.read_text(encoding="utf-8"))
    assert report.classes == datasets.CIFAR10_CLASSES
    for name, each in report.networks.items():
        card = store.card(name)
        assert facts["networks"][name]["sha256"] == card["sha256"], "run python -m xai_lessons.training.test_set"
        assert each.confusion.sum(dim=1).tolist() == [1000] * 10
        (share,) = card["test"].values()
        assert each.accuracy == pytest.approx(share, abs=3e-4)
        assert sum(each.reliability.pictures) == 10_000
    (neither, second), (first, both) = report.contingency.tolist()
    resnet, vgg = (round(each.accuracy * 10_000) for each in report.networks.values())
    assert (first + both, second + both, neither + first + second + both) == (resnet, vgg, 10_000)


@pytest.fixture(scope="module")
def pictures_of_cifar10(some_of_cifar10):
    return datasets.cifar10_test(some_of_cifar10)


@SHIPPED
@pytest.mark.data
@pytest.mark.parametrize("name", test_set.NETWORKS)
def test_the_shipped_networks_know_cifar10(pictures_of_cifar10, name):
    images, labels, classes = pictures_of_cifar10
    assert len(labels) == 400
    assert classes == datasets.CIFAR10_CLASSES
    found = test_set.summarize(test_set.predict(models.load(name), images), labels)
    assert found.accuracy > 0.88
    stored = test_set.stored().networks[name].accuracy
    assert abs(found.accuracy - stored) < 4 * (stored * (1 - stored) / 400) ** 0.5


@SHIPPED
def test_the_docs_show_the_stored_figures(root):
    said = (root / "docs" / "cifar10.md").read_text(encoding="utf-8")
    assert test_set.table(test_set.stored()) in said
