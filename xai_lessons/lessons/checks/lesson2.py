"""Checks of lesson 2: Grad-CAM's weights, the class whose map lies on a part, the box of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_lessons.lessons.exercise import Mistake, exercise


def _integer(rng: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def _layer(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps after a ReLU (K, h, w) and a gradient of either sign; K, h and w all differ."""
    K, h, w = _integer(rng, 12, 20), _integer(rng, 4, 7), _integer(rng, 7, 11)
    return torch.randn(K, h, w, generator=rng).relu(), torch.randn(K, h, w, generator=rng) + 0.2


@exercise(
    draw=_layer,
    says=("maps A", "gradient"),
    praise="One weight a map: the mean of its gradient. How strong the map is comes in only when you multiply.",
    mistakes=(
        Mistake(
            "sum instead of mean",
            lambda A, g: g.sum((1, 2)),
            "You sum the gradient over all places: that is Z times too large. The equation begins with 1 / Z, "
            "and Z is the number of places.",
        ),
        Mistake(
            "mean over the maps",
            lambda A, g: g.mean(0),
            "You average over the K maps and are left with one number a place. Average over the places instead: "
            "one number a map.",
        ),
        Mistake(
            "one weight for all",
            lambda A, g: g.mean(),
            "That is a single number: the mean of everything. Each of the K maps needs a weight of its own.",
        ),
        Mistake(
            "one axis only",
            lambda A, g: g.mean(2),
            "You averaged over one axis of the map. A map has two: height and width.",
        ),
        Mistake(
            "the other axis only",
            lambda A, g: g.mean(1),
            "You averaged over the height only, and are left with one number a column. Average over the width too.",
        ),
        Mistake(
            "the wrong two axes",
            lambda A, g: g.mean((0, 1)),
            "You averaged over axes 0 and 1, but axis 0 counts the maps. Height and width are the two after it.",
        ),
        Mistake(
            "shape kept",
            lambda A, g: g.mean((1, 2), keepdim=True),
            "The numbers are right; the shape is (K, 1, 1), from keepdim=True. Asked for is (K,).",
        ),
        Mistake(
            "mean of the maps",
            lambda A, g: A.mean((1, 2)),
            "You averaged the maps A: that says how strong a map is, not how much the class cares. Average "
            "the gradient.",
        ),
        Mistake(
            "gradient times activation",
            lambda A, g: (g * A).mean((1, 2)),
            "You multiply with A before you average. That is HiResCAM's product, summed up; Grad-CAM's weight knows "
            "the gradient only.",
        ),
        Mistake(
            "gradient times activation, summed",
            lambda A, g: (g * A).sum((1, 2)),
            "You multiply with A and sum up: that is what each map adds to the logit, if the gradient stays as it is. "
            "The weight comes before, from the gradient alone, and is a mean.",
        ),
        Mistake(
            "weighed maps",
            lambda A, g: g.mean((1, 2))[:, None, None] * A,
            "These are the maps already weighed. Asked for are only the weights, one number a map.",
        ),
        Mistake(
            "rectified gradient",
            lambda A, g: g.relu().mean((1, 2)),
            "You drop the negative gradients first. A map that speaks against the class needs its negative weight; "
            "the ReLU comes at the very end, after the sum over maps.",
        ),
        Mistake(
            "rectified weights",
            lambda A, g: g.mean((1, 2)).relu(),
            "You drop the negative weights. A map that speaks against the class must count; the ReLU comes after the "
            "sum over maps.",
        ),
        Mistake(
            "sizes only",
            lambda A, g: g.abs().mean((1, 2)),
            "With the absolute value a map that speaks against the class looks as if it spoke for it: keep the sign.",
        ),
        Mistake(
            "largest gradient",
            lambda A, g: g.amax((1, 2)),
            "That is the largest gradient of each map. Grad-CAM takes the mean over all places.",
        ),
        Mistake(
            "the map itself",
            lambda A, g: (g.mean((1, 2))[:, None, None] * A).sum(0).relu(),
            "That is the whole heatmap, and it is right. Asked for are only the weights, before they meet A.",
        ),
    ),
)
def grad_cam_weights(A: Tensor, gradient: Tensor) -> Tensor:
    """alpha_k = mean over the places ij of dY / dA^k_ij."""
    return gradient.mean(dim=(1, 2))


def _maps(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps of classes (K, h, w), of which the one that lies on a part is faint; and the part's mask (h, w)."""
    K, h, w = _integer(rng, 6, 10), _integer(rng, 9, 13), _integer(rng, 14, 19)
    mask = torch.zeros(h, w, dtype=torch.bool)
    top, left = _integer(rng, 1, h - 5), _integer(rng, 1, w - 6)
    mask[top : top + 3, left : left + 4] = True
    order = torch.randperm(K, generator=rng)
    maps = torch.rand(K, h, w, generator=rng) * (1 + torch.rand(K, 1, 1, generator=rng))
    maps[order[0]] *= 0.02  # faint all over, and most of it on the part
    maps[order[0]][mask] *= 60
    maps[order[1]] *= 8  # strong all over, also on the part
    maps[order[2], top, left] = 20  # its peak is on the part, and much elsewhere
    maps[order[3]][mask] *= 0.01
    return maps, mask


def _share(maps: Tensor, mask: Tensor) -> Tensor:
    return maps[:, mask].sum(1) / maps.sum((1, 2))


@exercise(
    draw=_maps,
    says=("maps", "mask"),
    tolerance=1e-6,
    praise="A share does not care how strong a map is, only where it lies.",
    mistakes=(
        Mistake(
            "not divided",
            lambda M, m: int(M[:, m].sum(1).argmax()),
            "You compare how much of each map is on the part. A map that is strong everywhere wins that without "
            "pointing at anything: divide by the sum of the map.",
        ),
        Mistake(
            "highest value on the part",
            lambda M, m: int(M[:, m].amax(1).argmax()),
            "You compare the highest value on the part. One bright place does not say where the rest of the map lies: "
            "sum up.",
        ),
        Mistake(
            "divided by the peak",
            lambda M, m: int((M[:, m].sum(1) / M.amax((1, 2))).argmax()),
            "You divide by the highest value of each map. A share is of the whole: divide by the sum of the map.",
        ),
        Mistake(
            "the smallest share",
            lambda M, m: int(_share(M, m).argmin()),
            "That is the class whose map avoids the part most: is it argmin, or the sum where the mask is False?",
        ),
        Mistake(
            "the share itself",
            lambda M, m: float(_share(M, m).max()),
            "That is the largest share; asked for is the number of the class that has it: argmax instead of max.",
        ),
        Mistake(
            "all shares",
            _share,
            "These are the right shares, one a class. Return the number of the class with the largest.",
        ),
        Mistake(
            "counted from 1",
            lambda M, m: int(_share(M, m).argmax()) + 1,
            "The right class, but classes count from 0.",
        ),
    ),
)
def class_on_part(maps: Tensor, mask: Tensor) -> int:
    """argmax_c of (sum of M^c on the part) / (sum of M^c)."""
    return int((maps[:, mask].sum(dim=1) / maps.sum(dim=(1, 2))).argmax())


def _blob(rng: torch.Generator) -> tuple[Tensor, float]:
    """A smooth spot well inside a map, higher than wide or wider than high, and a threshold."""
    h, w = _integer(rng, 40, 50), _integer(rng, 60, 70)
    i, j = _integer(rng, 15, 22), _integer(rng, 26, 34)
    tall, wide = 2 + 2 * torch.rand((), generator=rng), 5 + 3 * torch.rand((), generator=rng)
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    spot = torch.exp(-(((rows - i) / tall) ** 2) - ((columns - j) / wide) ** 2)
    high = 3 + 4 * torch.rand((), generator=rng)
    return high * spot, round(0.15 + 0.15 * float(torch.rand((), generator=rng)), 2)


def _box(on: Tensor, more: int = 1) -> tuple[int, int, int, int]:
    i, j = torch.where(on)
    return int(j.min()), int(i.min()), int(j.max()) + more, int(i.max()) + more


def _order(box: tuple[int, int, int, int], *places: int) -> tuple[int, ...]:
    return tuple(box[place] for place in places)


@exercise(
    draw=_blob,
    says=("heatmap", "threshold"),
    tolerance=1e-6,
    praise="The package does one thing more: of several separate spots it takes the largest.",
    mistakes=(
        Mistake(
            "last pixel left out",
            lambda M, t: _box(t * M.max() <= M, 0),
            "Your box ends where its last pixel begins: x2 and y2 are the right and lower edge of that pixel, "
            "one more.",
        ),
        Mistake(
            "rows and columns exchanged",
            lambda M, t: _order(_box(t * M.max() <= M), 1, 0, 3, 2),
            "x counts columns and y counts rows: torch.where gives the rows first.",
        ),
        Mistake(
            "threshold not a share",
            lambda M, t: _box(t <= M),
            "You compare the map with the threshold itself. It is a share of the map's maximum: a map in other "
            "units must give the same box.",
        ),
        Mistake(
            "share of the mean",
            lambda M, t: _box(t * M.mean() <= M),
            "You take a share of the map's mean; the paper takes a share of its maximum.",
        ),
        Mistake(
            "everything above zero",
            lambda M, t: _box(M > 0),
            "Your box is nearly the whole map, as if every pixel above zero belonged: is the threshold used, and do "
            "you keep what is above it?",
        ),
        Mistake(
            "the largest values only",
            lambda M, t: _box((1 - t) * M.max() <= M),
            "You keep what is within a share t of the maximum, so above 1 - t of it. Keep what is above t of it.",
        ),
        Mistake(
            "first and last found",
            lambda M, t: (lambda at: (int(at[0, 1]), int(at[0, 0]), int(at[-1, 1]) + 1, int(at[-1, 0]) + 1))(
                torch.nonzero(t * M.max() <= M)
            ),
            "You take the first and the last pixel that torch.where found. They are the top and the bottom one; the "
            "leftmost and the rightmost may be any: take the smallest and the largest column.",
        ),
        Mistake(
            "width and height",
            lambda M, t: (lambda b: (b[0], b[1], b[2] - b[0], b[3] - b[1]))(_box(t * M.max() <= M)),
            "You return width and height in the last two places; asked for are the edges x2 and y2.",
        ),
        Mistake(
            "both x first",
            lambda M, t: _order(_box(t * M.max() <= M), 0, 2, 1, 3),
            "The right numbers in the order x1, x2, y1, y2; asked for is x1, y1, x2, y2.",
        ),
    ),
)
def box(heatmap: Tensor, threshold: float) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around all pixels of at least threshold times the maximum."""
    rows, columns = torch.where(heatmap >= threshold * heatmap.max())
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
