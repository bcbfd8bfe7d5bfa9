"""Feature inversion with two parametrizations: what comes back of each layer's code, and what a judge recognizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xai_lessons import models, plots, results
from xai_lessons.data import menagerie
from xai_lessons.methods import inversion

PARAMETRIZATIONS = ("pixels", "fourier")
NETWORKS = ("menagerie-resnet", "menagerie-robust")
JUDGE = "menagerie-vgg"  # it takes no part in the search
LAYER = "stage3"  # whose pre-images are judged
STEPS, TV = 60, 0.2
SEEDS = (0, 1, 2)  # of the drawings, one of each class
DRAWN = ("cat", "elephant", "mushroom", "sailboat", "car")  # in the figure
FIGURE_BYTES = 90_000


def drawings(seed: int) -> Tensor:
    """One drawing of each class (10, 3, 96, 96).

    Args:
        seed: of the drawings.

    Example:
        >>> from xai_lessons.results import inversion
        >>> inversion.drawings(0).shape
        torch.Size([10, 3, 96, 96])
    """
    return torch.stack([menagerie.draw(name, seed).image for name in menagerie.CLASSES])


def found(model: models.Classifier, images: Tensor, layer: str, parametrization: str, steps: int) -> Tensor:
    """The images found from the codes of a layer."""
    search = {"steps": steps, "tv": TV, "parametrization": parametrization}
    return inversion.invert(model, images, layer=layer, **search).images.cpu()  # type: ignore[arg-type]


def kept(model: models.Classifier, images: Tensor, backs: Tensor, layer: str) -> dict[str, float]:
    """The distance of the codes, and how much color and place the images found have kept; means over the images."""
    goal, code = (inversion.code(model, x, layer) for x in (images, backs))
    similar = [inversion.similarity(back, image) for back, image in zip(backs, images, strict=True)]
    means = {name: sum(one[name] for one in similar) / len(similar) for name in ("color", "place")}
    return {"distance": float(((code - goal).square().sum(1) / goal.square().sum(1)).mean()), **means}


def recognized(model: models.Classifier, images: Tensor) -> int:
    """How many of ten images, one of each class in turn, the network names right."""
    return int((model.predict(images.to(model.device)).argmax(dim=1).cpu() == torch.arange(len(images))).sum())


def measure(steps: int = STEPS, seeds: Sequence[int] = SEEDS) -> tuple[results.Result, dict[str, plots.Static]]:
    """All layers of the first network, and the judge's answers to one layer of all; it takes some minutes.

    Args:
        steps: of each descent.
        seeds: of the drawings that are judged; those of the first one are inverted at every layer.

    Returns:
        The values: "layers" (parametrization -> layer -> `kept`), "judged" (network -> parametrization -> how many of
        ten for each seed), "own" (the same by the network itself) and "drawn" (for the drawings); and the figures
        "layers" and "judged".
    """
    loaded, judge = {name: models.load(name) for name in NETWORKS}, models.load(JUDGE)
    plain, ten = loaded[NETWORKS[0]], drawings(seeds[0])
    layers: dict[str, dict[str, dict[str, float]]] = {}
    rows: list[Tensor] = []
    for parametrization in PARAMETRIZATIONS:
        backs = {layer: found(plain, ten, layer, parametrization, steps) for layer in inversion.layers(plain)}
        layers[parametrization] = {layer: kept(plain, ten, x, layer) for layer, x in backs.items()}
        rows += [x[menagerie.CLASSES.index("car")] for x in backs.values()]
    judged: dict[str, dict[str, list[int]]] = {name: {} for name in NETWORKS}
    own: dict[str, dict[str, list[int]]] = {name: {} for name in NETWORKS}
    shown = [ten[menagerie.CLASSES.index(name)] for name in DRAWN]
    for name, model in loaded.items():
        for parametrization in PARAMETRIZATIONS:
            all_backs = [found(model, drawings(seed), LAYER, parametrization, steps) for seed in seeds]
            judged[name][parametrization] = [recognized(judge, x) for x in all_backs]
            own[name][parametrization] = [recognized(model, x) for x in all_backs]
            shown += [all_backs[0][menagerie.CLASSES.index(one)] for one in DRAWN]
    values = {"layers": layers, "judged": judged, "own": own, "drawn": [recognized(judge, drawings(s)) for s in seeds]}
    settings = {"steps": steps, "tv": TV, "layer": LAYER, "seeds": list(seeds), "judge": JUDGE}
    return results.Result(settings, values), {
        "layers": _layers(rows, inversion.layers(plain)),
        "judged": _judged(shown),
    }


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
