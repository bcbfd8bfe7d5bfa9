"""What most explorers share: the choice of an image (drawn, or a photograph), of a network and of a class.

`ImageExplorer` offers their controls, opens the image at the network's size and again at the size of the screen, draws
the bars of the probabilities, and completes the shown code. An image is a class of the drawn world ("cat"), a pair of
them ("cat + dog"), or the name of a photograph that was given or uploaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons import models
from xai_lessons.core.files import write_whole
from xai_lessons.data import menagerie, photos
from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.cache import Cache
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Slider, Toggle, Upload, group
from xai_lessons.explorers.kit.panels import Panel, bar_panel, top_classes
from xai_lessons.explorers.kit.script import with_imports
from xai_lessons.models import store

SCREEN = 384
LAST_SEED = 199
BUILT_IN = ("menagerie-resnet", "menagerie-vgg", "menagerie-shortcut", "menagerie-robust")
ANY = "any"
PREDICTED = "what it predicts"


@dataclass(frozen=True)
class NetworkState:
    """Which network, by its name."""

    network: str = BUILT_IN[0]


@dataclass(frozen=True)
class ImageState(NetworkState):
    """Which network, and which image."""

    picture: str = "cat"  # a class of the drawn world, a pair of them, or the name of a photograph
    seed: int = 0  # of the drawn image
    # background, pose: of the drawn image; "any" leaves it to the seed
    background: str = "meadow"
    pose: str = ANY
    # tree, tag: whether it has a leafy tree around the object, a printed tag in the corner
    tree: bool = False
    tag: bool = False


@dataclass(frozen=True)
class TargetState:
    """Which class is explained: its name, or what the network predicts."""

    target_class: str = PREDICTED


@dataclass(frozen=True)
class ImageResult:
    """The image of a result."""

    image: np.ndarray  # as the network takes it (3, S, S), in [0, 1]
    shown: np.ndarray  # the same, drawn for the screen


@dataclass(frozen=True)
class Photograph:
    """A photograph to choose. Only its version for the screen is kept: the whole one may take 600 MB."""

    open: Callable[[], Tensor]
    code: str  # the same in Python
    screen: Tensor


def network(name: str) -> models.Classifier:
    """A network by its name; the last eight are kept for all explorers, until their files change."""
    path = store.find(name)
    return _network(name, path and path.with_name(path.name + ".json").stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _network(name: str, changed: int | None) -> models.Classifier:
    return models.load(name)


@lru_cache(maxsize=12)
def _scene(picture: str, seed: int, size: int, factors: tuple[tuple[str, Any], ...], without: tuple[str, ...]) -> Any:
    """A drawn scene; the last twelve are kept, so that what is done to an image need not draw it again."""
    names = picture.split(" + ")
    draw: Any = menagerie.draw_pair if len(names) == 2 else menagerie.draw
    scene = draw(*names, seed, size, **dict(factors))
    return scene.without(*without) if without else scene


class ImageExplorer(Explorer):
    """An explorer of an image and a network.

    Args:
        picture: a class of the drawn world, a pair ("cat + dog"), a `menagerie.Scene`, the path of a photograph, one
            of `photos.SAMPLES`, or a tensor (3, H, W) in [0, 1].
        network: a network by its name, or a `models.Classifier`.
        networks: those to choose from; by default the four that are built in. `network` is added to them, and so are
            the networks saved in the current folder.
        photographs: more images to choose from, name -> path or tensor.
        initial: other fields of the state to start from.
    """

    pairs: ClassVar[tuple[str, ...]] = ()
    screen: ClassVar[int] = SCREEN
    built_in: ClassVar[tuple[str, ...]] = BUILT_IN  # the networks to choose from, if no others are given
    takes: ClassVar[Any] = models.Classifier  # the kind of network
    offers_saved: ClassVar[bool] = True  # whether the networks saved beside the notebook can be chosen too
    _all: ClassVar[WeakSet[ImageExplorer]] = WeakSet()

    def __init__(
        self,
        picture: Any = None,
        network: Any = None,
        *,
        networks: Sequence[Any] = (),
        photographs: dict[str, Any] | None = None,
        **initial: Any,
    ) -> None:
        self.photographs: dict[str, Photograph] = {}
        self._prepared = Cache(8)  # of photographs as networks take them: opening one anew takes a second
        self._models: dict[str, models.Classifier] = {}
        for name, value in (photographs or {}).items():
            self._add(value, name)
        if isinstance(picture, menagerie.Scene):
            initial = {**self._of_scene(picture), **initial}
        elif picture is not None:
            drawn = isinstance(picture, str) and all(name in menagerie.CLASSES for name in picture.split(" + "))
            kept = isinstance(picture, str) and picture in self.photographs
            initial["picture"] = picture if drawn or kept else self._add(picture)
        self.network_names = tuple(self._name_of(one) for one in networks or self.built_in)
        if network is not None:
            initial["network"] = self._name_of(network)
            self.network_names = tuple(dict.fromkeys((*self.network_names, initial["network"])))
        elif networks:
            initial["network"] = self.network_names[0]
        super().__init__(**initial)
        self._all.add(self)

    # The controls that explorers share.

    def image_controls(self, *changes: str) -> tuple[Control, ...]:
        """The controls of the image; moving each must change these fields of the result."""
        drawn = group(
            "Picture",
            Slider("seed", "Drawing", high=LAST_SEED, help="The seed of the drawing: another number, another drawing"),
            Choice("background", "Background", choices=(ANY, *menagerie.BACKGROUNDS)),
            Choice("pose", "Pose", choices=self._poses, when=self._is_single),
            Toggle("tree", "In a leafy tree", help="A tree around the object"),
            Toggle("tag", "A printed tag", help="In the upper right corner"),
            Button("another", "Another picture", act=_next_seed, help="The next seed"),
            changes=changes,
            when=self.is_drawn,
        )
        all_images = Choice("picture", "Picture", choices=lambda _: self.picture_names, changes=changes)
        upload = Upload("upload", "Your own", take=self._take, help="An image file; it is kept beside the notebook")
        return (*group("Picture", all_images), *drawn, *group("Picture", upload))

    def network_controls(self, *changes: str) -> tuple[Control, ...]:
        """The choice of the network."""
        choice = Choice("network", "Network", choices=self._networks, changes=changes, help="Which network runs")
        return group("Network", choice)

    @classmethod
    def refresh_networks(cls) -> None:
        """Offer a network that was saved just now in every explorer that is open."""
        for explorer in list(cls._all):
            if explorer._view is not None:
                explorer._view.sync(explorer.state)

    def target_control(self, *changes: str) -> Choice:
        """The choice of the class that is explained, for states that are a `TargetState`."""
        return Choice("target_class", "Class", choices=self._target_classes, changes=changes)

    @property
    def picture_names(self) -> tuple[str, ...]:
        """The names of all images to choose from."""
        return (*menagerie.CLASSES, *self.pairs, *self.photographs)

    # The image, the network and the class of a state.

    def is_drawn(self, state: Any) -> bool:
        """Whether the image is one of the drawn world."""
        return state.picture not in self.photographs

    def drawn_names(self, state: Any) -> list[str]:
        """The classes of the objects in a drawn image."""
        names: list[str] = state.picture.split(" + ")
        return names

    def model(self, state: Any) -> models.Classifier:
        """The network of a state."""
        return self._models[state.network] if state.network in self._models else network(state.network)

    def target(self, state: Any) -> str | None:
        """The class that is explained as methods take it: its name, or None for the predicted one."""
        return None if state.target_class == PREDICTED else state.target_class

    def target_index(self, state: Any, probabilities: Any) -> int:
        """The number of that class, where the network's probabilities (K,) are known."""
        target = self.target(state)
        return int(probabilities.argmax()) if target is None else self.model(state).class_index(target)

    def scene(self, state: Any, size: int, without: Sequence[str] = ()) -> Any:
        """The drawn image of a state: `image`, `masks`, `label`, `factors`."""
        return _scene(" + ".join(self.drawn_names(state)), state.seed, size, self._factors(state), tuple(without))

    def image(self, state: Any, without: Sequence[str] = ()) -> Tensor:
        """The image as the network takes it, (3, input_size, input_size) in [0, 1]."""
        model = self.model(state)
        if self.is_drawn(state):
            return self.scene(state, model.input_size, without).image
        key = state.picture, state.network
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = model.prepare(self.photographs[state.picture].open())
        return prepared

    def screen_image(self, state: Any, without: Sequence[str] = ()) -> Tensor:
        """The same for the screen: drawn at its size, or the photograph cropped as the network's was."""
        if self.is_drawn(state):
            return self.scene(state, self.screen, without).image
        return self.photographs[state.picture].screen

    def both_sizes(self, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """An image and the same resized for the screen, which is quick: the fields of an `ImageResult`."""
        return image.numpy(), resized(image, self.screen).numpy()

    def label(self, state: Any) -> str | None:
        """The name of what is in the image, where it is known."""
        return self.drawn_names(state)[0] if self.is_drawn(state) else None

    def alt(self, state: Any) -> str:
        """The image in words, for alt texts."""
        if not self.is_drawn(state):
            return f"the photograph {state.picture}"
        background = "" if state.background == ANY else f", background {state.background}"
        more = ["a leafy tree"] * state.tree + ["a printed tag"] * state.tag
        return f"a drawn {' + '.join(self.drawn_names(state))}{background}" + (
            f", with {' and '.join(more)}" if more else ""
        )

    # What is shown.

    def probability_panel(
        self,
        state: Any,
        probabilities: np.ndarray,
        before: np.ndarray | None = None,
        *,
        title: str = "What it says",
        marked: str | None = None,
        include: int | None = None,
        order: np.ndarray | None = None,
        caption: str = "",
        width: int = 380,
        row: int = 40,
    ) -> Panel:
        """Bars of the five most probable classes (by `order`, if given) and of the class number `include`.

        The bar of the class `marked` is orange; black lines show the probabilities `before`.
        """
        first = top_classes(probabilities if order is None else order, include)
        names = [self.model(state).classes[i] for i in first]
        return bar_panel(
            title,
            names,
            probabilities[first].tolist(),
            before=None if before is None else before[first].tolist(),
            marked=[i for i, name in enumerate(names) if name == marked],
            caption=caption,
            width=width,
            row=row,
        )

    def network_code(self, state: Any) -> str:
        """The line of the shown code that makes `model`."""
        given = state.network in self._models
        return "# model is the network that you gave" if given else f"model = models.load({state.network!r})"

    def script(self, state: Any, *lines: str, without: Sequence[str] = (), also: Sequence[str] = ()) -> str:
        """The shown code: imports (`also` those), `model` and `image` (drawn without some parts), then the lines."""
        setup = [self.network_code(state)]
        if self.is_drawn(state):
            setup.append(f"scene = {self._drawing_code(state)}")
            if without:
                setup.append(f"scene = scene.without({', '.join(map(repr, without))})")
            setup.append("image = scene.image")
        else:
            opened = self.photographs[state.picture].code
            if opened == "picture":
                setup.append("# picture is the picture that you gave")
            setup.append(f"image = model.prepare({opened})")
        return with_imports(*setup, *lines, also=also)

    def code_names(self, state: Any) -> dict[str, Any]:
        """What the shown code takes as given."""
        names: dict[str, Any] = {"model": self._models[state.network]} if state.network in self._models else {}
        photo = self.photographs.get(getattr(state, "picture", ""))
        return {**names, "picture": photo.open()} if photo and photo.code == "picture" else names

    # How it is put together.

    def _networks(self, state: Any) -> tuple[str, ...]:
        saved = store.saved() if self.offers_saved else ()
        return tuple(dict.fromkeys((*self.network_names, *saved)))

    def _is_single(self, state: Any) -> bool:
        return self.is_drawn(state) and len(self.drawn_names(state)) == 1

    def _poses(self, state: Any) -> tuple[str, ...]:
        return (ANY, *menagerie.POSES.get(state.picture, ()))

    def _target_classes(self, state: Any) -> tuple[str, ...]:
        return (PREDICTED, *dict.fromkeys(self.model(state).classes))

    def _factors(self, state: Any) -> tuple[tuple[str, Any], ...]:
        chosen = {"background": state.background, "pose": state.pose if self._is_single(state) else ANY}
        given = {name: value for name, value in chosen.items() if value != ANY}
        return tuple({**given, "tree": state.tree, "tag": state.tag}.items())

    def _drawing_code(self, state: Any) -> str:
        """The call that draws the image."""
        factors = {"seed": state.seed, "size": self.model(state).input_size, **dict(self._factors(state))}
        if factors["size"] == 96:
            del factors["size"]
        names = ", ".join(map(repr, self.drawn_names(state)))
        call = "draw" if self._is_single(state) else "draw_pair"
        return f"menagerie.{call}({names}, {', '.join(f'{name}={value!r}' for name, value in factors.items())})"

    def _of_scene(self, scene: Any) -> dict[str, Any]:
        """The fields of the state that a scene stands for."""
        names = ("background", "tree", "tag", *(["pose"] if len(scene.names) == 1 else []))
        known = {name: scene.factors[name] for name in names}
        return {"picture": " + ".join(scene.names), "seed": scene.seed, **known}

    def _name_of(self, one: Any) -> str:
        """The name of a network; one that was given is kept under it."""
        if isinstance(one, str):
            return one
        if not isinstance(one, self.takes):
            kind = self.takes.__name__
            raise TypeError(
                f"network must be a name or a {kind}, got {type(one).__name__}: call models.wrap(...) first."
            )
        name = one.name or "your network"
        self._models[name] = one
        return name

    def _add(self, picture: Any, name: str = "") -> str:
        """Keep a photograph, and return the name it is chosen by."""
        opened: Callable[[], Tensor]
        if isinstance(picture, str) and picture in photos.SAMPLES and not os.path.exists(picture):
            name, code, opened = picture, f"photos.sample({picture!r})", partial(photos.sample, picture)
        elif isinstance(picture, str | Path):
            name, code = name or Path(picture).stem, f"photos.load({os.fspath(picture)!r})"
            opened = partial(photos.load, picture)
        elif isinstance(picture, torch.Tensor) and picture.ndim == 3:
            given = picture.detach().float().cpu()
            name, code, opened = name or "your picture", "picture", lambda: given
        else:
            raise TypeError(
                "picture must be a class of the drawn world, a Scene, a path or a tensor (3, H, W) in [0, 1], "
                f"got {type(picture).__name__}"
            )
        image = opened()
        side = min(image.shape[1:])
        top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
        screen = resized(image[:, top : top + side, left : left + side], self.screen).clone()
        self.photographs[name] = Photograph(opened, code, screen)
        for key in [key for key in self._prepared if key[0] == name]:
            del self._prepared[key]
        return name

    def _take(self, name: str, content: bytes) -> dict[str, Any]:
        """Keep an uploaded file beside the notebook, so that the shown code can open it, and show it."""
        ending = photos.ending(content)  # a file that is no image is refused before anything is written
        stem = re.sub(r"[^\w -]", "_", Path(name).stem).strip() or "picture"
        path, number = Path(stem + ending), 1
        while path.is_symlink() or (path.exists() and path.read_bytes() != content):
            number += 1
            path = Path(f"{stem}-{number}{ending}")
        write_whole(path, content)
        return {"picture": self._add(str(path))}


def _next_seed(state: Any) -> Any:
    return replace(state, seed=(state.seed + 1) % (LAST_SEED + 1))


def resized(image: Tensor, size: int) -> Tensor:
    """An image (3, H, W) resized to (3, size, size), bicubically."""
    if image.shape[-1] == size and image.shape[-2] == size:
        return image
    big = F.interpolate(image[None], size=(size, size), mode="bicubic", align_corners=False, antialias=True)
    return big[0].clamp(0, 1)
