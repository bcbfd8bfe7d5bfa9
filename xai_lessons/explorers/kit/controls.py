"""Controls as data: what can be changed, between which limits, and what of the result it must change.

A control does not depend on any widget; `view` turns it into one. Each names a field of the explorer's state, and in
`changes` the fields of the result (or "panels", the images as drawn) that moving it must change: the tests move every
control through all of its positions and look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

#: A control that changes only how the result is drawn: nothing is computed again.
PANELS = "panels"
Choices = Sequence[Any] | Callable[[Any], Sequence[Any]]


@dataclass(frozen=True)
class Control:
    """What all controls have in common."""

    name: str  # the field of the state
    label: str  # what the student reads
    _: KW_ONLY
    changes: tuple[str, ...] = ()  # fields of the result that must change when this moves from end to end
    help: str = ""  # one sentence, shown when the mouse rests on it
    group: str = ""  # the heading it stands under, among those that More unfolds
    when: Callable[[Any], bool] | None = None  # shown only where this is true of the state

    def positions(self, state: Any) -> Sequence[Any]:
        """The values a sweep visits, from end to end; none for what holds no value."""
        return ()

    def check(self, value: Any, state: Any) -> Any:
        """The value as the state keeps it; ValueError in one sentence if this control does not allow it."""
        return value

    def repair(self, value: Any, state: Any) -> Any:
        """The nearest value that this control allows in that state."""
        return value

    def refuse(self, value: Any, expected: str) -> ValueError:
        """The error for a value that is not allowed."""
        return ValueError(f"{self.name} must be {expected}, got {value!r}.")


def group(heading: str, *controls: Control, changes: tuple[str, ...] = (), when: Any = None) -> tuple[Control, ...]:
    """Controls under one heading; `changes` and `when` are for those that have none of their own."""
    return tuple(replace(c, group=heading, changes=c.changes or changes, when=c.when or when) for c in controls)


@dataclass(frozen=True, kw_only=True)
class Slider(Control):
    """A number between `low` and `high`, in steps; or one of the numbers in `values`, where steps are uneven."""

    # low, high: the limits; `high` may be a function of the state (say, the number of channels of a layer)
    low: float = 0
    high: float | Callable[[Any], float] = 1
    step: float = 1  # the step; an int makes it a slider of integers
    values: tuple[float, ...] = ()  # the positions themselves, instead of low, high and step
    format: str = ""  # how the number is written, as in format(); "d", ".2f", ".0%"

    def bounds(self, state: Any) -> tuple[float, float]:
        """The limits in that state."""
        if self.values:
            return min(self.values), max(self.values)
        return self.low, self.high(state) if callable(self.high) else self.high

    @property
    def integer(self) -> bool:
        """Whether it holds integers."""
        return all(isinstance(v, int) for v in (self.values or (self.low, self.step)))

    def positions(self, state: Any) -> Sequence[float]:
        """Both ends and two positions between them; all of `values`."""
        if self.values:
            return self.values
        low, high = self.bounds(state)
        inner = [low + round((high - low) * fraction / self.step) * self.step for fraction in (1 / 3, 2 / 3)]
        return list(dict.fromkeys([low, *(round(v, 10) for v in inner), high]))

    def check(self, value: Any, state: Any) -> float:
        """The number, if it lies within the limits (or is one of `values`)."""
        low, high = self.bounds(state)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or (self.integer and value != int(value)):
            raise self.refuse(value, f"{'an integer' if self.integer else 'a number'} from {low:g} to {high:g}")
        if self.values and value not in self.values:
            raise self.refuse(value, f"one of {', '.join(map(str, self.values))}")
        return int(value) if self.integer else float(value)

    def repair(self, value: Any, state: Any) -> Any:
        """The number, brought back between the limits."""
        low, high = self.bounds(state)
        return value if low <= value <= high else type(value)(min(max(value, low), high))


@dataclass(frozen=True, kw_only=True)
class Choice(Control):
    """One of several."""

    choices: Choices = ()  # the values, or a function of the state that gives them
    names: Callable[[Any], str] = str  # what the student reads for a value; by default the value
    buttons: bool = False  # side by side as buttons, for up to four short ones

    def options(self, state: Any) -> tuple[Any, ...]:
        """The values in that state."""
        return tuple(self.choices(state) if callable(self.choices) else self.choices)

    def positions(self, state: Any) -> Sequence[Any]:
        """All of them; of more than 12, every n-th."""
        options = self.options(state)
        return options if len(options) <= 12 else options[:: -(-len(options) // 12)]

    def check(self, value: Any, state: Any) -> Any:
        """The value, if it is one of the choices."""
        options = self.options(state)
        if value not in options:
            known = ", ".join(map(str, options[:20])) + (", ..." if len(options) > 20 else "")
            raise self.refuse(value, f"one of {known}")
        return value

    def repair(self, value: Any, state: Any) -> Any:
        """The value, or the first choice where it no longer exists."""
        options = self.options(state)
        return value if value in options or not options else options[0]


@dataclass(frozen=True, kw_only=True)
class Many(Choice):
    """Any number of several, in the order of the choices; the state keeps a tuple."""

    def positions(self, state: Any) -> Sequence[tuple[Any, ...]]:
        """Each alone, then all."""
        options = self.options(state)
        return [*((option,) for option in options), options]

    def check(self, value: Any, state: Any) -> tuple[Any, ...]:
        """The values in the order of the choices, if all of them exist."""
        chosen = (value,) if isinstance(value, str) else tuple(value)
        for one in chosen:
            super().check(one, state)
        return tuple(option for option in self.options(state) if option in chosen)

    def repair(self, value: Any, state: Any) -> Any:
        """Those that still exist."""
        return tuple(option for option in self.options(state) if option in value)


@dataclass(frozen=True, kw_only=True)
class Toggle(Control):
    """On or off."""

    def positions(self, state: Any) -> Sequence[bool]:
        """Off and on."""
        return (False, True)

    def check(self, value: Any, state: Any) -> bool:
        """The value, if it is True or False."""
        if value not in (False, True):
            raise self.refuse(value, "True or False")
        return bool(value)


@dataclass(frozen=True, kw_only=True)
class Button(Control):
    """Something to press; it holds no value, so no field of the state has its name."""

    act: Callable[[Any], Any] = lambda state: state  # state -> the new state


@dataclass(frozen=True, kw_only=True)
class Upload(Control):
    """An image file of the student's own."""

    # called with the file's name and its bytes; returns the fields of the state that change
    take: Callable[[str, bytes], dict[str, Any]]
