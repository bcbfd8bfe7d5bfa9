"""What `make` calls; run each from the top of the repository: ``python -m tools.NAME``."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- the one file that an old Python runs, even 2.7
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit("the course needs Python 3.11 or later, and this is " + found + ": make PYTHON=python3.12 lab")
