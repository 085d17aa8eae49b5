"""Loss of Dice by damage to a scan, on held-out slices.

``python -m studies.robustness DATA... --negatives DIR --crossval DIR`` takes the folds that ``tumortrace crossval``
trained, damages each fold's held-out slices with tumour (of every ``--every``-th) in each way, and prints the mean Dice
and its loss. Copies of training slices are left out and named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from studies.held_out import list_trained, take_held_out
from tumortrace.cli import run_script
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.data.slice import Slice
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import write_csv
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track
from tumortrace.training.augment import strip_skull

Grey = NDArray[np.float32]
Truth = NDArray[np.uint8]
Damage = Callable[[Grey, Truth], tuple[Grey, Truth]]


def on_grey(change: Callable[[Grey], Grey]) -> Damage:
    """Return a damage to the grey values alone; what leaves 0..1 is cut off, as in a file."""
    return lambda grey, truth: (np.clip(change(grey), 0, 1).astype(np.float32), truth)


def jpeg(grey: Grey) -> Grey:
    """Store as JPEG of quality 20."""
    data = cv2.imencode(".jpg", (grey * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return np.asarray(decoded / np.float32(255), dtype=np.float32)


def noisy(grey: Grey) -> Grey:
    """Add Gaussian noise of 5 % of the range."""
    return grey + np.float32(0.05) * np.random.default_rng(0).standard_normal(grey.shape, dtype=np.float32)


def warped(angle_deg: float, scale: float) -> Damage:
    """Return a damage that turns and scales about the middle, in a frame of the same size."""

    def damage(grey: Grey, truth: Truth) -> tuple[Grey, Truth]:
        height, width = grey.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, scale)
        turned = cv2.warpAffine(grey, matrix, (width, height), flags=cv2.INTER_LINEAR)
        outline = cv2.warpAffine(truth, matrix, (width, height), flags=cv2.INTER_NEAREST)
        return np.asarray(turned, np.float32), np.asarray(outline, np.uint8)

    return damage


def halved(grey: Grey, truth: Truth) -> tuple[Grey, Truth]:
    """Halve width and height."""
    size_wh = (grey.shape[1] // 2, grey.shape[0] // 2)
    small = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA)
    outline = cv2.resize(truth, size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, np.float32), np.asarray(outline, np.uint8)


def bordered(grey: Grey, truth: Truth) -> tuple[Grey, Truth]:
    """Add a tenth of black on every side, and a white frame around it."""
    side = max(grey.shape) // 10
    wide = cv2.copyMakeBorder(grey, side, side, side, side, cv2.BORDER_CONSTANT, value=0)
    cv2.rectangle(wide, (0, 0), (wide.shape[1] - 1, wide.shape[0] - 1), 1.0, 2)
    outline = cv2.copyMakeBorder(truth, side, side, side, side, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(wide, np.float32), np.asarray(outline, np.uint8)


def labelled(grey: Grey) -> Grey:
    """Write text in two corners, as viewers do."""
    drawn = np.zeros(grey.shape, np.uint8)
    size = max(grey.shape) / 700
    cv2.putText(drawn, "R  SLICE 12", (4, int(30 * size) + 4), cv2.FONT_HERSHEY_SIMPLEX, size, 1, 1)
    cv2.putText(drawn, "2020-01-01", (4, grey.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, size, 1, 1)
    return np.where(drawn > 0, np.float32(1), grey)


DAMAGES: dict[str, Damage] = {
    "none": on_grey(lambda grey: grey),
    "gamma 0.5": on_grey(lambda grey: grey**0.5),
    "gamma 2": on_grey(lambda grey: grey**2),
    "contrast x 0.6": on_grey(lambda grey: 0.5 + 0.6 * (grey - 0.5)),
    "contrast x 1.5": on_grey(lambda grey: 0.5 + 1.5 * (grey - 0.5)),
    "brightness - 0.15": on_grey(lambda grey: grey - 0.15),
    "brightness + 0.15": on_grey(lambda grey: grey + 0.15),
    "JPEG 20": on_grey(jpeg),
    "blur (sigma 0.5 % of the longer side)": on_grey(
        lambda grey: np.asarray(cv2.GaussianBlur(grey, (0, 0), max(grey.shape) / 200), np.float32)
    ),
    "noise 5 %": on_grey(noisy),
    "rotation 30 degrees": warped(30, 1),
    "scale 0.7": warped(0, 0.7),
    "scale 1.4": warped(0, 1.4),
    "resized to a half": halved,
    "inverted": on_grey(lambda grey: 1 - grey),
    "border and frame": bordered,
    "text": on_grey(labelled),
    "skull removed": lambda grey, truth: (strip_skull(grey, truth, depth=0.2), truth),
}


def score(crossval: Path, whole: Dataset, *, every: int) -> dict[str, dict[str, float]]:
    """Return the Dice of each slice with tumour by its case id, for each of ``DAMAGES``; ``none`` is undamaged."""
    split = read_split(crossval / "split.json")
    dices: dict[str, dict[str, float]] = {name: {} for name in DAMAGES}
    for side in list_trained(crossval, split):
        run = crossval / f"fold-{side}"
        model = open_model(str(run))
        records = take_held_out(apply_split(whole, split, fold=int(side)), run, every=every)
        for record, case, _ in track(read_cases(records), f"Fold {side}", total=len(records)):
            if case is None or not case.truth.any():
                continue
            pixels = case.slice.pixels.astype(np.float32)
            grey = (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1e-6)
            truth = case.truth.astype(np.uint8)
            for name, damage in DAMAGES.items():
                changed, outline = damage(grey, truth)
                if outline.any():
                    picture = (changed * 255 + 0.5).astype(np.uint8)
                    mask = predict(model, Slice(picture, record.case_id)).mask
                    dices[name][record.case_id] = count_pixels(mask, outline > 0).dice
    return dices


def tabulate(dices: dict[str, dict[str, float]], group_of: dict[str, str]) -> Table:
    """Return a row for each damage: mean Dice, and its loss on the same slices with the 95 % interval over groups."""
    table = make_table("Out-of-fold Dice of damaged slices", "damage", "slices", "Dice", "lost", "95 %")
    for name, of_case in dices.items():
        losses = [dices["none"][case] - dice for case, dice in of_case.items()]
        low, high = mean_interval(losses, [group_of[case] for case in of_case], shares=False)
        interval = "" if name == "none" else f"{low:+.3f} to {high:+.3f}"
        mean, lost = np.mean(list(of_case.values())), np.mean(losses)
        table.add_row(name, str(len(of_case)), f"{mean:.3f}", f"{lost:+.3f}", interval)
    return table


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
    every: Annotated[int, typer.Option()] = 5,
    out: Annotated[Path, typer.Option()] = Path("runs/robustness.csv"),
) -> None:
    """Score every damage, print the table, and keep each slice's Dice as CSV."""
    dices = score(crossval, open_datasets(data, negatives=negatives), every=every)
    rows = (
        {"file": case, "damage": name, "dice": f"{dice:.4f}"}
        for name, of_case in dices.items()
        for case, dice in of_case.items()
    )
    write_csv(out, rows, columns=("file", "damage", "dice"))
    group_of = {case.file: case.group for case in read_split(crossval / "split.json").cases}
    Console(width=100).print(tabulate(dices, group_of))


if __name__ == "__main__":
    run_script(main)
