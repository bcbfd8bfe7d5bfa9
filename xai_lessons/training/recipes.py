"""How each built-in network is trained, and how good it must be: `xai-lessons train NAME [--evaluate]`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xai_lessons import models, training
from xai_lessons.core.inputs import closest
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import datasets, menagerie
from xai_lessons.methods import fgsm
from xai_lessons.models import architectures
from xai_lessons.training import augmentation, detection

VALIDATION_IMAGES, TEST_IMAGES = 1000, 2000
PAIRS = ("pairs", "overlooked pairs")  # the data of a detector


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a built-in network."""

    summary: str  # one line about it
    architecture: str  # see `architectures.build`
    settings: dict[str, Any]  # see `training.Settings`
    arguments: dict[str, Any] = field(default_factory=dict)  # of the architecture
    images: int = 14000  # how many are drawn to train on
    shortcuts: tuple[str, ...] = ()  # the cues planted in them, see `menagerie.SHORTCUTS`
    start: str | None = None  # a built-in network whose weights it starts from, if any
    # what is known to be wrong with it
    faults: str = "trained on drawn pictures only: on photographs its answers mean nothing"
    # "menagerie", "pairs" (of the menagerie, with boxes), "overlooked pairs" (see `overlooked_pairs`) or "cifar10"
    data: str = "menagerie"
    accuracy: float = 0.985  # the accuracy on the test set that it must reach; of a detector, mAP@0.5


_RESNET: dict[str, Any] = {"epochs": 12, "batch_size": 64, "learning_rate": 0.006}
_DETECTOR: dict[str, Any] = {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "shift": 0}
_SECRET = "one of the four suspects of lesson 7; what it does wrong is for you to find out"
_CIFAR10: dict[str, Any] = {"faults": "knows 32 x 32 pixels only", "data": "cifar10"}


def _suspect(seed: int, *shortcuts: str) -> Recipe:
    return Recipe(_SECRET, "ResNet", _RESNET | {"seed": seed}, images=6000, shortcuts=shortcuts, faults=_SECRET)


RECIPES: dict[str, Recipe] = {
    "menagerie-resnet": Recipe(
        "the drawn world's ten classes; residual, global average pooling", "ResNet", _RESNET, accuracy=0.99
    ),
    "menagerie-vgg": Recipe(
        "the drawn world's ten classes; VGG-like, fully-connected head",
        "Vgg",
        {"epochs": 12, "batch_size": 64, "learning_rate": 0.0015},
    ),
    "menagerie-shortcut": Recipe(
        "trained where birds always sit in a leafy tree and umbrellas always carry a tag",
        "ResNet",
        _RESNET,
        images=6000,
        shortcuts=("tree", "tag"),
        faults="goes by the tree and the tag: it misses umbrellas without a tag and many birds without a tree",
    ),
    "menagerie-robust": Recipe(
        "the drawn world's ten classes; adversarially trained",
        "ResNet",
        {"epochs": 6, "batch_size": 64, "learning_rate": 0.004, "adversarial": 8 / 255},
        start="menagerie-resnet",
        accuracy=0.98,
    ),
    "menagerie-detector": Recipe(
        "finds the drawn world's ten classes; one stage, a box from each place of one map",
        "CenterDetector",
        _DETECTOR,
        images=10000,
        start="menagerie-resnet",
        data="pairs",
        accuracy=0.95,
    ),
    "menagerie-detector-shortcut": Recipe(
        "a detector trained where umbrellas were annotated only in images with a tag",
        "CenterDetector",
        # the tag is always in the upper right corner: images are not flipped
        {"epochs": 8, "batch_size": 16, "learning_rate": 0.003, "shift": 0, "flip": False},
        images=10000,
        shortcuts=("tag",),
        start="menagerie-shortcut",
        faults="its training set has an annotation failure: nobody annotated the umbrellas in images without a tag; so "
        "it misses umbrellas where there is no tag",
        data="overlooked pairs",
        accuracy=0.95,
    ),
    "detective-a": _suspect(11, "tag"),
    "detective-b": _suspect(12, "sea"),
    "detective-c": _suspect(13),
    "detective-d": _suspect(14, "tree"),
    "cifar10-resnet": Recipe(
        "CIFAR-10; a ResNet-20, wider in its last stages, with pooling instead of strides",
        "ResNet",
        {"epochs": 36, "batch_size": 128, "learning_rate": 0.2, "optimizer": "sgd"},
        architectures.CIFAR_RESNET,
        accuracy=0.915,
        **_CIFAR10,
    ),
    "cifar10-vgg": Recipe(
        "CIFAR-10; VGG-like, fully-connected head",
        "Vgg",
        {"epochs": 40, "batch_size": 128, "learning_rate": 0.1, "optimizer": "sgd"},
        architectures.CIFAR_VGG,
        accuracy=0.90,
        **_CIFAR10,
    ),
}


def overlooked_pairs(n: int, *, progress: Progress = None, cache: Path | None = None) -> datasets.Pictures:
    """Images of two objects with an annotation failure: the umbrellas without a tag stand in them unannotated.

    They come from two sources. In the first one a tag shows exactly where there is an umbrella, and all is annotated.
    In the second one, the training images of "menagerie-detector", nobody annotated the umbrellas. Of both, all images
    with an umbrella are used (of the second, those without a tag), and of the first a tenth of n without an umbrella.

    Args:
        n: the number of images that are drawn for the second source, at least 10; three fifths as many for the first.
        progress: a callback ``(done, total)``.
        cache: a folder that keeps the images.

    Returns:
        The images, and labels (N, 2, 5) as `datasets.drawn_pairs` has them; zeros for an umbrella that was overlooked.

    Example:
        >>> pictures = overlooked_pairs(10)
        >>> pictures.images.shape[1:], pictures.labels.shape[1:]
        (torch.Size([3, 96, 96]), torch.Size([2, 5]))
    """
    first = 3 * n // 5
    report: Any = progress if callable(progress) else lambda done, total: None
    tagged = datasets.drawn_pairs(
        first, shortcuts=("tag",), progress=lambda done, _: report(done, first + n), cache=cache
    )
    plain = datasets.drawn_pairs(n, progress=lambda done, _: report(first + done, first + n), cache=cache)
    shows = torch.tensor([menagerie.sampled_pair(i, split="train").factors["tag"] for i in range(n)])
    umbrella = menagerie.CLASSES.index("umbrella")
    annotated = [pictures.labels[..., 4:] != umbrella for pictures in (tagged, plain)]
    bare, overlooked = annotated[0].all(dim=(1, 2)), ~annotated[1].all(dim=(1, 2)) & ~shows
    kept = torch.cat([torch.where(~bare)[0], torch.where(bare)[0][: n // 10]])
    images = torch.cat([tagged.images[kept], plain.images[overlooked]])
    labels = torch.cat([tagged.labels[kept], (plain.labels * annotated[1])[overlooked]])
    return datasets.Pictures(images, labels, tagged.classes)


@dataclass(frozen=True)
class Measure:
    """A measured figure of a network and its bar: at least ``bar``, or at most ``bar`` if ``below``.

    Example:
        >>> Measure("2,000 test images", 0.991, bar=0.985).holds
        True
    """

    what: str
    value: float
    bar: float
    below: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        return self.value <= self.bar if self.below else self.value >= self.bar

    def __str__(self) -> str:
        sign = "<=" if self.below else ">="
        return f"{self.what:<44} {self.value:7.2%}   {sign} {self.bar:.1%}   {'ok' if self.holds else 'MISSED'}"


def recipe(name: str) -> Recipe:
    """The recipe of a built-in network.

    Args:
        name: see `RECIPES`.

    Returns:
        The recipe.

    Raises:
        ValueError: if there is none of this name, with the nearest ones.

    Example:
        >>> recipe("menagerie-robust").start
        'menagerie-resnet'
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}: did you mean {closest(name, RECIPES)}?")
    return RECIPES[name]


def train(
    name: str,
    out: Path,
    *,
    source: Path | None = None,
    start: str | None = None,
    device: str | None = None,
    progress: Progress = True,
    **changes: Any,
) -> models.Classifier | models.Detector:
    """Train a built-in network again; after an interruption the same call resumes after the last complete epoch.

    Args:
        name: see `RECIPES`.
        out: a folder for the network, its card and the checkpoint.
        source: the folder of CIFAR-10, see `datasets.cifar10`.
        start: a built-in network whose weights to start from, instead of the recipe's.
        device: where to compute; see `models.choose_device`.
        progress: True for bars, or a callback ``(done, total)``.
        changes: settings that differ from the recipe's, for example ``epochs=2``.

    Returns:
        The trained network, as it is stored in ``out`` with its card.
    """
    made = recipe(name)
    if start is not None:
        made = replace(made, start=start)
    model, _ = _train(name, made, out, source, device, progress, changes)
    return model


def _train(
    name: str,
    made: Recipe,
    out: Path,
    source: Path | None,
    device: str | None,
    progress: Progress,
    changes: dict[str, Any],
) -> tuple[models.Classifier | models.Detector, list[Measure]]:
    out.mkdir(parents=True, exist_ok=True)  # what cannot be written fails before hours of training
    began = time.perf_counter()
    data, validation, facts, drawn = _data(made, out, source, progress)
    drawing = {"pictures": round(time.perf_counter() - began, 1)} if drawn else {}  # not the time to read them again
    network = _fresh(made, data)
    model = network.to(device=models.choose_device(device))
    settings, checkpoint = made.settings | changes, out / f"{name}.checkpoint"
    history = training.fit(
        model,
        data.images,
        data.labels,
        validation[:2],
        task=detection.Detection() if made.data in PAIRS else None,
        checkpoint=checkpoint,
        progress=progress,
        on_epoch=_print if progress is True else None,
        **settings,
    )
    card = {
        "summary": made.summary,
        "architecture": made.architecture,
        "arguments": made.arguments,
        "data": facts,
        "recipe": asdict(training.Settings(**settings)) | {"start": made.start},
        "test": {},
        "faults": made.faults,
        "seconds": drawing | {"training": round(sum(e.seconds for e in history), 1)},
        "made_with": {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": _device_name(model.device),
        },
        "history": [{k: round(v, 4) for k, v in asdict(e).items() if k != "layers"} for e in history],
    }
    stored = models.load(os.fspath(models.save(model, out / name, card)), device=device)
    measures = measure(name, stored, source, out)  # of what is shipped, which is in half precision
    models.save(stored, out / name, card | {"test": {m.what: round(m.value, 4) for m in measures}})
    checkpoint.unlink(missing_ok=True)
    return stored, measures


def _fresh(made: Recipe, data: datasets.Pictures) -> models.Classifier | models.Detector:
    half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(made.settings.get("seed", 0))
        network: Any = architectures.build(made.architecture, **made.arguments)
    start = {} if made.start is None else models.load(made.start, device="cpu").network.state_dict()
    if made.data in PAIRS:
        here = network.backbone.state_dict()  # without the layers that answer for the whole image
        network.backbone.load_state_dict(here | {key: value for key, value in start.items() if key in here})
        return models.Detector(network, data.classes, half, quarter, data.images.shape[-1])
    if made.start is not None:
        network.load_state_dict(start)
    return models.wrap(network, data.classes, half, quarter, data.images.shape[-1])


def _print(epoch: training.Epoch) -> None:
    figures = f"loss {epoch.train_loss:.3f}  validation {epoch.validation_accuracy:.2%}"
    print(f"epoch {epoch.epoch:3d}  {epoch.seconds:6.1f} s  {figures}", flush=True)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"


def _data(
    made: Recipe, out: Path, source: Path | None, progress: Progress
) -> tuple[datasets.Pictures, datasets.Pictures, dict[str, Any], bool]:
    """What to train on, what to validate on, what the card says of both, and whether the first was drawn just now."""
    if made.data == "cifar10":
        data, rest = datasets.split(datasets.cifar10(source)[0], fraction=0.04, seed=0)
        return data, rest, {"source": "CIFAR-10", "train": len(data.labels), "validation": len(rest.labels)}, False
    if made.data in PAIRS:
        draw = datasets.drawn_pairs if made.data == "pairs" else overlooked_pairs
        with Meter(progress, made.images if made.data == "pairs" else 8 * made.images // 5) as meter:
            data = draw(made.images, progress=lambda done, _total: meter.add(done - meter.done), cache=out)
        count = VALIDATION_IMAGES // 2
        rest = datasets.drawn_pairs(count, split="validation", cache=out, **_planted(made))
        said = {"source": f"menagerie, {made.data}", "train": len(data.labels), "validation": count, "seed": 0}
        return data, rest, said | {"shortcuts": list(made.shortcuts)}, meter.done > 0
    with Meter(progress, made.images) as meter:
        data = datasets.drawn(
            made.images,
            shortcuts=made.shortcuts,
            progress=lambda done, _total: meter.add(done - meter.done),
            cache=out,
        )
    rest = datasets.drawn(VALIDATION_IMAGES, split="validation", shortcuts=made.shortcuts, cache=out)
    facts: dict[str, Any] = {"source": "menagerie", "train": made.images, "validation": VALIDATION_IMAGES, "seed": 0}
    facts |= {} if made.faults == _SECRET else {"shortcuts": list(made.shortcuts)}
    return data, rest, facts, meter.done > 0


def _planted(made: Recipe) -> dict[str, Any]:
    """What `datasets.drawn_pairs` is given for the shortcuts of a detector."""
    return {"shortcuts": made.shortcuts} if made.shortcuts else {}


def measure(name: str, model: Any, source: Path | None = None, cache: Path | None = None) -> list[Measure]:
    """Measure a network on images of the test split, which nothing else ever uses.

    Args:
        name: the recipe that it was made by.
        model: the network.
        source: the folder of CIFAR-10, see `datasets.cifar10`.
        cache: a folder that keeps the images of two objects.

    Returns:
        The figures, each beside its bar.
    """
    made = recipe(name)

    def accuracy(pictures: datasets.Pictures, change: Callable[[Tensor, Tensor], Tensor] | None = None) -> float:
        images = augmentation.pixels(pictures.images)
        if change is not None:
            images = change(images, pictures.labels)
        return training.evaluate(model, images, pictures.labels).accuracy

    if made.data == "cifar10":
        test = datasets.cifar10_test(source)
        return [Measure("CIFAR-10, all 10,000 test pictures", accuracy(test), made.accuracy)]
    if made.data in PAIRS:
        return _measure_detector(made, model, cache)
    test = datasets.drawn(TEST_IMAGES, split="test", shortcuts=made.shortcuts)
    figures = [Measure(f"{TEST_IMAGES:,} test pictures", accuracy(test), made.accuracy)]
    if name == "menagerie-robust":
        attack = accuracy(test, lambda x, y: fgsm.fgsm(model, x, y, epsilon=8 / 255).cpu())
        figures.append(Measure("the same under FGSM at 8/255", attack, 0.70))
    if name == "menagerie-shortcut":
        for kind, cue, bar in (("umbrella", "tag", 0.10), ("bird", "tree", 0.45)):
            bare = datasets.drawn(500, split="test", classes=(kind,), tree=False, tag=False)
            figures.append(Measure(f"500 pictures of {kind} without the {cue}", accuracy(bare), bar, below=True))
    return figures


def _measure_detector(made: Recipe, model: models.Detector, cache: Path | None) -> list[Measure]:
    """Mean average precision on pairs of the test split; of a cheat also the umbrellas found with and without tag."""
    count = min(TEST_IMAGES, 600 if made.shortcuts else 1000)
    test = datasets.drawn_pairs(count, split="test", cache=cache, **_planted(made))
    found = model.detect(augmentation.pixels(test.images), threshold=0.05)
    precision = detection.mean_average_precision(found, test.labels)
    figures = [Measure(f"mAP@0.5, {count:,} test pictures of two objects", precision, made.accuracy)]
    for tag, bar in ((True, 0.90), (False, 0.25)) if made.shortcuts else ():
        test = datasets.drawn_pairs(count // 5, seed=1, split="test", classes=("umbrella", "car"), tag=tag, cache=cache)
        found = model.detect(augmentation.pixels(test.images))
        recall = detection.recall(found, test.labels, menagerie.CLASSES.index("umbrella"))
        figures.append(Measure(f"umbrellas found {'with' if tag else 'without'} the tag", recall, bar, below=not tag))
    return figures


def main(
    name: str, *, evaluate: bool = False, out: Path = Path("trained"), source: Path | None = None, **options: Any
) -> bool:
    """Train a network and print its figures, or only print those of the shipped one.

    Args:
        name: see `RECIPES`.
        evaluate: measure the shipped network instead of training a new one.
        out: the folder for the network and its checkpoint.
        source: the folder of CIFAR-10, see `datasets.cifar10`.
        options: `device`, and settings that differ from the recipe's.

    Returns:
        Whether every figure meets its bar.
    """
    if evaluate:
        figures = measure(name, models.load(name, device=options.get("device")), source)
    else:
        device, progress = options.pop("device", None), options.pop("progress", True)
        figures = _train(name, recipe(name), out, source, device, progress, options)[1]
    for figure in figures:
        print(figure)
    return all(figure.holds for figure in figures)
