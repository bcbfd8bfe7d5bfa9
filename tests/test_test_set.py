"""Evaluation on a test set: confusion, calibration, shared mistakes, by hand."""

import pytest
import torch
from torch import nn

from xai_lessons import models
from xai_lessons.data import datasets
from xai_lessons.training import test_set

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


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
