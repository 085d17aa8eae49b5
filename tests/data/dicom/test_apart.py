"""Compressed frames decoded in another process: the same pixels, and what happens when it ends."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from tests.data.dicom.conftest import make_dataset, save

from tumortrace.data.dicom import apart, pixels
from tumortrace.data.dicom.apart import decode_apart
from tumortrace.data.scans import open_volumes
from tumortrace.errors import DataError

GREY = np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)


def read(path):
    return open_volumes(path).volumes[0].read(0).pixels


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_the_pixels_are_the_same(tmp_path, syntax):
    save(make_dataset(GREY), tmp_path / "a.dcm", syntax)
    with decode_apart(1):
        np.testing.assert_array_equal(read(tmp_path / "a.dcm"), GREY)
    assert pixels.set_decoder(pixels.decode_codestream) is pixels.decode_codestream


def test_a_process_that_ends_is_replaced_and_the_frame_is_named(tmp_path, monkeypatch):
    path = save(make_dataset(GREY), tmp_path / "a.dcm", JPEGLSLossless)
    with decode_apart(1) as pool:
        read(path)
        child = pool._free.queue[0]
        os.kill(child._process.pid, signal.SIGSTOP)  # it hangs
        monkeypatch.setattr(apart, "LIMIT_S", 0.2)
        with pytest.raises(
            DataError, match=r"a\.dcm: the pixels cannot be decoded \(JPEG-LS Lossless Image Compression"
        ):
            read(path)
        monkeypatch.undo()
        assert child._process.poll() == -signal.SIGKILL
        np.testing.assert_array_equal(read(path), GREY)


def test_damaged_frames_leave_the_process_alone(tmp_path):
    path = save(make_dataset(GREY), tmp_path / "a.dcm", JPEG2000Lossless)
    data = path.read_bytes()
    start = data.index(b"\xff\x93") + 2
    (tmp_path / "b.dcm").write_bytes(data[: start + 1] + bytes(200) + data[start + 201 :])
    with decode_apart(1) as pool:
        read(path)
        child = pool._free.queue[0]
        for _ in range(3):
            try:
                read(tmp_path / "b.dcm")
            except DataError as error:
                assert "cannot be decoded" in str(error)  # noqa: PT017 - or decoded to other values
        assert pool._free.queue[0] is child


def test_threads_wait_for_each_other_and_all_processes_end(tmp_path):
    path = save(make_dataset(GREY), tmp_path / "a.dcm", JPEGLSLossless)
    with decode_apart(2) as pool:
        threads = [threading.Thread(target=read, args=(path,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        processes = [child._process for child in pool._free.queue if child is not None]
        assert 1 <= len(processes) <= 2
    assert all(process.poll() is not None for process in processes)
