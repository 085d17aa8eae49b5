"""The command line: all commands, exit codes, and how a run is interrupted."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

import tumortrace
from tumortrace.commands.audit import audit
from tumortrace.commands.compare import compare
from tumortrace.commands.convert import convert
from tumortrace.commands.crossval import crossval
from tumortrace.commands.evaluate import evaluate
from tumortrace.commands.export import export
from tumortrace.commands.info import info
from tumortrace.commands.options import refuse_empty
from tumortrace.commands.output import console, log
from tumortrace.commands.report import report
from tumortrace.commands.segment import segment
from tumortrace.commands.split import split
from tumortrace.commands.sweep import sweep
from tumortrace.commands.train import train
from tumortrace.errors import TumortraceError, require_extra
from tumortrace.progress import show_progress

app = typer.Typer(
    name="tumortrace",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From annotated 2D brain-MRI slices to a tumour segmenter, and from a scan to a tumour mask.\n\n"
    "Research software, not a medical device.",
)

INTERRUPTED = 130
"""Exit code that typer gives to a Ctrl-C, as shells do."""

ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does: a polite kill and a closed terminal. Windows has no SIGHUP."""

REPEAT_SECONDS = 0.05
"""Time after which an interruption that was swallowed is raised again."""

STUCK_SECONDS = 2.0
"""Time that threads have to end after an interruption; one that reads from a dead network folder never does."""


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's
    if wanted:
        console.print(f"tumortrace {tumortrace.__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show every step on generated slices, in about two minutes.

    Example: tumortrace demo --out runs/demo
    """
    require_extra("train", purpose="train")
    from tumortrace.demo import run_demo

    run_demo(out, console)


for command in (audit, split, train, crossval, sweep, export, evaluate, compare, report, segment, convert, info):
    app.command()(command)


def main() -> None:
    """Run the command line."""

    def run() -> None:
        refuse_empty(sys.argv[1:])
        app()

    _end_in_one_line(run)


def run_script(function: Callable[..., None]) -> None:
    """Run a function as the one command of a script, which then ends as tumortrace's own commands do."""
    _end_in_one_line(lambda: typer.run(function))


def _end_in_one_line(run: Callable[[], object]) -> None:
    """End with one line and exit code 2 on what the user can fix, and with 130 on an interruption."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is escaped, not an error
            stream.reconfigure(errors="backslashreplace")
    show_progress()
    interrupter = _hear_endings()
    try:
        run()
    except TumortraceError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a folder without permission: the operating system's own words name file and cause.
        _fail(f"{error.filename or 'input/output'}: {error.strerror or error}; check path, permissions and disk")
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        log.print("interrupted; the files that were finished are kept")
        _exit(INTERRUPTED)
    finally:
        interrupter.over = True


class _Interruption(KeyboardInterrupt):
    """An interruption by a signal."""


class _Interrupter:
    """A handler of signals that interrupts the program once, and for certain.

    Python swallows an exception that is raised in ``__del__`` or in the callback of a weak reference, and so do some
    libraries. An interruption that ceases to exist before the program has ended was swallowed: it is raised again.

    Attributes:
        over: Whether the program has been interrupted or has ended; further signals are then ignored.
    """

    def __init__(self) -> None:
        self.over = False
        self._raised: weakref.ref[_Interruption] | None = None
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Interrupt, unless an interruption is under way: signals come in twos and must not stop the tidying up."""
        if self.over or (self._raised is not None and self._raised() is not None):
            return
        if number == getattr(signal, "SIGHUP", None):
            _silence(self._terminals)
        raise self._make()

    def _make(self) -> _Interruption:
        """Make an interruption that is referred to by nothing but its way up the stack."""
        interruption = _Interruption()
        self._raised = weakref.ref(interruption, self._repeat)
        return interruption

    def _repeat(self, _gone: object) -> None:
        if not self.over and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)


def _hear_endings() -> _Interrupter:
    """Take endings for interruptions, unless somebody wants otherwise: ``nohup`` has SIGHUP ignored."""
    interrupter = _Interrupter()
    if threading.current_thread() is not threading.main_thread():
        return interrupter
    heard = [ending for ending in ENDINGS if signal.getsignal(ending) is signal.SIG_DFL]
    for number in [*heard, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]:
        signal.signal(number, interrupter)
    sys.unraisablehook = _pass_over_interruptions
    return interrupter


def _pass_over_interruptions(unraisable: sys.UnraisableHookArgs) -> None:
    """Print what was swallowed as Python does, but for an interruption: it comes again."""
    if not issubclass(unraisable.exc_type, _Interruption):
        sys.__unraisablehook__(unraisable)


def _silence(descriptors: list[int]) -> None:
    """Let output go nowhere: to write to a closed terminal is an error, which would hide the interruption."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)


def _fail(message: str) -> NoReturn:
    log.print(f"error: {' '.join(message.split())}")
    sys.exit(2)


def _exit(code: int) -> NoReturn:
    """End the program, even where a thread never ends: Python would wait for it."""
    deadline = time.monotonic() + STUCK_SECONDS
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    working = [thread for thread in others if not thread.daemon]
    for thread in working:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in working):
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
