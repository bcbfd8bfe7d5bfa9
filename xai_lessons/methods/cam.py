"""The class-activation family: where a layer saw what speaks for a class.

All methods weigh the maps A_k that a layer puts out and add them up; they differ in the weights. The sum is resized to
the picture bicubically (bilinear shows the layer's grid as diamonds) and *then* rectified, so that only what speaks for
the class is left. Heatmaps are not scaled: compare them, or scale them for display with `plots`.
"""

from __future__ import annotations

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
    r"""Class activation map: the last layer's maps, weighed as the linear head weighs them.

    .. math:: M^c = \sum_k w_k^c A_k, \qquad Y^c = \tfrac1Z \sum_{ij} M^c_{ij} + b^c

    The second equation is why it can be trusted: the map's mean plus a bias *is* the logit.

    Args:
        model: a network whose logits are a linear layer on the global average of its last maps.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        size: "image", a size in pixels, or None for the signed map at the layer's resolution.
        batch_size: pictures at once.
        progress: True, or a callback ``(done, total)``.

    Returns:
        Heatmaps (N, H, W) in units of the logit, not negative (with ``size=None``: as they are).

    Raises:
        ValueError: if the network has no such head; use `grad_cam`.

    Source: Zhou et al., 2016, "Learning deep features for discriminative localization", arXiv 1512.04150.
    Differs from the paper: resized bicubically, not bilinearly, and rectified, as Grad-CAM is.
    """
    _check_size(size)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        A, w, c = _pooling_head(model, x, c)
        M = torch.einsum("nk,nkij->nij", w[c], A)
        return M if size is None else _heatmap(M, size, x)

    return over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


def _pooling_head(model: nn.Module, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The last maps A, the head's weights w and the classes; only if w mean(A) + b really is the logits."""
    _check_network(model)
    A, Y = activations.activation(model, None, x)
    score(Y, c)  # refuses a class that is not there
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight.shape == (Y.shape[1], A.shape[1])]
    near = 1e-8 if Y.dtype == torch.float64 else 1e-3  # rounding, also of a GPU, but no other function
    for maps in (A, A.relu()):  # some networks (DenseNet) end in a ReLU that is no module
        for head in reversed(heads):
            pooled = F.linear(maps.mean(dim=(2, 3)), head.weight, head.bias)
            if torch.allclose(pooled, Y, rtol=near, atol=near * float(Y.abs().max())):
                return maps, head.weight.detach(), Y.argmax(dim=1) if c is None else c
    raise ValueError(
        "the logits of this network are not a linear layer on the global average of its last maps, so it has no CAM: "
        "use cam.grad_cam, which needs no such head"
    )


def _check_network(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError("a CAM looks inside a network (nn.Module): for a plain callable use occlusion.occlusion")


def _check_size(size: Size) -> None:
    whole = (size,) if isinstance(size, int) else size
    if size is None or size == "image":
        return
    if not isinstance(whole, tuple) or len(whole) > 2 or not all(type(s) is int and s > 0 for s in whole):
        raise ValueError(f"size must be 'image', a number of pixels, (height, width) or None, got {size!r}")


def _heatmap(maps: Tensor, size: Size, x: Tensor) -> Tensor:
    """Resize maps (N, h, w), then keep what is positive."""
    if size is None:
        return maps.relu()
    height, width = x.shape[-2:] if isinstance(size, str) else (size, size) if isinstance(size, int) else size
    return resize(maps, (height, width)).relu()


def _spatial(A: Tensor) -> Tensor:
    if A.ndim != 4:
        raise ValueError(f"this layer puts out {tuple(A.shape)}, not maps (N, K, h, w): choose an earlier layer")
    return A


def _maps_and_gradient(model: nn.Module, layer: Layer, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
    """A and dY^c/dA of a layer that keeps maps."""
    _check_network(model)
    A, dY_dA, _ = activations.activation_and_gradient(model, layer, x, c)
    return _spatial(A), dY_dA


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
    r"""Grad-CAM: a layer's maps, each weighed by its mean gradient.

    .. math:: \alpha_k^c = \tfrac1Z \sum_{ij} \frac{\partial Y^c}{\partial A^k_{ij}}, \qquad
              L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    On a head of global average pooling, before resizing, it is ReLU(CAM) / Z, with Z the number of places of the map.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: pictures at once.
        progress: True, or a callback ``(done, total)``.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer keeps no map of the picture, or the score does not depend on it.

    Source: Selvaraju et al., 2017, "Grad-CAM: visual explanations from deep networks", arXiv 1610.02391.
    Differs from the paper: resized bicubically, then rectified.
    """
    _check_size(size)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        A, dY_dA = _maps_and_gradient(model, layer, x, c)
        alpha = dY_dA.mean(dim=(2, 3))
        return _heatmap(torch.einsum("nk,nkij->nij", alpha, A), size, x)

    return over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


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
        batch_size: pictures at once.
        progress: True, or a callback ``(done, total)``.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer keeps no map of the picture, or the score does not depend on it.

    Source: Chattopadhyay et al., 2018, "Grad-CAM++", arXiv 1710.11063, equations 7, 10 and 19.
    Differs from the paper: the factor exp(Y), the same for the whole picture, is left out (it overflows), and g^2 is
    cancelled. torchcam 0.5 sums A g^3 in place of A, and its division does not reach alpha.
    """
    _check_size(size)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        A, g = _maps_and_gradient(model, layer, x, c)
        alpha = 1 / (2 + g * A.sum(dim=(2, 3), keepdim=True))  # numerator and denominator divided by g^2
        w = (alpha * g.relu()).sum(dim=(2, 3))
        return _heatmap(torch.einsum("nk,nkij->nij", w, A), size, x)

    return over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


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
        batch_size: pictures at once.
        progress: True, or a callback ``(done, total)``.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer keeps no map of the picture, or the score does not depend on it.

    Source: Jiang et al., 2021, "LayerCAM: exploring hierarchical class activation maps", IEEE TIP 30.
    Differs from the paper: no tanh scaling of the early layers' maps; maps are never scaled here.
    """
    _check_size(size)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        A, dY_dA = _maps_and_gradient(model, layer, x, c)
        return _heatmap((dY_dA.relu() * A).sum(dim=1), size, x)

    return over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


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
    r"""HiResCAM: gradient times activation, place by place, so that nothing shows that the network did not use.

    .. math:: L^c_{ij} = \mathrm{ReLU}\Big(\sum_k \frac{\partial Y^c}{\partial A^k_{ij}} A^k_{ij}\Big)

    With a single linear layer on the maps, the sum over all places before the ReLU is the logit less the bias.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        batch_size: pictures at once.
        progress: True, or a callback ``(done, total)``.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer keeps no map of the picture, or the score does not depend on it.

    Source: Draelos and Carin, 2020, "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891.
    Differs from the paper: rectified, as the whole family is.
    """
    _check_size(size)

    def of(x: Tensor, c: Tensor | None) -> Tensor:
        A, dY_dA = _maps_and_gradient(model, layer, x, c)
        return _heatmap((dY_dA * A).sum(dim=1), size, x)

    return over_images(of, model, images, targets, batch_size=batch_size, progress=progress)


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
    r"""Score-CAM: a map counts for as much as the score keeps when only what it lights up is shown; no gradients.

    .. math:: H_k = \frac{U(A^k) - \min U(A^k)}{\max U(A^k) - \min U(A^k)}, \qquad
              \alpha_k = \mathrm{softmax}_k\big(Y^c(x \odot H_k) - Y^c(0)\big), \qquad
              L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big)

    U resizes a map to the picture, bilinearly. This is the paper's algorithm 1: the *softmax over the channels* of the
    increase of the *logit*. The black picture's Y(0) is the same for all and cancels. One forward pass a channel.

    Args:
        model: a network.
        images: (N, 3, H, W) or (3, H, W), RGB in [0, 1].
        targets: class number or name, a list or tensor of them, or None for the predicted class.
        layer: one of `model.layers`, a name of `named_modules()` or the module; by default the last spatial layer.
        size: "image", a size in pixels, or None for the map at the layer's resolution.
        fast: bfloat16 inside the network.
        batch_size: passes at once.
        progress: True, or a callback ``(done, total)`` in passes.

    Returns:
        Heatmaps (N, H, W), not negative.

    Raises:
        ValueError: if the layer keeps no map of the picture.

    Source: Wang et al., 2020, "Score-CAM: score-weighted visual explanations", arXiv 1910.01279.
    Differs from the paper: masked pixels are black, in pixel units; the authors' code masks the normalized picture (so
    with its mean color) and weighs by the probability, without a softmax over channels. torchcam scales the maps
    before it resizes them; pytorch-grad-cam resizes with ``align_corners=True``.
    """
    _check_size(size)
    _check_network(model)
    x, single = check_images(model, images)
    c = predicted(model, x, check_targets(model, targets, x), batch_size)
    A = over_images(lambda x, _: _spatial(activations.activation(model, layer, x)[0]), model, x, batch_size=batch_size)
    rows, columns = (F.interpolate(torch.eye(A.shape[d]).to(A)[None], x.shape[d], mode="linear")[0].mT for d in (2, 3))

    def of(x: Tensor, c: Tensor, k: Tensor, A: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # fast=True is for the network, not for the masks
            U = rows @ A[torch.arange(len(k)), k] @ columns.mT  # faster than `interpolate`
        U = U - U.amin(dim=(1, 2), keepdim=True)
        H = U / U.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(U.dtype).tiny)  # a flat map lights up nothing
        return score(logits(model, x * H[:, None]), c)

    Y = over_passes(of, A.shape[1], model, x, c, per_image=(A,), fast=fast, batch_size=batch_size, progress=progress)
    alpha = Y.to(A.dtype).softmax(dim=1)
    L = _heatmap(torch.einsum("nk,nkij->nij", alpha, A), size, x)
    return L[0] if single else L


def bounding_box(heatmaps: Tensor, threshold: float = 0.2) -> Tensor:
    """The box around the largest connected part of a heatmap that is above a share of its maximum.

    A pixel belongs where M >= threshold * max M and M > 0; pixels that touch, also at a corner, are connected.

    Args:
        heatmaps: (N, H, W) or (H, W).
        threshold: the share of the map's maximum, from 0 to 1; the paper's 20 % by default.

    Returns:
        Boxes x1, y1, x2, y2 in pixels as a LongTensor (N, 4) or (4,): from the left and top edge of the first pixel to
        the right and bottom edge of the last, so that x2 - x1 is the width. All zeros where nothing is above zero.

    Raises:
        ValueError: if the shape, the values or the threshold are not those of heatmaps.

    Source: Zhou et al., 2016, arXiv 1512.04150, section 3.2.
    """
    from skimage.measure import label

    at_least("threshold", threshold, 0, 1)
    if not isinstance(heatmaps, Tensor) or heatmaps.ndim not in (2, 3) or not torch.isfinite(heatmaps).all():
        raise ValueError("heatmaps must be a finite tensor (N, H, W) or (H, W): a method of cam or occlusion gives one")
    boxes = []
    for M in heatmaps.detach().reshape(-1, *heatmaps.shape[-2:]).cpu():
        on = (threshold * M.max() <= M) & (M > 0)
        if not on.any():
            boxes.append([0, 0, 0, 0])
            continue
        parts = torch.from_numpy(label(on.numpy(), connectivity=2))
        largest = parts.flatten().bincount()[1:].argmax() + 1
        i, j = torch.where(parts == largest)
        boxes.append([int(j.min()), int(i.min()), int(j.max()) + 1, int(i.max()) + 1])
    return torch.tensor(boxes).reshape(*heatmaps.shape[:-2], 4)
