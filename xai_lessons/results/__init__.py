"""Everything measured and stored that lessons and docs show; `python -m xai_lessons.results [NAME ...]` makes it anew.

A result is a file `stored/NAME.json`: the command that made it, the settings it was made with, and its values. A figure
that belongs to it is `stored/NAME-FIGURE.jpg`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lazy_loader

from xai_lessons.core import files
from xai_lessons.core.inputs import closest

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules=(
        "attacks",
        "attributions",
        "cams",
        "cheat",
        "cifar10",
        "detection",
        "fills",
        "hiding",
        "histories",
        "inversion",
        "leaderboard",
        "mixtures",
        "pairs",
        "parts",
        "redrawn",
        "reference",
        "sensitivity",
    ),
)
FOLDER = Path(__file__).with_name("stored")
DIGITS = 6


class Result(NamedTuple):
    """A stored result.

    Attributes:
        settings: what it was made with.
        values: what was measured; NaN where something does not apply.
    """

    settings: dict[str, Any]
    values: Any


def load(name: str) -> Result:
    """Load a stored result.

    Args:
        name: of its file, without the ending.

    Returns:
        Its settings and values.

    Raises:
        ValueError: if there is none of this name, with the nearest ones.

    Example:
        >>> from xai_lessons import results
        >>> results.load("sensitivity").settings["images"]
        16
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.json"))
        raise ValueError(f"there is no result {name!r}: did you mean {closest(name, known)}?")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Result(content["settings"], _numbers(content["values"]))


def save(name: str, result: Result, figures: Mapping[str, bytes] | None = None) -> Path:
    """Store a result, its numbers rounded to `DIGITS` significant digits.

    Args:
        name: of the result.
        result: what to store.
        figures: name -> JPEG.

    Returns:
        The path of the file.
    """
    for figure, content in (figures or {}).items():
        files.write_whole(FOLDER / f"{name}-{figure}.jpg", content)
    facts = {"made_by": f"python -m xai_lessons.results {name}", **result._asdict()}
    path = FOLDER / f"{name}.json"
    files.write_whole(path, (_text(rounded(facts)) + "\n").encode())
    return path


def rounded(value: Any) -> Any:
    """The value with all its numbers rounded as they are stored.

    Args:
        value: numbers, texts, and lists and dictionaries of them.

    Example:
        >>> from xai_lessons import results
        >>> results.rounded({"area": [0.1234563, float("nan")]})
        {'area': [0.123456, None]}
    """
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
    return value


def _numbers(value: Any) -> Any:
    """None, which JSON has for NaN, as NaN again."""
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return math.nan if value is None else value


def _text(value: Any, indent: str = "") -> str:
    """JSON with a row of plain values on one line."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(one, dict | list) for one in inner):
        return json.dumps(value, ensure_ascii=False)
    keys = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(inner)
    lines = [f"{indent} {key}{_text(one, indent + ' ')}" for key, one in zip(keys, inner, strict=True)]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(lines) + f"\n{indent}{last}"
