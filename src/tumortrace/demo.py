"""The whole of tumortrace on generated slices: data, training, scores, masks and figures, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from tumortrace.config import load_config
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import DataError, require_extra
from tumortrace.evaluation.evaluate import evaluate
from tumortrace.evaluation.summary import write_evaluation
from tumortrace.inference.batch import segment_pictures
from tumortrace.inference.model import open_model
from tumortrace.inference.pictures import find_pictures
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.reporting.cases import write_case_figures, write_comparison, write_gallery
from tumortrace.reporting.figures import draw_losses, read_metrics, save_figure
from tumortrace.reporting.page import write_report
from tumortrace.reporting.tables import tables_of_scores
from tumortrace.run_folder import TRAINING_INDEX
from tumortrace.training.run import train

COUNTS = {"TRAIN": 160, "VAL": 32, "TEST": 32}
NO_TUMOUR = 8
SEED = 0


def run_demo(out: Path, console: Console) -> None:
    """Generate slices, train on them, score, segment, and draw; prints what was made and where.

    Args:
        out: An empty or new folder.
        console: Where to print.

    Raises:
        DataError: The folder holds something already.
    """
    require_extra("report", purpose="draw the demo's figures")
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty; remove it or choose another --out")
    started = time.perf_counter()
    data, run, scores, masks = (out / name for name in ("data", "run", "evaluation", "masks"))

    console.print("1. Generating slices: a skull, a textured brain, ventricles, tumours of four kinds or none")
    write_phantom_dataset(data, counts=COUNTS, no_tumour=NO_TUMOUR, seed=SEED)
    dataset = open_dataset(data)

    console.print("2. Training a small U-Net on the TRAIN part")
    result = train(dataset, load_config("smoke"), out=run)
    save_figure(draw_losses(read_metrics(run / "metrics.csv"), kept_epoch=result.kept_epoch), run / "losses.png")

    console.print("3. Scoring it on the TEST part, which it has never seen")
    model = open_model(str(run))
    test = dataset.select("test")
    evaluation = evaluate(
        model,
        test,
        survey_cases(test),
        memory=load_training_index(run / TRAINING_INDEX),
        on_case=lambda case, prediction: write_comparison(case, prediction, out=scores),
    )
    document = write_evaluation(evaluation, scores)
    figures = write_case_figures(evaluation, test, model, out=scores)
    write_gallery(evaluation, test, out=scores)
    for table in tables_of_scores(document):
        console.print(table)

    console.print("4. Segmenting slices without a tumour")
    pictures, skipped = find_pictures([str(data / "no_tumour")])
    tally = segment_pictures(Segmenter(model), pictures, out=masks, skipped=skipped, overlay=True)
    console.print(f"   {tally.tumours} of {len(pictures)} tumour-free slices have a mask that is not empty")

    console.print("5. Writing all of it down on one page")
    page = out / "report.html"
    write_report([run, scores], page)

    console.print(f"\nDone in {time.perf_counter() - started:.0f} s. Look at:")
    for path, what in (
        (page, "the report: opens in any browser, offline"),
        (data, "the generated slices with their VIA annotations"),
        (run, "the run: weights, ONNX model, losses.png, manifest.json"),
        (scores / "per_image.csv", "every case's score"),
        *((figure, f"{figure.stem} cases, four panels each") for figure in figures),
        (masks, "masks, overlays and results.json of the tumour-free slices"),
    ):
        console.print(f"  {path}: {what}", markup=False)
