"""MistakesExplorer: which pictures two networks get wrong, on hand-made pictures and answers."""

import numpy as np
import pytest
import torch
from torch import nn

from sweep import check_code, sweep
from xai_lessons import models
from xai_lessons.data import datasets
from xai_lessons.explorers import MistakesExplorer
from xai_lessons.explorers.mistakes import ALONE, BOTH, RIGHT, SHOWN, WRONG

CLASSES = ("cat", "dog", "ship")


def small_network(seed: int, name: str, classes: tuple[str, ...] = CLASSES) -> models.Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        net = nn.Sequential(layers, nn.Linear(24, len(classes)))
        nn.init.normal_(net[1].weight, std=4.0)
    return models.wrap(net, classes, input_size=16, name=name)


@pytest.fixture(scope="module")
def pictures() -> datasets.Pictures:
    images = torch.randint(0, 256, (90, 3, 16, 16), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    return datasets.Pictures(images, torch.arange(90) % 3, CLASSES)


@pytest.fixture(scope="module")
def networks() -> list[models.Classifier]:
    return [small_network(0, "small-one"), small_network(1, "small-two")]


def certain(*answers: int) -> torch.Tensor:
    """Answers with falling confidence."""
    p = torch.full((len(answers), 3), 0.0)
    for n, answer in enumerate(answers):
        p[n] = 0.05 + 0.01 * n
        p[n, answer] = 1 - 2 * (0.05 + 0.01 * n)
    return p


@pytest.fixture
def known(networks):
    """Six pictures whose answers are written down: cat cat dog dog ship ship."""
    few = datasets.Pictures(torch.zeros(6, 3, 16, 16), torch.tensor([0, 0, 1, 1, 2, 2]), CLASSES)
    answers = {"small-one": certain(0, 1, 1, 0, 2, 0), "small-two": certain(0, 0, 1, 2, 0, 0)}
    return MistakesExplorer(few, networks, answers=answers)


def test_every_control_changes_what_it_says(pictures, networks):
    explorer = MistakesExplorer(pictures, networks)
    sweep(explorer)
    assert explorer.state == explorer.initial


@pytest.mark.parametrize(
    ("changes", "index"),
    [
        ({}, [1, 3, 5]),
        ({"surest": False}, [5, 3, 1]),
        ({"which": ALONE}, [1]),
        ({"which": BOTH}, [3, 5]),
        ({"which": RIGHT}, [0, 2, 4]),
        ({"truth": "dog"}, [3]),
        ({"said": "cat"}, [3, 5]),
        ({"truth": "ship", "said": "cat"}, [5]),
        ({"truth": "cat", "said": "ship"}, []),
        ({"network": "small-two", "which": WRONG}, [3, 4, 5]),
        ({"network": "small-two", "which": ALONE}, [4]),
        ({"page": 7}, [1, 3, 5]),
    ],
)
def test_the_pictures_are_those_asked_for_surest_first(known, changes, index):
    result = known.set(**changes)
    assert result.index.tolist() == index
    assert result.found == len(index)


def test_the_matrix_and_the_sentence_count_the_pictures(known):
    assert known.result.counts.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    said = known.describe(known.result, known.state)
    assert said == "small-one: in 3 of 6 pictures it is wrong. Those that it is surest of come first."
    known.set(truth="dog", said="cat")
    told = known.describe(known.result, known.state)
    assert told == "small-one: in 1 of 6 pictures the truth is dog, it says cat and it is wrong."


def test_the_pictures_are_told_with_both_answers(known):
    *tiles, matrix = known.panels(known.result, known.state)
    assert "cat (one: 88% dog ✗; two: 88% cat ✓)" in [tile.alt for tile in tiles]
    assert "right on 50.0% of 6 pictures" in matrix.alt
    assert matrix.caption == "Shown: 1 to 3 of 3."
    known.set(truth="cat", said="ship")
    (matrix,) = known.panels(known.result, known.state)
    assert matrix.caption == "There is no such picture."


def test_the_next_six_go_round(pictures, networks):
    explorer = MistakesExplorer(pictures, networks)
    first = explorer.result.index.tolist()
    pages = -(-explorer.result.found // SHOWN)
    seen = list(first)
    for _ in range(pages - 1):
        explorer.press("more").done.wait(30)
        seen += explorer.result.index.tolist()
    *_, matrix = explorer.panels(explorer.result, explorer.state)
    last = explorer.result.found
    assert matrix.caption == f"Shown: {SHOWN * (pages - 1) + 1} to {last} of {last}."
    assert len(seen) == len(set(seen)) == explorer.result.found
    explorer.press("more").done.wait(30)
    assert explorer.result.index.tolist() == first


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"which": ALONE, "truth": "cat"},
        {"which": BOTH, "said": "dog", "surest": False},
        {"which": RIGHT, "page": 1},
    ],
)
def test_the_shown_code_finds_the_same_pictures(pictures, networks, changes):
    check_code(MistakesExplorer(pictures, networks, **changes))


def test_where_it_looked_is_the_grad_cam_of_its_answer(pictures, networks):
    from xai_lessons.methods import cam

    explorer = MistakesExplorer(pictures, networks, looked=True)
    result = explorer.result
    n = int(result.index[0])
    expected = cam.grad_cam(networks[0], pictures.images[n].float() / 255)
    assert np.allclose(result.maps[0], expected.numpy(), atol=1e-5)


def test_networks_of_other_classes_or_only_one_are_refused(pictures, networks):
    other = small_network(2, "other", ("yes", "no"))
    for given in ([networks[0], other], networks[:1], [networks[0], networks[0]]):
        with pytest.raises(ValueError, match="expected two networks of the classes cat, dog, ship, got "):
            MistakesExplorer(pictures, given)
