"""InversionExplorer and FilterExplorer: every control, the shown code, the picture as it forms, and Stop."""

import numpy as np
import pytest
import torch
from torch import nn

from sweep import check_code, sweep
from xai_lessons import models
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import menagerie
from xai_lessons.explorers import FilterExplorer as WholeFilters
from xai_lessons.explorers import InversionExplorer as WholeInversion
from xai_lessons.explorers import inversion as of_inversion
from xai_lessons.explorers.inversion import STEPS
from xai_lessons.explorers.kit import Reporter
from xai_lessons.methods import inversion

SIZE = 32


class InversionExplorer(WholeInversion):
    """On a smaller screen, to be quick."""

    screen = 64


class FilterExplorer(WholeFilters):
    """On a smaller screen, to be quick."""

    screen = 64


def small_network(seed: int = 0) -> models.Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, len(menagerie.CLASSES)),
        )
    model = models.wrap(net, classes=menagerie.CLASSES, input_size=SIZE, layers=("1", "3"))
    model.name = f"small-{seed}"
    return model


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return small_network()


@pytest.fixture(scope="module")
def other() -> models.Classifier:
    return small_network(1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Sliders of few steps: a sweep goes through all their positions."""
    monkeypatch.setattr("xai_lessons.explorers.inversion.STEPS", (2, 4))
    assert STEPS[-1] > 4


def test_every_control_of_inversion_changes_the_arrays_it_says(model, other):
    explorer = InversionExplorer("cat", networks=[model, other], layer="1", steps=4, noise=1)
    sweep(explorer, starts={"seed": {"background": "any"}})
    assert explorer.state == explorer.initial


def test_every_control_of_filters_changes_the_arrays_it_says(model, other):
    explorer = FilterExplorer(networks=[model, other], layer="1", steps=4)
    sweep(explorer)
    assert explorer.state == explorer.initial


def test_the_layers_go_from_the_first_convolution_to_the_fully_connected_one(model):
    assert inversion.layers(model) == ("0", "1", "3", "4", "6")
    for name in ("menagerie-resnet", "menagerie-vgg"):
        first, *rest = inversion.layers(models.load(name))
        built_in = models.load(name)
        assert tuple(rest) == (*built_in.layers, *built_in.flat_layers)
        assert isinstance(dict(built_in.network.named_modules())[first], nn.Conv2d)


@pytest.mark.parametrize("layer", ["0", "1", "3", "4", "6"])
def test_every_layer_can_be_inverted_and_its_code_gives_the_same(model, layer):
    explorer = InversionExplorer("dog", model, layer=layer, steps=4)
    result = explorer.result
    expected = inversion.invert(model, explorer.image(explorer.state), layer=layer, steps=4, tv=0.2)
    assert np.array_equal(result.found, expected.images.numpy())
    assert np.array_equal(result.losses, expected.losses.numpy())
    check_code(explorer, tolerance=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs"])
def test_each_optimizer_and_its_code(model, optimizer):
    explorer = InversionExplorer("bird", model, layer="1", optimizer=optimizer, steps=4, jitter=2, noise=3)
    assert f"optimizer={optimizer!r}" in explorer.code(explorer.state)
    check_code(explorer, tolerance=1e-5)


def test_each_parametrization_and_its_code(model):
    for parametrization in ("pixels", "fourier"):
        search = {"layer": "1", "steps": 4, "parametrization": parametrization}
        explorer = InversionExplorer("bird", model, **search)
        expected = inversion.invert(model, explorer.image(explorer.state), tv=0.2, **search)
        assert np.array_equal(explorer.result.found, expected.images.numpy())
        check_code(explorer, tolerance=1e-5)
        filters = FilterExplorer(network=model, channel=2, **search)
        assert np.array_equal(filters.result.found, inversion.maximize(model, 2, jitter=4, **search).images.numpy())
        check_code(filters, tolerance=1e-5)


def test_the_mean_code_of_several_pictures(model):
    explorer = InversionExplorer("fish", model, layer="3", pictures=3, steps=4, seed=2, background="sea")
    result = explorer.result
    seeds = torch.stack(
        [menagerie.draw("fish", s, SIZE, background="sea", tree=False, tag=False).image for s in (2, 3, 4)]
    )
    assert np.array_equal(result.images, seeds.numpy())
    expected = inversion.invert(model, seeds, layer="3", mean=True, steps=4, tv=0.2)
    assert np.array_equal(result.found, expected.images.numpy())
    assert "mean code of 3 drawings" in explorer.describe(result, explorer.state)
    assert "3 drawings like" in explorer.panels(result, explorer.state)[0].alt
    check_code(explorer, tolerance=1e-6)


def test_a_photograph_has_no_class_to_take_more_of(model):
    explorer = InversionExplorer(torch.rand(3, 40, 40), model, layer="1", steps=2, pictures=5)
    assert len(explorer.result.images) == 1
    check_code(explorer, tolerance=1e-6)


def test_the_distance_is_that_of_the_codes(model):
    explorer = InversionExplorer("car", model, layer="1", steps=4, tv=0.0)
    result = explorer.result
    with torch.no_grad():
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        ours, theirs = (
            model.network[:2]((torch.as_tensor(x)[None] - mean[:, None, None]) / std[:, None, None])
            for x in (result.found, result.images[0])
        )
    expected = float((ours - theirs).square().sum() / theirs.square().sum())
    assert result.distance == pytest.approx(expected, rel=1e-4)
    assert result.distance < result.losses[0]


def test_the_picture_is_shown_as_it_forms(model, monkeypatch):
    monkeypatch.setattr("xai_lessons.explorers.kit.worker.PAUSE", 0.0)
    monkeypatch.setattr("xai_lessons.explorers.inversion.STEPS", (2, 4, 12))
    explorer = InversionExplorer("cat", model, layer="1", steps=12)
    forming = []
    last = explorer.compute(explorer.state, Reporter(None, forming.append))
    assert len(forming) == 12
    assert not np.array_equal(forming[0].found, last.found)
    assert len(last.losses) == 12
    for result in forming:  # each can be shown
        assert len(result.steps) == len(result.losses)
        assert explorer.panels(result, explorer.state)[0].alt
    assert [len(result.losses) for result in forming] == list(range(1, len(forming) + 1))


@pytest.mark.parametrize("make", [InversionExplorer, FilterExplorer])
def test_what_progress_raises_ends_the_descent(model, make):
    explorer = make(network=model, layer="1", steps=4)
    steps = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        explorer.compute(explorer.state, Reporter(stop))
    assert steps == [1, 2]
    assert not any(module._forward_hooks for module in model.modules())


def test_the_screen_tells_a_descent_in_rungs(model):
    explorer = InversionExplorer("cat", model, layer="1", steps=2)
    result = explorer.result
    rung = min(r for r in of_inversion.RUNGS if result.distance < r)
    assert f"fell below {rung:g};" in explorer.describe(result, explorer.state)


@pytest.mark.parametrize(
    ("layer", "where"), [("0", "center"), ("3", "everywhere"), ("4", "everywhere"), ("classes", "everywhere")]
)
def test_a_channel_and_its_code(model, layer, where):
    explorer = FilterExplorer(network=model, layer=layer, channel=5, where=where, steps=4)
    result = explorer.result
    assert (result.weights is not None) == (layer == "0")
    check_code(explorer, tolerance=1e-6)
    titles = [panel.title for panel in explorer.panels(result, explorer.state)]
    assert titles[-1] == ("Logit" if layer == "classes" else "Activation")


def test_answers_to_drawings_are_those_of_the_network(model):
    explorer = FilterExplorer(network=model, layer="classes", channel=3, steps=2)
    result = explorer.result
    drawings = torch.stack([menagerie.draw(name, 0, SIZE).image for name in menagerie.CLASSES])
    with torch.no_grad():
        assert np.allclose(result.drawn, model(drawings)[:, 3].numpy(), atol=1e-5)
        assert result.activation == pytest.approx(float(model(torch.tensor(result.found)[None])[0, 3]), abs=1e-5)


def test_the_filter_as_a_picture_is_the_weights(model):
    explorer = FilterExplorer(network=model, layer="0", channel=4, steps=2)
    assert np.array_equal(explorer.result.weights, model.network[0].weight[4].detach().numpy())


def test_the_next_channel_comes_round_again(model):
    explorer = FilterExplorer(network=model, layer="1", channel=5, steps=2)
    explorer.press("next").done.wait(30)
    assert explorer.state.channel == 0


def test_a_layer_that_has_fewer_channels_repairs_the_channel(model):
    explorer = FilterExplorer(network=model, layer="classes", channel=9, steps=2)
    explorer.set(layer="1")
    assert explorer.state.channel == 5


def test_a_channel_that_is_not_there_is_refused(model):
    with pytest.raises(ValueError, match="must be an integer from 0 to 5"):
        FilterExplorer(network=model, layer="1", channel=6)
