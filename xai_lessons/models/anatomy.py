"""The parts of a network: what each layer is, what goes in, what comes out, and how much of the picture it sees."""

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
    "Block": "residual block",
    "BasicBlock": "residual block",
    "Bottleneck": "residual block",
}


class Layer(NamedTuple):
    """What there is to know of a layer.

    Attributes:
        name: as in `named_modules()`.
        kind: in words.
        shape: what it puts out for one picture, (C, H, W) or (K,).
        parameters: how many numbers it learns.
        sees: height and width, in pixels of the picture, of what one number in the middle of its map depends on.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    sees: tuple[int, int]


_names: WeakKeyDictionary[nn.Module, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
_averaging: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def names(model: Classifier) -> tuple[str, ...]:
    """The layers in the order in which a picture passes them: each single one, and each residual block."""
    return tuple(_shapes(model))


def channels(model: Classifier, name: str) -> int:
    """How many maps, or numbers, a layer puts out."""
    return _shapes(model)[name][0]


def layer(model: Classifier, name: str) -> Layer:
    """What there is to know of a layer.

    Args:
        model: the network.
        name: see `names`, or any name of `named_modules()`.

    Returns:
        Its kind, shape, parameters, and how much of the picture it sees.

    Raises:
        ValueError: if there is no such layer.
    """
    name, module = activations.find_layer(model, name)
    shape = _shapes(model).get(name)
    if shape is None:
        shape = tuple(inside(model, name, _blank(model)[0])[1].shape)
    x0, y0, x1, y1 = receptive_field(model, name)
    kind = KINDS.get(type(module).__name__, type(module).__name__)
    if kind == "residual block" and not getattr(module, "residual", True):
        kind = "block without a shortcut"
    return Layer(name, kind, shape, sum(p.numel() for p in module.parameters()), (y1 - y0, x1 - x0))


def inside(model: Classifier, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into a layer and what comes out, for one picture.

    Args:
        model: the network.
        name: the layer's name.
        image: (3, H, W) in [0, 1].

    Returns:
        Input and output, each without the batch axis.
    """
    _, module = activations.find_layer(model, name)
    me = threading.get_ident()
    kept: list[Tensor] = []

    def before(_module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() == me:
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
    """The part of the picture that one number of a layer's map depends on.

    Found by a backward pass through a copy in which all weights of a layer are equal and max-pooling averages: there a
    pixel has a gradient exactly if there is a way from it to that number.

    Args:
        model: the network.
        name: the layer's name.
        at: row and column in the layer's map; the middle if not given.

    Returns:
        The box (x0, y0, x1, y1) in pixels, x1 and y1 outside.
    """
    if model not in _averaging:
        _averaging[model] = _averaged(model)
    twin = _averaging[model]
    x = _blank(model).requires_grad_()
    _, module = activations.find_layer(twin, name)
    kept: list[Tensor] = []
    with torch.enable_grad(), activations.hooked(module, kept.append):  # append returns None: nothing is replaced
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
    """Names and shapes of single layers and residual blocks."""
    if model not in _names:
        every = activations.output_shapes(model, _blank(model))
        modules = dict(model.named_modules())
        told = {
            name.removeprefix("network."): shape[1:]
            for name, shape in every.items()
            if not isinstance(modules[name], nn.Identity | nn.Sequential)
            and (not list(modules[name].children()) or KINDS.get(type(modules[name]).__name__) == "residual block")
        }
        _names[model] = told
    return _names[model]


def _averaged(model: Classifier) -> nn.Module:
    """A copy in which every layer averages what it sees."""
    twin = copy.deepcopy(model).eval()
    twin.mean.zero_()
    twin.std.fill_(1)
    with torch.no_grad():
        for module in list(twin.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.MaxPool2d):
                    average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                    setattr(module, name, average)
            for name, p in module.named_parameters(recurse=False):
                p.fill_(1 / p[0].numel() if p.ndim > 1 else float(name == "weight"))
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    return twin
