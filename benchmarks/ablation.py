"""What each part of the default recipe is worth: one change at a time, on one grouped fold, for few epochs.

``python -m benchmarks.ablation DATA... --negatives DIR --out DIR`` trains every row of ``ROWS`` and scores it on the
fold that was held out; finished rows are not trained again. The screening is smaller than the real training
(``SCREENING``): it ranks, it does not promise. ``--row NAME`` runs one row alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.config import load_config
from tumortrace.data.dataset import Dataset, open_datasets, read_cases
from tumortrace.data.slice import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.inference.segmenter import predict
from tumortrace.progress import tell
from tumortrace.train.run import train
from tumortrace.trust.calibration import PAINTED
from tumortrace.trust.metrics import count_pixels
from tumortrace.trust.splits import apply_split, make_folds, write_split
from tumortrace.trust.statistics import mean_interval
from tumortrace.trust.survey import Survey, survey

SCREENING = ("recipe.size_hw=[160, 160]", "training.epochs=4", "training.coarse_epochs=0", "training.threads=1")
FOLDS, FOLD = 3, 3

ROWS: dict[str, tuple[str, ...]] = {
    "default": (),
    "encoder not pretrained": ("network.pretrained=false",),
    "the report's U-Net, narrow": (
        "network.encoder=plain",
        "network.pretrained=false",
        "network.widths=[8, 16, 32, 64, 128]",
    ),
    "128 x 128": ("recipe.size_hw=[128, 128]",),
    "192 x 192": ("recipe.size_hw=[192, 192]",),
    "stretched, not padded": ("recipe.pad_to_square=false",),
    "cross-entropy": ("training.loss=cross_entropy",),
    "Dice": ("training.loss=dice",),
    "focal": ("training.loss=focal",),
    "Tversky": ("training.loss=tversky",),
    "unified focal": ("training.loss=unified_focal",),
    "no flips": ("augmentation.flips=false",),
    "no geometry": ("augmentation.geometry=false",),
    "no intensity": ("augmentation.intensity=false",),
    "no appearance": ("augmentation.appearance=false",),
    "no averaged weights": ("training.average=0.0",),
    "constant rate": ("training.schedule=constant",),
    "consensus outlines": ("training.outlines=consensus",),
    "no negatives": ("training.negatives=0.0",),
    "second seed": ("training.seed=1",),
}


def run_row(name: str, dataset: Dataset, found: Survey, out: Path) -> dict[str, Any]:
    """Train and score one row, or read what was found before."""
    folder = out / name.replace(" ", "-").replace("'", "")
    path = folder / "scores.json"
    if not path.is_file():
        tell(f"{name} ...")
        train(dataset, load_config("default", (*SCREENING, *ROWS[name])), out=folder)
        write_atomically(path, (json.dumps(score(folder, dataset, found), indent=1) + "\n").encode())
    return dict(json.loads(path.read_text()))


def score(run: Path, dataset: Dataset, found: Survey) -> dict[str, Any]:
    """Mean Dice with its interval by source, and the share of tumour-free slices that are painted."""
    model = open_model(str(run), threads=1)
    groups = {case.record.case_id: group for case, group in zip(found.cases, found.groups, strict=True)}
    dices: dict[str, list[tuple[float, str]]] = {}
    painted = []
    for record, case, _ in read_cases(dataset.select("test")):
        if case is None:
            continue
        mask = predict(model, case.slice).mask
        if case.truth.any():
            dice = count_pixels(mask, case.truth).dice
            dices.setdefault(record.source, []).append((dice, groups[record.case_id]))
        else:
            painted.append(float(mask.mean() > PAINTED))
    by_source = {}
    for source, pairs in sorted(dices.items()):
        values, names = zip(*pairs, strict=True)
        by_source[source] = {"mean": sum(values) / len(values), "ci95": mean_interval(values, names), "n": len(values)}
    return {"dice": by_source, "painted": sum(painted) / len(painted), "tumour_free": len(painted)}


def tabulate(results: dict[str, dict[str, Any]]) -> Table:
    """A row a change, the mean over sources first."""
    sources = sorted(next(iter(results.values()))["dice"])
    table = make_table("One change at a time, one grouped fold", "change", "mean", *sources, "painted")
    for name, result in results.items():
        cells = [result["dice"][source] for source in sources]
        mean = sum(cell["mean"] for cell in cells) / len(cells)
        written = [f"{cell['mean']:.3f} [{cell['ci95'][0]:.3f}, {cell['ci95'][1]:.3f}]" for cell in cells]
        table.add_row(name, f"{mean:.3f}", *written, f"{result['painted']:.1%}")
    return table


def main(
    data: list[Path],
    negatives: Annotated[Path | None, typer.Option()] = None,
    out: Annotated[Path, typer.Option()] = Path("runs/ablation"),
    row: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Run the rows that are named, or all; then print every row that is finished."""
    whole = open_datasets(data, negatives=negatives)
    found = survey(whole.records)
    split = make_folds(found, folds=FOLDS)
    write_split(split, found, out / "split.json")
    dataset = apply_split(whole, split, fold=FOLD)
    results = {name: run_row(name, dataset, found, out) for name in row or ROWS}
    Console().print(tabulate(results))


if __name__ == "__main__":
    typer.run(main)
