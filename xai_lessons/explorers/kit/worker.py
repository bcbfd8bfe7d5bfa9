"""One thread that computes the latest request: the latest position of a slider always wins.

ipykernel 6 hands widget messages to the main thread one by one. The main thread only notes the latest request, so
messages never queue behind the computing; this thread computes, sends the images, and takes the latest request again.
Positions in between are dropped. Work that has shown something, or has taken `GRACE` seconds, is given up for a newer
request; other work is finished first, so that images keep coming while the hand moves. An idle thread ends by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from xai_lessons.core import progress
from xai_lessons.core.progress import Cancelled

GRACE = 0.25
IDLE = 30.0
PAUSE = 0.2  # seconds between two intermediate results on the screen


class Reporter(progress.Reporter):
    """What an explorer's `compute` is given: hand it to methods as ``progress=``.

    Args:
        callback: called with (done, total); what it raises cancels the method.
        show: called with each result that is to be shown.
        make: turns the intermediate tensor of a method into a result.

    Attributes:
        done: how many passes of the method were done at the last update.
    """

    done = 0

    def __init__(
        self,
        callback: Callable[[int, int], object] | None = None,
        show: Callable[[Any], object] | None = None,
        make: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__(callback)
        self._show, self._make, self._shown_at = show, make, time.monotonic()

    def update(self, done: int, total: int) -> None:
        """Note how many passes are done, and tell the callback."""
        self.done = done
        super().update(done, total)

    def __call__(self, done: int, total: int) -> None:
        """The same as `update`, where a plain callback is expected."""
        self.update(done, total)

    def showing(self, make: Callable[[Tensor], Any]) -> Reporter:
        """For a long call: `make` turns what the method has so far into a result, shown a few times a second."""
        return Reporter(self.callback, self._show, make)

    def intermediate(self, result: Tensor) -> None:
        """Show what a method has so far."""
        if self._show and self._make and time.monotonic() - self._shown_at > PAUSE:
            self._show(self._make(result.clone()))
            self._shown_at = time.monotonic()


class Job:
    """One request: a state to compute."""

    def __init__(self, state: Any, long: bool = True) -> None:
        self.state = state
        self.long = long  # whether to compute the whole result, or only what is shown before Run
        self.stop = threading.Event()  # set it and the work ends at its next progress call
        self.done = threading.Event()  # set when the job has ended
        self.started = 0.0
        self.result: Any = None  # the latest result
        self.error: BaseException | None = None
        self.showed = False  # whether a result is on the screen
        self.over = False  # whether the view has been told that the job has ended

    @classmethod
    def finished(cls, result: Any) -> Job:
        """A job that is already done."""
        job = cls(None)
        job.result = result
        job.done.set()
        return job


class Worker:
    """Runs jobs on a thread of its own, the newest first and the others not at all.

    Args:
        run: called on the thread with a job; keeps its result and error in it.
    """

    def __init__(self, run: Callable[[Job], None]) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._waiting: Job | None = None
        self._running: Job | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> Job | None:
        """The job being computed, if any."""
        return self._running

    def submit(self, job: Job) -> Job:
        """Request a job; one that still waits is dropped for it."""
        with self._changed:
            if self._waiting is not None:
                self._waiting.error = Cancelled()
                self._waiting.done.set()
            self._waiting = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="xai-lessons explorer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return job

    def check(self, job: Job) -> None:
        """Raise `Cancelled` if the job was stopped, or a newer one waits and it has shown something or had its time."""
        spent = job.showed or time.monotonic() - job.started > GRACE
        if job.stop.is_set() or (self._waiting is not None and spent):
            raise Cancelled

    def stop(self) -> None:
        """Stop the running job at its next check, and drop the waiting one."""
        with self._changed:
            if self._waiting is not None:
                self._waiting.error = Cancelled()
                self._waiting.done.set()
                self._waiting = None
            if self._running is not None:
                self._running.stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and nothing waits; False if that took longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and self._running is None, timeout)

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._waiting is not None, IDLE):
                    self._thread = None
                    return
                job, self._waiting = self._waiting, None
                self._running = job
            assert job is not None
            job.started = time.monotonic()
            try:
                self._run(job)
            except BaseException as error:  # nobody else would see it
                job.error = error
            with self._changed:
                self._running = None
                job.done.set()
                self._changed.notify_all()
