"""CamExplorer: every control swept, the shown code run, the scores worked out by hand."""

import numpy as np
import pytest
import torch

from nets import small_network
from sweep import check_code, sweep
from xai_lessons import evaluation, models
from xai_lessons.data import menagerie
from xai_lessons.explorers import CamExplorer as Whole
from xai_lessons.explorers import cam as module
from xai_lessons.explorers.cam import METHODS
from xai_lessons.explorers.kit import Reporter, Touch
from xai_lessons.methods import cam


class CamExplorer(Whole):
    """On a smaller screen, to be quick."""

    screen = 64


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return small_network()


@pytest.fixture(scope="module")
def flat() -> models.Classifier:
    return small_network(1, pooling=False)


def test_every_control_changes_the_arrays_it_says(model, flat):
    explorer = CamExplorer("cat", networks=[model, flat])
    sweep(explorer, starts={"seed": {"background": "any"}, "method": {"compare": "other classes"}})
    assert explorer.state == explorer.initial


@pytest.mark.parametrize("method", METHODS)
def test_the_map_is_that_of_the_method_and_the_code_makes_it(model, method):
    explorer = CamExplorer("dog", model, method=method, target_class="fish", threshold=0.4)
    result = explorer.result
    expected = METHODS[method](model, torch.from_numpy(result.image), "fish")
    assert np.array_equal(result.heatmap, expected.numpy())
    check_code(explorer)


def test_the_code_of_a_layer_a_pair_and_the_predicted_class(model, capsys):
    explorer = CamExplorer("cat + dog", model, layer=model.layers[0], seed=3, background="sea")
    assert f"layer={model.layers[0]!r}" in explorer.code(explorer.state)
    assert "draw_pair" in explorer.code(explorer.state)
    check_code(explorer)
    printed = capsys.readouterr().out  # the score of each animal
    assert all(f"{part:.0%} of the map lies on the {name}" in printed for name, part in explorer.result.inside.items())
    explorer.set(picture="umbrella", tag=True, layer="last")
    check_code(explorer)


def test_a_touched_place_shows_what_it_sees_and_adds(model, flat):
    explorer = CamExplorer("cat + dog", model, target_class="dog")
    before = explorer.panels(explorer.result, explorer.state)[0]
    result = explorer.press_on(Touch("map", 0.5, 0.9, "move")).result
    rows, columns = result.places.shape
    assert explorer.state.place == (int(0.9 * rows), int(0.5 * columns))
    image = torch.from_numpy(result.image)
    head = next(m for m in model.modules() if isinstance(m, torch.nn.Linear))
    with torch.no_grad():
        adds = (model(image[None])[0] - head.bias)[model.class_index("dog")]
    assert result.exact
    assert result.places.sum() == pytest.approx(float(adds), abs=1e-4)
    assert result.places * rows * columns == pytest.approx(cam.cam(model, image, "dog", size=None).numpy(), abs=1e-4)
    after = explorer.panels(result, explorer.state)[0]
    assert not np.array_equal(before.image, after.image)
    assert f"adds {result.places[explorer.state.place]:+.2f} to the logit of dog" in after.caption
    assert "receptive_field" in explorer.code(explorer.state)
    check_code(explorer)
    explorer.set(layer=model.layers[0], method="LayerCAM")
    assert "logit" not in explorer.panels(explorer.result, explorer.state)[0].caption
    other = CamExplorer("cat", flat, place=(0, 1))
    assert not other.result.exact
    assert "not the logit" in other.panels(other.result, other.state)[0].caption


def test_scores_and_controls_are_the_fractions_on_the_named_object(model):
    explorer = CamExplorer("cat + dog", model, target_class="dog", seed=1)
    result = explorer.result
    scene = menagerie.draw_pair("cat", "dog", 1, 48, background="meadow", tree=False, tag=False)
    heatmap = torch.from_numpy(result.heatmap)
    for name in ("cat", "dog"):
        assert result.inside[name] == pytest.approx(float(evaluation.energy_inside(heatmap, scene.masks, name=name)))
    assert set(result.controls) == {"center blob", "random map"}
    blob = evaluation.CONTROLS["center blob"](model, torch.from_numpy(result.image))
    expected = float(evaluation.energy_inside(blob, scene.masks, name="dog"))
    assert result.controls["center blob"] == pytest.approx(expected)
    rows, columns = torch.where(scene.masks["dog"])
    assert result.true_box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_class_that_is_absent_has_a_map_but_no_truth(model):
    explorer = CamExplorer("cat", model, target_class="car", method="CAM")
    result = explorer.result
    assert result.true_box is None
    assert result.controls == {}
    said = explorer.describe(result, explorer.state)
    assert "there is no car here" in said or "the map is empty" in said
    assert "Blue" not in explorer.panels(result, explorer.state)[0].caption


def test_an_empty_map_is_said_and_drawn(model):
    with torch.no_grad():
        shy = small_network(2)
        for p in shy.network[6].parameters():
            p.copy_(-p.abs())
    explorer = CamExplorer("cat", shy, compare="nothing")
    assert not explorer.result.heatmap.any()
    assert explorer.result.box.tolist() == [0, 0, 0, 0]
    assert "the map is empty" in explorer.describe(explorer.result, explorer.state)
    assert explorer.render().ndim == 3


def test_the_row_beside_holds_what_it_says(model, flat):
    explorer = CamExplorer("cat + dog", networks=[model, flat])
    titles = [title.split()[0] for title in explorer.result.row]
    assert {"cat", "dog"} <= set(titles)
    assert len(titles) == 4
    assert list(explorer.set(compare="all layers").row) == list(model.layers)
    assert list(explorer.set(compare="all methods").row) == list(METHODS)
    result = explorer.set(network=flat.name)
    assert result.row["CAM"] is None
    assert result.row["Grad-CAM"] is not None
    assert "CAM: no answer" in [panel.title for panel in explorer.panels(result, explorer.state)]
    assert explorer.set(compare="nothing").row == {}


def test_a_row_of_a_class_is_the_map_of_that_class(model):
    explorer = CamExplorer("cat", model, target_class="fish")
    first = next(iter(explorer.result.row.values()))
    assert np.array_equal(first, explorer.result.heatmap)


def test_cam_of_a_fully_connected_head_says_what_to_use(flat):
    explorer = CamExplorer("cat", flat)
    with pytest.raises(ValueError, match="Choose Grad-CAM"):
        explorer.set(method="CAM")


def test_cam_offers_no_layers(model):
    explorer = CamExplorer("cat", model, compare="all layers", layer=model.layers[0])
    explorer.set(method="CAM")
    assert explorer.state.compare == "other classes"
    assert explorer.inputs["layer"].layout.display == "none"
    assert " at " not in explorer.describe(explorer.result, explorer.state)


def test_a_shared_scale_is_the_largest_of_all(model):
    explorer = CamExplorer("cat", model, target_class="fish", shared=True)
    result, state = explorer.result, explorer.state
    most = max(float(m.max()) for m in result.row.values())
    faint = min(result.row.values(), key=lambda m: m.max())
    assert module._scale(result, state, faint) == (0.0, pytest.approx(most))
    explorer.set(shared=False)
    assert module._scale(result, explorer.state, faint)[1] == pytest.approx(float(faint.max()) or 1.0)


def test_each_map_arrives_as_it_is_ready(model):
    explorer = CamExplorer("cat", model, compare="all methods")
    counts = [len(result.row) for result in explorer.compute(explorer.state, Reporter())]
    assert counts == [0, 0, 1, 2, 3, 4, 5, 6]


def test_a_photograph_has_no_truth(model):
    explorer = CamExplorer("chelsea", model)
    assert explorer.result.inside == {}
    assert "Nobody knows the truth" in explorer.describe(explorer.result, explorer.state)
    assert "network say" in explorer.panels(explorer.result, explorer.state)[2].title
    check_code(explorer)


def test_the_peak_is_on_next_to_or_far_from_an_object():
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[10:20, 10:20] = True
    for at, said in (((12, 12), "on the cat"), ((22, 12), "next to the cat"), ((40, 40), "on the background")):
        assert module._place({"cat": mask, "tag": torch.zeros_like(mask)}, at) == said
    assert module._place({}, (0, 0)) == "on the background"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target_class": "unicorn"}, "target_class must be one of .*got 'unicorn'"),
        ({"method": "X-CAM"}, "must be one of CAM, Grad-CAM"),
        ({"layer": "stage9"}, "got 'stage9'"),
        ({"threshold": 2.0}, "must be a number from 0.05 to 0.95"),
    ],
)
def test_bad_arguments_get_one_sentence(model, arguments, words):
    with pytest.raises(ValueError, match=words):
        CamExplorer("cat", model, **arguments)
