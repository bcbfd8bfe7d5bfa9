"""Everything measured and stored that lessons and docs show."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "histories",
        "reference",
        "sensitivity",
    ),
)
