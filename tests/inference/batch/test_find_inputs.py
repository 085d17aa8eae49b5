"""Pictures and volumes side by side, each with files of its own."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.data.dicom.conftest import make_dataset, save

from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError
from tumortrace.inference.batch import find_inputs as module
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.results.signed import sign_nifti
from tumortrace.progress import show_progress


def write_nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A picture, two volumes, one of the picture's name, a damaged one and a text."""
    write_png(tmp_path / "scans/a.png", np.zeros((4, 5), dtype=np.uint8))
    write_nifti(tmp_path / "scans/a.nii.gz")
    write_nifti(tmp_path / "scans/deep/b.nii")
    (tmp_path / "scans/c.nii").write_bytes(b"no NIfTI")
    (tmp_path / "scans/notes.txt").write_text("notes")
    return tmp_path / "scans"


def test_a_folder_may_hold_pictures_and_volumes(scans: Path):
    found = find_inputs([str(scans)])
    assert [(picture.path, picture.name) for picture in found.pictures] == [(str(scans / "a.png"), "a.png")]
    names = [(item.file, item.mask) for item in found.volumes]
    assert names == [
        (str(scans / "a.nii.gz"), "a.nii.gz_mask.nii.gz"),
        (str(scans / "deep/b.nii"), "deep/b_mask.nii.gz"),
    ]
    assert [Path(finding.file).name for finding in found.refused] == ["c.nii"]
    assert found.skipped == (str(scans / "notes.txt"),)


def test_a_file_that_is_named_itself_is_opened_by_what_it_is(scans: Path):
    found = find_inputs([str(scans / "deep/b.nii"), str(scans / "notes.txt")])
    assert [item.name for item in found.volumes] == ["b"]
    assert [picture.name for picture in found.pictures] == ["notes"]  # whose reader says why it is none


def test_masks_of_an_earlier_run_are_skipped(scans: Path):
    mask = scans / "deep/b_mask.nii.gz"
    mask.write_bytes(gzip.compress(sign_nifti((scans / "deep/b.nii").read_bytes())))
    found = find_inputs([str(scans)])
    assert found.own == (str(mask),)
    assert len(found.volumes) == 2


def test_bids_names_come_from_the_volumes_alone(scans: Path):
    found = find_inputs([str(scans)], bids=True)
    assert [item.name.rpartition("/")[2] for item in found.volumes] == [
        "sub-001_space-orig_label-lesion",
        "sub-002_space-orig_label-lesion",
    ]
    assert found.pictures[0].name == "a"


def test_a_series_that_is_not_there_is_named(scans: Path):
    with pytest.raises(DataError, match=r"no series 1\.2\.3; there is no DICOM series"):
        find_inputs([str(scans)], series_uid="1.2.3")


def test_without_the_libraries_pictures_are_segmented_and_scans_are_a_failure(
    scans: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "installed", lambda _extra: False)
    found = find_inputs([str(scans)])
    assert (len(found.pictures), found.volumes) == (1, ())
    (refused,) = found.refused
    assert refused.cause == "DICOM and NIfTI files are not read without the extra formats; there are 3"
    assert refused.remedy == "install it: pip install 'tumortrace[formats]'"
    assert len({refused.file, *found.skipped}) == 4


REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


def test_dicom_objects_that_are_no_scan_are_passed_over_with_their_reasons(tmp_path: Path):
    kept = save(make_dataset(np.zeros((3, 4), np.uint16)), tmp_path / "a" / "1.dcm")
    shutil.copy(kept, tmp_path / "a" / "again.dcm")
    save(make_dataset(np.zeros((3, 4), np.uint16), SOPClassUID=REPORT, PixelData=None), tmp_path / "a" / "sr.dcm")
    save(make_dataset(np.zeros((3, 4), np.uint16), PixelData=None), tmp_path / "a" / "cut.dcm")
    found = find_inputs([str(tmp_path / "a")])
    assert [Path(each.file).name for each in found.passed] == ["sr.dcm", "again.dcm"]
    assert found.passed[0].cause == "no pixels (Comprehensive 3D SR), not a picture"
    assert [Path(each.file).name for each in found.refused] == ["cut.dcm"]  # an image without pixels is damaged
    named = find_inputs([str(tmp_path / "a" / "sr.dcm")])
    assert (len(named.passed), len(named.refused)) == (0, 1)
    for name in ("1.dcm", "again.dcm", "cut.dcm"):
        (tmp_path / "a" / name).unlink()
    with pytest.raises(DataError, match=r"nothing to segment; first: .*sr\.dcm: no pixels \(Comprehensive 3D SR\)"):
        find_inputs([str(tmp_path / "a")])


def test_nothing_to_segment_is_an_error(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DataError, match="no picture there"):
        find_inputs([str(tmp_path)])


def test_archives_inside_a_folder_are_named_because_they_are_not_opened(
    scans: Path, capsys: pytest.CaptureFixture[str]
):
    with show_progress():
        find_inputs([str(scans)])
        assert capsys.readouterr().err == ""
        for name in ("old.ZIP", "older.tar.gz", "oldest.tgz"):
            (scans / name).write_bytes(b"")
        find_inputs([str(scans)])
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("not opened; name it to segment what it holds (and 2 more such)")
    assert "old.ZIP: an archive inside a folder" in said


def test_one_series_keeps_the_files_that_may_be_missing_from_it(tmp_path: Path):
    """A damaged slice of the chosen series is a failure; what is known to be something else is skipped, and named."""
    folder, pixels = tmp_path / "study", np.zeros((3, 4), np.uint16)
    for number in (1, 2):
        save(make_dataset(pixels, InstanceNumber=number, SeriesInstanceUID="1.2.3.4"), folder / f"{number}.dcm")
    save(make_dataset(pixels, SeriesInstanceUID="1.2.3.4", PixelData=None), folder / "cut.dcm")
    save(make_dataset(pixels, SeriesInstanceUID="1.2.3.9", PixelData=None), folder / "other.dcm")
    (folder / "torn.dcm").write_bytes((folder / "1.dcm").read_bytes()[:200])
    (folder / "c.nii").write_bytes(b"no NIfTI")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    found = find_inputs([str(folder)], series_uid="1.2.3.4")
    assert [Path(each.file).name for each in found.refused] == ["cut.dcm", "torn.dcm"]
    assert sorted(Path(path).name for path in found.skipped) == ["c.nii", "other.dcm"]
    assert [len(item.volume) for item in found.volumes] == [2]
    assert not found.pictures
    with_archive = find_inputs([str(folder), str(tmp_path / "a.zip")], series_uid="1.2.3.4")
    assert ["the archive cannot be read to its end" in each.fault for each in with_archive.pictures] == [True]
