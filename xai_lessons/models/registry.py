"""Load a network by its name: a built-in one, one of torchvision's, or a saved one of your own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, overload

import torch

from xai_lessons.core.inputs import closest
from xai_lessons.models import imagenet, store
from xai_lessons.models.classifier import Classifier
from xai_lessons.models.detector import Detector


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Choose a device: the given one, else that of `XAI_LESSONS_DEVICE`, else CUDA if it is available.

    Args:
        device: "cpu", "cuda", "cuda:1", Apple's "mps", or any other that PyTorch has here; or a `torch.device`.

    Returns:
        The device.

    Raises:
        ValueError: if there is no such device, or it is not available here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    chosen = device or os.environ.get("XAI_LESSONS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(chosen)
    except RuntimeError:
        raise ValueError(f"there is no device {chosen!r}: use 'cpu', 'cuda' or, on a Mac, 'mps'") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device: set XAI_LESSONS_DEVICE=cpu, or see xai-lessons doctor")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("PyTorch finds no Apple GPU (mps): set XAI_LESSONS_DEVICE=cpu, or see xai-lessons doctor")
    if found.type not in ("cpu", "cuda", "mps"):
        try:
            torch.ones(1, device=found).cpu()
        except Exception as error:
            raise ValueError(f"PyTorch cannot compute on {chosen!r} here: set XAI_LESSONS_DEVICE=cpu") from error
    return found


def available() -> dict[str, str]:
    """The networks that `load` knows by name, each with one line about it.

    They are the built-in ones, those saved in the current folder, and torchvision's.

    Example:
        >>> available()["resnet18"]
        "ImageNet, 1,000 classes; torchvision's weights are downloaded once"
    """
    own = {name: store.card(name).get("summary", "") for name in (*store.built_in(), *store.saved())}
    own |= dict.fromkeys(imagenet.NAMES, "ImageNet, 1,000 classes; torchvision's weights are downloaded once")
    return own | dict.fromkeys(imagenet.DETECTORS, "a detector, COCO; torchvision's weights are downloaded once")


DetectorName = Literal[
    "menagerie-detector",
    "menagerie-detector-shortcut",
    "fasterrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn_v2",
    "ssdlite320_mobilenet_v3_large",
]


@overload
def load(  # type: ignore[overload-overlap]
    name: DetectorName, weights: str | os.PathLike[str] | None = None, device: str | torch.device | None = None
) -> Detector: ...


@overload
def load(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> Classifier: ...


def load(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """Load a network: a built-in one, one of torchvision's by its name, or your own by the path given to `save`.

    Args:
        name: see `available`; or a path such as "./my-network".
        weights: for torchvision's networks, a file of weights (safetensors, or a PyTorch state dict) instead of the
            download.
        device: where to compute; see `choose_device`.

    Returns:
        A `Classifier`, or a `Detector` where the network finds boxes, in eval mode with frozen weights, in the
        channels-last layout.

    Raises:
        ValueError: if there is no such network, or its weights are damaged or of another network.
        ConnectionError: if torchvision's weights cannot be downloaded.

    Example:
        >>> load("menagerie-resnet").input_size
        96
    """
    name = os.fspath(name)
    path, where = store.find(name), choose_device(device)
    if path is not None and weights is not None:
        raise ValueError(f"{name!r} has its own weights: weights= is for torchvision's networks")
    if path is None and (len(Path(name).parts) > 1 or name.startswith(".")):
        raise ValueError(f"there is no network at {name}: expected {Path(name).name}.json and .safetensors there")
    if path is None and not imagenet.exists(name):
        known = [*store.built_in(), *imagenet.NAMES, *imagenet.DETECTORS]
        raise ValueError(f"there is no network {name!r}: did you mean {closest(name, known)}?")
    with torch.inference_mode(False):  # weights made in inference mode would have no gradients
        model = store.load(path) if path is not None else imagenet.load(name, weights)
        return model.to(where).to(memory_format=torch.channels_last).eval().requires_grad_(False)
