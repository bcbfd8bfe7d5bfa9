"""The ten things that a picture can show: how each is drawn, its poses and its parts, in the order of the classes."""

from collections.abc import Callable
from dataclasses import dataclass

from . import bird, car, fish, mammals, mushroom, sailboat, umbrella


@dataclass(frozen=True)
class Thing:
    """One class of things.

    Attributes:
        draw: called with a canvas in the thing's own frame, a random stream and a pose (mammals: also `collar`).
        poses: the poses or views it has.
        parts: the names of all parts that it may draw.
        aloft: the poses in which it does not stand on the ground.
    """

    draw: Callable[..., None]
    poses: tuple[str, ...]
    parts: tuple[str, ...]
    aloft: tuple[str, ...] = ()
    mammal: bool = False


def _mammal(draw: Callable[..., None]) -> Thing:
    return Thing(draw, mammals.POSES, mammals.PARTS[draw.__name__], mammal=True)


THINGS: dict[str, Thing] = {
    "cat": _mammal(mammals.cat),
    "dog": _mammal(mammals.dog),
    "cheetah": _mammal(mammals.cheetah),
    "elephant": _mammal(mammals.elephant),
    "bird": Thing(bird.bird, bird.POSES, bird.PARTS, aloft=("fly", "soar")),
    "fish": Thing(fish.fish, fish.POSES, fish.PARTS, aloft=fish.POSES),
    "mushroom": Thing(mushroom.mushroom, mushroom.POSES, mushroom.PARTS),
    "umbrella": Thing(umbrella.umbrella, umbrella.POSES, umbrella.PARTS),
    "sailboat": Thing(sailboat.sailboat, sailboat.POSES, sailboat.PARTS),
    "car": Thing(car.car, car.POSES, car.PARTS),
}
