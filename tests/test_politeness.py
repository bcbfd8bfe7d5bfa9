"""Every method leaves the network, the pictures and the random state as they were, whatever happens in the middle."""

from __future__ import annotations

import random
import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import _len_torch_function_stack

from methods import METHODS, Method
from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.core.progress import Cancelled

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
few = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
MODES = {"plain": nullcontext, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def network(method: Method, kind: type = PoolingNet, dtype: torch.dtype = torch.float64, **options: int) -> nn.Module:
    return seeded(PoolingNet if method.needs == "pooling" else kind, seed=2, dtype=dtype, **options)


def tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor | float):
        return [torch.as_tensor(result, dtype=None if isinstance(result, Tensor) else torch.float64)]
    return [t for part in result for t in tensors(part)] if isinstance(result, tuple | list) else []


def state(net: nn.Module) -> dict[str, Any]:
    """Everything that a method could leave changed."""
    return {
        "training": {name: m.training for name, m in net.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in net.named_parameters()},
        "grad": {name: p.grad is None for name, p in net.named_parameters()},
        "values": {name: t.detach().numpy().tobytes() for name, t in net.state_dict().items()},
        "strides": {name: t.stride() for name, t in net.state_dict().items()},
        "hooks": {name: [len(getattr(m, hooks)) for hooks in HOOKS] for name, m in net.named_modules()},
        "attributes": {name: sorted(vars(m)) for name, m in net.named_modules()},
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "modes": _len_torch_function_stack(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
    }


def assert_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    for what, value in before.items():
        assert after[what] == value, f"{what} was left changed"


class Breaks(nn.Module):
    """A network that raises in its n-th forward pass, counted from now."""

    def __init__(self, net: nn.Module, after: int) -> None:
        super().__init__()
        self.net, self.left = net, [after]

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise RuntimeError("broken on purpose")
        return self.net(x)


@every_method
@few
@given(
    kind=st.sampled_from([PoolingNet, FlatNet]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    frozen=st.booleans(),
    training=st.booleans(),
    mode=st.sampled_from(list(MODES)),
    targets=st.sampled_from([None, 1, [0, 3], torch.tensor([2, 1])]),
    data=st.data(),
)
def test_nothing_is_left_changed(method: Method, kind, dtype, frozen, training, mode, targets, data) -> None:
    net, x = network(method, kind, dtype), pictures(2, dtype=dtype)
    net.requires_grad_(not frozen)
    net.train(training)
    if training:
        net.dropout = nn.Dropout(0.5).eval()  # flags may differ from module to module
    x0, random_state = x.clone(), state(net)
    with MODES[mode]():
        before = state(net)
        result = method(net, x, targets)
        assert_same_state(before, state(net))
    assert_same_state(random_state, state(net))
    assert torch.equal(x, x0)
    assert x.grad is None
    assert finite(method, result)
    for t in tensors(result):
        assert not t.requires_grad
        assert len(t) == 2
    for t in tensors(result):
        if method.returns == "heatmap":
            assert t.shape == (2, 16, 16)
        if method.returns == "attribution":
            assert t.shape == (2, 3, 16, 16)
        assert t.dtype == dtype or not t.is_floating_point() or method.name == "smallest_epsilon"


@every_method
@few
@given(after=st.integers(0, 6), training=st.booleans())
def test_an_exception_in_the_middle_leaves_nothing_changed(method: Method, after: int, training: bool) -> None:
    inner, x = network(method), pictures(2)
    net = Breaks(inner, after)
    net.train(training)
    before = state(net)
    try:
        method(net, x, 1, batch_size=1)
        finished = True
    except RuntimeError as error:
        assert "broken on purpose" in str(error)  # noqa: PT017
        finished = False
    assert_same_state(before, state(net))
    assert finished or net.left[0] < 0
    net.left[0] = 10**6
    torch.testing.assert_close(tensors(method(net, x, 1)), tensors(method(network(method), x, 1)))


@every_method
@few
@given(stop=st.integers(1, 4))
def test_cancelling_leaves_nothing_changed(method: Method, stop: int) -> None:
    net, x = network(method), pictures(3)
    before = state(net)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == stop:
            raise Cancelled

    try:
        method(net, x, 1, batch_size=1, progress=progress)
    except Cancelled:
        assert len(seen) == stop
    else:
        assert len(seen) < stop
        assert seen[-1][0] == seen[-1][1], "progress ends at its total"
    assert_same_state(before, state(net))
    assert all(0 < done <= total for done, total in seen)


@every_method
@few
@given(kind=st.sampled_from([PoolingNet, FlatNet]), batch_size=st.sampled_from([1, 2, 3, 7, 64]), n=st.integers(1, 4))
def test_a_batch_equals_one_by_one(method: Method, kind: type, batch_size: int, n: int) -> None:
    net, x = network(method, kind), pictures(n)
    targets = [k % 5 for k in range(n)]
    whole = tensors(method(net, x, targets, batch_size=batch_size))
    for i in range(n):
        single = tensors(method(net, x[i], targets[i]))
        for one, many in zip(single, whole, strict=True):
            assert one.shape == many.shape[1:]
            torch.testing.assert_close(one, many[i], rtol=1e-7, atol=1e-10)


@every_method
def test_same_call_same_answer(method: Method) -> None:
    net, x = network(method), pictures(2)
    first = tensors(method(net, x, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002
        again = tensors(method(net, x, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if method.random:
        other = tensors(method(net, x, 1, seed=7))
        assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True)), "the seed makes a difference"


@every_method
def test_the_mode_makes_no_difference(method: Method) -> None:
    net, x = network(method), pictures(2)
    plain = tensors(method(net, x, 1))
    for mode in ("no_grad", "inference_mode"):
        with MODES[mode]():
            inside = tensors(method(net, x.clone(), 1))
        torch.testing.assert_close([t.clone() for t in inside], plain, msg=f"{mode} changes the answer")


@every_method
def test_training_mode_makes_no_difference(method: Method) -> None:
    """Batch norm and dropout are used as in eval mode, and the running statistics stay."""
    net, x = network(method), pictures(3)
    expected = tensors(method(net, x, 1))
    net.train()
    torch.testing.assert_close(tensors(method(net, x, 1)), expected)
    assert net.training


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
    "expanded": lambda x: x[:1].expand(2, -1, -1, -1),
    "flipped": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@every_method
def test_the_layout_makes_no_difference(method: Method) -> None:
    net, x = network(method), pictures(2)
    expected = {False: tensors(method(net, x, 1)), True: tensors(method(net, x[:1].repeat(2, 1, 1, 1), 1))}
    for name, layout in LAYOUTS.items():
        torch.testing.assert_close(
            tensors(method(net, layout(x), 1)), expected[name == "expanded"], msg=f"{name} changes the answer"
        )


def finite(method: Method, result: Any) -> bool:
    """Whether all values are; the smallest epsilon may be infinite."""
    return method.name == "smallest_epsilon" or all(torch.isfinite(t).all() for t in tensors(result))


@every_method
@pytest.mark.parametrize("kind", [PoolingNet, FlatNet])
def test_constant_images_give_finite_maps(method: Method, kind: type) -> None:
    for dtype in (torch.float32, torch.float64):
        for level in (0.0, 0.5, 1.0):
            x = torch.full((2, 3, 16, 16), level, dtype=dtype)
            assert finite(method, method(network(method, kind, dtype), x, 1)), f"{dtype}, level {level}"


@every_method
def test_the_smallest_images(method: Method) -> None:
    for size in (4, 5, 8):
        assert finite(method, method(network(method), pictures(2, size=size), 1)), f"{size} pixels"


def one_sentence(error: Exception) -> bool:
    text = str(error)
    return 10 < len(text) < 300 and "\n" not in text and "Traceback" not in text


BAD_PICTURES = {
    "NaN": lambda x: torch.where(x > 0.5, torch.nan, x),
    "infinite": lambda x: x / 0,
    "bytes": lambda x: (x * 255).byte(),
    "0 to 255": lambda x: x * 255,
    "normalized": lambda x: (x - 0.5) / 0.2,
    "gray": lambda x: x[:, :1],
    "four channels": lambda x: torch.cat([x, x[:, :1]], dim=1),
    "channels at the end": lambda x: x.permute(0, 2, 3, 1),
    "five axes": lambda x: x[None],
    "two axes": lambda x: x[0, 0],
    "none at all": lambda x: x[:0],
    "numpy": lambda x: x.numpy(),
    "a list": lambda x: list(x),
    "a path": lambda _: "cat.jpg",
}


BAD_TARGETS = (-1, "cat", 1.5, True, [0], [0, 1, 2], torch.tensor([0.0, 1.0]), {"cat"})


@every_method
def test_bad_images_are_refused_before_any_computing(method: Method) -> None:
    net = Breaks(network(method), 0)  # raises RuntimeError if it runs at all
    for name, bad in BAD_PICTURES.items():
        with pytest.raises((TypeError, ValueError)) as refusal:
            method(net, bad(pictures(2)), 1)
        assert one_sentence(refusal.value), name


@every_method
def test_bad_targets_are_refused_before_any_computing(method: Method) -> None:
    net = Breaks(network(method), 0)
    for targets in BAD_TARGETS:
        with pytest.raises((TypeError, ValueError)) as refusal:
            method(net, pictures(2), targets)
        assert one_sentence(refusal.value), repr(targets)


@every_method
def test_a_class_that_is_not_there_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="no class 99") as refusal:
        method(network(method), pictures(2), 99)
    assert one_sentence(refusal.value)


@every_method
def test_a_bad_batch_size_is_refused(method: Method) -> None:
    for bad in (0, 1.5):
        with pytest.raises((TypeError, ValueError), match="batch_size"):
            method(network(method), pictures(2), 1, batch_size=bad)


@every_method
def test_options_are_keyword_only(method: Method) -> None:
    with pytest.raises(TypeError):
        method.function(network(method), pictures(2), 1, 4)


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.needs == "callable"], ids=lambda m: m.name)
def test_any_callable_will_do(method: Method) -> None:
    net, x = network(method), pictures(2)
    net.requires_grad_(requires_grad=False)
    torch.testing.assert_close(tensors(method(lambda x: net(x), x, 1)), tensors(method(net, x, 1)))


@every_method
def test_two_threads_may_ask_the_same_network_at_once(method: Method) -> None:
    net, x = network(method).train(), pictures(2)
    before = state(net)
    expected = [tensors(method(net, x, c)) for c in (0, 1)]
    found: list[list[Tensor]] = [[], []]
    together = threading.Barrier(2, timeout=20)

    def ask(c: int) -> None:
        together.wait()
        for _ in range(3):
            found[c] = tensors(method(net, x, c))

    threads = [threading.Thread(target=ask, args=(c,)) for c in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(found, expected)
    assert_same_state(before, state(net))
