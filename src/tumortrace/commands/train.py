"""The command that trains a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.commands.options import (
    FoldOption,
    LabelOption,
    NegativesOption,
    SetOption,
    SeveralData,
    SplitOption,
)
from tumortrace.commands.output import (
    console,
    exit_if_unreadable,
    log,
    name_next_command,
    report_findings,
    words_to_continue,
)
from tumortrace.errors import TumortraceError, installed
from tumortrace.processes import LOST, PeerLostError, Place, find_place, is_launched, launch, watch_launcher
from tumortrace.progress import silence
from tumortrace.wording import counted


def train(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="NAME|FILE", help="box, default, fast, narrow, paper, smoke, or TOML file [default]."
        ),
    ] = None,
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
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices", metavar="N", min=1, help="Processes on this machine, one a GPU; CPU cores are divided [1]."
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", metavar="M", min=1, help="Number of machines; each runs this command [1].")
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after a stop.")] = False,
) -> None:
    """Train a segmenter on TRAIN and validate each epoch on VAL.

    With --split and --fold, the model is trained on the other folds, and the held-out fold is not opened. With --from,
    training starts from a model's weights: the way to adapt it to slices of another hospital. With --devices, several
    processes divide each batch; torchrun may start them too.

    Example: tumortrace train br35h --config fast --set training.epochs=3 --out runs/first
    """
    run = out or Path("runs") / Path(config or "default").stem
    place = _find_place(devices, nodes)
    name_next = name_next_command(lambda: words_to_continue(run, drop=("--config", "--set", "--from")))
    if place is None and (devices or 1) * (nodes or 1) > 1:
        with name_next:
            command = [sys.executable, "-P", "-m", "tumortrace", *sys.argv[1:]]  # no module of the user's folder
            raise typer.Exit(launch(command, devices=devices or 1, nodes=nodes or 1))
    with _as_one_of(place) if place else name_next:
        result = tumortrace.train(
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
    if place is not None and place.rank:
        return
    report_findings(result.findings, listed_in=run / "manifest.json")
    _write_loss_figure(run, result.kept_epoch)
    console.print(
        f"Trained on {counted(result.train_count, 'slice')}, validated on {result.val_count}; "
        f"kept epoch {result.kept_epoch} of {len(result.rows)}.",
        f"Run folder: {run}",
        sep="\n",
    )
    exit_if_unreadable(result.findings)


def _find_place(devices: int | None, nodes: int | None) -> Place | None:
    """Return the place that this process was started at; None if it was started alone.

    Raises:
        TumortraceError: It is one of another number of processes than the options say.
    """
    place = find_place()
    if place is not None:
        found = {"--devices": (devices, place.local_size), "--nodes": (nodes, place.size // place.local_size)}
        for option, (asked, there) in found.items():
            if asked is not None and asked != there:
                raise TumortraceError(f"{option} {asked}, but torchrun started {there}; omit {option}")
    return place


@contextmanager
def _as_one_of(place: Place) -> Iterator[None]:
    """Train as one of several processes, of which the first one shows progress; what ends one is said once."""
    if is_launched():
        watch_launcher()
    try:
        with silence() if place.rank else nullcontext():
            yield
    except PeerLostError:
        if is_launched():
            raise typer.Exit(LOST) from None
        raise


def _write_loss_figure(run: Path, kept_epoch: int) -> None:
    if not installed("report"):
        log.print("no loss figure: install it with pip install 'tumortrace[report]'")
        return
    from tumortrace.reporting.figures import draw_run_losses, save_figure

    save_figure(draw_run_losses(run, kept_epoch=kept_epoch), run / "losses.png")
