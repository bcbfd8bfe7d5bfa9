"""Find a network by its name: built in, torchvision's, or one of your own that was saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from xai_lessons.core.inputs import closest
from xai_lessons.models import imagenet, store
from xai_lessons.models.classifier import Classifier


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for, else that of the environment variable `XAI_LESSONS_DEVICE`, else CUDA if it is there.

    Raises:
        ValueError: if CUDA is asked for and not there, or there is no such device.
    """
    asked = device or os.environ.get("XAI_LESSONS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        wanted = torch.device(asked)
    except RuntimeError:
        raise ValueError(f"there is no device {asked!r}: use 'cpu' or 'cuda'") from None
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "CUDA was asked for but this PyTorch finds no GPU: set XAI_LESSONS_DEVICE=cpu, or see xai-lessons doctor"
        )
    return wanted


def available() -> dict[str, str]:
    """What `load` knows: the built-in networks and torchvision's, each with one line about it."""
    own = {name: store.card(name)["summary"] for name in store.built_in()}
    return own | dict.fromkeys(imagenet.NAMES, "ImageNet, 1,000 classes; torchvision's weights are downloaded once")


def load(
    name: str, weights: str | os.PathLike[str] | None = None, device: str | torch.device | None = None
) -> Classifier:
    """Load a network: a built-in one, one of torchvision's by its name, or your own by the path given to `save`.

    Args:
        name: see `available`; or a path such as "./my-network".
        weights: for torchvision's networks a file with weights (safetensors, or a PyTorch state dict) instead of the
            download.
        device: where to compute; see `choose_device`.

    Returns:
        A `Classifier` in eval mode with frozen weights, in the channels-last layout.

    Raises:
        ValueError: if there is no such network, or its weights are damaged or of another network.
        ConnectionError: if torchvision's weights cannot be downloaded.
    """
    name, path = os.fspath(name), store.find(os.fspath(name))
    where = choose_device(device)
    with torch.inference_mode(False):  # weights made in inference mode would know no gradients
        if path is not None:
            if weights is not None:
                raise ValueError(f"{name!r} comes with its weights: weights= is for torchvision's networks")
            model = _load_stored(path)
        else:
            model = _load_imagenet(name, weights)
        model = model.to(where).to(memory_format=torch.channels_last)
        return model.eval().requires_grad_(False)


def _load_imagenet(name: str, weights: str | os.PathLike[str] | None) -> Classifier:
    if len(Path(name).parts) > 1 or name.startswith("."):
        raise ValueError(f"there is no network at {name}: {Path(name).name}.json and .safetensors should lie there")
    if not imagenet.exists(name):
        known = [*store.built_in(), *imagenet.NAMES]
        raise ValueError(f"there is no network {name!r}: did you mean {closest(name, known)}?")
    return imagenet.load(name, weights)


def _load_stored(path: Path) -> Classifier:
    network, facts = store.read(path)
    layers: Any = (getattr(network, "layers", ()), getattr(network, "flat_layers", ()))
    keys = ("classes", "mean", "std", "input_size")
    if missing := [key for key in keys if key not in facts]:
        raise ValueError(f"the card of {path.name!r} does not say {', '.join(missing)}: store it with models.save")
    classes, mean, std, size = (facts[key] for key in keys)
    name, fixed = facts.get("name", path.name), facts.get("fixed_size", False)
    return Classifier(network, classes, mean, std, size, layers[0], layers[1], name, fixed)


def save(model: Classifier, path: str | os.PathLike[str], card: dict[str, Any]) -> Path:
    """Store a network around one of the package's architectures, so that `load` finds it by its path.

    Args:
        model: what to store.
        path: where to, without an ending, for example "./my-network".
        card: what to say of it; must hold "architecture" and "arguments", as `networks.build` takes them.

    Returns:
        The path, without an ending.

    Raises:
        ValueError: if the card does not say how the network is built.
    """
    facts = {
        **card,
        "classes": list(model.classes),
        "input_size": model.input_size,
        "fixed_size": model.fixed_size,
        "mean": [round(float(v), 6) for v in model.mean.flatten()],
        "std": [round(float(v), 6) for v in model.std.flatten()],
    }
    return store.write(model.network, path, facts)
