"""PredictionExplorer and the image_explorer of picture and network that all explorers share."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nets import one_layer_network
from sweep import check_code, sweep
from xai_lessons import models
from xai_lessons.data import interventions, menagerie, photos
from xai_lessons.explorers import PredictionExplorer as Whole
from xai_lessons.explorers.classification import PredictionState
from xai_lessons.explorers.kit import Reporter, Touch, image_explorer


class PredictionExplorer(Whole):
    """On a smaller screen, to be quick."""

    screen = 64


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return one_layer_network()


@pytest.fixture(scope="module")
def other() -> models.Classifier:
    return one_layer_network(1)


def test_every_control_changes_the_arrays_it_says(model, other):
    explorer = PredictionExplorer("cat", networks=[model, other])
    sweep(explorer, starts={"seed": {"background": "any"}})
    assert explorer.state == explorer.initial


def test_every_part_of_every_class_can_be_taken_away(model):
    explorer = PredictionExplorer(networks=[model])
    for name, parts in menagerie.PARTS.items():
        explorer.set(picture=name)
        options = [value for _, value in explorer.inputs["without"].options]
        assert options == ["nothing", *parts]


def test_taking_a_part_away_is_the_true_redrawing(model):
    explorer = PredictionExplorer("car", model, seed=3)
    result = explorer.set(without="wheels")
    scene = menagerie.draw("car", 3, 48, background="meadow", tree=False, tag=False)
    assert np.array_equal(result.image, scene.without("wheels").image.numpy())
    assert result.changed > 0
    assert "before" in explorer.describe(result, explorer.state)


def test_a_part_that_is_not_to_be_seen_says_so(model):
    explorer = PredictionExplorer("cat", model)
    collarless = next(s for s in range(40) if not menagerie.draw("cat", s).factors["collar"])
    result = explorer.set(seed=collarless, without="collar")
    assert result.changed == 0
    assert "no collar to take away" in explorer.describe(result, explorer.state)


def test_logits_and_probabilities_with_and_without_a_part(model):
    explorer = PredictionExplorer("cat", model, seed=3)
    before = explorer.result
    result = explorer.set(without="ears")
    scenes = [menagerie.draw("cat", 3, 48, background="meadow", tree=False, tag=False)]
    scenes.append(scenes[0].without("ears"))
    with torch.no_grad():
        whole, without = model(torch.stack([scene.image for scene in scenes])).numpy()
    for given, expected in ((before.logits, whole), (result.logits, without), (result.logits_before, whole)):
        assert np.allclose(given, expected, atol=1e-5)
    assert np.allclose(result.probabilities, np.exp(without) / np.exp(without).sum(), atol=1e-6)
    cat = menagerie.CLASSES.index("cat")
    said = f"logit of cat {without[cat]:.1f} (before: {whole[cat]:.1f})"
    assert said in explorer.describe(result, explorer.state)
    explorer.set(scores="logits")
    bars = explorer.panels(result, explorer.state)[1]
    assert f"cat {without[cat]:.1f}" in bars.alt


def test_a_click_takes_the_part_under_it_away_and_another_brings_it_back(model):
    explorer = PredictionExplorer("cat", model, seed=3)
    masks = menagerie.draw("cat", 3, 48, background="meadow", tree=False, tag=False).masks

    def click(mask, kind="click"):
        y, x = mask.nonzero()[len(mask.nonzero()) // 2].tolist()
        explorer.press_on(Touch("picture", (x + 0.5) / 48, (y + 0.5) / 48, kind)).done.wait(30)
        return explorer.state.without

    for part in ("eyes", "ears", "tail"):
        assert click(masks[part]) == part
        assert click(masks[part], "move") == part, "only a click does something"
        assert click(masks[part]) == "nothing"
    sky = torch.zeros(48, 48, dtype=torch.bool)
    sky[0, 24] = True
    assert click(masks["tail"]) == "tail"
    assert click(sky) == "nothing"
    explorer.set(shift_right=0.2, turn=180)
    moved = interventions.intervene(masks["ears"].float().expand(3, -1, -1), turn=180, shift=(0.2, 0.0))[0] > 0.9
    assert click(moved) == "ears", "where the picture was moved, the parts are where they are seen"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"picture": "umbrella", "seed": 7, "background": "any", "tree": True, "tag": True},
        {"turn": 35, "upside_down": True, "shift_right": 0.2, "shift_down": -0.1, "brighten": 0.2, "noise": 0.1},
        {"without": "whiskers", "pose": "sit", "background": "snow"},
    ],
)
def test_the_shown_code_gives_the_same_arrays(model, changes):
    explorer = PredictionExplorer(networks=[model], **changes)
    check_code(explorer, tolerance=1e-6)


def test_the_code_of_a_photograph(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save("mine.png")
    explorer = PredictionExplorer("mine.png", model, turn=10)
    assert "photos.load('mine.png')" in explorer.code(explorer.state)
    check_code(explorer, tolerance=1e-6)


@pytest.mark.parametrize("picture", ["chelsea", torch.rand(3, 70, 50, generator=torch.Generator().manual_seed(0))])
def test_the_code_of_a_sample_and_of_a_tensor(picture, model):
    explorer = PredictionExplorer(picture, model)
    check_code(explorer, tolerance=1e-6)
    assert "," not in explorer.describe(explorer.result, explorer.state).split("%")[1]  # nobody knows what it is
    assert explorer.inputs["seed"].layout.display == "none"


def test_the_code_names_the_network_and_nothing_superfluous(monkeypatch):
    monkeypatch.setattr(image_explorer, "network", lambda name: one_layer_network(size=96))
    explorer = PredictionExplorer("dog", seed=5, background="any")
    assert explorer.code(explorer.state).splitlines()[:7] == [
        "from xai_lessons import menagerie, models, plots",
        "",
        "model = models.load('menagerie-resnet')",
        "scene = menagerie.draw('dog', seed=5, tree=False, tag=False)",
        "image = scene.image",
        "logits = model(image[None].to(model.device))[0].detach().cpu()",
        "probabilities = logits.softmax(dim=0)",
    ]


def test_a_scene_starts_the_explorer_where_it_is(model):
    scene = menagerie.draw("dog", seed=4, size=48, background="sea", tag=True)
    explorer = PredictionExplorer(scene, model)
    assert (explorer.state.picture, explorer.state.seed, explorer.state.background) == ("dog", 4, "sea")
    assert np.array_equal(explorer.result.image, scene.image.numpy())


def test_uploads_are_kept_beside_the_notebook_and_shown(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    explorer = PredictionExplorer(networks=[model])
    files = {}
    for value in (50, 200):
        stream = io.BytesIO()
        Image.new("RGB", (50, 40), (value, 0, 0)).save(stream, "PNG")
        files[value] = stream.getvalue()
    (upload,) = (c for c in explorer.declared if c.name == "upload")
    explorer.set(**upload.take("../cat photo.png", files[50]))
    assert explorer.result.image[0].mean() == pytest.approx(50 / 255, abs=0.01)
    check_code(explorer, tolerance=1e-6)
    explorer.set(**upload.take("cat photo.png", files[200]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat photo-2.png", "cat photo.png"]
    assert explorer.state.picture == "cat photo-2"
    with pytest.raises(ValueError, match="not an image"):
        upload.take("notes.txt", b"hello")
    with pytest.raises(ValueError, match="not an image"):  # a Radiance file, which Python would run
        upload.take("torch.py", b"#?RADIANCE\nraise SystemExit")
    assert len(list(tmp_path.iterdir())) == 2
    explorer.set(**upload.take("../../torch.py", files[200]))
    assert (tmp_path / "torch.png").exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_large_photograph_is_opened_once_per_network_and_only_small_versions_are_kept(tmp_path, monkeypatch, model):
    Image.new("RGB", (3000, 2000), (200, 0, 0)).save(tmp_path / "large.png")
    opened = []
    load = photos.load
    monkeypatch.setattr(photos, "load", lambda source: opened.append(source) or load(source))
    explorer = PredictionExplorer(tmp_path / "large.png", model)
    opened.clear()
    for _ in range(3):
        explorer.image(explorer.state), explorer.screen_image(explorer.state)
    assert len(opened) <= 1
    kept = [photo.screen for photo in explorer.photographs.values()] + list(explorer._prepared.values())
    assert sum(each.untyped_storage().nbytes() for each in kept) < 5e6


def test_the_network_may_have_other_classes(model):
    explorer = PredictionExplorer("cat", one_layer_network(2, 32, ("yes", "no", "perhaps")))
    assert explorer.result.probabilities.shape == (3,)
    assert len(explorer.panels(explorer.result, explorer.state)) == 2
    assert "cat" not in explorer.describe(explorer.result, explorer.state)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"picture": "unicorn"}, "unicorn"),
        ({"picture": 7}, "got int"),
        ({"network": nn.Linear(1, 1)}, "models.wrap"),
        ({"pose": "walk", "picture": "car"}, "pose must be one of any, .*got 'walk'"),
        ({"seed": -1}, "got -1"),
        ({"without": "wheels"}, "must be one of nothing"),
    ],
)
def test_bad_arguments_get_one_sentence(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        PredictionExplorer(**arguments)


def test_the_picture_is_redrawn_for_the_screen_after_the_quick_answer(model):
    explorer = PredictionExplorer("bird", model)
    first, last = explorer.compute(explorer.state, Reporter())
    assert np.array_equal(first.probabilities, last.probabilities)
    assert first.shown.shape == last.shown.shape == (3, 64, 64)
    sharp = menagerie.draw("bird", 0, 64, background="meadow", tree=False, tag=False).image.numpy()
    assert np.array_equal(last.shown, sharp)
    assert not np.array_equal(first.shown, last.shown)


def test_the_toggle_shows_the_very_pixels(model):
    explorer = PredictionExplorer("bird", model)
    explorer.set(as_seen=True)
    (panel, _) = explorer.panels(explorer.result, explorer.state)
    assert panel.sharp
    assert "48 × 48" in panel.title


def test_panels_say_what_they_show(model):
    explorer = PredictionExplorer("fish", model, tree=True, turn=90, without="fins")
    picture, chart = explorer.panels(explorer.result, explorer.state)
    for word in ("fish", "meadow", "leafy tree", "turn 90", "without its fins"):
        assert word in picture.alt
    top = menagerie.CLASSES[int(explorer.result.probabilities.argmax())]
    assert top in chart.alt
    assert "Line: before" in chart.caption


def test_pairs_are_drawn_and_coded(model):
    class Pairs(PredictionExplorer):
        pairs = ("cat + dog",)

    explorer = Pairs("cat + dog", model, seed=2)
    assert explorer.inputs["pose"].layout.display == "none"
    assert "menagerie.draw_pair('cat', 'dog'" in explorer.code(explorer.state)
    check_code(explorer, tolerance=1e-6)


def test_networks_by_name_are_loaded_once(monkeypatch, model):
    loaded = []
    monkeypatch.setattr(image_explorer.models, "load", lambda name: (loaded.append(name), model)[1])
    image_explorer._network.cache_clear()
    try:
        for _ in range(2):
            assert PredictionExplorer(network="some-name").result.probabilities.shape == (10,)
    finally:
        image_explorer._network.cache_clear()
    assert loaded == ["some-name"]


def test_equal_states_are_equal():
    assert PredictionState(turn=5) == PredictionState(turn=5)
    assert hash(PredictionState()) == hash(PredictionState())


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("triceratops.jpg", "triceratops"),
        ("umbrella.jpg", "umbrella"),
        ("cheetah.jpg", "cheetah"),
        ("labrador_retriever.jpg", "Labrador retriever"),
    ],
)
def test_photographs_through_an_imagenet_network(test_data, squeezenet, file, name):
    explorer = PredictionExplorer(test_data / "photos" / file, squeezenet)
    assert f"says {name}" in explorer.describe(explorer.result, explorer.state)


@pytest.fixture(scope="module")
def squeezenet(test_data):
    return models.load("squeezenet1_0", weights=test_data / "squeezenet1_0.safetensors")


def test_samples_are_those_of_scikit_image():
    explorer = PredictionExplorer("coffee", one_layer_network())
    assert torch.equal(explorer.photographs["coffee"].open(), photos.sample("coffee"))
