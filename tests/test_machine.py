"""CPU cores of this process, memory that it frees, and OpenMP threads that wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumortrace import machine
from tumortrace.machine import limit_cores, limit_spinning, memory_bytes, usable_cores


def test_cores_are_those_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7, 60}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 3


def test_a_process_beside_others_uses_no_more_cores_than_it_was_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_most_cores", machine._most_cores)  # to be as before afterwards
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7, 60}, raising=False)
    limit_cores(2)
    assert usable_cores() == 2
    limit_cores(5)
    assert usable_cores() == 3


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_without_affinity_they_are_counted(counted: int | None, expected: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores() == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [("4096000\n", 4_096_000), ("max\n", 8_192_000), ("9000000", 8_192_000)]
)
@pytest.mark.parametrize("number", [0, 1])
def test_memory_is_that_of_the_machine_or_of_its_container(
    number: int, limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = (tmp_path / "new", tmp_path / "old")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 8192, "SC_PHYS_PAGES": 1000}.__getitem__)
    monkeypatch.setattr(machine, "_CONTAINER_LIMITS", files)
    assert memory_bytes() == 8_192_000
    files[number].write_text(limit)
    assert memory_bytes() == expected


def test_memory_is_unknown_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sysconf")
    assert memory_bytes() is None


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


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "1"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_what_the_user_says_about_waiting_threads_is_kept(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert {name: os.environ[name] for name in WAITING if name in os.environ} == expected


def test_waiting_is_limited_before_torch_is_imported():
    program = (
        "import os, sys, importlib.abc\n"
        "class Look(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': print(os.environ.get('GOMP_SPINCOUNT')); sys.exit()\n"
        "sys.meta_path.insert(0, Look())\n"
        "import tumortrace.trials.crossval\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "10000\n"
