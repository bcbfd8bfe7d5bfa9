"""Collects how far each method is from its references, and writes the table of the docs when asked to."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from torch import Tensor

_rows: dict[tuple[str, str], float] = {}


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest deviation, as a fraction of the reference's largest value."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} is not {tuple(theirs.shape)}"
    scale = float(theirs.abs().max())
    assert scale > 0, "the reference is zero everywhere: it would prove nothing"
    return float((ours - theirs).abs().max()) / scale


def record_deviation(method: str, reference: str, value: float) -> float:
    """Keep the largest deviation seen between a method ("cam.grad_cam") and a reference ("torchcam"); returns value."""
    _rows[method, reference] = max(value, _rows.get((method, reference), 0.0))
    return value


def _write(path: str) -> None:
    head = (
        "# Every method against independent references\n\nThe largest relative deviation, in float64, small networks; "
        "`make oracles` writes this page.\n\n| method | reference | largest deviation |\n|---|---|---|\n"
    )
    rows = [f"| `{method}` | {reference} | {value:.1e} |\n" for (method, reference), value in sorted(_rows.items())]
    Path(path).write_text(head + "".join(rows), encoding="utf-8")


if os.environ.get("XAI_LESSONS_ORACLE_TABLE"):
    atexit.register(_write, os.environ["XAI_LESSONS_ORACLE_TABLE"])
