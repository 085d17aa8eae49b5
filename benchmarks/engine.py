"""Inference with the shipped model: array, file, folder, cold start, memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.phantoms.slices import KINDS, draw_phantom

ROUNDS = 200
WARM_UP = 20
SIZE_HW = (344, 283)
"""The median size of Br35H's pictures."""

FOLDER = 600
"""Pictures of the folder that is segmented as a whole."""

STARTS = 7

PROGRAM = """
import atexit, re, sys
from pathlib import Path
def tell(): print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
atexit.register(tell)
from tumortrace.cli import main
main()
"""
"""``tumortrace`` that says at its end how many KiB it held at most; the parent's own memory is not counted."""


def measure() -> Table:
    """Everything in one run: single slices in turns first, then a folder, then whole processes."""
    table = make_table(f"The engine on {usable_cores()} cores, slices of the median size", "what", "median", "95 %")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = _write_pictures(folder / "pictures", FOLDER)
        for row, times in _time_slices(picture).items():
            table.add_row(row, f"{np.median(times):.2f} ms", f"{np.quantile(times, 0.95):.2f} ms")
        bare, whole = _time_folder(folder)
        table.add_row("bare inference, one slice a core", _rate(bare), "")
        table.add_row("a folder: decode, segment, write", _rate(whole), "")
        table.add_row("what the folder adds to bare inference", f"{1000 * (whole - bare):.2f} ms a slice", "")
        seconds, mebibytes = _time_processes(folder, picture)
        table.add_row(
            "tumortrace segment PICTURE, whole process", f"{np.median(seconds):.2f} s", f"{np.max(seconds):.2f} s"
        )
        table.add_row("its largest memory", f"{np.median(mebibytes):.0f} MiB", f"{np.max(mebibytes):.0f} MiB")
        _, folder_mebibytes = _run(folder, folder / "pictures")
        table.add_row(f"largest memory, {FOLDER} pictures", f"{folder_mebibytes:.0f} MiB", "")
    return table


def _rate(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms a slice, {1 / seconds:.0f} slices/s"


def _write_pictures(folder: Path, count: int) -> Path:
    """Generated slices as JPEG files; the path of one."""
    folder.mkdir()
    for index in range(count):
        phantom = draw_phantom(np.random.default_rng(index), size_hw=SIZE_HW, kind=KINDS[index % len(KINDS)])
        cv2.imwrite(str(folder / f"{index}.jpg"), phantom.pixels)
    return folder / "0.jpg"


def _time_slices(picture: Path) -> dict[str, list[float]]:
    """Milliseconds of one slice on all cores, the ways in turns."""
    model = open_model("default")
    once = replace(model, recipe=replace(model.recipe, average_mirror=False))
    segmenter, glancer = Segmenter(model), Segmenter(once)
    pixels = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    batch = _draw_batch(model)
    ways: dict[str, Callable[[], object]] = {
        "bare inference": lambda: model.session.run(batch),
        "from an array": lambda: segmenter.predict(pixels),
        "from a JPEG file": lambda: segmenter.predict(picture),
        "from an array, without its mirror image": lambda: glancer.predict(pixels),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_UP + ROUNDS):
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            if turn >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    return times


def _time_folder(folder: Path) -> tuple[float, float]:
    """Seconds a slice: the network alone, and all of it, both with one slice a core; the better of two rounds each."""
    model = open_model("default", threads=1)
    segmenter = Segmenter(model)
    inputs = find_inputs([str(folder / "pictures")])
    count = len(inputs.pictures)
    bare, whole = [], []
    for turn in range(2):
        bare.append(_time_bare(model, count))
        started = time.perf_counter()
        segment_all(segmenter, inputs, out=folder / f"masks-{turn}", workers=usable_cores() + 1)
        whole.append((time.perf_counter() - started) / count)
    return min(bare), min(whole)


def _time_bare(model: Model, count: int) -> float:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of this function alone

    batch = _draw_batch(model)
    with ThreadPoolExecutor(usable_cores()) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda _: model.session.run(batch), range(count)):
            pass
        return (time.perf_counter() - started) / count


def _draw_batch(model: Model) -> NDArray[np.float32]:
    """Noise in the shape of what the network is asked of one slice: itself and, if so wished, its mirror image."""
    looks = 2 if model.recipe.average_mirror else 1
    return np.random.default_rng(0).standard_normal((looks, 1, *model.recipe.size_hw), dtype=np.float32)


def _time_processes(folder: Path, picture: Path) -> tuple[list[float], list[float]]:
    runs = [_run(folder, picture) for _ in range(STARTS)]
    return [seconds for seconds, _ in runs], [mebibytes for _, mebibytes in runs]


def _run(folder: Path, source: Path) -> tuple[float, float]:
    """Wall seconds of the command, and the largest memory of its process in MiB, as Linux counts it."""
    arguments = ["segment", str(source), "--out", str(folder / "out")]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    return seconds, int(done.stderr.split()[-1]) / 1024
