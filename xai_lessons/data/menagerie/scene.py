"""A scene: one drawn image of which everything is known, and the same image with something changed."""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import elements
from .backgrounds import BACKGROUNDS
from .camera import photograph
from .canvas import Canvas
from .factors import (
    CLASSES,
    ELEMENTS,
    OBJECT_FACTORS,
    PARTS,
    check_class,
    check_factors,
    known,
    object_defaults,
    scene_defaults,
)
from .objects import OBJECTS

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "validation", "test", "open")
PART_NAMES = tuple(sorted({part for parts in PARTS.values() for part in parts}))
SMALLEST, LARGEST = 16, 1024
_OWNERS = ("", "first", "second", *ELEMENTS)  # whose a pixel is; the index is its code
_WITHOUT: dict[str, dict[str, Any]] = {
    "tree": {"tree": False},
    "tag": {"tag": False},
    "clutter": {"distractors": 0},
    "grass": {"grass": False},
}
Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


class Masks(Mapping[str, "Tensor"]):
    """Masks by name, each a bool tensor made when asked for: (H, W), or (N, H, W) of many images.

    "object" is all that belongs to an object and "background" all that belongs to nothing; then the parts, and "tree",
    "tag", "clutter", "grass". Masks show what can be seen: what something else covers is not in them.
    """

    def __init__(
        self, owners: NDArray[np.uint8], parts: NDArray[np.uint8], names: tuple[str, ...], objects: tuple[str, ...] = ()
    ) -> None:
        self._owners, self._parts, self._names, self._objects = owners, parts, names, objects

    def __getitem__(self, name: str) -> "Tensor":
        import torch

        if name not in self._names:
            raise KeyError(f"there is no mask {name!r} here; there are {', '.join(self._names)}")
        is_object = (self._owners == 1) | (self._owners == 2)
        if name == "object":
            mask = is_object
        elif name == "background":
            mask = self._owners == 0
        elif name in self._objects:
            mask = self._owners == 1 + self._objects.index(name)
        elif name in ELEMENTS:
            mask = self._owners == _OWNERS.index(name)
        else:
            mask = is_object & (self._parts == 1 + PART_NAMES.index(name))
        return torch.from_numpy(mask)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Masks({', '.join(self._names)})"


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn image; made by `draw`, `draw_pair` or `sampled`.

    Attributes:
        names: the class of each object in it.
        key: its random seed, the index of its split and its index in that.
        size: side in pixels.
        given: the factors that were set by name; all others follow from the seed.
        removed: parts and objects that are left out.
    """

    names: tuple[str, ...]
    key: tuple[int, int, int]
    size: int
    given: Mapping[str, Any]
    removed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The class of the (first) object."""
        return self.names[0]

    @property
    def label(self) -> int:
        """The index of the class of the (first) object in CLASSES."""
        return CLASSES.index(self.names[0])

    @property
    def seed(self) -> int:
        """The random seed it was made from."""
        return self.key[0]

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects, all different: a second cat is cat_2."""
        return tuple(f"{n}_2" if i and n == self.names[0] else n for i, n in enumerate(self.names))

    @cached_property
    def factors(self) -> Mapping[str, Any]:
        """All factors of the image, name -> value; in a pair those of an object are pairs of values."""
        u = random_stream(self.key, "factors").random(40).tolist()
        values = scene_defaults(u, self.given.get("background"))
        values.update((k, v) for k, v in self.given.items() if k not in OBJECT_FACTORS)
        each = []
        for i, name in enumerate(self.names):
            u = random_stream(self.key, f"thing {i}").random(20).tolist()
            given = {k: v[i] if isinstance(v, tuple) else v for k, v in self.given.items() if k in OBJECT_FACTORS}
            place = i if len(self.names) > 1 else None
            own = object_defaults(u, name, values["horizon"], place, given.get("pose"))
            each.append({**own, **given})
        for k in OBJECT_FACTORS:
            values[k] = each[0][k] if len(each) == 1 else tuple(own[k] for own in each)
        return MappingProxyType(values)

    @cached_property
    def image(self) -> "Tensor":
        """The image, a float32 tensor (3, size, size) in [0, 1], in steps of 1/255."""
        import torch

        return torch.from_numpy(self.pixels[0]).permute(2, 0, 1).contiguous().to(torch.float32) / 255

    @cached_property
    def masks(self) -> Masks:
        """The masks of all that can be seen, name -> bool tensor (size, size)."""
        _, owners, parts = self.pixels
        seen = set(np.unique(parts[(owners == 1) | (owners == 2)]).tolist())
        present = set(np.unique(owners).tolist())
        names = ["object", "background", *(self.objects if len(self.names) > 1 else ())]
        names += [part for i, part in enumerate(PART_NAMES) if i + 1 in seen]
        names += [element for element in ELEMENTS if _OWNERS.index(element) in present]
        return Masks(owners, parts, tuple(names), self.objects if len(self.names) > 1 else ())

    @cached_property
    def pixels(self) -> Pixels:
        """The image (size, size, 3), and for each pixel the code of its owner and of its part, (size, size) each."""
        return render(self)

    def without(self, *names: str) -> "Scene":
        """Take parts or elements away; all else stays the same to the pixel.

        Args:
            names: a part ("whiskers"), an element ("tree", "tag", "clutter", "grass"), an object by its class ("cat";
                in a pair also "cat_2") or "object" for all objects. An object takes its shadow with it.

        Returns:
            A new scene.

        Raises:
            ValueError: for a name that such an image does not have.

        Example:
            >>> "whiskers" in draw("cat", seed=3).without("whiskers").masks
            False
        """
        there = (*self.objects, "object", *dict.fromkeys(p for n in self.names for p in PARTS[n]), *ELEMENTS)
        for name in names:
            known(name, there, "part or element")
        given: dict[str, Any] = dict(self.given)
        for name in _WITHOUT.keys() & names:
            given.update(_WITHOUT[name])
        return replace(self, given=given, removed=self.removed.union(names).difference(_WITHOUT))

    def with_(self, **factors: Any) -> "Scene":
        """Change factors; those that are not named stay as they are.

        Args:
            **factors: the new values by name, see FACTORS.

        Returns:
            A new scene.

        Raises:
            ValueError: if a name is unknown or a value out of its range.

        Example:
            >>> draw("cat", seed=3).with_(background="sea").factors["background"]
            'sea'
        """
        return replace(self, given={**self.given, **check_factors(self.names, factors)})

    def at(self, size: int) -> "Scene":
        """Draw the same image at another size, in pixels; each size is drawn once.

        Args:
            size: height and width in pixels, 16 to 1024.

        Returns:
            The scene of that size.

        Example:
            >>> draw("cat", seed=3).at(384).image.shape
            torch.Size([3, 384, 384])
        """
        if check_size(size) not in self._sizes:
            self._sizes[size] = replace(self, size=int(size))
        return self._sizes[size]

    @cached_property
    def _sizes(self) -> dict[int, "Scene"]:
        """The scenes that `at` has made."""
        return {}


def draw(name: str, seed: int = 0, size: int = 96, **factors: Any) -> Scene:
    """Draw an image of an object.

    Args:
        name: its class, one of CLASSES.
        seed: the random seed; the same seed gives the same pixels.
        size: height and width in pixels, 16 to 1024.
        **factors: what is not left to chance, see FACTORS.

    Returns:
        The scene, with `image`, `label`, `masks` and `factors`.

    Raises:
        ValueError: for an unknown class or factor, or a value out of its range; it lists what there is.

    Example:
        >>> scene = draw("cat", seed=3, background="snow")
        >>> scene.image.shape, scene.factors["background"]
        (torch.Size([3, 96, 96]), 'snow')
    """
    return _draw((name,), seed, size, factors)


def draw_pair(first: str, second: str, seed: int = 0, size: int = 96, **factors: Any) -> Scene:
    """Draw two objects side by side, the first on the left.

    Args:
        first: class of the object on the left.
        second: class of the object on the right.
        seed: the random seed.
        size: height and width in pixels, 16 to 1024.
        **factors: as in `draw`; a factor of the objects may be a pair of values, as in pose=("sit", "walk").

    Returns:
        The scene; `masks` also holds each by its class ("cat_2" for a second cat).

    Raises:
        ValueError: for an unknown class or factor, or a value out of its range; it lists what there is.

    Example:
        >>> draw_pair("cat", "dog").objects
        ('cat', 'dog')
    """
    return _draw((first, second), seed, size, factors)


def _draw(names: tuple[str, ...], seed: int, size: int, factors: dict[str, Any]) -> Scene:
    names = tuple(check_class(name) for name in names)
    return Scene(names, (check_seed(seed), SPLITS.index("open"), 0), check_size(size), check_factors(names, factors))


def check_size(size: int) -> int:
    """Return the size, or raise a ValueError if it is none."""
    if not isinstance(size, (int, np.integer)) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size={size!r}: expected a whole number of pixels from {SMALLEST} to {LARGEST}")
    return int(size)


def check_seed(seed: int) -> int:
    """Return the seed, or raise a ValueError if it is none."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed={seed!r}: expected a whole number from 0")
    return int(seed)


def random_stream(key: tuple[int, int, int], purpose: str) -> np.random.Generator:
    """Make the random stream for one purpose: what one element draws from its own never changes another."""
    return np.random.default_rng([*key, zlib.crc32(purpose.encode())])


def render(scene: Scene) -> Pixels:
    """Draw a scene; see Scene.pixels."""
    f = scene.factors
    canvas = Canvas(scene.size, f["ink"], f["ink_width"], math.radians(f["light"] - 90), f["light_strength"])
    ground = BACKGROUNDS[f["background"]](canvas, random_stream(scene.key, "background"), f["horizon"])
    each = [{k: f[k] if len(scene.names) == 1 else f[k][i] for k in OBJECT_FACTORS} for i in range(len(scene.names))]
    crown = (each[0]["x"], each[0]["y"] - 0.02, max(0.36, 1.05 * each[0]["scale"]), f["light"])
    shown = [
        (i, name, own)
        for i, (name, own) in enumerate(zip(scene.names, each, strict=True))
        if not {"object", scene.objects[i]} & scene.removed
    ]
    for _, name, own in shown:
        if own["pose"] != "head":
            aloft = own["pose"] in OBJECTS[name].aloft
            elements.shadow(canvas, own["x"], own["y"], own["scale"], f["light"], aloft, ground)
    if f["tree"]:
        with canvas.element("tree"):
            leaves = elements.tree(canvas, random_stream(scene.key, "tree"), *crown)
    with canvas.element("clutter"):
        elements.clutter(canvas, random_stream(scene.key, "clutter"), f["distractors"])
    for i, name, own in shown:
        options = {"collar": own["collar"]} if OBJECTS[name].mammal else {}
        place = (own["x"], own["y"], own["scale"], math.radians(own["rotation"]), own["flip"])
        with canvas.element(("first", "second")[i], scene.removed), canvas.placed(*place):
            OBJECTS[name].draw(canvas, random_stream(scene.key, f"drawing {i}"), own["pose"], **options)
    if f["tree"]:
        with canvas.element("tree"):
            elements.branch_in_front(canvas, random_stream(scene.key, "branch"), *crown, leaves)
    if f["grass"]:
        foot = max(own["y"] + 0.9 * own["scale"] for own in each)
        with canvas.element("grass"):
            elements.grass(canvas, random_stream(scene.key, "grass"), min(foot, 0.98), ground)
    if f["tag"]:
        with canvas.element("tag"):
            elements.tag(canvas, random_stream(scene.key, "tag"))
    return photograph(canvas.colors(), random_stream(scene.key, "camera"), f), *_codes(canvas)


def _codes(canvas: Canvas) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    owners, parts = canvas.identity()
    owner_codes = np.array([_OWNERS.index(name) for name in canvas.elements], dtype=np.uint8)
    part_codes = np.array([PART_NAMES.index(p) + 1 if p in PART_NAMES else 0 for p in canvas.parts], dtype=np.uint8)
    return owner_codes[owners], part_codes[parts]
