"""Share of the loss on an unseen hospital that is its definition of a tumour.

``python -m studies.definition DATA... --negatives DIR --sources CROSSVAL --groups CROSSVAL`` takes the folds that
``tumortrace crossval --by source`` trained. It makes the masks of each held-out source again at other thresholds,
grown and shrunk. The best pair of the two is chosen on one half of the source's groups and scored on the other, and
the reverse. This fixes a mask that means something wider or narrower, but not a missed tumour. The gain, as a
fraction of the gap to the model trained on the source (``--groups``), is the part of the gap that is the definition.
The first table scores the masks at the thresholds that ``--groups`` fitted, with which a model travels to the next
hospital.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tumortrace.cli import run_script
from tumortrace.config import Recipe, load_config
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.inference.lesions import keep_peaks
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import apply_temperature
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
GROWTHS = (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02, 0.03)
"""By which a mask's outline is moved outwards, as shares of the slice's longer side."""
MISSED = 0.1
"""A tumour is missed whose mask has a lower Dice."""

AS_IT_IS = (THRESHOLDS.index(0.5), GROWTHS.index(0.0))

Floats = NDArray[np.float64]


def dice_of_variants(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> Floats:
    """Dice of the mask at every threshold and growth.

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


def mend(dices: Floats, groups: list[str]) -> tuple[Floats, list[tuple[int, int]]]:
    """Each case's Dice at the threshold and growth that are best on the other half of the groups.

    Args:
        dices: Shape (cases, thresholds, growths).
        groups: Group of each case.

    Returns:
        Shape (cases,), and the two choices as indices.
    """
    names = sorted(set(groups))
    half = np.isin(groups, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    mended, chosen = np.empty(len(dices)), []
    for scored in (half, ~half):
        best = np.unravel_index(dices[~scored].mean(axis=0).argmax(), dices.shape[1:])
        mended[scored] = dices[scored, best[0], best[1]]
        chosen.append((int(best[0]), int(best[1])))
    return mended, chosen


def segment_as(recipe: Recipe, probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The mask that a recipe's temperature and thresholds make of a probability that no temperature has changed."""
    tempered = apply_temperature(probability, recipe.temperature)
    return keep_peaks(tempered >= recipe.threshold, tempered, recipe.peak_threshold)


def measure_source(
    model: Model, records: tuple[CaseRecord, ...], group_of: dict[str, str], thresholds: Recipe
) -> dict[str, Any]:
    """A source's slices as a model that never saw it segments them, and those with tumour mended."""
    dices, segmented, painted, groups = [], [], [], []
    for record, case, _ in track(read_cases(records), records[0].source, total=len(records)):
        if case is None:
            continue
        probability = predict(model, case.slice).probability
        mask = segment_as(thresholds, probability)
        if not case.truth.any():
            painted.append(float(mask.mean() > FALSE_ALARM_AREA))
            continue
        dices.append(dice_of_variants(probability, case.truth))
        segmented.append(count_pixels(mask, case.truth).dice)
        groups.append(group_of[record.case_id])
    stacked = np.stack(dices)
    mended, chosen = mend(stacked, groups)
    as_it_is = stacked[:, *AS_IT_IS]
    return {
        "segmented": float(np.mean(segmented)),
        "segmented_ci95": mean_interval(segmented, groups),
        "missed": float(np.mean(np.array(segmented) < MISSED)),
        "tumour_free": len(painted),
        "painted": float(np.mean(painted)) if painted else None,
        "n": len(stacked),
        "as_it_is": float(as_it_is.mean()),
        "mended": float(mended.mean()),
        "gain": float((mended - as_it_is).mean()),
        "gain_ci95": mean_interval(mended - as_it_is, groups, shares=False),
        "chosen": [{"threshold": THRESHOLDS[row], "growth": GROWTHS[column]} for row, column in chosen],
    }


def measure(crossval: Path, whole: Dataset, thresholds: Recipe) -> dict[str, dict[str, Any]]:
    """Every source of a cross-validation by source."""
    split = read_split(crossval / "split.json")
    group_of = {case.file: case.group for case in split.cases}
    results = {}
    for side in split.sides:
        records = apply_split(whole, split, fold=int(side)).select("test")
        model = open_model(str(crossval / f"fold-{side}"))
        results[records[0].source] = measure_source(model, records, group_of, thresholds)
    return results


def read_learnt(crossval: Path) -> dict[str, float]:
    """Mean Dice of each source's slices with tumour, by models that were trained on others of it."""
    dices: dict[str, list[float]] = {}
    for row in read_evaluation(crossval).rows:
        if row.tumour_px:
            dices.setdefault(row.file.partition("/")[0], []).append(row.dice)
    return {name: float(np.mean(values)) for name, values in dices.items()}


def tabulate_segmented(results: dict[str, dict[str, Any]]) -> Table:
    """A row a source."""
    title = "A source that was left out, at the thresholds that the groups fitted"
    table = make_table(title, "source", "n", "Dice", "missed", "tumour-free", "painted")
    for name, result in results.items():
        low, high = result["segmented_ci95"]
        dice = f"{result['segmented']:.3f} [{low:.3f}, {high:.3f}]"
        painted = "" if result["painted"] is None else f"{result['painted']:.1%}"
        table.add_row(name, str(result["n"]), dice, f"{result['missed']:.1%}", str(result["tumour_free"]), painted)
    return table


def tabulate(results: dict[str, dict[str, Any]], learnt: dict[str, float]) -> Table:
    """A row a source."""
    table = make_table(
        "What a new hospital costs, on slices with tumour, and how much of it is the definition",
        *("source", "n", "held out", "mended", "gain", "trained on others of it", "of the gap", "threshold, growth"),
    )
    for name, result in results.items():
        low, high = result["gain_ci95"]
        gap = learnt[name] - result["as_it_is"]
        chosen = "; ".join(f"{each['threshold']}, {each['growth']:+.1%}" for each in result["chosen"])
        table.add_row(
            name,
            str(result["n"]),
            f"{result['as_it_is']:.3f}",
            f"{result['mended']:.3f}",
            f"{result['gain']:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{learnt[name]:.3f}",
            f"{result['gain'] / gap:.0%}" if gap > 0 else "",
            chosen,
        )
    return table


def main(
    data: list[Path],
    sources: Annotated[Path, typer.Option(help="Of crossval --by source.")],
    groups: Annotated[Path, typer.Option(help="Of crossval by groups, for what a source's own slices teach.")],
    negatives: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Measure every source and print the table, then the same as JSON."""
    thresholds = load_config(str(groups / "calibrated.toml")).recipe
    results = measure(sources, open_datasets(data, negatives=negatives), thresholds)
    Console(width=150).print(tabulate_segmented(results))
    Console(width=150).print(tabulate(results, read_learnt(groups)))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    run_script(main)
