"""Progress reporting and cancellation."""

import pytest
import torch

from xai_lessons.core.progress import Cancelled, Meter, Reporter


def test_a_callback_hears_every_step():
    heard = []
    with Meter(lambda done, total: heard.append((done, total)), 5) as meter:
        meter.add(2)
        meter.add(3)
    assert heard == [(2, 5), (5, 5)]


def test_a_reporter_gets_the_result_so_far():
    class Collect(Reporter):
        def __init__(self):
            self.seen = []

        def intermediate(self, result):
            self.seen.append(result)

        def update(self, done, total):
            self.seen.append(done)

    reporter = Collect()
    with Meter(reporter, 2) as meter:
        meter.add(1, torch.ones(1))
        meter.add(1)
    assert reporter.seen == [torch.ones(1), 1, 2]


def test_true_draws_a_bar_and_closes_it_also_after_an_exception(capsys):
    def work():
        with meter:
            meter.add(4)
            raise Cancelled

    meter = Meter(True, 4)
    with pytest.raises(Cancelled):
        work()
    assert "4/4" in capsys.readouterr().err
    assert meter.bar.disable


@pytest.mark.parametrize("quiet", [None, False])
def test_none_and_false_say_nothing(quiet, capsys):
    with Meter(quiet, 4) as meter:
        meter.add(4)
    assert capsys.readouterr().err == ""
    assert meter.done == 4


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="progress must be True, a callback .* got 'yes'"):
        Meter("yes", 4)
