"""Write the pages of docs that show stored results: python -m benchmarks.pages.

docs/leaderboard.md and docs/reference.md; `python -m xai_lessons.results NAME` measures the results themselves.
"""

from __future__ import annotations

from pathlib import Path

from xai_lessons import evaluation, results
from xai_lessons.results import reference

DOCS = Path(__file__).resolve().parent.parent / "docs"

LEADERBOARD = """# Leaderboard

Made by `python -m xai_lessons.results leaderboard-all`: {images} scenes of the test split of the drawn world, whose
objects are known to the pixel; max-sensitivity of {samples} samples at radius {radius}; insertion (into a blurred
image) and deletion (to black) in {steps} steps.
Each number is the mean over the scenes; each method explains the true class. On average the object fills {area:.2f} of
the image, which is what a guess scores in the pointing game.

↑ high is good, ↓ low is good; *in italics* the controls, which ignore the network; † a control does at least
as well. An empty map never moves, so every method carries a † for its sensitivity: one number alone proves nothing.
{older}
{columns}
"""

OLDER = """
**This table is older than the leaderboard of lesson 7** (`python -m xai_lessons.results leaderboard`, {newer} scenes of
the open split, ten methods, with standard errors). It was measured on {images} scenes and without standard errors: one
scene counts {one:.2f} in the pointing game, so read it for what is far apart. The command above now
measures {newer} scenes, which takes more than an hour.
"""

REFERENCE = """# Published figures on photographs, and ours

Made by `python -m xai_lessons.results reference --photos FOLDER` with {network} and {count} photographs:
scikit-image's ({samples}) and a folder of others, which go by the names of their files and are not in this repository.
"Published" is what student reports and papers say. Their photographs, code and, but for a name, networks are not known
to us: so do not expect the same digits. Expect the same *findings*; each section says which were found.
"""

# table -> its heading, and why ours is not theirs
SECTIONS = {
    "looked": (
        "Lesson 2: where Grad-CAM looks",
        """Published on a VGG and a ResNet. SqueezeNet ends in a convolution and global average pooling; its last map
has 13 x 13 places.

- *Found again:* the maps of a class of dogs and one of cats lie in different places of one photograph, though the
  network predicts neither of the two; the Labrador's map lies in the middle, where its face is.
- *Not found:* the cheetah's spots do not stand out from its face. The elephants are a dark line at a lake, and the
  network says *lakeside*. Elephants, bloodhound and mushroom are not what the network says of these
  photographs, but there is a map of them all the same.
- *Why:* another network, and other photographs.""",
    ),
    "eight": (
        "Lesson 3: eight methods on one photograph",
        """Published as images only, of a ResNet-18 and a triceratops: the positive evidence as a heatmap and laid
over the photograph. The numbers say what such images do not show.

- Squares and variances are positive by definition, so *all* of them count as evidence; about half of each signed map
  is negative (which speaks against the class only where a value is a contribution).
- Integrated gradients light up the bright window behind the animal. From a black baseline a black pixel gets nothing;
  whether that is the reason here was not tested.
- *Why they differ:* another network (no residual sums, no batch norm), another photograph.""",
    ),
    "erased": (
        "Lesson 4: masking the brightest areas",
        """Here the brightest areas are those of Grad-CAM: 20 % of the picture, under three boxes or pixel by pixel,
in black.

- *Found again:* the label goes, mostly to something absurd, and often with more confidence than before. An
  umbrella cut out of its background stayed an umbrella there; here the brightest 30 % on black are still one.
- *Not found:* their words, except by chance for other photographs (a mushroom becomes *perfume* here, a triceratops
  *birdhouse*).
- *Why:* the reports do not say by which map, how much and with which black they masked; and the network and the
  photographs differ. Some of the words may be names for the black shapes themselves (*television*,
  *mortarboard*); that is a guess.""",
    ),
    "occluded": (
        "Lesson 4: hiding windows, the cheetah at p = 0.88",
        """A report gives p = 0.88 for its cheetah and colors each patch by the probability that is left when it is
hidden. Here: the probability as it is, with the window black that hurts most, and with the one that helps most.

- *Not found:* 0.88. *Why:* another photograph and another network, which is surer of this one.""",
    ),
    "attacked": (
        "Lesson 5: FGSM at 0.007",
        """Published: a GoogLeNet's panda, 57.7 %, is *gibbon* at 99.3 % after one step of 0.007.

- *Found again:* one such step changes all ten labels that were right ("right": before the attack), three of them to
  an answer that it gives with more confidence than the right one before. Chelsea's new label, *tiger cat*, is right
  as well.
- Six labels were wrong before any attack. The attack moves them, too, and it *repairs* one: the elephants, which the
  network takes for *lakeside*, become *African elephant*, the class that was second.
- *Not found:* *gibbon* by itself. From the ten right answers FGSM leads six times to the class that was second before.
  Whoever wants a gibbon must make it the target: PGD of the same size then reaches it on 15 of 16 photographs.
- *Why:* another network and other photographs.""",
    ),
    "changed": (
        "Lesson 5: flips and brightness",
        f"""Published without any attack: {reference.CHANGED}.

- *Found again:* turned upside down, brighter or darker, many change their label. When mirrored, only those do that
  the network was not sure of (at most 62%). It was also trained on mirrored images, which may be why; this is not
  tested.
- *Not found:* their words. *Why:* other photographs, another network; they do not say how much brighter.""",
    ),
    "inverted": (
        "Lesson 6: what a layer remembers",
        """The reference inverted the 4,096 numbers of a VGG19's fully-connected layer by plain SGD. SqueezeNet has
no such layer: its first and its last map stand in, for Chelsea, in 200 steps.

- *Found again:* the code of a deep layer is matched only roughly, and worse with the plainer descent.
- *Why they differ:* a layer with places instead of one without; SGD with momentum, total variation, and pixels kept
  in [0, 1] here.""",
    ),
    "sensitivity": (
        "Lesson 7: max-sensitivity of eight methods",
        """Published on a ResNet-18: radius 0.02 in normalized units, 0.0045 in pixels, ten samples. The photograph
here is another one of a triceratops. The last column takes the options of a well-known library's tutorial, a guess at
theirs: noise of a whole normalized unit, windows of 15 pixels on gray, 50 steps, and for Gradient SHAP new random
numbers at every call.

- *Found again:* occlusion is the steadiest, with nearly the same digits; guided backprop and guided Grad-CAM are
  alike;
  integrated gradients, Gradient SHAP and LRP are the most sensitive. With the tutorial's options the two smoothed ones
  come below the guided ones, as published, and Gradient SHAP above integrated gradients.
- *Not found:* 3.567 for LRP, 1.040 for Gradient SHAP.
- *Why:* an LRP that gives each branch of a residual sum the whole relevance counts it twice at each addition;
  SqueezeNet has no such sums, and ours splits it. Gradient SHAP is drawn at random: with new numbers at every call
  it moves though the picture stays. Much noise drowns a small change, so SmoothGrad squared and VarGrad are steadier
  with it. What is left is another network and another photograph.
- On drawings (lesson 7) the order is different: see `xai_lessons/results/stored/sensitivity.json`.""",
    ),
}


def leaderboard_page() -> str:
    """All methods on all networks: a table per network, and why a method is missing from it."""
    settings, networks = results.load("leaderboard-all")
    columns = "\n".join(f"- *{metric.label}*: {metric.help}." for metric in evaluation.METRICS.values())
    images, newer = settings["images"], results.load("leaderboard").settings["images"]
    older = OLDER.format(images=images, newer=newer, one=1 / images) if images < newer else ""
    parts = [LEADERBOARD.format(columns=columns, older=older, **settings)]
    for network, rows in networks.items():
        parts.append(f"## {network}\n\n{evaluation.table(rows)}\n")
        parts += [f"{row['method']}: {row['note']}.\n" for row in rows if row["note"]]
    return "\n".join(parts)


def reference_page() -> str:
    """Published figures beside ours: a section per table."""
    settings = results.load("reference").settings
    made = {"network": settings["network"], "count": settings["photographs"]}
    parts = [REFERENCE.format(samples=", ".join(reference.SAMPLES), **made)]
    for name, (heading, why) in SECTIONS.items():
        parts.append(f"## {heading}\n\n{reference.stored(name).markdown()}\n\n{why}\n")
    return "\n".join(parts)


def main() -> None:
    """Write both pages."""
    for name, page in (("leaderboard", leaderboard_page()), ("reference", reference_page())):
        (DOCS / f"{name}.md").write_text(page, encoding="utf-8")
        print(f"wrote docs/{name}.md")


if __name__ == "__main__":
    main()
