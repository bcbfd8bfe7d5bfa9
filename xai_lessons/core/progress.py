"""Progress reporting and cancellation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Cancelled(Exception):
    """Raise it in a progress callback to stop a method; it passes through after everything has been restored."""


class Reporter:
    """Receives the progress of a method and its intermediate results; an exception raised here cancels the method.

    Subclass it and override what you need, or give it a callback.

    Args:
        callback: called with (done, total) after each batch.

    Example:
        >>> from xai_lessons import menagerie, models, occlusion
        >>> class Sums(Reporter):
        ...     def intermediate(self, result):
        ...         print(tuple(result.shape))
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> heatmap = occlusion.rise(model, image, samples=8, batch_size=4, progress=Sums())
        (1, 96, 96)
        (1, 96, 96)
    """

    def __init__(self, callback: Callable[[int, int], object] | None = None) -> None:
        self.callback = callback

    def update(self, done: int, total: int) -> None:
        """Called after each batch with the number of passes done and their total."""
        if self.callback is not None:
            self.callback(done, total)

    def intermediate(self, result: Tensor) -> None:
        """Called before `update` by methods with many passes: the result so far, which later passes change in place."""


Progress = bool | Callable[[int, int], object] | Reporter | None


class Meter:
    """Counts passes and tells a `Reporter`, a callback or, for True, a progress bar."""

    def __init__(self, progress: Progress, total: int) -> None:
        if not (progress is None or isinstance(progress, bool | Reporter) or callable(progress)):
            raise TypeError(f"progress must be True, a callback (done, total) or a Reporter, got {progress!r}")
        self.total, self.done, self.bar = total, 0, None
        if isinstance(progress, Reporter):
            self.reporter = progress
        else:
            self.reporter = Reporter(progress if callable(progress) else None)
        if progress is True:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total)

    def add(self, n: int, result: Tensor | None = None) -> None:
        """Count ``n`` more passes as done; ``result`` is what there is so far."""
        self.done += n
        if self.bar is not None:
            self.bar.update(n)
        if result is not None:
            self.reporter.intermediate(result)
        self.reporter.update(self.done, self.total)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
