from __future__ import annotations

import numpy as np

from tumortrace.reporting.error_map import LEGEND, compare_masks

WHITE, BLACK, BLUE, ORANGE = [255, 255, 255], [0, 0, 0], [0, 90, 255], [255, 140, 0]


def test_all_four_outcomes_by_hand():
    truth = np.array([[True, True], [False, False]])
    prediction = np.array([[True, False], [True, False]])
    colours = compare_masks(prediction, truth)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [[WHITE, BLUE], [ORANGE, BLACK]]  # found, missed; marked, left


def test_shape_follows_the_masks():
    truth = np.zeros((2, 3), dtype=bool)
    truth[0, 2] = True
    colours = compare_masks(truth, truth)
    assert colours.shape == (2, 3, 3)
    assert colours[0, 2].tolist() == WHITE
    assert (colours.sum(axis=2) > 0).sum() == 1


def test_the_legend_names_the_colours_of_the_picture():
    assert [(label, list(rgb)) for label, rgb in LEGEND] == [
        ("white: tumour, found (TP)", WHITE),
        ("blue: tumour, missed (FN)", BLUE),
        ("orange: no tumour, marked (FP)", ORANGE),
        ("black: no tumour, left (TN)", BLACK),
    ]
