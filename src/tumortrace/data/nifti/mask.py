"""NIfTI masks as truth: whole numbers on the grid of a scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.nifti.stream import stamp
from tumortrace.data.nifti.voxels import NiftiReader
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError

APART = 0.1
"""Largest distance, in voxels, between a voxel of the mask and that of the scan in the same place."""


@dataclass(frozen=True)
class NiftiMask:
    """Truth of a volume in a NIfTI file; see ``VolumeMask``.

    Attributes:
        path: The file, for messages.
        reader: Decoder that gives the slices of the mask in the order and direction of the volume's.
        labels: Values that count as tumour; None for all but 0.
    """

    path: Path
    reader: NiftiReader
    labels: frozenset[int] | None = None

    def read(self, index: int) -> NDArray[np.bool_]:
        """Return the mask of one slice, shape (H, W)."""
        values = _read_labels(self.reader, stamp(self.reader.path))[index]
        return np.asarray(values > 0 if self.labels is None else np.isin(values, list(self.labels)))

    def choose(self, labels: frozenset[int]) -> NiftiMask:
        """Return the mask of some values alone."""
        return replace(self, labels=labels)

    def count_labels(self) -> dict[int, int]:
        """Return the number of voxels of each value but 0.

        Raises:
            DataError: The file is damaged, or its values are no labels.
        """
        values, counts = np.unique(_read_labels(self.reader, stamp(self.reader.path)), return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}


def fit_nifti_mask(mask: Volume, volume: Volume) -> NiftiMask:
    """Lay a NIfTI mask on a scan whose voxels it labels one by one.

    The mask may be stored in another order and direction of axes. It is never resampled.

    Args:
        mask: The mask, as ``open_nifti`` opens it.
        volume: The scan, DICOM or NIfTI.

    Raises:
        DataError: The mask lies elsewhere, has voxels of another size or number, has several volumes, or does not say
            where it lies; the message says which.
    """
    reader = mask.reader
    assert isinstance(reader, NiftiReader)  # noqa: S101 - that of all volumes from open_nifti
    if reader.volumes > 1:  # a volume for each label, of which the first may be the background
        cause = f"a mask of {reader.volumes} volumes, of which only one could be read"
        raise DataError(f"{reader.path}: {cause}; save it as one volume of labels")
    if mask.affine is None and volume.affine is None and volume.kind == "nifti":  # both as stored
        fitted = replace(reader, axes=volume.stored_axes, flips=volume.stored_flips, is_mask=True)
        _check_shape(mask, volume, tuple(mask.stored_axes.index(axis) for axis in volume.stored_axes))
        return NiftiMask(mask.sources[0].path, fitted)
    axes, flips = _match_axes(mask, volume)
    columns, rows, slices = (mask.stored_axes[axis] for axis in axes)
    ends = [mask.stored_flips[axis] != flip for axis, flip in zip(axes, flips, strict=True)]
    fitted = replace(reader, axes=(columns, rows, slices), flips=(ends[0], ends[1], ends[2]), is_mask=True)
    return NiftiMask(mask.sources[0].path, fitted)


def _match_axes(mask: Volume, volume: Volume) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Axes of the mask (0 columns, 1 rows, 2 slices) along those of the volume, and whether they run backwards."""
    path = mask.sources[0].path
    if mask.affine is None or volume.affine is None:
        which = "it" if mask.affine is None else f"its scan {volume.name}"
        raise DataError(f"{path}: {which} does not say where its voxels lie; save scan and mask with one geometry")
    steps = np.asarray(np.linalg.solve(mask.affine, volume.affine), dtype=np.float64)
    axes = tuple(int(axis) for axis in np.abs(steps[:3, :3]).argmax(axis=0))
    if sorted(axes) != [0, 1, 2]:
        raise DataError(f"{path}: its axes are turned against those of {volume.name}; resample it onto the scan")
    _check_shape(mask, volume, axes)
    flips = tuple(bool(steps[axis, at] < 0) for at, axis in enumerate(axes))
    _check_place(mask, volume, steps, axes, flips)
    return axes, flips


def _check_shape(mask: Volume, volume: Volume, axes: tuple[int, ...]) -> None:
    sides = _sides(mask)
    if tuple(sides[axis] for axis in axes) != _sides(volume):
        found, wanted = (" x ".join(map(str, _sides(each))) for each in (mask, volume))
        raise DataError(
            f"{mask.sources[0].path}: {found} voxels (columns, rows, slices), and {volume.name} has {wanted}; draw the "
            "mask on this scan, or resample it onto it"
        )


def _check_place(
    mask: Volume, volume: Volume, steps: NDArray[np.float64], axes: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    """Compare where both put the corners of the volume, in voxels of the mask."""
    last = np.array(_sides(volume)) - 1
    corners = np.array([(i, j, k) for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])], dtype=np.float64)
    expected = np.zeros_like(corners)
    for at, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        expected[:, axis] = last[at] - corners[:, at] if flip else corners[:, at]
    offsets = corners @ steps[:3, :3].T + steps[:3, 3] - expected
    if np.abs(offsets).max() > APART:
        assert mask.affine is not None  # noqa: S101 - else refused
        apart_mm = float(np.linalg.norm(offsets @ mask.affine[:3, :3].T, axis=1).max())
        raise DataError(
            f"{mask.sources[0].path}: lies up to {apart_mm:.3g} mm away from {volume.name}; save it with the scan's "
            "affine, or resample it onto the scan"
        )


def _sides(volume: Volume) -> tuple[int, int, int]:
    """Numbers of columns, rows and slices."""
    return volume.size_hw[1], volume.size_hw[0], len(volume)


@lru_cache(maxsize=2)
def _read_labels(reader: NiftiReader, _version: tuple[int, int]) -> NDArray[np.unsignedinteger[Any]]:
    """All labels, shape (slices, rows, columns), in as few bytes as they need; those of the last masks are kept."""
    columns, rows, slices = (reader.shape[axis] for axis in reader.axes)
    labels = np.zeros((slices, rows, columns), dtype=np.uint16)
    for index in range(slices):
        values = reader.read(index).pixels
        if not np.isfinite(values).all():
            raise DataError(
                f"{reader.path}: NaN or infinity, which are no labels; save the mask as whole numbers from 0"
            )
        whole = np.rint(values)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max or np.abs(values - whole).max() > 1e-3:
            odd = float(values.flat[int(np.abs(values - whole).argmax())])
            cause = f"values such as {odd:g}" if odd != round(odd) else f"values from {values.min()} to {values.max()}"
            raise DataError(f"{reader.path}: {cause}, which are no labels; save the mask as whole numbers from 0")
        labels[index] = whole
    return labels.astype(np.uint8) if labels.max(initial=0) < 256 else labels
