"""The listing of a folder of scans."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.data.dicom.conftest import RAMP, make_dataset, save
from typer.testing import CliRunner

from tumortrace.cli import app


def info(target: Path) -> str:
    done = CliRunner().invoke(app, ["info", str(target)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_folder_of_scans_is_listed_with_series_geometry_and_warnings(tmp_path: Path):
    for depth in (0, 3, 9):
        tags = {"SeriesInstanceUID": "1.2.3", "PixelSpacing": [0.5, 1.2], "PatientName": "Canary^Bird"}
        save(make_dataset(RAMP, **tags, ImagePositionPatient=[0, 0, depth]), tmp_path / "head" / f"{depth}.dcm")
    (tmp_path / "e.dcm").write_bytes(b"x")
    (tmp_path / "note.txt").write_text("x")
    text = info(tmp_path)
    assert ": 1 volume\n\nhead: MR, 3 slices of 4 x 6 pixels (rows x columns)\n" in text
    assert (
        "  spacing 0.500 x 1.200 mm (rows x columns), step unknown\n  --series 1.2.3\n  uneven steps: 6.00 mm" in text
    )
    assert "e.dcm: not DICOM (left out); give a DICOM file\nother files: 1\n" in text
    assert "Canary" not in text


def test_a_single_file_is_listed(tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.diag([1, 2, 3, 1])).to_filename(path)
    assert "a: nifti, 4 slices of 3 x 2 pixels" in info(path)  # across z, the thickest side


@pytest.mark.parametrize("name", ["fast", "box"])
def test_a_shipped_model_is_described_whatever_folder_has_its_name(name, tmp_path: Path, monkeypatch):
    (tmp_path / name).mkdir()
    nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_filename(tmp_path / name / "a.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert f"\nmodel: {name}\n" in info(Path(name))
    assert "1 volume" in info(Path(f"./{name}").absolute())


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_what_is_no_run_model_or_scan_is_answered_with_all_that_would_do(tmp_path: Path, name):
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(app, ["info", str(tmp_path / name)])
    assert str(done.exception) == (
        f"{tmp_path / name}: no run, model or scan; "
        "give default, fast, box, a run folder, an .onnx file, or a folder of scans"
    )
