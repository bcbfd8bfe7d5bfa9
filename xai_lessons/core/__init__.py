"""What every method stands on: input checks, batched passes, activations, operations, state, progress."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "activations",
        "files",
        "inputs",
        "libraries",
        "operations",
        "passes",
        "progress",
        "state",
    ),
)
