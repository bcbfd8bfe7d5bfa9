"""Stored networks: each is two files, `NAME.safetensors` (half precision) and `NAME.json`, its card.

The built-in ones lie in the package's folder `weights`; a student's own lie wherever `save` put them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons.core.inputs import closest
from xai_lessons.models import architectures as networks

WEIGHTS = Path(__file__).parent / "weights"


def built_in() -> tuple[str, ...]:
    """The names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def card(name: str) -> dict[str, Any]:
    """The card of a built-in network, or of one saved at a path: data, seeds, recipe, accuracy, known faults, history.

    Raises:
        ValueError: if there is no such network.
    """
    path = find(name)
    if path is None:
        raise ValueError(f"there is no stored network {name!r}: did you mean {closest(name, built_in())}?")
    return _card(path)


def _card(path: Path) -> dict[str, Any]:
    file = path.with_name(path.name + ".json")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"the card {file.name} is damaged ({error}): fetch or train the network again") from error
    missing = [
        key for key in ("architecture", "arguments", "sha256") if not isinstance(facts, dict) or key not in facts
    ]
    if missing:
        raise ValueError(f"the card {file.name} does not say {', '.join(missing)}: fetch or train the network again")
    return facts


def find(name: str) -> Path | None:
    """Where the two files of a stored network lie, without their endings; one of the endings may come with the name."""
    plain = name.removesuffix(".safetensors").removesuffix(".json")
    for path in (WEIGHTS / plain, Path(plain).expanduser()):
        if path.name and path.with_name(path.name + ".json").is_file():
            return path
    return None


def read(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A stored network and its card.

    Args:
        path: where it lies, without an ending; see `find`.

    Returns:
        The bare network with its weights, and the card.

    Raises:
        ValueError: if the weights are missing or damaged.
    """
    from safetensors.torch import load

    facts = _card(path)
    file = path.with_name(path.name + ".safetensors")
    if not file.is_file():
        raise ValueError(f"the weights of {path.name!r} are missing: {file.name} should lie beside its card")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise ValueError(
            f"the weights file {file.name} is damaged (its hash is not the one on its card): fetch or train it again"
        )
    try:
        network = networks.build(facts["architecture"], **facts["arguments"])
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load(content).items()})
    except (TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the weights in {file.name} do not fit the network on its card: {reason}") from error
    return network, facts


def _half(values: Tensor) -> Tensor:
    """Half precision, where it can hold the values."""
    return half if values.is_floating_point() and torch.isfinite(half := values.half()).all() else values


def write(network: nn.Module, path: str | os.PathLike[str], card: dict[str, Any]) -> Path:
    """Store a network and its card, each file whole or not at all.

    Args:
        network: built by `networks.build`.
        path: where to, without an ending.
        card: what to say of it; must hold "architecture" and "arguments", as `networks.build` takes them.

    Returns:
        The path, without an ending.

    Raises:
        ValueError: if the card does not say how the network is built.
    """
    from safetensors.torch import save

    if card.get("architecture") not in networks.ARCHITECTURES or "arguments" not in card:
        raise ValueError("the card must hold 'architecture' and 'arguments', as networks.build takes them")
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    content = save({k: _half(v) for k, v in state.items()})
    facts = {"name": target.name, "summary": "a network of your own", **card}
    facts["sha256"] = hashlib.sha256(content).hexdigest()
    write_whole(target.with_name(target.name + ".safetensors"), content)
    write_whole(target.with_name(target.name + ".json"), (json.dumps(facts, indent=1) + "\n").encode())
    return target


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
