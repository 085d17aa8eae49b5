"""Tables of what becomes of each command under faults, kills and limits.

Without options it tries all of it, in about an hour. ``--limit 3 --kills 2`` draws some, and ``--record FILE`` goes on
where a call was stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

os.environ["TUMORTRACE_CACHE"] = "off"

from tools.faults import commands, kills, limits, writes
from tools.faults.once import compute_once
from tools.faults.record import Outcome, recall

Row = tuple[str, list[str]]
"""Cells of a row, joined by tabs, and what is wrong."""

KINDS = ("writes", "kills", "limits")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each kind of fault; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("--only", choices=KINDS, action="append", help="kind of fault; may be repeated")
    parser.add_argument("--command", action="append", help="name of a command; may be repeated")
    parser.add_argument("--limit", type=int, help="faults of a command, drawn; all without it")
    parser.add_argument("--kills", type=int, default=14, help="times that each command is killed at random")
    parser.add_argument("--calls", type=int, default=6, help="calls at which each command is killed, drawn")
    parser.add_argument("--material", type=Path, help="folder with the inputs of the commands; made if need be")
    parser.add_argument("--record", type=Path, help="JSON file of outcomes; a further call tries what it lacks")
    parser.add_argument("--steps", type=int, default=50, help="steps of memory")
    options = parser.parse_args(arguments)
    console, wrong = Console(width=120), []
    with tempfile.TemporaryDirectory(prefix="tumortrace-faults-") as name:
        place = Path(name)
        material = options.material or place / "material"
        _fork(lambda: commands.make_material(material))
        for kind in options.only or KINDS:
            wrong += _TABLES[kind](console, place, material, options)
    console.print(*(wrong or ["Nothing is wrong."]), sep="\n")
    return int(bool(wrong))


def _show_writes(console: Console, place: Path, material: Path, options: argparse.Namespace) -> list[str]:
    table, wrong = _begin("The n-th call fails", "command", "calls", "faults injected", "wrong", "seconds"), []
    where = {"material": material, "place": place / "writes"}
    for command in _choose(commands.WRITING, options):
        started = time.monotonic()
        plain = writes.run_undisturbed(command, **where)
        attempts = {
            str(fault): partial(writes.try_fault, command, fault, plain, **where)
            for fault in writes.choose_faults(plain, limit=options.limit)
        }
        with compute_once():
            count, lines = _try_all(f"writes, {command.name}", attempts, options.record)
        calls = sum(plain.calls.counts.values())
        _add(table, command.name, str(calls), str(count), str(len(lines)), f"{time.monotonic() - started:.0f}")
        wrong += [f"{command.name}: {line}" for line in lines]
    console.print(table)
    return wrong


def _show_kills(console: Console, place: Path, material: Path, options: argparse.Namespace) -> list[str]:
    table, wrong = _begin("SIGKILL", "command", "seconds alone", "kills", "wrong", "seconds"), []
    where = {"material": material, "place": place / "kills"}
    kills.import_everything()
    total = 0
    for command in _choose(commands.KILLED, options):
        started = time.monotonic()
        plain = kills.run_plain(command, **where)
        attempts = {
            kills.name_kill(when): partial(kills.kill, command, plain, when, **where)
            for when in kills.draw_kills(command, plain, random=options.kills, calls=options.calls)
        }
        count, lines = _try_all(f"kills, {command.name}", attempts, options.record)
        total += count
        seconds = time.monotonic() - started
        _add(table, command.name, f"{plain.seconds:.1f}", str(count), str(len(lines)), f"{seconds:.0f}")
        wrong += [f"{command.name}: {line}" for line in lines]
    _add(table, "all", "", str(total), str(len(wrong)), "")
    console.print(table)
    return wrong


def _try_all(name: str, attempts: Mapping[str, Callable[[], Outcome]], file: Path | None) -> tuple[int, list[str]]:
    """Make all attempts that the record lacks; return the number of faults and what is wrong."""
    ends = {key: recall(file, f"{name}, {key}", attempt) for key, attempt in attempts.items()}
    return sum(end.faults for end in ends.values()), [
        f"{key}: {line}" for key, end in ends.items() for line in end.wrong
    ]


def _show_limits(console: Console, place: Path, material: Path, options: argparse.Namespace) -> list[str]:
    table, wrong = _begin("Without room", "limit", "runs", "results", "one line", "wrong"), []
    for name, ends in limits.try_all(material, place / "limits", steps=options.steps):
        lines = [end.wrong for end in ends if end.wrong]
        done = sum(end.done for end in ends)
        _add(table, name, str(len(ends)), str(done), str(len(ends) - done - len(lines)), str(len(lines)))
        wrong += [f"{name}: {line}" for line in lines]
    console.print(table)
    return wrong


_TABLES: dict[str, Callable[[Console, Path, Path, argparse.Namespace], list[str]]] = {
    "writes": _show_writes,
    "kills": _show_kills,
    "limits": _show_limits,
}


def _choose(all_commands: Sequence[commands.Command], options: argparse.Namespace) -> Iterator[commands.Command]:
    return (command for command in all_commands if not options.command or command.name in options.command)


def _begin(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    return table


def _add(table: Table, *cells: str) -> None:
    """Add a row, and show it at once on stderr: all rows together take an hour."""
    table.add_row(*cells)
    print(*cells, sep="  ", file=sys.stderr, flush=True)


def _fork(work: Callable[[], None]) -> None:
    """Do something in a fork: threads that it starts are not there in later forks."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the commands cannot be run without a fault")


if __name__ == "__main__":
    sys.exit(main())
