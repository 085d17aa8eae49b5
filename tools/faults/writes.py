"""The n-th call of a command fails; its output is then judged."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.faults.commands import Command, Ended, run_here
from tools.faults.contents import LISTS, find_left, read_tree
from tools.faults.injector import KINDS, Calls, Fault, find_disorder, inject
from tools.faults.record import Outcome

CODES = {errno.ENOSPC: True, errno.EIO: False}
"""Errors that are injected, and whether all later calls of the kind fail too."""


@dataclass(frozen=True)
class Undisturbed:
    """A command without a fault.

    Attributes:
        calls: Its calls.
        old: Content of the output before, by path.
        new: Content of the output afterwards.
    """

    calls: Calls
    old: dict[str, str]
    new: dict[str, str]


def run_undisturbed(command: Command, material: Path, place: Path) -> Undisturbed:
    """Run a command without a fault.

    Raises:
        RuntimeError: It fails, writes past ``tumortrace.files``, or in an order that a loss of power could spoil.
    """
    out = _begin(command, material, place)
    old = read_tree(out)
    with inject(None, below=out) as calls:
        ended = run_here(command.fill(command.words, out), cwd=material)
    faults = [*find_disorder(calls), *(f"{path}: {event} past tumortrace.files" for event, path in calls.past)]
    if ended.code or faults or find_left(out):
        raise RuntimeError(f"{command.name}: {ended.code}, {ended.stderr}, {faults}, {find_left(out)}")
    return Undisturbed(calls, old, read_tree(out))


def list_faults(calls: Calls) -> Iterator[Fault]:
    """Yield every fault that a command can meet."""
    for kind in KINDS:
        for number in range(1, calls.counts[kind] + 1):
            for code, lasting in CODES.items():
                yield Fault(kind, number, code, lasting)


def draw_faults(calls: Calls, *, count: int, seed: int) -> list[Fault]:
    """Draw some of them."""
    faults = list(list_faults(calls))
    chosen = np.random.default_rng(seed).permutation(len(faults))[:count]
    return [faults[index] for index in sorted(chosen)]


def judge_fault(command: Command, fault: Fault, plain: Undisturbed, *, material: Path, place: Path) -> list[str]:
    """Run a command with a fault, then again without, and say what is wrong; empty if nothing is."""
    out = _begin(command, material, place)
    with inject(fault, below=out) as calls:
        ended = run_here(command.fill(command.words, out), cwd=material)
    wrong = [f"the fault never came ({calls.counts})"] if not calls.hit else []
    wrong += judge_end(ended)
    wrong += judge_contents(read_tree(out), plain, out)
    repeated = run_here(command.next_words(out), cwd=material)
    if repeated.code:
        wrong.append(f"the repeat ends with {repeated.code}: {repeated.stderr}")
    if find_left(out):
        wrong.append(f"the repeat leaves {find_left(out)}")
    return wrong + judge_repeat(read_tree(out), plain)


def judge_end(ended: Ended) -> list[str]:
    """Say what is wrong with the end of a command that met a fault: one line and status 2 are right."""
    if ended.code == 0 and not ended.error_lines:
        return []  # the fault concerned something that may fail, such as a folder that cannot be synced
    wrong = [] if ended.code == 2 else [f"ends with {ended.code}"]
    lines = ended.error_lines
    wrong += [] if len(lines) == 1 and ended.stderr.endswith(f"{lines[0]}\n") else [f"says {ended.stderr!r}"]
    return wrong + (["a traceback"] if "Traceback" in ended.stderr else [])


def judge_contents(found: dict[str, str], plain: Undisturbed, out: Path) -> list[str]:
    """Say which names hold neither their old nor their new content."""
    wrong = []
    for name, content in found.items():
        if content in {plain.old.get(name), plain.new.get(name)} or _is_temporary(name):
            continue
        if Path(name).name not in LISTS:
            wrong.append(f"{name}: neither old nor new")
        else:
            wrong += judge_list(out / name, plain.new)
    return wrong + [f"{name}: lost" for name in plain.old if name not in found]


def judge_list(path: Path, new: dict[str, str]) -> list[str]:
    """Say what is wrong with a list that an unfinished command left: each entry must be whole, and its file there."""
    if path.suffix == ".csv":
        return [] if path.read_bytes().endswith(b"\n") else [f"{path}: its last row is cut"]
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        return [f"{path}: {error}"]
    if path.name == "results.json":
        masks = [record["mask"] for record in (*document["images"], *document["volumes"]) if record["mask"]]
        return [f"{path}: names {mask}, which is not there" for mask in masks if not (path.parent / mask).is_file()]
    if path.name == "conversion.json":
        return [f"{path}: names {name}" for name in document["files"] if name not in new]
    return []


def judge_repeat(found: dict[str, str], plain: Undisturbed) -> list[str]:
    """Say where the result of a repeated command differs from the undisturbed one."""
    differing = sorted(name for name in plain.new.keys() | found.keys() if plain.new.get(name) != found.get(name))
    return [f"{name}: differs after the repeat" for name in differing]


def _is_temporary(name: str) -> bool:
    return Path(name).name.endswith((".partial", ".jsonl"))


def _begin(command: Command, material: Path, place: Path) -> Path:
    """Make the output as it is before the command."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    if command.earlier:
        kept = place / f"earlier {command.name}"
        if not kept.exists():
            ended = run_here(command.fill(command.earlier, kept), cwd=material)
            if ended.code:
                raise RuntimeError(f"{command.earlier}: {ended.stderr}")
        shutil.copytree(kept, out)
    return out


def choose_faults(plain: Undisturbed, *, limit: int | None) -> list[Fault]:
    """Return all faults of a command, or so many of them, drawn with seed 0."""
    return list(list_faults(plain.calls)) if limit is None else draw_faults(plain.calls, count=limit, seed=0)


def try_fault(command: Command, fault: Fault, plain: Undisturbed, *, material: Path, place: Path) -> Outcome:
    """Let a call of a command fail, and say how it ended."""
    return Outcome(1, judge_fault(command, fault, plain, material=material, place=place))
