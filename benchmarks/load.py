"""The server under load: idle sockets, many clients, and SIGTERM amid requests.

``python -m benchmarks.load`` measures a client for 60 s alone and for 60 s beside silent sockets, and then 64 clients
for five minutes; ``--quick`` takes a sixth of that. All traffic goes to this machine. Compare only numbers of one run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from benchmarks.serving import SIZE_HW, Server, encode_body, make_headers, run_server
from tumortrace.phantoms.slices import draw_phantom

SOCKETS = 200
"""Clients that are silent, or send a byte now and then."""

TRICKLE_SECONDS = 0.5
PAUSE_SECONDS = 0.5
"""Time between two requests of the client that is measured: a client at work, not a flood."""

CLIENTS, LEAVING = 64, 0.1
"""Clients at a time, and the fraction of requests whose client leaves midway."""

RUNNING = 16
"""Number of requests that are running when the server gets SIGTERM."""

END_SECONDS = 5.0


@dataclass
class Load:
    """What became of requests.

    Attributes:
        replies: Status of each reply; 0 stands for a client that left, -1 for a broken connection.
        seconds: Seconds of each reply of status 200.
        resident_mib: Memory of the server now and then.
    """

    replies: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """Number of replies by status."""
        return Counter(self.replies)


def measure(*, seconds: float, crowd_seconds: float) -> tuple[list[Table], list[str]]:
    """Measure all; return tables and what is wrong.

    Args:
        seconds: Seconds of the base, and of the silent and trickling clients.
        crowd_seconds: Seconds of many clients.
    """
    pixels = draw_phantom(np.random.default_rng(0), size_hw=SIZE_HW, kind="bright").pixels
    body = encode_body("head.png", cv2.imencode(".png", pixels)[1].tobytes())
    with run_server("fast") as server:
        ask_for(server, body, seconds=3.0)  # warms up
        silent, wrong = _measure_silent(server, body, seconds)
        crowd, more = _measure_crowd(server, body, crowd_seconds)
        wrong += more
        ending, more = _measure_end(server, body)
    return [silent, crowd, ending], wrong + more


def _measure_silent(server: Server, body: bytes, seconds: float) -> tuple[Table, list[str]]:
    table = make_table(f"A client beside {SOCKETS} silent and trickling sockets", "what", "requests", "median", "95 %")
    before = ask_for(server, body, seconds=seconds / 2)
    stop = threading.Event()
    threads = [threading.Thread(target=_annoy, args=(server, number % 2 == 0, stop)) for number in range(SOCKETS)]
    for thread in threads:
        thread.start()
    beside = ask_for(server, body, seconds=seconds)
    stop.set()
    for thread in threads:
        thread.join()
    after = ask_for(server, body, seconds=seconds / 2)
    base = [*before.seconds, *after.seconds]  # on both sides of it: the machine may be shared
    for name, values in (("alone", base), (f"beside {SOCKETS} sockets", beside.seconds)):
        table.add_row(name, str(len(values)), _ms(statistics.median(values)), _ms(_slow(values)))
    ratio = _slow(beside.seconds) / _slow(base)
    table.add_row("95 % over 95 % alone", "", "", f"{ratio:.2f}")
    wrong = [f"the 95th percentile is {ratio:.2f} times its base"] if ratio > 2 else []
    return table, wrong + _find_wrong(before.statuses + beside.statuses + after.statuses)


def _measure_crowd(server: Server, body: bytes, seconds: float) -> tuple[Table, list[str]]:
    load = Load()
    stop = time.monotonic() + seconds
    threads = [threading.Thread(target=_come_and_go, args=(server, body, stop, load, n)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while time.monotonic() < stop:
        time.sleep(seconds / 20)
        load.resident_mib.append(server.resident_mib)
    for thread in threads:
        thread.join()
    table = make_table(
        f"{CLIENTS} clients for {seconds:.0f} s, one request in {1 / LEAVING:.0f} left midway", "what", "number"
    )
    names = {0: "clients that left", 200: "answered", 503: "busy (503 with Retry-After)"}
    for status, count in sorted(load.statuses.items()):
        table.add_row(names.get(status, f"status {status}"), f"{count:,}")
    first, last = average_quarters(load.resident_mib)
    table.add_row("memory in the second quarter, MiB", f"{first:.1f}")
    table.add_row("memory in the last quarter, MiB", f"{last:.1f}")
    return table, _find_wrong(load.statuses)


def average_quarters(samples: Sequence[float]) -> tuple[float, float]:
    """Return the means of the second and of the last quarter; in the first one, memory still grows."""
    quarter = len(samples) // 4
    return statistics.mean(samples[quarter : 2 * quarter]), statistics.mean(samples[-quarter:])


def _measure_end(server: Server, body: bytes) -> tuple[Table, list[str]]:
    """Tell the server to end while requests are under way; each must be answered or get 503."""
    load = Load()
    threads = [threading.Thread(target=_ask, args=(server, body, load)) for _ in range(RUNNING)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    server.process.terminate()
    code = server.process.wait(timeout=30)
    took = time.monotonic() - started
    for thread in threads:
        thread.join()
    table = make_table(f"SIGTERM with {RUNNING} requests under way", "what", "number")
    table.add_row("answered", str(load.statuses[200]))
    table.add_row("503", str(load.statuses[503]))
    table.add_row("seconds to the end", f"{took:.1f}")
    wrong = [f"it ends with {code} after {took:.1f} s"] if code or took > END_SECONDS else []
    lost = RUNNING - load.statuses[200] - load.statuses[503]
    return table, wrong + ([f"{lost} requests got neither a reply nor 503"] if lost else [])


def ask_for(server: Server, body: bytes, *, seconds: float) -> Load:
    """Send requests one after another for some seconds."""
    load, stop = Load(), time.monotonic() + seconds
    while time.monotonic() < stop:
        _ask(server, body, load)
        time.sleep(PAUSE_SECONDS)
    return load


def _ask(server: Server, body: bytes, load: Load) -> int:
    """Send one request, note what comes of it, and return its status."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(*server.address, timeout=120)
    try:
        connection.request("POST", "/api/segment", body, make_headers("application/json"))
        reply = connection.getresponse()
        data, status = reply.read(), reply.status
        if status == 200:
            assert json.loads(data)["images"]
            load.seconds.append(time.monotonic() - started)
        elif status == 503 and not reply.headers["Retry-After"]:
            status = -503
    except (OSError, http.client.HTTPException):
        status = -1
    finally:
        connection.close()
    load.replies.append(status)
    return status


def _come_and_go(server: Server, body: bytes, stop: float, load: Load, seed: int) -> None:
    """Ask again and again; now and then leave amid the body or before the reply; wait a moment where it is busy."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    while time.monotonic() < stop:
        if rng.random() >= LEAVING:
            time.sleep(0.5 if _ask(server, body, load) == 503 else 0.0)
            continue
        with suppress(OSError), socket.create_connection(server.address, timeout=30) as connection:
            head = f"POST /api/segment HTTP/1.1\r\nHost: {server.address[0]}\r\nContent-Length: {len(body)}\r\n"
            kind = make_headers("application/json")["Content-Type"]
            connection.sendall(f"{head}Content-Type: {kind}\r\n\r\n".encode())
            connection.sendall(body[: rng.choice([100, len(body) // 2, len(body)])])
            time.sleep(rng.uniform(0, 0.3))
        load.replies.append(0)


def _annoy(server: Server, silent: bool, stop: threading.Event) -> None:  # noqa: FBT001 - one of two kinds
    """Hold a connection, silent or with a byte of a header now and then; take a new one when it is closed."""
    while not stop.is_set():
        with suppress(OSError), socket.create_connection(server.address, timeout=1) as connection:
            connection.settimeout(TRICKLE_SECONDS)
            while not stop.is_set():
                if not silent:
                    connection.sendall(b"X")
                try:
                    if not connection.recv(64):
                        break
                except TimeoutError:
                    continue
        stop.wait(0.1)


def _find_wrong(statuses: Counter[int]) -> list[str]:
    """Say which statuses are none of those that are documented for these requests."""
    odd = {status: count for status, count in statuses.items() if status not in {0, 200, 503}}
    return [f"{count} replies of status {status}" for status, count in odd.items()]


def _slow(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.95))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def main() -> int:
    """Print the tables; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sixth of the time")
    part = 1 / 6 if parser.parse_args().quick else 1.0
    console = Console(width=110)
    tables, wrong = measure(seconds=60 * part, crowd_seconds=300 * part)
    console.print(*tables, *(wrong or ["Nothing is wrong."]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
