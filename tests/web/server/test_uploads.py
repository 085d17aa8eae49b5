from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.uploads import DEEPEST, LONGEST_NAME, Upload, make_safe, receive_upload

TYPE = "multipart/form-data; boundary=BB"
NAMES = ("file", "mask", "pixels")


def part(name: str, data: bytes, file: str | None = None) -> bytes:
    named = "" if file is None else f'; filename="{file}"'
    return f'--BB\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"


def receive(
    folder: Path, body: bytes, *, content_type: str = TYPE, encoding: str = "identity", size: int = 7, **limits: float
) -> Upload:
    """Receive a body in pieces of a few bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    headers = Headers({"content-type": content_type, "content-encoding": encoding})
    most = Limits(**limits)  # type: ignore[arg-type]
    return asyncio.run(receive_upload(headers, pieces(), folder, limits=most, query={}, names=NAMES))


def test_files_and_fields_arrive_as_sent(tmp_path):
    body = (
        part("file", b"\x00\r\n--B\r\n", "a/b.png") + part("pixels", b"1") + part("mask", b"m", "0/3.png") + b"--BB--"
    )
    upload = receive(tmp_path, body)
    assert [(one.part, one.name, one.path.read_bytes()) for one in upload.files] == [
        ("file", "a/b.png", b"\x00\r\n--B\r\n"),
        ("mask", "0/3.png", b"m"),
    ]
    assert upload.fields == {"pixels": "1"}
    assert upload.of_part("mask")[0].path == tmp_path / "mask/0/3.png"


def test_equal_names_are_numbered_also_where_only_their_letters_case_differs(tmp_path):
    body = b"".join(part("file", bytes([at]), name) for at, name in enumerate(("a.nii.gz", "a.nii.gz", "A.nii.gz")))
    upload = receive(tmp_path, body + b"--BB--")
    assert [one.name for one in upload.files] == ["a.nii.gz", "a-2.nii.gz", "A-3.nii.gz"]
    assert [one.path.read_bytes() for one in upload.files] == [b"\x00", b"\x01", b"\x02"]


def test_a_name_that_is_a_folder_elsewhere_gets_another(tmp_path):
    upload = receive(tmp_path, part("file", b"1", "a/b") + part("file", b"2", "a") + b"--BB--")
    assert [one.path.read_bytes() for one in upload.files] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scan.png", "scan.png"),
        ("study/IM1", "study/IM1"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\scans\\a.dcm", "scans/a.dcm"),
        ("..\\..\\a.dcm", "a.dcm"),
        ("a/./b//c.png", "a/b/c.png"),
        ("x:stream", "stream"),
        ("scan:1.png", "scan_1.png"),
        ("", "file"),
        ("...", "file"),
        ("Kopf größer.png", "Kopf größer.png"),
        ("a\nb.png", "a/nb.png"),
    ],
)
def test_names_stay_within_their_folder(name, safe):
    assert make_safe(name) == safe


@given(st.text(max_size=400))
def test_no_name_leads_out_or_is_too_long(name):
    path = PurePosixPath(make_safe(name))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert 1 <= len(path.parts) <= DEEPEST + 1
    assert all(len(one.encode()) <= LONGEST_NAME for one in path.parts)
    assert "\x00" not in str(path)


def test_a_long_name_keeps_its_suffixes():
    assert make_safe("ä" * 300 + ".nii.gz").endswith("ä.nii.gz")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no multipart", 400),
        (part("file", b"x", "a.png"), 400),  # ends too soon
        (part("file", b"x", "a.png")[:40], 400),
        (b"--BB\r\nContent-Type: text/plain\r\n\r\nx\r\n--BB--", 400),  # a part without a name
        (part("file", b"x" * 2000) + b"--BB--", 413),  # a field as long as a file
    ],
)
def test_damaged_bodies_are_refused(tmp_path, body, status):
    with pytest.raises(RefusalError) as refused:
        receive(tmp_path, body)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("", 415),
        ("multipart/form-data", 415),
        ("multipart/form-data; boundary=" + "x" * 300, 400),
    ],
)
def test_other_types_are_refused(tmp_path, content_type, status):
    with pytest.raises(RefusalError) as refused:
        receive(tmp_path, b"", content_type=content_type)
    assert refused.value.status == status


def test_an_encoded_body_is_refused_by_name(tmp_path):
    body = part("pixels", b"1") + b"--BB--"
    with pytest.raises(RefusalError, match=r"encoded \(gzip\); send it without Content-Encoding") as refused:
        receive(tmp_path, gzip.compress(body), encoding="gzip")
    assert refused.value.status == 415
    assert receive(tmp_path, body, encoding="Identity").fields == {"pixels": "1"}


def test_limits_hold_while_the_body_arrives(tmp_path):
    body = part("file", b"x" * 1000, "a.png") + part("file", b"y", "b.png") + b"--BB--"
    with pytest.raises(RefusalError, match="more than the limit of 500 bytes") as refused:
        receive(tmp_path, body, request_bytes=500)
    assert refused.value.status == 413
    assert (tmp_path / "scan/a.png").stat().st_size <= 500
    with pytest.raises(RefusalError, match="limit of 1 parts") as refused:
        receive(tmp_path / "again", body, parts=1)
    assert refused.value.limit == "parts"
    with pytest.raises(RefusalError, match="took longer") as refused:
        receive(tmp_path / "slow", body, upload_seconds=0.0)
    assert refused.value.status == 408


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bodies_are_received_or_refused_and_never_a_bug(tmp_path_factory, data):
    body = bytearray(part("file", b"\r\n--BB", "a.png") + part("pixels", b"1") + part("file", b"", "b/c") + b"--BB--")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    folder = tmp_path_factory.mktemp("damaged")
    with contextlib.suppress(RefusalError):
        upload = receive(folder, bytes(body), size=data.draw(st.integers(1, 200)))
        assert all(one.path.is_relative_to(folder) and one.path.is_file() for one in upload.files)
