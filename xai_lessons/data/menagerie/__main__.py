"""Draw the contact sheets of the documentation: python -m xai_lessons.data.menagerie docs/img."""

import sys
from pathlib import Path

from . import CLASSES, contact_sheet, draw, draw_pair

_PAIRS = (("cat", "dog"), ("elephant", "cat"), ("bird", "cheetah"), ("fish", "cat"), ("dog", "car"), ("cat", "cat"))


def main(folder: str) -> None:
    """Draw the documentation's sheets into a folder."""
    classes = [draw(name, 8 * i + j) for i, name in enumerate(CLASSES) for j in range(8)]
    birds = [draw("bird", seed, 128, tree=True) for seed in range(6, 12)]
    umbrellas = [draw("umbrella", seed, 128, tag=True, tree=False) for seed in range(12, 18)]
    pairs = [draw_pair(a, b, i, 128) for i, (a, b) in enumerate(_PAIRS)]
    scenes = [*birds, *(b.without("bird") for b in birds), *(b.without("tree") for b in birds), *umbrellas, *pairs]
    parts = [draw(name, 20 + i, 160, tree=name == "bird") for i, name in enumerate(CLASSES[:6])]
    for name, sheet in (
        ("classes", contact_sheet(classes)),
        ("scenes", contact_sheet(scenes, 6)),
        ("masks", contact_sheet(parts, 6, masks=True)),
    ):
        Path(folder).mkdir(parents=True, exist_ok=True)
        sheet.save(Path(folder) / f"menagerie_{name}.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/img")
