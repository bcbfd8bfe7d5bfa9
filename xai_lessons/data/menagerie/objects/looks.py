"""What one animal looks like: the features in which two cats differ, drawn from a random stream once and then fixed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..palette import BRIGHT, FUR, Color, Rng, colors, darker, jitter, lighter, pick

IRISES = colors("96b450 e8b842 6eaabe be823c")


@dataclass(frozen=True)
class Build:
    """The frame of a kind of animal; every number is a factor on the common frame, 1 being the cat's."""

    patterns: tuple[str, ...]  # plain | tabby | patches | points | spots | cheetah
    girth: float = 1.0  # width of the body seen from the front
    depth: float = 1.0  # height of the body seen from the side
    leg: float = 1.0  # length of the legs
    limb: float = 1.0  # thickness of the legs
    head: float = 1.0
    size: float = 1.0  # of the whole, so that all kinds cover about as much of an image
    ahead: float = 0.0  # how far a large head would stick out of the frame in profile
    marking: tuple[float, float] = (0.55, 0.55)  # markings: darker than a light coat, lighter than a dark one


BUILDS = {
    "cat": Build(("tabby", "tabby", "patches", "points", "plain")),
    "dog": Build(("patches", "spots", "plain", "plain"), limb=1.06),
    "cheetah": Build(
        ("cheetah",), girth=0.9, depth=0.86, leg=1.12, limb=0.86, head=0.95, size=1.04, marking=(0.75, 0.62)
    ),
    "elephant": Build(("plain",), girth=1.2, depth=1.24, leg=0.95, limb=1.5, size=0.94, ahead=0.13),
}


class Look:
    """The features of one animal, drawn at random. Numbers called "-1 to 1" swing about the middle.

    Every number is drawn for every kind, whatever `collar` says: so a cat with and without a collar are the same cat.

    Args:
        rng: the animal's own random stream.
        kind: cat, dog, cheetah or elephant.
        collar: True or False forces it; None leaves it to chance (35 %).
    """

    def __init__(self, rng: Rng, kind: str, collar: bool | None = None) -> None:
        self.build = build = BUILDS[kind]
        self.coat = coat = jitter(rng, pick(rng, FUR), 0.01, 0.06, 0.05)
        collar_color = jitter(rng, pick(rng, BRIGHT), 0.01, 0.05, 0.04)
        by_chance = _chance(rng, 0.35)
        deeper, paler = build.marking
        self.kind = kind
        self.marking = darker(coat, deeper) if np.mean(coat) > 0.42 else lighter(coat, paler)
        self.collar = collar_color if (by_chance if collar is None else collar) else None
        self.iris = pick(rng, IRISES)
        self.pattern = _one_of(rng, build.patterns)
        self.yaw = rng.uniform(-1, 1)  # -1 to 1: where the face is turned
        self.gaze = rng.uniform(-0.4, 0.4)  # -1 to 1: up or down
        self.tilt = rng.uniform(-0.15, 0.15)  # radians: the head on the neck
        self.side = 1 if _chance(rng, 0.5) else -1  # -1 or 1: which way the tail and the patches lie
        self.wag = rng.uniform(-1, 1)  # -1 to 1: the tip of the tail
        self.gait = rng.uniform(-1, 1)  # -1 to 1: the phase of the step
        self.girth = rng.uniform(0.88, 1.1) * build.girth
        self.depth = rng.uniform(0.92, 1.08) * build.depth
        self.leg = rng.uniform(0.28, 0.36) * build.leg  # length of a leg when standing, in units of the frame
        self.head_size = rng.uniform(0.95, 1.08) * build.head
        self.ear_size = rng.uniform(0.9, 1.12)
        self.bib = _chance(rng, 0.45)
        self.socks = _chance(rng, 0.4)
        self.asleep = _chance(rng, 0.5)  # eyes closed, when it lies
        self.slit_pupils = _chance(rng, 0.6)
        self.pale_muzzle = _chance(rng, 0.6)
        self.pale_whiskers = _chance(rng, 0.5)
        self.whisker_droop = rng.uniform(-0.08, 0.08)
        self.dark_ears = _chance(rng, 0.6)
        self.floppy = _chance(rng, 0.75)
        self.tongue = _chance(rng, 0.55)
        self.blaze = _chance(rng, 0.35)
        self.brow = rng.uniform(-1, 1)  # -1 to 1: the tilt of the eyebrows
        self.tusks = _chance(rng, 0.7)
        self.ear_spread = rng.uniform(0.92, 1.1)
        self.trunk_side = rng.uniform(0.8, 1.2) * (
            1 if _chance(rng, 0.5) else -1
        )  # negative: to the left; its size: how far
        self.trunk_lift = rng.uniform(0, 1) ** 1.5  # 0 hanging, 1 raised

    @property
    def paw(self) -> Color:
        """The color of the paws."""
        return lighter(self.coat, 0.6 if self.socks and self.kind != "elephant" else 0.1)

    @property
    def seam(self) -> Color:
        """The color of lines drawn on the coat."""
        return darker(self.coat, 0.48)


def _chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def _one_of(rng: Rng, names: Sequence[str]) -> str:
    return names[int(rng.random() * len(names))]
