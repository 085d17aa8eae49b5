"""Prompts as programs give them: checked, cut to the slice, and refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.errors import DataError
from tumortrace.inference.prompts.prompt import MOST_CLICKS, Prompt, describe_prompts, read_prompt

SIZE_HW = (40, 60)


def read(box: object, points: object = None, labels: object = None) -> Prompt:
    return read_prompt(box, points, labels, size_hw=SIZE_HW, name="x.png")


def test_a_box_may_be_drawn_from_any_corner():
    assert read((30, 5, 10, 25)).box_xyxy == read(np.array([10, 25, 30, 5])).box_xyxy == (10.0, 5.0, 30.0, 25.0)


def test_what_lies_outside_of_the_slice_is_cut_off():
    assert read([-5, 30, 70.5, 90]).box_xyxy == (0.0, 30.0, 60.0, 40.0)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, 10, 20), "is 0 x 10 pixels"),
        ((10, 10, 10.5, 20), "is 0.5 x 10 pixels"),
        ((70, 10, 80, 20), "lies outside of the picture of 60 x 40 pixels"),
        ((-9, -9, 0, 0), "lies outside of the picture"),
        ((1, 2, 3), "give four numbers"),
        ((1, 2, float("nan"), 4), "give four numbers"),
        ("10,10,20,20", "give four numbers"),
        (None, "give four numbers"),
    ],
)
def test_a_box_that_shows_nothing_is_refused_in_one_line(box: object, message: str):
    with pytest.raises(DataError, match=message) as raised:
        read(box)
    assert str(raised.value).startswith("x.png: ")
    assert "\n" not in str(raised.value)


def test_points_mark_tumour_unless_their_labels_say_otherwise():
    assert read((0, 0, 9, 9), [(1, 2), (3, 4)]).labels == (True, True)
    prompt = read((0, 0, 9, 9), np.array([[1, 2], [3, 4]]), np.array([1, 0]))
    assert prompt.clicks == (((1.0, 2.0), True), ((3.0, 4.0), False))


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        ([(60, 3)], None, "the point 60 3 lies outside"),
        ([(1, -0.6)], None, "lies outside"),
        ([(1, 2, 3)], None, "give pairs of numbers"),
        ([(1, 2)], [1, 0], "1 point and 2 labels"),
        ([(1, 2)], [2], "label 2; give 1"),
        ([(1, 2)] * (MOST_CLICKS + 1), None, f"give at most {MOST_CLICKS}"),
    ],
)
def test_points_that_cannot_be_used_are_refused_in_one_line(points: object, labels: object, message: str):
    with pytest.raises(DataError, match=message):
        read((0, 0, 9, 9), points, labels)


def test_prompts_are_described_as_json_and_an_automatic_mask_as_none():
    assert describe_prompts(()) is None
    assert describe_prompts([Prompt((1.0, 2.0, 3.0, 4.0), ((5.0, 6.0),), (False,))]) == [
        {"box_xyxy": [1.0, 2.0, 3.0, 4.0], "points_xy": [[5.0, 6.0]], "labels": [0]}
    ]
