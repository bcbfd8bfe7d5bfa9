"""Telling how far a method is, and stopping it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Progress = bool | Callable[[int, int], object] | None


class Cancelled(Exception):
    """Raise it in a progress callback to stop a method; it passes through after everything has been restored."""


class Meter:
    """Tells progress to a bar or a callback; an exception of the callback cancels."""

    def __init__(self, progress: Progress, total: int) -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(f"progress must be True or a callback (done, total), got {progress!r}")
        self.total, self.done, self.callback, self.bar = total, 0, progress if callable(progress) else None, None
        if progress is True:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total)

    def add(self, n: int, so_far: Callable[[], Tensor] | None = None) -> None:
        """Count ``n`` more as done; ``so_far`` gives the result up to here to a callback that wants it."""
        self.done += n
        if self.bar is not None:
            self.bar.update(n)
        if self.callback is not None:
            partial = getattr(self.callback, "partial", None)
            if partial is not None and so_far is not None:
                partial(so_far())
            self.callback(self.done, self.total)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
