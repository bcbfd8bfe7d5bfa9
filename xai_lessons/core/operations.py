"""Intercept torch functions while a network runs: recognize its ReLUs, follow the image, refuse what has no rule."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_SHIFT = {"add", "sub", "subtract", "radd", "rsub", "iadd", "isub"}
_SCALE = {"mul", "multiply", "div", "divide", "true_divide", "truediv", "rmul", "imul", "itruediv"}
_COPY = {"clone", "contiguous", "to", "float", "double"}
AFFINE = _SHIFT | _SCALE | _COPY  # what a normalization is made of

# The ordinary gradient is the rule of these for every method: they are linear.
_LINEAR = {
    *_SHIFT, *_COPY, "neg", "sum", "mean", "avg_pool2d", "adaptive_avg_pool2d", "flatten", "unflatten", "reshape",
    "view", "permute", "transpose", "T", "mT", "squeeze", "unsqueeze", "expand", "cat", "concat", "concatenate",
    "stack", "chunk", "split", "unbind", "select", "narrow", "getitem", "setitem", "copy", "pad", "channel_shuffle",
    "pixel_shuffle", "pixel_unshuffle",
}  # fmt: skip
_DROPOUT = {"dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout"}
_CONSTANTS = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
_READS = {"item", "tolist", "numpy", "array", "equal", "allclose", "is_nonzero"}
_NUMBERS = {"__float__", "__int__", "__bool__", "__index__", "__complex__"}
_HALF_A_RELU = ("gt", "ge", "lt", "le", "abs", "sign", "heaviside", "where", "maximum", "minimum", "clamp", "clamp_max")
_WORDS = {
    "mul": "a product of two values that both depend on the image (as in squeeze-and-excitation)",
    "layer_norm": "LayerNorm",
    "hardswish": "Hardswish",
    **{name: f"{name!r} (if this is part of a ReLU: write torch.relu)" for name in _HALF_A_RELU},
}


class Call:
    """One call of a torch function, method or operator.

    Attributes:
        name: of the operation, however it is called: "relu", "iadd"; "item" where a tensor becomes a number.
        in_place: whether an elementwise operation overwrites its input.
    """

    def __init__(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        spelling = getattr(function, "__name__", type(function).__name__).split(".")[0]
        spelling = function.__self__.__name__ if spelling == "__get__" else spelling  # an attribute, as x.T
        self.name = "item" if spelling in _NUMBERS else spelling.strip("_")
        flags = (*args[1:], kwargs.get("inplace"))
        self.in_place = any(v is True for v in flags) or (spelling[-1] == "_" and spelling[-2:] != "__")

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def run(self) -> Any:
        """Run the function."""
        return self.function(*self.args, **self.kwargs)

    def relu(self) -> tuple[Tensor, float | None] | None:
        """The input and the ceiling (6 of a ReLU6) if this is max(x, 0) or min(max(x, 0), 6), however it is written."""
        x, low, high = self.argument(0, "input"), None, None
        match self.name:
            case "relu":
                low = 0
            case "relu6":
                low, high = 0, 6
            case "clamp" | "clip" | "clamp_min":
                low, high = self.argument(1, "min"), self.argument(2, "max")
            case "hardtanh":
                low, high = self.argument(1, "min_val", -1), self.argument(2, "max_val", 1)
            case "threshold" if _constant(self.argument(2, "value"), 0):
                low = self.argument(1, "threshold")
            case "maximum" | "max" | "fmax" if isinstance(self.argument(1, "other"), Tensor):
                low = self.argument(1, "other")
                x, low = (low, x) if _constant(x, 0) else (x, low)
        if not isinstance(x, Tensor) or not x.is_floating_point() or not _constant(low, 0):
            return None
        if isinstance(low, Tensor) and torch.broadcast_shapes(x.shape, low.shape) != x.shape:
            return None
        return (x, None) if high is None else (x, 6.0) if _constant(high, 6) else None


def _constant(value: Any, number: float) -> bool:
    """Whether a limit is this number, or a tensor that holds nothing else and was not computed from the image."""
    if isinstance(value, Tensor):
        return value.grad_fn is None and bool((value == number).all())
    return isinstance(value, int | float) and not isinstance(value, bool) and value == number


_lock, _active, _eager = threading.Lock(), 0, ExitStack()  # while an interceptor is active, nothing runs compiled


class Interceptor(TorchFunctionMode):
    """Inside it, every torch function that this thread calls comes by; a subclass says what is to happen.

    Modules, functions, methods, operators and in-place variants are seen; what they call in their turn is not. What was
    compiled by `torch.compile` runs uncompiled meanwhile, in all threads.
    """

    def __enter__(self) -> Any:
        global _active
        with _lock:
            if _active == 0 and "torch._dynamo" in sys.modules:
                _eager.enter_context(torch.compiler.set_stance("force_eager"))
            _active += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        global _active
        super().__exit__(*error)
        with _lock:
            _active -= 1
            if _active == 0:
                _eager.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.intercept(Call(func, args, kwargs or {}))

    def intercept(self, call: Call) -> Any:
        """What a call returns."""
        raise NotImplementedError


class ReluWatch(Interceptor):
    """Counts the ReLUs that a network computes, and keeps the input and the output of the latest.

    Example:
        >>> with ReluWatch() as watch:
        ...     scores = torch.nn.functional.relu6(torch.tensor([-1.0, 1.0]).clamp(min=0))
        >>> watch.count, watch.before.tolist(), watch.after.tolist()
        (2, [-1.0, 1.0], [0.0, 1.0])
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.before: Tensor | None = None
        self.after: Tensor | None = None

    def intercept(self, call: Call) -> Any:
        """Run it; a ReLU of a ReLU keeps the input of the first."""
        relu = call.relu()
        if relu is None:
            return call.run()
        self.count += 1
        self.before = self.before if relu[0] is self.after else relu[0].clone()  # one in place overwrites it
        self.after = call.run()
        return self.after


class Rule(Interceptor):
    """Follows an image through a network: every operation on it has a rule for the way back, or is refused by name.

    Weights are constants: whatever asks for gradients and is not computed from the image is cut off its graph.

    Args:
        images: (N, 3, H, W).
    """

    method = ""
    allowed: frozenset[str] = frozenset()  # beside the linear ones, what this method takes the ordinary gradient of

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images if images.requires_grad else images.detach().requires_grad_()
        self.start = self.images  # what the network is given: a copy, which it may change in place
        self.rules: dict[str, Callable[[Call], Any]] = {}  # by operation; the image is its first argument alone

    def scores(self, model: Callable[[Tensor], Any]) -> Any:
        """What the network returns for the images, computed under this rule."""
        with self:
            self.start = self.images.clone()
            scores = model(self.start)
        self._check_followed([scores])
        return scores

    def intercept(self, call: Call) -> Any:
        """Answer a call that meets the image by its rule; run all others."""
        met = [t for t in _tensors([*call.args, *call.kwargs.values()]) if self._depends(t)]
        if not met:
            return _without_graph(call.run())
        self._check_followed(met)
        result = self.answer(call, met)
        for t in _tensors([result, call.args[0] if call.name == "setitem" else None]):
            t._made_by = (self, call.name)  # type: ignore[attr-defined]
        return result

    def answer(self, call: Call, met: list[Tensor]) -> Any:
        """What a call returns that has the tensors ``met``, which depend on the image, among its arguments."""
        name, enabled = call.name, torch.is_grad_enabled()
        relu, rule = call.relu(), self.rules.get(name)
        if enabled and relu is not None:
            return self.relu(call, *relu)
        if enabled and rule is not None and len(met) == 1 and call.args and call.args[0] is met[0]:
            return rule(call)
        scaled = name in _SCALE and len(met) == 1 and ("div" not in name or call.args[0] is met[0])
        asleep = name in _DROPOUT and not call.argument(2, "train", call.kwargs.get("training", True))
        if enabled and (name in _LINEAR or name in self.allowed or scaled or asleep):
            return call.run()
        if name not in _READS and name != "detach":
            result = call.run()
            if name in _CONSTANTS or not _tensors([result]):  # a shape, a flag: no value of the image flows on
                return result
        raise self.refusal(_WORDS.get(name, repr(name)) if enabled else "a computation without gradients (no_grad)")

    def relu(self, call: Call, x: Tensor, ceiling: float | None) -> Tensor:
        """max(x, 0), or min(max(x, 0), ceiling), with the method's rule for the way back."""
        raise NotImplementedError

    def refusal(self, what: str) -> ValueError:
        """The error for an operation without a rule."""
        return ValueError(
            f"{self.method} has no rule for {what}, which this network applies to the image: use saliency.gradient or "
            "saliency.integrated_gradients, which take every differentiable network"
        )

    def made_by(self, t: Tensor) -> str:
        """The operation that computed a tensor from the image, or ""."""
        rule, name = getattr(t, "_made_by", (None, ""))
        return name if rule is self else ""

    def _depends(self, t: Tensor) -> bool:
        return t.requires_grad and (t.grad_fn is not None or t is self.images)

    def _check_followed(self, values: list[Any]) -> None:
        for t in _tensors(values):
            if self._depends(t) and t is not self.images and not self.made_by(t):
                raise self.refusal("an operation that cannot be seen (TorchScript, a custom autograd function)")


class Backward(torch.autograd.Function):
    """Returns a value computed from ``z``; walking back, a function of our own takes the place of its derivative."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Callable[[], Tensor], backward: Callable[[Tensor], Tensor]) -> Tensor:
        """The value; neither it nor what ``backward`` holds may be part of a graph."""
        ctx.rule = backward
        return value()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        """What ``backward`` makes of the signal."""
        return ctx.rule(g), None, None


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            found += _tensors(value)
    return found


def _without_graph(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result if result.grad_fn is None else result.detach()
    if type(result) in (list, tuple):
        return type(result)(_without_graph(r) for r in result)
    return result
