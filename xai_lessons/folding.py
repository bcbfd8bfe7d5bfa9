"""Batch normalisation folded into the convolution before it: the same scores with fewer passes over the memory.

In eval mode a batch normalisation is a scale and a shift of each channel, and so can be part of a convolution:

    gamma (W * x + b - mu) / sqrt(v + eps) + beta  =  (s W) * x + s (b - mu) + beta,   s = gamma / sqrt(v + eps)

The network itself is not touched: what computes is a shadow of it, which shares all but these layers with it. Which
pairs there are is found by watching two pictures pass through, so it does not matter how the network is written. One
that could do otherwise with other pictures, that keeps notes, or that is in any way in doubt, is asked itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_DEVICES = ("cpu", "cuda", "mps", "xpu")  # others may know no autocast
_PAYS = 4  # pictures; with fewer, folding takes longer than it saves
_ABOUT = (Tensor.dim, Tensor.size, *(getattr(Tensor, n).__get__ for n in ("shape", "ndim", "dtype", "device")))
_READS = {"__bool__", "__int__", "__float__", "__index__", "__contains__", "__array__"}
_READS |= {"item", "tolist", "numpy", "is_nonzero", "equal", "allclose"}  # then other pictures may go another way
_Pairs = list[tuple[int, int]]  # the places of the convolution and of the normalisation among the network's modules
_Twins = dict[nn.Module, nn.Module]  # by the module that each stands for
_Known = tuple[list[Any], dict[Any, _Pairs]]  # the network's notes, and its pairs by the circumstances
_known: WeakKeyDictionary[nn.Module, _Known] = WeakKeyDictionary()


class Foldable:
    """A network in eval mode whose weights do not change as long as this lives.

    Args:
        model: the network.
        modules: all its modules.
    """

    def __init__(self, model: nn.Module, modules: Sequence[nn.Module]) -> None:
        self.model, self.modules = model, modules
        self._shadows: dict[Any, nn.Module] = {}
        self._asked = 0

    def fastest(self, x: Tensor) -> nn.Module:
        """The network's shadow; or the network itself if folding does not pay, or somebody watches its layers.

        Args:
            x: pictures (N, 3, H, W), of which the first two may be used for a trial.
        """
        watched = any(getattr(m, kind) for m in self.modules for kind in _HOOKS) or _has_any_global_hook()
        modes = torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack()  # which watch as well
        self._asked += len(x)
        device = x.device.type
        if self._asked < _PAYS or watched or modes or device not in _DEVICES:
            return self.model
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        gradient = x.requires_grad, torch.is_grad_enabled()
        here = dtype, gradient, len(x) > 1, x.shape[1:], x.dtype, x.device  # a network may ask for any of these
        if here not in self._shadows:
            pairs = self._pairs(here, x, dtype)
            self._shadows[here] = _twins(self.model, self.modules, pairs, dtype)[self.model] if pairs else self.model
        return self._shadows[here]

    def _pairs(self, here: Any, x: Tensor, dtype: torch.dtype | None) -> _Pairs:
        notes, known = _notes(self.modules), _known.get(self.model)
        if known is None or known[0] != notes:
            known = _known[self.model] = notes, {}
        if here not in known[1]:
            main, pairs = threading.current_thread() is threading.main_thread(), []
            with suppress(Exception), torch.random.fork_rng([x.device] if x.is_cuda else []) if main else nullcontext():
                pairs = self._find(x[:2], dtype)  # fails where a network takes no two pictures, for example
            known[1][here] = pairs
        return known[1][here]

    def _find(self, x: Tensor, dtype: torch.dtype | None) -> _Pairs:
        own = {"forward", "_compiled_call_impl"}  # a method put on a module would go round the shadow
        if any(isinstance(m, torch.jit.ScriptModule) or own & vars(m).keys() for m in self.modules):
            return []  # nor is what is compiled to be seen
        twins, plain, expected = self._trial(x, [], dtype)
        pairs = plain.pairs([twins[m] for m in self.modules], expected)
        if plain.read or not pairs:
            return []
        twins, folded, found = self._trial(x, pairs, dtype)
        layers = [(self.modules[c], self.modules[n]) for c, n in pairs]
        old = any(folded.uses[id(conv.weight)] or folded.uses[id(norm.running_mean)] for conv, norm in layers)
        new = all(folded.uses[id(twins[conv].weight)] == 1 for conv, _ in layers)
        close = (found - expected).abs().max() <= (0.01 if dtype is None else 0.1) * expected.abs().max()
        return pairs if new and not old and close else []

    def _trial(self, x: Tensor, pairs: _Pairs, dtype: torch.dtype | None) -> tuple[_Twins, _Watch, Tensor]:
        twins = _twins(self.model, self.modules, pairs, dtype, private=True)
        before = _notes([*twins.values()])
        with _Watch() as watch:
            scores = twins[self.model](x.detach().clone().requires_grad_(x.requires_grad))
        watch.read |= before != _notes([*twins.values()])  # it keeps notes, which somebody may read
        return twins, watch, scores


def _notes(modules: Sequence[nn.Module]) -> list[Any]:
    """Whatever may change what the network does with its layers: compared, not kept, so that nothing is kept alive."""
    notes: list[Any] = []
    for m in modules:
        kind, written = type(m), m.__dict__
        notes += id(m), id(kind), len(written)
        if not kind.__module__.startswith("torch.nn."):  # whose layers keep no notes
            notes.append(getattr(getattr(kind, "forward", None), "__code__", None))
            for v in written.values():
                notes.append(v if type(v) in (bool, int, float, str) else id(v))
                if type(v) in (list, dict, set):
                    notes.append(len(v))
    return notes


class _Watch(TorchFunctionMode):
    """Notes what is done with the output of each convolution, and how often each tensor is used."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Tensor, Tensor]] = {}  # by id: output and weight, kept so that no id comes twice
        self.norms: dict[int, int] = {}  # of which output, and by the normalisation with which mean
        self.uses: Counter[int] = Counter()
        self.read = False

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See each call of a torch function."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.read |= func.__name__ in _READS
        if func not in _ABOUT:
            self.uses.update(id(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        if func is F.batch_norm and not kwargs["training"] and id(args[0]) in self.made:
            self.norms[id(args[0])] = id(args[1])
        if func is F.conv2d and len(args) > 1:
            self.made[id(out)] = out, args[1]
            self.uses[id(out)] = 0  # of an earlier tensor in the same place
        return out

    def pairs(self, modules: Sequence[nn.Module], scores: Tensor) -> _Pairs:
        """The pairs, where nothing else uses the convolution's output or weights, or the normalisation."""
        self.uses[id(scores)] += 1
        convs = {id(m.weight): i for i, m in enumerate(modules) if type(m) is nn.Conv2d}
        norms = {id(m.running_mean): i for i, m in enumerate(modules) if type(m) is nn.BatchNorm2d}
        found = []
        for key, (out, weight) in self.made.items():
            c, n = convs.get(id(weight)), norms.get(self.norms.get(key, 0))
            if c is not None and n is not None:
                used = out, weight, modules[c].bias, modules[n].running_mean
                found += [(c, n)] * all(t is None or self.uses[id(t)] == 1 for t in used)
        return found


def _twins(model: nn.Module, modules: Any, pairs: _Pairs, dtype: torch.dtype | None, private: bool = False) -> _Twins:
    """A shadow, which shares all with the model but the pairs; in a trial not its lists and buffers either."""
    made: _Twins = {}
    for conv, norm in ((modules[c], modules[n]) for c, n in pairs):
        if {conv.weight.dtype, getattr(norm.running_mean, "dtype", None)} in ({torch.float32}, {torch.float64}):
            made[conv], made[norm] = _fold(conv, norm, dtype), nn.Identity()

    def twin_of(module: nn.Module) -> nn.Module:
        if module not in made:
            made[module] = twin = module.__new__(type(module))
            own = (list, dict, set) if private else ()
            twin.__dict__ = {n: copy(v) if type(v) in own else v for n, v in module.__dict__.items()}
            if private:
                twin.__dict__["_buffers"] = {n: None if b is None else b.clone() for n, b in module._buffers.items()}
            twin.__dict__["_modules"] = {n: None if m is None else twin_of(m) for n, m in module._modules.items()}
        return made[module]

    twin_of(model)
    return made


def _fold(conv: Any, norm: Any, dtype: torch.dtype | None) -> nn.Module:
    with torch.inference_mode(False), torch.no_grad():  # autograd takes no tensor made in inference mode
        s = torch.rsqrt(norm.running_var + norm.eps)
        s = s if norm.weight is None else s * norm.weight
        b = s * (-norm.running_mean if conv.bias is None else conv.bias - norm.running_mean)
        b = b if norm.bias is None else b + norm.bias
        W = conv.weight * s[:, None, None, None]
    both = nn.Module.__new__(nn.Conv2d)
    both.__dict__ = {**conv.__dict__, "_parameters": {"weight": W.to(dtype or W.dtype), "bias": b.to(dtype or b.dtype)}}
    return both
