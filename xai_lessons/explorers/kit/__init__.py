"""What every explorer is made of: `base` says how to write one, each name is imported from here."""

from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.cache import Cache
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Many, Slider, Toggle, Upload, group
from xai_lessons.explorers.kit.image_explorer import (
    ANY,
    BUILT_IN,
    PREDICTED,
    ImageExplorer,
    ImageResult,
    ImageState,
    NetworkState,
    TargetState,
    network,
    resized,
)
from xai_lessons.explorers.kit.panels import Panel, bar_panel, chart_panel, top_classes
from xai_lessons.explorers.kit.script import with_imports
from xai_lessons.explorers.kit.worker import Job, Reporter

__all__ = [
    "ANY",
    "BUILT_IN",
    "PANELS",
    "PREDICTED",
    "Button",
    "Cache",
    "Choice",
    "Control",
    "Explorer",
    "ImageExplorer",
    "ImageResult",
    "ImageState",
    "Job",
    "Many",
    "NetworkState",
    "Panel",
    "Reporter",
    "Slider",
    "TargetState",
    "Toggle",
    "Upload",
    "bar_panel",
    "chart_panel",
    "group",
    "network",
    "resized",
    "top_classes",
    "with_imports",
]
