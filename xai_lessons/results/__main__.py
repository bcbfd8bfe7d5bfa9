"""`python -m xai_lessons.results [NAME ...]` measures the stored results anew, on the CPU in one thread."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from xai_lessons import results
from xai_lessons.results import cifar10, histories, leaderboard, reference, sensitivity

MAKERS: dict[str, Callable[[argparse.Namespace], results.Result]] = {
    **{f"history-{name}": partial(lambda name, given: histories.measure(name, progress=True), name) for name in histories.RUNS},
    "leaderboard": lambda given: leaderboard.measure(progress=True),
    "leaderboard-all": lambda given: leaderboard.measure_all(progress=True),
    "sensitivity": lambda given: sensitivity.measure_all(),
    "cifar10": lambda given: cifar10.measure(given.cifar10, progress=True),
    "reference": lambda given: reference.measure(given.photos),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the results of these names, or all, and store them."""
    parser = argparse.ArgumentParser(prog="python -m xai_lessons.results", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MAKERS)}; all of them by default")
    parser.add_argument("--cifar10", type=Path, metavar="FOLDER", help="where CIFAR-10 is, for cifar10")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs named after their subject, for reference")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in MAKERS]
    if unknown:
        parser.error(f"there is no result {unknown[0]!r}: choose from {', '.join(MAKERS)}")
    torch.set_num_threads(1)
    for name in given.names or MAKERS:
        made = MAKERS[name](given)
        figures = reference.draw() if name == "reference" else None
        print(f"wrote {results.save(name, made, figures)}")


if __name__ == "__main__":
    main()
