"""What the machine gives this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Number of CPU cores that this process may run on: fewer than there are, under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
