"""Start-up time of the program, beside bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rich.table import Table

from benchmarks.common import as_installed, make_table

ROUNDS = 9
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import tumortrace": ["-c", "import tumortrace"],
    "tumortrace --help": ["-m", "tumortrace.cli", "--help"],
    "import torch": ["-c", "import torch"],
}


def measure() -> Table:
    """Take the median wall time of each command; the commands take turns, because the speed of a machine drifts."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True, env=as_installed())
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    bare = medians["python -c pass"]
    table = make_table("Start: median wall time of a process", "command", "seconds", "ratio to bare Python")
    for name, median in medians.items():
        table.add_row(name, f"{median:.3f}", f"{median / bare:.1f}")
    return table
