"""AttackExplorer and RobustnessExplorer: every control swept, the shown code run, the attack's promises held."""

import numpy as np
import pytest
import torch
from torch import nn

from nets import small_network
from sweep import check_code, sweep
from xai_lessons import models
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import menagerie
from xai_lessons.explorers import AttackExplorer as Whole
from xai_lessons.explorers import RobustnessExplorer
from xai_lessons.explorers.fgsm import ATTACKS, AWAY, FGSM, NOISE, PGD
from xai_lessons.explorers.kit import Reporter, Touch
from xai_lessons.methods import fgsm


class AttackExplorer(Whole):
    """On a smaller screen, to be quick."""

    screen = 64


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return small_network(std=4.0)


@pytest.fixture
def explorer(model) -> AttackExplorer:
    return AttackExplorer("cat", networks=[model, small_network(1, std=4.0)])


def test_every_control_changes_the_arrays_it_says(explorer):
    starts = {
        "seed": {"background": "any"},
        "steps": {"method": PGD, "epsilon": 16.0},
        "target": {"epsilon": 16.0},
        "enough": {"epsilon": 32.0},
    }
    sweep(explorer, starts=starts)
    assert explorer.state == explorer.initial


@pytest.mark.parametrize("target", [AWAY, "car"])
@pytest.mark.parametrize("method", ATTACKS)
def test_the_shown_code_gives_what_is_on_the_screen(explorer, method, target):
    explorer.set(method=method, target=target, epsilon=7.5, maps=True)
    check_code(explorer, tolerance=1e-5)  # one picture at a time instead of two


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 8.0, 32.0])
@pytest.mark.parametrize("method", ATTACKS)
def test_no_pixel_moves_further_than_epsilon(explorer, method, epsilon):
    explorer.set(method=method, epsilon=epsilon)
    result = explorer.result
    assert np.abs(result.attacked - result.image).max() <= epsilon / 255 + 1e-6
    assert result.attacked.min() >= 0
    assert result.attacked.max() <= 1
    assert (epsilon == 0) == np.array_equal(result.attacked, result.image)


def test_the_way_begins_at_the_picture_and_passes_through_the_attack(explorer, model):
    result = explorer.set(epsilon=8.0)
    assert list(result.epsilons) == list(np.linspace(0, 32, 17))
    image, attacked = torch.from_numpy(result.image), torch.from_numpy(result.attacked)
    np.testing.assert_allclose(result.logits[0], model(image[None])[0].detach(), atol=1e-4)
    np.testing.assert_allclose(result.logits[4], model(attacked[None])[0].detach(), atol=1e-4)


def test_the_way_of_pgd_ends_at_its_picture(explorer, model):
    result = explorer.set(method=PGD, epsilon=6.0)
    assert result.epsilons[-1] == 6
    np.testing.assert_allclose(result.logits[-1], model(torch.from_numpy(result.attacked)[None])[0].detach(), atol=1e-4)


def test_just_enough_is_enough_and_half_a_gray_value_less_is_not(explorer, model):
    explorer.press("enough").done.wait()
    assert explorer.wait()
    found, image = explorer.state.epsilon, torch.from_numpy(explorer.result.image)
    wanted = 255 * fgsm.smallest_epsilon(model, image)
    assert wanted <= found < wanted + 0.5
    assert explorer.result.probabilities.argmax() != explorer.result.before.argmax()


def test_just_enough_goes_to_the_end_where_nothing_is():
    stubborn = small_network(std=4.0)
    nn.init.zeros_(stubborn.network[6].weight)
    explorer = AttackExplorer("cat", networks=[stubborn])
    explorer.press("enough").done.wait()
    assert explorer.state.epsilon == 32
    assert "has not changed" in explorer.describe(explorer.result, explorer.state)


def test_the_rival_on_the_way_is_the_class_that_overtakes_first(explorer, model):
    result = explorer.set(epsilon=1.0)
    answers = [model.classes[i] for i in result.logits.argmax(1)]
    first = next(name for name in answers if name != answers[0])
    way = next(panel for panel in explorer.panels(result, explorer.state) if panel.title == "The way there")
    assert way.alt.startswith(f"The logits of {answers[0]} and {first} ")


def test_a_targeted_attack_raises_the_target(explorer, model):
    result = explorer.set(target="car", epsilon=4.0)
    car = model.class_index("car")
    assert result.probabilities[car] > result.before[car]
    assert "the target, car" in explorer.describe(result, explorer.state)


def test_random_signs_are_a_control_of_the_same_size():
    images = torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    changed = fgsm.random_signs(images, 0.1)
    torch.testing.assert_close((changed - images).abs(), torch.full_like(images, 0.1))
    assert abs(float((changed - images).sign().mean())) < 0.2
    torch.testing.assert_close(fgsm.random_signs(images[0], 0.1), changed[0])
    assert not torch.equal(fgsm.random_signs(images, 0.1, seed=1), changed)
    assert fgsm.random_signs(images, 1.0).min() == 0


def test_maps_come_only_when_asked_for(explorer):
    assert explorer.set(maps=False).maps.size == 0
    assert explorer.set(maps=True).maps.shape == (2, 48, 48)
    titles = [panel.title for panel in explorer.panels(explorer.result, explorer.state)]
    assert [title.split(":")[0] for title in titles[3:5]] == ["Before", "After"]


def test_what_is_said_names_both_answers(explorer, model):
    result = explorer.set(epsilon=16.0)
    text = explorer.describe(result, explorer.state)
    assert f"Before: {model.classes[result.before.argmax()]}" in text
    assert f"255: {model.classes[result.probabilities.argmax()]}" in text


def test_the_first_picture_comes_before_the_way_there(explorer):
    steps = explorer.compute(explorer.state, Reporter())
    assert next(steps).logits.size == 0
    assert list(steps)[-1].logits.shape == (17, 10)


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels, _ = menagerie.sample(8, size=48)
    return images, labels


@pytest.fixture
def robustness(model, pictures) -> RobustnessExplorer:
    images, _ = pictures
    labels = model.predict(images).argmax(1)  # so that all are right at the start
    return RobustnessExplorer([model, small_network(1, std=4.0)], (images, labels), pictures=8)


def test_every_control_of_the_curves_changes_what_it_says(robustness):
    every = "at attack largest networks pictures"
    assert sweep(robustness) == set(every.split())


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_shown_code_gives_the_curves(robustness, attack):
    robustness.set(attack=attack)
    check_code(robustness)


def test_the_curves_begin_at_the_clean_accuracy_and_fall(robustness):
    result = robustness.set(attack=FGSM)
    assert result.curves.shape == (2, 9)
    assert result.curves[0, 0] == 1
    assert result.curves[0, -1] < 1
    assert robustness.set(attack=PGD).curves[0, -1] <= result.curves[0, -1] + 1 / 8


def test_the_curves_arrive_one_by_one(robustness):
    shapes = [r.curves.shape for r in robustness.compute(robustness.state, Reporter())]
    assert shapes == [(1, 9), (2, 9)]


def test_without_a_network_it_asks_for_one(robustness):
    result = robustness.set(networks=())
    assert result.curves.shape == (0, 9)
    assert robustness.describe(result, robustness.state) == "Tick a network."


def test_stop_ends_it_between_two_batches(robustness):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        list(robustness.compute(robustness.state, Reporter(stop)))
    assert robustness.set(attack=NOISE).curves.shape == (2, 9)


def test_drawn_pictures_are_no_ones_training():
    explorer = RobustnessExplorer(["menagerie-resnet"], pictures=10, largest=4)
    assert "seed=5" in explorer.code(explorer.state)
    check_code(explorer, tolerance=0.11)  # other batches: a picture on the edge may tip over
    assert explorer.result.curves[0, 0] >= 0.9


def test_a_click_on_the_picture_flickers_without_loss_and_without_computing(explorer):
    result = explorer.set(epsilon=4.0)
    after, before = [], []
    for shown in (after, before, after):
        shown.append(explorer.panels(result, explorer.state)[0])
        job = explorer.press_on(Touch("picture", 0.5, 0.5, "click"))
        assert job.done.wait(10)
        assert explorer.result is result
    assert after[0].sharp
    np.testing.assert_array_equal(after[0].image, after[1].image)
    moved = np.abs(after[0].image.astype(int) - before[0].image)
    assert moved.max() == 4, "gray values, as they reach the screen"
    assert "after the attack" in before[0].caption
    assert explorer.press_on(Touch("picture", 0.5, 0.5, "move")).result is result
