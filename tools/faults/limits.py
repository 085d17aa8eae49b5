"""Commands on a full disk, in a read-only folder, and with little memory."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.faults.commands import WRITING, Command
from tools.faults.contents import read_tree

LEAST_MIB, MOST_MIB = 300, 2048
"""Address space that ``segment`` gets, from the first step to the last."""

DISK_KIB = (4, 16, 64, 256)
"""Sizes of the disk that is full."""

SECONDS = 120

OPENBLAS = "OpenBLAS error: Memory allocation still failed after 10 retries, giving up."
"""Line with which numpy's library for matrices ends the process, which cannot be caught."""


@dataclass(frozen=True)
class End:
    """How a command ended that lacked something.

    Attributes:
        done: Whether it finished all the same.
        wrong: Fault of that end; empty for a result, or one line that names what was lacking.
    """

    done: bool
    wrong: str


def try_all(material: Path, place: Path, *, steps: int) -> Iterator[tuple[str, list[End]]]:
    """Yield the name of each limit and how the commands ended under it.

    Args:
        material: Folder with the inputs of the commands.
        place: Folder for their outputs.
        steps: Steps of memory.
    """
    place.mkdir(exist_ok=True)
    mib = [LEAST_MIB + (MOST_MIB - LEAST_MIB) * step // max(steps - 1, 1) for step in range(steps)]
    segment = WRITING[0]
    yield f"segment with {LEAST_MIB} to {MOST_MIB} MiB", [try_memory(segment, each, material, place) for each in mib]
    if can_mount():
        yield "a full disk", [try_disk(command, kib, material, place) for command in WRITING for kib in DISK_KIB]
        yield "a read-only folder", [try_read_only(command, material, place) for command in WRITING]


def try_memory(command: Command, mib: int, material: Path, place: Path) -> End:
    """Run a command in a limited address space."""
    out = _empty(place)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (mib * 2**20, mib * 2**20))

    return _judge(_run(command.fill(command.words, out), material, before=limit), f"{mib} MiB", out)


def try_disk(command: Command, kib: int, material: Path, place: Path) -> End:
    """Run a command whose output lies on a disk of some KiB, in a mount namespace of its own."""
    out = _empty(place)
    mount = f'mount -t tmpfs -o size={kib}k none {out} && exec "$@"'
    done = _run(command.fill(command.words, out / "out"), material, prefix=("unshare", "-m", "sh", "-c", mount, "sh"))
    return _judge(done, f"{command.name}, {kib} KiB")


def try_read_only(command: Command, material: Path, place: Path) -> End:
    """Run a command whose output folder cannot be written to, in a mount namespace of its own."""
    out = _empty(place)
    mount = f'mount -t tmpfs -o ro none {out} && exec "$@"'
    done = _run(command.fill(command.words, out / "out"), material, prefix=("unshare", "-m", "sh", "-c", mount, "sh"))
    return _judge(done, command.name)


def can_mount() -> bool:
    """Whether this process may mount in a namespace of its own."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=4k none /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(
    words: Sequence[str], cwd: Path, *, prefix: Sequence[str] = (), before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "tumortrace", *words],
        cwd=cwd, env=environment, preexec_fn=before, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def _judge(done: subprocess.CompletedProcess[str], what: str, out: Path | None = None) -> End:
    """Judge an end; an output in a namespace that has gone cannot be read."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    said = done.stderr.strip().splitlines()
    if done.returncode == 0 and (out is None or read_tree(out)):
        return End(done=True, wrong="")
    each_named = done.returncode == 1 and out is not None and (out / "results.json").exists()
    if "Traceback" not in done.stderr and (each_named or said == [OPENBLAS]):
        return End(done=False, wrong="")
    if done.returncode == 2 and len(lines) == 1 and said[-1] == lines[0] and "Traceback" not in done.stderr:
        return End(done=False, wrong="")
    return End(done=False, wrong=f"{what}: {done.returncode}: {done.stderr[-600:]}")


def _empty(place: Path) -> Path:
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return out
