"""Checks of the exercises: run the student's function on fresh random inputs, and say what went wrong.

A lesson's checks stand in `xai_lessons/lessons/checks/lessonN.py` and are reached as `checks.lessonN.name`. To write
one, decorate the right answer; `draw` makes the inputs, each mistake is a function that makes it::

    def _logits(rng):
        return torch.randn(4, 10, generator=rng), 3                  # the arguments of one round

    @exercise(
        draw=_logits,
        says=("logits", "k"),                                        # what the arguments are called
        mistakes=(
            Mistake("no exponential", lambda z, k: (z / z.sum(1, keepdim=True)).topk(k),
                    "You divide the logits themselves; softmax exponentiates them first."),
        ),
    )
    def softmax_top_k(logits, k):
        return logits.softmax(dim=1).topk(k)

In the notebook, `checks.lesson1.softmax_top_k(my_function)` shows the verdict and returns nothing; a test asks
`softmax_top_k.judge(my_function)` for it. An answer may also be a plain value: `check("b")` is `check(lambda *_: "b")`.
A function that returns None or `...`, raises NotImplementedError, or computes with a `...` counts as not attempted.
Results are compared by value: tensors, arrays, numbers, strings, and tuples, lists and mappings of them. Where a
result is right in more than one way, `accept(given, expected, arguments) -> bool` decides. A mistake is recognized by
equal results in all rounds; the first that fits, in the order of the list, gives its hint.
"""

from __future__ import annotations

import copy
import html
import linecache
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import numpy as np
import torch

ROUNDS = 5
_COLORS = {"right": "#009E73", "unattempted": "#666666"}
_HEADS = {
    "right": "Right.",
    "mistake": "Not yet: a typical mistake.",
    "wrong": "Not yet.",
    "error": "Your code stopped with an error.",
    "unattempted": "Not attempted yet.",
}


@dataclass(frozen=True)
class Mistake:
    """A typical mistake.

    Attributes:
        name: what it is, in a few words.
        function: makes it: called with the same arguments as the student's function.
        hint: what leads on without giving the answer away.
    """

    name: str
    function: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Verdict:
    """What a check says.

    Attributes:
        kind: "right", "mistake", "wrong", "error" or "unattempted".
        message: the sentence for the student.
        mistake: the name of the typical mistake, if it was one.
    """

    kind: str
    message: str
    mistake: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer is accepted."""
        return self.kind == "right"

    def __repr__(self) -> str:
        return f"{_HEADS[self.kind]} {self.message}"

    def _repr_html_(self) -> str:
        return card(_HEADS[self.kind], self.message, _COLORS.get(self.kind, "#D55E00"))


class Check:
    """An exercise's check; made by `exercise`.

    Args:
        reference: the right answer.
        draw: makes the arguments of one round from a `torch.Generator`.
        mistakes: the typical ones.
        says: what the arguments are called.
        tolerance: by how much numbers may differ, relative to the largest of the expected ones.
        praise: what is said when it is right.
        accept: decides whether a result is right, instead of comparing.
    """

    def __init__(
        self,
        reference: Callable[..., Any],
        draw: Callable[[torch.Generator], tuple[Any, ...]],
        mistakes: Sequence[Mistake],
        says: Sequence[str] = (),
        tolerance: float = 1e-4,
        praise: str = "",
        accept: Callable[[Any, Any, tuple[Any, ...]], bool] | None = None,
    ) -> None:
        self.reference, self.draw, self.mistakes, self.says = reference, draw, tuple(mistakes), tuple(says)
        self.tolerance, self.praise, self.accept = tolerance, praise, accept
        update_wrapper(self, reference)

    def __call__(self, student: Any) -> None:
        """Show the verdict."""
        show(self.judge(student))

    def judge(self, student: Any, seed: int | None = None) -> Verdict:
        """The verdict on a student's function, or on a value.

        Args:
            student: the function, or the answer itself.
            seed: of the inputs; fresh ones each time if not given.
        """
        function = student if callable(student) else lambda *_: student
        rng = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big") if seed is None else seed)
        rounds, answers, wrong = [], [], None
        for _ in range(ROUNDS):
            arguments = self.draw(rng)
            try:
                given = function(*copy.deepcopy(arguments))
            except Exception as error:
                return _stopped(error, function)
            if _is_empty(given):
                return Verdict("unattempted", "Replace the ... by your code and run the cell again; the rest goes on.")
            rounds.append(arguments)
            answers.append(given)
            expected = self.reference(*copy.deepcopy(arguments))
            if wrong is None and not self._accepts(given, expected, arguments):
                wrong = (given, expected, arguments)
        if wrong is None:
            return Verdict("right", self.praise or f"Your answer holds on {ROUNDS} fresh random inputs.")
        for mistake in self.mistakes:
            if self._made(mistake, rounds, answers):
                return Verdict("mistake", mistake.hint, mistake.name)
        return Verdict("wrong", f"{self._inputs(wrong[2])}{difference(wrong[0], wrong[1], self.tolerance)}")

    def _accepts(self, given: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        if self.accept is not None:
            return bool(self.accept(given, expected, arguments))
        return same(given, expected, self.tolerance)

    def _made(self, mistake: Mistake, rounds: Sequence[tuple[Any, ...]], answers: Sequence[Any]) -> bool:
        """Whether all answers are what this mistake gives."""
        try:
            return all(
                same(given, mistake.function(*copy.deepcopy(arguments)), self.tolerance)
                for arguments, given in zip(rounds, answers, strict=True)
            )
        except Exception:  # a mistake that cannot be made with these inputs was not made
            return False

    def _inputs(self, arguments: tuple[Any, ...]) -> str:
        named = zip(self.says, arguments, strict=False)
        words = [f"{name} {_short(value)}" for name, value in named]
        return f"For {', '.join(words)}: " if words else ""


def exercise(**options: Any) -> Callable[[Callable[..., Any]], Check]:
    """Make the right answer into a `Check`; the options are its."""
    return lambda reference: Check(reference, **options)


def same(given: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Whether two results are equal by value: shapes too, but not the kinds of numbers that they are made of."""
    if isinstance(expected, str | bytes) or expected is None or isinstance(given, str | bytes) or given is None:
        return type(given) is type(expected) and given == expected
    if isinstance(expected, Mapping):
        fits = isinstance(given, Mapping) and given.keys() == expected.keys()
        return fits and all(same(given[k], expected[k], tolerance) for k in expected)
    a, b = _array(given), _array(expected)
    if a is not None and b is not None:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=_allowed(b, tolerance), equal_nan=True))
    if isinstance(expected, Sequence) and isinstance(given, Sequence):
        return len(given) == len(expected) and all(same(g, e, tolerance) for g, e in zip(given, expected, strict=True))
    return a is b is None and bool(given == expected)


def difference(given: Any, expected: Any, tolerance: float = 1e-4) -> str:
    """In one or two sentences, how a result differs from the expected one."""
    a, b = _array(given), _array(expected)
    if a is None or b is None:
        if isinstance(given, tuple | list) and isinstance(expected, tuple | list) and len(given) == len(expected):
            for i, (g, e) in enumerate(zip(given, expected, strict=True)):
                if not same(g, e, tolerance):
                    return f"Part {i + 1} of {len(expected)} of your result is not right. {difference(g, e, tolerance)}"
        return f"expected {_short(expected)}, got {_short(given)}."
    if a.shape != b.shape:
        turned = " It may only be transposed." if a.shape == b.shape[::-1] and a.ndim > 1 else ""
        return f"expected the shape {b.shape}, got {a.shape}.{turned}"
    if not np.isfinite(a).all() and np.isfinite(b).all():
        return (
            "your result holds NaN or infinite values: is something divided by zero, a logarithm "
            "taken of it, or exp of a large number?"
        )
    off = ~np.isclose(a, b, rtol=0, atol=_allowed(b, tolerance))
    if a.ndim == 0:
        return f"expected {_number(b)}, got {_number(a)}.{_pattern(a, b, tolerance)}"
    at = tuple(int(i) for i in np.argwhere(off)[0])
    place = ", ".join(map(str, at))
    return (
        f"the shape {b.shape} is right, but {int(off.sum())} of {off.size} values are not: at [{place}] expected "
        f"{_number(b[at])}, got {_number(a[at])}.{_pattern(a, b, tolerance)}"
    )


def card(head: str, text: str, color: str) -> str:
    """A framed message as HTML."""
    body = html.escape(text).replace("\n", "<br>")
    return (
        f'<div role="status" style="border-left:5px solid {color};padding:8px 14px;margin:4px 0;font-size:15px;'
        f'line-height:1.45;max-width:860px"><b style="color:{color}">{html.escape(head)}</b> {body}</div>'
    )


def show(thing: Any) -> None:
    """Show something in the notebook; print it where there is none."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(thing)
    else:
        display(thing)


def _is_empty(given: Any) -> bool:
    """Whether a result says that the exercise was not attempted."""
    parts = given if isinstance(given, tuple | list) and given else (given,)
    return given is None or any(part is ... or part is NotImplemented for part in parts)


def _stopped(error: Exception, function: Callable[..., Any]) -> Verdict:
    """An exception of the student's code, with the line that it came from."""
    indexed = isinstance(error, IndexError)  # whose message names the ellipsis as an index, and no stub
    if isinstance(error, NotImplementedError) or ("ellipsis" in str(error).lower() and not indexed):
        return Verdict("unattempted", "Replace the ... by your code and run the cell again; the rest goes on.")
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    where = ""
    if frames:
        line = (frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno or 0)).strip()
        where = f' in the line "{line}"' if line else ""
    known = {
        "NameError": "A name is used that was never given a value: look at its spelling.",
        "TypeError": "Something is of another kind than the operation takes, or the arguments do not fit.",
        "IndexError": "An index or a dimension is asked for that is not there: print the shapes.",
        "AttributeError": "Something does not have what is asked of it: print its type.",
        "RuntimeError": "PyTorch refuses this, mostly because shapes do not fit together: print them.",
    }
    words = known.get(type(error).__name__, "")
    if "does not require grad" in reason:
        words = "No gradient leads back from here: call x.requires_grad_() on the picture before you ask the network."
    return Verdict("error", f"{type(error).__name__}{where}: {reason}. {words}".rstrip())


def _array(value: Any) -> np.ndarray | None:
    """A number, tensor, array, or a list of numbers as an array of floats; None if it is none of these."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy() if value.dtype != torch.bfloat16 else value.detach().cpu().float().numpy()
    if isinstance(value, str | bytes | Mapping | set) or value is None:
        return None
    if isinstance(value, list | tuple) and not all(isinstance(v, bool | int | float | np.number) for v in value):
        return None
    try:
        array = np.asarray(value)
        return array.astype(float) if array.dtype.kind in "biuf" else None
    except (TypeError, ValueError):
        return None


def _allowed(expected: np.ndarray, tolerance: float) -> float:
    finite = np.abs(expected[np.isfinite(expected)])
    return tolerance * max(float(finite.max()) if finite.size else 0.0, 1e-6)


def _pattern(a: np.ndarray, b: np.ndarray, tolerance: float) -> str:
    """What simple relation the two have, if any."""
    allowed = _allowed(b, 10 * tolerance)
    if not np.isfinite(b).all() or not np.abs(b).max(initial=0) > 0:
        return ""
    if np.allclose(a, -b, rtol=0, atol=allowed):
        return " The sign is the other way round."
    if b.size > 1:
        factor = float((a * b).sum() / (b * b).sum())
        if abs(factor) > 1e-6 and np.allclose(a, factor * b, rtol=0, atol=abs(factor) * allowed):
            return f" Everything is {factor:.4g} times as large as expected."
        if np.ptp(a - b) < allowed:
            return f" Everything is {float((a - b).mean()):+.4g} off."
        if a.ndim == 2 and a.shape[0] == a.shape[1] and np.allclose(a, b.T, rtol=0, atol=allowed):
            return " Rows and columns are exchanged."
    return ""


def _number(value: Any) -> str:
    return f"{float(value):.4g}"


def _short(value: Any) -> str:
    """A value in a few words."""
    array = _array(value)
    if array is not None and array.size > 8:
        return f"of shape {tuple(array.shape)}"
    if array is not None and array.ndim:
        return (
            "["
            + ", ".join(_number(v) for v in array.ravel())
            + "]"
            + f" of shape {tuple(array.shape)}" * (array.ndim > 1)
        )
    if array is not None:
        return _number(array)
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
