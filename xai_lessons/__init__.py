"""xai-lessons: open up an image classifier, and find out whether its explanations can be believed.

Nothing heavy is imported here. Take what you need: ``from xai_lessons import menagerie, models, cam``.
"""

__version__ = "0.1.0"
