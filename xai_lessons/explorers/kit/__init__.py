"""What every explorer is made of: `base` says how to write one, each name is imported from here."""

from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Many, Slider, Toggle, Upload, group
from xai_lessons.explorers.kit.image_explorer import (
    ANY,
    BUILT_IN,
    ImageExplorer,
    ImageState,
    NetworkState,
    network,
    resized,
)
from xai_lessons.explorers.kit.panels import Panel, bar_panel, chart_panel, top_classes
from xai_lessons.explorers.kit.worker import Job

__all__ = [
    "ANY",
    "BUILT_IN",
    "PANELS",
    "Button",
    "Choice",
    "Control",
    "Explorer",
    "ImageExplorer",
    "ImageState",
    "Job",
    "Many",
    "NetworkState",
    "Panel",
    "Slider",
    "Toggle",
    "Upload",
    "bar_panel",
    "chart_panel",
    "group",
    "network",
    "resized",
    "top_classes",
]
