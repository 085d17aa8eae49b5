from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.data.volume import Volume
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.volume_predict import SliceResult, combine_slices, describe_rejection, to_levels
from tumortrace.inference.volumes import link_lesions, vote_on_lesions


def stack_of(*slices: str) -> NDArray[np.bool_]:
    """Slices as text, rows parted by slashes: ``"x../..x"``."""
    return np.array([[[pixel == "x" for pixel in row] for row in one.split("/")] for one in slices])


def test_pixels_that_touch_across_slices_are_one_lesion():
    # The first lesion moves by a corner from slice to slice; the second stands apart on the last.
    labels, count = link_lesions(stack_of("x.../..../....", ".x../..../....", "..../..x./....", "...x/..../x..."))
    assert count == 2
    assert labels[0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert labels[3].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [2, 0, 0, 0]]


def test_two_branches_that_meet_later_are_one_lesion():
    labels, count = link_lesions(stack_of("x...x", "x...x", "xxxxx"))
    assert count == 1
    assert set(labels[0].ravel().tolist()) == {0, 1}


def test_a_gap_of_one_slice_or_one_pixel_parts_lesions():
    assert link_lesions(stack_of("x..", "...", "x.."))[1] == 2
    assert link_lesions(stack_of("x....", "..x.."))[1] == 2


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 3, 4), (3, 1, 1)])
def test_empty_stacks_have_no_lesion(shape: tuple[int, ...]):
    masks = np.zeros(shape, dtype=np.bool_)
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=1.0)
    assert dropped == 0
    assert kept.shape == shape
    assert not kept.any()


def test_a_lesion_on_one_slice_of_a_thin_sliced_series_is_dropped():
    masks = stack_of("....", "xx..", "....", "...x", "...x", "....")  # 2.5 mm, and 5 mm
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=2.5)
    assert dropped == 1
    assert kept.tolist() == stack_of("....", "....", "....", "...x", "...x", "....").tolist()


def test_a_distance_that_a_header_rounds_drops_nothing_more():
    # An affine of 32 bits makes 0.99999994 mm of 1 mm; three slices are too thin, four are not.
    masks = stack_of("...", "x..", "x..", "x..", "x..", "...", "..x", "..x", "..x", "...")
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=0.99999994)
    assert (dropped, int(kept.sum())) == (1, 4)


@pytest.mark.parametrize(("slice_distance_mm", "dropped"), [(1.0, 1), (3.9, 1), (4.0, 0), (None, 0)])
def test_thick_slices_and_unknown_distances_drop_nothing(slice_distance_mm: float | None, dropped: int):
    masks = stack_of("...", ".x.", "...")
    kept, count = vote_on_lesions(masks, slice_distance_mm=slice_distance_mm)
    assert (count, int(kept.sum())) == (dropped, 1 - dropped)


@pytest.mark.parametrize("slices", [("x", ".", "."), (".", ".", "x"), ("x",)])
def test_a_lesion_at_the_end_of_a_series_may_go_on_beyond_it(slices: tuple[str, ...]):
    masks = stack_of(*slices)
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=1.0)
    assert dropped == 0
    assert np.array_equal(kept, masks)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))))
def test_every_pixel_belongs_to_one_lesion_whichever_way_the_stack_is_read(masks: NDArray[np.bool_]):
    labels, count = link_lesions(masks)
    assert np.array_equal(labels > 0, masks)
    assert set(labels[masks].tolist()) == set(range(1, count + 1))
    assert link_lesions(masks[::-1])[1] == count
    assert link_lesions(masks.transpose(1, 0, 2))[1] == count
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=1.0)
    assert not (kept & ~masks).any()
    assert link_lesions(kept)[1] == count - dropped


def test_a_lesion_beside_a_slice_that_was_not_segmented_is_not_dropped():
    masks = stack_of("...", "...", ".x.", "...", "...")
    for judged, dropped in (
        (None, 1),
        ([True] * 5, 1),
        ([True, False, True, True, True], 0),
        ([True, True, True, False, True], 0),
        ([False, True, True, True, False], 1),
    ):
        kept, count = vote_on_lesions(masks, slice_distance_mm=1.0, judged=judged)
        assert (count, int(kept.sum())) == (dropped, 1 - dropped)


def test_the_most_frequent_reason_of_a_rejected_volume_stands_with_its_number():
    def slice_of(reason: str, *, rejected: bool = True) -> SliceResult:
        return SliceResult(
            0, np.zeros((2, 3), dtype=np.bool_), np.empty(0, np.float32), reasons=(reason,), rejected=rejected
        )

    mixed = [
        slice_of("noise"),
        slice_of("air"),
        slice_of("air"),
        slice_of("bone"),
        slice_of("tiny mask", rejected=False),
    ]
    assert describe_rejection(mixed) == "4 of 5 slices rejected, 2 of them: air"
    assert describe_rejection(mixed[1:3]) == "2 of 2 slices rejected: air"
    assert describe_rejection(mixed[:1]) == "1 of 1 slice rejected: noise"


class NoReader:
    """Reads nothing: the results of the slices are given."""

    def read(self, index: int) -> Slice:
        raise AssertionError(index)

    def inspect(self) -> tuple[()]:
        return ()


def results_of(masks: NDArray[np.bool_], *, spacing_mm: tuple[float, float] | None = None) -> list[SliceResult]:
    return [
        SliceResult(
            index,
            mask,
            np.ones(mask.sum(), np.float32),
            lesions=find_lesions(mask, mask.astype(np.float32), spacing_mm=spacing_mm),
        )
        for index, mask in enumerate(masks)
    ]


def volume_of(masks: NDArray[np.bool_], *, spacing_mm: tuple[float, float] | None = None) -> Volume:
    return Volume("v", "v.nii", "nifti", NoReader(), (), masks.shape[1:], spacing_mm=spacing_mm, step_mm=None)


def test_the_lesions_of_a_volume_are_numbered_from_the_largest_to_the_smallest():
    masks = stack_of("xx...../....xxx", "......./....x..", "x....../.......")  # of 2, 4 and 1 voxels
    prediction = combine_slices(volume_of(masks), results_of(masks))
    assert [lesion.voxels for lesion in prediction.lesions] == [4, 2, 1]
    assert [(lesion.first_slice, lesion.last_slice) for lesion in prediction.lesions] == [(0, 1), (0, 0), (2, 2)]
    assert prediction.labels[0].tolist() == [[2, 2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert prediction.labels[1:].sum(axis=(1, 2)).tolist() == [1, 3]


def test_the_largest_diameter_is_unknown_without_spacing_and_zero_without_lesions():
    masks = stack_of("x../...", ".../xx.")
    spacing_mm = (30.0, 20.0)  # 60 x 60 mm
    for some, expected in ((masks, pytest.approx(50.0)), (np.zeros_like(masks), 0.0)):  # 2 x 20 mm and 30 mm
        known = combine_slices(volume_of(some, spacing_mm=spacing_mm), results_of(some, spacing_mm=spacing_mm))
        assert known.largest_diameter_mm == expected
    assert combine_slices(volume_of(masks), results_of(masks)).largest_diameter_mm is None


def test_only_slices_with_tumour_and_a_reason_are_to_be_reviewed():
    masks = stack_of("x..", ".x.", "...")
    sure, doubtful, empty = results_of(masks)
    reasons = ("low confidence (0.40)",)
    slices = [sure, replace(doubtful, reasons=reasons), replace(empty, reasons=reasons)]
    assert combine_slices(volume_of(masks), slices).reasons == ("1 slice with tumour is to be reviewed",)
    assert combine_slices(volume_of(masks), [sure, doubtful, empty]).reasons == ()


def test_probabilities_are_kept_in_the_nearest_255ths():
    assert to_levels(np.array([[0.0, 0.0021, 0.999, 1.0]], np.float32)).tolist() == [[0, 1, 255, 255]]
