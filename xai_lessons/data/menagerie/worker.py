"""A drawing process of `sample`: python -m xai_lessons.data.menagerie.worker JOB."""

import sys

from .sampling import serve

if __name__ == "__main__":
    serve(sys.argv[1])
