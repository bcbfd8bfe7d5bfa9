"""Look inside a network while it works, and leave it exactly as it was.

Forward hooks are the only means used. Each lives for one call inside a ``with`` block, belongs to the thread that set
it (two widgets may ask the same network at once), and is gone afterwards, also after an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons.core.inputs import check_scores, closest
from xai_lessons.core.state import preserved


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
                return (name.removeprefix("network.") if hasattr(model, "layers") else name), module
        raise ValueError(f"the layer {type(layer).__name__} is not part of this network: pass one of its own modules")
    if layer is None:
        layer = _last_spatial(model, images)
    for name in (layer, f"network.{layer}") if layer else ():
        with suppress(AttributeError):
            return layer, model.get_submodule(name)
    known = [*getattr(model, "layers", ()), *(name for name, _ in model.named_modules() if name)]
    raise ValueError(f"the network has no layer {layer!r}: did you mean {closest(layer, known)}?")


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

    with preserved(model), torch.no_grad(), ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.enter_context(hooked(module, keep(name)))
        model(images)
    return shapes


_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d)


def name_layers(network: nn.Module, x: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The last layer of each resolution, and the flat ones after them.

    Looked for among the parts that a reader would name: the children of the network, or of its `features`, `blocks` ...

    Args:
        network: from pictures to scores.
        x: (1, 3, H, H), as the network takes it.

    Returns:
        The names of the layers that keep a map of the picture, and those of the flat ones after them.
    """
    shapes = output_shapes(network, x)
    own = (getattr(network, "layers", None), getattr(network, "flat_layers", ()))
    if isinstance(own[0], tuple) and own[0] and all(name in shapes for name in own[0]):
        return own[0], tuple(own[1])
    modules = dict(network.named_modules())
    # maps of a square picture are square; a transformer's (N, h, w, K) are not
    spatial = {
        name: shape[-1]
        for name, shape in shapes.items()
        if len(shape) == 4 and shape[-1] == shape[-2] > 1 and not isinstance(modules[name], _POOLS)
    }
    last: dict[int, str] = {}
    for root in ("features", ""):  # what comes after the features (as in SqueezeNet) is maps of classes
        inside = getattr(network, root, None) if root else network
        if len(last) < 2 and isinstance(inside, nn.Module):
            candidates = sorted(_parts(root, inside, spatial), key=list(spatial).index)
            last = {spatial[name]: name for name in candidates}  # later ones of the same resolution win
    layers = tuple(last.values())
    order = list(shapes)
    after = order[order.index(layers[-1]) + 1 :] if layers else order
    flat = [n for n in after if isinstance(modules[n], nn.Linear | nn.AdaptiveAvgPool2d)]
    return layers, tuple(n for n in flat if len(shapes[n]) == 2 or shapes[n][-1] == 1)


def _parts(name: str, module: nn.Module, spatial: dict[str, int]) -> list[str]:
    """The spatial children; in the place of one that mixes resolutions, or keeps no map, its own children."""
    parts = []
    for short, child in module.named_children():
        full = f"{name}.{short}" if name else short
        inside = [f"{full}.{grandchild}" for grandchild, _ in child.named_children()]
        if full not in spatial:
            parts += _parts(full, child, spatial)
        elif len({spatial[n] for n in inside if n in spatial}) > 1:
            parts += [n for n in inside if n in spatial]
        else:
            parts.append(full)
    return parts


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
        Of a layer that is used several times, what it put out last.

    Raises:
        ValueError: if there is no such layer, or the picture does not pass through it.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Any], None]:
        def hook(output: Any) -> None:
            kept[name] = _tensor(output, name).clone()  # what comes after may change the output in place

        return hook

    with preserved(model), torch.set_grad_enabled(gradient), ExitStack() as stack:
        names = []
        for layer in layers:
            name, module = find_layer(model, layer, x)
            names.append(name)
            stack.enter_context(hooked(module, keep(name)))
        logits = model(x)
    for name in names:
        if name not in kept:
            raise ValueError(f"the picture does not pass through layer {name!r}: choose another layer")
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

    The graph begins at the layer, so nothing is computed backwards below it. Of a layer that is used several times, the
    last use counts.

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
        kept.append(_tensor(output, name).detach().clone().requires_grad_())
        return kept[-1].clone()  # what flows on is a copy: an in-place ReLU must not change A

    with torch.inference_mode(False), torch.enable_grad(), preserved(model):
        with hooked(module, cut):
            logits = check_scores(model(x.clone() if x.is_inference() else x), len(x))
        if targets is not None and int(targets.max()) >= logits.shape[1]:
            raise ValueError(
                f"there is no class {int(targets.max())}: this network has classes 0 to {logits.shape[1] - 1}"
            )
        targets = logits.argmax(dim=1) if targets is None else targets.clone()
        gradient = None
        if kept and logits.requires_grad:
            score = logits.gather(1, targets[:, None])
            (gradient,) = torch.autograd.grad(score.sum(), kept[-1], allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"the class scores do not depend on layer {name!r}: choose one that the picture passes through"
        )
    return kept[-1].detach(), gradient, logits.detach()
