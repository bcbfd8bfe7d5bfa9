"""The parts of a network: what each layer is, its input and output, and its receptive field."""

from __future__ import annotations

import copy
import threading
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xai_lessons.core import activations
from xai_lessons.core.state import preserved
from xai_lessons.models.classifier import Classifier

KINDS = {
    "Conv2d": "convolution",
    "BatchNorm2d": "batch normalization",
    "ReLU": "ReLU",
    "AvgPool2d": "average pooling",
    "MaxPool2d": "max-pooling",
    "AdaptiveAvgPool2d": "global average pooling",
    "Flatten": "flattening",
    "Linear": "fully-connected layer",
    "Dropout": "dropout",
    **dict.fromkeys(("Block", "BasicBlock", "Bottleneck"), "residual block"),
}
_shapes_of: WeakKeyDictionary[nn.Module, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
_averaged_copies: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


class Layer(NamedTuple):
    """Facts about a layer.

    Attributes:
        name: as in `named_modules()`.
        kind: in words.
        shape: of its output for one image, (C, H, W) or (K,).
        parameters: number of learned values.
        sees: height and width, in pixels of the image, of the receptive field in the middle of its map.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    sees: tuple[int, int]


def names(model: Classifier) -> tuple[str, ...]:
    """The single layers and the residual blocks, in the order of the forward pass.

    Args:
        model: the network.

    Returns:
        Their names as in `named_modules()`, without the prefix "network.".

    Example:
        >>> from xai_lessons import models
        >>> names(models.load("menagerie-resnet"))[:3]
        ('stem.0', 'stem.1', 'stem.2')
    """
    return tuple(_shapes(model))


def channels(model: Classifier, name: str) -> int:
    """The number of channels, or units, of a layer's output.

    Args:
        model: the network.
        name: one of `names`.

    Returns:
        C of a map (C, H, W), or K of a vector (K,).

    Example:
        >>> from xai_lessons import models
        >>> channels(models.load("menagerie-resnet"), "stem.0")
        16
    """
    return _shapes(model)[name][0]


def layer(model: Classifier, name: str) -> Layer:
    """Describe a layer.

    Args:
        model: the network.
        name: see `names`, or any name of `named_modules()`.

    Returns:
        Its kind, output shape, parameters and receptive field.

    Raises:
        ValueError: if there is no such layer.

    Example:
        >>> from xai_lessons import models
        >>> layer(models.load("menagerie-resnet"), "stem.0").kind
        'convolution'
    """
    name, module = activations.find_layer(model, name)
    shape = _shapes(model).get(name) or tuple(inside(model, name, _blank(model)[0])[1].shape)
    x0, y0, x1, y1 = receptive_field(model, name)
    kind = KINDS.get(type(module).__name__, type(module).__name__)
    if kind == "residual block" and not getattr(module, "residual", True):
        kind = "block without a shortcut"
    return Layer(name, kind, shape, sum(p.numel() for p in module.parameters()), (y1 - y0, x1 - x0))


def inside(model: Classifier, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """The input and the output of a layer for one image.

    Args:
        model: the network.
        name: the layer's name.
        image: (3, H, W) in [0, 1].

    Returns:
        Both without the batch axis.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> inside(models.load("menagerie-resnet"), "stem.0", menagerie.draw("cat", seed=3).image)[1].shape
        torch.Size([16, 48, 48])
    """
    _, module = activations.find_layer(model, name)
    thread = threading.get_ident()
    kept: list[Tensor] = []

    def before(_module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() == thread:
            kept[:] = [inputs[0].clone()]  # an in-place ReLU must not change it

    def after(output: Any) -> None:
        kept.append(output.clone())

    with preserved(model), torch.no_grad():
        handle = module.register_forward_pre_hook(before)
        try:
            with activations.hooked(module, after):
                model(image[None].to(model.device, model.dtype))
        finally:
            handle.remove()
    return kept[0][0], kept[1][0]


def receptive_field(model: Classifier, name: str, at: tuple[int, int] | None = None) -> tuple[int, int, int, int]:
    """The part of the image that one value of a layer's map depends on.

    It is found by a backward pass through a copy in which all weights of a layer are equal and max pooling averages:
    there a pixel has a gradient exactly if it is connected to that value.

    Args:
        model: the network.
        name: the layer's name.
        at: row and column in the layer's map; the middle by default.

    Returns:
        The box (x0, y0, x1, y1) in pixels, x1 and y1 excluded.

    Example:
        >>> from xai_lessons import models
        >>> receptive_field(models.load("menagerie-resnet"), "stem.0")
        (46, 46, 52, 52)
    """
    if model not in _averaged_copies:
        _averaged_copies[model] = _averaged(model)
    twin = _averaged_copies[model]
    x = _blank(model).requires_grad_()
    _, module = activations.find_layer(twin, name)
    kept: list[Tensor] = []
    with torch.enable_grad(), activations.hooked(module, kept.append):
        twin(x)
    out = kept[-1]
    if out.ndim == 4:
        row, column = at or (out.shape[2] // 2, out.shape[3] // 2)
        out = out[0, :, row, column]
    (gradient,) = torch.autograd.grad(out.sum(), x)
    seen = gradient[0].abs().sum(0) > 0
    rows, columns = (torch.nonzero(seen.any(dim))[:, 0].tolist() for dim in (1, 0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _blank(model: Classifier) -> Tensor:
    return torch.ones(1, 3, model.input_size, model.input_size, device=model.device, dtype=model.dtype)


def _shapes(model: Classifier) -> dict[str, tuple[int, ...]]:
    """The output shapes of single layers and residual blocks."""
    if model not in _shapes_of:
        modules = dict(model.named_modules())
        _shapes_of[model] = {
            name.removeprefix("network."): shape[1:]
            for name, shape in activations.output_shapes(model, _blank(model)).items()
            if not isinstance(modules[name], nn.Identity | nn.Sequential)
            and (not list(modules[name].children()) or KINDS.get(type(modules[name]).__name__) == "residual block")
        }
    return _shapes_of[model]


def _averaged(model: Classifier) -> nn.Module:
    """A copy in which every layer averages its inputs."""
    twin = copy.deepcopy(model).eval()
    twin.mean.zero_()
    twin.std.fill_(1)
    with torch.no_grad():
        for module in list(twin.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.MaxPool2d):
                    setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            for name, p in module.named_parameters(recurse=False):
                p.fill_(1 / p[0].numel() if p.ndim > 1 else float(name == "weight"))
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    return twin
