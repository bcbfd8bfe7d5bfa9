"""The view of an explorer: controls become ipywidgets, panels become `ipywidgets.Image`.

Nothing is computed here. Every callback runs guarded: what it raises is shown in the error line, because JupyterLab and
Voila show exceptions of callbacks nowhere. The layout is made in `View._build`: controls and actions on the left,
headline, error line, panels and status on the right, the shown code below.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import traitlets

from xai_lessons import plots
from xai_lessons.explorers.kit.controls import Button, Choice, Control, Many, Slider, Toggle, Upload
from xai_lessons.explorers.kit.panels import Panel

STYLE = """<style>
.xai-explorer { font-size: 15px; border: 1px solid var(--jp-border-color2, #ccc); border-radius: 8px;
  padding: 12px 14px; background: var(--jp-layout-color0, #fff); max-width: 1240px; }
.xai-explorer .widget-label, .xai-explorer .widget-readout, .xai-explorer .widget-dropdown > select,
.xai-explorer .jupyter-button, .xai-explorer .widget-checkbox label { font-size: 14px; }
.xai-explorer .xai-title { font-size: 21px; font-weight: 650; line-height: 1.3; }
.xai-explorer .xai-question { font-size: 15px; color: var(--jp-ui-font-color2, #555); line-height: 1.4; }
.xai-explorer .xai-headline { font-size: 18px; line-height: 1.35; min-height: 26px; }
.xai-explorer .xai-group { font-size: 12.5px; font-weight: 650; letter-spacing: .05em; text-transform: uppercase;
  color: var(--jp-ui-font-color2, #555); margin-top: 8px; border-bottom: 1px solid var(--jp-border-color2, #ddd); }
.xai-explorer .xai-panel-title { font-size: 14px; font-weight: 600; line-height: 1.4; }
.xai-explorer .xai-panel-caption { font-size: 13px; color: var(--jp-ui-font-color2, #555); line-height: 1.35; }
.xai-explorer .xai-error { font-size: 16px; line-height: 1.4; color: #7a1300; background: #fff1ec; padding: 8px 12px;
  border: 2px solid #d55e00; border-radius: 6px; }
.xai-explorer .xai-note { font-size: 14px; line-height: 1.4; color: var(--jp-ui-font-color1, #222); }
.xai-explorer .xai-code { font-size: 13px; line-height: 1.45; overflow-x: auto; margin: 0; padding: 10px 12px;
  border-radius: 6px; background: var(--jp-layout-color2, #f2f2f2); user-select: text; }
.xai-explorer .xai-busy { font-size: 14px; white-space: nowrap; }
.xai-explorer .xai-busy::before { content: ""; display: inline-block; width: 12px; height: 12px; margin-right: 8px;
  border: 2px solid #0072b2; border-right-color: transparent; border-radius: 50%; vertical-align: -1px;
  animation: xai-turn .8s linear infinite; }
@keyframes xai-turn { to { transform: rotate(360deg); } }
.xai-explorer .widget-readout { width: 54px; min-width: 54px; }
.xai-explorer .widget-image { border-radius: 4px; }
.xai-explorer .jupyter-button:focus-visible, .xai-explorer .noUi-handle:focus-visible,
.xai-explorer select:focus-visible { outline: 3px solid #e69f00; outline-offset: 1px; }
</style>"""
LABEL = "98px"


def error_text(error: BaseException) -> str:
    """What went wrong, for a student: a ValueError's or TypeError's own sentence, the kind of any other."""
    if isinstance(error, ValueError | TypeError | OSError) and str(error):
        return str(error)
    return (
        f"Something went wrong ({type(error).__name__}: {error}). Press Reset; if it happens again, restart the kernel "
        "and run the notebook again."
    )


class View:
    """The widgets of one explorer.

    Args:
        explorer: what they show and move.

    Attributes:
        root: all of it.
        inputs: the widget of each control, by the control's name.
    """

    def __init__(self, explorer: Any) -> None:
        self.explorer, self._syncing = explorer, False
        self.inputs: dict[str, Any] = {}
        self._panels: list[_Slot] = []
        self._build()
        self.sync(explorer.state)

    # Making the widgets.

    def _build(self) -> None:
        explorer = self.explorer
        self._headline, self._error, self._note, self._code = (widgets.HTML() for _ in range(4))
        self._error.layout.display = self._code.layout.display = "none"
        self._stage = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))
        self._busy = widgets.HTML('<div class="xai-busy" role="status">computing</div>')
        self._bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="220px"))
        self._stop = self._button("Stop", explorer.stop, "Stop what is being computed", "xai-stop", style="warning")
        self._status = widgets.HBox([self._busy, self._bar, self._stop], layout=widgets.Layout(align_items="center"))
        self._status.layout.visibility = "hidden"
        actions = [
            self._button("Reset", explorer.reset, "Back to the beginning", "xai-reset"),
            self._button("Show code", self._toggle_code, "The Python that computes this", "xai-show-code"),
            self._button("Save image", self._save, "Write a PNG beside this notebook", "xai-save"),
        ]
        if not explorer.live:
            run = self._button("Run", explorer.request_run, "Compute it now", "xai-run", style="primary")
            actions.insert(0, run)
        left = widgets.VBox(
            [*self._groups(), widgets.Box(actions, layout=widgets.Layout(flex_flow="row wrap", margin="10px 0 0 0"))],
            layout=widgets.Layout(width="348px", flex="0 0 auto", padding="0 18px 0 0"),
        )
        right = widgets.VBox(
            [self._headline, self._error, *explorer.extras(), self._stage, self._status, self._note],
            layout=widgets.Layout(flex="1 1 400px", min_width="0"),
        )
        body = widgets.Box([left, right], layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))
        heading = f'<div class="xai-title">{html.escape(explorer.title)}</div>'
        if explorer.question:
            heading += f'<div class="xai-question">{html.escape(explorer.question)}</div>'
        self.root = widgets.VBox([widgets.HTML(STYLE + heading), body, self._code])
        self.root.add_class("xai-explorer").add_class(f"xai-{explorer.name}")

    def _button(self, label: str, act: Callable[[], Any], tip: str, css: str, style: str = "") -> Any:
        button = widgets.Button(description=label, tooltip=tip, button_style=style)
        button.layout.width = "auto"
        button.on_click(lambda _: self._guard(act))
        return button.add_class(css)

    def _groups(self) -> list[Any]:
        """The controls under their headings; a heading that begins with "+" is folded."""
        groups: dict[str, list[Any]] = {}
        for control in self.explorer.declared:
            widget = self.inputs[control.name] = self._make(control)
            widget.add_class(f"xai-control-{control.name}")
            members = groups.setdefault(control.group, [])
            if isinstance(control, Toggle | Button | Upload):  # short ones share a row
                widget.layout.width, widget.layout.flex = "auto", "1 1 130px"
                if not members or type(members[-1]) is not widgets.Box:
                    members.append(widgets.Box(layout=widgets.Layout(flex_flow="row wrap")))
                members[-1].children += (widget,)
            else:
                members.append(widget)
        boxes = []
        for name, members in groups.items():
            if name.startswith("+"):
                box = widgets.Accordion([widgets.VBox(members)], titles=[name[1:].strip()], selected_index=None)
            else:
                heading = [widgets.HTML(f'<div class="xai-group">{html.escape(name)}</div>')] if name else []
                box = widgets.VBox([*heading, *members])
            boxes.append(box)
        return boxes

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
        widget = widgets.FileUpload(accept="image/*", multiple=False, description=control.label, tooltip=control.help)
        widget.layout.width = "auto"

        def take(change: dict[str, Any]) -> None:
            for file in change["new"][:1]:
                name, content = file["name"], bytes(file["content"])
                self._guard(lambda: self.explorer.request(**control.take(name, content)))  # noqa: B023  (called now)

        widget.observe(take, "value")
        return widget

    # What the student does.

    def _guard(self, act: Callable[[], Any]) -> None:
        """Run a callback; what it raises is shown."""
        try:
            act()
        except Exception as error:
            self.show_error(error)

    def _moved(self, name: str, value: Any) -> None:
        if not self._syncing:
            self._guard(lambda: self.explorer.request(**{name: value}))

    def _toggle_code(self) -> None:
        hidden = self._code.layout.display == "none"
        self._code.layout.display = "" if hidden else "none"

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
        """Show the pictures, what they say, and the code that makes them."""
        while len(self._panels) < len(panels):
            self._panels.append(_Slot())
        if len(self._stage.children) != len(panels):
            self._stage.children = [slot.root for slot in self._panels[: len(panels)]]
        for slot, panel in zip(self._panels, panels, strict=False):
            slot.show(panel)
        self._headline.value = f'<div class="xai-headline" aria-live="polite">{html.escape(sentence)}</div>'
        self._code.value = f'<pre class="xai-code" tabindex="0">{html.escape(code)}</pre>'

    def busy(self) -> None:
        """Show that something is being computed, with the Stop button."""
        self._bar.value, self._bar.bar_style = 0, "info"
        self._status.layout.visibility = "visible"
        self._note.value = ""
        self._hide_error()

    def progress(self, done: int, total: int) -> None:
        """Move the progress bar."""
        self._bar.value = done / max(total, 1)

    def idle(self, note: str = "", error: BaseException | None = None) -> None:
        """Show that nothing is being computed any more, and what there is to say of it."""
        if self._status.layout.visibility != "hidden":
            self._status.layout.visibility = "hidden"
        if error is not None:
            self.show_error(error)
        else:
            self._hide_error()
        if note or self._note.value:
            self.show_note(note)

    def _hide_error(self) -> None:
        if self._error.layout.display != "none":
            self._error.layout.display, self._error.value = "none", ""

    def show_note(self, note: str) -> None:
        """A line below the pictures."""
        self._note.value = f'<div class="xai-note" role="status">{html.escape(note)}</div>' if note else ""

    def show_error(self, error: BaseException) -> None:
        """The error line, above the pictures."""
        self._error.value = f'<div class="xai-error" role="alert">{html.escape(error_text(error))}</div>'
        self._error.layout.display = ""


class _Picture(widgets.Image):
    """An image with a tooltip, its text for those who listen; ipywidgets 8.1 fails on a tooltip without description."""

    description = traitlets.Unicode("").tag(sync=True)


class _Slot:
    """The place of one panel: title, picture, caption."""

    def __init__(self) -> None:
        self.title, self.caption = widgets.HTML(), widgets.HTML()
        self.image = _Picture(layout=widgets.Layout(max_width="100%"))
        self.root = widgets.VBox([self.title, self.image, self.caption], layout=widgets.Layout(margin="4px 16px 6px 0"))

    def show(self, panel: Panel) -> None:
        """Put a panel here; what has not changed is not sent again."""
        self.title.value = f'<div class="xai-panel-title">{html.escape(panel.title)}</div>' if panel.title else ""
        self.caption.value = f'<div class="xai-panel-caption">{html.escape(panel.caption)}</div>'
        self.caption.layout.display = "" if panel.caption else "none"
        with self.image.hold_sync():
            self.image.format = "png" if panel.sharp else "jpeg"
            self.image.value = plots.png(panel.image) if panel.sharp else plots.jpeg(panel.image)
            self.image.width, self.image.tooltip = str(panel.width), panel.alt


class _Boxes(widgets.VBox):
    """Several check boxes under one label, with the tuple of those that are ticked as `value`."""

    def __init__(self, label: str, tip: str) -> None:
        self._label = widgets.Label(label, tooltip=tip)
        self._grid = widgets.Box(layout=widgets.Layout(flex_flow="row wrap"))
        self.options: tuple[Any, ...] = ()
        self._told: Callable[[dict[str, Any]], None] = lambda change: None
        super().__init__([self._label, self._grid])

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
                box.layout.width = "150px"
                box.observe(lambda _: self._told({"new": self.value}), "value")
            self._grid.children = boxes
        for option, box in zip(self.options, self._grid.children, strict=True):
            box.value = option in value

    def observe(self, handler: Any, names: Any = "value", type: str = "change") -> None:
        """As of any widget, for `value`."""
        if names == "value":
            self._told = handler
        else:
            super().observe(handler, names, type)


def _input(control: Control, state: Any) -> Any:
    """The ipywidget of a control that holds a value."""
    common = {"description": control.label, "tooltip": control.help, "style": {"description_width": LABEL}}
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
            common["style"] = {"description_width": LABEL, "button_width": "auto"}
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
