"""The web book: what moves in it, what its pages hold, and that its links are checked."""

import collections
import itertools
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from tools.book import frames, links, pages
from tools.book.players import PLAYERS
from xai_lessons import plots
from xai_lessons.explorers import CandidatesExplorer
from xai_lessons.lessons import quizzes

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BOOKS = {path: nbformat.read(path, as_version=4) for path in NOTEBOOKS}


FEW = frames.Player({"threshold": (0.02, 0.3, 0.9), "overlap": (0.0, 0.5)})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A player of lesson 8's candidates, and the folder of its images."""
    book = BOOKS[NOTEBOOKS[7]]
    cell = next(cell for cell in book.cells if cell.id == "l8-candidates-explorer")
    folder = tmp_path_factory.mktemp("player")
    return frames.record(frames.explorer(book, cell), FEW, folder), folder


def test_every_explorer_of_the_lessons_has_a_player_and_every_player_its_explorer():
    shown = [cell.id for book in BOOKS.values() for cell in frames.explorer_cells(book)]
    assert sorted(shown) == sorted(PLAYERS)
    assert len(shown) >= 36


def test_a_player_shows_what_its_explorer_computes(recorded):
    player, folder = recorded
    assert [(one["label"], one["positions"], one["start"]) for one in player["controls"]] == [
        ("Score above", ["0.02", "0.30", "0.90"], 1),
        ("Overlap up to", ["0.00", "0.50"], 1),
    ]
    assert len(player["frames"]) == 6
    explorer = CandidatesExplorer("cat + umbrella", seed=0, background="any")
    for frame, (threshold, overlap) in zip(player["frames"], itertools.product(*FEW.controls.values()), strict=True):
        explorer.set(threshold=threshold, overlap=overlap)
        assert frame["sentence"] == explorer.describe(explorer.result, explorer.shown)
        for entry, panel in zip(frame["panels"], explorer.panels(explorer.result, explorer.shown), strict=True):
            assert (entry["title"], entry["alt"], entry["caption"]) == (panel.title, panel.alt, panel.caption)
            there = Image.open(folder / entry["src"]).convert("RGB")
            here = Image.fromarray(plots.pixels(panel.image))
            assert there.size == here.size
            if panel.chart:
                assert there.tobytes() == here.tobytes()
            else:  # WebP keeps half of the colors' places
                brightness = [np.asarray(each.convert("L"), float) for each in (there, here)]
                assert np.corrcoef(brightness[0].ravel(), brightness[1].ravel())[0, 1] > 0.98
    stored = next(cell for cell in BOOKS[NOTEBOOKS[7]].cells if cell.id == "l8-candidates-explorer").outputs[0]
    assert stored.data["text/plain"].endswith(player["frames"][3]["sentence"])


def test_a_player_without_anything_to_move_is_refused(tmp_path):
    one = CandidatesExplorer("cat + umbrella", seed=0, background="any")
    with pytest.raises(ValueError, match="one or two controls"):
        frames.record(one, frames.Player({"threshold": (0.3,)}), tmp_path)


def test_a_player_survives_hostile_texts(recorded):
    player, _ = recorded
    text = pages.markup("x", {**player, "title": '"><script>alert(1)</script>'}, "frames")
    assert text.count("<script") == 1
    data = text.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(data)["title"] == '"><script>alert(1)</script>'


def test_pages_of_lessons_have_players_and_no_answers(recorded):
    player, _ = recorded
    players = collections.defaultdict(lambda: player)
    for path in NOTEBOOKS:
        text = nbformat.writes(pages.lesson(path, players))
        assert text.count("xai-player") >= len(frames.explorer_cells(BOOKS[path])) > 2
        assert "Run this cell to" not in text
        for name, question in quizzes.load(f"lesson{int(path.stem[:2])}").items():
            told = max(question["why"].split("{"), key=len)  # the longest piece without a number in it
            assert told.split("}")[-1].strip()[:60] not in text, name


def test_links_out_of_the_book_lead_to_the_repository():
    page = ROOT / "docs" / "speed.md"
    there = f"{pages.repository()}/blob/HEAD"
    assert pages.link_outwards("[a](../CONTRIBUTING.md)", page) == f"[a]({there}/CONTRIBUTING.md)"
    for kept in ("[b](oracles.md)", "[c](../TEACHING.md#x)", "[d](https://arxiv.org/abs/1)", "[e](#here)"):
        assert pages.link_outwards(kept, page) == kept


def test_the_table_of_methods_and_the_reference_hold_all_of_them():
    table, reference = pages.methods(), pages.reference()
    for method in pages.catalog.METHODS.values():
        assert f"| {method.label} | [`{method.code}`]" in table
        assert sum(f".{method.name}\n" in text or f".{method.name}\n`" in text for text in reference.values()) == 1, (
            method
        )


def test_broken_links_and_foreign_files_are_found(tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>', encoding="utf-8")
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="https://arxiv.org">4</a>'
        '<script src="https://cdn.example/x.js"></script><img src="no.png"><link rel="canonical" href="https://x.example">',
        encoding="utf-8",
    )
    assert links.problems(tmp_path) == [
        "a.html loads https://cdn.example/x.js",
        "a.html: no file c.html",
        "a.html: no file no.png",
        "a.html: no place b.html#gone",
    ]
