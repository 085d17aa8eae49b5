"""Worth of each reason for review, on held-out slices.

``python -m studies.review DATA... --negatives DIR --crossval DIR`` takes the folds that ``tumortrace crossval``
trained, segments every held-out slice with the recipe that the other folds fitted, and prints two tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import read_split
from tumortrace.data.cases import Case
from tumortrace.data.dataset import open_datasets
from tumortrace.evaluation.crossfit import CrossFit
from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.inference.predict import Prediction
from tumortrace.trials.crossval import cross_validate

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
LOW_CONFIDENCE = "low confidence"
LOW = 0.5
"""A mask of lower Dice is a bad one."""


class Judged(NamedTuple):
    """A slice, its Dice (NaN without tumour), and what was said of its mask."""

    dice: float
    confidence: float
    kinds: tuple[str, ...]
    healthy: bool


def judge(score: CaseScore, kinds: tuple[str, ...], review_below: float) -> Judged:
    """Join a case's score with the doubts that do not come from its confidence."""
    low = (LOW_CONFIDENCE,) if score.confidence < review_below else ()
    return Judged(score.counts.dice, score.confidence, (*low, *kinds), healthy=not score.tumour_px)


def kind_of(reason: str) -> str:
    """A doubt without its numbers: ``low confidence (0.61)`` is ``low confidence``."""
    return reason.partition(":")[0].partition(" (")[0]


def order_by(judged: Sequence[Judged], *, doubts: bool) -> NDArray[np.int64]:
    """Indices from the mask to keep longest to the first to be looked at: the least confident first.

    Args:
        judged: The slices.
        doubts: Masks with another doubt than low confidence go before all others.
    """
    other = [doubts and any(kind != LOW_CONFIDENCE for kind in one.kinds) for one in judged]
    return np.lexsort([[-one.confidence for one in judged], other])


def curve(judged: Sequence[Judged], order: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Mean Dice of the masks kept, and how many of them are bad, at each of the coverages."""
    dices = np.array([judged[index].dice for index in order])
    kept = [dices[: max(round(coverage * len(dices)), 1)] for coverage in COVERAGES]
    return [(float(values.mean()), float((values < LOW).mean())) for values in kept]


def tabulate_doubts(judged: Sequence[Judged]) -> Table:
    """A row a doubt: how often it is raised, and how good the masks are with it and without."""
    headings = ("slices with tumour", "Dice with it", "Dice without", "of bad masks", "tumour-free slices")
    table = make_table("Doubts about a mask", "doubt", *headings)
    ill, healthy = ([one for one in judged if one.healthy == which] for which in (False, True))
    dices = np.array([one.dice for one in ill])
    for kind in [*sorted({kind for one in judged for kind in one.kinds}), "any"]:
        raised, free = (np.array([_raises(one, kind) for one in part], dtype=bool) for part in (ill, healthy))
        table.add_row(
            kind,
            f"{raised.mean():.1%}",
            _mean(dices[raised]),
            _mean(dices[~raised]),
            f"{raised[dices < LOW].mean():.0%}" if (dices < LOW).any() else "",
            f"{free.mean():.1%}" if len(free) else "",
        )
    return table


def _raises(one: Judged, kind: str) -> bool:
    return bool(one.kinds) if kind == "any" else kind in one.kinds


def _mean(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f}" if len(values) else ""


def tabulate_curve(judged: Sequence[Judged]) -> Table:
    """A row a way of choosing which masks to look at again."""
    table = make_table(
        "Mean Dice of the masks kept, and the share of bad ones", "kept", *[f"{coverage:.0%}" for coverage in COVERAGES]
    )
    ways = {
        "at random": [curve(judged, np.arange(len(judged)))[0]] * len(COVERAGES),
        "the least confident go": curve(judged, order_by(judged, doubts=False)),
        "those with another doubt go first": curve(judged, order_by(judged, doubts=True)),
    }
    for name, points in ways.items():
        table.add_row(name, *[f"{dice:.3f} ({bad:.1%})" for dice, bad in points])
    return table


class Doubts:
    """What is said of each mask, beside its confidence.

    What the confidence is in a fold is fitted after all have been predicted: it is joined last.
    """

    def __init__(self) -> None:
        """Begin with nothing noted."""
        self._kinds: dict[str, tuple[str, ...]] = {}

    def note(self, case: Case, prediction: Prediction, _score: CaseScore) -> None:
        """Keep what is said of one mask."""
        kinds = tuple(kind_of(reason) for reason in prediction.reasons)
        self._kinds[case.record.case_id] = tuple(kind for kind in kinds if kind != LOW_CONFIDENCE)

    def print_worth(self, fitted: CrossFit) -> None:
        """Print both tables."""
        scores = fitted.evaluation.scores
        judged = [judge(score, self._kinds[score.file], fitted.recipe.review_below) for score in scores]
        console = Console(width=160)
        console.print(tabulate_doubts(judged))
        console.print(tabulate_curve([one for one in judged if not one.healthy]))


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Segment every held-out slice; print the tables."""
    doubts = Doubts()
    split = read_split(crossval / "split.json")
    fitted, _ = cross_validate(
        open_datasets(data, negatives=negatives),
        load_config(str(crossval / "config.toml")),
        folds=len(split.sides),
        by="source" if split.by == "source" else "groups",
        out=crossval,
        on_case=doubts.note,
    )
    doubts.print_worth(fitted)


if __name__ == "__main__":
    run_script(main)
