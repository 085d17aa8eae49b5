"""Judge doubtful outlines by second outlines that their models never saw.

1. ``python -m studies.doubtful_outlines list figshare --run CROSSVAL --second brisc/pairs.csv --out OUT`` judges the
   outlines of figshare by a cross-validation on figshare alone, and writes OUT/doubts.csv and OUT/arrays.npz.
2. ``python studies/doubtful_foreign.py OUT``, in an environment with cleanlab, adds OUT/cleanlab.csv.
3. ``python -m studies.doubtful_outlines score OUT`` prints the table, with ``--folds 3,4`` that of some folds.

In step 1, ``--run 4=RUN`` judges the slices of figshare's fold 4 by a model that was not trained on it; give it
once for each fold.

An outline counts as wrong if BRISC's outlines of the same slice agree with it at a mean Dice below 0.5. Only slices
count whose twin in BRISC was found by the picture: the others were matched by the outline, so that they agree.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from studies.doubtful_ranks import WRONG, rank
from studies.named_runs import read_named
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.evaluation.doubtful import Doubt, HeldOutModels, find_doubtful, open_crossval, predict_held_out
from tumortrace.inference.model import open_model
from tumortrace.json_csv import read_csv, write_csv
from tumortrace.progress import track

SHARES = (0.05, 0.1, 0.2)
SIDE_PX = 128
"""Side of the pictures that cleanlab gets; with whole ones it would need 8 GB."""

app = typer.Typer(add_completion=False)


@app.command("list")
def list_doubts(
    data: Path,
    run: Annotated[list[str], typer.Option(help="CROSSVAL, or FOLD=RUN once for each fold.")],
    second: Annotated[Path, typer.Option()],
    out: Annotated[Path, typer.Option()],
) -> None:
    """Judge all outlines and write what the other steps need."""
    agreed, folds = _read_second(second), _read_folds(data)
    survey = survey_cases(open_dataset(data).records)
    held_out = _open_folds(run, survey, folds) if "=" in run[0] else open_crossval(Path(run[0]))
    doubts = {doubt.file: doubt for doubt in find_doubtful(held_out, survey)}
    rows, truths, levels = [], [], []
    judged = [case for case in survey.cases if case.record.case_id in doubts]
    for case in track(judged, "Predicting", total=len(judged)):
        name = case.record.case_id
        _, prediction = predict_held_out(held_out, case)
        truths.append(_shrink(case.truth().astype(np.float32)) >= 0.5)
        levels.append(_shrink(prediction.probability).astype(np.float16))
        rows.append(_describe(doubts[name], agreed.get(Path(name).name), folds[Path(name).name]))
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "doubts.csv", rows, columns=list(rows[0]))
    np.savez_compressed(out / "arrays.npz", truths=np.stack(truths), levels=np.stack(levels))


@app.command()
def score(out: Path, *, folds: Annotated[str, typer.Option()] = "1,2,3,4") -> None:
    """Print, for each list and part of it, how many wrong outlines it holds."""
    rows = read_csv(out / "doubts.csv")
    chosen = np.array([row["fold"] in folds.split(",") for row in rows])
    lists = {"doubt": np.array([float(row["doubt"]) for row in rows])}
    if (out / "cleanlab.csv").is_file():
        scores = read_csv(out / "cleanlab.csv")
        lists |= {name: np.array([-float(row[name]) for row in scores]) for name in scores[0]}
    with np.load(out / "arrays.npz") as arrays:
        lists |= rank(arrays["truths"], arrays["levels"].astype(np.float32))
    lists = {name: doubt[chosen] for name, doubt in lists.items()}
    rows = [row for row, kept in zip(rows, chosen, strict=True) if kept]
    known = np.array([row["second"] != "" for row in rows])
    wrong = np.array([row["second"] != "" and float(row["second"]) < WRONG for row in rows])
    print(f"{len(rows)} outlines, {known.sum()} with an independent second outline, {wrong.sum()} of them wrong")
    print("list,share of the list,wrong found,of all wrong,wrong of those with a second outline")
    for name, doubt in lists.items():
        order = np.argsort(-doubt, kind="stable")
        for share in SHARES:
            top = order[: round(share * len(rows))]
            print(
                f"{name},{share:.0%},{wrong[top].sum()},{wrong[top].sum() / wrong.sum():.3f},"
                f"{wrong[top].sum() / max(known[top].sum(), 1):.3f}"
            )


def _open_folds(runs: list[str], survey: Survey, folds: dict[str, str]) -> HeldOutModels:
    """Open one model a fold of figshare, given as FOLD=RUN."""
    models = {fold: open_model(str(folder)) for fold, folder in read_named(runs).items()}
    fold_of = {case.sha256: folds[Path(case.record.case_id).name] for case in survey.cases}
    return HeldOutModels(Path(runs[0]), models, {sha: fold for sha, fold in fold_of.items() if fold in models})


def _describe(doubt: Doubt, second: float | None, fold: str) -> dict[str, object]:
    return {
        "file": doubt.file,
        "fold": fold,
        "doubt": doubt.doubt,
        "1 - dice": 1 - doubt.dice,
        "kind": doubt.kind,
        "second": "" if second is None else round(second, 4),
    }


def _read_second(path: Path) -> dict[str, float]:
    """Return the mean Dice of BRISC's outlines with figshare's, by the picture of figshare."""
    dices = defaultdict(list)
    for row in read_csv(path):
        if row["link"] == "image" and row["twin_figshare"] and row["outline_dice"]:
            dices[f"{int(row['twin_figshare']):04d}.jpg"].append(float(row["outline_dice"]))
    return {name: float(np.mean(values)) for name, values in dices.items()}


def _read_folds(data: Path) -> dict[str, str]:
    return {row["image"]: row["fold"] for row in read_csv(data / "pairs.csv")}


def _shrink(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.float32)


if __name__ == "__main__":
    app()
