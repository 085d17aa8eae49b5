"""A running server of its own, in a process that a test can watch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

QUICK = {"header_s": 1.0, "window_s": 0.5, "body_bytes": 2048, "reply_bytes": 2048, "drain_s": 0.5}
"""Deadlines that a test need not wait long for."""


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.log = folder / "slices.log"
        self.log.touch()
        script = str(Path(__file__).with_name("slow_server.py"))
        with (folder / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, script, json.dumps({"log": str(self.log), "deadlines": QUICK, **settings})],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )
        self.connections: list[socket.socket] = []

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.address = ("127.0.0.1", int(self.url.rpartition(":")[2]))

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def slices(self) -> int:
        """Number of slices that were begun."""
        return len(self.log.read_text().splitlines())

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def connect(self, *, receive_bytes: int = 0) -> socket.socket:
        """Connect, with a small buffer of the system on demand; the connection is closed with the server."""
        connection = socket.socket()
        connection.settimeout(20)
        self.connections.append(connection)
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect(self.address)
        return connection

    def wait_for_slices(self, count: int) -> None:
        wait_until(lambda: self.slices >= count)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> float:
    """Wait for a condition; return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - started
