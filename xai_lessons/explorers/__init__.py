"""The explorers: a file a lesson. `base` says how to write one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AttackExplorer": "fgsm",
    "CamExplorer": "cam",
    "DeletionExplorer": "deletion",
    "DetectiveExplorer": "detective",
    "EraserExplorer": "eraser",
    "FilterExplorer": "filters",
    "HardeningExplorer": "hardening",
    "InversionExplorer": "inversion",
    "LayerExplorer": "layers",
    "LeaderboardExplorer": "judging",
    "MistakesExplorer": "mistakes",
    "OcclusionExplorer": "occlusion",
    "PredictionExplorer": "classification",
    "RobustnessExplorer": "robustness",
    "SaliencyExplorer": "saliency",
    "SanityExplorer": "sanity",
    "TrainingExplorer": "training",
}


def __getattr__(name: str) -> Any:
    """Import an explorer when it is asked for: `from xai_lessons.explorers import PredictionExplorer`."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"no explorer {name!r}; there are {', '.join(_HOMES)}.")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
