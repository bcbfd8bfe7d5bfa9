"""Leave a network as it was: training flags, frozen weights and random state, also after an exception."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class _Held:
    """A flag that is held at False: its owner, its value before, and how many callers hold it."""

    owner: Any
    before: bool
    callers: int = 0


_lock = threading.Lock()
_held: dict[tuple[str, int], _Held] = {}  # by the flag's name and its owner's id; the entry keeps the owner alive
_thread = threading.local()  # the networks that this thread holds
_random_lock = threading.RLock()
_random_sections = 0  # how often `private_random` was entered or left; odd while inside


@contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Use a network in eval mode with frozen weights; restore every flag and the global random state afterwards.

    Callers in several threads, also of networks that share modules, hold each flag together: the last one to leave
    restores it. The random state is restored in the main thread only: a worker that turned it back would make the main
    thread draw the same numbers twice.

    Args:
        model: a network; any other callable is left alone.

    Raises:
        ValueError: inside, if the network needs an operation that Apple's GPU does not have.

    Example:
        >>> network = nn.Linear(2, 2)
        >>> with preserved(network):
        ...     print(network.training, network.weight.requires_grad)
        False False
        >>> network.training, network.weight.requires_grad
        (True, True)
    """
    mine: set[int] = _thread.__dict__.setdefault("models", set())
    if not isinstance(model, nn.Module) or id(model) in mine:  # a nested call holds everything already
        yield
        return
    flags: list[tuple[str, Any]] = [("training", module) for module in model.modules()]
    flags += [("requires_grad", parameter) for parameter in model.parameters()]
    main = threading.current_thread() is threading.main_thread()
    sections, random_state = _random_sections, torch.get_rng_state() if main else None
    with _lock:
        for flag, owner in flags:
            held = _held.setdefault((flag, id(owner)), _Held(owner, getattr(owner, flag)))
            held.callers += 1
            if getattr(owner, flag):
                setattr(owner, flag, False)
    mine.add(id(model))
    try:
        yield
    except NotImplementedError as error:
        missing = re.search(r"operator '([^']+)' is not currently implemented for the MPS device", str(error))
        if missing is None:
            raise
        advice = "set XAI_LESSONS_DEVICE=cpu, or PYTORCH_ENABLE_MPS_FALLBACK=1, and start again"
        raise ValueError(f"PyTorch has no {missing[1]} on Apple's GPU (mps): {advice}") from error
    finally:
        mine.remove(id(model))
        with _lock:
            for flag, owner in flags:
                held = _held[flag, id(owner)]
                held.callers -= 1
                if held.callers == 0:
                    del _held[flag, id(owner)]
                    if getattr(owner, flag) != held.before:
                        setattr(owner, flag, held.before)
        if random_state is not None and sections % 2 == 0 and sections == _random_sections:  # nobody seeded meanwhile
            torch.set_rng_state(random_state)


@contextmanager
def private_random(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generator, as dropout needs it, for a while; one thread at a time.

    Args:
        seed: decides the random numbers.
        device: a GPU whose generator is seeded too.

    Example:
        >>> with private_random(0):
        ...     print(round(float(torch.rand(())), 3))
        0.496
    """
    global _random_sections
    gpu = device if device is not None and device.type == "cuda" else None
    with _random_lock:
        _random_sections += 1
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
            _random_sections += 1
