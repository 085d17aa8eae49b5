"""The command line: it joins the commands, and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from tumortrace.commands.audit import audit
from tumortrace.commands.compare import compare
from tumortrace.commands.convert import convert
from tumortrace.commands.crossval import crossval
from tumortrace.commands.evaluate import evaluate
from tumortrace.commands.export import export
from tumortrace.commands.output import console, log
from tumortrace.commands.report import report
from tumortrace.commands.split import split
from tumortrace.commands.sweep import sweep
from tumortrace.commands.train import train
from tumortrace.commands.using import info, segment
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
"""A polite kill and a closed terminal end a command as Ctrl-C does; Windows has no SIGHUP."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show everything on generated slices: data, training, scores, masks, figures; about two minutes.

    Example: tumortrace demo --out runs/demo
    """
    require_extra("train", purpose="train")
    from tumortrace.demo import run_demo

    run_demo(out, console)


for command in (audit, split, train, crossval, sweep, export, evaluate, compare, report, segment, convert, info):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    _end_in_one_line(app)


def run_script(function: Callable[..., None]) -> None:
    """Run a function as the one command of a script, which then ends as tumortrace's own commands do."""
    _end_in_one_line(lambda: typer.run(function))


def _end_in_one_line(run: Callable[[], object]) -> None:
    """What the user can mend ends with one line and exit code 2, an interruption with 130."""
    show_progress()
    _hear_endings()
    try:
        run()
    except TumortraceError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a folder without permission: the operating system's own words name file and cause.
        _fail(f"{error.filename or 'input/output'}: {error.strerror or error}; check path, permissions and disk")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            log.print("interrupted; the files that were finished are kept")
        raise


def _hear_endings() -> None:
    """Take endings for interruptions, unless somebody wants otherwise: ``nohup`` has SIGHUP ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for ending in heard:  # they come in twos, and must not interrupt the tidying up
            signal.signal(ending, signal.SIG_IGN)
        if number != signal.SIGTERM:
            _silence(terminals)
        raise KeyboardInterrupt

    heard = [ending for ending in ENDINGS if signal.getsignal(ending) is signal.SIG_DFL]
    for ending in heard:
        signal.signal(ending, interrupt)


def _silence(descriptors: list[int]) -> None:
    """Let output go nowhere: to write to a closed terminal is an error, which would hide the interruption."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)


def _fail(message: str) -> None:
    log.print(f"error: {' '.join(message.split())}")
    sys.exit(2)


if __name__ == "__main__":
    main()
