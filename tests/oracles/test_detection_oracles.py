"""One box of a detector against captum, pytorch-grad-cam and the authors' formula of D-RISE in slow loops, float64."""

import math
import warnings

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency
from torch import Tensor

from nets import BOX_CLASSES, slow_iou, small_detector, torchvision_detector
from oracles.table import record_deviation, relative

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam

from xai_lessons import models
from xai_lessons.methods import cam, detection, occlusion, saliency

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_gradients_integrated_gradients_occlusion_and_grad_cam_of_a_box_are_captums() -> None:
    model, x = small_detector(), IMAGES[:1]
    box = detection.find_box(model, x[0])
    view = detection.box_view(model, x[0])

    def numbers(images: Tensor) -> Tensor:  # of the same candidate, without box_view
        boxes, logits = model.candidates(images)
        return torch.cat([logits[:, box.candidate, [box.label]], boxes[:, box.candidate]], dim=1)

    for k, output in enumerate(("score", "left", "top", "right", "bottom")):
        pairs = {
            "gradient": (
                saliency.gradient(view, x, output),
                Saliency(numbers).attribute(x.clone().requires_grad_(), k, abs=False),
            ),
            "integrated gradients": (
                saliency.integrated_gradients(view, x, output, steps=8),
                IntegratedGradients(numbers).attribute(x, target=k, n_steps=8, method="riemann_middle"),
            ),
            "occlusion": (
                occlusion.occlusion(view, x, output, patch=8, stride=8),
                Occlusion(numbers).attribute(x, (3, 8, 8), (3, 8, 8), target=k)[:, 0],
            ),
            "Grad-CAM": (
                cam.grad_cam(view, x, output, layer="neck", size=None),
                LayerGradCam(numbers, model.network.neck).attribute(x, k, relu_attributions=True)[:, 0],
            ),
        }
        for name, (ours, theirs) in pairs.items():
            value = relative(ours, theirs.detach())
            assert record_deviation(f"detection.box_view, {name}", "captum", value) < 1e-5, (name, output)


def test_grad_cam_of_a_box_of_torchvisions_detector_is_pytorch_grad_cams() -> None:
    net = torchvision_detector("FasterRCNN").double().requires_grad_(True)
    model, x = models.wrap_detector(net, BOX_CLASSES, 32), IMAGES[:1]
    box = detection.find_box(model, x[0])
    view = detection.box_view(model, x[0])
    targets = {"score": lambda found: found["scores"][box.candidate].logit()}
    targets["bottom"] = lambda found: found["boxes"][box.candidate, 3]
    targets["right"] = lambda found: found["boxes"][box.candidate, 2]
    inside = [name for k, name in ((2, "right"), (3, "bottom")) if 0 < float(box.corners[k]) < 32]
    for output in ["score", *inside]:
        with pytorch_grad_cam.GradCAM(net, [net.backbone.second]) as extractor:
            extractor(x.clone().requires_grad_(), [targets[output]])
            kept = extractor.activations_and_grads
            A, g = (each[0].detach().cpu().numpy() for each in (kept.activations, kept.gradients))
            theirs = torch.from_numpy(np.maximum(extractor.get_cam_image(x, None, None, A, g, False), 0))
        ours = cam.grad_cam(view, x, output, layer="backbone.second", size=None)
        reference = "pytorch-grad-cam (a target on boxes; its formula, float64)"
        assert record_deviation("detection.box_view, Grad-CAM", reference, relative(ours, theirs)) < 1e-5


def test_d_rise_is_the_authors_formula_in_slow_loops() -> None:
    """The mean of masks weighted by the largest IoU x cosine x objectness, divided by how much of a pixel is seen."""
    model, N, fraction = small_detector(), 6, 0.5
    maps = detection.d_rise(model, IMAGES, [None, "c"], samples=N, cells=4, fraction=fraction, seed=5)
    masks = occlusion.random_masks(N, 32, 32, cells=4, fraction=fraction, seed=5)
    for n, target in enumerate((None, "c")):
        box = detection.find_box(model, IMAGES[n], target)
        P_t = box.probabilities
        slow = torch.zeros(32, 32, dtype=torch.float64)
        for M in masks:
            found = model((IMAGES[n] * M)[None])[0]
            w = 0.0
            for L, P in zip(found.boxes, found.probabilities, strict=True):
                cosine = float(P_t @ P) / math.sqrt(float(P_t @ P_t) * float(P @ P))
                w = max(w, slow_iou(box.corners, L) * cosine * float(P.max()))
            slow += w * M / (fraction * N)
        assert record_deviation("detection.d_rise", "the authors' formula, slow loops", relative(maps[n], slow)) < 1e-9
