"""Part importance: what removing a part does to the logit, and its control."""

import pytest
import torch
from torch import nn

from xai_lessons import evaluation, menagerie

SCENES = [menagerie.draw("cheetah", seed=seed, size=48, tag=False) for seed in range(3)]


class Brightness(nn.Module):
    """Two logits: the mean of the image, and its negative."""

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean], dim=1)


def test_the_drop_is_the_logit_with_the_part_minus_the_logit_without_it():
    effects = evaluation.part_importance(Brightness(), SCENES, ["markings", "eyes"])
    assert list(effects) == ["markings", "eyes"]
    for part, effect in effects.items():
        wanted = torch.stack([s.image.mean() - s.without(part).image.mean() for s in SCENES])
        assert torch.allclose(effect.drop, wanted, atol=1e-6)
        assert not effect.flipped.any()
        # a mean does not care where a change is, save for clipping: the control is the drop itself
        assert torch.allclose(effect.moved, effect.drop, atol=5e-3)


def test_the_control_of_a_network_that_looks_at_one_place_is_zero():
    class Corner(Brightness):  # a network that reads the whole markings by their mask would drop; a far corner does not
        def forward(self, x):
            return super().forward(x * self.window)

    scene, network = SCENES[0], Corner()
    network.window = scene.masks["markings"].float()
    effect = evaluation.part_importance(network, [scene], ["markings"], 0)["markings"]
    assert abs(float(effect.drop)) > 3 * abs(float(effect.moved))


def test_the_control_is_the_mean_over_the_change_moved_by_a_third_in_four_directions():
    class Ramp(nn.Module):  # what a pixel says depends on where it is
        def forward(self, x):
            score = (x * torch.linspace(0, 1, 48) * torch.linspace(1, 3, 48)[:, None] ** 2).mean(dim=(1, 2, 3))
            return torch.stack([score, -score], dim=1)

    scene = SCENES[1]
    x, change = scene.image, scene.without("eyes").image - scene.image
    moved = [change.roll(16, 1), change.roll(-16, 1), change.roll(16, 2), change.roll(-16, 2)]
    drops = [Ramp()(x[None])[0, 0] - Ramp()((x + m).clamp(0, 1)[None])[0, 0] for m in moved]
    effect = evaluation.part_importance(Ramp(), [scene], ["eyes"], 0)["eyes"]
    assert float(effect.moved) == pytest.approx(float(sum(drops)) / 4, rel=1e-3)


def test_a_part_that_is_not_there_is_nan_and_so_is_a_flip_of_what_was_wrong():
    bare = [scene.without("eyes") for scene in SCENES]
    effect = evaluation.part_importance(Brightness(), bare, ["eyes"])["eyes"]
    assert all(values.isnan().all() for values in effect)
    wrong = evaluation.part_importance(Brightness(), SCENES, ["eyes"], 1)["eyes"]
    assert wrong.flipped.isnan().all()
    assert not wrong.drop.isnan().any()


def test_a_flip_is_counted():
    class Threshold(Brightness):
        def forward(self, x):
            return super().forward(x - self.middle)

    scene, network = SCENES[0], Threshold()
    means = scene.image.mean(), scene.without("markings").image.mean()
    network.middle = sum(means) / 2
    effect = evaluation.part_importance(network, [scene], ["markings"])["markings"]
    assert effect.flipped.tolist() == [1.0]


def test_batches_progress_and_refusals():
    calls = []
    one, two = (
        evaluation.part_importance(Brightness(), SCENES, ["eyes"], batch_size=size, progress=lambda *c: calls.append(c))
        for size in (1, 3)
    )
    assert torch.allclose(one["eyes"].moved, two["eyes"].moved)
    assert calls[-1] == (1, 1)
    with pytest.raises(ValueError, match="at least one scene"):
        evaluation.part_importance(Brightness(), [], ["eyes"])
    with pytest.raises(ValueError, match="unknown part"):
        evaluation.part_importance(Brightness(), SCENES, ["wings"])
