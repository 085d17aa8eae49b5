"""Each limit has its status and one line, and what exceeds it is never decoded."""

from __future__ import annotations

import gzip
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def nifti(shape: tuple[int, int, int]) -> bytes:
    return nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)).to_bytes()


def check(reply, status: int, limit: str) -> str:
    assert reply.status_code == status
    assert reply.json()["limit"] == limit
    assert "\n" not in reply.json()["error"]
    return reply.json()["error"]


def test_bytes(post, scan_png):
    assert "1,000 bytes" in check(post({"a.png": scan_png}, request_bytes=1000), 413, "request_bytes")


def test_parts(post):
    assert "2 parts" in check(post({"a.png": b"", "b.png": b"", "c.png": b""}, parts=2), 413, "parts")


@pytest.mark.parametrize("size", [(6000, 5000), (200_000, 200_000)])
def test_pixels_of_a_picture(post, size):
    assert "bomb.png" in check(post({"bomb.png": png_header(*size)}), 413, "pixels")


def test_pixels_of_a_slice(post):
    assert "s.nii: 30 x 40" in check(post({"s.nii": nifti((30, 40, 5))}, pixels=1000), 413, "pixels")


def test_slices_and_pixels_of_all_of_them(post, scan_png):
    assert "5 slices" in check(post({"s.nii": nifti((30, 40, 5))}, slices=4), 413, "slices")
    assert "6,000 pixels" in check(post({"s.nii": nifti((30, 40, 5))}, voxels=5000), 413, "voxels")
    assert "174,080 pixels" in check(post({"a.png": scan_png, "b.png": scan_png}, voxels=100_000), 413, "voxels")


def test_a_compressed_scan_that_unpacks_to_too_much(post):
    bomb = gzip.compress(nifti((30, 40, 5)) + bytes(10**7))
    assert len(bomb) < 20_000
    assert "s.nii.gz" in check(post({"s.nii.gz": bomb}, unpacked_bytes=10**6), 413, "unpacked_bytes")


def test_time(post, scan_png):
    assert "0.0001 s" in check(post({"a.png": scan_png}, work_seconds=0.0001), 503, "work_seconds")


def test_a_queue_without_places(post, scan_png):
    reply = post({"a.png": scan_png}, queue=0)
    check(reply, 503, "queue")
    assert int(reply.headers["retry-after"]) >= 1


def test_pixels_of_a_long_series_do_not_go_into_one_document(post, monkeypatch):
    monkeypatch.setattr("tumortrace.web.answering.MOST_DOCUMENT_PIXELS", 5000)
    reply = post({"s.nii": nifti((30, 40, 5))}, query={"pixels": "1"})
    assert "application/x-ndjson" in check(reply, 413, "voxels")
