"""The server: requests of several clients, a series, and its memory.

Each row stands beside bare inference in the same minute: on a shared machine only the ratios mean something.
``python -m benchmarks.serving`` runs this benchmark alone, and then 2,000 requests for the memory.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.phantoms.series import draw_series
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.web.sample import encode_series

CLIENTS = (1, 4, 16)
REQUESTS = 96
"""Requests in each row, over all clients."""

SIZE_HW = (344, 283)
"""The median size of Br35H's pictures."""

SERIES, SERIES_HW = 155, (240, 240)
"""Slices of the series and their size: those of BraTS."""

MEMORY_REQUESTS, MEMORY_WARM_UP = 2000, 200
ROUNDS = 20
BOUNDARY = "tumortrace-benchmark"


@dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    address: tuple[str, int]
    process: subprocess.Popen[str]

    @property
    def resident_mib(self) -> float:
        """Memory that it holds at the moment."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found
        return int(found[1]) / 1024


@contextmanager
def run_server(model: str) -> Iterator[Server]:
    """Run ``tumortrace serve`` on a free port."""
    command = [sys.executable, "-m", "tumortrace", "serve", "--port", "0", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://([\w.]+):(\d+)", process.stdout.readline())
        assert found
        try:
            yield Server((found[1], int(found[2])), process)
        finally:
            process.terminate()


def measure() -> Table:
    """Time requests of 1, 4 and 16 clients, then a series, each beside bare inference on the same slices."""
    table = make_table(f"The server on {usable_cores()} cores", "what", "median", "95 %", "over bare inference")
    segmenter = Segmenter("default", threads=1)
    pixels = draw_phantom(np.random.default_rng(0), size_hw=SIZE_HW, kind="bright").pixels
    body = encode_body("head.png", cv2.imencode(".png", pixels)[1].tobytes())
    with run_server("default") as server:
        _ask(server, body, clients=2, count=8)  # warms up
        for clients in CLIENTS:
            before = _time_bare(segmenter, pixels)
            times = _ask(server, body, clients=clients, count=REQUESTS)
            alone, shared = (statistics.mean(pair) for pair in zip(before, _time_bare(segmenter, pixels), strict=True))
            # One client waits for its own slice; several wait for each other's, on all cores.
            least = max(alone, shared * clients)
            table.add_row(f"bare inference of {clients}", _ms(least), "", "1.00")
            row = f"a picture, {clients} client{'s' * (clients > 1)}"
            median, slow = statistics.median(times), float(np.quantile(times, 0.95))
            table.add_row(row, _ms(median), _ms(slow), f"{median / least:.2f} (95 %: {slow / least:.2f})")
        for cells in _time_series(server, segmenter):
            table.add_row(*cells)
    return table


def measure_memory() -> Table:
    """Measure the memory of the server with the small model before and after 2,000 requests of 4 clients."""
    table = make_table(f"Memory of the server, {MEMORY_REQUESTS:,} requests", "what", "MiB")
    pixels = draw_phantom(np.random.default_rng(0), size_hw=SIZE_HW, kind="bright").pixels
    body = encode_body("head.png", cv2.imencode(".png", pixels)[1].tobytes())
    with run_server("fast") as server:
        table.add_row("at its start", f"{server.resident_mib:.1f}")
        _ask(server, body, clients=4, count=MEMORY_WARM_UP)
        warm = server.resident_mib
        table.add_row(f"after {MEMORY_WARM_UP} requests", f"{warm:.1f}")
        _ask(server, body, clients=4, count=MEMORY_REQUESTS)
        table.add_row(f"after {MEMORY_REQUESTS:,} more", f"{server.resident_mib:.1f}")
        table.add_row("difference", f"{server.resident_mib - warm:+.1f}")
    return table


def _time_bare(segmenter: Segmenter, pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the median seconds of a slice on one core, and the seconds a slice where each core has its own."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        segmenter.predict(pixels)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    for _ in map_in_order(segmenter.predict, [pixels] * ROUNDS, workers=usable_cores()):
        pass
    return statistics.median(times), (time.perf_counter() - started) / ROUNDS


def _time_series(server: Server, segmenter: Segmenter) -> Iterator[Sequence[str]]:
    """Yield the rows of a series: all of it by bare inference, the first slice of the reply, and its end."""
    series = draw_series(seed=0, slices=SERIES, size_hw=SERIES_HW)
    body = encode_body("series.nii.gz", encode_series(series))
    started = time.perf_counter()
    for _ in map_in_order(segmenter.predict, list(series.pixels), workers=usable_cores()):
        pass
    bare = time.perf_counter() - started
    yield f"bare inference of {SERIES} slices, one a core", f"{bare:.2f} s", "", "1.00"
    for query in ("", "?pixels=1&probability=1"):
        first, last = _read_stream(server, body, query)
        what = "with pixels and probabilities" if query else "masks alone"
        yield f"series of {SERIES}, first slice, {what}", f"{first:.2f} s", "", f"{first / bare:.2f}"
        yield f"series of {SERIES}, all of it, {what}", f"{last:.2f} s", "", f"{last / bare:.2f}"


def _read_stream(server: Server, body: bytes, query: str) -> tuple[float, float]:
    """Return the seconds from the request to its first slice, and to its end."""
    connection = http.client.HTTPConnection(*server.address, timeout=600)
    started = time.perf_counter()
    connection.request("POST", f"/api/segment{query}", body, make_headers("application/x-ndjson"))
    first = 0.0
    for line in connection.getresponse():
        first = first or (time.perf_counter() - started if b'"slice"' in line[:20] else 0.0)
    assert json.loads(line)["type"] == "end"
    return first, time.perf_counter() - started


def _ask(server: Server, body: bytes, *, clients: int, count: int) -> list[float]:
    """Send requests from several clients at a time; return the seconds of each."""
    times: list[float] = []
    counts = [count // clients + (index < count % clients) for index in range(clients)]
    threads = [threading.Thread(target=_ask_often, args=(server, body, each, times.append)) for each in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == count
    return times


def _ask_often(server: Server, body: bytes, count: int, keep: Callable[[float], None]) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=600)
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", "/api/segment", body, make_headers("application/json"))
        reply = connection.getresponse()
        document = json.loads(reply.read())
        assert reply.status == 200, document
        keep(time.perf_counter() - started)


def make_headers(accept: str) -> dict[str, str]:
    """Return the headers of a request whose body ``encode_body`` made."""
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Accept": accept}


def encode_body(name: str, data: bytes) -> bytes:
    """Return the body of a request with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


if __name__ == "__main__":
    console = Console(width=130)
    console.print(measure())
    console.print(measure_memory())
