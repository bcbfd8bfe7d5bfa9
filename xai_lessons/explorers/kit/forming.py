"""Look at a result while it forms: a long call on a thread of its own hands out what it has so far."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from xai_lessons.core.progress import Cancelled, Reporter

PAUSE = 0.12  # seconds between two looks


def forming(call: Callable[[Any], Tensor], progress: Callable[[int, int], object]) -> Iterator[Tensor]:
    """What a long call has so far, a few times a second, and at last what it returns.

    Args:
        call: takes the `Reporter` that it hands on as ``progress=``; it runs on a thread of its own.
        progress: called with (done, total); what it raises ends the call.

    Yields:
        Results as `passes.over_passes` has them half-way, then the whole one.
    """
    results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    closed, told = threading.Event(), time.monotonic()

    class Forming(Reporter):
        def update(self, done: int, total: int) -> None:
            if closed.is_set():
                raise Cancelled
            progress(done, total)

        def intermediate(self, result: Tensor) -> None:
            nonlocal told
            if time.monotonic() - told > PAUSE:
                told = time.monotonic()
                results.put(("part", result.clone()))

    def work() -> None:
        try:
            results.put(("whole", call(Forming())))
        except BaseException as error:  # raised again where it is waited for
            results.put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        kind = "part"
        while kind == "part":
            kind, result = results.get()
            if kind == "error":
                raise result
            yield result
    finally:
        closed.set()
        thread.join()
