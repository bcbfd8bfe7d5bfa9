"""Published figures and ours: tables, figures, what is stored, and the real network where there are test data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import pages
from xai_lessons import evaluation, models, results
from xai_lessons.methods import occlusion
from xai_lessons.results import reference, sensitivity
from xai_lessons.results.reference import Table, figures, measure, tables

CLASSES = ("cheetah", "tabby", "gibbon", "boxer", "tiger cat", "umbrella")


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = [nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()]
        net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, len(CLASSES)))
        nn.init.normal_(net[6].weight, std=3.0)
    return models.wrap(net.eval().requires_grad_(False), CLASSES, input_size=48, layers=("1", "3"), name="small")


@pytest.fixture
def folder(tmp_path):
    """Noise under names that mean something."""
    rng = np.random.default_rng(0)
    for name in ("cheetah", "cat_dog", "umbrella", "holiday"):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def pictures(network, folder):
    return reference.photographs(network, folder)


def test_the_samples_are_always_there_and_a_folder_comes_after_them(network, folder, monkeypatch):
    monkeypatch.delenv("XAI_LESSONS_PHOTOS", raising=False)
    assert tuple(reference.photographs(network)) == reference.SAMPLES
    own = ("cat_dog", "cheetah", "holiday", "umbrella")
    assert tuple(reference.photographs(network, folder)) == (*reference.SAMPLES, *own)
    assert tuple(reference.photographs(network, folder, most=1)) == (*reference.SAMPLES, "cat_dog")
    monkeypatch.setenv("XAI_LESSONS_PHOTOS", str(folder))
    pictures = reference.photographs(network)
    assert tuple(pictures) == (*reference.SAMPLES, *own)
    assert all(x.shape == (3, 48, 48) for x in pictures.values())


def test_a_photograph_that_cannot_be_read_is_left_out_with_a_warning(network, folder):
    (folder / "cheetah.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out: cheetah\.png"):
        assert "cheetah" not in reference.photographs(network, folder)


def test_a_folder_that_is_not_there_is_refused(network, folder):
    with pytest.raises(ValueError, match="there is no folder"):
        reference.photographs(network, folder / "gone")


def test_the_name_of_a_photograph_is_the_class_it_is_explained_for(network, pictures):
    assert reference.subject(network, "tiger_cat", pictures["holiday"]) == 4
    assert reference.subject(network, "Cheetah", pictures["holiday"]) == 0
    expected = int(network.predict(pictures["holiday"]).argmax())
    assert reference.subject(network, "holiday", pictures["holiday"]) == expected
    assert reference.says(network, pictures["holiday"]).startswith(CLASSES[expected])


def test_a_table_is_printed_in_columns_and_as_a_page():
    table = Table(("name", "value"), (("a", "1.0"), ("bcdefg", "2")))
    assert str(table) == "name    value\na       1.0\nbcdefg  2"
    assert table.markdown() == "| name | value |\n| --- | --- |\n| a | 1.0 |\n| bcdefg | 2 |"
    assert table.only("a").rows == (("a", "1.0"),)


def test_long_names_are_cut():
    assert reference.short("black-footed ferret") == "black-footed ferr…"
    assert len(reference.short("black-footed ferret")) == 18
    assert reference.short("tabby") == "tabby"


def test_the_place_of_a_peak_in_words():
    for at, words in (((0, 0), "top left"), ((4, 4), "middle"), ((8, 4), "bottom"), ((4, 8), "right")):
        M = torch.zeros(9, 9)
        M[at] = 1
        assert tables.place(M) == words
    assert tables.place(torch.zeros(9, 9)) == "nowhere"
    even = torch.ones(10, 10)
    assert tables._half(even) == pytest.approx(0.5)


def test_a_photograph_of_two_is_explained_for_both(network, pictures):
    rows = tables.looked(network, pictures).rows
    assert [row[3] for row in rows if row[0] == "cat_dog"] == ["boxer", "tiger cat"]
    assert [row[1] for row in rows if row[0] == "cat_dog"] == ["the dog", "the cat"]
    assert [row[1] for row in rows if row[0] == "cheetah"] == ["its face and spots"]
    assert len(rows) == len(pictures) + 1


def test_the_fractions_of_a_map_by_hand():
    M = torch.zeros(8, 8)
    M[3, 3], M[0, 0], M[7, 7] = 3, 1, -4
    colors = torch.stack([M, M, -M])
    table = tables.eight({"map": M, "colors": colors, "square": M**2, "empty": 0 * M})
    assert table.rows == (
        ("map", "50%", "75%"),
        ("colors", "50%", "75%"),
        ("square", "100%", "35%"),
        ("empty", "100%", "0%"),
    )


def test_what_is_said_of_erased_pictures(network, pictures):
    from xai_lessons.methods import cam

    table = tables.erased(network, pictures)
    (row,) = table.only("umbrella").rows
    x = pictures["umbrella"]
    M = cam.grad_cam(network, x, "umbrella")
    assert row[1] == "envelope"
    assert row[2] == reference.says(network, x)
    assert row[3] == reference.says(network, occlusion.erase_top(x, M, 0.2, boxes=3))
    assert row[5] == reference.says(network, occlusion.keep_top(x, M, 0.3))


def test_what_is_left_when_a_window_is_hidden(network, pictures):
    (row,) = tables.occluded(network, pictures).only("cheetah").rows
    x, least, most = pictures["cheetah"], 1.0, 0.0
    for i in range(0, 37, 6):
        for j in range(0, 37, 6):
            hidden = x.clone()
            hidden[:, i : i + 12, j : j + 12] = 0
            p = float(network.predict(hidden)[0])
            least, most = min(least, p), max(most, p)
    assert row[1:3] == ("0.88", "cheetah")
    assert [float(v) for v in row[4:]] == pytest.approx([least, most], abs=0.006)


def test_changes_stay_small_and_the_attack_works(network, pictures):
    x = pictures["cheetah"]
    found = tables.changes(network, x)
    for name in ("FGSM, 0.007", "PGD, 0.007", "target gibbon"):
        assert float((found[name] - x).abs().max()) <= 0.007 + 1e-6
    c = int(network.predict(x).argmax())
    assert float(network.predict(found["PGD, 0.007"])[c]) < float(network.predict(x)[c])
    assert float(network.predict(found["target gibbon"])[2]) > float(network.predict(x)[2])


def test_what_stays_is_called_the_same(network, pictures):
    attacked, turned = tables.changed(network, pictures)
    assert attacked.columns[2:] == ("right", "second", "FGSM, 0.007", "PGD, 0.007", "target gibbon")
    assert turned.columns[2:] == ("brighter by 0.3", "darker by 0.3", "mirrored", "upside down")
    found = tables.changes(network, pictures["coffee"])
    before, now = (reference.says(network, found[name]) for name in ("as it is", "mirrored"))
    expected = f"same {now.split()[-1]}" if before.rpartition(" ")[0] == now.rpartition(" ")[0] else now
    assert turned.only("coffee").rows[0][4] == expected


def test_inversion_lowers_the_loss(network, pictures):
    rows = tables.inverted(network, pictures["coffee"], steps=30).rows
    assert [row[:2] for row in rows] == [(layer, how) for layer in network.layers for how in ("sgd", "adam")]
    assert all(float(row[2]) < 1 for row in rows)


def test_max_sensitivity_is_that_of_evaluation_and_stands_beside_the_published(network, pictures):
    x, told = pictures["cheetah"], []
    few = {name: tables.methods(48)[name] for name in ("guided backprop", "LRP")}
    found = tables.max_sensitivity(network, x, 0, 2, few, progress=lambda done, of: told.append((done, of)))
    expected = evaluation.max_sensitivity(few["LRP"], network, x, 0, radius=0.0045, samples=2)
    assert found["LRP"] == pytest.approx(float(expected))
    assert told == [(1, 2), (2, 2)]
    table = tables.sensitive(found)
    assert table.only("LRP").rows == (("LRP", "3.567", f"{found['LRP']:.3f}"),)
    assert table.only("occlusion").rows == (("occlusion", "0.030", "-"),)
    assert len(tables.sensitive(found, {}).columns) == 4


def test_a_librarys_options_draw_new_numbers_at_every_call(network, pictures):
    x = pictures["cheetah"]
    shap = tables.tutorial_methods(x)["Gradient SHAP"]
    assert not torch.equal(shap(network, x, 0), shap(network, x, 0))
    assert set(tables.tutorial_methods(x)) <= set(sensitivity.METHODS)


def test_figures_are_pictures_with_a_caption_that_names_the_network(network, pictures):
    maps = {name: method(network, pictures["coffee"], 0) for name, method in list(tables.methods(48).items())[3:5]}
    made = (
        figures.looked(network, pictures),
        figures.erased(network, pictures),
        figures.changed(network, pictures["coffee"]),
    )
    for figure in made:
        assert "small" in figure.caption
        assert figure.kind == "jpeg"
        assert len(figure.picture) > 5000
    assert figures.eight(pictures["coffee"], maps).kind == "jpeg"


def test_what_is_measured_is_stored_and_read_again(network, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "inverted", lambda *_: Table(("layer",), (("1",),)))
    monkeypatch.setattr(tables, "max_sensitivity", lambda *_: {"LRP": 1.0})
    made, drawn = measure.measure(network, folder, samples=1)
    stored = tmp_path / "stored"
    stored.mkdir()
    monkeypatch.setattr(results, "FOLDER", stored)
    results.save("reference", made, {name: figure.picture for name, figure in drawn.items()})
    assert made.settings == {"network": "small", "photographs": 8}
    assert list(made.values["tables"]) == list(pages.SECTIONS)
    assert reference.stored("sensitivity").only("LRP").rows == (("LRP", "3.567", "1.000", "1.000"),)
    assert reference.stored_figure("eight").caption == drawn["eight"].caption
    assert reference.stored_figure("eight").picture == drawn["eight"].picture
    page = pages.reference_page()
    for heading, why in pages.SECTIONS.values():
        assert heading in page
        assert why in page
    assert "| LRP | 3.567 | 1.000 | 1.000 |" in page
    with pytest.raises(ValueError, match="there is no 'look' in the stored tables: did you mean 'looked'"):
        reference.stored("look")
    with pytest.raises(ValueError, match="there is no 'look' in the stored captions: did you mean 'looked'"):
        reference.stored_figure("look")


# What is in the repository.


def test_the_page_is_made_of_what_is_stored(root):
    page = (root / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == pages.reference_page(), "run python -m benchmarks.pages"


def test_only_scikit_images_photographs_are_stored_as_figures():
    files = {path.name for path in results.FOLDER.glob("reference-*.jpg")}
    captions = results.load("reference").values["captions"]
    assert files == {f"reference-{name}.jpg" for name in captions}
    assert set(captions) == {"looked", "eight", "erased", "changed"}
    for name in captions:
        with Image.open(results.FOLDER / f"reference-{name}.jpg") as picture:
            assert picture.width > 600


def alike(ours, kept):
    """The same words, and percentages that a last digit of rounding may move."""
    for own, other in zip(ours.rows, kept.rows, strict=True):
        for a, b in zip(own, other, strict=True):
            (words, _, p), (expected, _, q) = a.rpartition(" "), b.rpartition(" ")
            if a.endswith("%") and b.endswith("%"):
                assert words == expected
                assert abs(int(p.strip("%")) - int(q.strip("%"))) <= 1
            else:
                assert a == b


@pytest.fixture(scope="module")
def real(test_data):
    return models.load("squeezenet1_0", weights=test_data / "squeezenet1_0.safetensors", device="cpu")


@pytest.fixture(scope="module")
def photographs(real, test_data):
    return reference.photographs(real, Path(test_data) / "photos")


@pytest.mark.data
def test_the_real_network_sees_cat_and_dog_in_different_places(real, photographs):
    table = tables.looked(real, {name: photographs[name] for name in ("cat_dog", "labrador_retriever")})
    alike(table, reference.stored("looked").only("cat_dog", "labrador_retriever"))
    assert table.rows[0][4] != table.rows[1][4]


@pytest.mark.data
def test_the_real_network_loses_the_label_without_the_brightest_areas(real, photographs):
    some = {name: photographs[name] for name in ("bloodhound", "egyptian_cat", "tabby", "umbrella")}
    table = tables.erased(real, some)
    alike(table, reference.stored("erased").only(*some))
    lost = [row[2].rpartition(" ")[0] != row[4].rpartition(" ")[0] for row in table.rows]
    assert all(lost)


@pytest.mark.data
def test_the_real_network_is_fooled_at_0_007(real, photographs):
    attacked, turned = tables.changed(real, {name: photographs[name] for name in ("labrador_retriever", "tabby")})
    alike(attacked, reference.stored("attacked").only("tabby", "labrador_retriever"))
    alike(turned, reference.stored("changed").only("tabby", "labrador_retriever"))
    assert not any(row[4].startswith("same") for row in attacked.rows)


@pytest.mark.data
def test_the_real_networks_sensitivities_are_as_stored(real, photographs):
    few = {name: tables.methods(224)[name] for name in ("guided backprop", "guided Grad-CAM", "LRP")}
    found = tables.max_sensitivity(real, photographs["triceratops"], real.class_index("triceratops"), 10, few)
    for row in reference.stored("sensitivity").only(*few).rows:
        assert found[row[0]] == pytest.approx(float(row[2]), rel=0.02)
