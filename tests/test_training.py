"""Training: the same weights after any stop, checkpoints whole or refused, settings checked, figures by hand."""

import math
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xai_lessons import training
from xai_lessons.core.progress import Cancelled
from xai_lessons.core.state import preserved

SETTINGS = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "shift": 1, "erase": 2}


class Net(nn.Module):
    """Small, with what makes resuming hard: batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.dropout(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3))))


def net(seed=0, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net().to(dtype)


@pytest.fixture(scope="module")
def data():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(14) % 3
    x = torch.rand(14, 3, 8, 8, generator=rng) * 0.5
    x[range(14), y] += 0.5
    return x, y


def make(data, seed=0, model=None, **changes):
    settings = training.Settings(**{**SETTINGS, **changes})
    return training.Training(model or net(seed), *data, (data[0][:5], data[1][:5]), settings, record_layers=True)


def run(made, last=None):
    """Take steps until `last`, or to the end."""
    for step in made.steps():
        if step.done == last:
            break
    return made.history


def stop_at(step):
    def progress(done, total):
        if done == step:
            raise Cancelled

    return progress


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def figures(history):
    return [(e.train_loss, e.train_accuracy, e.validation_loss, e.validation_accuracy, e.layers) for e in history]


@pytest.fixture(scope="module")
def whole(data):
    made = make(data)
    run(made)
    return made


@pytest.mark.parametrize("how", ["resumed", "from a checkpoint"])
def test_a_training_stopped_at_any_step_ends_with_the_same_weights(data, whole, how, tmp_path):
    for step in range(1, 9):
        made = make(data)
        run(made, step)
        assert made.step == step
        if how == "from a checkpoint":
            made.save(tmp_path / "c")
            torch.rand(7)
            made = make(data, seed=9)
            made.load(tmp_path / "c")
        run(made)
        assert same(made.model, whole.model)
        assert figures(made.history) == figures(whole.history)
        assert len(made.history) == 3


def test_steps_tell_the_loss_of_each_batch_and_the_figures_of_each_epoch(data, whole):
    made = make(data)
    steps = list(made.steps())
    assert [(step.done, step.total) for step in steps] == [(n, 9) for n in range(1, 10)]
    assert [step.epoch for step in steps if step.epoch] == made.history == [steps[n].epoch for n in (2, 5, 8)]
    for n, epoch in enumerate(made.history):
        batches = [float(step.loss) for step in steps[3 * n : 3 * n + 3]]
        assert epoch.train_loss == pytest.approx(sum(batches) / 3, rel=1e-5)
    assert made.finished
    assert list(made.steps()) == [], "a finished training has no further step"


def test_between_steps_the_flags_are_as_before_and_the_loop_may_use_the_network(data, whole):
    made = make(data)
    made.model.eval()
    with torch.no_grad():
        for _ in made.steps():
            assert not any(module.training for module in made.model.modules())
            assert not torch.is_grad_enabled()
            made.model(data[0][:2])
    assert same(made.model, whole.model)


def test_an_interrupt_between_the_steps_of_an_epoch_and_its_figures_loses_nothing(data, whole, monkeypatch):
    made, real = make(data), training.scoring.evaluate

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.scoring, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert made.history == []
    assert made.model.training
    monkeypatch.setattr(training.scoring, "evaluate", real)
    assert figures(run(made)) == figures(whole.history)


def test_a_loop_left_after_the_last_step_leaves_a_finished_training(data, whole):
    made = make(data)
    run(made, 9)
    assert made.finished
    assert figures(run(made)) == figures(whole.history)


def test_it_does_not_depend_on_what_others_draw_meanwhile(data, whole):
    """A slider's network in the main thread, while a worker trains with dropout."""
    made, beside = make(data), net(3).eval()
    thread = threading.Thread(target=run, args=(made,))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    thread.start()
    while thread.is_alive():
        with preserved(beside):
            beside(data[0][:1])
    thread.join()
    assert same(made.model, whole.model)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_random_state_and_every_flag_are_left_alone(data):
    model = net()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    frozen = model.conv.weight.clone()
    before = torch.get_rng_state()
    training.fit(model, *data, data, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert not model.norm.training
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert torch.equal(model.conv.weight, frozen), "a frozen layer stays as it is beside trainable ones"


def test_a_wholly_frozen_network_is_trained_and_frozen_again(data):
    model = net().requires_grad_(False)
    weight = model.conv.weight.clone()
    training.fit(model, *data, data, **SETTINGS)
    assert not torch.equal(model.conv.weight, weight)
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_learns_and_reports(data, optimizer):
    told = []
    history = training.fit(
        net(),
        *data,
        data,
        epochs=40,
        batch_size=7,
        learning_rate=0.1,
        shift=0,
        flip=False,
        optimizer=optimizer,
        progress=lambda done, total: told.append((done, total)),
    )
    assert history[-1].validation_accuracy > 0.9
    assert history[-1].train_loss < history[0].train_loss
    assert [e.epoch for e in history] == list(range(1, 41))
    assert told[-1] == (80, 80)


def test_bytes_and_floats_and_double_precision_all_train(data):
    x, y = data
    as_bytes = (x * 255).round().to(torch.uint8)
    a = training.fit(net(), as_bytes, y, (as_bytes, y), **SETTINGS)
    b = training.fit(net(), as_bytes.float() / 255, y, (as_bytes, y), **SETTINGS)
    assert figures(a) == figures(b)
    c = training.fit(net(dtype=torch.float64), as_bytes, y, (as_bytes, y), **SETTINGS)
    assert math.isfinite(c[-1].train_loss)


def test_adversarial_training_runs_and_label_smoothing_raises_the_loss(data):
    plain = training.fit(net(), *data, data, **SETTINGS)
    hard = training.fit(net(), *data, data, **SETTINGS, adversarial=0.1)
    smooth = training.fit(net(), *data, data, **SETTINGS, label_smoothing=0.5)
    assert figures(hard) != figures(plain) != figures(smooth)


def test_the_fewest_images_and_steps_work(data):
    x, y = data[0][:2], data[1][:2]
    for epochs in range(1, 7):
        assert len(training.fit(net(), x, y, (x, y), epochs=epochs)) == epochs


def test_the_layers_changes_are_those_of_the_weights(data):
    made = make(data, epochs=1)
    before = made.model.conv.weight.detach().clone()
    change = run(made)[0].layers["conv"]
    now = made.model.conv.weight.detach()
    assert change.distance == pytest.approx(float((now - before).norm() / before.norm()), rel=1e-5)
    assert change.cosine == pytest.approx(float(F.cosine_similarity(now.flatten(), before.flatten(), dim=0)), rel=1e-5)
    assert change.gradient > 0
    assert set(made.history[0].layers) == {"conv", "head"}


def test_fit_goes_on_from_its_checkpoint_and_does_not_train_twice(data, whole, tmp_path):
    file = tmp_path / "sub" / "c"
    with pytest.raises(Cancelled):
        training.fit(net(), *data, (data[0][:5], data[1][:5]), checkpoint=file, progress=stop_at(5), **SETTINGS)
    assert [p.name for p in file.parent.iterdir()] == ["c"]
    model, told = net(4), []
    for _ in range(2):
        history = training.fit(
            model, *data, (data[0][:5], data[1][:5]), checkpoint=str(file),
            progress=lambda done, total: told.append(done), **SETTINGS,
        )  # fmt: skip
        assert same(model, whole.model)
        assert [f[:4] for f in figures(history)] == [f[:4] for f in figures(whole.history)]
    assert told == [3, 4, 5, 6, 7, 8, 9, 9]


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-50], lambda c: b"", lambda c: b"not a checkpoint", lambda c: c[: len(c) // 2]]
)
def test_a_damaged_checkpoint_is_refused_and_nothing_is_loaded(data, tmp_path, damage):
    made, file = make(data), tmp_path / "c"
    made.save(file)
    file.write_bytes(damage(file.read_bytes()))
    other = make(data, seed=1)
    with pytest.raises(ValueError, match="checkpoint c is damaged: delete it"):
        other.load(file)
    assert same(other.model, net(1))


def test_a_checkpoint_of_another_training_is_refused_and_nothing_is_loaded(data, tmp_path):
    file = tmp_path / "c"
    made = make(data)
    run(made)
    made.save(file)
    x, y = data
    cases = [
        (make(data, seed=1, epochs=4), "with other settings"),
        (make((x, y.flip(0)), seed=1), "on other images"),
        (make((1 - x, y), seed=1), "on other images"),
        (make(data, model=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3))), "of another network"),
    ]
    for other, says in cases:
        before = {k: v.clone() for k, v in other.model.state_dict().items()}
        with pytest.raises(ValueError, match=says):
            other.load(file)
        assert all(torch.equal(v, before[k]) for k, v in other.model.state_dict().items())
        assert other.step == 0
    torch.save({"something": "else"}, file)
    with pytest.raises(ValueError, match="is damaged"):
        made.load(file)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"label_smoothing": 1}, "label_smoothing must be at least 0 and at most 0.99"),
        ({"adversarial": 8}, "adversarial must be at least 0 and at most 1"),
        ({"optimizer": "adam"}, "'adamw' or 'sgd', got 'adam'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        training.Settings(**settings)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda x, y: (x[:1], y[:1]), ValueError, "at least 2 image"),
        (lambda x, y: (x, y[:3]), ValueError, "got 14 images and 3 labels"),
        (lambda x, y: (x * 255, y), ValueError, "divide by 255"),
        (lambda x, y: (x * float("nan"), y), ValueError, "NaN"),
        (lambda x, y: (x[:, :1], y), ValueError, r"got \(14, 1, 8, 8\)"),
        (lambda x, y: (x, y.float()), TypeError, "labels that are whole numbers"),
        (lambda x, y: (x, y - 1), ValueError, "got labels from -1 to 1"),
        (lambda x, y: (x.numpy(), y), TypeError, "expected tensors"),
    ],
)
def test_images_that_cannot_be_trained_on_are_refused_before_training(data, change, error, says):
    model = net()
    with pytest.raises(error, match=says):
        training.fit(model, *change(*data), data, **SETTINGS)
    assert same(model, net())


def test_labels_beyond_the_classes_are_refused(data):
    model = net()
    model.classes = ("a", "b")
    with pytest.raises(ValueError, match="expected labels from 0 to 1, got labels from 0 to 2"):
        training.fit(model, *data, data)


def test_evaluate_is_the_mean_loss_and_the_share_that_is_right(data):
    model, (x, y) = net().eval(), data
    scores = model(x).detach()
    loss, accuracy = training.evaluate(model, x, y, batch_size=4)
    assert loss == pytest.approx(float(F.cross_entropy(scores, y)), rel=1e-5)
    assert accuracy == float((scores.argmax(1) == y).double().mean())
    with pytest.raises(ValueError, match="at least one image"):
        training.evaluate(model, x[:0], y[:0])


def test_confusion_counts_label_by_answer():
    table = training.confusion(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]), "abc")
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_reliability_by_hand():
    p = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [1.0, 0.0]])
    made = training.reliability(p, torch.tensor([0, 1, 1, 0]))
    assert made.pictures == [1, 3]
    assert made.accuracy == pytest.approx([1, 2 / 3])
    assert made.confidence == pytest.approx([0.65, (0.95 * 2 + 1) / 3])
    assert made.expected_calibration_error == pytest.approx(0.25 * 0.35 + 0.75 * abs(2 / 3 - 2.9 / 3), rel=1e-5)
