"""Every method on a real ImageNet network and a real photograph, where the test data are available."""

from __future__ import annotations

import pytest
import torch

from methods import METHODS, Method
from xai_lessons import models
from xai_lessons.data import photos
from xai_lessons.evaluation import heat

pytestmark = pytest.mark.data
SMALLER = {"occlusion": {"patch": 56, "stride": 56}, "score_cam": {"layer": "features.1"}}


@pytest.fixture(scope="module")
def network(test_data):
    return models.load("squeezenet1_0", weights=test_data / "squeezenet1_0.safetensors", device="cpu")


@pytest.fixture(scope="module")
def photograph(network, test_data):
    return network.prepare(photos.load(test_data / "photos" / "triceratops.jpg"))


@pytest.fixture(scope="module")
def cheetah(network, test_data):
    return network.prepare(photos.load(test_data / "photos" / "cheetah.jpg"))


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.needs != "pooling"], ids=lambda m: m.name)
def test_a_method_answers_on_a_photograph(network, cheetah, method: Method):
    # not the triceratops: of it a deconvnet shows nothing at all, in captum as here
    answer = method(network, cheetah, "cheetah", **SMALLER.get(method.name, {}))
    if method.returns == "other":
        answer = answer if isinstance(answer, torch.Tensor) else torch.as_tensor(answer)
        assert not torch.isnan(answer).any()
        return
    assert answer.shape[-2:] == cheetah.shape[-2:]
    assert torch.isfinite(answer).all()
    assert float(answer.abs().max()) > 0


def test_the_class_map_of_squeezenet_averages_to_the_logit(network, photograph):
    class_map = METHODS["cam"](network, photograph, "triceratops", size=None)
    with torch.no_grad():
        logit = network(photograph[None])[0, network.class_index("triceratops")]
    assert float(class_map.mean()) == pytest.approx(float(logit), rel=1e-4)


@pytest.mark.parametrize("name", ["gradient", "guided_backprop", "grad_cam", "lrp"])
def test_the_light_lies_in_the_middle_where_the_animal_is(network, photograph, name):
    options = {"rule": "zplus"} if name == "lrp" else {}
    answer = METHODS[name](network, photograph, "triceratops", **options)
    light = heat(answer[None] if answer.ndim == photograph.ndim else answer)
    light = light.reshape(light.shape[-2:])
    middle = light[56:168, 56:168].sum() / light.sum()  # a quarter of the picture
    assert float(middle) > 0.3
