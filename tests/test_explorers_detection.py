"""DetectionExplorer and CandidatesExplorer: every control swept, the shown code run, boxes and fractions by hand."""

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from sweep import check_code, sweep
from xai_lessons import detection, evaluation, menagerie, models, saliency
from xai_lessons.explorers import CandidatesExplorer as WholeCandidates
from xai_lessons.explorers import DetectionExplorer as Whole
from xai_lessons.explorers.detection import D_RISE, GRAD_CAM, METHODS
from xai_lessons.explorers.kit import Reporter, Touch

ALONE = {"neighbor": "nothing"}


class DetectionExplorer(Whole):
    """On a smaller screen, to be quick."""

    screen = 96


class CandidatesExplorer(WholeCandidates):
    """On a smaller screen, to be quick."""

    screen = 96


@pytest.fixture(scope="module")
def network():
    return models.load("menagerie-detector", device="cpu")


@pytest.fixture(scope="module")
def other(network):
    """The same detector, a little less sure and with larger boxes, under another name."""
    changed = models.load("menagerie-detector", device="cpu")
    with torch.no_grad():
        changed.network.box_head.bias += 0.2
        changed.network.class_head.weight *= 0.9
    changed.name = "other"
    return changed


def test_every_control_of_the_candidates_changes_the_arrays_it_says(network, other):
    explorer = CandidatesExplorer("cat + umbrella", networks=[network, other])
    moved = sweep(explorer, starts={"pose": ALONE})
    assert {"threshold", "overlap", "seed", "picture", "network"} <= moved
    assert explorer.state == explorer.initial


def test_every_control_changes_the_arrays_it_says(network, other):
    explorer = DetectionExplorer("cat + umbrella", networks=[network, other])
    starts = {"layer": {"method": GRAD_CAM}, "method": {"samples": 100}, "pose": ALONE}
    sweep(explorer, starts, skip=("samples",))  # 3,100 masks; moved by the test of D-RISE below
    assert explorer.state == explorer.initial


@pytest.mark.parametrize("method", METHODS)
def test_the_shown_code_makes_what_is_on_the_screen(network, method):
    explorer = DetectionExplorer("bird + car", network, seed=3, method=method, samples=100, explain="top")
    explorer.set(without="beak" if "beak" in explorer._removable(explorer.state) else "car")
    check_code(explorer, 1e-5)


def test_the_code_of_candidates_a_single_object_and_a_photograph(network):
    check_code(CandidatesExplorer("cat", network, threshold=0.2, overlap=0.7))
    check_code(DetectionExplorer("cat", network, seed=1, background="sea"), 1e-5)
    explorer = DetectionExplorer("chelsea", network)
    check_code(explorer, 1e-5)
    assert explorer.result.inside == {}
    assert "a photograph has no known objects" in explorer.describe(explorer.result, explorer.state)
    assert explorer.panels(explorer.result, explorer.state)[-1].title == "How sure it is of its boxes"


def test_the_candidates_that_are_kept_are_torchvision_s(network):
    result = CandidatesExplorer("dog + fish", network, seed=5, threshold=0.1, overlap=0.3).result
    scores, boxes = torch.from_numpy(result.scores), torch.from_numpy(result.boxes)
    sure = torch.where(scores >= 0.1)[0]
    assert set(result.sure.tolist()) == set(sure.tolist())
    assert result.kept.tolist() == sure[nms(boxes[sure], scores[sure], 0.3)].tolist()
    assert len(CandidatesExplorer("dog + fish", network, threshold=0.98).result.kept) == 0


def test_the_map_its_fractions_and_the_box_without_a_part(network):
    explorer = DetectionExplorer("cat + umbrella", network, seed=0, background="any", explain="left", without="tail")
    result, scene = explorer.result, menagerie.draw_pair("cat", "umbrella", seed=0, tree=False, tag=False)
    view = detection.box_view(network, scene.image, "cat", follow="match")
    expected = evaluation.heat(saliency.gradient(view, scene.image, "left")[None])[0]
    assert result.heatmap == pytest.approx(expected.numpy(), abs=1e-5)
    assert result.inside["cat"] == pytest.approx(float(expected[scene.masks["cat"]].sum() / expected.sum()), abs=1e-4)
    assert sum(result.inside.values()) == pytest.approx(1, abs=1e-4)
    assert sum(result.areas.values()) == pytest.approx(1, abs=1e-4)
    with torch.no_grad():
        rows = view(torch.stack([scene.image, scene.without("tail").image]))
    assert result.before == pytest.approx(rows[0].numpy(), abs=1e-4)
    assert result.after == pytest.approx(rows[1].numpy(), abs=1e-4)
    assert result.after[1] - result.before[1] > 2, "without its tail the cat begins further to the right"
    assert f"left +{result.after[1] - result.before[1]:.1f}" in explorer.describe(result, explorer.state)


def test_a_click_chooses_the_smallest_box_under_it(network):
    explorer = DetectionExplorer("cat + umbrella", network, seed=0, background="any")
    assert explorer._boxes(explorer.state) == ("cat", "umbrella")
    box = explorer.result.boxes[1] / 96
    at = {"x": float(box[0] + box[2]) / 2, "y": float(box[1] + box[3]) / 2}
    for touch, name in (
        (Touch("boxes", **at, kind="move"), "cat"),
        (Touch("boxes", **at), "umbrella"),
        (Touch("boxes", 0.99, 0.01), "umbrella"),  # there is no box in the corner
    ):
        explorer.press_on(touch).done.wait()
        assert explorer.state.box == name
        assert explorer.result.target == network.class_index(name)


def test_what_can_be_removed_belongs_to_one_object_only(network):
    explorer = DetectionExplorer("cat + dog", network, seed=0, background="any")
    removable = explorer._removable(explorer.state)
    assert not {"ears", "tail", "head"} & set(removable), "the dog has them, too"
    assert {"nothing", "whiskers", "cat", "dog"} <= set(removable)
    explorer.set(neighbor="nothing")
    assert "tail" in explorer._removable(explorer.state)


def test_a_detector_that_finds_nothing_explains_its_surest_candidate(network):
    shy = models.load("menagerie-detector", device="cpu")
    with torch.no_grad():
        shy.network.class_head.bias -= 20
    explorer = DetectionExplorer("cat", shy)
    assert explorer.state.box == "the surest candidate"
    assert len(explorer.result.boxes) == 0
    assert explorer.result.heatmap.any()


def test_d_rise_shows_its_map_while_it_forms(network):
    explorer = DetectionExplorer("cat", network, method=D_RISE, samples=100)
    seen = []
    formed = list(explorer.compute(explorer.state, Reporter(lambda done, total: seen.append((done, total)))))
    assert seen[-1] == (100, 100)
    assert np.array_equal(formed[0].heatmap, formed[-1].heatmap)
    assert explorer.inputs["samples"].options[-1][1] == 1600
    explorer.inputs["samples"].value = 200
    assert explorer.wait(60)
    assert explorer.state.samples == 200
    assert not np.array_equal(explorer.result.heatmap, formed[0].heatmap)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"neighbor": "unicorn"}, ValueError, "unicorn"),
        ({"explain": "middle"}, ValueError, "must be one of score, left"),
        ({"box": "elephant"}, ValueError, "got 'elephant'"),
        ({"network": models.load("menagerie-resnet", device="cpu")}, TypeError, "a name or a Detector, got Classifier"),
    ],
)
def test_bad_arguments_get_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words):
        DetectionExplorer("cat", **arguments)
