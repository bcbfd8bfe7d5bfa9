"""`python -m xai_lessons.results [NAME ...]` measures the stored results anew, on the CPU in one thread."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from xai_lessons import models, results
from xai_lessons.results import (
    attacks,
    attributions,
    cams,
    cheat,
    cifar10,
    detection,
    fills,
    hiding,
    histories,
    inversion,
    leaderboard,
    mixtures,
    pairs,
    parts,
    redrawn,
    repairs,
    sensitivity,
)
from xai_lessons.results.reference import measure as reference

# name -> what measures it; inversion has figures, too
MEASURES: dict[str, Callable[..., results.Result]] = {
    "attacks": attacks.measure,
    "attributions": attributions.measure,
    "cams": cams.measure,
    "cheat": cheat.measure,
    "detection": detection.measure,
    "detection-cheat": detection.cheat,
    "detection-masks": detection.enough_masks,
    "detection-options": detection.options,
    "detection-starts": detection.starts,
    "fills": fills.measure,
    "fills-robust": partial(fills.measure, "menagerie-robust"),
    "fills-vgg": partial(fills.measure, "menagerie-vgg"),
    "hiding": hiding.measure,
    "leaderboard": leaderboard.measure,
    "leaderboard-all": leaderboard.measure_all,
    "leaderboard-detector": detection.leaderboard,
    "mixtures": mixtures.measure,
    "pairs": pairs.measure,
    "parts": parts.measure,
    "redrawn": redrawn.measure,
    "repairs": repairs.measure,
    "sensitivity": sensitivity.measure_all,
}
NAMES = (*(f"history-{name}" for name in histories.RUNS), *MEASURES, "inversion")
NEEDS = {"cifar10": "--cifar10 FOLDER", "reference": "--photos FOLDER"}  # so they are not made unless they are named


def make(name: str, source: Path | None = None, photos: Path | None = None) -> Path:
    """Measure one result and store it.

    Args:
        name: one of `NAMES` or `NEEDS`.
        source: the folder of CIFAR-10, for "cifar10".
        photos: a folder of photographs named after their subject, for "reference".

    Returns:
        The file that was written.
    """
    figures = {}
    if name == "cifar10":
        made = cifar10.measure(source, progress=True)
    elif name == "reference":
        made, drawn = reference.measure(models.load("squeezenet1_0", device="cpu"), photos)
        figures = {key: figure.picture for key, figure in drawn.items()}
    elif name == "inversion":
        made, drawn = inversion.measure()
        figures = {key: figure.picture for key, figure in drawn.items()}
    elif name in MEASURES:
        made = MEASURES[name](progress=True)
    else:
        made = histories.measure(name.removeprefix("history-"), progress=True)
    return results.save(name, made, figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the results of these names, or all that need no data of yours."""
    parser = argparse.ArgumentParser(prog="python -m xai_lessons.results", description=__doc__)
    known = [*NAMES, *NEEDS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}")
    parser.add_argument("--cifar10", type=Path, metavar="FOLDER", help="CIFAR-10, see datasets.cifar10_test")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs named after their subject")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"there is no result {unknown[0]!r}: choose from {', '.join(known)}")
    torch.set_num_threads(1)
    for name in given.names or NAMES:
        print(f"wrote {make(name, given.cifar10, given.photos)}")


if __name__ == "__main__":
    main()
