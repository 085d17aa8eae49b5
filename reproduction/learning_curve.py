"""Dice by the number of slices, and by the number of different pictures.

``python -m reproduction.learning_curve BR35H --out runs/learning-curve`` makes five grouped folds, holds out the first
three in turn, and trains the student paper's network (``--size``) on 50 slices of the other folds to all of them:
``PLAN``, and everything once a fold. Each training takes as many steps, so that few slices are not learnt less. The
Dice of every held-out slice goes to ``results/learning_curve/TRAINING.csv``; a training with a whole file there is not
done again, and one that was stopped goes on from its checkpoint in ``--out``. In the end
``results/learning_curve.csv`` and ``figures/learning_curve.png`` and ``.svg`` are written.

Br35H is about a hundred pictures, each with several copies (mirrored, cropped). So slices are added in two orders:
``spread``, one of each picture before the second of any, and ``whole``, picture by picture with all of its copies. At
the same number of slices they differ in the number of pictures alone. A group of copies is a picture here.

The intervals are over the pictures that are scored. They do not tell how much another draw of slices or other first
weights would change, of which each fold has one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from reproduction.part_runs import config_of, dice_of, mark, take, train_steps
from reproduction.size import SIZES, Size, SizeOption, claim_results
from reproduction.tables import read_table, write_table
from tumortrace.cli import run_script
from tumortrace.copies.split_files import write_split
from tumortrace.copies.splits import SplitCase, make_folds
from tumortrace.copies.survey import survey_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.metrics.intervals import mean_interval
from tumortrace.progress import tell
from tumortrace.reporting.figures import save_figure
from tumortrace.training.arrays import PreparedPart, prepare_part

FOLDS, SEED = 5, 0
ALL = "all"
"""The kind of the trainings on every slice that is not held out."""
PLAN: dict[str, tuple[int, ...]] = {"spread": (50, 100, 200, 350), "whole": (100, 200)}
"""Numbers of slices by the order in which they are added; ``ALL`` comes besides."""
LABELS = {
    "spread": "as many pictures as possible, one slice of each first",
    "whole": "as few pictures as possible, each with all of its copies",
}
STYLES: dict[str, dict[str, Any]] = {
    "spread": {"color": "black", "linestyle": "-", "marker": "o"},
    "whole": {"color": "0.45", "linestyle": "--", "marker": "s", "fillstyle": "none"},
}
AGREEMENT = 0.907
"""Mean Dice between the two annotators of one picture (docs/results/data.md), on the slices' own grid."""


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        kind: Key of ``PLAN``, or ``ALL``.
        slices: Learnt from; 0 means every one that is not held out.
        fold: Held out, counted from 1.
    """

    kind: str
    slices: int
    fold: int

    @property
    def name(self) -> str:
        """Of its files."""
        return "-".join([self.kind, *([str(self.slices)] if self.slices else []), "fold", str(self.fold)])


@dataclass(frozen=True, eq=False)
class Scores:
    """What a training came to.

    Attributes:
        slices: Learnt from.
        pictures: Groups of copies among them.
        groups: Group of each held-out slice.
        dices: Dice of each on the network's grid at a threshold of 0.5; shape (N,), float64, in [0, 1].
    """

    slices: int
    pictures: int
    groups: tuple[str, ...]
    dices: NDArray[np.float64]


def list_trainings(folds: int) -> list[Training]:
    """All trainings, fold by fold, so that a run that is cut short has whole folds.

    Args:
        folds: Number of folds held out in turn, from the first.
    """
    sizes = [(kind, size) for kind, listed in PLAN.items() for size in listed]
    return [Training(kind, size, fold) for fold in range(1, folds + 1) for kind, size in [*sizes, (ALL, 0)]]


def order_slices(groups: Sequence[str], *, kind: str, seed: int) -> list[int]:
    """The order in which slices are added; the first so many of them are a subset, and smaller ones lie in larger.

    Pictures, and the copies of each, come in an order drawn at random, which is the same for both kinds.

    Args:
        groups: Group of each slice; may be empty.
        kind: ``"spread"``, a slice of each picture before the second of any, or ``"whole"``, all of a picture before
            the next.
        seed: Seed of the draws.

    Returns:
        Every index into ``groups`` once.
    """
    rng = np.random.default_rng(seed)
    names = sorted(set(groups))
    picture = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    copy: dict[int, int] = {}
    met: Counter[str] = Counter()
    for index in rng.permutation(len(groups)).tolist():
        copy[index] = met[groups[index]]
        met[groups[index]] += 1
    places = {index: (copy[index], picture[group]) for index, group in enumerate(groups)}
    return sorted(places, key=lambda index: places[index] if kind == "spread" else places[index][::-1])


def choose_slices(training: Training, cases: Sequence[SplitCase]) -> tuple[list[int], list[int]]:
    """The slices that a training learns from, and those that it is scored on, as indices into the cases.

    Args:
        training: Training to prepare.
        cases: All slices with their fold and group.
    """
    held_out = [index for index, case in enumerate(cases) if case.side == str(training.fold)]
    others = [index for index, case in enumerate(cases) if case.side != str(training.fold)]
    if training.kind == ALL:
        return others, held_out
    order = order_slices([cases[index].group for index in others], kind=training.kind, seed=SEED + training.fold)
    return sorted(others[place] for place in order[: training.slices]), held_out


def finish(  # noqa: PLR0913 - a training, and all that it is made of
    training: Training,
    part: PreparedPart,
    cases: Sequence[SplitCase],
    *,
    size: Size,
    steps: int,
    table: Path,
    out: Path,
) -> Scores:
    """The scores of a training: read if they are there and of as many steps and the same slices, else made.

    Args:
        training: Training to prepare.
        part: All slices.
        cases: Cases of the same slices, in the same order.
        size: Size of the network.
        steps: Number of optimiser steps.
        table: Folder of the scores.
        out: Folder of the checkpoints.
    """
    learnt, held_out = choose_slices(training, cases)
    groups = tuple(cases[index].group for index in held_out)
    pictures = len({cases[index].group for index in learnt})
    path = table / f"{training.name}.csv"
    dices = read_dices(path, slices=len(learnt), pictures=pictures, steps=steps, groups=groups)
    if dices is None:
        tell(f"{training.name}: {len(learnt)} slices of {pictures} pictures ...")
        # More steps are another run: what a checkpoint has learnt beyond the steps asked for cannot be taken back.
        run = out / f"{training.name}-{steps}-steps"
        network = train_steps(take(part, learnt), size, steps=steps, seed=SEED, run=run)
        dices = np.array(dice_of(mark(network, part.images[held_out]), part.truths[held_out]))
        known = {"slices": len(learnt), "pictures": pictures, "steps": steps}
        write_table(path, [known | {"group": g, "dice": d} for g, d in zip(groups, dices.tolist(), strict=True)])
    tell(f"{training.name}: Dice {dices.mean():.3f}")
    return Scores(len(learnt), pictures, groups, dices)


def read_dices(
    path: Path, *, slices: int, pictures: int, steps: int, groups: Sequence[str]
) -> NDArray[np.float64] | None:
    """The Dice of each held-out slice as ``finish`` wrote it; None without a file, or if it is of another training."""
    rows = read_table(path)
    asked = [[str(slices), str(pictures), str(steps), group] for group in groups]
    if [[row[key] for key in ("slices", "pictures", "steps", "group")] for row in rows] != asked:
        return None
    return np.array([float(row["dice"]) for row in rows])


def pool_folds(results: Mapping[Training, Scores]) -> dict[tuple[str, int], list[Scores]]:
    """The scores of all folds, by kind and number of slices (0 for all), in the order of the plan."""
    pooled: dict[tuple[str, int], list[Scores]] = {}
    for training in sorted(results, key=lambda each: each.fold):
        pooled.setdefault((training.kind, training.slices), []).append(results[training])
    return pooled


def summarise(results: Mapping[Training, Scores]) -> list[dict[str, Any]]:
    """A row a kind and number of slices, over all folds, with intervals over pictures.

    The difference is slice by slice: of ``spread`` to everything, and of ``whole`` to ``spread`` with as many slices.

    Args:
        results: Every training of as many folds; the same slices are scored in each row.
    """
    pooled = pool_folds(results)
    rows = []
    for (kind, size), folds in pooled.items():
        other = {"spread": (ALL, 0), "whole": ("spread", size)}.get(kind)
        against = pooled.get(other) if other else None
        dices = np.concatenate([each.dices for each in folds])
        groups = [group for each in folds for group in each.groups]
        low, high = mean_interval(dices, groups)
        row = {
            "kind": kind,
            "slices": float(np.mean([each.slices for each in folds])),
            "pictures": float(np.mean([each.pictures for each in folds])),
            "folds": len(folds),
            "slices_scored": len(dices),
            "pictures_scored": len(set(groups)),
            "dice": float(dices.mean()),
            "dice_low": low,
            "dice_high": high,
            "against": (other[0] if other and against else ""),
        }
        rows.append(row | compare(dices, against, groups))
    return rows


def compare(dices: NDArray[np.float64], against: Sequence[Scores] | None, groups: Sequence[str]) -> dict[str, float]:
    """Mean of what each slice gains over another training, with its interval; NaN without another."""
    if against is None:
        return {"difference": math.nan, "difference_low": math.nan, "difference_high": math.nan}
    gains = dices - np.concatenate([each.dices for each in against])
    low, high = mean_interval(gains, groups, shares=False)
    return {"difference": float(gains.mean()), "difference_low": low, "difference_high": high}


def draw(rows: Sequence[Mapping[str, Any]], *, steps: int) -> Figure:
    """Dice by number of slices, a line an order, each mark with its number of pictures; both lines end at all slices.

    Args:
        rows: One or more rows of ``summarise``.
        steps: Number of steps of each training, for the title.
    """
    figure = Figure(figsize=(7.6, 5.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for kind, label in LABELS.items():
        draw_line(axes, rows, kind, label)
    label = f"two annotators of one picture agree at {AGREEMENT}"
    axes.axhline(AGREEMENT, color="0.3", linewidth=1.2, linestyle=":", label=label)
    axes.set_xscale("log")
    ticks = sorted({round(row["slices"]) for row in rows})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="training slices (logarithmic; beside each mark: pictures among them)")
    axes.set(ylabel="mean Dice of held-out slices, 0 to 1\n(95 % interval over pictures)")
    scored = f"{rows[0]['slices_scored']} held-out slices of {rows[0]['pictures_scored']} pictures"
    axes.set_title(f"How many annotated slices are enough?\n{scored}, {steps} steps each", fontsize=11)
    axes.grid(visible=True, linewidth=0.4, color="0.88")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def draw_line(axes: Axes, rows: Sequence[Mapping[str, Any]], kind: str, label: str) -> None:
    """Draw the line of one order, with its intervals and numbers of pictures.

    Args:
        axes: Drawn on.
        rows: One or more rows of ``summarise``.
        kind: Key of ``LABELS``.
        label: Label in the legend.
    """
    line = sorted((row for row in rows if row["kind"] in {kind, ALL}), key=lambda row: row["slices"])
    # Marks of the same number of slices stand side by side.
    aside, above = (1.012, True) if kind == "spread" else (0.988, False)
    slices = [row["slices"] * (1 if row["kind"] == ALL else aside) for row in line]
    dices = [row["dice"] for row in line]
    ends = np.array([[row["dice"] - row["dice_low"], row["dice_high"] - row["dice"]] for row in line])
    ends = np.maximum(ends, 0)  # an interval whose end is the mean may miss it by a rounding
    axes.errorbar(slices, dices, yerr=ends.T, capsize=3, linewidth=1.7, markersize=7, label=label, **STYLES[kind])
    colour, offset = STYLES[kind]["color"], (6, 6 if above else -12)
    for x, row in zip(slices, line, strict=True):
        if row["kind"] == kind or above:
            place, text = (x, row["dice"]), f"{row['pictures']:.0f}"
            axes.annotate(text, place, color=colour, xytext=offset, textcoords="offset points", fontsize=8.5)


def main(
    data: Path,
    out: Annotated[Path, typer.Option(help="Checkpoints and the split.")] = Path("runs/learning-curve"),
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("reproduction"),
    steps: Annotated[int, typer.Option(min=1, help="Of every training, rounded up to whole epochs.")] = 2000,
    folds: Annotated[int, typer.Option(min=1, max=FOLDS, help="Held out in turn, of five.")] = 3,
    size: SizeOption = "small",
) -> None:
    """Train what is not trained, and write the table and the figure."""
    chosen = SIZES[size]
    claim_results(into, chosen)
    survey = survey_cases(tuple(record for record in open_dataset(data).records if record.part != "test"))
    split = make_folds(survey, folds=FOLDS)
    write_split(split, survey, out / "split.json")
    records = tuple(case.record for case in survey.cases if case.tumour_px)  # without tumour, Dice is undefined
    part = prepare_part(records, config_of(chosen, epochs=1, seed=SEED).recipe, name="slices")
    of_file = {case.file: case for case in split.cases}
    cases = [of_file[file] for file in part.hashes]
    table = into / "results" / "learning_curve"
    results = {
        training: finish(training, part, cases, size=chosen, steps=steps, table=table, out=out)
        for training in list_trainings(folds)
    }
    rows = summarise(results)
    write_table(into / "results" / "learning_curve.csv", rows)
    for suffix in ("png", "svg"):
        save_figure(draw(rows, steps=steps), into / "figures" / f"learning_curve.{suffix}")


if __name__ == "__main__":
    run_script(main)
