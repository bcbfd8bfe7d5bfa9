"""The explorer base, on explorers small enough to see through."""

import datetime
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sweep import check_code, click, sweep
from toys import Disc, DiscState
from xai_lessons.explorers.kit import Touch, base, controls
from xai_lessons.explorers.kit.panels import Panel
from xai_lessons.explorers.kit.view import error_text

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CORNER = {"corner": {"shape": "square"}}


def test_every_control_changes_what_it_says():
    explorer = Disc()
    sweep(explorer, CORNER)
    assert explorer.state == DiscState()


@pytest.mark.parametrize("name", ["size", "steps", "shape", "marks", "inverted", "shade", "grow"])
def test_the_sweep_fails_when_a_control_is_disconnected(name):
    class Loose(Disc):
        def request(self, **changes):
            if changes.keys() == {name}:
                changes = {}
            if name == "grow" and len(changes) > 1 and changes["size"] == 7:
                changes = {}
            return super().request(**changes)

    explorer = Loose()
    explorer.set = lambda **changes: explorer._finish(Disc.request(explorer, **changes))
    with pytest.raises(AssertionError, match=name):
        sweep(explorer, CORNER)


def test_the_sweep_fails_when_compute_ignores_a_control():
    class Deaf(Disc):
        def compute(self, state, progress):
            return super().compute(DiscState(**{**vars(state), "inverted": False}), progress)

    with pytest.raises(AssertionError, match="inverted was moved .* image stayed the same"):
        sweep(Deaf(), CORNER)


def test_the_sweep_sees_errors():
    class Broken(Disc):
        def compute(self, state, progress):
            if state.marks == ("c",):
                raise RuntimeError("oh")
            return super().compute(state, progress)

    with pytest.raises(AssertionError, match="oh"):
        sweep(Broken(), CORNER)


def test_set_is_synchronous_and_returns_the_result():
    explorer = Disc()
    result = explorer.set(size=6, shape="square")
    assert explorer.state.size == 6
    assert result.fraction == pytest.approx(explorer.evaluate().fraction)
    assert explorer.result is result


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 40}, "size must be an integer from 1 to 9, got 40"),
        ({"size": 2.5}, "got 2.5"),
        ({"size": True}, "got True"),
        ({"steps": 3.0}, "must be one of 1.0, 2.0, 5.0, got 3.0"),
        ({"shape": "star"}, "must be one of disc, square, got 'star'"),
        ({"marks": ("a", "z")}, "marks must be one of a, b, c, got 'z'"),
        ({"inverted": "yes"}, "True or False"),
        ({"sizes": 3}, "'sizes' is not a field of this explorer: use one of .*shade, shape, size"),
        ({"corner": "sharp"}, "corner must be one of round, got 'sharp'"),
    ],
)
def test_bad_values_get_one_sentence(changes, words):
    explorer = Disc()
    with pytest.raises(ValueError, match=words):
        explorer.set(**changes)
    assert explorer.state == DiscState()
    with pytest.raises(ValueError, match=words):
        Disc(**changes)


def test_what_no_longer_exists_is_repaired():
    explorer = Disc(shape="square", corner="sharp")
    explorer.set(shape="disc")
    assert explorer.state.corner == "round"
    assert explorer.inputs["corner"].layout.display == "none"
    explorer.set(shape="square")
    assert explorer.inputs["corner"].layout.display != "none"
    assert [value for _, value in explorer.inputs["corner"].options] == ["round", "sharp"]


def test_widgets_follow_the_state():
    explorer = Disc()
    explorer.set(size=5, marks=("c", "a"), inverted=True, steps=5.0)
    values = {name: explorer.inputs[name].value for name in ("size", "marks", "inverted", "steps")}
    assert values == {"size": 5, "marks": ("a", "c"), "inverted": True, "steps": 5.0}


def test_a_bound_that_follows_the_state():
    slider = controls.Slider(name="size", label="", low=1, high=lambda state: 4 if state.shape == "disc" else 9)

    class Bound(Disc):
        def controls(self):
            return (super().controls()[2], slider)

    explorer = Bound(shape="square", size=8)
    assert explorer.inputs["size"].max == 9
    explorer.set(shape="disc", size=4)
    explorer.set(shape="square", size=9)
    explorer.request(shape="disc")
    assert explorer.state.size == 4
    assert explorer.inputs["size"].max == 4


def test_a_callbacks_error_is_shown_in_its_own_words():
    explorer = Disc()
    explorer.inputs["size"].value = 8
    assert explorer.wait(10)
    view = explorer._view
    assert "size must not be 8." in view._error.value
    assert view._error.layout.display == ""
    assert all("xai-outdated" in box._dom_classes for box in (view._stage, view._below))
    explorer.inputs["size"].value = 5
    assert explorer.wait(10)
    assert view._error.layout.display == "none"
    assert explorer.error is None


def test_other_errors_are_named_and_html_is_escaped():
    explorer = Disc(inverted=True)
    explorer.inputs["size"].value = 9
    assert explorer.wait(10)
    assert "KeyError" in explorer._view._error.value
    assert "Press Reset" in explorer._view._error.value
    explorer._view.show_error(ValueError("<b>bold</b>"))
    assert "<b>" not in explorer._view._error.value


def test_set_raises_what_went_wrong():
    with pytest.raises(ValueError, match="size must not be 8"):
        Disc().set(size=8)


def test_an_explorer_that_cannot_compute_still_shows_itself():
    bundle = Disc(size=8)._repr_mimebundle_()
    assert bundle["text/plain"] == "size must not be 8."
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_error_of_a_button_is_shown():
    explorer = Disc()
    explorer._view = None
    assert explorer.widget is not None
    explorer.save = lambda: (_ for _ in ()).throw(OSError("the folder is read-only"))
    click(explorer, "xai-save")
    assert "read-only" in explorer._view._error.value


def test_reset_goes_back_to_the_beginning():
    explorer = Disc(size=4)
    explorer.set(size=6, inverted=True)
    click(explorer, "xai-reset")
    assert explorer.wait(10)
    assert explorer.state == DiscState(size=4)
    assert explorer.inputs["size"].value == 4


def test_buttons_act():
    explorer = Disc()
    explorer.inputs["grow"].click()
    assert explorer.wait(10)
    assert explorer.shown.size == 7


def test_a_touched_picture_gives_a_new_state():
    explorer = Disc(size=4)
    (browser,) = (w for w in explorer.widget.children if hasattr(w, "moved"))
    assert explorer.wait(10)
    assert explorer._view._panels[0].image._dom_classes == ("xai-touch", "xai-touch-disc")
    first = explorer.result
    browser._handle_custom_msg(["disc", 0.999, 0.5, "click"], [])  # as from the browser
    assert explorer.wait(10)
    assert (explorer.shown.size, explorer.shown.shade, explorer.inputs["size"].value) == (9, 0.5, 9)
    browser.moved = ["disc", 0.0, 0.21, "move"]  # only draws anew
    assert explorer.shown.shade == 0.2
    again = explorer.press_on(Touch("disc", 0.9, 0.2, "move"))  # an equal state: nothing to do
    assert again.result is explorer.result
    assert explorer.result is not first
    browser._handle_custom_msg(["disc", 0.85, 0.2, "click"], [])
    assert explorer.wait(10)
    assert "size must not be 8" in explorer._view._error.value
    explorer.reset()
    assert explorer.wait(10)
    assert explorer.shown == DiscState(size=4)
    assert Touch("disc", 1.0, 0.5).cell(4, 3) == (2, 2)


def test_the_shown_code_gives_the_same_arrays():
    explorer = Disc(size=6, marks=("b", "c"))
    check_code(explorer)


def test_wrong_code_is_caught():
    class Wrong(Disc):
        def code(self, state):
            return super().code(DiscState(size=1))

    with pytest.raises(AssertionError, match="image"):
        check_code(Wrong(size=6))


def test_show_code_opens_follows_and_closes():
    explorer = Disc()
    explorer.set(size=4)
    code = explorer._view._code if explorer.widget else None
    assert code.layout.display == "none"
    click(explorer, "xai-show-code")
    assert "size=4" in code.value
    explorer.set(size=5)
    assert "size=5" in code.value
    click(explorer, "xai-show-code")
    assert code.layout.display == "none"


def test_save_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer = Disc()
    explorer.result  # noqa: B018
    click(explorer, "xai-save")
    (tmp_path / "disc-2.png").write_text("mine")
    click(explorer, "xai-save")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disc-1.png", "disc-2.png", "disc-3.png"]
    assert (tmp_path / "disc-2.png").read_text() == "mine"
    assert "disc-3.png" in explorer._view._note.value
    assert str(tmp_path) in explorer._view._note.value
    assert Image.open(io.BytesIO((tmp_path / "disc-3.png").read_bytes())).size[0] > 300


def test_the_stored_output_has_an_image_a_sentence_and_no_secrets():
    bundle = Disc()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/jpeg", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == "A disc The disc covers 0.07."
    assert len(bundle["image/jpeg"]) <= base.STORED_BYTES
    json.dumps(bundle["application/vnd.jupyter.widget-view+json"])


def test_the_stored_image_stays_small():
    class Noisy(Disc):
        def panels(self, result, state):
            noise = np.random.default_rng(0).random((384, 384, 3))
            return [Panel(f"{i}", noise, "noise") for i in range(2)]

    assert len(Noisy()._repr_mimebundle_()["image/jpeg"]) <= base.STORED_BYTES


def test_the_contact_sheet_holds_every_panel():
    class Three(Disc):
        def panels(self, result, state):
            return [Panel(str(i), np.full((8, 8), i / 4), "gray", 300) for i in (1, 2, 3)]

    sheet = Three().render()
    for i in (1, 2, 3):
        assert (sheet == round(255 * i / 4)).all(-1).sum() >= 300 * 300


def test_images_carry_their_text_and_their_format():
    explorer = Disc()
    explorer.set(size=4)
    image = (explorer.widget, explorer._view._panels[0].image)[1]
    assert (image.tooltip, image.format, image.width) == ("a disc", "jpeg", "128")
    assert Image.open(io.BytesIO(bytes(image.value))).size == (128, 128)


def test_the_number_of_panels_may_change():
    class Several(Disc):
        def panels(self, result, state):
            return super().panels(result, state) * len(state.marks)

    explorer = Several()
    explorer.set(marks=("a", "b", "c"))
    assert len((explorer.widget, explorer._view._stage)[1].children) == 3
    explorer.set(marks=("b",))
    assert len(explorer._view._stage.children) == 1


@pytest.mark.parametrize(
    ("slider", "expected"),
    [
        (controls.Slider(name="a", label="", low=0, high=10), [0, 3, 7, 10]),
        (controls.Slider(name="a", label="", low=-0.4, high=0.4, step=0.2), [-0.4, -0.2, 0.2, 0.4]),
        (controls.Slider(name="a", label="", low=1, high=2), [1, 2]),
        (controls.Slider(name="a", label="", values=(1, 10, 100)), [1, 10, 100]),
    ],
)
def test_sliders_are_swept_from_end_to_end(slider, expected):
    assert list(slider.positions(None)) == pytest.approx(expected)


def test_the_text_of_an_error():
    assert error_text(TypeError("got a str")) == "got a str"
    assert "ZeroDivisionError" in error_text(ZeroDivisionError("division by zero"))
    assert "ValueError" in error_text(ValueError())


def test_css_classes_for_tests_and_styles():
    explorer = Disc()
    assert set(explorer.widget._dom_classes) == {"xai-explorer", "xai-disc"}
    assert "xai-control-size" in explorer.inputs["size"]._dom_classes


def test_google_colab_is_told_which_widget_manager_shows_it(monkeypatch):
    kind, url = "application/vnd.jupyter.widget-view+json", "https://example.org/manager.js"
    colab = SimpleNamespace(enable_custom_widget_manager=lambda: None, _widgets=SimpleNamespace(_installed_url=url))
    monkeypatch.setitem(sys.modules, "google.colab.output", colab)
    explorer = Disc()
    data, metadata = explorer._repr_mimebundle_()
    assert data[kind]["model_id"] == explorer.widget.model_id
    assert metadata == {kind: {"colab": {"custom_widget_manager": {"url": url}}}}
