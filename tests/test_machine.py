"""How many cores there are for this process, and what becomes of the memory that it frees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tumortrace.machine import usable_cores


def test_cores_are_those_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7, 60}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 3


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_without_affinity_they_are_counted(counted: int | None, expected: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores() == expected


FAULTS = """
import resource
from tumortrace.machine import keep_freed_memory
kept = keep_freed_memory() if {keep} else None
size = 26
for _ in range(10):
    b"x" * 2**size
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_that_is_freed_is_not_asked_for_again():
    def run(*, keep: bool) -> tuple[str, int]:
        answer = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True)
        kept, faults = answer.stdout.split()
        return kept.decode(), int(faults)

    kept, few = run(keep=True)
    if kept == "False":
        pytest.skip("no glibc")
    _, many = run(keep=False)
    pages = 2**26 // 4096
    assert many > 8 * pages  # ten times all pages of 64 MiB
    assert few < 3 * pages
