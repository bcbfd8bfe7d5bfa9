"""Is an explanation right? Localization, faithfulness, sensitivity, randomization, and all of them in one table."""

from xai_lessons.evaluation.compare import (
    METRICS,
    Metric,
    compare,
    each_row,
    randomize_layers,
    rank_correlation,
    table,
    weight_layers,
)
from xai_lessons.evaluation.faithfulness import Curve, deletion, infidelity, insertion, max_sensitivity
from xai_lessons.evaluation.localization import (
    CONTROLS,
    Explain,
    box_of,
    energy_inside,
    heat,
    intersection_over_union,
    object_masks,
    pointing_game,
)
