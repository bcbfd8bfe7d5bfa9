"""Stored networks: each is two files, `NAME.safetensors` (half precision) and `NAME.json`, its card.

The built-in ones are in the package's folder `weights`; a student's own are wherever `save` wrote them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xai_lessons.core.files import write_whole
from xai_lessons.core.inputs import closest
from xai_lessons.models import architectures
from xai_lessons.models.classifier import Classifier
from xai_lessons.models.detector import Detector

WEIGHTS = Path(__file__).parent / "weights"
REQUIRED = ("architecture", "arguments", "classes", "mean", "std", "input_size", "sha256")


def built_in() -> tuple[str, ...]:
    """The names of the networks that come with the package.

    Example:
        >>> "menagerie-resnet" in built_in()
        True
    """
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def saved(folder: str | os.PathLike[str] = ".") -> tuple[str, ...]:
    """The names of the classifiers that `save` stored in a folder: `models.load` finds those of the current one.

    Args:
        folder: where to look.

    Returns:
        Their names in alphabetical order; files that `save` did not write are passed over.

    Example:
        >>> "menagerie-vgg" in saved(WEIGHTS)
        True
    """
    names = []
    for file in sorted(Path(folder).expanduser().glob("*.safetensors")):
        try:
            facts = card(str(file.resolve()))
        except (ValueError, OSError):
            continue
        if facts["architecture"] not in architectures.DETECTORS:
            names.append(file.stem)
    return tuple(names)


def card(name: str) -> dict[str, Any]:
    """The card of a built-in network, or of the one at a path: data, seeds, recipe, accuracy, known faults, history.

    Args:
        name: of a built-in network, or a path with or without ending.

    Returns:
        The facts of its JSON file; at least those of `REQUIRED`.

    Raises:
        ValueError: if there is no such network, or its card is damaged.

    Example:
        >>> card("menagerie-resnet")["architecture"]
        'ResNet'
    """
    path = find(name)
    if path is None:
        raise ValueError(f"there is no stored network {name!r}: did you mean {closest(name, built_in())}?")
    file = path.with_name(path.name + ".json")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"the card {file.name} is damaged ({error}): fetch or train the network again") from error
    if missing := [key for key in REQUIRED if not isinstance(facts, dict) or key not in facts]:
        raise ValueError(f"the card {file.name} does not say {', '.join(missing)}: store it with models.save")
    return facts


def find(name: str) -> Path | None:
    """The path, without an ending, of a built-in network or of a path with or without ending; None if there is none.

    Args:
        name: of a built-in network, or a path.

    Returns:
        The path; a built-in network comes before a file of the same name.

    Example:
        >>> find("menagerie-resnet.json").name
        'menagerie-resnet'
    """
    plain = name.removesuffix(".safetensors").removesuffix(".json")
    for path in (WEIGHTS / plain, Path(plain).expanduser()):
        if path.name and path.with_name(path.name + ".json").is_file():
            return path
    return None


def load(path: Path) -> Classifier | Detector:
    """Load a stored network by its path without an ending, on the CPU.

    Args:
        path: as `find` returns it.

    Returns:
        The network, with the classes and the normalization of its card.

    Raises:
        ValueError: if the card or the weights are missing, damaged or of another network.

    Example:
        >>> load(WEIGHTS / "menagerie-resnet").layers
        ('stem', 'stage1', 'stage2', 'stage3')
    """
    from safetensors.torch import load as parse

    facts = card(str(path))
    file = path.with_name(path.name + ".safetensors")
    if not file.is_file():
        raise ValueError(f"the weights of {path.name!r} are missing: expected {file.name} in the folder of its card")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise ValueError(f"the weights file {file.name} is damaged (wrong hash): fetch or train it again")
    try:
        network: Any = architectures.build(facts["architecture"], **facts["arguments"])
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in parse(content).items()})
    except (TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the weights in {file.name} do not fit the network on its card: {reason}") from error
    classes, mean, std, size = (facts[key] for key in ("classes", "mean", "std", "input_size"))
    name, fixed = facts.get("name", path.name), facts.get("fixed_size", False)
    if facts["architecture"] in architectures.DETECTORS:
        return Detector(network, classes, mean, std, size, name=name)
    return Classifier(network, classes, mean, std, size, network.layers, network.flat_layers, name, fixed)


def save(model: Classifier | Detector, path: str | os.PathLike[str], card: dict[str, Any]) -> Path:
    """Store a network with one of the package's architectures, so that `models.load` finds it by its path.

    Args:
        model: what to store.
        path: where, without an ending, for example "./my-network".
        card: facts about it; must contain "architecture" and "arguments", as `architectures.build` takes them.

    Returns:
        The path without an ending.

    Raises:
        ValueError: if the card does not say how the network is built.

    Example:
        >>> import tempfile
        >>> model, folder = load(WEIGHTS / "menagerie-resnet"), tempfile.mkdtemp()
        >>> save(model, f"{folder}/mine", {"architecture": "ResNet", "arguments": {}}).name
        'mine'
    """
    from safetensors.torch import save as serialize

    if card.get("architecture") not in architectures.ARCHITECTURES or "arguments" not in card:
        raise ValueError("the card must contain 'architecture' and 'arguments', as architectures.build takes them")
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    state = {name: _half(values.detach().cpu().contiguous()) for name, values in model.network.state_dict().items()}
    content = serialize(state)
    facts = {
        "name": target.name,
        "summary": "a network of your own",
        **card,
        "classes": list(model.classes),
        "input_size": model.input_size,
        "fixed_size": model.fixed_size,
        "mean": [round(float(v), 6) for v in model.mean.flatten()],
        "std": [round(float(v), 6) for v in model.std.flatten()],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_whole(target.with_name(target.name + ".safetensors"), content)
    write_whole(target.with_name(target.name + ".json"), (json.dumps(facts, indent=1) + "\n").encode())
    return target


def _half(values: Tensor) -> Tensor:
    """Convert to half precision if all values stay finite."""
    return half if values.is_floating_point() and torch.isfinite(half := values.half()).all() else values
