"""What a network says of photographs, as figures: for the lessons, and, of scikit-image's photographs, stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.methods import cam, occlusion
from xai_lessons.results import reference
from xai_lessons.results.reference import says, subject, tables

TILE = 224
BYTES = 80_000


def looked(network: models.Classifier, images: tables.Images, most: int = BYTES) -> plots.Static:
    """Lesson 2. Grad-CAM over each photograph, for the class of its name.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S), as `reference.photographs` gives them.
        most: largest size in bytes.

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> looked(network, {"cat": image}).kind
        'jpeg'
    """
    tiles, titles = [], []
    for name, x in images.items():
        classes = [c for c in reference.PAIRS.get(name, ()) if c in network.classes]
        for c in classes or [network.classes[subject(network, name, x)]]:
            tiles.append(plots.overlay(plots.enlarge(x, TILE, smooth=True), cam.grad_cam(network, x, c).cpu()))
            p = float(network.predict(x)[network.class_index(c)])
            titles.append(f"{name.replace('_', ' ')}\n{reference.short(c)} {p:.0%}")
    caption = f"Grad-CAM of {network.name} for the class above each photograph, with the probability of that class."
    return plots.show(tiles, titles, caption, columns=4, size=2.4, most=most)


def eight(image: Tensor, maps: Mapping[str, Tensor]) -> plots.Static:
    """Lesson 3. The positive evidence of several methods, as heatmaps and laid over the image.

    Args:
        image: (3, S, S).
        maps: name -> attribution (3, S, S) or map (S, S).

    Example:
        >>> from xai_lessons import menagerie
        >>> image = menagerie.draw("cat", seed=3).image
        >>> eight(image, {"image": image}).kind
        'jpeg'
    """
    below = plots.enlarge(image, 170, smooth=True)
    tiles = [plots.attribution(one, "positive", size=170) for one in maps.values()]
    tiles += [plots.attribution(one, "positive", over=below) for one in maps.values()]
    caption = "The positive part of each map: above as a heatmap, each in its own colors, below laid over the picture."
    return plots.show(tiles, [*maps, *maps], caption, columns=8, size=1.7, most=76_000)


def erased(network: models.Classifier, images: tables.Images) -> plots.Static:
    """Lesson 4. Each photograph as it is, with boxes on the brightest fifth of Grad-CAM, and only the brightest 30 %.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S).

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> erased(network, {"cat": image}).kind
        'jpeg'
    """
    views: list[Tensor] = []
    for name, x in images.items():
        M = cam.grad_cam(network, x, subject(network, name, x)).cpu()
        views += [x, occlusion.erase_top(x, M, tables.ERASED, boxes=3), occlusion.keep_top(x, M, tables.KEPT)]
    order = [k + 3 * i for k in range(3) for i in range(len(images))]
    caption = (
        f"Top: photographs, and what {network.name} says. Middle: three black boxes over the brightest fifth of "
        f"Grad-CAM. Bottom: nothing but the brightest {tables.KEPT:.0%}."
    )
    tiles = [plots.enlarge(views[i], TILE, smooth=True) for i in order]
    return plots.show(
        tiles, [says(network, views[i]) for i in order], caption, columns=len(images), size=2.3, most=BYTES
    )


def changed(network: models.Classifier, image: Tensor, **options: Any) -> plots.Static:
    """Lesson 5. One photograph, attacked, turned, brighter and darker.

    Args:
        network: an ImageNet network.
        image: (3, S, S).
        options: of `plots.show`.

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> changed(network, image, size=0.5).kind
        'jpeg'
    """
    found = tables.changes(network, image)
    tiles = [plots.enlarge(one, TILE, smooth=True) for one in found.values()]
    titles = [f"{what}\n{says(network, one)}" for what, one in found.items()]
    caption = (
        f"What {network.name} says of changes that hardly change anything for us. No attack moves a pixel by more "
        f"than {tables.EPSILON}."
    )
    return plots.show(tiles, titles, caption, **{"columns": 4, "size": 2.1, "most": BYTES, **options})
