"""The ten objects that an image can show: how each is drawn, its poses and its parts, in the order of the classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import bird, car, fish, mammals, mushroom, sailboat, umbrella


@dataclass(frozen=True)
class ObjectClass:
    """One class of objects.

    Attributes:
        draw: called with a canvas in the object's own frame, a random stream and a pose (mammals: also `collar`).
        poses: the poses or views it has.
        parts: the names of all parts that it may draw.
        aloft: the poses in which it does not stand on the ground.
    """

    draw: Callable[..., None]
    poses: tuple[str, ...]
    parts: tuple[str, ...]
    aloft: tuple[str, ...] = ()
    mammal: bool = False


OBJECTS: dict[str, ObjectClass] = {
    **{
        kind: ObjectClass(partial(mammals.mammal, kind=kind), mammals.POSES, parts, mammal=True)
        for kind, parts in mammals.PARTS.items()
    },
    "bird": ObjectClass(bird.bird, bird.POSES, bird.PARTS, aloft=("fly", "soar")),
    "fish": ObjectClass(fish.fish, fish.POSES, fish.PARTS, aloft=fish.POSES),
    "mushroom": ObjectClass(mushroom.mushroom, mushroom.POSES, mushroom.PARTS),
    "umbrella": ObjectClass(umbrella.umbrella, umbrella.POSES, umbrella.PARTS),
    "sailboat": ObjectClass(sailboat.sailboat, sailboat.POSES, sailboat.PARTS),
    "car": ObjectClass(car.car, car.POSES, car.PARTS),
}
