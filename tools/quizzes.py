"""``python -m tools.quizzes open``: write the questions with their answers to quizzes/; ``seal``: store them again."""

import argparse
import json
import sys

from tools.pins import ROOT
from xai_lessons.lessons import quizzes

OPEN = ROOT / "quizzes"  # git ignores it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("open", "seal"))
    if parser.parse_args().what == "open":
        OPEN.mkdir(exist_ok=True)
        for path in sorted(quizzes.FOLDER.glob("lesson*.json")):
            text = json.dumps(quizzes.load(path.stem), indent=1, ensure_ascii=False)
            (OPEN / path.name).write_text(text + "\n", encoding="utf-8")
            print((OPEN / path.name).relative_to(ROOT))
        return 0
    for path in sorted(OPEN.glob("lesson*.json")):
        print(quizzes.store(path.stem, json.loads(path.read_text(encoding="utf-8"))).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
