"""Thousands of broken files: each is opened, or refused in one sentence (long: `python -m benchmarks.fuzz_photos`)."""

import random
import time
from collections import Counter

import pytest

import image_corpus as files
from xai_lessons.data import photos

EACH = 100


@pytest.mark.parametrize("name", sorted(files.corpus()))
def test_a_broken_file_is_opened_or_refused_in_one_sentence(name):
    dice = random.Random(f"photos {name}")
    became = Counter()
    for number in range(EACH):
        broken = files.mutated(files.corpus()[name], dice)
        start = time.process_time()
        what = files.verdict(broken)
        assert what in ("opened", "refused"), f"{name}, number {number}: {what}"
        assert time.process_time() - start < 10, f"{name}, number {number} took very long"
        became[what] += 1
    assert became["refused"] > 0  # the dice break something
    assert became["opened"] > 0 or name.startswith("png")  # but not everything; PNG has checksums


def test_the_dice_are_seeded():
    first, second = (files.mutated(files.corpus()["png"], random.Random(3)) for _ in range(2))
    assert first == second
    assert first != files.corpus()["png"]


@pytest.mark.parametrize("kind", ["any bytes", "a right beginning"])
def test_noise_is_refused(kind):
    dice = random.Random(0)
    beginnings = [content[:12] for content in files.corpus().values()] if kind == "a right beginning" else [b""]
    for _ in range(300):
        content = dice.choice(beginnings) + dice.randbytes(dice.randrange(1, 3000))
        assert files.verdict(content) in ("opened", "refused")


def test_what_opens_can_be_loaded():
    dice = random.Random(1)
    names = sorted(files.corpus())
    opened = 0
    for number in range(200):
        broken = files.mutated(files.corpus()[names[number % len(names)]], dice)
        if files.verdict(broken) == "opened" and photos.open_image(broken).width < 2000:
            image = photos.load(broken)
            assert image.shape[0] == 3
            assert 0 <= image.min() <= image.max() <= 1
            opened += 1
    assert opened > 20
