"""Text in charts: the font, and the colors of ink and lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import distribution
from typing import Any

from PIL import ImageFont

#: Line and bar colors that stay apart for color-blind readers (Okabe and Ito).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A", "#B8A800")
INK, PALE, RULE = "#222222", "#666666", "#D8D8D8"


@lru_cache
def font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans of matplotlib, found without importing matplotlib.

    Args:
        size: in pixels.
        bold: whether the font is bold.

    Example:
        >>> from xai_lessons import plots
        >>> plots.font(20).size
        20
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = distribution("matplotlib").locate_file(f"matplotlib/mpl-data/fonts/ttf/{name}")
    return ImageFont.truetype(str(file), size)


def fitting(texts: Sequence[str], width: float, sizes: Sequence[int]) -> Any:
    """The font of the first of these sizes at which all texts are at most `width` pixels long, else of the last.

    Args:
        texts: one line each.
        width: in pixels.
        sizes: of the font, the largest first.

    Returns:
        The font, as of `font`.

    Example:
        >>> from xai_lessons import plots
        >>> plots.fitting(["a long title"], 100, (30, 20, 14)).size
        14
    """
    faces = [font(size) for size in sizes]
    return next((face for face in faces if all(face.getlength(text) <= width for text in texts)), faces[-1])


def fit(text: str, face: Any, width: float) -> str:
    """The text, cut with an ellipsis where it is longer than `width` pixels.

    Args:
        text: one line.
        face: of `font`.
        width: in pixels.

    Returns:
        The text as it is, or its beginning with "…".

    Example:
        >>> from xai_lessons import plots
        >>> plots.fit("a long title", plots.font(20), 60)
        'a lo…'
    """
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def wrap(text: str, face: Any, width: float) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces and kept line breaks; a longer word is cut.

    Args:
        text: any text.
        face: of `font`.
        width: in pixels.

    Returns:
        The lines; none of an empty text.

    Example:
        >>> from xai_lessons import plots
        >>> plots.wrap("two words", plots.font(20), 70)
        ['two', 'words']
    """
    lines: list[str] = []
    for paragraph in text.split("\n") if text else ():
        line = ""
        for word in paragraph.split():
            if line and face.getlength(f"{line} {word}") > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else fit(word, face, width)
        lines.append(line)
    return lines
