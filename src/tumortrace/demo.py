"""The demo: every step of tumortrace on generated slices, in about two minutes."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from tumortrace import api
from tumortrace.config import load_config
from tumortrace.errors import DataError, require_extra
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.locks import refuse_unwritable
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.reporting.figures import draw_run_losses, save_figure
from tumortrace.reporting.tables import tables_of_scores
from tumortrace.wording import counted

COUNTS = {"TRAIN": 160, "VAL": 32, "TEST": 32}
NO_TUMOUR = 8
SEED = 0


def run_demo(out: Path, console: Console) -> None:
    """Generate slices, train on them, score, segment, and draw; print what was made and where.

    Args:
        out: An empty or new folder.
        console: Console that the demo prints to.

    Raises:
        DataError: The folder is not empty, or cannot be written.
    """
    require_extra("report", purpose="draw the demo's figures")
    refuse_unwritable(out)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty; remove it or choose another --out")
    started = time.perf_counter()
    data, run, scores, masks, page = (out / name for name in ("data", "run", "evaluation", "masks", "report.html"))

    console.print("1. Generating slices: a skull, a textured brain, ventricles, tumours of four kinds or none")
    write_phantom_dataset(data, counts=COUNTS, no_tumour=NO_TUMOUR, seed=SEED)

    console.print("2. Training a small U-Net on the TRAIN part")
    trained = api.train(data, out=run, config=load_config("smoke"))
    save_figure(draw_run_losses(run, kept_epoch=trained.kept_epoch), run / "losses.png")

    console.print("3. Scoring it on the TEST part, which it was not trained on")
    evaluation = api.evaluate(data, model=str(run), out=scores)
    for table in tables_of_scores(evaluation.summary):
        console.print(table)

    console.print("4. Segmenting slices without a tumour")
    segmented = segment_inputs([str(data / "no_tumour")], out=masks, model=str(run), overlay=True)
    console.print(
        f"   the model marks a tumour on {segmented.tumours} of {counted(segmented.total, 'tumour-free slice')}"
    )

    console.print("5. Writing all of it down on one page")
    api.report([run, scores], out=page)

    console.print()
    console.print(f"Done in {time.perf_counter() - started:.0f} s. Look at:")
    for path, what in (
        (page, "the report: opens in any browser, offline"),
        (data, "the generated slices with their VIA annotations"),
        (run, "the run: weights, ONNX model, losses.png, manifest.json"),
        (scores / "per_image.csv", "every case's score"),
        (scores / "figures", "the best, the worst and random cases, four panels each"),
        (masks, "masks, overlays and results.json of the tumour-free slices"),
    ):
        console.print(f"  {path}: {what}", markup=False)
