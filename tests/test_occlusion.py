"""Occlusion, RISE, erasing and keeping: their theorems, values worked out by hand, and what the network is shown."""

import pytest
import torch
from torch import Tensor

from nets import PoolingNet, pictures, seeded
from xai_lessons.core.progress import Reporter
from xai_lessons.methods import occlusion
from xai_lessons.methods.occlusion import FILLS, erase_top, filling, hide, keep_top, random_masks, rise, windows


def red(x: Tensor) -> Tensor:
    """Scores of a plain function: the sum of the red channel, and of the green one."""
    return x[:, :2].sum(dim=(2, 3))


def ramp(side: int = 4) -> Tensor:
    picture = torch.zeros(3, side, side, dtype=torch.float64)
    picture[0] = torch.arange(side * side, dtype=torch.float64).view(side, side) / side**2
    return picture


class Seen:
    """A callable that keeps every picture it was shown."""

    def __init__(self) -> None:
        self.pictures: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.pictures += list(x.clone())
        return red(x)


def test_a_window_of_one_pixel_gives_back_the_pixels() -> None:
    x = ramp()
    assert torch.allclose(occlusion.occlusion(red, x, 0, patch=1, stride=1), x[0])
    assert torch.equal(occlusion.occlusion(red, x, 1, patch=1, stride=1), torch.zeros(4, 4, dtype=torch.float64))


def test_two_by_two_windows_by_hand() -> None:
    drop = occlusion.occlusion(red, ramp() * 16 / 15, 0, patch=2, stride=2, size=None)
    assert torch.allclose(drop * 15, torch.tensor([[10.0, 18.0], [42.0, 50.0]], dtype=torch.float64))
    whole = occlusion.occlusion(red, ramp() * 16 / 15, 0, patch=2, stride=2)
    assert torch.allclose(whole, drop.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_overlapping_windows_are_averaged_by_hand() -> None:
    drop = occlusion.occlusion(red, ramp(), 0, patch=3, stride=1, size=None)
    map_ = occlusion.occlusion(red, ramp(), 0, patch=3, stride=1)
    assert torch.allclose(map_[0, 0], drop[0, 0])
    assert torch.allclose(map_[0, 1], drop[0].mean())
    assert torch.allclose(map_[1, 1], drop.mean())
    assert torch.allclose(map_[3, 2], drop[1].mean())


def test_the_sign_is_original_minus_occluded() -> None:
    x = torch.zeros(3, 4, 4, dtype=torch.float64)
    x[0, :, :2] = 1
    map_ = occlusion.occlusion(red, x, 0, patch=2, stride=2)
    assert (map_[:, :2] == 4).all()
    assert (map_[:, 2:] == 0).all()
    brighter = occlusion.occlusion(red, x, 0, patch=2, stride=2, fill=1.0)
    assert (brighter[:, 2:] == -4).all()


def test_nothing_changes_nothing_falls() -> None:
    net, x = seeded(PoolingNet), pictures()
    assert occlusion.occlusion(net, x, 0, patch=4, fill=x).abs().max() < 1e-12
    assert occlusion.occlusion(net, torch.zeros_like(x), 0, patch=4).abs().max() < 1e-12


def test_windows_are_a_fifth_of_the_short_side_and_move_by_a_third_of_it() -> None:
    assert windows(40, 60)[0, :2].tolist() == [[0, 0, 8, 8], [2, 0, 10, 8]]


@pytest.mark.parametrize(("patch", "stride", "height", "width"), [(4, 3, 16, 13), (5, 5, 16, 16), (16, 1, 16, 17)])
def test_windows_cover_every_pixel_and_are_all_whole(patch: int, stride: int, height: int, width: int) -> None:
    grid = windows(height, width, patch, stride)
    covered = torch.zeros(height, width)
    for x0, y0, x1, y1 in grid.flatten(0, 1).tolist():
        assert (x1 - x0, y1 - y0) == (patch, patch)
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1
    assert grid[..., :2].min() >= 0
    assert grid[-1, -1].tolist() == [width - patch, height - patch, width, height]


def test_hide_is_what_the_network_is_shown() -> None:
    seen, x = Seen(), pictures(1, 8)[0]
    occlusion.occlusion(seen, x, 0, patch=3, stride=2, fill="noise", seed=4)
    grid = windows(8, 8, 3, 2).flatten(0, 1)
    shown = seen.pictures[-len(grid) :]
    for window, picture in zip(grid, shown, strict=True):
        assert torch.equal(hide(x, window, "noise", seed=4), picture)
        x0, y0, x1, y1 = window.tolist()
        assert not torch.equal(picture[:, y0:y1, x0:x1], x[:, y0:y1, x0:x1])
        picture[:, y0:y1, x0:x1] = x[:, y0:y1, x0:x1]
        assert torch.equal(picture, x)


def test_hide_takes_a_window_for_each_picture() -> None:
    x = torch.ones(2, 3, 6, 6)
    hidden = hide(x, torch.tensor([[0, 0, 2, 3], [4, 4, 6, 6]]))
    assert hidden[0].sum() == 3 * (36 - 6)
    assert hidden[1, :, :4].min() == 1
    assert hidden[1].sum() == 3 * (36 - 4)


def test_probability_instead_of_the_logit() -> None:
    net, x = seeded(PoolingNet), pictures()
    drop = occlusion.occlusion(net, x, 2, patch=8, stride=8, output="probability", size=None)
    p = net(x).softmax(dim=1)[:, 2]
    by_hand = p - net(hide(x, torch.tensor([8, 0, 16, 8]))).softmax(dim=1)[:, 2]
    assert torch.allclose(drop[:, 0, 1], by_hand)


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_is_a_picture(fill: str) -> None:
    x = pictures(2, 12)
    filled = filling(x, fill)
    assert filled.shape == x.shape
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert torch.equal(filled[1], filling(x[1], fill)), "a picture alone is filled as in a batch"


def test_fills_by_hand() -> None:
    x = ramp()[None]
    assert filling(x, "black").max() == 0
    assert (filling(x, "gray") == 0.5).all()
    assert torch.allclose(filling(x, "mean")[0, 0], torch.full((4, 4), 7.5 / 16, dtype=torch.float64))
    assert (filling(x, 0.25) == 0.25).all()
    assert torch.equal(filling(x, torch.tensor([1.0, 0.5, 0.0]))[0, :, 2, 3], torch.tensor([1.0, 0.5, 0]).double())
    assert torch.equal(filling(x, 1 - x), 1 - x)
    assert not torch.equal(filling(x, "noise", 0), filling(x, "noise", 1))


def test_blur_keeps_a_flat_picture_and_spreads_a_point() -> None:
    flat = torch.full((1, 3, 16, 12), 0.3, dtype=torch.float64)
    assert torch.allclose(filling(flat, "blur"), flat)
    point = torch.zeros(1, 3, 17, 17, dtype=torch.float64)
    point[..., 8, 8] = 1
    blurred = filling(point, "blur")[0, 0]
    assert blurred.max() == blurred[8, 8] < 0.1
    assert torch.allclose(blurred, blurred.mT)
    assert torch.allclose(blurred, blurred.flip(0))


def test_fast_answers_nearly_the_same() -> None:
    net, x = seeded(PoolingNet, dtype=torch.float32), pictures(dtype=torch.float32)
    exact, fast = (occlusion.occlusion(net, x, 1, patch=6, fast=fast) for fast in (False, True))
    assert fast.dtype == torch.float32
    assert 0 < (fast - exact).abs().max() < 0.05 * exact.abs().max() + 0.01
    masks = [rise(net, x, 1, samples=20, fast=fast) for fast in (False, True)]
    assert (masks[0] - masks[1]).abs().max() < 0.01


def test_intermediate_maps_grow_into_the_map() -> None:
    class Watch(Reporter):
        def __init__(self) -> None:
            self.maps: list[Tensor] = []
            self.told: list[tuple[int, int]] = []

        def intermediate(self, map_: Tensor) -> None:
            self.maps.append(map_.clone())

        def update(self, done: int, total: int) -> None:
            self.told.append((done, total))

    x = pictures(1)
    for method, total in ((occlusion.occlusion, 16), (rise, 16)):
        watch = Watch()
        options = {"patch": 4, "stride": 4, "output": "logit"} if method is occlusion.occlusion else {"samples": 16}
        map_ = method(red, x, 0, progress=watch, batch_size=4, **options)
        assert watch.told == [(4, total), (8, total), (12, total), (16, total)]
        assert torch.equal(watch.maps[-1], map_)
        assert watch.maps[0].count_nonzero() > 0
        assert not torch.equal(watch.maps[0], map_)


def test_masks_of_rise() -> None:
    masks = random_masks(400, 24, 20, cells=4, fraction=0.5, seed=3)
    assert masks.shape == (400, 24, 20)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert (masks.mean(dim=0) - 0.5).abs().max() < 0.1, "each pixel is seen as often as any other"
    assert torch.equal(masks, random_masks(400, 24, 20, cells=4, fraction=0.5, seed=3))
    assert not torch.equal(masks, random_masks(400, 24, 20, cells=4, fraction=0.5, seed=4))
    assert (random_masks(3, 8, 8, fraction=1.0) == 1).all()


def test_rise_of_a_constant_score_is_the_share_seen() -> None:
    x = pictures(1, 12)
    S = rise(lambda x: torch.ones(len(x), 2), x, 0, samples=50, fraction=0.4, output="logit")
    assert torch.allclose(S[0], (random_masks(50, 12, 12, fraction=0.4).mean(dim=0) / 0.4))


def test_rise_finds_the_red_corner() -> None:
    x = torch.zeros(3, 16, 16, dtype=torch.float64)
    x[0, 2:6, 10:14] = 1
    S = rise(red, x, 0, samples=2000, cells=4, output="logit")
    y, x_ = divmod(int(S.argmax()), 16)
    assert 2 <= y < 6
    assert 10 <= x_ < 14


def test_the_share_is_erased_from_the_brightest_pixel_on() -> None:
    x = torch.ones(3, 4, 4)
    map_ = torch.arange(16.0).view(4, 4)
    erased = erase_top(x, map_, 0.25)
    assert torch.equal(erased == 0, (map_ >= 12).expand(3, 4, 4))
    assert torch.equal(keep_top(x, map_, 0.25) == 1, (map_ >= 12).expand(3, 4, 4))
    assert torch.equal(erase_top(x, map_, 0.0), x)
    assert erase_top(x, map_, 1.0).max() == 0
    assert torch.equal(keep_top(x, map_, 1.0), x)


def test_erased_and_kept_are_two_halves() -> None:
    x, maps = pictures(3), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    for boxes in (None, 3):
        assert torch.equal(erase_top(x, maps, 0.3, boxes=boxes) + keep_top(x, maps, 0.3, boxes=boxes), x)
        alone = torch.stack([erase_top(a, b, 0.3, boxes=boxes, fill="mean") for a, b in zip(x, maps, strict=True)])
        assert torch.equal(erase_top(x, maps, 0.3, boxes=boxes, fill="mean"), alone)


def test_boxes_lie_over_the_brightest_areas() -> None:
    map_ = torch.zeros(12, 12)
    map_[1:4, 1:4], map_[7:10, 8:11] = 2, 1
    hidden = erase_top(torch.ones(3, 12, 12), map_, 18 / 144, boxes=2)[0] == 0
    assert torch.equal(hidden, map_ > 0)
    first = erase_top(torch.ones(3, 12, 12), map_, 9 / 144, boxes=1)[0] == 0
    assert torch.equal(first, map_ > 1)
    assert (erase_top(torch.ones(3, 12, 12), map_, 0.5, boxes=5)[0] == 0).float().mean() <= 0.5


def test_equal_values_are_broken_in_reading_order() -> None:
    erased = erase_top(torch.ones(3, 4, 4), torch.zeros(4, 4), 0.25)
    assert torch.equal(erased[0] == 0, torch.arange(16).view(4, 4) < 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: occlusion.occlusion(red, x, 0, patch=17), "patch must be at least 1 and at most 16"),
        (lambda x: occlusion.occlusion(red, x, 0, patch=4, stride=5), "stride must be at least 1 and at most 4"),
        (lambda x: occlusion.occlusion(red, x, 0, fill="pink"), "fill must be 'black'"),
        (lambda x: occlusion.occlusion(red, x, 0, fill=2.0), "fill must be in"),
        (lambda x: occlusion.occlusion(red, x, 0, fill=torch.zeros(3, 5, 5)), "does not fit"),
        (lambda x: occlusion.occlusion(red, x, 0, output="loss"), "output must be"),
        (lambda x: occlusion.occlusion(red, x, 7), "there is no class 7"),
        (lambda x: rise(red, x, 0, samples=0), "samples must be at least 1"),
        (lambda x: rise(red, x, 0, fraction=0.0), "fraction must be above 0"),
        (lambda x: rise(red, x * torch.nan, 0), "NaN"),
        (lambda x: erase_top(x, torch.zeros(3, 8, 8), 0.1), "maps must be heatmaps"),
        (lambda x: erase_top(x, torch.zeros(3, 16, 16), 1.5), "fraction must be at least 0 and at most 1"),
        (lambda x: keep_top(x, torch.zeros(3, 16, 16), 0.1, boxes=0), "boxes must be at least 1"),
    ],
)
def test_bad_options_are_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(pictures())
