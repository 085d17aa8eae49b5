"""Hostile files sent to a running server: one line each, no memory kept, and the next request is answered."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from tests.hostile.attacks import ANSWERED, PICTURES, SCANS, pack_zeros, png_of
from tests.web.server.running import Server

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the memory of a process is read from /proc")

UNPACKED_BYTES = 2**26
"""Limit of this server; that of a usual one is 16 times as large, and would cost seconds."""

MOST_BYTES = 2**25
"""Attacks of larger files take no room on a disk, but they do on the way to a server."""

MOST_MIB = 150
"""Memory that all attacks together may cost, beyond that of a server that has answered; a slice takes as much."""

SOUND = ANSWERED - {"DICOM whose position holds ten million numbers"}
"""Files that the server answers too; it reads no such value."""

EXPORTED = (
    "PNG of 50,000 squared", "TIFF of tiles of 2^31 pixels", "progressive JPEG of 400 scans",
    "DICOM of 60,000 squared and 100,000 frames", "deflated DICOM of 4 GB in 4 MB",
    "JPEG 2000 of four million tiles", ".nii.gz of 8 GB in 8 MB, of a header that says 64 cubed",
)  # fmt: skip
"""Attacks that also come as the picture or scan of a corrected mask."""


def zip_of(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def link_to(target: bytes) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def zip_of_zeros() -> bytes:
    """Two files of 512 MiB each, in a few hundred kilobytes."""
    return zip_of(*((f"{name}.nii", bytes(2**29)) for name in "ab"))


def zip_that_lies() -> bytes:
    """A file of 64 MiB and more whose entry says 4 bytes."""
    data = bytearray(zip_of(("a.nii", bytes(UNPACKED_BYTES + 2**20))))
    for at, place in ((data.index(b"PK\3\4"), 22), (data.index(b"PK\1\2"), 24)):
        data[at + place : at + place + 4] = (4).to_bytes(4, "little")
    return bytes(data)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "zip that leads out of its folder": lambda: zip_of(("../../evil.png", png_of(8))),
    "zip with a link to /etc": lambda: zip_of(link_to(b"/etc/passwd")),
    "zip of zips": lambda: zip_of(("inner.zip", zip_of(("a.png", png_of(8))))),
    "zip of 3,000 pictures": lambda: zip_of(*((f"{number}.png", b"") for number in range(3000))),
    "zip of a gigabyte of zeros": zip_of_zeros,
    "zip whose entry says 4 bytes and holds 65 MB": zip_that_lies,
    "zip of a PNG of 50,000 squared": lambda: zip_of(("a.png", png_of(50_000))),
    "zip cut in the middle": lambda: zip_of(("a.png", png_of(64)))[:60],
    "gzip of 8 GB under the name of a zip": lambda: pack_zeros(2**33, wrap=31),
}


@dataclass(frozen=True)
class Sent:
    """A request and its reply."""

    name: str
    route: str
    status: int
    text: str
    next_status: int


def memory_mib(server: Server, key: str) -> float:
    """Memory of the server's process: ``VmRSS`` now, or ``VmHWM`` at its largest."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("attacked"), limits={"unpacked_bytes": UNPACKED_BYTES})
    one.wait_until_ready()
    yield one
    one.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """Name and content of each attack that is a file of moderate size."""
    made = {}
    for number, (name, make) in enumerate((PICTURES | SCANS).items()):
        folder = tmp_path_factory.mktemp(f"attack{number}")
        path = make(folder)
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            made[name] = (path.name, path.read_bytes())
            path.unlink()
    return made | {name: ("a.zip", make()) for name, make in ARCHIVES.items()}


@dataclass(frozen=True)
class Attacked:
    """All requests, and the memory of the server before them, at its largest, and after each further round."""

    sent: list[Sent]
    before_mib: float
    most_mib: float
    after_mib: list[float]


@pytest.fixture(scope="module")
def attacked(server: Server, files: dict[str, tuple[str, bytes]], scan_png: bytes) -> Attacked:
    mask = ("mask", ("0/0/0.png", cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()))
    with httpx.Client(base_url=server.url, timeout=60) as client:

        def post(name: str, route: str, parts: list) -> Sent:
            reply = client.post(route, files=parts)
            return Sent(name, route, reply.status_code, reply.text, client.get("/healthz").status_code)

        def send_all() -> list[Sent]:
            whole = [post(name, "/api/segment", [("file", file)]) for name, file in files.items()]
            again = [(name, (f"0/{files[name][0]}", files[name][1])) for name in (*EXPORTED, *ARCHIVES)]
            whole += [post(name, "/api/export?to=png", [("file", file), mask]) for name, file in again]
            return whole + [post(name, "/api/annotations", [("file", files[name])]) for name in EXPORTED]

        for _ in range(3):
            assert post("a picture", "/api/segment", [("file", ("a.png", scan_png))]).status == 200
        before, sent, after = memory_mib(server, "VmRSS"), send_all(), []
        for _ in range(6):
            small = [name for name, (_, data) in files.items() if len(data) < 2**20]
            sent += [post(name, "/api/segment", [("file", files[name])]) for name in small]
            after.append(memory_mib(server, "VmRSS"))
        sent.append(post("a picture", "/api/segment", [("file", ("a.png", scan_png))]))
    return Attacked(sent, before, memory_mib(server, "VmHWM"), after)


def test_each_is_refused_in_one_line_or_passed_over(attacked: Attacked):
    assert len({one.name for one in attacked.sent}) > 40
    *attacks, last = attacked.sent
    for one in attacks:
        if one.name in SOUND and one.route == "/api/segment":
            assert one.status == 200, one
            continue
        assert 400 <= one.status < 500, one
        message = json.loads(one.text)["error"]
        assert message
        assert "\n" not in message
        assert "Traceback" not in message
    assert last.status == 200


def test_the_next_request_is_answered(attacked: Attacked):
    assert {one.next_status for one in attacked.sent} == {200}


def test_the_memory_of_the_server_stays_flat(attacked: Attacked):
    assert attacked.most_mib - attacked.before_mib < MOST_MIB
    assert attacked.after_mib[-1] - attacked.after_mib[2] < 8  # what the first rounds warmed up, the others use


def test_nothing_stays_and_nothing_is_logged(server: Server, attacked: Attacked):
    assert attacked.sent
    assert list(server.temporary.iterdir()) == []
    assert server.stderr == ""
    assert not list(server.folder.rglob("evil.png"))
