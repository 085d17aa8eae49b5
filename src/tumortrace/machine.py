"""CPU cores, memory and waiting threads of this process."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of glibc's mallopt
_MORE_THAN_THERE_IS = 2**31 - 1
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


SPINS = 10_000
"""Rounds that an idle OpenMP thread waits awake, a few ten microseconds, before it sleeps."""


def limit_spinning() -> None:
    """Let OpenMP threads sleep soon when they wait for each other. Call it before torch is imported.

    By default they wait awake for milliseconds. Beside other programs that takes the cores from the very threads that
    are waited for, and training gets many times slower. Sleeping at once would cost a third of the speed of an idle
    machine. Variables that the user has set are kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # GNU's OpenMP: torch on Linux
        os.environ.setdefault("KMP_BLOCKTIME", "1")  # milliseconds; LLVM's and Intel's: torch on macOS and Windows


_most_cores = _MORE_THAN_THERE_IS


def limit_cores(most: int) -> None:
    """Let this process use no more than so many CPU cores, beside others to which the rest is promised."""
    global _most_cores  # noqa: PLW0603 - a fact of the whole process
    _most_cores = most


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use: taskset, a container and ``limit_cores`` limit it."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(len(os.sched_getaffinity(0)), _most_cores)
    return min(os.cpu_count() or 1, _most_cores)


def memory_bytes() -> int | None:
    """Return the bytes of memory of this machine or of its container; None where the system does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return None
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CONTAINER_LIMITS:  # Linux has one of them
        with suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(path.read_text(encoding="ascii")))
    return min(found)


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees, for what it allocates next.

    Each step of a training allocates and frees the same hundreds of megabytes. By default glibc returns large blocks to
    the kernel and asks for them again, and the kernel fills every page with zeros. That took a fifth of the time of a
    training on one machine.

    Returns:
        Whether the C library offers it: glibc does, on most Linux systems.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MORE_THAN_THERE_IS), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)
