"""The view of an explorer: controls become ipywidgets, panels become `ipywidgets.Image`.

Nothing is computed here. Every callback runs guarded: what it raises is shown in the error line, because JupyterLab and
Voila show exceptions of callbacks nowhere. The layout is made in `View._build`: the title with the actions, the
headline with status and Stop, the controls of the stage in one row, all other controls folded under More, then the
panels side by side, with the shown code beside them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from xai_lessons import plots
from xai_lessons.explorers.kit.browser import Browser
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Many, Slider, Toggle, Upload
from xai_lessons.explorers.kit.panels import STAGE, Panel
from xai_lessons.explorers.kit.upload import Uploader

STYLE = f"<style>{Path(__file__).with_name('view.css').read_text(encoding='utf-8')}</style>"


def error_text(error: BaseException) -> str:
    """What went wrong, for a student: a ValueError's or TypeError's own sentence, the kind of any other."""
    if isinstance(error, ValueError | TypeError | OSError) and str(error):
        return str(error)
    return (
        f"Something went wrong ({type(error).__name__}: {error}). Press Reset; if it happens again, restart the kernel "
        "and run the notebook again."
    )


def _div(name: str, text: str) -> str:
    """A line of text with its style; nothing for an empty one."""
    return f'<div class="xai-{name}">{html.escape(text)}</div>' if text else ""


def _span(name: str, text: str) -> str:
    return f'<span class="xai-{name}">{html.escape(text)}</span>' if text else ""


def _toggle(widget: Any) -> None:
    """Unfold a widget, or fold it."""
    widget.layout.display = "" if widget.layout.display == "none" else "none"


def color_bar(scale: tuple[float, float, str] | None) -> str:
    """A bar of the colors of a map with its lowest, middle and highest value."""
    if scale is None:
        return ""
    low, high, colors = scale
    stops = plots.heatmap(np.linspace(0, 1, 17)[None], colors, (0, 1))[0]
    shades = ", ".join(f"rgb({r}, {g}, {b})" for r, g, b in stops.tolist())
    values = "".join(f"<span>{value:.3g}</span>" for value in (low, (low + high) / 2, high))
    bar = f'<div class="xai-scale" style="background: linear-gradient(to right, {shades})"></div>'
    return f'{bar}<div class="xai-scale-values">{values}</div>'


class View:
    """The widgets of one explorer: `root` holds all of them, `inputs` that of each control by its name."""

    def __init__(self, explorer: Any) -> None:
        self.explorer, self._syncing = explorer, False
        self._refused: Exception | None = None  # why the last action of the student failed
        self.inputs: dict[str, Any] = {}
        self._panels: list[_Slot] = []
        self._build()
        self.sync(explorer.state)

    # Making the widgets.

    def _build(self) -> None:
        explorer = self.explorer
        self._headline, self._error, self._note, self._code = (widgets.HTML() for _ in range(4))
        for line, role in ((self._headline, "status"), (self._note, "status"), (self._error, "alert")):
            line.add_class(f"xai-{role}-line")  # the browser makes it a live region, which stays while its text changes
        self._headline.layout = widgets.Layout(flex="1 1 0", min_width="0")
        self._code.layout = widgets.Layout(flex="0 0 42%", min_width="0", display="none")
        self._error.layout.display = "none"
        self._extras = tuple(explorer.extras())
        self._stage = widgets.Box(self._extras).add_class("xai-stage")
        self._below = widgets.Box().add_class("xai-stage").add_class("xai-under")
        self._busy = widgets.HTML('<div class="xai-busy" role="status" aria-label="computing"></div>')
        self._bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="90px"))
        self._stop = self._button("Stop", explorer.stop, "Stop what is being computed", "xai-stop", style="warning")
        self._status = widgets.HBox([self._busy, self._bar, self._stop]).add_class("xai-status")
        self._status.layout.visibility = "hidden"
        actions = [
            self._button("Reset", explorer.reset, "Back to the beginning", "xai-reset"),
            self._button("Show code", self._toggle_code, "The Python that computes and draws this", "xai-show-code"),
            self._button("Save image", self._save, "Write a PNG beside this notebook", "xai-save"),
        ]
        if not explorer.live:
            run = self._button("Run", explorer.request_run, "Compute it now", "xai-run", style="primary")
            actions.insert(0, run)
        staged = self._groups()
        if self._more.children:
            actions.insert(-2, self._button("More", self._toggle_more, "All other settings", "xai-more-button"))
        self.browser = Browser(lambda touch: self._guard(lambda: explorer.press_on(touch)))
        panels = widgets.VBox([self._stage, self._below], layout=widgets.Layout(flex="1 1 0", min_width="0"))
        heading = f"{STYLE}<div>{_span('title', explorer.title)} {_span('question', explorer.question)}</div>"
        self.root = widgets.VBox(
            [
                widgets.Box([widgets.HTML(heading), widgets.Box(actions).add_class("xai-actions")]).add_class(
                    "xai-heading"
                ),
                widgets.HBox([self._headline, self._status]).add_class("xai-top"),
                self._error,
                widgets.Box(staged).add_class("xai-controls"),
                self._more,
                widgets.HBox([panels, self._code]),
                self._note,
                self.browser,
            ]
        )
        self.root.add_class("xai-explorer").add_class(f"xai-{explorer.name}")

    def _button(self, label: str, act: Callable[[], Any], tip: str, css: str, style: str = "") -> Any:
        button = widgets.Button(description=label, tooltip=tip, button_style=style)
        button.layout.width = "auto"
        button.on_click(lambda _: self._guard(act))
        return button.add_class(css)

    def _groups(self) -> list[Any]:
        """The controls of the stage in their order; all others go to More, under their headings."""
        groups: dict[str, list[Any]] = {}
        for control in self.explorer.declared:
            widget = self.inputs[control.name] = self._make(control)
            widget.add_class(f"xai-control-{control.name}")
            if control.name not in self.explorer.stage:
                groups.setdefault(control.group, []).append(widget)
        headed = [widgets.VBox([widgets.HTML(_div("group", name or "More")), *those]) for name, those in groups.items()]
        self._more = widgets.Box(headed, layout=widgets.Layout(display="none")).add_class("xai-more")
        return [self.inputs[name].add_class("xai-on-stage") for name in self.explorer.stage if name in self.inputs]

    def _make(self, control: Control) -> Any:
        """The widget of a control, telling the explorer of each move."""
        if isinstance(control, Button):
            return self._button(control.label, lambda: self.explorer.press(control.name), control.help, "xai-button")
        if isinstance(control, Upload):
            return self._upload(control)
        widget = _input(control, self.explorer.state)
        widget.observe(lambda change: self._moved(control.name, change["new"]), "value")
        return widget

    def _upload(self, control: Upload) -> Any:
        def take(name: str, content: bytes) -> None:
            self._guard(lambda: self.explorer.request(**control.take(name, content)))

        return Uploader(control.label, control.help, take, self._refuse)

    # What the student does.

    def _guard(self, act: Callable[[], Any]) -> None:
        """Run a callback; what it raises is shown until the next one."""
        if self._refused is not None:
            self._refused = None
            self.show_error(self.explorer.error)
        try:
            act()
        except Exception as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._refused = error
        self.show_error(error)

    def _moved(self, name: str, value: Any) -> None:
        if not self._syncing:
            self._guard(lambda: self.explorer.request(**{name: value}))

    def _toggle_code(self) -> None:
        _toggle(self._code)

    def _toggle_more(self) -> None:
        _toggle(self._more)

    def _save(self) -> None:
        path = self.explorer.save()
        self.show_note(f"Saved as {path.name} in {path.resolve().parent}.")

    # What the explorer shows.

    def sync(self, state: Any) -> None:
        """Bring every widget to the state: limits, choices, values, and whether it is there at all."""
        self._syncing = True
        try:
            for control in self.explorer.declared:
                widget = self.inputs[control.name]
                display = "" if control.when is None or control.when(state) else "none"
                if (widget.layout.display or "") != display:
                    widget.layout.display = display
                if not isinstance(control, Button | Upload):
                    _put(widget, control, state)
        finally:
            self._syncing = False

    def present(self, panels: Sequence[Panel], sentence: str, code: str) -> None:
        """Show the images, the sentence that describes them, and the code that makes them."""
        while len(self._panels) < len(panels):
            self._panels.append(_Slot())
        shown = list(zip(self._panels, panels, strict=False))
        for slot, panel in shown:
            slot.show(panel)
        for box, below, extras in ((self._stage, False, self._extras), (self._below, True, ())):
            children = (*extras, *(slot.root for slot, panel in shown if panel.below == below))
            if box.children != children:
                box.children = children
        self._headline.value = _div("headline", sentence)
        self._code.value = f'<pre class="xai-code" tabindex="0">{html.escape(code)}</pre>'

    def requested(self) -> None:
        """A new request takes the note and the error of the last action away; the end of a computation does not."""
        self._refused = None
        self.show_note("")

    def busy(self) -> None:
        """Show that something is being computed, with the Stop button."""
        self._bar.value, self._bar.bar_style = 0, "info"
        self._status.layout.visibility = "visible"
        self.show_error(self._refused)

    def progress(self, done: int, total: int) -> None:
        """Move the progress bar."""
        self._bar.value = done / max(total, 1)

    def idle(self, error: BaseException | None = None) -> None:
        """Show that nothing is being computed any more, with what went wrong."""
        self._status.layout.visibility = "hidden"
        self.show_error(error or self._refused)

    def show_note(self, note: str) -> None:
        """A line below the panels."""
        self._note.value = _div("note", note)

    def show_error(self, error: BaseException | None) -> None:
        """The error line, in place of the headline, above pictures grown pale; None hides it."""
        self._error.value = _div("error", error_text(error)) if error is not None else ""
        self._error.layout.display = "none" if error is None else ""
        self._headline.layout.visibility = "visible" if error is None else "hidden"
        for box in (self._stage, self._below):
            (box.remove_class if error is None else box.add_class)("xai-outdated")


class _Picture(widgets.Image):
    """An image with a tooltip, its text for those who listen; ipywidgets 8.1 fails on a tooltip without description."""

    description = traitlets.Unicode("").tag(sync=True)


class _Slot:
    """The place of one panel: title, image, bar of colors, caption."""

    def __init__(self) -> None:
        self.title, self.caption = widgets.HTML(), widgets.HTML()
        self.image = _Picture()
        self.root = widgets.VBox([self.title, self.image, self.caption]).add_class("xai-panel")
        self._classes: tuple[str, ...] = ()

    def show(self, panel: Panel) -> None:
        """Put a panel here; what has not changed is not sent again."""
        self.title.value = _div("panel-title", panel.title)
        self.caption.value = color_bar(panel.scale) + _div("panel-caption", panel.caption)
        self.caption.layout.display = "" if self.caption.value else "none"
        part = 100 * panel.width / STAGE
        self.root.layout.width = f"max(min(220px, 100%), min({part:.2f}cqw, {1.7 * panel.width:.0f}px))"
        classes = ("xai-chart",) * panel.chart + (("xai-touch", f"xai-touch-{panel.touch}") if panel.touch else ())
        if classes != self._classes:
            self.image._dom_classes, self._classes = classes, classes
        with self.image.hold_sync():
            self.image.format = "png" if panel.sharp else "jpeg"
            self.image.value = plots.png(panel.image) if panel.sharp else plots.jpeg(panel.image)
            self.image.width, self.image.tooltip = str(panel.width), panel.alt


class _Boxes(widgets.VBox):
    """Several check boxes under one label, with the tuple of those that are ticked as `value`."""

    def __init__(self, label: str, tip: str) -> None:
        self._label = widgets.Label(label, tooltip=tip)
        self._grid = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", flex="1 1 0"))
        self.options: tuple[Any, ...] = ()
        self._handler: Callable[[dict[str, Any]], None] = lambda change: None
        super().__init__([self._label, self._grid])
        self.add_class("xai-boxes")

    @property
    def value(self) -> tuple[Any, ...]:
        return tuple(o for o, box in zip(self.options, self._grid.children, strict=True) if box.value)

    @value.setter
    def value(self, chosen: Sequence[Any]) -> None:
        self.put(self.options, str, chosen)

    def put(self, options: Sequence[Any], names: Callable[[Any], str], value: Sequence[Any]) -> None:
        """Offer these, and tick those."""
        if tuple(options) != self.options:
            self.options = tuple(options)
            boxes = [widgets.Checkbox(description=names(o), indent=False) for o in options]
            for box in boxes:
                box.layout.width = "auto"
                box.observe(lambda _: self._handler({"new": self.value}), "value")
            self._grid.children = boxes
        for option, box in zip(self.options, self._grid.children, strict=True):
            box.value = option in value

    def observe(self, handler: Any, names: Any = "value", type: str = "change") -> None:
        """As of any widget, for `value`."""
        if names == "value":
            self._handler = handler
        else:
            super().observe(handler, names, type)


def _input(control: Control, state: Any) -> Any:
    """The ipywidget of a control that holds a value."""
    common = {"description": control.label, "tooltip": control.help, "style": {"description_width": "initial"}}
    layout = widgets.Layout(width="auto")
    if isinstance(control, Many):
        return _Boxes(control.label, control.help)
    if isinstance(control, Slider) and control.values:
        options = [(format(v, control.format) if control.format else f"{v:g}", v) for v in control.values]
        return widgets.SelectionSlider(options=options, **common, layout=layout)
    if isinstance(control, Slider):
        low, high = control.bounds(state)
        make = widgets.IntSlider if control.integer else widgets.FloatSlider
        form = control.format or ("d" if control.integer else ".2f")
        return make(min=low, max=high, step=control.step, readout_format=form, value=low, **common, layout=layout)
    if isinstance(control, Toggle):
        return widgets.Checkbox(description=control.label, tooltip=control.help, indent=False, layout=layout)
    if isinstance(control, Choice):
        if control.buttons:
            common["style"] = {"description_width": "initial", "button_width": "auto"}
        return (widgets.ToggleButtons if control.buttons else widgets.Dropdown)(**common, layout=layout)
    raise TypeError(f"no widget for the control {control!r}; expected a slider, choice, toggle or button.")


def _put(widget: Any, control: Control, state: Any) -> None:
    """Bring one widget to the state."""
    value = getattr(state, control.name)
    if isinstance(control, Many):
        widget.put(control.options(state), control.names, value)
        return
    if isinstance(control, Choice):
        options = [(control.names(v), v) for v in control.options(state)]
        if list(widget.options) != options:
            widget.options = options
    elif isinstance(control, Slider) and not control.values:
        high = control.bounds(state)[1]
        if widget.max != high:
            widget.max = high
    if widget.value != value:
        widget.value = value
