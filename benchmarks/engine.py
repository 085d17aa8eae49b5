"""Inference with the shipped models: array, file, folder, cold start, memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.common import as_installed, make_table
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.phantoms.slices import KINDS, draw_phantom

MODELS = ("default", "fast")

ROUNDS = 100
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
    """Time single slices in turns, a folder, and whole processes; a row for each way, two columns for each model."""
    title = f"The engine on {usable_cores()} cores, slices of the median size"
    table = make_table(title, "what", *(f"{name}, {which}" for name in MODELS for which in ("median", "95 %")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = _write_pictures(folder / "pictures", FOLDER)
        models = [_measure_model(model, folder, picture) for model in MODELS]
    for row in models[0]:
        table.add_row(row, *(cell for cells in models for cell in cells[row]))
    return table


def _measure_model(name: str, folder: Path, picture: Path) -> dict[str, tuple[str, str]]:
    """Return median and 95th percentile of each way of work; of whole processes the largest."""
    slices = _time_slices(name, picture).items()
    cells = {row: (f"{np.median(ms):.2f} ms", f"{np.quantile(ms, 0.95):.2f} ms") for row, ms in slices}
    bare, whole = _time_folder(name, folder)
    cells["bare inference, one slice a core"] = _rate(bare), ""
    cells["a folder: decode, segment, write"] = _rate(whole), ""
    cells["what the folder adds to bare inference"] = f"{1000 * (whole - bare):.2f} ms a slice", ""
    seconds, mebibytes = _time_processes(name, folder, picture)
    cells["tumortrace segment PICTURE, whole process"] = f"{np.median(seconds):.2f} s", f"{np.max(seconds):.2f} s"
    cells["its largest memory"] = f"{np.median(mebibytes):.0f} MiB", f"{np.max(mebibytes):.0f} MiB"
    _, folder_mebibytes = _run(name, folder, folder / "pictures")
    cells[f"largest memory, {FOLDER} pictures"] = f"{folder_mebibytes:.0f} MiB", ""
    return cells


def _rate(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms a slice, {1 / seconds:.0f} slices/s"


def _write_pictures(folder: Path, count: int) -> Path:
    """Write generated slices as JPEG files and return the path of one."""
    folder.mkdir()
    for index in range(count):
        phantom = draw_phantom(np.random.default_rng(index), size_hw=SIZE_HW, kind=KINDS[index % len(KINDS)])
        cv2.imwrite(str(folder / f"{index}.jpg"), phantom.pixels)
    return folder / "0.jpg"


def _time_slices(name: str, picture: Path) -> dict[str, list[float]]:
    """Return the milliseconds of one slice on all cores, by the way of work; the ways take turns."""
    model = open_model(name)
    once = replace(model, recipe=replace(model.recipe, average_mirror=False))
    segmenter, glancer = Segmenter(model), Segmenter(once)
    pixels = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    batch = _draw_batch(model)
    ways: dict[str, Callable[[], object]] = {
        "bare inference": lambda: model.session.run(batch),
        "from an array": lambda: segmenter.predict(pixels),
        "from a JPEG file": lambda: segmenter.predict(picture),
        "from an array, without its mirror image": lambda: glancer.predict(pixels),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(WARM_UP + ROUNDS):
        for way, work in ways.items():
            started = time.perf_counter()
            work()
            if turn >= WARM_UP:
                times[way].append(1000 * (time.perf_counter() - started))
    return times


def _time_folder(name: str, folder: Path) -> tuple[float, float]:
    """Return seconds a slice of the network alone and of all work, one slice a core; the better of two rounds each."""
    model = open_model(name, threads=1)
    segmenter = Segmenter(model)
    inputs = find_inputs([str(folder / "pictures")])
    count = len(inputs.pictures)
    bare, whole = [], []
    for turn in range(2):
        bare.append(_time_bare(model, count))
        started = time.perf_counter()
        segment_all(segmenter, inputs, out=folder / f"masks-{name}-{turn}", workers=usable_cores() + 1)
        whole.append((time.perf_counter() - started) / count)
    return min(bare), min(whole)


def _time_bare(model: Model, count: int) -> float:
    """Return seconds a slice of bare inference, one slice a core."""
    batch = _draw_batch(model)
    with ThreadPoolExecutor(usable_cores()) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda _: model.session.run(batch), range(count)):
            pass
        return (time.perf_counter() - started) / count


def _draw_batch(model: Model) -> NDArray[np.float32]:
    """Return noise in the shape of a slice as the network gets it, with its mirror image if the recipe takes it."""
    looks = 2 if model.recipe.average_mirror else 1
    return np.random.default_rng(0).standard_normal((looks, 1, *model.recipe.size_hw), dtype=np.float32)


def _time_processes(name: str, folder: Path, picture: Path) -> tuple[list[float], list[float]]:
    _run(name, folder, picture)  # compiles the modules, as an installation does
    runs = [_run(name, folder, picture) for _ in range(STARTS)]
    return [seconds for seconds, _ in runs], [mebibytes for _, mebibytes in runs]


def _run(name: str, folder: Path, source: Path) -> tuple[float, float]:
    """Return the wall seconds of the command and the largest memory of its process in MiB, as Linux counts it."""
    arguments = ["segment", str(source), "--model", name, "--out", str(folder / f"out-{name}")]
    started = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=as_installed())
    seconds = time.perf_counter() - started
    return seconds, int(done.stderr.split()[-1]) / 1024
