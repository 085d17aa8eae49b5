"""Every experiment in one command: ``python -m reproduction BR35H``.

The steps (``--list``) are done in order. One whose tables are in ``results/`` is not repeated: take a table away, or
give another ``--into``, to make it anew. A step that fails is named, and the others are done.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from reproduction.committed_numbers import NumbersMissingError
from reproduction.size import SIZES, SizeOption, claim_results
from reproduction.steps import STEPS, Folders, Step
from tumortrace.cli import run_script
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import ConfigError, TumortraceError
from tumortrace.files import refuse_inside, write_atomically
from tumortrace.progress import open_console, tell

OTHERS = "--lgg, --figshare and --negatives"


class Outcome(NamedTuple):
    """How a step ended.

    Attributes:
        step: Its name.
        ended: ``"done"``, ``"was there"``, ``"skipped"`` or ``"failed"``.
        minutes: Duration of the step.
        why: It was skipped or failed; in one line.
    """

    step: str
    ended: str
    minutes: float = 0.0
    why: str = ""


def do_step(step: Step, place: Folders) -> Outcome:
    """Do a step unless it is finished or cannot be done; whatever goes wrong is told in one line, not raised."""
    if step.is_finished(place):
        return Outcome(step.name, "was there")
    if step.needs_others and place.others is None:
        return Outcome(step.name, "skipped", why=f"give {OTHERS}")
    started = time.perf_counter()
    ended, why = "done", ""
    try:
        step.do(place)
    except NumbersMissingError as error:
        ended, why = "skipped", _one_line(error)
    except (TumortraceError, typer.BadParameter) as error:
        ended, why = "failed", _one_line(error)
    except Exception as error:  # noqa: BLE001 - the other steps are done whatever this one met
        log = place.out / f"{step.name}-failed.txt"
        write_atomically(log, traceback.format_exc().encode())
        ended, why = "failed", f"{type(error).__name__}: {_one_line(error)} (whole in {log})"
    return Outcome(step.name, ended, (time.perf_counter() - started) / 60, why)


def do_steps(steps: Sequence[Step], place: Folders) -> list[Outcome]:
    """Do the steps in order, and tell how each ended."""
    outcomes = []
    for number, step in enumerate(steps, start=1):
        tell(f"[{number} of {len(steps)}] {step.name}: {step.question}")
        outcome = do_step(step, place)
        tell(f"{step.name}: {outcome.ended}" + (f": {outcome.why}" if outcome.why else ""))
        outcomes.append(outcome)
    return outcomes


def choose_steps(names: Sequence[str]) -> list[Step]:
    """The steps of these names in their own order; all without a name.

    Raises:
        ConfigError: There is no such step.
    """
    known = [step.name for step in STEPS]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"--only {', '.join(unknown)}: no such step; there are {', '.join(known)}")
    return [step for step in STEPS if not names or step.name in names]


def tabulate(outcomes: Sequence[Outcome]) -> Table:
    """A row a step."""
    table = Table("step", "", "minutes")
    for outcome in outcomes:
        minutes = f"{outcome.minutes:.1f}" if outcome.ended in {"done", "failed"} else ""
        table.add_row(outcome.step, outcome.ended, minutes)
    return table


def describe_steps() -> str:
    """A line a step: what it answers, and the tables that it leaves."""
    return "\n".join(f"{step.name:<19} {step.question}  {', '.join(step.tables)}".rstrip() for step in STEPS)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def main(  # noqa: PLR0913, PLR0917 - the options of the command
    data: Annotated[Path | None, typer.Argument(metavar="BR35H", help="The folder of Br35H.")] = None,
    lgg: Annotated[Path | None, typer.Option(help="Of LGG, for several_tumours.")] = None,
    figshare: Annotated[Path | None, typer.Option(help="Of Figshare, likewise.")] = None,
    negatives: Annotated[Path | None, typer.Option(help="Of images without a tumour, likewise.")] = None,
    out: Annotated[Path, typer.Option(help="Runs and sweeps, in a folder a size.")] = Path("runs/experiments"),
    into: Annotated[
        Path | None, typer.Option(help="Folder of results/ and figures/ [experiments; full: reproduction/full].")
    ] = None,
    size: SizeOption = "small",
    only: Annotated[list[str] | None, typer.Option(help="Do this step; may be repeated.")] = None,
    *,
    show: Annotated[bool, typer.Option("--list", help="Print the steps and end.")] = False,
) -> None:
    """Do every step that is not finished; exit code 1 if one failed."""
    console = open_console()
    if show:
        console.print(*describe_steps().splitlines(), sep="\n")
        return
    steps = choose_steps(only or ())
    if data is None:
        raise ConfigError("no data; give the folder of Br35H: python -m reproduction BR35H")
    others = (lgg, figshare, negatives) if lgg and figshare and negatives else None
    place = Folders(data, others, out / size, into or SIZES[size].into, size)
    for root in (data, *(others or ())):
        refuse_inside(place.out, root)
        refuse_inside(place.into, root)
    open_dataset(data)
    claim_results(place.into, SIZES[size])
    outcomes = do_steps(steps, place)
    console.print(tabulate(outcomes))
    console.print("What was there is made anew when its tables in results/ are taken away (--list names them).")
    if any(outcome.ended == "failed" for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_script(main)
