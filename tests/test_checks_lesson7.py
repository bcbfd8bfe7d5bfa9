"""Lesson 7's checks: every solution is accepted, a mistake written in another way gets the same hint."""

import pytest
import torch

from xai_lessons import cam, evaluation, models
from xai_lessons.lessons import checks

LESSON = checks.lesson7


def pointing_by_hand(heatmaps, masks):
    hits = []
    for M, mask in zip(heatmaps, masks, strict=True):
        i, j = divmod(int(M.argmax()), M.shape[1])
        hits.append(float(mask[i, j]))
    return torch.tensor(hits)


def pointing_as_booleans(heatmaps, masks):
    peak = heatmaps == heatmaps.amax(dim=(1, 2), keepdim=True)
    return (peak & masks).any(dim=2).any(dim=1)


def pointing_as_a_list(heatmaps, masks):
    return [int(mask.flatten()[M.argmax()]) for M, mask in zip(heatmaps, masks, strict=True)]


def pointing_of_the_package(heatmaps, masks):
    return evaluation.pointing_game(heatmaps, masks)


def beaten_by_the_book(methods, controls, high_is_good):
    if high_is_good:
        best = max(controls.values())
        return [name for name, score in methods.items() if score <= best]
    best = min(controls.values())
    return [name for name, score in methods.items() if score >= best]


def beaten_as_a_set(methods, controls, high_is_good):
    return set(beaten_by_the_book(methods, controls, high_is_good))


def won_by_the_book(table, high_is_good):
    won = []
    for metric, scores in table.items():
        best = max(scores.values()) if high_is_good[metric] else min(scores.values())
        if scores["empty"] == best:
            won.append(metric)
    return won


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (LESSON.pointing_game, pointing_by_hand),
        (LESSON.pointing_game, pointing_as_booleans),
        (LESSON.pointing_game, pointing_as_a_list),
        (LESSON.pointing_game, pointing_of_the_package),
        (LESSON.beaten, beaten_by_the_book),
        (LESSON.beaten, beaten_as_a_set),
        (LESSON.won_by_empty, won_by_the_book),
    ],
)
def test_solutions_are_accepted(check, solution):
    for seed in range(6):
        assert check.judge(solution, seed).right, f"seed {seed}"


def written_wrongly_on_purpose(methods, controls, high_is_good):
    best = max(controls.values()) if high_is_good else min(controls.values())
    return [name for name in sorted(methods) if (methods[name] < best if high_is_good else methods[name] > best)]


def test_a_student_who_writes_the_mistake_another_way_gets_the_same_hint():
    assert LESSON.beaten.judge(written_wrongly_on_purpose, 1).mistake == "ties left out"


def test_the_order_of_the_names_does_not_hide_a_mistake():
    def no_ties(methods, controls, high):
        best = max(controls.values()) if high else min(controls.values())
        return [name for name, score in methods.items() if (score < best if high else score > best)]

    def highest(table, high):
        return [metric for metric in reversed(table) if table[metric]["empty"] == max(table[metric].values())]

    for seed in range(4):
        assert LESSON.beaten.judge(no_ties, seed).mistake == "ties left out"
        assert LESSON.won_by_empty.judge(highest, seed).mistake == "high always good"


def test_another_wrong_answer_is_described():
    verdict = LESSON.pointing_game.judge(lambda M, m: M[:, 0, 0], 0)
    assert verdict.kind == "wrong"
    assert "For heatmaps of shape" in verdict.message
    assert LESSON.won_by_empty.judge(lambda table, high: ["nonsense"], 0).kind == "wrong"


# break this metric


def edges_near_the_center(images):
    return evaluation.CONTROLS["edges"](None, images) * evaluation.CONTROLS["center blob"](None, images)


def blob_by_hand(images):
    N, _, H, W = images.shape
    down, across = torch.linspace(-1, 1, H), torch.linspace(-1, 1, W)
    return torch.exp(-3 * (down[:, None] ** 2 + across**2)).expand(N, -1, -1)


def test_the_pointing_game_is_won_without_a_network():
    for fake in (blob_by_hand, edges_near_the_center):
        assert LESSON.fake_map.judge(fake, 0).right, fake.__name__


def test_a_map_that_runs_a_network_or_falls_short_does_not_win():
    network = models.load("menagerie-resnet")
    runs = LESSON.fake_map.judge(lambda images: cam.grad_cam(network, images[:2]).repeat(48, 1, 1), 0)
    assert runs.mistake == "a network runs"
    said = {
        "needed": lambda images: torch.rand(images[:, 0].shape),
        "got a tensor of shape (96, 96)": lambda images: images[:, 0, 0],
        "finite numbers": lambda images: images[:, 0] / (images[:, 0] > 0.5),
    }
    for words, wrong in said.items():
        verdict = LESSON.fake_map.judge(wrong, 0)
        assert verdict.kind == "wrong"
        assert words in verdict.message


def test_right_answers_are_run_on_the_lessons_scenes():
    texts = {}
    for check in (LESSON.pointing_game, LESSON.fake_map, LESSON.beaten, LESSON.won_by_empty):
        texts[check.__name__] = " ".join(finding.text for finding in check.findings(check.reference))
        assert "stopped" not in texts[check.__name__]
    assert "Your pointing game on 24 scenes: Grad-CAM " in texts["pointing_game"]
    assert "your map 0." in texts["fake_map"]
    assert "deletion, filled with a blur" in texts["fake_map"]
    assert "max sensitivity" in texts["won_by_empty"]
    wrong = LESSON.beaten.findings(lambda methods, controls, high: ["nobody else"])
    assert "nobody else" in wrong[0].text, "the student's own function is run"
