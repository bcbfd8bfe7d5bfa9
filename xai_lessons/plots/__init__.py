"""Tensors to images: heatmaps, overlays, bars and curves."""

from xai_lessons.plots.charts import INK, PALETTE, bars, curves, matrix
from xai_lessons.plots.images import (
    Static,
    box,
    color_bar,
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
