"""What all lessons' explorers share: the choice of a picture (drawn, or a photograph) and of a network.

`ImageExplorer` offers both blocks of controls, opens the picture at the network's size and again at the size of the
screen, and writes the first lines of the shown code. A picture is a class of the drawn world ("cat"), a pair of them
("cat + dog"), or the name of a photograph that was given or uploaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import models
from xai_lessons.data import menagerie, photos
from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Slider, Toggle, Upload

SCREEN = 384
LAST_SEED = 199
BUILT_IN = ("menagerie-resnet", "menagerie-vgg", "menagerie-shortcut", "menagerie-robust")
ANY = "any"
OWN = "A picture file of your own; it is kept beside the notebook"


@dataclass(frozen=True)
class ImageState:
    """Which picture.

    Attributes:
        picture: a class of the drawn world, a pair of them, or the name of a photograph.
        seed: of the drawn picture.
        background, pose: of the drawn picture; "any" leaves it to the seed.
        tree, tag: whether it has a leafy tree around the thing, a printed tag in the corner.
    """

    picture: str = "cat"
    seed: int = 0
    background: str = "meadow"
    pose: str = ANY
    tree: bool = False
    tag: bool = False


@dataclass(frozen=True)
class NetworkState:
    """Which network, by its name."""

    network: str = BUILT_IN[0]


@lru_cache(maxsize=8)
def network(name: str) -> models.Classifier:
    """A network by its name, loaded once for all explorers."""
    return models.load(name)


@lru_cache(maxsize=12)
def _scene(picture: str, seed: int, size: int, factors: tuple[tuple[str, Any], ...], without: tuple[str, ...]) -> Any:
    """A drawn picture; the last few are kept, so that what is done to a picture need not draw it again."""
    first, _, second = picture.partition(" + ")
    if second:
        scene = menagerie.draw_pair(first, second, seed, size, **dict(factors))
    else:
        scene = menagerie.draw(first, seed, size, **dict(factors))
    return scene.without(*without) if without else scene


class ImageExplorer(Explorer):
    """An explorer of a picture and a network.

    Args:
        picture: a class of the drawn world, a pair ("cat + dog"), a `menagerie.Scene`, the path of a photograph, one
            of `photos.SAMPLES`, or a tensor (3, H, W) in [0, 1].
        network: a network by its name, or a `models.Classifier`.
        networks: those to choose from; by default the four that are built in. `network` is added to them.
        photographs: more pictures to choose from, name -> path or tensor.
        initial: other fields of the state to start from.
    """

    pairs: ClassVar[tuple[str, ...]] = ()
    screen: ClassVar[int] = SCREEN

    def __init__(
        self,
        picture: Any = None,
        network: Any = None,
        *,
        networks: Sequence[Any] = (),
        photographs: dict[str, Any] | None = None,
        **initial: Any,
    ) -> None:
        self.photographs: dict[str, tuple[Tensor, str]] = {}  # name -> the picture, and the code that opens it
        self._models: dict[str, models.Classifier] = {}
        for name, value in (photographs or {}).items():
            self._add(value, name)
        if isinstance(picture, menagerie.Scene):
            initial = {**self._of_scene(picture), **initial}
        elif picture is not None:
            drawn = isinstance(picture, str) and all(name in menagerie.CLASSES for name in picture.split(" + "))
            kept = isinstance(picture, str) and picture in self.photographs
            initial["picture"] = picture if drawn or kept else self._add(picture)
        self.network_names = tuple(self._name_of(one) for one in networks or BUILT_IN)
        if network is not None:
            initial["network"] = self._name_of(network)
            self.network_names = tuple(dict.fromkeys((*self.network_names, initial["network"])))
        elif networks:
            initial["network"] = self.network_names[0]
        super().__init__(**initial)

    # The blocks of controls.

    def image_controls(self, *changes: str) -> tuple[Control, ...]:
        """The controls of the picture; moving each must change these fields of the result."""
        place: dict[str, Any] = {"changes": changes, "group": "Picture"}
        drawn = {**place, "when": self.is_drawn}
        return (
            Choice(name="picture", label="Picture", choices=lambda _: self.picture_names, **place),
            Slider(name="seed", label="Which one", high=LAST_SEED, help="The seed of the drawing", **drawn),
            Choice(name="background", label="Background", choices=(ANY, *menagerie.BACKGROUNDS), **drawn),
            Choice(name="pose", label="Pose", choices=self._poses, **{**drawn, "when": self._is_single}),
            Toggle(name="tree", label="In a leafy tree", help="A tree around the thing", **drawn),
            Toggle(name="tag", label="A printed tag", help="In the upper right corner", **drawn),
            Button(name="another", label="Another picture", act=_another, help="The next seed", **drawn),
            Upload(name="upload", label="Your own", group="Picture", take=self._take, help=OWN),
        )

    def network_controls(self, *changes: str) -> tuple[Control, ...]:
        """The choice of the network."""
        what = "Which network is asked"
        names = self.network_names
        return (Choice(name="network", label="Network", choices=names, changes=changes, group="Network", help=what),)

    @property
    def picture_names(self) -> tuple[str, ...]:
        """All pictures to choose from."""
        return (*menagerie.CLASSES, *self.pairs, *self.photographs)

    # The picture and the network of a state.

    def is_drawn(self, state: Any) -> bool:
        """Whether the picture is one of the drawn world."""
        return state.picture not in self.photographs

    def model(self, state: Any) -> models.Classifier:
        """The network of a state."""
        return self._models[state.network] if state.network in self._models else network(state.network)

    def scene(self, state: Any, size: int, without: Sequence[str] = ()) -> Any:
        """The drawn picture of a state: `image`, `masks`, `label`, `factors`."""
        return _scene(state.picture, state.seed, size, self._factors(state), tuple(without))

    def image(self, state: Any, without: Sequence[str] = ()) -> Tensor:
        """The picture as the network takes it, (3, input_size, input_size) in [0, 1]."""
        model = self.model(state)
        if self.is_drawn(state):
            return self.scene(state, model.input_size, without).image
        return model.prepare(self.photographs[state.picture][0])

    def screen_image(self, state: Any, without: Sequence[str] = ()) -> Tensor:
        """The same picture for the screen: drawn at its size, or the photograph cut as the network's was."""
        if self.is_drawn(state):
            return self.scene(state, self.screen, without).image
        photo = self.photographs[state.picture][0]
        side = min(photo.shape[1:])
        top, left = (photo.shape[1] - side) // 2, (photo.shape[2] - side) // 2
        return resized(photo[:, top : top + side, left : left + side], self.screen)

    def label(self, state: Any) -> str | None:
        """The name of what is in the picture, where it is known."""
        return state.picture.split(" + ")[0] if self.is_drawn(state) else None

    def alt(self, state: Any) -> str:
        """The picture in words, for alt texts."""
        if not self.is_drawn(state):
            return f"the photograph {state.picture}"
        where = "" if state.background == ANY else f", background {state.background}"
        more = [what for what, there in (("a leafy tree", state.tree), ("a printed tag", state.tag)) if there]
        return f"a drawn {state.picture}{where}" + (f", with {' and '.join(more)}" if more else "")

    def setup_code(self, state: Any, *modules: str, without: Sequence[str] = (), also: Sequence[str] = ()) -> str:
        """The first lines of the shown code: imports (`modules`, and whole lines in `also`), `model` and `image`."""
        if state.network in self._models:
            lines = ["# model is the network that you gave"]
        else:
            lines, modules = [f"model = models.load({state.network!r})"], (*modules, "models")
        if self.is_drawn(state):
            modules = (*modules, "menagerie")
            lines += [f"scene = {self._drawing_code(state)}"]
            if without:
                lines.append(f"scene = scene.without({', '.join(map(repr, without))})")
            lines.append("image = scene.image")
        else:
            how = self.photographs[state.picture][1]
            if how == "picture":
                lines.append("# picture is the picture that you gave")
            else:
                modules = (*modules, "photos")
            lines.append(f"image = model.prepare({how})")
        head = [f"from xai_lessons import {', '.join(sorted(set(modules)))}"] if modules else []
        return "\n".join([*head, *also, "", *lines]).strip()

    def _drawing_code(self, state: Any) -> str:
        """The call that draws the picture."""
        factors = {"seed": state.seed, "size": self.model(state).input_size, **dict(self._factors(state))}
        if factors["size"] == 96:
            del factors["size"]
        names = ", ".join(map(repr, state.picture.split(" + ")))
        call = "draw_pair" if " + " in state.picture else "draw"
        return f"menagerie.{call}({names}, {', '.join(f'{name}={value!r}' for name, value in factors.items())})"

    def code_names(self, state: Any) -> dict[str, Any]:
        """What the shown code takes as given."""
        names: dict[str, Any] = {"model": self._models[state.network]} if state.network in self._models else {}
        if state.picture in self.photographs and self.photographs[state.picture][1] == "picture":
            names["picture"] = self.photographs[state.picture][0]
        return names

    # How it is put together.

    def _is_single(self, state: Any) -> bool:
        return self.is_drawn(state) and " + " not in state.picture

    def _poses(self, state: Any) -> tuple[str, ...]:
        return (ANY, *menagerie.POSES.get(state.picture, ()))

    def _factors(self, state: Any) -> tuple[tuple[str, Any], ...]:
        chosen = {"background": state.background, "pose": state.pose if self._is_single(state) else ANY}
        given = {name: value for name, value in chosen.items() if value != ANY}
        return tuple({**given, "tree": state.tree, "tag": state.tag}.items())

    def _of_scene(self, scene: Any) -> dict[str, Any]:
        """The fields of the state that a scene stands for."""
        names = ("background", "tree", "tag", *(["pose"] if len(scene.names) == 1 else []))
        known = {name: scene.factors[name] for name in names}
        return {"picture": " + ".join(scene.names), "seed": scene.seed, **known}

    def _name_of(self, one: Any) -> str:
        """The name of a network; one that was given is kept under it."""
        if isinstance(one, str):
            return one
        if not isinstance(one, models.Classifier):
            raise TypeError(
                f"network must be a name or a Classifier, got {type(one).__name__}: call models.wrap(...) first."
            )
        name = one.name or "your network"
        self._models[name] = one
        return name

    def _add(self, picture: Any, name: str = "") -> str:
        """Keep a photograph, and give the name it is chosen by."""
        if isinstance(picture, str) and picture in photos.SAMPLES and not os.path.exists(picture):
            self.photographs[picture] = (photos.sample(picture), f"photos.sample({picture!r})")
            return str(picture)
        if isinstance(picture, str | Path):
            name = name or Path(picture).stem
            self.photographs[name] = (photos.load(picture), f"photos.load({os.fspath(picture)!r})")
            return name
        if not isinstance(picture, torch.Tensor) or picture.ndim != 3:
            raise TypeError(
                "picture must be a class of the drawn world, a Scene, a path or a tensor (3, H, W) in [0, 1], "
                f"got {type(picture).__name__}"
            )
        name = name or "your picture"
        self.photographs[name] = (picture.detach().float().cpu(), "picture")
        return name

    def _take(self, name: str, content: bytes) -> dict[str, Any]:
        """Keep an uploaded file beside the notebook, so that the shown code can open it, and show it."""
        photos.load(content)  # a file that is no picture is refused before anything is written
        path = Path(Path(name).name)
        number = 1
        while path.exists() and path.read_bytes() != content:
            number += 1
            path = path.with_name(f"{Path(name).stem}-{number}{path.suffix}")
        path.write_bytes(content)
        return {"picture": self._add(str(path))}


def _another(state: Any) -> Any:
    """The next seed."""
    return replace(state, seed=(state.seed + 1) % (LAST_SEED + 1))


def resized(image: Tensor, size: int) -> Tensor:
    """A picture (3, H, W) brought to (3, size, size), smoothly."""
    if image.shape[-1] == size and image.shape[-2] == size:
        return image
    big = F.interpolate(image[None], size=(size, size), mode="bicubic", align_corners=False, antialias=True)
    return big[0].clamp(0, 1)
