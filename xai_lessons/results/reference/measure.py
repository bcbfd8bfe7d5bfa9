"""Measure what `reference` stores: the tables of all photographs, the figures of scikit-image's."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from xai_lessons import models, plots, results
from xai_lessons.results import reference
from xai_lessons.results.reference import Table, figures, tables

SHORT = {"IG, VarGrad": "IG VarGrad", "IG, SmoothGrad squared": "IG SmoothGrad²", "integrated gradients": "IG"}
SUBJECT = "triceratops"  # the photograph of the published table of eight methods; chelsea if there is none


def measure(
    network: models.Classifier, folder: Path | None = None, samples: int = 10
) -> tuple[results.Result, dict[str, plots.Static]]:
    """All tables, and the figures; it takes some minutes.

    Args:
        network: an ImageNet network.
        folder: of photographs, see `reference.photographs`.
        samples: of max-sensitivity.

    Returns:
        What is stored, and name -> figure.
    """
    images = reference.photographs(network, folder)
    name = SUBJECT if SUBJECT in images else reference.SAMPLES[0]
    image, target = images[name], reference.subject(network, name, images[name])
    attacked, changed = tables.changed(network, images)
    ours = tables.max_sensitivity(network, image, target, samples)
    elsewhere = tables.max_sensitivity(network, image, target, samples, tables.tutorial_methods(image))
    found: dict[str, Table] = {
        "looked": tables.looked(network, images),
        "eight": tables.eight(_explain(network, image, target)),
        "erased": tables.erased(network, images),
        "occluded": tables.occluded(network, images),
        "attacked": attacked,
        "changed": changed,
        "inverted": tables.inverted(network, images[reference.SAMPLES[0]]),
        "sensitivity": tables.sensitive(ours, elsewhere),
    }
    drawn = draw(network)
    values = {
        "captions": {name: figure.caption for name, figure in drawn.items()},
        "tables": {name: [table.columns, table.rows] for name, table in found.items()},
    }
    return results.Result({"network": network.name, "photographs": len(images)}, values), drawn


def draw(network: models.Classifier) -> dict[str, plots.Static]:
    """The figures of scikit-image's photographs: no others are stored."""
    images = reference.photographs(network, most=0)
    chelsea = images[reference.SAMPLES[0]]
    maps = _explain(network, chelsea, int(network.predict(chelsea).argmax()))
    return {
        "looked": figures.looked(network, images, most=60_000),
        "eight": figures.eight(chelsea, {SHORT.get(name, name): one for name, one in maps.items()}),
        "erased": figures.erased(network, images),
        "changed": figures.changed(network, chelsea),
    }


def _explain(network: models.Classifier, image: Tensor, target: int) -> dict[str, Tensor]:
    return {name: method(network, image, target).cpu() for name, method in tables.methods(image.shape[-1]).items()}
