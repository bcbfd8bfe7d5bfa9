"""What layers are: against receptive fields worked out by hand, and against what an impulse really changes."""

import pytest
import torch
from torch import nn

from xai_lessons import models
from xai_lessons.models import anatomy
from xai_lessons.results import histories


@pytest.fixture(scope="module")
def resnet():
    return histories.fresh("ResNet", size=32).eval()


@pytest.fixture(scope="module")
def chain():
    """Known by hand: sees 3, then 4, then 4 + 2 * 2 = 8, then 8 + (3 - 1) * 2 = 12 pixels."""
    first = (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(inplace=True))
    net = nn.Sequential(*first, nn.Conv2d(5, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 144, 2))
    return models.wrap(net, input_size=24).eval()


@pytest.mark.parametrize(
    ("name", "kind", "shape", "parameters", "sees"),
    [
        ("0", "convolution", (4, 24, 24), 4 * 27 + 4, 3),
        ("1", "max-pooling", (4, 12, 12), 0, 4),
        ("2", "convolution", (5, 12, 12), 5 * 36 + 5, 8),
        ("3", "ReLU", (5, 12, 12), 0, 8),
        ("4", "convolution", (6, 12, 12), 6 * 45 + 6, 12),
        ("5", "flattening", (864,), 0, 24),
        ("6", "fully-connected layer", (2,), 1730, 24),
    ],
)
def test_by_hand(chain, name, kind, shape, parameters, sees):
    assert anatomy.layer(chain, name) == (name, kind, shape, parameters, (sees, sees))


@pytest.mark.parametrize("name", ["stem.0", "stage1.0.pool", "stage1.0.conv1", "stage1.0", "stage2.0.shortcut.0"])
@pytest.mark.parametrize("at", [(0, 0), (3, 2), (2, 3)])
def test_a_receptive_field_is_where_an_impulse_changes_something(resnet, name, at):
    twin = histories.fresh("ResNet", size=32).eval().double()
    with torch.no_grad():
        for p in twin.parameters():
            p.abs_().add_(0.01)  # all positive: no ReLU hides a change
    x0, y0, x1, y1 = anatomy.receptive_field(resnet, name, at)
    plain = torch.full((3, 32, 32), 0.9, dtype=torch.float64)
    pictures = plain.repeat(64, 1, 1, 1)
    for i in range(32):
        pictures[i, :, i, :] += 0.05  # a row
        pictures[32 + i, :, :, i] += 0.05  # a column
    before = anatomy.inside(twin, name, plain)[1][:, at[0], at[1]]
    changed = [bool((anatomy.inside(twin, name, p)[1][:, at[0], at[1]] - before).abs().max() > 1e-12) for p in pictures]
    assert [i for i in range(32) if changed[i]] == list(range(y0, y1))
    assert [i for i in range(32) if changed[32 + i]] == list(range(x0, x1))


def test_the_layers_come_in_the_order_of_the_forward_pass(resnet):
    names = anatomy.names(resnet)
    assert names[:3] == ("stem.0", "stem.1", "stem.2")
    assert names[-3:] == ("pool", "flatten", "head")
    assert names.index("stage1.0.conv2") < names.index("stage1.0") < names.index("stage2.0.conv1")
    assert "stage1" not in names, "a stage of one block is said once"
    assert anatomy.layer(resnet, "stage1.0").kind == "residual block"
    assert anatomy.layer(resnet, "stage1").shape == (32, 8, 8)


def test_without_shortcuts_a_block_is_called_so():
    assert (
        anatomy.layer(histories.fresh("ResNet", size=32, residual=False), "stage1.0").kind == "block without a shortcut"
    )


def test_inside_gives_what_goes_in_and_what_comes_out(chain):
    image = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    a, b = anatomy.inside(chain, "3", image)
    assert torch.equal(a.relu(), b)
    assert (a < 0).any(), "an in-place ReLU must not reach what came in"
    assert anatomy.channels(chain, "3") == 5


def test_nothing_is_left_behind(chain):
    chain.train()
    anatomy.layer(chain, "2")
    anatomy.inside(chain, "2", torch.rand(3, 24, 24))
    assert all(m.training for m in chain.modules())
    assert not any(m._forward_hooks for m in chain.modules())
    assert all(p.grad is None for p in chain.parameters())
    chain.eval()


def test_a_layer_that_is_not_there(resnet):
    with pytest.raises(ValueError, match="no layer 'stage9'"):
        anatomy.layer(resnet, "stage9")
