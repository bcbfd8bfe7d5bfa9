"""Look inside a network while it works, and leave it exactly as it was.

Forward hooks are the only means used. Each lives for one call inside a ``with`` block, belongs to the thread that set
it (two widgets may ask the same network at once), and is gone afterwards, also after an exception.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


@dataclass
class _Saved:
    """What `undisturbed` puts back, and how many callers are still inside."""

    training: list[tuple[nn.Module, bool]]
    requires_grad: list[tuple[nn.Parameter, bool]]
    rng: Tensor
    callers: int = 0


_lock = threading.Lock()
_saved: WeakKeyDictionary[nn.Module, _Saved] = WeakKeyDictionary()


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Use a network in eval mode with frozen weights, and restore every flag and the global random state afterwards.

    Frozen weights mean that no gradient of a weight is ever computed. Callers in several threads share one saved
    state: the last to leave restores it. Anything that is not an `nn.Module` is left alone.

    Args:
        model: a network, or any callable.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    with _lock:
        saved = _saved.get(model)
        if saved is None:
            saved = _saved[model] = _Saved(
                training=[(m, m.training) for m in model.modules()],
                requires_grad=[(p, p.requires_grad) for p in model.parameters()],
                rng=torch.get_rng_state(),
            )
            for module, _ in saved.training:
                module.training = False
            for parameter, _ in saved.requires_grad:
                parameter.requires_grad_(False)
        saved.callers += 1
    try:
        yield
    finally:
        with _lock:
            saved.callers -= 1
            if saved.callers == 0:
                for module, flag in saved.training:
                    module.training = flag
                for parameter, needed in saved.requires_grad:
                    parameter.requires_grad_(needed)
                torch.set_rng_state(saved.rng)
                _saved.pop(model, None)


@contextmanager
def hooked(module: nn.Module, hook: Callable[[Any], Any]) -> Iterator[None]:
    """Let ``hook(output)`` see, and if it returns something replace, what a module puts out in this thread.

    Args:
        module: the module to watch.
        hook: called with the module's output after each of its forward passes.
    """
    me = threading.get_ident()

    def forward_hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return hook(output) if threading.get_ident() == me else None

    handle = module.register_forward_hook(forward_hook)
    try:
        yield
    finally:
        handle.remove()


def find_layer(
    model: nn.Module, layer: str | nn.Module | None = None, images: Tensor | None = None
) -> tuple[str, nn.Module]:
    """Find a layer by its name, or the module itself, or by default the last spatial one.

    Args:
        model: the network.
        layer: one of `model.layers`, any name of `named_modules()`, a module of the network, or None.
        images: (N, 3, H, W), needed only for the default layer of a module that has no `layers`.

    Returns:
        The layer's name and the module.

    Raises:
        ValueError: if the network has no such layer, with the nearest names.
    """
    if isinstance(layer, nn.Module):
        for name, module in model.named_modules():
            if module is layer:
                return name, module
        raise ValueError(f"the layer {type(layer).__name__} is not part of this network: pass one of its own modules")
    if layer is None:
        layer = _last_spatial(model, images)
    modules = dict(model.named_modules())
    for name in (layer, f"network.{layer}"):
        if name and name in modules:
            return layer, modules[name]
    known = [*getattr(model, "layers", ()), *(name for name in modules if name)]
    near = difflib.get_close_matches(str(layer), known, n=4, cutoff=0.3) or known[:8]
    raise ValueError(f"the network has no layer {layer!r}: the nearest names are {', '.join(map(repr, near))}")


def _last_spatial(model: nn.Module, images: Tensor | None) -> str:
    named: tuple[str, ...] = getattr(model, "layers", ())
    if named:
        return named[-1]
    if images is None:
        raise ValueError("this network names no layers: pass layer=, or wrap it with models.wrap")
    spatial = [name for name, shape in output_shapes(model, images[:1]).items() if len(shape) == 4 and shape[-1] > 1]
    if not spatial:
        raise ValueError(
            "no layer of this network keeps a map of the picture (N, K, h, w): there is nothing to lay over it"
        )
    return spatial[-1]


def output_shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape that each named module puts out for these pictures, in the order in which the modules finish.

    Args:
        model: the network.
        images: (N, 3, H, W) in [0, 1].

    Returns:
        Names and shapes, the network itself left out.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(name: str) -> Callable[[Any], None]:
        def hook(output: Any) -> None:
            if isinstance(output, Tensor):
                shapes.pop(name, None)
                shapes[name] = tuple(output.shape)

        return hook

    with undisturbed(model), torch.no_grad(), ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.enter_context(hooked(module, keep(name)))
        model(images)
    return shapes


def _tensor(output: Any, name: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise ValueError(f"layer {name!r} puts out a {type(output).__name__}, not one tensor: choose a layer inside it")
    return output


def activations(
    model: nn.Module, layers: Sequence[str | nn.Module], x: Tensor, *, gradient: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    """What several layers put out, in one forward pass.

    Args:
        model: the network.
        layers: names or modules.
        x: (N, 3, H, W) in [0, 1].
        gradient: whether the activations stay connected to ``x`` for a later backward pass.

    Returns:
        The activations by name, as the layer put them out (a later in-place ReLU does not reach them), and the logits.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Any], Tensor]:
        def hook(output: Any) -> Tensor:
            kept[name] = _tensor(output, name)
            return output.clone()

        return hook

    with undisturbed(model), torch.set_grad_enabled(gradient), ExitStack() as stack:
        for layer in layers:
            name, module = find_layer(model, layer, x)
            stack.enter_context(hooked(module, keep(name)))
        logits = model(x)
    return kept, logits


def activation(model: nn.Module, layer: str | nn.Module | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """What one layer puts out, without gradients.

    Args:
        model: the network.
        layer: a name, a module, or None for the last spatial layer.
        x: (N, 3, H, W) in [0, 1].

    Returns:
        The activation A and the logits.
    """
    name, module = find_layer(model, layer, x)
    kept, logits = activations(model, [module], x)
    return next(iter(kept.values())), logits


def activation_and_gradient(
    model: nn.Module, layer: str | nn.Module | None, x: Tensor, targets: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What a layer puts out, and how the class score would change with it: A and dY^c/dA.

    The graph begins at the layer, so nothing is computed backwards below it.

    Args:
        model: the network.
        layer: a name, a module, or None for the last spatial layer.
        x: (N, 3, H, W) in [0, 1].
        targets: (N,) class numbers, or None for the predicted ones.

    Returns:
        A, dY^c/dA (both of the layer's shape) and the logits (N, K).

    Raises:
        ValueError: if the class score does not depend on the layer.
    """
    name, module = find_layer(model, layer, x)
    kept: list[Tensor] = []

    def cut(output: Any) -> Tensor:
        kept.append(_tensor(output, name).detach().requires_grad_())
        return kept[-1].clone()  # what flows on is a copy: an in-place ReLU must not change A

    with undisturbed(model), torch.enable_grad():
        with hooked(module, cut):
            logits = model(x)
        if not kept or not logits.requires_grad:
            raise ValueError(
                f"the class scores do not depend on layer {name!r}: choose one that the picture passes through"
            )
        if targets is not None and int(targets.max()) >= logits.shape[1]:
            raise ValueError(
                f"there is no class {int(targets.max())}: this network has classes 0 to {logits.shape[1] - 1}"
            )
        score = logits.amax(dim=1) if targets is None else logits.gather(1, targets[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(score.sum(), kept[-1])
    return kept[-1].detach(), gradient, logits.detach()
