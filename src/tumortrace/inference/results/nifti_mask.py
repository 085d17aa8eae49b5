"""NIfTI masks in the geometry of the scan that they belong to.

nibabel comes with the extra ``formats``; only modules that need it import this one.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.nifti.header import pair
from tumortrace.data.nifti.stream import open_bytes
from tumortrace.data.volume import Affine, Volume, lps_to_ras
from tumortrace.inference.results.signed import sign_nifti

LABEL = "tumour"
"""Name of the voxels that are 1 (``intent_name``)."""

_PLACE = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
"""Fields of a NIfTI header that place its voxels; ``pixdim`` is the other one."""

_UNKNOWN, _SCANNER = 0, 1  # codes of what an affine leads to
_FAST = 1  # of zlib's levels: masks are nearly empty


def encode_nifti(mask: NDArray[np.bool_] | NDArray[np.uint8], volume: Volume) -> bytes:
    """Make a compressed NIfTI-1 file of a volume's mask: uint8, not rescaled, ``intent_name`` tumour.

    The mask of a NIfTI scan has the axes of its first three dimensions, both its affines and both their codes. The
    mask of a DICOM series has axes (column, row, slice), and the code "scanner" for each affine that can hold its
    geometry: none where its slices lie unevenly or nowhere, only the sform where the gantry was tilted.

    Args:
        mask: Shape (slices, rows, columns), bool, which becomes 0 and 1; or numbers of lesions, uint8, 0 elsewhere.
        volume: Volume that it belongs to.
    """
    voxels = np.ascontiguousarray(volume.to_stored(mask)).view(np.uint8)
    image = nib.Nifti1Image(voxels, None)
    if volume.kind == "nifti":
        _copy_place(image.header, _read_header(volume.sources[0].path))
    else:
        _set_place(image, volume)
    image.header.set_intent("label", name=LABEL)
    image.header.set_slope_inter(1, 0)
    return gzip.compress(sign_nifti(image.to_bytes()), _FAST, mtime=0)


def _read_header(path: Path) -> nib.Nifti1Header:
    """Read the header of a NIfTI file, or of the file beside its voxels, whatever its name says of compression."""
    with open_bytes(pair(path)[0]) as file:
        long = int.from_bytes(file.read(4), "little") in {540, int.from_bytes((540).to_bytes(4, "big"), "little")}
        file.seek(0)
        return (nib.Nifti2Header if long else nib.Nifti1Header).from_fileobj(file, check=False)


def _copy_place(header: nib.Nifti1Header, source: nib.Nifti1Header) -> None:
    for field in _PLACE:
        header[field] = source[field]
    header["pixdim"][:4] = source["pixdim"][:4]


def _set_place(image: nib.Nifti1Image, volume: Volume) -> None:
    image.header.set_xyzt_units("mm")
    if volume.affine is not None:
        affine = lps_to_ras(volume.affine)
        image.set_sform(affine, _SCANNER)
        image.set_qform(affine, _SCANNER if _is_rigid(affine) else _UNKNOWN)
    elif volume.spacing_mm is not None:
        rows_mm, columns_mm = volume.spacing_mm
        image.header.set_zooms((columns_mm, rows_mm, volume.step_mm or 1.0))


def _is_rigid(affine: Affine) -> bool:
    """Whether the axes of an affine stand at right angles, as a qform needs."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
