"""Charts of the report and the audit page: what a reader must be able to read on them."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tumortrace.reporting.charts import draw_risk, draw_similarities


def legend_stands_above(figure: Figure) -> bool:
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    return bool(legend.get_window_extent().y0 >= axes.get_window_extent().y1)


def test_no_legend_covers_what_is_drawn():
    points = [{"coverage": share, "mean_dice": share, "low_dice_share": 1 - share} for share in (1.0, 0.5, 0.1)]
    assert legend_stands_above(draw_risk({"risk_coverage": points, "low_dice": 0.5, "flagged_share": 0.2}))
    similarities = {"edges": np.linspace(0, 1, 41).tolist(), "counts": [100] * 40}
    assert legend_stands_above(draw_similarities({"similarities": similarities, "same_slice": 0.75}))
