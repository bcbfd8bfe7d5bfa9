"""Outlines and colors of the drawn world."""

import math

import numpy as np
import pytest

from xai_lessons.data.menagerie import geometry, palette


def test_curve_passes_through_its_points():
    points = [[0, 0], [1, 0.5], [0.3, 1]]
    for closed in (True, False):
        drawn = geometry.curve(points, closed=closed, n=5)
        for point in points:
            assert np.abs(drawn - point).sum(axis=1).min() < 1e-12
    assert len(geometry.curve(points, n=5)) == 15
    assert len(geometry.curve(points, closed=False, n=5)) == 11


def test_curve_of_points_on_a_line_stays_on_it():
    drawn = geometry.curve([[0, 0], [1, 1], [2, 2], [3, 3]], closed=False)
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1], atol=1e-12)


def test_ellipse_has_its_radii_and_turns():
    x, y = (geometry.ellipse(1, 2, 3, 0.5, n=50) - (1, 2)).T
    np.testing.assert_allclose((x / 3) ** 2 + (y / 0.5) ** 2, 1)
    turned = geometry.ellipse(0, 0, 3, 0.5, rotation=math.pi / 2, n=4)
    np.testing.assert_allclose(turned[0], (0, 3), atol=1e-12)


def test_arc_ends_where_it_should():
    arc = geometry.ellipse(0, 0, 1, 1, start=0, end=math.pi / 2)
    np.testing.assert_allclose(arc[[0, -1]], [[1, 0], [0, 1]], atol=1e-12)


def test_rounded_box_fills_its_box_even_with_too_large_a_radius():
    for radius in (0.1, 9):
        box = geometry.rounded_box(-1, -0.5, 1, 0.5, radius)
        np.testing.assert_allclose([box.min(axis=0), box.max(axis=0)], [[-1, -0.5], [1, 0.5]], atol=1e-12)


def test_symmetric_is_its_own_mirror_image():
    outline = geometry.symmetric([[0, -1], [0.8, -0.2], [0.5, 0.6], [0, 1]])
    mirrored = outline * (-1, 1)
    distance = np.abs(outline[:, None] - mirrored[None]).sum(axis=2).min(axis=1)
    assert distance.max() < 1e-9


def test_tube_has_its_widths_and_a_round_end():
    limb = geometry.tube([[0, 0], [0, 1], [0, 2]], 0.4, 0.2)
    assert limb[0, 0] - limb[-1, 0] == pytest.approx(-0.4)
    assert limb[:, 1].max() == pytest.approx(2.1)


def test_mirror_twice_is_the_same():
    points = np.array([[1.0, 2], [3, 4]])
    np.testing.assert_array_equal(geometry.mirror(geometry.mirror(points)), points)


def test_colors_blend_and_stay_in_range():
    a, b = palette.rgb(255, 0, 0), palette.rgb(0, 0, 255)
    np.testing.assert_allclose(palette.mix(a, b, 0.25), (0.75, 0, 0.25))
    assert palette.lighter(a).sum() > a.sum()
    assert palette.darker(palette.WHITE).sum() < palette.WHITE.sum()
    rng = np.random.default_rng(0)
    for _ in range(50):
        color = palette.jitter(rng, palette.pick(rng, palette.BRIGHT), 0.5, 0.5, 0.5)
        assert color.min() >= 0
        assert color.max() <= 1
