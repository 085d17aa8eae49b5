"""Series: frames of any files in any order become volumes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, SecondaryCaptureImageStorage
from tests.data.dicom.conftest import RAMP, make_dataset, save

from tumortrace.data.scans import OpenedVolumes, open_volumes

SERIES = {"SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 7}


def write_slices(folder: Path, depths: Sequence[float], start: int = 0, **tags: object) -> None:
    """Axial slices of one series; the value of all pixels is the depth."""
    for number, depth in enumerate(depths, start=start):
        pixels = np.full((4, 6), int(abs(depth)), np.uint16)
        image = make_dataset(
            pixels, **(SERIES | {"ImagePositionPatient": [0, 0, depth], "InstanceNumber": number + 1} | tags)
        )
        save(image, folder / f"{hash((number, depth)) % 1000:03}-{number}")


def values(opened: OpenedVolumes) -> list[list[int]]:
    return [[int(volume.read(k).pixels[0, 0]) for k in range(len(volume))] for volume in opened.volumes]


def kinds(opened: OpenedVolumes) -> list[list[str]]:
    return [[finding.kind for finding in volume.findings] for volume in opened.volumes]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[::2])
def test_slices_are_sorted_along_their_normal_whatever_their_names_and_numbers(tmp_path: Path, order):
    for name, at in enumerate(order):
        write_slices(tmp_path / "head" / f"{name}", [(10, 13, 16)[at]], start=5 - at)
    opened = open_volumes(tmp_path)
    assert values(opened) == [[10, 13, 16]]
    (volume,) = opened.volumes
    assert (volume.series_uid, volume.modality, volume.step_mm) == ("1.2.3.4", "MR", pytest.approx(3))
    assert volume.name == "head"
    assert [position[2] for position in volume.positions_mm] == [10, 13, 16]
    assert volume.findings == opened.findings == ()


def test_negated_directions_turn_the_order_not_the_places(tmp_path: Path):
    """Converters have mirrored masks here: with columns to the right and rows to the back the normal points down."""
    write_slices(tmp_path, [10, 13, 16], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    opened = open_volumes(tmp_path)
    assert values(opened) == [[16, 13, 10]]
    (volume,) = opened.volumes
    assert (volume.affine @ [2, 1, 0, 1])[:3].tolist() == [-2, 1, 16]
    assert (volume.affine @ [0, 0, 2, 1])[:3].tolist() == pytest.approx([0, 0, 10])


def test_series_in_one_folder_are_split_and_one_can_be_chosen(tmp_path: Path):
    write_slices(tmp_path / "a", [1, 2])
    write_slices(tmp_path / "a", [5, 6], start=9, SeriesInstanceUID="1.2.9", SeriesNumber=8)
    opened = open_volumes(tmp_path)
    assert sorted(values(opened)) == [[1, 2], [5, 6]]
    assert sorted(volume.name for volume in opened.volumes) == ["a_series-7", "a_series-8"]
    assert values(open_volumes(tmp_path, series_uid="1.2.9")) == [[5, 6]]


@pytest.mark.parametrize(
    ("tags", "name", "mark"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "orientation", "sagittal"),
        ({"PixelSpacing": [2, 1]}, "spacing", "2x1mm"),
        ({"EchoNumbers": 2, "EchoTime": 80}, "echo", "echo-2"),
        ({"TemporalPositionIdentifier": 2}, "time", "time-2"),
    ],
)
def test_a_series_is_split_by_what_never_differs_within_a_volume(tmp_path: Path, tags, name, mark):
    plain = {"EchoNumbers": 1, "EchoTime": 20, "TemporalPositionIdentifier": 1}
    write_slices(tmp_path / "s", [1, 2], **plain)
    write_slices(tmp_path / "s", [5], start=9, **(plain | tags))
    opened = open_volumes(tmp_path)
    assert sorted(len(volume) for volume in opened.volumes) == [1, 2]
    assert len(opened.volumes) == 2
    assert any(volume.name.endswith(mark) for volume in opened.volumes)
    assert {kind for found in kinds(opened) for kind in found} >= {"series-split"}
    assert f"{name} (" in opened.volumes[0].findings[0].cause


@pytest.mark.parametrize(
    ("keyword", "plain", "rounded"),
    [("PixelSpacing", [0.9375, 0.9375], [0.93749999, 0.93749999]), ("EchoTime", 2.4550001, 2.4549999)],
)
def test_a_rounded_header_does_not_split_a_series(tmp_path: Path, keyword, plain, rounded):
    """Both values lie beside a place at which rounding to fewer digits goes up or down."""
    write_slices(tmp_path / "s", [1, 2, 3], **{keyword: plain})
    write_slices(tmp_path / "s", [4], start=3, **{keyword: rounded})
    (volume,) = open_volumes(tmp_path).volumes
    assert (len(volume), volume.findings) == (4, ())


def test_another_matrix_is_another_volume(tmp_path: Path):
    write_slices(tmp_path / "s", [1, 2])
    image = make_dataset(RAMP.reshape(6, 4), **SERIES, ImagePositionPatient=[0, 0, 3])
    save(image, tmp_path / "s" / "x")
    assert sorted(volume.size_hw for volume in open_volumes(tmp_path).volumes) == [(4, 6), (6, 4)]


@pytest.mark.parametrize(
    ("tags", "how"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, "image type"),
        ({"DiffusionBValue": 1000.0}, "b-value"),
        ({"AcquisitionNumber": 2}, "acquisition"),
        ({}, "the order of their numbers"),
    ],
)
def test_repeated_positions_are_told_and_split(tmp_path: Path, tags, how):
    plain = {"ImageType": ["ORIGINAL", "PRIMARY", "M"], "DiffusionBValue": 0.0, "AcquisitionNumber": 1}
    write_slices(tmp_path / "s", [10, 13], **plain)
    write_slices(tmp_path / "s", [-10, -13], start=4, **(plain | tags))  # elsewhere, so that values differ
    for path in (tmp_path / "s").iterdir():
        image = dcmread(path)
        image.ImagePositionPatient[2] = abs(image.ImagePositionPatient[2])
        image.save_as(path)
    opened = open_volumes(tmp_path)
    assert values(opened) == [[10, 13], [10, 13]]
    assert kinds(opened) == [["places-repeat"], ["places-repeat"]]
    cause = opened.volumes[0].findings[0].cause
    assert cause == f"positions repeat: 4 images at 2 positions, split into 2 volumes by {how}"
    assert [volume.name for volume in opened.volumes] == ["s_part-1", "s_part-2"]


def test_frames_that_all_name_one_position_are_one_series_without_positions(tmp_path: Path):
    save(make_enhanced([7, 7, 7], [2, 1, 3]), tmp_path / "a.dcm")
    write_slices(tmp_path / "s", [30, 10, 20])
    for path in (tmp_path / "s").iterdir():
        image = dcmread(path)
        image.ImagePositionPatient[2] = 0
        image.save_as(path)
    opened = open_volumes(tmp_path)
    assert values(opened) == [[20, 10, 30], [30, 10, 20]]  # in the order of their numbers
    assert kinds(opened) == [["places-repeat", "orientation-unknown"]] * 2
    assert [(volume.step_mm, volume.affine, volume.positions_mm) for volume in opened.volumes] == [(None,) * 3] * 2
    assert opened.volumes[0].spacing_mm == (0.5, 1.2)
    cause = "all 3 images name the same position, which is ignored: they are read as one series"
    assert opened.volumes[0].findings[0].cause == cause


def test_a_missing_slice_is_told_with_its_neighbours(tmp_path: Path):
    write_slices(tmp_path, [0, 3, 6, 12])
    (volume,) = open_volumes(tmp_path).volumes
    assert (volume.step_mm, volume.affine, volume.voxel_mm3) == (None, None, None)
    assert volume.findings[0].kind == "uneven"
    assert "6.00 mm between slices 3 (" in volume.findings[0].cause
    assert "elsewhere 3.00 mm" in volume.findings[0].cause


def test_a_tilted_gantry_is_told(tmp_path: Path):
    write_slices(tmp_path, [0, 5, 10], ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6])
    (volume,) = open_volumes(tmp_path).volumes
    assert volume.findings[0].kind == "tilt"
    assert "36.9 degrees" in volume.findings[0].cause
    assert volume.step_mm == pytest.approx(4)


def test_the_same_object_twice_is_left_out_once_and_named(tmp_path: Path):
    image = make_dataset(RAMP)
    save(image, tmp_path / "a.dcm")
    save(image, tmp_path / "b.dcm")
    opened = open_volumes(tmp_path)
    assert [len(volume) for volume in opened.volumes] == [1]
    assert [(finding.kind, Path(finding.file).name) for finding in opened.findings] == [("dicom-copy", "b.dcm")]
    assert opened.findings[0].cause == "the same object as a.dcm (SOPInstanceUID)"


def test_the_same_object_in_another_folder_is_named_with_it(tmp_path: Path):
    """A patient's folder that was copied under another name holds the same file names."""
    image = make_dataset(RAMP)
    for folder in ("p1", "p2"):
        (tmp_path / folder).mkdir()
        save(image, tmp_path / folder / "a.dcm")
    (finding,) = open_volumes(tmp_path).findings
    assert finding.file == str(tmp_path / "p2/a.dcm")
    assert finding.cause == f"the same object as {tmp_path / 'p1/a.dcm'} (SOPInstanceUID)"


def write_stack(folder: Path, **tags: object) -> None:
    """Three slices 2 mm apart; tags that are functions get the number of the slice."""
    for index in range(3):
        image = make_dataset(RAMP + index, SeriesInstanceUID="1.2.3", ImagePositionPatient=[0, 0, 2 * index])
        image.InstanceNumber = index + 1
        for keyword, value in tags.items():
            setattr(image, keyword, value(index) if callable(value) else value)
        save(image, folder / f"{index}.dcm")


def test_files_of_one_uid_at_different_places_are_no_copies(tmp_path: Path):
    write_stack(tmp_path, SOPInstanceUID="1.2.4")
    opened = open_volumes(tmp_path)
    assert ([len(volume) for volume in opened.volumes], opened.findings) == ([3], ())


def test_a_coordinate_system_of_each_file_does_not_split_a_series(tmp_path: Path):
    write_stack(tmp_path, FrameOfReferenceUID=lambda index: f"1.2.{index + 5}")
    assert kinds(open_volumes(tmp_path)) == [["systems-differ"]]
    write_stack(tmp_path, FrameOfReferenceUID=lambda index: f"1.2.{5 if index else 6}")
    assert kinds(open_volumes(tmp_path)) == [["series-split"]] * 2


def test_files_without_a_coordinate_system_do_not_split_a_series(tmp_path: Path):
    write_stack(tmp_path, FrameOfReferenceUID=lambda index: "" if index % 2 else "1.2.5")
    assert kinds(open_volumes(tmp_path)) == [[]]
    write_stack(tmp_path, FrameOfReferenceUID=lambda index: "" if index < 1 else f"1.2.{index + 5}")
    assert kinds(open_volumes(tmp_path)) == [["systems-differ"]]


def test_files_without_series_are_one_if_they_share_folder_and_coordinate_system(tmp_path: Path):
    nameless = {"SeriesInstanceUID": "", "SeriesNumber": 7, "FrameOfReferenceUID": "1.2.9"}
    write_slices(tmp_path / "a", [10, 13, 16], **nameless)
    write_slices(tmp_path / "a", [20, 23], start=5, **(nameless | {"SeriesNumber": 8}))
    write_slices(tmp_path / "b", [10], **nameless)  # of another folder, alone there
    opened = open_volumes(tmp_path)
    assert sorted(values(opened)) == [[10], [10, 13, 16], [20, 23]]
    volumes = {volume.name: volume for volume in opened.volumes}
    assert {volumes[name].series_uid for name in volumes} == {None}
    told = {name: [finding.kind for finding in volume.findings] for name, volume in volumes.items()}
    assert told.pop("a_series-7") == told.pop("a_series-8") == ["series-unknown"]
    assert list(told.values()) == [[]]
    cause = "no SeriesInstanceUID: 3 files of one folder and coordinate system are taken as one series"
    assert volumes["a_series-7"].findings[0].cause == cause


@pytest.mark.parametrize("tags", [{}, {"FrameOfReferenceUID": "1.2.9", "ImagePositionPatient": None}])
def test_files_without_series_that_share_nothing_are_one_each_and_counted(tmp_path: Path, tags):
    for number in range(3):
        write_slices(tmp_path, [number], start=number, SeriesInstanceUID="")
    for path in tmp_path.iterdir():
        image = dcmread(path)
        for keyword, value in tags.items():
            setattr(image, keyword, value)
        image.save_as(path)
    opened = open_volumes(tmp_path)
    assert [len(volume) for volume in opened.volumes] == [1, 1, 1]
    causes = {finding.cause for volume in opened.volumes for finding in volume.findings[:1]}
    assert causes == {"no SeriesInstanceUID: 3 files of the folder are a scan each"}


def test_numbers_with_blanks_and_a_modality_in_small_letters_are_read(tmp_path: Path):
    image = make_dataset(RAMP, Modality="mr")
    for keyword, data in {"PixelSpacing": b" 0.5\\ 1.2 ", "SliceThickness": b" 3", "RescaleSlope": b" 2.0"}.items():
        tag = Tag(keyword)
        image[tag] = RawDataElement(tag, "DS", len(data), data, 0, False, True)
    save(image, tmp_path / "a.dcm")
    (volume,) = open_volumes(tmp_path / "a.dcm").volumes
    assert (volume.spacing_mm, volume.step_mm, volume.findings) == ((0.5, 1.2), 3, ())
    assert np.array_equal(volume.read(0).pixels, RAMP * 2)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Modality": "CT"}, "modality"),
        ({"Modality": None}, "modality"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, "projection"),
        ({"PhotometricInterpretation": None}, "photometric-unknown"),
        ({"PixelSpacing": None}, "spacing-unknown"),
        ({"PixelSpacing": [0, 1]}, "spacing-unknown"),
        ({"ImagePositionPatient": None}, "orientation-unknown"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation-unknown"),
    ],
)
def test_what_is_odd_about_a_slice_is_told(tmp_path: Path, tags, kind):
    save(make_dataset(RAMP, **tags), tmp_path / "a.dcm")
    assert kinds(open_volumes(tmp_path / "a.dcm")) == [[kind]]


def test_an_empty_thickness_is_unknown_and_not_zero(tmp_path: Path):
    image = make_dataset(RAMP)
    image.SliceThickness = None
    save(image, tmp_path / "a.dcm")
    (volume,) = open_volumes(tmp_path).volumes
    assert volume.step_mm is None


def make_enhanced(depths: Sequence[float], slopes: Sequence[float]) -> Dataset:
    """An enhanced MR object: orientation and spacing shared, position, slope and window in each frame."""
    stack = np.stack([np.full((4, 6), 10, np.uint16)] * len(depths))
    plain = dict.fromkeys(("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"))
    image = make_dataset(stack, **plain, NumberOfFrames=len(depths), SOPClassUID=EnhancedMRImageStorage)
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 1.2], 3
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([plane]), Items([measures])
    image.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for depth, slope in zip(depths, slopes, strict=True):
        frame, position, scale, window = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, depth]
        scale.RescaleSlope, scale.RescaleIntercept = slope, 0
        window.WindowCenter, window.WindowWidth = depth, 11
        frame.PlanePositionSequence, frame.FrameVOILUTSequence = Items([position]), Items([window])
        frame.PixelValueTransformationSequence = Items([scale])
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = Items(frames)
    return image


def test_enhanced_frames_have_their_own_place_slope_and_window(tmp_path: Path):
    save(make_enhanced([16, 10, 13], [3, 1, 2]), tmp_path / "a.dcm")
    opened = open_volumes(tmp_path / "a.dcm")
    assert values(opened) == [[10, 20, 30]]
    (volume,) = opened.volumes
    assert [source.frame for source in volume.sources] == [2, 3, 1]
    assert volume.spacing_mm == (0.5, 1.2)
    assert volume.step_mm == pytest.approx(3)
    assert volume.read(2).window == (16 - 5.5, 16 + 4.5)
    assert volume.read(1).position_mm == (0, 0, 13)
    assert volume.findings == ()


def test_a_disc_of_10_mm_measures_314_mm2_and_its_ball_4189_mm3(tmp_path: Path):
    """pi r^2 = 314.16 mm2 and 4 / 3 pi r^3 = 4188.8 mm3, in pixels of 0.5 (rows) x 1.2 mm and steps of 1 mm.

    With swapped spacing the disc would be 2.4 times as high as wide, which its extent in millimetres shows.
    """
    y, x = np.mgrid[-30:31, -14:15]
    for number, depth in enumerate(range(-12, 13)):
        ball = ((y * 0.5) ** 2 + (x * 1.2) ** 2 + depth**2 <= 100).astype(np.uint16)
        tags = SERIES | {"ImagePositionPatient": [0, 0, depth], "PixelSpacing": [0.5, 1.2], "SliceThickness": 1}
        save(make_dataset(ball, **tags), tmp_path / f"{number}.dcm")
    (volume,) = open_volumes(tmp_path).volumes
    middle = volume.read(12)
    rows_mm, columns_mm = middle.spacing_mm
    assert middle.pixels.sum() * rows_mm * columns_mm == pytest.approx(314.16, rel=0.01)
    assert np.ptp(np.flatnonzero(middle.pixels.any(axis=1))) * rows_mm == pytest.approx(20, abs=0.6)
    assert np.ptp(np.flatnonzero(middle.pixels.any(axis=0))) * columns_mm == pytest.approx(20, abs=1.3)
    voxels = sum(int(volume.read(k).pixels.sum()) for k in range(len(volume)))
    assert voxels * volume.voxel_mm3 == pytest.approx(4188.8, rel=0.01)
