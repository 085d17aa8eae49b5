"""The tables in a sweep's folder: results, scores of each run, leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.evaluation.leaderboard import LEADERBOARD, RESULTS, Leaderboard, Run
from tumortrace.json_csv import read_csv, write_csv
from tumortrace.trials.sweep_space import Plan

RUNS = Path("runs")
"""The run folders."""

SCORES = Path("scores.csv")
"""In a run folder: Dice of each held-out slice with a tumour."""


def write_results(runs: Sequence[Run], plan: Plan, out: Path) -> None:
    """Write ``results.csv``, with the values that each run's setting changes."""
    values = {setting.name: setting.values for setting in plan.settings}
    rows = [{**asdict(run), **values[run.setting]} for run in runs]
    names = [field.name for field in fields(Run)]
    write_csv(out / RESULTS, rows, columns=[*names[:2], *plan.settings[0].values, *names[2:]])


def read_results(out: Path) -> list[Run]:
    """Return the finished runs; one whose scores were removed is not among them and is scored again.

    Raises:
        DataError: ``results.csv`` is not what ``write_results`` wrote.
    """
    if not (out / RESULTS).is_file():
        return []
    try:
        runs = [_read_run(row) for row in read_csv(out / RESULTS)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{out / RESULTS}: not the results of a sweep ({error}); remove it to score again") from None
    return [run for run in runs if run.dice_mean is None or (out / RUNS / run.run / SCORES).is_file()]


def write_scores(dices: Mapping[str, float], run: Path) -> None:
    """Write the Dice of each held-out slice into a run folder."""
    write_csv(run / SCORES, ({"file": file, "dice": dice} for file, dice in dices.items()), columns=["file", "dice"])


def read_scores(run: Path) -> dict[str, float]:
    """Return the Dice of each held-out slice of a run.

    Raises:
        DataError: ``scores.csv`` is not what ``write_scores`` wrote.
    """
    path = run / SCORES
    try:
        return {row["file"]: float(row["dice"]) for row in read_csv(path)}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the scores of a run ({error}); remove it to score again") from None


def write_leaderboard(board: Leaderboard, plan: Plan, out: Path) -> None:
    """Write ``leaderboard.csv``, with the values that each setting changes."""
    values = {setting.name: setting.values for setting in plan.settings}
    rows = [
        {
            "place": number,
            "setting": place.setting,
            **values[place.setting],
            "runs": place.runs,
            "dice_mean": place.mean,
            "seed_deviation": place.seed_deviation,
            "ci95_low": place.ci95[0],
            "ci95_high": place.ci95[1],
            "behind": place.behind,
            "p_corrected": place.p,
            "note": place.note,
        }
        for number, place in enumerate(board.places, start=1)
    ]
    write_csv(out / LEADERBOARD, rows, columns=list(rows[0]))


def _read_run(row: Mapping[str, str]) -> Run:
    numbers = {key: float(row[key]) if row[key] else None for key in ("dice_mean", "val_loss", "dice_third")}
    return Run(
        run=row["run"],
        setting=row["setting"],
        seed=int(row["seed"]),
        fold=row["fold"],
        cases=int(row["cases"]),
        epochs=int(row["epochs"]),
        seconds=float(row["seconds"]),
        outcome=row["outcome"],
        **numbers,
    )
