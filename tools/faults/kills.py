"""Commands that are killed at random times and at their writes, then repeated.

Each command runs in a fork of this process, which has imported everything: the seconds of the imports are spared, and
more kills fall into the work.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.faults.commands import Command, Ended, run_here
from tools.faults.contents import find_left, read_tree
from tools.faults.injector import Fault, inject
from tools.faults.record import Outcome

KILL = -signal.SIGKILL
"""Exit status of a killed process, and the "error" of a call at which it is killed."""

MODULES = (
    "copies.audit", "evaluation.evaluate", "improvement.improve", "inference.batch.inputs", "reporting.cases",
    "reporting.run_sections", "trials.crossval", "trials.sweep", "training.export_run", "training.run",
)  # fmt: skip
"""Modules that import all that the commands need."""

SEED = 0
"""Decides the times and calls."""

MOST_SECONDS = 1800.0
"""Time after which a command that hangs is given up."""


@dataclass(frozen=True)
class Plain:
    """A command that nobody kills.

    Attributes:
        seconds: Time that it takes.
        counts: Number of its calls of each kind.
        tree: Content of its output, by path.
        old: Content of the output before.
    """

    seconds: float
    counts: dict[str, int]
    tree: dict[str, str]
    old: dict[str, str]


def run_forked(
    words: Sequence[str], *, cwd: Path, out: Path, kill_after: float | None = None, kill_at: Fault | None = None
) -> Ended:
    """Run a command in a fork of this process.

    Args:
        words: Words after ``tumortrace``.
        cwd: Folder to run in.
        out: Its output.
        kill_after: Seconds after which it is killed; None lets it end.
        kill_at: Call at which it kills itself; None lets it end.
    """
    said = out.with_name(f"{out.name}.stderr")
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()
            with inject(kill_at, below=out) as calls:
                ended = run_here(words, cwd=cwd)
            counts = " ".join(str(count) for count in calls.counts.values())
            said.write_text(f"{counts}\n{ended.stderr}", encoding="utf-8", errors="replace")
            code = ended.code
        finally:
            os._exit(code)
    code = _wait(child, kill_after)
    return Ended(code, said.read_text(encoding="utf-8") if code != KILL and said.exists() else "")


def _wait(child: int, kill_after: float | None) -> int:
    """Wait for a child, which is killed after some seconds; return its exit status."""
    deadline = time.monotonic() + (MOST_SECONDS if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.002)


def run_plain(command: Command, *, material: Path, place: Path) -> Plain:
    """Run a command that nobody kills.

    Raises:
        RuntimeError: It fails.
    """
    out = _begin(command, material, place)
    old = read_tree(out) if out.exists() else {}
    started = time.monotonic()
    ended = run_forked(command.fill(command.words, out), cwd=material, out=out)
    if ended.code:
        raise RuntimeError(f"{command.name}: {ended.code} {ended.stderr}")
    counts = [int(count) for count in ended.stderr.partition("\n")[0].split()]
    named = dict(zip(("open", "write", "fsync", "rename", "mkdir"), counts, strict=True))
    return Plain(time.monotonic() - started, named, read_tree(out), old)


def kill_at_random(command: Command, plain: Plain, number: int, *, material: Path, place: Path) -> Outcome:
    """Kill a command once, or also while it goes on, then let it end; the number decides when."""
    out = _begin(command, material, place)
    rng = np.random.default_rng([SEED, *command.name.encode(), number])
    times = [float(rng.uniform(0, plain.seconds)) for _ in range(1 + int(rng.integers(2)))]
    kills = 0
    for after in times:
        ended = run_forked(command.next_words(out), cwd=material, out=out, kill_after=after)
        kills += ended.code == KILL
        if ended.code == 0:
            break
        if ended.code != KILL:
            return Outcome(kills, [f"killed {kills} times, then ends with {ended.code}: {ended.stderr}"])
    return Outcome(kills, _finish(command, plain, out, material))


def kill_at_call(command: Command, plain: Plain, fault: Fault, *, material: Path, place: Path) -> Outcome:
    """Kill a command at one of its calls, then let it end."""
    out = _begin(command, material, place)
    ended = run_forked(command.fill(command.words, out), cwd=material, out=out, kill_at=fault)
    wrong = [] if ended.code == KILL else ["it was not killed"]
    for name, content in (read_tree(out) if out.exists() else {}).items():
        new, old = plain.tree.get(name), plain.old.get(name)
        if content not in {new, old} and not Path(name).name.startswith(".") and not _may_be_unfinished(name):
            wrong.append(f"{name}: neither old nor new")
    return Outcome(int(ended.code == KILL), wrong + _finish(command, plain, out, material))


def list_calls(plain: Plain) -> Iterator[Fault]:
    """Yield each call at which a command can be killed."""
    for kind, count in plain.counts.items():
        for number in range(1, count + 1):
            yield Fault(kind, number, KILL)


def _may_be_unfinished(name: str) -> bool:
    """Whether a file says itself that it is unfinished, or grows, or lies in a folder that is not in its place yet."""
    return (
        Path(name).name
        in {
            "summary.json",
            "improvement.json",
            "checkpoint.safetensors",
            "metrics.csv",
            "best.safetensors",
            "results.csv",
        }
        or ".partial/" in name
    )


def _finish(command: Command, plain: Plain, out: Path, material: Path) -> list[str]:
    """Let a command end, and say where its result differs from the plain one."""
    ended = run_forked(command.next_words(out), cwd=material, out=out)
    finished_before = command.name == "prepare" and "is there already" in ended.stderr
    wrong = [] if ended.code == 0 or finished_before else [f"the repeat ends with {ended.code}: {ended.stderr}"]
    found = read_tree(out) if out.exists() else {}
    names = sorted(name for name in plain.tree.keys() | found.keys() if plain.tree.get(name) != found.get(name))
    left = [name for name in find_left(out) if out.exists()]
    return wrong + [f"{name}: differs after the repeat" for name in names] + [f"{name}: is left" for name in left]


def _begin(command: Command, material: Path, place: Path) -> Path:
    """Make the output as it is before the command; its name is always the same, since some results hold it."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    if command.earlier:
        kept = place / "earlier" / command.name
        if not kept.exists():
            ended = run_forked(command.fill(command.earlier, kept), cwd=material, out=place / "begun")
            if ended.code:
                raise RuntimeError(f"{command.earlier}: {ended.stderr}")
        shutil.copytree(kept, out)
    else:
        out.mkdir(parents=True)
    return out


def draw_kills(command: Command, plain: Plain, *, random: int, calls: int) -> list[int | Fault]:
    """Draw the times and calls at which a command is killed.

    Args:
        command: The command.
        plain: The same command when nobody kills it.
        random: Number of random times.
        calls: Number of calls.

    Returns:
        A number for each random time, then the calls.
    """
    faults = list(list_calls(plain))
    chosen = np.random.default_rng([SEED, *command.name.encode()]).permutation(len(faults))[:calls]
    return [*range(random), *(faults[index] for index in chosen)]


def name_kill(when: int | Fault) -> str:
    """Return ``time 3`` or ``write 5 signal 9``."""
    return str(when) if isinstance(when, Fault) else f"time {when}"


def kill(command: Command, plain: Plain, when: int | Fault, *, material: Path, place: Path) -> Outcome:
    """Kill a command at a random time, by its number, or at a call; then let it end."""
    if isinstance(when, Fault):
        return kill_at_call(command, plain, when, material=material, place=place)
    return kill_at_random(command, plain, when, material=material, place=place)


def import_everything() -> None:
    """Import what the commands import, so that their forks need not."""
    for module in MODULES:
        importlib.import_module(f"tumortrace.{module}")
