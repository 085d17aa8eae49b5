"""Ablation: one change to the recipe at a time, on one grouped fold.

``python -m studies.ablation DATA --sources DIR --out DIR`` trains every row of ``ROWS`` on three folds of
``studies.sources`` and scores it on every second slice of the fourth that is no copy of a training slice. Each training
is smaller than a real one (``SCREENING``), so the table ranks changes and does not predict scores. Finished rows are
not trained again, so that several processes can share them: ``--row NAME`` runs one row alone. The table has all
finished rows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.common import make_table
from reproduction.runs import finish_run
from rich.console import Console
from rich.table import Table

from studies.screening import leave_out_copies, open_sources
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.described import describe_cases
from tumortrace.copies.split_files import apply_split
from tumortrace.copies.training_index import build_training_index
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import Dataset
from tumortrace.errors import ConfigError
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import read_json, write_json
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell

IMPLANTS = ("augmentation.implants=true", "training.negatives=0.45")
"""What the last stages of the shipped models set."""

SCREENING = (
    *IMPLANTS,
    "recipe.size_hw=[160, 160]",
    "training.epochs=5",
    "training.epoch_slices=2048",
    "training.coarse_epochs=0",
    "training.threads=1",
)
FOLD, EVERY = 4, 2
"""The fold that is held out, of which every second slice counts."""


def one_map(loss: str) -> tuple[str, ...]:
    """Return the settings of a network with a single map of tumour, trained with this loss."""
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
    "no implanted tumours": ("augmentation.implants=false",),
    "no erased tumours": ("augmentation.erasures=false",),
    "no averaged weights": ("training.average=0.0",),
    "constant rate": ("training.schedule=constant",),
    "consensus outlines": ("training.outlines=consensus",),
    "35 % tumour-free slices": ("training.negatives=0.35",),
    "no tumour-free slices": ("training.negatives=0.0",),
    "no hard tumour-free slices": ("training.hard_negatives=0.0",),
    "figshare's outlines alone": (),
    "BRISC's outlines alone": (),
}

ONE_OUTLINE = {"figshare's outlines alone": ("brisc", "figshare"), "BRISC's outlines alone": ("figshare", "brisc")}
"""Source whose outlines are not trained on, and the one in its place: both show nearly the same slices."""


def open_held_out(data: Path, sources: Path) -> tuple[Dataset, dict[str, str]]:
    """Return the slices with one fold as TEST, without copies of the others, and the group of each."""
    whole, split = open_sources(data, sources)
    dataset = apply_split(whole, split, fold=FOLD)
    learnt = dataset.select("train")
    held_out = leave_out_copies(dataset.select("test"), build_training_index(describe_cases(learnt)))
    return replace(dataset, records=(*learnt, *held_out)), {case.file: case.group for case in split.cases}


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


def run_row(name: str, dataset: Dataset, group_of: dict[str, str], out: Path) -> None:
    """Train and score one row, unless that was done before."""
    path = scores_of(name, out)
    if not path.is_file():
        tell(f"{name} ...")
        learnt = stand_in(dataset, *ONE_OUTLINE[name]) if name in ONE_OUTLINE else dataset
        finish_run(learnt, load_config("fast", (*SCREENING, *ROWS[name])), path.parent)
        write_json(path, score(path.parent, dataset, group_of))


def scores_of(name: str, out: Path) -> Path:
    """Return the file for the scores of a row, in its run folder."""
    return out / name.replace(" ", "-").replace("'", "").replace(":", "") / "scores.json"


def read_finished(out: Path) -> dict[str, dict[str, Any]]:
    """Return the scores of all finished rows, in the order of ``ROWS``."""
    return {name: read_json(scores_of(name, out)) for name in ROWS if scores_of(name, out).is_file()}


def score(run: Path, dataset: Dataset, group_of: dict[str, str]) -> dict[str, Any]:
    """Return Dice of the held-out slices with tumour, its mean by source, and the false-positive rate.

    Args:
        run: Run folder of the model.
        dataset: Slices with the held-out fold as TEST, of which every second one counts.
        group_of: Group of each slice, by case id.

    Returns:
        ``dice`` by source (mean, ``ci95`` over groups, number), ``painted`` (fraction of the tumour-free slices with a
        false alarm), ``tumour_free`` (their number), and ``cases`` with the Dice of each slice.
    """
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


def compare(result: dict[str, Any], unchanged: dict[str, Any]) -> tuple[float, tuple[float, float]]:
    """Return the gain in Dice over ``fast`` on the same slices, and its 95 % interval; every source weighs the same."""
    before = {case["file"]: case["dice"] for case in unchanged["cases"]}
    counts = {source: score["n"] for source, score in result["dice"].items()}
    whole = sum(counts.values()) / len(counts)
    gains = [(case["dice"] - before[case["file"]]) * whole / counts[case["source"]] for case in result["cases"]]
    interval = mean_interval(gains, [case["group"] for case in result["cases"]], shares=False)
    return sum(gains) / len(gains), interval


def tabulate(results: dict[str, dict[str, Any]]) -> Table:
    """Return a row for each change: means by source, and the gain over ``fast`` on the same slices."""
    sources = sorted(next(iter(results.values()))["dice"])
    table = make_table("One change at a time, one grouped fold", "change", "gain", *sources, "false-positive rate")
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
    """Run the rows that are named, or all; then print every row that is finished.

    Raises:
        ConfigError: There is no such row.
    """
    for name in row or ():
        if name not in ROWS:
            raise ConfigError(f"--row {name}: no such row; the rows are {', '.join(ROWS)}")
    dataset, group_of = open_held_out(data, sources)
    for name in row or ROWS:
        run_row(name, dataset, group_of, out)
    Console(width=140).print(tabulate(read_finished(out)))


if __name__ == "__main__":
    run_script(main)
