"""Files with one lie: each is read, or refused in one line, within five seconds and a gigabyte.

``TUMORTRACE_FUZZ`` sets the number of files (5,000 in CI, always the same; ``make fuzz`` draws 100,000 new ones).
With ``TUMORTRACE_FUZZ_HERE`` they are read in this process, so that coverage can be measured.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.lies import hostile_files
from tests.fuzz.seeds import MAKERS, seeds_of
from tests.fuzz.worker import LIMIT_BYTES, Worker, read

COUNT = int(os.environ.get("TUMORTRACE_FUZZ", "5000"))
MANY = COUNT > 5000
WEIGHTS = {"dicom": 3, "pydicom": 3, "tiff": 2, "jpeg": 2, "png": 2, "nifti": 2}
"""Shares of the files by kind; 1 for all others."""

TOTAL = sum(WEIGHTS.get(kind, 1) for kind in MAKERS)


class _Here:
    """A worker that reads in this process."""

    peak_kib = 0

    def read(self, kind: str, data: bytes) -> str:
        read(kind, data)
        return ""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker | _Here]:
    one = _Here() if os.environ.get("TUMORTRACE_FUZZ_HERE") else Worker()
    yield one
    one.close()


@pytest.mark.parametrize("kind", MAKERS)
def test_one_lie(worker, kind):
    count = max(COUNT * WEIGHTS.get(kind, 1) // TOTAL, 1)

    @settings(
        max_examples=count,
        derandomize=not MANY,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(data=hostile_files(kind))
    def run(data: bytes) -> None:
        fault = worker.read(kind, data)
        assert not fault, f"{kind} {data!r}\n{fault}"

    run()


def test_the_seeds_themselves_and_any_bytes(worker):
    for kind in MAKERS:
        for data in seeds_of(kind):
            assert not worker.read(kind, data)

    @settings(max_examples=20, derandomize=True, database=None)
    @given(kind=st.sampled_from(sorted(MAKERS)), data=st.binary(max_size=300))
    def run(kind: str, data: bytes) -> None:
        assert not worker.read(kind, data)

    run()


CRASHERS = {
    "NIfTI of an unknown unit": ("nifti", seeds_of("nifti")[0][:123] + b"\x80" + seeds_of("nifti")[0][124:]),
    "NIfTI-2 cut off within its header": ("nifti", seeds_of("nifti")[3][:400]),
    "CVAT with a track without shapes": ("cvat", b'<annotations><track id="0" label="t"/></annotations>'),
    "COCO whose categories are no list": (
        "coco",
        seeds_of("coco")[0].replace(b'"categories": [', b'"categories": true, "x": ['),
    ),
    "BigTIFF whose next directory is 2^64 bytes away": (
        "tiff",
        b"II\x2b\0\x08\0\0\0\x10" + b"\0" * 7 + struct.pack("<QHHQQQ", 1, 256, 3, 1, 1, 2**64 - 1),
    ),
    "segmentation whose class has an unknown type": (
        "seg",
        seeds_of("seg")[0].replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00UA"),
    ),
    "ONNX whose input has a name that is not UTF-8": ("onnx", seeds_of("onnx")[0].replace(b"images", b"im\xc2\xcees")),
}
"""Files that once made a reader fail."""


@pytest.mark.parametrize("name", CRASHERS)
def test_what_failed_once(worker, name):
    assert not worker.read(*CRASHERS[name])


def test_memory(worker):
    assert worker.peak_kib * 1024 < LIMIT_BYTES
