"""The command line: all commands, exit codes, and how a run is interrupted."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import tumortrace
from tumortrace.commands.audit import audit
from tumortrace.commands.compare import compare
from tumortrace.commands.convert import convert
from tumortrace.commands.crossval import crossval
from tumortrace.commands.doctor import doctor
from tumortrace.commands.evaluate import evaluate
from tumortrace.commands.export import export
from tumortrace.commands.improve import improve
from tumortrace.commands.info import info
from tumortrace.commands.options import expand_home, refuse_empty
from tumortrace.commands.output import console, log
from tumortrace.commands.prepare import prepare
from tumortrace.commands.report import report
from tumortrace.commands.segment import segment
from tumortrace.commands.serve import serve
from tumortrace.commands.split import split
from tumortrace.commands.sweep import sweep
from tumortrace.commands.train import train
from tumortrace.errors import TumortraceError, describe_system_error, is_shortage, require_extra
from tumortrace.interruption import exit_program, interrupt_on_signals
from tumortrace.processes import is_launched
from tumortrace.progress import show_progress

app = typer.Typer(
    name="tumortrace",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From annotated 2D brain-MRI slices to a tumour segmenter, and from a scan to a tumour mask.\n\n"
    "Research software, not a medical device.",
)

INTERRUPTED = 130
"""Exit code that typer gives to a Ctrl-C, as shells do."""


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


for command in (
    audit,
    split,
    train,
    improve,
    crossval,
    sweep,
    export,
    evaluate,
    compare,
    report,
    segment,
    serve,
    convert,
    prepare,
    info,
    doctor,
):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    atexit.register(gc.freeze)  # Python would search all objects for cycles before it ends: a fifth of a short command

    def run() -> None:
        refuse_empty(sys.argv[1:])
        sys.argv[1:] = expand_home(sys.argv[1:])
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
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it names its cache where the home cannot be written
    interrupter = interrupt_on_signals()
    try:
        with show_progress():
            run()
    except TumortraceError as error:
        _fail(str(error))
    except OSError as error:
        _fail(describe_system_error(error))  # a full disk, a folder without permission
    except Exception as error:
        if not is_shortage(error):
            raise  # a bug, whose traceback is wanted
        _fail("there is too little memory for this; close other programs, or give fewer or smaller files")
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        _end_interrupted()
    except KeyboardInterrupt:  # before typer has begun to take them
        _end_interrupted()
    finally:
        interrupter.over = True


def _end_interrupted() -> NoReturn:
    if not is_launched():
        log.print("interrupted; finished files, if any, are kept")
    exit_program(INTERRUPTED)


def _fail(message: str) -> NoReturn:
    log.print(f"error: {message}")
    sys.exit(2)


if __name__ == "__main__":
    main()
