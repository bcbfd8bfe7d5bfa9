"""The widget that takes an image file of the student's own; the browser makes a large one smaller before it is sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Uploader(anywidget.AnyWidget):
    """A button that opens a file and calls ``take(name, content)``.

    Args:
        label: the text of the button.
        tip: what it is for.
        take: called with the file's name and its bytes.
        refuse: called with an error, where the browser cannot send the file.
    """

    _esm = Path(__file__).with_name("upload.js").read_text(encoding="utf-8")
    label = traitlets.Unicode("").tag(sync=True)
    tip = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self, label: str, tip: str, take: Callable[[str, bytes], Any], refuse: Callable[[Exception], Any]
    ) -> None:
        super().__init__(label=label, tip=tip)
        self._take, self._refuse = take, refuse
        self.on_msg(self._arrived)

    def _arrived(self, _: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        if "problem" in message:
            self._refuse(ValueError(message["problem"]))
        else:
            self._take(message["name"], bytes(buffers[0]))
