"""torchvision's ImageNet networks, by its own names and weights; torchvision is imported only when one is asked for."""

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

from xai_lessons.models.classifier import Classifier, wrap

# Those that the lessons offer; `models.load` takes every other classification network of torchvision as well.
NAMES = (
    "squeezenet1_0",
    "squeezenet1_1",
    "mobilenet_v3_small",
    "resnet18",
    "resnet50",
    "vgg16",
    "vgg19",
    "densenet121",
    "convnext_tiny",
)
TIMEOUT = 30.0  # seconds without a byte after which a server counts as gone
FOLDER = "XAI_LESSONS_WEIGHTS"  # names a folder of weights, such as one on a USB stick that goes round in class


def exists(name: str) -> bool:
    """Whether torchvision has a classification network of this name."""
    if name in NAMES:
        return True
    import torchvision

    return name in torchvision.models.list_models(module=torchvision.models)


def load(name: str, weights: str | os.PathLike[str] | None = None) -> Classifier:
    """One of torchvision's networks as a `Classifier`.

    Args:
        name: torchvision's name.
        weights: a file of weights; if not given, that of the folder `XAI_LESSONS_WEIGHTS` (see `given_file`), else the
            one in torch's cache (`TORCH_HOME`), into which it is downloaded.

    Returns:
        The network on the CPU.

    Raises:
        ValueError: if the file or the folder is not there, or the file is damaged or of another network.
        ConnectionError: if the download fails; nothing half-written stays behind.
    """
    import torchvision

    entry = torchvision.models.get_model_weights(name).DEFAULT
    # what torchvision itself sets when it loads these two with their weights
    own: dict[str, Any] = {"transform_input": True, "init_weights": False} if name in _INCEPTIONS else {}
    module = torchvision.models.get_model(name, weights=None, **own)
    file = weights if weights is not None else given_file(name)
    state = _read(Path(file)) if file is not None else download(entry)
    try:
        module.load_state_dict({_OLD_KEY.sub(r"\1\2", key): value for key, value in state.items()})
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"in {file or 'the download'} are not the weights of {name}: {reason}") from error
    preset: Any = entry.transforms()
    return wrap(module.eval(), entry.meta["categories"], preset.mean, preset.std, preset.crop_size[0], name=name)


_INCEPTIONS = ("googlenet", "inception_v3")
_OLD_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # in the stored weights of DenseNets


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


def download(entry: Any, progress: bool = True) -> dict[str, Tensor]:
    """The weights of one torchvision entry from torch's cache, or downloaded into it, checked by their hash.

    Args:
        entry: a member of one of torchvision's weights enumerations.
        progress: whether to show a bar.

    Returns:
        The state dict.

    Raises:
        ConnectionError: in one sentence, if it cannot be had.
    """
    _drop_damaged(cached_file(entry))
    try:
        with _patience(TIMEOUT):
            return entry.get_state_dict(progress=progress, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConnectionError(
            f"the weights {entry} could not be downloaded ({reason}): "
            "connect and run xai-lessons prefetch, or go on with a built-in network"
        ) from error


def _drop_damaged(file: Path) -> None:
    """Delete a file of the cache whose content has not the hash in its name, so that it is fetched again."""
    begins = torch.hub.HASH_REGEX.search(file.name)
    if file.is_file() and begins:
        with file.open("rb") as content:
            if not hashlib.file_digest(content, "sha256").hexdigest().startswith(begins[1]):
                file.unlink()


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """torch.hub waits forever for a silent server; new connections give up after this time."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def cached_file(entry: Any) -> Path:
    """Where torch keeps the weights of a torchvision entry."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


def given_folder() -> Path | None:
    """The folder of weights that the environment variable `XAI_LESSONS_WEIGHTS` names; None if it names none.

    Raises:
        ValueError: if there is no such folder.
    """
    named = os.environ.get(FOLDER)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{FOLDER} names {named}, and there is no such folder: plug it in, or unset the variable")
    return folder


def given_file(name: str) -> Path | None:
    """A network's weights in the folder `XAI_LESSONS_WEIGHTS`: NAME.safetensors, NAME.pth or torchvision's own name.

    Raises:
        ValueError: if there is no such folder.
    """
    folder = given_folder()
    patterns = (f"{name}.safetensors", f"{name}.pth", f"{name}-*.pth")
    return None if folder is None else next((file for one in patterns for file in sorted(folder.glob(one))), None)


def at_hand() -> tuple[str, ...]:
    """Those of `NAMES` that load without a download: in the folder `XAI_LESSONS_WEIGHTS`, or in torch's cache.

    Raises:
        ValueError: if that variable names a folder that is not there.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return tuple(name for name in NAMES if given_file(name) or any(cache.glob(f"{name}-*.pth")))


def prefetch(names: Sequence[str] = NAMES) -> dict[str, Path]:
    """Download the weights of several networks, for example before class.

    Args:
        names: torchvision's names.

    Returns:
        For each name the file in torch's cache.

    Raises:
        ValueError: if torchvision has no such network.
        ConnectionError: if one cannot be had.
    """
    import torchvision

    unknown = [name for name in names if not exists(name)]
    if unknown:
        raise ValueError(
            f"torchvision has no network {', '.join(map(repr, unknown))}: the lessons use {', '.join(NAMES)}"
        )
    files = {}
    for name in names:
        entry = torchvision.models.get_model_weights(name).DEFAULT
        download(entry)
        files[name] = cached_file(entry)
    return files
