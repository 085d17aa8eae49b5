"""A real server and real sockets: clients that are silent, slow, too many or gone, and signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.web.server.running import Server, wait_until

from tumortrace.web.protocol import CHECK_SECONDS, DEADLINES, MOST_CONNECTIONS
from tumortrace.web.sample import encode_sample

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the signals of POSIX systems")

BOUNDARY = "xxBOUNDARYxx"


SETTINGS: dict[str, dict[str, object]] = {
    "quick": {"limits": {"request_bytes": 2 * 10**6}},
    "slow": {"seconds": 0.15},
    "busy": {"seconds": 0.6, "limits": {"queue": 2}},
    "ending": {"seconds": 0.5},
    "ending late": {"seconds": 0.7},
    "interrupted": {"seconds": 0.7},
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """All servers of these tests, started side by side."""
    started = {name: Server(tmp_path_factory.mktemp("server"), **settings) for name, settings in SETTINGS.items()}
    for server in started.values():
        server.wait_until_ready()
    yield started
    for server in started.values():
        server.close()
    assert {name: server.stderr for name, server in started.items()} == dict.fromkeys(started, "")


def request_head(length: int, path: str = "/api/segment", accept: str = "application/json") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ).encode()


def body_of(name: str, data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.fixture(scope="session")
def sample() -> bytes:
    return encode_sample()


def test_the_deadlines_close_silent_and_trickling_clients_within_15_s():
    margin = 2 * CHECK_SECONDS
    assert DEADLINES.header_s + margin + DEADLINES.drain_s <= 15
    assert 2 * DEADLINES.window_s + margin + DEADLINES.drain_s <= 15  # what moved counts until its window ends


def test_silent_and_trickling_headers_are_closed(servers):
    server = servers["quick"]
    silent, trickling = server.connect(), server.connect()
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for letter in b"GET /healthz HTTP/1.1\r\nX-Slow: 1111111111111111111111111111111":
            trickling.sendall(bytes([letter]))
            time.sleep(0.04)
    assert b"408" in read_all(trickling).partition(b"\r\n")[0]
    assert read_all(silent) == b""
    assert time.monotonic() - started < 1 + 2 * CHECK_SECONDS + 1.5


@pytest.mark.parametrize("pauses_s", [[0.05] * 50, [3.0]], ids=["brisk requests", "a pause"])
def test_requests_on_one_connection_have_their_time_each(servers, pauses_s):
    connection = servers["quick"].connect()
    for pause in [*pauses_s, 0.0]:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        assert (reply.status, json.loads(reply.read())["status"]) == (200, "ok")
        time.sleep(pause)


def test_silent_and_trickling_bodies_are_closed_and_leave_nothing(servers):
    server = servers["quick"]
    silent, trickling = server.connect(), server.connect()
    for connection in (silent, trickling):
        connection.sendall(request_head(10**6) + body_of("a.png", b"x" * 1000)[:500])
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for _ in range(60):
            trickling.sendall(b"xx")
            time.sleep(0.05)
    replies = [read_all(connection) for connection in (silent, trickling)]
    assert all(reply.startswith(b"HTTP/1.1 408 ") and b'"error": "the body' in reply for reply in replies)
    assert time.monotonic() - started < 5
    wait_until(lambda: not list(server.temporary.iterdir()))


def test_a_steady_body_is_received_however_long_it_takes(servers, scan_png):
    server = servers["quick"]
    body = body_of("head.png", scan_png)
    connection = server.connect()
    connection.sendall(request_head(len(body)))
    started = time.monotonic()
    piece = len(body) // 20 + 1
    for at in range(0, len(body), piece):
        connection.sendall(body[at : at + piece])
        time.sleep(0.08)  # 1.6 s in all: three windows
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started > 1.6


def test_a_client_that_does_not_read_is_closed(servers, sample):
    server = servers["quick"]
    body = body_of("sample.nii.gz", sample)
    before = server.slices
    connection = server.connect(receive_bytes=4096)
    connection.sendall(request_head(len(body), "/api/segment?pixels=1&probability=1", "application/x-ndjson") + body)
    wait_until(lambda: bool(list(server.temporary.iterdir())))
    wait_until(lambda: not list(server.temporary.iterdir()), seconds=15)
    assert server.slices < before + 24  # and no slice was segmented for nobody


def test_a_client_that_reads_slowly_but_steadily_gets_it_all(servers, sample):
    server = servers["quick"]
    body = body_of("sample.nii.gz", sample)
    connection = server.connect(receive_bytes=16384)
    connection.sendall(request_head(len(body), "/api/segment?pixels=1", "application/x-ndjson") + body)
    data = b""
    while b'"type":"end"' not in data:
        data += connection.recv(16384)
        time.sleep(0.01)
    assert data.count(b'"type":"slice"') == 24


def test_a_client_that_leaves_drops_its_job_within_a_second(servers, sample):
    server = servers["slow"]
    body = body_of("sample.nii.gz", sample)
    for accept in ("application/json", "application/x-ndjson"):
        before = server.slices
        connection = server.connect()
        connection.sendall(request_head(len(body), accept=accept) + body)
        server.wait_for_slices(before + 3)
        connection.close()
        assert wait_until(lambda: not list(server.temporary.iterdir())) < 1
        count = server.slices
        time.sleep(0.5)
        assert server.slices == count < before + 12


def test_a_full_queue_is_503_at_once_and_empties_again(servers, scan_png):
    server = servers["busy"]
    with httpx.Client(base_url=server.url, timeout=20) as client:
        statuses: list[int] = []

        def send() -> None:
            reply = httpx.post(f"{server.url}/api/segment", files={"file": ("a.png", scan_png)}, timeout=20)
            statuses.append(reply.status_code)

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.wait_for_slices(1)
        wait_until(lambda: len(list(server.temporary.iterdir())) == 2)
        client.get("/healthz")  # the connection is open
        times = []
        for _ in range(5):
            started = time.perf_counter()
            reply = client.post("/api/segment", files={"file": ("b.png", scan_png)})
            times.append(time.perf_counter() - started)
            assert reply.status_code == 503
            assert 1 <= int(reply.headers["Retry-After"]) <= 60
            assert reply.json()["limit"] == "queue"
        assert min(times) < 0.05
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]
        assert client.post("/api/segment", files={"file": ("b.png", scan_png)}).status_code == 200


@pytest.mark.parametrize(
    "request_bytes", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000]
)
def test_what_is_no_http_is_400_in_one_line(servers, request_bytes):
    connection = servers["quick"].connect()
    connection.sendall(request_bytes)
    reply = read_all(connection)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2]) == {"error": "invalid http request received; speak HTTP/1.1"}


def test_more_connections_than_there_may_be_are_closed_at_once(servers):
    server = servers["quick"]
    connections = [server.connect() for _ in range(MOST_CONNECTIONS + 8)]
    assert connections[-1].recv(1) == b""
    assert [connection.recv(1) for connection in connections] == [b""] * len(connections)  # the others a second later
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_too_long_a_body_is_413_before_it_is_read(servers):
    server = servers["quick"]
    connection = server.connect()
    connection.sendall(request_head(10**9))
    assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < 10:  # the rest is thrown away for a while, then the connection is closed
            connection.sendall(b"x" * 1000)
            time.sleep(0.02)
    assert time.monotonic() - started < 5


def test_other_requests_are_answered_while_slices_are_segmented(servers, sample):
    server = servers["slow"]
    body = body_of("sample.nii.gz", sample)
    before = server.slices
    connection = server.connect()
    connection.sendall(request_head(len(body)) + body)
    server.wait_for_slices(before + 2)
    with httpx.Client(base_url=server.url) as client:
        times = []
        for _ in range(10):
            started = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            times.append(time.perf_counter() - started)
    assert sorted(times)[5] < 0.1
    assert server.slices < before + 24


def test_sigterm_answers_what_is_soon_done(servers, scan_png):
    server = servers["ending"]
    replies: list[httpx.Response] = []

    def send() -> None:
        replies.append(httpx.post(f"{server.url}/api/segment", files={"file": ("a.png", scan_png)}, timeout=20))

    thread = threading.Thread(target=send)
    thread.start()
    server.wait_for_slices(1)
    started = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - started < 5
    thread.join()
    assert replies[0].status_code == 200


def test_sigterm_refuses_what_is_not(servers, sample):
    server = servers["ending late"]
    body = body_of("sample.nii.gz", sample)
    whole, streamed = server.connect(), server.connect()
    whole.sendall(request_head(len(body)) + body)
    streamed.sendall(request_head(len(body), accept="application/x-ndjson") + body)
    server.wait_for_slices(3)
    uploading = server.connect()
    uploading.sendall(request_head(len(body)) + body[:5000])
    wait_until(lambda: len(list(server.temporary.iterdir())) == 3)
    started = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - started < 5
    assert read_all(whole).startswith(b"HTTP/1.1 503 ")
    stream = read_all(streamed)
    assert stream.startswith(b"HTTP/1.1 200 ")
    assert b'"type":"error"' in stream
    assert read_all(uploading)[:13] in (b"HTTP/1.1 503 ", b"HTTP/1.1 408 ")
    assert not list(server.temporary.iterdir())


def test_a_second_ctrl_c_skips_no_tidying_up(servers, sample):
    server = servers["interrupted"]
    body = body_of("sample.nii.gz", sample)
    whole = server.connect()
    whole.sendall(request_head(len(body)) + body)
    server.wait_for_slices(1)
    for _ in range(3):
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert server.process.wait(timeout=10) == 0
    assert read_all(whole).startswith(b"HTTP/1.1 503 ")
    assert (server.stderr, list(server.temporary.iterdir())) == ("", [])


def test_ipv6_and_an_open_address_are_served(tmp_path):
    command = [sys.executable, "-m", "tumortrace", "serve", "--model", "fast", "--port", "0", "--host"]
    environment = {**os.environ, "COLUMNS": "200"}
    for host, own in (("::1", "[::1]"), ("0.0.0.0", "127.0.0.1")):  # noqa: S104 - that it is open is the point
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [*command, host], stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
            )
        assert process.stdout is not None
        port = re.search(r":(\d+) ", process.stdout.readline())[1]
        assert httpx.get(f"http://{own}:{port}/healthz").status_code == 200
        assert httpx.get(f"http://{own}:{port}/healthz", headers={"Host": "rebound.example"}).status_code == 403
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        process.stdout.close()
        assert ("open to the network" in (tmp_path / "stderr").read_text()) == (host == "0.0.0.0")  # noqa: S104


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "tumortrace", "serve", "--port", port, "--model", "fast"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: 127.0.0.1:{port}: cannot be listened on")
    assert done.stderr.count("\n") == 1
