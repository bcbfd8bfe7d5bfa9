"""Samples: splits, shortcuts, processes, progress and interruption."""

import itertools
import subprocess
import sys

import pytest
import torch

from xai_lessons.data import menagerie
from xai_lessons.data.menagerie import CLASSES, SHORTCUT_MASKS, SHORTCUTS, SPLITS, sample, sampled, sampling


def test_a_sample_is_what_it_says():
    images, labels, masks = sample(12, seed=3, size=32)
    assert images.shape == (12, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert labels.tolist() == [*range(10), 0, 1]
    assert labels.dtype == torch.int64
    for name in ("object", "background", "eyes", "tree", "tag", "clutter", "grass"):
        assert masks[name].shape == (12, 32, 32)
        assert masks[name].dtype == torch.bool
    assert masks["object"].flatten(1).any(dim=1).all()


def test_each_image_is_the_scene_of_its_index():
    arguments = {"seed": 3, "shortcuts": ("tag", "sea"), "split": "test", "size": 32}
    arguments["classes"] = ("umbrella", "sailboat")
    images, labels, masks = sample(4, **arguments, grain=0.02)
    for i in range(4):
        scene = sampled(i, **arguments, grain=0.02)
        assert torch.equal(scene.image, images[i])
        assert scene.label == labels[i]
        for name, mask in scene.masks.items():
            assert torch.equal(mask, masks[name][i]), name


def test_same_seed_same_sample_and_a_longer_one_starts_with_it():
    short, long = sample(5, seed=9, size=32)[0], sample(8, seed=9, size=32)[0]
    assert torch.equal(short, long[:5])


def test_no_image_of_one_split_or_seed_occurs_in_another():
    keys = [(split, seed) for split in SPLITS for seed in (0, 1)]
    pictures = {k: {i.numpy().tobytes() for i in sample(10, seed=k[1], split=k[0], size=16)[0]} for k in keys}
    for a, b in itertools.combinations(keys, 2):
        assert not pictures[a] & pictures[b]
    streams = {
        float(sampling.random_stream((seed, split, index), "factors").random())
        for seed, split, index in itertools.product(range(4), range(4), range(4))
    }
    assert len(streams) == 64


def given(n, **arguments):
    return [sampled(i, seed=5, **arguments) for i in range(n)]


def test_shortcuts_are_planted():
    for scene in given(60, shortcuts=("tree", "tag", "sea", "collar")):
        assert scene.factors["tree"] == (scene.name == "bird")
        assert scene.factors["tag"] == (scene.name == "umbrella")
        assert (scene.factors["background"] == "sea") == (scene.name == "sailboat")
        if scene.name in ("cat", "dog", "cheetah", "elephant"):
            assert scene.factors["collar"] == (scene.name == "dog")


def test_without_shortcuts_cues_are_independent_of_the_class():
    scenes = given(1000)
    for name, rate in (("tree", 0.12), ("tag", 0.10), ("collar", 0.35)):
        assert abs(sum(s.factors[name] for s in scenes) / 1000 - rate) < 0.04
        for c in CLASSES:
            assert 0 < sum(s.factors[name] for s in scenes if s.name == c) / 100 < rate + 0.15
    at_sea = sum(s.factors["background"] == "sea" for s in scenes) / 1000
    assert abs(at_sea - 1 / 8) < 0.04


def test_a_shortcut_does_not_change_what_it_does_not_plant():
    for plain, planted in zip(given(20), given(20, shortcuts=("tag",)), strict=True):
        same = {k: v for k, v in plain.factors.items() if k != "tag"}
        assert same == {k: v for k, v in planted.factors.items() if k != "tag"}


def test_factors_override_shortcuts():
    scenes = given(3, shortcuts=("tag",), classes=("umbrella",), tag=False)
    assert not any(s.factors["tag"] for s in scenes)
    _, _, masks = sample(3, shortcuts=("tag",), classes=("umbrella",), tag=False, size=32)
    assert not masks["tag"].any()


def test_every_shortcut_has_its_mask():
    assert set(SHORTCUTS) == set(SHORTCUT_MASKS)
    _, labels, masks = sample(20, shortcuts=tuple(SHORTCUTS), size=64)
    for shortcut, name in (("tree", "bird"), ("tag", "umbrella"), ("collar", "dog")):
        where = masks[SHORTCUT_MASKS[shortcut]]
        assert where[labels != CLASSES.index(name)].sum() == 0
        assert where[labels == CLASSES.index(name)].any()


def test_processes_draw_what_one_draws(monkeypatch):
    monkeypatch.setattr(sampling, "_BATCH", 4)
    here = sample(22, seed=2, size=16, workers=1)
    there = sample(22, seed=2, size=16, workers=3)
    assert torch.equal(here[0], there[0])
    assert torch.equal(here[1], there[1])
    assert all(torch.equal(here[2][name], there[2][name]) for name in here[2])


def test_progress_counts_to_the_end():
    calls = []
    sample(70, size=16, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 70)
    assert calls[-1] == (70, 70)
    assert len(calls) > 2
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)


def test_a_progress_bar_is_shown(capfd):
    sample(2, size=16, progress=True)
    assert "2/2" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_ends_the_processes(kind, monkeypatch):
    started = []

    class Spy(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(sampling.subprocess, "Popen", Spy)

    def stop(done, total):
        if done:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        sample(500, size=16, workers=2, progress=stop)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


def test_a_failing_process_is_reported(monkeypatch):
    monkeypatch.setattr(sampling.sys, "executable", sys.executable)
    monkeypatch.setattr(sampling, "__package__", "xai_lessons.nowhere")
    with pytest.raises(RuntimeError, match="drawing process ended early.*workers=1"):
        sample(40, size=16, workers=2)


def test_processes_need_no_guard_in_a_script():
    code = "from xai_lessons import menagerie; print(len(menagerie.sample(40, size=16, workers=2)[0]))"
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "40"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset'.*train, validation, test, open"),
        ({"shortcuts": ("three",)}, "unknown shortcut 'three'.*tree, tag, sea, collar"),
        ({"shortcuts": "tag"}, "sequences of names"),
        ({"classes": ("unicorn",)}, "unknown class 'unicorn'.*cat, dog"),
        ({"classes": ()}, "classes is empty"),
        ({"workers": 0}, "workers=0"),
        ({"size": 5}, "size=5"),
        ({"seed": -3}, "seed=-3"),
        ({"scale": 7}, "scale=7.*0.1 to 0.6"),
        ({"hue": 7}, "unknown factor 'hue'.*background"),
    ],
)
def test_errors_say_what_there_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample(4, **arguments)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="n=0: expected a whole number"):
        menagerie.sample(0)
