"""The shown code: lines of Python below the imports of what they use."""

from __future__ import annotations

import re

import xai_lessons

LIBRARIES = {"partial": "from functools import partial", "torch": "import torch", "np": "import numpy as np"}


def with_imports(*lines: str) -> str:
    """Lines of Python, below the imports of torch, numpy, partial and the package's public modules that they use."""
    text = "\n".join(lines)
    used = set(re.findall(r"(?<![\w.])(\w+)(?:\.\w|\()", text))
    libraries = [line for name, line in LIBRARIES.items() if name in used]
    modules = sorted(used.intersection(dir(xai_lessons)))
    blocks = ["\n".join(libraries), f"from xai_lessons import {', '.join(modules)}" if modules else "", text]
    return "\n\n".join(block for block in blocks if block)
