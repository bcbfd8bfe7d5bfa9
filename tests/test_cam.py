"""The class-activation family: its theorems, values worked out by hand, and the contract."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons.methods import cam

GRADIENT_CAMS = [cam.grad_cam, cam.grad_cam_plus_plus, cam.layer_cam, cam.hires_cam]
ALL = [cam.cam, *GRADIENT_CAMS, cam.score_cam]
RELU = {"layer": "last"}


class ByHand(nn.Module):
    """Two maps, the red and the green channel; logits 0.5 mean(red) - 2 mean(green) + 1, and twice mean(green)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:2, :, None, None])
            self.head.weight.copy_(torch.tensor([[0.5, -2.0], [0.0, 2.0]]))
            self.head.bias.copy_(torch.tensor([1.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x).mean(dim=(2, 3)))


@pytest.fixture
def by_hand() -> tuple[nn.Module, Tensor]:
    """A 4 x 4 picture: red in the upper half, darker in one corner; green 1 at one place, 0.125 below it."""
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    x[0, 0, :2] = 1
    x[0, 0, 0, 0] = 0.25
    x[0, 1, 1, 3] = 1
    x[0, 1, 2, 3] = 0.125
    return ByHand().double().eval(), x


def test_cam_by_hand(by_hand: tuple[nn.Module, Tensor]) -> None:
    net, x = by_hand
    M = cam.cam(net, x, 0, size=None)[0]
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[:2] = 0.5
    expected[0, 0] = 0.125
    expected[1, 3] = 0.5 - 2
    expected[2, 3] = -0.25
    assert torch.equal(M, expected)
    assert M.mean() + 1 == net(x)[0, 0]
    assert torch.equal(cam.cam(net, x, 0)[0], expected.relu()), "at the picture's size it is rectified"


def test_gradient_cams_by_hand(by_hand: tuple[nn.Module, Tensor]) -> None:
    net, x = by_hand
    red, green = x[0, 0], x[0, 1]
    alpha = torch.tensor([0.5, -2.0]) / 16  # the gradient is the same at all 16 places
    expected = (alpha[0] * red + alpha[1] * green).relu()
    for method in (cam.grad_cam, cam.hires_cam):
        assert torch.allclose(method(net, x, 0, size=None)[0], expected)
    assert torch.allclose(cam.layer_cam(net, x, 0, size=None)[0], red / 32)
    # g = 1/32, sum of red 7.25: alpha = 1 / (2 + 7.25 / 32) at 16 places, w = 16 alpha g
    assert torch.allclose(cam.grad_cam_plus_plus(net, x, 0, size=None)[0], red * 0.5 / (2 + 7.25 / 32))


def test_score_cam_by_hand(by_hand: tuple[nn.Module, Tensor]) -> None:
    net, x = by_hand
    red, green = x[0, 0], x[0, 1]
    Y = torch.stack([net(x * mask)[0, 0] for mask in (red, green)])  # both maps already run from 0 to 1
    a = Y.exp() / Y.exp().sum()
    expected = a[0] * red + a[1] * green
    assert torch.allclose(cam.score_cam(net, x, 0, size=None)[0], expected.detach())


class ClassMaps(nn.Module):
    """SqueezeNet's head: a 1 x 1 convolution to one map per class, a ReLU, global average pooling."""

    def __init__(self, relu: nn.Module, functional: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(6, 4, 1)
        self.relu, self.functional = relu, functional

    def forward(self, x: Tensor) -> Tensor:
        maps = self.head(self.features(x))
        return F.adaptive_avg_pool2d(F.relu(maps) if self.functional else self.relu(maps), 1).flatten(1)


@pytest.mark.parametrize(
    ("relu", "functional"), [(nn.Identity(), False), (nn.ReLU(), False), (nn.ReLU(inplace=True), False), (None, True)]
)
def test_the_map_of_a_class_is_the_cam_where_pooling_alone_follows(relu, functional) -> None:
    net, x = seeded(ClassMaps, relu=relu or nn.Identity(), functional=functional), pictures()
    A = net.features(x).detach()
    W, b = net.head.weight.detach()[:, :, 0, 0], net.head.bias.detach()
    M = torch.stack([W[c] @ A[n].flatten(1) + b[c] for n, c in enumerate((1, 3, 0))]).view(3, 16, 16)  # by hand
    M = M.relu() if functional or not isinstance(relu, nn.Identity) else M
    ours = cam.cam(net, x, [1, 3, 0], size=None)
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, M)
    torch.testing.assert_close(ours.mean(dim=(1, 2)), net(x).detach()[[0, 1, 2], [1, 3, 0]])
    torch.testing.assert_close(cam.cam(net, x)[0], cam.cam(net, x[0], int(net(x[:1]).argmax())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grad_cam_is_rectified_cam_over_z(dtype: torch.dtype) -> None:
    net, x = seeded(PoolingNet, dtype=dtype), pictures(dtype=dtype)
    Z = 8 * 8
    assert cam.grad_cam(net, x, 3, size=None).max() > 0
    for target in range(5):
        M = cam.cam(net, x, target, size=None)
        L = cam.grad_cam(net, x, target, size=None)
        torch.testing.assert_close(L, M.relu() / Z, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-8)


def test_mean_of_cam_and_bias_is_the_logit() -> None:
    net, x = seeded(PoolingNet), pictures()
    M = cam.cam(net, x, [0, 1, 2], size=None)
    Y = net(x).gather(1, torch.tensor([[0], [1], [2]]))[:, 0]
    torch.testing.assert_close(M.mean(dim=(1, 2)) + net.head.bias[:3], Y, rtol=1e-12, atol=0)


def test_hires_cam_sums_to_the_logit_where_one_linear_layer_follows() -> None:
    class Flat(FlatNet):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.fc1(self.pool(F.relu(self.conv1(x))).flatten(1)))

    net, x = seeded(Flat, size=31), pictures(size=16)
    from xai_lessons.methods import saliency

    with torch.no_grad():
        for fc in (net.fc1, net.fc2):
            fc.bias.zero_()
    total = saliency.layer_gradient_x_activation(net, x, 1, layer="pool").sum(dim=(1, 2, 3))
    torch.testing.assert_close(total, net(x)[:, 1].detach())


@pytest.mark.parametrize("method", GRADIENT_CAMS)
def test_slow_loop(method) -> None:
    """Each place's gradient by central differences of the head; the formula written out in loops."""
    net, x = seeded(FlatNet), pictures(1)
    A = net.conv2(net.pool(F.relu(net.conv1(x)))).detach()

    def score(A: Tensor) -> float:
        with torch.no_grad():
            return float(net.fc2(F.relu(net.fc1(net.pool(F.relu(A)).flatten(1))))[0, 2])

    K, h, w = A.shape[1:]
    g, L = torch.zeros(K, h, w, dtype=torch.float64), torch.zeros(h, w, dtype=torch.float64)
    for k in range(K):
        for i in range(h):
            for j in range(w):
                step = torch.zeros_like(A)
                step[0, k, i, j] = 1e-7
                g[k, i, j] = (score(A + step) - score(A - step)) / 2e-7
    for k in range(K):
        total = float(A[0, k].sum())
        plus = sum(max(float(v), 0) * v**2 / (2 * v**2 + v**3 * total) for v in g[k].flatten().tolist() if v)
        for i in range(h):
            for j in range(w):
                weight = {
                    cam.grad_cam: float(g[k].mean()),
                    cam.hires_cam: float(g[k, i, j]),
                    cam.layer_cam: max(float(g[k, i, j]), 0),
                    cam.grad_cam_plus_plus: plus,
                }[method]
                L[i, j] += weight * float(A[0, k, i, j])
    ours = method(net, x, 2, layer="conv2", size=None)[0]
    torch.testing.assert_close(ours, L.clamp(min=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ALL)
def test_resized_bicubically_then_rectified(method) -> None:
    net, x = seeded(PoolingNet), pictures()
    options = {} if method is cam.cam else RELU
    if method is cam.cam:
        raw = cam.cam(net, x, 4, size=None)
        assert raw.min() < 0
    else:
        signed = []

        def keep(maps: Tensor, size: tuple[int, int]) -> Tensor:
            signed.append(maps)
            return F.interpolate(maps[:, None], size=size, mode="bicubic")[:, 0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cam, "resize", keep)
            method(net, x, 4, **options)
        raw = torch.cat(signed)
    expected = F.interpolate(raw[:, None], size=(16, 16), mode="bicubic")[:, 0].relu()
    torch.testing.assert_close(method(net, x, 4, **options), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("method", ALL)
def test_shapes_and_targets(method) -> None:
    net, x = seeded(PoolingNet), pictures()
    assert method(net, x).shape == (3, 16, 16)
    assert method(net, x[0]).shape == (16, 16)
    assert method(net, x, size=None).shape == (3, 8, 8)
    assert method(net, x, size=20).shape == (3, 20, 20)
    assert method(net, x, size=(10, 12)).shape == (3, 10, 12)
    best = net(x).argmax(dim=1)
    torch.testing.assert_close(method(net, x), method(net, x, best))
    torch.testing.assert_close(method(net, x, best), method(net, x, best.tolist()))
    assert not torch.allclose(method(net, x, 0), method(net, x, 1)), "the class makes a difference"
    for size in ("large", (4, 4, 4), (0, 4)):
        with pytest.raises(ValueError, match="size must be"):
            method(net, x, size=size)
    with pytest.raises(ValueError, match="no class 7"):
        method(net, x, 7)


@pytest.mark.parametrize("method", [*GRADIENT_CAMS, cam.score_cam])
def test_layers(method) -> None:
    net, x = seeded(PoolingNet), pictures()
    assert torch.equal(method(net, x, 1), method(net, x, 1, layer="last"))
    assert torch.equal(method(net, x, 1, layer="conv2"), method(net, x, 1, layer=net.conv2))
    with pytest.raises(ValueError, match="conv2"):
        method(net, x, 1, layer="konv2")
    with pytest.raises(ValueError, match="maps"):
        method(net, x, 1, layer="head")


def test_activation_survives_an_in_place_relu() -> None:
    """A is the layer's output, not what an in-place ReLU made of it afterwards."""
    net, x = seeded(PoolingNet), pictures()
    A = net.norm(net.conv1(x)).detach()
    assert A.min() < 0
    L = cam.hires_cam(net, x, 1, layer="norm", size=None)

    A.requires_grad_()
    (g,) = torch.autograd.grad(net.head(_tail(net, A).mean(dim=(2, 3)))[:, 1].sum(), A)
    torch.testing.assert_close(L, (g * A).sum(dim=1).relu().detach())


def _tail(net: nn.Module, A: Tensor) -> Tensor:
    y = A.relu()
    return (net.conv3(F.relu(net.conv2(y))) + y).relu()


def test_cam_is_refused_without_a_pooling_head() -> None:
    with pytest.raises(ValueError, match=r"cam\.grad_cam"):
        cam.cam(seeded(FlatNet), pictures())

    class NotQuite(PoolingNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 1.01  # the right shapes and the wrong function

    with pytest.raises(ValueError, match=r"cam\.grad_cam"):
        cam.cam(seeded(NotQuite), pictures())


def test_cam_finds_a_last_relu_that_is_no_module() -> None:
    class LikeDenseNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.adaptive_avg_pool2d(F.relu(self.features(x)), 1).flatten(1))

    net, x = seeded(LikeDenseNet), pictures()
    M = cam.cam(net, x, 2, size=None)
    torch.testing.assert_close(M.mean(dim=(1, 2)) + net.head.bias[2], net(x)[:, 2])


@pytest.mark.parametrize("method", ALL)
def test_a_plain_callable_is_refused(method) -> None:
    with pytest.raises(TypeError, match=r"occlusion"):
        method(lambda x: x.mean(dim=(2, 3)), pictures(), 0)


def test_score_cam_does_not_depend_on_how_passes_fall_into_batches() -> None:
    net, x = seeded(PoolingNet), pictures()
    seen = []
    once = cam.score_cam(net, x, 1, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    torch.testing.assert_close(once, cam.score_cam(net, x, 1, batch_size=64))
    assert seen[-1] == (3 * 6, 3 * 6)
    assert len(seen) == 5


def test_score_cam_fast_is_near() -> None:
    net, x = seeded(PoolingNet, dtype=torch.float32), pictures(dtype=torch.float32)
    exact, fast = cam.score_cam(net, x, 1), cam.score_cam(net, x, 1, fast=True)
    assert fast.dtype == torch.float32
    assert (exact - fast).abs().max() < 0.03 * exact.max()


def test_score_cam_with_a_dead_channel_is_finite() -> None:
    net, x = seeded(PoolingNet), pictures()
    with torch.no_grad():
        net.conv3.weight[2] = 0
        net.conv3.bias[2] = -100
    assert torch.isfinite(cam.score_cam(net, x, 1)).all()


@pytest.mark.parametrize(
    ("pixels", "threshold", "box"),
    [
        ({(1, 2): 1.0, (2, 4): 0.5}, 0.2, [2, 1, 3, 2]),  # not connected: both of one pixel, the first wins
        ({(1, 2): 1.0, (2, 3): 0.5, (2, 4): 0.5}, 0.2, [2, 1, 5, 3]),  # connected at a corner
        ({(1, 2): 1.0, (2, 3): 0.1}, 0.2, [2, 1, 3, 2]),  # below the threshold
        ({(1, 2): 1.0, (2, 3): 0.1}, 0.1, [2, 1, 4, 3]),  # at the threshold
        ({(0, 0): 1.0, (4, 4): 0.3, (4, 5): 0.3}, 0.2, [4, 4, 6, 5]),  # the largest, not the brightest
        ({}, 0.2, [0, 0, 0, 0]),
        ({(0, 0): -1.0}, 0.0, [0, 0, 0, 0]),
    ],
)
def test_bounding_box_by_hand(pixels: dict, threshold: float, box: list[int]) -> None:
    M = torch.zeros(6, 7)
    for place, value in pixels.items():
        M[place] = value
    assert cam.bounding_box(M, threshold).tolist() == box
    both = cam.bounding_box(torch.stack([M, torch.ones(6, 7)]), threshold=threshold)
    assert both.tolist() == [box, [0, 0, 7, 6]]
    assert both.dtype == torch.long


def test_bounding_box_refuses() -> None:
    with pytest.raises(ValueError, match="threshold must be"):
        cam.bounding_box(torch.ones(4, 4), threshold=2)
    with pytest.raises(ValueError, match="heatmaps must be"):
        cam.bounding_box(torch.ones(4))
    with pytest.raises(ValueError, match="finite"):
        cam.bounding_box(torch.full((4, 4), torch.nan))
