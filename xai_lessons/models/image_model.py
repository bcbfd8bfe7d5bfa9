"""`ImageModel`: what all networks that take images in [0, 1] share: normalization, names, and `prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import inputs


class ImageModel(nn.Module):
    """A network of RGB images in [0, 1]; the normalization is inside.

    Args:
        network: takes normalized images (N, 3, H, W).
        classes: the K names.
        mean: subtracted from each color channel.
        std: divides each color channel.
        input_size: height and width of the images that the network was trained on.
        layers: names of the layers with a spatial map, in order.
        flat_layers: names of the layers after them.
        name: the network's name.
        fixed_size: whether it accepts only images of `input_size`.
        layout: of the normalized images; a network that calls `view` on its maps needs `torch.contiguous_format`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int,
        layers: Sequence[str],
        flat_layers: Sequence[str] = (),
        name: str = "network",
        fixed_size: bool = False,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.network = network
        self.classes, self.layers, self.flat_layers = tuple(classes), tuple(layers), tuple(flat_layers)
        self.input_size, self.name = input_size, name
        self.fixed_size, self.layout = fixed_size, layout
        device, dtype = inputs.device_of(network)
        for key, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(tuple(values), device=device, dtype=dtype).reshape(1, 3, 1, 1)
            self.register_buffer(key, constant, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """What the network inside takes: images (N, 3, H, W) in [0, 1], normalized, in its memory layout.

        Args:
            images: (N, 3, H, W) in [0, 1].

        Returns:
            Of the same shape.

        Raises:
            ValueError: if the network takes images of one size only, and these have another.
        """
        if self.fixed_size and images.shape[-2:] != (self.input_size, self.input_size):
            raise ValueError(
                f"{self.name} takes images of {self.input_size} x {self.input_size} pixels, got "
                f"{images.shape[-2]} x {images.shape[-1]}: use model.prepare(image)"
            )
        x = (images - self.mean) / self.std  # faster in the default layout; convolutions are faster in channels last
        return x.contiguous(memory_format=self.layout)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network."""
        return self.mean.dtype

    def class_index(self, target: int | str) -> int:
        """The number of a class.

        Args:
            target: its number or its name.

        Returns:
            Its number, from 0.

        Raises:
            ValueError: if there is no such class; it names the closest ones.
        """
        return inputs.class_index(self.classes, target)

    def prepare(self, image: Any, fit: str = "crop") -> Tensor:
        """Crop and resize an image for the network. Explanations are then about this prepared image.

        Args:
            image: a tensor (3, H, W) in [0, 1], a Pillow image, or an array (H, W, 3) of bytes.
            fit: "crop" scales the short side and cuts out the center; "squash" scales both sides.

        Returns:
            (3, input_size, input_size), float32, RGB in [0, 1].

        Raises:
            ValueError: if it is not an image or ``fit`` is unknown.
        """
        if fit not in ("crop", "squash"):
            raise ValueError(f"fit must be 'crop' or 'squash', got {fit!r}")
        if hasattr(image, "convert"):
            image = np.array(image.convert("RGB"))
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(image)
            if image.ndim == 3 and image.shape[-1] == 3 and image.dtype == torch.uint8:
                image = image.permute(2, 0, 1).float() / 255
        batch, single = inputs.check_images(None, image)
        if not single:
            raise ValueError(f"prepare takes one image (3, H, W), got {tuple(image.shape)}")
        size, (h, w) = self.input_size, batch.shape[-2:]
        if fit == "crop":  # cut first: scaling a very long image first would need a lot of memory
            side = min(h, w)
            batch = batch[..., (h - side) // 2 :, (w - side) // 2 :][..., :side, :side]
        if batch.shape[-2:] != (size, size):
            to = (size, size)
            batch = F.interpolate(batch.float(), size=to, mode="bilinear", antialias=True, align_corners=False)
        return batch[0].clamp(0, 1).float().contiguous()
