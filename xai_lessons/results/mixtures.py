"""Maps mixed with maps that ignore the network: which of four scores notices?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import catalog

METHODS = {catalog.get(name).label: catalog.get(name) for name in ("grad_cam", "gradient", "guided_backprop")}
CONTROLS = ("random", "center blob", "edges")
FILLS = ("black", "mean", "blur")
SCORES = ("pointing game", "fraction inside", "insertion", "deletion")
NETWORK, PICTURES, STEPS = "menagerie-resnet", 16, 8
MIXTURES = tuple(k / 10 for k in range(11))


def mixed(maps: Tensor, control: Tensor, mixture: float) -> Tensor:
    """The weighted sum of two maps, each scaled to a mean of 1.

    Args:
        maps: (N, S, S).
        control: (N, S, S).
        mixture: the fraction of the control, in [0, 1].

    Returns:
        (N, S, S).

    Example:
        >>> from xai_lessons.results import mixtures
        >>> mixtures.mixed(torch.full((1, 2, 2), 3.0), torch.eye(2)[None], 0.5)
        tensor([[[1.5000, 0.5000],
                 [0.5000, 1.5000]]])
    """
    M, C = (one / one.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12) for one in (maps, control))
    return (1 - mixture) * M + mixture * C


def score(model: Any, scenes: Sequence[Any], maps: Tensor, fill: str, steps: int = STEPS) -> Tensor:
    """The four scores of maps, picture by picture.

    Args:
        model: the network.
        scenes: images (N, 3, H, W), their labels (N,) and masks, as `menagerie.sample` gives them.
        maps: (N, H, W).
        fill: of insertion and deletion.
        steps: of insertion and deletion.

    Returns:
        (4, N), in the order of `SCORES`.

    Example:
        >>> from xai_lessons.results import mixtures
        >>> scenes, model = menagerie.sample(2), models.load("menagerie-resnet")
        >>> mixtures.score(model, scenes, torch.rand(2, 96, 96), "black", steps=1).shape
        torch.Size([4, 2])
    """
    x, y, masks = scenes
    each = [
        evaluation.pointing_game(maps, masks),
        evaluation.energy_inside(maps, masks),
        evaluation.insertion(model, x, maps, y, steps=steps, fill=fill).area,
        evaluation.deletion(model, x, maps, y, steps=steps, fill=fill).area,
    ]
    return torch.stack([one.cpu().double() for one in each])


def measure(
    network: str = NETWORK,
    pictures: int = PICTURES,
    steps: int = STEPS,
    mixtures: Sequence[float] = MIXTURES,
    progress: Progress = None,
) -> results.Result:
    """The scores of every method of `METHODS` mixed with every control, with every fill.

    Args:
        network: name of a built-in network.
        pictures: how many of the drawn world.
        steps: of insertion and deletion.
        mixtures: the fractions of the control.
        progress: True, or a callback (done, total).

    Returns:
        Method -> control -> fill -> for each mixture the means of `SCORES`.
    """
    model = models.load(network)
    found: dict[str, dict[str, dict[str, list[list[float]]]]] = {}
    scenes = menagerie.sample(pictures, seed=0, size=model.input_size, workers=1)
    explain: dict[str, Callable[..., Tensor]] = {name: method.function for name, method in METHODS.items()}
    heat = {
        name: evaluation.heat(f(model, *scenes[:2])).float().cpu()
        for name, f in (explain | {name: evaluation.CONTROLS[name] for name in CONTROLS}).items()
    }
    with Meter(progress, len(METHODS) * len(CONTROLS) * len(FILLS)) as meter:
        for method, control, fill in product(METHODS, CONTROLS, FILLS):
            maps = [mixed(heat[method], heat[control], mixture) for mixture in mixtures]
            rows = [score(model, scenes, one, fill, steps).mean(dim=1).tolist() for one in maps]
            found.setdefault(method, {}).setdefault(control, {})[fill] = rows
            meter.add(1)
    settings = {"network": network, "pictures": pictures, "steps": steps, "mixtures": list(mixtures)}
    return results.Result(settings, found)
