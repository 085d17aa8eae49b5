"""Files whose content and name are brought to the disk, beside plain writes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.files import sync_folders_once, write_atomically
from tumortrace.inference.results.signed import encode_signed_mask

FILES = 100
ROUNDS = 7


def measure() -> Table:
    """Time each way; the ways take turns, and the medians are compared."""
    yy, xx = np.mgrid[:256, :256]
    data = encode_signed_mask((yy - 120) ** 2 + (xx - 90) ** 2 < 30**2)
    ways: dict[str, Callable[[Path], None]] = {
        "plain": lambda folder: _write(folder, data, Path.write_bytes),
        "each brought to the disk": lambda folder: _write(folder, data, write_atomically),
        "the folder once for all, as segment does": lambda folder: _write_batch(folder, data),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # the usual place of results, not one in memory
        for number in range(ROUNDS):
            for index, (name, way) in enumerate(ways.items()):
                (Path(folder) / f"{number}-{index}").mkdir()
                started = time.perf_counter()
                way(Path(folder) / f"{number}-{index}")
                seconds[name].append(time.perf_counter() - started)
    return _describe({name: statistics.median(each) / FILES for name, each in seconds.items()}, len(data))


def _describe(seconds: dict[str, float], size_bytes: int) -> Table:
    table = make_table(f"Writing {FILES} masks of {size_bytes} bytes", "how", "ms a file", "to plain")
    for name, each in seconds.items():
        table.add_row(name, f"{1000 * each:.2f}", f"{each / seconds['plain']:.1f}")
    return table


def _write(folder: Path, data: bytes, write: Callable[[Path, bytes], object]) -> None:
    for index in range(FILES):
        write(folder / f"{index}_mask.png", data)


def _write_batch(folder: Path, data: bytes) -> None:
    with sync_folders_once():
        _write(folder, data, write_atomically)
