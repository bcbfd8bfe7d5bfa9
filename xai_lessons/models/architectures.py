"""The architectures of the built-in networks: residual, VGG-like with a fully-connected head, and a detector.

All take normalized images; `models.Classifier` and `models.Detector` add the normalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core.inputs import closest


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them: relu(F(x) + x) (He et al., 2015, arXiv:1512.03385).

    Differs from the paper: a map is halved by average pooling, and all convolutions have stride 1; a strided
    convolution skips pixels, which leaves a checkerboard in every gradient map.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        pool: whether to halve height and width first.
        residual: False omits the shortcut, for a plain network of the same depth.
    """

    def __init__(self, inputs: int, outputs: int, pool: bool = False, residual: bool = True) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2) if pool else nn.Identity()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block for (N, C, H, W)."""
        x = self.pool(x)
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x) if self.residual else y)


class ResNet(nn.Module):
    """A small residual network: stem, stages, global average pooling, one linear head.

    Args:
        classes: number of classes.
        stem: kernel size and stride of the first convolution.
        widths: channels of the stem and of each stage.
        blocks: residual blocks in each stage.
        pools: whether each stage halves the map.
        residual: False builds the plain network of the same depth.
    """

    def __init__(
        self,
        classes: int = 10,
        stem: tuple[int, int] = (6, 2),
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1),
        pools: Sequence[bool] = (True, True, False),
        residual: bool = True,
    ) -> None:
        super().__init__()
        kernel, stride = stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], kernel, stride, (kernel - stride + 1) // 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        for s, (width, count, pool) in enumerate(zip(widths[1:], blocks, pools, strict=True)):
            inside = [Block(widths[s], width, pool, residual)]
            inside += [Block(width, width, residual=residual) for _ in range(count - 1)]
            setattr(self, f"stage{s + 1}", nn.Sequential(*inside))
        self.layers = ("stem", *(f"stage{s + 1}" for s in range(len(blocks))))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(widths[-1], classes)
        self.flat_layers = ("pool", "head")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of normalized images (N, 3, H, W)."""
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return self.head(self.flatten(self.pool(x)))


class Vgg(nn.Module):
    """A small VGG-like network: convolutions, max pooling, a fully-connected head (arXiv:1409.1556).

    Args:
        classes: number of classes.
        input_size: height and width of the images; the fully-connected head works for one size only.
        stem: kernel size and stride of the first convolution.
        stages: the channels of each convolution of each stage.
        pools: whether each stage begins with max pooling.
        hidden: units of the hidden layer.
        norm: whether batch normalization follows each convolution.
        dropout: fraction of hidden units dropped in training.
    """

    def __init__(
        self,
        classes: int = 10,
        input_size: int = 96,
        stem: tuple[int, int] = (5, 2),
        stages: Sequence[Sequence[int]] = ((24,), (48,), (64,), (96,)),
        pools: Sequence[bool] = (False, False, True, True),
        hidden: int = 96,
        norm: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        inputs, size, (kernel, stride) = 3, input_size, stem
        for s, (widths, pool) in enumerate(zip(stages, pools, strict=True)):
            inside: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
            size //= 2 if pool else 1
            for width in widths:
                inside.append(nn.Conv2d(inputs, width, kernel, stride, kernel // 2, bias=not norm))
                inside += [nn.BatchNorm2d(width)] if norm else []
                inside.append(nn.ReLU())
                inputs, size, (kernel, stride) = width, size // stride, (3, 1)
            setattr(self, f"stage{s + 1}", nn.Sequential(*inside))
        self.layers = tuple(f"stage{s + 1}" for s in range(len(stages)))
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(nn.Linear(inputs * (size // 2) ** 2, hidden), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)
        self.flat_layers = ("hidden", "head")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of normalized images (N, 3, H, W)."""
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return self.head(self.dropout(self.hidden(self.flatten(self.pool(x)))))


class CenterDetector(nn.Module):
    """A one-stage detector: each place of its last map predicts class logits and the distances to a box's four edges.

    With a place's center (x, y) and its distances l, t, r, b >= 0 the box is (x - l, y - t, x + r, y + b), in pixels.

    Args:
        classes: number of classes.
        width: channels of the two convolutions before the outputs.
        dilations: of these two: with (2, 4) each place sees the whole image (Chen et al., 2021, arXiv:2103.09460).
        backbone: arguments of `ResNet`, of which the stem and the stages are used.

    Source: Tian, Shen, Chen, He, 2019, "FCOS: fully convolutional one-stage object detection", arXiv 1904.01355.
    Differs from the paper: one map instead of five, and no centerness: only places near the middle of an object learn
    its box.
    """

    STRIDE = 8  # pixels between two places
    UNIT = 16.0  # pixels per unit of a predicted distance

    def __init__(self, classes: int = 10, width: int = 64, dilations: Sequence[int] = (2, 4), **backbone: Any) -> None:
        super().__init__()
        self.backbone = ResNet(classes, **backbone)
        channels = self.backbone.head.in_features
        del self.backbone.pool, self.backbone.flatten, self.backbone.head  # which answer for the whole image
        convolutions: list[nn.Module] = []
        for inside, d in zip((channels, width), dilations, strict=True):
            convolution = nn.Conv2d(inside, width, 3, padding=d, dilation=d, bias=False)
            convolutions += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        self.neck = nn.Sequential(*convolutions)
        self.class_head, self.box_head = nn.Conv2d(width, classes, 1), nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.class_head.weight, std=0.01)
        nn.init.constant_(
            self.class_head.get_parameter("bias"), -4.0
        )  # at first nothing is an object, which is nearly right
        self.layers = (*(f"backbone.{name}" for name in self.backbone.layers), "neck")
        self.flat_layers = ()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, M, 4) in pixels and class logits (N, M, K) of normalized images, one for each of M places."""
        for name in self.backbone.layers:
            x = self.backbone.get_submodule(name)(x)
        x = self.neck(x)
        distances = F.softplus(self.box_head(x)).flatten(2).transpose(1, 2) * self.UNIT
        boxes = self.centers(x.shape[-2], x.shape[-1]).to(x).repeat(1, 2) + distances * x.new_tensor([-1, -1, 1, 1])
        return boxes, self.class_head(x).flatten(2).transpose(1, 2)

    def centers(self, height: int, width: int) -> Tensor:
        """The center (x, y) in pixels of each place of a map of that size, (height * width, 2), row by row.

        Args:
            height: of the map.
            width: of the map.

        Returns:
            (height * width, 2).
        """
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return (torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5) * self.STRIDE


ARCHITECTURES: dict[str, type[nn.Module]] = {"ResNet": ResNet, "Vgg": Vgg, "CenterDetector": CenterDetector}
DETECTORS = ("CenterDetector",)  # find boxes; all others classify

# What differs from the defaults in the CIFAR-10 networks.
CIFAR_RESNET: dict[str, Any] = {"stem": (3, 1), "widths": (16, 16, 48, 96), "blocks": (3, 3, 3)}
CIFAR_VGG: dict[str, Any] = {"input_size": 32, "stem": (3, 1), "hidden": 128, "norm": True}
CIFAR_VGG["stages"] = ((32, 32), (64, 64), (128, 128))
CIFAR_RESNET["pools"] = CIFAR_VGG["pools"] = (False, True, True)


def build(architecture: str, **arguments: Any) -> nn.Module:
    """Build an architecture by its name.

    Args:
        architecture: "ResNet", "Vgg" or "CenterDetector".
        arguments: its arguments.

    Returns:
        A network with random weights.

    Raises:
        ValueError: if there is no such architecture.

    Example:
        >>> build("Vgg", classes=5).head.out_features
        5
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"there is no architecture {architecture!r}: did you mean {closest(architecture, ARCHITECTURES)}?"
        )
    return ARCHITECTURES[architecture](**arguments)
