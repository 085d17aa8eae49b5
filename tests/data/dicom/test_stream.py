"""DICOM headers: named tags alone, whatever the file's state."""

from __future__ import annotations

import resource
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.data.dicom.conftest import RAMP, WriteDicom, make_dataset, save

from tumortrace.data.dicom import stream
from tumortrace.data.dicom.image import read_frames
from tumortrace.data.dicom.pixels import decode_frame
from tumortrace.data.dicom.stream import inflates_beyond, looks_like_dicom, parse
from tumortrace.errors import DataError


def test_only_named_tags_are_read(write_dicom: WriteDicom):
    parsed = parse(write_dicom(PatientName="Canary^Bird"), ["Rows", "Modality"])
    assert {element.keyword for element in parsed.dataset} == {"Rows", "Modality"}
    assert parsed.pixels is not None
    assert parsed.pixels.length == parsed.pixels.held == 48


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_native_syntax_gives_the_same_pixels(tmp_path: Path, syntax):
    pixels = RAMP.astype(">u2") if syntax == ExplicitVRBigEndian else RAMP
    image = make_dataset(pixels)
    if syntax == ExplicitVRBigEndian:
        image["PixelData"].VR = "OW"
    (frame,) = read_frames(save(image, tmp_path / "a", syntax))
    assert np.array_equal(decode_frame(frame.image, 1), RAMP)


def test_a_file_without_preamble_and_meta_is_read_by_its_first_tags(write_dicom: WriteDicom, tmp_path: Path):
    data = write_dicom().read_bytes()
    start = data.index(b"\x08\x00\x16\x00")  # SOPClassUID, the first tag of the data set
    (tmp_path / "b").write_bytes(data[start:])
    (frame,) = read_frames(tmp_path / "b")
    assert np.array_equal(decode_frame(frame.image, 1), RAMP)


def test_the_length_of_the_meta_group_is_only_a_hint(write_dicom: WriteDicom, tmp_path: Path):
    data = bytearray(write_dicom().read_bytes())
    at = data.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    data[at] += 40
    (tmp_path / "b").write_bytes(data)
    assert read_frames(tmp_path / "b")[0].image.size_hw == (4, 6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty; give a DICOM file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not DICOM but a PNG picture; give a DICOM file"),
        (b"a text that goes on and on" * 20, "not DICOM; give a DICOM file"),
    ],
)
def test_what_is_not_dicom_is_named(tmp_path: Path, data, message):
    (tmp_path / "a.dcm").write_bytes(data)
    with pytest.raises(DataError, match=f"a.dcm: {message}"):
        parse(tmp_path / "a.dcm", ["Rows"])


def test_a_header_without_transfer_syntax_is_refused(write_dicom: WriteDicom, tmp_path: Path):
    data = write_dicom().read_bytes()
    at = data.index(b"\x02\x00\x10\x00")
    length = 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    (tmp_path / "b").write_bytes(data[:at] + data[at + length :])
    with pytest.raises(DataError, match="its header names no transfer syntax"):
        parse(tmp_path / "b", ["Rows"])


def test_a_deflated_file_that_unpacks_too_far_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(stream, "MOST_BYTES", 2**22)
    data = save(make_dataset(RAMP), tmp_path / "a", DeflatedExplicitVRLittleEndian).read_bytes()
    start = data.index(b"1.2.840.10008.1.2.1.99") + 22
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(2**24)) + packer.flush()
    (tmp_path / "b").write_bytes(data[:start] + bomb)
    with pytest.raises(DataError, match="unpacks to more than the limit"):
        parse(tmp_path / "b", ["Rows"])
    (tmp_path / "c").write_bytes(data[:-4])
    with pytest.raises(DataError, match="truncated"):
        parse(tmp_path / "c", ["Rows"])


def test_a_tag_that_claims_gigabytes_takes_no_memory(write_dicom: WriteDicom, tmp_path: Path):
    data = bytearray(write_dicom(WindowCenter="1").read_bytes())
    at = data.index(b"\x28\x00\x50\x10DS") + 4
    data[at : at + 4] = b"OB\0\0"
    data[at + 4 : at + 8] = (0xFFFFFF00).to_bytes(4, "little")
    (tmp_path / "b").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"b: (no pixels|the DICOM header is damaged|a value of 4,294,967,040 bytes)"):
        read_frames(tmp_path / "b")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_open_or_are_refused_in_one_line(tmp_path: Path, data):
    uids = {"SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
    image = make_dataset(RAMP, **uids, WindowCenter=[5, 6], WindowWidth=[9, 9], PixelPaddingValue=3, RescaleSlope=2)
    whole = bytearray(save(image, tmp_path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(128, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.dcm").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        for frame in read_frames(tmp_path / "a.dcm"):
            decode_frame(frame.image, frame.number)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either may happen
        assert "a.dcm" in str(error)  # noqa: PT017


def test_first_bytes_of_old_files():
    assert looks_like_dicom(bytes(128) + b"DICM")
    assert looks_like_dicom(b"\x08\x00\x05\x00CS\x0a\x00")
    assert looks_like_dicom(b"\x08\x00\x00\x00\x04\x00\x00\x00")
    assert not looks_like_dicom(b"\x08\x00\x05")
    assert not looks_like_dicom(b"\x08\x00\x00\x00\xff\xff\xff\xff")


def test_what_a_deflated_file_unpacks_to_is_counted_and_not_kept(tmp_path):
    image = make_dataset(np.zeros((400, 500), np.uint16))
    deflated = save(image, tmp_path / "deflated.dcm", DeflatedExplicitVRLittleEndian)
    assert deflated.stat().st_size < 3000
    assert inflates_beyond(deflated, 400_000)
    assert not inflates_beyond(deflated, 500_000)
    assert not inflates_beyond(save(image, tmp_path / "plain.dcm"), 1000)
    (tmp_path / "text").write_bytes(b"no DICOM file")
    assert not inflates_beyond(tmp_path / "text", 1)
