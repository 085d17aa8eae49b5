"""NIfTI-1 and NIfTI-2 files as volumes.

Slices lie in the acquisition plane and are turned as a radiologist sees them.
"""

from __future__ import annotations

import gzip
import math
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, warning
from tumortrace.data.slice import Slice, fill_gaps, slice_from_array
from tumortrace.data.volume import Affine, SliceSource, Volume, lps_to_ras
from tumortrace.errors import DataError

MOST_BYTES = 2**31
"""Largest volume that is read, in bytes of its voxels."""

FEWER = 4
"""Ratio of the voxels along both other axes to those along one, from which that one counts slices."""

THICKER = 1.2
"""Ratio of the largest voxel side to the next from which the largest is the distance between slices."""

LABELS = 16
"""Number of different whole numbers up to which a volume holds labels, not grey values."""

APART = 1e-3
"""Distance of two orientations, as a fraction of a voxel over the whole volume, below which they are the same."""

_GZIP = b"\x1f\x8b"
_HEADER = 540  # bytes of a NIfTI-2 header; a NIfTI-1 header has 348
_MAGIC_1, _MAGIC_2 = (b"n+1\0", b"ni1\0"), (b"n+2\0", b"ni2\0")
_CIFTI = range(3000, 3100)  # intent codes of connectivity matrices
_LABEL_INTENT = 1002
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_CHUNK = 2**20
_RADIOLOGICAL = {
    2: ((0, 1), (1, 1), (2, 1)),  # axial: columns to the left, rows to the back, slices to the head
    1: ((0, 1), (2, -1), (1, 1)),  # coronal: columns to the left, rows to the feet, slices to the back
    0: ((1, 1), (2, -1), (0, -1)),  # sagittal: columns to the back, rows to the feet, slices to the right
}
"""LPS axis and direction of columns, rows and slices, by the LPS axis nearest to the slices' normal."""

_LAS = ((0, 1), (1, -1), (2, 1))  # where the orientation is unknown: as axial slices are stored most often


class _Grid(NamedTuple):
    """How the slices lie in the stored array: axes of columns, rows and slices, and whether they run backwards."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


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
    """

    path: Path
    offset: int
    shape: tuple[int, int, int]
    stored_type: np.dtype[Any]
    slope: float
    intercept: float
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def read(self, index: int) -> Slice:
        """Decode one slice; see ``SliceReader``. Voxels that are no numbers become the darkest value."""
        name = f"{self.path}, slice {index + 1}"
        values = self._stored()[index]
        if values.dtype.names:
            return slice_from_array(np.stack([values[channel] for channel in "RGB"], axis=2), case_id=name)
        scaled = np.ascontiguousarray(self._scale(values))
        return Slice(fill_gaps(scaled), name)

    def inspect(self) -> tuple[Finding, ...]:
        """Find voxels that are no numbers, and volumes of labels; see ``SliceReader``."""
        stored = self._stored()
        if stored.dtype.names:
            return (
                warning("nifti-colour", str(self.path), "colour voxels", "they are read as grey; give a grey volume"),
            )
        if stored.dtype.kind == "f":
            count = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in stored)
            cause = f"{count} of {stored.size} voxels are NaN or infinite and read as the darkest or brightest value"
            return (warning("nifti-not-finite", str(self.path), cause, "check how the file was made"),) if count else ()
        values: set[int] = set()
        for plane in stored:
            values.update(np.unique(plane).tolist())
            if len(values) > LABELS:
                return ()
        return (_label_map(self.path, f"only {len(values)} different whole numbers"),)

    def _stored(self) -> NDArray[Any]:
        """The stored values, shape (slices, rows, columns); a view of the mapped or unpacked file."""
        if _is_gzip(self.path):
            flat = _unpack(self.path, _stamp(self.path), self.offset, math.prod(self.shape) * self.stored_type.itemsize)
            voxels = np.frombuffer(flat, self.stored_type).reshape(self.shape, order="F")
        else:
            voxels = np.memmap(self.path, self.stored_type, "r", self.offset, self.shape, order="F")
        ordered = np.transpose(voxels, self.axes[::-1])
        return np.asarray(ordered[tuple(slice(None, None, -1 if flip else None) for flip in self.flips[::-1])])

    def _scale(self, values: NDArray[Any]) -> NDArray[Any]:
        native = values.astype(values.dtype.newbyteorder("="))
        if native.dtype.itemsize > 8:  # long double, which OpenCV and ONNX do not know
            native = native.astype(np.float64)
        if self.slope == 1 and self.intercept == 0:
            return native
        wide = native.astype(np.result_type(native.dtype, np.float32))
        return np.asarray(wide * wide.dtype.type(self.slope) + wide.dtype.type(self.intercept))


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
    header_path, voxel_path = _pair(path)
    header = _read_header(header_path)
    if not voxel_path.is_file():
        raise DataError(f"{path}: {voxel_path.name} with its voxels is missing; put it beside the file")
    shape, count = _read_shape(header, header_path)
    stored_type = _read_type(header, header_path)
    offset = _read_offset(header, header_path, single=voxel_path == header_path)
    _check_size(voxel_path, offset, math.prod(shape) * stored_type.itemsize, count)
    affine, findings = _read_affine(header, header_path)
    sides = _read_sides(header, affine)
    grid = _arrange(affine, sides, shape, slice_axis=header.get_dim_info()[2])
    slope, intercept, unscaled = _read_scaling(header, header_path)
    columns, rows, slices = grid.axes
    if count > 1:
        findings.append(_several(header_path, shape, count))
    if int(header["intent_code"]) == _LABEL_INTENT:
        findings.append(_label_map(header_path, "its intent is a label map"))
    if sides is None:
        cause = f"voxel sides {_in_words(header['pixdim'][1:4])}: the spacing is unknown"
        findings.append(warning("spacing-unknown", str(header_path), cause, "areas are not given in mm2"))
    placed = None if affine is None else _place(lps_to_ras(affine), grid, shape)
    return Volume(
        name=name,
        file=file,
        kind="nifti",
        reader=NiftiReader(voxel_path, offset, shape, stored_type, slope, intercept, *grid),
        sources=(SliceSource(path),) * shape[slices],
        size_hw=(shape[rows], shape[columns]),
        spacing_mm=None if sides is None else (sides[rows], sides[columns]),
        step_mm=_measure_step(placed) if placed is not None else (None if sides is None else sides[slices]),
        affine=placed,
        positions_mm=None if placed is None else _positions(placed, shape[slices]),
        findings=(*findings, *unscaled),
        stored_axes=grid.axes,
        stored_flips=grid.flips,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    """The files of header and voxels; the first exists."""
    for own, other in ((".hdr", ".img"), (".img", ".hdr")):
        for end in (own, f"{own}.gz"):
            if path.name.lower().endswith(end):
                stem = path.name[: -len(end)]
                places = [path.with_name(stem + suffix) for suffix in (other, f"{other}.gz", other.upper())]
                found = next((place for place in places if place.is_file()), places[0])
                if own == ".hdr":
                    return path, found
                if not found.is_file():
                    raise DataError(f"{path}: {found.name} with its header is missing; put it beside the file")
                return found, path
    return path, path


def _read_header(path: Path) -> Any:  # noqa: ANN401 - nibabel has no types
    try:
        with _open(path) as file:
            head = file.read(_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({_cause(error)}); copy it again from its source") from None
    length = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if 348 in length and head[344:348] in _MAGIC_1:
        return nibabel.Nifti1Header(head[:348], check=False)
    if 540 in length and head[4:8] in _MAGIC_2:
        return nibabel.Nifti2Header(head, check=False)
    if 348 in length and len(head) >= 348:
        raise DataError(f"{path}: ANALYZE 7.5, whose orientation is unknown; convert it to NIfTI")
    found = "empty" if not head else "not NIfTI"
    raise DataError(f"{path}: {found}; give a NIfTI-1 or NIfTI-2 file")


def _read_shape(header: Any, path: Path) -> tuple[tuple[int, int, int], int]:  # noqa: ANN401
    """The shape of the first volume, and the number of volumes."""
    intent, dims = int(header["intent_code"]), [int(side) for side in header["dim"]]
    if intent in _CIFTI:
        raise DataError(f"{path}: CIFTI (intent {intent}), a matrix, not a picture; give an image volume")
    rank, sides = dims[0], dims[1:]
    if not 1 <= rank <= 7 or min(sides[:rank]) < 1:
        raise DataError(f"{path}: damaged header (dimensions {_in_words(dims)}); copy it again from its source")
    padded = sides[:rank] + [1] * (7 - rank)
    return (padded[0], padded[1], padded[2]), math.prod(padded[3:])


def _read_type(header: Any, path: Path) -> np.dtype[Any]:  # noqa: ANN401
    try:
        stored_type: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except Exception:  # noqa: BLE001 - nibabel raises several types of error
        raise DataError(f"{path}: unknown type of voxels ({int(header['datatype'])}); save it as int16") from None
    if stored_type.kind not in "iufV" or (stored_type.kind == "V" and not stored_type.names):
        raise DataError(f"{path}: voxels of type {stored_type}, not grey values; save the magnitude as float32")
    return stored_type


def _read_offset(header: Any, path: Path, *, single: bool) -> int:  # noqa: ANN401
    value = float(header["vox_offset"])
    least = (int(header["sizeof_hdr"]) + 4) if single else 0
    if not math.isfinite(value) or not least <= value < 2**62 or value != int(value):
        raise DataError(f"{path}: damaged header (voxels begin at byte {value:g}); copy it again from its source")
    return int(value)


def _check_size(path: Path, offset: int, volume: int, count: int) -> None:
    """Check the declared size before anything of it is allocated; a gzip file shows its size when it is unpacked."""
    if volume > MOST_BYTES:
        raise DataError(f"{path}: {volume:,} bytes of voxels, more than the limit of {MOST_BYTES:,}; give a part of it")
    held = path.stat().st_size
    needed = offset + volume * count
    if not _is_gzip(path) and held < needed:
        raise DataError(f"{path}: truncated ({held:,} of {needed:,} bytes); copy it again from its source")


def _read_affine(header: Any, path: Path) -> tuple[Affine | None, list[Finding]]:  # noqa: ANN401
    """The orientation in RAS coordinates and millimetres, and what is to be said of it."""
    scale = _MILLIMETRES.get(str(header.get_xyzt_units()[0]), 1.0)
    sform, qform = (_usable(_form(header, kind), scale) for kind in ("sform", "qform"))
    codes = f"sform code {int(header['sform_code'])}, qform code {int(header['qform_code'])}"
    chosen = sform if sform is not None else qform
    if chosen is None:
        cause = f"the orientation is unknown ({codes}); slices are shown as stored"
        return None, [warning("orientation-unknown", str(path), cause, "check left and right")]
    findings = []
    if sform is not None and qform is not None and not _agree(sform, qform, header["dim"][1:4]):
        axes = ["".join(nibabel.aff2axcodes(form)) for form in (sform, qform)]
        cause = f"the sform ({axes[0]}) and the qform ({axes[1]}) disagree ({codes}); the sform is used"
        findings.append(warning("orientation-contradicts", str(path), cause, "check left and right"))
    tilt = _tilt_degrees(chosen)
    if tilt > 0.5:
        cause = f"the axes are {tilt:.1f} degrees off a right angle"
        findings.append(warning("tilt", str(path), cause, "volumes count the distance between planes"))
    return chosen, findings


def _form(header: Any, kind: str) -> NDArray[np.float64] | None:  # noqa: ANN401
    if int(header[f"{kind}_code"]) <= 0:
        return None
    if kind == "sform":
        return np.asarray(header.get_sform(), dtype=np.float64)
    header = header.copy()
    if header["pixdim"][0] not in (-1, 1):  # NIfTI: 0 counts as 1
        header["pixdim"][0] = 1
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except Exception:  # noqa: BLE001 - a quaternion longer than 1
        return None


def _usable(affine: NDArray[np.float64] | None, scale: float) -> Affine | None:
    if affine is None or not np.isfinite(affine).all():
        return None
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not sides.all() or abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:
        return None
    return np.asarray(np.diag([scale, scale, scale, 1.0]) @ affine)


def _agree(one: Affine, other: Affine, dims: NDArray[np.int64]) -> bool:
    """Whether two affines put all corners of the volume at the same places."""
    ends = [(0, max(int(side) - 1, 0)) for side in dims]
    corners = np.array([(i, j, k, 1) for i in ends[0] for j in ends[1] for k in ends[2]], dtype=np.float64)
    apart = np.abs((one - other) @ corners.T).max()
    size = float(np.abs(one[:3, :3] @ np.array([end[1] + 1 for end in ends])).max())
    return bool(apart <= max(APART * size, 1e-3))


def _tilt_degrees(affine: Affine) -> float:
    """Largest deviation of two axes from a right angle."""
    units = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(units.T @ units)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(cosines.max(), 1.0))))


def _read_sides(header: Any, affine: Affine | None) -> tuple[float, float, float] | None:  # noqa: ANN401
    """Sides of a voxel in millimetres along the stored axes; None if one is unknown."""
    if affine is not None:
        sides = np.linalg.norm(affine[:3, :3], axis=0)
    else:
        scale = _MILLIMETRES.get(str(header.get_xyzt_units()[0]), 1.0)
        sides = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * scale
    first, second, third = (float(side) for side in sides)
    return (first, second, third) if all(0 < side < math.inf for side in (first, second, third)) else None


def _arrange(
    affine: Affine | None, sides: tuple[float, float, float] | None, shape: tuple[int, ...], *, slice_axis: int | None
) -> _Grid:
    """Choose the axis across which slices are cut, and turn them as a radiologist sees them."""
    if affine is None:
        towards = list(_LAS)
    else:
        towards = [(int(axis), int(sign)) for axis, sign in nibabel.io_orientation(lps_to_ras(affine))]
    chosen = slice_axis if slice_axis is not None else _guess_slice_axis(sides, shape)
    if chosen is None:
        chosen = [axis for axis, _ in towards].index(2)
    axes, flips = [], []
    for axis, sign in _RADIOLOGICAL[towards[chosen][0]]:
        at = [along for along, _ in towards].index(axis)
        axes.append(at)
        flips.append(towards[at][1] != sign)
    return _Grid((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _guess_slice_axis(sides: tuple[float, float, float] | None, shape: tuple[int, ...]) -> int | None:
    """The axis of clearly the fewest voxels, or of clearly the thickest; None if neither is clear."""
    fewest = sorted(range(3), key=lambda axis: shape[axis])
    if FEWER * shape[fewest[0]] < shape[fewest[1]] or 1 == shape[fewest[0]] < shape[fewest[1]]:
        return fewest[0]
    if sides is None:
        return None
    thickest = sorted(range(3), key=lambda axis: sides[axis])
    return thickest[2] if sides[thickest[2]] > THICKER * sides[thickest[1]] else None


def _place(affine_lps: Affine, grid: _Grid, shape: tuple[int, ...]) -> Affine:
    """The affine of an index (column, row, slice)."""
    index = np.zeros((4, 4))
    index[3, 3] = 1
    for at, (axis, flip) in enumerate(zip(grid.axes, grid.flips, strict=True)):
        index[axis, at] = -1 if flip else 1
        index[axis, 3] = shape[axis] - 1 if flip else 0
    return np.asarray(affine_lps @ index)


def _positions(affine: Affine, count: int) -> NDArray[np.float64]:
    return np.asarray(affine[:3, 3] + np.arange(count)[:, None] * affine[:3, 2])


def _measure_step(affine: Affine) -> float:
    """Distance between the planes of neighbouring slices."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return abs(float(normal @ affine[:3, 2])) / float(np.linalg.norm(normal))


def _read_scaling(header: Any, path: Path) -> tuple[float, float, list[Finding]]:  # noqa: ANN401
    """Slope and intercept; NIfTI says that a slope of 0 means that values are not scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0, []
    if not math.isfinite(intercept):
        cause = f"the slope is {slope:g} and the intercept {intercept:g}, which is taken as 0"
        return slope, 0.0, [warning("nifti-intercept", str(path), cause, "check the values")]
    return slope, intercept, []


def _several(path: Path, shape: tuple[int, ...], count: int) -> Finding:
    size = " x ".join(map(str, shape))
    cause = f"{count} volumes of {size} voxels in one file; only the first is read"
    return warning("several-volumes", str(path), cause, "save the others as files of their own")


def _label_map(path: Path, cause: str) -> Finding:
    return warning("label-map", str(path), f"{cause}: a label map, not an image", "give the image")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if _is_gzip(path) else path.open("rb")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1)
def _unpack(path: Path, _stamp: tuple[int, int], offset: int, length: int) -> bytearray:
    """The voxels of the first volume of a gzip file, once its checksum is known to fit; the last one is kept.

    Memory grows with what the file holds, up to the ``length`` that was checked before.
    """
    voxels = bytearray()
    try:
        with closing(gzip.open(path, "rb")) as file:
            _skip(file, offset)
            while len(voxels) < length and (piece := file.read(min(_CHUNK, length - len(voxels)))):
                voxels += piece
            while file.read(_CHUNK):  # the checksum is at the end
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({_cause(error)}); copy it again from its source") from None
    if len(voxels) < length:
        raise DataError(f"{path}: truncated ({len(voxels):,} of {length:,} bytes of voxels); copy it from its source")
    return voxels


def _skip(file: gzip.GzipFile, count: int) -> None:
    while count and (piece := file.read(min(_CHUNK, count))):
        count -= len(piece)


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _in_words(numbers: Any) -> str:  # noqa: ANN401 - any sequence of numbers
    return " x ".join(f"{float(number):g}" for number in numbers)
