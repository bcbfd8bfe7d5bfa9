"""xai-lessons: open up an image classifier, and find out whether its explanations can be believed.

Take what you need: ``from xai_lessons import cam, menagerie, models``. A name is imported when it is first used
(`__init__.pyi` lists them all), so that this import stays light.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- an old Python in a clone reads only this file, even 2.7
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit("xai-lessons needs Python 3.11 or later, and this is " + found + ": run it with a later one")

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
