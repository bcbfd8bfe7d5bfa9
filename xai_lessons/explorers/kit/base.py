"""The base of all explorers: a state, a pure function of it, and everything around that students expect.

How to write one (tests/toys.py has the smallest, `classification` a whole one)::

    from xai_lessons.explorers.kit import ImageExplorer, ImageResult, ImageState, Reporter, TargetState
    from xai_lessons.explorers.kit.browser import Touch
    from xai_lessons.explorers.kit.controls import PANELS, Choice, Slider, group
    from xai_lessons.explorers.kit.panels import Panel, bar_panel

    @dataclass(frozen=True)
    class CamState(ImageState, TargetState):                    # plain values, each with its default
        opacity: float = 0.7

    @dataclass(frozen=True)
    class CamResult(ImageResult):                               # arrays and numbers; has `image` and `shown`
        heatmap: np.ndarray

    class CamExplorer(ImageExplorer):
        name, title = "cam", "Where did it look?"               # css class .xai-cam, files cam-1.png
        State = CamState
        stage = ("target_class", "opacity", "seed")             # the controls that stand open; More holds the others
        shown_by_code = ("heatmap",)                            # fields of the result that the shown code computes

        def controls(self):                                     # data; what has no `changes` takes the group's
            opacity = Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.05, changes=(PANELS,))
            return (*group("Map", self.target_control("heatmap"), opacity), *self.network_controls("heatmap"),
                    *self.image_controls("image", "heatmap"))

        def compute(self, state, progress):                     # pure; `progress=progress` goes to the methods
            model, image = self.model(state), self.image(state)
            heatmap = cam.grad_cam(model, image, self.target(state), progress=progress)
            result = CamResult(*self.both_sizes(image), heatmap.cpu().numpy())
            yield result                                        # quick; then the same, drawn for the screen
            yield replace(result, shown=self.screen_image(state).numpy())

        def panels(self, result, state): ...                    # -> Panels, bar_panel(...), self.probability_panel(...)
        def describe(self, result, state): ...                  # -> one sentence: headline, text of the stored output
        def code(self, state):                                  # -> Python that computes and draws the same
            return self.script(state, f"heatmap = cam.grad_cam(model, image, {self.target(state)!r})")

A picture can be touched. Its panel gives it a name, and `touch` makes of each place a new state::

    def panels(self, result, state):
        return [Panel("The map", image, alt, touch="map"), ...]

    def touch(self, at, result, state):                         # `Touch`: at.name, at.x, at.y in [0, 1], at.kind
        return replace(state, place=at.cell(12, 12)) if at.kind == "click" else state

`touch` is pure and quick. It hears each "click", and of "move" and "drag" (a move with the button down) the latest
place; arrow keys move a cursor, Enter clicks. A state that is equal to the one before does nothing. Fields named in
`only_drawn` count as controls that only draw anew. The caption says what can be touched.

`compute` touches no widget and keeps nothing (what is cached says so, and its cache is bounded); it runs on a worker
thread with one torch thread (`threads`). What takes more than a moment is a *generator*, which yields a result after
each step. Stop is heard at each yield and wherever a method reports its progress. A method that takes long shows its
intermediate results with ``progress=progress.showing(make)``, where `make` turns its tensor into a result. What takes
very long sets `live = False` and has a `preview(state)`, which is shown when a control moves; a Run button starts
`compute`. A control whose `changes` is (PANELS,) only draws anew. Every exception ends in the error line, a ValueError
in its own words.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from xai_lessons import plots
from xai_lessons.core import libraries
from xai_lessons.core.progress import Cancelled
from xai_lessons.explorers.kit.browser import Touch
from xai_lessons.explorers.kit.controls import PANELS, Button, Control
from xai_lessons.explorers.kit.panels import Panel, contact_sheet
from xai_lessons.explorers.kit.view import View, error_text
from xai_lessons.explorers.kit.worker import Job, Reporter, Worker

BUSY_AFTER = 0.3  # seconds until the busy sign
STORED_BYTES, STORED_QUALITY = 65_000, 70  # of the JPEG in a stored notebook: at most


class Explorer:
    """State -> compute -> result -> panels, with controls, busy sign, Stop, Reset, Show code and Save image.

    Args:
        initial: fields of the state to start from, checked against the controls.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str] = ""
    State: ClassVar[type]
    stage: ClassVar[tuple[str, ...]] = ()  # names of the three or four controls of its puzzle; More holds the others
    shown_by_code: ClassVar[tuple[str, ...]] = ()
    only_drawn: ClassVar[tuple[str, ...]] = ()  # fields that no control sets, and for which nothing is computed again
    live: ClassVar[bool] = True
    threads: ClassVar[int | None] = 1

    def __init__(self, **initial: Any) -> None:
        self.declared: tuple[Control, ...] = tuple(self.controls())
        self.initial = self.state = self._changed(self.State(), initial)
        self.error: BaseException | None = None
        drawing = {c.name for c in self.declared if c.changes == (PANELS,)} & {f.name for f in fields(self.State)}
        self._drawing = drawing.union(self.only_drawn)
        self._shown: tuple[Any, Any] | None = None  # the state and the result on the screen
        self._lock = threading.RLock()
        self._view: View | None = None
        self._worker = Worker(self._run)

    # What an explorer writes.

    def controls(self) -> Sequence[Control]:
        """The controls, in the order in which they stand."""
        raise NotImplementedError

    def compute(self, state: Any, progress: Reporter) -> Any:
        """The result of a state, or a generator of ever better ones; pure."""
        raise NotImplementedError

    def preview(self, state: Any) -> Any:
        """What is shown before Run, where `live` is False."""
        raise NotImplementedError

    def panels(self, result: Any, state: Any) -> Sequence[Panel]:
        """The panels of a result."""
        raise NotImplementedError

    def describe(self, result: Any, state: Any) -> str:
        """One plain sentence that says what is to be seen, numbers rounded so that they are the same everywhere."""
        raise NotImplementedError

    def code(self, state: Any) -> str:
        """Python that computes `shown_by_code` under the same names, and draws it."""
        raise NotImplementedError

    def touch(self, at: Touch, result: Any, state: Any) -> Any:
        """The state after a picture was touched there; `result` and `state` are on the screen. Pure."""
        raise NotImplementedError

    def code_names(self, state: Any) -> dict[str, Any]:
        """What the shown code takes as given, name -> value: an image or a network of the student's own."""
        return {}

    # What a notebook and a test use.

    @property
    def widget(self) -> Any:
        """The ipywidgets view, made when first used."""
        return self._open().root

    @property
    def inputs(self) -> dict[str, Any]:
        """The ipywidget of each control, by the control's name."""
        return self._open().inputs

    @property
    def result(self) -> Any:
        """What is on the screen; computed if nothing is."""
        if self._shown is None:
            self._finish(self._worker.submit(Job(self.state, long=self.live)))
        return self._shown[1] if self._shown else None

    @property
    def shown(self) -> Any:
        """The state that is on the screen."""
        return self._shown[0] if self._shown else self.state

    def evaluate(self, state: Any | None = None) -> Any:
        """The whole result of a state, computed at once; nothing on the screen changes."""
        outcome = self.compute(self.state if state is None else state, Reporter())
        return deque(outcome, maxlen=1).pop() if isinstance(outcome, Generator) else outcome

    def set(self, **changes: Any) -> Any:
        """Move controls from Python: computes, shows and returns the result, or raises what went wrong."""
        return self._finish(self.request(**changes))

    def run(self) -> Any:
        """What the Run button does, but waits for it and returns the result."""
        return self._finish(self.request_run())

    def request(self, **changes: Any) -> Job:
        """Move controls without waiting: what widgets call. The latest request wins."""
        self.state = self._changed(self.state, changes)
        if self._view is not None:
            self._view.requested()
            self._view.sync(self.state)
        if changes and changes.keys() <= self._drawing and self._shown is not None:
            self._present(*self._shown)
            return Job.finished(self._shown[1])
        running = self._worker.running
        if not self.live and running is not None and running.long and not running.stop.is_set():
            return running  # a run goes on while controls are moved; they count for the next one
        return self._worker.submit(Job(self.state, long=self.live))

    def press(self, name: str) -> Job:
        """Press one of the buttons declared among the controls."""
        button = next(c for c in self.declared if isinstance(c, Button) and c.name == name)
        after = button.act(self.state)
        return self.request(**{f.name: getattr(after, f.name) for f in fields(after)})

    def press_on(self, at: Touch) -> Job:
        """Touch a picture, as the pointer and the keyboard do."""
        shown = self.result
        after = self.touch(at, shown, self.state)
        changes = {f.name: getattr(after, f.name) for f in fields(after)}
        changed = {name: value for name, value in changes.items() if value != getattr(self.state, name)}
        return self.request(**changed) if changed else Job.finished(shown)

    def request_run(self) -> Job:
        """What the Run button does, without waiting."""
        if self._view is not None:
            self._view.requested()
        return self._worker.submit(Job(self.state))

    def extras(self) -> Sequence[Any]:
        """More widgets of one's own, before the images (say, a canvas to paint on)."""
        return ()

    def reset(self) -> Job:
        """Back to the state of the beginning."""
        self._worker.stop()
        self.state = self.initial
        return self.request()

    def stop(self) -> None:
        """Stop what is being computed; answered at once, and the work ends at its next step."""
        self._worker.stop()
        if self._view is not None:
            self._view.idle()
            self._view.show_note("Stopped.")

    def wait(self, timeout: float | None = 30) -> bool:
        """Wait until nothing is being computed; False if that took longer than `timeout` seconds."""
        return self._worker.wait(timeout)

    def render(self) -> np.ndarray:
        """All panels on one image, uint8 (H, W, 3): what is saved, and what is seen without widgets."""
        result = self.result
        return contact_sheet(self.title, self.describe(result, self.shown), self.panels(result, self.shown))

    def save(self, folder: str | Path = ".") -> Path:
        """Write the panels as PNG beside the notebook, under a name that is free."""
        content = plots.png(self.render(), level=6)
        number = 1
        while True:
            path = Path(folder) / f"{self.name}-{number}.png"
            try:
                with open(path, "xb") as file:
                    file.write(content)
                return path
            except FileExistsError:
                number += 1

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """The live widget, and what is seen where no widget runs: a JPEG, and the sentence that describes it."""
        try:
            still: dict[str, Any] = {"text/plain": f"{self.title} {self.describe(self.result, self.shown)}"}
            still["image/jpeg"] = plots.jpeg(self.render(), STORED_QUALITY, most=STORED_BYTES)
        except Exception as error:  # the widget says it too, where the student looks
            still = {"text/plain": error_text(error)}
        bundle = {**libraries.widget_view(self.widget), **still}
        made = self._open().browser._repr_mimebundle_()  # anywidget knows what Google Colab needs
        return (bundle, made[1]) if made and made[1] else bundle

    # How it works.

    def _open(self) -> View:
        """The view; made when first used, and filled with what is computed."""
        if self._view is None:
            self._view = View(self)
            if self._shown is not None:
                self._present(*self._shown)
            else:
                self.request()
        return self._view

    def _changed(self, state: Any, changes: dict[str, Any]) -> Any:
        """The state with some fields changed: each checked, then all the others made to fit."""
        known = {f.name for f in fields(self.State)}
        for name in changes:
            if name not in known:
                raise ValueError(f"{name!r} is not a field of this explorer: use one of {', '.join(sorted(known))}.")
        state = replace(state, **changes)
        for control in self.declared:
            if control.name in known:
                value = getattr(state, control.name)
                fit = control.check if control.name in changes else control.repair
                state = replace(state, **{control.name: fit(value, state)})
        return state

    def _finish(self, job: Job) -> Any:
        """Wait for a job; an interrupt of the cell stops it."""
        try:
            job.done.wait()
        except KeyboardInterrupt:
            self.stop()
            raise
        if job.error is not None and not isinstance(job.error, Cancelled):
            raise job.error
        return job.result

    def _run(self, job: Job) -> None:
        """Compute a job on the worker's thread, showing what is ready; every exception ends in the error line."""
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        busy = threading.Timer(BUSY_AFTER, self._notify, (job, "busy"))
        busy.daemon = True
        busy.start()
        steps = None
        try:
            steps = self.compute(job.state, self._reporter(job)) if job.long else self.preview(job.state)
            for result in steps if isinstance(steps, Generator) else (steps,):
                self._show(job, result)
                if isinstance(steps, Generator):
                    self._worker.check(job)
            self.error = None
        except Cancelled as stopped:
            job.error = stopped
        except BaseException as error:
            job.error = self.error = error
        finally:
            busy.cancel()
            if isinstance(steps, Generator):
                steps.close()
            with self._lock:
                job.over = True
                if self._view is not None:
                    self._view.idle(self.error)

    def _reporter(self, job: Job) -> Reporter:
        """What `compute` passes on: checks Stop, moves the bar ten times a second, shows intermediate results."""
        moved = job.started + BUSY_AFTER

        def update(done: int, total: int) -> None:
            nonlocal moved
            self._worker.check(job)
            now = time.monotonic()
            if now - moved > 0.1:
                moved = now
                self._notify(job, "progress", done, total)

        return Reporter(update, lambda result: self._show(job, result))

    def _notify(self, job: Job, method: str, *values: Any) -> None:
        """Call a method of the view, unless the job is over by then."""
        with self._lock:
            if self._view is not None and not job.over and not job.stop.is_set():
                getattr(self._view, method)(*values)

    def _show(self, job: Job, result: Any) -> None:
        """Show a result of a job, unless it was stopped."""
        if job.stop.is_set():
            raise Cancelled
        job.result = result
        self._present(job.state, result)
        job.showed = True

    def _present(self, state: Any, result: Any) -> None:
        """Put a result on the screen, drawn as the controls that only draw are set now."""
        with self._lock:
            state = replace(state, **{name: getattr(self.state, name) for name in self._drawing})
            if self._view is not None:
                self._view.present(self.panels(result, state), self.describe(result, state), self.code(state))
            self._shown = (state, result)
