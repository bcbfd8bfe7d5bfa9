"""The shown code: lines of Python below the imports of what they use."""

from __future__ import annotations

import re
from collections.abc import Sequence

import xai_lessons

LIBRARIES = {"partial": "from functools import partial", "torch": "import torch", "np": "import numpy as np"}


def with_imports(*lines: str, also: Sequence[str] = ()) -> str:
    """Lines of Python, below the imports of torch, numpy and the package's public modules that they use.

    Args:
        lines: the lines.
        also: further lines of imports.
    """
    text = "\n".join(lines)
    used = set(re.findall(r"(?<![\w.])(\w+)(?:\.\w|\()", text))
    head = [line for name, line in LIBRARIES.items() if name in used]
    modules = sorted(used.intersection(dir(xai_lessons)))
    ours = [f"from xai_lessons import {', '.join(modules)}"] if modules else []
    blocks = ["\n".join(block) for block in (head, [*ours, *also], [text]) if block]
    return "\n\n".join(blocks)
