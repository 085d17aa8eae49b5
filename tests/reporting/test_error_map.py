from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.reporting.error_map import (
    PAPER_LEGEND,
    SAFE_LEGEND,
    compare_masks,
    compare_on_slice,
    split_comparison,
)

PREDICTION = np.array([[True, True, False], [False, False, False]])
TRUTH = np.array([[True, False, True], [False, False, False]])
GREY = np.array([[200, 100, 40], [0, 255, 10]], dtype=np.uint8)


def colours_of(picture: NDArray[np.uint8]) -> list[list[tuple[int, int, int]]]:
    return [[tuple(pixel) for pixel in row] for row in picture.tolist()]


@pytest.mark.parametrize(("colours", "legend"), [("safe", SAFE_LEGEND), ("paper", PAPER_LEGEND)])
def test_all_four_outcomes_by_hand(colours: str, legend: tuple[tuple[str, tuple[int, int, int]], ...]):
    picture = compare_masks(PREDICTION, TRUTH, colours=colours)  # type: ignore[arg-type]
    found, missed, marked = (rgb for _, rgb in legend[:3])
    assert picture.dtype == np.uint8
    assert colours_of(picture) == [[found, marked, missed], [(0, 0, 0)] * 3]


def test_the_colours_of_the_student_paper():
    assert PAPER_LEGEND == (
        ("white: tumour, found (TP)", (255, 255, 255)),
        ("blue: tumour, missed (FN)", (0, 90, 255)),
        ("orange: no tumour, marked (FP)", (255, 140, 0)),
        ("black: neither (TN)", (0, 0, 0)),
    )


def test_a_comparison_gives_back_what_it_was_made_of():
    prediction, truth = split_comparison(compare_masks(PREDICTION, TRUTH))
    assert np.array_equal(prediction, PREDICTION)
    assert np.array_equal(truth, TRUTH)


def test_safe_colours_lie_on_the_darkened_slice_and_those_of_the_paper_on_black():
    found, missed, marked = (rgb for _, rgb in SAFE_LEGEND[:3])
    picture = compare_on_slice(GREY, PREDICTION, TRUTH)
    assert colours_of(picture) == [[found, marked, missed], [(0, 0, 0), (140, 140, 140), (5, 5, 5)]]
    assert np.array_equal(
        compare_on_slice(GREY, PREDICTION, TRUTH, colours="paper"), compare_masks(PREDICTION, TRUTH, colours="paper")
    )


def test_safe_colours_are_apart_in_grey_print():
    grey = sorted(0.299 * r + 0.587 * g + 0.114 * b for _, (r, g, b) in SAFE_LEGEND[:3])
    assert grey[1] - grey[0] > 40
    assert grey[2] - grey[1] > 80
