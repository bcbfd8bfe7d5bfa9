"""xai-lessons: open up an image classifier, and find out whether its explanations can be believed.

Take what you need: ``from xai_lessons import cam, menagerie, models``. A name is imported when it is first used
(`__init__.pyi` lists them all), so that this import stays light.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
