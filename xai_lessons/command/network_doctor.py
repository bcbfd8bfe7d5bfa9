"""What a network of your own is like, what `models.wrap` will make of it, and which methods can explain it."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xai_lessons import models
from xai_lessons.command.doctor import Finding
from xai_lessons.core import activations, inputs
from xai_lessons.core.operations import ReluWatch
from xai_lessons.core.state import preserved
from xai_lessons.data import menagerie
from xai_lessons.methods import detection
from xai_lessons.methods.catalog import METHODS, Method
from xai_lessons.models.detector import returns_boxes

MOST_CLASSES = 1000  # label numbers of a detector whose classes are not named
SIZES = (224, 96, 32, 64, 128, 227, 256, 299, 384, 28, 48)


def load_network(place: str) -> Any:
    """Load a network from a Python file.

    Args:
        place: "file.py:name", where the name is a network, or a class or function that makes one without arguments.

    Returns:
        The network, or whatever else has this name.

    Raises:
        ValueError: if there is no such file or name, or the file or the construction of the network fails.

    Example:
        >>> load_network("my_network.py:Net")
        Traceback (most recent call last):
        ValueError: 'my_network.py:Net' names no network: write file.py:name, with the path of an existing file
    """
    file, _, name = place.rpartition(":")
    path = Path(file).expanduser()
    if not file or not name or not path.is_file():
        raise ValueError(f"{place!r} names no network: write file.py:name, with the path of an existing file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path.name} is not a Python file: write file.py:name")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbors
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ValueError(f"{path.name} has no {name!r}: it has {', '.join(public) or 'nothing'}")
        found = getattr(module, name)
        return found if isinstance(found, nn.Module) or not callable(found) else found()
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{place} fails with {type(error).__name__}: {_first_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))


def diagnose(
    module: Any, input_size: int | None = None
) -> tuple[list[Finding], models.Classifier | models.Detector | None]:
    """Examine a network: its input, its output, its ReLUs, its layers, and which methods can explain it.

    A detector in torchvision's style is examined with one of its boxes.

    Args:
        module: the network.
        input_size: height and width of its images in pixels; by default usual sizes are tried.

    Returns:
        The findings, each with advice where something is to be done, and the wrapped network, or None if it is refused.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> findings, model = diagnose(network, input_size=8)
        >>> [finding.found for finding in findings if finding.subject == "ReLUs"]
        ['1 modules (0 in place, 0 used several times), 0 functional']
    """
    if not isinstance(module, nn.Module):
        what = "a function" if callable(module) else f"a {type(module).__name__}"
        advice = "occlusion, RISE, LIME and Kernel SHAP take any function from images (N, 3, H, W) to scores (N, K)"
        return [Finding("network", f"{what}, not an nn.Module", advice, fatal=not callable(module))], None
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
        advice = "run it once on an image of the right size: its lazy layers have no weights yet"
        return [Finding("network", type(module).__name__, advice, fatal=True)], None
    findings = [_kind(module), _channels(module)]
    if isinstance(module, models.Detector):
        return [*findings, *_detector(module)], module
    size, sizes = _input_size(module, input_size)
    findings.append(sizes)
    if not sizes.fatal and _finds_boxes(module, size):
        try:
            found = models.wrap_detector(module, [f"class {k}" for k in range(MOST_CLASSES)], size)
        except (ValueError, TypeError) as error:
            return [*findings, Finding("wrap_detector", "refused", str(error), fatal=True)], None
        return [*findings, *_detector(found)], found
    try:
        with warnings.catch_warnings(record=True) as notices:
            warnings.simplefilter("always")
            model = models.wrap(module, input_size=size)
    except (ValueError, TypeError) as error:
        return [*findings, Finding("wrap", "refused", str(error), fatal=True)], None
    said = "; ".join(str(notice.message) for notice in notices)
    findings.append(Finding("output", f"{len(model.classes)} scores per image" + (f"; {said}" if said else "")))
    findings.append(Finding("layers", ", ".join(model.layers)))
    x = torch.rand((1, 3, size, size), generator=inputs.generator(0))
    findings.append(_relus(model, x))
    findings += _methods(model, x, 0)
    return findings, model


def _finds_boxes(module: nn.Module, size: int) -> bool:
    device, dtype = inputs.device_of(module)
    with preserved(module), torch.no_grad():
        return returns_boxes(module(torch.zeros((1, 3, size, size), device=device, dtype=dtype)))


def _detector(model: models.Detector) -> list[Finding]:
    """What a detector finds in a drawn scene, and which methods explain its best box there."""
    advice = "explain one box with detection.box_view(model, image, target); models.wrap_detector makes the model"
    findings = [Finding("output", "a detector: boxes with a class and a score", advice)]
    findings.append(Finding("layers", ", ".join(model.layers)))
    x = model.prepare(menagerie.draw_pair("cat", "car", seed=3).image)
    try:
        view = detection.box_view(model, x)
    except ValueError as error:
        return [*findings, Finding("methods", "not tried", str(error))]
    findings += _methods(view, x, "score")
    return [*findings, _applies(METHODS["d_rise"], model, x, None, samples=2)]


def _kind(module: nn.Module) -> Finding:
    count = sum(p.numel() for p in module.parameters())
    device, dtype = inputs.device_of(module)
    found = f"{type(module).__name__}, {count:,} weights, {str(dtype).removeprefix('torch.')} on {device}"
    if isinstance(module, torch.jit.ScriptModule):
        return Finding("network", found, "TorchScript hides its layers: use the network it was made from")
    weights = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    advice = f"{broken[0]} holds NaN or infinite values: load the weights again" if broken else ""
    return Finding("network", found, advice, fatal=True)


def _channels(module: nn.Module) -> Finding:
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return Finding("channels", "no 2-d convolution", "only occlusion, RISE, LIME and Kernel SHAP are sure to apply")
    gray = any(type(m).__name__ == "Grayscale" for m in module.modules())
    advice = "" if first.in_channels == 3 or gray else "images are RGB: put a layer in front that converts them"
    return Finding("channels", f"{first.in_channels}", advice)


def _input_size(module: nn.Module, given: int | None) -> tuple[int, Finding]:
    """The size to use, and which other sizes the network takes."""
    device, dtype = inputs.device_of(module)
    takes, reasons = [], {}
    tried = list(dict.fromkeys((given, *SIZES) if given else SIZES))
    with preserved(module), torch.no_grad():
        for size in tried:
            try:
                module(torch.zeros((1, 3, size, size), device=device, dtype=dtype))
                takes.append(size)
                if len(takes) == 1:
                    tried += [n for n in (size - 1, size + 1) if n not in tried]
            except Exception as error:  # any kind: it is the network's own
                reasons[size] = _first_line(error)
    size = given or (takes or SIZES)[0]
    others = ", ".join(str(n) for n in takes if n != size)
    if size not in takes:
        found = f"takes no images of {size} x {size}, but of {others}" if takes else f"takes none of {sorted(tried)}"
        advice = f"it says: {reasons[size]}; give the size it was trained on with --input-size"
        return size, Finding("input size", found, advice, fatal=True)
    refused = f"; it takes none of {', '.join(str(n) for n in sorted(reasons))}"
    found = f"{size} x {size}" + (f"; it also takes {others}" if others else refused)
    advice = "give the one it was trained on with --input-size" if others and not given else ""
    return size, Finding("input size", found, advice)


def _relus(model: models.Classifier, x: Tensor) -> Finding:
    """How many ReLUs and ReLU6s the network computes, counted as the methods recognize them."""
    modules = [m for m in model.modules() if isinstance(m, nn.ReLU | nn.ReLU6)]
    used: Counter[nn.Module] = Counter()

    def count(module: nn.Module, _output: Tensor) -> None:
        used[module] += 1

    with preserved(model), torch.no_grad(), ExitStack() as stack:
        for module in modules:
            stack.enter_context(activations.hooked(module, partial(count, module)))
        watch = stack.enter_context(ReluWatch())
        model(inputs.check_images(model, x)[0])
    in_place, again = sum(m.inplace for m in modules), sum(n > 1 for n in used.values())
    functional = watch.count - used.total()
    found = f"{len(modules)} modules ({in_place} in place, {again} used several times), {functional} functional"
    return Finding("ReLUs", found)


def _methods(model: models.ImageModel, x: Tensor, target: int | str) -> list[Finding]:
    """Run every method that makes demands of the network, and one each of those that need a gradient or a layer."""
    findings = [
        _applies(method, model, x, target)
        for method in METHODS.values()
        if method.needs in ("pooling", "relu") or method.name in ("grad_cam", "gradient")
    ]
    patch = max(1, x.shape[-1] // 2)
    METHODS["occlusion"](model, x, target, patch=patch, stride=patch)
    rise = "" if isinstance(target, int) else " with output='logit'"
    return [*findings, Finding("occlusion", f"applies, as LIME, Kernel SHAP and RISE{rise} do")]


def _applies(method: Method, model: Any, x: Tensor, target: int | str | None, **options: Any) -> Finding:
    try:
        finite = bool(torch.isfinite(method(model, x, target, **options)).all())
        return Finding(method.code, "applies" if finite else "gives NaN", "" if finite else "check the weights")
    except Exception as error:  # a method refuses what it has no rule for
        return Finding(method.code, "does not apply", _first_line(error))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
