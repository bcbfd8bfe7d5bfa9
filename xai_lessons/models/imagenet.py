"""torchvision's ImageNet networks and COCO detectors, by its own names and weights; only loading one imports it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xai_lessons.core.inputs import closest
from xai_lessons.core.libraries import torchvision
from xai_lessons.models.classifier import Classifier, wrap
from xai_lessons.models.detector import Detector, wrap_detector

# Those that the lessons offer; `models.load` takes every other classification network of torchvision as well.
NAMES = (
    *("squeezenet1_0", "squeezenet1_1", "mobilenet_v3_small", "resnet18", "resnet50"),
    *("vgg16", "vgg19", "densenet121", "convnext_tiny"),
)
# Detectors of COCO's 90 classes, each with the layers to explain; None: those of its backbone. Of the last one, only
# those up to its first map of boxes: a box from this map has no gradient in later ones.
DETECTORS: dict[str, tuple[str, ...] | None] = {
    "fasterrcnn_resnet50_fpn_v2": None,
    "retinanet_resnet50_fpn_v2": None,
    "ssdlite320_mobilenet_v3_large": tuple(f"backbone.features.0.{k}" for k in (1, 3, 6, 13)),
}
TIMEOUT = 30.0  # seconds without a byte after which a download fails
FOLDER = "XAI_LESSONS_WEIGHTS"  # names a folder of weights, such as one on a USB stick that is passed around in class
_INCEPTIONS = ("googlenet", "inception_v3")
_OLD_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # in the stored weights of DenseNets


def exists(name: str) -> bool:
    """Whether torchvision has a classification network or a detector of this name.

    Args:
        name: torchvision's name.

    Returns:
        True also for networks that the lessons do not offer.

    Example:
        >>> exists("resnet18")
        True
    """
    if name in NAMES:
        return True
    models = torchvision().models
    return name in models.list_models(module=models) or is_detector(name)


def is_detector(name: str) -> bool:
    """Whether torchvision has a detector of this name.

    Args:
        name: torchvision's name.

    Returns:
        True also for detectors that are not in `DETECTORS`.

    Example:
        >>> is_detector("resnet18")
        False
    """
    if name in DETECTORS or name in NAMES:
        return name in DETECTORS
    models = torchvision().models
    return name in models.list_models(module=models.detection)


def load(name: str, weights: str | os.PathLike[str] | None = None) -> Classifier | Detector:
    """Load one of torchvision's networks, on the CPU; `models.load` says more.

    Args:
        name: torchvision's name.
        weights: a file of weights; by default that of the folder `XAI_LESSONS_WEIGHTS` (see `given_file`), or else the
            one in torch's cache (`TORCH_HOME`), downloaded if necessary.

    Returns:
        A `Classifier` in eval mode, with torchvision's classes and normalization, or a `Detector` (see
        `detector.wrap_detector`) with COCO's classes.

    Raises:
        ValueError: if the file is missing, damaged or of another network.
        ConnectionError: if the download fails.

    Example:
        >>> load("squeezenet1_1", "missing.pth")
        Traceback (most recent call last):
        ValueError: there is no weights file missing.pth: check the path
    """
    models = torchvision().models
    entry = models.get_model_weights(name).DEFAULT
    finds_boxes = is_detector(name)
    # what torchvision itself sets when it loads these two with their weights
    own: dict[str, Any] = {"transform_input": True, "init_weights": False} if name in _INCEPTIONS else {}
    if finds_boxes:
        own = {"weights_backbone": None, "num_classes": len(entry.meta["categories"])}
    file = weights if weights is not None else given_file(name)
    state = _read(Path(file)) if file is not None else download(entry)
    module = models.get_model(name, weights=None, **own)
    try:
        module.load_state_dict({_OLD_KEY.sub(r"\1\2", key): value for key, value in state.items()})
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"in {file or 'the download'} are not the weights of {name}: {reason}") from error
    if finds_boxes:
        size = int(module.transform.min_size[-1])
        return wrap_detector(module.eval(), entry.meta["categories"], size, DETECTORS.get(name), name)
    preset: Any = entry.transforms()
    return wrap(module.eval(), entry.meta["categories"], preset.mean, preset.std, preset.crop_size[0], name=name)


def _read(path: Path) -> dict[str, Tensor]:
    path = path.expanduser()
    if not path.is_file():
        raise ValueError(f"there is no weights file {path}: check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path.name} is damaged or holds no weights: fetch it again") from error


def download(entry: Any) -> dict[str, Tensor]:
    """Read the state dict of a torchvision weights entry from torch's cache, or download it and check its hash.

    Args:
        entry: a member of one of torchvision's enumerations of weights, such as `ResNet18_Weights.DEFAULT`.

    Returns:
        The weights by their names, on the CPU.

    Raises:
        ConnectionError: in one sentence, if the download fails; no incomplete file is left behind.
        PermissionError: if the file cannot be written.

    Example:
        >>> from types import SimpleNamespace
        >>> def offline(**options): raise OSError("no route to host")
        >>> download(SimpleNamespace(url="https://host/some.pth", get_state_dict=offline))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ConnectionError: the weights ... could not be downloaded (no route to host): connect and run ...
    """
    file = cached_file(entry)
    start = torch.hub.HASH_REGEX.search(file.name)
    if file.is_file() and start:
        with file.open("rb") as content:
            damaged = not hashlib.file_digest(content, "sha256").hexdigest().startswith(start[1])
        if damaged:  # download it again
            file.unlink()
    try:
        with _timeout(TIMEOUT):
            return entry.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "connect and run xai-lessons prefetch, or go on with a built-in network"
        raise ConnectionError(f"the weights {entry} could not be downloaded ({reason}): {advice}") from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Let new connections fail after this time; torch.hub would wait forever for a silent server."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def cached_file(entry: Any) -> Path:
    """Where torch stores the weights of a torchvision entry.

    Args:
        entry: as for `download`.

    Returns:
        The path, whether the file exists or not.

    Example:
        >>> import torchvision
        >>> cached_file(torchvision.models.ResNet18_Weights.DEFAULT).name
        'resnet18-f37072fd.pth'
    """
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


def given_folder() -> Path | None:
    """The folder of weights that the environment variable `XAI_LESSONS_WEIGHTS` names; None if it is not set.

    Raises:
        ValueError: if there is no such folder.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, {FOLDER: "/no/such/stick"}):
        ...     given_folder()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: XAI_LESSONS_WEIGHTS names /no/such/stick, and there is no such folder: plug it in, ...
    """
    named = os.environ.get(FOLDER)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{FOLDER} names {named}, and there is no such folder: plug it in, or unset the variable")
    return folder


def given_file(name: str) -> Path | None:
    """The weights of a network in the folder `XAI_LESSONS_WEIGHTS`: NAME.safetensors, NAME.pth or torchvision's name.

    Args:
        name: torchvision's name of the network.

    Returns:
        The first of these files that is there; None if there is none, or the variable is not set.

    Raises:
        ValueError: if there is no such folder.

    Example:
        >>> import tempfile
        >>> from unittest import mock
        >>> with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {FOLDER: folder}):
        ...     (Path(folder) / "resnet18.pth").touch()
        ...     given_file("resnet18").name, given_file("vgg16")
        ('resnet18.pth', None)
    """
    folder = given_folder()
    patterns = (f"{name}.safetensors", f"{name}.pth", f"{name}-*.pth")
    return None if folder is None else next((file for one in patterns for file in sorted(folder.glob(one))), None)


def available_offline(names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Those of the networks that load without a download: from the folder `XAI_LESSONS_WEIGHTS`, or from torch's cache.

    Args:
        names: torchvision's names, such as `NAMES` or `DETECTORS`.

    Returns:
        Those that are there.

    Raises:
        ValueError: if that variable names a folder that does not exist.

    Example:
        >>> set(available_offline()) <= set(NAMES)
        True
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return tuple(name for name in names if given_file(name) or any(cache.glob(f"{name}-*.pth")))


def prefetch(names: Sequence[str] = NAMES) -> dict[str, Path]:
    """Download the weights of several networks, for example before class.

    Args:
        names: torchvision's names.

    Returns:
        The file in torch's cache for each name.

    Raises:
        ValueError: if torchvision has no such network.
        ConnectionError: if a download fails.

    Example:
        >>> prefetch(["resnet19"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: torchvision has no network 'resnet19': did you mean 'resnet18', ...
    """
    for name in names:
        if not exists(name):
            raise ValueError(f"torchvision has no network {name!r}: did you mean {closest(name, NAMES)}?")
    entries = {name: torchvision().models.get_model_weights(name).DEFAULT for name in names}
    for entry in entries.values():
        download(entry)
    return {name: cached_file(entry) for name, entry in entries.items()}
