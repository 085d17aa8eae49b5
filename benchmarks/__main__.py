"""The benchmarks of one machine, one table each: ``python -m benchmarks``.

``benchmarks.brushing``, ``benchmarks.load`` and ``benchmarks.scale`` are commands of their own.
"""

from __future__ import annotations

import os
import platform

from rich.console import Console

from benchmarks import auditing, drawing, engine, inference, page, reading, serving, startup, steps, training, writing


def main() -> None:
    """Print the machine, then each benchmark's table."""
    console = Console(width=130)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for benchmark in (startup, reading, drawing, writing, engine, steps, inference, auditing, training, page, serving):
        console.print(benchmark.measure())


if __name__ == "__main__":
    main()
