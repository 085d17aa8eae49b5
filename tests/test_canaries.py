"""What a DICOM header says of a patient stays there: not in masks, results, messages, replies or exports."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import zipfile
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from tools.faults.commands import run_here

from tumortrace.phantoms.series import draw_series
from tumortrace.web.app import make_app
from tumortrace.web.engine import Engine

T = TypeVar("T")

PATIENT = {
    "PatientName": "ZQNAME^CANARY",
    "PatientID": "ZQPATIENTID",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ZQACCESSION",
    "StudyID": "ZQSTUDYID",
    "ReferringPhysicianName": "ZQPHYSICIAN",
}
"""What ``--keep-names`` copies into a DICOM-SEG."""

OTHERS = {
    "OtherPatientNames": "ZQALIAS",
    "OtherPatientIDs": "ZQOTHERID",
    "PatientAddress": "ZQADDRESS",
    "PatientComments": "ZQCOMMENTS",
    "PatientMotherBirthName": "ZQMOTHER",
    "InstitutionName": "ZQINSTITUTION",
    "InstitutionAddress": "ZQSTREET",
    "StationName": "ZQSTATION",
    "DeviceSerialNumber": "ZQSERIAL",
    "PerformingPhysicianName": "ZQPERFORMER",
    "OperatorsName": "ZQOPERATOR",
    "RequestingPhysician": "ZQREQUESTER",
    "StudyDescription": "ZQSCAN",
    "SeriesDescription": "ZQSERIES",
    "ProtocolName": "ZQPROTOCOL",
    "ImageComments": "ZQIMAGE",
}
PRIVATE, NESTED, DEEP, NAMED = "ZQPRIVATE", "ZQNESTED", "ZQDEEP", "ZQFILENAME"
SECRET = {text.partition("^")[0] for text in (*PATIENT.values(), *OTHERS.values(), PRIVATE, NESTED, DEEP)}


def write_series(folder: Path) -> Path:
    """Three slices of a head whose headers hold a canary in 25 places, and one in the name of each file."""
    folder.mkdir(parents=True)
    study, series, place = (generate_uid() for _ in range(3))
    for index, plane in enumerate(draw_series(seed=0, slices=3, size_hw=(160, 136)).pixels):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, place
        image.PositionReferenceIndicator, image.Modality, image.Manufacturer = "", "MR", "Phantom"
        image.SeriesNumber, image.InstanceNumber = 3, index + 1
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.Rows, image.Columns = plane.shape
        image.PixelSpacing, image.SliceThickness = [1.2, 1.2], 5
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * index]
        image.PixelData = (plane.astype(np.uint16) * 8).tobytes()
        for keyword, value in (PATIENT | OTHERS).items():
            setattr(image, keyword, value)
        image.private_block(0x0011, "tumortrace tests", create=True).add_new(1, "LO", PRIVATE)
        deep, nested = Dataset(), Dataset()
        deep.CodeMeaning, nested.ScheduledProcedureStepDescription = DEEP, NESTED
        nested.ScheduledProtocolCodeSequence = Sequence([deep])
        image.RequestAttributesSequence = Sequence([nested])
        image.save_as(folder / f"{NAMED}{index}", enforce_file_format=True)
    return folder


def write_broken(folder: Path, source: Path) -> Path:
    """The same series, one file cut in the pixels, one without pixels, one of an absurd number of rows."""
    folder.mkdir(parents=True)
    first, second, third = sorted(source.iterdir())
    (folder / "cut").write_bytes(first.read_bytes()[:-3000])
    image = dcmread(second)
    del image.PixelData
    image.save_as(folder / "empty")
    image = dcmread(third)
    image.Rows = 60_000
    image.save_as(folder / "absurd")
    return folder


def find_canaries(data: bytes) -> set[str]:
    return {secret for secret in SECRET if secret.encode() in data}


def read_all(folder: Path) -> dict[str, set[str]]:
    """The canaries in each file below a folder, unpacked."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            data += gzip.decompress(data) if path.suffix == ".gz" else b""
            found[path.name] = find_canaries(data)
    return found


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("canaries") / "head")


def test_a_series_has_its_canaries(series: Path):
    assert len(SECRET) > 12
    assert all(find_canaries(path.read_bytes()) == SECRET for path in series.iterdir())


@pytest.mark.parametrize("keep", [[], ["--keep-names"]], ids=["without", "with names"])
def test_segment_says_nothing_of_the_patient(series: Path, tmp_path: Path, keep: list[str]):
    words = ["segment", str(series), "--model", "fast", "--overlay", "--dicom-seg", "--bids", *keep, "--out", "out"]
    ended = run_here(words, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert find_canaries(ended.stderr.encode()) == set()
    found = read_all(tmp_path / "out")
    seg = next(name for name in found if name.endswith(".dcm"))
    kept = {text.partition("^")[0] for text in PATIENT.values()}
    assert found.pop(seg) == (kept if keep else set())
    assert len(found) >= 4
    assert set().union(*found.values()) == set()
    written = next((tmp_path / "out").rglob(seg)).read_bytes()
    assert NAMED.encode() not in written


def test_errors_say_nothing_of_the_patient(series: Path, tmp_path: Path):
    broken = write_broken(tmp_path / "broken", series)
    for words in (
        ["segment", str(broken), "--model", "fast", "--out", "out"],
        ["audit", str(broken), "--out", "audit"],
        ["convert", str(broken), "masks", "--to", "masks"],
        ["evaluate", str(broken), "--model", "fast", "--out", "scores"],
    ):
        ended = run_here(words, cwd=tmp_path)
        assert ended.code in {1, 2}, ended.stderr
        assert ended.stderr
        assert find_canaries(ended.stderr.encode()) == set()
    for name in ("out", "audit", "masks", "scores"):
        assert set().union(*read_all(tmp_path / name).values()) == set()


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    engine = Engine("fast")
    transport = httpx.ASGITransport(make_app(engine, host="127.0.0.1"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=120) as client:
        yield client
    engine.shut_down()


def run(ask: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread: a browser of other tests keeps a loop in this one."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, ask).result()


ACCEPTED = ("application/json", "application/x-ndjson", "application/gzip", "application/dicom")


def test_the_server_says_nothing_of_the_patient(
    series: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    folders = {"whole": series, "broken": write_broken(tmp_path / "broken", series)}
    files = {
        name: [("file", (f"study/{path.name}", path.read_bytes())) for path in sorted(folder.iterdir())]
        for name, folder in folders.items()
    }

    async def ask_all() -> dict[tuple[str, str], httpx.Response]:
        async with open_client() as client:
            return {
                (name, accept): await client.post("/api/segment?pixels=1", files=sent, headers={"Accept": accept})
                for name, sent in files.items()
                for accept in ACCEPTED
            }

    replies = run(ask_all())
    for (name, accept), reply in replies.items():
        assert reply.status_code == 200 or name == "broken", reply.text
        data = reply.content + str(reply.headers).encode()
        if reply.headers["content-type"] == "application/gzip":
            data += gzip.decompress(reply.content)
        elif reply.status_code == 200 and accept == "application/json":
            masks = [image["mask_png"] or "" for image in json.loads(reply.content)["images"]]
            data += b"".join(map(base64.b64decode, masks))
        assert find_canaries(data) == set()
    said = capfd.readouterr()
    assert find_canaries(f"{said.out}{said.err}{caplog.text}".encode()) == set()


@pytest.mark.parametrize("to", ["png", "via", "coco", "nifti", "seg", "dataset"])
def test_downloads_of_corrected_masks_say_nothing_of_the_patient(series: Path, to: str):
    labels = np.zeros((160, 136), np.uint8)
    labels[60:80, 50:75] = 1
    mask = ("mask", ("0/0/1.png", cv2.imencode(".png", labels)[1].tobytes()))
    files = [("file", (f"0/study/{path.name}", path.read_bytes())) for path in sorted(series.iterdir())]

    async def ask() -> httpx.Response:
        async with open_client() as client:
            return await client.post("/api/export", files=[*files, mask], params={"to": to})

    reply = run(ask())
    assert reply.status_code == 200, reply.text
    data = reply.content + str(reply.headers).encode()
    if reply.content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            data += b"".join(archive.read(name) for name in archive.namelist())
    elif to == "nifti":
        data += gzip.decompress(reply.content)
    assert find_canaries(data) == set()
    assert NAMED.encode() not in data
