"""The command that exports a run as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tumortrace.commands.output import console
from tumortrace.errors import TumortraceError, require_extra
from tumortrace.wording import counted


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The .onnx file to write.")],
    calibrated: Annotated[
        Path | None,
        typer.Option(
            "--calibrated", metavar="FILE", help="Use the thresholds that crossval fitted: its calibrated.toml."
        ),
    ] = None,
    *,
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8 bits, if that is faster here and costs at most 0.002 of Dice.")
    ] = False,
) -> None:
    """Export the model of a run as ONNX.

    The export is refused if torch and ONNX disagree on training slices of the run.

    Example: tumortrace export runs/first --out first.onnx
    """
    require_extra("train", purpose="export")
    if out.suffix != ".onnx":
        raise TumortraceError(f"--out {out} is not an .onnx file; give a name that ends in .onnx")
    from tumortrace.training.export_run import export_run, open_run

    written = export_run(open_run(run), out, int8=int8, calibrated=calibrated)
    agreement, trial = written.agreement, written.trial
    console.print(
        f"Written to {written.path}: {written.size_bytes / 1e6:.2f} MB",
        f"Compared with torch on {counted(written.compared, 'slice')}: largest difference in probability "
        f"{agreement.difference:.2g}, IoU of the masks {agreement.mask_iou:.4f}",
        sep="\n",
    )
    if trial is not None:
        console.print(
            f"One slice: int8 {trial.int8_ms:.2f} ms, float32 {trial.float_ms:.2f} ms",
            f"Mean Dice on {counted(trial.slices, f'{trial.part} slice')}: "
            f"int8 {trial.int8_dice:.4f}, float32 {trial.float_dice:.4f}",
            sep="\n",
        )
