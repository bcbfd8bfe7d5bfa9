"""`python -m xai_lessons.results.histories [NAME ...]`: train anew what the lessons show as shipped histories."""

import sys

from tqdm import tqdm

from xai_lessons.results import histories


def main(names: list[str]) -> int:
    """Make the histories of these names, or all."""
    unknown = [name for name in names if name not in histories.RUNS]
    if unknown:
        print(f"there is no history {', '.join(unknown)}; there are {', '.join(histories.RUNS)}")
        return 1
    for name in names or histories.RUNS:
        with tqdm(desc=name) as bar:

            def report(done: int, total: int, bar: tqdm = bar) -> None:
                bar.total = total
                bar.update(done - bar.n)

            last = histories.make(name, report)[-1]
        print(f"{name}: train {last.train_accuracy:.1%}, validation {last.validation_accuracy:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
