"""Break many image files and see that each is opened or refused in one sentence: python -m benchmarks.fuzz_photos.

Prints, by format, how many still opened, and the slowest, the largest and the worst of them. A file that did worse is
kept in the folder of `--keep`. Ends with 1 if there was one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
from PIL import __version__ as pillow

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import image_corpus as corpus  # noqa: E402

SLOW = 5.0  # seconds of one file


def main() -> int:
    """Break files, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="how many broken files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that did worse than one sentence")
    options = parser.parse_args()

    valid = corpus.corpus()
    names = sorted(valid)
    dice = random.Random(options.seed)
    became: dict[str, Counter] = {name: Counter() for name in names}
    worse, slowest, most = [], (0.0, ""), (0.0, "")
    for name in names:
        corpus.verdict(valid[name])
    process = psutil.Process()
    handles, start_memory = len(process.open_files()), process.memory_info().rss / 1e6
    begin = time.perf_counter()
    for number in range(options.files):
        name = names[number % len(names)]
        content = corpus.mutated(valid[name], dice)
        if number % 5 == 4:  # some are broken twice
            content = corpus.mutated(content, dice)
        start = time.perf_counter()
        what = corpus.verdict(content)
        took = time.perf_counter() - start
        slowest = max(slowest, (took, f"{name} {number}"))
        most = max(most, (process.memory_info().rss / 1e6 - start_memory, f"{name} {number}"))
        if what not in ("opened", "refused") or took > SLOW:
            worse.append(f"{name} {number}: {what}, {took:.1f} s")
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}-{number}-{name}").write_bytes(content)
            what = "worse"
        became[name][what] += 1
    seconds = time.perf_counter() - begin
    sentences: Counter = sum(became.values(), Counter())

    print(f"{'format':<20}{'files':>8}{'opened':>8}{'refused':>9}{'worse':>7}")
    for name in names:
        count = became[name]
        print(f"{name:<20}{count.total():>8}{count['opened']:>8}{count['refused']:>9}{count['worse']:>7}")
    grown, left = process.memory_info().rss / 1e6 - start_memory, len(process.open_files()) - handles
    opened, refused, did_worse = (sentences[what] for what in ("opened", "refused", "worse"))
    print(
        f"\n{options.files} broken files of {len(names)} kinds (seed {options.seed}, Pillow {pillow}) in "
        f"{seconds:.0f} s:\n"
        f"{opened} opened, {refused} refused in one sentence, {did_worse} did worse.\n"
        f"Slowest {slowest[0] * 1000:.0f} ms ({slowest[1]}); memory grew by at most {most[0]:.0f} MB ({most[1]}), "
        f"at the end by {grown:.0f} MB; files left open: {left}."
    )
    print("\n".join(worse))
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
