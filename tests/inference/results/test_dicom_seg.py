"""DICOM segmentation objects: valid, in their place, and without the patient's name."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from tumortrace.config import Recipe
from tumortrace.data.volume import SliceSource
from tumortrace.errors import DataError
from tumortrace.inference.model import Model
from tumortrace.inference.results.dicom_seg import SegOptions, encode_seg
from tumortrace.inference.results.signed import is_signed

ORIENTATIONS = ("axial", "sagittal", "coronal", "oblique", "negated")

KEPT = SegOptions(keep_names=True)

WriteSeries = Callable[..., list[SliceSource]]


@pytest.fixture
def model(open_hand_model: Callable[..., Model]) -> Model:
    return open_hand_model(Recipe((8, 12), threshold=0.55))


def two_lesions() -> NDArray[np.int32]:
    """Labels of 5 slices of 13 x 18 pixels: nothing is symmetric, and rows do not end on whole bytes."""
    labels = np.zeros((5, 13, 18), dtype=np.int32)
    labels[1:3, 2:5, 9:16] = 1
    labels[3, 8:10, 1:4] = 2
    return labels


def validate(path: Path) -> list[str]:
    """Errors and warnings of dciodvfy; without it the test is skipped, so what needs no dciodvfy is asserted before."""
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines[0] == "Segmentation"
    return lines[1:]


def place_of_pixels(image: Dataset, position: Any, mask: NDArray[np.bool_]) -> NDArray[np.float64]:  # noqa: ANN401
    """Places of a mask's pixels by the formula of the standard (part 3, C.7.6.2.1.1): shape (N, 3)."""
    across, down = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
    rows_mm, columns_mm = (float(v) for v in image.PixelSpacing)
    rows, columns = np.nonzero(mask)
    return (
        np.array([float(v) for v in position])
        + columns[:, None] * columns_mm * across
        + rows[:, None] * rows_mm * down
    )  # fmt: skip


def centroid_of_source(sources: list[SliceSource], labels: NDArray[Any], number: int) -> NDArray[np.float64]:
    images = [dcmread(source.path) for source in sources]
    places = [
        place_of_pixels(image, image.ImagePositionPatient, plane == number)
        for image, plane in zip(images, labels, strict=True)
    ]
    return np.concatenate(places).mean(axis=0)


def group(seg: Dataset, frame: Dataset, keyword: str) -> Dataset:
    """A functional group of a frame; what all frames share may stand once."""
    return (frame.get(keyword) or seg.SharedFunctionalGroupsSequence[0][keyword].value)[0]


def frames_of_seg(seg: Dataset) -> list[tuple[int, Any, NDArray[np.bool_]]]:
    """Segment, position and mask of each frame, read by pydicom alone."""
    pixels = np.reshape(seg.pixel_array, (-1, seg.Rows, seg.Columns))
    return [
        (
            int(group(seg, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber),
            group(seg, frame, "PlanePositionSequence").ImagePositionPatient,
            mask > 0,
        )
        for frame, mask in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True)
    ]


def centroids_of_seg(seg: Dataset, source: Dataset) -> dict[int, NDArray[np.float64]]:
    """Centroid of each segment."""
    found: dict[int, list[NDArray[np.float64]]] = {}
    for number, position, mask in frames_of_seg(seg):
        found.setdefault(number, []).append(place_of_pixels(source, position, mask))
    return {number: np.concatenate(places).mean(axis=0) for number, places in found.items()}


CASES = {
    "one slice": (slice(1, 2), lambda labels: labels),
    "series": (slice(None), lambda labels: np.where(labels == 1, 1, 0)),
    "empty": (slice(None), np.zeros_like),
    "two lesions": (slice(None), lambda labels: labels),
    "shuffled files": (slice(None, None, -1), lambda labels: labels),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_object_is_valid_and_lies_where_its_images_do(
    tmp_path: Path, model: Model, write_series: WriteSeries, orientation: str, case: str
):
    """Sources and mask come in one order, whatever the names of the files: reversed, they are reversed together."""
    part, change = CASES[case]
    labels = change(two_lesions())[part]
    sources = write_series(tmp_path / "series", np.zeros((5, 13, 18)), orientation)[part]
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, labels, model=model))
    seg, source = dcmread(path), dcmread(sources[0].path)
    numbers = [number for number in (1, 2) if (labels == number).any()]
    if not numbers:
        assert [(number, bool(mask.any())) for number, _, mask in frames_of_seg(seg)] == [(1, False)] * 5
    else:
        centroids = centroids_of_seg(seg, source)
        assert sorted(centroids) == numbers
        for number in numbers:
            expected = centroid_of_source(sources, labels, number)
            assert np.abs(centroids[number] - expected).max() < 0.01
    assert validate(path) == []


def test_another_reader_finds_the_same_mask_on_the_same_images(tmp_path: Path, model: Model, write_series: WriteSeries):
    labels = two_lesions()
    sources = write_series(tmp_path, np.zeros((5, 13, 18)), "oblique")
    seg = hd.seg.segread(io.BytesIO(encode_seg(sources, labels, model=model)))
    uids = [str(dcmread(source.path).SOPInstanceUID) for source in sources]
    pixels = seg.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels[..., 0], labels == 1)
    assert np.array_equal(pixels[..., 1], labels == 2)


def test_each_lesion_is_a_segment_with_codes_algorithm_and_a_tracking_uid(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    sources = write_series(tmp_path, np.zeros((5, 13, 18)))
    seg = dcmread(io.BytesIO(encode_seg(sources, two_lesions(), model=model)))
    assert (seg.Modality, seg.SegmentationType, seg.SegmentsOverlap) == ("SEG", "BINARY", "NO")
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Lesion 1", "Lesion 2"]
    for item in seg.SegmentSequence:
        category, kind = item.SegmentedPropertyCategoryCodeSequence[0], item.SegmentedPropertyTypeCodeSequence[0]
        assert (category.CodeValue, category.CodingSchemeDesignator) == ("49755003", "SCT")
        assert category.CodeMeaning == "Morphologically Abnormal Structure"
        assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("108369006", "SCT", "Neoplasm")
        assert [region.CodeMeaning for region in item.AnatomicRegionSequence] == ["Brain"]
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        assert (item.SegmentAlgorithmType, algorithm.AlgorithmName) == ("AUTOMATIC", "tumortrace bright")
        assert model.sha256 in algorithm.AlgorithmParameters
    assert len({item.TrackingUID for item in seg.SegmentSequence}) == 2
    corrected = dcmread(io.BytesIO(encode_seg(sources, two_lesions(), model=model, options=SegOptions(corrected=True))))
    assert {item.SegmentAlgorithmType for item in corrected.SegmentSequence} == {"SEMIAUTOMATIC"}


def test_empty_slices_have_frames_on_demand(tmp_path: Path, model: Model, write_series: WriteSeries):
    labels = np.where(two_lesions() == 1, 1, 0)
    sources = write_series(tmp_path, np.zeros((5, 13, 18)))
    all_frames = encode_seg(sources, labels, model=model, options=SegOptions(omit_empty_frames=False))
    assert int(dcmread(io.BytesIO(encode_seg(sources, labels, model=model))).NumberOfFrames) == 2
    frames = frames_of_seg(dcmread(io.BytesIO(all_frames)))
    by_height = sorted(frames, key=lambda frame: float(frame[1][2]))  # the series is axial
    assert np.array_equal([mask for _, _, mask in by_height], labels > 0)


def test_a_fractional_object_holds_probabilities(tmp_path: Path, model: Model, write_series: WriteSeries):
    """Probabilities come in 255ths, which is how the object stores them."""
    probability = np.zeros((3, 13, 18), dtype=np.uint8)
    probability[1, 4, 5:9] = 1, 64, 200, 255
    sources = write_series(tmp_path / "series", np.zeros((3, 13, 18)))
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, probability, model=model, options=SegOptions(fractional=True)))
    seg = dcmread(path)
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert seg.MaximumFractionalValue == 255
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Tumour probability"]
    assert np.array_equal(np.squeeze(seg.pixel_array), probability[1])
    assert validate(path) == []


def test_frames_of_a_multi_frame_file_are_ordered_as_the_slices_are(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    """Frame 3 is the first slice here, and frame 2 belongs to another volume."""
    source = write_enhanced(tmp_path / "enhanced.dcm", write_series(tmp_path / "series", np.zeros((4, 13, 18))))
    labels = np.zeros((3, 13, 18), dtype=np.int32)
    labels[0, 2:4, 5:9] = 1
    sources = [SliceSource(source, frame) for frame in (3, 1, 4)]
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, labels, model=model))
    seg = dcmread(path)
    derivation = group(seg, seg.PerFrameFunctionalGroupsSequence[0], "DerivationImageSequence")
    assert derivation.SourceImageSequence[0].ReferencedFrameNumber == 3
    ((number, position, mask),) = frames_of_seg(seg)
    assert (number, [float(v) for v in position]) == (1, [-10.0, 5.0, 7.0 + 2 * 3.0])
    assert np.array_equal(mask, labels[0] > 0)
    assert validate(path) == []


def test_volumes_of_one_file_at_the_same_places_have_an_object_each(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    """Two echoes, one after the other at each place; the slices are those of the second."""
    images = write_series(tmp_path / "series", np.zeros((5, 13, 18)))
    source = write_enhanced(tmp_path / "enhanced.dcm", [image for image in images for _ in range(2)])
    sources = [SliceSource(source, frame) for frame in (2, 4, 6, 8, 10)]
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, two_lesions(), model=model, options=SegOptions(omit_empty_frames=False)))
    seg = dcmread(path)
    assert seg.NumberOfFrames == 2 * 5
    for groups, (segment, position, mask) in zip(seg.PerFrameFunctionalGroupsSequence, frames_of_seg(seg), strict=True):
        number = int(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        index = (number - 2) // 2
        assert number == 2 + 2 * index
        assert float(position[2]) == 7.0 + 3.0 * index
        assert np.array_equal(mask, two_lesions()[index] == segment)
    assert validate(path) == []


def write_enhanced(path: Path, sources: list[SliceSource]) -> Path:
    """Write an enhanced MR file whose orientation and spacing stand frame by frame, as some scanners have it."""
    image = dcmread(sources[0].path)
    images = [dcmread(source.path) for source in sources]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    image.NumberOfFrames = len(images)
    image.SharedFunctionalGroupsSequence = [Dataset()]
    image.PerFrameFunctionalGroupsSequence = []
    for each in images:
        groups, position, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = each.ImagePositionPatient
        orientation.ImageOrientationPatient = each.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = each.PixelSpacing, each.SliceThickness
        groups.PlanePositionSequence, groups.PlaneOrientationSequence = [position], [orientation]
        groups.PixelMeasuresSequence = [measures]
        image.PerFrameFunctionalGroupsSequence.append(groups)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(image, keyword)
    image.PixelData = b"".join(each.PixelData for each in images)
    image.save_as(path)
    return path


# --- patient ---


def test_an_object_names_nobody_unless_asked_to(
    tmp_path: Path, model: Model, write_series: WriteSeries, canaries: dict[str, str]
):
    sources = write_series(tmp_path, np.zeros((5, 13, 18)))
    data = encode_seg(sources, two_lesions(), model=model)
    assert len(canaries) == 12
    assert [keyword for keyword, value in canaries.items() if value.encode() in data] == []
    seg, source = dcmread(io.BytesIO(data)), dcmread(sources[0].path)
    assert (str(seg.PatientName), seg.PatientBirthDate, seg.PatientSex, seg.AccessionNumber) == ("", "", "", "")
    assert (seg.StudyID, seg.StudyDate, seg.StudyTime) == ("anonymous", "19000101", "000000")
    assert (seg.PatientID[:10], len(seg.PatientID), seg.PatientIdentityRemoved) == ("anonymous-", 22, "YES")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[keyword].value == source[keyword].value


def test_an_object_that_keeps_names_copies_patient_and_study_and_nothing_else(
    tmp_path: Path, model: Model, write_series: WriteSeries, canaries: dict[str, str]
):
    sources = write_series(tmp_path, np.zeros((5, 13, 18)))
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(data := encode_seg(sources, two_lesions(), model=model, options=SegOptions(keep_names=True)))
    seg, source = dcmread(io.BytesIO(data)), dcmread(sources[0].path)
    needed = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber")
    needed += ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "FrameOfReferenceUID")
    for keyword in needed:
        assert seg[keyword].value == source[keyword].value, keyword
    assert "PatientIdentityRemoved" not in seg
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    others = [keyword for keyword in canaries if keyword not in needed]
    assert others == ["OtherPatientNames", "PatientAddress", "PatientComments", "StudyDescription", "InstitutionName"]
    assert [keyword for keyword in others if canaries[keyword].encode() in data] == []
    assert validate(path) == []


def test_wrong_dates_and_sexes_of_a_patient_are_left_out(tmp_path: Path, model: Model, write_series: WriteSeries):
    sources = write_series(tmp_path, np.zeros((1, 13, 18)))
    image = dcmread(sources[0].path)
    image.PatientSex = "U"
    image.add_new("StudyTime", "LO", "at noon")
    del image.PatientID
    image.save_as(sources[0].path)
    labels = np.ones((1, 13, 18), dtype=np.int32)
    seg = dcmread(io.BytesIO(encode_seg(sources, labels, model=model, options=KEPT)))
    assert (seg.PatientSex, seg.StudyTime, seg.PatientID) == ("", "", "")
    assert str(seg.PatientName) == "Canary^Nightingale"


def test_a_name_of_one_part_is_completed_and_not_printed(
    tmp_path: Path, model: Model, write_series: WriteSeries, capfd: pytest.CaptureFixture[str]
):
    """highdicom warns of such a name, and names it."""
    sources = write_series(tmp_path, np.zeros((1, 13, 18)))
    image = dcmread(sources[0].path)
    image.PatientName = "Canary_Alone"
    image.save_as(sources[0].path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seg = dcmread(io.BytesIO(encode_seg(sources, np.ones((1, 13, 18), dtype=np.int32), model=model, options=KEPT)))
    assert (str(seg.PatientName), caught, capfd.readouterr()) == ("Canary_Alone^", [], ("", ""))


# --- what cannot be written, what is ours ---


def test_a_series_without_a_frame_of_reference_gets_one(tmp_path: Path, model: Model, write_series: WriteSeries):
    sources = write_series(tmp_path, np.zeros((2, 13, 18)))
    for source in sources:
        image = dcmread(source.path)
        del image.FrameOfReferenceUID
        image.save_as(source.path)
    labels = np.ones((2, 13, 18), dtype=np.int32)
    first, second = (dcmread(io.BytesIO(encode_seg(sources, labels, model=model))) for _ in range(2))
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.NumberOfFrames == 2


def test_images_without_the_mark_of_dicom_get_an_object(tmp_path: Path, model: Model, write_series: WriteSeries):
    sources = write_series(tmp_path, np.zeros((5, 13, 18)))
    marked = dcmread(io.BytesIO(encode_seg(sources, two_lesions(), model=model)))
    for source in sources:
        image = dcmread(source.path)
        del image.file_meta, image.preamble
        image.save_as(source.path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert b"DICM" not in source.path.read_bytes()[:132]
    plain = dcmread(io.BytesIO(encode_seg(sources, two_lesions(), model=model)))
    assert np.array_equal(plain.pixel_array, marked.pixel_array)
    assert plain.ReferencedSeriesSequence == marked.ReferencedSeriesSequence


def test_slices_without_thickness_get_the_distance_of_their_planes(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    sources = write_series(tmp_path, np.zeros((3, 13, 18)), step_mm=2.5)
    for source in sources:
        image = dcmread(source.path)
        del image.SliceThickness
        image.save_as(source.path)
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, np.ones((3, 13, 18), dtype=np.int32), model=model))
    seg = dcmread(path)
    assert group(seg, seg.PerFrameFunctionalGroupsSequence[0], "PixelMeasuresSequence").SliceThickness == 2.5
    with pytest.raises(DataError, match="the image states no SliceThickness"):
        encode_seg(sources[:1], np.ones((1, 13, 18), dtype=np.int32), model=model)
    assert validate(path) == []


@pytest.mark.parametrize("charset", ["ISO_IR 100", ["", "ISO 2022 IR 87"], "ISO 2022 IR 100"])
def test_names_of_any_character_set_are_kept_as_utf_8(
    tmp_path: Path, model: Model, write_series: WriteSeries, charset: object
):
    sources = write_series(tmp_path, np.zeros((1, 13, 18)))
    image = dcmread(sources[0].path)
    image.SpecificCharacterSet, image.PatientName = (
        charset,
        "Canary^Ren\u00e9" if charset == "ISO_IR 100" else "Canary^R",
    )
    image.save_as(sources[0].path)
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, np.ones((1, 13, 18), dtype=np.int32), model=model, options=KEPT))
    assert str(dcmread(path).PatientName) == str(dcmread(sources[0].path).PatientName)
    assert validate(path) == []


def test_images_of_several_coordinate_systems_are_refused_with_the_reason(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    sources = write_series(tmp_path, np.zeros((2, 13, 18)))
    image = dcmread(sources[1].path)
    image.FrameOfReferenceUID += ".1"
    image.save_as(sources[1].path)
    with pytest.raises(DataError, match="its images name several coordinate systems"):
        encode_seg(sources, np.zeros((2, 13, 18), dtype=np.int32), model=model)


def test_images_without_a_place_are_named(tmp_path: Path, model: Model, write_series: WriteSeries):
    sources = write_series(tmp_path, np.zeros((2, 13, 18)))
    for source in sources:
        image = dcmread(source.path)
        del image.ImagePositionPatient
        image.save_as(source.path)
    with pytest.raises(
        DataError, match=r"000\.dcm: .* because the image states no ImagePositionPatient; use the NIfTI"
    ):
        encode_seg(sources, np.zeros((2, 13, 18), dtype=np.int32), model=model)
    with pytest.raises(DataError, match=r"001\.dcm: a mask of 2 slices for 1 image"):
        encode_seg(sources[1:], np.zeros((2, 13, 18), dtype=np.int32), model=model)
    sources[1].path.write_bytes(b"no DICOM")
    with pytest.raises(DataError, match=r"001\.dcm: no DICOM-SEG can be made"):
        encode_seg(sources[1:], np.zeros((1, 13, 18), dtype=np.int32), model=model)


def test_an_object_is_recognised_until_somebody_changes_it(tmp_path: Path, model: Model, write_series: WriteSeries):
    sources = write_series(tmp_path, np.zeros((1, 13, 18)))
    path = tmp_path / "x_seg.dcm"
    path.write_bytes(encode_seg(sources, np.ones((1, 13, 18), dtype=np.int32), model=model))
    assert is_signed(path)
    seg = dcmread(path)
    seg.ContentDescription = "corrected"
    seg.save_as(path)
    assert not is_signed(path)
    assert not is_signed(sources[0].path)


def test_a_multi_frame_image_without_functional_groups_is_refused_with_the_reason(
    tmp_path: Path, model: Model, write_series: WriteSeries
):
    sources = write_series(tmp_path, np.zeros((1, 13, 18)))
    image = dcmread(sources[0].path)
    image.SOPClassUID, image.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.4.1", 2
    image.PixelData *= 2
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(image, keyword)
    image.save_as(sources[0].path)
    frames = [SliceSource(sources[0].path, number) for number in (1, 2)]
    words = "the image states no ImagePositionPatient, ImageOrientationPatient, PixelSpacing"
    with pytest.raises(DataError, match=words):
        encode_seg(frames, np.zeros((2, 13, 18), dtype=np.int32), model=model)
