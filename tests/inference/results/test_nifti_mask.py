"""NIfTI masks of DICOM series: how their header places them, where it can."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume, lps_to_ras
from tumortrace.inference.results.nifti_mask import encode_nifti

MASK = np.zeros((2, 3, 4), dtype=np.bool_)
MASK[1, 2, 0] = True

TILTED = np.array([[1.2, 0, 0, -10], [0, 0.5, 0.8, 5], [0, 0, 3.0, 7], [0, 0, 0, 1.0]])
"""Each slice lies 0.8 mm further down its own plane than the one before it."""


class NoReader:
    """A reader that is never asked: a mask needs no pixels."""

    def read(self, index: int) -> Slice:
        raise AssertionError(index)

    def inspect(self) -> tuple[()]:
        return ()


@pytest.fixture
def volume() -> Volume:
    sources = tuple(SliceSource(Path(f"{number}.dcm"), 1) for number in range(2))
    return Volume("scan", "scan", "dicom", NoReader(), sources, (3, 4), spacing_mm=(0.5, 1.2))


def encode(volume: Volume) -> Any:  # noqa: ANN401 - an image of nibabel
    return nib.Nifti1Image.from_bytes(gzip.decompress(encode_nifti(MASK, volume)))


def codes(image: Any) -> tuple[int, int]:  # noqa: ANN401 - an image of nibabel
    return int(image.header["qform_code"]), int(image.header["sform_code"])


def test_a_tilted_gantry_has_an_sform_alone(volume: Volume):
    """A qform has axes at right angles: it would place every slice but the first elsewhere."""
    image = encode(replace(volume, affine=TILTED, step_mm=3.0))
    assert codes(image) == (0, 1)
    assert np.allclose(image.get_sform(), lps_to_ras(TILTED))
    upright = TILTED.copy()
    upright[1, 2] = 0
    assert codes(encode(replace(volume, affine=upright, step_mm=3.0))) == (1, 1)


def test_uneven_slices_have_spacings_and_no_form(volume: Volume):
    image = encode(volume)
    assert codes(image) == (0, 0)
    assert image.header.get_zooms() == pytest.approx((1.2, 0.5, 1.0))
    assert encode(replace(volume, step_mm=3.0)).header.get_zooms() == pytest.approx((1.2, 0.5, 3.0))
    assert encode(replace(volume, spacing_mm=None)).header.get_zooms() == (1.0, 1.0, 1.0)


def test_lengths_are_in_millimetres_and_axes_are_column_row_slice(volume: Volume):
    image = encode(volume)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.argwhere(np.asarray(image.dataobj)).tolist() == [[0, 2, 1]]
