"""TRAIN with the student paper's labels, as a dataset to train on.

``python -m reproduction.paper_labels BR35H --out runs/labels`` writes ``images/`` and ``masks/`` on the student paper's
grid of 512 x 512. ``tumortrace train runs/paper-labels --config narrow --out runs/narrow-paper-labels`` learns from
them, and ``reproduction.worth_of_the_score`` says what that network is worth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from reproduction import paper_rules
from reproduction.worth_of_the_score import regions_of
from tumortrace.cli import run_script
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.files import refuse_inside
from tumortrace.progress import tell, track


def write_labelled(dataset: Dataset, out: Path) -> tuple[int, int]:
    """Write the TRAIN slices, stretched to the student paper's grid, and their labels.

    Args:
        dataset: Annotated with regions; what cannot be read is told and left out.
        out: Gets ``images/NAME.png`` and ``masks/NAME.png`` (0 and 255), both uint8 of ``paper_rules.SIZE_HW``.

    Returns:
        How many slices were written, and how many of them have an empty label.
    """
    records = dataset.select("train")
    written = empty = 0
    for record, case, findings in track(read_cases(records), "Writing", total=len(records)):
        for finding in findings:
            tell(finding.line())
        if case is None:
            continue
        label = paper_rules.label(regions_of(record), case.slice.size_hw)
        name = f"{Path(record.case_id).stem}.png"
        grey = cv2.resize(case.slice.pixels.astype(np.uint8), paper_rules.SIZE_HW[::-1], interpolation=cv2.INTER_LINEAR)
        write_png(out / "images" / name, np.asarray(grey, dtype=np.uint8))
        write_png(out / "masks" / name, label.astype(np.uint8) * np.uint8(255))
        written, empty = written + 1, empty + (not label.any())
    return written, empty


def main(
    data: Path, out: Annotated[Path, typer.Option(help="A folder to be made.")] = Path("runs/paper-labels")
) -> None:
    """Write the folder and say what is in it."""
    refuse_inside(out, data)
    written, empty = write_labelled(open_dataset(data), out)
    print(f"{out}: {written} slices, {empty} with an empty label")


if __name__ == "__main__":
    run_script(main)
