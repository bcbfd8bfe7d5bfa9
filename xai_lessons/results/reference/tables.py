"""What a network says of photographs: a table per lesson, with what was published in its own column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models
from xai_lessons.methods import cam, fgsm, inversion, occlusion, saliency
from xai_lessons.results import reference, sensitivity
from xai_lessons.results.reference import Table, says, subject

Images = Mapping[str, Tensor]
EPSILON = 0.007
RADIUS = 0.02 * 0.225  # 0.02 in units of ImageNet's mean standard deviation of a color
ERASED, KEPT = 0.2, 0.3  # fraction of the image that is erased, and that is kept
NOTHING = "-"
_IG = saliency.integrated_gradients
_FEW = partial(_IG, steps=8)


def methods(size: int) -> dict[str, Callable[..., Any]]:
    """The eight methods of a published table, by the names of `sensitivity.METHODS`.

    Args:
        size: height and width of the network's images; occlusion's window is a quarter of it.

    Example:
        >>> list(methods(96))[:2]
        ['occlusion', 'IG, VarGrad']
    """
    kept = {name: method for name, (method, _) in sensitivity.METHODS.items()}
    return {**kept, "occlusion": partial(occlusion.occlusion, patch=size // 4, stride=size // 8)}


def tutorial_methods(image: Tensor) -> dict[str, Callable[..., Any]]:
    """Some of them with the options of a library's tutorial, which a report may have used; that is a guess.

    Noise of one normalized unit; windows of 15 pixels, 8 apart, on gray; and for Gradient SHAP new random numbers at
    every call, from gray and from the image itself.

    Args:
        image: (3, H, W).

    Example:
        >>> len(tutorial_methods(torch.zeros(3, 96, 96)))
        5
    """
    noisy = partial(saliency.smooth_grad, method=partial(_FEW, baseline="mean"), sigma=0.225, samples=10)
    starts, seeds = torch.stack([torch.full_like(image, 0.45), image]), count()

    def shap(network: Any, images: Tensor, targets: Any) -> Tensor:
        return saliency.gradient_shap(network, images, targets, samples=50, baseline=starts, seed=next(seeds))

    return {
        "occlusion": partial(occlusion.occlusion, patch=15, stride=8, fill=0.45),
        "IG, VarGrad": partial(noisy, kind="var"),
        "IG, SmoothGrad squared": partial(noisy, kind="square"),
        "integrated gradients": partial(_IG, steps=50, baseline=0.45),
        "Gradient SHAP": shap,
    }


def looked(network: models.Classifier, images: Images) -> Table:
    """Lesson 2. Where Grad-CAM looks: its peak, and the fraction of the image that holds half of its heat.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S), as `reference.photographs` gives them.

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> looked(network, {"cat": image}).rows[0][3]
        'cat'
    """
    rows = []
    for name, x in images.items():
        classes = [network.class_index(c) for c in reference.PAIRS.get(name, ()) if c in network.classes]
        published = reference.LOOKED.get(name, ())
        for i, c in enumerate(classes or [subject(network, name, x)]):
            M = cam.grad_cam(network, x, c).cpu()
            told = published[i] if i < len(published) else NOTHING
            half = f"{_half(M):.0%}" if float(M.max()) > 0 else NOTHING
            rows.append((name, told, says(network, x), reference.short(network.classes[c]), place(M), half))
    columns = ("photograph", "published", "it says", "class", "brightest", "half its heat in")
    return Table(columns, tuple(rows))


def place(M: Tensor) -> str:
    """Where the peak of a map (H, W) lies, in words.

    Example:
        >>> place(torch.eye(9)[[8, 1, 2, 3, 4, 5, 6, 7, 0]])
        'top right'
    """
    if float(M.max()) <= 0:
        return "nowhere"
    y, x = divmod(int(M.argmax()), M.shape[1])
    down, across = (("top", "", "bottom")[3 * y // M.shape[0]], ("left", "", "right")[3 * x // M.shape[1]])
    return f"{down} {across}".strip() or "middle"


def _half(M: Tensor) -> float:
    """The smallest fraction of the pixels that holds half of the positive part of a map."""
    heat = M.clamp(min=0).flatten().sort(descending=True).values.cumsum(0)
    return float((heat < heat[-1] / 2).sum() + 1) / heat.numel()


def eight(maps: Mapping[str, Tensor]) -> Table:
    """Lesson 3. How much of several maps is positive evidence, and how much of that lies in the middle quarter.

    Args:
        maps: name -> attribution (3, S, S) or map (S, S).

    Example:
        >>> eight({"gradient": torch.ones(3, 8, 8)}).rows
        (('gradient', '100%', '25%'),)
    """
    rows = []
    for name, one in maps.items():
        values = one if one.ndim == 2 else one.sum(dim=0)
        heat, edge = values.clamp(min=0), values.shape[-1] // 4
        total = float(heat.sum().clamp(min=1e-12))
        inside = float(heat[edge:-edge, edge:-edge].sum()) / total
        rows.append((name, f"{total / float(values.abs().sum().clamp(min=1e-12)):.0%}", f"{inside:.0%}"))
    return Table(("method", "positive", "of it in the middle quarter"), tuple(rows))


def erased(network: models.Classifier, images: Images) -> Table:
    """Lesson 4. The prediction without the highest fifth of Grad-CAM, as boxes, as pixels; and of the top 30 % alone.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S).

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> len(erased(network, {"cat": image}).rows[0])
        6
    """
    rows = []
    for name, x in images.items():
        M = cam.grad_cam(network, x, subject(network, name, x)).cpu()
        hidden = [occlusion.erase_top(x, M, ERASED, boxes=boxes) for boxes in (3, None)]
        views = [x, *hidden, occlusion.keep_top(x, M, KEPT)]
        rows.append((name, reference.ERASED.get(name, NOTHING), *(says(network, one) for one in views)))
    columns = ("photograph", "published", "as it is", "20 % under boxes", "20 % black", "only 30 % left")
    return Table(columns, tuple(rows))


def occluded(network: models.Classifier, images: Images) -> Table:
    """Lesson 4. The probability when one window of a quarter of the width is black.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S).

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> occluded(network, {"cat": image}).rows[0][:3]
        ('cat', '-', 'cat')
    """
    rows = []
    for name, x in images.items():
        c = subject(network, name, x)
        before = float(network.predict(x)[c])
        patch, stride = x.shape[-1] // 4, x.shape[-1] // 8
        fall = occlusion.occlusion(network, x, c, patch=patch, stride=stride, output="probability", size=None)
        left = [f"{before - float(one):.2f}" for one in (fall.max(), fall.min())]
        rows.append(
            (name, reference.LEFT.get(name, NOTHING), reference.short(network.classes[c]), f"{before:.2f}", *left)
        )
    return Table(("photograph", "published", "class", "as it is", "least left", "most left"), tuple(rows))


def changes(network: models.Classifier, image: Tensor) -> dict[str, Tensor]:
    """Lesson 5. Changes of an image that hardly change it for us: attacks on the predicted class, flips, brightness.

    Args:
        network: the one that is attacked.
        image: (3, S, S).

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> "mirrored" in changes(network, image)
        True
    """
    found = {
        "as it is": image,
        "FGSM, 0.007": fgsm.fgsm(network, image, epsilon=EPSILON).cpu(),
        "PGD, 0.007": fgsm.pgd(network, image, epsilon=EPSILON).cpu(),
        "brighter by 0.3": (image + 0.3).clamp(0, 1),
        "darker by 0.3": (image - 0.3).clamp(0, 1),
        "mirrored": image.flip(2),
        "upside down": image.flip(1),
    }
    if "gibbon" in network.classes:
        found["target gibbon"] = fgsm.pgd(network, image, "gibbon", epsilon=EPSILON, targeted=True).cpu()
    return found


def changed(network: models.Classifier, images: Images) -> tuple[Table, Table]:
    """Lesson 5. The prediction for each photograph under attack, and flipped, brighter and darker.

    Args:
        network: an ImageNet network.
        images: name -> (3, S, S).

    Returns:
        The attacks, and the rest; "same" where the class stays. Of the attacks also whether the predicted class is
        right, and the class with the second highest logit, both before the attack.

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> changed(network, {"cat": image})[1].columns[2:4]
        ('brighter by 0.3', 'darker by 0.3')
    """
    attacked, turned = [], []
    for name, x in images.items():
        said = {what: says(network, one) for what, one in changes(network, x).items()}
        before = said["as it is"]
        told = {what: _again(now, before) for what, now in said.items()}
        attacks = [what for what in said if "0.007" in what or "gibbon" in what]
        first, second = (network.classes[int(c)] for c in network.predict(x).topk(2).indices)
        right = "yes" if reference.right(name, first) else "no"
        attacked.append((name, before, right, reference.short(second, 15), *(told[what] for what in attacks)))
        others = [what for what in said if what not in attacks and what != "as it is"]
        turned.append((name, before, *(told[what] for what in others)))
    head = ("photograph", "as it is")
    return Table((*head, "right", "second", *attacks), tuple(attacked)), Table((*head, *others), tuple(turned))


def _again(now: str, before: str) -> str:
    """The prediction now, with "same" for the class if it is as before."""
    name, _, p = now.rpartition(" ")
    return f"same {p}" if name == before.rpartition(" ")[0] else now


def inverted(network: models.Classifier, image: Tensor, layers: Sequence[str] = (), steps: int = 200) -> Table:
    """Lesson 6. How well two optimizers invert the output of a layer, and the prediction for what they found.

    Args:
        network: an ImageNet network.
        image: (3, S, S).
        layers: the first and the last one if not given.
        steps: of each optimizer.

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> [row[1] for row in inverted(network, image, ["stage3"], steps=1).rows]
        ['sgd', 'adam']
    """
    rows = []
    for layer in layers or (network.layers[0], network.layers[-1]):
        for optimizer in ("sgd", "adam"):
            found = inversion.invert(network, image, layer=layer, optimizer=optimizer, steps=steps, tv=0.2)
            left = float(found.losses[..., -1] / found.losses[..., 0])
            rows.append((layer, optimizer, f"{left:.2f}", says(network, found.images)))
    return Table(("layer", "descent", "loss left of 1", "it says of the picture found"), tuple(rows))


def max_sensitivity(
    network: models.Classifier,
    image: Tensor,
    target: int,
    samples: int = 10,
    explain: Mapping[str, Callable[..., Any]] | None = None,
    progress: Any = None,
) -> dict[str, float]:
    """Lesson 7. Max-sensitivity of several methods, as published: 0.02 in normalized units, ten samples.

    Args:
        network: an ImageNet network.
        image: (3, S, S).
        target: the class.
        samples: of the noise.
        explain: name -> method; `methods` if not given.
        progress: called with (methods done, their number).

    Example:
        >>> from xai_lessons import menagerie
        >>> network, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> list(max_sensitivity(network, image, 0, samples=1, explain={"LRP": saliency.lrp}))
        ['LRP']
    """
    explain, found = explain or methods(image.shape[-1]), {}
    for done, (name, method) in enumerate(explain.items()):
        found[name] = float(evaluation.max_sensitivity(method, network, image, target, radius=RADIUS, samples=samples))
        if progress is not None:
            progress(done + 1, len(explain))
    return found


def sensitive(ours: Mapping[str, float], elsewhere: Mapping[str, float] | None = None) -> Table:
    """Lesson 7. The published table beside ours.

    Args:
        ours: of `max_sensitivity`.
        elsewhere: the same of `tutorial_methods`.

    Example:
        >>> sensitive({"LRP": 1.0}).only("LRP").rows
        (('LRP', '3.567', '1.000'),)
    """
    rows = [
        (name, f"{published:.3f}", *(f"{one[name]:.3f}" if name in one else NOTHING for one in (ours, elsewhere or {})))
        for name, (_, published) in sensitivity.METHODS.items()
    ]
    wide = elsewhere is not None
    columns = ("method", "published", "here", *(["with a tutorial's options"] if wide else []))
    return Table(columns, tuple(row if wide else row[:3] for row in rows))
