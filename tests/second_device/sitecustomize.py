"""Python imports this at its start where this folder is on PYTHONPATH: then the device "ghost" exists, see `ghost`."""

import contextlib

with contextlib.suppress(ImportError):  # a torch without the entry point: the tests skip, and say so
    import ghost  # noqa: F401
