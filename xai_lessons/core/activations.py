"""A layer's output (activation), its gradient, and the names of a network's layers.

Forward hooks are the only means. Each lives for one call, belongs to the thread that registered it (two widgets may
run the same network at once), and is removed afterwards, also after an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons.core.inputs import check_scores, closest
from xai_lessons.core.passes import score
from xai_lessons.core.state import preserved


@contextmanager
def hooked(module: nn.Module, hook: Callable[[Any], Any]) -> Iterator[None]:
    """Call ``hook(output)`` after each forward pass of a module in this thread; what it returns replaces the output."""
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

    Example:
        >>> from xai_lessons import models
        >>> find_layer(models.load("menagerie-resnet"))[0]
        'stage3'
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
        raise ValueError("no layer of this network keeps a map (N, K, h, w) of the image: there is nothing to show")
    return spatial[-1]


def output_shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The output shape of each named module, in the order in which the modules finish.

    Args:
        model: the network.
        images: (N, 3, H, W) in [0, 1].

    Returns:
        Names and shapes, without the network itself.

    Example:
        >>> output_shapes(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), torch.zeros(1, 3, 4, 4))
        {'0': (1, 2, 4, 4), '1': (1, 2, 4, 4)}
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes.pop(name, None)
            shapes[name] = tuple(output.shape)

    with preserved(model), torch.no_grad(), ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.enter_context(hooked(module, partial(record, name)))
        model(images)
    return shapes


_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d)


def name_layers(network: nn.Module, x: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The last layer of each resolution, and the flat layers after them, among the parts that a reader would name.

    Args:
        network: from images to scores.
        x: (1, 3, H, H), as the network takes it.

    Returns:
        The names of the layers whose output is a map, and those of the flat layers after them.
    """
    shapes = output_shapes(network, x)
    own = (getattr(network, "layers", None), getattr(network, "flat_layers", ()))
    if isinstance(own[0], tuple) and own[0] and all(name in shapes for name in own[0]):
        return own[0], tuple(own[1])
    modules = dict(network.named_modules())
    # maps of a square image are square; a transformer's (N, h, w, K) are not
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
    """The spatial children; one that mixes resolutions or whose output is no map is replaced by its own children."""
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
        raise ValueError(f"layer {name!r} returns a {type(output).__name__}, not one tensor: choose a layer inside it")
    return output


def activations(
    model: nn.Module, layers: Sequence[str | nn.Module | None], x: Tensor, *, gradient: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    """The outputs of several layers in one forward pass.

    Args:
        model: the network.
        layers: names or modules; None stands for the last spatial layer.
        x: (N, 3, H, W) in [0, 1].
        gradient: whether the activations stay connected to ``x`` for a later backward pass.

    Returns:
        The activations by name, before a later in-place operation changes them, and the logits. Of a layer that is used
        several times, its last output.

    Raises:
        ValueError: if there is no such layer, or the image does not pass through it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> {name: tuple(A.shape) for name, A in activations(model, model.layers[-2:], image[None])[0].items()}
        {'stage2': (1, 64, 12, 12), 'stage3': (1, 128, 12, 12)}
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        kept[name] = _tensor(output, name).clone()  # a later operation may change the output in place

    with preserved(model), torch.set_grad_enabled(gradient), ExitStack() as stack:
        names = []
        for layer in layers:
            name, module = find_layer(model, layer, x)
            names.append(name)
            stack.enter_context(hooked(module, partial(keep, name)))
        logits = model(x)
    for name in names:
        if name not in kept:
            raise ValueError(f"the image does not pass through layer {name!r}: choose another layer")
    return kept, logits


def activation(model: nn.Module, layer: str | nn.Module | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of one layer, without gradients.

    Args:
        model: the network.
        layer: a name, a module, or None for the last spatial layer.
        x: (N, 3, H, W) in [0, 1].

    Returns:
        The activation A and the logits.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> A, Y = activation(models.load("menagerie-resnet"), None, menagerie.draw("cat", seed=3).image[None])
        >>> tuple(A.shape), tuple(Y.shape)
        ((1, 128, 12, 12), (1, 10))
    """
    kept, logits = activations(model, [layer], x)
    return next(iter(kept.values())), logits


def activation_and_gradient(
    model: nn.Module, layer: str | nn.Module | None, x: Tensor, targets: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's output A and the gradient dY^c/dA of the class score.

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

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> A, gradient, Y = activation_and_gradient(model, None, image[None])
        >>> A.shape == gradient.shape
        True
    """
    name, module = find_layer(model, layer, x)
    kept: list[Tensor] = []

    def cut(output: Any) -> Tensor:
        kept.append(_tensor(output, name).detach().clone().requires_grad_())
        return kept[-1].clone()  # an in-place ReLU may change the copy, not A

    with torch.inference_mode(False), torch.enable_grad(), preserved(model):
        with hooked(module, cut):
            logits = check_scores(model(x.clone() if x.is_inference() else x), len(x))
        Y = score(logits, targets.clone() if targets is not None else None)
        gradient = torch.autograd.grad(Y.sum(), kept[-1], allow_unused=True)[0] if kept and Y.requires_grad else None
    if gradient is None:
        raise ValueError(f"the class scores do not depend on layer {name!r}: choose one that the image passes through")
    return kept[-1].detach(), gradient, logits.detach()
