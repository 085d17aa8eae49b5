"""Dice and false alarms of several models on one held-out fold.

``python -m studies.screening DATA --sources DIR --fold 4 --model NAME=RUN --model RUN --out OUT`` takes runs that were
trained without the fold. It segments every slice of the fold, and the head CTs, with each model, and keeps what it
measured in ``OUT/NAME.json``; a file that is there is not made again. A slice that is a copy of a training slice of any
model after all is named and left out, also of the rows that are there. RUN may be a run that is still training: its
kept weights are taken. Thresholds are fitted on one half of the groups and scored on the other, in turn, for every
model alike. The shipped models were trained on all folds: give their twins.

One fold and one seed: a screening.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated
from zlib import crc32

import numpy as np
import torch
import typer
from benchmarks.common import make_table
from rich.console import Console

from studies.sources import open_linked
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.leakage import find_leaks
from tumortrace.copies.split_files import read_split
from tumortrace.copies.splits import Split
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import TrainingIndex, load_training_index
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_negatives
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import write_csv, write_json
from tumortrace.metrics.calibration import ACCEPTED_ALARMS, FALSE_ALARM_AREA, find_nearest_to_half
from tumortrace.metrics.intervals import mean_interval
from tumortrace.progress import track
from tumortrace.run_folder import BEST, CONFIG, MODEL, TRAINING_INDEX
from tumortrace.training.checkpoint import load_weights
from tumortrace.training.export import make_onnx
from tumortrace.training.networks import build_network

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
PEAKS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)
CT = "head_ct"


@dataclass(frozen=True)
class Row:
    """What one model does with one slice.

    Attributes:
        file: Case id.
        kind: Its source; of a tumour-free slice its folder, or ``"lgg, tumour-free"``.
        group: Slices of one subject.
        rejected: True if the gate rejects it.
        truth: Fraction of the frame that is tumour.
        peak: Highest probability.
        marked: Fraction of the frame that is marked, at each of ``THRESHOLDS``.
        dice: Dice at each of them; 0 without a tumour.
    """

    file: str
    kind: str
    group: str
    rejected: bool
    truth: float
    peak: float
    marked: tuple[float, ...]
    dice: tuple[float, ...]


def open_anyhow(name: str) -> Model:
    """Open a model, or the weights that a run that is still training keeps."""
    run = Path(name)
    if not (run / BEST).is_file() or (run / MODEL).is_file():
        return open_model(name, threads=1)
    config = load_config(str(run / CONFIG))
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
    load_weights(run / BEST, network)
    sample = torch.zeros(1, 1, *config.recipe.size_hw)
    data = make_onnx(network, recipe=config.recipe, card={"name": run.name}, feature_ranges={}, sample=sample)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        write_atomically(path, data)
        return open_model(str(path), threads=1)


def open_sources(data: Path, sources: Path) -> tuple[Dataset, Split]:
    """Return all slices of ``studies.sources``, and its folds."""
    return open_linked(data, sources), read_split(sources / "folds.json")


def open_fold(data: Path, sources: Path, fold: str) -> tuple[list[CaseRecord], Split]:
    """Return the slices of one fold of ``studies.sources``, and all of its folds."""
    dataset, split = open_sources(data, sources)
    held = {case.file for case in split.cases if case.side == fold}
    return [record for record in dataset.records if record.case_id in held], split


def leave_out_copies(records: Sequence[CaseRecord], index: TrainingIndex) -> list[CaseRecord]:
    """Return the slices that are no copies of training slices, and print the others."""
    leaks = find_leaks(survey_cases(records), index)
    copies = {case_id: leak.nearest for case_id, leak in leaks.items() if leak.why == "copy"}
    for case_id, nearest in copies.items():
        print(f"{case_id}: left out, a copy of the training slice {nearest}")
    return [record for record in records if record.case_id not in copies]


def judge(model: Model, records: Sequence[CaseRecord], group_of: dict[str, str]) -> list[Row]:
    """Segment slices.

    Args:
        model: Opened.
        records: The slices.
        group_of: Group of each slice, by case id; a slice without one is its own group.
    """
    rows = []
    for record, case, _ in track(read_cases(tuple(records)), model.name, total=len(records)):
        if case is None:
            continue
        group = group_of.get(record.case_id, record.case_id)
        prediction = predict(model, case.slice, gate=True)
        rejected = prediction.rejected
        probability = (predict(model, case.slice) if rejected else prediction).probability
        masks = probability >= np.array(THRESHOLDS, dtype=np.float32)[:, None, None]
        both = (masks & case.truth).sum(axis=(1, 2))
        sums = masks.sum(axis=(1, 2)) + case.truth.sum()
        rows.append(
            Row(
                file=record.case_id,
                kind=name_kind(record, with_tumour=bool(case.truth.any())),
                group=group,
                rejected=rejected,
                truth=float(case.truth.mean()),
                peak=float(probability.max()),
                marked=tuple(masks.mean(axis=(1, 2)).tolist()),
                dice=tuple((2 * both / np.maximum(sums, 1)).tolist()),
            )
        )
    return rows


def name_kind(record: CaseRecord, *, with_tumour: bool) -> str:
    """Return what a row of the table is called."""
    if record.source == "tumour_free":
        return record.case_id.split("/")[1]
    return record.source if with_tumour or record.source == CT else f"{record.source}, tumour-free"


def fit(rows: Sequence[Row]) -> tuple[int, float]:
    """Return the index of the threshold and the lowest peak threshold, chosen as ``metrics.calibration`` does."""
    ill, free = [row for row in rows if row.truth], [row for row in rows if not row.truth]
    index = find_nearest_to_half(np.array(THRESHOLDS), np.mean([row.dice for row in ill], axis=0))
    for peak in PEAKS:
        alarms = sum(row.marked[index] > FALSE_ALARM_AREA and row.peak >= peak for row in free)
        if alarms <= ACCEPTED_ALARMS * len(free):
            return index, peak
    return index, PEAKS[-1]


def half_of(group: str) -> int:
    """Return the half, 0 or 1, that a group falls into."""
    return crc32(group.encode()) % 2


def cross_fit(rows: Sequence[Row]) -> list[tuple[Row, float, bool]]:
    """Return each row with its Dice and whether anything is marked, at thresholds fitted on the other half."""
    halves: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        halves[half_of(row.group)].append(row)
    judged = []
    for own, other in (halves, halves[::-1]):
        index, peak = fit([row for row in other if row.kind != CT])
        judged += [(row, row.dice[index] * (row.peak >= peak), _is_marked(row, index, peak)) for row in own]
    return judged


def _is_marked(row: Row, index: int, peak: float) -> bool:
    return row.peak >= peak and row.marked[index] > (0 if row.truth else FALSE_ALARM_AREA)


def summarise(rows_of: dict[str, list[Row]]) -> list[list[str]]:
    """Return a table as text: headings, then a row a kind of slice with a column a model."""
    judged_of = {name: cross_fit(rows) for name, rows in rows_of.items()}
    first = next(iter(rows_of.values()))
    table = [["slices", "n", *rows_of]]
    for free, kind in sorted({(not row.truth, row.kind) for row in first}):
        whole = [[one for one in judged if one[0].kind == kind] for judged in judged_of.values()]
        table.append([kind, str(len(whole[0])), *(_describe(judged, free=free) for judged in whole)])
    healthy = [[one for one in judged if not one[0].truth and one[0].kind != CT] for judged in judged_of.values()]
    table.append(["all tumour-free heads", str(len(healthy[0])), *(_describe(each, free=True) for each in healthy)])
    return table


def _describe(judged: Sequence[tuple[Row, float, bool]], *, free: bool) -> str:
    """Return mean Dice and missed tumours (not a right pixel), or false alarms and rejected slices."""
    scale, form, unit = (100, ".1f", " %") if free else (1, ".3f", "")
    values = [scale * float(marked if free else dice) for _, dice, marked in judged]
    groups = [row.group for row, _, _ in judged]
    low, high = (scale * end for end in mean_interval(np.array(values) / scale, groups))
    interval = "" if np.isnan(low) else f" ({low:{form}} to {high:{form}})"
    other = [row.rejected if free else not dice for row, dice, _ in judged]
    return f"{np.mean(values):{form}}{unit}{interval}; {'rejected' if free else 'missed'} {100 * np.mean(other):.1f} %"


def save(rows: Sequence[Row], path: Path) -> None:
    """Write rows as JSON."""
    write_json(path, {"rows": [asdict(row) for row in rows]})


def load(path: Path, files: Collection[str]) -> list[Row]:
    """Read the rows of these case ids from what ``save`` wrote, perhaps before copies were left out.

    Raises:
        DataError: Some of them are not there, so that models would be compared on different slices.
    """
    rows = [row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if row["file"] in files]
    if lacking := set(files) - {row["file"] for row in rows}:
        raise DataError(f"{path}: lacks {len(lacking)} slices, first {min(lacking)}; remove it to segment all of them")
    return [Row(**{**row, "marked": tuple(row["marked"]), "dice": tuple(row["dice"])}) for row in rows]


def main(  # noqa: PLR0913, PLR0917 - the options of the command
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    model: Annotated[list[str], typer.Option(help="Models to compare; NAME=MODEL names one.")],
    out: Annotated[Path, typer.Option(help="Folder for the rows.")],
    fold: Annotated[str, typer.Option(help="The fold that was held out.")] = "4",
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
    table: Annotated[Path | None, typer.Option(help="CSV file to write the table to.")] = None,
) -> None:
    """Segment the fold with each model and print the table."""
    records, split = open_fold(data, sources, fold)
    paths = [Path(given.rpartition("=")[2]) for given in model]
    for index in (path / TRAINING_INDEX for path in paths):
        records = leave_out_copies(records, load_training_index(index)) if index.is_file() else records
    ct = open_negatives(data / CT).records
    records += [replace(record, case_id=f"{CT}/{record.case_id}", source=CT) for record in ct]
    records = records[::every]
    files = {record.case_id for record in records}
    group_of = {case.file: case.group for case in split.cases}
    rows_of = {}
    for given, path in zip(model, paths, strict=True):
        name = given.rpartition("=")[0] or path.name
        kept = out / f"{name}.json"
        if not kept.is_file():
            out.mkdir(parents=True, exist_ok=True)
            save(judge(open_anyhow(str(path)), records, group_of), kept)
        rows_of[name] = load(kept, files)
    headings, *lines = summarise(rows_of)
    printed = make_table("The held-out fold, thresholds fitted on the other half of its groups", *headings)
    for line in lines:
        printed.add_row(*line)
    Console(width=60 + 45 * len(rows_of)).print(printed)
    if table is not None:
        write_csv(table, (dict(zip(headings, line, strict=True)) for line in lines), columns=headings)


if __name__ == "__main__":
    run_script(main)
