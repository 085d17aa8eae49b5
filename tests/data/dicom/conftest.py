"""DICOM files of a few pixels, made for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

WriteDicom = Callable[..., Path]

RAMP = np.arange(24, dtype=np.uint16).reshape(4, 6)
"""Pixels of 4 rows and 6 columns, all different."""


def make_dataset(pixels: NDArray[np.generic], **tags: object) -> Dataset:
    """A grey MR slice of 1 mm pixels at the origin, axial, of a series of its own; ``tags`` override (None deletes)."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
    image.SeriesInstanceUID, image.Modality = generate_uid(), "MR"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape[-2:]
    image.BitsAllocated = image.BitsStored = pixels.dtype.itemsize * 8
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    image.PixelSpacing, image.SliceThickness = [1, 1], 1
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    image.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def save(image: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian, **settings: object) -> Path:
    """Write a data set as a DICOM file; it is compressed where the syntax is."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_compressed else syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax.is_encapsulated:
        image.compress(syntax, generate_instance_uid=False, **settings)
    image.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """Write a slice into the test's folder; see ``make_dataset``."""

    def write(name: str = "a.dcm", pixels: NDArray[np.generic] = RAMP, **tags: object) -> Path:
        return save(make_dataset(pixels, **tags), tmp_path / name)

    return write
