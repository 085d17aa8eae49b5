"""Servers with the small model, with and without sockets, a picture that they can segment, and a browser."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tumortrace.phantoms.slices import draw_phantom
from tumortrace.web.app import make_app
from tumortrace.web.engine import Engine
from tumortrace.web.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page


@pytest.fixture(autouse=True)
def no_running_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unmark the loop that Playwright marks as running here: tests without a browser run loops of their own."""
    loop = asyncio._get_running_loop()
    if loop is None or "browser" in request.fixturenames:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


MakeClient = Callable[..., httpx.AsyncClient]


def png_of(pixels: np.ndarray) -> bytes:
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    return cv2.imencode(".png", ordered)[1].tobytes()


@pytest.fixture(scope="session")
def scan_png() -> bytes:
    """A generated slice with a tumour, 320 rows of 272 pixels."""
    return png_of(draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)


@pytest.fixture(scope="session")
def make_client() -> Iterator[MakeClient]:
    """Open a client of a server with limits of its own; one model for all."""
    engines = []

    def make(
        *,
        host: str = "127.0.0.1",
        base: str = "http://127.0.0.1:8080",
        raise_bugs: bool = True,
        **limits: float,
    ) -> httpx.AsyncClient:
        engine = Engine("fast", limits=replace(Limits(), **limits))
        engines.append(engine)
        transport = httpx.ASGITransport(make_app(engine, host=host), raise_app_exceptions=raise_bugs)
        return httpx.AsyncClient(transport=transport, base_url=base, timeout=60)

    yield make
    for engine in engines:
        engine.shut_down()


CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """Address of a running server with the small model."""
    command = [sys.executable, "-m", "tumortrace", "serve", "--port", "0", "--model", "fast"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        lines = []
        for line in server.stdout:
            lines.append(line)
            found = re.search(r"http://[\w.:]+", line)
            if found:
                break
        else:
            pytest.fail("the server did not start: " + "".join(lines))
        yield found[0]
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so there is no browser")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is missing: install Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, base_url: str) -> Iterator[OpenPage]:
    """Open the page in a context of its own; keywords go to ``new_context``. A test with an error in a page fails."""
    contexts, errors = [], []

    def open_one(**options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: _note(message, errors))
        page.goto(base_url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The page, 1280 x 800."""
    return open_page()


def _note(message: ConsoleMessage, errors: list[str]) -> None:
    # Chromium itself reports replies such as 415 as errors; what the page makes of them is tested.
    if message.type == "error" and "Failed to load resource" not in message.text:
        errors.append(message.text)


SIZE_HW = (21, 27)

Files = list[tuple[str, bytes]]
"""Names and contents."""


def draw_head(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 200, SIZE_HW, dtype=np.uint8)


def write_dicom(count: int = 3) -> Files:
    """A series of noise: the gate rejects it at once, and every pixel can be painted by hand."""
    files = []
    study, series, place = (generate_uid(entropy_srcs=[text]) for text in ("study", "series", "place"))
    for index in range(count):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=["image", str(index)])
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, place
        image.Modality, image.PatientID, image.PatientName = "MR", "p", "Test^Person"
        image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = image.AccessionNumber = ""
        image.StudyID = image.ReferringPhysicianName = image.PositionReferenceIndicator = ""
        image.SeriesNumber, image.InstanceNumber = 1, index + 1
        image.ImagePositionPatient, image.ImageOrientationPatient = [-9.0, -4.0, 3.0 * index], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [0.5, 0.8], 3.0
        image.Rows, image.Columns, image.SamplesPerPixel = *SIZE_HW, 1
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.PhotometricInterpretation, image.ImageType = "MONOCHROME2", ["ORIGINAL", "PRIMARY"]
        image.PixelData = draw_head(index).astype("<u2").tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        with io.BytesIO() as file:
            image.save_as(file, enforce_file_format=True)
            files.append((f"study/IM{index:03d}.dcm", file.getvalue()))
    return files
