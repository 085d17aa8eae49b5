"""A generated scan, so that the page can be tried without data."""

from __future__ import annotations

import gzip
from functools import cache

import numpy as np

from tumortrace.errors import require_extra
from tumortrace.phantoms.series import PhantomSeries, draw_series

SAMPLE_NAME = "sample.nii.gz"

_SEED, _SLICES, _SIZE_HW = 0, 24, (256, 216)
_ACROSS_SLICES = 2  # axis of the array along which slices follow each other


@cache
def encode_sample() -> bytes:
    """Make a compressed NIfTI file of a generated series with a tumour.

    Raises:
        TumortraceError: The library for NIfTI is not installed.
    """
    require_extra("formats", purpose="make the sample")
    return encode_series(draw_series(seed=_SEED, slices=_SLICES, size_hw=_SIZE_HW))


def encode_series(series: PhantomSeries) -> bytes:
    """Make a compressed NIfTI file of a generated series: axial slices, uint8, with a place in space."""
    import nibabel as nib

    rows_mm, columns_mm = series.spacing_mm
    # Columns run to the patient's left and rows to the back, as a radiologist looks at a slice: against both axes.
    affine = np.diag([-columns_mm, -rows_mm, series.step_mm, 1.0])
    image = nib.Nifti1Image(np.ascontiguousarray(series.pixels.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.header.set_dim_info(slice=_ACROSS_SLICES)
    return gzip.compress(image.to_bytes(), mtime=0)
