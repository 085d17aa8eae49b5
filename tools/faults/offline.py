"""Every command in a network namespace without a route.

``unshare -n python -m tools.faults.offline FOLDER`` prints a line for each.

Two cables are cut. The namespace has a loopback interface and nothing else; and Python's sockets of all commands but
``serve`` are noted, which may be of the kind AF_UNIX alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["TUMORTRACE_CACHE"] = "off"

from tools.faults.commands import KILLED, make_material, run_here

OTHERS = (
    ("compare", ("compare", "scores", "other-scores")),
    ("info", ("info", "default")),
    ("doctor", ("doctor",)),
    ("segment --sample", ("segment", "--sample", "--out", "{out}")),
    ("help", ("segment", "--help")),
)
"""Commands that no fault at a write disturbs."""

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
BOUNDARY = "tumortrace-offline"


def main() -> int:
    """Run each command and the server; print a line for each, and return 1 if one fails or opens a socket."""
    folder = Path(sys.argv[1])
    raise_loopback()
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.__new__" and arguments[1] != socket.AF_UNIX and not _is_probe():
            opened.append(str(arguments[1]))
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            opened.append(f"{event} {arguments[0]}")

    sys.addaudithook(note)
    make_material(folder)
    print(f"train, evaluate: {opened or 'ok'}", flush=True)
    failed = len(opened)
    done = {"train", "evaluate"}
    wanted = [command for command in KILLED if command.name not in done and not command.name.endswith("masks")]
    commands = [(command.name, command.words) for command in wanted] + list(OTHERS)
    for number, (name, words) in enumerate(commands):
        before = len(opened)
        ended = run_here([word.format(out=folder / f"out-{number}") for word in words], cwd=folder)
        wrong = ended.code or opened[before:]
        failed += bool(wrong)
        print(f"{name}: {f'{ended.code} {opened[before:]} {ended.stderr}' if wrong else 'ok'}", flush=True)
    wrong_page = serve_page(next((folder / "scans").glob("*.[jp][pn]g")))
    print(f"serve and page: {wrong_page or 'ok'}")
    return int(failed > 0 or bool(wrong_page))


def _is_probe() -> bool:
    """Whether urllib3 asks, when it is imported, if loopback has IPv6: it binds a socket and sends nothing."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to the callers
    while frame is not None:
        if frame.f_code.co_name == "_has_ipv6" and frame.f_globals.get("__name__", "").startswith("urllib3"):
            return True
        frame = frame.f_back
    return False


def raise_loopback() -> None:
    """Switch the loopback interface of a new namespace on.

    Raises:
        RuntimeError: There are other interfaces: this is no namespace of its own.
    """
    names = [name for _, name in socket.if_nameindex()]
    if any(Path(f"/proc/sys/net/ipv4/conf/{name}").exists() and name != "lo" for name in names) or "lo" not in names:
        raise RuntimeError(f"run this by unshare -n; here are the interfaces {', '.join(names)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def serve_page(picture: Path) -> str:
    """Serve, read the page with all that it loads, and segment a picture; say what is wrong, empty if nothing is."""
    command = [sys.executable, "-m", "tumortrace", "serve", "--port", "0", "--model", "fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = re.search(r"http://[\w.:]+", server.stdout.readline())
            if not address:
                return "it did not start"
            return _read_page(address[0]) or _segment(address[0], picture)
        finally:
            server.terminate()


def _read_page(address: str) -> str:
    with urllib.request.urlopen(f"{address}/", timeout=60) as reply:  # noqa: S310 - of this machine
        page = reply.read().decode()
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page)
    for name in loaded:
        if re.match(r"[a-z]+://|//", name):
            return f"the page loads {name}"
        with urllib.request.urlopen(f"{address}/{name.lstrip('/')}", timeout=60):  # noqa: S310 - of this machine
            pass
    return "" if loaded else "the page loads nothing"


def _segment(address: str, picture: Path) -> str:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="head.png"\r\n\r\n'.encode()
    request = urllib.request.Request(  # noqa: S310 - of this machine
        f"{address}/api/segment",
        data=head + picture.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - of this machine
        images = json.load(reply)["images"]
    return "" if images and images[0]["status"] == "ok" else f"it replies {images}"


if __name__ == "__main__":
    sys.exit(main())
