"""The frames of a player: an explorer's own results at declared positions of its controls, as images and texts."""

from __future__ import annotations

import ast
import hashlib
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import torch
from PIL import Image

from tools import pins
from tools.book.players import ALL, PLAYERS, Player
from xai_lessons import plots
from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.controls import Choice, Control, Slider, Toggle
from xai_lessons.explorers.kit.panels import Panel
from xai_lessons.explorers.kit.view import color_bar

QUALITY = 80  # of WebP
PICTURES = {"image/png", "image/jpeg"}


def explorer_cells(book: Any) -> list[Any]:
    """The cells of a notebook that show an explorer."""
    made = [cell for cell in book.cells if cell.cell_type == "code" and re.search(r"\w+Explorer\(", cell.source)]
    return [cell for cell in made if any(PICTURES & output.get("data", {}).keys() for output in cell.outputs)]


def explorer(book: Any, cell: Any) -> Explorer:
    """The explorer that a cell shows; of the cells before it only the imports run, and the player's set-up."""
    names: dict[str, Any] = {}
    for other in book.cells:
        if other.cell_type == "code":
            wanted = [node for node in ast.parse(other.source).body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(wanted, []), other.id, "exec"), names)
            if other is cell:
                break
    exec(PLAYERS[cell.id].setup, names)
    *before, last = ast.parse(cell.source).body
    exec(compile(ast.Module(before, []), cell.id, "exec"), names)
    return eval(compile(ast.Expression(last.value), cell.id, "eval"), names)


def positions(control: Control, declared: tuple[Any, ...] | str, state: Any) -> tuple[Any, ...]:
    """The positions of a control in a player."""
    if declared != ALL:
        return tuple(declared)
    if isinstance(control, Choice):
        return control.options(state)
    return tuple(control.positions(state))


def label(control: Control, value: Any) -> str:
    """What the reader sees of a position."""
    if isinstance(control, Choice):
        return control.names(value)
    if isinstance(control, Toggle):
        return "on" if value else "off"
    assert isinstance(control, Slider)
    return format(value, control.format or ("d" if control.integer else "g"))


def nearest(values: tuple[Any, ...], wanted: Any) -> Any:
    """The number closest to the one wanted; of other values the first."""
    return min(values, key=lambda value: abs(value - wanted)) if isinstance(wanted, int | float) else values[0]


def webp(panel: Panel) -> bytes:
    """The image of a panel: a chart without loss, anything else as a photograph."""
    image, content = Image.fromarray(plots.pixels(panel.image)), io.BytesIO()
    if image.width > 2 * panel.width:
        image = image.resize((2 * panel.width, round(2 * panel.width * image.height / image.width)))
    image.save(content, "webp", lossless=panel.chart, quality=QUALITY, method=4)
    return content.getvalue()


def frame(one: Explorer, folder: Path) -> dict[str, Any]:
    """What is on the screen now: the sentence and the panels; images are written to the folder, each once."""
    result, state = one.result, one.shown
    panels = []
    for panel in one.panels(result, state):
        content = webp(panel)
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.webp"
        (folder / name).write_bytes(content)
        entry = {"title": panel.title, "src": name, "alt": panel.alt, "width": panel.width, "caption": panel.caption}
        height, width = plots.pixels(panel.image).shape[:2]
        entry |= {"ratio": round(width / height, 4), "chart": panel.chart, "below": panel.below}
        panels.append(entry | {"scale": color_bar(panel.scale)})
    return {"sentence": one.describe(result, state), "panels": panels}


def record(one: Explorer, player: Player, folder: Path) -> dict[str, Any]:
    """Compute all frames of a player; the last control moves fastest.

    Returns:
        title, question, controls (label, kind, positions, start) and frames, plain data for JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    declared = {control.name: control for control in one.declared}
    moved = {name: positions(declared[name], given, one.state) for name, given in player.controls.items()}
    shown = [name for name, values in moved.items() if len(values) > 1]
    if not 1 <= len(shown) <= 2:
        raise ValueError(f"expected one or two controls with several positions, got {', '.join(shown) or 'none'}")
    controls = []
    for name in shown:
        control, initial = declared[name], getattr(one.initial, name)
        start = moved[name].index(initial if initial in moved[name] else nearest(moved[name], initial))
        labels = [label(control, value) for value in moved[name]]
        kind = "slider" if isinstance(control, Slider) else "choice"
        controls.append({"label": control.label, "kind": kind, "positions": labels, "start": start})
    frames = []
    for values in itertools.product(*moved.values()):
        one.state = one.initial
        one.set(**dict(zip(moved, values, strict=True)))
        if player.run:
            one.run()
        frames.append(frame(one, folder))
    return {"title": one.title, "question": one.question, "controls": controls, "frames": frames}


def version() -> str:
    """A digest of all that frames depend on but for the cell: the package with its weights, this module, torch."""
    digest = hashlib.sha256(torch.__version__.encode() + np.__version__.encode())
    for path in sorted([*(pins.ROOT / "xai_lessons").rglob("*"), Path(__file__)]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(pins.ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def recorded(notebook: Path, cell_id: str, cache: Path, basis: str) -> dict[str, Any]:
    """The player of a cell, from the cache if nothing has changed since it was computed.

    Args:
        notebook: the notebook's file.
        cell_id: the id of the cell that shows the explorer.
        cache: a folder for players and, in `images`, their frames.
        basis: what `version` says.
    """
    book = nbformat.read(notebook, as_version=4)
    cell = next(cell for cell in book.cells if cell.id == cell_id)
    key = hashlib.sha256(f"{basis} {cell.source} {PLAYERS[cell_id]}".encode()).hexdigest()[:12]
    path = cache / f"{cell_id}-{key}.json"
    if not path.exists():
        torch.set_num_threads(1)
        player = record(explorer(book, cell), PLAYERS[cell_id], cache / "images")
        path.write_text(json.dumps(player, ensure_ascii=False), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))
