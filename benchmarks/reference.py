"""Published figures on photographs, and ours beside them: python -m benchmarks.reference --photos FOLDER.

Prints the tables of lessons 2 to 7 for a network that knows photographs. With --store it also writes docs/reference.md
and what the lessons show where no such network is available (`xai_lessons/results/reference`): numbers and names of
classes, and figures of scikit-image's photographs only. On one thread it takes some minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.results import reference
from xai_lessons.results.reference import Table, figures, tables

SHORT = {"IG, VarGrad": "IG VarGrad", "IG, SmoothGrad squared": "IG SmoothGrad²", "integrated gradients": "IG"}
PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
SUBJECT = "triceratops"  # the photograph of the published table of eight methods; chelsea where it is not there

HEAD = """# Published figures on photographs, and ours

Made by `python -m benchmarks.reference --photos FOLDER --store` with {network} and {count} photographs: scikit-image's
({samples}) and a folder of others, which go by the names of their files and are not in this repository.
"Published" is what student reports and papers say. Their photographs, code and, but for a name, networks are not known
to us: so the same digits are not to be expected. The same *findings* are, and each section says whether they came.
"""

# table -> its heading, and why ours is not theirs
SECTIONS = {
    "looked": (
        "Lesson 2: where Grad-CAM looks",
        """Published on a VGG and a ResNet. SqueezeNet ends in a convolution and global average pooling; its last map
has 13 x 13 places.

- *Found again:* the maps of a class of dogs and one of cats lie in different places of one photograph, though the
  network says neither of the two; the Labrador is known by its face.
- *Not found:* the cheetah's spots do not stand out from its face. The elephants are a dark line at a lake, and the
  network says *lakeside*. Where a network is unsure (elephants, bloodhound, mushroom), the light lies on whatever
  speaks for the class asked about.
- *Why:* another network, and other photographs.""",
    ),
    "eight": (
        "Lesson 3: eight methods on one photograph",
        """Published as pictures only, of a ResNet-18 and a triceratops: the positive evidence as a heatmap and laid
over the picture. The numbers say what such pictures do not show.

- Squares and variances are positive by definition, so *all* of them counts as evidence; of the signed maps about half
  speaks against the class.
- Integrated gradients light up the bright window behind the animal: with a black baseline, black things get nothing.
- *Why they differ:* another network (no residual sums, no batch norm), another photograph.""",
    ),
    "erased": (
        "Lesson 4: masking the brightest areas",
        """Here the brightest areas are those of Grad-CAM: 20 % of the picture, under three boxes or pixel by pixel,
in black.

- *Found again:* the label goes, mostly to something absurd, and not seldom with more confidence than before. An
  umbrella cut out of its background stayed an umbrella there; here the brightest 30 % on black are still one.
- *Not found:* their words, but as chance has it (a mushroom becomes *perfume* here, a triceratops *birdhouse*).
- *Why:* the reports do not say by which map, how much and with which black they masked; network and photographs are
  others. What a network says of black shapes is often a name for *them* (*television*, *mortarboard*, *teddy*).""",
    ),
    "occluded": (
        "Lesson 4: hiding windows, the cheetah at p = 0.88",
        """A report says p = 0.88 of its cheetah, and one colors each patch by the probability that is left when it is
hidden. Here: the probability as it is, with the window black that hurts most, and with the one that helps most.

- *Not found:* 0.88. *Why:* another photograph and another network, which is surer of this one.""",
    ),
    "attacked": (
        "Lesson 5: FGSM at 0.007",
        """Published: a GoogLeNet's panda, 57.7 %, is *gibbon* at 99.3 % after one step of 0.007.

- *Found again:* one such step takes the label from every photograph, often for a surer answer than the right one.
- *Not found:* *gibbon* by itself. FGSM leads away, to the nearest neighbor, for a cat another cat. Led there by PGD
  at the same size, nearly all become a gibbon.
- *Why:* a panda looks like a gibbon to begin with; another network.""",
    ),
    "changed": (
        "Lesson 5: flips and brightness",
        f"""Published without any attack: {reference.CHANGED}.

- *Found again:* turned upside down, brighter or darker, many change their label. Mirrored, only those do of which the
  network was not sure: it was trained on mirrored pictures, too.
- *Not found:* their words. *Why:* other photographs, another network; they do not say how much brighter.""",
    ),
    "inverted": (
        "Lesson 6: what a layer remembers",
        """The reference inverted the 4,096 numbers of a VGG19's fully-connected layer by plain SGD. SqueezeNet has
no such layer: its first and its last map stand in, for Chelsea, in 200 steps.

- *Found again:* a deep layer is met only roughly, and the worse the plainer the descent.
- *Why they differ:* a layer with places instead of one without; SGD with momentum, total variation, and pixels kept
  in [0, 1] here.""",
    ),
    "sensitivity": (
        "Lesson 7: max-sensitivity of eight methods",
        """Published on a ResNet-18: radius 0.02 in normalized units, 0.0045 in pixels, ten samples. The photograph
here is another one of a triceratops. The last column takes the options of a well-known library's tutorial, a guess at
theirs: noise of a whole normalized unit, windows of 15 pixels on gray, 50 steps, and for Gradient SHAP new random
numbers at every call.

- *Found again:* occlusion is calmest, with nearly the same digits; guided backprop and guided Grad-CAM are alike;
  integrated gradients, Gradient SHAP and LRP are the restless ones. With the tutorial's options the two smoothed ones
  come below the guided ones, as published, and Gradient SHAP above integrated gradients.
- *Not found:* 3.567 for LRP, 1.040 for Gradient SHAP.
- *Why:* an LRP that gives each branch of a residual sum the whole relevance counts it twice at each addition;
  SqueezeNet has no such sums, and ours shares out. Gradient SHAP is drawn at random: with new numbers at every call
  it moves though the picture stays. Much noise drowns a small change, so SmoothGrad squared and VarGrad are calmer
  with it. What is left is another network and another photograph.
- On drawings (lesson 7) the order is another one: see `xai_lessons/results/sensitivity.json`.""",
    ),
}


def measure(network: models.Classifier, folder: Path | None, samples: int) -> Iterator[tuple[str, Table]]:
    """Each table by its name, as it is ready."""
    pictures = reference.photographs(network, folder)
    yield "looked", tables.looked(network, pictures)
    name = SUBJECT if SUBJECT in pictures else reference.SAMPLES[0]
    picture, target = pictures[name], reference.subject(network, name, pictures[name])
    yield "eight", tables.eight(explain(network, picture, target))
    yield "erased", tables.erased(network, pictures)
    yield "occluded", tables.occluded(network, pictures)
    attacked, changed = tables.changed(network, pictures)
    yield "attacked", attacked
    yield "changed", changed
    yield "inverted", tables.inverted(network, pictures[reference.SAMPLES[0]])
    ours = tables.max_sensitivity(network, picture, target, samples)
    elsewhere = tables.max_sensitivity(network, picture, target, samples, tables.as_elsewhere(picture))
    yield "sensitivity", tables.sensitive(ours, elsewhere)


def explain(network: models.Classifier, picture: Tensor, target: int) -> dict[str, Tensor]:
    """The maps of the eight methods."""
    return {name: method(network, picture, target).cpu() for name, method in tables.methods(picture.shape[-1]).items()}


def draw(network: models.Classifier) -> dict[str, plots.Static]:
    """The figures of scikit-image's photographs: no others are stored."""
    pictures = {name: network.prepare(picture) for name, picture in _samples()}
    chelsea = pictures[reference.SAMPLES[0]]
    target = int(network.predict(chelsea).argmax())
    return {
        "looked": figures.looked(network, pictures, most=60_000),
        "eight": figures.eight(chelsea, {SHORT.get(n, n): one for n, one in explain(network, chelsea, target).items()}),
        "erased": figures.erased(network, pictures),
        "changed": figures.changed(network, chelsea),
    }


def _samples():
    from xai_lessons.data import photos

    return ((name, photos.sample(name)) for name in reference.SAMPLES)


def page(found: dict[str, Table], network: str, count: int) -> str:
    """The page of the docs."""
    parts = [HEAD.format(network=network, count=count, samples=", ".join(reference.SAMPLES))]
    for name, table in found.items():
        heading, why = SECTIONS[name]
        parts.append(f"## {heading}\n\n{table.markdown()}\n\n{why}\n")
    return "\n".join(parts)


def main() -> None:
    """Measure, print, and store if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs called like their subject")
    parser.add_argument("--network", default="squeezenet1_0", help="one of torchvision's")
    parser.add_argument("--samples", type=int, default=10, help="of max-sensitivity")
    parser.add_argument("--store", action="store_true", help="write docs/reference.md and what the lessons show")
    parser.add_argument("--page", action="store_true", help="only write docs/reference.md again, from what is stored")
    arguments = parser.parse_args()
    if arguments.page:
        kept = reference.facts()
        tables_kept = {name: reference.stored(name) for name in SECTIONS}
        PAGE.write_text(page(tables_kept, kept["network"], kept["photographs"]), encoding="utf-8")
        return
    torch.set_num_threads(1)
    network, found = models.load(arguments.network, device="cpu"), {}
    for name, table in measure(network, arguments.photos, arguments.samples):
        found[name] = table
        print(f"\n# {SECTIONS[name][0]}\n\n{table}", flush=True)
    if arguments.store:
        count = len(found["erased"].rows)
        PAGE.write_text(page(found, network.name, count), encoding="utf-8")
        made = {"made_by": "python -m benchmarks.reference --store", "network": network.name, "photographs": count}
        reference.store(found, draw(network), **made)
        print(f"\nwrote {PAGE} and {reference.HERE}")


if __name__ == "__main__":
    main()
