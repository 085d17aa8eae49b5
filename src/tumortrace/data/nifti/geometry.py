"""How the slices of a NIfTI volume lie in its array and in the body."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, warning
from tumortrace.data.volume import Affine, lps_to_ras

FEWER = 4
"""Ratio of the voxels along both other axes to those along one, from which that one counts slices."""

THICKER = 1.2
"""Ratio of the largest voxel side to the next from which the largest is the distance between slices."""

APART = 1e-3
"""Distance of two orientations, as a fraction of a voxel over the whole volume, below which they are the same."""

_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}

_RADIOLOGICAL = {
    2: ((0, 1), (1, 1), (2, 1)),  # axial: columns to the left, rows to the back, slices to the head
    1: ((0, 1), (2, -1), (1, 1)),  # coronal: columns to the left, rows to the feet, slices to the back
    0: ((1, 1), (2, -1), (0, -1)),  # sagittal: columns to the back, rows to the feet, slices to the right
}
"""LPS axis and direction of columns, rows and slices, by the LPS axis nearest to the slices' normal."""

_LAS = ((0, 1), (1, -1), (2, 1))  # where the orientation is unknown: as axial slices are stored most often


class Grid(NamedTuple):
    """How the slices lie in the stored array: axes of columns, rows and slices, and whether they run backwards."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


def _read_scale(header: Any) -> float:  # noqa: ANN401
    """Millimetres of a unit of length; 1 where the code says none, of which nibabel refuses the odd ones."""
    try:
        return _MILLIMETRES.get(str(header.get_xyzt_units()[0]), 1.0)
    except KeyError:
        return 1.0


def add_depth(header: Any) -> Any:  # noqa: ANN401
    """Return the header of a single slice with a third axis of length 1, where writers of two dimensions leave 0."""
    header = header.copy()
    if not header["pixdim"][3]:
        header["pixdim"][3] = 1
    rows = [header[name] for name in ("srow_x", "srow_y", "srow_z")]
    across, down, through = np.array(rows, dtype=np.float64)[:, :3].T
    normal = np.cross(across, down)
    if not through.any() and normal.any():
        for row, value in zip(rows, normal / np.linalg.norm(normal) * header["pixdim"][3], strict=True):
            row[2] = value
    return header


def read_affine(header: Any, path: Path) -> tuple[Affine | None, list[Finding]]:  # noqa: ANN401
    """Return the affine in RAS coordinates and millimetres (None if unknown), and its faults."""
    scale = _read_scale(header)
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


def read_sides(header: Any, affine: Affine | None) -> tuple[float, float, float] | None:  # noqa: ANN401
    """Sides of a voxel in millimetres along the stored axes; None if one is unknown."""
    if affine is not None:
        sides = np.linalg.norm(affine[:3, :3], axis=0)
    else:
        scale = _read_scale(header)
        sides = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * scale
    first, second, third = (float(side) for side in sides)
    return (first, second, third) if all(0 < side < math.inf for side in (first, second, third)) else None


def arrange(
    affine: Affine | None, sides: tuple[float, float, float] | None, shape: tuple[int, ...], *, slice_axis: int | None
) -> Grid:
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
    return Grid((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _guess_slice_axis(sides: tuple[float, float, float] | None, shape: tuple[int, ...]) -> int | None:
    """The axis of clearly the fewest voxels, or of clearly the thickest; None if neither is clear."""
    fewest = sorted(range(3), key=lambda axis: shape[axis])
    if FEWER * shape[fewest[0]] < shape[fewest[1]] or 1 == shape[fewest[0]] < shape[fewest[1]]:
        return fewest[0]
    if sides is None:
        return None
    thickest = sorted(range(3), key=lambda axis: sides[axis])
    return thickest[2] if sides[thickest[2]] > THICKER * sides[thickest[1]] else None


def place(affine_lps: Affine, grid: Grid, shape: tuple[int, ...]) -> Affine:
    """The affine of an index (column, row, slice)."""
    index = np.zeros((4, 4))
    index[3, 3] = 1
    for at, (axis, flip) in enumerate(zip(grid.axes, grid.flips, strict=True)):
        index[axis, at] = -1 if flip else 1
        index[axis, 3] = shape[axis] - 1 if flip else 0
    return np.asarray(affine_lps @ index)


def positions_of(affine: Affine, count: int) -> NDArray[np.float64]:
    """Return the place of the first voxel of each slice in millimetres, shape (slices, 3)."""
    return np.asarray(affine[:3, 3] + np.arange(count)[:, None] * affine[:3, 2])


def measure_step(affine: Affine) -> float:
    """Distance between the planes of neighbouring slices."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return abs(float(normal @ affine[:3, 2])) / float(np.linalg.norm(normal))
