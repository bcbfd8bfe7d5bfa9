"""What guided backpropagation and the deconvnet change: how a ReLU passes a signal back.

The rule is laid over the torch functions themselves while the network computes, in this thread only. So no ReLU is
missed, however it is spelled: a module, a function, a method, in place, or used several times. What the rule is not
defined for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_lessons.core.passes import input_gradient

RELUS = {"relu", "relu6", "hardtanh", "clamp", "clip", "clamp_min"}
NOT_RELUS = {
    *("gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid", "logsigmoid", "tanh", "softsign", "softplus"),
    *("leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "threshold", "maximum", "hardshrink", "softshrink", "glu"),
}


class _BackwardRule(TorchFunctionMode):
    """While it is on, each ReLU of any spelling lets only positive gradients pass back.

    The guided rule keeps the ReLU's own rule too (nothing passes where the unit was off); the deconvnet's drops it.
    """

    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See each call of a torch function; module, functional, reused and in-place ReLUs all come by here."""
        kwargs = kwargs or {}
        spelling = getattr(func, "__name__", "")
        name = spelling.strip("_")
        bounds = tuple(v for v in (*args[1:], *kwargs.values()) if type(v) in (int, float))
        two_tensors = name == "max" and len(args) > 1 and isinstance(args[1], Tensor)
        if name in NOT_RELUS or two_tensors or (name == "hardtanh" and bounds != (0, 6)):
            raise ValueError(
                f"this rule is defined for ReLUs, and the network uses {name}: use saliency.gradient, smooth_grad or "
                "integrated_gradients"
            )
        if name not in RELUS or not (name in ("relu", "relu6") or bounds in ((0,), (0, 6))):
            return func(*args, **kwargs)
        if self.guided:
            y = func(*args, **kwargs)
        else:
            x = args[0] if args else kwargs["input"]
            six = 6 if name == "relu6" or len(bounds) == 2 else None
            up = (x.clamp(0, six) - x).detach()  # adding a constant: forwards a ReLU, backwards the identity
            in_place = spelling.endswith("_") or any(v is True for v in (*args[1:], *kwargs.values()))
            y = x.add_(up) if in_place else x + up
        if y.requires_grad:
            y.register_hook(torch.relu)
        return y


def rule_gradient(model: Any, x: Tensor, c: Tensor | None, *, guided: bool) -> Tensor:
    """The gradient of the class score with another backward rule for the ReLUs.

    Args:
        model: a network, or a differentiable callable.
        x: (N, 3, H, W).
        c: class numbers (N,), or None for the predicted ones.
        guided: the guided rule, else the deconvnet's.

    Returns:
        (N, 3, H, W).

    Raises:
        ValueError: if the network uses an activation for which the rule is not defined.
    """
    if isinstance(model, nn.Module) and any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        raise ValueError("the ReLUs of a TorchScript network cannot be reached: use saliency.gradient")

    def ruled(x: Tensor) -> Tensor:
        with _BackwardRule(guided):
            return model(x)

    return input_gradient(ruled, x, c)
