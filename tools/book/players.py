"""What moves in the web book: for each explorer of the lessons, one or two of its controls and their positions.

A player shows frames that the explorer itself has computed, one for each combination of these positions. The key is the
id of the notebook's cell; `setup` makes what the cell takes from earlier cells. A control with a single position is set
to it and not shown.
"""

from dataclasses import dataclass
from typing import Any

ALL = "all"  # every choice of the control
OWN = "available = []"  # no downloaded network


@dataclass(frozen=True)
class Player:
    """The controls of one player.

    Attributes:
        controls: name of the control -> its positions, or `ALL`.
        setup: Python that runs before the cell.
        run: whether the Run button is pressed for each frame, where an explorer has one.
    """

    controls: dict[str, tuple[Any, ...] | str]
    setup: str = ""
    run: bool = False


SHIFTS = (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
EPSILONS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
UPSIDE_DOWN = 'found, model = None, models.load("menagerie-resnet"); images, labels, _ = menagerie.sample(300, seed=1)'
CIFAR = 'cifar = {name: models.load(name) for name in ("cifar10-resnet", "cifar10-vgg")}'
SUSPECTS = f"{OWN}; suspects, judge = detective.line_up(2), lambda *_: None"
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

PLAYERS = {
    "l1-open-explorer": Player({"shift_right": SHIFTS, "without": ALL}),
    "l1-layers-explorer": Player({"layer": ALL, "channel": (0, 1, 2, 3)}),
    "l1-training-explorer": Player(
        {"epochs": (1, 2, 4, 8, 16), "pictures": (100, 500, 2500), "earlier": (False,)}, run=True
    ),
    "l1-cifar-explorer": Player({"truth": ALL, "network": ALL}, UPSIDE_DOWN),
    "l1-cifar-own": Player({"noise": (0.0, 0.04, 0.08, 0.12, 0.2, 0.3), "turn": (-90, -60, -30, 0, 30, 60, 90)}, CIFAR),
    "l1-own-explorer": Player({"turn": tuple(range(-180, 181, 30)), "noise": (0.0, 0.1, 0.3)}, OWN),
    "l2-open-explorer": Player({"target_class": ALL, "shared": ALL}),
    "l2-layers-explorer": Player({"layer": ("stem", "stage1", "stage2", "stage3", "last"), "seed": (1, 2, 3, 4, 5, 6)}),
    "l2-shortcut-explorer": Player({"tag": ALL, "seed": tuple(range(12))}),
    "l2-own-explorer": Player({"target_class": ALL, "layer": ALL}, OWN),
    "l3-open-explorer": Player({"seed": (0, 1, 2, 3, 4, 5), "network": ALL}),
    "l3-path-explorer": Player({"alpha": tuple(k / 10 for k in range(11)), "baseline": ALL}),
    "l3-sanity-explorer": Player({"forgotten": tuple(range(12)), "seed": (3, 5)}),
    "l3-smooth-explorer": Player({"sigma": (0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3), "samples": (2, 5, 10, 25, 50)}),
    "l3-own-explorer": Player({"sigma": (0.01, 0.02, 0.04, 0.08, 0.15, 0.3), "samples": (1, 5, 25)}, OWN),
    "l4-open-explorer": Player({"width": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), "fill": ALL}),
    "l4-explore-explorer": Player({"look": tuple(range(8, 197, 14)), "fill": ("black", "gray", "blur")}),
    "l4-erase-explorer": Player({"fraction": (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3), "method": ALL}),
    "l4-many-explorer": Player({"samples": (100, 200, 400, 800, 1600), "method": ("RISE", "LIME", "Kernel SHAP")}),
    "l4-own-explorer": Player({"patch": (12, 16, 24, 32, 48), "fill": ALL}, OWN),
    "l5-open-explorer": Player({"epsilon": EPSILONS, "method": ALL}),
    "l5-robustness-explorer": Player({"at": (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0), "attack": ALL}),
    "l5-maps-explorer": Player({"epsilon": EPSILONS, "network": ("menagerie-resnet", "menagerie-robust")}),
    "l5-target-explorer": Player({"epsilon": (1.0, 2.0, 4.0, 6.0, 10.0), "target": ALL}),
    "l5-training-explorer": Player({"epsilon": (0, 4, 8, 16), "pictures": (500,), "epochs": (4,)}, run=True),
    "l5-own-explorer": Player({"epsilon": EPSILONS, "method": ALL}, OWN),
    "l6-open-explorer": Player({"tv": (0.0, 0.02, 0.2, 1.0, 5.0), "layer": ALL}),
    "l6-mean-explorer": Player({"pictures": (1, 2, 4, 8), "layer": ("stage1", "stage2", "stage3", "pool", "head")}),
    "l6-filters-explorer": Player({"channel": tuple(range(10)), "network": ("menagerie-resnet", "menagerie-robust")}),
    "l6-own-explorer": Player({"steps": (10, 20, 40, 60), "layer": ALL}, OWN),
    "l7-open-explorer": Player({"mixture": ALL, "fill": ALL}),
    "l7-prizes-explorer": Player({"metric": ALL, "network": ALL}),
    "l7-detective-explorer": Player({"cue": ALL, "suspect": ALL}, "LINE_UP = 2"),
    "l7-own-explorer": Player({"target_class": ALL, "network": ALL}, SUSPECTS),
    "l8-open-explorer": Player({"explain": ALL, "without": ALL}),
    "l8-candidates-explorer": Player({"threshold": THRESHOLDS, "overlap": (0.0, 0.25, 0.5, 0.75, 1.0)}),
    "l8-own-explorer": Player({"explain": ALL, "method": ("Gradient", "Integrated gradients", "Grad-CAM")}, OWN),
}
