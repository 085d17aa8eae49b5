"""NIfTI files: slices the right way round, sides in millimetres, and every odd header told."""

from __future__ import annotations

import csv
import gzip
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tumortrace.data.nifti import stream
from tumortrace.data.nifti.mask import fit_nifti_mask
from tumortrace.data.nifti.reader import open_nifti
from tumortrace.data.volume import Volume, lps_to_ras
from tumortrace.errors import DataError

DATA = Path(os.environ.get("TUMORTRACE_DATA", "")) / "nifti"
needs_data = pytest.mark.skipif(
    not os.environ.get("TUMORTRACE_DATA") or not DATA.is_dir(), reason="TUMORTRACE_DATA names no folder with nifti/"
)

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # x, y, z


def write(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray | None = None, **fields: object) -> Path:
    """Write a NIfTI-1 file whose sform is ``affine``, RAS with sides of 1 mm if None."""
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine, dtype=voxels.dtype)
    data = change_header(image.to_bytes(), **fields)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def change_header(data: bytes, **fields: object) -> bytes:
    """Set fields as they are, past the checks and habits of nibabel."""
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + data[348:]


def open_it(path: Path) -> Volume:
    return open_nifti(path, name=path.name.partition(".")[0], file=str(path))


def stack_of(volume: Volume) -> np.ndarray:
    return np.stack([volume.read(index).pixels for index in range(len(volume))])


def kinds(volume: Volume) -> list[str]:
    return [finding.kind for finding in (*volume.findings, *volume.inspect())]


def test_axial_slices_show_the_face_above_and_the_left_side_on_the_right(tmp_path: Path):
    volume = open_it(write(tmp_path / "a.nii"))  # RAS: x grows to the right, y to the front, z to the head
    assert len(volume) == 4
    assert volume.size_hw == (3, 2)
    assert np.array_equal(volume.read(3).pixels, VOXELS[::-1, ::-1, 3].T)
    # The first pixel is the one most to the right (x = 1) and front (y = 2): in LPS at (-1, -2).
    assert volume.read(3).position_mm == (-1.0, -2.0, 3.0)
    assert np.array_equal(volume.to_stored(stack_of(volume)), VOXELS)


@pytest.mark.parametrize("fields", [{"sform_code": 0, "qform_code": 1}, {"srow_x": [2, 0, 0, 5]}])
def test_a_slice_of_two_dimensions_lies_where_one_of_three_does(tmp_path: Path, fields: dict[str, object]):
    """Of the axis that it does not have, such a file states the length 0, and with it no direction; nor a thickness."""
    affine = np.array([[2.0, 0, 0, 5], [0, 0, 1, 6], [0, 3, 0, 7], [0, 0, 0, 1]])
    flat, deep = VOXELS[:, :, 0], VOXELS[:, :, :1]
    none = {"pixdim": [-1, 2, 3, 0, 0, 0, 0, 0], "srow_y": [0, 0, 0, 6], "srow_z": [0, 3, 0, 7]}
    quarter_turn = {"quatern_b": 0.5**0.5, "qoffset_x": 5, "qoffset_y": 6, "qoffset_z": 7}
    volume = open_it(write(tmp_path / "a.nii", flat, **none, **quarter_turn, **fields))
    plain = open_it(write(tmp_path / "b.nii", deep, affine))
    assert np.allclose(volume.affine[:, [0, 1, 3]], plain.affine[:, [0, 1, 3]], atol=1e-5)
    assert (volume.spacing_mm, volume.step_mm, volume.findings) == (pytest.approx((3, 2)), None, ())
    assert np.array_equal(volume.read(0).pixels, plain.read(0).pixels)
    fit_nifti_mask(plain, volume)
    fit_nifti_mask(volume, plain)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASL", "LIA", "PIR", "SRA"])
def test_the_same_head_stored_in_any_order_of_axes_gives_the_same_slices(tmp_path: Path, axes: str):
    plain = open_it(write(tmp_path / "a.nii", affine=np.diag([1.0, 1.5, 1.1, 1])))
    wanted = nibabel.orientations.axcodes2ornt(axes)
    turned = nibabel.Nifti1Image(VOXELS, np.diag([1.0, 1.5, 1.1, 1])).as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted)
    )
    (tmp_path / "b.nii").write_bytes(turned.to_bytes())
    volume = open_it(tmp_path / "b.nii")
    assert nibabel.aff2axcodes(turned.affine) == tuple(axes)
    assert np.array_equal(stack_of(volume), stack_of(plain))
    assert np.allclose(volume.affine, plain.affine)
    assert volume.spacing_mm == pytest.approx(plain.spacing_mm)
    stored = volume.to_stored(stack_of(volume))
    assert np.array_equal(stored, np.asarray(turned.dataobj))


def test_rows_and_columns_keep_their_own_spacing(tmp_path: Path):
    volume = open_it(write(tmp_path / "a.nii", affine=np.diag([0.5, 1.2, 5.0, 1])))
    assert volume.spacing_mm == pytest.approx((1.2, 0.5))  # rows run along y, columns along x
    assert volume.step_mm == pytest.approx(5.0)


def test_a_disc_of_10_mm_has_its_area_in_pixels_of_two_sides(tmp_path: Path):
    """314 mm2 within 1 %: pi 10^2 = 314.16. With swapped sides the disc would be an ellipse of the same area."""
    y, x = np.mgrid[-20:21, -40:41]
    disc = ((x * 0.5) ** 2 + (y * 1.2) ** 2 <= 10.0**2).astype(np.int16)  # pixels of 1.2 mm (y) x 0.5 mm (x)
    volume = open_it(write(tmp_path / "a.nii", np.ascontiguousarray(disc.T)[:, :, None], np.diag([0.5, 1.2, 5, 1])))
    image = volume.read(0)
    rows_mm, columns_mm = image.spacing_mm
    assert float(image.pixels.sum()) * rows_mm * columns_mm == pytest.approx(314.16, rel=0.01)
    height_mm = np.ptp(np.flatnonzero(image.pixels.any(axis=1))) * rows_mm
    width_mm = np.ptp(np.flatnonzero(image.pixels.any(axis=0))) * columns_mm
    assert (height_mm, width_mm) == (pytest.approx(20, abs=1.3), pytest.approx(20, abs=0.6))


@pytest.mark.parametrize(
    ("shape", "sides", "slices"),
    [
        ((2, 30, 30), (1, 1, 1), 2),  # few voxels along x
        ((30, 2, 30), (1, 1, 1), 2),
        ((6, 5, 4), (1, 3, 1), 5),  # the thickest side lies along y
        ((6, 5, 4), (1, 1.1, 1), 4),  # nothing stands out: axial
    ],
)
def test_slices_are_cut_across_the_acquisition_plane(tmp_path: Path, shape, sides, slices):
    volume = open_it(write(tmp_path / "a.nii", np.zeros(shape, np.int16), np.diag([*sides, 1])))
    assert len(volume) == slices


def test_the_slice_axis_of_the_header_goes_before_all(tmp_path: Path):
    image = nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.eye(4))
    image.header.set_dim_info(slice=0)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert len(open_it(tmp_path / "a.nii")) == 6


def test_the_sform_goes_before_the_qform_and_a_contradiction_is_told(tmp_path: Path):
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.set_qform(np.diag([-1.0, 1, 1, 1]), 2)
    image.set_sform(np.eye(4), 2)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    volume = open_it(tmp_path / "a.nii")
    assert np.array_equal(volume.read(0).pixels, VOXELS[::-1, ::-1, 0].T)
    assert [finding.cause for finding in volume.findings] == [
        "the sform (RAS) and the qform (LAS) disagree (sform code 2, qform code 2); the sform is used"
    ]


def test_the_qform_counts_where_the_sform_has_no_code(tmp_path: Path):
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(np.diag([7.0, 7, 7, 1]), 0)
    image.set_qform(np.diag([-1.0, 2, 3, 1]), 1)  # a mirror: qfac -1
    assert image.header["pixdim"][0] == -1
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    volume = open_it(tmp_path / "a.nii")
    assert np.allclose(volume.to_stored(stack_of(volume)), VOXELS)
    assert volume.spacing_mm == pytest.approx((2, 1))
    assert np.allclose(lps_to_ras(volume.affine)[:3, 0], [-1, 0, 0])  # columns run to the left


def test_without_codes_the_orientation_is_unknown_and_the_spacing_known(tmp_path: Path):
    path = write(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=[0, 2, 3, 4, 1, 1, 1, 1])
    volume = open_it(path)
    assert (volume.affine, volume.positions_mm) == (None, None)
    assert (volume.spacing_mm, volume.step_mm) == ((3, 2), 4)
    assert kinds(volume) == ["orientation-unknown"]


def test_a_side_of_zero_makes_the_spacing_unknown(tmp_path: Path):
    path = write(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=[0, 2, 0, 4, 1, 1, 1, 1])
    volume = open_it(path)
    assert (volume.spacing_mm, volume.step_mm) == (None, None)
    assert kinds(volume) == ["orientation-unknown", "spacing-unknown"]


def test_metres_and_micrometres_become_millimetres(tmp_path: Path):
    assert open_it(write(tmp_path / "a.nii", affine=np.diag([500.0, 1200, 5000, 1]), xyzt_units=3)).spacing_mm == (
        pytest.approx((1.2, 0.5))
    )
    assert open_it(write(tmp_path / "b.nii", affine=np.diag([0.001, 0.002, 0.003, 1]), xyzt_units=1)).step_mm == (
        pytest.approx(3)
    )


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"), [(2, 100, 2), (0, 100, None), (np.nan, np.nan, None), (np.inf, 0, None)]
)
def test_a_slope_of_zero_or_nan_means_not_scaled(tmp_path: Path, slope, intercept, expected):
    path = write(tmp_path / "a.nii", scl_slope=slope, scl_inter=intercept)
    volume = open_it(path)
    values = volume.to_stored(stack_of(volume))
    assert np.array_equal(values, VOXELS if expected is None else VOXELS * expected + intercept)
    assert values.dtype == (np.int16 if expected is None else np.float32)


def test_a_slope_without_an_intercept_is_told(tmp_path: Path):
    volume = open_it(write(tmp_path / "a.nii", scl_slope=2, scl_inter=np.nan))
    assert np.array_equal(volume.to_stored(stack_of(volume)), VOXELS * 2)
    assert kinds(volume) == ["nifti-intercept"]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_gzip_is_recognised_by_its_bytes(tmp_path: Path, name):
    plain, packed = nibabel.Nifti1Image(VOXELS, np.eye(4)).to_bytes(), tmp_path / f"x{name}"
    (tmp_path / name).write_bytes(plain)
    packed.write_bytes(gzip.compress(plain))
    for path in (tmp_path / name, packed):
        assert np.array_equal(open_it(path).to_stored(stack_of(open_it(path))), VOXELS)


def test_a_damaged_gzip_file_is_refused_before_a_slice_is_shown(tmp_path: Path):
    path = write(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"a\.nii\.gz: damaged gzip data \(Compressed file ended .*\); copy it again"):
        open_it(path).inspect()


def test_threads_that_read_the_slices_of_one_file_unpack_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Else each would hold the whole volume in memory at a time."""
    unpacked, whole = [], stream._unpack_whole

    def unpack_slowly(*arguments: Any) -> bytearray:  # noqa: ANN401
        unpacked.append(1)
        time.sleep(0.05)
        return whole(*arguments)

    monkeypatch.setattr(stream, "_unpack_whole", unpack_slowly)
    volume = open_it(write(tmp_path / "a.nii.gz"))
    with ThreadPoolExecutor(4) as pool:
        assert np.array_equal(list(pool.map(lambda index: volume.read(index).pixels, range(4))), stack_of(volume))
    assert len(unpacked) == 1


def test_a_gzip_file_that_holds_fewer_voxels_than_it_says_is_refused(tmp_path: Path):
    whole = nibabel.Nifti1Image(VOXELS, np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole[:-1]))
    with pytest.raises(DataError, match="truncated \\(47 of 48 bytes of voxels\\)"):
        open_it(tmp_path / "a.nii.gz").inspect()


def test_of_4d_the_first_volume_is_read_and_the_others_are_told(tmp_path: Path):
    volume = open_it(write(tmp_path / "a.nii", np.stack([VOXELS, VOXELS + 100], axis=3)))
    assert np.array_equal(volume.to_stored(stack_of(volume)), VOXELS)
    assert volume.findings[0].cause == "2 volumes of 2 x 3 x 4 voxels in one file; only the first is read"


def test_voxels_that_are_no_numbers_become_the_darkest_and_brightest(tmp_path: Path):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    voxels[0, 0, 0], voxels[1, 2, 0], voxels[:, :, 2] = np.nan, np.inf, np.nan
    volume = open_it(write(tmp_path / "a.nii", voxels))
    first = volume.read(0).pixels  # finite: 4, 8, 12, 16
    assert (first.min(), first.max(), np.sort(first, axis=None).tolist()) == (4, 16, [4, 4, 8, 12, 16, 16])
    assert not volume.read(2).pixels.any()
    assert "8 of 24 voxels are NaN or infinite" in volume.inspect()[0].cause


def test_a_label_map_is_told_by_its_values_or_its_intent(tmp_path: Path):
    few = (VOXELS % 3).astype(np.int16)
    assert kinds(open_it(write(tmp_path / "a.nii", few))) == ["label-map"]
    assert kinds(open_it(write(tmp_path / "b.nii", intent_code=1002))) == ["label-map"]
    assert kinds(open_it(write(tmp_path / "c.nii"))) == []
    assert kinds(open_it(write(tmp_path / "d.nii", few.astype(np.float64)))) == ["label-map"]
    assert kinds(open_it(write(tmp_path / "e.nii", few + np.float32(0.5)))) == []


def test_colour_voxels_become_grey_and_are_told(tmp_path: Path):
    voxels = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels["R"][0, 0, 0], voxels["G"][1, 0, 0] = 200, 100
    volume = open_it(write(tmp_path / "a.nii", voxels))
    assert kinds(volume) == ["nifti-colour"]
    back = volume.to_stored(stack_of(volume))
    assert (back[0, 0, 0], back[1, 0, 0]) == (60, 59)  # 0.299 x 200 and 0.587 x 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "bytes of voxels, more than the limit"),
        ({"dim": [3, 9, 9, 9, 1, 1, 1, 1]}, r"truncated \(400 of 1,810 bytes\)"),
        ({"dim": [3, 2, 0, 4, 1, 1, 1, 1]}, "damaged header .dimensions 3 x 2 x 0 x 4"),
        ({"dim": [9, 2, 3, 4, 1, 1, 1, 1]}, "damaged header .dimensions 2304"),
        ({"vox_offset": np.nan}, "damaged header .voxels begin at byte nan"),
        ({"vox_offset": 0}, "damaged header .voxels begin at byte 0"),
        ({"datatype": 77}, "unknown type of voxels .77."),
        ({"datatype": 32, "bitpix": 64}, "voxels of type complex64, not grey values"),
        ({"intent_code": 3001}, "CIFTI .intent 3001., a matrix, not a picture"),
        ({"magic": b"abc"}, "ANALYZE 7.5, whose orientation is unknown; convert it to NIfTI"),
    ],
)
def test_odd_headers_are_refused_in_one_line_before_anything_is_allocated(tmp_path: Path, change, message):
    write(tmp_path / "a.nii", **change)
    with pytest.raises(DataError, match=f"a.nii: .*{message}"):
        open_it(tmp_path / "a.nii")


def test_a_pair_opens_by_either_half_and_names_a_missing_one(tmp_path: Path):
    nibabel.Nifti1Pair(VOXELS, np.eye(4)).to_filename(tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        volume = open_it(tmp_path / name)
        assert np.array_equal(volume.to_stored(stack_of(volume)), VOXELS)
    (tmp_path / "a.img").rename(tmp_path / "b.img")
    with pytest.raises(DataError, match=r"a\.hdr: a\.img with its voxels is missing"):
        open_it(tmp_path / "a.hdr")
    with pytest.raises(DataError, match=r"b\.img: b\.hdr with its header is missing"):
        open_it(tmp_path / "b.img")


ROWS = list(csv.DictReader((DATA / "index.csv").read_text(encoding="utf-8").splitlines())) if DATA.is_dir() else []


@needs_data
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_real_files_open_with_the_values_that_nibabel_reads_or_are_refused(row):
    path = DATA / row["file"]
    refused = row["expected"].startswith("refused")
    try:
        volume = open_it(path)
        notes = kinds(volume)
        stack = stack_of(volume)
    except DataError as error:
        fault = str(error)
        assert refused or "one line" in row["expected"], fault
        assert re.fullmatch(f"{re.escape(str(path))}: [^\n]+", fault)
        return
    assert not refused or "opened" in row["expected"] or "magnitude" in row["expected"]
    assert np.isfinite(stack).all()
    assert ("told" in row["expected"]) <= bool(notes)
    if volume.sources[0].path.suffix not in {".hdr", ".img"} and not row["dtype"].startswith("RGB"):
        assert_same_values(volume, stack, path)


def assert_same_values(volume: Volume, stack: np.ndarray, path: Path) -> None:
    """Compare the voxels with what nibabel makes of the file, and the places with its affine."""
    image = nibabel.Nifti1Image.from_bytes if "nifti2" not in path.name else nibabel.Nifti2Image.from_bytes
    data = path.read_bytes()
    opened = image(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    values = np.asarray(opened.dataobj)
    first = values.reshape(*values.shape[:3], -1)[..., 0]
    finite = np.isfinite(first)
    stored = volume.to_stored(stack)
    assert stored.shape == first.shape
    assert np.allclose(stored[finite], first[finite], rtol=1e-6)
    if volume.affine is not None:
        index = np.array([1, 0, 0, 1.0])  # the second column of the first row of the first slice
        numbers = np.arange(first.size).reshape(first.shape)
        mine = _cut(numbers, volume)[0, 0, min(1, stack.shape[2] - 1)]
        stored_index = np.argwhere(numbers == mine)[0]
        index[0] = min(1, stack.shape[2] - 1)
        assert np.allclose(lps_to_ras(volume.affine) @ index, opened.affine @ [*stored_index, 1], atol=1e-3)


def _cut(stored: np.ndarray, volume: Volume) -> np.ndarray:
    ordered = np.transpose(stored, volume.stored_axes[::-1])
    return ordered[tuple(slice(None, None, -1 if flip else None) for flip in volume.stored_flips[::-1])]


@needs_data
def test_the_real_head_stored_three_ways_shows_the_same_slices():
    stacks = [stack_of(open_it(DATA / f"{axes}.nii.gz")) for axes in ("lps", "asl", "lia")]
    assert np.array_equal(stacks[0], stacks[1])
    assert np.array_equal(stacks[0], stacks[2])
