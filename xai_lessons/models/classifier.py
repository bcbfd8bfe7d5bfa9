"""`Classifier`: from images in [0, 1] to logits, with names for classes and layers; `wrap` makes one of any module."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons.core import activations, inputs, passes
from xai_lessons.core.state import preserved
from xai_lessons.models.detector import returns_boxes
from xai_lessons.models.image_model import ImageModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Classifier(ImageModel):
    """A classifier of RGB images in [0, 1]; the normalization is inside. Its arguments are those of `ImageModel`.

    The network inside returns logits (N, K), or what `wrap` accepts: probabilities, a tuple or a mapping.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> models.load("menagerie-resnet")(menagerie.draw("cat", seed=3).image[None]).shape
        torch.Size([1, 10])
    """

    probabilities = False  # whether the network returns probabilities; their logarithm is then used as logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [0, 1]."""
        scores = _first_tensor(self.network(self.normalize(images)))
        return scores.clamp_min(1e-12).log() if self.probabilities else scores

    def predict(self, images: Tensor) -> Tensor:
        """Predict probabilities.

        Args:
            images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].

        Returns:
            (N, K) or (K,); each row sums to 1.
        """

        def probabilities(x: Tensor, _: Tensor | None) -> Tensor:
            with torch.no_grad():
                return passes.logits(self, x).softmax(dim=1)

        return passes.over_images(probabilities, self, images)


def _first_tensor(output: Any) -> Tensor:
    """The scores in what a network returns: itself, or the first tensor of a tuple or mapping."""
    if isinstance(output, Tensor):
        return output
    values = tuple(output.values()) if hasattr(output, "values") else output
    for value in values if isinstance(values, Sequence) else ():
        if isinstance(value, Tensor):
            return value
    if returns_boxes(output):
        raise ValueError("the network is a detector, it returns boxes: use models.wrap_detector")
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
    """Turn any PyTorch module into a `Classifier`, after a trial on two random images.

    Args:
        module: from normalized images (N, 3, H, W) to logits (N, K). If it returns a tuple or a mapping, its first
            tensor is used; if it returns probabilities, their logarithm is used; both with a warning.
        classes: the K names; by default "class 0", "class 1", ...
        mean: what the module expects to be subtracted from each color channel in [0, 1]; (0, 0, 0) for nothing.
        std: what it expects each color channel to be divided by; (1, 1, 1) for nothing.
        input_size: height and width of the images that it was trained on.
        layers: names of the layers to explain, in order; found by the trial by default.
        name: the network's name; by default that of its class.

    Returns:
        A `Classifier` around the same module (no copy).

    Raises:
        TypeError: if it is not a module.
        ValueError: if it cannot work, with the reason: it does not take RGB images of that size, returns one score or
            none, has another number of classes, no layer with a spatial map, or no such layer.

    See also: `xai-lessons doctor --network file.py:name`, which examines a network of yours.

    Example:
        >>> head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)
        >>> wrap(module, classes=["cat", "dog"], input_size=32).layers
        ('1',)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"wrap takes an nn.Module, got {type(module).__name__}: occlusion takes any function")
    if isinstance(module, ImageModel):
        raise TypeError(f"{module.name} is a {type(module).__name__} already: use it as it is")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
        raise ValueError(f"{type(module).__name__} has lazy layers without weights: run it once on an image first")
    inputs.at_least("input_size", input_size, 1)
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
        raise ValueError(f"mean and std need three numbers, std above zero, got {tuple(mean)} and {tuple(std)}")
    name = name or type(module).__name__
    trial = Classifier(module, (), mean, std, input_size, (), name=name)
    images = torch.rand((2, 3, input_size, input_size), generator=inputs.generator(0)).to(trial.mean)
    scores, output = _try(trial, images)
    k = scores.shape[1]
    if not _takes(trial, input_size, k):  # `view` refuses maps in channels last
        trial.layout = torch.contiguous_format
    if classes is not None and len(classes) != k:
        raise ValueError(
            f"{name} returns {k} scores per image, got {len(classes)} class names: give one name per score"
        )
    if not isinstance(output, Tensor):
        warnings.warn(f"{name} returns a {type(output).__name__}: its first tensor is used as the scores", stacklevel=2)
    probabilities = bool((scores >= 0).all() and torch.allclose(scores.sum(dim=1), scores.new_ones(2), atol=1e-3))
    if probabilities:
        warnings.warn(f"{name} returns probabilities: their logarithm is used as logits", stacklevel=2)
    found, flat = activations.name_layers(module, (images[:1] - trial.mean) / trial.std)
    for layer in layers or ():
        activations.find_layer(trial, layer)
    if not (layers or found):
        raise ValueError(
            f"{name} has no layer with a spatial map: wrap needs a convolutional network; "
            "occlusion, RISE, LIME and Kernel SHAP take it as it is"
        )
    names = classes or [f"class {i}" for i in range(k)]
    fixed = not _takes(trial, input_size + 32, k)
    shown = tuple(layers or found)
    wrapped = Classifier(module, names, mean, std, input_size, shown, flat, name, fixed, trial.layout)
    wrapped.probabilities = probabilities
    wrapped.training = module.training  # not .train(), which would change the module
    return wrapped


def _try(trial: Classifier, images: Tensor) -> tuple[Tensor, Any]:
    """The scores of a trial and what the network returned, or one sentence that says why it cannot work."""
    size = images.shape[-1]
    try:
        with preserved(trial), torch.no_grad():
            output = trial.network((images - trial.mean) / trial.std)
    except Exception as error:
        first = next((m for m in trial.network.modules() if isinstance(m, nn.Conv2d)), None)
        if first is not None and first.in_channels != 3 and "channels" in str(error):
            raise ValueError(
                f"{trial.name} takes images of {first.in_channels} channel(s), and RGB has 3: put a layer in front, "
                "as nn.Sequential(torchvision.transforms.Grayscale(), network) does for one channel"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{trial.name} does not take RGB images (N, 3, {size}, {size}): {reason} (is input_size right?)"
        raise ValueError(message) from error
    scores = _first_tensor(output)
    if scores.ndim != 2 or len(scores) != len(images) or scores.shape[1] < 2:
        raise ValueError(
            f"{trial.name} returns {tuple(scores.shape)} for two images; a classifier returns (2, K) with K >= 2: "
            "flatten the output, or give a yes-no network two scores"
        )
    if not torch.isfinite(scores).all():
        raise ValueError(f"{trial.name} returns NaN or infinite scores: check its weights and the normalization")
    return scores, output


def _takes(trial: Classifier, size: int, k: int) -> bool:
    """Whether the network gives K scores for an image of this size."""
    try:
        with preserved(trial), torch.no_grad():
            return trial(trial.mean.new_full((1, 3, size, size), 0.5)).shape == (1, k)
    except Exception:
        return False
