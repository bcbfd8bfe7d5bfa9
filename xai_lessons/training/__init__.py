"""Train a classifier and evaluate it; the recipes of the built-in networks."""

from xai_lessons.training.fit import Epoch, LayerChange, Settings, Step, Training, fit
from xai_lessons.training.scoring import Reliability, Score, confusion, evaluate, reliability

__all__ = [
    "Epoch",
    "LayerChange",
    "Reliability",
    "Score",
    "Settings",
    "Step",
    "Training",
    "confusion",
    "evaluate",
    "fit",
    "reliability",
]
