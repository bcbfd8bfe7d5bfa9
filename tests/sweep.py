"""Every control of an explorer moved through all of its positions, with an eye on what it must change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from xai_lessons import plots
from xai_lessons.explorers.kit import Explorer
from xai_lessons.explorers.kit.controls import PANELS, Button, Control, Upload

PATIENCE = 60  # seconds for one position; never slept


def same(a: Any, b: Any) -> bool:
    """Whether two fields of a result are equal: arrays, numbers, texts, and containers of them."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if is_dataclass(a) and type(a) is type(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if hasattr(a, "shape") and hasattr(b, "shape"):
        return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
    return bool(a == b)


def seen(explorer: Explorer) -> dict[str, Any]:
    """The fields of what is on the screen (of the whole run, where it takes a press on Run), and its panels."""
    assert explorer.wait(PATIENCE), "still computing"
    assert explorer.error is None, f"{explorer.state}: {explorer.error!r}"
    result = explorer.result if explorer.live else explorer.evaluate()
    panels = explorer.panels(result, explorer.state)
    assert all(panel.alt for panel in panels), "an image without alt text"
    assert explorer.describe(result, explorer.state)
    images = [plots.pixels(panel.image) for panel in panels]
    return {**{f.name: getattr(result, f.name) for f in fields(result)}, PANELS: images}


def share_panels(explorer: Explorer) -> None:
    """Let the screen and `seen` share the panels of a result: they are a pure function of it and its state."""
    draw, last = explorer.panels, [None, None, None]

    def panels(result: Any, state: Any) -> Any:
        if last[0] is not result or last[1] != state:
            last[:] = result, state, draw(result, state)
        return last[2]

    explorer.panels = panels


def move(explorer: Explorer, control: Control) -> list[dict[str, Any]]:
    """What is seen at each position of a control, moved by its widget as a hand would move it."""
    widget, found = explorer.inputs[control.name], [seen(explorer)]
    if isinstance(control, Button):
        widget.click()
        return [*found, seen(explorer)]
    for position in control.positions(explorer.state):
        widget.value = position
        at = getattr(explorer.state, control.name)
        assert at == position, f"{control.name} was moved to {position!r}, but the state says {at!r}"
        found.append(seen(explorer))
    return found


def sweep(
    explorer: Explorer, starts: Mapping[str, Mapping[str, Any]] | None = None, skip: tuple[str, ...] = ()
) -> set[str]:
    """Move every control from end to end, and assert that what it declares to change does change.

    Args:
        explorer: a cheap one; it is left as it was found.
        starts: control -> fields of the state to set before it is moved, where it shows only then.
        skip: controls that are swept elsewhere, with a reason written there.

    Returns:
        The names of the controls that were moved.
    """
    share_panels(explorer)
    assert explorer.widget is not None
    home, moved = explorer.state, set()
    for control in explorer.declared:
        if isinstance(control, Upload) or control.name in skip:
            continue
        assert control.changes, f"{control.name} declares nothing that it changes"
        start = {f.name: getattr(home, f.name) for f in fields(home)} | (starts or {}).get(control.name, {})
        if start != {f.name: getattr(explorer.state, f.name) for f in fields(home)}:
            explorer.set(**start)
        assert control.when is None or control.when(explorer.state), f"{control.name} does not show: give a start"
        found = move(explorer, control)
        for field in control.changes:
            differ = any(not same(found[0][field], one[field]) for one in found[1:])
            assert differ, f"{control.name} was moved through all its positions, and {field} stayed the same"
        moved.add(control.name)
    explorer.set(**{f.name: getattr(home, f.name) for f in fields(home)})
    return moved


def check_code(explorer: Explorer, tolerance: float = 0.0) -> None:
    """Run the shown code, and assert that it gives the arrays that are on the screen.

    Args:
        explorer: the explorer.
        tolerance: how far numbers may be apart; 0 where the same operations run.
    """
    result = explorer.result if explorer.live else explorer.evaluate()
    names = explorer.code_names(explorer.state)
    exec(compile(explorer.code(explorer.state), "shown code", "exec"), names)
    assert explorer.shown_by_code, "the explorer does not say what its code computes"
    for field in explorer.shown_by_code:
        ours, shown = (np.asarray(v, dtype=np.float64) for v in (getattr(result, field), names[field]))
        assert ours.shape == shown.shape, f"{field}: {ours.shape} on the screen, {shown.shape} by the code"
        np.testing.assert_allclose(shown, ours, rtol=tolerance, atol=tolerance, err_msg=field)


def click(explorer, css):
    """Press the button with that css class."""
    found = []

    def visit(widget):
        if css in widget._dom_classes:
            found.append(widget)
        for child in getattr(widget, "children", ()):
            visit(child)

    visit(explorer.widget)
    (button,) = found
    button.click()
