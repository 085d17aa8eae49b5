"""An experiment as a command: what its user can mend ends in one line, as in ``tumortrace`` itself."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from tumortrace.errors import TumortraceError


def run_command(main: Callable[..., None]) -> None:
    """Call ``main`` with the arguments of the command line; exit code 2 and one line if it raises ours."""
    try:
        typer.run(main)
    except TumortraceError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
