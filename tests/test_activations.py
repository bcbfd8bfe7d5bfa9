"""Looking inside a network leaves it as it was: flags, hooks, gradients, random numbers, also from several threads."""

import threading

import pytest
import torch
from torch import nn

from nets import PoolingNet, pictures, seeded
from xai_lessons import models
from xai_lessons.core import activations
from xai_lessons.core.state import preserved, private_random


@pytest.fixture
def net():
    return seeded(PoolingNet)


def flags(net):
    return [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]


def test_preserved_restores_every_single_flag(net):
    net.train()
    net.norm.eval()
    net.conv1.weight.requires_grad_(False)
    before = flags(net)
    with preserved(net):
        assert not any(flags(net)[0])
        assert not any(flags(net)[1])
    assert flags(net) == before


def test_preserved_restores_after_an_exception_and_when_nested(net):
    net.train()
    before = flags(net)
    with pytest.raises(KeyError), preserved(net), preserved(net):
        raise KeyError
    assert flags(net) == before
    with preserved(net):
        with preserved(net):
            pass
        assert not net.training


def test_networks_that_share_modules_are_held_together(net):
    """Enter the whole, enter its part in another thread, leave the whole first: the part must still be in eval mode."""
    model = models.wrap(net, input_size=16)
    net.train()
    before = flags(net)
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def part():
        with preserved(net):
            inside.set()
            leave.wait(10)
            seen.append(flags(net))

    thread = threading.Thread(target=part)
    with preserved(model):
        thread.start()
        assert inside.wait(10)
    leave.set()
    thread.join(10)
    assert not any(seen[0][0] + seen[0][1])
    assert flags(net) == before


def test_many_threads_leave_the_flags_as_they_were(net):
    net.train()
    before, failed = flags(net), []

    def work():
        for _ in range(30):
            with preserved(net):
                if any(flags(net)[0]) or any(flags(net)[1]):
                    failed.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert flags(net) == before


def test_preserved_restores_the_random_state(net):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with preserved(net):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_preserved_in_a_worker_does_not_turn_back_the_random_numbers_of_the_main_thread(net):
    entered, go = threading.Event(), threading.Event()

    def work():
        with preserved(net):
            entered.set()
            go.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(10)
    first = torch.rand(4)
    go.set()
    thread.join(10)
    assert not torch.equal(torch.rand(4), first)


def test_preserved_does_not_spoil_a_seeded_section_of_another_thread(net):
    """A training step seeds the global generator; a slider's network must neither keep nor turn back that state."""
    seeded_, looked, done = threading.Event(), threading.Event(), []

    def training_step():
        with private_random(7):
            first = torch.rand(3)
            seeded_.set()
            looked.wait(10)
            done.append(torch.cat([first, torch.rand(3)]))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    thread = threading.Thread(target=training_step)
    with preserved(net):
        thread.start()
        seeded_.wait(10)
    looked.set()
    thread.join(10)
    with private_random(7):
        assert torch.equal(torch.rand(6), done[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_private_random_follows_the_seed_and_leaves_the_global_state():
    before = torch.get_rng_state()
    with private_random(5):
        a = torch.rand(3)
    with private_random(5):
        b = torch.rand(3)
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plain_callable_is_let_through():
    entered = False
    with preserved(lambda x: x):
        entered = True
    assert entered


def test_a_hook_is_heard_in_its_own_thread_only(net):
    heard, x = [], pictures(1)
    with activations.hooked(net.conv1, lambda y: heard.append(1)):
        thread = threading.Thread(target=net, args=(x,))
        thread.start()
        thread.join()
        assert heard == []
        net(x)
    net(x)
    assert heard == [1]


def test_no_hook_and_no_gradient_stays_behind_also_after_an_error(net):
    with pytest.raises(ValueError, match="no class 99"):
        activations.activation_and_gradient(net, "conv2", pictures(1), torch.tensor([99]))
    assert not any(m._forward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


class Bypass(nn.Module):
    """One layer the picture does not pass through, one whose output nobody uses."""

    def __init__(self):
        super().__init__()
        self.beside = nn.Conv2d(3, 2, 1, dtype=torch.float64)
        self.unused = nn.Conv2d(3, 2, 1, dtype=torch.float64)
        self.conv = nn.Conv2d(3, 4, 1, dtype=torch.float64)

    def forward(self, x):
        self.unused(x)
        return self.conv(x).mean(dim=(2, 3))


@pytest.mark.parametrize("layer", ["beside", "unused"])
def test_a_layer_that_the_score_does_not_depend_on_is_refused(layer):
    with pytest.raises(ValueError, match=f"do not depend on layer '{layer}'"):
        activations.activation_and_gradient(Bypass(), layer, pictures(1))


def test_a_layer_that_no_picture_passes_through_has_no_activation():
    with pytest.raises(ValueError, match="does not pass through layer 'beside'"):
        activations.activation(Bypass(), "beside", pictures(1))


def test_the_activation_is_what_the_layer_put_out_not_what_an_in_place_relu_made_of_it(net):
    x = pictures(2)
    A, logits = activations.activation(net, "norm", x)
    assert torch.equal(A, net.norm(net.conv1(x)))
    assert (A < 0).any()
    assert torch.equal(logits, net(x))
    B, gradient, scores = activations.activation_and_gradient(net, "norm", x)
    assert torch.equal(A, B)
    assert gradient.shape == A.shape
    assert torch.allclose(scores, net(x))


def test_the_gradient_is_that_of_the_rest_of_the_network(net):
    x, c = pictures(3), torch.tensor([0, 4, 2])
    A, gradient, _ = activations.activation_and_gradient(net, "last", x, c)
    # by hand: last -> mean over places -> head
    expected = net.head.weight[c][:, :, None, None].expand_as(A) / A[0, 0].numel()
    assert torch.allclose(gradient, expected)


def test_of_a_layer_used_twice_the_last_use_counts(net):
    x = pictures(2)
    A, gradient, _ = activations.activation_and_gradient(net, "relu", x)
    assert torch.equal(A, activations.activation(net, "last", x)[0])  # a second ReLU changes nothing
    assert torch.equal(gradient != 0, (A > 0) & (gradient != 0))


def test_many_layers_in_one_pass_and_differentiable(net):
    x = pictures(2).requires_grad_()
    kept, logits = activations.activations(net, ["conv1", net.conv2], x, gradient=True)
    assert list(kept) == ["conv1", "conv2"]
    (gradient,) = torch.autograd.grad(kept["conv2"].sum() + logits.sum(), x)
    assert gradient.abs().sum() > 0
    assert not activations.activations(net, ["conv1"], x)[0]["conv1"].requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_computed_inside_no_grad_and_inference_mode(net, mode):
    x, c = pictures(2), torch.tensor([1, 2])
    expected = activations.activation_and_gradient(net, "last", x, c)[1]
    with mode():
        assert torch.equal(activations.activation_and_gradient(net, "last", x + 0, c + 0)[1], expected)


def test_a_layer_is_found_by_name_by_itself_and_by_default(net):
    model = models.wrap(net, input_size=16)
    assert activations.find_layer(model, "conv2") == ("conv2", net.conv2)
    assert activations.find_layer(model, "network.conv2")[1] is net.conv2
    assert activations.find_layer(model, net.conv2) == ("conv2", net.conv2)
    assert activations.find_layer(model)[0] == model.layers[-1] == "last"
    assert activations.find_layer(net, None, pictures(1))[0] == "last"
    with pytest.raises(ValueError, match="pass layer="):
        activations.find_layer(net)


def test_an_unknown_layer_names_the_nearest(net):
    with pytest.raises(ValueError, match="no layer 'conv4'.*'conv[123]'"):
        activations.find_layer(net, "conv4")
    with pytest.raises(ValueError, match="not part of this network"):
        activations.find_layer(net, nn.ReLU())


def test_a_network_without_maps_has_no_default_layer():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 4)).double()
    with pytest.raises(ValueError, match="no layer of this network keeps a map"):
        activations.find_layer(flat, None, pictures(1))


def test_a_layer_that_puts_out_a_tuple_is_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            return self.two(x)[0].mean(dim=(2, 3))

    with pytest.raises(ValueError, match="'two' returns a tuple"):
        activations.activation(Net(), "two", pictures(1))


def test_a_network_that_returns_no_scores_is_refused():
    maps = nn.Sequential(nn.Conv2d(3, 2, 1)).double()
    with pytest.raises(ValueError, match=r"must return scores \(N, K\), got \(2, 2, 16, 16\) for 2 images"):
        activations.activation_and_gradient(maps, "0", pictures(2))
