"""Checks of pictures and targets; batches, memory that runs out, progress and cancelling."""

import numpy as np
import pytest
import torch
from torch import nn

from nets import PoolingNet, pictures, seeded
from xai_lessons import fgsm, models, occlusion, saliency
from xai_lessons.core import activations, inputs, passes
from xai_lessons.core.progress import Cancelled


@pytest.fixture
def net():
    return seeded(PoolingNet)


@pytest.fixture
def model(net):
    return models.wrap(net, ["cat", "dog", "tabby cat", "bird", "fish"], input_size=16)


def test_pictures_come_to_the_networks_precision_and_layout(net):
    x, single = inputs.check_images(net, pictures(2, dtype=torch.float32))
    assert x.dtype == torch.float64
    assert x.is_contiguous()
    assert not single
    assert inputs.check_images(net, pictures(1)[0])[1]
    assert inputs.check_images(lambda x: x, pictures(1, dtype=torch.float32))[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("images", "error", "says"),
    [
        (np.zeros((3, 4, 4)), TypeError, "must be a torch tensor"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError, "/ 255"),
        (torch.zeros(4, 4, 3), ValueError, r"got \(4, 4, 3\)"),
        (torch.zeros(0, 3, 4, 4), ValueError, "no axis may be empty"),
        (torch.zeros(1, 1, 4, 4), ValueError, "RGB"),
        (torch.full((3, 4, 4), 1.5), ValueError, "from 1.5 to 1.5"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "NaN"),
        (torch.full((3, 4, 4), float("inf")), ValueError, "infinite"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(net, images, error, says):
    with pytest.raises(error, match=says) as caught:
        inputs.check_images(net, images)
    assert "\n" not in str(caught.value)


def test_pictures_are_never_changed(net):
    x = pictures(2)
    same = x.clone()
    passes.over_images(lambda x, c: net(x), net, x)
    assert torch.equal(x, same)


@pytest.mark.parametrize(
    "targets",
    [
        [1, 3],
        ["dog", "bird"],
        ("dog", 3),
        [np.int64(1), torch.tensor(3)],
        np.array([1, 3]),
        torch.tensor([1, 3]),
        torch.tensor([1, 3], dtype=torch.int32),
    ],
)
def test_targets_come_in_many_shapes(model, targets):
    assert inputs.check_targets(model, targets, pictures(2)).tolist() == [1, 3]


@pytest.mark.parametrize("target", [1, "dog", np.int64(1), torch.tensor(1), np.array(1)])
def test_one_target_serves_all_pictures(model, target):
    assert inputs.check_targets(model, target, pictures(2)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("targets", "error", "says"),
    [
        (5, ValueError, "classes 0 to 4"),
        (-1, ValueError, "no class -1"),
        ("tabby", ValueError, "'tabby cat'"),
        ("brid", ValueError, "'bird'"),
        ("CAT", ValueError, "'cat'"),
        (1.5, TypeError, "whole number or a class name, got 1.5"),
        (True, TypeError, "got True"),
        ([1.0, 2.0], TypeError, "got 1.0"),
        (torch.tensor([1.0]), TypeError, "long"),
        (np.array([0.5, 1.0]), TypeError, "got 0.5"),
        ([1, 2, 3], ValueError, "got 3 targets for 2 images"),
        ([], ValueError, "0 targets"),
    ],
)
def test_a_wrong_target_is_refused_in_one_sentence(model, targets, error, says):
    with pytest.raises(error, match=says):
        inputs.check_targets(model, targets, pictures(2))


def test_a_network_without_names_says_so(net):
    with pytest.raises(ValueError, match="has no class names"):
        inputs.check_targets(net, "cat", pictures(1))
    with pytest.raises(ValueError, match="no class 7.*0 to 4"):
        passes.score(net(pictures(1)), torch.tensor([7]))


def test_the_score_is_the_logit_or_the_probability(net):
    Y = net(pictures(3))
    c = torch.tensor([0, 1, 2])
    assert torch.equal(passes.score(Y, c), Y[range(3), [0, 1, 2]])
    assert torch.allclose(passes.score(Y, c, "probability"), Y.softmax(1)[range(3), [0, 1, 2]])
    assert torch.equal(passes.score(Y), Y.max(1).values)
    with pytest.raises(ValueError, match="'logit' or 'probability', got 'odds'"):
        passes.score(Y, c, "odds")


def test_of_two_equal_scores_one_class_is_the_predicted_one():
    Y = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(passes.score(Y).sum(), Y)
    assert gradient.tolist() == [[1, 0, 0]]


def test_scores_may_be_numpy_and_must_be_rows():
    x = pictures(2)
    assert passes.logits(lambda x: x.mean(dim=(2, 3)).numpy(), x).shape == (2, 3)
    assert passes.logits(lambda x: torch.ones(2, 3, dtype=torch.long), x).dtype == x.dtype
    with pytest.raises(ValueError, match=r"got \(3,\) for 2 images"):
        passes.logits(lambda x: torch.ones(3), x)
    with pytest.raises(ValueError, match="got a tuple: see models.wrap"):
        passes.logits(lambda x: (torch.ones(2, 3),), x)


def test_the_input_gradient_needs_a_differentiable_score(net):
    x = pictures(1)
    assert passes.input_gradient(net, x).shape == x.shape
    weight = torch.ones(3, dtype=x.dtype, requires_grad=True)
    for blind in (lambda x: net(x).detach(), lambda x: weight.expand(1, 3) * 1):
        with pytest.raises(ValueError, match="have no gradient"):
            passes.input_gradient(blind, x)


def test_the_result_does_not_depend_on_the_batch_size(net):
    x = pictures(5)

    def of(x, c):
        return passes.input_gradient(net, x, c)

    whole = passes.over_images(of, net, x, [0, 1, 2, 3, 4], batch_size=5)
    for size in (1, 2, 3):
        assert torch.allclose(passes.over_images(of, net, x, [0, 1, 2, 3, 4], batch_size=size), whole, atol=1e-14)
    assert torch.allclose(passes.over_images(of, net, x[2], 2), whole[2], atol=1e-14)


def test_tuples_are_joined_and_a_single_picture_has_no_batch_axis(net):
    def of(x, c):
        return net(x), x.mean(dim=1)

    a, b = passes.over_images(of, net, pictures(5), batch_size=2)
    assert a.shape == (5, 5)
    assert b.shape == (5, 16, 16)
    a, b = passes.over_images(of, net, pictures(1)[0])
    assert a.shape == (5,)
    assert b.shape == (16, 16)
    assert not a.requires_grad


class Memory:
    """Stands for a GPU with room for so many pictures."""

    def __init__(self, room, of):
        self.room, self.of, self.sizes = room, of, []

    def __call__(self, x, *rest):
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.of(x)


def test_where_memory_runs_out_the_batch_is_halved_and_nothing_is_lost(net):
    x, heard = pictures(7), []
    small = Memory(2, net)
    out = passes.over_images(small, net, x, batch_size=7, progress=lambda d, n: heard.append(d))
    assert torch.allclose(out, net(x))
    assert small.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert heard[-1] == 7
    assert heard == sorted(heard)


def test_a_gpu_too_small_for_one_picture_is_an_error(net):
    with pytest.raises(torch.OutOfMemoryError):
        passes.over_images(Memory(0, net), net, pictures(2))


@pytest.mark.parametrize("reduce", ["stack", "sum"])
def test_passes_survive_memory_running_out(net, reduce):
    x, c = pictures(3), torch.tensor([0, 1, 2])

    def of(x, c, k):
        return passes.score(net(x), c) * (k + 1)

    expected = torch.stack([of(x, c, torch.full((3,), k)) for k in range(4)], dim=1)
    small = Memory(2, lambda x: None)

    def limited(x, c, k):
        small(x)
        return of(x, c, k)

    out = passes.over_passes(limited, 4, net, x, c, reduce=reduce, batch_size=5)
    assert torch.allclose(out, expected if reduce == "stack" else expected.sum(dim=1))
    assert small.sizes[0] == 5
    assert small.sizes[-1] <= 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("reduce", ["stack", "sum"])
def test_passes_fill_batches_across_pictures(net, size, reduce):
    x, c, beside = pictures(3), torch.tensor([0, 1, 2]), torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    heard = []
    out = passes.over_passes(
        lambda x, c, k, b: b * (k + 1) + 0 * x.sum(dim=(1, 2, 3)),
        4,
        net,
        x,
        c,
        per_image=(beside,),
        reduce=reduce,
        batch_size=size,
        progress=lambda d, n: heard.append((d, n)),
    )
    expected = beside[:, None] * torch.arange(1, 5)
    assert torch.equal(out, expected if reduce == "stack" else expected.sum(dim=1))
    assert heard[-1] == (12, 12)


def test_a_callback_that_raises_cancels_and_leaves_the_network_as_it_was(net):
    net.train()
    done = []

    def stop(so_far, total):
        done.append(so_far)
        if so_far >= 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        passes.over_images(lambda x, c: net(x), net, pictures(5), batch_size=1, progress=stop)
    assert done == [1, 2]
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_everything_works_in_inference_mode(net):
    x = pictures(2)
    expected = passes.over_images(lambda x, c: passes.input_gradient(net, x, c), net, x, [0, 1])
    with torch.inference_mode():
        out = passes.over_images(lambda x, c: passes.input_gradient(net, x, c), net, x + 0, [0, 1])
        c = passes.predicted(net, *[inputs.check_images(net, x)[0], None])
    assert torch.equal(out, expected)
    assert not c.is_inference()


def test_predicted_classes_in_batches_and_with_little_memory(net, monkeypatch):
    x = pictures(5)
    expected = net(x).argmax(dim=1)
    assert torch.equal(passes.predicted(net, x, None, batch_size=2), expected)
    small = Memory(2, net)
    assert torch.equal(passes.predicted(small, x, None), expected)
    assert torch.equal(passes.predicted(None, x, expected), expected)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_wrong_batch_size_is_refused(net, size, error):
    with pytest.raises(error, match="batch_size must be"):
        passes.over_images(lambda x, c: net(x), net, pictures(1), batch_size=size)


def test_ranges_and_seeds():
    inputs.at_least("steps", np.int64(3), 1)
    inputs.at_least("sigma", np.float32(0.5), 0)
    with pytest.raises(ValueError, match="sigma must be at least 0 and at most 1, got 2"):
        inputs.at_least("sigma", 2, 0, 1)
    with pytest.raises(ValueError, match="got nan"):
        inputs.at_least("sigma", float("nan"), 0)
    with pytest.raises(TypeError, match="steps must be a number, got '3'"):
        inputs.at_least("steps", "3", 1)
    assert torch.equal(
        torch.rand(2, generator=inputs.generator(np.int64(4))), torch.rand(2, generator=inputs.generator(4))
    )
    with pytest.raises(TypeError, match="seed must be a whole number, got 0.5"):
        inputs.generator(0.5)


def test_resizing_keeps_a_flat_map_flat_and_the_size_it_has():
    maps = torch.full((2, 3, 3), 4.0)
    assert torch.allclose(passes.resize(maps, (9, 7)), torch.full((2, 9, 7), 4.0))
    assert passes.resize(maps, (3, 3)) is maps


class LeNet(nn.Module):
    """Flattens its maps with `view`, as PyTorch's tutorials do, which maps in channels_last refuse."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.passes = nn.Conv2d(3, 6, 5), nn.Linear(6 * 6 * 6, 5), 0

    def forward(self, x):
        self.passes += 1
        x = torch.nn.functional.max_pool2d(self.conv(x).relu(), 2)
        return self.head(x.view(-1, 6 * 6 * 6))


def test_a_plain_network_that_flattens_by_view_works_as_if_it_were_wrapped():
    net, x = seeded(LeNet), pictures(2)
    wrapped = models.wrap(net, mean=(0, 0, 0), std=(1, 1, 1), input_size=16)
    for method in (saliency.gradient, saliency.smooth_grad, occlusion.occlusion, fgsm.fgsm):
        found = method(net, x, 1)
        assert found.abs().max() > 0
        torch.testing.assert_close(found, method(wrapped, x, 1))
    net.passes = 0
    saliency.gradient(net, x, 1)
    assert net.passes == 1, "the layout that it refused is not tried again"


def test_a_plain_network_that_can_runs_in_channels_last(net):
    seen, x = [], pictures(2)
    with activations.hooked(net.conv1, lambda A: seen.append(A.is_contiguous(memory_format=torch.channels_last))):
        passes.logits(net, x)
    assert seen == [True]


def test_an_error_of_the_network_is_raised_as_it_is():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="broken on purpose"):
        passes.logits(Broken(), pictures(1))


def test_an_operation_that_apples_gpu_lacks_is_one_sentence(model, monkeypatch):
    sentence = "The operator 'aten::made_up' is not currently implemented for the MPS device. If you want this op ..."

    def refuse(*_):
        raise NotImplementedError(sentence)

    training = model.training
    monkeypatch.setattr(PoolingNet, "forward", refuse)
    for method in (saliency.gradient, occlusion.occlusion):
        with pytest.raises(ValueError, match=r"no aten::made_up on Apple's GPU \(mps\): set XAI_LESSONS_DEVICE=cpu"):
            method(model, torch.zeros(3, 16, 16), 0)
    assert model.training == training
    sentence = "forward is not implemented"
    with pytest.raises(NotImplementedError, match=sentence):
        saliency.gradient(model, torch.zeros(3, 16, 16), 0)
