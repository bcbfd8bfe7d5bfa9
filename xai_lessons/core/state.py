"""Leave a network as it was: flags, frozen weights and random numbers are restored, also after an exception."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class _Held:
    """A flag that is held for a while: of what, what it was, and how many callers want it held."""

    owner: Any
    was: bool
    callers: int = 0


_lock = threading.Lock()
_held: dict[tuple[str, int], _Held] = {}  # by the flag's name and its owner's id; the entry keeps the owner alive
_here = threading.local()  # the networks that this thread is inside of
_randomness = threading.RLock()
_sections = 0  # how often `private_random` was entered; odd stands for inside


def _modules(model: nn.Module) -> list[nn.Module]:
    """All modules of a network: `modules()` and `parameters()` would take a tenth of the time of a small Grad-CAM."""
    found, seen = [model], {model}
    for module in found:  # which grows as it is walked
        new = [m for m in module._modules.values() if m is not None and m not in seen]
        found += new
        seen.update(new)
    return found


@contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Use a network in eval mode with frozen weights, and restore every flag and the global random state afterwards.

    Frozen weights mean that no gradient of a weight is ever computed. Callers in several threads, also of networks that
    share modules, hold each flag together: the last to leave restores it. The random state is restored in the main
    thread only: a worker that turned it back would make the main thread draw the same numbers twice. Anything that is
    not an `nn.Module` is left alone.

    Args:
        model: a network, or any callable.
    """
    inside: set[int] = _here.__dict__.setdefault("models", set())
    if not isinstance(model, nn.Module) or id(model) in inside:  # a call within a call holds everything already
        yield
        return
    modules = _modules(model)
    flags: list[tuple[str, Any]] = [("training", m) for m in modules]
    flags += [("requires_grad", p) for m in modules for p in m._parameters.values() if p is not None]
    section, state = _sections, torch.get_rng_state() if threading.current_thread() is threading.main_thread() else None
    with _lock:
        for flag, owner in flags:
            was = getattr(owner, flag)
            entry = _held.get((flag, id(owner))) or _held.setdefault((flag, id(owner)), _Held(owner, was))
            entry.callers += 1
            if was:
                setattr(owner, flag, False)
    inside.add(id(model))
    try:
        yield
    finally:
        inside.remove(id(model))
        with _lock:
            for flag, owner in flags:
                entry = _held[flag, id(owner)]
                entry.callers -= 1
                if entry.callers == 0:
                    del _held[flag, id(owner)]
                    if getattr(owner, flag) != entry.was:
                        setattr(owner, flag, entry.was)
        if state is not None and section % 2 == 0 and section == _sections:  # nobody seeded the state meanwhile
            torch.set_rng_state(state)


@contextmanager
def private_random(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let modules that draw from torch's global generator, as dropout does, draw numbers that follow from a seed.

    One thread at a time; the global state is restored afterwards.

    Args:
        seed: decides the numbers.
        device: whose generator to seed beside the CPU's, if it is a GPU.
    """
    global _sections
    gpu = device if device is not None and device.type == "cuda" else None
    with _randomness:
        _sections += 1
        before = torch.get_rng_state(), None if gpu is None else torch.cuda.get_rng_state(gpu)
        torch.default_generator.manual_seed(seed)
        if gpu is not None:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_rng_state(before[0])
            if before[1] is not None:
                torch.cuda.set_rng_state(before[1], gpu or "cuda")
            _sections += 1
