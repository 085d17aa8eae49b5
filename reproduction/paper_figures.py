"""All figures and tables of the student paper, drawn from the numbers.

Numbers are written to ``results/NAME.csv``, drawings to ``figures/NAME.png`` and ``.svg``; ``--only NAME`` makes one.

| report | name | made from |
|---|---|---|
| Figure 1 | ``architecture`` | the network of the config ``paper``, itself |
| Figure 2 | ``comparison`` | a phantom |
| Figures 3 to 5 | ``validation_loss_batch_2``, ``_4``, ``_8`` | ``results/grid_curves.csv`` |
| Figure 6 | ``best_of_each`` | the same |
| Figure 7 | ``losses`` | ``results/run_curve.csv`` if it is there, else the best of ``grid_curves.csv`` |
| Figure 8 | ``dice_loss`` | ``results/dice_collapse/``, of ``reproduction.dice_collapse`` |
| Figures 9, 10 | ``best_cases``, ``random_cases`` | phantoms and the model that comes with the package |
| Figure 11 | ``score_distribution`` | ``results/scores.csv`` |
| Table I | ``table_1`` | the same |
| annex | ``annex`` | as ``architecture``, every layer |

``--sweep`` condenses the folder of a sweep (``tumortrace sweep BR35H --config reproduction/sweeps/grid.toml``),
finished or not, into ``grid_curves.csv``; ``--run`` a run into ``run_curve.csv``; ``--evaluation`` an evaluation
into ``scores.csv``. Without them what is there is drawn; a figure whose numbers are not there is skipped and named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from reproduction import architecture, paper_cases, paper_curves
from reproduction.committed_numbers import Drawn, NumbersMissingError
from reproduction.tables import write_table
from tumortrace.cli import run_script
from tumortrace.errors import TumortraceError
from tumortrace.progress import tell
from tumortrace.reporting.figures import save_figure

MAKERS: dict[str, Callable[[Path], Drawn]] = {
    "architecture": architecture.make_architecture,
    "comparison": paper_cases.make_comparison,
    **{
        f"validation_loss_batch_{size}": partial(paper_curves.make_rates, batch_size=size)
        for size in paper_curves.BATCH_SIZES
    },
    "best_of_each": paper_curves.make_best,
    "losses": paper_curves.make_losses,
    "dice_loss": paper_curves.make_dice_losses,
    "best_cases": paper_cases.make_best_cases,
    "random_cases": paper_cases.make_random_cases,
    "score_distribution": paper_cases.make_distribution,
    "table_1": paper_cases.make_table,
    "annex": architecture.make_annex,
}
"""What makes each figure or table from the folder of results, in the student paper's order."""


def make(name: str, into: Path) -> None:
    """Write one figure with its tables, print its text.

    Args:
        name: Key of ``MAKERS``.
        into: Folder of ``results/`` and ``figures/``.

    Raises:
        NumbersMissingError: Its numbers are not there yet.
    """
    drawn = MAKERS[name](into / "results")
    for table, rows in drawn.tables.items():
        write_table(into / "results" / f"{table}.csv", rows)
    if drawn.figure is not None:
        for suffix in ("png", "svg"):
            save_figure(drawn.figure, into / "figures" / f"{name}.{suffix}")
    if drawn.text:
        print(drawn.text)


def main(
    only: Annotated[list[str] | None, typer.Option(help="Make these alone.")] = None,
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("reproduction"),
    sweep: Annotated[Path | None, typer.Option(help="Folder of a sweep over batch size and learning rate.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run folder, drawn as losses in the best run's place.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder that tumortrace evaluate wrote.")] = None,
) -> None:
    """Condense what is given, and make all figures and tables whose numbers are there."""
    if unknown := set(only or ()) - MAKERS.keys():
        raise typer.BadParameter(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(MAKERS)}")
    for folder, condense, table in (
        (sweep, paper_curves.condense_sweep, "grid_curves"),
        (run, paper_curves.condense_run, "run_curve"),
        (evaluation, paper_cases.condense_evaluation, "scores"),
    ):
        if folder is not None:
            try:
                rows = condense(folder)
            except TumortraceError as error:
                raise typer.BadParameter(str(error)) from None
            write_table(into / "results" / f"{table}.csv", rows)
    for name in only or MAKERS:
        try:
            make(name, into)
        except NumbersMissingError as error:
            tell(f"{name} skipped: {error}")


if __name__ == "__main__":
    run_script(main)
