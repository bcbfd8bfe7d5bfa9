"""Networks that take pictures as they are: pixels in, logits out, with names for the classes and for the layers.

`load` fetches a built-in network, one of torchvision's, or one of your own that was saved with `save`; `wrap` turns any
PyTorch module into a `Classifier`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import activations, inputs, passes
from xai_lessons.core.state import preserved

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """A classifier of RGB pictures in [0, 1]: the normalization is inside, so a pixel is a pixel to every method.

    Args:
        network: from normalized pictures (N, 3, H, W) to logits (N, K), or to probabilities or a tuple (see `wrap`).
        classes: the K names.
        mean: subtracted from each color channel.
        std: divides each color channel.
        input_size: height and width of the pictures that it was made for.
        layers: names of the layers that keep a map of the picture, in order.
        flat_layers: names of the layers after them, which keep none.
        name: what to call it.
        fixed_size: whether it takes pictures of `input_size` only.
        probabilities: whether the network returns probabilities; their logarithm then serves as logits.
        layout: of the normalized pictures; a network that calls `view` on its maps needs `torch.contiguous_format`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int,
        layers: Sequence[str],
        flat_layers: Sequence[str] = (),
        name: str = "network",
        fixed_size: bool = False,
        probabilities: bool = False,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.network = network
        self.classes, self.layers, self.flat_layers = tuple(classes), tuple(layers), tuple(flat_layers)
        self.input_size, self.name = input_size, name
        self.fixed_size, self.probabilities, self.layout = fixed_size, probabilities, layout
        device, dtype = inputs.device_of(network)
        for key, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(tuple(values), device=device, dtype=dtype).reshape(1, 3, 1, 1)
            self.register_buffer(key, constant, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of pictures (N, 3, H, W) in [0, 1]."""
        if self.fixed_size and images.shape[-2:] != (self.input_size, self.input_size):
            raise ValueError(
                f"{self.name} takes pictures of {self.input_size} x {self.input_size} pixels, got "
                f"{images.shape[-2]} x {images.shape[-1]}: use model.prepare(picture)"
            )
        x = (images - self.mean) / self.std  # faster in the default layout; convolutions are so in channels last
        scores = _first_tensor(self.network(x.contiguous(memory_format=self.layout)))
        return scores.clamp_min(1e-12).log() if self.probabilities else scores

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that it computes in."""
        return self.mean.dtype

    def class_index(self, target: int | str) -> int:
        """The number of a class given by number or name; ValueError with the nearest names if there is none."""
        return inputs.class_index(self.classes, target)

    def predict(self, images: Tensor) -> Tensor:
        """Probabilities.

        Args:
            images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].

        Returns:
            (N, K) or (K,), each row summing to 1.
        """

        def of(x: Tensor, _c: Tensor | None) -> Tensor:
            with torch.no_grad():
                return passes.logits(self, x).softmax(dim=1)

        return passes.over_images(of, self, images)

    def prepare(self, picture: Any, fit: str = "crop") -> Tensor:
        """Make any picture fit the network. What is explained afterwards is this prepared picture.

        Args:
            picture: a tensor (3, H, W) in [0, 1], a Pillow picture, or an array (H, W, 3) of bytes.
            fit: "crop" scales the short side and cuts out the center; "squash" scales both sides.

        Returns:
            (3, input_size, input_size), float32, RGB in [0, 1].

        Raises:
            ValueError: if it is not a picture or ``fit`` is unknown.
        """
        if fit not in ("crop", "squash"):
            raise ValueError(f"fit must be 'crop' or 'squash', got {fit!r}")
        if hasattr(picture, "convert"):
            picture = np.array(picture.convert("RGB"))
        if isinstance(picture, np.ndarray):
            picture = torch.from_numpy(picture)
            if picture.ndim == 3 and picture.shape[-1] == 3 and picture.dtype == torch.uint8:
                picture = picture.permute(2, 0, 1).float() / 255
        image, single = inputs.check_images(None, picture)
        if not single:
            raise ValueError(f"prepare takes one picture (3, H, W), got {tuple(picture.shape)}")
        size, (h, w) = self.input_size, image.shape[-2:]
        if fit == "crop":  # cut first: scaling a very long picture first would take the memory of a very large one
            side = min(h, w)
            image = image[..., (h - side) // 2 :, (w - side) // 2 :][..., :side, :side]
        if image.shape[-2:] != (size, size):
            to = (size, size)
            image = F.interpolate(image.float(), size=to, mode="bilinear", antialias=True, align_corners=False)
        return image[0].clamp(0, 1).float().contiguous()


def _first_tensor(output: Any) -> Tensor:
    """The scores in what a network returns: itself, or the first tensor of a tuple or mapping."""
    if isinstance(output, Tensor):
        return output
    values = tuple(output.values()) if hasattr(output, "values") else output
    for value in values if isinstance(values, Sequence) else ():
        if isinstance(value, Tensor):
            return value
    raise ValueError(f"the network must return a tensor of scores (N, K), got {type(output).__name__}")


def wrap(
    module: nn.Module,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    input_size: int = 224,
    layers: Sequence[str] | None = None,
    name: str | None = None,
) -> Classifier:
    """Turn any PyTorch module into a `Classifier`, after a trial on two random pictures.

    Args:
        module: from normalized pictures (N, 3, H, W) to logits (N, K). If it returns a tuple or a mapping, its first
            tensor is taken; if it returns probabilities, their logarithm is; either with a notice.
        classes: the K names; "class 0", "class 1", ... if not given.
        mean: what it expects to be subtracted from each color channel in [0, 1]; (0, 0, 0) if nothing.
        std: what it expects each color channel to be divided by; (1, 1, 1) if by nothing.
        input_size: height and width of the pictures that it was trained on.
        layers: names of the layers worth explaining, in order; found by the trial if not given.
        name: what to call it.

    Returns:
        A `Classifier` around the same module (no copy).

    Raises:
        TypeError: if it is not a module.
        ValueError: if it cannot work, saying why: it does not take RGB pictures of that size, returns one score or
            none, has another number of classes, no layer that keeps a map of the picture, or no such layer.

    See also: `xai-lessons doctor --network file.py:name`, which says what is wrong with a network of yours.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"wrap takes an nn.Module, got {type(module).__name__}: the occlusion family takes a function as it is"
        )
    if isinstance(module, Classifier):
        raise TypeError(f"{module.name} is a Classifier already: use it as it is")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
        raise ValueError(f"{type(module).__name__} has lazy layers without weights: run it once on a picture first")
    inputs.at_least("input_size", input_size, 1)
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
        raise ValueError(f"mean and std need three numbers, std above zero, got {tuple(mean)} and {tuple(std)}")
    name = name or type(module).__name__
    trial = Classifier(module, (), mean, std, input_size, (), name=name)
    pictures = torch.rand((2, 3, input_size, input_size), generator=inputs.generator(0)).to(trial.mean)
    scores, raw = _try(trial, pictures)
    k = scores.shape[1]
    if not _takes(trial, input_size, k):  # `view` refuses maps in channels last
        trial.layout = torch.contiguous_format
    if classes is not None and len(classes) != k:
        raise ValueError(
            f"{name} returns {k} scores a picture, but {len(classes)} class names came: the two must agree"
        )
    if not isinstance(raw, Tensor):
        warnings.warn(f"{name} returns a {type(raw).__name__}: its first tensor is taken for the scores", stacklevel=2)
    probabilities = bool((scores >= 0).all() and torch.allclose(scores.sum(dim=1), scores.new_ones(2), atol=1e-3))
    if probabilities:
        warnings.warn(f"{name} returns probabilities: their logarithm is used as logits", stacklevel=2)
    found, flat = activations.name_layers(module, (pictures[:1] - trial.mean) / trial.std)
    if layers:
        for layer in layers:
            activations.find_layer(trial, layer)
    elif not found:
        raise ValueError(
            f"{name} has no layer that keeps a map of the picture: wrap needs a convolutional network; "
            "occlusion, RISE, LIME and Kernel SHAP take it as it is"
        )
    wrapped = Classifier(
        module,
        classes or [f"class {i}" for i in range(k)],
        mean,
        std,
        input_size,
        tuple(layers or found),
        flat,
        name,
        fixed_size=not _takes(trial, input_size + 32, k),
        probabilities=probabilities,
        layout=trial.layout,
    )
    wrapped.training = module.training  # not .train(), which would reach into the module
    return wrapped


def _try(trial: Classifier, pictures: Tensor) -> tuple[Tensor, Any]:
    """The scores of a trial and what the network returned, or one sentence that says why it cannot work."""
    size = pictures.shape[-1]
    try:
        with preserved(trial), torch.no_grad():
            raw = trial.network((pictures - trial.mean) / trial.std)
    except Exception as error:
        first = next((m for m in trial.network.modules() if isinstance(m, nn.Conv2d)), None)
        if first is not None and first.in_channels != 3 and "channels" in str(error):
            raise ValueError(
                f"{trial.name} takes pictures of {first.in_channels} channel(s), and RGB has 3: put a layer in front, "
                "as nn.Sequential(torchvision.transforms.Grayscale(), network) does for one channel"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{trial.name} does not take RGB pictures (N, 3, {size}, {size}): {reason} (is input_size right?)"
        ) from error
    scores = _first_tensor(raw)
    if scores.ndim != 2 or len(scores) != len(pictures) or scores.shape[1] < 2:
        raise ValueError(
            f"{trial.name} returns {tuple(scores.shape)} for two pictures; a classifier returns (2, K) with K >= 2: "
            "flatten the output, or give a yes-no network two scores"
        )
    if not torch.isfinite(scores).all():
        raise ValueError(
            f"{trial.name} returns NaN or infinite scores for a random picture: check weights and normalization"
        )
    return scores, raw


def _takes(trial: Classifier, size: int, k: int) -> bool:
    try:
        with preserved(trial), torch.no_grad():
            return trial(trial.mean.new_full((1, 3, size, size), 0.5)).shape == (1, k)
    except Exception:
        return False
