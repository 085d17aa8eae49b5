"""What the machine gives this process."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of glibc's mallopt
_MORE_THAN_THERE_IS = 2**31 - 1


def usable_cores() -> int:
    """Number of CPU cores that this process may run on: fewer than there are, under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees, for what it allocates next.

    Each step of a training allocates and frees the same hundreds of megabytes. By default glibc gives large blocks back
    and asks for them again, and the kernel fills every page with zeros: a fifth of a training's time on one machine.

    Returns:
        Whether the C library can do it: glibc, as on most Linux systems.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MORE_THAN_THERE_IS), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)
