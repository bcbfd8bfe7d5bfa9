"""Classifier, wrap and load: any network that can work does, and the rest is refused in one sentence."""

import copy
import pickle
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons import models
from xai_lessons.data import photos
from xai_lessons.methods import cam


def wrap(module, **options):
    return models.wrap(module, **{"input_size": 16, **options})


@pytest.fixture
def model():
    return wrap(seeded(PoolingNet))


class After(nn.Module):
    """A network with something done to what it returns."""

    def __init__(self, then):
        super().__init__()
        self.net, self.then = seeded(PoolingNet, dtype=torch.float32), then

    def forward(self, x):
        return self.then(self.net(x))


def test_the_normalization_is_inside():
    net, x = seeded(PoolingNet), pictures(2)
    model = wrap(net, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    mean, std = (torch.tensor(v, dtype=x.dtype).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    assert torch.allclose(model(x), net((x - mean) / std), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_networks_own_precision(dtype):
    model = wrap(seeded(PoolingNet, dtype=dtype))
    assert model.dtype == model.predict(pictures(1)).dtype == dtype
    assert model.device.type == "cpu"
    assert model.double().dtype == torch.float64


def test_predict_gives_probabilities_of_one_or_many(model):
    x = pictures(3, dtype=torch.float32)
    p = model.predict(x)
    assert torch.allclose(p.sum(1), torch.ones(3, dtype=p.dtype))
    assert torch.allclose(model.predict(x[0]), p[0])
    assert not p.requires_grad
    assert not model.training


def test_wrapping_changes_no_flag_of_the_module():
    net = seeded(PoolingNet)
    net.train()
    net.norm.eval()
    net.conv1.weight.requires_grad_(False)
    before = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    buffers = copy.deepcopy(net.state_dict())
    model = wrap(net)
    assert ([m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]) == before
    assert model.training
    assert all(torch.equal(v, buffers[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    assert model.network is net


def test_classes_are_counted_or_named(model):
    assert model.classes == tuple(f"class {i}" for i in range(5))
    named = wrap(seeded(PoolingNet), classes=list("abcde"))
    assert named.class_index("c") == named.class_index(2) == 2
    with pytest.raises(ValueError, match=r"no class 'class 9': did you mean 'class \d'"):
        model.class_index("class 9")


def test_a_network_for_one_size_knows_it():
    model = wrap(seeded(FlatNet, size=16))
    assert model.fixed_size
    with pytest.raises(ValueError, match="takes images of 16 x 16 pixels, got 20 x 16"):
        model(torch.zeros(1, 3, 20, 16).double())
    assert not wrap(seeded(PoolingNet)).fixed_size


def test_a_network_whose_classes_grow_with_the_image_has_one_size():
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), nn.Flatten())
    assert wrap(net).fixed_size


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (lambda y: (y, y * 2), "returns a tuple"),
        (lambda y: [y], "returns a list"),
        (lambda y: namedtuple("Output", "logits aux")(y, None), "returns a Output"),
        (lambda y: OrderedDict(loss=None, logits=y), "returns a OrderedDict"),
    ],
)
def test_a_tuple_or_a_mapping_works_with_a_warning(then, says):
    with pytest.warns(UserWarning, match=says):
        model = wrap(After(then))
    x = pictures(2, dtype=torch.float32)
    assert torch.allclose(model(x), model.network.net((x - model.mean) / model.std), atol=1e-6)


def test_probabilities_work_with_a_warning():
    with pytest.warns(UserWarning, match="returns probabilities"):
        model = wrap(After(lambda y: y.softmax(1)))
    x = pictures(2, dtype=torch.float32)
    assert torch.allclose(model.predict(x), model.network((x - model.mean) / model.std), atol=1e-6)
    assert torch.isfinite(model(x)).all()


def test_logits_and_log_probabilities_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrapped = [wrap(After(lambda y: y)), wrap(After(lambda y: y.log_softmax(1)))]
    assert not any(model.probabilities for model in wrapped)


def sequential(*parts):
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


class Timm(nn.Module):
    """Built as timm does it: stem, blocks of stages, a head of its own."""

    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1), nn.Sequential(nn.BatchNorm2d(8), nn.SiLU(inplace=True))
        stages = [nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(inplace=True)) for _ in range(2)]
        self.blocks = nn.Sequential(*stages)
        self.global_pool, self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(8, 4)
        self.num_classes, self.default_cfg = 4, {"mean": (0.5, 0.5, 0.5)}

    def forward(self, x):
        return self.classifier(self.global_pool(self.blocks(self.bn1(self.conv_stem(x)))))


class Around(nn.Module):
    """A backbone inside a student's own module."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = Timm(), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.backbone(x))


class ChannelsLast(nn.Module):
    """Keeps maps as (N, h, w, K), as Swin does."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.stem(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))


@pytest.mark.parametrize(
    ("net", "layers"),
    [
        (lambda: sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 1)), ("1", "3")),
        (lambda: sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, 2))), ("0.1", "0.2")),
        (lambda: seeded(PoolingNet), ("last",)),
        (lambda: seeded(FlatNet), ("conv1", "conv2")),
        (Timm, ("bn1", "blocks.0", "blocks.1")),
        (Around, ("backbone.bn1", "backbone.blocks.0", "backbone.blocks.1")),
        (ChannelsLast, ("stem",)),
    ],
)
def test_the_last_layer_of_each_resolution_is_named(net, layers):
    assert wrap(net()).layers == layers


def test_layers_may_be_chosen_and_must_exist():
    assert wrap(seeded(PoolingNet), layers=["conv1", "conv3"]).layers == ("conv1", "conv3")
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        wrap(seeded(PoolingNet), layers=["conv9"])


@pytest.mark.parametrize(
    ("module", "options", "says"),
    [
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 196, 3)), {}, "1 channel.*RGB has 3"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten()), {}, "4 channel.*RGB has 3"),
        (lambda: seeded(FlatNet, size=16), {"input_size": 32}, r"\(N, 3, 32, 32\): .*is input_size right"),
        (lambda: seeded(PoolingNet), {"classes": ["a", "b"]}, "returns 5 scores per image, got 2 class names"),
        (lambda: seeded(PoolingNet, classes=1), {}, r"returns \(2, 1\).*give a yes-no network two scores"),
        (lambda: nn.Conv2d(3, 4, 3), {}, "flatten the output"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), {}, "no layer with a spatial map.*occlusion"),
        (lambda: After(lambda y: y * float("nan")), {}, "NaN or infinite"),
        (lambda: After(lambda y: "cat"), {}, "must return a tensor of scores .*, got str"),
        (lambda: After(lambda y: 1 / 0), {}, "does not take RGB images.*division by zero"),
        (lambda: sequential(nn.LazyConv2d(8, 3)), {}, "lazy layers without weights: run it once"),
        (lambda: seeded(PoolingNet), {"std": (0, 1, 1)}, "std above zero"),
        (lambda: seeded(PoolingNet), {"std": ()}, "three numbers"),
        (lambda: seeded(PoolingNet), {"mean": (0.5,)}, "three numbers"),
        (lambda: seeded(PoolingNet), {"input_size": 0}, "input_size must be at least 1"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(module, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        wrap(module(), **options)
    assert "\n" not in str(caught.value)


def test_functions_and_wrapped_networks_are_refused(model):
    with pytest.raises(TypeError, match="takes an nn.Module, got function"):
        models.wrap(lambda x: x)
    with pytest.raises(TypeError, match="is a Classifier already"):
        models.wrap(model)


def test_prepare_crops_or_squashes(model):
    wide = torch.zeros(3, 20, 60)
    wide[:, :, 20:40] = 1
    assert model.prepare(wide).shape == (3, 16, 16)
    assert model.prepare(wide).min() > 0.5  # the middle square is white
    assert model.prepare(wide, fit="squash").mean() == pytest.approx(1 / 3, abs=0.03)
    same = torch.rand(3, 16, 16)
    assert torch.equal(model.prepare(same), same)
    with pytest.raises(ValueError, match="'crop' or 'squash', got 'zoom'"):
        model.prepare(same, fit="zoom")


def test_prepare_takes_pillow_pictures_arrays_and_very_long_pictures(model):
    array = np.full((20, 30, 3), 255, dtype=np.uint8)
    for picture in (array, Image.fromarray(array), Image.fromarray(array[..., 0])):
        assert torch.allclose(model.prepare(picture), torch.ones(3, 16, 16))
    assert model.prepare(torch.rand(3, 1, 100_000)).shape == (3, 16, 16)


@pytest.mark.parametrize("picture", [torch.zeros(1, 16, 16), torch.zeros(2, 3, 16, 16), np.zeros((4, 4))])
def test_prepare_refuses_anything_but_one_rgb_image(model, picture):
    with pytest.raises((ValueError, TypeError), match="(pictures?|images?) "):
        model.prepare(picture)


def test_prepare_points_from_a_path_to_photos(model):
    with pytest.raises(TypeError, match="got str: use photos.load"):
        model.prepare("cat.jpg")


def test_a_classifier_can_be_copied_and_pickled(model):
    x = pictures(1)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


SMALL = {"architecture": "ResNet", "arguments": {"classes": 3, "widths": [4, 4], "blocks": [1], "pools": [False]}}


@pytest.fixture
def saved(tmp_path):
    from xai_lessons.models import architectures

    made = models.wrap(architectures.build("ResNet", **SMALL["arguments"]), "abc", (0.5,) * 3, (0.25,) * 3, 32)
    return made.eval(), models.save(made, tmp_path / "my-network", SMALL)


def test_what_is_saved_is_loaded_by_its_path(saved, monkeypatch):
    made, path = saved
    again = models.load(str(path), device="cpu")
    assert (again.classes, again.input_size, again.layers, again.name) == (tuple("abc"), 32, made.layers, "my-network")
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(again(x), made(x), atol=1e-2)
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    monkeypatch.chdir(path.parent)
    assert models.load("./my-network").name == "my-network"
    assert models.load(path).name == "my-network"


def test_a_network_loaded_in_inference_mode_still_has_gradients(saved):
    with torch.inference_mode():
        model = models.load(saved[1])
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    assert torch.autograd.grad(model(x).sum(), x)[0].abs().sum() > 0


def test_unknown_names_paths_and_devices_are_refused(saved, monkeypatch):
    with pytest.raises(ValueError, match="no network 'resnet81': did you mean .*'resnet18'"):
        models.load("resnet81")
    with pytest.raises(ValueError, match="expected my-other.json and .safetensors there"):
        models.load("./my-other")
    with pytest.raises(ValueError, match="weights= is for torchvision's networks"):
        models.load(saved[1], weights="x")
    with pytest.raises(ValueError, match="no device 'tpu9'"):
        models.load(saved[1], device="tpu9")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("XAI_LESSONS_DEVICE", "cuda")
    with pytest.raises(ValueError, match="no CUDA device: set XAI_LESSONS_DEVICE=cpu"):
        models.load(saved[1])
    monkeypatch.setenv("XAI_LESSONS_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert models.choose_device().type == "cpu"
    monkeypatch.delenv("XAI_LESSONS_DEVICE")
    assert models.choose_device().type == "cuda"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert models.choose_device("mps").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"no Apple GPU \(mps\): set XAI_LESSONS_DEVICE=cpu"):
        models.choose_device("mps")
    with pytest.raises(ValueError, match="cannot compute on 'meta' here"):
        models.choose_device("meta")


def test_available_lists_built_in_and_imagenet_networks():
    known = models.available()
    assert {"resnet18", "squeezenet1_0", "convnext_tiny"} <= set(known)
    assert all(line and "\n" not in line for line in known.values())


@pytest.mark.data
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_squeezenet_recognizes_photographs(test_data, fit):
    model = models.load("squeezenet1_0", weights=test_data / "squeezenet1_0.safetensors", device="cpu")
    expected = {"triceratops": 1.0, "umbrella": 1.0, "cheetah": 1.0, "labrador_retriever": 0.6}
    for name, least in expected.items():
        p = model.predict(model.prepare(photos.load(test_data / "photos" / f"{name}.jpg"), fit))
        assert model.classes[int(p.argmax())].lower() == name.replace("_", " ")
        assert p.max() > least - 0.1


class ByView(nn.Module):
    """Flattens its maps with `view`, as many a network does, which refuses maps in channels last."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4 * 8 * 8, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().view(len(x), -1))


def test_a_network_that_flattens_by_view_keeps_the_default_layout():
    model = wrap(seeded(ByView), input_size=16)
    x = pictures(2, dtype=model.dtype)
    assert torch.allclose(model.predict(x), model(x).softmax(dim=1))
    assert cam.grad_cam(model, x).shape == (2, 16, 16)
    assert wrap(seeded(PoolingNet), input_size=16).layout == torch.channels_last
