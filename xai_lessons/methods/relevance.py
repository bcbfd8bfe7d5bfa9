"""Relevance handed back layer by layer: LRP and DeepLIFT.

Both run the network once and walk back through it, with another rule than the gradient's where a layer is not linear.
They watch every operation that touches the picture, not only the modules, so functional, reused and in-place ReLUs and
bare sums are met too; an operation that has no rule here is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.operations import Slope, Walk, ratio
from xai_lessons.core.progress import Progress
from xai_lessons.methods.paths import baseline_pictures

RULES = ("epsilon", "gamma", "zplus")


def lrp(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    rule: str = "epsilon",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Layer-wise relevance propagation: the score is handed back from layer to layer, to each input what it gave.

    With the contribution z_jk = a_j w_jk of input j to the output z_k = sum_j z_jk + b_k of a layer:

    .. math:: \text{epsilon: } R_j = \sum_k \frac{z_{jk}}{z_k + \epsilon\, \mathrm{sign}\, z_k} R_k

    .. math:: \text{zplus: } R_j = \sum_k \frac{z_{jk}^+}{P_k} R_k, \qquad P_k = \sum_i z_{ik}^+ + b_k^+

    .. math:: \text{gamma: } R_j = \sum_k \frac{z_{jk} + \gamma z_{jk}^+}{z_k + \gamma P_k} R_k

    (gamma where z_k > 0; where z_k < 0 with the negative parts.) A sum shares out by what each term gave, max-pooling
    gives all to the winner, average pooling and a batch norm that stands alone are linear, and a batch norm right after
    a convolution is one layer with it. Biases keep their share: relevance plus what they absorb is the logit.

    Args:
        model: a network (`nn.Module`) of convolutions, linear layers, ReLUs, pooling, batch norms and sums.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        rule: of the convolutions: "epsilon", "gamma" or "zplus". Linear layers always take "epsilon".
        epsilon: at least 0, in units of a layer's output; the larger, the less of the weak and contradictory is left.
            With 0, "epsilon" is gradient x input of the normalized input.
        gamma: at least 0, how much more the speaking-for counts than the speaking-against.
        batch_size: pictures at once.
        progress: True, or a callback (done, total).

    Returns:
        (N, 3, H, W) or (3, H, W), in logits: the relevance of the picture after the constant shift and scale of the
        normalization, which is where the network begins to see.

    Raises:
        TypeError: if it is not a network.
        ValueError: if the network does what has no rule (LayerNorm, squeeze-and-excitation, Hardswish, softmax ...), or
            an option is out of range.

    Source:
        Bach et al.: On Pixel-Wise Explanations, 2015, doi:10.1371/journal.pone.0130140; Montavon et al.: Layer-Wise
        Relevance Propagation: An Overview, 2019 (gamma); Andeol et al., 2021, arXiv:2106.07138 (gamma for inputs of
        either sign).

    Differs from the paper:
        the first layer has no rule of its own (the box rule); the normalized input is taken with its sign.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(map(repr, RULES))}, got {rule!r}")
    inputs.at_least("epsilon", epsilon, 0)
    inputs.at_least("gamma", gamma, 0)
    _check_network("lrp", model)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        with _Relevance(x, rule, epsilon, gamma) as walk:
            scores = model(walk.start)
        a = walk.start  # the normalized input
        (share,) = torch.autograd.grad(passes.score(scores, c).sum(), a)  # R_j / a_j
        return (a * share).detach()

    return passes.over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


def deep_lift(
    model: Any,
    images: Tensor,
    targets: Targets = None,
    *,
    baseline: float | str | Tensor = 0.0,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""DeepLIFT, rescale rule: what each pixel gave to the difference from a baseline.

    .. math:: C_i = (x_i - x'_i)\, m_i, \qquad
              m_{\mathrm{in}} = m_{\mathrm{out}} \cdot \frac{f(z) - f(z')}{z - z'} \text{ through } f = \mathrm{ReLU}

    and the gradient's rule through all that is linear. Max-pooling: of the two places where x and x' peak, the
    difference y - y' goes to the one that moved for it (x's peak if y >= y', else that of x'). The contributions of a
    picture add up to Y(x) - Y(x') exactly.

    Args:
        model: a network (`nn.Module`) of convolutions, linear layers, ReLUs, pooling, batch norms and sums.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        baseline: x': a gray level in [0, 1] (0 is black), "mean", "blur", or pictures.
        batch_size: pictures at once; each goes through the network beside its baseline.
        progress: True, or a callback (done, total).

    Returns:
        (N, 3, H, W) or (3, H, W), signed, in logits.

    Raises:
        TypeError: if it is not a network.
        ValueError: if the network does what has no rule (LayerNorm, squeeze-and-excitation, Hardswish, softmax ...), or
            the baseline does not fit.

    Source:
        Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating Activation Differences, 2017,
        arXiv:1704.02685.

    Differs from the paper:
        the paper leaves max-pooling open; where z = z' there is nothing to share out and the ratio is the derivative.
    """
    _check_network("deep_lift", model)
    pictures, single = inputs.check_images(model, images)
    reference = baseline_pictures(baseline, pictures)
    c = passes.predicted(model, pictures, inputs.check_targets(model, targets, pictures), batch_size)

    def of(x: Tensor, c: Tensor, _: Tensor, x_ref: Tensor) -> Tensor:
        with _Differences(torch.cat([x, x_ref])) as walk:
            scores = model(walk.start)
        (m,) = torch.autograd.grad(passes.score(scores[: len(x)], c).sum(), walk.picture)
        return (x - x_ref) * m[: len(x)]

    once: dict[str, Any] = {"per_image": [reference], "reduce": "sum", "gradients": True}
    size = passes.default_batch_size(pictures) // 2 if batch_size is None else batch_size  # two rows a picture
    result = passes.over_passes(of, 1, model, pictures, c, **once, batch_size=size, progress=progress)
    return result[0] if single else result


def _check_network(method: str, model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{method} looks into the network's layers and takes an nn.Module, got {type(model).__name__}")


class _Epsilon(torch.autograd.Function):
    """Puts out z; walking back, only z / (z + epsilon sign z) of what arrives goes on."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.epsilon = epsilon
        return z.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return g * ratio(z, z, ctx.epsilon), None


class _Share(torch.autograd.Function):
    """Puts out z; walking back, shares it out among the inputs a as the terms of ``denominator(a)`` do."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, z: Tensor, denominator: Callable[..., Tensor], epsilon: float) -> Tensor:
        ctx.save_for_backward(a.clone(), z)  # a copy: an in-place ReLU may follow
        ctx.denominator, ctx.epsilon = denominator, epsilon
        return z.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        a, z = ctx.saved_tensors
        with torch.enable_grad():
            a = a.detach().requires_grad_()
            D = ctx.denominator(a, z, g)
        (share,) = torch.autograd.grad(D, a, g * ratio(z, D.detach(), ctx.epsilon))
        return share, None, None, None


class _Relevance(Walk):
    """LRP: the way back carries R_j / a_j, which a ReLU passes on as z / z, and a linear layer by its rule."""

    method = "lrp"

    def __init__(self, x: Tensor, rule: str, epsilon: float, gamma: float) -> None:
        super().__init__(x)
        self.rule, self.epsilon, self.gamma = rule, epsilon, gamma

    def elementwise(self, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
        return func(*args, **kwargs) if name == "relu" else super().elementwise(name, func, args, kwargs)

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return ratio(y, z)

    def linear(self, func: Any, a: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
        return self.layer(func, a, W, b, func(a, W, b), "epsilon")

    def conv2d(self, func: Any, a: Tensor, W: Tensor, b: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        def op(a: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
            return func(a, W, b, *args, **kwargs)

        return self.layer(op, a, W, b, op(a, W, b), self.rule)

    def batch_norm(self, func: Any, x: Tensor, mean: Tensor, var: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        layer = getattr(x, "_layer", None)
        if layer is None or layer[-1] != x._version:  # changed in place since
            return super().batch_norm(func, x, mean, var, *args, **kwargs)
        op, a, W, b, z, rule, _ = layer  # together with the layer before it: y = op(a, s W, s b + t)
        y = super().batch_norm(func, z, mean, var, *args, **kwargs)
        t = func(torch.zeros_like(mean)[None, :], mean, var, *args, **kwargs)[0]
        s = func(torch.ones_like(mean)[None, :], mean, var, *args, **kwargs)[0] - t
        W, b = W * s.view(-1, *[1] * (W.ndim - 1)), (t if b is None else s * b + t)
        return self.layer(op, a, W, b, y, rule)

    def layer(self, op: Any, a: Tensor, W: Tensor, b: Tensor | None, z: Tensor, rule: str) -> Tensor:
        """A layer z = op(a, W, b), which remembers itself for the batch norm that may follow."""
        out: Any
        if rule == "epsilon":
            out = _Epsilon.apply(z, self.epsilon) if self.epsilon else z.clone()
        else:
            out = _Share.apply(a, z, self.denominator(op, W, b, rule), self.epsilon)
        out._layer = (op, a, W, b, z, rule, out._version)
        return out

    def denominator(self, op: Any, W: Tensor, b: Tensor | None, rule: str) -> Callable[..., Tensor]:
        """What z is divided by, P, z + gamma P or (where z < 0) z + gamma N, as a function of the inputs a."""
        gamma, W_plus, W_minus = self.gamma, W.clamp(min=0), W.clamp(max=0)
        b = W.new_zeros(len(W)) if b is None else b

        def parts(a: Tensor, W_up: Tensor, W_down: Tensor, b: Tensor) -> Tensor:
            part = op(a.clamp(min=0), W_up, b)
            return part + op(a.clamp(max=0), W_down, None) if bool((a < 0).any()) else part

        def of(a: Tensor, z: Tensor, g: Tensor) -> Tensor:
            if rule == "zplus":
                return parts(a, W_plus, W_minus, b.clamp(min=0))
            up, down = W + gamma * W_plus, W + gamma * W_minus
            D = parts(a, up, down, b + gamma * b.clamp(min=0))
            below = (z < 0) & (g != 0)  # behind a ReLU there is none
            return torch.where(below, parts(a, down, up, b + gamma * b.clamp(max=0)), D) if bool(below.any()) else D

        return of


class _Differences(Walk):
    """DeepLIFT: the first half of the batch holds the pictures, the second their references."""

    method = "deep_lift"

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        half = len(z) // 2
        dz, dy = z[:half] - z[half:], y[:half] - y[half:]
        m = torch.where(dz == 0, (y[:half] == z[:half]).to(z), dy / dz)
        return torch.cat([m, torch.zeros_like(m)])

    def max_pool2d(self, func: Any, z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """y - y' goes to the place that moved for it: x's peak where y >= y', the reference's peak elsewhere."""
        half = len(z) // 2
        y, place = F.max_pool2d(z.detach(), *args, **{**kwargs, "return_indices": True})
        dy = y[:half] - y[half:]
        p = torch.where(dy >= 0, place[:half], place[half:])
        there = z.flatten(2).gather(2, torch.cat([p, p]).flatten(2)).view_as(y)
        dz = (there[:half] - there[half:]).detach()
        m = torch.where(dz == 0, 1, dy / dz)
        return Slope.apply(there, lambda: (y, torch.cat([m, torch.zeros_like(m)])))
