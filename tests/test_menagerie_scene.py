"""Scenes: factors, masks, and removal that is exact to the pixel."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from xai_lessons.data import menagerie
from xai_lessons.data.menagerie import CLASSES, FACTORS, PARTS, POSES, draw, draw_pair
from xai_lessons.data.menagerie.factors import OBJECT_FACTORS

ELEMENTS = ("tree", "tag", "clutter", "grass")
RICH = {"tree": True, "tag": True, "grass": True, "distractors": 3, "grain": 0.02, "horizon": 0.5}


def near(mask, reach=3):
    """Grow a mask by a few pixels."""
    return torch.nn.functional.max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)[0] > 0


def changed(a, b):
    return (a.image != b.image).any(dim=0)


def recast(a, b):
    """Where another object, part or element is seen; smoothing may reach two pixels further."""
    return near(torch.from_numpy((a.pixels[1] != b.pixels[1]) | (a.pixels[2] != b.pixels[2])), 2)


def test_a_scene_is_what_it_says():
    scene = draw("dog", seed=4, size=64)
    assert scene.image.shape == (3, 64, 64)
    assert scene.image.dtype == torch.float32
    assert 0 <= scene.image.min() < scene.image.max() <= 1
    assert scene.label == CLASSES.index("dog")
    assert scene.name == "dog"
    assert scene.seed == 4
    assert scene.size == 64
    assert set(scene.factors) == set(FACTORS)
    for name, mask in scene.masks.items():
        assert (mask.dtype, mask.shape) == (torch.bool, (64, 64)), name


def test_the_names_and_their_order():
    assert CLASSES == (
        "cat", "dog", "cheetah", "elephant", "bird", "fish", "mushroom", "umbrella", "sailboat", "car",
    )  # fmt: skip
    assert menagerie.BACKGROUNDS == ("meadow", "sea", "forest", "room", "night", "snow", "desert", "wash")
    assert set(PARTS) == set(POSES) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_same_seed_same_pixels_and_other_seed_others(name):
    assert torch.equal(draw(name, 7).image, draw(name, 7).image)
    assert not torch.equal(draw(name, 7).image, draw(name, 8).image)


@pytest.mark.parametrize("name", CLASSES)
def test_every_pose_is_seen_and_has_only_its_parts(name):
    for pose in POSES[name]:
        scene = draw(name, 2, 64, pose=pose, tree=False)
        assert 0.04 < scene.masks["object"].float().mean() < 0.75, pose
        assert set(scene.masks) - {"object", "background", *ELEMENTS} <= set(PARTS[name]), pose


@pytest.mark.parametrize("name", CLASSES)
def test_every_part_is_drawn_in_some_image(name):
    seen = set()
    for seed in range(40):
        pose = POSES[name][seed % len(POSES[name])]
        seen |= set(draw(name, seed, 96, pose=pose, collar=True, tree=False, grass=False).masks)
        if seen >= set(PARTS[name]):
            break
    assert set(PARTS[name]) - seen == set()


@pytest.mark.parametrize("name", CLASSES)
def test_masks_split_the_image(name):
    masks = draw(name, 3, **RICH).masks
    counts = torch.stack([masks[m] for m in ("object", "background", *ELEMENTS) if m in masks]).sum(dim=0)
    assert (counts == 1).all()
    parts = torch.stack([masks[m] for m in PARTS[name] if m in masks]).sum(dim=0)
    assert torch.equal(parts == 1, masks["object"])
    assert parts.max() == 1


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_part_all_else_is_the_same_to_the_pixel(name, seed):
    scene = draw(name, seed, scale=0.4, x=0.5, y=0.5, collar=True, grain=0.02, tree=False, grass=False)
    for part in set(PARTS[name]) & set(scene.masks):
        bare = scene.without(part)
        assert part not in bare.masks
        assert changed(scene, bare).any(), part
        assert not (changed(scene, bare) & ~near(scene.masks["object"], 2)).any(), part
        # masks have no half pixels, colors have: slivers under a seam may show
        assert (changed(scene, bare) & ~recast(scene, bare)).sum() <= 25, part


def test_without_whiskers_only_the_whiskers_change():
    scene = draw("cat", 12, 192, pose="sit", tree=False, grass=False)
    bare = scene.without("whiskers")
    difference = changed(scene, bare)
    assert difference.any()
    assert not (difference & ~near(scene.masks["whiskers"], 2)).any()


@pytest.mark.parametrize("name", ["cat", "bird", "umbrella"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_without_an_element_all_else_is_the_same_to_the_pixel(name, element):
    scene = draw(name, 5, **RICH)
    bare = scene.without(element)
    assert element in scene.masks
    assert element not in bare.masks
    assert changed(scene, bare).any()
    assert (changed(scene, bare) & ~recast(scene, bare)).sum() <= 25  # seen between blades thinner than a pixel


def test_without_the_object_its_shadow_goes_too():
    scene = draw("car", 3, background="room", tree=False, grass=False, tag=True, distractors=2, scale=0.3, x=0.5)
    for name in ("car", "object"):
        bare = scene.without(name)
        assert not bare.masks["object"].any()
        assert torch.equal(bare.image[:, scene.masks["tag"]], scene.image[:, scene.masks["tag"]])
        difference = changed(scene, bare)
        assert (difference & ~near(scene.masks["object"])).any()
        assert not difference[:20].any()


def test_removals_add_up_and_can_be_taken_back():
    scene = draw("bird", 3, tree=True, tag=True)
    both = scene.without("tree").without("tag")
    assert torch.equal(both.image, scene.without("tag", "tree").image)
    assert torch.equal(both.with_(tree=True, tag=True).image, scene.image)


def test_the_background_does_not_move_with_the_object():
    a, b = (draw("fish", 2, background="meadow", x=x, tree=False, grass=False).without("fish") for x in (0.3, 0.7))
    assert torch.equal(a.image, b.image)


SWEPT = {
    "background": ("snow", "room"),
    "pose": ("sit", "run"),
    "ink": ("dark", "none"),
    "distractors": (0, 3),
}


@pytest.mark.parametrize("name", FACTORS)
def test_every_factor_changes_the_image(name):
    factor = FACTORS[name]
    low, high = SWEPT.get(name) or ((False, True) if factor.kind == "flag" else (factor.low, factor.high))
    scene = draw("cat", 6, 48, pose="sit", x=0.5, y=0.5, rotation=10, background="meadow", ink="ink")
    a, b = scene.with_(**{name: low}), scene.with_(**{name: high})
    assert a.factors[name] == low
    assert b.factors[name] == high
    assert not torch.equal(a.image, b.image)
    untouched = [k for k in FACTORS if k not in (name, "y", "grass", "x")]
    assert all(a.factors[k] == b.factors[k] for k in untouched)


@pytest.mark.parametrize("name", [n for n, f in FACTORS.items() if f.kind == "number"])
def test_factors_out_of_range_are_refused_with_the_range(name):
    factor = FACTORS[name]
    for value in (factor.low - 1, factor.high + 1, "much", None, float("nan")):
        with pytest.raises(ValueError, match=f"{name}.*from"):
            draw("cat", 0, **{name: value})


@pytest.mark.parametrize("name", [n for n, f in FACTORS.items() if f.kind in ("flag", "choice")])
def test_wrong_flags_and_choices_are_refused_with_what_there_is(name):
    with pytest.raises(ValueError, match="True or False|one of"):
        draw("cat", 0, **{name: "perhaps"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw("kat"), "unknown class 'kat'.*did you mean 'cat'.*elephant"),
        (lambda: draw("cat", color=3), "unknown factor 'color'.*background"),
        (lambda: draw("cat", pose="fly"), "poses of a cat are"),
        (lambda: draw("cat", size=4), "size=4.*16 to 1024"),
        (lambda: draw("cat", seed=-1), "seed=-1"),
        (lambda: draw("cat").without("wings"), "unknown part or element 'wings'.*whiskers.*tree"),
        (lambda: draw("cat").with_(x=3), "x=3.*from 0 to 1"),
        (lambda: draw("cat").at(99999), "size=99999"),
        (lambda: draw_pair("cat", "dog", pose=("sit",)), "expected 2 values"),
        (lambda: draw_pair("cat", "rat"), "unknown class 'rat'"),
    ],
)
def test_errors_say_what_there_is(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_mask_is_refused_with_what_there_is():
    with pytest.raises(KeyError, match="no mask 'wings' here; there are object, background"):
        draw("cat").masks["wings"]


@pytest.mark.parametrize("name", ["cat", "bird", "sailboat"])
def test_larger_is_the_same_image(name):
    scene = draw(name, 9, 96, grain=0.02)
    large = scene.at(384)
    assert scene.at(384) is large, "a size is drawn once"
    small = torch.nn.functional.avg_pool2d(large.image, 4)
    assert (small - scene.image).abs().mean() < 0.02
    reduced = torch.nn.functional.avg_pool2d(large.masks["object"][None].float(), 4)[0] > 0.5
    assert (reduced != scene.masks["object"]).float().mean() < 0.02
    assert large.factors == scene.factors


@pytest.mark.parametrize("size", [16, 33, 64, 512])
def test_any_size_is_drawn(size):
    assert draw("car", 1, size, **RICH).image.shape == (3, size, size)


def test_a_pair_has_both_by_name():
    pair = draw_pair("cat", "dog", 2, pose=("sit", "walk"), tree=False, grass=False)
    masks = pair.masks
    assert torch.equal(masks["cat"] | masks["dog"], masks["object"])
    assert not (masks["cat"] & masks["dog"]).any()
    columns = torch.arange(96.0)
    centers = [(masks[n].sum(dim=0) * columns).sum() / masks[n].sum() for n in ("cat", "dog")]
    assert centers[0] < centers[1]
    assert pair.factors["pose"] == ("sit", "walk")
    alone = pair.without("dog")
    assert not alone.masks["dog"].any()
    assert alone.masks["cat"].sum() >= masks["cat"].sum()
    seen = masks["cat"] & ~near(masks["dog"])
    assert not (changed(pair, alone) & seen & ~near(pair.without("cat").masks["dog"], 30)).any()


def test_a_pair_of_cats_are_two_cats():
    pair = draw_pair("cat", "cat", 1, pose="sit")
    assert pair.masks["cat"].any()
    assert pair.masks["cat_2"].any()
    assert not pair.without("cat_2").masks["cat_2"].any()
    assert pair.without("cat_2").masks["cat"].any()
    assert not pair.without("object").masks["object"].any()


@pytest.mark.parametrize("light", [-70, 70])
def test_shadows_fall_away_from_the_light(light):
    scene = draw("mushroom", 1, background="snow", light=light, x=0.5, y=0.5, scale=0.3, rotation=0, tree=False,
                 grass=False, distractors=0, grain=0, pose=POSES["mushroom"][0])  # fmt: skip
    bare = scene.without("mushroom")
    dark = (bare.image - scene.image).clamp(min=0).sum(dim=0) * ~near(scene.masks["object"])
    columns = torch.arange(96.0) - 48
    assert ((dark.sum(dim=0) * columns).sum() > 0) == (light < 0)
    rows = (dark.sum(dim=1) * torch.arange(96.0)).sum() / dark.sum()
    assert 66 < rows < 84  # on the ground at its foot


def test_scenes_are_drawn_without_torch():
    code = "import sys; from xai_lessons import menagerie; menagerie.draw('cat').pixels; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_collars_are_for_mammals_only():
    for name in CLASSES:
        scene = draw(name, 3, 96, collar=True, scale=0.45, tree=False, pose=POSES[name][0])
        assert ("collar" in scene.masks) == ("collar" in PARTS[name])


def test_a_contact_sheet_holds_every_image():
    scenes = [draw("cat", seed, 32) for seed in range(5)]
    sheet = menagerie.contact_sheet(scenes, columns=3, gap=2)
    assert sheet.size == (3 * 34 + 2, 2 * 34 + 2)
    np.testing.assert_array_equal(np.asarray(sheet)[36:68, 36:68], scenes[4].pixels[0])
    assert menagerie.contact_sheet(scenes, columns=5, masks=True).height == 4 + (32 + 4 + 32) + 4
    with pytest.raises(ValueError, match="no scenes"):
        menagerie.contact_sheet([])


def test_a_mask_image_gives_every_part_its_color():
    scene = draw("cat", 3, 96, pose="sit", tree=False)
    painted = np.asarray(menagerie.mask_image(scene))
    assert len(np.unique(painted[scene.masks["object"].numpy()], axis=0)) == len(set(PARTS["cat"]) & set(scene.masks))


def test_object_factors_are_factors():
    assert set(OBJECT_FACTORS) <= set(FACTORS)
    for factor in FACTORS.values():
        assert factor.help
        assert factor.range


def test_whole_numbers_stay_whole():
    assert draw("cat", distractors=3).factors["distractors"] == 3
    with pytest.raises(ValueError, match=r"distractors=1.5.*whole number from 0 to 8"):
        draw("cat", distractors=1.5)
