"""Cat, dog, cheetah, elephant: all with the same poses, coats and collars, so that only the animal tells them apart."""

import numpy as np

from ..canvas import Canvas
from .bodies import BODIES
from .looks import random_look

POSES = tuple(BODIES)
_COMMON = ("head", "ears", "eyes", "body", "legs", "paws", "tail", "collar")
PARTS = {
    "cat": (*_COMMON, "nose", "mouth", "muzzle", "whiskers", "markings"),
    "dog": (*_COMMON, "nose", "mouth", "muzzle", "tongue", "markings"),
    "cheetah": (*_COMMON, "nose", "mouth", "muzzle", "tear lines", "markings"),
    "elephant": (*_COMMON, "trunk", "tusks"),
}


def cat(canvas: Canvas, rng: np.random.Generator, pose: str, collar: bool | None = None) -> None:
    """Draw a cat: pointed ears, whiskers. For the arguments see `mammal`."""
    mammal(canvas, rng, pose, "cat", collar)


def dog(canvas: Canvas, rng: np.random.Generator, pose: str, collar: bool | None = None) -> None:
    """Draw a dog: hanging or folded ears, a large muzzle, often its tongue. For the arguments see `mammal`."""
    mammal(canvas, rng, pose, "dog", collar)


def cheetah(canvas: Canvas, rng: np.random.Generator, pose: str, collar: bool | None = None) -> None:
    """Draw a cheetah: round ears, spots, tear lines. For the arguments see `mammal`."""
    mammal(canvas, rng, pose, "cheetah", collar)


def elephant(canvas: Canvas, rng: np.random.Generator, pose: str, collar: bool | None = None) -> None:
    """Draw an elephant: a trunk, large ears, often tusks. For the arguments see `mammal`."""
    mammal(canvas, rng, pose, "elephant", collar)


def mammal(canvas: Canvas, rng: np.random.Generator, pose: str, kind: str, collar: bool | None = None) -> None:
    """Draw an animal in its own frame: center (0, 0), radius about 1.

    What is drawn from `rng` depends neither on `collar` nor on what the canvas hides.

    Args:
        canvas: placed where the animal shall be.
        rng: the animal's own random stream.
        pose: one of POSES.
        kind: cat, dog, cheetah or elephant.
        collar: whether it wears a collar with a bell; None leaves it to chance.

    Raises:
        ValueError: for a pose that is not in POSES.
    """
    if pose not in BODIES:
        raise ValueError(f"a {kind} has no pose {pose!r}; choose one of {', '.join(POSES)}")
    look = random_look(rng, kind, collar)
    size = look.build.size
    with canvas.placed(0, 1 - size, size):  # the feet stay on the ground
        BODIES[pose](canvas, rng, look)
