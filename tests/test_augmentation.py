"""What is done to pictures before training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xai_lessons.core.inputs import generator
from xai_lessons.training.augmentation import adversarial, augment, pixels


def test_bytes_become_floats_and_floats_stay():
    assert pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]
    x = torch.rand(2)
    assert pixels(x) is x


def test_nothing_asked_nothing_done():
    x = torch.rand(3, 3, 8, 8)
    assert torch.equal(augment(x, False, 0, 0, generator(0)), x)


def test_about_half_are_mirrored_and_the_others_left():
    x = torch.rand(200, 3, 4, 4)
    y = augment(x, True, 0, 0, generator(0))
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(y == x).flatten(1).all(1))
    assert 70 < mirrored.sum() < 130


def test_a_shift_moves_each_picture_by_itself_and_repeats_the_edge():
    x = torch.rand(50, 3, 9, 9)
    y = augment(x, False, 2, 0, generator(1))
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    moves = set()
    for before, after in zip(padded, y, strict=True):
        fits = [(i, j) for i in range(5) for j in range(5) if torch.equal(before[:, i : i + 9, j : j + 9], after)]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) > 10


@pytest.mark.parametrize("size", [1, 3])
def test_a_square_is_blanked_with_gray(size):
    y = augment(torch.zeros(40, 3, 8, 8), False, 0, size, generator(0))
    blank = (y == 0.5).all(1)
    assert blank.flatten(1).sum(1).max() == size * size  # less where it reaches over the edge
    assert torch.equal(y, blank[:, None].expand_as(y) * 0.5)


def test_the_colors_of_some_pictures_change_places():
    x = torch.rand(200, 3, 4, 4)
    y = augment(x, False, 0, 0, generator(0), recolor=0.6)
    assert torch.equal(x.sort(dim=1).values, y.sort(dim=1).values)
    same = (y == x).flatten(1).all(1)
    assert 70 < same.sum() < 130, "0.4 are left, and of the others each sixth"
    orders = [tuple(torch.cdist(a.flatten(1), b.flatten(1)).argmin(1).tolist()) for a, b in zip(x, y, strict=True)]
    assert len(set(orders)) == 6


def test_the_same_generator_gives_the_same_pictures():
    x = torch.rand(8, 3, 8, 8)
    assert torch.equal(augment(x, True, 2, 2, generator(4)), augment(x, True, 2, 2, generator(4)))
    assert not torch.equal(augment(x, True, 2, 2, generator(4)), augment(x, True, 2, 2, generator(5)))


def test_the_attack_raises_the_loss_within_epsilon():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.rand(20, 3, 4, 4), torch.arange(20) % 3
    attacked = adversarial(model, x, y, 0.1, generator(0))
    assert (attacked - x).abs().max() <= 0.1 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert F.cross_entropy(model(attacked), y) > F.cross_entropy(model(x), y)
    assert not attacked.requires_grad
    assert all(p.grad is None for p in model.parameters())
