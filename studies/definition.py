"""The part of the loss on an unseen hospital that is its definition of a tumour.

``python -m studies.definition DATA --sources DIR --run lgg=RUN --in-domain SCORES`` takes runs that were trained
without a source. It makes the masks of that source again at other thresholds, grown and shrunk. The best pair of the
two is chosen on one half of the source's groups and scored on the other, and the reverse. This fixes a mask that means
something wider or narrower, but not a missed tumour. The gain, as a fraction of the gap to models that were trained on
other slices of the source (SCORES, from ``studies.calibrate``), is the part of the gap that is the definition.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from studies.hospitals import Hospital, open_hospitals
from tumortrace.cli import run_script
from tumortrace.data.cases import read_cases
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.inference.predict import predict
from tumortrace.metrics.intervals import mean_interval
from tumortrace.progress import track

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
GROWTHS = (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02, 0.03)
"""Distances that a mask's outline is moved outwards, as fractions of the slice's longer side."""

AS_IT_IS = (THRESHOLDS.index(0.5), GROWTHS.index(0.0))

Floats = NDArray[np.float64]


class Definition(NamedTuple):
    """What another threshold and size give on the slices with tumour of one source.

    Attributes:
        source: Its name.
        groups: Group of each slice.
        before: Dice of each slice at a threshold of 0.5, shape (slices,).
        adjusted: Dice of each slice with the threshold and growth that were chosen on the other half of the groups.
        chosen: Threshold and growth of either half.
    """

    source: str
    groups: list[str]
    before: Floats
    adjusted: Floats
    chosen: list[tuple[float, float]]


def dice_of_variants(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> Floats:
    """Return the Dice of the mask at every threshold and growth.

    Returns:
        Shape (thresholds, growths), float64; an empty mask has 0.
    """
    dices = np.zeros((len(THRESHOLDS), len(GROWTHS)))
    for row, threshold in enumerate(THRESHOLDS):
        mask = probability >= threshold
        if not mask.any():
            continue
        outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for column, growth in enumerate(GROWTHS):
            moved = outside - inside < growth * max(mask.shape) + 0.5
            dices[row, column] = 2 * (moved & truth).sum() / (moved.sum() + truth.sum())
    return dices


def adjust(dices: Floats, groups: list[str]) -> tuple[Floats, list[tuple[int, int]]]:
    """Return the Dice of each case with the threshold and growth that score best on the other half of the groups.

    Args:
        dices: Shape (cases, thresholds, growths).
        groups: Group of each case.

    Returns:
        Shape (cases,), and the two choices as indices.
    """
    names = sorted(set(groups))
    half = np.isin(groups, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    adjusted, chosen = np.empty(len(dices)), []
    for scored in (half, ~half):
        best = np.unravel_index(dices[~scored].mean(axis=0).argmax(), dices.shape[1:])
        adjusted[scored] = dices[scored, best[0], best[1]]
        chosen.append((int(best[0]), int(best[1])))
    return adjusted, chosen


def measure(hospital: Hospital, *, every: int) -> Definition:
    """Segment the slices with tumour of a source that the model was not trained on, at every threshold and growth."""
    dices, groups = [], []
    records = hospital.records[::every]
    for record, case, _ in track(read_cases(records), hospital.name, total=len(records)):
        if case is not None and case.truth.any():
            dices.append(dice_of_variants(predict(hospital.model, case.slice).probability, case.truth))
            groups.append(hospital.group_of[record.case_id])
    stacked = np.stack(dices)
    adjusted, chosen = adjust(stacked, groups)
    pairs = [(THRESHOLDS[row], GROWTHS[column]) for row, column in chosen]
    return Definition(hospital.name, groups, stacked[:, *AS_IT_IS], adjusted, pairs)


def read_in_domain(scores: Path) -> dict[str, float]:
    """Return the mean Dice of each source's slices with tumour, by models that were trained on others of it."""
    dices: dict[str, list[float]] = {}
    for row in read_evaluation(scores).rows:
        if row.tumour_px:
            dices.setdefault(row.file.partition("/")[0], []).append(row.dice)
    return {name: float(np.mean(values)) for name, values in dices.items()}


def tabulate(results: list[Definition], in_domain: dict[str, float]) -> Table:
    """Return a table with a row for each source."""
    table = make_table(
        "What a new hospital costs, on slices with tumour, and how much of it is the definition",
        *("source", "n", "held out", "adjusted", "gain", "in domain", "of the gap", "threshold, growth"),
    )
    for result in results:
        gains = result.adjusted - result.before
        low, high = mean_interval(gains, result.groups, shares=False)
        gap = in_domain[result.source] - result.before.mean()
        table.add_row(
            result.source,
            str(len(gains)),
            f"{result.before.mean():.3f}",
            f"{result.adjusted.mean():.3f}",
            f"{gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{in_domain[result.source]:.3f}",
            f"{gains.mean() / gap:.0%}" if gap > 0 else "",
            "; ".join(f"{threshold}, {growth:+.1%}" for threshold, growth in result.chosen),
        )
    return table


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    run: Annotated[list[str], typer.Option(help="SOURCE=RUN, a run that was trained without the source.")],
    in_domain: Annotated[Path, typer.Option(help="Folder of studies.calibrate.")],
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
) -> None:
    """Measure every source and print the table."""
    results = [measure(hospital, every=every) for hospital in open_hospitals(data, sources, run)]
    Console(width=150).print(tabulate(results, read_in_domain(in_domain)))


if __name__ == "__main__":
    run_script(main)
