"""The checks of the exercises, one file per lesson; `lessons.exercise` shows how to write one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=tuple(f"lesson{n}" for n in range(1, 9)))
