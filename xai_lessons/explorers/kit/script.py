"""The shown code: lines of Python below the imports of what they use."""

from __future__ import annotations

import re
from collections.abc import Sequence

import xai_lessons

LIBRARIES = {"partial": "from functools import partial", "torch": "import torch", "np": "import numpy as np"}


def with_imports(*lines: str, also: Sequence[str] = ()) -> str:
    """Lines of Python, below the imports of torch, numpy, partial and public modules that they use, and of `also`."""
    text = "\n".join(lines)
    used = set(re.findall(r"(?<![\w.])(\w+)(?:\.\w|\()", text))
    libraries = [line for name, line in LIBRARIES.items() if name in used]
    modules = sorted(used.intersection(dir(xai_lessons)))
    ours = [f"from xai_lessons import {', '.join(modules)}"] if modules else []
    blocks = ["\n".join(libraries), "\n".join([*ours, *also]), text]
    return "\n\n".join(block for block in blocks if block)
