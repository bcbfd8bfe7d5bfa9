"""The student's trust votes: given, kept when a cell runs again, handed in, and plotted beside the truth."""

import pytest

from xai_lessons.lessons import submission, trust


def test_votes_are_kept_handed_in_and_plotted():
    votes = trust.Votes()
    assert votes.plot({"the bird network": 0.5}).message == trust.MISSING
    first = votes.ask("the bird network", "its accuracy")
    with pytest.raises(ValueError, match="expected a vote from 1 to 5, got 6"):
        first.give(6)
    first.widget.children[1].value = "4"  # as a hand would press it
    votes.ask("the bird network", "its map").give(2)
    votes.ask("the repaired network", "its tests")  # never answered
    assert votes.ask("the bird network", "its accuracy").given == 4, "the cell ran again"
    expected = [
        {"network": "the bird network", "evidence": "its accuracy", "vote": 4},
        {"network": "the bird network", "evidence": "its map", "vote": 2},
    ]
    assert votes.given == expected
    assert submission.gather({"votes": votes}, [])["votes"] == expected
    assert "votes" not in submission.gather({"votes": trust.Votes()}, [])
    shown = first._repr_mimebundle_()
    assert shown["text/plain"].startswith("Your vote. After its accuracy: do you trust the bird network?")
    assert "Run this cell to vote." in shown["text/html"]
    figure = votes.plot({"the bird network": 0.25})
    assert figure.picture[:4] == b"\x89PNG"
    assert "1: after its accuracy; 2: after its map" in figure.caption
