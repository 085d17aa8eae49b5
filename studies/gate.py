"""How many foreign pictures and how many real slices the gate rejects.

``python -m studies.gate DATA... --negatives DIR --ct DIR``
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from benchmarks.common import make_table
from rich.console import Console
from rich.table import Table

from studies.foreign import foreign_pictures
from tumortrace.cli import run_script
from tumortrace.data.dataset import open_datasets
from tumortrace.data.pictures import IMAGE_SUFFIXES
from tumortrace.data.slice import Slice, slice_from_array
from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.inference.features import measure_features
from tumortrace.inference.gate import NOT_MR, find_fault
from tumortrace.progress import track

Fault = tuple[str, str, str]
"""Kind or source of a picture, its name, and the reason for its rejection; the last is empty if it passes."""


def judge(image: Slice) -> str:
    """Return the gate's reason for rejecting a slice; empty if it passes."""
    return find_fault(measure_features(turn_upright(image.pixels), colour_share=image.colour_share), image.size_hw)


def judge_foreign(*, held_out: bool) -> list[Fault]:
    """Return the gate's answer to each picture of one set."""
    return [
        (picture.kind, picture.name, judge(slice_from_array(picture.pixels)))
        for picture in foreign_pictures(held_out=held_out)
    ]


def judge_slices(data: list[Path], negatives: Path | None) -> list[Fault]:
    """Return the gate's answer to each real slice, as it is and inverted."""
    records = open_datasets(data, negatives=negatives).records
    faults = []
    for record in track(records, "Judging", total=len(records)):
        image = read_slice(record.image_path)
        inverted = replace(image, pixels=image.pixels.max() - image.pixels)
        faults += [(record.source, record.case_id, judge(image))]
        faults += [(f"{record.source}, inverted", record.case_id, judge(inverted))]
    return sorted(faults, key=lambda fault: fault[0].split(",")[0])


def judge_folder(folder: Path) -> list[Fault]:
    """Return the gate's answer to each picture of a folder."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    return [(folder.name, path.name, judge(read_slice(path))) for path in paths]


def tabulate(title: str, faults: Iterable[Fault]) -> Table:
    """Return a row for each kind of picture: how many there are, how many are rejected, why, and which are not."""
    table = make_table(title, "kind", "n", "rejected", "why", "passed")
    by_kind: dict[str, list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault(fault[0], []).append(fault)
    for kind, listed in by_kind.items():
        away = Counter(why.removeprefix(NOT_MR) for _, _, why in listed if why)
        reasons = "; ".join(f"{why} ({count})" for why, count in away.most_common())
        passed = [name for _, name, why in listed if not why]
        shown = ", ".join(passed) if len(passed) <= 5 else str(len(passed))
        table.add_row(kind, str(len(listed)), f"{away.total()} ({away.total() / len(listed):.1%})", reasons, shown)
    return table


def main(
    data: list[Path],
    negatives: Annotated[Path | None, typer.Option(help="Slices without tumour.")] = None,
    ct: Annotated[Path | None, typer.Option(help="Head CT slices, to be rejected.")] = None,
) -> None:
    """Print a table for each set of pictures, and one for the slices."""
    console = Console(width=170)
    console.print(tabulate("Pictures that the limits were tuned on", judge_foreign(held_out=False)))
    console.print(tabulate("Other pictures", judge_foreign(held_out=True)))
    if ct:
        console.print(tabulate("Head CT", judge_folder(ct)))
    console.print(tabulate("Brain MR slices", judge_slices(data, negatives)))


if __name__ == "__main__":
    run_script(main)
