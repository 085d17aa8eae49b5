"""Volumes: reading of single slices, their places, and the way back to the stored axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume, lps_to_ras
from tumortrace.errors import DataError


@dataclass(frozen=True)
class ArrayReader:
    """A reader of an array (slices, rows, columns)."""

    stack: np.ndarray

    def read(self, index: int) -> Slice:
        return Slice(self.stack[index], f"slice {index + 1}")

    def inspect(self) -> tuple:
        return ()


def make_volume(stack: np.ndarray, **changes: object) -> Volume:
    volume = Volume("a", "a.nii", "nifti", ArrayReader(stack), (SliceSource(Path("a.nii")),) * len(stack), (2, 3))
    return replace(volume, **changes)


def test_a_slice_comes_with_spacing_index_and_place():
    stack = np.arange(24).reshape(4, 2, 3)
    volume = make_volume(
        stack, spacing_mm=(0.5, 1.2), step_mm=3.0, positions_mm=np.array([[0, 0, 3.0 * k] for k in range(4)])
    )
    image = volume.read(2)
    assert (image.spacing_mm, image.index, image.position_mm) == ((0.5, 1.2), 2, (0.0, 0.0, 6.0))
    assert np.array_equal(image.pixels, stack[2])
    assert len(volume) == 4
    assert volume.voxel_mm3 == pytest.approx(0.5 * 1.2 * 3.0)


@pytest.mark.parametrize("unknown", [{"spacing_mm": None}, {"step_mm": None}])
def test_a_voxel_has_no_volume_where_a_side_is_unknown(unknown):
    known = {"spacing_mm": (1.0, 1.0), "step_mm": 1.0}
    assert make_volume(np.zeros((1, 2, 3)), **(known | unknown)).voxel_mm3 is None


def test_a_sheared_voxel_has_the_volume_of_its_corners():
    """Columns lean 3 mm along rows: a parallelogram of 4 x 2 mm, 5 mm apart."""
    affine = np.array([[4.0, 3, 0, 0], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    volume = make_volume(np.zeros((2, 2, 3)), spacing_mm=(np.hypot(3, 2), 4.0), step_mm=5.0, affine=affine)
    assert volume.voxel_mm3 == pytest.approx(40.0)


def test_a_slice_of_another_size_than_the_header_says_is_refused():
    with pytest.raises(DataError, match=r"slice 1: decoded to 2 x 3 pixels \(rows x columns\), the header says 3 x 2"):
        make_volume(np.zeros((1, 2, 3)), size_hw=(3, 2)).read(0)


def test_the_way_back_to_the_stored_axes():
    stack = np.arange(24).reshape(4, 2, 3)  # 4 slices of 2 rows and 3 columns
    plain = make_volume(stack).to_stored(stack)
    assert plain.shape == (3, 2, 4)
    assert plain[2, 1, 3] == stack[3, 1, 2]
    turned = make_volume(stack, stored_axes=(2, 0, 1), stored_flips=(False, True, False)).to_stored(stack)
    assert turned.shape == (2, 4, 3)  # rows, slices, columns
    assert turned[0, 3, 2] == stack[3, 1, 2]  # rows run backwards


@given(st.permutations([0, 1, 2]), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_what_is_cut_from_a_stored_array_goes_back_into_it(axes, flips):
    stored = np.arange(24).reshape(2, 3, 4)
    cut = np.transpose(stored, axes[::-1])[tuple(slice(None, None, -1 if flip else 1) for flip in flips[::-1])]
    assert np.array_equal(make_volume(cut, stored_axes=tuple(axes), stored_flips=flips).to_stored(cut), stored)


def test_ras_counts_x_and_y_the_other_way():
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    assert np.array_equal(lps_to_ras(affine)[:3, 3], [-5, -6, 7])
    assert np.array_equal(lps_to_ras(lps_to_ras(affine)), affine)
