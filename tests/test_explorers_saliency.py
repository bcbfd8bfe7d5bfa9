"""SaliencyExplorer, PathExplorer and SanityExplorer: every control, the shown code, and what stands on the screen."""

import numpy as np
import pytest
import torch
from torch import nn

from sweep import check_code, sweep
from xai_lessons import evaluation, models, plots
from xai_lessons.data import menagerie
from xai_lessons.explorers import PathExplorer as WholePath
from xai_lessons.explorers import SaliencyExplorer as WholeSaliency
from xai_lessons.explorers import SanityExplorer as WholeSanity
from xai_lessons.explorers.kit import Reporter, Touch
from xai_lessons.explorers.saliency import METHODS
from xai_lessons.explorers.sanity import METHODS as SANITY_METHODS
from xai_lessons.methods import saliency

SIZE = 32


class SaliencyExplorer(WholeSaliency):
    """On a smaller screen, to be quick."""

    screen = 64


class PathExplorer(WholePath):
    """On a smaller screen, to be quick."""

    screen = 64


class SanityExplorer(WholeSanity):
    """On a smaller screen, to be quick."""

    screen = 64


def small_network(seed: int = 0, activation: type[nn.Module] = nn.ReLU) -> models.Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 5, 2, 2),
            activation(),
            nn.Conv2d(6, 8, 3, 1, 1),
            activation(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, len(menagerie.CLASSES)),
        )
        nn.init.normal_(net[-1].weight, std=2.0)
    model = models.wrap(net, classes=menagerie.CLASSES, input_size=SIZE, layers=("0", "2"))
    model.name = f"small-{seed}-{activation.__name__}"
    return model


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return small_network()


@pytest.fixture(scope="module")
def other() -> models.Classifier:
    return small_network(1)


def test_every_control_of_saliency_changes_the_arrays_it_says(model, other):
    explorer = SaliencyExplorer("cat", networks=[model, other], methods=("Gradient",), samples=2, steps=2)
    smooth, path = {"methods": ("SmoothGrad",)}, {"methods": ("Integrated gradients",)}
    starts = {
        "seed": {"background": "any"},
        "sigma": smooth,
        "samples": smooth,
        "steps": path,
        "baseline": path,
    }
    sweep(explorer, starts=starts)
    assert explorer.state == explorer.initial


def test_every_control_of_sanity_changes_the_arrays_it_says(model, other):
    explorer = SanityExplorer("cat", networks=[model, other], methods=("Gradient",))
    sweep(explorer, starts={"seed": {"background": "any"}, "chance": {"forgotten": 2}})
    assert explorer.state == explorer.initial


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_the_package_s_and_its_code_gives_the_same_map(model, name):
    explorer = SaliencyExplorer("dog", model, methods=(name,), samples=2, steps=4, baseline="mean color")
    result = explorer.result
    assert result.maps.shape == (1, 3, SIZE, SIZE)
    assert np.abs(result.maps).sum() > 0
    check_code(explorer, tolerance=1e-5)


def test_the_code_names_a_chosen_class(model):
    explorer = SaliencyExplorer("dog", model, methods=("Gradient", "LRP"), target_class="car")
    assert explorer.result.target == menagerie.CLASSES.index("car")
    assert "model.class_index('car')" in explorer.code(explorer.state)
    check_code(explorer, tolerance=1e-5)


def test_the_maps_come_one_after_the_other_in_the_order_of_the_methods(model):
    explorer = SaliencyExplorer("bird", model, methods=("LRP", "Gradient", "DeepLIFT"))
    assert explorer.state.methods == ("Gradient", "DeepLIFT", "LRP")
    seen = list(explorer.compute(explorer.state, Reporter()))
    assert [len(result.maps) for result in seen] == [0, 1, 2, 3, 3]
    image = explorer.image(explorer.state)
    assert np.array_equal(seen[-1].maps[0], saliency.gradient(model, image, seen[-1].target).numpy())
    for result in seen:  # each can be shown, with places for those to come
        panels = explorer.panels(result, explorer.state)
        assert sum(panel.title.endswith("...") for panel in panels) == 3 - len(result.maps)
    assert explorer.describe(seen[0], explorer.state).endswith("Choose a method.")
    assert not np.array_equal(seen[0].shown, seen[-1].shown)


@pytest.mark.parametrize("baseline", ["black", "gray", "white", "mean color", "blurred"])
def test_deep_lift_adds_up_to_the_change_of_the_logit(model, baseline):
    explorer = SaliencyExplorer("fish", model, methods=("Integrated gradients", "DeepLIFT"), steps=128)
    result = explorer.set(baseline=baseline)
    assert result.sums[1] == pytest.approx(result.change, abs=1e-3)
    assert result.sums[0] == pytest.approx(result.change, abs=0.1 + 0.05 * abs(result.change))
    way = "falls" if result.change < -0.05 else "rises"
    assert f"{way} by {abs(result.change):.1f}; sums: Integrated" in explorer.describe(result, explorer.state)


def test_fractions_are_those_of_energy_inside(model):
    explorer = SaliencyExplorer("bird", model, methods=("Gradient",), tree=True)
    result, scene = explorer.result, explorer.scene(explorer.state, SIZE)
    assert set(result.inside) == {"bird", "tree"}
    for item, name in (("bird", "object"), ("tree", "tree")):
        expected = evaluation.energy_inside(torch.tensor(result.maps), scene.masks[name][None])
        assert result.inside[item] == pytest.approx(expected.numpy(), abs=1e-6)
    titles = [panel.title for panel in explorer.panels(result, explorer.state)]
    assert titles[1:] == ["Gradient", "How much lies on the bird?", "How much lies on the tree?", "The colors"]


def test_a_pair_is_scored_object_by_object(model):
    explorer = SaliencyExplorer("cat + dog", model, methods=("Gradient",))
    assert set(explorer.result.inside) == {"cat", "dog"}
    assert "Most on the cat: Gradient, " in explorer.describe(explorer.result, explorer.state)


def test_a_method_without_an_answer_says_so_and_the_others_go_on():
    explorer = SaliencyExplorer("cat", small_network(2, nn.Tanh), methods=("Guided backprop", "SmoothGrad"))
    result = explorer.result
    assert np.isnan(result.maps[0]).all()
    assert not np.isnan(result.maps[1]).any()
    assert "Guided backprop" in result.refused
    panel = explorer.panels(result, explorer.state)[1]
    assert panel.title == "Guided backprop: no answer"
    assert panel.caption == result.refused["Guided backprop"]
    assert "Guided backprop" not in explorer.describe(result, explorer.state)


def test_the_sentence_names_the_best_and_the_worst_map(model):
    explorer = SaliencyExplorer("cat", model, methods=("Gradient", "Guided backprop", "DeepLIFT"))
    fractions = dict(zip(explorer.state.methods, explorer.result.inside["cat"], strict=True))
    best, worst = max(fractions, key=fractions.get), min(fractions, key=fractions.get)
    said = explorer.describe(explorer.result, explorer.state)
    assert f"Most on the cat: {best}, {fractions[best]:.0%} of its map; least: {worst}, {fractions[worst]:.0%}." in said


def test_a_photograph_has_maps_but_no_scores(model):
    explorer = SaliencyExplorer("chelsea", model, methods=("Gradient",))
    assert explorer.result.inside == {}
    titles = [panel.title for panel in explorer.panels(explorer.result, explorer.state)]
    assert titles[1:] == ["Gradient", "The colors"]
    check_code(explorer, tolerance=1e-5)


@pytest.mark.parametrize("shown_as", ["size", "with its sign", "only positive"])
@pytest.mark.parametrize("scale", ["each its own", "one for all"])
def test_all_ways_of_showing_differ_from_the_first(model, shown_as, scale):
    explorer = SaliencyExplorer("cat", model, methods=("Gradient", "DeepLIFT"))
    first = plots.pixels(explorer.panels(explorer.result, explorer.state)[2].image)
    explorer.set(shown_as=shown_as, scale=scale)
    now = plots.pixels(explorer.panels(explorer.result, explorer.state)[2].image)
    assert np.array_equal(first, now) == (explorer.state == explorer.initial)


def test_the_legend_says_what_each_method_means(model):
    explorer = SaliencyExplorer(
        "cat", network=model, methods=("Gradient", "VarGrad", "DeepLIFT"), shown_as="with its sign"
    )
    legend = next(p.caption for p in explorer.panels(explorer.result, explorer.state) if p.title == "The colors")
    name = model.classes[explorer.result.target]
    for words in (
        "Red: above zero. Blue: below zero.",
        f"Gradient: change of the logit of {name} per unit of the pixel.",
        "VarGrad: variance of the gradients of noisy copies.",
        f"DeepLIFT: contribution to the logit of {name}.",
    ):
        assert words in legend
    assert "speaks" not in legend


def test_no_method_is_no_error(model):
    explorer = SaliencyExplorer("cat", model, methods=())
    assert explorer.result.maps.shape == (0, 3, SIZE, SIZE)
    sanity = SanityExplorer("cat", model, methods=())
    assert sanity.result.correlations.shape == (0,)
    for one in (explorer, sanity):
        assert "Choose a method" in one.describe(one.result, one.state)
        assert one.panels(one.result, one.state)


def test_settings_are_offered_only_where_a_method_takes_them(model):
    explorer = SaliencyExplorer("cat", model, methods=("Gradient",))
    inputs = explorer.inputs
    assert all(inputs[name].layout.display == "none" for name in ("sigma", "samples", "steps", "baseline"))
    explorer.set(methods=("DeepLIFT",))
    assert inputs["baseline"].layout.display != "none"
    assert inputs["sigma"].layout.display == "none"


@pytest.mark.parametrize("forgotten", [0, 1, 3])
def test_the_code_of_sanity_gives_the_same_maps(model, forgotten):
    explorer = SanityExplorer("cat", model, forgotten=forgotten, methods=tuple(SANITY_METHODS))
    check_code(explorer, tolerance=1e-5)


def test_nothing_forgotten_correlates_fully_and_edges_always_do(model):
    explorer = SanityExplorer("cat", model, methods=("Gradient", "Edges (no network)"))
    assert explorer.result.correlations == pytest.approx([1, 1])
    result = explorer.set(forgotten=3)
    assert result.correlations[1] == pytest.approx(1)
    assert result.correlations[0] < 0.9
    assert result.curve[:, -1] == pytest.approx(result.correlations)
    assert result.counts.tolist() == [0, 1, 2, 3]


def test_the_network_of_the_explorer_stays_whole(model):
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    SanityExplorer("cat", model, forgotten=3).evaluate()
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_the_maps_of_sanity_come_before_the_curve(model):
    explorer = SanityExplorer("cat", model, methods=("Gradient",), forgotten=2)
    seen = list(explorer.compute(explorer.state, Reporter()))
    assert np.isnan(seen[0].curve).all()
    assert len(explorer.panels(seen[0], explorer.state)) == 3
    assert [int((~np.isnan(result.curve)).sum()) for result in seen] == [0, 0, 1, 2, 3, 4]
    assert explorer.panels(seen[-1], explorer.state)[1].title == "Who notices?"


def test_a_method_without_an_answer_has_an_empty_map_in_sanity():
    explorer = SanityExplorer("cat", small_network(2, nn.Tanh), methods=("Gradient", "Guided backprop"))
    assert not explorer.result.before[1].any()
    assert explorer.result.correlations[1] == 0


@pytest.mark.parametrize(
    ("explorer", "arguments", "words"),
    [
        (SaliencyExplorer, {"methods": ("Magic",)}, "Magic"),
        (SaliencyExplorer, {"sigma": 0.05}, "sigma"),
        (SaliencyExplorer, {"baseline": "pink"}, "pink"),
        (SanityExplorer, {"forgotten": 4}, "forgotten must be an integer from 0 to 3, got 4"),
        (SanityExplorer, {"methods": "Magic"}, "Magic"),
    ],
)
def test_bad_arguments_get_one_sentence(explorer, arguments, words, model):
    with pytest.raises(ValueError, match=words):
        explorer("cat", model, **arguments)


def test_a_figure_of_images_is_a_jpeg_and_keeps_its_limit():
    noise = np.random.default_rng(0).random((120, 120, 3), np.float32)
    figure = plots.show([noise] * 3, ["a", "b", "c"], "Noise.", most=90_000)
    assert list(figure._repr_mimebundle_()) == ["image/jpeg", "text/plain"]
    assert len(figure.picture) <= 90_000


def test_every_control_of_the_path_changes_the_arrays_it_says(model, other):
    explorer = PathExplorer("cat", networks=[model, other], steps=4, alpha=0.3)
    sweep(explorer, starts={"seed": {"background": "any"}})
    check_code(explorer, tolerance=1e-5)


def test_the_path_adds_up_to_integrated_gradients(model):
    explorer = PathExplorer("cat", model, steps=8, baseline="gray", target_class="dog")
    result, image = explorer.result, explorer.image(explorer.state)
    whole = saliency.integrated_gradients(model, image, "dog", steps=8, baseline=0.5).numpy()
    np.testing.assert_allclose(result.attribution(1.0), whole, atol=1e-5)
    assert not result.attribution(0.0).any()
    half_a_step = (result.attribution(0.25) + result.attribution(0.375)) / 2
    np.testing.assert_allclose(result.attribution(0.3125), half_a_step, atol=1e-6)
    for alpha in (0.0, 0.2, 0.5, 1.0):
        assert result.sum(alpha) == pytest.approx(float(result.attribution(alpha).sum()), abs=1e-4)
    with torch.no_grad():
        rise = float((model(image[None]) - model(torch.full_like(image, 0.5)[None]))[0, 1])
    assert result.rise(1.0) == pytest.approx(rise, abs=1e-4)
    assert f"{abs(result.sum(1.0) - rise) / abs(rise):.1%} off" in explorer.describe(result, explorer.state)
    fine = explorer.set(steps=64)
    assert abs(fine.sum(1.0) - rise) < abs(explorer.set(steps=1).sum(1.0) - rise)


def test_alpha_is_dragged_across_a_picture_and_nothing_is_computed_again(model):
    explorer = PathExplorer("cat", model, steps=4)
    before = explorer.result
    explorer.press_on(Touch("path", 0.27, 0.9, "drag"))
    assert explorer.state.alpha == 0.27
    assert explorer.result is before
    assert not explorer._worker.running
    explorer.press_on(Touch("path", 0.8, 0.1, "move"))
    assert explorer.state.alpha == 0.27
