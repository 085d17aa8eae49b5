"""Reading of cases, beside the barest OpenCV code."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.table import Table

from benchmarks.common import make_table, paint_with_opencv, some_data
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.dataset import open_dataset

ROUNDS = 3


def measure() -> Table:
    """Count the cases a second of both ways, in turn; the best of several rounds each."""
    with some_data() as (name, data):
        started = time.perf_counter()
        records = open_dataset(data).records
        opening = time.perf_counter() - started
        ways: dict[str, Callable[[CaseRecord], object]] = {
            "tumortrace read_case": read_case,
            "cv2.imread + cv2.fillPoly": _read_bare,
        }
        rates = dict.fromkeys(ways, 0.0)
        for _ in range(ROUNDS):
            for way, read in ways.items():
                rates[way] = max(rates[way], _rate(read, records))
    bare = rates["cv2.imread + cv2.fillPoly"]
    table = make_table(f"Reading {len(records)} cases of {name}", "way", "cases/s", "ratio to bare OpenCV")
    for way, rate in rates.items():
        table.add_row(way, f"{rate:.0f}", f"{rate / bare:.2f}")
    table.add_row("open_dataset (annotations only)", f"{len(records) / opening:.0f}", "")
    return table


def _rate(read: Callable[[CaseRecord], object], records: tuple[CaseRecord, ...]) -> float:
    started = time.perf_counter()
    for record in records:
        read(record)
    return len(records) / (time.perf_counter() - started)


def _read_bare(record: CaseRecord) -> tuple[np.ndarray, np.ndarray]:
    """Read a case as the quickest script would: without checks, and with outlines half a pixel too wide."""
    pixels = cv2.imread(str(record.image_path), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    mask = np.zeros(pixels.shape, np.uint8)
    if isinstance(record.truth, tuple):
        for region in record.truth:
            paint_with_opencv(mask, region)
    return pixels, mask
