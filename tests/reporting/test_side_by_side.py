from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.evaluation.folder import ImageRow, StoredEvaluation, image_row
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.reporting.side_by_side import draw_side_by_side, same_images

MakeRow = Callable[..., ImageRow]


@pytest.fixture
def row(make_score: Callable[..., CaseScore]) -> MakeRow:
    """A row of an image that is clean and has a Dice of 0.5, unless keywords say otherwise."""
    return lambda file, **fields: replace(image_row(make_score(file, PixelCounts(1, 1, 1, 1))), **fields)


def stored(name: str, rows: Sequence[ImageRow]) -> StoredEvaluation:
    return StoredEvaluation(Path(name), name, tuple(rows), {})


def test_what_is_clean_for_every_model_is_compared_and_nothing_else(row: MakeRow):
    one = [row("a"), row("b"), row("c", clean=False), row("only here")]
    other = [row("b"), row("a", clean=False), row("c")]
    assert same_images([one, other]) == (["b"], "the same 1 image, clean for every model")


def test_where_no_image_is_clean_for_all_the_common_ones_are_compared(row: MakeRow):
    one = [row("a"), row("b"), row("c")]
    other = [row("a", clean=None), row("b", clean=None), row("c", sha256="changed")]
    assert same_images([one, other]) == (["a", "b"], "the same 2 images, not known to be clean for every model")


def test_the_chart_says_which_images_it_is_on(row: MakeRow):
    one, other = [row("a"), row("b"), row("c", dice=math.nan)], [row("b", dice=0.9), row("a"), row("d")]
    drawn = draw_side_by_side([stored("one", one), stored("other", other)])
    assert "All on the same 2 images, clean for every model." in drawn


def test_images_that_only_some_models_mark_are_counted(row: MakeRow):
    one = [row("a"), row("b", dice=0.0), row("c", dice=math.nan), row("e", dice=math.nan)]
    other = [row("a"), row("b", dice=math.nan), row("c", dice=math.nan)]
    drawn = draw_side_by_side([stored("one", one), stored("other", other)])
    assert "compare for that. 1 tumour-free image counts only for models that mark something on it" in drawn
    assert "tumour-free" not in draw_side_by_side([stored("one", one[:1]), stored("other", other[:1])])


def test_nothing_in_common_is_said(row: MakeRow):
    empty = [row("a", dice=math.nan)]
    for one, other, cause in (
        ([row("a")], [row("b")], "share no scored image"),
        (empty, empty, "have no Dice on the same 1 image, clean for every model"),
    ):
        text = draw_side_by_side([stored("one", one), stored("other", other)])
        assert f"These evaluations {cause}, so they cannot be set side by side." in text
        assert "<figure" not in text
