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
    """A slice: Dice (NaN if mask and truth are empty), confidence, reasons for review, and whether it has no tumour."""

    dice: float
    confidence: float
    kinds: tuple[str, ...]
    healthy: bool


def judge(score: CaseScore, kinds: tuple[str, ...], review_below: float) -> Judged:
    """Join a case's score with the reasons for review other than its confidence."""
    low = (LOW_CONFIDENCE,) if score.confidence < review_below else ()
    return Judged(score.counts.dice, score.confidence, (*low, *kinds), healthy=not score.tumour_px)


def kind_of(reason: str) -> str:
    """Return a reason without its numbers: ``low confidence (0.61)`` is ``low confidence``."""
    return reason.partition(":")[0].partition(" (")[0]


def order_by(judged: Sequence[Judged], *, reasons: bool) -> NDArray[np.int64]:
    """Return indices, from the mask to keep longest to the first to review: the least confident first.

    Args:
        judged: The slices.
        reasons: Whether masks with another reason than low confidence are reviewed before all others.
    """
    other = [reasons and any(kind != LOW_CONFIDENCE for kind in one.kinds) for one in judged]
    return np.lexsort(([-one.confidence for one in judged], other))


def curve(judged: Sequence[Judged], order: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Return the mean Dice of the masks kept and the fraction of bad ones, at each of ``COVERAGES``."""
    dices = np.array([judged[index].dice for index in order])
    kept = [dices[: max(round(coverage * len(dices)), 1)] for coverage in COVERAGES]
    return [(float(values.mean()), float((values < LOW).mean())) for values in kept]


def tabulate_reasons(judged: Sequence[Judged]) -> Table:
    """Return a row for each reason: how often it is given, and how good the masks are with it and without."""
    headings = ("slices with tumour", "Dice with it", "Dice without", "of bad masks", "tumour-free slices")
    table = make_table("Reasons for review", "reason", *headings)
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
    """Return a row for each way of choosing the masks to review."""
    table = make_table(
        "Mean Dice of the masks kept, and the fraction of bad ones",
        "kept",
        *[f"{coverage:.0%}" for coverage in COVERAGES],
    )
    ways = {
        "at random": [curve(judged, np.arange(len(judged)))[0]] * len(COVERAGES),
        "the least confident first": curve(judged, order_by(judged, reasons=False)),
        "those with another reason first": curve(judged, order_by(judged, reasons=True)),
    }
    for name, points in ways.items():
        table.add_row(name, *[f"{dice:.3f} ({bad:.1%})" for dice, bad in points])
    return table


class Reasons:
    """Reasons for review of each mask, other than its confidence.

    The confidence of a fold is fitted after all slices were predicted, so it is joined last.
    """

    def __init__(self) -> None:
        """Begin with nothing noted."""
        self._kinds: dict[str, tuple[str, ...]] = {}

    def note(self, case: Case, prediction: Prediction, _score: CaseScore) -> None:
        """Keep the reasons of one mask."""
        kinds = tuple(kind_of(reason) for reason in prediction.reasons)
        self._kinds[case.record.case_id] = tuple(kind for kind in kinds if kind != LOW_CONFIDENCE)

    def print_worth(self, fitted: CrossFit) -> None:
        """Print both tables."""
        scores = fitted.evaluation.scores
        judged = [judge(score, self._kinds[score.file], fitted.recipe.review_below) for score in scores]
        console = Console(width=160)
        console.print(tabulate_reasons(judged))
        console.print(tabulate_curve([one for one in judged if not one.healthy]))


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Segment every held-out slice; print the tables."""
    reasons = Reasons()
    split = read_split(crossval / "split.json")
    fitted, _ = cross_validate(
        open_datasets(data, negatives=negatives),
        load_config(str(crossval / "config.toml")),
        folds=len(split.sides),
        by="source" if split.by == "source" else "groups",
        out=crossval,
        on_case=reasons.note,
    )
    reasons.print_worth(fitted)


if __name__ == "__main__":
    run_script(main)
