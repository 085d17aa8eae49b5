"""Gain of a training without doubtful outlines, by both annotators.

``python -m studies.doubtful_worth DATA --run CROSSVAL --without DIR --exclude doubtful.txt`` segments figshare's slices
by the folds of a cross-validation, and by runs DIR/1, DIR/2, ... that were trained on the same folds without the
outlines that ``doubtful.txt`` names. It prints the mean Dice of both and their paired difference: on all outlines of
figshare, on those that are not doubtful, and against BRISC's outlines of the same slices where the twin was found by
the picture. BRISC's outlines took no part in either training nor in the list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console

from studies.sources import figshare_group
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.data.masks import read_mask
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import read_csv
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track
from tumortrace.run_folder import SPLIT

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """A slice of figshare, and its scores by a training with doubtful outlines and one without.

    Attributes:
        group: Slices of one patient, by figshare's numbers.
        doubtful: Whether the list names it.
        own: Dice with figshare's outline, of both models.
        second: Mean Dice with BRISC's outlines, of both models; None if there is none.
    """

    group: str
    doubtful: bool
    own: tuple[float, float]
    second: tuple[float, float] | None


def main(
    data: Path,
    run: Annotated[Path, typer.Option(help="Cross-validation on figshare.")],
    without: Annotated[Path, typer.Option(help="Folder of the runs without doubtful outlines.")],
    exclude: Annotated[Path, typer.Option(help="doubtful.txt of the audit.")],
) -> None:
    """Score both models of each fold on the slices that neither was trained on."""
    doubtful = {
        Path(line).name for line in exclude.read_text(encoding="utf-8").splitlines() if line[:1] not in {"", "#"}
    }
    scored = score_slices(data, run, without, doubtful)
    parts = {
        "figshare's outlines, all": [(one.group, *one.own) for one in scored],
        "figshare's outlines, not doubtful": [(one.group, *one.own) for one in scored if not one.doubtful],
        "BRISC's outlines of the same slices": [(one.group, *one.second) for one in scored if one.second],
    }
    table = make_table(
        "Training without doubtful outlines", "judged by", "n", "with", "without", "difference (95 % CI)"
    )
    for name, rows in parts.items():
        gains = [after - before for _, before, after in rows]
        low, high = mean_interval(gains, [group for group, *_ in rows], shares=False)
        means = [f"{np.mean([row[column] for row in rows]):.3f}" for column in (1, 2)]
        table.add_row(name, str(len(rows)), *means, f"{np.mean(gains):+.3f} ({low:+.3f} to {high:+.3f})")
    Console(width=120).print(table)


def score_slices(data: Path, run: Path, without: Path, doubtful: set[str]) -> list[Scored]:
    """Return a row for each slice of figshare that is in a fold."""
    fold_of = {Path(case.file).name: case.side for case in read_split(run / SPLIT).cases}
    folds = sorted(set(fold_of.values()))
    models = {
        fold: [open_model(str(path), threads=1) for path in (run / f"fold-{fold}", without / fold)] for fold in folds
    }
    second = read_second(data / "brisc")
    records = [one for one in open_dataset(data / "figshare").records if Path(one.case_id).name in fold_of]
    scored = []
    for record, case, _ in track(read_cases(tuple(records)), "Scoring", total=len(records)):
        name = Path(record.case_id).name
        if case is None or not case.truth.any():
            continue
        masks = [predict(model, case.slice).mask for model in models[fold_of[name]]]
        others = [lay(path, case.truth.shape, mirrored=mirrored) for path, mirrored in second.get(name, ())]
        scored.append(
            Scored(
                figshare_group(int(Path(name).stem)),
                name in doubtful,
                (count_pixels(masks[0], case.truth).dice, count_pixels(masks[1], case.truth).dice),
                (_mean_dice(masks[0], others), _mean_dice(masks[1], others)) if others else None,
            )
        )
    return scored


def read_second(brisc: Path) -> Mapping[str, list[tuple[Path, bool]]]:
    """Return BRISC's masks of each picture of figshare, and whether they are mirrored; only twins by the picture."""
    found: dict[str, list[tuple[Path, bool]]] = defaultdict(list)
    for row in read_csv(brisc / "pairs.csv"):
        if row["link"] == "image" and row["twin_figshare"]:
            mirrored = row["twin_transform"] == "mirrored"
            found[f"{int(row['twin_figshare']):04d}.jpg"].append((brisc / row["mask"], mirrored))
    return found


def lay(path: Path, size_hw: tuple[int, ...], *, mirrored: bool) -> Mask:
    """Return a mask of BRISC on the grid of its twin in figshare."""
    mask = read_mask(path)
    mask = mask[:, ::-1] if mirrored else mask
    return cv2.resize(mask.astype(np.uint8), (size_hw[1], size_hw[0]), interpolation=cv2.INTER_NEAREST_EXACT) > 0


def _mean_dice(mask: Mask, others: list[Mask]) -> float:
    return float(np.mean([count_pixels(mask, other).dice for other in others]))


if __name__ == "__main__":
    run_script(main)
