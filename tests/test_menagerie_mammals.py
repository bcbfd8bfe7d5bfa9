"""Cat, dog, cheetah, elephant: what they are made of, and that taking a part away changes nothing else."""

import numpy as np
import pytest

from xai_lessons.data.menagerie.canvas import Canvas
from xai_lessons.data.menagerie.objects import mammals
from xai_lessons.data.menagerie.objects.looks import BUILDS, Look
from xai_lessons.data.menagerie.palette import FUR

KINDS = tuple(mammals.PARTS)
SKY = np.array([0.62, 0.72, 0.8])


def drawn(kind, pose="sit", seed=0, hidden=(), collar=None, size=64, scale=0.4):
    """Draw one animal in the middle of a plain canvas; return the canvas and the state of its random stream after."""
    canvas = Canvas(size)
    canvas.gradient([[0, 0], [1, 0], [1, 1], [0, 1]], SKY, SKY)
    rng = np.random.default_rng(seed)
    with canvas.element(kind, frozenset(hidden)), canvas.placed(0.5, 0.5, scale):
        mammals.mammal(canvas, rng, pose, kind, collar)
    return canvas, rng.bit_generator.state


def part_mask(canvas, part):
    if part not in canvas.parts:
        return np.zeros((canvas.size, canvas.size), dtype=bool)
    return canvas.identity()[1] == canvas.parts.index(part)


def parts_seen(kind, seeds=range(8), poses=mammals.POSES):
    seen = set()
    for seed in seeds:
        for pose in poses:
            canvas, _ = drawn(kind, pose, seed)
            seen |= {canvas.parts[i] for i in np.unique(canvas.identity()[1])}
    return seen - {""}


def test_every_kind_has_five_poses_and_a_build():
    assert len(mammals.POSES) == 5
    assert set(BUILDS) == set(KINDS) == {"cat", "dog", "cheetah", "elephant"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_those_declared(kind):
    """Each declared part is seen somewhere, and nothing else is."""
    assert parts_seen(kind) == set(mammals.PARTS[kind])


@pytest.mark.parametrize(
    ("kind", "own"),
    [("cat", {"whiskers"}), ("dog", {"tongue"}), ("cheetah", {"tear lines"}), ("elephant", {"trunk", "tusks"})],
)
def test_what_tells_a_kind_apart(kind, own):
    others = set().union(*(mammals.PARTS[k] for k in KINDS if k != kind))
    assert set(mammals.PARTS[kind]) - others == own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pose", mammals.POSES)
def test_an_animal_fills_its_frame_and_stays_in_it(kind, pose):
    for seed in range(4):
        canvas, _ = drawn(kind, pose, seed, size=96, scale=0.36)
        rows, columns = np.nonzero(canvas.identity()[0])
        assert 0.12 < len(rows) / 96**2 < 0.65
        assert columns.min() > 0
        assert columns.max() < 95
        assert rows.min() > 0
        assert pose == "head" or rows.max() < 95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pose", mammals.POSES)
def test_the_same_seed_gives_the_same_image_and_another_one_another(kind, pose):
    a, b, c = (drawn(kind, pose, seed)[0].colors() for seed in (3, 3, 4))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pose", mammals.POSES)
def test_hiding_a_part_takes_it_away_and_leaves_the_stream_alone(kind, pose):
    _, state = drawn(kind, pose, 5)
    for part in mammals.PARTS[kind]:
        canvas, after = drawn(kind, pose, 5, hidden=[part])
        assert after == state, part
        assert not part_mask(canvas, part).any(), part


@pytest.mark.parametrize("kind", KINDS)
def test_hiding_a_part_changes_only_where_it_was(kind):
    """Colors change only at the part's own pixels and their smoothed neighbors."""
    for part in ("eyes", "ears", "tail", "collar"):
        whole, _ = drawn(kind, "walk", 2, collar=True)
        without, _ = drawn(kind, "walk", 2, hidden=[part], collar=True)
        changed = np.abs(whole.colors() - without.colors()).max(axis=2) > 0.04
        allowed = part_mask(whole, part)
        for _ in range(3):
            allowed = allowed | np.roll(allowed, 1, 0) | np.roll(allowed, -1, 0)
            allowed = allowed | np.roll(allowed, 1, 1) | np.roll(allowed, -1, 1)
        assert changed.any(), part
        assert not (changed & ~allowed).any(), part


@pytest.mark.parametrize("kind", KINDS)
def test_no_paint_is_left_where_all_parts_are_hidden(kind):
    """What lies on a hidden surface (fur, markings, tints) goes with it."""
    for pose in mammals.POSES:
        canvas, _ = drawn(kind, pose, 1, hidden=mammals.PARTS[kind], collar=True)
        np.testing.assert_allclose(canvas.colors(), np.broadcast_to(SKY, (64, 64, 3)), atol=0.005)
        assert not canvas.identity()[0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_markings_go_with_the_surface_that_carries_them(kind):
    canvas, _ = drawn(kind, "walk", 1, hidden=[p for p in mammals.PARTS[kind] if p != "markings"])
    assert not part_mask(canvas, "markings").any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pose", mammals.POSES)
def test_a_collar_can_be_asked_for_and_refused(kind, pose):
    with_collar, state = drawn(kind, pose, 7, collar=True, size=96)
    without, other_state = drawn(kind, pose, 7, collar=False, size=96)
    assert part_mask(with_collar, "collar").any()
    assert not part_mask(without, "collar").any()
    assert state == other_state == drawn(kind, pose, 7)[1]


@pytest.mark.parametrize("kind", KINDS)
def test_collars_come_by_chance_to_about_a_third(kind):
    collared = sum(Look(np.random.default_rng(seed), kind).collar is not None for seed in range(400))
    assert 100 < collared < 180


def test_a_collar_is_all_that_the_collar_changes():
    """A look with and without the collar agree in every other feature."""
    with_collar, without = (Look(np.random.default_rng(9), "cat", collar) for collar in (True, False))
    for name in set(vars(with_collar)) - {"collar"}:
        assert np.array_equal(getattr(with_collar, name), getattr(without, name)), name


def test_the_coat_does_not_tell_the_kind():
    """All kinds draw their coats from the same colors, in the same order."""
    coats = [[Look(np.random.default_rng(seed), kind).coat for seed in range(200)] for kind in KINDS]
    for others in coats[1:]:
        np.testing.assert_array_equal(coats[0], others)
    nearest = {int(np.argmin([np.abs(coat - fur).sum() for fur in FUR])) for coat in coats[0]}
    assert nearest == set(range(len(FUR)))


def test_the_kinds_are_about_as_large():
    """The size must not tell the kind: mean areas within a third of one another."""
    areas = []
    for kind in KINDS:
        canvases = [drawn(kind, pose, seed)[0] for pose in mammals.POSES for seed in range(4)]
        areas.append(np.mean([(c.identity()[0] > 0).mean() for c in canvases]))
    assert max(areas) < 1.3 * min(areas)


def test_an_animal_sleeps_only_lying():
    seed = next(s for s in range(50) if Look(np.random.default_rng(s), "cat").asleep)
    open_eyes, closed = (part_mask(drawn("cat", pose, seed, size=96)[0], "eyes").sum() for pose in ("sit", "lie"))
    assert closed < 0.6 * open_eyes


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_pose_is_refused(kind):
    with pytest.raises(KeyError):
        drawn(kind, "fly")
