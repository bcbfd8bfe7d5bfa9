"""Pictures and charts: values to colors, on scales that can be compared."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from xai_lessons import plots
from xai_lessons.plots.figures import GAP
from xai_lessons.plots.images import few_colors

RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("shape", [(3, 5, 7), (5, 7, 3), (5, 7), (1, 5, 7)])
def test_pixels_takes_every_layout(shape):
    picture = plots.pixels(np.full(shape, 0.5, np.float32))
    assert picture.shape == (5, 7, 3)
    assert picture.dtype == np.uint8
    assert (picture == 128).all()


def test_pixels_of_a_tensor_that_wants_a_gradient():
    assert plots.pixels(torch.ones(3, 4, 4, requires_grad=True)).min() == 255


def test_pixels_clips():
    assert plots.pixels(np.array([[-1.0, 2.0]])).ravel().tolist() == [0, 0, 0, 255, 255, 255]


def test_pixels_keeps_bytes():
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert plots.pixels(picture) is picture


def test_pixels_of_a_mask():
    assert plots.pixels(torch.eye(3, dtype=torch.bool))[..., 0].tolist() == (np.eye(3) * 255).tolist()


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((2, 3, 4, 4)), np.zeros((4, 4, 4))])
def test_pixels_refuses_what_is_no_picture(bad):
    with pytest.raises(ValueError, match="an image must have the shape"):
        plots.pixels(bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_not_painted(bad):
    array = RAMP.copy()
    array[2, 2] = bad
    for draw in (plots.pixels, plots.heatmap):
        with pytest.raises(ValueError, match="NaN or infinite"):
            draw(array)


@pytest.mark.parametrize("name", ["heat", "magma", "viridis", "gray"])
def test_color_maps_rise_in_lightness(name):
    light = plots.heatmap(np.linspace(0, 1, 256)[None], name)[0].astype(float) @ (0.2126, 0.7152, 0.0722)
    assert light[-1] - light[0] > 150
    assert (np.diff(light) > -1.5).all()  # bytes are rounded


def test_signed_colors_are_white_at_zero_blue_below_red_above():
    low, zero, high = plots.heatmap(np.array([[-2.0, 0.0, 1.0]]), "signed")[0].astype(int)
    assert zero.min() > 240
    assert low[2] > low[0]
    assert high[0] > high[2] + 50


def test_signed_colors_differ_for_who_sees_no_red():
    low, high = plots.heatmap(np.array([[-0.6, 0.6]]), "signed", (-1, 1))[0].astype(int)
    assert abs(int(low[2]) - int(high[2])) > 60  # the blue channel alone tells them apart


def test_unknown_colors_are_refused_with_the_names():
    with pytest.raises(ValueError, match="jet.*heat"):
        plots.heatmap(RAMP, "jet")


def test_heatmap_uses_the_scale_it_is_given():
    half = plots.heatmap(RAMP / 2, scale=(0, 1))
    assert not np.array_equal(half, plots.heatmap(RAMP))
    assert np.array_equal(plots.heatmap(RAMP / 2), plots.heatmap(RAMP))  # each on its own scale: the trap itself
    assert half.max() < 255


def test_an_empty_map_looks_empty():
    assert (plots.heatmap(np.zeros((4, 4))) == plots.heatmap(RAMP)[0, 0]).all()
    assert (plots.heatmap(np.zeros((4, 4)), "signed") > 240).all()


def test_heatmap_refuses_wrong_shapes_and_scales():
    with pytest.raises(ValueError, match="flatten"):
        plots.heatmap(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="low < high"):
        plots.heatmap(RAMP, scale=(1, 1))


def test_limits_are_shared_symmetric_and_never_empty():
    assert plots.limits(RAMP, 3 * RAMP) == (0.0, 3.0)
    assert plots.limits(RAMP, -2 * RAMP, signed=True) == (-2.0, 2.0)
    assert plots.limits(torch.full((2, 2), 4.0)) == (4.0, 5.0)
    assert plots.limits(np.zeros(3), signed=True) == (-1.0, 1.0)


def test_limits_clip_the_extremes():
    values = np.append(np.linspace(0, 1, 999), 1000.0)
    assert plots.limits(values, clip=0.01)[1] < 1.01
    lone = np.zeros(1000)
    lone[0] = 5
    assert plots.limits(lone, signed=True, clip=0.01) == (-5.0, 5.0)  # all but one are zero


def test_limits_of_nothing():
    with pytest.raises(ValueError, match="at least one map"):
        plots.limits()


def test_flatten_signed_and_absolute():
    attribution = torch.tensor([1.0, -3.0, 1.0]).view(3, 1, 1).expand(3, 2, 2)
    assert (plots.flatten(attribution) == -1).all()
    assert (plots.flatten(attribution, "absolute") == 3).all()
    assert (plots.flatten(-RAMP, "absolute") == RAMP).all()
    with pytest.raises(ValueError, match="sum.*absolute"):
        plots.flatten(attribution, "mean")
    with pytest.raises(ValueError, match="must have the shape"):
        plots.flatten(np.zeros(3))


def test_overlay_leaves_the_picture_where_there_is_nothing():
    picture = np.full((3, 16, 16), 0.5)
    values = np.zeros((16, 16))
    values[4, 4] = 1
    over = plots.overlay(picture, values)
    assert (over[0, 0] == 128).all()
    assert (over[4, 4] != 128).any()


def test_overlay_brings_the_map_to_the_picture():
    assert plots.overlay(np.zeros((3, 32, 32)), RAMP).shape == (32, 32, 3)


def test_overlay_opacity():
    picture = np.full((3, 8, 8), 0.5)
    assert np.array_equal(plots.overlay(picture, RAMP, 0.0), plots.pixels(picture))
    faint, strong = (np.abs(plots.overlay(picture, RAMP, o).astype(int) - 128).sum() for o in (0.2, 0.9))
    assert strong > 3 * faint


def test_overlay_of_a_signed_map_shows_both_signs():
    over = plots.overlay(torch.zeros(3, 1, 3), np.array([[-1.0, 0.0, 1.0]]), 1.0, "signed").astype(int)[0]
    assert over[1].max() == 0
    assert over[0, 2] > over[0, 0]
    assert over[2, 0] > over[2, 2]


def test_an_attribution_is_drawn_absolute_signed_or_positive():
    values = torch.zeros(3, 1, 4)
    values[0, 0, 1], values[1, 0, 1], values[2, 0, 2] = -2.0, 1.0, 1.0  # absolute 0 2 1 0, summed 0 -1 1 0
    assert np.array_equal(plots.attribution(values, scale=2.0), plots.heatmap([[0, 2, 1, 0]], scale=(0, 2)))
    signed = plots.attribution(values, "signed", scale=1.0)
    assert np.array_equal(signed, plots.heatmap([[0, -1, 1, 0]], "signed", (-1, 1)))
    positive = plots.attribution(values, "positive", scale=1.0)
    assert np.array_equal(positive, plots.heatmap([[0, 0, 1, 0]], scale=(0, 1)))
    below = np.full((1, 4, 3), 100, np.uint8)
    over = plots.attribution(values, "positive", over=below, scale=1.0)
    assert np.array_equal(over, plots.overlay(below, [[0, 0, 1, 0]], 0.9, scale=(0, 1)))
    assert plots.common_scale(values) == pytest.approx(15 * 3 / 4)
    assert plots.common_scale(values, "signed") == pytest.approx(15 * 2 / 4)
    assert plots.common_scale(torch.zeros(2, 2)) == 1.0
    with pytest.raises(ValueError, match="how must be"):
        plots.attribution(values, "size")


def test_enlarge_keeps_hard_edges_unless_smooth():
    small = np.zeros((2, 2))
    small[0, 0] = 1
    assert set(plots.enlarge(small, 8).ravel()) == {0, 255}
    assert len(set(plots.enlarge(small, 8, smooth=True).ravel())) > 2
    assert plots.enlarge(np.zeros((3, 10, 20)), 40).shape == (20, 40, 3)


def test_a_box_marks_a_copy():
    picture = np.zeros((30, 30, 3), np.uint8)
    assert plots.box(picture, (5, 5, 20, 20))[5, 10].min() == 255
    assert picture.max() == 0


def test_bars_grow_with_their_values():
    def orange(value):
        return (np.abs(plots.bars(["cat"], [value], marked=[0]).astype(int) - (213, 94, 0)).sum(2) < 3).sum()

    assert orange(0.2) < orange(0.5) < orange(1.0)
    assert orange(1.0) == orange(3.0)  # cut at a full bar


def test_bars_mark_and_remember():
    plain = plots.bars(["cat", "dog"], [0.7, 0.3])
    assert not np.array_equal(plain, plots.bars(["cat", "dog"], [0.7, 0.3], marked=[1]))
    assert not np.array_equal(plain, plots.bars(["cat", "dog"], [0.7, 0.3], before=[0.1, 0.9]))
    green = np.array([0, 158, 115])  # PALETTE[2], also for a place past its end
    assert (plots.bars(["cat", "dog"], [0.7, 0.3], colors=[0, 10]) == green).all(axis=2).any()
    assert not (plain == green).all(axis=2).any()
    assert plain.shape == (2 * 34 * 2, 2 * 384, 3)


def test_error_bars_are_as_wide_as_their_ends_say():
    def dark(errors):
        changed = plots.bars(["cat"], [0.5]) != plots.bars(["cat"], [0.5], errors=[errors])
        return np.ptp(changed.any(axis=(0, 2)).nonzero()[0]) if changed.any() else 0

    assert 1.9 < dark((0.3, 0.7)) / dark((0.4, 0.6)) < 2.1
    assert dark((math.nan, math.nan)) == 0


def test_bars_cut_long_names_and_count_them():
    assert plots.bars(["a name that never ends " * 9], [0.5]).shape[1] == 768
    with pytest.raises(ValueError, match="got 2 labels and 1 values"):
        plots.bars(["a", "b"], [1.0])


def test_curves_draw_each_line_and_break_at_nan():
    whole = plots.curves({"a": ([0, 1, 2, 3], [0, 1, 1, 0])})
    broken = plots.curves({"a": ([0, 1, 2, 3], [0, 1, np.nan, 0])})
    assert whole.shape == (600, 920, 3)
    assert not np.array_equal(whole, broken)
    two = plots.curves({"a": ([0, 1], [0, 1]), "b": ([0, 1], [1, 0])}, x_label="epoch", y_label="loss", marker=0.5)
    for color in ((0, 114, 178), (213, 94, 0)):
        assert (two == color).all(-1).sum() > 1000


@pytest.mark.parametrize("series", [{}, {"a": ([], [])}, {"a": ([1], [2])}, {"a": ([0, 1], [3, 3])}])
def test_curves_of_little(series):
    assert plots.curves(series).any()


def test_color_bar_runs_through_the_colors():
    bar = plots.color_bar((-1, 1), "signed", width=200)
    assert bar[10, 45, 2] > bar[10, 45, 0]
    assert bar[10, 350, 0] > bar[10, 350, 2]


def test_grid_places_every_picture():
    sheet = plots.grid([np.full((3, 4, 4), v) for v in (0.0, 0.5, 1.0)], ["a", "b"], columns=2, size=20, gap=4)
    assert sheet.shape == (2 * (20 + 24 + 4) + 4, 2 * 24 + 4, 3)
    assert sheet[4 + 24 + 10, 14].tolist() == [0, 0, 0]
    assert sheet[4 + 24 + 10, 38].tolist() == [128, 128, 128]
    with pytest.raises(ValueError, match="at least one image"):
        plots.grid([])


def test_few_colors_are_close_to_many():
    ramp = np.linspace(0, 255, 256)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128), axis=-1).astype(np.uint8)
    few = few_colors(Image.fromarray(image))
    assert len(few.getcolors()) <= 256
    off = np.abs(np.asarray(few.convert("RGB")).astype(int) - image)
    assert off.mean() < 8


def test_the_page_of_a_chart_stays_white():
    series = {name: (range(9), [k * x for x in range(9)]) for k, name in enumerate(("one", "two", "three"))}
    page = opened(plots.plot(series, "Three lines.", x_label="x", y_label="y").picture)
    assert page[1, 1].tolist() == [255, 255, 255]
    assert (page == 255).all(axis=2).mean() > 0.5


def test_jpeg_and_png_open_again():
    picture = plots.heatmap(RAMP, size=64)
    assert np.array_equal(opened(plots.png(picture)), picture)
    assert np.abs(opened(plots.jpeg(picture)).astype(int) - picture).mean() < 6


def test_jpeg_keeps_its_limit():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    assert len(plots.jpeg(noise, 40)) > 40_000 >= len(plots.jpeg(noise, most=40_000))


def test_a_figure_that_must_be_smaller_has_smaller_images_and_not_smaller_letters():
    noise = np.random.default_rng(0).random((3, 96, 96))
    widths, around = [], []
    for most in (10**6, 40_000):
        picture = opened(plots.show([noise] * 4, ["above"] * 4, "Below.", most=most).picture)
        widths.append(picture.shape[1])
        around.append(picture.shape[0] - ((widths[-1] - GAP) / 4 - GAP))  # what title and caption take of the height
    assert widths[1] < 0.8 * widths[0]
    assert around[0] == around[1]


def test_show_draws_pictures_and_caption():
    figure = plots.show([RAMP, RAMP], ["left", "right"], caption="Both rise to the right.")
    assert figure._repr_mimebundle_()["text/plain"] == "Figure: Both rise to the right."
    assert opened(figure.picture).shape[1] > 400
    assert figure.picture == plots.show([RAMP, RAMP], ["left", "right"], caption="Both rise to the right.").picture
    with pytest.raises(ValueError, match="at least one image"):
        plots.show([])


def test_a_caption_makes_a_figure_taller():
    heights = [opened(plots.show([RAMP], caption=c).picture).shape[0] for c in ("", "word " * 60)]
    assert heights[1] > heights[0] + 20


def test_plot_and_save_never_over(tmp_path):
    lines = {"a": ([1, 10], [0, 1]), "b": ([1, 10], [1, 0])}
    figure = plots.plot(lines, "Two lines that cross.", x_label="x", log_x=True, y_limits=(0, 1))
    path = figure.save(tmp_path / "lines.png")
    assert path.read_bytes() == figure.picture
    with pytest.raises(FileExistsError):
        figure.save(path)


def test_dots_have_a_row_per_name_and_error_bars():
    series, names = {"a": [0.1, 0.9, 0.5], "b": [0.2, 0.8, 0.4]}, ["one", "two", "three"]
    plain = plots.dots(series, names, "Dots.", x_label="score", x_limits=(0, 1))
    barred = plots.dots(series, names, "Dots.", x_label="score", x_limits=(0, 1), errors=dict.fromkeys("ab", [0.1] * 3))
    assert plain._repr_mimebundle_()["text/plain"] == "Figure: Dots."
    a, b = (opened(figure.picture).astype(float).mean(axis=2) for figure in (plain, barred))
    assert a.shape == b.shape
    assert (b < 200).sum() > (a < 200).sum() + 100  # bars are ink
    with pytest.raises(ValueError, match="expected 3 values in 'a', one per name, got 2"):
        plots.dots({"a": [0.1, 0.2]}, names)


def test_matplotlib_comes_only_with_a_figure():
    code = "import sys; from xai_lessons import plots; plots.bars(['a'], [1.0]); assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_matrix_is_darkest_where_most_is_wrong_and_frames_the_cell():
    counts = np.array([[80, 20, 0], [5, 95, 0], [0, 0, 100]])
    picture, names = plots.matrix(counts, ("a", "b", "c"), width=200), ("a", "b", "c")
    assert picture.shape[1] == 400
    for fill in ((213, 94, 0), (234, 174, 127)):  # of 20, the most, and of 5, a quarter of it
        assert (picture == fill).all(axis=2).sum() > 1000
    marked = plots.matrix(counts, names, marked=(0, 1), width=200)
    row = plots.matrix(counts, names, marked=(0, None), width=200)
    assert 0 < (marked != picture).any(axis=2).sum() < (row != picture).any(axis=2).sum()
    paler = plots.matrix(counts, names, high=200, width=200)
    assert not (paler == (213, 94, 0)).all(axis=2).any()
    with pytest.raises(ValueError, match=r"counts must have the shape \(2, 2\) of 2 names, got \(3, 3\)"):
        plots.matrix(counts, ("a", "b"))
