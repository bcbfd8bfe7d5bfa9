"""Batch normalisation folded into the convolution before it: the same scores with fewer passes over the memory.

In eval mode a batch normalisation is a scale and a shift of each channel, and so can be part of a convolution:

    gamma (W * x + b - mu) / sqrt(v + eps) + beta  =  (s W) * x + s (b - mu) + beta,   s = gamma / sqrt(v + eps)

The network itself is not touched: what computes is a shadow of it, which shares all but these layers with it. Which
pairs there are is found by watching one picture pass through, so it does not matter how the network is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PAYS = 4  # pictures; with fewer, folding takes longer than it saves
_Pairs = list[tuple[int, int]]  # the places of the convolution and of the normalisation among the network's modules
_known: WeakKeyDictionary[nn.Module, tuple[list[int], _Pairs]] = WeakKeyDictionary()


class Foldable:
    """A network in eval mode whose weights do not change as long as this lives.

    Args:
        model: the network.
        modules: all its modules.
    """

    def __init__(self, model: nn.Module, modules: Sequence[nn.Module]) -> None:
        self.model, self.modules = model, modules
        self._shadows: dict[torch.dtype | None, nn.Module] = {}
        self._asked = 0

    def fastest(self, x: Tensor) -> nn.Module:
        """The network's shadow; or the network itself if folding does not pay, or somebody watches its layers.

        Args:
            x: pictures (N, 3, H, W), of which the first may be used for a trial.
        """
        watched = any(getattr(m, kind) for m in self.modules for kind in _HOOKS)
        self._asked += len(x)
        if self._asked < _PAYS or watched or torch._C._len_torch_function_stack():  # a function mode watches as well
            return self.model
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if dtype not in self._shadows:
            pairs = self._pairs(x)
            self._shadows[dtype] = _shadow(self.model, self.modules, pairs, dtype) if pairs else self.model
        return self._shadows[dtype]

    def _pairs(self, x: Tensor) -> _Pairs:
        parts, known = [id(m) for m in self.modules], _known.get(self.model)
        if known is None or known[0] != parts:
            known = _known[self.model] = parts, self._find(x[:1].detach())
        return known[1]

    def _find(self, one: Tensor) -> _Pairs:
        if any(hasattr(m, "_orig_mod") or isinstance(m, torch.jit.ScriptModule) for m in self.modules):
            return []  # what a compiled network does is not to be seen
        with torch.no_grad(), torch.autocast(one.device.type, enabled=False):
            with _Watch() as watch:
                expected = self.model(one)
            weights = {id(m.weight): i for i, m in enumerate(self.modules) if type(m) is nn.Conv2d}
            means = {id(m.running_mean): i for i, m in enumerate(self.modules) if type(m) is nn.BatchNorm2d}
            pairs = [(weights[w], means[m]) for w, m in watch.pairs() if w in weights and m in means]
            try:
                found = _shadow(self.model, self.modules, pairs, None)(one)
            except Exception:  # the network uses its layers in a way of its own, as by reading their weights
                return []
        trusted = isinstance(found, Tensor) and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
        return pairs if trusted else []


class _Watch(TorchFunctionMode):
    """Notes what is done with the output of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the output, kept so that no id comes twice
        self.uses: list[tuple[int, int | None]] = []  # of which output, and by the normalisation with which mean

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See each call of a torch function."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func not in (Tensor.dim, Tensor.size):  # which BatchNorm2d only asks to check what it is given
            norm = func is F.batch_norm and not kwargs["training"]
            met = [id(t) for t in tree_leaves((args, kwargs)) if id(t) in self.made]
            self.uses += [(key, id(args[1]) if norm else None) for key in met]
        if func is F.conv2d:
            self.made[id(out)] = out, args[1]
        return out

    def pairs(self) -> list[tuple[int, int]]:
        """The ids of the weight and of the running mean, where nothing else uses either's output or weights."""
        weights = [id(weight) for _, weight in self.made.values()]
        outputs = [key for key, _ in self.uses]
        found = [(id(self.made[key][1]), mean) for key, mean in self.uses if mean and outputs.count(key) == 1]
        means = [mean for _, mean in found]
        return [(w, m) for w, m in found if weights.count(w) == 1 and means.count(m) == 1]


def _shadow(model: nn.Module, modules: Sequence[nn.Module], pairs: _Pairs, dtype: torch.dtype | None) -> nn.Module:
    """A network that shares everything with ``model`` but the pairs, each of which is one convolution in it."""
    made: dict[nn.Module, nn.Module] = {}
    for conv, norm in pairs:
        made[modules[conv]] = _fold(modules[conv], modules[norm], dtype)
        made[modules[norm]] = nn.Identity()

    def copy(module: nn.Module) -> nn.Module:
        if module not in made:
            made[module] = twin = module.__new__(type(module))
            twin.__dict__ = {**module.__dict__}
            twin.__dict__["_modules"] = {n: None if m is None else copy(m) for n, m in module._modules.items()}
        return made[module]

    return copy(model)


def _fold(conv: Any, norm: Any, dtype: torch.dtype | None) -> nn.Module:
    with torch.no_grad():
        s = torch.rsqrt(norm.running_var + norm.eps)
        s = s if norm.weight is None else s * norm.weight
        b = s * (-norm.running_mean if conv.bias is None else conv.bias - norm.running_mean)
        b = b if norm.bias is None else b + norm.bias
        W = conv.weight * s[:, None, None, None]
    both = nn.Module.__new__(nn.Conv2d)
    both.__dict__ = {**conv.__dict__, "_parameters": {"weight": W.to(dtype or W.dtype), "bias": b.to(dtype or b.dtype)}}
    return both
