"""Checks of the exercises: run the student's function on fresh random inputs, and say what went wrong.

A lesson's checks are in `xai_lessons/lessons/checks/lessonN.py` and are reached as `checks.lessonN.name`. To write one,
decorate the correct answer; `draw` makes the inputs, and each common mistake has a function that makes it and a hint::

    def _logits(rng):
        return torch.randn(4, 10, generator=rng), 3                  # the arguments of one round

    @exercise(
        draw=_logits,
        arguments=("logits", "k"),                                   # what the arguments are called
        mistakes={"no exponential": lambda z, k: (z / z.sum(1, keepdim=True)).topk(k)},
        hints={"no exponential": "You divide the logits themselves; softmax exponentiates them first."},
    )
    def softmax_top_k(logits, k):
        return logits.softmax(dim=1).topk(k)

In the notebook, `checks.lesson1.softmax_top_k(my_function)` shows the verdict and returns nothing; a test gets it from
`softmax_top_k.judge(my_function)`. An answer may also be a plain value: `check("b")` is `check(lambda *_: "b")`.
A function that returns `...`, has no code, raises NotImplementedError, or computes with a `...` is not attempted.
Results are compared by value: tensors, arrays, numbers, strings, and tuples, lists and mappings of them. A mistake is
recognized by equal results in all rounds; the first that fits, in the order of the mapping, gives its hint.
After a right answer, ``shows`` runs the student's function on the lesson's own scenes and returns what it finds:
sentences and figures.
"""

from __future__ import annotations

import copy
import dis
import html
import linecache
import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import numpy as np
import torch

ROUNDS = 5
UNATTEMPTED = "Replace the ... with your code and run the cell again. The rest of the notebook works without it."
_COLORS = {"right": "#009E73", "unattempted": "#666666", "revealed": "#0072B2"}
_HEADS = {
    "right": "Right.",
    "mistake": "Not yet: a common mistake.",
    "wrong": "Not yet.",
    "error": "Your code stopped with an error.",
    "unattempted": "Not attempted yet.",
    "revealed": "The answer.",
}
NOTHING = (
    "Your function returns nothing (None). End it with a return statement; print() shows a value, but hands none back."
)
CONSTANT = "Your function returns {} whatever it is given: use its arguments."
_ERRORS = {
    "NameError": "This name has no value yet: check its spelling.",
    "TypeError": "The operation does not accept this type, or the arguments do not match.",
    "IndexError": "This index or dimension does not exist: print the shapes.",
    "AttributeError": "This object does not have that attribute: print its type.",
    "RuntimeError": "PyTorch refuses this, most often because the shapes do not match: print them.",
}


@dataclass(frozen=True)
class Mistake:
    """A common mistake.

    Attributes:
        name: what it is, in a few words.
        function: makes it; takes the same arguments as the student's function.
        hint: what helps the student without giving the answer away.
    """

    name: str
    function: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Finding:
    """A sentence on what the student's function finds on the lesson's own scenes."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return card("On this lesson's scenes.", self.text, "#0072B2")


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        kind: "right", "mistake", "wrong", "error", "unattempted" or, of a quiz, "revealed".
        message: the sentence for the student.
        mistake: the name of the common mistake, if it was one.
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
    """An exercise's check; made by `exercise`, which explains the arguments."""

    def __init__(
        self,
        reference: Callable[..., Any],
        draw: Callable[[torch.Generator], tuple[Any, ...]],
        mistakes: Mapping[str, Callable[..., Any]],
        hints: Mapping[str, str],
        arguments: Sequence[str] = (),
        tolerance: float = 1e-4,
        praise: str = "",
        accept: Callable[[Any, Any, tuple[Any, ...]], bool] | None = None,
        shows: Callable[[Callable[..., Any]], Iterable[Any]] | None = None,
        forbidden: Mapping[str, str] | None = None,
        reason: Callable[[Any, tuple[Any, ...]], str] | None = None,
    ) -> None:
        if different := mistakes.keys() ^ hints.keys():
            raise ValueError(f"each mistake needs one hint, but these have no partner: {', '.join(sorted(different))}")
        self.reference, self.draw, self.arguments = reference, draw, tuple(arguments)
        self.mistakes = tuple(Mistake(name, function, hints[name]) for name, function in mistakes.items())
        self.tolerance, self.praise, self.accept = tolerance, praise, accept
        self.shows, self.forbidden, self.reason = shows, dict(forbidden or {}), reason
        update_wrapper(self, reference)

    def __call__(self, student: Any) -> None:
        """Show the verdict and, if the answer is right, what it finds on the lesson's own scenes."""
        verdict = self.judge(student)
        show(verdict)
        if verdict.right:
            for finding in self.findings(student):
                show(finding)

    def findings(self, student: Any) -> list[Any]:
        """What a right answer finds on the lesson's own scenes.

        Args:
            student: the function, as `judge` takes it.

        Returns:
            Sentences (`Finding`) and figures. If the function stops on the scenes, one sentence says so.
        """
        if self.shows is None:
            return []
        try:
            return [Finding(each) if isinstance(each, str) else each for each in self.shows(student)]
        except Exception as error:
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            return [Finding(f"Here your function stopped: {type(error).__name__}: {reason}")]

    def judge(self, student: Any, seed: int | None = None) -> Verdict:
        """Check a student's function, or a value.

        Args:
            student: the function, or the answer itself.
            seed: of the random inputs; they are new each time if it is None.

        Returns:
            The verdict.

        Example:
            >>> from xai_lessons import checks
            >>> checks.lesson1.softmax_top_k.judge(lambda logits, k: logits.topk(k), seed=0).mistake
            'logits themselves'
        """
        function = student if callable(student) else lambda *_: student
        first = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        rounds, answers, wrong = [], [], None
        for number in range(ROUNDS):
            arguments = self.draw(torch.Generator().manual_seed(first + number))
            try:
                given = function(*copy.deepcopy(arguments))
            except Exception as error:
                return _stopped(error, function)
            if given is None and callable(student) and _has_code(student):
                return Verdict("wrong", NOTHING)
            if _is_empty(given):
                return Verdict("unattempted", UNATTEMPTED)
            rounds.append(arguments)
            answers.append(given)
            expected = self.reference(*copy.deepcopy(arguments))
            if wrong is None and not self._accepts(given, expected, arguments):
                wrong = (given, expected, arguments)
        if wrong is None:
            for name in sorted(_names(getattr(function, "__code__", None)) & self.forbidden.keys()):
                return Verdict("mistake", self.forbidden[name], name)
            return Verdict("right", self.praise or f"Your answer holds on {ROUNDS} fresh random inputs.")
        constant = callable(student) and all(same(given, answers[0], 0) for given in answers[1:])
        if constant and not _uses_arguments(student):
            return Verdict("wrong", CONSTANT.format(describe(answers[0])))
        for mistake in self.mistakes:
            if self._is(mistake, rounds, answers):
                return Verdict("mistake", mistake.hint, mistake.name)
        if constant:
            return Verdict("wrong", CONSTANT.format(describe(answers[0])))
        if self.reason is not None:
            return Verdict("wrong", self.reason(wrong[0], wrong[2]))
        return Verdict("wrong", f"{self._describe(wrong[2])}{difference(wrong[0], wrong[1], self.tolerance)}")

    def _accepts(self, given: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        if self.accept is not None:
            return bool(self.accept(given, expected, arguments))
        return same(given, expected, self.tolerance)

    def _is(self, mistake: Mistake, rounds: Sequence[tuple[Any, ...]], answers: Sequence[Any]) -> bool:
        """Whether all answers equal those of this mistake."""
        try:
            return all(
                same(given, mistake.function(*copy.deepcopy(arguments)), self.tolerance)
                for arguments, given in zip(rounds, answers, strict=True)
            )
        except Exception:  # this mistake is impossible with these inputs
            return False

    def _describe(self, arguments: tuple[Any, ...]) -> str:
        words = [f"{name} {_short(value)}" for name, value in zip(self.arguments, arguments, strict=False)]
        return f"For {', '.join(words)}: " if words else ""


def exercise(**options: Any) -> Callable[[Callable[..., Any]], Check]:
    """Turn the correct answer into a `Check`.

    Args:
        options: ``draw``: makes the arguments of one round from a `torch.Generator`; ``mistakes``: name -> function
            that makes the mistake; ``hints``: name -> sentence; ``arguments``: what the arguments are called;
            ``tolerance``: how much numbers may differ, relative to the largest expected one (1e-4); ``praise``: the
            sentence for a correct answer; ``accept``: decides on (given, expected, arguments) instead of comparing;
            ``shows``: takes the student's function and returns sentences and figures computed on the lesson's scenes;
            ``forbidden``: name of a function that the student's code may not use -> sentence; ``reason``: says of
            (given, arguments) why a wrong answer is wrong, where many answers are right.

    Returns:
        The decorator.

    Example:
        >>> @exercise(draw=lambda rng: (integer(rng, 1, 9),), mistakes={}, hints={})
        ... def twice(x):
        ...     return 2 * x
        >>> twice.judge(lambda x: x + x)
        Right. Your answer holds on 5 fresh random inputs.
    """
    return lambda reference: Check(reference, **options)


def distinct(
    draw: Callable[[torch.Generator], tuple[Any, ...]], functions: Iterable[Callable[..., Any]]
) -> Callable[[torch.Generator], tuple[Any, ...]]:
    """Draw arguments for which each of some functions has another result, so that no near miss passes by chance.

    Args:
        draw: draws arguments.
        functions: the correct answer and its near misses.

    Returns:
        A function that draws until all results differ, at most 1,000 times.

    Example:
        >>> coin = distinct(lambda rng: (integer(rng, 0, 3),), [lambda x: x, lambda x: x * x])
        >>> coin(torch.Generator().manual_seed(0))
        (2,)
    """
    each = tuple(functions)

    def drawn(rng: torch.Generator) -> tuple[Any, ...]:
        for _ in range(1000):
            arguments = draw(rng)
            results = [function(*copy.deepcopy(arguments)) for function in each]
            if len(set(map(repr, results))) < len(results):  # most draws end here, without comparing each pair
                continue
            if not any(same(a, b) for i, a in enumerate(results) for b in results[:i]):
                return arguments
        raise RuntimeError("no draw in 1,000 tells all these functions apart")

    return drawn


def alternates(rng: torch.Generator) -> bool:
    """True in every other round, so that each check meets both of two cases.

    Example:
        >>> [alternates(torch.Generator().manual_seed(7 + number)) for number in range(3)]
        [False, True, False]
    """
    return rng.initial_seed() % 2 == 0


def integer(rng: torch.Generator, low: int, high: int) -> int:
    """A random integer from ``low`` to ``high - 1``.

    Example:
        >>> integer(torch.Generator().manual_seed(0), 3, 4)
        3
    """
    return int(torch.randint(low, high, (), generator=rng))


def uniform(rng: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    """Random numbers between ``low`` and ``high``; one if no shape is given.

    Example:
        >>> uniform(torch.Generator().manual_seed(0), 0, 1, 2, 3).shape
        torch.Size([2, 3])
    """
    return low + (high - low) * torch.rand(shape, generator=rng)


def same(given: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Whether two results have equal shapes and values; their types may differ.

    Example:
        >>> same([1, 2], torch.tensor([1.0, 2.0])), same([1, 2], [1, 3])
        (True, False)
    """
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
    """Say in one or two sentences how a result differs from the expected one.

    Example:
        >>> difference(3, 4)
        'expected 4, got 3.'
    """
    a, b = _array(given), _array(expected)
    if a is None or b is None:
        if isinstance(given, tuple | list) and isinstance(expected, tuple | list) and len(given) == len(expected):
            for i, (g, e) in enumerate(zip(given, expected, strict=True)):
                if not same(g, e, tolerance):
                    return f"Part {i + 1} of {len(expected)} of your result is not right. {difference(g, e, tolerance)}"
        return f"expected {describe(expected)}, got {describe(given)}."
    if a.shape != b.shape:
        hint = " It may be transposed." if a.shape == b.shape[::-1] and a.ndim > 1 else ""
        return f"expected the shape {b.shape}, got {a.shape}.{hint}"
    if not np.isfinite(a).all() and np.isfinite(b).all():
        return (
            "your result contains NaN or infinite values: do you divide by zero, or take the logarithm of zero "
            "or exp of a large number?"
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
    """Format a framed message as HTML.

    Example:
        >>> "2 &lt; 3" in card("Right.", "2 < 3", "#009E73")
        True
    """
    body = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")
    return (
        f'<div role="status" style="border-left:5px solid {color};padding:8px 14px;margin:4px 0;font-size:15px;'
        f'line-height:1.45;max-width:860px"><b style="color:{color}">{html.escape(head)}</b> {body}</div>'
    )


def show(value: Any) -> None:
    """Display a value in a notebook; print it elsewhere.

    Example:
        >>> show(Verdict("right", "Well done."))
        Right. Well done.
    """
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(value)
    else:
        display(value)


def _is_empty(given: Any) -> bool:
    """Whether a result shows that the exercise was not attempted."""
    parts = given if isinstance(given, tuple | list) and given else (given,)
    return given is None or any(part is ... or part is NotImplemented for part in parts)


def _has_code(function: Callable[..., Any]) -> bool:
    """Whether a function does more than return a constant."""
    code = getattr(function, "__code__", None)
    used = ("LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "STORE_")
    return code is None or any(step.opname.startswith(used) for step in dis.get_instructions(code))


def _uses_arguments(function: Callable[..., Any]) -> bool:
    """Whether a function's code reads any of its arguments."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    read = {str(step.argval) for step in dis.get_instructions(code) if step.opname.startswith("LOAD_")}
    return any(name in word for name in code.co_varnames[:count] for word in read) or bool(code.co_cellvars)


def _names(code: Any) -> set[str]:
    """The names of all functions and attributes that a function's code mentions, inner functions included."""
    inner = [_names(each) for each in getattr(code, "co_consts", ()) if hasattr(each, "co_names")]
    return set(getattr(code, "co_names", ())).union(*inner)


def _stopped(error: Exception, function: Callable[..., Any]) -> Verdict:
    """The verdict on an exception in the student's code, with the line that raised it."""
    indexed = isinstance(error, IndexError)  # its message mentions the ellipsis as a kind of index
    if isinstance(error, NotImplementedError) or ("ellipsis" in str(error).lower() and not indexed):
        return Verdict("unattempted", UNATTEMPTED)
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    where = ""
    if frames:
        line = (frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno or 0)).strip()
        where = f' in the line "{line}"' if line else ""
    words = _ERRORS.get(type(error).__name__, "")
    if "Boolean value of Tensor" in reason or "truth value of an array" in reason:
        words = (
            "`not`, `and`, `or` and `if` need a single True or False, but this is a whole tensor. Invert a mask with "
            "`~`; to compare two results, compare one number of each, such as `.argmax()`."
        )
    if "written-to tensor refers to a single memory location" in reason:
        words = "`expand` shows one picture several times without copying it: write `repeat`, or `expand(...).clone()`."
    if "does not require grad" in reason:
        words = "There is no gradient here: call x.requires_grad_() on the picture before you run the network."
    return Verdict("error", f"{type(error).__name__}{where}: {reason}. {words}".rstrip())


def _array(value: Any) -> np.ndarray | None:
    """Convert a number, tensor, array, or list of numbers to an array of floats; None if it is none of these."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
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
    """Describe how the two are related, if the relation is simple."""
    allowed = _allowed(b, 10 * tolerance)
    if not np.isfinite(b).all() or not np.abs(b).max(initial=0) > 0:
        return ""
    if np.allclose(a, -b, rtol=0, atol=allowed):
        return " The sign is reversed."
    if b.size > 1:
        factor = float((a * b).sum() / (b * b).sum())
        if abs(factor) > 1e-6 and np.allclose(a, factor * b, rtol=0, atol=abs(factor) * allowed):
            return f" Everything is {factor:.4g} times as large as expected."
        if np.ptp(a - b) < allowed:
            return f" Everything is off by {float((a - b).mean()):+.4g}."
        if a.ndim == 2 and a.shape[0] == a.shape[1] and np.allclose(a, b.T, rtol=0, atol=allowed):
            return " Rows and columns are swapped."
    return ""


def _number(value: Any) -> str:
    return f"{float(value):.4g}"


def _short(value: Any) -> str:
    """A value in a few words, after its name: "[1, 2]" or "of shape (3, 8)"."""
    array = _array(value)
    if array is not None and array.size > 8:
        return f"of shape {tuple(array.shape)}"
    if array is not None and array.ndim:
        numbers = ", ".join(_number(v) for v in array.ravel())
        return f"[{numbers}]" + f" of shape {tuple(array.shape)}" * (array.ndim > 1)
    if array is not None:
        return _number(array)
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def describe(value: Any) -> str:
    """Describe a result as the object of a sentence.

    Example:
        >>> describe(torch.zeros(10)), describe((torch.zeros(10), 2))
        ('a tensor of shape (10,)', 'a tuple of 2: a tensor of shape (10,) and 2')
    """
    array = _array(value)
    if isinstance(value, torch.Tensor | np.ndarray) and array is not None and array.ndim and array.size > 8:
        return f"a{' tensor' if isinstance(value, torch.Tensor) else 'n array'} of shape {tuple(array.shape)}"
    if array is not None and array.size > 8:
        return f"a {type(value).__name__} of {len(value)} numbers"
    if isinstance(value, tuple | list) and array is None and 0 < len(value) <= 4:
        return f"a {type(value).__name__} of {len(value)}: {' and '.join(map(describe, value))}"
    if isinstance(value, Mapping | tuple | list | set) and len(repr(value)) > 60:
        return f"a {type(value).__name__} of {len(value)}"
    return "a function" if callable(value) else _short(value)
