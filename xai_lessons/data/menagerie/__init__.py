"""The drawn world: images drawn by code, of which object, parts, background and any planted cue are known.

Example::

    scene = menagerie.draw("cat", seed=3)          # scene.image, scene.label, scene.masks, scene.factors
    scene.without("whiskers")                      # the same image, to the pixel, but for the whiskers
    scene.with_(background="snow").at(384)         # another background, and larger
    images, labels, masks = menagerie.sample(1000, split="train")
"""

from .backgrounds import BACKGROUNDS as _BACKGROUNDS
from .factors import CLASSES, FACTORS, PARTS, POSES, Factor
from .sampling import SHORTCUT_MASKS, SHORTCUTS, sample, sample_pairs, sampled, sampled_pair
from .scene import SPLITS, Masks, Scene, draw, draw_pair
from .sheets import contact_sheet, mask_image

BACKGROUNDS = tuple(_BACKGROUNDS)

__all__ = [
    "BACKGROUNDS", "CLASSES", "FACTORS", "PARTS", "POSES", "SHORTCUTS", "SHORTCUT_MASKS", "SPLITS", "Factor", "Masks",
    "Scene", "contact_sheet", "draw", "draw_pair", "mask_image", "sample",
    "sample_pairs", "sampled", "sampled_pair",
]  # fmt: skip
