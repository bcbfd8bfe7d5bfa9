"""The explorers of lesson 4: occlusion that forms and stops, the deletion test, the eraser."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from nets import one_layer_network
from sweep import check_code, sweep
from xai_lessons import evaluation, models, plots
from xai_lessons.core import passes
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import menagerie
from xai_lessons.explorers import DeletionExplorer as WholeDeletion
from xai_lessons.explorers import EraserExplorer as WholeEraser
from xai_lessons.explorers import OcclusionExplorer as WholeOcclusion
from xai_lessons.explorers import eraser
from xai_lessons.explorers.deletion import KEEP, MAPS
from xai_lessons.explorers.kit import Reporter, Touch, worker
from xai_lessons.explorers.occlusion import LIME, METHODS, RISE, SHAP, WINDOW, Recorder
from xai_lessons.methods import occlusion


class OcclusionExplorer(WholeOcclusion):
    """On a smaller screen and with fewer samples, to be quick."""

    screen = 64
    counts = (10, 20, 100)


class DeletionExplorer(WholeDeletion):
    """On a smaller screen, to be quick."""

    screen = 64


class EraserExplorer(WholeEraser):
    """On a smaller screen, to be quick."""

    screen = 64


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return one_layer_network()


@pytest.fixture(scope="module")
def other() -> models.Classifier:
    return one_layer_network(1)


def test_every_control_of_the_occlusion_explorer_changes_what_it_says(model, other):
    explorer = OcclusionExplorer("cat", networks=[model, other], patch=20, stride=12)
    random = {"method": RISE, "samples": 10}
    lime = {"method": LIME, "samples": 20}
    sweep(explorer, starts={"seed": {"background": "any"}, "samples": random, "segments": lime})
    assert explorer.state == explorer.initial


def test_the_four_methods_give_four_maps(model):
    explorer = OcclusionExplorer("cat", model, stride=12)
    maps = [explorer.set(samples=10, method=method).heatmap for method in METHODS]
    assert all(not np.array_equal(a, b) for i, a in enumerate(maps) for b in maps[:i])


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 12},
        {"patch": 10, "stride": 10, "fill": "blur", "output": "probability", "target_class": "dog"},
        {"method": RISE, "samples": 100, "fill": "mean"},
        {"method": LIME, "samples": 100, "segments": 20},
        {"method": SHAP, "samples": 100, "segments": 10, "fill": "noise"},
    ],
)
def test_the_shown_code_gives_the_map_on_the_screen(model, changes):
    check_code(OcclusionExplorer("cat", model, **changes), tolerance=1e-5)


def test_the_map_forms_from_the_top_and_ends_as_the_methods(model, monkeypatch):
    monkeypatch.setattr(worker, "PAUSE", -1.0)
    monkeypatch.setattr(passes, "default_batch_size", lambda *_, **__: 4)
    explorer = OcclusionExplorer("cat", model, patch=12, stride=4)
    results = []
    results += explorer.compute(explorer.state, Reporter(show=results.append))
    assert len(results) > 5
    assert [r.done for r in results] == [False] * (len(results) - 1) + [True]
    counts = [r.passes for r in results]
    assert counts == sorted(counts)
    first, last = results[0].heatmap, results[-1].heatmap
    assert first[:8].any()
    assert not first[-8:].any()
    expected = occlusion.occlusion(model, explorer.image(explorer.state), patch=12, stride=4)
    np.testing.assert_allclose(last, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_stop_ends_the_work_at_the_next_batch(model, method):
    explorer = WholeOcclusion("cat", model, method=method, samples=3200, stride=2)
    asked = []

    def progress(done, total):
        asked.append(done)
        raise Cancelled

    with pytest.raises(Cancelled):
        list(explorer.compute(explorer.state, Reporter(progress)))
    assert len(asked) == 1


def test_the_recorder_keeps_what_the_network_was_really_shown(model):
    image = menagerie.draw("cat", 0, 48).image
    recorder = Recorder(model, 1 + 9)
    heatmap = occlusion.occlusion(recorder, image, 0, patch=16, stride=16)
    seen, scores = recorder.kept()
    assert recorder.count == len(seen) == len(scores) == 10
    np.testing.assert_allclose(heatmap.numpy(), occlusion.occlusion(model, image, 0, patch=16, stride=16), atol=1e-4)
    assert np.array_equal(seen[0], (image * 255).round().byte().numpy())
    assert not seen[1][:, :16, :16].any()
    assert np.array_equal(seen[1][:, 16:], seen[0][:, 16:])
    pictures = torch.stack([occlusion.hide(image, w) for w in occlusion.windows(48, 48, 16, 16).flatten(0, 1)])
    with torch.no_grad():
        np.testing.assert_allclose(scores[1:], model(pictures).numpy(), atol=1e-4)


def test_the_fill_is_what_the_network_sees(model):
    explorer = OcclusionExplorer("cat", model, patch=48, stride=24, fill="gray")
    assert (explorer.result.seen[1] == 128).all()


def test_the_touched_window_is_hidden_and_its_answer_shown(model):
    explorer = OcclusionExplorer("cat", model, patch=12, stride=6, fill="gray")
    explorer.press_on(Touch("map", 0.99, 0.01))
    assert explorer.wait()
    grid = occlusion.windows(48, 48, 12, 6)
    assert explorer.state.look == grid.shape[1]  # the last window of the first row
    image = torch.from_numpy(explorer.result.image)
    hidden = occlusion.hide(image, grid[0, -1], "gray")
    over, shown, bars = explorer.panels(explorer.result, explorer.state)
    assert over.touch == "map"
    assert np.array_equal(shown.image, plots.enlarge(hidden, 64))
    expected = model.predict(hidden).numpy()
    said = explorer.model(explorer.state).classes[int(expected.argmax())]
    assert bars.caption.startswith(f"It says {said}, {expected.max():.0%}")
    drop = explorer.result.scores[0] - explorer.result.scores[explorer.state.look]
    R = occlusion.occlusion(model, image, patch=12, stride=6, fill="gray", size=None)
    assert drop[explorer.result.target] == pytest.approx(float(R[0, -1]), abs=1e-3)
    assert explorer.touch(Touch("map", 0.5, 0.5), explorer.result, explorer.state).look != explorer.state.look


def test_the_colors_of_a_forming_map_keep_their_scale(model, monkeypatch):
    monkeypatch.setattr(worker, "PAUSE", -1.0)
    monkeypatch.setattr(passes, "default_batch_size", lambda *_, **__: 8)
    for method in (WINDOW, RISE):
        explorer = OcclusionExplorer("cat", model, method=method, patch=12, stride=4, samples=100)
        results = []
        results += explorer.compute(explorer.state, Reporter(show=results.append))
        scales = [result.scale[1] for result in results[:-1]]
        assert len(scales) > 5
        assert max(scales[2:]) < 1.5 * min(scales[2:]), method
        assert results[-1].scale == plots.limits(results[-1].heatmap, signed=method == WINDOW)


def test_the_headline_says_what_wins_where_another_class_is_explained(model):
    explorer = OcclusionExplorer("cat + dog", model, stride=20, target_class="dog")
    classes, p = model.classes, explorer.result.probabilities
    other = next(name for name in classes if name != classes[p.argmax()])
    explorer.set(target_class=other)
    said = explorer.describe(explorer.result, explorer.state)
    assert said.startswith(f"The network says {classes[p.argmax()]}, {p.max():.0%}, and {other}, ")


def test_how_much_lies_on_the_object_is_said_only_where_it_is_known(model):
    explorer = OcclusionExplorer("cat", model, stride=12, target_class="cat")
    mask = menagerie.draw("cat", 0, 48, background="meadow", tree=False, tag=False).masks["object"]
    positive = explorer.result.heatmap.clip(0)
    assert explorer.result.inside == pytest.approx(positive[mask.numpy()].sum() / positive.sum(), abs=1e-5)
    assert "lie on the cat" in explorer.describe(explorer.result, explorer.state)
    assert explorer.set(target_class="dog").inside is None
    assert explorer.set(picture="cat + dog", target_class="dog").area > 0
    assert OcclusionExplorer("coffee", model, stride=12).result.inside is None


def test_every_control_of_the_deletion_explorer_changes_what_it_says(model, other):
    explorer = DeletionExplorer("cat", networks=[model, other], method="Grad-CAM", fraction=0.2)
    every = "another background fill method network picture pieces pose seed fraction show_map tag tree way"
    assert sweep(explorer, starts={"seed": {"background": "any"}}) == set(every.split())


@pytest.mark.parametrize("method", MAPS)
def test_the_deletion_code_gives_what_is_on_the_screen(model, method):
    check_code(DeletionExplorer("cat", model, method=method), tolerance=1e-5)


@pytest.mark.parametrize("changes", [{"way": KEEP, "pieces": "3 boxes", "fill": "blur"}, {"fill": "noise"}])
def test_the_deletion_code_follows_the_controls(model, changes):
    check_code(DeletionExplorer("car", model, method="Grad-CAM", fraction=0.3, **changes), tolerance=1e-5)


def test_the_fraction_that_is_gone_is_the_fraction_that_was_asked_for(model):
    explorer = DeletionExplorer("cat", model, method="random", fraction=0.25)
    changed = (explorer.result.left != explorer.result.image).any(0).mean()
    assert changed == pytest.approx(0.25, abs=0.01)
    kept = explorer.set(way=KEEP)
    assert (kept.left == kept.image).all(0).mean() == pytest.approx(0.25, abs=0.01)


def test_the_map_and_its_curves_are_made_once_while_the_fraction_moves(model, monkeypatch):
    calls = []
    whole = evaluation.deletion
    monkeypatch.setattr(evaluation, "deletion", lambda *a, **o: (calls.append(1), whole(*a, **o))[1])
    explorer = DeletionExplorer("cat", model, method="Grad-CAM")
    curves = explorer.result.deletion
    assert len(calls) == 2  # the map's and that of a random order
    for fraction in (0.05, 0.2, 0.3):
        assert explorer.set(fraction=fraction).deletion is curves
    assert len(calls) == 2
    explorer.set(fill="blur")
    assert len(calls) == 4


def test_the_answer_comes_before_the_curves(model):
    explorer = DeletionExplorer("cat", model, method="Grad-CAM")
    first, last = explorer.compute(explorer.state, Reporter())
    assert np.isnan(first.deletion).all()
    assert np.array_equal(first.left, last.left)
    assert last.deletion[0] == pytest.approx(first.before.max(), abs=1e-5)
    assert last.insertion[-1] == pytest.approx(last.deletion[0], abs=1e-5)
    assert all(panel.alt for panel in explorer.panels(first, explorer.state))


STROKES = ((0.5, 0.5, 0.2), (0.1, 0.9, 0.05))


def test_every_control_of_the_eraser_changes_what_it_says(model, other):
    explorer = EraserExplorer("cat", networks=[model, other], strokes=STROKES)
    there = {"width": 0.4}
    starts = {"seed": {"background": "any"}, "left": there, "top": there, "height": there}
    every = "another background clear fill height left network picture pose seed tag top tree width"
    assert sweep(explorer, starts=starts) == set(every.split())


@pytest.mark.parametrize(
    "changes", [{}, {"strokes": STROKES}, {"strokes": STROKES, "width": 0.3, "fill": "blur"}, {"width": 0.5}]
)
def test_the_eraser_code_gives_what_is_on_the_screen(model, changes):
    check_code(EraserExplorer("dog", model, **changes), tolerance=1e-5)


def test_what_the_mouse_paints_is_erased(model):
    explorer = EraserExplorer("cat", model, fill="black")
    assert explorer.widget is not None
    explorer.wait()
    explorer.canvas.strokes = [[0.5, 0.5, 0.1]]
    assert explorer.wait()
    assert explorer.state.strokes == ((0.5, 0.5, 0.1),)
    assert not explorer.result.left[:, 24, 24].any()
    assert "erased the network" in explorer.describe(explorer.result, explorer.state)


def test_everything_comes_back(model):
    explorer = EraserExplorer("cat", model)
    assert explorer.widget is not None
    explorer.canvas.strokes = [[0.5, 0.5, 0.1]]
    assert explorer.wait()
    explorer.inputs["clear"].click()
    assert explorer.wait()
    assert explorer.canvas.strokes == []
    assert np.array_equal(explorer.result.left, explorer.result.image)


def test_the_canvas_shows_what_is_erased_from_the_beginning_and_after_reset(model):
    explorer = EraserExplorer("cat", model, strokes=STROKES)
    assert explorer.widget is not None
    assert explorer.canvas.strokes == [list(dot) for dot in STROKES]
    explorer.canvas.strokes = [*explorer.canvas.strokes, [0.2, 0.2, 0.1]]
    assert explorer.wait()
    assert len(explorer.state.strokes) == 3
    explorer.reset()
    assert explorer.canvas.strokes == [list(dot) for dot in STROKES]
    assert explorer.wait()


def test_the_brush_uncovers_what_the_network_is_shown_there(model):
    explorer = EraserExplorer("cat", model, fill="black")
    assert explorer.widget is not None
    for fill in occlusion.FILLS:
        explorer.set(fill=fill, width=0.5)
        assert explorer.wait()
        uncovered = np.asarray(Image.open(io.BytesIO(explorer.canvas.filling))) / 255
        filled = occlusion.filling(torch.from_numpy(explorer.result.image), fill).clamp(0, 1)
        expected = plots.enlarge(filled, uncovered.shape[0]) / 255
        assert np.abs(uncovered - expected).mean() < 0.05, fill
    assert explorer.canvas.box == [0.3, 0.3, 0.5, 0.3]
    assert explorer.canvas.picture[:2] == b"\xff\xd8"


def test_the_canvas_needs_no_address():
    assert "http" not in eraser.SCRIPT
    assert "import " not in eraser.SCRIPT


def test_without_anywidget_the_sliders_do(model, monkeypatch):
    monkeypatch.setattr(eraser, "find_spec", lambda name: None)
    explorer = EraserExplorer("cat", model, fill="black")
    assert explorer.widget is not None
    assert explorer.canvas is None
    explorer.inputs["width"].value = 0.5
    assert explorer.wait()
    assert explorer.result.fraction > 0.1


def test_bad_arguments_get_one_sentence(model):
    with pytest.raises(ValueError, match="stride"):
        OcclusionExplorer("cat", model, patch=10, stride=30)
    with pytest.raises(ValueError, match="fraction"):
        DeletionExplorer("cat", model, fraction=0.9)
    with pytest.raises(ValueError, match="fill"):
        EraserExplorer("cat", model, fill="rainbow")


def test_the_window_names_are_those_of_the_lesson():
    assert tuple(METHODS) == (WINDOW, RISE, LIME, SHAP)
