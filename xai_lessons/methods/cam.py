"""Class activation maps: which places of a layer's maps speak for a class.

All methods add up the maps A_k of a layer with weights; they differ in the weights. The sum is resized to the image
bicubically (bilinear shows the layer's grid as diamonds) and *then* rectified, so that only what speaks for the class
is left. Heatmaps are not scaled: compare them, or scale them for display with `plots`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import activations
from xai_lessons.core.inputs import Targets, at_least, check_images, check_targets
from xai_lessons.core.passes import logits, over_images, over_passes, predicted, resize, score
from xai_lessons.core.progress import Progress

Layer = str | nn.Module | None
Size = str | int | tuple[int, int] | None


def cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    size: Size = "image",
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Class activation map: the last layer's maps with the weights of the linear head.

    .. math:: M^c = \sum_k w_k^c A_k, \qquad Y^c = \tfrac1Z \sum_{ij} M^c_{ij} + b^c

    The second equation is why it can be trusted: the map's mean plus a bias *is* the logit. Where a 1 x 1 convolution
    makes one map per class and global average pooling the logits (SqueezeNet), that map is M^c, and b^c is 0.

    Args:
        model: a network whose logits are a linear layer on the global average of its last maps, or that average itself.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        size: "image", a size in pixels, or None for the signed map at the layer's resolution.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Heatmaps (N, H, W) in units of the logit, not negative (with ``size=None``: signed).

    Raises:
        ValueError: if the network has no such head; use `grad_cam`.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> cam(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([96, 96])

    Source: Zhou et al., 2016, "Learning deep features for discriminative localization", arXiv 1512.04150.
    Differs from the paper: resized bicubically, not bilinearly, and rectified, as Grad-CAM is.
    """
    _check(model, size)

    def explain(x: Tensor, c: Tensor | None) -> Tensor:
        M = _class_map(model, x, c)
        return M if size is None else _heatmap(M, size, x)

    return over_images(explain, model, images, targets, batch_size=batch_size, progress=progress)


def _class_map(model: nn.Module, x: Tensor, c: Tensor | None) -> Tensor:
    """M^c (N, h, w), only if the head's equation gives the network's logits."""
    A, Y = activations.activation(model, None, x)
    score(Y, c)  # refuses a class that does not exist
    c = Y.argmax(dim=1) if c is None else c
    classes, rounding = Y.shape[1], 1e-8 if Y.dtype == torch.float64 else 1e-3  # also of a GPU, but no other function

    def gives_logits(pooled: Tensor) -> bool:
        return torch.allclose(pooled, Y, rtol=rounding, atol=rounding * float(Y.abs().max()))

    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight.shape == (classes, A.shape[1])]
    for maps in (A, A.relu()):  # some networks (DenseNet) end in a ReLU that is no module
        for head in reversed(heads):
            if gives_logits(F.linear(maps.mean(dim=(2, 3)), head.weight, head.bias)):
                return torch.einsum("nk,nkij->nij", head.weight.detach()[c], maps)
    shapes = activations.output_shapes(model, x[:1])
    names = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] == classes]
    for maps in activations.activations(model, names, x)[0].values():
        for M in (maps, maps.relu()):
            if gives_logits(M.mean(dim=(2, 3))):
                return M[torch.arange(len(M), device=M.device), c]
    raise ValueError(
        "the logits of this network are not a linear layer on the global average of its last maps, so it has no CAM: "
        "use cam.grad_cam, which needs no such head"
    )


def _check(model: object, size: Size) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError("a CAM looks inside a network (nn.Module): for a plain callable use occlusion.occlusion")
    sides = (size,) if isinstance(size, int) else size
    if size is None or size == "image":
        return
    if not isinstance(sides, tuple) or len(sides) > 2 or not all(type(s) is int and s > 0 for s in sides):
        raise ValueError(f"size must be 'image', a number of pixels, (height, width) or None, got {size!r}")


def _heatmap(maps: Tensor, size: Size, x: Tensor) -> Tensor:
    """Resize maps (N, h, w), then keep what is positive."""
    if size is None:
        return maps.relu()
    height, width = x.shape[-2:] if isinstance(size, str) else (size, size) if isinstance(size, int) else size
    return resize(maps, (height, width)).relu()


def _spatial(A: Tensor) -> Tensor:
    if A.ndim != 4:
        raise ValueError(f"this layer's output is {tuple(A.shape)}, not maps (N, K, h, w): choose an earlier layer")
    return A


def _from_gradient(
    combine: Callable[[Tensor, Tensor], Tensor], model: nn.Module, images: Tensor, targets: Targets, layer: Layer,
    size: Size, **options: Any,
) -> Tensor:  # fmt: skip
    """The heatmaps of ``combine(A, dY^c/dA)``, maps (N, h, w)."""
    _check(model, size)

    def explain(x: Tensor, c: Tensor | None) -> Tensor:
        A, g, _ = activations.activation_and_gradient(model, layer, x, c)
        return _heatmap(combine(_spatial(A), g), size, x)

    return over_images(explain, model, images, targets, **options)


def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: Layer = None,
    size: Size = "image",
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Grad-CAM: a layer's maps, each weighted by its mean gradient.

    .. math:: \alpha_k^c = \tfrac1Z \sum_{ij} \frac{\partial Y^c}{\partial A^k_{ij}}, \qquad
              L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    On a head of global average pooling, before resizing, it is ReLU(CAM) / Z, with Z the number of places of the map.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer's output is no map, or the score does not depend on it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> tuple(grad_cam(model, image, "cat", size=None).shape)
        (12, 12)

    Source: Selvaraju et al., 2017, "Grad-CAM: visual explanations from deep networks", arXiv 1610.02391.
    Differs from the paper: resized bicubically, then rectified.
    """

    def combine(A: Tensor, g: Tensor) -> Tensor:
        return torch.einsum("nk,nkij->nij", g.mean(dim=(2, 3)), A)

    return _from_gradient(combine, model, images, targets, layer, size, batch_size=batch_size, progress=progress)


def grad_cam_plus_plus(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: Layer = None,
    size: Size = "image",
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Grad-CAM++: places with a positive gradient count, so that several objects of a class all show.

    .. math:: g = \frac{\partial Y^c}{\partial A}, \quad
              \alpha^k_{ij} = \frac{(g^k_{ij})^2}{2 (g^k_{ij})^2 + (g^k_{ij})^3 \sum_{ab} A^k_{ab}}, \quad
              w_k = \sum_{ij} \alpha^k_{ij} \mathrm{ReLU}(g^k_{ij}), \quad
              L^c = \mathrm{ReLU}\Big(\sum_k w_k A^k\Big)

    The squares and cubes are the second and third derivatives of exp(Y) for a logit that is linear in A.

    Args:
        model: a network; the maps should come after a ReLU (A >= 0), or the denominator can vanish.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer's output is no map, or the score does not depend on it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> grad_cam_plus_plus(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([96, 96])

    Source: Chattopadhyay et al., 2018, "Grad-CAM++", arXiv 1710.11063, equations 7, 10 and 19.
    Differs from the paper: the factor exp(Y), the same for the whole image, is left out (it overflows), and g^2 is
    cancelled. torchcam 0.5 sums A g^3 in place of A, and its division does not reach alpha.
    """

    def combine(A: Tensor, g: Tensor) -> Tensor:
        alpha = 1 / (2 + g * A.sum(dim=(2, 3), keepdim=True))  # numerator and denominator divided by g^2
        return torch.einsum("nk,nkij->nij", (alpha * g.relu()).sum(dim=(2, 3)), A)

    return _from_gradient(combine, model, images, targets, layer, size, batch_size=batch_size, progress=progress)


def layer_cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: Layer = None,
    size: Size = "image",
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""LayerCAM: every place has its own weight, its positive gradient; made for early layers.

    .. math:: L^c_{ij} = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}\Big(
              \frac{\partial Y^c}{\partial A^k_{ij}}\Big) A^k_{ij}\Big)

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer's output is no map, or the score does not depend on it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> model, image = models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image
        >>> tuple(layer_cam(model, image, "cat", layer=model.layers[0]).shape)
        (96, 96)

    Source: Jiang et al., 2021, "LayerCAM: exploring hierarchical class activation maps for localization",
    doi:10.1109/TIP.2021.3089943.
    Differs from the paper: no tanh scaling of the early layers' maps; maps are never scaled here.
    """

    def combine(A: Tensor, g: Tensor) -> Tensor:
        return (g.relu() * A).sum(dim=1)

    return _from_gradient(combine, model, images, targets, layer, size, batch_size=batch_size, progress=progress)


def hires_cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: Layer = None,
    size: Size = "image",
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""HiResCAM: gradient times activation at each place, so that nothing shows that the network did not use.

    .. math:: L^c_{ij} = \mathrm{ReLU}\Big(\sum_k \frac{\partial Y^c}{\partial A^k_{ij}} A^k_{ij}\Big)

    With a single linear layer on the maps, the sum over all places before the ReLU is the logit less the bias.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: images at once.
        progress: True, a callback ``(done, total)`` or a `Reporter`.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer's output is no map, or the score does not depend on it.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> hires_cam(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat").shape
        torch.Size([96, 96])

    Source: Draelos and Carin, 2020, "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891.
    Differs from the paper: rectified, as the whole family is.
    """

    def combine(A: Tensor, g: Tensor) -> Tensor:
        return (g * A).sum(dim=1)

    return _from_gradient(combine, model, images, targets, layer, size, batch_size=batch_size, progress=progress)


def score_cam(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layer: Layer = None,
    size: Size = "image",
    fast: bool = False,
    batch_size: int | None = None,
    progress: Progress = None,
) -> Tensor:
    r"""Score-CAM: each map is weighted by the score of the image seen through it; no gradients.

    .. math:: H_k = \frac{U(A^k) - \min U(A^k)}{\max U(A^k) - \min U(A^k)}, \qquad
              \alpha_k = \mathrm{softmax}_k\big(Y^c(x \odot H_k) - Y^c(0)\big), \qquad
              L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big)

    U resizes a map to the image, bilinearly. This is the paper's algorithm 1: the *softmax over the channels* of the
    increase of the *logit*. The black image's Y(0) is the same for all and cancels. One forward pass per channel.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        fast: bfloat16 inside the network.
        batch_size: passes at once.
        progress: True, a callback ``(done, total)`` in passes or a `Reporter`.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer's output is no map.

    Example:
        >>> from xai_lessons import menagerie, models
        >>> score_cam(models.load("menagerie-resnet"), menagerie.draw("cat", seed=3).image, "cat", layer="stem").shape
        torch.Size([96, 96])

    Source: Wang et al., 2020, "Score-CAM: score-weighted visual explanations", arXiv 1910.01279.
    Differs from the paper: masked pixels are black, in pixel units; the authors' code masks the normalized image (so
    with its mean color) and weights by the probability, without a softmax over channels. torchcam scales the maps
    before it resizes them; pytorch-grad-cam resizes with ``align_corners=True``.
    """
    _check(model, size)
    x, single = check_images(model, images)
    c = predicted(model, x, check_targets(model, targets, x), batch_size)
    A = over_images(lambda x, _: _spatial(activations.activation(model, layer, x)[0]), model, x, batch_size=batch_size)
    rows, columns = (F.interpolate(torch.eye(A.shape[d]).to(A)[None], x.shape[d], mode="linear")[0].mT for d in (2, 3))

    def masked_score(x: Tensor, c: Tensor, k: Tensor, A: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # fast=True is for the network, not for the masks
            U = rows @ A[torch.arange(len(k)), k] @ columns.mT  # faster than `interpolate`
        U = U - U.amin(dim=(1, 2), keepdim=True)
        H = U / U.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(U.dtype).tiny)  # a flat map masks everything
        return score(logits(model, x * H[:, None]), c)

    options: dict[str, Any] = {"fast": fast, "batch_size": batch_size, "progress": progress}
    Y = over_passes(masked_score, A.shape[1], model, x, c, per_image=(A,), **options)
    L = _heatmap(torch.einsum("nk,nkij->nij", Y.to(A.dtype).softmax(dim=1), A), size, x)
    return L[0] if single else L


def bounding_box(heatmaps: Tensor, threshold: float = 0.2) -> Tensor:
    """The box around the largest connected part of a heatmap above a fraction of its maximum.

    A pixel belongs to it where M >= threshold * max M and M > 0; pixels that touch, also at a corner, are connected.

    Args:
        heatmaps: (N, H, W) or (H, W).
        threshold: the fraction of the map's maximum, from 0 to 1; the paper's 20 % by default.

    Returns:
        Boxes x1, y1, x2, y2 in pixels as a LongTensor (N, 4) or (4,): from the left and top edge of the first pixel to
        the right and bottom edge of the last, so that x2 - x1 is the width. All zeros where nothing is above zero.

    Raises:
        ValueError: if the shape, the values or the threshold are not those of heatmaps.

    Example:
        >>> bounding_box(torch.tensor([[0.0, 1.0, 1.0], [0.1, 0.0, 0.9]]))
        tensor([1, 0, 3, 2])

    Source: Zhou et al., 2016, arXiv 1512.04150, section 3.2.
    """
    from skimage.measure import label

    at_least("threshold", threshold, 0, 1)
    if not isinstance(heatmaps, Tensor) or heatmaps.ndim not in (2, 3) or not torch.isfinite(heatmaps).all():
        raise ValueError("heatmaps must be a finite tensor (N, H, W) or (H, W): a method of cam or occlusion gives one")
    boxes = []
    for M in heatmaps.detach().reshape(-1, *heatmaps.shape[-2:]).cpu():
        above = (threshold * M.max() <= M) & (M > 0)
        if not above.any():
            boxes.append([0, 0, 0, 0])
            continue
        parts = torch.from_numpy(label(above.byte().numpy(), connectivity=2))  # of bool, it imports for a second
        i, j = torch.where(parts == parts.flatten().bincount()[1:].argmax() + 1)  # the largest part
        boxes.append([int(j.min()), int(i.min()), int(j.max()) + 1, int(i.max()) + 1])
    return torch.tensor(boxes).reshape(*heatmaps.shape[:-2], 4)
