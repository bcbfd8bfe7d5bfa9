"""Factors: everything about an image that can be set by name, each with its range, in this one place."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from .backgrounds import BACKGROUNDS
from .canvas import INK_STYLES
from .objects import OBJECTS

CLASSES = tuple(OBJECTS)
PARTS: dict[str, tuple[str, ...]] = {name: kind.parts for name, kind in OBJECTS.items()}
POSES: dict[str, tuple[str, ...]] = {name: kind.poses for name, kind in OBJECTS.items()}
_ALL_POSES = tuple(dict.fromkeys(pose for poses in POSES.values() for pose in poses))


@dataclass(frozen=True)
class Factor:
    """Something about an image that can be set.

    Attributes:
        name: what draw() calls it.
        kind: "number" (low to high), "choice" (one of choices) or "flag".
        help: one line on what it is, and its unit.
        low: the least value of a number.
        high: the greatest value of a number.
        choices: the values of a choice.
        whole: whether a number must be whole.
    """

    name: str
    kind: str
    help: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] = ()
    whole: bool = False

    def check(self, value: Any) -> Any:
        """Return the value as a plain float, int, str or bool.

        Args:
            value: what was given for the factor.

        Returns:
            The value, of a type that JSON can hold.

        Raises:
            ValueError: if it is not in the factor's range.
        """
        if self.kind == "choice" and value in self.choices:
            return str(value)
        if self.kind == "flag" and isinstance(value, (bool, np.bool_)):
            return bool(value)
        kind_of_number = Integral if self.whole else Real
        if self.kind == "number" and isinstance(value, kind_of_number) and self.low <= float(value) <= self.high:
            return int(float(value)) if self.whole else float(value)
        raise ValueError(f"{self.name}={value!r}: {self.name} is {self.range}")

    @property
    def range(self) -> str:
        """The values it takes, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "flag":
            return "True or False"
        return f"a {'whole number' if self.whole else 'number'} from {self.low:g} to {self.high:g}"


FACTORS: dict[str, Factor] = {
    f.name: f
    for f in (
        Factor("background", "choice", "what is behind", choices=tuple(BACKGROUNDS)),
        Factor("horizon", "number", "height of the horizon, 0 top to 1 bottom", 0.3, 0.8),
        Factor("pose", "choice", "pose or view of the object; each class has its own (POSES)", choices=_ALL_POSES),
        Factor("x", "number", "center of the object, 0 left to 1 right", 0, 1),
        Factor("y", "number", "center of the object, 0 top to 1 bottom", 0, 1),
        Factor("scale", "number", "half the object's size, in widths of the image", 0.1, 0.6),
        Factor("rotation", "number", "turn of the object in degrees, clockwise", -180, 180),
        Factor("flip", "flag", "mirror the object left to right"),
        Factor("collar", "flag", "a collar on a cat, dog, cheetah or elephant; no effect on the others"),
        Factor("ink", "choice", "style of the contours", choices=INK_STYLES),
        Factor("ink_width", "number", "width of the contours, in sizes of the object", 0.01, 0.06),
        Factor("light", "number", "where the light comes from, in degrees: -80 left, 0 above, 80 right", -80, 80),
        Factor("light_strength", "number", "strength of light and shade", 0, 1.5),
        Factor("brightness", "number", "brightness of the image, 1 as drawn", 0.5, 1.5),
        Factor("warmth", "number", "color cast, -1 blue to 1 orange", -1, 1),
        Factor("tint", "number", "color cast, -1 green to 1 magenta", -1, 1),
        Factor("vignette", "number", "darkening of the corners", 0, 1),
        Factor("grain", "number", "noise of the camera, standard deviation", 0, 0.2),
        Factor("distractors", "number", "how many small items lie around (balls, stars ...)", 0, 8, whole=True),
        Factor("tree", "flag", "a leafy tree around the object"),
        Factor("tag", "flag", "a small printed tag in the upper right corner"),
        Factor("grass", "flag", "grass in front of the object"),
    )
}
OBJECT_FACTORS = ("pose", "x", "y", "scale", "rotation", "flip", "collar")
ELEMENTS = ("tree", "tag", "clutter", "grass")
TREE_RATE, TAG_RATE, COLLAR_RATE = 0.12, 0.10, 0.35
_GRASSY = {"meadow": 0.75, "forest": 0.6, "night": 0.55, "desert": 0.4, "snow": 0.35}


def check_class(name: str) -> str:
    """Return the name of a class, or raise a ValueError that lists the classes."""
    return known(name, CLASSES, "class")


def known(name: str, names: Sequence[str], kind: str) -> str:
    """Return the name if it is among the names, or raise a ValueError that lists them."""
    if name in names:
        return name
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"unknown {kind} {name!r}{hint}; there are {', '.join(names)}")


def check_factors(names: Sequence[str], factors: Mapping[str, Any]) -> dict[str, Any]:
    """Check the factors of an image of one or two classes; with two, a factor of an object may be a pair of values.

    Raises:
        ValueError: if a name is unknown or a value out of its range.
    """
    checked: dict[str, Any] = {}
    for key, value in factors.items():
        factor = FACTORS[known(key, tuple(FACTORS), "factor")]
        if key in OBJECT_FACTORS and isinstance(value, (tuple, list)):
            if len(value) != len(names):
                raise ValueError(f"{key}={value!r}: expected {len(names)} values, one for each object in the image")
            checked[key] = tuple(factor.check(v) for v in value)
        else:
            checked[key] = factor.check(value)
        if key == "pose":
            for i, name in enumerate(names):
                pose = checked[key][i] if isinstance(checked[key], tuple) else checked[key]
                if pose not in POSES[name]:
                    raise ValueError(f"pose={pose!r}: the poses of a {name} are {', '.join(POSES[name])}")
    return checked


def scene_defaults(u: Sequence[float], background: str | None = None) -> dict[str, Any]:
    """Turn uniform random numbers into the factors of a whole image; none depends on the class."""
    background = background or _choose(tuple(BACKGROUNDS), u[0])
    return {
        "background": background,
        "horizon": _between(0.40, 0.68, u[1]),
        "ink": ("dark", "ink", "soft", "none")[int(np.searchsorted((0.5, 0.75, 0.9), u[2], side="right"))],
        "ink_width": _between(0.022, 0.036, u[3]),
        "light": _between(-65, 65, u[4]),
        "light_strength": _between(0.6, 1.2, u[5]),
        "brightness": _between(0.85, 1.18, u[6]),
        "warmth": _between(-0.7, 0.7, u[7]),
        "tint": _between(-0.4, 0.4, u[8]),
        "vignette": _between(0, 0.6, u[9]),
        "grain": _between(0, 0.02, u[10]),
        "distractors": int(4 * u[11]),
        "tree": bool(u[12] < TREE_RATE),
        "tag": bool(u[13] < TAG_RATE),
        "grass": bool(u[14] < _GRASSY.get(background, 0.0)),
    }


def object_defaults(
    u: Sequence[float], name: str, horizon: float, place: int | None, pose: str | None = None
) -> dict[str, Any]:
    """Turn uniform random numbers into the factors of one object; place: None alone, 0 left or 1 right of a pair."""
    scale = _between(0.27, 0.43, u[0]) if place is None else _between(0.23, 0.29, u[0])
    margin = max(0.0, 0.5 - 0.85 * scale)
    x = 0.5 + margin * (2 * u[1] - 1) if place is None else (0.27, 0.73)[place] + 0.04 * (u[1] - 0.5)
    foot = _between(max(horizon + 0.08, 1.7 * scale), 0.99, u[2])
    poses = [p for p in POSES[name] if place is None or p != "head"]
    pose = pose or _choose(poses, u[3])
    return {
        "pose": pose,
        "x": x,
        "y": 1.02 - 0.8 * scale if pose == "head" else foot - 0.9 * scale,
        "scale": scale,
        "rotation": (14 if place is None else 6) * (u[4] + u[5] + u[6] - 1.5),
        "flip": bool(u[7] < 0.5),
        "collar": bool(u[8] < COLLAR_RATE),
    }


def _choose(choices: Sequence[str], u: float) -> str:
    return choices[int(u * len(choices))]


def _between(low: float, high: float, u: float) -> float:
    return low + (high - low) * float(u)
