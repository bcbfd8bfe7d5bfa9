"""The same seed gives the same pixels as when the built-in networks were trained.

After a wanted change of the drawings: python tests/test_menagerie_golden.py writes the expected values anew.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from xai_lessons.data.menagerie import CLASSES, Scene, draw, draw_pair, sampled
from xai_lessons.data.menagerie import __main__ as sheets

GOLDEN = Path(__file__).with_name("menagerie_golden.json")


def scenes() -> dict[str, Scene]:
    """Return the images that must not change, by name."""
    found = {name: draw(name, 17, tree=i % 3 == 0, tag=i % 4 == 0, grass=True) for i, name in enumerate(CLASSES)}
    found["pair"] = draw_pair("cat", "dog", 17)
    found["test split"] = sampled(23, seed=1, split="test", shortcuts=("tree",))
    return found


def versions() -> str:
    """Name the libraries that the pixels depend on."""
    return f"numpy {np.__version__}, pillow {PIL.__version__}, {sys.platform}"


def summary(scene: Scene) -> tuple[str, list[int]]:
    """Return a hash of all pixels and masks, and a coarse image of 6 x 6."""
    image, owners, parts = scene.pixels
    digest = hashlib.sha256(image.tobytes() + owners.tobytes() + parts.tobytes()).hexdigest()
    coarse = image.reshape(6, 16, 6, 16, 3).mean(axis=(1, 3, 4)).round().astype(int)
    return digest, coarse.ravel().tolist()


@pytest.mark.parametrize("name", scenes())
def test_golden_pixels(name):
    golden = json.loads(GOLDEN.read_text())
    digest, coarse = summary(scenes()[name])
    if golden["versions"] == versions():
        assert digest == golden["pictures"][name]["sha256"]
    np.testing.assert_allclose(coarse, golden["pictures"][name]["coarse"], atol=6)  # on any versions


def test_the_sheets_of_the_documentation_are_what_is_drawn(root, tmp_path):
    sheets.main(str(tmp_path))
    for path in tmp_path.iterdir():
        drawn, shown = (
            np.asarray(PIL.Image.open(one)).astype(int) for one in (path, root / "docs" / "img" / path.name)
        )
        assert np.abs(drawn - shown).mean() < 1, f"run python -m xai_lessons.data.menagerie: {path.name}"
    assert len(list(tmp_path.iterdir())) == 3


if __name__ == "__main__":
    pictures = {name: dict(zip(("sha256", "coarse"), summary(scene), strict=True)) for name, scene in scenes().items()}
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in pictures.items())
    GOLDEN.write_text(f'{{\n  "versions": {json.dumps(versions())},\n  "pictures": {{\n{lines}\n  }}\n}}\n')
