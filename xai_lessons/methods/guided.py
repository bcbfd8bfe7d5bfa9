"""How guided backpropagation and the deconvnet pass a signal back through a ReLU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons.core.operations import Backward, Call, Rule
from xai_lessons.core.passes import input_gradient

# Every activation is a ReLU or refused; the ordinary gradient is the rule of these.
_ALLOWED = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "matmul", "mm", "bmm", "addmm", "einsum", "mul",
    "multiply", "imul", "div", "divide", "true_divide", "truediv", "batch_norm", "layer_norm", "group_norm",
    "instance_norm", "local_response_norm", "max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices", "interpolate", "upsample", "unfold", "fold", "softmax", "log_softmax", "log",
    "scaled_dot_product_attention", "multi_head_attention_forward", "index_select", "masked_fill", "roll", "flip",
    "repeat", "repeat_interleave", "tile", "movedim", "swapaxes", "type_as", "half", "bfloat16",
})  # fmt: skip


class ReluRule(Rule):
    """Each ReLU lets only positive signals pass back.

    The guided rule keeps the ReLU's own rule too (nothing passes where the unit was off); the deconvnet's drops it.
    """

    allowed = _ALLOWED

    def __init__(self, images: Tensor, *, guided: bool) -> None:
        super().__init__(images)
        self.guided, self.method = guided, "guided_backprop" if guided else "deconvnet"

    def answer(self, call: Call, met: list[Tensor]) -> Any:
        """A clamp of the image itself or of probabilities is no activation, and the maximum of a map is pooling.

        Args:
            call: the call of a torch function.
            met: the tensors among its arguments that depend on the image.

        Returns:
            What the call returns.
        """
        clamp = call.name in ("clamp", "clip", "clamp_min") and call.relu() is None
        pooling = call.name == "amax" and met[0].ndim == 4 and call.argument(1, "dim") in ((2, 3), (-2, -1), (-1, -2))
        if pooling or (clamp and (met[0] is self.start or self.made_by(met[0]) == "softmax")):
            return call.run()
        return super().answer(call, met)

    def relu(self, call: Call, x: Tensor, ceiling: float | None) -> Tensor:
        """Pass back what is positive; of the guided rule only where the unit was on.

        Args:
            call: the call of the ReLU.
            x: its input.
            ceiling: its largest value, 6 of a ReLU6; None without one.

        Returns:
            Its output, of the shape of x.
        """
        y = x.detach().clamp(0, ceiling)
        on = ((x > 0) & (x < (ceiling or torch.inf))).detach()

        def backward(g: Tensor) -> Tensor:
            return g.relu().where(on, 0) if self.guided else g.relu()

        out: Tensor = Backward.apply(x, lambda: y, backward)
        return x.copy_(out) if call.in_place else out


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
        ValueError: if the network applies an operation to the image for which there is no rule.

    Example:
        >>> x, net = torch.full((1, 3, 1, 1), 0.2), lambda x: (x - 0.5).relu().flatten(1)  # three units, all off
        >>> [rule_gradient(net, x, torch.tensor([0]), guided=guided).flatten().tolist() for guided in (True, False)]
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    return input_gradient(lambda x: ReluRule(x, guided=guided).scores(model), x, c)
