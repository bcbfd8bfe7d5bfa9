"""Whether a run of a notebook gave the outputs that are stored in it, as nbval compares them."""

from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbFile, coalesce_streams, get_sanitize_patterns

SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")


def differences(session: pytest.Session, path: Path, outputs: list[list[dict]]) -> list[str]:
    """What nbval says about each code cell of the file whose outputs were others in this run."""
    stored = IPyNbFile.from_parent(session, path=path)
    stored.sanitize_patterns.update(get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8")))
    found = []
    for cell, made in zip(stored.collect(), outputs, strict=True):
        now, then = (coalesce_streams([nbformat.from_dict(one) for one in kind]) for kind in (made, cell.cell.outputs))
        if cell.options["check"] and not cell.compare_outputs(now, then):
            found.append("\n".join([f"{path.name}, {cell.name}", *cell.comparison_traceback]))
    return found
