"""Masks, records and objects of whole volumes: in their place, measured in millimetres, all of them or none."""

from __future__ import annotations

import errno
import gzip
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from tumortrace.config import Recipe
from tumortrace.data.findings import left_out
from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.batch.find_inputs import Inputs, find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.model import Model
from tumortrace.inference.results import unit_files
from tumortrace.inference.results.describe import describe_slice
from tumortrace.inference.results.tally import SegmentSummary
from tumortrace.inference.results.volume_files import VolumeFile, VolumeOptions
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_predict import SliceResult, combine_slices

SIZE_HW = (20, 24)
RESULT_FILES = {"results.json", "results.csv", "volumes.csv", "lesions.csv"}

WriteSeries = Callable[..., list[SliceSource]]


@dataclass(frozen=True)
class ArrayReader:
    """Slices of an array; those listed in ``broken`` cannot be read."""

    pixels: NDArray[Any]
    broken: tuple[int, ...] = ()

    def read(self, index: int) -> Slice:
        if index in self.broken:
            raise DataError(f"{index:03}.dcm: pixels are missing; copy it again")
        return Slice(self.pixels[index], f"{index:03}.dcm")

    def inspect(self) -> tuple[()]:
        return ()


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    """Calls what is bright tumour, on the grid of the slices; a constant slice has none. Rejects nothing."""
    return Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.55)), gate=False)


@pytest.fixture
def make_volume(tmp_path: Path, write_series: WriteSeries) -> Callable[..., VolumeFile]:
    """Write a series and open it by hand, its affine worked out from the standard's formula."""

    def make(
        pixels: NDArray[Any], orientation: str = "axial", *, broken: tuple[int, ...] = (), **steps: object
    ) -> VolumeFile:
        sources = write_series(tmp_path / "scan", pixels, orientation, **steps)
        image = dcmread(sources[0].path)
        across, down = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
        rows_mm, columns_mm = (float(v) for v in image.PixelSpacing)
        step_mm = float(image.SliceThickness)
        affine = np.eye(4)
        affine[:3] = np.transpose(
            [across * columns_mm, down * rows_mm, np.cross(across, down) * step_mm, image.ImagePositionPatient]
        )
        volume = Volume(
            "scan", str(tmp_path / "scan"), "dicom", ArrayReader(pixels, broken), tuple(sources), pixels.shape[1:],
            spacing_mm=(rows_mm, columns_mm), step_mm=step_mm, affine=affine, series_uid=str(image.SeriesInstanceUID),
            modality="MR",
        )  # fmt: skip
        return VolumeFile(volume, "scan")

    return make


def blocks(*places: tuple[int, int, int], count: int = 6) -> NDArray[np.uint16]:
    """Slices of 20 x 24 pixels with a bright block of 3 x 5 at (slice, row, column)."""
    pixels = np.full((count, *SIZE_HW), 10, dtype=np.uint16)
    for index, row, column in places:
        pixels[index, row : row + 3, column : column + 5] = 200
    return pixels


def run(segmenter: Segmenter, item: VolumeFile, out: Path, **options: Any) -> tuple[SegmentSummary, dict[str, Any]]:  # noqa: ANN401
    overlay = options.pop("overlay", False)
    inputs = Inputs((), volumes=(item,))
    settings = SegmentSettings(overlay=overlay, options=VolumeOptions(**options))
    summary = segment_all(segmenter, inputs, out=out, settings=settings)
    return summary, json.loads((out / "results.json").read_text())


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def read_nifti(path: Path) -> tuple[Any, NDArray[np.uint8]]:
    image = nib.load(path)
    return image, np.asarray(image.dataobj)


# --- records ---


def test_a_volume_has_a_record_of_its_own_and_one_a_slice(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    """15 pixels of 0.5 x 1.2 mm on slices 2 and 3, which are 3 mm apart: 30 x 1.8 = 54 mm3."""
    item = make_volume(blocks((2, 4, 10), (3, 4, 10)))
    summary, results = run(segmenter, item, tmp_path / "out")
    assert list(results) == ["model", "images", "volumes", "skipped"]
    (volume,) = results["volumes"]
    (lesion,) = volume.pop("lesions")
    assert volume == {
        "file": str(tmp_path / "scan"),
        "series_uid": item.volume.series_uid,
        "mask": "scan_mask.nii.gz",
        "status": "ok",
        "reason": volume["reason"],
        "volume_mm3": pytest.approx(54.0),
        "slices": 6,
        "slices_with_tumour": 2,
        "largest_diameter_mm": pytest.approx(np.hypot(3 * 0.5, 5 * 1.2)),
        "review": True,
        "prompt": None,
    }
    # Columns 10 to 14, rows 4 to 6, slices 2 and 3 of an axial series that begins at (-10, 5, 7).
    assert lesion == {
        "volume_mm3": pytest.approx(54.0),
        "centroid_mm": pytest.approx([-10 + 12 * 1.2, 5 + 5 * 0.5, 7 + 2.5 * 3.0]),
        "first_slice": 2,
        "last_slice": 3,
        "confidence": pytest.approx(1.0),
    }
    images = results["images"]
    assert [image["slice_index"] for image in images] == list(range(6))
    assert [Path(image["file"]).name for image in images] == [f"{index:03}.dcm" for index in range(6)]
    assert {image["mask"] for image in images} == {"scan_mask.nii.gz"}
    assert [image["area_mm2"] for image in images] == pytest.approx([0, 0, 9.0, 9.0, 0, 0])
    assert (summary.slices, summary.volumes.ok, summary.volumes.tumours, summary.total) == (6, 1, 1, 0)
    rows = (tmp_path / "out/results.csv").read_text().splitlines()
    assert [row.split(",")[-2] for row in rows] == ["slice_index", *"012345"]


def test_sizes_are_in_millimetres_along_the_right_axes(
    tmp_path: Path, open_hand_model: Callable[..., Model], make_volume: Callable[..., VolumeFile]
):
    """A disc with a radius of 10 mm in pixels of 0.5 x 1.2 mm; with the spacings swapped it would be an ellipse."""
    rows, columns = np.mgrid[0:64, 0:40]
    disc = ((rows - 31) * 0.5) ** 2 + ((columns - 19) * 1.2) ** 2 <= 10.0**2
    pixels = np.where(disc, 200, 10).astype(np.uint16)[None]
    segmenter = Segmenter(open_hand_model(Recipe((64, 40), threshold=0.55)), gate=False)
    _, results = run(segmenter, make_volume(pixels, spacing_mm=(0.5, 1.2)), tmp_path / "out")
    (image,), (volume,) = results["images"], results["volumes"]
    assert image["area_mm2"] == pytest.approx(100 * np.pi, rel=0.01)
    assert volume["volume_mm3"] == pytest.approx(300 * np.pi, rel=0.01)
    assert volume["largest_diameter_mm"] == pytest.approx(20.0, abs=1.3)  # corners of pixels, up to a pixel longer
    swapped = make_volume(pixels, spacing_mm=(1.2, 0.5))
    _, results = run(segmenter, swapped, tmp_path / "swapped")
    assert results["volumes"][0]["largest_diameter_mm"] > 40


def test_a_lesion_on_one_thin_slice_alone_is_dropped_and_named(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    pixels = blocks((1, 2, 3), (3, 10, 10), (4, 10, 10))
    _, results = run(segmenter, make_volume(pixels), tmp_path / "out")
    (volume,) = results["volumes"]
    assert [(one["first_slice"], one["last_slice"]) for one in volume["lesions"]] == [(3, 4)]
    assert "1 lesion dropped: less than 4 mm thick" in volume["reason"]
    image = results["images"][1]
    assert (image["tumour"], image["area_px"], image["lesions"], image["review"]) == (False, 0, [], True)
    assert "dropped a lesion that no neighbouring slice shows" in image["reason"]
    _, voxels = read_nifti(tmp_path / "out/scan_mask.nii.gz")
    assert voxels.sum() == 30
    _, results = run(segmenter, make_volume(pixels, step_mm=5.0), tmp_path / "thick")
    assert len(results["volumes"][0]["lesions"]) == 2


@pytest.mark.parametrize("factor", [0.001, 0.01, 1000.0])
def test_a_spacing_of_no_head_is_named_and_drops_no_lesion(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile], factor: float
):
    """28.8 mm in metres, in decimetres and in micrometres, each taken for millimetres."""
    item = make_volume(blocks((2, 4, 10)), spacing_mm=(0.5 * factor, 1.2 * factor), step_mm=3.0 * factor)
    _, results = run(segmenter, item, tmp_path / "out")
    (volume,) = results["volumes"]
    assert volume["slices_with_tumour"] == 1
    assert re.match(r"slices of [\d.e+]+ x [\d.e+]+ mm are no head's: the spacing is wrong", volume["reason"])


def test_a_slice_that_cannot_be_read_is_named_and_its_neighbours_keep_their_lesions(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    summary, results = run(segmenter, make_volume(blocks((2, 4, 10)), broken=(3,)), tmp_path / "out")
    (volume,) = results["volumes"]
    assert (volume["status"], volume["slices_with_tumour"]) == ("ok", 1)
    assert "1 of 6 slices could not be read, first: " in volume["reason"]
    assert [image["status"] for image in results["images"]] == ["ok"] * 3 + ["error"] + ["ok"] * 2
    assert "pixels are missing" in results["images"][3]["reason"]
    assert len(summary.all_failures) == 1
    everything = tuple(range(6))
    summary, results = run(segmenter, make_volume(blocks(), broken=everything), tmp_path / "none")
    assert (results["volumes"][0]["status"], results["volumes"][0]["mask"]) == ("error", None)
    assert (summary.volumes.failed, names_in(tmp_path / "none")) == (1, RESULT_FILES)


def test_a_volume_that_is_no_head_is_rejected_as_a_whole(
    tmp_path: Path, open_hand_model: Callable[..., Model], make_volume: Callable[..., VolumeFile]
):
    segmenter = Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.55)))
    summary, results = run(segmenter, make_volume(blocks((2, 4, 10))), tmp_path / "out", overlay=True, dicom_seg=True)
    (volume,) = results["volumes"]
    assert (volume["status"], volume["mask"], volume["review"]) == ("rejected", None, True)
    assert re.match(r"6 of 6 slices rejected, \d of them: not a brain MR slice: ", volume["reason"])
    assert {image["status"] for image in results["images"]} == {"rejected"}
    assert names_in(tmp_path / "out") == RESULT_FILES
    assert (summary.volumes.rejected, summary.all_failures) == (1, ())


def test_a_rejected_volume_names_the_faults_of_its_files_as_well(
    tmp_path: Path, open_hand_model: Callable[..., Model], make_volume: Callable[..., VolumeFile]
):
    segmenter = Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.55)))
    item = make_volume(blocks())
    item = replace(item, volume=replace(item.volume, findings=(left_out("modality", "a.dcm", "modality CT", ""),)))
    _, results = run(segmenter, item, tmp_path / "out")
    assert results["volumes"][0]["reason"].endswith("; modality CT")
    assert "modality CT" not in results["images"][0]["reason"]


@pytest.mark.parametrize(
    ("grey", "cause"),
    [
        (np.nan, "15 of 2880 voxels are NaN or infinite"),
        (0, "only 2 different whole numbers: a label map, not an image"),
    ],
)
def test_what_only_the_voxels_tell_is_a_reason_for_review(
    tmp_path: Path, segmenter: Segmenter, grey: float, cause: str
):
    voxels = np.full((24, 20, 6), 10.0)
    voxels[2:7, 4:7, 2] = grey
    image = nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 5.0, 1.0]))
    image.set_data_dtype(np.float32 if np.isnan(grey) else np.int16)
    nib.save(image, tmp_path / "x.nii.gz")
    segment_all(segmenter, find_inputs([str(tmp_path / "x.nii.gz")]), out=tmp_path / "out")
    (volume,) = json.loads((tmp_path / "out/results.json").read_text())["volumes"]
    assert cause in volume["reason"]
    assert volume["review"]


def test_a_series_that_lost_a_slice_replaces_its_mask(tmp_path: Path, segmenter: Segmenter, write_series: WriteSeries):
    sources = write_series(tmp_path / "s", blocks((2, 4, 10), (3, 4, 10)))
    for _ in range(2):
        segment_all(segmenter, find_inputs([str(tmp_path / "s")]), out=tmp_path / "out")
        sources.pop().path.unlink()
    assert read_nifti(tmp_path / "out/s_mask.nii.gz")[1].shape == (24, 20, 5)
    other = write_series(tmp_path / "other/s", blocks())
    with pytest.raises(DataError, match=r"masks of other pictures \(1\), such as s_mask.nii.gz"):
        segment_all(segmenter, find_inputs([str(other[0].path.parent)]), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("slices", "holes"), [("ttrtt.", 1), ("trrtrt", 3), ("rttttr", 0), ("tr.ttt", 0), ("trfttt", 1), ("ttfttt", 0)]
)
def test_a_slice_that_is_rejected_between_slices_with_tumour_is_a_reason_for_review(
    make_volume: Callable[..., VolumeFile], slices: str, holes: int
):
    volume = make_volume(blocks()).volume
    mask, nothing = np.zeros(SIZE_HW, np.bool_), np.zeros(SIZE_HW, np.bool_)
    mask[4:7, 5:9] = True
    results = [
        SliceResult(
            index, mask if kind == "t" else nothing, np.ones(12 if kind == "t" else 0, np.float32),
            lesions=find_lesions(mask, mask.astype(np.float32)) if kind == "t" else (),
            reasons=("no head",) if kind in "rf" else (), rejected=kind == "r", failed=kind == "f",
        )
        for index, kind in enumerate(slices)
    ]  # fmt: skip
    reasons = [each for each in combine_slices(volume, results).reasons if "rejected" in each]
    many, verb = ("1 slice", "was") if holes == 1 else (f"{holes} slices", "were")
    assert reasons == ([f"{many} between slices with tumour {verb} rejected: sizes may be too small"] if holes else [])


def test_a_slice_of_a_rejected_volume_says_why_it_is_rejected(make_volume: Callable[..., VolumeFile]):
    item, nothing = make_volume(blocks()), np.zeros(SIZE_HW, dtype=np.bool_)
    judged = SliceResult(0, nothing, np.empty(0, np.float32), reasons=("low confidence (0.40)",))
    rejected = replace(judged, index=1, reasons=("it is in colour",), rejected=True)
    whole = "4 of 6 slices rejected: it is in colour"
    for one, reason in ((judged, whole), (replace(judged, reasons=()), whole), (rejected, "it is in colour")):
        record = describe_slice(one, item, mask=None, reason=whole)
        assert (record["status"], record["reason"]) == ("rejected", reason)


def test_scans_that_cannot_be_opened_are_records_of_their_own(tmp_path: Path, segmenter: Segmenter):
    finding = left_out("scan-refused", "x.nii", "the file is empty", "copy it again")
    summary = segment_all(segmenter, Inputs((), refused=(finding,)), out=tmp_path)
    (volume,) = json.loads((tmp_path / "results.json").read_text())["volumes"]
    assert (volume["file"], volume["status"], volume["mask"]) == ("x.nii", "error", None)
    assert summary.all_failures == ("x.nii: the file is empty; copy it again",)


# --- files ---


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "oblique", "negated"])
def test_the_nifti_mask_of_a_series_lies_where_the_series_does(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile], orientation: str
):
    """Converters have mirrored masks of series with negated cosines, and swapped the spacings of rows and columns."""
    item = make_volume(blocks((2, 4, 10), (3, 5, 11)), orientation)
    _, results = run(segmenter, item, tmp_path / "out", dicom_seg=True)
    image, voxels = read_nifti(tmp_path / "out/scan_mask.nii.gz")
    assert (voxels.shape, voxels.dtype) == ((24, 20, 6), np.uint8)
    header = image.header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert header["intent_name"].item() == b"tumour"
    assert header.get_slope_inter() in ((None, None), (1.0, 0.0))
    ras = image.affine @ [*np.argwhere(voxels).mean(axis=0), 1.0]
    (lesion,) = results["volumes"][0]["lesions"]
    assert np.abs(ras[:3] * [-1, -1, 1] - lesion["centroid_mm"]).max() < 0.01
    source = dcmread(item.volume.sources[2].path)
    across, down = np.reshape([float(v) for v in source.ImageOrientationPatient], (2, 3))
    first_voxel = image.affine @ [10, 4, 2, 1]
    expected = np.array([float(v) for v in source.ImagePositionPatient]) + 10 * 1.2 * across + 4 * 0.5 * down
    assert np.abs(first_voxel[:3] * [-1, -1, 1] - expected).max() < 0.01


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_mask_of_a_nifti_file_keeps_its_axes_affines_and_codes(
    tmp_path: Path, segmenter: Segmenter, image_class: type[nib.Nifti1Image], byte_order: str
):
    """Axes left, inferior, anterior; the affines differ, and so do their codes."""
    stored = np.full((24, 6, 20), 10, dtype=np.int16)
    stored[4:9, 2:4, 10:13] = 200
    affine = np.array([[-1.2, 0, 0, 20], [0, 0, 0.5, -30], [0, -3.0, 0, 40], [0, 0, 0, 1.0]])
    source = image_class(stored, affine, image_class.header_class(endianness=byte_order))
    source.set_sform(affine, 4)
    shifted = affine.copy()
    shifted[0, 3] += 2
    source.set_qform(shifted, 2)
    nib.save(source, tmp_path / "x.nii.gz")
    size = {nib.Nifti1Image: 348, nib.Nifti2Image: 540}[image_class]
    assert gzip.decompress((tmp_path / "x.nii.gz").read_bytes())[:4] == struct.pack(f"{byte_order}i", size)
    inputs = find_inputs([str(tmp_path / "x.nii.gz")])
    segment_all(segmenter, inputs, out=tmp_path / "out")
    assert (tmp_path / "out/x_mask.nii.gz").read_bytes()[4:8] == bytes(4)  # no time: equal masks are equal files
    image, voxels = read_nifti(tmp_path / "out/x_mask.nii.gz")
    assert np.array_equal(voxels, stored == 200)
    assert np.allclose(image.get_sform(), affine)
    assert np.allclose(image.get_qform(), shifted, atol=1e-4)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (2, 4)
    (volume,) = json.loads((tmp_path / "out/results.json").read_text())["volumes"]
    assert volume["file"] == str(tmp_path / "x.nii.gz")
    expected = affine @ [6, 2.5, 11, 1]
    assert volume["lesions"][0]["centroid_mm"] == pytest.approx(list(expected[:3]), abs=0.01)  # RAS, as the file has it


@pytest.mark.parametrize(("header", "voxels"), [("x.hdr", "x.img"), ("x.hdr.gz", "x.img.gz"), ("X.HDR", "X.IMG")])
def test_the_mask_of_voxels_that_were_named_has_the_place_in_the_header_beside_them(
    tmp_path: Path, segmenter: Segmenter, header: str, voxels: str
):
    affine = np.diag([-1.2, -0.5, 3.0, 1.0])
    affine[:3, 3] = 7, 8, 9
    image = nib.Nifti1Pair(blocks((2, 4, 10), (3, 4, 10)).transpose(2, 1, 0), affine)
    nib.save(image, tmp_path / "plain.img")
    for name, plain in ((header, "plain.hdr"), (voxels, "plain.img")):
        data = (tmp_path / plain).read_bytes()
        (tmp_path / "scan").mkdir(exist_ok=True)
        (tmp_path / "scan" / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    inputs = find_inputs([str(tmp_path / "scan" / voxels)])
    segment_all(segmenter, inputs, out=tmp_path / "out")
    (mask,) = (tmp_path / "out").glob("*_mask.nii.gz")
    written, marked = read_nifti(mask)
    assert np.allclose(written.affine, affine)
    assert marked.sum() == 30


def test_a_volume_whose_files_cannot_be_made_is_a_failure_and_the_others_go_on(tmp_path: Path, segmenter: Segmenter):
    """A file that is gone when its mask is made, such as on a network folder that was lost."""
    for name in ("a.nii", "b.nii"):
        voxels = blocks((2, 4, 10), (3, 4, 10)).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(voxels, np.diag([1.2, 0.5, 3.0, 1.0])), tmp_path / name)
    inputs = find_inputs([str(tmp_path / "a.nii"), str(tmp_path / "b.nii")])
    first = inputs.volumes[0].volume
    gone = SliceSource(tmp_path / "gone.nii")
    lost = replace(inputs.volumes[0], volume=replace(first, sources=(gone,) * len(first)))
    inputs = replace(inputs, volumes=(lost, inputs.volumes[1]))
    summary = segment_all(segmenter, inputs, out=tmp_path / "out")
    assert summary.volumes.failures == (
        f"{tmp_path}/gone.nii: cannot be read (No such file or directory); check the path and its permissions",
    )
    assert (summary.volumes.failed, summary.volumes.ok) == (1, 1)
    assert names_in(tmp_path / "out") == {"b_mask.nii.gz", *RESULT_FILES}
    volumes = json.loads((tmp_path / "out/results.json").read_text())["volumes"]
    assert [(volume["status"], volume["mask"]) for volume in volumes] == [("error", None), ("ok", "b_mask.nii.gz")]


def test_the_contact_sheet_shows_all_slices_and_where_the_mask_is(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    run(segmenter, make_volume(blocks((2, 4, 10), (3, 4, 10))), tmp_path / "out", overlay=True)
    sheet = cv2.imread(str(tmp_path / "out/scan_overlay.png"))
    assert sheet is not None
    amber = (sheet == (0, 176, 255)).all(axis=2)
    # 10 mm high and 28.8 mm wide: tiles of 67 x 192, in three rows of two.
    cell = sheet.shape[0] // 3, sheet.shape[1] // 2
    shown = [
        bool(amber[r * cell[0] : (r + 1) * cell[0], c * cell[1] : (c + 1) * cell[1]].any())
        for r in range(3)
        for c in range(2)
    ]
    assert shown == [False, False, True, True, False, False]


def test_a_dicom_seg_is_written_even_if_it_is_empty_unless_it_is_refused(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    empty = make_volume(blocks())
    run(segmenter, empty, tmp_path / "a", dicom_seg=True)
    assert names_in(tmp_path / "a") == {*RESULT_FILES, "scan_mask.nii.gz", "scan_seg.dcm"}
    assert not dcmread(tmp_path / "a/scan_seg.dcm").pixel_array.any()
    run(segmenter, empty, tmp_path / "a", dicom_seg=True, empty_seg=False)  # the old one goes
    assert names_in(tmp_path / "a") == {*RESULT_FILES, "scan_mask.nii.gz"}
    run(segmenter, make_volume(blocks((2, 4, 10), (3, 4, 10))), tmp_path / "b", dicom_seg=True, seg_fractional=True)
    assert dcmread(tmp_path / "b/scan_seg.dcm").SegmentationType == "FRACTIONAL"


def test_a_series_that_no_dicom_seg_fits_has_its_other_files_and_a_reason(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    item = make_volume(blocks((2, 4, 10), (3, 4, 10)))
    image = dcmread(item.volume.sources[0].path)
    del image.ImagePositionPatient
    image.save_as(item.volume.sources[0].path)
    summary, results = run(segmenter, item, tmp_path / "out", dicom_seg=True)
    assert "no DICOM-SEG can be made" in results["volumes"][0]["reason"]
    assert len(summary.all_failures) == 1
    assert names_in(tmp_path / "out") == {*RESULT_FILES, "scan_mask.nii.gz"}


def test_the_reason_that_no_dicom_seg_fits_does_not_repeat_the_file(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    item = make_volume(blocks(count=1))
    (source,) = item.volume.sources
    image = dcmread(source.path)
    del image.SeriesInstanceUID
    image.save_as(source.path)
    _, results = run(segmenter, item, tmp_path / "out", dicom_seg=True)
    (volume,) = results["volumes"]
    assert volume["file"] == str(source.path)
    assert volume["reason"].startswith("no DICOM-SEG can be made, because the image states no SeriesInstanceUID")


def test_bids_names_have_sidecars_and_a_description(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile]
):
    volume = make_volume(blocks((2, 4, 10), (3, 4, 10))).volume
    stem = "sub-001/anat/sub-001_space-orig_label-lesion"
    for _ in range(2):  # what was written before is recognised
        run(segmenter, VolumeFile(volume, stem, bids=True), tmp_path / "out", bids=True)
    files = {f"{stem}_mask.nii.gz", f"{stem}_mask.json", "dataset_description.json"}
    assert names_in(tmp_path / "out") == {*RESULT_FILES, *files}
    sidecar = json.loads((tmp_path / f"out/{stem}_mask.json").read_text())
    assert (sidecar["SpatialReference"], sidecar["Type"], len(sidecar["Sources"])) == ("orig", "Lesion", 6)
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert (description["DatasetType"], description["GeneratedBy"][0]["Name"]) == ("derivative", "tumortrace")


@pytest.mark.parametrize("failing", ["scan_mask.nii.gz", "scan_seg.dcm"])
def test_a_full_disk_leaves_no_file_without_a_record(
    tmp_path: Path,
    segmenter: Segmenter,
    make_volume: Callable[..., VolumeFile],
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
):
    def fill(path: Path, data: bytes) -> None:
        if path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, data)

    monkeypatch.setattr(unit_files, "write_atomically", fill)
    with pytest.raises(OSError, match=failing):
        run(segmenter, make_volume(blocks((2, 4, 10))), tmp_path / "out", dicom_seg=True)
    assert json.loads((tmp_path / "out/results.json").read_text())["volumes"] == []
    assert names_in(tmp_path / "out") == {"results.json", "results.csv"}


@pytest.mark.parametrize("name", ["scan_mask.nii.gz", "scan_seg.dcm"])
def test_a_corrected_mask_is_never_replaced(
    tmp_path: Path, segmenter: Segmenter, make_volume: Callable[..., VolumeFile], name: str
):
    item = make_volume(blocks((2, 4, 10), (3, 4, 10)))
    run(segmenter, item, tmp_path / "out", dicom_seg=True)
    path = tmp_path / "out" / name
    if name.endswith(".dcm"):
        changed = dcmread(path)
        changed.ContentDescription = "corrected"
        changed.save_as(path)
    else:
        image, voxels = read_nifti(path)
        nib.save(nib.Nifti1Image(1 - voxels, image.affine, image.header), path)
    with pytest.raises(DataError, match=f"{name}: tumortrace did not write this file"):
        run(segmenter, item, tmp_path / "out", dicom_seg=True)


# --- privacy ---


@pytest.mark.parametrize("keep_names", [False, True])
def test_nothing_of_the_patient_is_in_what_is_written_or_said_but_in_a_seg_that_keeps_names(
    tmp_path: Path,
    segmenter: Segmenter,
    make_volume: Callable[..., VolumeFile],
    canaries: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    *,
    keep_names: bool,
):
    item = make_volume(blocks((2, 4, 10), (3, 4, 10)), broken=(5,))
    summary, _ = run(segmenter, item, tmp_path / "out", overlay=True, dicom_seg=True, keep_names=keep_names)
    said = capfd.readouterr()
    texts = [said.out, said.err, repr(summary), *(str(path) for path in (tmp_path / "out").rglob("*"))]
    written = [path for path in (tmp_path / "out").iterdir() if not (keep_names and path.suffix == ".dcm")]
    data = [text.encode() for text in texts] + [path.read_bytes() for path in written]
    assert len(canaries) == 12
    assert len(written) == (6 if keep_names else 7)
    for keyword, value in canaries.items():
        assert not any(value.encode() in one for one in data), keyword
