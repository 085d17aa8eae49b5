"""Ablation: one change to the recipe at a time, on one grouped fold.

``python -m studies.ablation DATA --sources DIR --out DIR`` trains every row of ``ROWS`` on three folds of
``studies.sources`` and scores it on every second slice of the fourth; finished rows are not trained again, so that
several processes can share the rows. The screening is smaller than the real training (``SCREENING``): it ranks, it does
not promise. ``--row NAME`` runs one row alone.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.common import make_table
from rich.console import Console
from rich.table import Table

from studies.screening import open_sources
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import apply_split
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import Dataset
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import read_json, write_json
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell
from tumortrace.training.run import train

SCREENING = (
    "recipe.size_hw=[160, 160]",
    "training.epochs=5",
    "training.epoch_slices=2048",
    "training.coarse_epochs=0",
    "training.threads=1",
)
FOLD, EVERY = 4, 2
"""The fold that is held out, and how many of its slices count."""


def one_map(loss: str) -> tuple[str, ...]:
    """Settings of a network with a single map of tumour, which learns by this loss."""
    return ("network.maps=1", f"training.loss={loss}")


ROWS: dict[str, tuple[str, ...]] = {
    "fast": (),
    "second seed": ("training.seed=1",),
    "encoder not pretrained": ("network.pretrained=false",),
    "EfficientNet-Lite2": ("network.encoder=efficientnet-lite2",),
    "decoder of the default": ("network.decoder=full", "network.widths=[16, 32, 64, 96, 160]"),
    "the student paper's U-Net, narrow": (
        "network.encoder=plain",
        "network.pretrained=false",
        "network.widths=[8, 16, 32, 64, 128]",
        *one_map("dice_cross_entropy"),
    ),
    "192 x 192": ("recipe.size_hw=[192, 192]",),
    "stretched, not padded": ("recipe.pad_to_square=false",),
    "the whole slice": ("recipe.crop_to_head=false",),
    "one map: Dice + CE": one_map("dice_cross_entropy"),
    "one map: cross-entropy": one_map("cross_entropy"),
    "no flips": ("augmentation.flips=false",),
    "no geometry": ("augmentation.geometry=false",),
    "no intensity": ("augmentation.intensity=false",),
    "no appearance": ("augmentation.appearance=false",),
    "no erased tumours": ("augmentation.erasures=false",),
    "no averaged weights": ("training.average=0.0",),
    "constant rate": ("training.schedule=constant",),
    "consensus outlines": ("training.outlines=consensus",),
    "no tumour-free slices": ("training.negatives=0.0",),
    "no hard tumour-free slices": ("training.hard_negatives=0.0",),
    "figshare's outlines alone": (),
    "BRISC's outlines alone": (),
}

ONE_OUTLINE = {"figshare's outlines alone": ("brisc", "figshare"), "BRISC's outlines alone": ("figshare", "brisc")}
"""Source whose outlines a row does not learn, and the one that takes its place: both show nearly the same slices."""


def open_held_out(data: Path, sources: Path) -> tuple[Dataset, dict[str, str]]:
    """Return the slices with one fold as TEST, and the group of each."""
    whole, split = open_sources(data, sources)
    return apply_split(whole, split, fold=FOLD), {case.file: case.group for case in split.cases}


def stand_in(dataset: Dataset, absent: str, present: str) -> Dataset:
    """Return a dataset in which slices of one source, in turn, train in place of those of another."""
    instead = cycle([record for record in dataset.select("train") if record.source == present])
    records = (
        replace(next(instead), case_id=record.case_id, source=absent)  # sources are drawn equally often
        if record.source == absent and record.part == "train"
        else record
        for record in dataset.records
    )
    return replace(dataset, records=tuple(records))


def run_row(name: str, dataset: Dataset, group_of: dict[str, str], out: Path) -> dict[str, Any]:
    """Train and score one row, or read what was found before."""
    folder = out / name.replace(" ", "-").replace("'", "").replace(":", "")
    path = folder / "scores.json"
    if not path.is_file():
        tell(f"{name} ...")
        learnt = stand_in(dataset, *ONE_OUTLINE[name]) if name in ONE_OUTLINE else dataset
        train(learnt, load_config("fast", (*SCREENING, *ROWS[name])), out=folder)
        write_json(path, score(folder, dataset, group_of))
    return dict(read_json(path))


def score(run: Path, dataset: Dataset, group_of: dict[str, str]) -> dict[str, Any]:
    """Dice of the held-out slices with tumour and its mean by source, and the share of tumour-free ones painted."""
    model = open_model(str(run), threads=1)
    cases: list[dict[str, Any]] = []
    painted = []
    for record, case, _ in read_cases(dataset.select("test")[::EVERY]):
        if case is None:
            continue
        mask = predict(model, case.slice).mask
        if case.truth.any():
            dice = round(count_pixels(mask, case.truth).dice, 4)
            cases.append(
                {"file": record.case_id, "source": record.source, "group": group_of[record.case_id], "dice": dice}
            )
        else:
            painted.append(float(mask.mean() > FALSE_ALARM_AREA))
    by_source = {}
    for source in sorted({case["source"] for case in cases}):
        values = [case["dice"] for case in cases if case["source"] == source]
        groups = [case["group"] for case in cases if case["source"] == source]
        by_source[source] = {"mean": sum(values) / len(values), "ci95": mean_interval(values, groups), "n": len(values)}
    return {"dice": by_source, "painted": sum(painted) / len(painted), "tumour_free": len(painted), "cases": cases}


def compare(result: dict[str, Any], default: dict[str, Any]) -> tuple[float, tuple[float, float]]:
    """Gain in Dice over the default on the same slices, every source weighing the same, with its 95 % interval."""
    before = {case["file"]: case["dice"] for case in default["cases"]}
    counts = {source: score["n"] for source, score in result["dice"].items()}
    whole = sum(counts.values()) / len(counts)
    gains = [(case["dice"] - before[case["file"]]) * whole / counts[case["source"]] for case in result["cases"]]
    interval = mean_interval(gains, [case["group"] for case in result["cases"]], shares=False)
    return sum(gains) / len(gains), interval


def tabulate(results: dict[str, dict[str, Any]]) -> Table:
    """A row a change: means by source, and the gain over the default on the same slices."""
    sources = sorted(next(iter(results.values()))["dice"])
    table = make_table("One change at a time, one grouped fold", "change", "gain", *sources, "painted")
    for name, result in results.items():
        cells = [result["dice"][source] for source in sources]
        written = [f"{cell['mean']:.3f} [{cell['ci95'][0]:.3f}, {cell['ci95'][1]:.3f}]" for cell in cells]
        gain = ""
        if name != "fast" and "fast" in results:
            mean, (low, high) = compare(result, results["fast"])
            gain = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        table.add_row(name, gain, *written, f"{result['painted']:.1%}")
    return table


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    out: Annotated[Path, typer.Option()] = Path("runs/ablation"),
    row: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Run the rows that are named, or all; then print every row that is finished."""
    dataset, group_of = open_held_out(data, sources)
    results = {name: run_row(name, dataset, group_of, out) for name in row or ROWS}
    Console(width=140).print(tabulate(results))


if __name__ == "__main__":
    run_script(main)
