"""torchvision's detectors with random weights: loaded by their names, one box of each explained by every method."""

import hashlib

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import detection as zoo

import methods
from nets import BOX_CLASSES as CLASSES
from nets import torchvision_detector
from xai_lessons import cam, detection, models, occlusion, saliency
from xai_lessons.command.network_doctor import diagnose
from xai_lessons.models import imagenet

SSDLITE = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module", params=["FasterRCNN", "RetinaNet"])
def network(request):
    return torchvision_detector(request.param)


@pytest.fixture(scope="module")
def model(network):
    return models.wrap_detector(network, CLASSES, 32)


@pytest.fixture(scope="module")
def image():
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(5))


def test_what_the_network_returns_is_what_the_detector_finds(network, model, image):
    (raw,) = network([image])
    (found,) = model(image[None])
    assert len(found.boxes) > 0
    torch.testing.assert_close(found.boxes, raw["boxes"])
    torch.testing.assert_close(found.scores, raw["scores"])
    assert torch.equal(found.labels, raw["labels"])
    assert model.layers == ("backbone.first", "backbone.second")
    assert not model.fixed_candidates


def test_gradients_of_the_score_and_of_the_edges_are_those_of_the_network(network, model, image):
    box = detection.find_box(model, image)
    view = detection.box_view(model, image)
    for number, name in enumerate(("score", "left", "top", "right", "bottom")):
        leaf = image.clone().requires_grad_()
        (raw,) = network([leaf])
        wanted = raw["boxes"][box.candidate, number - 1] if number else raw["scores"][box.candidate].logit()
        (expected,) = torch.autograd.grad(wanted, leaf)
        torch.testing.assert_close(saliency.gradient(view, image, name), expected, rtol=1e-4, atol=1e-6)
        inside = number == 0 or 0 < float(box.corners[number - 1]) < 32  # an edge at the border is cut off there
        assert bool(expected.abs().sum() > 0) == inside, name


def test_the_view_follows_the_box_and_says_when_it_is_gone(model, image):
    view = detection.box_view(model, image)
    assert view.follow == "match"
    same = view(torch.stack([image, torch.zeros_like(image)]))
    torch.testing.assert_close(same[0, 1:5], view.box.corners)
    with pytest.raises(ValueError, match="has other candidates in every image: use follow='match'"):
        detection.box_view(model, image, follow="place")


def test_every_method_explains_a_box_or_refuses_in_one_sentence(model, image):
    view = detection.box_view(model, image)
    for name, method in methods.METHODS.items():
        # rules that have none for boxes, and what needs probabilities of classes
        if method.needs == "relu" or name in ("cam", "rise", "fgsm", "pgd", "smallest_epsilon"):
            with pytest.raises(ValueError, match="no rule|no CAM|probabilities") as caught:
                method(view, image, "score")
            assert "\n" not in str(caught.value)
        else:
            assert torch.isfinite(method(view, image, "score")).all(), name
    heat = cam.grad_cam(view, image, "score", layer="backbone.first", size=None)
    assert heat.shape == (8, 8)
    assert occlusion.occlusion(view, image, "score", patch=8, stride=8).abs().sum() > 0
    assert detection.d_rise(model, image, samples=4).max() > 0


def test_the_three_of_the_lesson_are_known_and_refused_in_one_sentence_without_their_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def offline(entry):
        asked.append(entry.meta["categories"])
        raise ConnectionError("the weights could not be downloaded")

    monkeypatch.setattr(imagenet, "download", offline)
    for name in imagenet.DETECTORS:
        assert "detector" in models.available()[name]
        with pytest.raises(ConnectionError, match="could not be downloaded"):
            models.load(name, device="cpu")
    assert all(len(names) == 91 and names[1] == "person" for names in asked)
    with pytest.raises(ValueError, match="did you mean 'retinanet_resnet50_fpn_v2'"):
        models.load("retinanet_resnet50_fpn_v3", device="cpu")


def test_a_downloaded_one_is_a_detector_with_the_classes_of_coco(monkeypatch, tmp_path, image):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = zoo.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91).state_dict()
    torch.save(state, tmp_path / "weights")
    digest = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "weights").rename(tmp_path / f"{SSDLITE}-{digest}.pth")
    entry = torchvision.models.get_model_weights(SSDLITE).DEFAULT
    real = entry.value
    monkeypatch.setattr(entry, "_value_", type(real)(file.as_uri(), real.transforms, real.meta))
    model = models.load(SSDLITE, device="cpu")
    assert (model.name, model.input_size, model.classes[1]) == (SSDLITE, 320, "person")
    assert not any(p.requires_grad for p in model.parameters())
    view = detection.box_view(model, image)
    assert cam.grad_cam(view, image, "score").shape == (32, 32)
    assert saliency.gradient(view, image, "score").abs().sum() > 0
    with pytest.raises(ValueError, match="are not the weights of retinanet_resnet50_fpn_v2"):
        models.load("retinanet_resnet50_fpn_v2", weights=file, device="cpu")


def test_what_is_no_detector_is_refused_in_one_sentence(network):
    flat = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    flat(torch.zeros(1, 3, 32, 32))
    for call, kind, says in (
        (lambda: models.wrap_detector(flat, CLASSES, 32), ValueError, "models.wrap takes a classifier"),
        (lambda: models.wrap_detector(flat, CLASSES, 16), ValueError, "does not take RGB images"),
        (lambda: models.wrap_detector(network, CLASSES[:1], 32), ValueError, "got 1 class names: label 0 is"),
        (lambda: models.wrap_detector(network, CLASSES, 32, ["nothing"]), ValueError, "no layer 'nothing'"),
        (lambda: models.wrap_detector(print, CLASSES, 32), TypeError, "takes a plain nn.Module"),
        (lambda: models.wrap(network, input_size=32), ValueError, "is a detector.*use models.wrap_detector"),
    ):
        with pytest.raises(kind, match=says) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_doctor_says_that_it_is_a_detector_and_what_works(network):
    findings, model = diagnose(network, input_size=32)
    said = {f.subject: f for f in findings}
    assert isinstance(model, models.Detector)
    assert said["output"].found.startswith("a detector")
    assert "detection.box_view" in said["output"].advice
    assert said["saliency.gradient"].found == said["cam.grad_cam"].found == said["detection.d_rise"].found == "applies"
    assert said["saliency.lrp"].found == "does not apply"
    assert said["saliency.lrp"].advice
    own, same = diagnose(models.load("menagerie-detector", device="cpu"))
    assert same.name == "menagerie-detector"
    assert {f.subject: f.found for f in own}["detection.d_rise"] == "applies"
