"""`Detector`: from images in [0, 1] to boxes, each with a logit per class, with names for classes and layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_lessons.core import activations, inputs
from xai_lessons.core.libraries import torchvision
from xai_lessons.core.state import preserved
from xai_lessons.models.image_model import ImageModel

RULED_OUT = -10.0  # the logit of a class that a box does not have
Candidates = tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]


class Detections(NamedTuple):
    """Boxes of one image.

    Attributes:
        boxes: (M, 4), left, top, right and bottom in pixels.
        logits: (M, K), one per class; the sigmoid of each is the probability of that class in that box.
    """

    boxes: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(M, K), the probability of each class in each box."""
        return self.logits.sigmoid()

    @property
    def scores(self) -> Tensor:
        """(M,), the probability of each box's most probable class."""
        return self.logits.amax(dim=1).sigmoid()

    @property
    def labels(self) -> Tensor:
        """(M,), the index of each box's most probable class."""
        return self.logits.argmax(dim=1)

    def kept(self, threshold: float = 0.3, overlap: float = 0.5) -> Tensor:
        """The indices of the boxes that `Detector.detect` keeps, best first: threshold, non-maximum suppression.

        Args:
            threshold: the least score, in [0, 1].
            overlap: the intersection over union above which the weaker of two boxes is dropped.

        Returns:
            The indices (M,).
        """
        scores = self.scores
        sure = torch.where(scores >= threshold)[0]
        return sure[torchvision().ops.nms(self.boxes[sure], scores[sure], overlap)]

    def take(self, index: Tensor) -> Detections:
        """Some of the boxes, in this order.

        Args:
            index: indices (M,).

        Returns:
            M boxes with their logits.
        """
        return Detections(self.boxes[index], self.logits[index])


class Detector(ImageModel):
    """A detector of objects in RGB images in [0, 1]; the normalization is inside.

    To explain one box, ``detection.box_view(model, image, target)`` turns a box into scores that every method
    of the package takes.

    Args:
        network: takes normalized images (N, 3, H, W).
        classes: the K names.
        mean: subtracted from each color channel.
        std: divides each color channel.
        input_size: height and width of the images that the network was trained on.
        layers: names of the layers with a spatial map, in order; the network's own by default.
        name: the network's name.
        fixed_candidates: whether every image has the same candidates: box j always comes from the same place.
        read: from the network's output to boxes (N, M, 4) in pixels and class logits (N, M, K), or to a list of such
            pairs, one per image, if the number of boxes M varies; by default the output is that already.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, scene = models.load("menagerie-detector"), menagerie.draw_pair("cat", "dog", seed=3)
        >>> sorted(model.classes[label] for label in model.detect(scene.image).labels)
        ['cat', 'dog']
    """

    finds_boxes = True  # methods that explain class scores refuse it and name `detection.box_view`

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int,
        layers: Sequence[str] | None = None,
        name: str = "detector",
        fixed_candidates: bool = True,
        read: Callable[[Any], Candidates] | None = None,
    ) -> None:
        own: Any = getattr(network, "layers", ()) if layers is None else layers
        super().__init__(network, classes, mean, std, input_size, own, name=name)
        self.fixed_candidates, self.read = fixed_candidates, read or _as_it_is

    def candidates(self, images: Tensor) -> Candidates:
        """Boxes (N, M, 4) and class logits (N, M, K) of images (N, 3, H, W), or a list of pairs where M varies.

        Args:
            images: (N, 3, H, W) in [0, 1].

        Returns:
            Boxes and logits of all images, or one pair (M, 4), (M, K) for each image.
        """
        return self.read(self.network(self.normalize(images)))

    def forward(self, images: Tensor) -> list[Detections]:
        """All candidates of each image (N, 3, H, W), before any threshold; autograd passes through them."""
        found = self.candidates(images)
        return [Detections(*each) for each in (zip(*found, strict=True) if isinstance(found, tuple) else found)]

    def detect(self, images: Tensor, threshold: float = 0.3, overlap: float = 0.5, *, batch_size: int = 64) -> Any:
        """Find the objects: the boxes that are sure enough, and of each group that overlaps the best one.

        Args:
            images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
            threshold: the lowest score, in [0, 1].
            overlap: the intersection over union in [0, 1] above which a box hides another one with a lower score
                (non-maximum suppression, whatever their classes).
            batch_size: images at once.

        Returns:
            A list of N `Detections`, best box first, clipped to the image; a single one for a single image.

        Raises:
            ValueError: if the images are none, or an option is out of range.
        """
        inputs.at_least("threshold", threshold, 0, 1)
        inputs.at_least("overlap", overlap, 0, 1)
        x, single = inputs.check_images(None, images)
        with torch.inference_mode(False), torch.no_grad(), preserved(self):
            found = [each for part in x.split(batch_size) for each in self(part.to(self.device, self.dtype))]
        width, height = x.shape[3], x.shape[2]
        shown = []
        for each in found:
            boxes, logits = each.take(each.kept(threshold, overlap))
            limits = boxes.new_tensor([width, height, width, height])
            shown.append(Detections(boxes.clamp(min=0).minimum(limits), logits))
        return shown[0] if single else shown


def _as_it_is(output: Any) -> Any:
    return output


class BoxLists:
    """Reads what torchvision's detectors return in eval mode: for each image a dictionary of boxes, labels and scores.

    Autograd passes through the boxes and the scores that the network keeps. A score p becomes the logit
    log(p / (1 - p)) of the box's class; all other classes get `RULED_OUT`, because the network returns one class per
    box.

    Args:
        classes: the number of classes K; label 0 is the background.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __call__(self, output: Any) -> list[tuple[Tensor, Tensor]]:
        """Boxes (M, 4) and logits (M, K) of each image."""
        pairs = []
        for found in output:
            scores, labels = found["scores"], found["labels"]
            logits = scores.new_full((len(scores), self.classes), RULED_OUT)
            pairs.append((found["boxes"], logits.scatter(1, labels[:, None], scores.logit(eps=1e-6)[:, None])))
        return pairs


def returns_boxes(output: Any) -> bool:
    """Whether a network's output is that of a detector in torchvision's style.

    Args:
        output: what it returned for some images.

    Returns:
        True for a list of dictionaries with boxes, labels and scores.

    Example:
        >>> returns_boxes(torch.zeros(2, 10))
        False
    """
    keys = {"boxes", "labels", "scores"}
    return isinstance(output, list | tuple) and all(isinstance(d, dict) and keys <= d.keys() for d in output)


def wrap_detector(
    module: nn.Module,
    classes: Sequence[str],
    input_size: int,
    layers: Sequence[str] | None = None,
    name: str | None = None,
) -> Detector:
    """Turn a detector in torchvision's style into a `Detector`, after a trial on an image.

    What is explained is what the network returns: boxes after its own threshold and non-maximum suppression. Autograd
    passes through their scores and coordinates; in a changed image `detection.box_view` reads the box that the
    explained one has become. An edge that the network cuts off at the border of the image has no gradient.
    torchvision's Faster R-CNN keeps the proposals of its first stage constant: the gradient is that of the second one.

    Tried with torchvision's `fasterrcnn_resnet50_fpn_v2`, `retinanet_resnet50_fpn_v2` and
    `ssdlite320_mobilenet_v3_large` with random weights only: no weights were available offline.

    Args:
        module: from a batch of RGB images in [0, 1] (the normalization is inside) to a list of dictionaries, one per
            image, with boxes (M, 4) in pixels, labels (M,) and scores (M,), as all of `torchvision.models.detection`.
        classes: the K names; label 0 is the background.
        input_size: height and width of the images to prepare.
        layers: names of the layers to explain, in order; by default those of the module's backbone.
        name: the network's name; by default that of its class.

    Returns:
        A `Detector` around the same module (no copy).

    Raises:
        TypeError: if it is not a module.
        ValueError: if it takes no such images or returns no such dictionaries, has more classes than names, or there is
            no such layer.

    Example:
        >>> class One(nn.Module):  # one box for each image
        ...     def forward(self, images):
        ...         box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        ...         return [{"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.5])} for _ in images]
        >>> model = wrap_detector(One(), ["background", "cat"], 8, layers=[])
        >>> [model.classes[label] for label in model.detect(torch.zeros(3, 8, 8)).labels]
        ['cat']
    """
    if not isinstance(module, nn.Module) or isinstance(module, ImageModel):
        raise TypeError(f"wrap_detector takes a plain nn.Module, got {type(module).__name__}")
    inputs.at_least("input_size", input_size, 1)
    name = name or type(module).__name__
    device, dtype = inputs.device_of(module)
    x = torch.rand((1, 3, input_size, input_size), generator=inputs.generator(0)).to(device, dtype)
    try:
        with preserved(module), torch.no_grad():
            output = module(x)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name} does not take RGB images (N, 3, {input_size}, {input_size}): {reason}") from error
    if not returns_boxes(output):
        raise ValueError(
            f"{name} returns {type(output).__name__}: expected a list of dictionaries with boxes, labels and scores, "
            "one per image; models.wrap takes a classifier"
        )
    most = max((int(found["labels"].max()) for found in output if len(found["labels"])), default=0)
    if most >= len(classes):
        raise ValueError(f"{name} finds label {most}, got {len(classes)} class names: label 0 is the background")
    if layers is None:
        layers = _layers_of_backbone(module, x)
    model = Detector(
        module,
        classes,
        (0, 0, 0),
        (1, 1, 1),
        input_size,
        layers,
        name,
        fixed_candidates=False,
        read=BoxLists(len(classes)),
    )
    for layer in layers:
        activations.find_layer(model, layer)
    model.training = module.training  # not .train(), which would change the module
    return model


def _layers_of_backbone(module: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The last layer of each resolution; of a pyramid those of its body, on which every box depends."""
    inside = dict(module.named_modules())
    path = next((path for path in ("backbone.body", "backbone") if path in inside), "")
    found = activations.name_layers(inside[path], x)[0]
    return tuple(f"{path}.{name}" if path else name for name in found)
