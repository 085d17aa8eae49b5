"""Reading of fuzzed files in a process of its own, with a limit of memory: a crash must not end the tests."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np

from tumortrace.copies.split_files import read_split
from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.cases import read_case
from tumortrace.data.convert import convert_to_annotations, convert_to_masks
from tumortrace.data.dataset import open_dataset
from tumortrace.data.pictures import read_size_hw
from tumortrace.data.scans import open_volumes
from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.errors import TumortraceError
from tumortrace.inference.model import open_model
from tumortrace.inference.results.results_json import read_masks

LIMIT_S = 5.0
"""Seconds of the processor after which a file hangs the reader; on the clock it may be more on a busy machine."""

CLOCK_S = 120.0
"""Seconds on the clock after which it hangs all the same."""

LIMIT_BYTES = 2**30
"""Memory that a file may take, beyond what the process has from its start."""

NAMES = {
    "png": "a.png", "jpeg": "a.jpg", "tiff": "a.tif", "other": "a.bmp", "dicom": "a.dcm", "pydicom": "a.dcm",
    "seg": "a.dcm", "nifti": "a.nii", "nifti_gz": "a.nii.gz", "cvat": "a.xml", "xml": "a.xml", "yolo": "a.txt",
    "table": "pairs.csv", "supervisely": "a.png.json", "onnx": "a.onnx", "results": "results.json",
    "mask": "masks/a.png", "voc_mask": "SegmentationClass/a.png", "scan_mask": "labels/a.nii",
}  # fmt: skip
_MODULES = (
    "defusedxml.ElementTree", "gdcm", "jpeg_ls", "openjpeg", "tumortrace.data.dicom.directory",
    "tumortrace.data.dicom.segmentation", "tumortrace.data.dicom.series", "tumortrace.data.nifti.mask",
    "tumortrace.data.nifti.reader", "yaml",
)  # fmt: skip
"""Modules that are imported when they are needed: their time and memory are not the file's."""

_PICTURES = ("png", "jpeg", "tiff", "other")
_SCANS = ("dicom", "pydicom", "nifti", "nifti_gz")


def read(kind: str, data: bytes) -> None:
    """Read a file as the program does, in all its ways; ``TumortraceError`` is an answer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / NAMES.get(kind, "a.json")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        for way in _WAYS.get(kind, (_read_dataset, _read_annotations)):
            try:
                way(path)
            except TumortraceError as error:
                if "\n" in str(error):
                    raise AssertionError(f"a message of several lines: {error}") from None


def _read_picture(path: Path) -> None:
    turn_upright(read_slice(path).pixels)


def _read_size(path: Path) -> None:
    read_size_hw(path)


def _read_scan(path: Path) -> None:
    for volume in open_volumes(path).volumes:
        volume.inspect()
        for index in islice(range(len(volume)), 4):
            volume.read(index)


def _read_segmentation(path: Path) -> None:
    from tumortrace.data.dicom.segmentation import read_segmentation  # noqa: PLC0415 - an extra

    seg = read_segmentation(path)
    if seg is not None:
        from tumortrace.data.dicom.segmentation import _decode  # noqa: PLC0415

        _decode(seg, 0)


def _read_dataset(path: Path) -> None:
    for name in ("a.png", "m.png"):
        cv2.imwrite(str(path.with_name(name)), np.full((24, 20), 255 * (name == "m.png"), np.uint8))
    with suppress(TumortraceError):
        open_dataset(path.parent, label="t")
    dataset = open_dataset(path.parent)
    for record in islice(dataset.records, 4):
        read_case(record)
    with tempfile.TemporaryDirectory() as out:
        for to in ("coco", "yolo"):
            convert_to_annotations(path.parent, Path(out) / to, to=to)


def _read_masks(path: Path) -> None:
    """Read masks in a folder of their own, beside the pictures or scans that they belong to."""
    folder = path.parent.parent
    place = folder / ("JPEGImages" if path.parent.name.startswith("Segm") else "images")
    place.mkdir()
    if path.suffix == ".nii":
        (place / "a.nii").write_bytes(nib.Nifti1Image(np.ones((7, 6, 5), np.int16), np.eye(4)).to_bytes())
    else:
        cv2.imwrite(str(place / "a.jpg"), np.full((24, 20), 90, np.uint8))
    dataset = open_dataset(folder)
    for record in islice(dataset.records, 4):
        read_case(record)
    with tempfile.TemporaryDirectory() as out:
        convert_to_masks(folder, Path(out) / "masks")


def _read_annotations(path: Path) -> None:
    read_annotations(path)


def _read_split(path: Path) -> None:
    read_split(path)


def _read_results(path: Path) -> None:
    read_masks(path.parent)


def _read_model(path: Path) -> None:
    open_model(str(path), threads=1)


_WAYS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_PICTURES, (_read_picture, _read_size)),
    **dict.fromkeys(_SCANS, (_read_scan,)),
    "seg": (_read_segmentation, _read_scan),
    "table": (_read_dataset,),
    "yolo": (_read_dataset,),
    **dict.fromkeys(("mask", "voc_mask", "scan_mask"), (_read_masks,)),
    "split": (_read_split,),
    "results": (_read_results,),
    "onnx": (_read_model,),
}


def serve() -> None:
    """Read files that come on stdin, and say on stdout what became of each."""
    given, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the replies
    for module in _MODULES:
        importlib.import_module(module)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))
    while head := given.read(8):
        kind_bytes, length = struct.unpack("<II", head)
        kind = given.read(kind_bytes).decode()
        fault = ""
        data = given.read(length)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            read(kind, data)
        except BaseException:  # noqa: BLE001 - that is what is looked for
            fault = traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        reply = json.dumps({"fault": fault, "peak_kib": _peak_kib()}).encode()
        replies.write(struct.pack("<I", len(reply)) + reply)
        replies.flush()


def _peak_kib() -> int:
    """Largest memory of this process alone: ``getrusage`` counts that of the process that started it too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


class Worker:
    """The other end: starts the process, and starts it again after a crash or a hang."""

    def __init__(self, *, clock_s: float = CLOCK_S) -> None:
        self.clock_s = clock_s
        self.restarts = 0
        self.peak_kib = 0
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, kind: str, data: bytes) -> str:
        """Let a file be read; return what went wrong, empty if nothing did."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self.clock_s, process.kill)
        timer.start()
        try:
            process.stdin.write(struct.pack("<II", len(kind), len(data)) + kind.encode() + data)
            process.stdin.flush()
            head = process.stdout.read(4)
            reply = process.stdout.read(struct.unpack("<I", head)[0]) if len(head) == 4 else b""
        except BrokenPipeError:
            reply = b""
        finally:
            timer.cancel()
        if not reply:
            self.close()
            status, self.restarts = process.returncode, self.restarts + 1
            return f"the process ended with status {status}: a hang over {LIMIT_S} s (-9, -27), or a crash"
        document = json.loads(reply)
        self.peak_kib = max(self.peak_kib, document["peak_kib"])
        return str(document["fault"])

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.fuzz.worker"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    serve()
