"""LeaderboardExplorer, ScoresExplorer, DetectiveExplorer: every control, the shown code, the game, repair and Stop."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from nets import small_network
from sweep import check_code, sweep
from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import menagerie
from xai_lessons.explorers import DetectiveExplorer as WholeDetective
from xai_lessons.explorers import LeaderboardExplorer as WholeLeaderboard
from xai_lessons.explorers import ScoresExplorer, judging, scores
from xai_lessons.explorers.detective import METHODS as MAPS
from xai_lessons.explorers.judging import METHODS
from xai_lessons.explorers.kit import Reporter
from xai_lessons.lessons import detective
from xai_lessons.lessons.detective import CUES, Move, Suspect
from xai_lessons.methods import catalog


class LeaderboardExplorer(WholeLeaderboard):
    """On fewer pictures, to be quick."""

    counts = (2, 3)


class DetectiveExplorer(WholeDetective):
    """On fewer pictures and a smaller screen, to be quick."""

    counts = (8, 12)
    screen = 64


@pytest.fixture(scope="module")
def model() -> models.Classifier:
    return small_network()


@pytest.fixture(scope="module")
def suspects() -> tuple[Suspect, ...]:
    nets = [small_network(seed) for seed in range(4)]
    for i, net in enumerate(nets):
        net.name = f"suspect {i + 1}"
    planted = (("tag",), (), ("sea",), ("tree",))
    return tuple(Suspect(net.name, net, cues) for net, cues in zip(nets, planted, strict=True))


@pytest.fixture(autouse=True)
def short_test_sets(monkeypatch):
    monkeypatch.setattr(detective, "draw_test_sets", partial(detective.draw_test_sets, count=4))


FEW = {"methods": ("Grad-CAM", "Gradient"), "metrics": ("pointing_game", "max_sensitivity"), "pictures": 2}


# the leaderboard


def test_every_control_of_the_leaderboard_changes_what_it_says(model):
    explorer = LeaderboardExplorer(networks=[model, small_network(1)], **FEW)
    starts = {"methods": {"metrics": ("pointing_game",)}, "metrics": {"methods": ("Gradient",)}}
    every = "blind methods metric metrics network pictures"
    assert sweep(explorer, starts=starts) == set(every.split())


def test_the_scores_are_those_of_compare_and_the_code_gives_them(model):
    explorer = LeaderboardExplorer(model, **FEW)
    result = explorer.run()
    scenes = menagerie.sample(2, seed=1, size=48)
    methods = {label: catalog.get(METHODS[label]).function for label in FEW["methods"]}
    rows = evaluation.compare(methods, {"net": model}, scenes, FEW["metrics"])
    assert result.methods == tuple(row["method"] for row in rows)
    assert np.array_equal(result.scores, [[row[m] for m in FEW["metrics"]] for row in rows])
    check_code(explorer)


@pytest.mark.parametrize("method", METHODS)
def test_the_code_of_every_method_is_that_method(model, method):
    explorer = LeaderboardExplorer(model, methods=(method,), metrics=("energy_inside",), pictures=2)
    check_code(explorer)


def test_rows_come_one_by_one_and_stop_is_heard_within_a_row(model):
    explorer = LeaderboardExplorer(model, **FEW)
    lengths = [len(result.methods) for result in explorer.compute(explorer.state, Reporter())]
    assert lengths == [1, 2, 3, 4, 5, 6]
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Cancelled

    seen = []
    with pytest.raises(Cancelled):
        seen.extend(explorer.compute(explorer.state, Reporter(stop)))
    assert len(seen) < 6


def test_what_was_computed_stays_when_only_the_order_changes(model):
    explorer = LeaderboardExplorer(model, **FEW)
    assert "press Run" in explorer.describe(explorer.result, explorer.state)
    first = explorer.run()
    explorer.set(metric="max_sensitivity")
    assert np.array_equal(explorer.result.scores, first.scores, equal_nan=True)
    assert "max sensitivity: the best method is" in explorer.describe(explorer.result, explorer.state)
    assert "(0.00) equals or beats every method" in explorer.describe(explorer.result, explorer.state)


def test_the_order_is_that_of_the_metric_and_controls_can_be_hidden(model):
    explorer = LeaderboardExplorer(model, **FEW, metric="max_sensitivity")
    result = explorer.run()
    scores = dict(zip(result.methods, result.scores[:, 1], strict=True))
    alt = explorer.panels(result, explorer.state)[0].alt
    names = [part.rsplit(" ", 1)[0] for part in alt.split(": ")[1].split(", ")]
    assert [scores[name] for name in names] == sorted(scores.values())
    explorer.set(blind=False)
    hidden = explorer.panels(result, explorer.state)[0].alt
    assert "empty" in alt
    assert "empty" not in hidden


def test_a_method_that_refuses_a_network_is_last_and_does_not_win():
    rows = [
        {"method": "a", "control": False, "pointing_game": math.nan, "seconds": math.nan},
        {"method": "b", "control": False, "pointing_game": 0.5, "seconds": 0.1},
        {"method": "c", "control": True, "pointing_game": 0.6, "seconds": 0.1},
    ]
    state = judging.LeaderboardState(methods=("a", "b"), metrics=("pointing_game",))
    result = judging._result(rows, state, 2)
    assert [result.methods[i] for i in judging._order(result, state)] == ["c", "b", "a"]
    picture = judging.table(result, [2, 1, 0])
    assert picture.dtype == np.uint8
    explorer = LeaderboardExplorer("menagerie-resnet", methods=("Grad-CAM", "Gradient"))
    assert "best method is b (0.50)" in explorer.describe(result, state)
    assert "equals or beats every method" in explorer.describe(result, state)


def test_the_sentence_says_when_the_lead_is_within_the_errors():
    def said(**scores):
        rows = [
            {"method": name, "control": False, "energy_inside": score, "seconds": 0.1}
            | {"standard_errors": {"energy_inside": 0.02}}
            for name, score in scores.items()
        ]
        state = judging.LeaderboardState(methods=tuple(scores), metrics=("energy_inside",), metric="energy_inside")
        result = judging._result(rows, state, 8)
        assert "one standard error" in explorer.panels(result, state)[0].caption
        return explorer.describe(result, state)

    explorer = WholeLeaderboard("menagerie-resnet")
    assert "a (0.90 ± 0.02), but its lead over 1 of the 2 others is within two standard errors" in said(
        a=0.9, b=0.86, c=0.8
    )
    assert "a (0.90 ± 0.02), but its lead over all others is within two standard errors" in said(a=0.9, b=0.86, c=0.87)
    assert "a (0.90 ± 0.02), and its lead is larger than two standard errors" in said(a=0.9, b=0.8, c=0.7)


def test_the_stored_rows_are_shown_before_run():
    for network, rows in results.load("leaderboard").values.items():
        explorer = WholeLeaderboard(network)
        assert "Stored" in explorer.describe(explorer.result, explorer.state)
        assert [row["method"] for row in rows] == [*METHODS, *evaluation.CONTROLS]
        assert all(set(evaluation.METRICS) <= row.keys() for row in rows)
        assert len(explorer.panels(explorer.result, explorer.state)) == 2
    assert "menagerie-resnet" in results.load("leaderboard").values


# the scores


def test_every_control_of_the_scores_changes_what_it_says(monkeypatch):
    monkeypatch.setattr(scores, "PICTURES", 3)
    monkeypatch.setattr(scores, "MIXTURES", (0.0, 0.3, 1.0))
    explorer = ScoresExplorer()
    assert sweep(explorer) == {"mixture", "control", "fill", "method", "network", "picture"}
    explorer.set(mixture=0.3, control="center blob", fill="mean", picture=1)
    check_code(explorer, tolerance=1e-5)
    result = explorer.result
    assert np.allclose(result.scores, result.curves[1])
    assert "pointing game" in explorer.describe(result, explorer.state)


def test_stored_curves_are_those_that_would_be_computed():
    explorer = ScoresExplorer(mixture=0.9, control="edges", fill="mean")
    first, *rest = explorer.compute(explorer.state, Reporter())
    assert not rest, "nothing is left to compute"
    assert np.allclose(first.scores, first.curves[9], atol=1e-4)


# the detective


@pytest.fixture
def played(monkeypatch, suspects):
    """The game with small networks."""
    monkeypatch.setattr(detective, "line_up", lambda seed: (*suspects[seed % 4 :], *suspects[: seed % 4]))
    return DetectiveExplorer


def test_every_control_of_the_detective_changes_what_it_says(played):
    moves = (Move(0, "tag", detective.CUE), Move(0, "tag", detective.ACCUSE))
    explorer = played(pictures=8, epochs=1, moves=moves)
    # "again" begins the same repair anew and ends the same: tested below
    starts = {"pictures": {"epochs": 3}}
    every = "act cue do epochs method opacity order pictures seed suspect"
    assert sweep(explorer, starts=starts, skip=("again",)) == set(every.split())


@pytest.mark.parametrize("method", MAPS)
def test_the_code_makes_the_maps(played, method):
    explorer = played(cue="collar", method=method, moves=(Move(1, "collar", detective.OBJECT),))
    explorer.set(opacity=0.5)
    check_preview_code(explorer)


def check_preview_code(explorer):
    names = {}
    exec(explorer.code(explorer.state), names)
    assert np.allclose(names["maps"], explorer.result.maps, atol=1e-6)


def test_the_code_repairs_too(played):
    explorer = played(cue="tag", moves=(Move(0, "tag", detective.ACCUSE),), pictures=8, epochs=1)
    result, names = explorer.run(), {}
    exec(explorer.code(explorer.state), names)
    assert np.allclose(names["repaired"], result.repaired, atol=1e-5)
    assert names["one"].accuracies == {name: list(values) for name, values in result.accuracies.items()}


def test_answers_are_hidden_until_a_suspect_is_accused(played, suspects):
    explorer = played(cue="tag")
    assert explorer.result.said == ("", "", "", "")
    titles = [panel.title for panel in explorer.panels(explorer.result, explorer.state)]
    assert titles[:4] == ["▸ suspect 1", "suspect 2", "suspect 3", "suspect 4"]
    assert "%" not in explorer.describe(explorer.result, explorer.state)
    explorer.set(act=detective.acts("tag")[detective.ACCUSE], suspect="suspect 2")
    explorer.press("do").done.wait(30)
    assert [bool(said) for said in explorer.result.said] == [False, True, False, False]
    assert not explorer.result.verdict.right
    assert explorer.result.standing.points == detective.POINTS - detective.WRONG
    text = explorer.describe(explorer.result, explorer.state)
    assert text.startswith(
        "7 points left. Wrong: suspect 2 does not know umbrellas by the tag. Called umbrella, of 20 scenes each:"
    )
    explorer.set(order=1)
    assert explorer.state.moves == (), "another line-up is another game"


def test_a_game_counts_points_and_ends(suspects):
    cue, accuse = detective.CUE, detective.ACCUSE
    moves = [Move(0, "tag", cue), Move(0, "tag", cue), Move(0, "tag", cue, 5), Move(0, "tag", accuse)]
    assert detective.standing(suspects, moves) == (8, (0,), (0,), False)  # what was done before costs nothing
    moves += [Move(1, "sea", accuse, 3), Move(1, "sea", accuse, 4)]
    assert detective.standing(suspects, moves) == (5, (0, 1), (0,), False)
    assert detective.standing(suspects, [*moves, Move(2, "sea", accuse), Move(3, "tree", accuse)]).over
    wrong = [Move(1, name, accuse) for name in CUES]
    assert detective.standing(suspects, wrong) == (0, (1,), (), True)


def test_an_intervention_changes_one_thing_and_gives_its_logit(suspects):
    for cue, one in CUES.items():
        scene = detective.exhibit(cue, seed=1)
        assert one.present.items() <= dict(scene.factors).items()
        assert "object" not in detective.changed(scene, cue, detective.OBJECT).masks or not bool(
            detective.changed(scene, cue, detective.OBJECT).masks["object"].any()
        )
        assert not one.present.items() <= dict(detective.changed(scene, cue, detective.CUE).factors).items()
        assert (detective.BACKGROUND in detective.acts(cue)) == (cue != "sea")
    before, after = detective.logits(suspects[0], Move(0, "tag", detective.CUE, 1))
    model, scene = suspects[0].model, detective.exhibit("tag", 1, 48)
    both = torch.stack([scene.image, scene.with_(tag=False).image])
    assert [before, after] == pytest.approx(model(both)[:, model.class_index("umbrella")].tolist(), abs=1e-5)


def test_the_shipped_suspects_are_convicted_by_the_evidence():
    suspects = detective.line_up(2)
    sea, _, tree, tag = suspects
    found = detective.verdict(sea, "sea", total=10)
    assert found.right
    assert found.counts["without the sailboat"] >= 7, "an empty sea is a sailboat"
    for one, cue in ((tree, "tree"), (tag, "tag")):
        counts = list(detective.verdict(one, cue, total=5).counts.values())
        assert counts[0] == 5
        assert counts[1] <= 1
    assert not detective.verdict(tag, "collar", total=2).right


def test_run_without_an_accusation_says_what_to_do(played):
    explorer = played()
    assert explorer.describe(explorer.run(), explorer.state).endswith("Run repairs a suspect: accuse one first.")


def test_a_repair_leaves_the_suspect_as_it_was(suspects):
    before = {name: value.clone() for name, value in suspects[0].model.state_dict().items()}
    made = detective.repair(suspects[0], "tag", count=8, epochs=2)
    assert all(torch.equal(before[name], value) for name, value in suspects[0].model.state_dict().items())
    assert any(not torch.equal(before[name], value) for name, value in made.model.state_dict().items())
    assert made.model.training == suspects[0].model.training
    assert list(made.accuracies) == ["umbrella without the cue", "others with the cue", "ordinary images"]
    assert all(len(values) == 3 for values in made.accuracies.values())


def test_stopped_and_resumed_a_repair_ends_as_if_it_never_stopped(played):
    options = {"cue": "tag", "moves": (Move(0, "tag", detective.ACCUSE),), "pictures": 12, "epochs": 3}
    whole = played(**options).run()
    explorer = played(**options)
    told = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if (done, total) == (2, 3):
            raise Cancelled

    with pytest.raises(Cancelled):
        list(explorer.compute(explorer.state, Reporter(stop)))
    half = explorer.preview(explorer.state)
    assert (half.step, half.steps) == (2, 3)
    result = explorer.run()
    assert np.allclose(result.repaired, whole.repaired, atol=1e-5)
    assert all(np.array_equal(result.accuracies[name], whole.accuracies[name]) for name in whole.accuracies)
    assert (12, 12) in told, "drawing is told too"
    explorer.press("again").done.wait(30)
    assert explorer.result.accuracies == {}
    assert np.array_equal(explorer.run().repaired, result.repaired)


def test_stop_while_the_pictures_are_drawn_begins_no_repair(played):
    explorer = played(cue="tag", moves=(Move(0, "tag", detective.ACCUSE),), pictures=8)

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(explorer.compute(explorer.state, Reporter(stop)))
    assert explorer.preview(explorer.state).accuracies == {}


# the line-up


@pytest.mark.parametrize("cue", CUES)
def test_half_of_the_repair_images_carry_the_cue_whatever_they_show(monkeypatch, cue):
    asked = []

    def drawn(count, **options):
        asked.append((count, options))
        return detective.datasets.Pictures(torch.zeros(count, 3, 8, 8), torch.zeros(count, dtype=torch.long), ("a",))

    monkeypatch.setattr(detective.datasets, "drawn", drawn)
    made = detective.repair_images(cue, 9, ("tag", "sea"), size=8)
    assert [count for count, _ in asked] == [4, 5]
    assert CUES[cue].present.items() <= asked[0][1].items()
    assert all(cue not in options["shortcuts"] for _, options in asked)
    assert all(set(options["shortcuts"]) == {"tag", "sea"} - {cue} for _, options in asked)
    assert len(made.images) == 9


def test_an_accusation_of_nothing_breaks_nothing():
    made = detective.repair_images("nothing", 6, ("tag",), size=32)
    expected = detective.datasets.drawn(6, seed=50, shortcuts=("tag",), size=32)
    assert torch.equal(made.images, expected.images)
    assert list(detective.draw_test_sets("nothing", size=32)) == ["ordinary images"]


@pytest.mark.parametrize("cue", CUES)
def test_the_test_sets_hold_what_their_names_say(cue):
    sets = detective.draw_test_sets(cue, count=8, size=32)
    kind = menagerie.CLASSES.index(CUES[cue].kind)
    without, others = (labels for _, labels in list(sets.values())[:2])
    assert (without == kind).all()
    assert (others != kind).all()
    assert [len(images) for images, _ in sets.values()] == [8, 8, 8]
    assert CUES[cue].present not in CUES[cue].absent


def test_the_order_follows_from_the_seed_and_no_name_tells():
    first, again, other = detective.line_up(0), detective.line_up(0), detective.line_up(3)
    assert [one.planted for one in first] == [one.planted for one in again]
    assert [one.planted for one in first] != [one.planted for one in other]
    assert sorted(one.planted for one in first) == sorted(one.planted for one in other)
    assert [one.model.name for one in first] == [f"suspect {n}" for n in (1, 2, 3, 4)]
    assert sum(not one.planted for one in first) == 1
    assert all(cue in CUES for one in first for cue in one.planted)
    weights = [one.model.network.head.weight for one in first]
    assert not torch.equal(weights[0], weights[1])


def test_the_truth_is_folded_away(suspects):
    truth = detective.Reveal(suspects)
    assert truth.lines == [
        "suspect 1 knows umbrellas by the tag",
        "suspect 2 is honest",
        "suspect 3 knows sailboats by the sea",
        "suspect 4 knows birds by the leafy tree",
    ]
    assert "tag" not in repr(truth)
    assert truth._repr_html_().startswith("<details>")
