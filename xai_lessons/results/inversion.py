"""Feature inversion with two parametrizations: what comes back of each layer's code, and what a judge recognizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_lessons import models, plots, results
from xai_lessons.core import activations
from xai_lessons.data import menagerie
from xai_lessons.methods import inversion
from xai_lessons.results.cheat import interval

PARAMETRIZATIONS = ("pixels", "fourier")
NETWORKS = ("menagerie-resnet", "menagerie-robust")
JUDGES = ("menagerie-vgg", "detective-c")  # they take no part in the search
LAYER = "stage3"  # whose pre-images are judged
EARLIER = ("stage1", "stage2")  # the same in Fourier waves only
STEPS, TV = 60, 0.2
SEEDS = tuple(range(12))  # of the sets of ten drawings
AT_EVERY_LAYER = 3  # so many of these are inverted at every layer
DRAWN = ("cat", "elephant", "mushroom", "sailboat", "car")  # in the figure
FIGURE_BYTES = 90_000
PROBED = (
    ("menagerie-resnet", "stage1"),
    ("menagerie-resnet", "stage2"),
    ("menagerie-resnet", "stage3"),
    ("menagerie-vgg", "stage3"),
    ("menagerie-vgg", "stage4"),
)
PROBED_CELLS = 12  # by 12 of them in an image


def drawings(seed: int) -> Tensor:
    """One drawing of each class, each with a scene of its own (10, 3, 96, 96).

    Args:
        seed: of the set.

    Example:
        >>> from xai_lessons.results import inversion
        >>> inversion.drawings(0).shape
        torch.Size([10, 3, 96, 96])
    """
    return torch.stack([menagerie.draw(name, 10 * seed + k).image for k, name in enumerate(menagerie.CLASSES)])


def found(model: models.Classifier, images: Tensor, layer: str, parametrization: str, steps: int) -> Tensor:
    """The images found from the codes of a layer."""
    search = {"steps": steps, "tv": TV, "parametrization": parametrization}
    return inversion.invert(model, images, layer=layer, **search).images.cpu()  # type: ignore[arg-type]


def kept(model: models.Classifier, images: Tensor, backs: Tensor, layer: str) -> dict[str, Tensor]:
    """The distance of the codes, and how much color and place the images found have kept; each (N,)."""
    goal, code = (inversion.code(model, x, layer) for x in (images, backs))
    similar = [inversion.similarity(back, image) for back, image in zip(backs, images, strict=True)]
    distance = (code - goal).square().sum(1) / goal.square().sum(1)
    return {"distance": distance.cpu(), **{n: torch.tensor([one[n] for one in similar]) for n in ("color", "place")}}


def recognized(model: models.Classifier, images: Tensor) -> list[int]:
    """For each image 1 if the network names it right, else 0; the images show one class after the other, in turn."""
    labels = torch.arange(len(images)) % len(menagerie.CLASSES)
    return (model.predict(images.to(model.device)).argmax(dim=1).cpu() == labels).int().tolist()


def probed(scenes: int = 900) -> dict[str, dict[str, dict[str, float]]]:
    """What a small network reads of the color and the lightness of each cell from a layer's output.

    It has one hidden layer and sees the place of the cell alone, or 3 x 3 places. Seven ninths of the scenes are for
    the fit, the others for the score.

    Args:
        scenes: how many.

    Returns:
        "network, layer" -> "one place" or "3 x 3 places" -> R^2 of "color", "lightness" and, fitted to the colors of
        other scenes, "wrong scene".
    """
    images = menagerie.sample(scenes, seed=5)[0]
    fitted = scenes * 7 // 9
    cells = F.avg_pool2d(images, images.shape[-1] // PROBED_CELLS)
    lightness = cells.mean(dim=1, keepdim=True)
    color = cells - lightness
    goals = {"color": color, "lightness": lightness, "wrong scene": color.roll(10, dims=0)}
    Y = torch.cat(list(goals.values()), dim=1)
    widths = [goal.shape[1] for goal in goals.values()]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, layer in PROBED:
        model = models.load(name)
        with torch.no_grad():
            parts = [activations.activations(model, [layer], x.to(model.device))[0][layer] for x in images.split(60)]
        X = torch.cat([part.cpu() for part in parts])
        X = F.pixel_unshuffle(X, X.shape[-1] // PROBED_CELLS)
        X = (X - X[:fitted].mean(dim=(0, 2, 3), keepdim=True)) / (X[:fitted].std(dim=(0, 2, 3), keepdim=True) + 1e-5)
        found[f"{name}, {layer}"] = {
            seen: {goal: float(score) for goal, score in zip(goals, _read(X, Y, widths, fitted, side), strict=True)}
            for seen, side in (("one place", 1), ("3 x 3 places", 3))
        }
    return found


def _read(X: Tensor, Y: Tensor, widths: Sequence[int], fitted: int, side: int) -> list[Tensor]:
    """Fit a probe of side x side places to all goals, and score each on the other scenes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(X.shape[1], 96, side, padding=side // 2), torch.nn.ReLU()]
        probe = torch.nn.Sequential(*layers, torch.nn.Conv2d(96, Y.shape[1], 1))
        batches = [batch for _ in range(14) for batch in torch.randperm(fitted).split(25)]
    scale = Y[:fitted].std()
    adam = torch.optim.AdamW(probe.parameters(), weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, 0.004, total_steps=len(batches))
    for batch in batches:
        loss = (probe(X[batch]) - Y[batch] / scale).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
    with torch.no_grad():
        missed = (scale * probe(X[fitted:]) - Y[fitted:]).square().sum(dim=(0, 2, 3)).split(list(widths))
    spread = (Y[fitted:] - Y[:fitted].mean(dim=(0, 2, 3), keepdim=True)).square().sum(dim=(0, 2, 3)).split(list(widths))
    return [1 - m.sum() / s.sum() for m, s in zip(missed, spread, strict=True)]


def at_every_layer(steps: int, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Tensor]]:
    """Invert drawings at every layer of the first network, in pixels and in Fourier waves.

    Args:
        steps: of each descent.
        seeds: of the sets of drawings.

    Returns:
        Parametrization -> layer -> "distance", "color" and "place", means over the drawings; "difference" -> layer ->
        of color and place, Fourier minus pixels, with its 95 % interval. And what was found of the first car.
    """
    plain, images = models.load(NETWORKS[0]), torch.cat([drawings(seed) for seed in seeds])
    values: dict[str, Any] = {way: {} for way in (*PARAMETRIZATIONS, "difference")}
    rows: dict[str, list[Tensor]] = {way: [] for way in PARAMETRIZATIONS}
    for layer in inversion.layers(plain):
        measured = {}
        for way in PARAMETRIZATIONS:
            backs = found(plain, images, layer, way, steps)
            measured[way] = kept(plain, images, backs, layer)
            values[way][layer] = {name: float(each.mean()) for name, each in measured[way].items()}
            rows[way].append(backs[menagerie.CLASSES.index("car")])
        pixels, waves = measured.values()
        values["difference"][layer] = {name: interval(waves[name] - pixels[name]) for name in ("color", "place")}
    return values, [image for way in rows.values() for image in way]


def judged(steps: int, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Tensor]]:
    """Let the judges name what was found from one layer of each network.

    Args:
        steps: of each descent.
        seeds: of the sets of drawings.

    Returns:
        "judged": network -> parametrization -> judge -> `recognized`; "own": the same by the network itself; "drawn":
        judge -> `recognized` of the drawings; "earlier": layer -> network -> judge -> `recognized`, searched in
        Fourier waves from the codes of `EARLIER`. And the images of the figure.
    """
    judges = {name: models.load(name) for name in JUDGES}
    values: dict[str, Any] = {"judged": {}, "own": {}, "earlier": {layer: {} for layer in EARLIER}}
    images, at = torch.cat([drawings(seed) for seed in seeds]), [menagerie.CLASSES.index(name) for name in DRAWN]
    values["drawn"] = {name: recognized(judge, images) for name, judge in judges.items()}
    shown = [images[i] for i in at]
    for name in NETWORKS:
        model = models.load(name)
        values["judged"][name], values["own"][name] = {}, {}
        for way in PARAMETRIZATIONS:
            backs = found(model, images, LAYER, way, steps)
            values["judged"][name][way] = {j: recognized(judge, backs) for j, judge in judges.items()}
            values["own"][name][way] = recognized(model, backs)
            shown += [backs[i] for i in at]
        for layer in EARLIER:
            backs = found(model, images, layer, "fourier", steps)
            values["earlier"][layer][name] = {j: recognized(judge, backs) for j, judge in judges.items()}
    return values, shown


def measure(
    steps: int = STEPS, seeds: Sequence[int] = SEEDS, scenes: int = 900
) -> tuple[results.Result, dict[str, plots.Static]]:
    """Drawings inverted at all layers of the first network and at one of both, judged, and probes of the color.

    Args:
        steps: of each descent.
        seeds: of the sets that are judged; the first of them are inverted at every layer.
        scenes: for the probes.

    Returns:
        The values: "layers" as of `at_every_layer`, "judged", "own", "drawn" and "earlier" as of `judged`,
        "probes" as of `probed`; and the figures "layers" and "judged". It takes a quarter of an hour.
    """
    layers, rows = at_every_layer(steps, seeds[:AT_EVERY_LAYER])
    counts, shown = judged(steps, seeds)
    return together(steps, seeds, scenes, layers, rows, counts, shown, probed(scenes))


def together(
    steps: int,
    seeds: Sequence[int],
    scenes: int,
    layers: dict[str, Any],
    rows: Sequence[Tensor],
    counts: dict[str, Any],
    shown: Sequence[Tensor],
    probes: dict[str, Any],
) -> tuple[results.Result, dict[str, plots.Static]]:
    """The result and its figures from the parts of `measure`."""
    settings = {"steps": steps, "tv": TV, "layer": LAYER, "seeds": list(seeds), "scenes": scenes}
    settings["at every layer"] = 10 * len(seeds[:AT_EVERY_LAYER])
    names = inversion.layers(models.load(NETWORKS[0]))
    figures = {"layers": _layers(rows, names), "judged": _judged(shown)}
    return results.Result(settings, {"layers": layers, **counts, "probes": probes}), figures


def stored_figure(name: str) -> plots.Static:
    """A stored figure.

    Args:
        name: "layers" or "judged".

    Example:
        >>> from xai_lessons.results import inversion
        >>> inversion.stored_figure("judged").kind
        'jpeg'
    """
    return plots.Static((results.FOLDER / f"inversion-{name}.jpg").read_bytes(), CAPTIONS[name], "jpeg")


CAPTIONS = {
    "layers": "A car, found from the code of each layer of menagerie-resnet. First row: the search moves pixels. "
    "Second row: it moves waves in decorrelated colors (Fourier). The network, the layers and the loss are the same.",
    "judged": "Found from the code of stage3. First row: the drawings. Then the plain network and the robust one, each "
    "searched in pixels and in Fourier waves.",
}


def _layers(rows: Sequence[Tensor], layers: Sequence[str]) -> plots.Static:
    return plots.show(rows, [*layers] * 2, CAPTIONS["layers"], columns=len(layers), size=1.75, most=FIGURE_BYTES)


def _judged(shown: Sequence[Tensor]) -> plots.Static:
    whose = [f"{network}, {way}" for network in ("plain", "robust") for way in PARAMETRIZATIONS]
    titles = [*DRAWN, *(title for title in whose for _ in DRAWN)]
    return plots.show(shown, titles, CAPTIONS["judged"], columns=len(DRAWN), size=1.75, most=FIGURE_BYTES)
