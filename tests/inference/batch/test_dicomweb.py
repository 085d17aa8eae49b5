"""Sending to an archive: a small DICOMweb service on this machine stores, refuses, changes or loses the object."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.data.dicom.test_segmentation import LABELS, write_seg, write_series

from tumortrace.errors import DataError
from tumortrace.inference.batch.dicomweb import check_url, send_seg
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.inference.results.volume_files import VolumeOptions


class Archive(ThreadingHTTPServer):
    """Store of objects by their path; ``mode`` is what is wrong with it."""

    def __init__(self, mode: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = mode
        self.stored: list[bytes] = []
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://user:p%40ss@127.0.0.1:{self.server_port}/dicom-web/"


class Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].rpartition("boundary=")[2].encode()
        part = body.split(b"--" + boundary)[1]
        self.server.stored.append(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        self.note()
        if self.server.mode == "moves":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        answer = {"00081199": {"vr": "SQ"}}
        if self.server.mode == "refuses":
            answer = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [49442]}}]}}
        self.reply(json.dumps(answer).encode(), "application/dicom+json", 500 if self.server.mode == "fails" else 200)

    def do_GET(self) -> None:
        self.note()
        if self.server.mode == "loses":
            self.reply(b"Doe^Jane is not here", "text/plain", 404)
            return
        data = self.server.stored[-1]
        data = data[:-2] + b"\xff\xff" if self.server.mode == "changes" else data
        if self.server.mode == "single":
            self.reply(data, "application/dicom")
            return
        body = b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--cut--\r\n"
        self.reply(body, 'multipart/related; type="application/dicom"; boundary=cut')

    def note(self) -> None:
        self.server.asked.append((self.command, self.path))
        self.server.headers.append(dict(self.headers))

    def reply(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Be silent."""


StartArchive = Callable[[str], Archive]


@pytest.fixture
def start_archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartArchive]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started: list[Archive] = []

    def start(mode: str) -> Archive:
        started.append(Archive(mode))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return started[-1]

    yield start
    for archive in started:
        archive.shutdown()
        archive.server_close()


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    return write_seg(tmp_path / "a_seg.dcm", write_series(tmp_path / "series"), LABELS)


@pytest.mark.parametrize("mode", ["stores", "single"])
def test_an_object_is_stored_and_read_back(seg: Path, start_archive: StartArchive, mode: str):
    archive = start_archive(mode)
    send_seg(seg, archive.url)
    assert archive.stored == [seg.read_bytes()]
    (posted, place), (got, instance) = archive.asked
    assert (posted, place, got) == ("POST", "/dicom-web/studies", "GET")
    assert instance.startswith("/dicom-web/studies/")
    assert "/instances/" in instance
    assert {headers["Authorization"] for headers in archive.headers} == {
        "Basic " + base64.b64encode(b"user:p@ss").decode()
    }


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("refuses", r"it refused the object \(reason 49442\)"),
        ("fails", r"it answered 500 \(Internal Server Error\)"),
        ("loses", r"it answered 404 \(Not Found\)"),
        ("changes", "what it returned is not what was sent"),
    ],
)
def test_an_archive_that_does_not_keep_it_is_named(seg: Path, start_archive: StartArchive, mode: str, reason: str):
    with pytest.raises(DataError, match=rf"a_seg.dcm: not stored at 127.0.0.1: {reason}; the file is kept") as error:
        send_seg(seg, start_archive(mode).url)
    assert not {"Doe", "p@ss", "p%40ss"} & set(str(error.value).split())


def test_a_redirect_is_not_followed(seg: Path, start_archive: StartArchive):
    archive = start_archive("moves")
    with pytest.raises(DataError, match=r"not stored at 127\.0\.0\.1: it answered 302 \(Found\)"):
        send_seg(seg, archive.url)
    assert archive.asked == [("POST", "/dicom-web/studies")]


def test_an_archive_that_is_not_there_is_named(seg: Path, start_archive: StartArchive):
    archive = start_archive("stores")
    archive.shutdown()
    archive.server_close()
    with pytest.raises(DataError, match=r"not stored at 127\.0\.0\.1: Connection refused"):
        send_seg(seg, archive.url)


@pytest.mark.parametrize("url", ["", "archive", "ftp://host", "http://", "https://host:notaport/x", "file:///etc/x"])
def test_other_addresses_are_refused(url: str):
    with pytest.raises(DataError, match="--send takes the address of a DICOMweb service"):
        check_url(url)


def test_a_run_sends_what_it_wrote_and_counts_what_was_not_stored(tmp_path: Path, start_archive: StartArchive):
    """A series without a mask of its own has no object to send."""
    write_series(tmp_path / "scans" / "a")
    write_series(tmp_path / "scans" / "b")
    options = VolumeOptions(dicom_seg=True)
    archive = start_archive("stores")
    summary = segment_inputs(
        str(tmp_path / "scans"), out=tmp_path / "out", model="fast", gate=False, options=options, send=archive.url
    )
    written = sorted((tmp_path / "out").glob("*_seg.dcm"))
    assert (summary.sent, summary.all_failures, len(written)) == (2, (), 2)
    assert sorted(archive.stored) == sorted(path.read_bytes() for path in written)
    summary = segment_inputs(
        str(tmp_path / "scans"),
        out=tmp_path / "out",
        model="fast",
        gate=False,
        options=options,
        send=start_archive("fails").url,
    )
    assert (summary.sent, len(summary.all_failures)) == (0, 2)


def test_a_wrong_address_ends_a_run_before_it_starts(tmp_path: Path):
    write_series(tmp_path / "scans")
    with pytest.raises(DataError, match="--send takes the address"):
        segment_inputs(str(tmp_path / "scans"), out=tmp_path / "out", send="archive")
    assert not (tmp_path / "out").exists()
