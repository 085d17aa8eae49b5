"""Commands that train, once and on every fold, and hand what was trained over as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.dividing import divide
from tumortrace.commands.options import ConfigOption, FoldOption, NegativesOption, SetOption, SeveralData, SplitOption
from tumortrace.commands.output import console, exit_if_unreadable, log, print_scores, report_findings
from tumortrace.errors import TumortraceError, installed, require_extra

By = Literal["groups", "source"]


def train(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: ConfigOption = None,
    overrides: SetOption = None,
    split: SplitOption = None,
    fold: FoldOption = None,
    exclude: Annotated[
        Path | None, typer.Option("--exclude", metavar="FILE", help="Images not to learn from, one name a line.")
    ] = None,
    negatives: NegativesOption = None,
    began_from: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Begin with the weights of this model.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder [runs/NAME].")] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out after a stop.")] = False,
) -> None:
    """Train a segmenter on the TRAIN part and measure each epoch on VAL.

    With --split and --fold, learn from the other folds; the fold that is held out is not looked at. With --from, what
    a model has learnt already is where training begins: give it slices of a hospital of yours.

    Example: tumortrace train br35h --config default --set training.epochs=3 --out runs/first
    """
    require_extra("train", purpose="train")
    from tumortrace.config import load_config
    from tumortrace.data.dataset import exclude as leave_out
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.inference.model import open_model
    from tumortrace.run_folder import FIRST, check_run_folder

    name = config or "default"
    run = out or Path("runs") / Path(name).stem
    if resume and (config or overrides):
        raise TumortraceError("--resume takes its settings from the run's config.toml; leave --config and --set away")
    if resume and began_from:
        raise TumortraceError("--resume goes on from the run's own weights; leave --from away")
    check_run_folder(run, resume=resume)
    settings = load_config(str(run / "config.toml") if resume else name, overrides or ())
    for root in [*data, *([negatives] if negatives else [])]:
        refuse_inside(run, root)
    selecting = settings.training.keep != "last"
    dataset = divide(open_datasets(data, negatives=negatives), split, fold, selecting=selecting)
    if exclude is not None:
        dataset = leave_out(dataset, exclude)
    model = open_model(began_from) if began_from else None
    if not resume:  # of a run that stopped within its first epoch, in whose place this one begins
        (run / FIRST).unlink(missing_ok=True)
    from tumortrace.training.run import train as train_run  # torch takes seconds: a mistake above is told before

    result = train_run(dataset, settings, out=run, began_from=model)
    report_findings(result.findings, kept_in=run / "manifest.json")
    _write_loss_figure(run, result.kept_epoch)
    console.print(
        f"Trained on {result.train_count} cases, measured on {result.val_count}; "
        f"kept epoch {result.kept_epoch} of {len(result.rows)}.\nRun folder: {run}"
    )
    exit_if_unreadable(result.findings)


def crossval(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: ConfigOption = None,
    overrides: SetOption = None,
    folds: Annotated[int, typer.Option("--folds", metavar="K", min=2, help="Number of folds.")] = 5,
    by: Annotated[By, typer.Option("--by", help="Folds of groups, or leave one source (DATA) out.")] = "groups",
    negatives: NegativesOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-crossval].")] = None,
) -> None:
    """Train and score every fold: each case is scored by a model that saw no copy of it. Call it again to go on.

    Example: tumortrace crossval br35h --config default --folds 5 --out runs/br35h-crossval
    """
    require_extra("train", purpose="train")
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.config import load_config
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.evaluation.summary import write_evaluation
    from tumortrace.reporting.cases import write_comparison, write_gallery

    name = config or "default"
    folder = out or Path("runs") / f"{Path(name).stem}-crossval"
    settings = load_config(name, overrides or ())
    for root in [*data, *([negatives] if negatives else [])]:
        refuse_inside(folder, root)
    dataset = open_datasets(data, negatives=negatives)
    from tumortrace.trials.crossval import cross_validate

    fitted, rows = cross_validate(
        dataset,
        settings,
        folds=folds,
        by=by,
        out=folder,
        on_case=lambda case, prediction: write_comparison(case, prediction, out=folder),
    )
    document = write_evaluation(fitted.evaluation, folder, folds=rows)
    write_gallery(fitted.evaluation, dataset.records, out=folder)
    report_findings(fitted.evaluation.findings, kept_in=folder / "summary.json")
    print_scores(document)
    console.print(
        f"Written to {folder}: per_image.csv, summary.json, split.json, fold-1 ... fold-{len(rows)}\n"
        f"Settings with the fitted threshold, temperature and confidence: {folder / 'calibrated.toml'}\n"
        f"Read it as a page: tumortrace report {folder}"
    )
    exit_if_unreadable(fitted.evaluation.findings)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The .onnx file to write.")],
    *,
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8 bits, if that is faster here and costs at most 0.002 of Dice.")
    ] = False,
) -> None:
    """Export a run's kept weights as ONNX; refuses when torch and ONNX disagree on slices that the run learnt from.

    Example: tumortrace export runs/first --out first.onnx
    """
    require_extra("train", purpose="export")
    if out.suffix != ".onnx":
        raise TumortraceError(f"--out {out} is not an .onnx file; give a name that ends in .onnx")
    from tumortrace.training.finished import export_run, open_run

    written = export_run(open_run(run), out, int8=int8)
    agreement, trial = written.agreement, written.trial
    console.print(
        f"Written to {written.path}: {written.size_bytes / 1e6:.2f} MB\n"
        f"Compared with torch on {written.compared} slices: largest difference in probability "
        f"{agreement.difference:.2g}, IoU of the masks {agreement.mask_iou:.4f}"
    )
    if trial is not None:
        console.print(
            f"One slice: int8 {trial.int8_ms:.2f} ms, float32 {trial.float_ms:.2f} ms\n"
            f"Mean Dice on {trial.slices} {trial.part} slices: "
            f"int8 {trial.int8_dice:.4f}, float32 {trial.float_dice:.4f}"
        )


def _write_loss_figure(run: Path, kept_epoch: int) -> None:
    if not installed("report"):
        log.print("no loss figure: install it with pip install 'tumortrace[report]'")
        return
    from tumortrace.reporting.figures import draw_losses, read_metrics, save_figure

    save_figure(draw_losses(read_metrics(run / "metrics.csv"), kept_epoch=kept_epoch), run / "losses.png")
