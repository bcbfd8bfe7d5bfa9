"""TrainingExplorer: every control, Stop and going on, comparison, the shown code, the shipped histories."""

import threading

import numpy as np
import pytest
import torch

from nets import one_layer_network
from sweep import check_code, sweep
from xai_lessons import models, training
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import datasets
from xai_lessons.explorers import PredictionExplorer, TrainingExplorer
from xai_lessons.explorers.kit import Reporter, image_explorer
from xai_lessons.explorers.training import AUGMENTED, CURVES, KEPT, TrainingState
from xai_lessons.models import architectures
from xai_lessons.results import histories


def noise(n: int, seed: int) -> datasets.Pictures:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 16, 16), generator=rng, dtype=torch.uint8)
    return datasets.Pictures(images, torch.arange(n) % 4, ("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def data():
    return noise(160, 0), noise(8, 1)


@pytest.fixture
def explorer(data):
    return TrainingExplorer(data, pictures=100, epochs=2, batch_size=128)


def test_every_control_changes_the_arrays_it_says(explorer):
    explorer.set(learning_rate=0.003)
    explorer.run()
    explorer.set(learning_rate=0.006)
    # "again" begins the same training anew and ends in the same curves, "keep" saves files: both are tested below
    starts = {"pictures": {"batch_size": 32}}
    every = "augmentation batch_size curves earlier epochs learning_rate network pictures weight_decay"
    assert sweep(explorer, starts=starts, skip=("again", "keep")) == set(every.split())
    explorer.run()


def test_each_curve_can_be_hidden(explorer):
    result = explorer.run()
    charts = {}
    for curve in CURVES:
        explorer.set(curves=(curve,))
        charts[curve] = [panel.alt for panel in explorer.panels(result, explorer.state)]
    assert len({str(alts) for alts in charts.values()}) == 4
    assert explorer.runs, "drawing another curve forgets no training"


def test_it_begins_with_nothing_done_and_says_so(explorer):
    result = explorer.result
    assert len(result.train_loss) == 0
    assert "not trained yet. Press Run" in explorer.describe(result, explorer.state)


@pytest.mark.parametrize("network", ["residual", "residual, no shortcuts", "VGG-like"])
def test_the_shown_code_gives_the_same_curves(explorer, network):
    explorer.set(network=network)
    check_code(explorer, tolerance=1e-6)


def test_it_is_the_training_that_fit_does(explorer, data):
    result = explorer.run()
    train, validation = data
    model = histories.fresh("ResNet", size=16, classes=train.classes, **histories.NARROW)
    settings = {"epochs": 2, "batch_size": 128, "shift": 4, "recolor": 0.5}
    expected = training.fit(model, train.images[:100], train.labels[:100], validation[:2], **settings)
    assert np.allclose(result.train_loss, [epoch.train_loss for epoch in expected], atol=1e-6)


def test_stopped_and_resumed_it_ends_as_if_it_never_stopped(data):
    whole = TrainingExplorer(data, pictures=160, epochs=3, batch_size=32).run()
    explorer = TrainingExplorer(data, pictures=160, epochs=3, batch_size=32)
    stopped = 0

    def stop_at_seven(done: int, total: int) -> None:
        nonlocal stopped
        if done == 7 and not stopped:
            stopped = done
            raise Cancelled

    steps = explorer.compute(explorer.state, Reporter(stop_at_seven))
    with pytest.raises(Cancelled):
        list(steps)
    rest = explorer.preview(explorer.state)
    assert (rest.step, rest.steps, len(rest.train_loss)) == (7, 15, 1)
    assert "batch 7 of 15" in explorer.describe(rest, explorer.state)
    result = explorer.run()
    for field in explorer.shown_by_code:
        assert np.allclose(getattr(result, field), getattr(whole, field), atol=1e-6), field
    assert len(result.batch_loss) == 15


def test_stop_is_answered_at_once_and_another_explorer_is_not_held_up(data):
    entered, go = threading.Event(), threading.Event()

    class Slow(TrainingExplorer):
        def fresh(self, state, train):
            entered.set()
            assert go.wait(30)
            return super().fresh(state, train)

    explorer = Slow(data, pictures=160, epochs=30, batch_size=32)
    job = explorer.request_run()
    assert entered.wait(30)
    other = TrainingExplorer(data, pictures=100, epochs=1)
    assert len(other.run().train_loss) == 1, "another explorer works meanwhile"
    explorer.stop()
    assert job.stop.is_set()
    assert not job.done.is_set(), "stop does not wait for the batch"
    go.set()
    assert job.done.wait(30)
    assert isinstance(job.error, Cancelled)
    assert explorer.preview(explorer.state).step == 1, "it ended at the next batch"


def test_trainings_before_are_compared(explorer):
    first = explorer.run()
    explorer.set(learning_rate=0.02)
    second = explorer.run()
    (name,) = second.earlier
    assert np.array_equal(second.earlier[name]["train_loss"], first.train_loss)
    assert not np.array_equal(first.train_loss, second.train_loss)
    curves = explorer.panels(second, explorer.state)[0]
    assert curves.caption == f"Losses above 2.5 are drawn at 2.5. 1: {name}"
    assert "1 residual train." in curves.alt


def test_begun_anew_it_ends_the_same(explorer):
    first = explorer.run()
    explorer.press("again").done.wait(30)
    assert len(explorer.result.train_loss) == 0
    second = explorer.run()
    assert np.array_equal(first.train_loss, second.train_loss)


def test_without_data_the_shipped_trainings_are_shown():
    explorer = TrainingExplorer()
    result = explorer.result
    assert len(explorer.runs) == 2
    assert all(name.endswith("(shipped)") for name in result.earlier)
    assert "TrainingExplorer" not in explorer.code(explorer.state)
    assert "datasets.drawn(2500, size=64)" in explorer.code(explorer.state)
    for name in ("residual", "vgg"):
        run = histories.RUNS[name]
        state = TrainingState(**{k: v for k, v in run.settings.items() if k not in AUGMENTED})
        made = run.images, run.validation, run.size
        assert made == (state.pictures, explorer.validation_count, state.size), "the shipped run is one that Run makes"
        explorer.set(learning_rate=state.learning_rate)
        assert training.Settings(**run.settings) == state.settings


def test_the_wall_shows_the_predictions_of_now_and_the_pictures_as_they_are_drawn(explorer, data):
    before = explorer.result
    assert np.array_equal(before.wall, data[1].images[:24].numpy())
    after = explorer.run()
    model = explorer.begun(explorer.state).model
    expected = model.predict(data[1].images[:24] / 255).numpy()
    assert np.allclose(after.probabilities, expected, atol=1e-6)
    assert not np.allclose(before.probabilities, expected, atol=1e-3)
    right = int((expected.argmax(1) == data[1].labels[:24].numpy()).sum())
    assert explorer.panels(after, explorer.state)[1].title == f"8 new pictures, {right} right"

    drawn = TrainingExplorer()
    latest = drawn.drawing(drawn.state, torch.rand(32, 3, 48, 48, generator=torch.Generator().manual_seed(0)))
    assert drawn.panels(latest, drawn.state)[1].alt.startswith("drawn: sailboat, car, cat, dog")
    assert latest.wall.shape == (24, 3, 48, 48)


def test_a_kept_network_can_be_chosen_in_every_explorer(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = PredictionExplorer("cat", network=one_layer_network())
    offered = {name for name, _ in other.inputs["network"].options}
    explorer.inputs["keep"].click()
    assert "press Run first" in str(explorer._view._error.value)
    result = explorer.run()
    explorer.inputs["keep"].click()
    assert explorer.wait(30)
    assert f"choose {KEPT} under Network" in explorer.describe(explorer.result, explorer.state)
    assert {name for name, _ in other.inputs["network"].options} == offered | {KEPT}
    assert KEPT in models.available()
    assert "right on" in models.available()[KEPT]
    said = models.load(KEPT).predict(torch.from_numpy(explorer.result.wall) / 255)
    assert np.allclose(said.numpy(), result.probabilities, atol=0.01), "half precision"
    explorer.set(network="VGG-like")
    first = models.load(KEPT)
    explorer.run()
    explorer.press("keep").done.wait(30)
    assert isinstance(models.load(KEPT).network, architectures.Vgg), "the latest is kept"
    shown = other.set(network=KEPT)
    assert shown.probabilities.shape == (4,)
    explorer.set(network="residual")
    explorer.press("keep").done.wait(30)
    again = image_explorer.network(KEPT)
    assert again.classes == first.classes
    assert isinstance(again.network, architectures.ResNet), "an explorer loads it anew when its file has changed"


def test_pictures_are_drawn_once_and_drawing_is_told_and_can_be_stopped(monkeypatch, data):
    drawn = []

    def draw(n, *, split, progress=None, **options):
        if progress is not None:  # not those of the wall
            drawn.append((split, n))
            progress(n, n)
        return noise(n, len(split))

    monkeypatch.setattr(datasets, "drawn", draw)
    monkeypatch.setattr(TrainingExplorer, "validation_count", 16)
    explorer = TrainingExplorer(pictures=250, epochs=1)
    explorer.run()
    explorer.set(pictures=100)
    explorer.run()
    assert drawn == [("train", 250), ("validation", 16)]

    def stop(done: int, total: int) -> None:
        raise Cancelled

    explorer.set(pictures=500)
    with pytest.raises(Cancelled):
        list(explorer.compute(explorer.state, Reporter(stop)))
    assert explorer.preview(explorer.state).step == 0


def test_names_of_trainings_say_what_differs():
    assert TrainingState().name == "residual, 2,500 pictures, 16 epochs"
    assert TrainingState(learning_rate=0.02, augmentation=False).name.endswith("rate 0.02, not augmented")
