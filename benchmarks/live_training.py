"""How long lesson 1's live training takes, and how good it gets; `python -m benchmarks.live_training [THREADS ...]`."""

from __future__ import annotations

import sys
import time

import torch

from xai_lessons.explorers import TrainingExplorer
from xai_lessons.explorers.kit import Reporter


def main(threads: int) -> None:
    """Draw the images and train as the explorer begins, with so many threads, and print seconds and accuracy."""
    torch.set_num_threads(threads)
    explorer, state = TrainingExplorer(), TrainingExplorer.State()
    began = time.perf_counter()
    train, _ = explorer._images(state, Reporter())
    drawn, in_training = time.perf_counter(), time.process_time()
    result = explorer.evaluate()
    trained = time.perf_counter()
    print(
        f"{threads} thread(s): {len(train.labels):,} pictures drawn in {drawn - began:.0f} s, "
        f"trained in {trained - drawn:.0f} s ({time.process_time() - in_training:.0f} s of processor time), together "
        f"{trained - began:.0f} s; right on {result.validation_accuracy[-1]:.1%} of new pictures",
        flush=True,
    )


if __name__ == "__main__":
    for count in [int(word) for word in sys.argv[1:]] or [1, 2]:
        main(count)
