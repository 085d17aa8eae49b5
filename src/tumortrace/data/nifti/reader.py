"""NIfTI-1 and NIfTI-2 files as volumes.

Slices lie in the acquisition plane and are turned as a radiologist sees them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tumortrace.data.findings import Finding, warning
from tumortrace.data.nifti.geometry import (
    add_depth,
    arrange,
    measure_step,
    place,
    positions_of,
    read_affine,
    read_sides,
)
from tumortrace.data.nifti.header import (
    in_words,
    pair,
    read_header,
    read_offset,
    read_scaling,
    read_shape,
    read_type,
)
from tumortrace.data.nifti.stream import MOST_FOLD, is_gzip
from tumortrace.data.nifti.voxels import NiftiReader, label_map
from tumortrace.data.samples import Header, check_header
from tumortrace.data.volume import SliceSource, Volume, lps_to_ras
from tumortrace.errors import DataError

MOST_BYTES = 2**31
"""Largest volume that is read, in bytes of its voxels."""

LIKELY_BYTES = 2**28
"""Size that a packed volume may have whatever the size of its file; beyond, it may have that ``MOST_FOLD`` times."""

MOST_VOXELS = 2**29
"""Largest number of voxels: their mask, and the numbers of its lesions, are held whole."""

MOST_SLICES = 32_767
"""Largest number of slices: as many as NIfTI-1 can state."""

_LABEL_INTENT = 1002


def open_nifti(path: Path, *, name: str, file: str) -> Volume:
    """Open a NIfTI file: header, orientation and size; no voxel is read.

    Slices are cut across the slice axis that the header names; without one across the axis of fewest voxels or the
    thickest voxel side, where it is clear; and else across the body's axis (axial slices). The sform is used where its
    code is above 0, else the qform, else the orientation is unknown and taken as LAS. Of a 4D file the first volume is
    read.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file, or one of a ``.hdr`` and ``.img`` pair.
        name: Name of the volume.
        file: File or folder that the user named.

    Raises:
        DataError: No NIfTI file, a damaged or truncated one, or voxels that make no picture.
    """
    header_path, voxel_path = pair(path)
    header = read_header(header_path)
    if not voxel_path.is_file():
        raise DataError(f"{path}: {voxel_path.name} with its voxels is missing; put it beside the file")
    shape, count = read_shape(header, header_path)
    stored_type = read_type(header, header_path)
    offset = read_offset(header, header_path, single=voxel_path == header_path)
    _check_size(voxel_path, offset, math.prod(shape) * stored_type.itemsize, count)
    thick = shape[2] > 1 or bool(header["pixdim"][3])
    header = header if shape[2] > 1 else add_depth(header)
    affine, findings = read_affine(header, header_path)
    sides = read_sides(header, affine)
    grid = arrange(affine, sides, shape, slice_axis=header.get_dim_info()[2])
    slope, intercept, unscaled = read_scaling(header, header_path)
    columns, rows, slices = grid.axes
    _check_grid(header_path, (shape[rows], shape[columns]), shape[slices])
    findings += _warn(header, header_path, shape, count=count, known_sides=sides is not None)
    placed = None if affine is None else place(lps_to_ras(affine), grid, shape)
    step_mm = measure_step(placed) if placed is not None else (None if sides is None else sides[slices])
    return Volume(
        name=name,
        file=file,
        kind="nifti",
        reader=NiftiReader(voxel_path, offset, shape, stored_type, slope, intercept, *grid, count),
        sources=(SliceSource(path),) * shape[slices],
        size_hw=(shape[rows], shape[columns]),
        spacing_mm=None if sides is None else (sides[rows], sides[columns]),
        step_mm=step_mm if thick else None,
        affine=placed,
        positions_mm=None if placed is None else positions_of(placed, shape[slices]),
        findings=(*findings, *unscaled),
        stored_axes=grid.axes,
        stored_flips=grid.flips,
    )


def _warn(header: Any, path: Path, shape: tuple[int, ...], *, count: int, known_sides: bool) -> list[Finding]:  # noqa: ANN401
    """Return what the header says that a user should know: several volumes, a label map, no spacing."""
    findings = [_several(path, shape, count)] if count > 1 else []
    if int(header["intent_code"]) == _LABEL_INTENT:
        findings.append(label_map(path, "its intent is a label map"))
    if not known_sides:
        cause = f"voxel sides {in_words(header['pixdim'][1:4])}: the spacing is unknown"
        findings.append(warning("spacing-unknown", str(path), cause, "areas are not given in mm2"))
    return findings


def _check_grid(path: Path, size_hw: tuple[int, int], slices: int) -> None:
    if slices > MOST_SLICES:
        raise DataError(f"{path}: {slices:,} slices, more than the limit of {MOST_SLICES:,}; give a part of it")
    voxels = size_hw[0] * size_hw[1] * slices
    if voxels > MOST_VOXELS:
        raise DataError(f"{path}: {voxels:,} voxels, more than the limit of {MOST_VOXELS:,}; give a part of it")
    try:
        check_header(path, Header("a NIfTI file", (size_hw[1], size_hw[0])))
    except DataError as error:
        raise DataError(f"{path}: slices of {str(error).removeprefix(f'{path}: ')}") from None


def _check_size(path: Path, offset: int, volume: int, count: int) -> None:
    """Check the declared size before anything of it is allocated; a gzip file shows its size when it is unpacked."""
    if volume > MOST_BYTES:
        raise DataError(f"{path}: {volume:,} bytes of voxels, more than the limit of {MOST_BYTES:,}; give a part of it")
    held = path.stat().st_size
    if is_gzip(path) and volume > max(LIKELY_BYTES, MOST_FOLD * held):
        raise DataError(
            f"{path}: {volume:,} bytes of voxels packed in {held:,}, as no scan is; give the original, or "
            "save it unpacked"
        )
    needed = offset + volume * count
    if not is_gzip(path) and held < needed:
        raise DataError(f"{path}: truncated ({held:,} of {needed:,} bytes); copy it again from its source")


def _several(path: Path, shape: tuple[int, ...], count: int) -> Finding:
    size = " x ".join(map(str, shape))
    cause = f"{count} volumes of {size} voxels in one file; only the first is read"
    return warning("several-volumes", str(path), cause, "save the others as files of their own")
