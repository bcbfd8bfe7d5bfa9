"""What is done to images: turns, shifts, brightness, noise, painted masks."""

import numpy as np
import pytest
import torch

from xai_lessons import menagerie
from xai_lessons.data.interventions import intervene, painted_mask

IMAGE = menagerie.draw("cat", 1).image


def test_nothing_done_leaves_the_image():
    assert torch.equal(intervene(IMAGE), IMAGE)


def test_a_half_turn_is_two_flips():
    assert torch.allclose(intervene(IMAGE, turn=180), IMAGE.flip(1, 2), atol=1e-4)


def test_a_quarter_turn_is_clockwise():
    assert torch.allclose(intervene(IMAGE, turn=90), IMAGE.rot90(-1, (1, 2)), atol=1e-4)


def test_shifts_go_right_and_down():
    moved = intervene(IMAGE, shift=(0.25, 0.125))
    assert torch.allclose(moved[:, 12:, 24:], IMAGE[:, :-12, :-24], atol=1e-4)


def test_turn_and_shift_turn_first():
    both = intervene(IMAGE, turn=90, shift=(0.25, 0.0))
    assert torch.allclose(both[:, :, 24:], intervene(IMAGE, turn=90)[:, :, :-24], atol=1e-3)


def test_upside_down_brighter_and_clipped():
    assert torch.equal(intervene(IMAGE, upside_down=True), IMAGE.flip(1))
    assert torch.allclose(intervene(IMAGE, brighten=0.2), (IMAGE + 0.2).clamp(0, 1))
    assert intervene(IMAGE, brighten=1.0).max() == 1


def test_noise_is_always_the_same_has_its_size_and_leaves_the_global_state():
    gray = torch.full((3, 96, 96), 0.5)
    state = torch.get_rng_state()
    noisy = intervene(gray, noise=0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(noisy, intervene(gray, noise=0.1))
    assert (noisy - gray).std() == pytest.approx(0.1, rel=0.02)


def test_the_noise_on_the_screen_is_the_noise_that_the_network_sees():
    small, large = (intervene(torch.full((3, s, s), 0.5), noise=0.1, grain=24) for s in (24, 96))
    assert torch.equal(large, small.repeat_interleave(4, 1).repeat_interleave(4, 2))


def test_dots_and_rectangles_are_where_they_are_painted():
    mask = painted_mask(20, [(0.25, 0.75, 0.1)])
    assert mask[15, 5]
    assert not mask[5, 15]
    assert mask.float().mean() == pytest.approx(np.pi * 0.1**2, rel=0.35)
    box = painted_mask(20, box=(0.5, 0.0, 0.25, 0.1))
    assert box.sum() == 5 * 2
    assert box[:2, 10:15].all()
    assert not painted_mask(20).any()
