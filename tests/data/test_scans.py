"""Files and folders of scans: what opens, what is named, and what is never shown."""

from __future__ import annotations

import csv
import os
import pickle
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.uid import MediaStorageDirectoryStorage
from tests.data.dicom.conftest import RAMP, make_dataset, save

from tumortrace.data.dicom.image import read_frames
from tumortrace.data.dicom.pixels import decode_frame
from tumortrace.data.names import make_unique
from tumortrace.data.png_writing import write_png
from tumortrace.data.scans import find_kind, open_volumes, strip_suffix
from tumortrace.data.slice_file import read_slice
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError

DATA = Path(os.environ.get("TUMORTRACE_DATA", ""))
REAL = DATA / "dicom_real"
needs_data = pytest.mark.skipif(
    not os.environ.get("TUMORTRACE_DATA") or not REAL.is_dir(),
    reason="TUMORTRACE_DATA names no folder with dicom_real/",
)


def write_nifti(path: Path, voxels: np.ndarray) -> None:
    path.write_bytes(nibabel.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype).to_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of everything: a series, NIfTI, a picture, a text, a broken file and a report."""
    series = {"SeriesInstanceUID": "1.2.3"}
    for number in range(3):
        save(make_dataset(RAMP, **series, ImagePositionPatient=[0, 0, number]), tmp_path / "mr" / f"IM{number}")
    write_nifti(tmp_path / "b.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    write_png(tmp_path / "c.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "d.txt").write_text("a note")
    (tmp_path / "e.dcm").write_bytes(b"nothing of the kind")
    report = make_dataset(RAMP, PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    save(report, tmp_path / "f.dcm")
    return tmp_path


def test_every_file_of_a_folder_is_opened_named_or_passed_over(folder: Path):
    opened = open_volumes(folder)
    assert [(volume.name, volume.kind, len(volume)) for volume in opened.volumes] == [
        ("b", "nifti", 4), ("mr", "dicom", 3),
    ]  # fmt: skip
    assert {(finding.kind, Path(finding.file).name) for finding in opened.findings} == {
        ("scan-refused", "e.dcm"), ("dicom-no-image", "f.dcm"),
    }  # fmt: skip
    assert sorted(Path(other).name for other in opened.others) == ["c.png", "d.txt"]


def test_a_series_that_is_not_there_is_named(folder: Path):
    with pytest.raises(DataError, match=r"no series 9\.9 among 1; list them with: tumortrace info"):
        open_volumes(folder, series_uid="9.9")
    with pytest.raises(DataError, match=r"list them with: tumortrace info '.*/my study'"):
        open_volumes(folder.rename(folder.with_name("my study")), series_uid="9.9")
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        open_volumes(folder / "nowhere")


def test_a_pair_of_files_is_one_volume(tmp_path: Path):
    nibabel.Nifti1Pair(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)).to_filename(tmp_path / "a.hdr")
    assert [volume.name for volume in open_volumes(tmp_path).volumes] == ["a"]
    assert [volume.name for volume in open_volumes(tmp_path / "a.img").volumes] == ["a"]


def test_names():
    assert [strip_suffix(name) for name in ("a.nii.gz", "a.DCM", "1.2.840.3", ".dcm", "IM1")] == [
        "a", "a", "1.2.840.3", ".dcm", "IM1",
    ]  # fmt: skip
    assert make_unique(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]


def test_a_single_slice_is_read_as_any_picture(tmp_path: Path):
    save(make_dataset(RAMP, PixelSpacing=[0.5, 1.2]), tmp_path / "a.dcm")
    image = read_slice(tmp_path / "a.dcm")
    assert np.array_equal(image.pixels, RAMP)
    assert (image.spacing_mm, image.case_id) == ((0.5, 1.2), "a.dcm")
    assert read_slice(tmp_path / "a.dcm", "x", spacing_mm=(2, 3)).spacing_mm == (2, 3)
    write_nifti(tmp_path / "b.nii", np.arange(24, dtype=np.int16).reshape(6, 4, 1))
    assert read_slice(tmp_path / "b.nii").size_hw == (4, 6)
    nibabel.Nifti1Pair(np.arange(24, dtype=np.int16).reshape(6, 4, 1), np.eye(4)).to_filename(tmp_path / "d.hdr")
    for half in ("d.hdr", "d.img"):
        assert read_slice(tmp_path / half).pixels[0].tolist() == [23, 19, 15, 11, 7, 3]  # the front comes first
    write_nifti(tmp_path / "c.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    with pytest.raises(DataError, match=r"c\.nii: 4 slices, and one is needed here; give it to predict_volume"):
        read_slice(tmp_path / "c.nii")


def test_an_index_is_counted_and_never_followed(tmp_path: Path):
    save(make_dataset(RAMP), tmp_path / "DIR" / "IM1")
    index = Dataset()
    index.SOPClassUID = MediaStorageDirectoryStorage
    index.SOPInstanceUID = "1.2.3"
    records = []
    for names in (["DIR", "IM1"], ["DIR", "IM2"], ["..", "..", "etc", "passwd"]):
        record = Dataset()
        record.ReferencedFileID = names
        records.append(record)
    index.DirectoryRecordSequence = Sequence(records)
    save(index, tmp_path / "DICOMDIR")
    opened = open_volumes(tmp_path)
    assert [volume.name for volume in opened.volumes] == ["DIR/IM1"]
    assert [finding.kind for finding in opened.findings] == ["dicomdir"]
    assert "an index (DICOMDIR) of 3 files, 2 of them not in the folder; it is not followed" in opened.findings[0].cause
    alone = open_volumes(tmp_path / "DICOMDIR")
    assert (alone.volumes, alone.findings[0].kind) == ((), "dicom-no-image")
    data = (tmp_path / "DICOMDIR").read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(data.replace(b"\x04\x00\x00\x15CS", b"\x04\x00\x00\x15CZ", 1))  # no such type
    damaged = open_volumes(tmp_path)
    assert [volume.name for volume in damaged.volumes] == ["DIR/IM1"]
    assert "the DICOM header is damaged (NotImplementedError)" in damaged.findings[0].cause


CANARIES = {
    "PatientName": "Canary^Nightingale", "PatientID": "CANARY-4711", "PatientBirthDate": "19010203",
    "OtherPatientIDs": "CANARY-ALIAS", "PatientAddress": "1 Canary Row", "PatientComments": "canary comment",
    "AccessionNumber": "CANARYACC", "StudyDescription": "canary study", "SeriesDescription": "canary series",
    "ReferringPhysicianName": "Canary^Physician", "InstitutionName": "Canary Hospital", "ProtocolName": "canary scan",
}  # fmt: skip


def test_nothing_of_twelve_identifying_tags_is_in_any_volume_or_message(tmp_path: Path, capfd):
    """A name in a damaged tag is the dangerous one: readers print what they cannot parse."""
    for number, odd in enumerate([{}, {"Modality": "CANARYMODALITY4711"}, {"Rows": None}, {"ImageType": "canary\\x"}]):
        save(make_dataset(RAMP, **CANARIES, **odd), tmp_path / f"{number}.dcm")
    data = bytearray((tmp_path / "0.dcm").read_bytes())
    at = data.index(b"\x28\x00\x30\x00DS")
    data[at + 8 : at + 12] = b"cana"  # a spacing that is no number
    (tmp_path / "4.dcm").write_bytes(data.replace(b"CANARY-4711", b"\xff\xfe-4711-CANA"))
    opened = open_volumes(tmp_path)
    shown = [volume.name + repr(volume.findings) for volume in opened.volumes]
    shown += [finding.line() for finding in opened.findings]
    shown += [volume.read(0).case_id for volume in opened.volumes]
    written = capfd.readouterr()
    assert len(opened.volumes) == 3  # 4.dcm is the same object as 0.dcm
    assert "canar" not in "".join([*shown, written.out, written.err]).lower()


def test_kinds_of_files(tmp_path: Path):
    contents = {"a": bytes(128) + b"DICM", "b.nii": b"", "c.dcm": b"", "d.png": bytes(128) + b"DICM", "e": b"x" * 200}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert [find_kind(tmp_path / name) for name in contents] == ["dicom", "nifti", "dicom", None, None]


ROWS = list(csv.DictReader((REAL / "index.csv").read_text(encoding="utf-8").splitlines())) if REAL.is_dir() else []


@needs_data
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_real_files_decode_to_the_listed_values_or_are_refused_in_one_line(row):
    path = REAL / row["file"]
    try:
        frames = read_frames(path)
    except DataError as error:
        fault = str(error)
        refused = re.search(r"refused|one line|told|mosaic|mask|labels|segments|falls|probabilities|as above|2 frames",
                            row["expected"])  # fmt: skip
        assert refused, fault
        assert re.fullmatch(f"{re.escape(str(path))}: [^\n]+", fault)
        return
    assert not row["expected"].startswith("refused in one line")
    stored = np.stack([decode_frame(frame.image, frame.number) for frame in frames])
    listed = re.search(r"crc32 (\w+)", row["decoded"])
    assert listed
    wide = stored.astype("<f8" if stored.dtype.kind == "f" else "<i8")
    assert f"{zlib.crc32(np.ascontiguousarray(wide).tobytes()):08x}" == listed[1]


def opened(name: str) -> list[Volume]:
    return list(open_volumes(REAL / "series" / name).volumes)


def kinds_of(volume: Volume) -> set[str]:
    return {finding.kind for finding in volume.findings}


@needs_data
@pytest.mark.parametrize(
    ("name", "counts", "spacing", "step", "kinds"),
    [
        ("siemens_t1_sagittal", [3], (1.0156, 1.0156), 4.8, set()),
        ("philips_t1_sagittal", [3], (1, 1), 1, set()),
        ("ge_pd_oblique", [4], (0.8594, 0.8594), 7.0, set()),
        ("ge_gap", [3], (0.8594, 0.8594), None, {"uneven"}),
        ("hitachi_shoulder", [4], (2.34375, 2.34375), 4, set()),
        ("anisotropic_pmod", [4], (4, 6.4), 0.5, set()),
        ("colour_mr", [4], (3, 3), 3, {"capture", "colour"}),
        ("ge_fmri_duplicates", [4, 4], (3, 3), 3.6, {"places-repeat"}),
        ("localizer_mixed", [2, 1], (0.32, 0.32), 3.3, {"series-split"}),
        ("ct_gantry_tilt", [2], (0.4883, 0.4883), 4.0, {"modality", "tilt"}),
        ("siemens_multiecho_phantom", [1, 1], (0.6667, 0.6667), 7, {"series-split"}),
        ("canon_diffusion", [2], (3, 3), 3, set()),
    ],
)
def test_real_series(name, counts, spacing, step, kinds):
    volumes = opened(name)
    assert [len(volume) for volume in volumes] == counts
    assert volumes[0].spacing_mm == pytest.approx(spacing, abs=1e-3)
    assert volumes[0].step_mm == (None if step is None else pytest.approx(step, abs=0.02))
    assert kinds_of(volumes[0]) == kinds


@needs_data
@pytest.mark.parametrize(
    ("series", "nifti"),
    [
        ("series/hitachi_shoulder", "hitachi_shoulder.nii.gz"),
        ("series/anisotropic_pmod", "anisotropic_pmod.nii.gz"),
        ("series/ge_fmri_duplicates", "ge_fmri_4d.nii.gz"),
    ],
)
def test_a_series_and_its_nifti_twin_have_the_same_voxels_at_the_same_places(series, nifti):
    """The twins were made by other converters: an independent reference for values and geometry."""
    mine = open_volumes(REAL / series).volumes[0]
    other = open_volumes(DATA / "nifti" / nifti).volumes[0]
    inverse = np.linalg.inv(other.affine)
    stack = np.stack([other.read(k).pixels for k in range(len(other))])
    for k in range(len(mine)):
        rows, columns = np.mgrid[0 : mine.size_hw[0], 0 : mine.size_hw[1]]
        index = np.stack([columns, rows, np.full_like(rows, k), np.ones_like(rows)]).reshape(4, -1)
        there = inverse @ mine.affine @ index
        assert np.allclose(there[:3], np.rint(there[:3]), atol=0.02)
        i, j, s = np.rint(there[:3]).astype(int)
        assert np.allclose(stack[s, j, i].reshape(mine.size_hw), mine.read(k).pixels, rtol=1e-5, atol=1e-4)


@needs_data
def test_an_enhanced_object_and_its_nifti_twin_have_the_same_voxels():
    """The twin's affine lies half a voxel off: only values are compared."""
    (mine,), (other,) = (
        open_volumes(DATA / name).volumes
        for name in ("dicom_real/enhanced/philips_balls_t1.dcm", "nifti/philips_balls_t1.nii.gz")
    )
    for k in range(10):
        assert np.allclose(mine.read(k).pixels, other.read(k).pixels, atol=1e-3)


@needs_data
def test_a_monochrome1_slice_looks_as_its_twin():
    plain, inverted = (read_slice(REAL / name).pixels.astype(int) for name in
                       ("syntax/mr_small.dcm", "bits/mr_monochrome1.dcm"))  # fmt: skip
    assert np.array_equal(plain - plain.min(), inverted - inverted.min())


@needs_data
@pytest.mark.skipif(not (DATA / "dicom").is_dir(), reason="TUMORTRACE_DATA holds no dicom/")
def test_the_real_t1_series_is_one_volume_in_any_order(tmp_path: Path):
    names = sorted((DATA / "dicom").resolve().iterdir())
    for number, path in enumerate(names):
        (tmp_path / f"{(number * 7) % len(names):02}").symlink_to(path)
    (shuffled,), (plain,) = open_volumes(tmp_path).volumes, open_volumes(DATA / "dicom").volumes
    assert [source.path.resolve() for source in shuffled.sources] == [source.path.resolve() for source in plain.sources]
    assert (len(plain), plain.size_hw, plain.findings) == (32, (384, 274), ())


def test_volumes_can_be_pickled_and_read_from_several_threads(folder: Path):
    for volume in open_volumes(folder).volumes:
        again = pickle.loads(pickle.dumps(volume))  # noqa: S301 - our own bytes
        with ThreadPoolExecutor(4) as pool:
            slices = list(pool.map(again.read, [k % len(volume) for k in range(24)]))
        assert all(np.array_equal(image.pixels, volume.read(image.index).pixels) for image in slices)
