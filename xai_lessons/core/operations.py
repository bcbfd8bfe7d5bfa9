"""Follow a picture through a network: every operation that meets it has a rule for the way back, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CONSTANT = {"mul", "multiply", "div", "divide", "true_divide", "truediv", "rmul", "imul", "itruediv"}
_SHIFT = {"add", "sub", "subtract", "radd", "rsub", "iadd", "isub"}
_SAME = {"clone", "contiguous", "to", "float", "double"}
_LINEAR = _SHIFT | _SAME | {
    *("neg", "sum", "mean", "avg_pool2d", "adaptive_avg_pool2d", "flatten", "unflatten", "reshape", "view", "permute"),
    *("transpose", "squeeze", "unsqueeze", "expand", "cat", "concat", "concatenate", "stack", "chunk", "split"),
    *("narrow", "getitem", "pad", "identity", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "iter"),
}  # fmt: skip
_DROPOUT = {"dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout"}
_ELEMENTWISE = {"relu", "relu6", "hardtanh", "leaky_relu"}
_READS = {"item", "tolist", "numpy", "bool", "float", "int", "index", "array", "equal", "allclose", "is_nonzero"}


class Slope(torch.autograd.Function):
    """Puts out a value; walking back, what arrives goes times a slope to ``z``, whatever the value was made of."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, make: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
        """The value; ``make`` returns it with its slope."""
        value, slope = make()
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        """The signal times the slope."""
        return g * ctx.saved_tensors[0], None


def ratio(z: Tensor, D: Tensor, epsilon: float = 0.0) -> Tensor:
    """z / (D + epsilon sign D), and 0 where there is nothing to divide by."""
    if epsilon:
        return z / (D + torch.copysign(D.new_tensor(epsilon), D))
    return torch.where(D == 0, 0, z / D)


class Walk(TorchFunctionMode):
    """Inside it, every operation that meets the picture is answered by its rule, or refused."""

    method = ""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.picture = x.detach().requires_grad_()
        self.start = self.picture.clone()  # of which the scores are a function
        self.left: list[Tensor] = []  # the picture before and within its normalization

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        met = _of_the_picture([*args, *kwargs.values()])
        if not met:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        if any(a is old for a in met for old in self.left):
            raise ValueError(
                f"{self.method} cannot follow a network that uses the picture both before and after scaling it"
            )
        result = self.answer(name, func, met, args, kwargs)
        if met[0] is self.start and len(met) == 1 and name in _SHIFT | _CONSTANT | _SAME and isinstance(result, Tensor):
            self.left += [self.start] if result is not self.start else []
            self.start = result
        return result

    def answer(self, name: str, func: Any, met: list[Tensor], args: Any, kwargs: Any) -> Any:
        """What an operation gives, with its rule for the way back."""
        if name in _ELEMENTWISE:
            return self.elementwise(name, func, args, kwargs)
        rule = getattr(self, name, None) if name in ("conv2d", "linear", "batch_norm", "max_pool2d") else None
        if rule is not None and args and args[0] is met[0] and len(met) == 1:
            return rule(func, *args, **kwargs)
        constant = name in _CONSTANT and len(met) == 1 and ("div" not in name or args[0] is met[0])
        asleep = name in _DROPOUT and not kwargs.get("training", args[2] if len(args) > 2 else True)
        if name in _LINEAR or constant or asleep:
            return func(*args, **kwargs)
        if name not in _READS and name != "detach":
            result = func(*args, **kwargs)
            if not _tensors([result]):  # a shape, a flag: nothing of the picture flows on
                return result
        raise ValueError(
            f"{self.method} has no rule for {_PLAIN.get(name, repr(name))}, which this network does to the picture: "
            "use saliency.integrated_gradients, which asks nothing of the layers"
        )

    def elementwise(self, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
        """f with the slope of the line from the reference to z in place of its derivative."""
        z = args[0] if args else kwargs.pop("input")
        inplace = func.__name__.endswith("_") or kwargs.get("inplace") is True or any(a is True for a in args[1:])

        def make() -> tuple[Tensor, Tensor]:
            y = func(z.detach().clone() if inplace else z.detach(), *args[1:], **kwargs)
            return y, self.slope(z.detach(), y)

        y = Slope.apply(z, make)
        return z.copy_(y) if inplace else y

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        """The slope of y = f(z), f elementwise and f(0) = 0, between the reference and z."""
        raise NotImplementedError

    def conv2d(self, func: Any, a: Tensor, W: Tensor, b: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """Linear: the gradient is the rule."""
        return func(a, W, b, *args, **kwargs)

    def linear(self, func: Any, a: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
        """Linear too."""
        return func(a, W, b)

    def max_pool2d(self, func: Any, z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """All to the winner."""
        return func(z, *args, **kwargs)

    def batch_norm(self, func: Any, x: Tensor, mean: Tensor, var: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """With stored statistics it is linear."""
        if (args[2] if len(args) > 2 else kwargs.get("training", False)) or mean is None:
            raise ValueError(f"{self.method} has no rule for a batch norm that uses the batch's own statistics")
        return func(x, mean, var, *args, **kwargs)


_PLAIN = {
    "mul": "a product of two things that both depend on the picture (as in squeeze-and-excitation)",
    "layer_norm": "LayerNorm",
    "hardswish": "Hardswish",
}


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            found += _tensors(value)
    return found


def _of_the_picture(values: Any) -> list[Tensor]:
    """The tensors that depend on the picture: weights are frozen, so only those ask for gradients."""
    return [t for t in _tensors(values) if t.requires_grad]
