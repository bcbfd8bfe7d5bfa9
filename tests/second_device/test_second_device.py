"""Methods, metrics, training and explorers on the device "ghost", which refuses what CUDA refuses: `make test-devices`.

The answers are those of the CPU. The notebooks run on it, too, under nbval, against the same stored outputs.
"""

from __future__ import annotations

import os

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from methods import METHODS
from tools import gpu
from xai_lessons import datasets, evaluation, explorers, menagerie, models, training

NAME = "ghost"
FLOAT64 = os.environ.get("GHOST_FLOAT64") != "0"


@pytest.fixture(scope="module")
def images():
    return torch.stack([menagerie.draw(name, seed=5).image for name in ("cat", "car")])


@pytest.fixture(scope="module")
def masks():
    return [menagerie.draw(name, seed=5).masks for name in ("cat", "car")]


@pytest.fixture(scope="module")
def networks():
    return tuple(models.load("menagerie-resnet", device=device) for device in ("cpu", NAME))


def on_both(networks, call, *args, **options):
    """How far the second device is from the CPU, relative to the largest value."""
    here, there = (call(network, *args, **options) for network in networks)
    return gpu.deviation(there, here)


def test_it_refuses_what_cuda_refuses():
    there = torch.ones(3, device=NAME)
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\) first"):
        there.numpy()
    assert (there + 1).cpu().tolist() == [2.0, 2.0, 2.0]
    if not FLOAT64:
        with pytest.raises(TypeError, match="no float64"):
            there.double()


def test_a_network_is_loaded_there(networks, monkeypatch):
    assert networks[1].device.type == NAME
    assert models.choose_device(NAME).type == NAME
    monkeypatch.setenv("XAI_LESSONS_DEVICE", NAME)
    assert models.choose_device().type == NAME


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_the_same_there(networks, images, name):
    assert on_both(networks, METHODS[name], images, 3) <= 1e-5


def test_metrics_give_the_same_there(networks, images, masks):
    def measured(network):
        maps = METHODS["grad_cam"](network, images, 3, size=images.shape[-2:])
        steps = {"steps": 4}
        return (
            evaluation.deletion(network, images, maps, 3, **steps).curve,
            evaluation.insertion(network, images, maps, 3, **steps).curve,
            evaluation.infidelity(network, images, maps, 3, samples=3),
            evaluation.max_sensitivity(METHODS["gradient"], network, images, 3, samples=2),
            evaluation.pointing_game(maps, masks).float(),
            evaluation.energy_inside(maps, masks),
            evaluation.rank_correlation(maps, maps.flip(1)),
            METHODS["gradient"](evaluation.randomize_layers(network, 2), images, 3),
        )

    assert on_both(networks, measured) <= 1e-4
    scenes = [menagerie.draw(name, seed=5) for name in ("cat", "car")]
    rows = evaluation.compare(["grad_cam", "gradient"], {"ours": networks[1]}, scenes, samples=2, steps=4)
    assert len(rows) > 2, "the two methods and the baselines"


def test_training_learns_there():
    found = []
    for device in ("cpu", NAME):
        images, labels, _ = menagerie.sample(24, seed=1, size=32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = models.architectures.build("Vgg", input_size=32, hidden=16, classes=10)
        model = models.wrap(net, input_size=32).to(device)
        options = {"epochs": 1, "batch_size": 8, "optimizer": "sgd"}
        history = training.fit(model, images, labels, (images, labels), **options)
        found.append([epoch.train_loss for epoch in history])
        attacked = training.fit(model, images, labels, (images, labels), **options, adversarial=2 / 255)
        assert 0 < attacked[0].train_loss < 5
        assert next(model.parameters()).device.type == device
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("name", [name for name in explorers.__all__ if name != "kit"])
def test_an_explorer_starts_and_answers_a_control_there(name, monkeypatch):
    monkeypatch.setenv("XAI_LESSONS_DEVICE", NAME)
    given = {
        "RobustnessExplorer": {"pictures": 10},
        "MistakesExplorer": {
            "pictures": datasets.drawn(10, split="test"),
            "networks": ("menagerie-resnet", "menagerie-vgg"),
        },
    }
    explorer = getattr(explorers, name)(**given.get(name, {}))
    assert explorer.widget is not None
    assert explorer.result is not None
    assert explorer.error is None
    shown = [c for c in explorer.declared if (c.when is None or c.when(explorer.state)) and c.name in explorer.inputs]
    for control in shown:
        others = [at for at in control.positions(explorer.state) if at != getattr(explorer.state, control.name)]
        if others:
            explorer.inputs[control.name].value = others[0]
            break
    else:
        pytest.fail(f"{name} has no control that moves")
    assert explorer.wait(120)
    assert explorer.error is None
    assert explorer.panels(explorer.result, explorer.state)


def test_a_kernel_computes_there(tmp_path):
    source = "from xai_lessons import models\nprint(models.load('menagerie-resnet').device.type)"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(book, kernel_name="python3").execute(env={**os.environ, "XAI_LESSONS_DEVICE": NAME})
    assert book.cells[0].outputs[0].text == f"{NAME}\n"
