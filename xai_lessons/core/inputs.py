"""Check images, targets and options: one sentence says what was received, what was expected and what to do."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Sequence
from functools import cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Targets = int | str | Sequence[int | str] | Tensor | None


def device_of(model: Any, images: Tensor | None = None) -> tuple[torch.device, torch.dtype]:
    """Where a network computes and in which precision; a plain callable takes the images as they are."""
    if isinstance(model, nn.Module):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return parameter.device, parameter.dtype
    if images is not None and images.is_floating_point():
        return images.device, images.dtype
    return torch.device("cpu"), torch.float32


def check_network(method: str, model: Any) -> None:
    """Refuse what is not a network, for the methods that look inside one.

    Args:
        method: who needs a network, for the message.
        model: what was given.

    Raises:
        TypeError: if it is not an `nn.Module`.

    Example:
        >>> check_network("lrp", nn.ReLU())
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{method} takes a network, an nn.Module, got {type(model).__name__}")


def check_images(model: Any, images: Tensor) -> tuple[Tensor, bool]:
    """Check images and move them to the network's device and precision, in the default layout.

    Args:
        model: a network or a callable.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].

    Returns:
        The images as (N, 3, H, W), and whether it was a single one.

    Raises:
        TypeError: if it is not a tensor of floats.
        ValueError: if the shape or the values are not those of images, or the network is a detector.

    Example:
        >>> x, single = check_images(None, torch.zeros(3, 4, 4))
        >>> tuple(x.shape), single
        ((1, 3, 4, 4), True)
    """
    if getattr(model, "finds_boxes", False):
        raise ValueError(
            f"{model.name} is a detector, and this method explains class scores: explain one box of it with "
            "detection.box_view(model, image, target)"
        )
    if not isinstance(images, Tensor):
        kind = type(images).__name__
        raise TypeError(f"images must be a torch tensor (N, 3, H, W), got {kind}: use photos.load or menagerie.draw")
    if not images.is_floating_point():
        raise TypeError(f"images must be floats in [0, 1], got {images.dtype}: use images.float() / 255")
    single = images.ndim == 3
    batch = images.detach()[None] if single else images.detach()
    if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
        raise ValueError(
            f"images must have the shape (N, 3, H, W) or (3, H, W), got {tuple(images.shape)}: "
            "RGB comes first, and no axis may be empty"
        )
    low, high = (float(v) for v in batch.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also true for NaN
        what = f"values from {low:.3g} to {high:.3g}" if torch.isfinite(batch).all() else "NaN or infinite values"
        advice = "divide by 255, or undo the normalization (the network does it inside)"
        raise ValueError(f"images must be in [0, 1], got {what}: {advice}")
    device, dtype = device_of(model, batch)
    with torch.inference_mode(False), torch.no_grad():  # autograd takes no tensor made in inference mode
        batch = batch.clone() if batch.is_inference() else batch
        return batch.to(device=device, dtype=dtype).contiguous(), single


def closest(name: Any, known: Iterable[str]) -> str:
    """The known names that are nearest to a misspelled one, for "did you mean ...?".

    Args:
        name: what was given.
        known: the names that exist.

    Returns:
        Quoted names, separated by commas: up to four that contain ``name`` or are spelled alike, or else the first ten.

    Example:
        >>> closest("kat", ["cat", "dog", "cow"])
        "'cat'"
    """
    names, part = list(known), str(name).lower()
    near = [known_name for known_name in names if part and part in known_name.lower()][:4]
    near = near or difflib.get_close_matches(str(name), names, n=4, cutoff=0.4) or names[:10]
    return ", ".join(map(repr, near))


def class_index(classes: Sequence[str], target: int | str) -> int:
    """The number of a class given by number or name.

    Raises:
        ValueError: if there is no such class, with the nearest names.
        TypeError: if it is neither a number nor a name.

    Example:
        >>> class_index(["cat", "dog"], "dog")
        1
    """
    if isinstance(target, str):
        if target in classes:
            return list(classes).index(target)
        if not classes:
            raise ValueError(f"this network has no class names, got {target!r}: give a class number")
        raise ValueError(f"there is no class {target!r}: did you mean {closest(target, classes)}?")
    try:
        target = whole("a target", target)
    except TypeError:
        raise TypeError(f"a target must be a whole number or a class name, got {target!r}") from None
    if target < 0 or (classes and target >= len(classes)):
        has = f"this network has classes 0 to {len(classes) - 1}" if classes else "classes are counted from 0"
        raise ValueError(f"there is no class {target}: {has}")
    return target


def check_targets(model: Any, targets: Targets, images: Tensor) -> Tensor | None:
    """Turn targets (a number, a name, a list, a tensor) into class numbers, one per image.

    Args:
        model: the network, with names in `classes` if it has them.
        targets: an int, a class name, a list of either, a LongTensor (N,), or None for the predicted class.
        images: (N, 3, H, W).

    Returns:
        A LongTensor (N,) on the images' device, or None, which `score` reads as "the predicted class".

    Raises:
        ValueError: if a class does not exist, or the count is not that of the images.
        TypeError: if a target is neither a number nor a name.

    Example:
        >>> check_targets(None, 3, torch.zeros(2, 3, 4, 4))
        tensor([3, 3])
    """
    if targets is None:
        targets = getattr(model, "default_target", None)  # a view of one box names its score
    if targets is None:
        return None
    classes = tuple(getattr(model, "classes", ()))
    if isinstance(targets, Tensor):
        if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(f"targets must be whole numbers, got a tensor of {targets.dtype}: use .long()")
        targets = targets.reshape(-1) if targets.ndim else targets
    plain: Any = targets.tolist() if isinstance(targets, Tensor | np.ndarray | np.generic) else targets
    every = plain if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain] * len(images)
    numbers = [class_index(classes, target) for target in every]
    if len(numbers) != len(images):
        raise ValueError(f"got {len(numbers)} targets for {len(images)} images: give one target, or one per image")
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.long, device=images.device)


def whole(name: str, value: Any, least: float = -float("inf"), most: float = float("inf")) -> int:
    """Check a whole-number option: an int, numpy's or a 0-d tensor's, in its range.

    Args:
        name: of the option, for the error message.
        value: what was given.
        least: the smallest value allowed.
        most: the largest value allowed.

    Returns:
        The value as an int.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is out of range.

    Example:
        >>> whole("steps", 3, 1)
        3
        >>> whole("steps", 1.5, 1)
        Traceback (most recent call last):
        TypeError: steps must be a whole number, got 1.5
    """
    try:
        if isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    at_least(name, number, least, most)
    return number


def at_least(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """Check that a number option lies in its range.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is out of range.

    Example:
        >>> at_least("sigma", -1, 0)
        Traceback (most recent call last):
        ValueError: sigma must be at least 0, got -1
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= most:
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise ValueError(f"{name} must be at least {least:g}{upper}, got {value:g}")


def check_probabilities(model: Any, advice: str) -> None:
    """Refuse a network whose scores are not of classes, such as the edges of a box: they have no probabilities.

    Args:
        model: a network or a callable.
        advice: what to do instead.

    Raises:
        ValueError: if its scores are not of classes.

    Example:
        >>> check_probabilities(None, "use output='logit'")
    """
    if not getattr(model, "classifies", True):
        raise ValueError(f"the scores of {model.name} are not of classes and have no probabilities: {advice}")


def check_scores(scores: Any, images: int) -> Tensor:
    """The result of a network, if it is one row of scores per image; else a ValueError."""
    if not isinstance(scores, Tensor):
        raise ValueError(f"the network must return scores (N, K), got a {type(scores).__name__}: see models.wrap")
    if scores.ndim != 2 or len(scores) != images:
        raise ValueError(
            f"the network must return scores (N, K), got {tuple(scores.shape)} for {images} images: see models.wrap"
        )
    return scores


@cache
def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has no float64, such as Apple's mps."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return torch.float32
    return torch.float64


def generator(seed: int) -> torch.Generator:
    """A generator of random numbers on the CPU: the same seed gives the same numbers on every device."""
    return torch.Generator().manual_seed(whole("seed", seed, -(2**63), 2**64 - 1))
