"""Requests to a server without sockets, and scans that it can segment."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tumortrace.phantoms.series import draw_series

MakeClient = Callable[..., httpx.AsyncClient]
Post = Callable[..., httpx.Response]
Files = Mapping[str, bytes]


@pytest.fixture(scope="session")
def encode_picture() -> Callable[[NDArray[np.generic]], bytes]:
    """Encode grey or red-green-blue pixels as PNG."""

    def encode(pixels: NDArray[np.generic]) -> bytes:
        ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
        return cv2.imencode(".png", ordered)[1].tobytes()

    return encode


@pytest.fixture(scope="session")
def dicom_series() -> dict[str, bytes]:
    """Five generated slices of one DICOM series by names that say nothing of their order."""
    pixels = draw_series(seed=0, slices=5, size_hw=(160, 136)).pixels
    study, series, place = (generate_uid() for _ in range(3))
    files = {}
    for index, plane in enumerate(pixels):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, place
        image.PositionReferenceIndicator, image.Modality, image.Manufacturer = "", "MR", "Phantom"
        image.PatientName, image.PatientID = "Canary^Nightingale", "CANARY-ID-4711"
        image.SeriesNumber, image.InstanceNumber = 3, index + 1
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.Rows, image.Columns = plane.shape
        image.PixelSpacing, image.SliceThickness = [1.2, 1.2], 5
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [0, 0, 5 * index]
        image.PixelData = (plane.astype(np.uint16) * 8).tobytes()
        with io.BytesIO() as file:
            image.save_as(file, enforce_file_format=True)
            files[f"IM{(index * 3) % 5}"] = file.getvalue()
    return files


@pytest.fixture(scope="session")
def make_zip() -> Callable[[Files], bytes]:
    """Pack files by name into a zip."""

    def make(files: Files) -> bytes:
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
            return file.getvalue()

    return make


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which requests have theirs."""
    folder = tmp_path / "requests"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def post(make_client: MakeClient) -> Post:
    """Send files, by name, to be segmented, and wait for the reply."""

    def send(
        files: Files, *, accept: str = "", query: Mapping[str, str] | None = None, **limits: float
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with make_client(**limits) as client:
                parts = [("file", (name, data, "application/octet-stream")) for name, data in files.items()]
                headers = {"Accept": accept} if accept else {}
                return await client.post("/api/segment", files=parts, params=query or {}, headers=headers)

        return asyncio.run(ask())

    return send


@pytest.fixture
def get(make_client: MakeClient) -> Callable[..., httpx.Response]:
    """Ask for a path."""

    def ask_for(
        path: str, *, host: str = "127.0.0.1", base: str = "http://127.0.0.1:8080", **headers: str
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with make_client(host=host, base=base) as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    return ask_for
