"""A drawing process of `sample`: python -m xai_lessons.menagerie.worker JOB."""

import sys

from .sampling import serve

if __name__ == "__main__":
    serve(sys.argv[1])
