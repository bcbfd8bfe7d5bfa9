"""``python -m tools.readme_picture``: docs/img/course.jpg, the course in one picture."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from tools.pins import ROOT
from xai_lessons import models, plots
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, fgsm, inversion, occlusion

SIZE = 288


def big(picture: Tensor) -> Image.Image:
    """A picture of the network's size, enlarged."""
    return Image.fromarray(plots.enlarge(picture, SIZE, smooth=True))


def titled(network: models.Classifier, picture: Tensor, what: str) -> str:
    """What is shown, and what the network calls it."""
    sure, answer = network.predict(picture).max(dim=0)
    return f"{what}: {network.classes[int(answer)]} {float(sure):.2f}"


def main() -> None:
    """Draw it."""
    torch.set_num_threads(1)
    plain, cheat, robust = (models.load(f"menagerie-{n}", device="cpu") for n in ("resnet", "shortcut", "robust"))
    pair = menagerie.draw_pair("cat", "dog", seed=0)
    tagged = menagerie.draw("umbrella", seed=4, tag=True, tree=False)
    bare = tagged.without("tag")
    cat = menagerie.draw("cat", seed=8, tag=False, tree=False)
    attacked = fgsm.pgd(plain, cat.image, "cat", epsilon=4 / 255)
    code = inversion.invert(robust, cat.image, layer="stage2", steps=200).images

    def drawn(scene: menagerie.Scene) -> Image.Image:
        return Image.fromarray(plots.pixels(scene.at(SIZE).image))

    def over(scene: menagerie.Scene, heat: Tensor) -> Image.Image:
        return Image.fromarray(plots.overlay(scene.at(SIZE).image, heat))

    hidden = occlusion.occlusion(plain, cat.image, "cat", patch=16, stride=4)
    looked = cam.grad_cam(cheat, tagged.image, "umbrella")
    cells = [
        ("a drawn scene: every part is known", drawn(pair)),
        ("Grad-CAM: where is the dog?", over(pair, cam.grad_cam(plain, pair.image, "dog"))),
        ("occlusion: what does the cat need?", over(cat, hidden)),
        (titled(plain, attacked, "attacked, epsilon 4/255"), big(attacked)),
        (titled(cheat, tagged.image, "a cheating network"), over(tagged, looked)),
        (titled(cheat, bare.image, "the same, tag removed"), drawn(bare)),
        ("the cat, from what stage 2 remembers", big(code)),
        ("without whiskers: a true intervention", drawn(cat.without("whiskers"))),
    ]
    titles, pictures = zip(*cells, strict=True)
    sheet = plots.grid(pictures, titles, columns=4, size=SIZE)
    Image.fromarray(sheet).save(ROOT / "docs" / "img" / "course.jpg", quality=88)


if __name__ == "__main__":
    main()
