"""Stored results: one format, made anew by one command, and true of what the repository ships."""

import json
import math
import re
from functools import partial

import pytest
import torch

from benchmarks import pages
from xai_lessons import evaluation, models, results
from xai_lessons.data import datasets, menagerie
from xai_lessons.lessons import detective
from xai_lessons.methods import cam, fgsm, saliency
from xai_lessons.models import architectures, store
from xai_lessons.results import __main__ as command
from xai_lessons.results import (
    attacks,
    attributions,
    cams,
    cheat,
    cifar10,
    fills,
    hiding,
    histories,
    inversion,
    leaderboard,
    mixtures,
    pairs,
    parts,
    redrawn,
    repairs,
    sensitivity,
)
from xai_lessons.results.cifar10 import Report
from xai_lessons.training import scoring, test_set

SHIPPED = pytest.mark.skipif(
    not set(cifar10.NETWORKS) <= set(store.built_in()), reason="the networks of CIFAR-10 are not in weights/"
)
SHIPPED_IN = results.FOLDER
STORED = sorted(path.stem for path in results.FOLDER.glob("*.json"))


def shape(value):
    """The structure of values: the keys of dictionaries, whether numbers, texts or lists."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def shipped(name):
    return json.loads((SHIPPED_IN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Results are stored in an empty folder."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    return histories.fresh("ResNet", size=48, widths=(4, 4, 4, 4), blocks=(1, 1, 1)).eval().requires_grad_(False)


# the format


def test_every_stored_result_has_the_format_and_is_made_by_the_command():
    assert set(STORED) == {*command.NAMES, *command.NEEDS}
    for name in STORED:
        text = (results.FOLDER / f"{name}.json").read_text(encoding="utf-8")
        content = json.loads(text)
        assert list(content) == ["made_by", "settings", "values"]
        assert content["made_by"] == f"python -m xai_lessons.results {name}"
        assert results.rounded(content) == content, "a number has more digits than are stored"
        assert text == results._text(content) + "\n"


def test_what_is_stored_can_be_loaded(folder):
    values = {"rows": [[1, 0.12345678, math.nan], ["text", True, None]], "empty": {}}
    path = results.save("one", results.Result({"images": 2}, values), {"drawn": b"jpeg"})
    assert path == folder / "one.json"
    assert (folder / "one-drawn.jpg").read_bytes() == b"jpeg"
    loaded = results.load("one")
    assert loaded.settings == {"images": 2}
    assert loaded.values["rows"][0][:2] == [1, 0.123457]
    assert math.isnan(loaded.values["rows"][0][2])
    with pytest.raises(ValueError, match="there is no result 'ones': did you mean 'one'"):
        results.load("ones")


def test_the_command_refuses_an_unknown_name(folder, capsys):
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert "there is no result 'nonsense': choose from history-overfitting" in capsys.readouterr().err


# histories


def test_stored_histories_fit_their_runs():
    for name, run in histories.RUNS.items():
        history = histories.load(name)
        assert [epoch.epoch for epoch in history] == list(range(1, run.settings["epochs"] + 1))
        fresh = histories.fresh(run.architecture, run.size, **run.arguments)
        layers = [n for n, p in fresh.named_parameters() if p.ndim > 1]
        expected = [n.removesuffix(".weight").removeprefix("network.") for n in layers]
        assert all(list(epoch.layers) == expected for epoch in history)
    with pytest.raises(ValueError, match="there is no history 'residul': did you mean 'residual'"):
        histories.load("residul")


def test_a_history_is_made_by_the_command(folder, monkeypatch):
    kept = shipped("history-vgg")
    small = histories.Run(
        "small", settings={"epochs": 1, "batch_size": 8}, images=16, validation=8, size=16, constant=True
    )
    monkeypatch.setitem(histories.RUNS, "vgg", small)
    command.main(["history-vgg"])
    (epoch,) = histories.load("vgg")
    assert 0 <= epoch.train_accuracy <= 1
    assert epoch.layers["stem.0"].gradient > 0
    made = results.load("history-vgg")
    assert made.settings.keys() == kept["settings"].keys()
    assert made.values[0].keys() == kept["values"][0].keys()


def test_fresh_weights_follow_from_the_seed():
    a, b, c = (histories.fresh("ResNet", size=16, seed=s).network.head.weight for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


# leaderboard and sensitivity


def test_the_stored_leaderboards_hold_every_method_and_control():
    for name, methods in (("leaderboard", leaderboard.methods()), ("leaderboard-all", leaderboard.all_methods())):
        settings, networks = results.load(name)
        assert set(networks) == set(leaderboard.NETWORKS)
        for rows in networks.values():
            assert {row["method"] for row in rows} == {*methods, *evaluation.CONTROLS}
            assert all(set(evaluation.METRICS) <= row.keys() for row in rows)
            assert all(row["images"] == settings["images"] for row in rows)


def test_the_stored_fills_turn_deletion_around_and_are_made_by_the_command(folder, monkeypatch, model):
    kept = shipped("fills")
    black, white, mean, blur = (kept["values"][fill] for fill in fills.FILLS)
    for fill in (black, white):
        assert fill["random"]["mean"] < fill["Grad-CAM"]["mean"]
    for fill in (mean, blur):
        assert fill["random"]["mean"] > fill["Grad-CAM"]["mean"] + 5 * fill["random"]["standard_error"]
    monkeypatch.setattr(fills.measure, "__defaults__", ("small", 2, 2, {"black": "black", "blur": "blur"}, None))
    monkeypatch.setattr(models, "load", lambda name: model)
    monkeypatch.setattr(menagerie, "sample", partial(menagerie.sample, size=48))
    command.main(["fills"])
    made = results.load("fills")
    assert made.settings.keys() == kept["settings"].keys()
    assert list(made.values) == ["black", "blur"]
    for scores in made.values.values():
        assert list(scores) == list(fills.METHODS)
        assert all(0 <= one["mean"] <= 1 and 0 <= one["below_random"] <= 1 for one in scores.values())
        assert scores["random"]["below_random"] == 0


def test_the_mixtures_notice_noise_and_are_made_by_the_command(folder, monkeypatch, model):
    kept = shipped("mixtures")
    for method in mixtures.METHODS:
        pure, noise = kept["values"][method]["random"]["blur"][0], kept["values"][method]["random"]["blur"][-1]
        assert all(a > b for a, b in zip(pure[:3], noise[:3], strict=True))
        assert pure[3] < noise[3]
    monkeypatch.setattr(mixtures.measure, "__defaults__", ("small", 2, 1, (0.0, 1.0), None))
    monkeypatch.setattr(models, "load", lambda name: model)
    command.main(["mixtures"])
    made = results.load("mixtures")
    assert made.settings.keys() == kept["settings"].keys()
    assert shape(made.values) == shape(kept["values"])


def test_the_broken_cue_repairs_and_more_training_alone_does_not(folder, monkeypatch):
    kept = shipped("repairs")
    without = kept["values"]["umbrella without the cue"]
    assert min(without["cue broken"]) > 0.7 > 0.1 > max(without["cue left in"])
    monkeypatch.setattr(repairs.measure, "__defaults__", ("tag", 4, 1, 1, 2, None))
    draw = detective.draw_test_sets  # a repair draws its own, of 40 images each: here of two
    monkeypatch.setattr(detective, "draw_test_sets", lambda cue, count=2, **options: draw(cue, count, **options))
    command.main(["repairs"])
    made = results.load("repairs")
    assert made.settings.keys() == kept["settings"].keys()
    assert shape(made.values) == shape(kept["values"])


def test_what_hiding_does_is_measured_by_the_command(folder, monkeypatch, model):
    monkeypatch.setattr(models, "load", lambda name, device=None: model)
    monkeypatch.setattr(menagerie, "draw", partial(menagerie.draw, size=48))
    monkeypatch.setattr(menagerie, "CLASSES", ("umbrella",))
    monkeypatch.setattr(redrawn.measure, "__defaults__", (2, None))
    monkeypatch.setattr(hiding, "PATCHES", (16, 48))
    monkeypatch.setattr(hiding, "SAMPLES", 10)
    monkeypatch.setattr(hiding, "PLAYERS", ("eyes", "body"))
    monkeypatch.setattr(hiding.measure, "__defaults__", (2, 1, None))
    command.main(["redrawn", "hiding"])
    kept, made = shipped("redrawn"), results.load("redrawn")
    assert shape(made.settings) == shape(kept["settings"])
    assert shape(made.values) == shape(kept["values"])
    scenes = [menagerie.draw("umbrella", seed, tree=False, tag=True) for seed in range(2)]
    drops = [evaluation.part_importance(model, [scene], ["tag"], "umbrella")["tag"].drop for scene in scenes]
    tag = made.values["residual"]["tag"]
    expected = float(torch.cat(drops).abs().mean())
    assert tag["its pixels"][redrawn.NOTHING][0] == pytest.approx(expected, abs=1e-4)
    assert tag["its pixels"][redrawn.DRAWN][0] < expected
    kept, made = shipped("hiding"), results.load("hiding")
    assert list(made.values["superpixels"]) == list(kept["values"]["superpixels"])
    assert shape(made.values["rise"]) == shape(kept["values"]["rise"])
    assert shape(made.values["shapley"]) == shape(kept["values"]["shapley"])
    assert list(made.values["windows"]) == ["16", "48"]


def test_a_leaderboard_is_made_by_the_command(folder, monkeypatch, model):
    kept = shipped("leaderboard")
    monkeypatch.setattr(leaderboard, "CHOSEN", {"gradient": {}})
    monkeypatch.setattr(leaderboard.methods, "__defaults__", ({"gradient": {}},))
    monkeypatch.setattr(leaderboard.measure, "__defaults__", (None, ("small",), 2, "open", None))
    monkeypatch.setattr(models, "load", lambda name: model)
    monkeypatch.setattr(menagerie, "sample", partial(menagerie.sample, size=48))
    monkeypatch.setattr(leaderboard, "all_methods", leaderboard.methods)
    command.main(["leaderboard", "leaderboard-all"])
    assert results.load("leaderboard-all").settings["split"] == "test"
    settings, networks = results.load("leaderboard")
    rows = networks["small"]
    assert [row["method"] for row in rows] == ["Gradient", *evaluation.CONTROLS]
    assert 0 <= rows[0]["pointing_game"] <= 1
    assert rows[0]["seconds"] > 0
    assert shape(settings) == shape(kept["settings"])
    assert shape(rows) == shape(next(iter(kept["values"].values())))


def test_the_stored_sensitivities_are_of_all_methods_and_networks():
    stored = results.load("sensitivity").values
    assert list(stored) == list(sensitivity.NETWORKS)
    for measured in stored.values():
        assert list(measured) == list(sensitivity.METHODS)
        assert all(value >= 0 for value in measured.values())


def test_sensitivities_are_made_by_the_command(folder, monkeypatch, model):
    few = {name: sensitivity.METHODS[name] for name in ("guided backprop", "LRP")}
    monkeypatch.setattr(sensitivity, "METHODS", few)
    monkeypatch.setattr(sensitivity.measure_all, "__defaults__", (("small",), 2, None))
    monkeypatch.setattr(models, "load", lambda name: model)
    command.main(["sensitivity"])
    images, labels, _ = menagerie.sample(2, size=48)
    explain = few["LRP"][0]
    expected = evaluation.max_sensitivity(explain, model, images, labels, radius=0.005, samples=10).mean()
    assert results.load("sensitivity").values["small"]["LRP"] == pytest.approx(float(expected), rel=0.01)


@pytest.mark.slow
def test_what_lessons_2_and_3_say_of_many_pictures_is_measured_by_the_command(folder, monkeypatch, model):
    monkeypatch.setattr(models, "load", lambda name, device=None: model)
    for name in ("draw", "draw_pair", "sample"):
        monkeypatch.setattr(menagerie, name, partial(getattr(menagerie, name), size=48))
    monkeypatch.setattr(cams.measure, "__defaults__", (4, 3, None))
    monkeypatch.setattr(pairs.measure, "__defaults__", (3, 2, None))
    monkeypatch.setattr(parts.measure, "__defaults__", (3, 2, None))
    monkeypatch.setattr(attributions, "FORGOTTEN", (0, 1, 4))  # the small network has fewer layers
    monkeypatch.setattr(attributions.measure, "__defaults__", (1, 2, 1, None))
    names = ("cams", "pairs", "parts", "attributions")
    command.main(names)
    for name in names:
        kept, made = shipped(name), results.load(name)
        assert shape(made.settings) == shape(kept["settings"])
        assert shape(blurred(made.values)) == shape(blurred(kept["values"])), name
    scenes = [menagerie.draw("cheetah", seed) for seed in range(3)]
    effect = evaluation.part_importance(model, scenes, ["markings"], "cheetah")["markings"]
    found = results.load("parts").values["parts"]["ResNet"]["markings"]
    assert found["drop"][0] == pytest.approx(float(effect.drop.mean()), rel=1e-4, abs=1e-6)
    assert found["of"] == int((~effect.flipped.isnan()).sum())


def blurred(values):
    """Values whose keys that name a network's own layers and their places are made one."""
    if isinstance(values, dict):
        return {re.sub(r"stem|stage\d", "#", key): blurred(one) for key, one in values.items()}
    return values


def test_what_is_stored_of_pairs_parts_and_attributions_is_what_the_networks_do():
    """A few pictures anew: within four of their standard errors of what is stored for many."""
    model, vgg = (models.load(f"menagerie-{name}", device="cpu") for name in ("resnet", "vgg"))
    kept = {name: results.load(name).values for name in ("pairs", "parts", "attributions", "cams")}

    def near(found, stored):
        return abs(float(found.mean()) - stored[0]) < 4 * float(found.std()) / len(found) ** 0.5 + 1e-6

    scenes = [menagerie.draw_pair("cat", "dog", seed=seed) for seed in range(10)]
    x, masks = torch.stack([scene.image for scene in scenes]), [scene.masks for scene in scenes]
    maps = {
        "Grad-CAM, pooling head": cam.grad_cam(model, x, "cat"),
        "Grad-CAM, fully-connected": cam.grad_cam(vgg, x, 0),
    }
    maps["the true mask, 12 x 12 places"] = pairs.at_places(torch.stack([one["cat"] for one in masks]))
    for name, M in maps.items():
        assert near(evaluation.energy_inside(M, masks, name="cat"), kept["pairs"]["found"]["cat"][name]["fraction"])
    cheetahs = [menagerie.draw("cheetah", seed) for seed in range(10)]
    x = torch.stack([scene.image for scene in cheetahs])
    spots, whole = (torch.stack([scene.masks[name] for scene in cheetahs]) for name in ("markings", "object"))
    heat = evaluation.heat(saliency.gradient(model, x, "cheetah"))
    assert near(
        (heat * spots).sum((1, 2)) / (heat * whole).sum((1, 2)), kept["parts"]["spots"]["ResNet"]["maps"]["Gradient"]
    )
    (effect,) = evaluation.part_importance(vgg, cheetahs, ["markings"], "cheetah").values()
    assert near(effect.drop, kept["parts"]["parts"]["VGG"]["markings"]["drop"])
    drawn = [menagerie.draw(name, seed=100) for name in menagerie.CLASSES]
    x, objects = torch.stack([s.image for s in drawn]), torch.stack([s.masks["object"] for s in drawn])
    inside = evaluation.energy_inside(saliency.guided_backprop(model, x, list(range(10))), objects)
    assert near(inside, kept["attributions"]["on the object"]["Guided backprop"])
    images, labels, truth = menagerie.sample(10, seed=2)
    inside = evaluation.energy_inside(cam.grad_cam(model, images, labels, layer="stage2"), truth)
    assert near(inside, kept["cams"]["layers"]["pooling head"]["stage2"]["fraction"])


# attacks


def test_attacks_are_measured_by_the_command(folder, monkeypatch):
    """On a few pictures and two networks: the structure that is stored, and four numbers computed here."""
    names = ("menagerie-resnet", "menagerie-robust")
    monkeypatch.setattr(attacks, "NETWORKS", names)
    monkeypatch.setattr(attacks, "EXPLAINED", names[:1])
    monkeypatch.setattr(attacks, "AIMED", names[:1])
    monkeypatch.setattr(attacks, "GRAY", (4,))
    monkeypatch.setattr(attacks, "STEPS", 1)
    monkeypatch.setattr(attacks.measure, "__defaults__", (6, 2, 2, 4, None))
    command.main(["attacks"])
    kept, made = shipped("attacks"), results.load("attacks")
    assert shape(made.settings) == shape(kept["settings"])
    values, first = made.values, names[0]
    stored = shape(kept["values"])
    assert shape(values["maps"][first]) == stored["maps"][first]
    assert shape(values["targeted"][first]["4"]) == stored["targeted"][first]["4"]
    assert shape(values["answers"][first]) == stored["answers"][first]
    assert shape(values["hardened"]) == stored["hardened"]

    model = models.load(first, device="cpu")
    x, labels, masks = menagerie.sample(6, seed=attacks.SEED)
    right = model.predict(x).argmax(dim=1) == labels
    attacked = fgsm.fgsm(model, x, labels, epsilon=attacks.EPSILON)
    wrong = model.predict(attacked).argmax(dim=1) != labels
    found = values["answers"][first]["FGSM"]
    assert values["transfer"]["clean"][first][0] == pytest.approx(float(right.float().mean()), abs=1e-6)
    assert values["transfer"]["FGSM"][first][first][0] == pytest.approx(float((~wrong).float().mean()), abs=1e-6)
    assert found["images"] == int((right & wrong).sum())
    inside = evaluation.energy_inside(cam.grad_cam(model, attacked, labels), masks)[right & wrong]
    assert found["true class"]["on the object"][0] == pytest.approx(float(inside.mean()), rel=1e-4)
    epsilons = 255 * fgsm.smallest_epsilon(model, x, labels)
    assert values["smallest"][first][1] == pytest.approx(float(epsilons.sort().values[2]), rel=1e-5)


# inversion


def test_the_stored_inversions_hold_every_layer_and_both_networks():
    settings, values = results.load("inversion")
    layers = list(inversion.inversion.layers(models.load("menagerie-resnet")))
    assert list(values["layers"]) == [*inversion.PARAMETRIZATIONS, "difference"]
    assert all(list(kept) == layers for kept in values["layers"].values())
    assert list(values["judged"]) == list(values["own"]) == list(inversion.NETWORKS)
    rows = [ns for ways in values["judged"].values() for judges in ways.values() for ns in judges.values()]
    rows += [ns for ways in values["own"].values() for ns in ways.values()]
    assert {n for ns in rows for n in ns} == {0, 1}
    assert all(len(ns) == 10 * len(settings["seeds"]) for ns in rows)
    assert list(values["probes"]) == [f"{name}, {layer}" for name, layer in inversion.PROBED]
    assert all(inversion.stored_figure(name).picture for name in inversion.CAPTIONS)


def test_inversions_are_made_by_the_command(folder, monkeypatch):
    kept = shipped("inversion")
    plain, robust = (histories.fresh("ResNet", seed=s).eval().requires_grad_(False) for s in (0, 1))
    networks = {"menagerie-resnet": plain, "menagerie-robust": robust, "menagerie-vgg": robust, "detective-c": plain}
    monkeypatch.setattr(models, "load", lambda name: networks[name])
    monkeypatch.setattr(inversion.measure, "__defaults__", (1, (4,), 9))
    monkeypatch.setattr(inversion, "PROBED", (("menagerie-resnet", "stage3"),))
    command.main(["inversion"])
    settings, values = results.load("inversion")
    assert shape(settings) == shape(kept["settings"])
    (probe,), (stored, *_) = values.pop("probes").values(), kept["values"].pop("probes").values()
    assert shape(probe) == shape(stored)
    assert shape(values) == shape(kept["values"])
    images = inversion.drawings(4)
    backs = inversion.found(robust, images, "stage3", "fourier", 1)
    assert values["own"]["menagerie-robust"]["fourier"] == inversion.recognized(robust, backs)
    assert {path.name for path in folder.glob("*.jpg")} == {"inversion-layers.jpg", "inversion-judged.jpg"}


# CIFAR-10


@pytest.fixture
def saved(tmp_path):
    """Two tiny untrained networks of CIFAR-10, by their paths."""
    names = []
    for seed, architecture in enumerate(("ResNet", "Vgg")):
        shape = {"ResNet": architectures.CIFAR_RESNET | {"widths": (4, 4, 4, 4), "blocks": (1, 1, 1)}}
        arguments = shape.get(architecture, architectures.CIFAR_VGG | {"stages": ((4,), (4,), (4,)), "hidden": 4})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = architectures.build(architecture, **arguments)
        made = models.wrap(net, datasets.CIFAR10_CLASSES, (0.5,) * 3, (0.25,) * 3, 32)
        card = {"architecture": architecture, "arguments": arguments}
        names.append(str(models.save(made, tmp_path / f"net-{seed}", card)))
    return names


@pytest.fixture
def pictures():
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return datasets.Pictures(images, torch.arange(40) % 10, datasets.CIFAR10_CLASSES)


def test_cifar10_is_evaluated_by_the_command(saved, pictures, folder, monkeypatch):
    monkeypatch.setattr(datasets, "cifar10_test", lambda source: pictures)
    monkeypatch.setattr(cifar10.measure, "__defaults__", (None, saved, None))
    command.main(["cifar10", "--cifar10", "anywhere"])
    report = cifar10.load()
    for name, each in zip(saved, report.networks.values(), strict=True):
        p = test_set.predict(models.load(name), pictures.images)
        assert each.confusion.tolist() == test_set.summarize(p, pictures.labels).confusion.tolist()
        assert int(each.confusion.sum()) == 40
    assert int(report.contingency.sum()) == 40
    said = cifar10.table(report)
    assert f"| **all** | **{report.networks['net-0'].accuracy:.2%}**" in said
    assert "| cat |" in said
    text = (folder / "cifar10.json").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 90, "a row of the matrix stands on one line"
    assert results.load("cifar10").settings["sha256"]["net-1"] == store.card(saved[1])["sha256"]


def test_networks_of_other_classes_are_refused(saved, pictures, monkeypatch):
    monkeypatch.setattr(datasets, "cifar10_test", lambda source: pictures._replace(classes=("a", "b")))
    with pytest.raises(ValueError, match="must have the classes a, b, got airplane"):
        cifar10.measure(None, saved)


def test_the_table_says_who_is_right_alone():
    each = test_set.Evaluation(torch.tensor([[3, 1], [0, 4]]), scoring.Reliability([0.9], [0.8], [8], 0.1))
    text = cifar10.table(Report(("a", "b"), {"one": each, "two": each}, torch.tensor([[1, 2], [3, 4]])))
    assert "| a | 75.0% | 75.0% |" in text
    assert "one: most confused a and b 1. Expected calibration error 0.100." in text
    assert text.endswith("Both right 4, only one 3, only two 2, neither 1.")


@SHIPPED
def test_the_stored_evaluation_is_of_the_shipped_weights():
    report, weights = cifar10.load(), results.load("cifar10").settings["sha256"]
    assert report.classes == datasets.CIFAR10_CLASSES
    for name, each in report.networks.items():
        card = store.card(name)
        assert weights[name] == card["sha256"], "run python -m xai_lessons.results cifar10"
        assert each.confusion.sum(dim=1).tolist() == [1000] * 10
        (fraction,) = card["test"].values()
        assert each.accuracy == pytest.approx(fraction, abs=3e-4)
        assert sum(each.reliability.pictures) == 10_000
    (neither, second), (first, both) = report.contingency.tolist()
    resnet, vgg = (round(each.accuracy * 10_000) for each in report.networks.values())
    assert (first + both, second + both, neither + first + second + both) == (resnet, vgg, 10_000)


@pytest.fixture(scope="module")
def pictures_of_cifar10(some_of_cifar10):
    return datasets.cifar10_test(some_of_cifar10)


@SHIPPED
@pytest.mark.data
@pytest.mark.parametrize("name", cifar10.NETWORKS)
def test_the_shipped_networks_know_cifar10(pictures_of_cifar10, name):
    images, labels, classes = pictures_of_cifar10
    assert len(labels) == 400
    assert classes == datasets.CIFAR10_CLASSES
    found = test_set.summarize(test_set.predict(models.load(name), images), labels)
    assert found.accuracy > 0.88
    stored = cifar10.load().networks[name].accuracy
    assert abs(found.accuracy - stored) < 4 * (stored * (1 - stored) / 400) ** 0.5


# the pages of docs


def test_the_pages_show_the_stored_results(root):
    said = {name: (root / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("cifar10", "leaderboard")}
    assert cifar10.table(cifar10.load()) in said["cifar10"]
    assert said["leaderboard"] == pages.leaderboard_page(), "run python -m benchmarks.pages"


# the cheat


def test_intervals_hold_the_mean_and_shrink_with_the_number_of_values():
    g = torch.Generator().manual_seed(0)
    for values, proportion in (
        (torch.rand(400, generator=g), False),
        ((torch.rand(400, generator=g) < 0.3).float(), True),
    ):
        mean, low, high = cheat.interval(values, proportion)
        _, low_of_few, high_of_few = cheat.interval(values[:40], proportion)
        assert low - 1e-9 <= mean == pytest.approx(float(values.mean()), abs=1e-6)
        assert mean <= high + 1e-9
        assert 0 <= high - low < high_of_few - low_of_few
    mean, low, high = cheat.interval(torch.tensor([1.0] * 30 + [0.0] * 70), proportion=True)
    assert (low, high) == pytest.approx((0.2189, 0.3958), abs=1e-4)  # Wilson's, as statsmodels gives it


def test_the_maps_of_the_cheat_are_those_of_the_package(model):
    x = torch.stack([scene.image for scene in cheat.scenes(2)["bird in a tree"]])
    heat = cheat.heatmaps(model, torch.nn.functional.interpolate(x, 48, mode="area"), 4)
    assert set(cheat.METHODS) | set(cheat.BASELINES) | set(cheat.CONTROLS) < set(heat)
    assert torch.equal(heat["Gradient, squared"], heat["Gradient"] ** 2)
    assert torch.allclose(heat["edges × Grad-CAM"], heat["edges"] * heat["Grad-CAM"])
    assert all(one.shape == (2, 48, 48) and bool((one >= 0).all()) for one in heat.values())


def test_the_cheat_is_measured_by_the_command(folder, monkeypatch, model):
    kept = shipped("cheat")
    monkeypatch.setattr(models, "load", lambda name, device: model)
    monkeypatch.setattr(menagerie, "draw", partial(menagerie.draw, size=48))
    monkeypatch.setattr(detective, "draw_test_sets", partial(detective.draw_test_sets, count=2))
    monkeypatch.setattr(cheat, "REPAIR", {"count": 8, "epochs": 1})
    monkeypatch.setattr(cheat.measure, "__defaults__", (2, None))
    command.main(["cheat"])
    made = results.load("cheat")
    assert shape(made.settings) == shape(kept["settings"])
    assert shape(made.values) == shape(kept["values"])
    honest, shortcut = (made.values["truth"][name]["bird in a tree"] for name in ("honest", "shortcut"))
    repaired = made.values["truth"]["repaired"]["bird in a tree"]
    assert honest == shortcut != repaired
    birds = cheat.scenes(2)["bird in a tree"]
    inside = evaluation.energy_inside(
        cam.grad_cam(model, torch.stack([scene.image for scene in birds]), "bird"),
        [scene.masks for scene in birds],
        name="tree",
    )
    found = made.values["maps"]["Grad-CAM"]["shortcut"]["fraction on the tree"][0]
    assert found == pytest.approx(float(inside.mean()), rel=1e-4)


def test_the_stored_cheat_is_what_the_networks_do():
    stored = results.load("cheat").values
    birds = cheat.scenes(8)["bird in a tree"]
    masks = [scene.masks for scene in birds]
    x = torch.stack([scene.image for scene in birds])
    for name, network in (("honest", "menagerie-resnet"), ("shortcut", "menagerie-shortcut")):
        model = models.load(network, device="cpu")
        for method in ("Guided backprop", "Gradient", "Grad-CAM"):
            inside = evaluation.energy_inside(cheat.METHODS[method](model, x, cheat.KIND), masks)
            found, spread = float(inside.mean()), float(inside.std()) / len(birds) ** 0.5
            assert abs(found - stored["maps"][method][name]["fraction on the bird"][0]) < 4 * spread
    without = {name: said["bird without its tree"] for name, said in stored["truth"].items()}
    assert without["shortcut"][2] < 0.2 < without["repaired"][1]
