"""Train a classifier, score it, and the recipes of the built-in networks."""

from xai_lessons.training.fit import Epoch, LayerChange, Settings, Training, fit
from xai_lessons.training.scoring import Reliability, Score, confusion, evaluate, reliability

__all__ = [
    "Epoch",
    "LayerChange",
    "Reliability",
    "Score",
    "Settings",
    "Training",
    "confusion",
    "evaluate",
    "fit",
    "reliability",
]
