from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.slice import Slice
from tumortrace.reporting import copy_pictures
from tumortrace.reporting.copy_pictures import draw_pair

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


@pytest.mark.parametrize("offset", [0.0, -0.5])
def test_slices_with_fractions_and_negative_values_are_drawn_alike(
    draw_head: DrawHead, write_case: WriteCase, monkeypatch: pytest.MonkeyPatch, offset: float
):
    head = draw_head(1)
    survey = survey_cases([write_case("a", head), write_case("b", head[:, ::-1])])
    pictures = {"a.png": head, "b.png": head[:, ::-1]}
    drawn: list[NDArray[np.uint8]] = []

    def draw(grey: NDArray[np.uint8], _outlines: object) -> NDArray[np.uint8]:
        drawn.append(grey)
        return np.zeros((4, 4, 3), np.uint8)

    def read(record: CaseRecord) -> Slice:
        return Slice(pictures[record.case_id] / np.float32(255) + np.float32(offset), record.case_id)

    monkeypatch.setattr(copy_pictures, "read_image", read)
    monkeypatch.setattr(copy_pictures, "draw_outlines", draw)
    (pair,) = survey.pairs
    assert "mirrored left-right" in draw_pair(survey, pair)
    first, laid = (each.astype(float) for each in drawn)
    assert first.std() > 30
    inside = (slice(5, -5), slice(5, -5))  # where the second reaches
    assert np.corrcoef(first[inside].ravel(), laid[inside].ravel())[0, 1] > 0.98
    assert np.abs(first - laid)[inside].mean() < 6


def test_equal_copies_look_the_same(draw_head: DrawHead, write_case: WriteCase):
    head = draw_head(1)
    survey = survey_cases([write_case("a", head), write_case("b", head)])
    (pair,) = survey.pairs
    assert "; the two look the same" in draw_pair(survey, pair)
