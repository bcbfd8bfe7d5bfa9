"""Part importance: remove one part of a drawn object, run the network again, and see how far the logit drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xai_lessons.core import inputs, passes
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data.menagerie import Scene


class PartEffect(NamedTuple):
    """What removing one part does; NaN for a scene in which the part is not visible.

    Attributes:
        drop: (N,), the logit before minus the logit after.
        moved: (N,), the same for the control: the same change of pixels at another place.
        flipped: (N,), 1 where the target class is no longer the prediction, else 0; NaN too where it never was.
    """

    drop: Tensor
    moved: Tensor
    flipped: Tensor


def part_importance(
    model: Any,
    scenes: Sequence[Scene],
    parts: Sequence[str],
    target: int | str | None = None,
    *,
    batch_size: int | None = None,
    progress: Progress = None,
) -> dict[str, PartEffect]:
    """How far the logit drops when a part of the object is drawn no more, one part at a time.

        drop = Y^c(x) - Y^c(x'),   moved = mean over s of Y^c(x) - Y^c(x + T_s(x' - x))

    with x' the scene without the part. The control T_s moves the same change of pixels by a third of the image, in each
    of four directions s, around the borders: what a change of this size and shape does somewhere else.

    Args:
        model: a network, or any callable from images to scores (N, K).
        scenes: of `menagerie`.
        parts: names that `Scene.without` knows, of parts or elements.
        target: the class whose logit is meant; None is the one predicted for each unchanged image.
        batch_size: passes at once.
        progress: True, or a callback (done, total), in parts.

    Returns:
        Part -> `PartEffect`.

    Raises:
        ValueError: if there are no scenes, or a part is not known.

    Example:
        >>> from xai_lessons import evaluation, menagerie, models
        >>> scenes = [menagerie.draw("cheetah", seed=seed) for seed in range(2)]
        >>> effects = evaluation.part_importance(models.load("menagerie-resnet"), scenes, ["markings"], "cheetah")
        >>> bool((effects["markings"].drop > effects["markings"].moved).all())
        True
    """
    if not scenes:
        raise ValueError("expected at least one scene, got none: give a list of menagerie.draw(...)")
    x, _ = inputs.check_images(model, torch.stack([scene.image for scene in scenes]))
    c = passes.predicted(model, x, inputs.check_targets(model, target, x), batch_size)
    third = x.shape[-1] // 3

    def logits(x: Tensor, _: Tensor | None) -> Tensor:
        with torch.no_grad():
            return passes.logits(model, x)

    def score(x: Tensor) -> tuple[Tensor, Tensor]:
        scores = passes.over_images(logits, model, x, batch_size=batch_size)
        return passes.score(scores, c), scores.argmax(dim=1) == c

    before, right = score(x)
    found = {}
    with Meter(progress, len(parts)) as meter:
        for part in parts:
            changed = torch.stack([scene.without(part).image for scene in scenes]).to(x)
            after, still_right = score(changed)
            moves = [(third, 0), (-third, 0), (0, third), (0, -third)]
            elsewhere = [(x + (changed - x).roll(move, dims=(2, 3))).clamp(0, 1) for move in moves]
            control = torch.stack([before - score(y)[0] for y in elsewhere]).mean(dim=0)
            seen = torch.tensor([part in scene.masks for scene in scenes], device=x.device)
            values = (before - after, control, (~still_right).to(after).masked_fill(~right, torch.nan))
            found[part] = PartEffect(*(value.masked_fill(~seen, torch.nan).cpu() for value in values))
            meter.add(1)
    return found
