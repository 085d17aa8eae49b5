"""Generated data under the names that the documentation uses."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from tumortrace import evaluate, train
from tumortrace.config import config_from_tables
from tumortrace.data.png_writing import write_png
from tumortrace.phantoms.series import PhantomSeries, draw_series
from tumortrace.phantoms.slices import draw_phantom, write_phantom_dataset
from tumortrace.web.sample import encode_series

ROOT = Path(__file__).parent.parent
SERIES_UID = "1.2.840.113619.2.1"  # as docs/inference.md names it
PARTS = {"br35h": 1, "figshare": 2, "brisc": 3, "brisc-test": 4, "mine": 5}
"""Datasets in three parts, each with its seed."""

FLAT = {"lgg": 11, "corrected": 12, "more": 13, "old_data": 14, "other_hospital": 15}
"""Datasets of one folder, each with its seed."""

TINY = {
    "recipe": {"size_hw": [48, 32]},
    "network": {"widths": [4, 8, 8]},
    "training": {"epochs": 2, "batch_size": 3, "learning_rate": 0.003, "keep": "last", "device": "cpu", "threads": 1},
}


def build_stage(stage: Path, *, run: Path | None = None) -> None:
    """Write all files that the pages name.

    Args:
        stage: A new folder.
        run: A finished run folder to take as ``runs/first``; None trains a very small one.
    """
    for name, seed in PARTS.items():
        write_phantom_dataset(stage / name, counts={"TRAIN": 10, "VAL": 4, "TEST": 5}, no_tumour=3, seed=seed)
    shutil.copytree(stage / "br35h", stage / "runs" / "demo" / "data")
    (stage / "br35h" / "no_tumour").rename(stage / "no_tumour")
    for name, seed in FLAT.items():
        write_phantom_dataset(stage / f"{name}-parts", counts={"TRAIN": 12}, no_tumour=0, seed=seed)
        (stage / f"{name}-parts" / "TRAIN").rename(stage / name)
        shutil.rmtree(stage / f"{name}-parts")
    _write_scans(stage)
    shutil.copytree(ROOT / "reproduction" / "results", stage / "reproduction" / "results")
    if run is None:
        train(stage / "br35h", out=stage / "runs" / "first", config=config_from_tables(TINY))
    else:
        shutil.copytree(run, stage / "runs" / "first")
    shutil.copytree(stage / "runs" / "first", stage / "runs" / "mine")
    evaluate(stage / "br35h", model=str(stage / "runs" / "first"), part="val", out=stage / "runs" / "second-val")


def _write_scans(stage: Path) -> None:
    """Write single pictures, a folder of them with a table of boxes, a NIfTI scan, and a DICOM series."""
    (stage / "scans").mkdir()
    for number, name in enumerate(("scan.png", "scan.jpg", "head.png", "other.png", "scans/a.png", "scans/b.png")):
        drawn = draw_phantom(np.random.default_rng(number), size_hw=(320, 272), kind="bright")
        if name.endswith(".jpg"):
            source = next(iter(sorted((stage / "br35h" / "TEST").glob("*.jpg"))))
            shutil.copy(source, stage / name)
        else:
            write_png(stage / name, drawn.pixels)
    with (stage / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["file", "x0", "y0", "x1", "y1"], ["a.png", 120, 80, 190, 150], ["b.png", 120, 80, 190, 150]]
        )
    (stage / "paths.txt").write_text("scans/a.png\nscans/b.png\n", encoding="utf-8")
    shutil.make_archive(str(stage / "scans"), "zip", stage / "scans")
    shutil.make_archive(str(stage / "more"), "gztar", stage / "scans")
    series = draw_series(seed=0, slices=5, size_hw=(192, 160))
    (stage / "scan.nii.gz").write_bytes(encode_series(series))
    for folder in ("study", "series"):
        _write_dicom(stage / folder, series)


def _write_dicom(folder: Path, series: PhantomSeries) -> None:
    folder.mkdir()
    for number, pixels in enumerate(series.pixels):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = UID(f"{SERIES_UID}.{number + 1}")
        path = folder / f"{number:03}.dcm"
        image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID = f"{SERIES_UID}.0.1", SERIES_UID
        image.FrameOfReferenceUID, image.Modality, image.InstanceNumber = f"{SERIES_UID}.0.2", "MR", number + 1
        image.PatientID, image.PatientName, image.StudyID = "generated", "Generated^Head", "1"
        image.Rows, image.Columns = pixels.shape
        image.PixelSpacing, image.SliceThickness = list(series.spacing_mm), series.step_mm
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [0.0, 0.0, number * series.step_mm]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 8
        image.HighBit, image.PixelRepresentation = 7, 0
        image.PixelData = np.ascontiguousarray(pixels).tobytes()
        image.save_as(path, enforce_file_format=True)
