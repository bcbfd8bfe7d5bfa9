"""HardeningExplorer: adversarial training run, stopped, resumed, and beside what is shipped."""

import numpy as np
import pytest
import torch

from nets import small_network
from sweep import check_code, sweep
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import datasets, menagerie
from xai_lessons.explorers import HardeningExplorer
from xai_lessons.explorers.hardening import shipped
from xai_lessons.explorers.kit import Reporter
from xai_lessons.models import store


@pytest.fixture(scope="module")
def data() -> tuple[datasets.Pictures, datasets.Pictures]:
    def some(n, split):
        images, labels, _ = menagerie.sample(n, size=24, split=split)
        return datasets.Pictures((255 * images).to(torch.uint8), labels, menagerie.CLASSES)

    return some(160, "train"), some(12, "validation")


@pytest.fixture
def explorer(data) -> HardeningExplorer:
    return HardeningExplorer(small_network(size=24, std=4.0), data, pictures=160, epochs=2)


def test_every_control_changes_the_curves(data):
    data = tuple(one._replace(images=one.images.repeat(4, 1, 1, 1), labels=one.labels.repeat(4)) for one in data)
    explorer = HardeningExplorer(small_network(size=24, std=4.0), data, pictures=500, epochs=1)
    # "again" is tested below: it changes what is shown at rest
    every = "epochs epsilon pictures"
    assert sweep(explorer, skip=("again",)) == set(every.split())


def test_begin_anew_forgets_the_training(explorer):
    explorer.run()
    assert len(explorer.set().clean) == 2
    explorer.press("again").done.wait()
    assert explorer.wait()
    assert len(explorer.result.clean) == 0


def test_the_shown_code_gives_the_curves(explorer):
    explorer.run()
    check_code(explorer)


def test_it_measures_before_and_after_and_keeps_the_network(explorer, data):
    assert explorer.trained is None
    result = explorer.run()
    assert result.final.shape == (2, 2)
    assert explorer.trained is not None
    assert not explorer.trained.training
    assert not any(p.requires_grad for p in explorer.trained.parameters())
    clean = (explorer.trained.predict(data[1].images.float() / 255).argmax(1) == data[1].labels).float().mean()
    assert result.final[1, 0] == pytest.approx(float(clean))
    assert result.clean[-1] == pytest.approx(float(clean))


def test_the_network_it_begins_with_is_left_alone(data):
    start = small_network(size=24, std=4.0)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    HardeningExplorer(start, data, pictures=160, epochs=1).run()
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_stopped_it_goes_on_to_the_same_curves(explorer, data):
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(explorer.compute(explorer.state, Reporter(stop)))
    assert explorer.set().step == 2
    whole = HardeningExplorer(small_network(size=24, std=4.0), data, pictures=160, epochs=2).run()
    result = explorer.run()
    np.testing.assert_array_equal(result.clean, whole.clean)
    np.testing.assert_array_equal(result.attacked, whole.attacked)


def test_at_rest_it_shows_the_shipped_training(explorer):
    assert len(explorer.result.clean) == 0
    assert "Press Run" in explorer.describe(explorer.result, explorer.state)
    (panel,) = explorer.panels(explorer.result, explorer.state)
    assert "shipped" in panel.alt


def test_the_shipped_curves_are_those_of_the_card():
    clean, attacked = shipped()
    card = store.card("menagerie-robust")
    assert len(clean) == len(attacked) == card["recipe"]["epochs"]
    assert clean[-1] > 0.98
    assert attacked[-1] > attacked[0]
