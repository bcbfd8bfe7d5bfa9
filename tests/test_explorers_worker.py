"""The explorers' worker: the latest state wins, Stop, progress, threads, uploads."""

import threading

import numpy as np
import pytest
import torch

from sweep import click
from toys import Disc, DiscResult, DiscState, OnDemand, Steps
from xai_lessons.core.progress import Cancelled
from xai_lessons.explorers.kit import Reporter, base, controls, worker
from xai_lessons.explorers.kit.worker import Job, Worker

CORNER = {"corner": {"shape": "square"}}


@pytest.fixture
def steps():
    explorer = Steps(size=2)
    yield explorer
    explorer.stop()
    for gate in explorer.gates.values():
        gate.release(50)
    assert explorer.wait(10)


def test_a_control_that_only_draws_computes_nothing():
    explorer = Disc()
    before = explorer.set(size=4)
    picture = bytes((explorer.widget, explorer._view._panels[0].image)[1].value)
    explorer.compute = None
    assert explorer.set(shade=0.9) is before
    assert bytes(explorer._view._panels[0].image.value) != picture
    assert explorer.shown.shade == 0.9


def test_the_last_position_wins_and_those_between_are_dropped(steps):
    assert steps.widget is not None
    assert steps.at_step[2].wait(10)
    for size in (3, 4, 5, 6):
        steps.inputs["size"].value = size
    for size in (2, 6):
        steps.gates[size].release(4)
    assert steps.wait(10)
    assert steps.shown.size == 6
    assert steps.ended == [2, 6]


def test_what_has_shown_something_gives_way_at_once(steps):
    steps.request()
    steps.gates[2].release(1)
    assert steps.at_step[2].wait(10)
    steps.gates[2].release(1)
    last = steps.request(size=7)
    steps.gates[2].release(1)
    steps.gates[7].release(4)
    assert last.done.wait(10)
    assert steps.shown.size == 7
    assert steps.gates[2]._value + steps.gates[7]._value > 0  # the first did not go through all of its steps


def test_results_are_shown_as_they_come(steps):
    assert steps.widget is not None
    fractions = []
    present = steps._present
    shown = threading.Semaphore(0)

    def note(state, result):
        present(state, result)
        fractions.append(result.fraction)
        shown.release()

    steps._present = note
    steps.request(size=3)
    steps.gates[2].release(4)
    for count in range(1, 5):
        steps.gates[3].release(1)
        while len([s for s in fractions if s]) < count:
            assert shown.acquire(timeout=10)
    assert steps.wait(10)
    assert fractions[-4:] == sorted(fractions[-4:], reverse=True)


def test_stop_ends_the_work_at_the_next_step_and_keeps_what_is_there(steps):
    job = steps.request()
    steps.gates[2].release(1)
    assert steps.at_step[2].wait(10)
    while steps._shown is None:
        assert not job.done.wait(0.005)
    click(steps, "xai-stop")
    assert "Stopped" in steps._view._note.value
    steps.gates[2].release(1)
    assert steps.wait(10)
    assert isinstance(job.error, Cancelled)
    assert steps.ended == [2]
    assert steps.result.fraction > 0
    assert steps.error is None


def test_the_busy_sign_comes_and_goes(steps, monkeypatch):
    monkeypatch.setattr(base, "BUSY_AFTER", 0.0)
    shown = threading.Event()
    assert steps.widget is not None
    view = steps._view
    tell = view.busy
    view.busy = lambda: (tell(), shown.set())
    steps.gates[2].release(4)
    assert steps.wait(10)
    shown.clear()
    steps.request(size=4)
    assert shown.wait(10)
    assert view._status.layout.visibility == "visible"
    steps.gates[4].release(4)
    assert steps.wait(10)
    assert view._status.layout.visibility == "hidden"


@pytest.mark.parametrize("busy_after", [0.0, 100.0])
def test_what_was_saved_or_refused_meanwhile_is_still_said_at_the_end(steps, monkeypatch, tmp_path, busy_after):
    monkeypatch.setattr(base, "BUSY_AFTER", busy_after)
    monkeypatch.chdir(tmp_path)
    assert steps.widget is not None
    view = steps._view
    steps.gates[2].release(4)
    assert steps.wait(10)
    steps.request(size=3)
    assert steps.at_step[3].wait(10)
    click(steps, "xai-save")  # while it computes
    steps.gates[3].release(4)
    assert steps.wait(10)
    assert "steps-1.png" in view._note.value
    steps.request(size=4)
    assert view._note.value == ""
    assert steps.at_step[4].wait(10)
    save = steps.save
    steps.save = lambda: (_ for _ in ()).throw(OSError("the folder is read-only"))
    click(steps, "xai-save")
    steps.gates[4].release(4)
    assert steps.wait(10)
    assert "read-only" in view._error.value
    steps.save = save
    click(steps, "xai-save")
    assert view._error.value == ""
    assert "steps-2.png" in view._note.value


def test_a_stopped_work_that_ends_late_says_nothing_more(steps):
    assert steps.widget is not None
    steps.request()
    assert steps.at_step[2].wait(10)
    click(steps, "xai-stop")
    steps.request(size=3)
    steps.gates[2].release(4)
    steps.gates[3].release(4)
    assert steps.wait(10)
    assert steps._view._note.value == ""
    assert steps.shown.size == 3


def test_progress_moves_the_bar():
    explorer = Disc()
    assert explorer.widget is not None
    explorer._view.progress(3, 4)
    assert explorer._view._bar.value == 0.75
    explorer._view.progress(0, 0)
    assert explorer._view._bar.value == 0


def test_nothing_long_runs_before_run_is_pressed():
    explorer = OnDemand(size=2)
    assert explorer.result.fraction == -1
    explorer.set(size=3)
    assert explorer.result.fraction == -1
    assert explorer.ended == []
    explorer.gates[3].release(4)
    click(explorer, "xai-run")
    assert explorer.wait(10)
    assert explorer.result.fraction >= 0
    assert explorer.ended == [3]
    explorer.gates[3].release(4)
    assert explorer.run().fraction >= 0


def test_a_run_goes_on_while_controls_move():
    explorer = OnDemand(size=2)
    explorer.result  # noqa: B018
    job = explorer.request_run()
    assert explorer.at_step[2].wait(10)
    assert explorer.request(size=5) is job
    explorer.inputs["shade"].value = 0.9
    assert explorer.shown.shade == 0.9  # what only draws is answered meanwhile
    explorer.gates[2].release(4)
    assert explorer.wait(10)
    assert (explorer.shown.size, explorer.state.size) == (2, 5)
    assert explorer.result.fraction >= 0


def test_evaluate_shows_nothing():
    explorer = OnDemand(size=2)
    explorer.gates[2].release(4)
    assert explorer.evaluate().fraction >= 0
    assert explorer._shown is None


def test_one_torch_thread_on_the_worker_and_ours_untouched():
    seen = []

    class Threads(Disc):
        def compute(self, state, progress):
            seen.append((torch.get_num_threads(), threading.current_thread()))
            return super().compute(state, progress)

    ours = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Threads().set(size=4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(ours)
    assert seen[0][0] == 1
    assert seen[0][1] is not threading.main_thread()


def test_an_upload_arrives_with_its_name():
    taken = []
    upload = controls.Upload(
        name="up", label="Up", take=lambda name, content: taken.append((name, content)) or {"size": 6}
    )

    class Uploading(Disc):
        def controls(self):
            return (*super().controls(), upload)

    explorer = Uploading()
    explorer.inputs["up"]._handle_custom_msg({"name": "a.png"}, [memoryview(b"abc")])
    assert explorer.wait(10)
    assert taken == [("a.png", b"abc")]
    assert explorer.shown.size == 6


def test_upload_errors_are_shown():
    def refuse(name, content):
        raise ValueError("a.txt is not an image")

    class Uploading(Disc):
        def controls(self):
            return (*super().controls(), controls.Upload(name="up", label="Up", take=refuse))

    explorer = Uploading()
    explorer.inputs["up"]._handle_custom_msg({"name": "a.txt"}, [memoryview(b"abc")])
    assert "a.txt is not an image" in explorer._view._error.value
    explorer.inputs["up"]._handle_custom_msg({"name": "b.tif", "problem": "b.tif has 60 MB"}, [])
    assert "b.tif has 60 MB" in explorer._view._error.value


def test_the_worker_outlives_errors():
    ran = []

    def run(job):
        ran.append(job.state)
        if job.state == 1:
            raise RuntimeError("oh")

    worker = Worker(run)
    first = worker.submit(Job(1))
    assert first.done.wait(10)
    assert isinstance(first.error, RuntimeError)
    assert worker.submit(Job(2)).done.wait(10)
    assert ran == [1, 2]


def test_the_idle_worker_ends_and_starts_again(monkeypatch):
    from xai_lessons.explorers.kit import worker as module

    monkeypatch.setattr(module, "IDLE", 0.0)
    worker = Worker(lambda job: None)
    assert worker.submit(Job(1)).done.wait(10)
    thread = worker._thread
    if thread is not None:
        thread.join(10)
    assert worker._thread is None
    assert worker.submit(Job(2)).done.wait(10)


def test_intermediate_results_are_shown_on_the_same_thread_and_not_too_often(monkeypatch):
    monkeypatch.setattr(worker, "PAUSE", -1.0)
    shown, told, threads = [], [], []

    def make(part):
        threads.append(threading.current_thread())
        return part + 1

    reporter = Reporter(lambda done, total: told.append((done, total)), shown.append)
    reporter.intermediate(torch.zeros(2))  # nobody says how it is shown
    forming = reporter.showing(make)
    part = torch.zeros(2)
    for step in range(3):
        part += 1
        forming.intermediate(part)
        forming.update(step + 1, 3)
    assert [one.tolist() for one in shown] == [[2, 2], [3, 3], [4, 4]]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert set(threads) == {threading.current_thread()}
    monkeypatch.setattr(worker, "PAUSE", 1000.0)
    forming.intermediate(part)
    assert len(shown) == 3


def test_stop_is_heard_where_an_intermediate_result_is_shown(monkeypatch):
    monkeypatch.setattr(worker, "PAUSE", -1.0)

    class Forming(Disc):
        def compute(self, state, progress):
            progress = progress.showing(lambda part: DiscResult(part.numpy(), float(part.mean())))
            for step in range(4):
                if step == 2:
                    self.stop()
                progress.intermediate(torch.full((32, 32), step / 4))
            return DiscResult(np.ones((32, 32)), 1.0)

    explorer = Forming()
    job = explorer.request()
    assert job.done.wait(10)
    assert isinstance(job.error, Cancelled)
    assert explorer.shown == DiscState()
    assert job.result.fraction == 0.25
