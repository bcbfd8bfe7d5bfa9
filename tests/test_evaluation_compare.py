"""Randomization, rank correlation, the controls, and the table of all metrics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from xai_lessons import evaluation
from xai_lessons.core.progress import Cancelled
from xai_lessons.data import menagerie
from xai_lessons.evaluation import (
    CONTROLS,
    METRICS,
    compare,
    energy_inside,
    randomize_layers,
    rank_correlation,
    table,
    weight_layers,
)
from xai_lessons.methods import saliency


def mean_red(x: Tensor) -> Tensor:
    """A "network" whose two scores are the mean of red and its opposite."""
    red = x[:, 0].mean(dim=(1, 2))
    return torch.stack([red, -red], dim=1)


# --- randomization ---------------------------------------------------------------------------------------------------


def test_randomization_goes_from_the_top_one_layer_at_a_time() -> None:
    model = seeded(PoolingNet)
    names = weight_layers(model)
    assert names == ["conv1", "conv2", "conv3", "head"]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for n in range(len(names) + 1):
        randomized = randomize_layers(model, n)
        changed = [
            name
            for name in names
            if not torch.equal(randomized.state_dict()[f"{name}.weight"], before[f"{name}.weight"])
        ]
        assert changed == names[len(names) - n :]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # the network itself is unchanged


def test_randomizing_more_layers_keeps_what_was_drawn() -> None:
    model = seeded(PoolingNet)
    one, all_ = randomize_layers(model, 1), randomize_layers(model)
    assert torch.equal(one.head.weight, all_.head.weight)
    assert torch.equal(randomize_layers(model, fraction=0.5).conv3.weight, all_.conv3.weight)
    assert not torch.equal(randomize_layers(model, 1, seed=1).head.weight, one.head.weight)


def test_a_batch_norm_is_reset_with_its_convolution() -> None:
    model = seeded(PoolingNet)
    kept, gone = randomize_layers(model, 3).norm, randomize_layers(model, 4).norm
    assert torch.equal(kept.running_var, model.norm.running_var)
    assert gone.running_var.tolist() == [1.0] * 6
    assert gone.bias.tolist() == [0.0] * 6
    assert gone.weight.tolist() == [1.0] * 6


def test_signals_live_through_randomized_layers() -> None:
    layers: list[nn.Module] = []
    for i in range(12):
        layers += [nn.Conv2d(3 if i == 0 else 24, 24, 3, padding=1), nn.ReLU()]
    deep = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))
    spread = randomize_layers(deep)(pictures(dtype=torch.float32)).detach().std()
    assert 0.01 < float(spread) < 100


def test_randomization_refuses_what_is_not_there() -> None:
    model = seeded(PoolingNet)
    with pytest.raises(ValueError, match="n must be at least 0 and at most 4, got 5"):
        randomize_layers(model, 5)
    with pytest.raises(ValueError, match="only one of them"):
        randomize_layers(model, 1, fraction=0.5)
    with pytest.raises(ValueError, match="fraction must be"):
        randomize_layers(model, fraction=1.5)
    with pytest.raises(TypeError, match="nn.Module"):
        randomize_layers(mean_red)  # type: ignore[arg-type]


def test_rank_correlation_by_hand() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert rank_correlation(a, a.exp()).tolist() == pytest.approx([1.0])
    assert rank_correlation(a, -a).tolist() == pytest.approx([-1.0])
    assert rank_correlation(a, torch.tensor([[2.0, 1.0, 4.0, 3.0]])).tolist() == pytest.approx([0.6])
    assert rank_correlation(a, torch.zeros_like(a)).tolist() == [0.0]
    with pytest.raises(ValueError, match="one shape"):
        rank_correlation(a, a[:, :2])


def test_more_is_better_for_three_metrics() -> None:
    high = [name for name, metric in METRICS.items() if metric.high]
    assert high == ["pointing_game", "energy_inside", "insertion"]


# --- controls and the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_called_like_methods(name: str) -> None:
    control, x = CONTROLS[name], pictures()
    maps = control(mean_red, x, None)
    assert maps.shape == (3, 16, 16)
    assert maps.isfinite().all()
    assert torch.equal(control(mean_red, x[1], 0), maps[1])
    assert torch.equal(control(seeded(PoolingNet), x, [0, 1, 2]), maps)  # they ignore the network


def test_controls_are_what_they_are_called() -> None:
    x = pictures()
    noise = CONTROLS["random"](mean_red, x)
    assert not torch.equal(noise[0], noise[1])
    assert 0.4 < float(noise.mean()) < 0.6
    codes = torch.arange(256, dtype=torch.float64).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    maps = [CONTROLS["random"](mean_red, (codes + rounding) / 255) for rounding in (0, 1e-4, -1e-4)]
    assert torch.equal(maps[0], maps[1])  # seeded by the bytes of the image, however they are rounded
    assert torch.equal(maps[0], maps[2])
    blob = CONTROLS["center blob"](mean_red, x)
    assert blob[0, 7:9, 7:9].min() == blob.max()
    blob[1] += 1  # the maps share no memory
    assert blob[0, 0, 0] == pytest.approx(math.exp(-6))  # exp(-3 r^2), r^2 = 2 in a corner of [-1, 1]^2
    split = torch.zeros(3, 6, 6)
    split[:, :, 3:] = 1.0
    edges = CONTROLS["edges"](mean_red, split)
    assert edges[:, [2, 3]].tolist() == [[4.0, 4.0]] * 6
    assert edges[:, [0, 1, 4, 5]].abs().max() == 0
    assert CONTROLS["empty"](mean_red, x).abs().max() == 0


def scenes() -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return pictures(), torch.tensor([0, 1, 2]), [{"object": m} for m in masks]


def test_compare_gives_a_row_for_each_method_and_control() -> None:
    calls: list[tuple[int, int]] = []
    networks = {"pooling": seeded(PoolingNet), "flat": seeded(FlatNet)}
    options: dict[str, Any] = {"samples": 2, "steps": 4}
    rows = compare(["gradient", "grad_cam"], networks, scenes(), progress=lambda *c: calls.append(c), **options)
    assert [(r["network"], r["method"]) for r in rows] == [
        (n, m) for n in networks for m in ("gradient", "grad_cam", *CONTROLS)
    ]
    for row in rows:
        assert row["control"] == (row["method"] in CONTROLS)
        assert row["images"] == 3
        assert row["note"] == ""
        assert row["seconds"] >= 0
        assert all(isinstance(row[m], float) and math.isfinite(row[m]) for m in METRICS)
        assert all(row["standard_errors"][m] >= 0 for m in METRICS)
    by_name = {r["method"]: r for r in rows[:6]}
    assert by_name["empty"]["pointing_game"] == 0.25
    assert by_name["empty"]["max_sensitivity"] == 0
    assert by_name["edges"]["randomization"] == pytest.approx(1.0)
    assert by_name["gradient"]["randomization"] < 0.9
    x, y, masks = scenes()
    assert by_name["gradient"]["energy_inside"] == pytest.approx(
        energy_inside(saliency.gradient(networks["pooling"], x, y), masks).mean().item()
    )
    done = [d for d, _ in calls]
    assert done == sorted(done)
    assert calls[-1] == (12 * (len(METRICS) + 1),) * 2


def test_compare_takes_callables_and_a_few_metrics() -> None:
    rows = compare(
        {"flat": (lambda model, x, targets: torch.ones_like(x[:, 0]))},
        {"red": mean_red},
        scenes(),
        ["energy_inside", "randomization"],
    )
    assert rows[0]["energy_inside"] == 0.25
    assert math.isnan(rows[0]["randomization"])  # a callable has no layers to forget
    assert "deletion" not in rows[0]


def test_compare_takes_samples_and_scenes_of_the_drawn_world() -> None:
    sample = menagerie.sample(2, workers=1)
    scenes = [menagerie.draw("cat", 1), menagerie.draw("car", 2)]
    for given in (sample, scenes):
        rows = compare({}, {"red": mean_red}, given, ["pointing_game", "energy_inside"])
        truth = given[2]["object"] if given is sample else torch.stack([s.masks["object"] for s in scenes])
        assert rows[-1]["method"] == "empty"
        assert rows[-1]["pointing_game"] == pytest.approx(truth.float().mean().item())


def test_compare_says_which_method_refused() -> None:
    rows = compare(["cam", "gradient"], {"flat": seeded(FlatNet)}, scenes(), ["energy_inside"])
    assert rows[0]["note"]
    assert math.isnan(rows[0]["energy_inside"])
    assert rows[1]["note"] == ""
    assert "| - |" in table(rows).splitlines()[2]


def test_compare_can_be_cancelled_within_a_metric() -> None:
    model, calls = seeded(PoolingNet), []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        compare(["gradient"], {"net": model}, scenes(), ["insertion"], batch_size=1, progress=stop)
    assert calls == [0, 0, 0]


def test_compare_refuses_unknown_names() -> None:
    model = {"net": seeded(PoolingNet)}
    with pytest.raises(ValueError, match="there is no metric 'beauty': did you mean 'pointing_game'"):
        compare(["gradient"], model, scenes(), ["beauty"])
    with pytest.raises(ValueError, match="there is no method 'magic'"):
        compare(["magic"], model, scenes())
    with pytest.raises(ValueError, match="no scenes"):
        compare(["gradient"], model, [])


def test_the_table_shows_where_a_control_wins() -> None:
    rows = [
        {"network": "n", "method": "m", "control": False, "energy_inside": 0.5, "deletion": 0.004, "seconds": 0.002},
        {"network": "n", "method": "edges", "control": True, "energy_inside": 0.6, "deletion": 0.3, "seconds": 0.0},
    ]
    lines = table(rows).splitlines()
    assert lines[0] == "| network | method | fraction inside ↑ | deletion ↓ | ms per image |"
    assert lines[2] == "| n | m | 0.500† | 0.004 | 2.0 |"
    assert lines[3] == "| n | *edges* | 0.600 | 0.300 | 0.0 |"
    assert "deletion" not in table(rows, ["energy_inside"])


def test_leaders_are_those_within_two_standard_errors_of_the_difference() -> None:
    errors = {"a": 0.03, "b": 0.04, "c": 0.0, "d": math.nan, "e": 0.1}
    scores = {"a": 0.9, "b": 0.81, "c": 0.83, "d": 0.9, "e": math.nan}
    assert evaluation.leaders(scores, errors, "energy_inside") == ["a", "b"], "c is 0.07 away, and 2 x 0.03 reach 0.06"
    assert evaluation.leaders(scores, errors, "deletion") == ["a", "b", "c"]
    assert evaluation.leaders({"a": 0.2, "d": 0.9}, errors, "energy_inside") == ["d"], "an unknown error reaches nobody"


def test_everything_of_the_design_is_there() -> None:
    names = "pointing_game energy_inside insertion deletion max_sensitivity infidelity randomize_layers compare"
    for name in names.split():
        assert callable(getattr(evaluation, name))
