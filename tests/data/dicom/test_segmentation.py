"""Segmentation objects read as truth: each frame on its own slice, or a reason why not."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid
from tests.data.dicom.conftest import make_dataset, save

from tumortrace.data.dicom.segmentation import fit_segmentation, read_segmentation
from tumortrace.data.scans import open_volumes
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError

DATA = Path(os.environ.get("TUMORTRACE_DATA", "")) / "dicom_real" / "seg"
needs_data = pytest.mark.skipif(
    not os.environ.get("TUMORTRACE_DATA") or not DATA.is_dir(),
    reason="TUMORTRACE_DATA names no folder with dicom_real/",
)

LABELS = np.zeros((4, 5, 7), dtype=np.uint8)  # rows of 7 pixels: frames do not end on whole bytes
LABELS[1, 1:3, 4:7] = 1
LABELS[2, 0, 0] = 1
LABELS[2, 3:5, 2:4] = 2


def write_series(folder: Path, count: int = 4, **tags: object) -> list[Dataset]:
    """A series of slices of 5 x 7 pixels, 3 mm apart, in files whose names run backwards."""
    same = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    same["FrameOfReferenceUID"] = generate_uid()
    images = []
    for index in range(count):
        pixels = np.full((5, 7), index, dtype=np.uint16)
        image = make_dataset(pixels, ImagePositionPatient=[10, -20, 5 + 3 * index], PixelSpacing=[0.5, 1.2], **same)
        image.SliceThickness, image.InstanceNumber = 3, index + 1
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"):
            setattr(image, name, "")
        image.AccessionNumber = image.ReferringPhysicianName = image.PositionReferenceIndicator = ""
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        for keyword, value in tags.items():
            setattr(image, keyword, value)
        save(image, folder / f"{9 - index}.dcm")
        images.append(image)
    return images


def write_seg(path: Path, images: list[Dataset], pixels: NDArray[np.generic], kind: str = "BINARY", **options: object):
    """Write a segmentation with highdicom: a segment for each label, called ``part 1``, ``part 2``."""
    count = 1 if pixels.dtype.kind == "f" else int(pixels.max(initial=1))
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"part {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, count + 1)
    ]
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path


def open_series(folder: Path) -> Volume:
    (volume,) = open_volumes(folder).volumes
    return volume


def read_all(seg_path: Path, volume: Volume) -> NDArray[np.bool_]:
    seg = read_segmentation(seg_path)
    assert seg is not None
    mask = fit_segmentation(seg, volume)
    return np.stack([mask.read(index) for index in range(len(volume))])


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
def test_frames_fall_on_their_slices_whatever_the_order(tmp_path: Path, kind: str, *, omit: bool):
    images = write_series(tmp_path / "series")
    shuffled = [images[at] for at in (2, 0, 3, 1)]
    pixels = LABELS[[2, 0, 3, 1]]
    path = write_seg(tmp_path / "a.dcm", shuffled, pixels, kind, omit_empty_frames=omit)
    assert np.array_equal(read_all(path, open_series(tmp_path / "series")), LABELS > 0)


def test_one_segment_can_be_chosen(tmp_path: Path):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), LABELS)
    seg = read_segmentation(path)
    assert seg is not None
    assert seg.segments == {1: "part 1", 2: "part 2"}
    mask = fit_segmentation(seg, open_series(tmp_path / "series")).choose(frozenset({2}))
    assert np.array_equal(np.stack([mask.read(index) for index in range(4)]), LABELS == 2)


def test_an_empty_segmentation_marks_nothing(tmp_path: Path):
    path = write_seg(
        tmp_path / "a.dcm", write_series(tmp_path / "series"), np.zeros_like(LABELS), omit_empty_frames=False
    )
    assert not read_all(path, open_series(tmp_path / "series")).any()


def test_probabilities_of_a_half_and_above_are_tumour(tmp_path: Path):
    levels = np.zeros((4, 5, 7), dtype=np.float32)
    levels[1, 2, 3:6] = 0.49, 0.51, 1
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), levels, "FRACTIONAL")
    mask = read_all(path, open_series(tmp_path / "series"))
    assert mask.sum() == 2
    assert mask[1, 2].tolist() == [False, False, False, False, True, True, False]


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_bits_are_read_from_every_native_syntax(tmp_path: Path, syntax):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), LABELS)
    image = dcmread(path)
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(tmp_path / "b.dcm", little_endian=True, implicit_vr=syntax.is_implicit_VR)
    assert np.array_equal(read_all(tmp_path / "b.dcm", open_series(tmp_path / "series")), LABELS > 0)


def test_a_compressed_fractional_one_is_read(tmp_path: Path):
    levels = (LABELS > 0).astype(np.float32)
    image = dcmread(write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), levels, "FRACTIONAL"))
    image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    image.save_as(tmp_path / "b.dcm")
    assert np.array_equal(read_all(tmp_path / "b.dcm", open_series(tmp_path / "series")), LABELS > 0)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PixelSpacing": [0.6, 1.2]}, "has pixels of 0.5 x 1.2 mm, and series of 0.6 x 1.2"),
        ({"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}, "is turned against the slices"),
        ({"ImagePositionPatient": [10, -20, 99]}, "mm away from the nearest slice"),
        ({"ImageOrientationPatient": None}, "do not say where they lie"),
    ],
)
def test_what_lies_elsewhere_is_refused_with_the_reason(tmp_path: Path, tags: dict[str, object], words: str):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), LABELS)
    for index, file in enumerate(sorted((tmp_path / "series").iterdir())):
        image = dcmread(file)
        for keyword, value in tags.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value if keyword != "ImagePositionPatient" else [10, -20, 99 + 3 * index])
        image.save_as(file)
    with pytest.raises(DataError, match=words):
        read_all(path, open_series(tmp_path / "series"))


@pytest.mark.parametrize(
    ("shift_mm", "rows_mm", "words"),
    [
        (0.045, 0.5, ""),  # a tenth of the smallest side of a voxel is 0.05 mm
        (0.055, 0.5, r"lies 0\.055 mm away from the nearest slice"),
        (0, 0.504, ""),  # 1 % of 0.5 mm is 0.005 mm
        (0, 0.506, "has pixels of 0.5 x 1.2 mm"),
    ],
)
def test_a_tenth_of_a_voxel_and_a_hundredth_of_a_spacing_are_rounding(
    tmp_path: Path, shift_mm: float, rows_mm: float, words: str
):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), LABELS)
    for file in (tmp_path / "series").iterdir():
        image = dcmread(file)
        image.ImagePositionPatient = [10 + shift_mm, *image.ImagePositionPatient[1:]]
        image.PixelSpacing = [rows_mm, 1.2]
        image.save_as(file)
    with pytest.raises(DataError, match=words) if words else nullcontext():
        assert np.array_equal(read_all(path, open_series(tmp_path / "series")), LABELS > 0)


def test_another_matrix_is_refused(tmp_path: Path):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), LABELS)
    volume = open_series(tmp_path / "series")
    seg = read_segmentation(path)
    assert seg is not None
    save(make_dataset(np.zeros((7, 5), np.uint16)), tmp_path / "other" / "a.dcm")
    with pytest.raises(DataError, match=r"5 x 7 pixels \(rows x columns\), and a has 7 x 5"):
        fit_segmentation(seg, open_series(tmp_path / "other"))
    assert fit_segmentation(seg, volume)


def test_an_image_is_no_segmentation(tmp_path: Path):
    assert read_segmentation(save(make_dataset(np.zeros((3, 4), np.uint16)), tmp_path / "a.dcm")) is None


def test_a_cut_file_is_refused_before_its_frames_are_read(tmp_path: Path):
    path = write_seg(tmp_path / "a.dcm", write_series(tmp_path / "series"), np.tile(LABELS, (1, 8, 8))[:, :5, :7])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="pixels missing"):
        read_segmentation(path)


@needs_data
def test_real_objects_of_three_programs_fall_on_their_images():
    """A SEG of dcmqi on its 3 slices, and one of highdicom on its slice; the sums are those of the stored bits."""
    volume = open_series(DATA / "pair23")
    assert read_all(DATA / "pair23_seg.dcm", volume).sum(axis=(1, 2)).tolist() == [4, 314, 4]
    (single,) = open_volumes(DATA / "highdicom_single_ct.dcm").volumes
    stored = dcmread(DATA / "highdicom_single_seg.dcm").pixel_array
    assert np.array_equal(read_all(DATA / "highdicom_single_seg.dcm", single)[0], stored > 0)
    tumour = read_segmentation(DATA / "headneck_tumour.dcm")
    assert tumour is not None
    assert tumour.segments == {1: "Neoplasm, Primary", 2: "Neoplasm, Secondary"}
    sparse = read_segmentation(DATA / "labelmap_sparse.dcm")
    assert sparse is not None
    assert (sparse.kind, sparse.segments) == ("LABELMAP", {1: "Liver"})


@needs_data
@pytest.mark.parametrize("name", ["liver_rle.dcm", "liver_deflated_frames.dcm"])
def test_syntaxes_that_no_decoder_reads_are_named(name: str):
    with pytest.raises(DataError, match="transfer syntax"):
        read_segmentation(DATA / name)
