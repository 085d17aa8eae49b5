"""Charts of the report and the audit page: what a reader must be able to read on them."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tumortrace.reporting.charts import (
    Dot,
    draw_dot_groups,
    draw_dots,
    draw_fold_losses,
    draw_froc,
    draw_group_sizes,
    draw_risk,
    draw_similarities,
)

EDGES = np.linspace(0, 1, 41).tolist()
PHONE_PX = 394  # width of a figure on a screen of 420 pixels


def shown_ticks(figure: Figure, axis: str) -> list[str]:
    """Return the labels of the ticks within the limits of the only axes."""
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    ticks = (axes.xaxis if axis == "x" else axes.yaxis).get_major_ticks()
    return [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high]


def legend_stands_above(figure: Figure) -> bool:
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    return bool(legend.get_window_extent().y0 >= axes.get_window_extent().y1)


def test_no_legend_covers_what_is_drawn():
    points = [{"coverage": share, "mean_dice": share, "low_dice_share": 1 - share} for share in (1.0, 0.5, 0.1)]
    assert legend_stands_above(draw_risk({"risk_coverage": points, "low_dice": 0.5, "flagged_share": 0.2}))
    similarities = {"edges": EDGES, "counts": [100] * 40}
    assert legend_stands_above(draw_similarities({"similarities": similarities, "same_slice": 0.75}))


def test_pairs_are_counted_in_whole_numbers():
    expected = {2: ["0", "1", "2"], 300: ["0", "10", "100"], 2_000_000: ["0", "10", "1,000", "100,000"]}
    for most, ticks in expected.items():
        similarities = {"edges": EDGES, "counts": [0] * 39 + [most]}
        figure = draw_similarities({"similarities": similarities, "same_slice": 0.75})
        shown = shown_ticks(figure, "y")
        assert [tick for tick in shown if tick in ticks] == ticks
        assert all(tick.replace(",", "").isdigit() for tick in shown)


def test_a_label_shows_what_is_no_text_and_keeps_dollars():
    names = [os.fsdecode(b"scores-\xe9"), "$x_1$"]  # as folders of evaluations may be named
    figure = draw_dots([Dot(name, 0.5, None) for name in names], xlabel="mean Dice")
    FigureCanvasAgg(figure).draw()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [r"scores-\udce9", "$x_1$"]


def test_a_label_at_zero_stays_clear_of_the_axis():
    figure = draw_dots([Dot("all background", 0.0, None), Dot("mean mask", 0.04, None)], xlabel="mean Dice")
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert len(axes.texts) == 2
    assert all(label.get_window_extent().x0 > axes.get_window_extent().x0 for label in axes.texts)


def test_a_long_label_is_not_cut():
    dots = [Dot("runs/fold-1-evaluation", 0.9, None)]
    figure = draw_dots(dots, xlabel="mean Dice on the same 20 images, not known to be clean for every model")
    FigureCanvasAgg(figure).draw()
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert figure.bbox.x0 <= label.x0 < label.x1 <= figure.bbox.x1


def test_images_of_a_slice_are_whole_numbers():
    figure = draw_group_sizes({"group_sizes": {"1": 6}})
    assert shown_ticks(figure, "x") == ["1"]


def test_no_number_of_false_lesions_is_negative():
    scores = {"sensitivity_ci95": [0.8, 1.0], "false_lesions_ci95": None}
    for most in (0.0, 0.4, 7.0):
        points = [
            {"peak_threshold": 0.0, "sensitivity": 1.0, "false_lesions_per_head": most, **scores},
            {"peak_threshold": 0.9, "sensitivity": 0.3, "false_lesions_per_head": 0.0, **scores},
        ]
        assert float(shown_ticks(draw_froc(points, chosen=0.0), "x")[0]) == 0


def test_folds_of_one_epoch_are_drawn():
    rows = {name: [{"epoch": 1.0, "train_loss": loss, "val_loss": None}] for name, loss in (("a", 0.62), ("b", 0.63))}
    figure = draw_fold_losses(rows, loss="cross_entropy")
    assert all(line.get_marker() == "." for line in figure.axes[0].lines)
    assert all(0.6 < float(tick) < 0.65 for tick in shown_ticks(figure, "y"))


def test_charts_are_narrow_enough_for_a_phone():
    dot = Dot("model", 0.9, None)
    rows = {"a": [{"epoch": 1.0, "train_loss": 0.5, "val_loss": None}]}
    figures = [
        draw_dots([dot], xlabel="mean Dice"),
        draw_dot_groups({"plane": [dot]}, xlabel="mean Dice"),
        draw_similarities({"similarities": {"edges": EDGES, "counts": [1] * 40}, "same_slice": 0.75}),
        draw_group_sizes({"group_sizes": {"1": 3}}),
        draw_fold_losses(rows, loss="cross_entropy"),
    ]
    smallest_pt = 8
    assert all(smallest_pt * PHONE_PX / (72 * figure.get_figwidth()) > 7.5 for figure in figures)
