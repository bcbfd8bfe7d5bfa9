"""LayerExplorer: every control, the shown code, and what stands on the screen."""

import numpy as np
import pytest
import torch

from sweep import check_code, sweep
from xai_lessons import plots
from xai_lessons.explorers import LayerExplorer as Whole
from xai_lessons.models import anatomy
from xai_lessons.results import histories


class LayerExplorer(Whole):
    """On a smaller screen, to be quick."""

    screen = 64


def network(architecture: str):
    model = histories.fresh(architecture, size=32).eval().requires_grad_(False)
    model.name = architecture
    return model


@pytest.fixture(scope="module")
def resnet():
    return network("ResNet")


@pytest.fixture(scope="module")
def vgg():
    return network("Vgg")


@pytest.fixture
def explorer(resnet, vgg):
    return LayerExplorer("cat", networks=[resnet, vgg])


def test_every_control_changes_the_arrays_it_says(explorer):
    starts = {"seed": {"background": "any"}, "strongest": {"layer": "stage3.0.conv1", "channel": 1}}
    every = "another background channel layer network picture pose seed shared strongest tag tree"
    assert sweep(explorer, starts=starts) == set(every.split())


@pytest.mark.parametrize(
    "name", ["stem.0", "stem.2", "stage1.0.pool", "stage1.0.conv2", "stage2.0", "pool", "flatten", "head"]
)
def test_the_shown_code_gives_the_same_arrays(explorer, name):
    explorer.set(layer=name)
    check_code(explorer)


def test_every_layer_of_both_networks_can_be_looked_at(explorer, resnet, vgg):
    for model in (resnet, vgg):
        explorer.set(network=model.name)
        for name in anatomy.names(model):
            result = explorer.set(layer=name)
            assert result.activation.shape[0] == result.facts.shape[0]
            panels = explorer.panels(result, explorer.state)
            assert all(plots.pixels(panel.image).std() > 0 for panel in panels)
            assert explorer.describe(result, explorer.state).startswith(name)


def test_a_channel_beyond_the_last_moves_to_the_last(explorer):
    explorer.set(layer="stage3.0", channel=127)
    explorer.set(layer="stem.0")
    assert explorer.state.channel == 15
    with pytest.raises(ValueError, match="got 16"):
        explorer.set(channel=16)


def test_a_relu_shows_what_came_in(explorer):
    result = explorer.set(layer="stem.2", channel=3)
    assert np.array_equal(np.maximum(result.incoming, 0), result.map)
    assert result.weights is None


def test_a_convolution_shows_its_filter(explorer, resnet):
    result = explorer.set(layer="stage1.0.conv1", channel=5)
    assert np.array_equal(result.weights, resnet.network.stage1[0].conv1.weight[5].numpy())
    assert result.incoming is None


def test_the_frame_is_what_the_brightest_place_sees(explorer, resnet):
    result = explorer.set(layer="stage1.0", channel=2)
    at = np.unravel_index(result.map.argmax(), result.map.shape)
    assert result.box == anatomy.receptive_field(resnet, "stage1.0", tuple(map(int, at)))


def test_the_strongest_channel_is_the_one_with_the_largest_number(explorer):
    explorer.set(layer="stage2.0", channel=0)
    explorer.press("strongest").done.wait(30)
    result = explorer.result
    assert result.map.max() == result.activation.max()


def test_the_head_shows_the_logits_by_their_classes(explorer, resnet):
    result = explorer.set(layer="head")
    with torch.no_grad():
        logits = resnet(torch.from_numpy(result.image)[None])[0]
    assert np.allclose(result.activation[:, 0, 0], logits.numpy(), atol=1e-5)
    assert "umbrella" in explorer.panels(result, explorer.state)[-1].alt or len(resnet.classes) == 10


def test_the_caption_names_an_orange_bar_only_where_there_is_one(explorer, vgg):
    values = explorer.set(network=vgg.name, layer="hidden.0").activation[:, 0, 0]
    for channel, among in ((int(values.argmax()), True), (int(values.argmin()), False)):
        result = explorer.set(channel=channel)
        caption = explorer.panels(result, explorer.state)[-1].caption
        assert caption.startswith("Orange: channel") == among
        assert ("not among them" in caption) != among
