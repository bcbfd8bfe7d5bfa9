"""Tensors to images: heatmaps, overlays, bars, curves and figures.

Each function takes numbers and returns a uint8 array (H, W, 3), drawn with numpy and Pillow in a few milliseconds, so
that a slider can redraw it. `show` and `plot` return figures for a notebook to keep.
"""

from xai_lessons.plots.bars import bars, matrix
from xai_lessons.plots.curves import curves
from xai_lessons.plots.figures import Static, dots, plot, show
from xai_lessons.plots.heatmap import (
    BRIGHTEST,
    SATURATED,
    attribution,
    color_bar,
    common_scale,
    flatten,
    heatmap,
    limits,
    overlay,
)
from xai_lessons.plots.images import box, enlarge, grid, jpeg, pixels, png, wall
from xai_lessons.plots.text import INK, PALE, PALETTE, fit, fitting, font, wrap
