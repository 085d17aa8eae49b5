"""Tables of a sweep for a terminal, and what they allow to conclude."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from tumortrace.evaluation.leaderboard import LEVEL, Leaderboard, Run, Standing
from tumortrace.reporting.cells import interval, number, p_value
from tumortrace.reporting.tables import open_table
from tumortrace.wording import counted

SHOWN = 10
"""Number of finished runs in the live table, the best ones."""

_NAMED = 3  # settings that the conclusion calls by name


def describe_run(run: Run, labels: Mapping[str, str], *, number: int, total: int) -> str:
    """Return a finished run as one line.

    Args:
        run: The run.
        labels: Each setting in a few words, by its name.
        number: Number of the run, from 1.
        total: Number of all runs, as far as is known.
    """
    head = f"run {number} of {total}: {labels[run.setting]}, seed {run.seed}, fold {run.fold}: "
    if run.dice_mean is None:
        return head + f"failed, {run.outcome}"
    loss = "" if run.val_loss is None else f", VAL loss {run.val_loss:.4f}"
    early = ", stopped as hopeless" if run.outcome == "stopped" else ""
    return head + f"Dice {run.dice_mean:.3f}{loss}, {counted(run.epochs, 'epoch')} in {run.seconds:.0f} s{early}"


def progress_table(runs: Sequence[Run], labels: Mapping[str, str], *, total: int, doing: str) -> Table:
    """Return the progress of a sweep: its best runs so far, and the run in progress.

    Args:
        runs: The finished runs.
        labels: Each setting in a few words, by its name.
        total: Number of all runs, as far as is known.
        doing: The run in progress, in words; empty at the end.
    """
    best = sorted(runs, key=lambda run: -math.inf if run.dice_mean is None else run.dice_mean, reverse=True)
    table = open_table(
        f"Sweep: {len(runs)} of {counted(total, 'run')}" + (f", the best {SHOWN}" if len(runs) > SHOWN else ""),
        "setting",
        numbers=("seed", "fold", "Dice", "VAL loss", "epochs", "s"),
    )
    table.caption = doing
    for run in best[:SHOWN]:
        numbers = [number(run.dice_mean), number(run.val_loss, digits=4), str(run.epochs), f"{run.seconds:.0f}"]
        table.add_row(labels[run.setting], str(run.seed), run.fold, *numbers)
    return table


def leaderboard_table(board: Leaderboard, labels: Mapping[str, str]) -> Table:
    """Return all settings, best first, each compared with the first one.

    Args:
        board: Board from ``rank_settings``.
        labels: Each setting in a few words, by its name.
    """
    table = open_table(
        f"Mean Dice of {counted(board.runs, 'run')} a setting on {counted(board.slices, 'held-out slice')} with a "
        f"tumour, {counted(board.groups, 'group')}; "
        f"95 % interval over groups, behind the first, p corrected for {counted(board.pairs, 'pair')}",
        "",
        "setting",
        numbers=("Dice", "over seeds", "95 % interval", "behind", "p"),
    )
    for rank, place in enumerate(board.places, start=1):
        deviation = "-" if math.isnan(place.seed_deviation) else f"± {place.seed_deviation:.3f}"
        numbers = [number(place.mean), deviation, interval(place.ci95), number(place.behind), p_value(place.p)]
        table.add_row(str(rank), labels[place.setting], *(["", "", "", "", ""] if not place.runs else numbers))
        if place.note:
            table.add_row("", f"  {place.note}")
    return table


def conclude(board: Leaderboard, labels: Mapping[str, str]) -> list[str]:
    """Say in sentences whether the best setting is better than the others.

    Args:
        board: Board from ``rank_settings``.
        labels: Each setting in a few words, by its name.
    """
    compared = [place for place in board.places if not place.note]
    if not compared:
        return ["No setting was tried to the end."]
    best, others = compared[0], compared[1:]
    if not best.mean:
        return ["No setting found any tumour: every mean Dice is 0. Train for more epochs or at another rate."]
    lines = [f"Best: {labels[best.setting]}, mean Dice {best.mean:.3f}."]
    if len(board.places) > 1:
        lines.append(
            f"That score is optimistic, because it is the highest of {len(board.places)}. Before you report it, score "
            "the setting on slices that the sweep did not use."
        )
    if others:
        lines.append(_judge(others, board, labels))
    return lines


def _judge(others: Sequence[Standing], board: Leaderboard, labels: Mapping[str, str]) -> str:
    if all(math.isnan(place.p) for place in others):
        return (
            "Whether it is better than the others is unknown: each setting was trained once, and another seed may make "
            "as large a difference. Give two seeds or more."
        )
    equal = [place for place in others if not place.beaten]
    pairs = "the one pair" if board.pairs == 1 else f"all {board.pairs} pairs"
    corrected = f"(p at most {LEVEL}, corrected for {pairs})"
    if not equal:
        return f"It beats {'the other' if len(others) == 1 else f'all {len(others)} others'} {corrected}."
    named = "; ".join(labels[place.setting] for place in equal[:_NAMED])
    more = f" and {len(equal) - _NAMED} more" if len(equal) > _NAMED else ""
    if len(equal) == len(others):
        return f"It beats none of them {corrected}: these slices and seeds do not distinguish the settings."
    return f"It beats {len(others) - len(equal)} of {len(others)} others {corrected}, but not {named}{more}."
