"""The command that searches for settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tumortrace
from tumortrace.commands.options import LabelOption, NegativesOption, RayOption, SeveralData
from tumortrace.commands.output import console, exit_if_unreadable, log, name_next_command, report_findings
from tumortrace.errors import require_extra
from tumortrace.wording import counted

if TYPE_CHECKING:
    from tumortrace.evaluation.leaderboard import Run


def sweep(
    data: SeveralData,
    config: Annotated[
        str,
        typer.Option("--config", metavar="NAME|FILE", help="sweep, the student paper's grid, or a TOML file."),
    ] = "sweep",
    negatives: NegativesOption = None,
    label: LabelOption = None,
    ray: RayOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-sweep].")] = None,
) -> None:
    """Search for settings on folds of TRAIN and VAL, never on TEST.

    Call it again to continue after a stop.

    Example: tumortrace sweep br35h --config sweep --out runs/br35h-sweep
    """
    require_extra("train", purpose="train")
    from tumortrace.reporting.sweep_table import conclude, leaderboard_table
    from tumortrace.trials.sweep_space import describe_setting, plan_sweep, read_sweep

    name = Path(config).stem
    folder = out or Path("runs") / (name if name.endswith("sweep") else f"{name}-sweep")
    plan = plan_sweep(read_sweep(config), config)
    labels = {setting.name: describe_setting(setting, plan.varied) for setting in plan.settings}
    with name_next_command(lambda: sys.argv[1:]), _show(labels) as watch:
        result = tumortrace.sweep(
            data, out=folder, config=config, negatives=negatives, label=label, watch=watch, ray=ray
        )
    report_findings(result.findings, listed_in=folder / "findings.json")
    console.print(leaderboard_table(result.leaderboard, labels))
    for line in conclude(result.leaderboard, labels):
        console.print(line)
    console.print(f"Written to {folder}: leaderboard.csv, results.csv, split.json, sweep.toml, runs/")
    exit_if_unreadable(result.findings)


Watch = Callable[[Sequence["Run"], int, str], None]


@contextmanager
def _show(labels: Mapping[str, str]) -> Iterator[Watch]:
    """A live table on a terminal; elsewhere a line for each run that finishes."""
    from rich.live import Live

    from tumortrace.reporting.sweep_table import describe_run, progress_table

    told: set[str] | None = None

    def tell_new(runs: Sequence[Run], total: int, _doing: str) -> None:
        nonlocal told
        if told is None:  # the first call, before anything is trained
            told = {run.run for run in runs}
            if told:
                log.print(f"{len(told)} of {counted(total, 'run')} finished before")
        for number, run in enumerate(runs, start=1):
            if run.run not in told:
                told.add(run.run)
                log.print(describe_run(run, labels, number=number, total=total))

    if not log.is_terminal:
        yield tell_new
        return
    with Live(console=log, transient=True) as live:
        yield lambda runs, total, doing: live.update(progress_table(runs, labels, total=total, doing=doing))
