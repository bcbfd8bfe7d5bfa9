"""The web book: ``make site``."""

import tomllib

from tools import pins


def repository() -> str:
    """The repository's address, as pyproject.toml says it."""
    project = tomllib.loads((pins.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]
