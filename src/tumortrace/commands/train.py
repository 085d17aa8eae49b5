"""The command that trains a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tumortrace import api
from tumortrace.commands.options import (
    ConfigOption,
    FoldOption,
    LabelOption,
    NegativesOption,
    SetOption,
    SeveralData,
    SplitOption,
)
from tumortrace.commands.output import console, exit_if_unreadable, log, report_findings
from tumortrace.errors import installed


def train(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: ConfigOption = None,
    overrides: SetOption = None,
    split: SplitOption = None,
    fold: FoldOption = None,
    exclude: Annotated[
        Path | None, typer.Option("--exclude", metavar="FILE", help="Images to omit from training, one name a line.")
    ] = None,
    negatives: NegativesOption = None,
    label: LabelOption = None,
    start_from: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Start from the weights of this model.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder [runs/NAME].")] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after a stop.")] = False,
) -> None:
    """Train a segmenter on TRAIN and measure each epoch on VAL.

    With --split and --fold, the model is trained on the other folds, and the held-out fold is not opened. With --from,
    training starts from a model's weights: the way to adapt it to slices of another hospital.

    Example: tumortrace train br35h --config default --set training.epochs=3 --out runs/first
    """
    run = out or Path("runs") / Path(config or "default").stem
    result = api.train(
        data,
        out=run,
        config=config,
        overrides=overrides or (),
        split=split,
        fold=fold,
        exclude=exclude,
        negatives=negatives,
        label=label,
        start_from=start_from,
        resume=resume,
    )
    report_findings(result.findings, kept_in=run / "manifest.json")
    _write_loss_figure(run, result.kept_epoch)
    console.print(
        f"Trained on {result.train_count} cases, measured on {result.val_count}; "
        f"kept epoch {result.kept_epoch} of {len(result.rows)}.",
        f"Run folder: {run}",
        sep="\n",
    )
    exit_if_unreadable(result.findings)


def _write_loss_figure(run: Path, kept_epoch: int) -> None:
    if not installed("report"):
        log.print("no loss figure: install it with pip install 'tumortrace[report]'")
        return
    from tumortrace.reporting.figures import draw_run_losses, save_figure

    save_figure(draw_run_losses(run, kept_epoch=kept_epoch), run / "losses.png")
