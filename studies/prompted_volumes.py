"""A box on one slice, carried through a scan whose every slice has an outline.

``python -m studies.prompted_volumes LGG OTHER --split FILE --fold 4 --automatic MODEL --model RUN --out DIR`` stacks
the slices of each patient of the held-out fold. It draws a box 15 % too wide on each side around the largest outline,
and carries it to the neighbours. It prints the Dice over the whole scan, beside a box on every slice and the automatic
mask, and where the tumour was thought to end; ``volumes.csv`` in the folder has a row for each scan. ``--choose`` tries
several limits on the other folds, and writes nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console

from studies.means import describe_mean
from studies.prompted import LEAST_PX, read_held_out
from tumortrace.cli import run_script
from tumortrace.data.cases import Case, read_cases
from tumortrace.data.findings import Finding
from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume
from tumortrace.evaluation.simulated_prompts import loosen_box
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.prompts import volume as prompt_volume
from tumortrace.inference.prompts.grid import box_of, cut_to_slice
from tumortrace.inference.prompts.model import open_prompt_model
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.json_csv import write_csv
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track

LOOSENESS = 0.15
FEWEST_SLICES = 3
"""Slices with tumour of the scans that are measured."""

SURE = (0.5, 0.6, 0.7, 0.8, 0.9)


class Scan(NamedTuple):
    """A patient's slices in their order, with their outlines (slices, rows, columns)."""

    volume: Volume
    truth: NDArray[np.bool_]


class _Reader:
    def __init__(self, slices: Sequence[Slice]) -> None:
        self.slices = slices

    def read(self, index: int) -> Slice:
        return self.slices[index]

    def inspect(self) -> tuple[Finding, ...]:
        return ()


def stack_patients(cases: Sequence[Case]) -> list[Scan]:
    """Return the scans of all patients with tumour on enough slices, by the numbers at the end of their file names."""
    by_patient: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_patient[case.record.patient or ""].append(case)
    scans = []
    for patient, own in sorted(by_patient.items()):
        ordered = sorted(own, key=lambda case: int(re.findall(r"\d+", case.record.image_path.stem)[-1]))
        truth = np.stack([case.truth for case in ordered])
        if truth.any(axis=(1, 2)).sum() >= FEWEST_SLICES and truth.sum(axis=(1, 2)).max() >= LEAST_PX:
            sources = tuple(SliceSource(case.record.image_path) for case in ordered)
            reader = _Reader([case.slice for case in ordered])
            size_hw = ordered[0].slice.size_hw
            scans.append(Scan(Volume(patient, patient, "nifti", reader, sources, size_hw), truth))
    return scans


def measure(scan: Scan, point: partial[PromptSession]) -> dict[str, float]:
    """Return the Dice of a carried box and of a box on every slice with tumour, and the numbers of slices marked."""
    volume, truth = scan
    start = int(truth.sum(axis=(1, 2)).argmax())
    size_hw = volume.size_hw
    box = cut_to_slice(loosen_box(box_of(truth[start]), LOOSENESS), size_hw)
    carried = prompt_volume.carry_box(volume, point, box_xyxy=box, slice_index=start).mask
    each = np.zeros_like(truth)
    for index in np.flatnonzero(truth.any(axis=(1, 2))):
        own = cut_to_slice(loosen_box(box_of(truth[index]), LOOSENESS), size_hw)
        each[index] = point(volume.read(int(index))).predict(own).mask
    there, marked = truth.any(axis=(1, 2)), carried.any(axis=(1, 2))
    return {
        "carried": dice_of_scan(carried, truth),
        "a box a slice": dice_of_scan(each, truth),
        "slices with tumour": int(there.sum()),
        "of them marked": int((there & marked).sum()),
        "tumour-free slices marked": int((~there & marked).sum()),
    }


def dice_of_scan(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the Dice over all pixels of a scan; both arrays have the shape (slices, rows, columns)."""
    return count_pixels(*(each.reshape(len(each), -1) for each in (masks, truth))).dice


def main(  # noqa: PLR0913 - the options of a study
    data: list[Path],
    out: Annotated[Path, typer.Option()],
    automatic: Annotated[str, typer.Option(help="Automatic model that was not trained on the slices.")],
    split: Annotated[Path | None, typer.Option()] = None,
    fold: Annotated[int, typer.Option()] = 4,
    model: Annotated[str, typer.Option()] = "box",
    *,
    choose: Annotated[bool, typer.Option(help="Try several limits on the other folds.")] = False,
) -> None:
    """Measure every scan and print the means."""
    records = [record for record in read_held_out(data, split, fold, others=choose) if record.source == "lgg"]
    scans = stack_patients([case for _, case, _ in read_cases(records) if case is not None])
    point = partial(PromptSession, open_prompt_model(model), gate=False)
    alone = open_model(automatic)
    console = Console(width=160)
    for sure in SURE if choose else (prompt_volume.SURE,):
        prompt_volume.SURE = sure
        rows = []
        for scan in track(scans, f"Scans, {sure}", total=len(scans)):
            row = {"patient": scan.volume.name, **measure(scan, point)}
            if not choose:
                masks = np.stack([predict(alone, scan.volume.read(i)).mask for i in range(len(scan.volume))])
                row["automatic"] = dice_of_scan(masks, scan.truth)
            rows.append(row)
        print_means(rows, console, sure)
    if not choose:
        write_csv(out / "volumes.csv", rows, columns=list(rows[0]))


def print_means(rows: Sequence[dict[str, object]], console: Console, sure: float) -> None:
    """Print mean Dice of each way with its interval over patients, and the counts of slices."""
    names = [name for name in rows[0] if name != "patient"]
    table = make_table(f"{len(rows)} scans, sure = {sure}", "", *names)
    cells = []
    for name in names:
        values = [float(str(row[name])) for row in rows]
        whole = all(value.is_integer() for value in values)
        cells.append(f"{sum(values):.0f}" if whole else describe_mean(values, [str(row["patient"]) for row in rows]))
    table.add_row("", *cells)
    console.print(table)


if __name__ == "__main__":
    run_script(main)
