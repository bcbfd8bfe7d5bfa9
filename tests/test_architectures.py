"""The architectures of the built-in architectures."""

import pytest
import torch
from torch import nn

from xai_lessons.models import architectures


@pytest.mark.parametrize(
    ("architecture", "arguments", "size"),
    [
        ("ResNet", {}, 96),
        ("Vgg", {}, 96),
        ("ResNet", architectures.CIFAR_RESNET, 32),
        ("Vgg", architectures.CIFAR_VGG, 32),
        ("ResNet", {"residual": False}, 96),
    ],
)
def test_pictures_in_logits_out_and_every_named_layer_is_there(architecture, arguments, size):
    network = architectures.build(architecture, **arguments).eval()
    seen = {}
    for name in (*network.layers, *network.flat_layers):
        network.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o.shape}))
    assert network(torch.rand(2, 3, size, size)).shape == (2, 10)
    assert list(seen) == [*network.layers, *network.flat_layers]
    maps = [seen[name][-1] for name in network.layers]
    assert maps == sorted(maps, reverse=True)
    assert maps[-1] > 1


def test_the_resnet_sees_12_by_12_places_and_stays_small():
    network = architectures.build("ResNet").eval()
    assert network.get_submodule("stage3")(torch.rand(1, 64, 12, 12)).shape == (1, 128, 12, 12)
    assert sum(p.numel() for p in network.parameters()) * 2 < 1e6  # half precision
    for arguments in (architectures.CIFAR_RESNET, {}):
        assert sum(p.numel() for p in architectures.build("ResNet", **arguments).parameters()) * 2 < 2e6


def test_no_convolution_but_the_stem_skips_pixels():
    network = architectures.build("ResNet", **architectures.CIFAR_RESNET)
    assert all(m.stride == (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))


def test_the_block_adds_what_came_in_and_the_plain_one_does_not():
    x = torch.rand(1, 4, 6, 6)
    for residual in (True, False):
        block = architectures.Block(4, 4, residual=residual).eval()
        nn.init.zeros_(block.norm2.weight)
        assert torch.equal(block(x), x if residual else torch.zeros_like(x))
    assert architectures.Block(4, 8, pool=True)(x).shape == (1, 8, 3, 3)


def test_the_vgg_takes_pictures_of_one_size():
    with pytest.raises(RuntimeError, match="shapes"):
        architectures.build("Vgg")(torch.rand(1, 3, 64, 64))


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="no architecture 'Inception': did you mean 'ResNet', 'Vgg'"):
        architectures.build("Inception")
