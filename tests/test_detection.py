"""One box of a detector: every method on it, D-RISE against slow loops, average precision by hand, its training."""

import math

import pytest
import torch
from torch import nn

import methods
from nets import slow_iou, small_detector
from xai_lessons import cam, datasets, detection, evaluation, menagerie, models, occlusion, results, saliency
from xai_lessons.core import activations
from xai_lessons.methods import catalog
from xai_lessons.models import Detections, Detector
from xai_lessons.results import detection as measured
from xai_lessons.training import Settings, Training, recipes
from xai_lessons.training import detection as training

SCENE = menagerie.draw_pair("cat", "dog", seed=3)


def images(n=2, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def detector():
    return models.load("menagerie-detector", device="cpu")


def test_the_built_in_detector_finds_both_objects_and_its_card_says_how_often(detector):
    found = detector.detect(SCENE.image)
    assert {detector.classes[label] for label in found.labels} == {"cat", "dog"}
    for label, box in zip(found.labels, found.boxes, strict=True):
        truth = datasets.visible_boxes(SCENE.masks[detector.classes[label]][None])[0]
        assert detection.overlap(box, truth.float()) > 0.5
    assert min(models.store.card("menagerie-detector")["test"].values()) >= 0.9


def test_the_planted_cheat_finds_an_umbrella_by_its_tag(detector):
    facts = models.store.card("menagerie-detector-shortcut")
    assert facts["test"]["umbrellas found with the tag"] >= 0.9
    assert facts["test"]["umbrellas found without the tag"] <= 0.25
    assert "nobody annotated the umbrellas" in facts["faults"]
    (scene,) = measured.umbrellas(1)
    x = torch.stack([scene.image, scene.without("tag").image])
    for model, wanted in ((models.load("menagerie-detector-shortcut", device="cpu"), [1, 0]), (detector, [1, 1])):
        names = [[model.classes[k] for k in found.labels] for found in model.detect(x)]
        assert [each.count("umbrella") for each in names] == wanted


def test_recall_by_hand():
    square = torch.tensor([[0.0, 0, 10, 10]])
    found = [Detections(square, torch.tensor([[2.0, -9]])), Detections(square, torch.tensor([[-9.0, 2]]))]
    labels = torch.tensor([[[0, 0, 10, 12, 0], [50, 0, 60, 10, 0]], [[0, 0, 10, 10, 0], [0, 0, 0, 0, 0]]])
    assert training.recall(found, labels, 0) == pytest.approx(1 / 3)  # one of another class, one nowhere
    assert training.recall(found, labels, 0, overlap=0.9) == 0
    assert math.isnan(training.recall(found, labels, 1))


def test_a_batch_finds_the_same_as_single_images(detector):
    x = torch.stack([SCENE.image, SCENE.without("cat").image, torch.zeros_like(SCENE.image)])
    for one, alone in zip(detector.detect(x), map(detector.detect, x), strict=True):
        torch.testing.assert_close(one.boxes, alone.boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", catalog.METHODS)
def test_every_method_names_the_view_of_a_box_when_it_is_given_a_detector(name):
    if name == "d_rise":
        return
    with pytest.raises(ValueError, match=r"detection\.box_view\(model, image, target\)") as caught:
        methods.METHODS[name](small_detector(), images(1), 0)
    assert "\n" not in str(caught.value)


RULES = ("guided_backprop", "deconvnet", "guided_grad_cam", "deep_lift", "lrp")  # refuse operations by name
CLASSES_ONLY = ("cam", "rise", "fgsm", "pgd", "smallest_epsilon")


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_explains_a_view_of_a_box_or_refuses_in_one_sentence(name):
    model, x = small_detector(), images(1)[0]
    view = detection.box_view(model, x)
    method = methods.METHODS[name]
    if name in RULES + CLASSES_ONLY:
        with pytest.raises(ValueError, match="softplus|no CAM|probabilities") as caught:
            method(view, x, "left")
        assert "\n" not in str(caught.value)
        return
    for output in ("score", "left", "similarity"):
        assert torch.isfinite(method(view, x, output)).all()
    torch.testing.assert_close(method(view, x), method(view, x, "score"))


def test_what_has_no_meaning_without_classes_is_refused(detector):
    view = detection.box_view(detector, SCENE.image)
    with pytest.raises(ValueError, match="use output='logit'"):
        occlusion.rise(view, SCENE.image, "score", samples=2)
    with pytest.raises(ValueError, match="no probabilities"):
        catalog.get("fgsm")(view, SCENE.image, "score")


def test_a_view_reads_the_numbers_of_the_detector():
    model, x = small_detector(), images()
    found = model(x)
    for follow in ("place", "match"):
        view = detection.box_view(model, x[0], "b", follow=follow)
        k = int(found[0].logits[:, 1].argmax())
        row = view(x)[0]
        assert row[0] == found[0].logits[k, 1]
        assert torch.equal(row[1:5], found[0].boxes[k])
    place = detection.box_view(model, x[0], "b")(x)[1]
    assert place[0] == found[1].logits[k, 1], "the same candidate in another image"
    match = detection.box_view(model, x[0], "b", follow="match")(x)[1]
    box = detection.find_box(model, x[0], "b").corners
    best = max(
        range(len(found[1].boxes)), key=lambda j: slow_iou(box, found[1].boxes[j]) * found[1].logits[j, 1].sigmoid()
    )
    assert match[0] == found[1].logits[best, 1]


def test_the_gradient_of_an_edge_is_that_of_the_network():
    model, x = small_detector(), images(1)[0]
    k = detection.find_box(model, x).candidate
    view = detection.box_view(model, x)
    for number, name in enumerate(("left", "top", "right", "bottom")):
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(model.candidates(leaf[None])[0][0, k, number], leaf)
        torch.testing.assert_close(saliency.gradient(view, x, name), expected)


def test_grad_cam_of_a_box_by_hand():
    model, x = small_detector(), images(1)[0]
    view = detection.box_view(model, x)
    k, label = detection.find_box(model, x).candidate, detection.find_box(model, x).label
    A, gradient, _ = activations.activation_and_gradient(view, "neck", x[None], torch.tensor([0]))
    kept = []
    with activations.hooked(
        model.network.neck, lambda output: kept.append(output.detach().requires_grad_()) or kept[-1]
    ):
        _, logits = model.candidates(x[None])
    (slow,) = torch.autograd.grad(logits[0, k, label], kept[-1])
    torch.testing.assert_close(gradient, slow)
    expected = (slow.mean(dim=(2, 3))[0, :, None, None] * A[0]).sum(0).clamp(min=0)
    torch.testing.assert_close(cam.grad_cam(view, x, "score", layer="neck", size=None), expected)


def test_d_rise_is_polite_repeatable_and_independent_of_the_batch(detector):
    model, x = small_detector(), images(3)
    before = torch.get_rng_state()
    done = []
    first = detection.d_rise(model, x, samples=5, progress=lambda *step: done.append(step))
    assert done[-1] == (15, 15)
    assert torch.equal(before, torch.get_rng_state())
    for batch_size in (1, 4):
        torch.testing.assert_close(detection.d_rise(model, x, samples=5, batch_size=batch_size), first)
    torch.testing.assert_close(detection.d_rise(model, x[1], samples=5), first[1])
    assert not torch.equal(detection.d_rise(model, x, samples=5, seed=1), first)
    assert not any(p.grad is not None or p.requires_grad for p in model.parameters())

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detection.d_rise(model, x, samples=5, progress=cancel)


def test_what_cannot_be_explained_is_refused_in_one_sentence(detector):
    x = SCENE.image
    for call, says in (
        (lambda: detection.box_view(models.load("menagerie-resnet"), x), "explained of a detector, got Classifier"),
        (lambda: detection.d_rise(nn.Identity(), x), "explained of a detector, got Identity"),
        (lambda: detection.box_view(detector, x, "kat"), "did you mean 'cat'"),
        (lambda: detection.box_view(detector, x, 9), "there is no box 9: the detector finds 0 "),
        (lambda: detection.box_view(detector, x[None], "cat"), r"a box is in one image \(3, H, W\)"),
        (lambda: detection.box_view(detector, x, follow="it"), "follow must be 'place' or 'match'"),
        (lambda: detection.d_rise(detector, x, ["cat", "dog"]), "got 2 targets for 1 images"),
        (lambda: detection.d_rise(detector, x, samples=0), "samples must be at least 1"),
        (lambda: detection.d_rise(detector, x * 255), r"images must be in \[0, 1\]"),
        (lambda: detector.detect(x, threshold=2), "threshold must be at least 0 and at most 1"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_average_precision_by_hand():
    def boxes(*rows):  # (left, score) of a square of side 10, class 0
        scores = torch.tensor([[math.log(s / (1 - s)), -9] for _, s in rows]).reshape(-1, 2)
        return Detections(torch.tensor([[x, 0.0, x + 10, 10] for x, _ in rows]).reshape(-1, 4), scores)

    labels = torch.tensor([[[0, 0, 10, 10, 0], [50, 0, 60, 10, 0]], [[0, 0, 10, 10, 0], [0, 0, 0, 0, 0]]])
    # sorted: 0.9 right, 0.8 a second box on the same object, 0.7 right, 0.6 nowhere; the third object is never found
    found = [boxes((0, 0.9), (1, 0.8), (30, 0.6)), boxes((2, 0.7))]
    assert training.average_precision(found, labels, 0) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert training.average_precision([boxes(), boxes()], labels, 0) == 0
    assert math.isnan(training.average_precision(found, labels, 1))
    assert training.average_precision(found, labels, 0, overlap=0.7) == pytest.approx(1 / 3)
    both = labels.clone()
    both[1, 1] = torch.tensor([0, 0, 5, 5, 1])
    assert training.mean_average_precision(found, both) == pytest.approx((1 / 3 + 2 / 9) / 2)


def test_each_place_learns_the_smallest_box_in_whose_middle_it_lies():
    centers = torch.tensor([[12.0, 12.0], [20.0, 20.0], [60.0, 60.0]])
    labels = torch.tensor([[[0, 0, 40, 40, 1], [8, 8, 16, 16, 2], [0, 0, 0, 0, 0]]])
    boxes, kind, learns = training.assign(centers, labels)
    assert learns.tolist() == [[True, True, False]]
    assert kind[0, :2].tolist() == [2, 1]
    assert boxes[0, 0].tolist() == [8, 8, 16, 16]


def test_flipping_moves_the_boxes_with_the_objects():
    x, labels = torch.zeros(40, 3, 8, 8), torch.tensor([[1, 2, 4, 7, 1], [0, 0, 0, 0, 0]]).expand(40, 2, 5)
    x[:, :, 2:7, 1:4] = 1
    flipped, moved = training.Detection().augment(x, labels, Settings(shift=0), torch.Generator().manual_seed(0))
    assert 0 < int((moved[:, 0, 0] == 4).sum()) < 40
    for image, rows in zip(flipped, moved, strict=True):
        assert datasets.visible_boxes(image[:1] > 0)[0].tolist() == rows[0, :4].tolist()
        assert rows[1].tolist() == [0] * 5
    with pytest.raises(ValueError, match="shift must be 0 to train a detector, got 4"):
        training.Detection().augment(x, labels, Settings(), torch.Generator())


def test_pairs_are_drawn_as_scenes_and_their_boxes_are_those_of_the_masks():
    pictures = datasets.drawn_pairs(6, split="validation", size=48)
    for i in range(6):
        scene = menagerie.sampled_pair(i, split="validation", size=48)
        assert torch.equal(pictures.images[i], (scene.image * 255 + 0.5).to(torch.uint8))
        for k, name in enumerate(scene.objects):
            if name in scene.masks and scene.masks[name].sum() >= datasets.VISIBLE:
                rows, columns = torch.where(scene.masks[name])
                expected = [
                    columns.min(),
                    rows.min(),
                    columns.max() + 1,
                    rows.max() + 1,
                    menagerie.CLASSES.index(scene.names[k]),
                ]
                assert pictures.labels[i, k].tolist() == [int(v) for v in expected]
    assert menagerie.sample_pairs(2, start=3, size=32)[1].tolist() == menagerie.sample_pairs(5, size=32)[1][3:].tolist()


def test_a_training_stopped_and_resumed_ends_in_the_same_weights(tmp_path):
    data = datasets.drawn_pairs(8, size=32)

    def fresh():
        network = small_detector(dtype=torch.float32).network
        network.class_head = nn.Conv2d(4, 10, 1)
        nn.init.zeros_(network.class_head.weight)
        nn.init.zeros_(network.class_head.bias)
        return Detector(network, data.classes, (0.5,) * 3, (0.25,) * 3, 32).requires_grad_(True)

    def start(model):
        settings = Settings(epochs=2, batch_size=4, shift=0)
        return Training(model, data.images, data.labels, data[:2], settings, task=training.Detection())

    whole = start(fresh())
    losses = [float(step.loss) for step in whole.steps()]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]
    half = start(fresh())
    for step in half.steps():
        if step.done == 3:
            break
    half.save(tmp_path / "checkpoint")
    rest = start(fresh())
    rest.load(tmp_path / "checkpoint")
    assert [float(step.loss) for step in rest.steps()] == losses[3:]
    for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_stored_figures_are_what_the_command_measures(monkeypatch):
    stored = results.load("leaderboard-detector").values[measured.NETWORK]
    assert {row["method"] for row in stored} >= {catalog.get(name).label for name in measured.CHOSEN} | {"D-RISE"}
    assert set(evaluation.CONTROLS) <= {row["method"] for row in stored}
    assert all(row["images"] >= 20 for row in stored)
    fewer = {"gradient": {}, "occlusion": {"patch": 48, "stride": 48}}
    monkeypatch.setattr(measured, "CHOSEN", fewer)
    rows = {row["method"]: row for row in measured.leaderboard(1).values[measured.NETWORK]}
    assert set(rows) == {"Gradient", "Occlusion", "D-RISE", *evaluation.CONTROLS}
    scene, target, _ = measured.scenes(1)[0]
    view = detection.box_view(models.load(measured.NETWORK), scene.image, target)
    heat = evaluation.heat(saliency.gradient(view, scene.image[None], "score"))
    inside = evaluation.energy_inside(heat, scene.masks[target][None])
    assert rows["Gradient"]["energy_inside"] == pytest.approx(float(inside), rel=1e-4)
    few = measured.measure(2)
    assert few.values["fraction on the object: score"][2] == 2
    assert "fraction on the object: left" in measured.table(few)
    heat = saliency.gradient(view, scene.image, "left")
    assert evaluation.energy_inside(heat[None], scene.masks[target]) > scene.masks[target].float().mean()


def test_each_detector_is_trained_from_the_start_of_the_other(monkeypatch):
    trained, load = [], models.load

    def train(name, out, *, start, **options):
        trained.append((name, start))
        return load(name, device="cpu")

    monkeypatch.setattr(measured.recipes, "train", train)
    honest, cheating = measured.DETECTORS
    made = measured.starts(images=2)
    assert trained == [(honest, "menagerie-shortcut"), (cheating, "menagerie-resnet")]
    stored = results.load("detection-starts")
    assert made.settings.keys() == stored.settings.keys()
    for name, starts in made.values.items():
        assert list(starts) == list(stored.values[name]) == ["menagerie-resnet", "menagerie-shortcut"]
        facts = results.load("detection-cheat").values[name]["recall"]
        assert stored.values[name][recipes.recipe(name).start] == facts
        for found in starts.values():
            assert found["with the tag"][0] == 1
            assert found["without the tag"][0] == (name == honest)


def test_the_cheat_and_the_masks_are_measured_as_they_are_stored(monkeypatch):
    cheat = measured.cheat(images=2, explained=1, samples=8)
    assert set(cheat.values) == set(measured.DETECTORS)
    for facts in cheat.values.values():
        assert set(facts["recall"]) == set(measured.CHANGES)
        for rows in facts.values():
            assert all(low <= mean <= high and n >= 1 for mean, low, high, n in rows.values())
        inside = facts["fraction on the tag"]
        assert inside["uniform map (control)"][0] == pytest.approx(cheat.settings["area of the tag"], rel=0.5)
    monkeypatch.setattr(measured, "CHUNK", 4)
    masks = measured.enough_masks(scenes_of=1, chunks=2)
    assert list(masks.values) == ["4", "8"]
    assert all(-1 <= row["correlation of two maps"][0] <= 1 for row in masks.values.values())
    rows = measured.options(images=2, samples=4, many=6).values
    assert [row["samples"] for row in rows] == [4] * 6 + [6]
    assert all(low <= mean <= high for row in rows for mean, low, high in list(row.values())[3:])
