"""Tensors to images: heatmaps, overlays, bars and curves."""

from xai_lessons.plots.charts import INK, PALETTE, bars, curves, matrix
from xai_lessons.plots.images import (
    BRIGHTEST,
    SATURATED,
    Static,
    attribution,
    box,
    color_bar,
    common_scale,
    enlarge,
    flatten,
    grid,
    heatmap,
    jpeg,
    limits,
    overlay,
    pixels,
    plot,
    png,
    point,
    show,
)
