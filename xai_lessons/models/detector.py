"""`Detector`: from images in [0, 1] to boxes, each with a logit per class, with names for classes and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_lessons.core import inputs
from xai_lessons.core.libraries import torchvision
from xai_lessons.core.state import preserved
from xai_lessons.models.image_model import ImageModel


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
        network: from normalized images (N, 3, H, W) to boxes (N, M, 4) in pixels and class logits (N, M, K), or to a
            list of such pairs, one per image, if the number of boxes M varies.
        classes: the K names.
        mean: subtracted from each color channel.
        std: divides each color channel.
        input_size: height and width of the images that the network was trained on.
        layers: names of the layers with a spatial map, in order; the network's own by default.
        name: the network's name.
        fixed_candidates: whether every image has the same candidates: box j always comes from the same place.

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
    ) -> None:
        own: Any = getattr(network, "layers", ()) if layers is None else layers
        super().__init__(network, classes, mean, std, input_size, own, name=name)
        self.fixed_candidates = fixed_candidates

    def candidates(self, images: Tensor) -> tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]:
        """Boxes (N, M, 4) and class logits (N, M, K) of images (N, 3, H, W), or a list of pairs where M varies.

        Args:
            images: (N, 3, H, W) in [0, 1].

        Returns:
            Boxes and logits of all images, or one pair (M, 4), (M, K) for each image.
        """
        found: Any = self.network(self.normalize(images))
        return found

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
