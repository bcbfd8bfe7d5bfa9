"""The canvas: color and exact identity."""

import math

import numpy as np
import pytest

from xai_lessons.data.menagerie.canvas import Canvas
from xai_lessons.data.menagerie.geometry import ellipse
from xai_lessons.data.menagerie.palette import rgb

RED, BLUE = rgb(255, 0, 0), rgb(0, 0, 255)
SQUARE = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]


def part_mask(canvas, part):
    return canvas.identity()[1] == (canvas.parts.index(part) if part in canvas.parts else -1)


def test_a_flat_shape_has_its_color_and_its_identity():
    canvas = Canvas(64)
    with canvas.element("object"):
        canvas.shape(SQUARE, "body", RED, ink=False, flat=True)
    colors, (owners, parts) = canvas.colors(), canvas.identity()
    np.testing.assert_allclose(colors[32, 32], RED)
    np.testing.assert_allclose(colors[4, 4], 0)
    assert owners[32, 32] == canvas.elements.index("object")
    assert owners[4, 4] == 0
    assert part_mask(canvas, "body").sum() == pytest.approx(32 * 32, rel=0.07)
    assert ((owners > 0) == (parts > 0)).all()


def test_light_comes_from_its_angle():
    canvas = Canvas(64, light=math.pi)  # from the left
    with canvas.element("object"):
        canvas.shape(SQUARE, "body", rgb(120, 120, 120), ink=False)
    row = canvas.colors()[32, 18:46].sum(axis=1)
    assert row[0] > row[-1] + 0.3


def test_contours_follow_the_style_and_count_as_the_part():
    sizes = {}
    for style in ("dark", "none"):
        canvas = Canvas(64, ink=style, ink_width=0.06)
        with canvas.element("object"):
            canvas.shape(SQUARE, "body", RED)
        sizes[style] = part_mask(canvas, "body").sum()
    assert sizes["dark"] > sizes["none"] + 200


def test_hidden_parts_are_left_out_of_everything():
    canvas = Canvas(48)
    with canvas.element("object", frozenset({"secret", "markings"})):
        canvas.shape(SQUARE, "secret", RED)
        canvas.group([(SQUARE, "secret", RED)])
        canvas.line([[0, 0], [1, 1]], "secret", RED)
        canvas.mark(SQUARE, "secret", RED)
        canvas.many([SQUARE], "secret", RED)
        canvas.spots(np.random.default_rng(0), (0, 0, 1, 1), RED, 0.1, 4)
    assert canvas.colors().max() == 0
    assert canvas.identity()[0].max() == 0
    assert canvas.hidden == frozenset()


def test_random_draws_do_not_depend_on_what_is_hidden():
    streams = []
    for hidden in (frozenset(), frozenset({"markings"})):
        rng, canvas = np.random.default_rng(5), Canvas(32)
        with canvas.element("object", hidden):
            canvas.spots(rng, (0, 0, 1, 1), RED, 0.1, 5)
            canvas.fur(rng, (0, 0, 1, 1), RED, 5)
        streams.append(rng.random())
    assert streams[0] == streams[1]


def test_clips_restrict_color_and_identity_and_nest():
    canvas = Canvas(64)
    with canvas.element("object"), canvas.clipped([[0, 0], [0.5, 0], [0.5, 1], [0, 1]]):
        with canvas.clipped([[0, 0], [1, 0], [1, 0.5], [0, 0.5]]):
            canvas.mark([[0, 0], [1, 0], [1, 1], [0, 1]], "inner", RED)
        canvas.line([[0.1, 0.8], [0.9, 0.8]], "line", BLUE, 0.05)
    inner, line = part_mask(canvas, "inner"), part_mask(canvas, "line")
    assert inner[:31, :31].all()
    assert not inner[34:].any()
    assert not inner[:, 34:].any()
    assert line.any()
    assert not line[:, 34:].any()
    assert canvas.colors()[51, 40].max() == 0


def test_tints_carry_no_identity_and_blur_softens():
    canvas = Canvas(64)
    with canvas.element("object"):
        canvas.tint(SQUARE, RED)
    assert canvas.identity()[0].max() == 0
    soft = Canvas(64)
    soft.tint(SQUARE, RED, blur=0.05)
    edge = [np.abs(np.diff(c.colors()[32, :, 0])).max() for c in (canvas, soft)]
    assert edge[1] < edge[0] / 2
    assert soft.colors()[32, 32, 0] > 0.9


def test_placement_nests_and_flips():
    canvas = Canvas(100)
    with canvas.element("object"), canvas.placed(0.5, 0.5, 0.5), canvas.placed(0, 0, 1, 0, flip=True):
        canvas.mark(ellipse(0.6, 0, 0.1, 0.1), "dot", RED)
    y, x = np.nonzero(part_mask(canvas, "dot"))
    assert x.mean() == pytest.approx(20, abs=1.5)
    assert y.mean() == pytest.approx(50, abs=1.5)


def test_rotation_is_clockwise():
    canvas = Canvas(100)
    with canvas.element("object"), canvas.placed(0.5, 0.5, 0.5, math.pi / 2):
        canvas.mark(ellipse(0.6, 0, 0.1, 0.1), "dot", RED)
    y, x = np.nonzero(part_mask(canvas, "dot"))
    assert y.mean() == pytest.approx(80, abs=1.5)
    assert x.mean() == pytest.approx(50, abs=1.5)


def test_what_lies_outside_the_image_is_harmless():
    canvas = Canvas(32)
    with canvas.element("object"), canvas.placed(5, 5):
        canvas.shape(SQUARE, "body", RED)
        canvas.line([[0, 0], [1, 1]], "line", RED, alpha=0.5)
        canvas.tint(SQUARE, RED, 0.5, blur=0.02)
        with canvas.clipped(SQUARE):
            canvas.mark(SQUARE, "mark", RED)
    canvas.gradient(np.array(SQUARE) + 3, RED, BLUE)
    assert canvas.colors().max() == 0


def test_gradients_run_from_top_to_bottom():
    canvas = Canvas(32)
    canvas.gradient([[0, 0], [1, 0], [1, 1], [0, 1]], RED, BLUE)
    colors = canvas.colors()
    assert colors[1, 16, 0] > 0.9
    assert colors[30, 16, 2] > 0.9
    assert (np.diff(colors[:, 16, 2]) >= 0).all()


def test_an_element_ends_even_when_drawing_fails():
    canvas = Canvas(32)
    item = canvas.element("object", frozenset({"x"}))
    with pytest.raises(RuntimeError), item, canvas.placed(1, 1), canvas.clipped(SQUARE):
        raise RuntimeError
    canvas.shape(SQUARE, "body", RED, flat=True, ink=False)
    np.testing.assert_allclose(canvas.colors()[16, 16], RED)
    assert canvas.identity()[0].max() == 0
    assert canvas.hidden == frozenset()
