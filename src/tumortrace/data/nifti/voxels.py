"""The voxels of a NIfTI volume, slice by slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, warning
from tumortrace.data.nifti.stream import MOST_FOLD, is_gzip, stamp, unpack
from tumortrace.data.slice import Slice, fill_gaps, rescale, slice_from_array
from tumortrace.stored_path import StoredPath
from tumortrace.wording import counted

LABELS = 16
"""Number of different whole numbers up to which a volume holds labels, not grey values."""


@dataclass(frozen=True)
class NiftiReader:
    """Decoder of the first volume of a NIfTI file.

    Attributes:
        path: File with the voxels: the ``.nii`` file, or the ``.img`` of a pair.
        offset: Place of the first voxel in the (uncompressed) file.
        shape: Stored shape of the first volume.
        stored_type: Stored type of a voxel, with its byte order.
        slope: Factor of the stored values; 1 without scaling.
        intercept: Summand of the stored values; 0 without scaling.
        axes: Stored axes of columns, rows and slices.
        flips: Whether columns, rows and slices run against their stored axes.
        volumes: Number of volumes in the file.
        is_mask: Whether it is read as a mask, which may be empty and then packs a thousandfold. Its NaN stay.
    """

    path: Path
    offset: int
    shape: tuple[int, int, int]
    stored_type: np.dtype[Any]
    slope: float
    intercept: float
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    volumes: int = 1
    is_mask: bool = False

    def read(self, index: int) -> Slice:
        """Decode one slice; see ``SliceReader``. Voxels that are no numbers become the darkest value."""
        name = f"{self.path}, slice {index + 1}"
        values = self._stored()[index]
        if values.dtype.names:
            return slice_from_array(np.stack([values[channel] for channel in "RGB"], axis=2), case_id=name)
        scaled = np.ascontiguousarray(self._scale(values))
        return Slice(scaled if self.is_mask else fill_gaps(scaled), name)

    def inspect(self) -> tuple[Finding, ...]:
        """Find voxels that are no numbers, and volumes of labels; see ``SliceReader``."""
        stored = self._stored()
        if stored.dtype.names:
            return (warning("nifti-colour", str(self.path), "colour voxels, read as grey", "give a grey volume"),)
        if stored.dtype.kind == "f":
            count = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in stored)
            cause = f"{count} of {stored.size} voxels are NaN or infinite and read as the darkest or brightest value"
            if count:
                return (warning("nifti-not-finite", str(self.path), cause, "check how the file was made"),)
        values: set[float] = set()
        for plane in stored:
            values.update(np.unique(plane).tolist())
            if len(values) > LABELS or not all(value == int(value) for value in values):
                return ()
        return (label_map(self.path, f"only {counted(len(values), 'different whole number')}"),)

    def _stored(self) -> NDArray[Any]:
        """The stored values, shape (slices, rows, columns); a view of the mapped or unpacked file."""
        if is_gzip(self.path):
            length = math.prod(self.shape) * self.stored_type.itemsize
            rest, fold = (self.volumes - 1) * length, None if self.is_mask else MOST_FOLD
            flat = unpack(self.path, stamp(self.path), self.offset, length, rest, fold)
            voxels = np.frombuffer(flat, self.stored_type).reshape(self.shape, order="F")
        else:
            voxels = self._map()
        ordered = np.transpose(voxels, self.axes[::-1])
        return np.asarray(ordered[tuple(slice(None, None, -1 if flip else None) for flip in self.flips[::-1])])

    def _map(self) -> NDArray[Any]:
        """The stored values of a file that is not compressed, in their stored shape."""
        if not isinstance(self.path, StoredPath):
            return np.memmap(self.path, self.stored_type, "r", self.offset, self.shape, order="F")
        flat = np.frombuffer(self.path.read_content(), self.stored_type, math.prod(self.shape), self.offset)
        return flat.reshape(self.shape, order="F")

    def _scale(self, values: NDArray[Any]) -> NDArray[Any]:
        native = values.astype(values.dtype.newbyteorder("="))
        if native.dtype.itemsize > 8:  # long double, which OpenCV and ONNX do not know
            native = native.astype(np.float64)
        return rescale(native, self.slope, self.intercept)


def label_map(path: Path, cause: str) -> Finding:
    """Return the finding that a volume holds labels."""
    return warning("label-map", str(path), f"{cause}: a label map, not an image", "give the image")
