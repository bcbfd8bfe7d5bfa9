"""The smallest explorers: the base is tested on them, with and without a browser."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np

from xai_lessons import plots
from xai_lessons.explorers.kit import Explorer
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Many, Slider, Toggle
from xai_lessons.explorers.kit.panels import Panel


@dataclass(frozen=True)
class DiscState:
    """A disc or a square."""

    size: int = 3
    steps: float = 1.0
    shape: str = "disc"
    corner: str = "round"
    marks: tuple[str, ...] = ("a",)
    inverted: bool = False
    shade: float = 0.5


@dataclass(frozen=True)
class DiscResult:
    """Its image (32, 32), and the fraction of it that is covered."""

    image: np.ndarray
    fraction: float


def disc(state: DiscState) -> np.ndarray:
    """The image (32, 32) of a state."""
    line = np.linspace(-1, 1, 32)
    x, y = np.meshgrid(line, line)
    far = np.hypot(x, y) if state.shape == "disc" else np.maximum(abs(x), abs(y)) + 0.1 * (state.corner == "round")
    image = (far < state.size / 10).astype(float) / state.steps + 0.01 * len(state.marks) * ("b" in state.marks or x)
    return 1 - image if state.inverted else image


class Disc(Explorer):
    """Quick: computes at once."""

    name, title, question = "disc", "A disc", "How large is it?"
    State = DiscState
    stage = ("size", "steps", "shape")
    shown_by_code = ("image",)

    def controls(self):
        """One of each kind."""
        changed = ("image", "fraction")
        return (
            Slider(name="size", label="Size", low=1, high=9, changes=changed, group="Shape", help="Tenths"),
            Slider(name="steps", label="Steps", values=(1.0, 2.0, 5.0), changes=changed, group="Shape"),
            Choice(name="shape", label="Shape", choices=("disc", "square"), changes=changed, buttons=True),
            Choice(
                name="corner",
                label="Corner",
                choices=lambda state: ("round", "sharp") if state.shape == "square" else ("round",),
                when=lambda state: state.shape == "square",
                changes=changed,
            ),
            Many(name="marks", label="Marks", choices=("a", "b", "c"), changes=("image",)),
            Toggle(name="inverted", label="Inverted", changes=changed),
            Slider(name="shade", label="Shade", low=0.0, high=1.0, step=0.1, changes=(PANELS,)),
            Button(name="grow", label="Grow", changes=changed, act=lambda s: DiscState(**{**vars(s), "size": 7})),
        )

    def compute(self, state, progress):
        """The picture; a disc of size 8 cannot be had."""
        if state.size == 8:
            raise ValueError("size must not be 8.")
        if state.size == 9 and state.inverted:
            raise KeyError("lost")
        image = disc(state)
        return DiscResult(image, float(image.mean()))

    def panels(self, result, state):
        """The picture."""
        image = plots.enlarge(np.clip(result.image * state.shade, 0, 1), 128)
        return [Panel("Picture", image, "a disc", 128, touch="disc")]

    def touch(self, at, result, state):
        """A click says how large; other moves do nothing but grow it where the button is down."""
        sizes = {"click": at.cell(9, 9)[1] + 1, "drag": 9}
        return replace(state, size=sizes.get(at.kind, state.size), shade=round(at.y, 1))

    def describe(self, result, state):
        """How much is covered."""
        return f"The {state.shape} covers {result.fraction:.2f}."

    def code(self, state):
        """The call."""
        return f"from toys import DiscState, disc\n\nimage = disc({state!r})"


class Steps(Disc):
    """Long: a picture a step, each step when `gate` lets it pass; `live` by default."""

    name, title = "steps", "Step by step"
    gates: dict[int, threading.Semaphore]

    def __init__(self, **initial):
        """One gate a size, so that a test can hold one computation and let another pass."""
        self.gates = {size: threading.Semaphore(0) for size in range(1, 10)}
        self.at_step = {size: threading.Event() for size in range(1, 10)}
        self.ended = []
        super().__init__(**initial)

    def compute(self, state, progress):
        """Four pictures, each darker."""
        try:
            for step in range(4):
                self.at_step[state.size].set()
                assert self.gates[state.size].acquire(timeout=20)
                progress(step, 4)
                image = disc(state) * (4 - step)
                yield DiscResult(image, float(image.mean()))
        finally:
            self.ended.append(state.size)


class OnDemand(Steps):
    """Computed when Run is pressed; before that it shows a plain picture."""

    name, live = "demand", False

    def preview(self, state):
        """The picture as it is."""
        return DiscResult(disc(state), -1.0)


class Endless(Disc):
    """Counts until it is stopped, a hundred steps a second: for the browser."""

    name, title, live = "endless", "It counts", False

    def preview(self, state):
        """The picture as it is."""
        return DiscResult(disc(state), 0.0)

    def compute(self, state, progress):
        """Wait a little, again and again."""
        pause = threading.Event()
        for step in range(100_000):
            pause.wait(0.01)
            progress(step, 100_000)
        return self.preview(state)
