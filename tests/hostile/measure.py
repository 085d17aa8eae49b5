"""Seconds and memory that each hostile file costs, beside an idle command.

``python -m tests.hostile.measure`` prints a table of all; a part of a name chooses some. Each command runs in a fork of
a process that has imported everything, so that start and imports are not counted. Seconds are those of the processor.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from tests.hostile.attacks import ANNOTATIONS, PICTURES, SCANS, Attack, add_picture

from tumortrace.cli import main as run_cli
from tumortrace.data.png_writing import write_png
from tumortrace.phantoms.slices import draw_phantom

LIMIT_S = 20.0
"""Seconds on the clock after which a command is ended: it hangs."""

TRACEBACK = 70

_MODULES = (
    "defusedxml.ElementTree", "nibabel", "pydicom", "tumortrace.api", "tumortrace.data.convert",
    "tumortrace.data.dicom.pixels", "tumortrace.data.dicom.series", "tumortrace.data.nifti.reader",
    "tumortrace.inference.batch.inputs", "tumortrace.inference.model", "yaml",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        name: Name of the attack.
        status: Exit status; negative for the signal that ended it.
        lines: What it printed.
        seconds: Seconds of the processor.
        mib: Largest memory, in mebibytes.
    """

    name: str
    status: int
    lines: tuple[str, ...]
    seconds: float
    mib: float


def run_command(name: str, args: Sequence[str]) -> Outcome:
    """Run a command of the program in a fork."""
    text, status, usage = _fork(lambda: _run_cli(args))
    seconds = usage.ru_utime + usage.ru_stime
    return Outcome(name, status, tuple(text.splitlines()), seconds, usage.ru_maxrss / 1024)


def _run_cli(args: Sequence[str]) -> NoReturn:
    sys.argv = ["tumortrace", *args]
    run_cli()
    sys.exit(0)


def _fork(work: Callable[[], object]) -> tuple[str, int, resource.struct_rusage]:
    """Do work in a fork; return what it printed, its exit status and what it used."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _work_and_exit(work, write)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode(errors="replace")
    _, status, usage = os.wait4(child, 0)
    return text, os.waitstatus_to_exitcode(status), usage


def _work_and_exit(work: Callable[[], object], write: int) -> NoReturn:
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, resource.RLIM_INFINITY))
    for number in (1, 2):
        os.dup2(write, number)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w"), write_through=True) for number in (1, 2))
    code = 0
    try:
        work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - shown, as Python would
        traceback.print_exc()
        code = TRACEBACK
    os._exit(code)


def prepare(make: Attack, folder: Path) -> Path:
    """Make an attack in a fork, so that this process stays small."""
    folder.mkdir()
    text, status, _ = _fork(lambda: sys.stdout.write(str(make(folder))))
    if status:
        raise RuntimeError(text)
    return Path(text)


def measure(
    root: Path, registries: Sequence[dict[str, Attack]], pattern: str = ""
) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield each attack beside the idle command of its kind."""
    (root / "idle.png").touch()
    add_picture(root, "idle/a.png")
    (root / "idle" / "via.json").write_bytes(b"{}")
    for registry in registries:
        convert = registry is ANNOTATIONS
        idle = run_command("idle", _command(root / ("idle" if convert else "idle.png"), root / "out", convert=convert))
        for number, (name, make) in enumerate(registry.items()):
            if pattern not in name:
                continue
            folder = root / f"attack{number}"
            outcome = run_command(name, _command(prepare(make, folder), root / f"out{number}", convert=convert))
            yield replace(outcome, lines=tuple(line.replace(f"{folder}/", "") for line in outcome.lines)), idle
            for path in (folder, root / f"out{number}", root / "out"):
                shutil.rmtree(path, ignore_errors=True)


def _command(path: Path, out: Path, *, convert: bool) -> list[str]:
    return ["convert", str(path), str(out), "--to", "masks"] if convert else ["segment", str(path), "--out", str(out)]


def segment_together(root: Path) -> tuple[Outcome, Outcome]:
    """Segment all pictures and scans as one folder, a generated slice among them; and that slice alone."""
    folder = root / "in"
    folder.mkdir()
    for number, make in enumerate([*PICTURES.values(), *SCANS.values()]):
        prepare(make, folder / f"{number}")
    path = prepare(_draw_slice, root / "alone")
    shutil.copy(path, folder)
    alone = run_command("alone", ["segment", str(root / "alone"), "--out", str(root / "out-alone")])
    return run_command("together", ["segment", str(folder), "--out", str(root / "out")]), alone


def _draw_slice(folder: Path) -> Path:
    """Write a generated slice; in a fork, since the threads that OpenCV starts for it are missing in later forks."""
    path = folder / "slice.png"
    write_png(path, draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)
    return path


def main(pattern: str = "") -> None:
    """Print a table; for the tests, as JSON the outcomes of annotations or of all others together."""
    for module in _MODULES:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if pattern == "--together":
            together, alone = segment_together(root)
            results = json.loads((root / "out" / "results.json").read_bytes())
            _say(json.dumps({"together": asdict(together), "alone": asdict(alone), "results": results}))
            return
        if pattern == "--annotations":
            _say(json.dumps([[asdict(one), asdict(idle)] for one, idle in measure(root, [ANNOTATIONS])]))
            return
        _say("| file | exit status | s | MB | message |\n|---|---:|---:|---:|---|")
        for one, idle in measure(root, [PICTURES, SCANS, ANNOTATIONS], pattern):
            first = one.lines[0] if one.lines else ""
            seconds, mib = max(one.seconds - idle.seconds, 0), max(one.mib - idle.mib, 0)
            _say(f"| {one.name} | {one.status} | {seconds:.2f} | {mib:.0f} | {first} |")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
