"""Occlusion and RISE against captum and against slow loops that do what the papers say."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from skimage.transform import resize
from torch import Tensor, nn

from nets import FlatNet, PoolingNet, pictures, seeded
from oracles.table import record_deviation, relative
from xai_lessons.methods import occlusion

NETS = [PoolingNet, FlatNet]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("patch", "stride", "fill"), [(4, 2, 0.0), (4, 4, 0.5), (6, 5, 0.0)])
def test_occlusion_is_captums(net: type[nn.Module], patch: int, stride: int, fill: float) -> None:
    model, x = seeded(net), pictures()
    c = torch.tensor([0, 3, 1])
    theirs = Occlusion(model).attribute(x, (3, patch, patch), (3, stride, stride), fill, target=c)[:, 0]
    ours = occlusion.occlusion(model, x, c, patch=patch, stride=stride, fill=fill)
    assert record_deviation("occlusion.occlusion", "captum", relative(ours, theirs)) < 1e-5


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("fill", ["mean", "noise", "blur"])
def test_occlusion_is_a_slow_loop(net: type[nn.Module], fill: str) -> None:
    model, x = seeded(net), pictures()
    ours = occlusion.occlusion(model, x, 2, patch=5, stride=3, fill=fill)
    theirs = torch.zeros_like(ours)
    with torch.no_grad():
        for n in range(len(x)):
            times = torch.zeros(16, 16)
            for y0 in (0, 3, 6, 9, 11):
                for x0 in (0, 3, 6, 9, 11):
                    hidden = x[n : n + 1].clone()
                    place = slice(y0, y0 + 5), slice(x0, x0 + 5)
                    hidden[0, :, place[0], place[1]] = occlusion.filling(x, fill)[n, :, place[0], place[1]]
                    theirs[n, place[0], place[1]] += (model(x[n : n + 1]) - model(hidden))[0, 2]
                    times[place] += 1
            theirs[n] /= times
    assert record_deviation("occlusion.occlusion", "a slow loop", relative(ours, theirs)) < 1e-5


def slow_masks(grids: Tensor, offsets: Tensor, side: int) -> Tensor:
    """The authors' way: enlarge with scikit-image, then crop; our shifts, in whole pixels, say where."""
    samples, cells = len(grids), grids.shape[-1] - 1
    cell = side // cells
    masks = torch.zeros(samples, side, side, dtype=torch.float64)
    for k in range(samples):
        large = resize(grids[k].numpy(), ((cells + 1) * cell,) * 2, order=1, mode="edge", anti_aliasing=False)
        y, x = (int(v) for v in (offsets[k] * cell).floor())
        masks[k] = torch.from_numpy(np.ascontiguousarray(large[y : y + side, x : x + side]))
    return masks


def test_masks_of_rise_are_the_authors(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarge = occlusion._enlarge

    drawn = []

    def at_whole_pixels(grids: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
        drawn[:] = grids, (offsets * 4).floor() / 4
        return enlarge(*drawn, height, width)

    monkeypatch.setattr(occlusion, "_enlarge", at_whole_pixels)
    ours = occlusion.random_masks(60, 16, 16, cells=4, fraction=0.4)
    theirs = slow_masks(*drawn, 16)
    assert (
        record_deviation("occlusion.random_masks", "the authors' masks (scikit-image)", relative(ours, theirs)) < 1e-5
    )


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_rise_is_a_slow_loop(net: type[nn.Module], output: str) -> None:
    model, x = seeded(net), pictures()
    masks = occlusion.random_masks(30, 16, 16, cells=4, fraction=0.4)
    theirs = torch.zeros(3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for n in range(3):
            for M in masks:
                scores = model((x[n] * M)[None])
                f = scores.softmax(dim=1) if output == "probability" else scores
                theirs[n] += f[0, 1] * M / (30 * 0.4)
    ours = occlusion.rise(model, x, 1, samples=30, cells=4, fraction=0.4, output=output)
    assert record_deviation("occlusion.rise", "a slow loop", relative(ours, theirs)) < 1e-5
