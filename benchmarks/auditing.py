"""Time and memory of the audit, and their growth with the number of slices.

``python -m benchmarks.auditing`` measures the growth up to 20,000 generated slices and draws it. ``--most 50000``
goes further, and ``--data DIR`` keeps the generated slices (1.5 GB for 50,000) for the next time: what is there
is not made again.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table, some_data
from tumortrace.copies.signature_cache import SWITCH
from tumortrace.machine import usable_cores
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.progress import track
from tumortrace.reporting.figures import save_figure

SIZES = (625, 1250, 2500, 5000, 10_000, 20_000, 50_000)
SEED = 11
FOLDER_SLICES = 625
"""Slices of one generated folder."""

PROBE = """
import re, resource, sys, time
from pathlib import Path
from tumortrace import children
from tumortrace.copies.survey import survey_cases
from tumortrace.data.dataset import open_datasets

peaks, close = [0], children.Child.close

def close_and_note(child):  # resource.RUSAGE_CHILDREN would count what this process had when it forked
    status = Path(f"/proc/{child._process.pid}/status").read_text()
    peaks.extend(int(each) for each in re.findall(r"VmHWM:\\s*(\\d+) kB", status))
    close(child)

children.Child.close = close_and_note
started = time.perf_counter()
survey = survey_cases(open_datasets([Path(each) for each in sys.argv[1:]]).records)
seconds = time.perf_counter() - started
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(survey.cases), len(set(survey.groups)), seconds, own / 2**20, max(peaks) / 2**20)
"""
"""Prints numbers of slices and groups, seconds, and the peak memory in GiB of the process and of its largest child."""


def measure() -> Table:
    """Time the whole command on real slices where there are some: decoding, copies, agreement, baseline, page."""
    with some_data() as (name, data), tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "-m", "tumortrace", "audit", str(data), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        count = json.loads((Path(folder) / "audit.json").read_text())["n"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    table = make_table(f"tumortrace audit of {count} slices of {name}", "", "")
    table.add_row("seconds, start of Python to the written page", f"{seconds:.1f}")
    table.add_row("peak memory of any program run so far, GiB", f"{peak:.2f}")
    return table


def make_slices(data: Path, count: int) -> list[Path]:
    """Generate folders of slices, those that are missing, in as many processes as there are cores."""
    numbers = range(-(-count // FOLDER_SLICES))
    with ProcessPoolExecutor(usable_cores()) as pool:
        made = pool.map(partial(_make_folder, data), numbers)
        return list(track(made, "Generating", total=len(numbers)))


def grow(folders: list[Path]) -> Table:
    """Measure time and memory of decoding, comparing and grouping so many slices, each number in its own process."""
    rows = []
    sizes = [size for size in SIZES if size <= FOLDER_SLICES * len(folders)]
    for size in track(sizes, "Growing", total=len(sizes)):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *folders[: size // FOLDER_SLICES]],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, SWITCH: "off"},  # a larger size would find the smaller one's slices in the cache
        )
        rows.append([float(word) for word in done.stdout.split()])
        Console(stderr=True).print(done.stdout.strip())  # a long run that is stopped has told something
    table = make_table("Growth of the survey", "slices", "different", "seconds", "GiB", "ms a slice")
    for count, groups, seconds, own, child in rows:
        peak = own + usable_cores() * child  # there is one a core, and they are alike
        table.add_row(f"{count:.0f}", f"{groups:.0f}", f"{seconds:.1f}", f"{peak:.2f}", f"{1000 * seconds / count:.1f}")
    _draw(np.array(rows))
    return table


def _make_folder(data: Path, number: int) -> Path:
    folder, unfinished = data / f"{number:03d}", data / f".{number:03d}-{os.getpid()}"
    if not folder.exists():
        write_phantom_dataset(unfinished, counts={"TRAIN": FOLDER_SLICES}, no_tumour=0, seed=SEED + number)
        unfinished.rename(folder)
    return folder


def _draw(rows: np.ndarray) -> None:
    counts, _, seconds, own, child = rows.T
    figure = Figure(figsize=(7.2, 3.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(counts, seconds, marker="o", color="#0072b2", label="measured")
    left.loglog(counts, seconds[0] * counts / counts[0], color="0.5", linestyle="--", label="proportional")
    left.set(xlabel="slices", ylabel="seconds")
    left.minorticks_off()
    left.set_xticks(counts, [f"{count:,.0f}" for count in counts], fontsize=8)
    left.set_yticks(seconds, [f"{each:.0f}" for each in seconds])
    left.legend(frameon=False)
    right.plot(counts, own + usable_cores() * child, marker="o", color="#0072b2")
    right.set(xlabel="slices", ylabel="peak memory (GiB)", ylim=(0, None))
    for axes in (left, right):
        axes.grid(visible=True, which="both", linewidth=0.3, color="0.85")
    save_figure(figure, Path("docs/images/audit-growth.svg"))


def main(
    most: Annotated[int, typer.Option(help="Largest number of slices.")] = 20_000,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps the generated slices.")] = None,
) -> None:
    """Measure the growth on generated slices."""
    with tempfile.TemporaryDirectory() as folder:
        Console().print(grow(make_slices(data or Path(folder), most)))


if __name__ == "__main__":
    typer.run(main)
