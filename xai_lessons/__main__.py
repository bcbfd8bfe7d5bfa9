"""``python -m xai_lessons`` is ``xai-lessons``."""

import sys

from xai_lessons.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
