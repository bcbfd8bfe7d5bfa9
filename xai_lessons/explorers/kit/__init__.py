"""What every explorer is made of: `base` says how to write one; `controls` and `panels` are imported by name."""

from xai_lessons.explorers.kit.base import Explorer
from xai_lessons.explorers.kit.browser import Touch
from xai_lessons.explorers.kit.cache import Cache
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
from xai_lessons.explorers.kit.script import with_imports
from xai_lessons.explorers.kit.worker import Job, Reporter

__all__ = ["ANY", "BUILT_IN", "PREDICTED", "Cache", "Explorer", "ImageExplorer", "ImageResult", "ImageState", "Job"]
__all__ += ["NetworkState", "Reporter", "TargetState", "Touch", "network", "resized", "with_imports"]
