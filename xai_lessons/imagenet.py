"""torchvision's ImageNet networks, by its own names and weights; torchvision is imported only when one is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xai_lessons import models

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


def exists(name: str) -> bool:
    """Whether torchvision has a classification network of this name."""
    if name in NAMES:
        return True
    import torchvision

    return name in torchvision.models.list_models(module=torchvision.models)


def load(name: str, weights: str | os.PathLike[str] | None = None) -> models.Classifier:
    """One of torchvision's networks as a `Classifier`.

    Args:
        name: torchvision's name.
        weights: a file of weights instead of the download into torch's cache (`TORCH_HOME`).

    Returns:
        The network on the CPU.

    Raises:
        ValueError: if the file is not there, damaged, or of another network.
        ConnectionError: if the download fails; nothing half-written stays behind.
    """
    import torchvision

    entry = torchvision.models.get_model_weights(name).DEFAULT
    module = torchvision.models.get_model(name, weights=None)
    state = _read(Path(weights)) if weights is not None else download(entry)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"these are not the weights of {name}: {str(error).strip().splitlines()[-1].strip()}"
        ) from error
    preset: Any = entry.transforms()
    return models.wrap(module.eval(), entry.meta["categories"], preset.mean, preset.std, preset.crop_size[0], name=name)


def _read(path: Path) -> dict[str, Tensor]:
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
    try:
        return entry.get_state_dict(progress=progress, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:
        file = cached_file(entry)
        if file.is_file():  # in the cache, but not readable: a later attempt must not trip over it again
            file.unlink()
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConnectionError(
            f"the weights {entry} could not be downloaded ({reason}): "
            "connect and run xai-lessons prefetch, or go on with a built-in network"
        ) from error


def cached_file(entry: Any) -> Path:
    """Where torch keeps the weights of a torchvision entry."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


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
