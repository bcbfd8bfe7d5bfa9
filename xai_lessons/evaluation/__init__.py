"""Is an explanation right? Localization, faithfulness, sensitivity, randomization, and all of them in one table."""

from xai_lessons.evaluation.compare import (
    CONTROLS,
    METRICS,
    Metric,
    beaten,
    compare,
    each_row,
    leaders,
    table,
    wilson_interval,
)
from xai_lessons.evaluation.faithfulness import Curve, deletion, infidelity, insertion
from xai_lessons.evaluation.localization import (
    Explain,
    box_of,
    energy_inside,
    heat,
    intersection_over_union,
    object_masks,
    pointing_game,
)
from xai_lessons.evaluation.parts import PartEffect, part_importance
from xai_lessons.evaluation.randomization import randomize_layers, rank_correlation, weight_layers
from xai_lessons.evaluation.sensitivity import max_sensitivity
