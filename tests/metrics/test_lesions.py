from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.metrics.lesions import LesionCounts, count_lesions, label_lesions


def draw(text: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in line] for line in text.split()])


def test_each_lesion_counts_once():
    truth = draw("##..# ##... ....# .#..#")  # a block, one pixel, a bar, one pixel
    marks = draw("...## .#... ..... .#.#.")  # at the pixel, in the block, at the other pixel, beside the bar
    # Found: block, upper pixel, lower left pixel; not the bar. The fourth mark touches the bar at a corner only.
    assert count_lesions(marks, truth) == LesionCounts(4, 3, 4, 3)


def test_lesions_that_touch_at_a_corner_are_one():
    assert count_lesions(draw("#.. .#. ..."), draw("... ..# .#.")) == LesionCounts(1, 0, 1, 0)


def test_one_mark_over_two_lesions_finds_both():
    assert count_lesions(draw("#####"), draw("#...#")) == LesionCounts(2, 2, 1, 1)


def test_empty_and_full():
    empty, full = np.zeros((2, 3), dtype=np.bool_), np.ones((2, 3), dtype=np.bool_)
    assert count_lesions(empty, empty) == LesionCounts(0, 0, 0, 0)
    assert count_lesions(full, empty) == LesionCounts(0, 0, 1, 0)
    assert count_lesions(empty, full) == LesionCounts(1, 0, 0, 0)
    assert count_lesions(full, full) == LesionCounts(1, 1, 1, 1)


def test_lesions_are_numbered_with_their_boxes_and_areas():
    labelled = label_lesions(draw("....# .##.. .##.# ....#"))
    assert labelled.count == 3
    by_box = {
        tuple(box): (area, int((labelled.labels == label).sum()))
        for label, (box, area) in enumerate(
            zip(labelled.boxes_xywh.tolist(), labelled.areas_px.tolist(), strict=True), start=1
        )
    }
    assert by_box == {(4, 0, 1, 1): (1, 1), (1, 1, 2, 2): (4, 4), (4, 2, 1, 2): (2, 2)}
    assert (labelled.labels == 0).sum() == 13


def test_a_diagonal_is_one_lesion_and_nothing_is_none():
    labelled = label_lesions(draw("#... .#.. ..#."))
    assert (labelled.boxes_xywh.tolist(), labelled.areas_px.tolist()) == ([[0, 0, 3, 3]], [3])
    nothing = label_lesions(draw("... ..."))
    assert (nothing.count, nothing.labels.any(), nothing.boxes_xywh.shape) == (0, False, (0, 4))


def test_false_lesions_are_those_that_touch_no_tumour():
    counts = count_lesions(draw("#.#.# ..... ##..."), draw("#.... ..... .#..."))
    assert (counts.predicted_lesions, counts.right_lesions, counts.false_lesions) == (4, 2, 2)


def test_what_cannot_be_compared():
    mask = np.ones((2, 3), dtype=np.bool_)
    with pytest.raises(ValueError, match="bool"):
        count_lesions(mask.astype(np.uint8), mask)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        count_lesions(mask, mask.T)
