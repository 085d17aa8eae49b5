"""Ways to rank outlines, chosen by planted errors.

The second outlines that judge the list have no part in the choice.

``python -m studies.doubtful_planted OUT`` takes the folder that ``studies.doubtful_outlines list`` made. Among the
outlines of slices without an independent second one, 5 % are replaced by others that agree with them at a Dice below
0.5: a part of the tumour, much around it, beside it, or mirrored. It prints how many stand in the first 10 % of the
list for each way of ranking, ten draws on average.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from studies.doubtful_ranks import WRONG, rank
from tumortrace.json_csv import read_csv

PLANTED, LISTED = 0.05, 0.1
DRAWS, TRIES = 10, 20
FEWEST_PX = 8

Masks = NDArray[np.bool_]
Plant = Callable[[Masks, np.random.Generator], Masks]


def main(out: Path, *, folds: str = "1,2,3,4") -> None:
    """Print the table for some of figshare's folds."""
    rows = read_csv(out / "doubts.csv")
    apart = np.array([row["second"] == "" and row["fold"] in folds.split(",") for row in rows])
    with np.load(out / "arrays.npz") as arrays:
        truths, levels = arrays["truths"][apart], arrays["levels"][apart].astype(np.float32)
    found: dict[str, list[float]] = {}
    for seed in range(DRAWS):
        changed, planted = plant_errors(truths, np.random.default_rng(seed))
        for name, doubt in rank(changed, levels).items():
            first = np.argsort(-doubt, kind="stable")[: round(LISTED * len(doubt))]
            found.setdefault(name, []).append(planted[first].sum() / planted.sum())
    print(f"ranked by,planted errors in the first {LISTED:.0%} of {len(truths)}")
    for name, shares in found.items():
        print(f"{name},{np.mean(shares):.2f}")


def plant_errors(truths: Masks, rng: np.random.Generator) -> tuple[Masks, NDArray[np.bool_]]:
    """Replace some outlines by wrong ones, and say which."""
    changed, planted = truths.copy(), np.zeros(len(truths), dtype=np.bool_)
    for index in rng.permutation(len(truths))[: round(PLANTED * len(truths))]:
        wrong = plant(truths[index], rng)
        if wrong is not None:
            changed[index], planted[index] = wrong, True
    return changed, planted


def plant(truth: Masks, rng: np.random.Generator) -> Masks | None:
    """Return another outline of a slice; None if none is found that differs enough."""
    if truth.sum() < FEWEST_PX:
        return None
    for _ in range(TRIES):
        wrong = PLANTS[rng.integers(len(PLANTS))](truth, rng)
        if 2 * (wrong & truth).sum() / (wrong.sum() + truth.sum()) < WRONG:
            return wrong
    return None


def _keep_part(truth: Masks, rng: np.random.Generator) -> Masks:
    """Return the part of an outline on one side of a line."""
    rows, columns = np.nonzero(truth)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    kept = along <= np.quantile(along, rng.uniform(0.1, 0.33))
    return _draw(truth, rows[kept], columns[kept])


def _grow(truth: Masks, rng: np.random.Generator) -> Masks:
    reach = int(np.ceil(_radius_px(truth) * rng.uniform(0.7, 1.2)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(truth.astype(np.uint8), disc) > 0)


def _move(truth: Masks, rng: np.random.Generator) -> Masks:
    rows, columns = np.nonzero(truth)
    distance, angle = 2 * _radius_px(truth) * rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
    return _draw(truth, rows + distance * np.sin(angle), columns + distance * np.cos(angle))


def _mirror(truth: Masks, _rng: np.random.Generator) -> Masks:
    return truth[:, ::-1].copy()


PLANTS: tuple[Plant, ...] = (_keep_part, _grow, _move, _mirror)


def _draw(like: Masks, rows: NDArray[np.generic], columns: NDArray[np.generic]) -> Masks:
    drawn = np.zeros_like(like)
    height, width = like.shape
    drawn[np.clip(rows, 0, height - 1).astype(int), np.clip(columns, 0, width - 1).astype(int)] = True
    return drawn


def _radius_px(truth: Masks) -> float:
    """Return the radius of the circle of the same area, in pixels."""
    return float(np.sqrt(truth.sum() / np.pi))


if __name__ == "__main__":
    typer.run(main)
