"""One thread that does the newest thing asked of it: the latest position of a slider always wins.

ipykernel 6 hands widget messages to the main thread one by one. The main thread only notes the newest wish, so messages
never queue behind the computing; this thread computes, sends the pictures, and takes the newest wish again. Positions
in between are dropped. Work that has shown something, or has taken `GRACE` seconds, is given up for a newer wish; other
work is finished first, so that pictures keep coming while the hand moves. An idle thread ends by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from xai_lessons.core.progress import Cancelled

GRACE = 0.25
IDLE = 30.0


class Job:
    """One wish: a state to compute, an event that stops it, and what came out.

    Attributes:
        state: the state to compute.
        long: whether to compute the whole of it, or only what is shown before Run.
        stop: set it and the work ends at its next progress call.
        done: set when nothing more will come of this job.
        result, error: what came out, or why nothing did.
        showed: True once something of it is on the screen.
        over: True once its last word is.
    """

    def __init__(self, state: Any, long: bool = True) -> None:
        self.state, self.long = state, long
        self.stop, self.done = threading.Event(), threading.Event()
        self.started = 0.0
        self.result: Any = None
        self.error: BaseException | None = None
        self.showed = self.over = False


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
        """Ask for a job; one that still waits is dropped for it."""
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
