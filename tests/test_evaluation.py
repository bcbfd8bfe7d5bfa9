"""The metrics by hand and by theorem."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.core import inputs, passes
from xai_lessons.data import menagerie
from xai_lessons.evaluation import (
    box_of,
    deletion,
    energy_inside,
    heat,
    infidelity,
    insertion,
    intersection_over_union,
    max_sensitivity,
    object_masks,
    pointing_game,
    randomize_layers,
)
from xai_lessons.methods import saliency

RAMP = torch.arange(16.0).view(4, 4)


def mean_red(x: Tensor) -> Tensor:
    """A "network" whose two scores are the mean of red and its opposite."""
    red = x[:, 0].mean(dim=(1, 2))
    return torch.stack([red, -red], dim=1)


def constant_map(value: float = 1.0) -> Any:
    return lambda model, x, targets: torch.full_like(x[:, 0], value)


# --- localization ----------------------------------------------------------------------------------------------------


def test_heat_reads_a_heatmap_and_an_attribution() -> None:
    assert heat(RAMP - 8).tolist() == [(RAMP - 8).clamp(min=0).tolist()]
    attribution = torch.stack([RAMP, -2 * RAMP, RAMP])[None]
    assert torch.equal(heat(attribution), 2 * RAMP[None])


@pytest.mark.parametrize("peak", [(0, 0), (1, 2), (3, 3)])
def test_pointing_game_hits_where_the_peak_is_inside(peak: tuple[int, int]) -> None:
    M, mask = torch.zeros(4, 4), torch.zeros(4, 4, dtype=torch.bool)
    M[peak] = 1.0
    mask[1:3, 1:3] = True
    assert pointing_game(M, mask).tolist() == [1.0 if peak == (1, 2) else 0.0]


def test_pointing_game_tolerates_a_circle() -> None:
    M, mask = torch.zeros(2, 9, 9), torch.zeros(2, 9, 9, dtype=torch.bool)
    mask[:, 4, 4] = True
    M[0, 4, 7] = 1.0  # 3 away
    M[1, 7, 7] = 1.0  # sqrt(18) away
    assert pointing_game(M, mask, tolerance=2).tolist() == [0, 0]
    assert pointing_game(M, mask, tolerance=3).tolist() == [1, 0]
    assert pointing_game(M, mask, tolerance=5).tolist() == [1, 1]


def test_an_empty_map_points_as_well_as_a_guess() -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:, 0] = True
    assert pointing_game(torch.zeros(4, 4), mask).tolist() == [0.25]
    assert pointing_game(-RAMP, mask).tolist() == [0.25]  # nothing positive: it is empty


def test_energy_inside_is_the_fraction_of_the_positive_part() -> None:
    M = torch.tensor([[3.0, 1.0], [-100.0, 0.0]])
    mask = torch.tensor([[True, False], [True, False]])
    assert energy_inside(M, mask).tolist() == [0.75]
    assert energy_inside(torch.zeros(2, 2), mask).tolist() == [0.0]


@pytest.mark.parametrize("metric", [pointing_game, energy_inside])
def test_masks_come_as_tensors_lists_and_dictionaries(metric: Any) -> None:
    M = torch.rand(2, 5, 5, generator=inputs.generator(0))
    masks = torch.rand(2, 5, 5, generator=inputs.generator(1)) > 0.5
    wanted = metric(M, masks)
    assert torch.equal(metric(M, list(masks)), wanted)
    assert torch.equal(metric(M, [m.numpy() for m in masks]), wanted)
    assert torch.equal(metric(M, [{"object": m, "tag": ~m} for m in masks]), wanted)
    assert torch.equal(metric(M, [{"object": m, "tag": ~m} for m in masks], name="tag"), metric(M, ~masks))
    assert torch.equal(metric(M[0], {"object": masks[0]}), wanted[:1])
    assert torch.equal(metric(M, {"object": masks}), wanted)
    assert torch.equal(metric(M.double(), masks), metric(M.double(), masks.float()))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.full((4, 4), math.nan), "finite"),
        (torch.zeros(4), r"shape \(N, H, W\)"),
        (torch.zeros(1, 5, 4), r"masks must have the shape of the maps \(1, 5, 4\)"),
    ],
)
def test_localization_refuses_what_does_not_fit(maps: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pointing_game(maps, torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(TypeError, match="must be a tensor"):
        heat([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tolerance"):
        pointing_game(RAMP, RAMP > 3, tolerance=-1)


def test_two_objects_of_a_class_share_one_mask() -> None:
    scene = menagerie.draw_pair("cat", "cat", 0, 48)
    found = object_masks(scene)
    assert list(found) == ["cat"]
    assert torch.equal(found["cat"], scene.masks["cat"] | scene.masks["cat_2"])


def test_tree_and_tag_have_masks_too() -> None:
    found = object_masks(menagerie.draw("bird", 0, 48, tree=True, tag=True))
    assert list(found) == ["bird", "tree", "tag"]
    assert all(mask.any() for mask in found.values())


def test_the_box_of_a_mask_and_of_nothing() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    assert box_of(mask).tolist() == [0, 0, 0, 0]
    mask[2, 1] = mask[4, 6] = True
    assert box_of(mask).tolist() == [1, 2, 7, 5]


def test_intersection_over_union_by_hand() -> None:
    for a, b, expected in (
        ((0, 0, 4, 4), (0, 0, 4, 4), 1.0),
        ((0, 0, 4, 4), (2, 0, 6, 4), 8 / 24),
        ((0, 0, 4, 4), (4, 0, 8, 4), 0.0),
        ((0, 0, 4, 4), (6, 6, 8, 8), 0.0),
        ((0, 0, 4, 4), (1, 1, 3, 3), 0.25),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ):
        assert intersection_over_union(a, b) == pytest.approx(expected)
        assert intersection_over_union(b, torch.tensor(a)) == pytest.approx(expected)


# --- insertion and deletion ------------------------------------------------------------------------------------------


def test_deletion_and_insertion_by_hand() -> None:
    """Score: mean red; the map is red itself; 16 pixels in 4 steps to black."""
    x = torch.zeros(3, 4, 4)
    x[0] = RAMP / 16
    left = [120, 66, 28, 6, 0]  # sums of 0..15, 0..11, 0..7, 0..3, nothing
    curve, area = deletion(mean_red, x, RAMP, 0, steps=4, output="logit")
    assert (curve * 256).tolist() == left
    assert float(area) * 256 == pytest.approx((120 / 2 + 66 + 28 + 6) / 4)
    curve, area = insertion(mean_red, x, RAMP, 0, steps=4, fill="black", output="logit")
    assert (curve * 256).tolist() == [0, 54, 92, 114, 120]
    assert float(area) * 256 == pytest.approx((54 + 92 + 114 + 60) / 4)


@pytest.mark.parametrize("steps", [1, 3, 7, 16, 100])
def test_curves_run_from_the_image_to_nothing(steps: int) -> None:
    x, M = pictures(2), torch.rand(2, 16, 16, dtype=torch.float64, generator=inputs.generator(3))
    model = seeded(PoolingNet)
    out = deletion(model, x, M, [1, 2], steps=steps, fill="gray")
    back = insertion(model, x, M, [1, 2], steps=steps, fill="gray")
    assert out.curve.shape == (2, steps + 1)
    full = passes.score(model(x), torch.tensor([1, 2]), "probability").detach()
    gray = passes.score(model(torch.full_like(x, 0.5)), torch.tensor([1, 2]), "probability").detach()
    for start, end in ((out.curve[:, 0], out.curve[:, -1]), (back.curve[:, -1], back.curve[:, 0])):
        assert torch.allclose(start, full)
        assert torch.allclose(end, gray)


def test_a_single_image_is_its_row_of_the_batch() -> None:
    model, x, M = seeded(FlatNet), pictures(), pictures(seed=8)[:, 0]
    curve, area = deletion(model, x, M, batch_size=3)
    one = deletion(model, x[1], M[1])
    assert torch.allclose(one.curve, curve[1])
    assert torch.allclose(one.area, area[1])
    assert one.area.ndim == 0


def test_equal_pixels_go_in_random_order_and_with_a_seed() -> None:
    """An empty map must not erase row by row: the left half goes as fast as the right."""
    x = torch.zeros(3, 16, 16)
    x[0, :8] = 1.0
    curve = deletion(mean_red, x, torch.zeros(16, 16), 0, steps=4, output="logit").curve
    assert 0.15 < float(curve[2]) < 0.35  # row by row it would be 0
    again = deletion(mean_red, x, torch.zeros(16, 16), 0, steps=4, output="logit").curve
    other = deletion(mean_red, x, torch.zeros(16, 16), 0, steps=4, output="logit", seed=1).curve
    assert torch.equal(curve, again)
    assert not torch.equal(curve, other)


def test_a_better_map_deletes_sooner_and_inserts_sooner() -> None:
    x = torch.zeros(3, 8, 8)
    x[0, 2:4, 2:4] = 1.0
    good, bad = x[0], 1 - x[0]
    options: dict[str, Any] = {"steps": 16, "output": "logit", "fill": "black"}
    assert deletion(mean_red, x, good, 0, **options).area < deletion(mean_red, x, bad, 0, **options).area
    assert insertion(mean_red, x, good, 0, **options).area > insertion(mean_red, x, bad, 0, **options).area


def test_the_area_counts_a_smaller_last_step_as_it_is() -> None:
    """16 pixels in 3 steps: 0, 6, 11 and 16 of them (rounded up), so steps of 6, 5 and 5 sixteenths."""
    x = torch.zeros(3, 4, 4)
    x[0] = RAMP / 16
    curve, area = deletion(mean_red, x, RAMP, 0, steps=3, output="logit")
    left = [120, 45, 10, 0]  # sums of 0..15, 0..9, 0..4, nothing
    assert (curve * 256).tolist() == left
    by_hand = 6 * (120 + 45) / 2 + 5 * (45 + 10) / 2 + 5 * (10 + 0) / 2
    assert float(area) * 256 == pytest.approx(by_hand / 16)
    curve, area = insertion(mean_red, x, RAMP, 0, steps=5, fill="black", output="logit")  # 4, 3, 3, 3, 3 pixels
    assert (curve * 256).tolist() == [0, 54, 84, 105, 117, 120]
    assert float(area) * 256 == pytest.approx((4 * 27 + 3 * (69 + 94.5 + 111 + 118.5)) / 16)


def test_options_that_count_must_be_whole_numbers() -> None:
    model, x = seeded(PoolingNet), pictures(1)
    M = torch.zeros(1, 16, 16)
    for name, call in (
        ("steps", lambda: deletion(model, x, M, steps=1.5)),  # type: ignore[arg-type]
        ("steps", lambda: insertion(model, x, M, steps=2.0)),  # type: ignore[arg-type]
        ("tolerance", lambda: pointing_game(M, M > 0, tolerance=1.5)),  # type: ignore[arg-type]
        ("samples", lambda: max_sensitivity(saliency.gradient, model, x, samples=1.5)),  # type: ignore[arg-type]
        ("samples", lambda: infidelity(model, x, M, samples=1.5)),  # type: ignore[arg-type]
        ("patch", lambda: infidelity(model, x, M, patch=1.5)),  # type: ignore[arg-type]
        ("n", lambda: randomize_layers(model, 1.5)),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=f"^{name} must be a whole number, got"):
            call()


def test_curves_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="maps must fit the images"):
        deletion(mean_red, pictures(2), torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match="fill must be"):
        insertion(mean_red, pictures(1), torch.zeros(1, 16, 16), fill="pink")
    with pytest.raises(ValueError, match="steps must be at least 1"):
        deletion(mean_red, pictures(1), torch.zeros(1, 16, 16), steps=0)


# --- max-sensitivity and infidelity ----------------------------------------------------------------------------------


def test_sensitivity_of_maps_that_do_not_move_is_zero() -> None:
    for value in (1.0, 0.0):
        assert max_sensitivity(constant_map(value), mean_red, pictures()).tolist() == [0, 0, 0]
    assert max_sensitivity(saliency.gradient, seeded(PoolingNet), pictures(), radius=0.0).tolist() == [0, 0, 0]


def test_sensitivity_of_the_identity_is_the_largest_relative_change() -> None:
    """If the map is the picture, the answer is max ||delta|| / ||x||, which the radius bounds."""
    x = pictures(2) * 0.5 + 0.25

    def itself(model: Any, x: Tensor, targets: Any) -> Tensor:
        return x

    value = max_sensitivity(itself, mean_red, x, radius=0.1, samples=20)
    norm = x.flatten(1).norm(dim=1)
    most = 0.1 * math.sqrt(x[0].numel()) / norm
    assert (value < most).all()
    assert (value > 0.9 * most / math.sqrt(3)).all()  # an even deviate has the standard deviation radius / sqrt(3)
    few = max_sensitivity(itself, mean_red, x, radius=0.1, samples=3)
    assert (few <= value).all()  # the first three of the same deltas


def test_sensitivity_explains_images_and_the_first_class() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(model: Any, x: Tensor, targets: Tensor) -> Tensor:
        seen.append((x.clone(), targets))
        return x[:, 0]

    x = torch.zeros(1, 3, 8, 8)
    x[:, :, :, :4] = 1.0
    max_sensitivity(spy, mean_red, x, radius=0.3, samples=4)
    for pictures_seen, targets in seen:
        assert pictures_seen.min() >= 0
        assert pictures_seen.max() <= 1
        assert (targets == 0).all()


def test_sensitivity_batch_is_singles() -> None:
    model, x = seeded(PoolingNet), pictures()
    whole = max_sensitivity(saliency.gradient, model, x, samples=5, batch_size=4)
    for i in range(3):
        assert torch.allclose(max_sensitivity(saliency.gradient, model, x[i], samples=5), whole[i])


def test_infidelity_of_the_gradient_of_a_linear_network_is_zero() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)))
    x = pictures(2, size=8)
    phi = net[1].weight.detach()[[1, 3]].view(2, 3, 8, 8)
    for kind in ("patch", "noise", pictures(5, size=8, seed=3)):
        assert infidelity(net, x, phi, [1, 3], perturbation=kind).max() < 1e-20
        assert infidelity(net, x, 2 * phi, [1, 3], perturbation=kind).min() > 1e-6
        assert infidelity(net, x, 2 * phi, [1, 3], perturbation=kind, normalize=True).max() < 1e-20


def test_infidelity_by_hand() -> None:
    x = torch.full((3, 2, 2), 0.5)
    I = torch.zeros(2, 3, 2, 2)
    I[0, 0, 0, 0], I[1, 0] = 0.4, 0.2  # the mean of red drops by 0.1, and by 0.2
    phi = torch.zeros(2, 2)
    phi[0, 0] = 1.0  # predicts 0.4 and 0.2
    assert float(infidelity(mean_red, x, phi, 0, perturbation=I)) == pytest.approx((0.3**2 + 0.0**2) / 2)
    beta = (0.4 * 0.1 + 0.2 * 0.2) / (0.4**2 + 0.2**2)
    best = ((0.4 * beta - 0.1) ** 2 + (0.2 * beta - 0.2) ** 2) / 2
    assert float(infidelity(mean_red, x, phi, 0, perturbation=I, normalize=True)) == pytest.approx(best)
    for empty_or_wrong in (0 * phi, -phi):  # the fitted scale is never negative
        assert float(infidelity(mean_red, x, empty_or_wrong, 0, perturbation=I, normalize=True)) == pytest.approx(0.025)


def test_infidelity_of_a_tiny_image_takes_a_patch_of_one_pixel_and_one_sample() -> None:
    torch.manual_seed(0)
    x, M = torch.rand(1, 3, 3, 3), torch.rand(1, 3, 3)

    def brightness(x: Tensor) -> Tensor:
        return torch.stack([x.mean(dim=(1, 2, 3)), -x.mean(dim=(1, 2, 3))], dim=1)

    assert torch.equal(infidelity(brightness, x, M, 0, samples=1), infidelity(brightness, x, M, 0, samples=1, patch=1))


def test_infidelity_batch_is_singles_and_options_are_checked() -> None:
    model, x = seeded(PoolingNet), pictures()
    phi = saliency.gradient(model, x)
    whole = infidelity(model, x, phi, samples=7, batch_size=5)
    for i in range(3):
        assert torch.allclose(infidelity(model, x[i], phi[i], samples=7), whole[i])
    with pytest.raises(ValueError, match="perturbation must be 'patch', 'noise'"):
        infidelity(model, x, phi, perturbation="squares")
    with pytest.raises(ValueError, match="perturbation must be"):
        infidelity(model, x, phi, perturbation=torch.zeros(4, 3, 8, 8))
    with pytest.raises(ValueError, match="patch must be"):
        infidelity(model, x, phi, patch=17)
    with pytest.raises(ValueError, match="maps must fit"):
        infidelity(model, x, phi[:2])
