"""Layer-wise relevance propagation and DeepLIFT: the score is distributed backwards, layer by layer.

Both run the network once and replace the gradient by a rule of their own where a layer is not linear. An operation
without a rule is refused by name (see `core.operations`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.inputs import Targets
from xai_lessons.core.operations import AFFINE, Backward, Call, Rule
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
    r"""Layer-wise relevance propagation: each layer hands the score back to its inputs, by their contributions.

    With the contribution z_jk = a_j w_jk of input j to the output z_k = sum_j z_jk + b_k of a layer:

    .. math:: \text{epsilon: } R_j = \sum_k \frac{z_{jk}}{z_k + \epsilon\, \mathrm{sign}\, z_k} R_k

    .. math:: \text{zplus: } R_j = \sum_k \frac{z_{jk}^+}{P_k} R_k, \qquad P_k = \sum_i z_{ik}^+ + b_k^+

    .. math:: \text{gamma: } R_j = \sum_k \frac{z_{jk} + \gamma z_{jk}^+}{z_k + \gamma P_k} R_k

    (gamma where z_k > 0; where z_k < 0 with the negative parts.) A ReLU passes all relevance on, a sum distributes it
    by its terms, max-pooling gives all of it to the maximum, average pooling and a batch norm that stands alone are
    linear, and a batch norm right after a convolution is one layer with it. Biases keep their part: the relevance and
    what the biases absorb add up to the logit.

    Args:
        model: a network (`nn.Module`) of convolutions, linear layers, ReLUs, pooling, batch norms and sums.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        rule: of the convolutions: "epsilon", "gamma" or "zplus". Linear layers always take "epsilon".
        epsilon: at least 0, in units of a layer's output; the larger, the less remains of weak and contradictory
            contributions. With 0, the rule "epsilon" is gradient x input of the normalized input, as long as no ReLU6
            is saturated: there the gradient is 0, but LRP passes the relevance on.
        gamma: at least 0, how much more positive contributions count than negative ones.
        batch_size: images at once.
        progress: True, a callback ``(done, total)``, or a `Reporter`.

    Returns:
        (N, 3, H, W) or (3, H, W), in logits: the relevance of the image after the shift and scale of its normalization.

    Raises:
        TypeError: if the model is not a network.
        ValueError: if the network has an operation without a rule (LayerNorm, squeeze-and-excitation, Hardswish ...),
            or an option is out of range.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> lrp(model, image, "cat", rule="gamma").shape
        torch.Size([3, 96, 96])

    Source:
        Bach et al., 2015, "On pixel-wise explanations", doi:10.1371/journal.pone.0130140; Montavon et al., 2019,
        "Layer-wise relevance propagation: an overview", doi:10.1007/978-3-030-28954-6_10 (gamma); Andéol et al., 2021,
        "Learning domain invariant representations by joint Wasserstein distance minimization", arXiv 2106.04923 (gamma
        for inputs of either sign).

    Differs from the paper:
        the first layer has no rule of its own (the box rule); the normalized input is taken with its sign.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(map(repr, RULES))}, got {rule!r}")
    inputs.at_least("epsilon", epsilon, 0)
    inputs.at_least("gamma", gamma, 0)
    inputs.check_network("lrp", model)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        relevance = _Relevance(x, rule, epsilon, gamma)
        scores = relevance.scores(model)
        a = relevance.start  # the normalized input
        (ratios,) = torch.autograd.grad(passes.score(scores, c).sum(), a)  # R_j / a_j
        return (a * ratios).detach()

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
    r"""DeepLIFT, rescale rule: what each pixel contributes to the difference of the logit from a baseline.

    .. math:: C_i = (x_i - x'_i)\, m_i, \qquad
              m_{\mathrm{in}} = m_{\mathrm{out}} \cdot \frac{f(z) - f(z')}{z - z'} \text{ through } f = \mathrm{ReLU}

    and the gradient's rule through all that is linear. Max-pooling: of the two places where x and x' have their maxima,
    y - y' goes to the one that caused it (that of x if y >= y', else that of x'). The contributions to an image add up
    to Y(x) - Y(x') exactly.

    Args:
        model: a network (`nn.Module`) of convolutions, linear layers, ReLUs, pooling, batch norms and sums.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        baseline: x': a gray level in [0, 1] (0 is black), "mean", "blur", or images.
        batch_size: images at once; each runs together with its baseline.
        progress: True, a callback ``(done, total)``, or a `Reporter`.

    Returns:
        (N, 3, H, W) or (3, H, W), signed, in logits.

    Raises:
        TypeError: if the model is not a network.
        ValueError: if the network has an operation without a rule (LayerNorm, squeeze-and-excitation, Hardswish ...),
            or the baseline does not fit.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> bool(torch.allclose(deep_lift(model, image, 0).sum(), (model(image[None]) - model(0 * image[None]))[0, 0]))
        True

    Source:
        Shrikumar, Greenside and Kundaje, 2017, "Learning important features through propagating activation
        differences", arXiv 1704.02685.

    Differs from the paper:
        the paper leaves max-pooling open; where z = z', the ratio is the derivative.
    """
    inputs.check_network("deep_lift", model)
    batch, single = inputs.check_images(model, images)
    reference = baseline_pictures(baseline, batch)
    c = passes.predicted(model, batch, inputs.check_targets(model, targets, batch), batch_size)

    def of(x: Tensor, c: Tensor, _: Tensor, x_ref: Tensor) -> Tensor:
        differences = _Differences(torch.cat([x, x_ref]))
        Y = passes.score(differences.scores(model)[: len(x)], c)
        (m,) = torch.autograd.grad(Y.sum(), differences.images)
        return (x - x_ref) * m[: len(x)]

    once: dict[str, Any] = {"per_image": [reference], "reduce": "sum", "gradients": True}
    size = passes.default_batch_size(batch) // 2 if batch_size is None else batch_size  # two rows per image
    result = passes.over_passes(of, 1, model, batch, c, **once, batch_size=size, progress=progress)
    return result[0] if single else result


def _ratio(z: Tensor, D: Tensor, epsilon: float = 0.0) -> Tensor:
    """z / (D + epsilon sign D), and 0 where there is nothing to divide by."""
    if epsilon:
        return z / (D + torch.copysign(D.new_tensor(epsilon), D))
    return torch.where(D == 0, 0, z / D)


class _Propagation(Rule):
    """What LRP and DeepLIFT have in common: elementwise functions have a slope of our own, stored batch norms none."""

    def __init__(self, images: Tensor) -> None:
        super().__init__(images)
        self.rules = {"conv2d": Call.run, "linear": Call.run, "max_pool2d": Call.run, "batch_norm": self.batch_norm}
        self.rules |= {"leaky_relu": self.elementwise, "hardtanh": self.elementwise}

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        """What the signal is multiplied by on its way back through y = f(z)."""
        raise NotImplementedError

    def relu(self, call: Call, x: Tensor, ceiling: float | None) -> Tensor:
        return self.with_slope(x, x.detach().clamp(0, ceiling), call.in_place)

    def elementwise(self, call: Call) -> Tensor:
        z, *rest = call.args
        y = call.function(z.detach().clone() if call.in_place else z.detach(), *rest, **call.kwargs)
        return self.with_slope(z, y, call.in_place)

    def with_slope(self, z: Tensor, y: Tensor, in_place: bool) -> Tensor:
        slope = self.slope(z.detach(), y)
        out: Tensor = Backward.apply(z, lambda: y, lambda g: g * slope)
        return z.copy_(out) if in_place else out

    def batch_norm(self, call: Call) -> Any:
        if call.argument(5, "training", False) or call.argument(1, "running_mean") is None:
            raise self.refusal("a batch norm that uses the batch's own statistics")
        return call.run()


class _Relevance(_Propagation):
    """LRP: the way back carries R_j / a_j, which a ReLU passes on as z / z, and a linear layer by its rule."""

    method = "lrp"

    def __init__(self, images: Tensor, rule: str, epsilon: float, gamma: float) -> None:
        super().__init__(images)
        self.rule, self.epsilon, self.gamma = rule, epsilon, gamma
        self.before_start: list[Tensor] = []  # the image before and within its normalization
        self.rules |= {"conv2d": self.linear, "linear": self.linear}

    def answer(self, call: Call, met: list[Tensor]) -> Any:
        """The input of the network, `start`, is the image after its constant shift and scale."""
        if any(a is old for a in met for old in self.before_start):
            raise ValueError("lrp cannot follow a network that uses the image both before and after scaling it")
        result = super().answer(call, met)
        if met[0] is self.start and len(met) == 1 and call.name in AFFINE and isinstance(result, Tensor):
            self.before_start += [self.start] if result is not self.start else []
            self.start = result
        return result

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return _ratio(y, z)

    def linear(self, call: Call) -> Tensor:
        a, W, b = call.args[0], call.argument(1, "weight"), call.argument(2, "bias")
        options = {name: value for name, value in call.kwargs.items() if name not in ("weight", "bias")}

        def op(a: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
            return call.function(a, W, b, *call.args[3:], **options)

        return self.layer(op, a, W, b, op(a, W, b), self.rule if call.name == "conv2d" else "epsilon")

    def batch_norm(self, call: Call) -> Any:
        x = call.args[0]
        layer: Any = getattr(x, "_layer", None)
        if layer is None or layer[-1] != x._version:  # not right after a layer, or changed in place since
            return super().batch_norm(call)
        op, a, W, b, z, rule, _ = layer

        def norm(x: Tensor) -> Tensor:
            return super(_Relevance, self).batch_norm(Call(call.function, (x, *call.args[1:]), call.kwargs))

        zero = torch.zeros_like(W.flatten(1)[:, 0])[None]
        t, y = norm(zero)[0], norm(z)  # together with the layer before it: y = op(a, s W, s b + t)
        s = norm(zero + 1)[0] - t
        W, b = W * s.view(-1, *[1] * (W.ndim - 1)), (t if b is None else s * b + t)
        return self.layer(op, a, W, b, y, rule)

    def layer(self, op: Any, a: Tensor, W: Tensor, b: Tensor | None, z: Tensor, rule: str) -> Tensor:
        """A layer z = op(a, W, b), which remembers itself for the batch norm that may follow."""
        z_k, epsilon = z.detach(), self.epsilon
        if rule != "epsilon":
            denominator, copy = self.denominator(op, W, b, rule), a.detach().clone()  # an in-place ReLU may follow

            def backward(g: Tensor) -> Tensor:
                with torch.enable_grad():
                    a_j = copy.detach().requires_grad_()
                    D = denominator(a_j, z_k, g)
                return torch.autograd.grad(D, a_j, g * _ratio(z_k, D.detach(), epsilon))[0]

            out: Any = Backward.apply(a, z_k.clone, backward)
        elif epsilon:
            out = Backward.apply(z, z_k.clone, lambda g: g * _ratio(z_k, z_k, epsilon))
        else:
            out = z.clone()
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


class _Differences(_Propagation):
    """DeepLIFT: the first half of the batch holds the images, the second their baselines."""

    method = "deep_lift"

    def __init__(self, images: Tensor) -> None:
        super().__init__(images)
        self.rules["max_pool2d"] = self.max_pool2d

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        half = len(self.images) // 2
        if len(z) != 2 * half:
            raise self.refusal("an activation of a tensor whose first axis is not that of the images")
        dz, dy = z[:half] - z[half:], y[:half] - y[half:]
        m = torch.where(dz == 0, (y[:half] == z[:half]).to(z), dy / dz)
        return torch.cat([m, torch.zeros_like(m)])

    def max_pool2d(self, call: Call) -> Tensor:
        """y - y' goes to the place that moved for it: x's peak where y >= y', the baseline's peak elsewhere."""
        z, *rest = call.args
        half = len(z) // 2
        y, place = F.max_pool2d(z.detach(), *rest, **{**call.kwargs, "return_indices": True})
        dy = y[:half] - y[half:]
        p = torch.where(dy >= 0, place[:half], place[half:])
        peaks = z.flatten(2).gather(2, torch.cat([p, p]).flatten(2)).view_as(y)
        dz = (peaks[:half] - peaks[half:]).detach()
        m = torch.where(dz == 0, 1, dy / dz)
        slope = torch.cat([m, torch.zeros_like(m)])
        return Backward.apply(peaks, lambda: y, lambda g: g * slope)
