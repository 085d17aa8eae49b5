"""Folders of scans with their masks as datasets: which belong together, labels, patients, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.data.dicom.test_segmentation import LABELS, write_seg, write_series

from tumortrace.data.cases import read_cases
from tumortrace.data.convert import convert_to_annotations, convert_to_masks
from tumortrace.data.dataset import Dataset, open_any, open_dataset, open_negatives
from tumortrace.data.layouts.scan_names import match_scans, read_scan_name
from tumortrace.data.masks import read_mask
from tumortrace.errors import DataError

SCAN = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
MASK = np.zeros((5, 4, 3), dtype=np.uint8)
MASK[2:4, 1, 1] = 1
MASK[2, 2, 1] = 2


def write(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 2, 1]) if affine is None else affine), path)
    return path


def areas(dataset: Dataset) -> dict[str, int]:
    return {record.case_id: int(case.truth.sum()) for record, case, _ in read_cases(dataset.records) if case}


def kinds(dataset: Dataset) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in dataset.findings]


LAYOUTS = {
    "beside": ("p1/scan.nii.gz", "p1/scan_mask.nii.gz"),
    "ITK-SNAP": ("p1.nii.gz", "p1_seg.nii.gz"),
    "3D Slicer": ("p1.nii", "p1-label.nii"),
    "nnU-Net": ("imagesTr/head_001_0000.nii.gz", "labelsTr/head_001.nii.gz"),
    "BraTS": ("BraTS-1/BraTS-1-t1c.nii.gz", "BraTS-1/BraTS-1-seg.nii.gz"),
    "seg alone": ("p1/t1.nii.gz", "p1/seg.nii.gz"),
    "images and masks": ("images/p1.nii.gz", "masks/p1.nii.gz"),
    "within parts": ("TEST/images/p1.nii", "TEST/masks/p1.nii"),
    "another folder": ("flair/p1.nii.gz", "truth/p1_segmentation.nii.gz"),
    "BIDS": ("sub-07/anat/sub-07_T1w.nii.gz", "derivatives/manual/sub-07/sub-07_label-lesion_mask.nii.gz"),
}


PATIENTS = {
    "beside": "p1/scan",
    "nnU-Net": "train/head_001",
    "BraTS": "brats-1/brats-1",
    "within parts": "test/p1",
    "another folder": "truth/p1",
    "BIDS": "sub-07",
}
"""Names of the patients where they are not ``p1``."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_nifti_files(tmp_path: Path, layout: str):
    scan, mask = LAYOUTS[layout]
    write(tmp_path / scan, SCAN)
    write(tmp_path / mask, MASK)
    dataset = open_dataset(tmp_path)
    assert sorted(areas(dataset).values()) == [0, 0, 3]
    first = dataset.records[0]
    assert first.case_id == f"{scan.removesuffix('.gz').removesuffix('.nii')}/slice-000"
    assert first.image_path == tmp_path / scan
    assert first.patient == PATIENTS.get(layout, "p1")
    assert first.part == {"within parts": "test", "nnU-Net": ""}.get(layout, "")
    assert kinds(dataset) == [("labels-united", mask)]


def test_each_slice_has_the_spacing_and_index_of_its_scan(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN, np.diag([0.5, 1.2, 4, 1]))
    write(tmp_path / "p1_mask.nii.gz", MASK, np.diag([0.5, 1.2, 4, 1]))
    cases = [case for _, case, _ in read_cases(open_dataset(tmp_path).records) if case]
    assert [case.slice.index for case in cases] == [0, 1, 2]
    assert cases[1].slice.spacing_mm == pytest.approx((1.2, 0.5))
    assert cases[1].slice.case_id == "p1/slice-001"
    # The values say which voxels are marked: 1 at (2, 1, 1) and (3, 1, 1), 2 at (2, 2, 1).
    assert sorted(cases[1].slice.pixels[cases[1].truth]) == sorted([SCAN[2, 1, 1], SCAN[3, 1, 1], SCAN[2, 2, 1]])


def test_a_label_is_chosen_by_value_or_by_the_name_in_dataset_json(tmp_path: Path):
    write(tmp_path / "imagesTr" / "a_0000.nii.gz", SCAN)
    write(tmp_path / "labelsTr" / "a.nii.gz", MASK)
    assert sorted(areas(open_dataset(tmp_path, label="2")).values()) == [0, 0, 1]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "edema": 1, "core": 2}}))
    assert sorted(areas(open_dataset(tmp_path, label="Edema")).values()) == [0, 0, 2]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "edema", "2": "core"}}))
    assert sorted(areas(open_dataset(tmp_path, label="core")).values()) == [0, 0, 1]
    assert kinds(open_dataset(tmp_path)) == [("labels-united", "labelsTr/a.nii.gz")]
    with pytest.raises(DataError, match=r"no region is labelled 'necrosis'; it has label: edema \(1\), core \(1\)"):
        open_dataset(tmp_path, label="necrosis")


def test_a_map_of_the_brain_is_refused_unless_a_label_is_chosen(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_seg.nii.gz", np.arange(60, dtype=np.uint8).reshape(5, 4, 3))
    with pytest.raises(DataError, match="59 labels, more than a tumour has parts"):
        open_dataset(tmp_path)
    assert sum(areas(open_dataset(tmp_path, label="17")).values()) == 1


def test_one_mask_serves_the_scans_of_one_geometry_and_one_patient(tmp_path: Path):
    for name, voxels in (("t1", SCAN), ("flair", SCAN), ("thick", SCAN[:, :, :2])):
        write(tmp_path / "case_1" / f"case_1_{name}.nii.gz", voxels)
    write(tmp_path / "case_1" / "case_1_seg.nii.gz", MASK)
    dataset = open_dataset(tmp_path)
    assert {record.case_id.partition("/slice")[0] for record in dataset.records} == {
        "case_1/case_1_t1",
        "case_1/case_1_flair",
    }
    assert {record.patient for record in dataset.records} == {"case_1/case_1"}  # the mask without what says so
    assert ("mask-serves-several", "case_1/case_1_seg.nii.gz") in kinds(dataset)
    assert ("annotation-missing", "case_1/case_1_thick") in kinds(dataset)


def test_folders_name_patients(tmp_path: Path):
    for patient in ("p1", "p2"):
        write(tmp_path / patient / f"{patient}_t1.nii.gz", SCAN)
        write(tmp_path / patient / f"{patient}_seg.nii.gz", MASK)
    assert {record.patient for record in open_dataset(tmp_path).records} == {"p1", "p2"}


@pytest.mark.parametrize(
    ("mask", "affine", "words"),
    [
        (MASK[:, :, :2], None, "5 x 4 x 2 voxels"),
        (MASK, np.diag([1, 1, 1, 1]), "mm away from p1"),
        (MASK * 0.4, None, "which are no labels"),
    ],
)
def test_a_mask_that_does_not_fit_is_named_with_the_reason(tmp_path: Path, mask, affine, words):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_mask.nii.gz", np.asarray(mask), affine)
    with pytest.raises(DataError, match=rf"p1_mask.nii.gz: .*{words}"):
        open_dataset(tmp_path)


def test_a_mask_without_a_scan_is_named(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_mask.nii.gz", MASK)
    write(tmp_path / "p9_mask.nii.gz", MASK)
    assert ("mask-unusable", "p9_mask.nii.gz") in kinds(open_dataset(tmp_path))


def test_a_second_mask_is_named_and_not_used(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_gt.nii.gz", MASK)
    write(tmp_path / "p1_mask.nii.gz", np.zeros_like(MASK))
    dataset = open_dataset(tmp_path)
    (finding,) = [finding for finding in dataset.findings if finding.kind == "duplicate-record"]
    cause = "several masks fit it; p1_gt.nii.gz is used, and not p1_mask.nii.gz"
    assert (finding.file, finding.cause) == ("p1", cause)
    assert finding.remedy == "leave one mask for each scan; if each marks a lesion, unite them first"
    assert sum(areas(dataset).values()) == 3


def test_a_dicom_series_with_a_seg_or_a_nifti_mask(tmp_path: Path):
    images = write_series(tmp_path / "a", PatientID="SECRET-1")
    write_seg(tmp_path / "a" / "truth.dcm", images, LABELS)
    write_series(tmp_path / "b", PatientID="SECRET-2")
    # Columns, rows and slices of LABELS, in NIfTI's coordinates; the first pixel lies at (10, -20, 5) in DICOM's.
    affine = np.array([[-1.2, 0, 0, -10], [0, -0.5, 0, 20], [0, 0, 3, 5], [0, 0, 0, 1]])
    write(tmp_path / "b" / "seg.nii.gz", np.ascontiguousarray(LABELS.T), affine)
    dataset = open_dataset(tmp_path)
    sums = (LABELS > 0).sum(axis=(1, 2)).tolist()
    assert [areas(dataset)[f"{name}/slice-00{index}"] for name in "ab" for index in range(4)] == sums * 2
    one, two = (f"DICOM patient {number} of {tmp_path.name}" for number in (1, 2))  # another folder's 1 is another one
    assert [record.patient for record in dataset.records] == [one] * 4 + [two] * 4
    assert "SECRET" not in repr(dataset.records) + repr(dataset.findings)
    assert sum(areas(open_dataset(tmp_path / "a", label="part 2")).values()) == 4


def test_series_of_one_patient_are_one_and_one_id_for_all_says_nothing(tmp_path: Path):
    for folder, patient in (("x1", "A"), ("x2", "A"), ("y1", "B")):
        write_seg(tmp_path / folder / "s.dcm", write_series(tmp_path / folder, PatientID=patient), LABELS)
    patients = [record.patient for record in open_dataset(tmp_path).records][::4]
    assert [patient and patient.partition(" of ")[0] for patient in patients] == [
        "DICOM patient 1", "DICOM patient 1", "DICOM patient 2",
    ]  # fmt: skip
    for folder in ("patient 1", "patient 2"):
        images = write_series(tmp_path / "z" / folder, PatientID="ANON")
        write_seg(tmp_path / "z" / folder / "s.dcm", images, LABELS)
    assert {record.patient for record in open_dataset(tmp_path / "z").records} == {"patient 1", "patient 2"}


def test_a_seg_of_other_images_is_named(tmp_path: Path):
    write_seg(tmp_path / "a" / "truth.dcm", write_series(tmp_path / "a"), LABELS)
    write_seg(tmp_path / "a" / "other.dcm", write_series(tmp_path / "elsewhere"), LABELS)
    shutil.rmtree(tmp_path / "elsewhere")
    dataset = open_dataset(tmp_path)
    assert ("mask-unusable", "a/other.dcm") in kinds(dataset)
    assert len(dataset.records) == 4


def test_scans_without_masks_are_pictures_without_truth(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_mask.nii.gz", MASK)
    write(tmp_path / "p2.nii.gz", SCAN)
    dataset = open_dataset(tmp_path)
    assert ("annotation-missing", "p2") in kinds(dataset)
    assert [record.case_id for record in dataset.unannotated] == [f"p2/slice-00{index}" for index in range(3)]
    (tmp_path / "p1_mask.nii.gz").unlink()
    assert len(open_any(tmp_path).records) == 6
    assert {record.truth for record in open_negatives(tmp_path).records} == {()}


def test_a_damaged_scan_names_its_slices_and_the_rest_is_read(tmp_path: Path):
    for name in ("p1", "p2"):
        noise = np.random.default_rng(0).integers(0, 30000, (50, 40, 3), dtype=np.int16)
        write(tmp_path / f"{name}.nii.gz", noise)
        write(tmp_path / f"{name}_mask.nii.gz", (noise > 29000).astype(np.uint8))
    data = (tmp_path / "p1.nii.gz").read_bytes()
    (tmp_path / "p1.nii.gz").write_bytes(data[:-12])  # the header can be read
    read = list(read_cases(open_dataset(tmp_path).records))
    assert [case is None for _, case, _ in read] == [True] * 3 + [False] * 3
    assert read[0][2][0].file == "p1/slice-000"


def test_what_segment_wrote_is_no_truth(tmp_path: Path):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_mask.nii.gz", MASK)
    document = {"model": {"sha256": "x"}, "images": [], "volumes": [{"mask": "p1_mask.nii.gz"}], "skipped": []}
    (tmp_path / "results.json").write_text(json.dumps(document))
    with pytest.raises(DataError):
        open_dataset(tmp_path)
    assert ("not-a-slice", "p1_mask.nii.gz") in kinds(open_any(tmp_path))


def test_slices_convert_to_masks_and_not_to_files_that_name_pictures(tmp_path: Path):
    write(tmp_path / "data" / "p1.nii.gz", SCAN)
    write(tmp_path / "data" / "p1_mask.nii.gz", MASK)
    assert convert_to_masks(tmp_path / "data", tmp_path / "out").count == 3
    assert read_mask(tmp_path / "out" / "p1" / "slice-001_mask.png").sum() == 3
    with pytest.raises(DataError, match="slices of scans, which coco cannot name"):
        convert_to_annotations(tmp_path / "data", tmp_path / "coco", "coco")


def test_without_the_libraries_scans_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "p1.nii.gz", SCAN)
    write(tmp_path / "p1_mask.nii.gz", MASK)
    monkeypatch.setattr("tumortrace.data.layouts.open.installed", lambda _extra: False)
    with pytest.raises(DataError, match="without the extra formats; there are 2"):
        open_dataset(tmp_path)


def test_a_table_names_the_patients_of_scans(tmp_path: Path):
    for name in ("p1", "p2"):
        write(tmp_path / f"{name}.nii.gz", SCAN)
        write(tmp_path / f"{name}_mask.nii.gz", MASK)
    (tmp_path / "pairs.csv").write_text("image,patient\np1.nii.gz,anna\np2.nii.gz,berta\n")
    assert {record.patient for record in open_dataset(tmp_path).records} == {"anna", "berta"}


def test_a_table_names_the_parts_of_scans(tmp_path: Path):
    for name in ("p1", "p2"):
        write(tmp_path / f"{name}.nii.gz", SCAN)
        write(tmp_path / f"{name}_mask.nii.gz", MASK)
    (tmp_path / "pairs.csv").write_text("image,part\np1.nii.gz,train\np2.nii.gz,test\n")
    parts = {record.case_id[:2]: record.part for record in open_dataset(tmp_path).records}
    assert parts == {"p1": "train", "p2": "test"}


def test_a_table_pairs_scans_with_masks_of_any_name(tmp_path: Path):
    write(tmp_path / "first.nii.gz", SCAN)
    write(tmp_path / "second.nii.gz", SCAN)
    write(tmp_path / "outline_17.nii.gz", MASK)
    (tmp_path / "pairs.csv").write_text("image,mask,patient\nsecond.nii.gz,outline_17.nii.gz,anna\n")
    dataset = open_dataset(tmp_path)
    assert [record.case_id.partition("/")[0] for record in dataset.records] == ["second"] * 3
    assert {record.patient for record in dataset.records} == {"anna"}
    assert sum(areas(dataset).values()) == 3
    assert kinds(dataset) == [("annotation-missing", "first"), ("labels-united", "outline_17.nii.gz")]


def test_any_number_of_lesions_of_one_type_is_united(tmp_path: Path):
    images = write_series(tmp_path / "a")
    labels = np.zeros((4, 5, 7), dtype=np.uint8)
    labels[1].flat[:20] = np.arange(1, 21)
    write_seg(tmp_path / "a" / "truth.dcm", images, labels)
    assert sum(areas(open_dataset(tmp_path)).values()) == 20


@pytest.mark.parametrize("folders", [("p1", "p2", "p3"), ("anna", "berta", "clara")])
def test_a_mask_whose_scan_is_lost_serves_no_other_patient(tmp_path: Path, folders: tuple[str, str, str]):
    lost, whole, plain = (tmp_path / folder for folder in folders)
    write(lost / "scan_mask.nii.gz", np.ones_like(MASK))
    write(whole / "scan.nii.gz", SCAN)
    write(whole / "scan_mask.nii.gz", MASK)
    write(plain / "scan.nii.gz", SCAN)
    dataset = open_dataset(tmp_path)
    assert sum(areas(dataset).values()) == 3
    assert {record.case_id.partition("/")[0] for record in dataset.records} == {folders[1]}
    named = {(kind, file) for kind, file in kinds(dataset) if kind != "labels-united"}
    assert named == {
        ("mask-unusable", f"{folders[0]}/scan_mask.nii.gz"),
        ("annotation-missing", f"{folders[2]}/scan"),
    }


@pytest.mark.parametrize(
    ("mask", "scans", "expected"),
    [
        ("p1_mask", ["p1", "p1_t2", "p2"], [0]),  # its own name goes before longer ones
        ("labels/p1", ["images/p1_t1", "images/p1_t2", "images/p10_t1"], [0, 1]),
        ("a/seg", ["a/t1", "b/t1", "a"], [0, 2]),
        ("a/seg", ["a_series-3", "b"], [0]),
        ("truth/p1_seg", ["t1/p1", "t2/p1", "t2/p11"], [0, 1]),
        ("x_mask", ["y"], []),
        ("p1/scan_mask", ["p2/scan"], []),
        ("test/1_mask", ["train/1"], []),
    ],
)
def test_which_scans_a_name_means(mask: str, scans: list[str], expected: list[int]):
    assert match_scans(read_scan_name(mask, mask=True), [read_scan_name(scan) for scan in scans]) == expected
