"""A volume: the slices of one scan in their order, with their place in space.

Positions are in DICOM's patient coordinates (LPS), in millimetres: x grows to the patient's left, y to the back, z to
the head. NIfTI counts x and y the other way (RAS); ``lps_to_ras`` turns one into the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError

Affine = NDArray[np.float64]
"""Matrix (4, 4) that turns an index (column, row, slice, 1) into a place (x, y, z, 1)."""

AXES = (0, 1, 2)
UNFLIPPED = (False, False, False)


@dataclass(frozen=True)
class SliceSource:
    """The place that one slice is stored in.

    Attributes:
        path: File that holds it.
        frame: Number of its frame in a DICOM file, counted from 1; None for NIfTI.
    """

    path: Path
    frame: int | None = None


class SliceReader(Protocol):
    """Decoder of one volume. It may be pickled, and used from several threads."""

    def read(self, index: int) -> Slice:
        """Decode one slice; ``DataError`` if it is damaged."""

    def inspect(self) -> tuple[Finding, ...]:
        """Return findings that need the pixels; ``DataError`` if none of them can be read."""


class VolumeMask(Protocol):
    """Truth of a volume, slice by slice. It may be pickled, and used from several threads."""

    @property
    def path(self) -> Path:
        """File that holds it."""

    def read(self, index: int) -> NDArray[np.bool_]:
        """Return the mask of one slice of the volume, shape (H, W), bool; ``DataError`` if it is damaged."""

    def choose(self, labels: frozenset[int]) -> VolumeMask:
        """Return the same mask of some labels alone, by their values or segment numbers."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one scan in the order of their places. Pixels are read one slice at a time, on demand.

    Attributes:
        name: Name for its results, unique among the volumes opened together, with forward slashes and no suffix.
        file: File or folder that it was read from, as given.
        kind: Format of its files.
        reader: Decoder of its slices.
        sources: Place of each slice, in the order of the slices.
        size_hw: Height and width of each slice in pixels.
        spacing_mm: Distance between pixel centres along rows and columns (axis 0, axis 1); None if unknown.
        step_mm: Distance between the planes of neighbouring slices; None if unknown or uneven. For a single slice, its
            thickness.
        affine: Index (column, row, slice) to place in LPS coordinates, shape (4, 4), float64, in millimetres. A tilted
            gantry makes its axes oblique. None if unknown, or if no matrix fits because slices lie unevenly.
        positions_mm: Place of each slice's first pixel in LPS coordinates, shape (slices, 3), float64; None if unknown.
        series_uid: SeriesInstanceUID of a DICOM series; None otherwise.
        modality: Modality as DICOM abbreviates it, such as ``"MR"``; None if the files do not say.
        findings: Warnings: uneven steps, tilt, repeated places, another modality and the like.
        stored_axes: Axes of the stored voxel array along which columns, rows and slices run; (0, 1, 2) for DICOM.
        stored_flips: Whether columns, rows and slices run against their stored axes.
    """

    name: str
    file: str
    kind: Literal["dicom", "nifti"]
    reader: SliceReader
    sources: tuple[SliceSource, ...]
    size_hw: tuple[int, int]
    spacing_mm: tuple[float, float] | None = None
    step_mm: float | None = None
    affine: Affine | None = None
    positions_mm: NDArray[np.float64] | None = None
    series_uid: str | None = None
    modality: str | None = None
    findings: tuple[Finding, ...] = ()
    stored_axes: tuple[int, int, int] = AXES
    stored_flips: tuple[bool, bool, bool] = UNFLIPPED

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.sources)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel in cubic millimetres; None if spacing or step is unknown."""
        if self.spacing_mm is None or self.step_mm is None:
            return None
        if self.affine is not None:  # rows and columns may be at no right angle
            return abs(float(np.linalg.det(self.affine[:3, :3])))
        return self.spacing_mm[0] * self.spacing_mm[1] * self.step_mm

    def read(self, index: int) -> Slice:
        """Decode one slice.

        Args:
            index: Number of the slice, from 0.

        Returns:
            The slice with its spacing, index and position.

        Raises:
            DataError: Its pixels are damaged or of another size than the header says.
        """
        image = self.reader.read(index)
        if image.size_hw != self.size_hw:
            raise DataError(
                f"{image.case_id}: decoded to {image.size_hw[0]} x {image.size_hw[1]} pixels (rows x columns), the "
                f"header says {self.size_hw[0]} x {self.size_hw[1]}; export the file again"
            )
        place = None if self.positions_mm is None else tuple(map(float, self.positions_mm[index]))
        return replace(image, spacing_mm=self.spacing_mm, index=index, position_mm=place)

    def inspect(self) -> tuple[Finding, ...]:
        """Return warnings that only the pixels tell, such as voxels that are no numbers.

        Raises:
            DataError: The pixels cannot be read at all, for example because the file is truncated.
        """
        return self.reader.inspect()

    def to_stored(self, stack: NDArray[Any]) -> NDArray[Any]:
        """Bring an array of all slices into the order of axes in which the file stores voxels.

        Args:
            stack: Shape (slices, rows, columns), any dtype.

        Returns:
            A view. For NIfTI, the three axes of the file, to be saved with the file's own affine; for DICOM, shape
            (columns, rows, slices), to be saved with ``affine``.
        """
        by_axis = np.transpose(stack, (2, 1, 0))  # columns, rows, slices
        flipped = by_axis[tuple(slice(None, None, -1 if flip else None) for flip in self.stored_flips)]
        return np.transpose(flipped, tuple(int(at) for at in np.argsort(self.stored_axes)))


def lps_to_ras(affine: Affine) -> Affine:
    """Return an affine whose places are counted in NIfTI's coordinates (RAS); the inverse is the same function."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
