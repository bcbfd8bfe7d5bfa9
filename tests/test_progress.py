"""Telling how far it is, and stopping."""

import pytest
import torch

from xai_lessons.core.progress import Cancelled, Meter


def test_a_callback_hears_every_step():
    heard = []
    with Meter(lambda done, total: heard.append((done, total)), 5) as meter:
        meter.add(2)
        meter.add(3)
    assert heard == [(2, 5), (5, 5)]


def test_a_callback_with_partial_gets_the_result_so_far():
    class Callback:
        def __init__(self):
            self.seen = []

        def partial(self, result):
            self.seen.append(result)

        def __call__(self, done, total):
            self.seen.append(done)

    callback = Callback()
    with Meter(callback, 2) as meter:
        meter.add(1, lambda: torch.ones(1))
        meter.add(1)
    assert callback.seen == [torch.ones(1), 1, 2]


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
    with pytest.raises(TypeError, match="progress must be True or a callback .* got 'yes'"):
        Meter("yes", 4)
