from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from tumortrace.web.guard import SECURITY_HEADERS, Guard, is_loopback


def fault(host: str, **headers: str) -> str:
    guard = Guard(None, host=headers.pop("listening", "127.0.0.1"))  # type: ignore[arg-type] # never called
    pairs = [("host", host), *headers.items()]
    return guard.find_fault(Headers(raw=[(name.encode(), value.encode()) for name, value in pairs if value != "-"]))


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "127.0.0.1", "localhost:8080", "LocalHost", "[::1]:8080", "[::1]", "127.0.0.2:1"]
)
def test_names_of_this_machine_are_served_on_any_port(host):
    assert fault(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example:8080",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "192.168.1.7:8080",
        "8.8.8.8",
        "[2001:db8::1]:8080",
        "localhost:99999",
        "localhost:0",
        "localhost:80:80",
        "localhost:8080/path",
        "user@localhost:8080",
        "[::1",
        "::1",
        "",
        "-",
    ],
)
def test_other_hosts_are_refused(host):
    assert fault(host).startswith(f"Host: {'none' if host in ('', '-') else host}: not a name of this server")


def test_two_hosts_are_refused():
    guard = Guard(None, host="127.0.0.1")  # type: ignore[arg-type] # never called
    assert guard.find_fault(Headers(raw=[(b"host", b"localhost"), (b"host", b"localhost")]))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("localhost", "https://localhost"),
        ("LOCALHOST:8080", "http://localhost:8080"),
    ],
)
def test_the_servers_own_page_may_ask(host, origin):
    assert fault(host, origin=origin) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://x.test",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8080",  # the same machine by another name is another origin
        "http://localhost:8080.x.test",
        "http://localhost:8080, http://localhost:8080",
        "file://",
        "chrome-extension://abc",
    ],
)
def test_other_origins_are_refused(origin):
    assert fault("localhost:8080", origin=origin).startswith("Origin: ")


def test_on_an_open_address_all_addresses_and_its_own_names_are_served():
    assert fault("192.168.1.7:8080", listening="0.0.0.0") == ""  # noqa: S104 - that it is open is the point
    assert fault("[2001:db8::1]:8080", listening="::") == ""
    assert fault("scans.ward:8080", listening="scans.ward") == ""
    assert fault("rebound.example:8080", listening="0.0.0.0")  # noqa: S104


def test_loopback_addresses_are_known():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "scans.ward")] == [  # noqa: S104
        True, True, True, False, False,
    ]  # fmt: skip


def test_refused_requests_reach_no_route_and_all_replies_have_the_headers(get):
    for reply in (get("/healthz"), get("/nowhere"), get("/"), get("/api/model", host="localhost")):
        for name, value in SECURITY_HEADERS.items():
            assert reply.headers[name] == value
    refused = get("/nowhere", base="http://rebound.example")
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("Host: rebound.example: ")
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert get("/healthz", origin="null").status_code == 403
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]
    assert "http" not in SECURITY_HEADERS["Content-Security-Policy"]


SERVED, HOST, ORIGIN = "", "Host: ", "Origin: "
LOCAL, OPEN = "127.0.0.1", "0.0.0.0"  # noqa: S104 - that it is open is the point


@pytest.mark.parametrize(
    ("listening", "host", "origin", "verdict"),
    [
        # DNS rebinding: a name of another site resolves to this machine.
        (LOCAL, "evil.test:8080", "http://evil.test:8080", HOST),
        (OPEN, "evil.test:8080", "http://evil.test:8080", HOST),
        (LOCAL, "127.0.0.1.nip.io:8080", "-", HOST),
        (LOCAL, "localhost.evil.test", "-", HOST),
        # Another site in the browser of the user.
        (LOCAL, "127.0.0.1:8080", "null", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "http://evil.test", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "http://127.0.0.1:8080.evil.test", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "http://user@127.0.0.1:8080", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "http://127.0.0.1:8080/", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "file://", ORIGIN),
        # Ports: of the host any, since a tunnel may change it; of the origin the host's own.
        (LOCAL, "127.0.0.1:1", "-", SERVED),
        (LOCAL, "127.0.0.1:65535", "-", SERVED),
        (LOCAL, "127.0.0.1:65536", "-", HOST),
        (LOCAL, "127.0.0.1:", "-", HOST),
        (LOCAL, "127.0.0.1:+80", "-", HOST),
        (LOCAL, "127.0.0.1:8080", "http://127.0.0.1:8081", ORIGIN),
        (LOCAL, "127.0.0.1:8080", "http://127.0.0.1", ORIGIN),
        # IPv6.
        (LOCAL, "[::1]:8080", "http://[::1]:8080", SERVED),
        (LOCAL, "[0:0:0:0:0:0:0:1]:8080", "-", SERVED),
        (LOCAL, "[::ffff:127.0.0.1]:8080", "-", HOST),
        (LOCAL, "[::ffff:8.8.8.8]:8080", "-", HOST),
        (LOCAL, "[::]:8080", "-", HOST),
        (LOCAL, "[fe80::1%25eth0]:8080", "-", HOST),
        (LOCAL, "[::1].evil.test", "-", HOST),
        # Missing, empty, in another case, with a trailing dot, in another notation.
        (LOCAL, "-", "-", HOST),
        (LOCAL, "", "-", HOST),
        (LOCAL, "127.0.0.1:8080", "", ORIGIN),
        (LOCAL, "LOCALHOST:8080", "HTTP://LocalHost:8080", SERVED),
        (LOCAL, "localhost.:8080", "-", HOST),
        (LOCAL, "127.0.0.1.:8080", "-", HOST),
        (LOCAL, "127.1:8080", "-", HOST),
        (LOCAL, "2130706433:8080", "-", HOST),
        (LOCAL, "0x7f000001:8080", "-", HOST),
        (LOCAL, "0177.0.0.1", "-", HOST),
        (LOCAL, "localhost\t", "-", HOST),
        (LOCAL, "localhost localhost", "-", HOST),
        (LOCAL, "localh\u00f6st", "-", HOST),
        # An open address is reached by any address of the machine, and by no name that is not its own.
        (LOCAL, "0.0.0.0:8080", "-", HOST),
        (OPEN, "10.1.2.3:8080", "http://10.1.2.3:8080", SERVED),
        (OPEN, "10.1.2.3:8080", "http://10.1.2.4:8080", ORIGIN),
        (OPEN, "[2001:db8::1]:8080", "-", SERVED),
    ],
)  # fmt: skip
def test_verdicts_on_host_and_origin(listening: str, host: str, origin: str, verdict: str):
    said = fault(host, listening=listening, origin=origin)
    assert said.startswith(verdict) if verdict else not said
