"""Time and memory of the audit, and their growth with the number of slices.

``python -m benchmarks.auditing`` measures the growth up to 20,000 generated slices (minutes to make them) and draws it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table, some_data
from tumortrace.copies.signature_cache import SWITCH
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.progress import track
from tumortrace.reporting.figures import save_figure

SIZES = (625, 1250, 2500, 5000, 10_000, 20_000)

PROBE = """
import resource, sys, time
from pathlib import Path
from tumortrace.data.dataset import open_dataset
from tumortrace.copies.survey import survey_cases
started = time.perf_counter()
survey = survey_cases(open_dataset(Path(sys.argv[1])).records[: int(sys.argv[2])])
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(len(survey.cases), len(set(survey.groups)), seconds, peak)
"""


def measure() -> Table:
    """The whole command on real slices where there are some: decoding, copies, agreement, baseline, page."""
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


def grow(data: Path) -> Table:
    """Time and memory of decoding, comparing and grouping the first slices of a dataset, each in its own process."""
    rows = []
    for size in track(SIZES, "Growing", total=len(SIZES)):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, data, str(size)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, SWITCH: "off"},  # a larger size would find the smaller one's slices in the cache
        )
        rows.append([float(word) for word in done.stdout.split()])
    table = make_table("Growth of the survey", "slices", "different", "seconds", "GiB", "ms a slice")
    for count, groups, seconds, peak in rows:
        table.add_row(f"{count:.0f}", f"{groups:.0f}", f"{seconds:.1f}", f"{peak:.2f}", f"{1000 * seconds / count:.1f}")
    _draw(np.array(rows))
    return table


def _draw(rows: np.ndarray) -> None:
    counts, _, seconds, peak = rows.T
    figure = Figure(figsize=(7.2, 3.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(counts, seconds, marker="o", color="#0072b2", label="measured")
    left.loglog(counts, seconds[0] * counts / counts[0], color="0.5", linestyle="--", label="proportional")
    left.set(xlabel="slices", ylabel="seconds")
    left.minorticks_off()
    left.set_xticks(counts, [f"{count:,.0f}" for count in counts], fontsize=8)
    left.set_yticks(seconds, [f"{each:.0f}" for each in seconds])
    left.legend(frameon=False)
    right.plot(counts, peak, marker="o", color="#0072b2")
    right.set(xlabel="slices", ylabel="peak memory (GiB)", ylim=(0, None))
    for axes in (left, right):
        axes.grid(visible=True, which="both", linewidth=0.3, color="0.85")
    save_figure(figure, Path("docs/images/audit-growth.svg"))


def main() -> None:
    """Measure the growth on a folder given, or on generated slices."""
    if len(sys.argv) > 1:
        Console().print(grow(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_phantom_dataset(Path(folder) / "data", counts={"TRAIN": SIZES[-1]}, no_tumour=0, seed=11)
        Console().print(grow(Path(folder) / "data"))


if __name__ == "__main__":
    main()
