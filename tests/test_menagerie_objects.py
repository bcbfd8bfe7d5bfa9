"""The six objects that are not mammals: every pose, part by part."""

import numpy as np
import pytest

from xai_lessons.data.menagerie.canvas import Canvas
from xai_lessons.data.menagerie.objects import bird, car, fish, mushroom, sailboat, umbrella
from xai_lessons.data.menagerie.palette import BRIGHT

MODULES = {"bird": bird, "fish": fish, "mushroom": mushroom, "umbrella": umbrella, "sailboat": sailboat, "car": car}
POSES = [(name, pose) for name, module in MODULES.items() for pose in module.POSES]
SEEDS = range(8)


def drawn(name, pose, seed=0, hidden=(), size=64, scale=0.42):
    canvas = Canvas(size)
    with canvas.element(name, frozenset(hidden)), canvas.placed(0.5, 0.5, scale):
        getattr(MODULES[name], name)(canvas, np.random.default_rng(seed), pose)
    return canvas


def parts_in(canvas):
    return {canvas.parts[i] for i in np.unique(canvas.identity()[1])} - {""}


@pytest.mark.parametrize(("name", "pose"), POSES)
def test_a_pose_draws_only_parts_that_are_listed(name, pose):
    for seed in SEEDS:
        assert set(drawn(name, pose, seed, size=32).parts) - {""} <= set(MODULES[name].PARTS)


@pytest.mark.parametrize("name", MODULES)
def test_every_part_is_drawn_by_some_pose(name):
    module = MODULES[name]
    seen = set().union(*(parts_in(drawn(name, pose, seed)) for pose in module.POSES for seed in SEEDS))
    assert seen == set(module.PARTS)
    assert len(set(module.PARTS)) == len(module.PARTS)
    assert len(set(module.POSES)) == len(module.POSES) >= 5


@pytest.mark.parametrize(("name", "pose"), POSES)
def test_an_object_fills_its_frame_and_stays_in_it(name, pose):
    for seed in SEEDS:
        rows, columns = np.nonzero(drawn(name, pose, seed, size=100, scale=0.4).identity()[0])
        assert len(rows) > 100 * 100 * 0.4**2 * 0.3  # not thinner than a folded umbrella
        reach = np.abs(np.stack([rows, columns]) - 49.5).max() / 40
        assert 0.75 < reach < 1.15


@pytest.mark.parametrize(("name", "pose"), POSES)
def test_a_hidden_part_is_nowhere_and_nothing_else_moves(name, pose):
    whole = drawn(name, pose, seed=3)
    ids = whole.identity()[1]
    for part in parts_in(whole):
        canvas = drawn(name, pose, seed=3, hidden={part})
        assert part not in parts_in(canvas)
        elsewhere = ids != whole.parts.index(part)
        # outside the hidden part's own pixels the picture differs at most along its smoothed edges
        # and where markings lay on it
        changed = np.abs(canvas.colors() - whole.colors()).max(axis=2) > 0.25
        assert (changed & elsewhere & (ids == 0)).sum() <= 0.6 * (~elsewhere).sum() + 8


@pytest.mark.parametrize("name", MODULES)
def test_random_draws_do_not_depend_on_what_is_hidden(name):
    module = MODULES[name]
    for pose in module.POSES:
        after = []
        for hidden in ((), module.PARTS):
            rng = np.random.default_rng(5)
            canvas = Canvas(24)
            with canvas.element(name, frozenset(hidden)), canvas.placed(0.5, 0.5, 0.4):
                getattr(module, name)(canvas, rng, pose)
            after.append(rng.random())
        assert after[0] == after[1]


@pytest.mark.parametrize(("name", "pose"), POSES)
def test_with_all_parts_hidden_only_water_is_left(name, pose):
    """Bubbles and ripples belong to no part; nothing else may be left over, such as a shadow of a marking."""
    left = drawn(name, pose, seed=3, hidden=MODULES[name].PARTS)
    assert left.identity()[0].max() == 0
    if name != "fish" and pose != "swim":
        assert left.colors().max() == 0


@pytest.mark.parametrize("name", MODULES)
def test_the_same_seed_draws_the_same_image_and_another_does_not(name):
    pose = MODULES[name].POSES[0]
    first, again, other = (drawn(name, pose, seed).colors() for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_class_has_its_own_colors():
    """The mean color of each class stays near the mean of all: hue alone does not tell the class."""
    means = []
    for name, module in MODULES.items():
        pixels = [
            canvas.colors()[canvas.identity()[0] > 0]
            for seed in range(24)
            for canvas in [drawn(name, module.POSES[seed % len(module.POSES)], seed, size=32)]
        ]
        means.append(np.concatenate(pixels).mean(axis=0))
    assert np.abs(np.array(means) - np.mean(means, axis=0)).max() < 0.15
    assert len(BRIGHT) >= 10


@pytest.mark.parametrize("name", MODULES)
def test_an_unknown_pose_is_refused(name):
    with pytest.raises(KeyError):
        drawn(name, "asleep in a hammock")


@pytest.mark.parametrize("pose", car.POSES)
def test_a_car_stands_on_its_wheels(pose):
    for seed in SEEDS:
        canvas = drawn("car", pose, seed, size=100, scale=0.4)
        lowest = np.nonzero(canvas.identity()[0])[0].max()
        assert canvas.parts[canvas.identity()[1][lowest].max()] == "wheels"
        assert (lowest - 49.5) / 40 == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("pose", ["perch", "front", "swim", "peck"])
def test_a_bird_that_does_not_fly_stands_on_the_ground(pose):
    for seed in SEEDS:
        lowest = np.nonzero(drawn("bird", pose, seed, size=100, scale=0.4).identity()[0])[0].max()
        assert (lowest - 49.5) / 40 == pytest.approx(0.89, abs=0.06)


def test_a_car_without_wheels_is_whole_behind_them():
    whole, bare = drawn("car", "hatch", 1), drawn("car", "hatch", 1, hidden={"wheels"})
    body = whole.parts.index("body")
    wheels = whole.identity()[1] == whole.parts.index("wheels")
    behind = bare.identity()[1][wheels]
    assert (behind == body).mean() > 0.4  # the dark arches


def test_an_umbrella_without_canopy_shows_its_shaft_up_to_the_tip():
    bare = drawn("umbrella", "open", 2, hidden={"canopy"})
    rows = np.nonzero(bare.identity()[1] == bare.parts.index("shaft"))[0]
    tips = np.nonzero(bare.identity()[1] == bare.parts.index("tip"))[0]
    assert rows.min() <= tips.max() + 2
