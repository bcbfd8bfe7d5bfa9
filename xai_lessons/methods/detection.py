"""Explain one box of a detector: its class score, each of its four edges, and whether it is found at all.

`box_view` turns a box into scores that every other method takes: the gradient of the left edge is
``saliency.gradient(view, image, "left")``, Grad-CAM of the class score ``cam.grad_cam(view, image, "score")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.progress import Progress
from xai_lessons.core.state import preserved
from xai_lessons.methods import occlusion
from xai_lessons.methods.perturbation import Fill, filling
from xai_lessons.models import Detections, Detector, ImageModel
from xai_lessons.models.detector import RULED_OUT

OUTPUTS = ("score", "left", "top", "right", "bottom", "similarity")


class Box(NamedTuple):
    """The box that is explained.

    Attributes:
        corners: (4,), left, top, right and bottom in pixels.
        label: the index of its class.
        probabilities: (K,), the probability of each class in it.
        candidate: its index among the detector's candidates.
    """

    corners: Tensor
    label: int
    probabilities: Tensor
    candidate: int


def find_box(model: Detector, image: Tensor, target: int | str | None = None) -> Box:
    """Choose the box to explain.

    Args:
        model: the detector.
        image: (3, H, W) in [0, 1].
        target: the number of a box in ``model.detect(image)``, a class name (its best box, also below the detector's
            threshold), or None for the best box of all.

    Returns:
        The box.

    Raises:
        ValueError: if it is no detector, there is no such class or box, or more than one image.

    Example:
        >>> from xai_lessons import detection, menagerie, models
        >>> model, scene = models.load("menagerie-detector"), menagerie.draw_pair("cat", "dog", seed=3)
        >>> model.classes[detection.find_box(model, scene.image, "dog").label]
        'dog'
    """
    x = _images(model, image)
    if image.ndim != 3:
        raise ValueError(f"a box is in one image (3, H, W), got {tuple(image.shape)}: choose one, as in images[0]")
    with torch.inference_mode(False), torch.no_grad(), preserved(model):
        found = model(x)[0]
    if len(found.boxes) == 0:
        raise ValueError("the detector finds no box at all in this image: choose another image")
    if target is None:
        chosen = int(found.scores.argmax())
    elif isinstance(target, str):
        chosen = int(found.logits[:, model.class_index(target)].argmax())
    else:
        kept = found.kept()
        number = inputs.whole("target", target)
        if not 0 <= number < len(kept):
            names = ", ".join(f"{i} {model.classes[int(found.labels[k])]}" for i, k in enumerate(kept.tolist()))
            raise ValueError(f"there is no box {number}: the detector finds {names or 'none; give a class name'}")
        chosen = int(kept[number])
    label = model.class_index(target) if isinstance(target, str) else int(found.labels[chosen])
    return Box(found.boxes[chosen], label, found.probabilities[chosen], chosen)


def overlap(box: Tensor, boxes: Tensor) -> Tensor:
    r"""Intersection over union, :math:`\mathrm{IoU}(A, B) = |A \cap B| / |A \cup B|`, through which autograd passes.

    Args:
        box: (..., 4), left, top, right and bottom.
        boxes: (..., 4), of a shape that broadcasts with it.

    Returns:
        (...), in [0, 1].

    Example:
        >>> overlap(torch.tensor([0.0, 0, 4, 4]), torch.tensor([[0.0, 0, 4, 4], [2.0, 0, 6, 4]]))
        tensor([1.0000, 0.3333])
    """

    def area(b: Tensor) -> Tensor:
        return (b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1)

    corners = torch.maximum(box[..., :2], boxes[..., :2]), torch.minimum(box[..., 2:], boxes[..., 2:])
    both = area(torch.cat(corners, dim=-1))
    return both / (area(box) + area(boxes) - both).clamp(min=1e-9)


def similarity(found: Detections, corners: Tensor, probabilities: Tensor) -> Tensor:
    r"""D-RISE's similarity of a box to each box that is found.

    .. math:: s(d_t, d_j) = \mathrm{IoU}(L_t, L_j) \cdot \frac{P_t \cdot P_j}{\|P_t\| \, \|P_j\|} \cdot O_j

    with the corners L, the class probabilities P and the objectness O.

    Args:
        found: M boxes.
        corners: (4,), left, top, right and bottom of the box in pixels.
        probabilities: (K,), of its classes.

    Returns:
        (M,), in [0, 1].

    Example:
        >>> found = Detections(torch.tensor([[0.0, 0, 4, 4], [2.0, 0, 6, 4]]), torch.tensor([[9.0, -9], [9, -9]]))
        >>> similarity(found, found.boxes[0], found.probabilities[0])
        tensor([0.9999, 0.3333])

    Source: Petsiuk et al., 2021, "Black-box explanation of object detectors via saliency maps", arXiv 2006.03204.
    Differs from the paper: a detector without an objectness output gets that of its most probable class.
    """
    P = found.probabilities
    alike = F.cosine_similarity(probabilities.to(P), P, dim=-1)
    return overlap(corners.to(P), found.boxes) * alike * P.amax(dim=-1)


class BoxView(ImageModel):
    r"""One box of a detector as six scores (N, 6), which every method takes as a network's: `OUTPUTS` names them.

    "score" is the class logit, "left", "top", "right" and "bottom" are the edges in pixels, "similarity" is
    :math:`\max_j s(d_t, d_j)` over all candidates (see `similarity`). They are read at the same candidate in every
    image (``follow="place"``), or at the candidate that the box has become: the one with the largest
    :math:`\mathrm{IoU}(L_t, L_j) P_j^c` (``follow="match"``).

    Args:
        detector: the detector.
        box: the box, see `find_box`.
        follow: "place" or "match".
    """

    default_target = "score"  # what targets=None stands for
    classifies = False  # the six scores are no classes: their softmax means nothing

    def __init__(self, detector: Detector, box: Box, follow: str) -> None:
        constants = (detector.mean.flatten().tolist(), detector.std.flatten().tolist())
        super().__init__(detector.network, OUTPUTS, *constants, detector.input_size, detector.layers)
        self.name, self.layout, self.read = f"one box of {detector.name}", detector.layout, detector.read
        self.box, self.follow = box, follow

    def forward(self, images: Tensor) -> Tensor:
        """Six scores (N, 6) of images (N, 3, H, W) in [0, 1]."""
        found = self.read(self.network(self.normalize(images)))
        pairs = zip(*found, strict=True) if isinstance(found, tuple) else found
        return torch.stack([self._scores(Detections(*each)) for each in pairs])

    def _scores(self, found: Detections) -> Tensor:
        box = self.box
        if len(found.boxes) == 0:  # nothing is found any more: no score, and edges that did not move
            gone = found.boxes.new_tensor([RULED_OUT, 0])
            return torch.cat([gone[:1], box.corners.to(gone), gone[1:]])
        alike, now = similarity(found, box.corners, box.probabilities), box.candidate
        if self.follow == "match":
            with torch.no_grad():
                now = int((overlap(box.corners.to(alike), found.boxes) * found.probabilities[:, box.label]).argmax())
        return torch.cat([found.logits[now, box.label][None], found.boxes[now], alike.amax()[None]])


def box_view(model: Detector, image: Tensor, target: int | str | None = None, *, follow: str | None = None) -> BoxView:
    """Turn one box into a network with six scores, "score", "left", "top", "right", "bottom" and "similarity".

    Args:
        model: the detector.
        image: (3, H, W) in [0, 1], in which the box is.
        target: the number of a box in ``model.detect(image)``, a class name (its best box), or None for the best box.
        follow: which candidate is read in a changed image: "place", the same one, or "match", the one that the box has
            become. By default "place" where the detector has the same candidates in every image, else "match".

    Returns:
        A `BoxView`, to be explained by any method: ``saliency.gradient(view, image, "left")``.

    Raises:
        ValueError: if it is no detector, there is no such class or box, ``follow`` is unknown, or it is "place" and the
            candidates vary.

    Example:
        >>> from xai_lessons import cam, detection, menagerie, models, saliency
        >>> model, scene = models.load("menagerie-detector"), menagerie.draw_pair("cat", "dog", seed=3)
        >>> view = detection.box_view(model, scene.image, "cat")
        >>> saliency.gradient(view, scene.image, "left").shape, cam.grad_cam(view, scene.image, "score").shape
        (torch.Size([3, 96, 96]), torch.Size([96, 96]))
    """
    if follow not in (None, "place", "match"):
        raise ValueError(f"follow must be 'place' or 'match', got {follow!r}")
    box = find_box(model, image, target)
    if follow == "place" and not model.fixed_candidates:
        raise ValueError(f"{model.name} has other candidates in every image: use follow='match'")
    return BoxView(model, box, follow or ("place" if model.fixed_candidates else "match"))


def d_rise(
    model: Detector,
    images: Tensor,
    targets: int | str | Sequence[int | str | None] | None = None,
    *,
    samples: int = 1000,
    cells: int = 16,
    fraction: float = 0.5,
    fill: Fill = "black",
    seed: int = 0,
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""D-RISE: a pixel is important if the box is found again whenever a random mask leaves it visible.

    .. math:: H(p) = \frac{1}{E[M] N} \sum_{i=1}^{N} w_i M_i(p), \quad w_i = \max_j s(d_t, d_j(x \odot M_i))

    with `similarity` s.

    How many masks are enough depends on the cells. On images of 96 pixels the paper's 16 cells are too fine for the
    built-in detector: two maps of 1,000 different masks each correlate with 0.15, of 8,000 with 0.47, and their energy
    is spread like that of a uniform map (``results.load("detection-masks")``). Fewer cells, as 6, need fewer masks.

    Args:
        model: a detector.
        images: (N, 3, H, W) or (3, H, W) in [0, 1].
        targets: for each image the number of a box in ``model.detect(image)``, a class name (its best box), or None for
            the best box; one of them for all images, or a list.
        samples: how many masks, shared by all images.
        cells: cells of the coarse grid along a side.
        fraction: of the cells that are seen, on average: E[M], in (0, 1].
        fill: what is seen where the mask is dark.
        seed: of the masks and the noise.
        fast: bfloat16 inside the network.
        batch_size: masks at once; chosen from the images' size if not given.
        progress: True, a callback ``(done, total)`` or a `Reporter`, in masks.

    Returns:
        (N, H, W), unscaled: the mean similarity where the pixel was seen; without N for a single image.

    Raises:
        ValueError: if it is no detector, an option is out of range, or there is no such class or box.

    Example:
        >>> from xai_lessons import detection, menagerie, models
        >>> model, scene = models.load("menagerie-detector"), menagerie.draw_pair("cat", "dog", seed=3)
        >>> detection.d_rise(model, scene.image, "cat", samples=8).shape
        torch.Size([96, 96])

    Source: Petsiuk et al., 2021, "Black-box explanation of object detectors via saliency maps", arXiv 2006.03204.
    Differs from the paper: 1,000 masks instead of 5,000; shifts may be parts of a pixel.
    """
    masks = occlusion.mask_maker(samples, cells, fraction, seed)
    x = _images(model, images)
    background = filling(x, fill, seed)
    chosen: list[Any] = list(targets) if isinstance(targets, list | tuple) else [targets] * len(x)
    if len(chosen) != len(x):
        raise ValueError(f"got {len(chosen)} targets for {len(x)} images: give one target, or one per image")
    boxes = [find_box(model, image, target) for image, target in zip(x, chosen, strict=True)]
    of_each = (torch.stack([box.corners for box in boxes]), torch.stack([box.probabilities for box in boxes]))

    def seen(
        x: Tensor, _: Tensor, k: Tensor, background: Tensor, corners: Tensor, probabilities: Tensor
    ) -> tuple[Tensor, Tensor]:
        M = masks(k, x)
        found = model(torch.lerp(background, x, M[:, None]))
        w = [similarity(d, *each) for d, *each in zip(found, corners, probabilities, strict=True)]
        return torch.stack([s.amax() if len(s) else s.new_zeros(()) for s in w]) / (fraction * samples), M

    nothing = torch.zeros(len(x), dtype=torch.long, device=x.device)
    options: dict[str, Any] = {"fast": fast, "batch_size": batch_size, "progress": progress, "reduce": "sum"}
    H = passes.over_passes(seen, samples, model, x, nothing, per_image=(background, *of_each), **options)
    return H[0] if images.ndim == 3 else H


def _images(model: Any, images: Tensor) -> Tensor:
    """The images (N, 3, H, W) where the detector is, or a ValueError that says what is none."""
    if not getattr(model, "finds_boxes", False):
        raise ValueError(
            f"a box is explained of a detector, got {type(model).__name__}: models.load('menagerie-detector')"
        )
    return inputs.check_images(None, images)[0].to(model.device, model.dtype)
