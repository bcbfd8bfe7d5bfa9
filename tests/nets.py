"""Small networks for the tests: pixels in, logits out, seeded, with the constructions that trip methods up."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection as zoo
from torchvision.models.detection import faster_rcnn

from xai_lessons import menagerie, models
from xai_lessons.models import architectures


class PoolingNet(nn.Module):
    """Batch norm, in-place, reused and functional ReLUs, a residual sum, dropout; a linear head on average pooling."""

    def __init__(self, classes: int = 5, width: int = 6) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) to logits."""
        x = self.relu(self.norm(self.conv1(x)))
        y = F.relu(self.conv2(x))
        x = self.relu(self.conv3(y) + x)  # the same ReLU a second time
        x = self.last(x)
        return self.head(self.dropout(x.mean(dim=(2, 3))))


class FlatNet(nn.Module):
    """Max-pooling (overlapping, padded, ceil mode) and a fully-connected head, for pictures of one size."""

    def __init__(self, classes: int = 5, width: int = 6, size: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        side = self.pool(self.pool(torch.zeros(1, 1, size, size))).shape[-1]
        self.fc1 = nn.Linear(width * side * side, 16)
        self.fc2 = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, 3, size, size) to logits."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(self.fc1(x.flatten(1)).relu_())


def seeded(make: type[nn.Module], seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    """A network with random weights and batch-norm statistics, the same each time, in eval mode.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make(**options)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
    return net.to(dtype).eval()


def pictures(n: int = 3, size: int = 16, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random pictures (n, 3, size, size) in [0, 1]."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small_network(seed: int = 0, size: int = 48, std: float = 2.0, pooling: bool = True) -> models.Classifier:
    """Two convolutions and a head on average pooling, or on a map of 4 x 4, for the classes of the menagerie."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = [nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()]
        side = 1 if pooling else 4
        net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(12 * side**2, 10))
        nn.init.normal_(net[6].weight, std=std)
    name = f"small-{seed}{'' if pooling else '-flat'}"
    return models.wrap(net, menagerie.CLASSES, input_size=size, layers=("1", "3"), name=name)


def one_layer_network(seed: int = 0, size: int = 48, classes: tuple[str, ...] = menagerie.CLASSES) -> models.Classifier:
    """One convolution and a head on a map of 4 x 4."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        net = nn.Sequential(layers, nn.Linear(128, len(classes)))
        nn.init.normal_(net[1].weight, std=1.0)
    return models.wrap(net, classes, input_size=size, name=f"small-{seed}")


_SMALL: dict[str, Any] = {"width": 4, "stem": (4, 4), "widths": (4, 6, 6), "blocks": (1, 1), "pools": (True, False)}
BOX_CLASSES = ("background", "cat", "dog")
_SIZES: dict[str, Any] = {"min_size": 32, "max_size": 32, "image_mean": (0.5,) * 3, "image_std": (0.25,) * 3}


def small_detector(seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any) -> models.Detector:
    """A small detector with random weights, so sure of itself that it finds boxes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architectures.build("CenterDetector", classes=3, **_SMALL, **options)
        nn.init.normal_(network.class_head.weight, std=2)
        nn.init.zeros_(network.class_head.bias)
    model = models.Detector(network.to(dtype).eval(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32)
    return model.requires_grad_(False)


class Backbone(nn.Module):
    """Two layers for a detector of torchvision's."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, 8, H / 8, W / 8)."""
        return torch.tanh(self.second(torch.tanh(self.first(x))))


def _anchors() -> nn.Module:
    return zoo.anchor_utils.AnchorGenerator(((12,),), ((1.0,),))


def torchvision_detector(kind: str) -> nn.Module:
    """A tiny detector of one of torchvision's families that finds a few boxes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "FasterRCNN":
            pool = torchvision.ops.MultiScaleRoIAlign(["0"], output_size=3, sampling_ratio=2)
            head, predictor = faster_rcnn.TwoMLPHead(72, 8), faster_rcnn.FastRCNNPredictor(8, len(BOX_CLASSES))
            parts = {"box_roi_pool": pool, "box_head": head, "box_predictor": predictor, "rpn_post_nms_top_n_test": 4}
            net = zoo.FasterRCNN(Backbone(), rpn_anchor_generator=_anchors(), **parts, **_SIZES)
        else:
            net = zoo.RetinaNet(
                Backbone(), len(BOX_CLASSES), anchor_generator=_anchors(), detections_per_img=5, **_SIZES
            )
            nn.init.zeros_(net.head.classification_head.cls_logits.bias)  # at first nothing is sure
            for layer in net.head.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=0.2)
    return net.eval().requires_grad_(False)


def slow_iou(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two boxes (4,)."""
    width = max(min(float(a[2]), float(b[2])) - max(float(a[0]), float(b[0])), 0)
    height = max(min(float(a[3]), float(b[3])) - max(float(a[1]), float(b[1])), 0)
    area = [(float(c[2]) - float(c[0])) * (float(c[3]) - float(c[1])) for c in (a, b)]
    return width * height / (area[0] + area[1] - width * height)
