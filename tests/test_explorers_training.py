"""TrainingExplorer: every control, Stop and going on, comparison, the shown code, the shipped histories."""

import threading

import numpy as np
import pytest
import torch

from sweep import check_code, sweep
from xai_lessons import training
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import datasets
from xai_lessons.explorers import TrainingExplorer
from xai_lessons.explorers.kit import Reporter
from xai_lessons.explorers.training import CURVES, TrainingState
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
    # "again" begins the same training anew and ends in the same curves: tested below
    starts = {"pictures": {"batch_size": 32}}
    every = "augmentation batch_size curves earlier epochs learning_rate network pictures weight_decay"
    assert sweep(explorer, starts=starts, skip=("again",)) == set(every.split())
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
    model = histories.fresh("ResNet", size=16, classes=train.classes)
    settings = {"epochs": 2, "batch_size": 128, "flip": True, "shift": 4, "weight_decay": 5e-4, "learning_rate": 0.006}
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
    for field in CURVES.values():
        assert np.allclose(getattr(result, field), getattr(whole, field), atol=1e-6), field


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
    accuracy = explorer.panels(second, explorer.state)[0]
    assert accuracy.caption == f"1: {name}"
    assert "1 residual train." in accuracy.alt


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
    assert "datasets.drawn(2000)" in explorer.code(explorer.state)


def test_pictures_are_drawn_once_and_drawing_is_told_and_can_be_stopped(monkeypatch, data):
    drawn = []

    def draw(n, *, split, progress, **options):
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
    assert TrainingState().name == "residual, 2,000 pictures, 8 epochs"
    assert TrainingState(learning_rate=0.02, augmentation=False).name.endswith("rate 0.02, not augmented")
