"""The kit's own widget in the browser: it tells where a picture is touched; browser.js says what else it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets


@dataclass(frozen=True)
class Touch:
    """Where and how a picture is touched, by the pointer or by the keyboard."""

    name: str  # of the panel's `touch`
    # x, y: from the left and from the top, 0 to 1 of the picture
    x: float
    y: float
    kind: str = "click"  # "move" (nothing is pressed), "click", or "drag"

    def cell(self, rows: int, columns: int) -> tuple[int, int]:
        """The row and the column of a grid laid over the picture."""
        return min(int(self.y * rows), rows - 1), min(int(self.x * columns), columns - 1)


class Browser(anywidget.AnyWidget):
    """Nothing to be seen; it listens to the pictures of the explorer that it stands in."""

    _esm = Path(__file__).with_name("browser.js").read_text(encoding="utf-8")
    moved: Any = traitlets.List([]).tag(sync=True)

    def __init__(self, touched: Callable[[Touch], object]) -> None:
        super().__init__()
        self.layout.display = "none"
        self.observe(lambda change: touched(Touch(*change["new"])), "moved")
        self.on_msg(lambda _, content, __: touched(Touch(*content)))
