"""Inversion: a code is met where it can be, pictures stay pictures, and what is maximized grows, before its ReLU."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.core.progress import Cancelled, Reporter
from xai_lessons.data import menagerie
from xai_lessons.methods.inversion import (
    Inversion,
    fourier_amplitudes,
    fourier_image,
    invert,
    maximize,
    similarity,
    total_variation,
)


class Same(nn.Module):
    """Two layers, whose outputs are the image itself and what is above 0.6 of it; logits are the mean colors."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(x * self.scale)
        return self.relu(x - 2).mean(dim=(2, 3)) + x.mean(dim=(2, 3))


def test_total_variation_by_hand() -> None:
    x = torch.zeros(3, 3, 3, dtype=torch.float64)
    assert total_variation(x) < 1e-8
    x[0, 1, 1] = 1
    # of twelve places the one above, the one left of it and itself see a step: 1, 1 and 1 + 1
    assert total_variation(x, beta=2) == pytest.approx(4 / 12)
    assert total_variation(x, beta=1) == pytest.approx((2 + 2**0.5) / 12, abs=1e-5)
    assert total_variation(x[None].expand(2, -1, -1, -1)).shape == (2,)


def test_total_variation_has_a_slope_everywhere() -> None:
    x = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total_variation(x).sum(), x)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_the_waves_give_every_image_back() -> None:
    for height, width in ((8, 8), (7, 9), (6, 11), (1, 1)):
        x = 0.01 + 0.98 * torch.rand(
            2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        u = fourier_amplitudes(x)
        assert u.shape == (2, 3, height, width // 2 + 1, 2)
        assert torch.allclose(fourier_image(u, width), x, atol=1e-9)
        u = fourier_amplitudes(x.float())
        assert u.dtype == torch.float32
        assert torch.allclose(fourier_image(u, width), x.float(), atol=1e-4)


def test_a_wave_is_a_cosine_in_one_mixed_color() -> None:
    """The sum of waves written out, with the colors of Olah et al."""
    u = torch.zeros(1, 3, 8, 5, 2, dtype=torch.float64)
    u[0, 1, 2, 3, 0] = 0.7  # the second channel, two periods down and three across, real part
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    frequency = (2**2 + 3**2) ** 0.5 / 8
    wave = 2 * 0.7 / frequency / 8 * torch.cos(2 * torch.pi * (2 * y + 3 * x) / 8)  # with its conjugate; ortho: / 8
    largest = (0.26**2 + 0.27**2 + 0.27**2) ** 0.5
    expected = torch.stack([0.09 / largest * wave, 0 * wave, -0.09 / largest * wave]).sigmoid()
    assert torch.allclose(fourier_image(u, 8)[0], expected.double(), atol=1e-6)


def test_the_waves_have_finite_gradients_everywhere() -> None:
    for x in (torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)):
        u = fourier_amplitudes(x).requires_grad_()
        assert u.isfinite().all()
        (slope,) = torch.autograd.grad(fourier_image(u, 8).square().sum(), u)
        assert slope.isfinite().all()
    u = torch.randn(1, 3, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: fourier_image(u, 4), u)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs"])
def test_the_picture_itself_comes_back(optimizer: str) -> None:
    x = pictures(2, 8) * 0.8 + 0.1
    rate = 0.1 if optimizer == "sgd" else None
    found = invert(Same(), x, layer="same", tv=0.0, optimizer=optimizer, learning_rate=rate)
    assert (found.images - x).abs().max() < 0.01
    assert (found.losses[:, -1] < 1e-3).all()
    assert (found.losses[:, 0] > 0.05).all()


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs"])
def test_the_picture_itself_comes_back_in_waves(optimizer: str) -> None:
    """Fine waves in weak colors come last: a gradient alone is slow there, L-BFGS is not."""
    x = pictures(2, 8) * 0.8 + 0.1
    rate = {"adam": 0.2, "sgd": 0.1, "lbfgs": None}[optimizer]
    found = invert(Same(), x, layer="same", tv=0.0, optimizer=optimizer, learning_rate=rate, parametrization="fourier")
    assert (found.losses[:, 0] > 0.05).all()
    assert (found.losses[:, -1] < {"adam": 1e-3, "sgd": 1e-2, "lbfgs": 1e-5}[optimizer]).all()
    if optimizer == "lbfgs":
        assert (found.images - x).abs().max() < 0.01


@pytest.mark.parametrize("net", [PoolingNet, FlatNet])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs"])
def test_every_layer_can_be_inverted(net: type[nn.Module], optimizer: str) -> None:
    model, x = seeded(net), pictures(2)
    rate = 0.01 if optimizer == "sgd" else None
    for layer in ("conv1", "conv2", "head" if net is PoolingNet else "fc1"):
        found = invert(model, x, layer=layer, steps=30, tv=0.01, optimizer=optimizer, learning_rate=rate)
        assert isinstance(found, Inversion)
        assert found.images.shape == x.shape
        assert found.losses.shape == (2, 30)
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert (found.losses[:, -1] < 0.8 * found.losses[:, 0]).all(), layer


def test_a_batch_is_its_pictures_one_by_one() -> None:
    model, x = seeded(PoolingNet), pictures(3)
    for optimizer, parametrization in itertools.product(("adam", "sgd", "lbfgs"), ("pixels", "fourier")):
        options = {"layer": "conv2", "steps": 12, "jitter": 2}
        options |= {"optimizer": optimizer, "parametrization": parametrization}
        both = invert(model, x, **options)
        one = invert(model, x[1], **options)
        assert one.images.shape == (3, 16, 16)
        assert one.losses.shape == (12,)
        assert torch.allclose(both.images[1], one.images, atol=1e-9)
        assert torch.allclose(both.losses[1], one.losses, atol=1e-9)
        small = invert(model, x, batch_size=2, **options)
        assert torch.allclose(both.images, small.images, atol=1e-9)


def test_the_mean_code_of_several() -> None:
    x = pictures(4, 8)
    found = invert(Same(), x, layer="same", tv=0.0, mean=True)
    assert found.images.shape == (3, 8, 8)
    assert (found.images - x.mean(dim=0)).abs().max() < 0.01


def test_more_total_variation_gives_a_calmer_picture() -> None:
    model, x = seeded(PoolingNet), pictures(1)
    rough, calm = (invert(model, x, layer="conv1", tv=tv, steps=60).images for tv in (0.0, 5.0))
    assert total_variation(calm) < 0.5 * total_variation(rough)


def test_jitter_and_seed_change_the_way() -> None:
    model, x = seeded(PoolingNet), pictures(1)
    for parametrization in ("pixels", "fourier"):
        a, b, c, d = (
            invert(model, x, layer="conv1", steps=10, parametrization=parametrization, **options).images
            for options in ({}, {}, {"seed": 1}, {"jitter": 3})
        )
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)
        assert not torch.allclose(a, d)


def test_both_parametrizations_start_from_the_same_noise_in_the_dtype_of_the_network() -> None:
    for dtype in (torch.float32, torch.float64):
        model, x = seeded(PoolingNet).to(dtype), pictures(1).to(dtype)
        both = [
            invert(model, x, layer="conv1", steps=3, parametrization=parametrization)
            for parametrization in ("pixels", "fourier")
        ]
        assert all(found.images.dtype == dtype for found in both)
        assert torch.allclose(both[0].losses[:, 0], both[1].losses[:, 0], rtol=1e-5)


def test_fourier_steps_change_a_picture_more_by_smooth_waves_than_fine_ones() -> None:
    model, x = seeded(FlatNet), pictures(1)
    fine = {}
    for parametrization in ("pixels", "fourier"):
        change = invert(model, x, layer="conv1", steps=1, tv=0.0, parametrization=parametrization).images
        power = torch.fft.rfft2(change - invert(model, x, layer="conv1", steps=1, learning_rate=0.0).images).abs() ** 2
        fine[parametrization] = float(power[..., 4:12, :].sum() / power.sum())
    assert fine["fourier"] < 0.5 * fine["pixels"]


def test_it_leaves_everything_as_it_was_also_when_cancelled() -> None:
    model, x = seeded(PoolingNet).train(), pictures(1)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before, modes = torch.get_rng_state(), [m.training for m in model.modules()]

    def stop(done: int, total: int) -> None:
        assert total == 50
        if done == 5:
            raise Cancelled

    with torch.no_grad(), pytest.raises(Cancelled):
        invert(model, x, layer="conv2", steps=50, progress=stop)
    with torch.inference_mode():
        maximize(model, 1, layer="conv2", size=16, steps=3)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_picture_is_seen_while_it_forms() -> None:
    class Watch(Reporter):
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def intermediate(self, images: Tensor) -> None:
            self.seen.append(images.clone())

        def update(self, done: int, total: int) -> None:
            assert (done, total) == (len(self.seen), 8)

    watch = Watch()
    found = invert(seeded(PoolingNet), pictures(1), layer="conv1", steps=8, progress=watch)
    assert len(watch.seen) == 8
    assert torch.equal(watch.seen[-1], found.images)
    assert not torch.equal(watch.seen[0], found.images)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("where", ["everywhere", "center"])
@pytest.mark.parametrize("parametrization", ["pixels", "fourier"])
def test_what_is_maximized_grows(optimizer: str, where: str, parametrization: str) -> None:
    model = seeded(PoolingNet)
    search = {"steps": 8, "tv": 0.0, "jitter": 0, "optimizer": optimizer, "parametrization": parametrization}
    for layer in (None, "conv1", "relu", "last", "head"):
        found = maximize(model, [0, 1, 2, 3, 4], layer=layer, size=16, where=where, **search)
        assert found.images.shape == (5, 3, 16, 16)
        assert (found.losses[:, -1] < found.losses[:, 0]).all(), layer
        assert found.images.min() >= 0
        assert found.images.max() <= 1


def test_a_class_becomes_its_color() -> None:
    red = maximize(Same(), 0, size=8, tv=0.0, steps=100).images
    assert (red[0] > 0.99).all()
    assert (red[1:] - 0.5).abs().max() < 0.4


def test_before_the_relu_a_shut_channel_still_has_a_slope() -> None:
    found = maximize(Same(), 1, layer="relu", size=8, tv=0.0, steps=100)
    assert found.losses[0] > 1, "x - 2 is never positive: after the ReLU all is zero"
    assert (found.images[1] > 0.99).all(), "before it the picture can be brightened"


def test_a_layer_before_an_inplace_relu_is_taken_as_it_was() -> None:
    model = seeded(PoolingNet)
    start = maximize(model, 2, layer="norm", size=16, steps=1, tv=0.0, jitter=0)
    with torch.no_grad():
        from xai_lessons.methods.inversion import _noise

        expected = model.norm(model.conv1(_noise((3, 16, 16), 0)[None]))[0, 2].mean()
    assert -start.losses[0] == pytest.approx(float(expected))


def test_names_of_classes() -> None:
    model = seeded(PoolingNet)
    model.classes = ("a", "b", "c", "d", "e")
    by_name, by_number = (maximize(model, what, size=16, steps=3).images for what in ("c", 2))
    assert torch.equal(by_name, by_number)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, x: invert(m, x, optimizer="newton"), "optimizer must be"),
        (lambda m, x: invert(m, x, parametrization="wavelets"), "parametrization must be 'pixels' or 'fourier'"),
        (lambda m, x: invert(m, x, steps=0), "steps must be at least 1"),
        (lambda m, x: invert(m, x, tv=-1.0), "tv must be at least 0"),
        (lambda m, x: invert(m, x, jitter=9), "jitter must be at least 0 and at most 8"),
        (lambda m, x: invert(m, x, layer="conv9"), "no layer 'conv9'"),
        (lambda m, x: invert(m, x * 3), "images must be in"),
        (lambda m, x: maximize(m, 5, size=16), "there is no channel 5: the network has 0 to 4"),
        (lambda m, x: maximize(m, 6, layer="conv1", size=16), "there is no channel 6: layer 'conv1' has 0 to 5"),
        (lambda m, x: maximize(m, -1, size=16), "there is no class -1"),
        (lambda m, x: maximize(m, 0, where="corner"), "where must be"),
    ],
)
def test_bad_options_are_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(seeded(PoolingNet), pictures())


def test_a_plain_function_has_no_layers() -> None:
    with pytest.raises(TypeError, match="takes a network, an nn.Module, got function"):
        invert(lambda x: x.mean(dim=(2, 3)), pictures())


def test_similarity_is_a_correlation():
    image = menagerie.draw("elephant", 0).image
    assert all(value == pytest.approx(1, abs=1e-4) for value in similarity(image, image).values())
    gray = similarity(image.mean(0, keepdim=True).expand(3, -1, -1), image)
    assert gray["light"] == pytest.approx(1, abs=1e-4)
    assert gray["place"] == pytest.approx(1, abs=1e-4)
    assert abs(gray["color"]) < 1e-3
    assert similarity(1 - image, image)["color"] == pytest.approx(-1, abs=1e-4)
    assert similarity(0.5 * image + 0.3, image)["place"] == pytest.approx(1, abs=1e-4)  # lines, however bright
    shifted = similarity(image.roll((40, 40), (1, 2)), image)
    assert shifted["place"] < 0.5


def test_waves_and_a_single_step_take_pictures_that_are_not_square():
    x = pictures(2)[:, :, :10, :7]
    for parametrization in ("pixels", "fourier"):
        found = invert(Same(), x, layer="same", steps=1, parametrization=parametrization)
        assert (found.images.shape, found.losses.shape) == (x.shape, (2, 1))


def test_a_code_of_zeros_gives_finite_losses():
    found = invert(Same(), torch.zeros(1, 3, 8, 8, dtype=torch.float64), layer="same", steps=2)
    assert found.losses.isfinite().all()
