"""The command that segments pictures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumortrace.commands.options import ModelOption
from tumortrace.commands.output import console, log
from tumortrace.errors import TumortraceError

if TYPE_CHECKING:
    from tumortrace.inference.batch import SegmentSummary


def segment(  # noqa: PLR0913 - the options of the command
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="JPEG, PNG, TIFF, BMP, GIF or WebP pictures, folders of them, or glob patterns."
        ),
    ] = None,
    model: ModelOption = "default",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the masks [tumortrace-masks, tumortrace-sample]."),
    ] = None,
    *,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture.")] = False,
    spacing_mm: Annotated[
        tuple[float, float] | None,
        typer.Option("--spacing-mm", metavar="Y X", help="Distance of rows and of columns in mm, for sizes in mm."),
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average with the mirror image, whatever the model says.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Also segment what seems no brain MR slice.")] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Segment a generated slice, to see it work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json on stdout, and nothing else.")] = False,
) -> None:
    """Segment pictures; write one mask per picture and results.json.

    Example: tumortrace segment scans/ --out masks --overlay
    """
    from tumortrace.inference.inputs import segment_inputs, segment_sample
    from tumortrace.inference.results import RESULTS

    if sample == bool(inputs):
        raise TumortraceError("give pictures, folders or patterns to segment, or --sample alone to see it work")
    gate = not no_gate
    if inputs:
        folder = out or Path("tumortrace-masks")
        summary = segment_inputs(
            inputs, out=folder, model=model, overlay=overlay, tta=tta, gate=gate, spacing_mm=spacing_mm
        )
    else:  # into a folder of its own, so that trying it out is not in the way of the first real scans
        folder = out or Path("tumortrace-sample")
        summary = segment_sample(out=folder, model=model, tta=tta, gate=gate, spacing_mm=spacing_mm)
    for reason in summary.failures:
        log.print(reason)
    if as_json:
        with (folder / RESULTS).open(encoding="utf-8") as file:
            shutil.copyfileobj(file, sys.stdout)  # the document itself, untouched by rich
    else:
        console.print(*_describe(summary), sep="\n")
    if summary.failures:
        raise typer.Exit(1)


def _describe(summary: SegmentSummary) -> list[str]:
    """Say what became of the pictures, line by line."""
    failed, doubtful = len(summary.failures), summary.review - summary.rejected - len(summary.failures)
    parts = {"segmented": doubtful, "rejected": summary.rejected, "failed": failed}
    named = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
    lines = [
        f"{summary.ok} of {summary.total} pictures segmented, {summary.tumours} with a tumour; "
        f"{summary.review} to review" + (f": {named}" if named else "")
    ]
    if doubtful:
        lines += [f"{doubtful} segmented, to review:", *_name(summary.doubtful, doubtful)]
    if summary.rejected:
        lines.append(f"{summary.rejected} rejected: no brain MR slices (--no-gate segments them all the same)")
        lines += _name(summary.rejections, summary.rejected)
    if summary.rejected and not summary.ok:
        lines.append("No picture was segmented: there is no mask.")
    if failed:
        lines.append(f"{failed} failed: could not be read or segmented (named above and in results.json)")
    if summary.skipped:
        lines.append(f"{summary.skipped} skipped: files of other types (named in results.json)")
    if summary.own:
        lines.append(f"{summary.own} skipped: masks and overlays that tumortrace drew (named in results.json)")
    return [*lines, f"Masks, results.json and results.csv: {summary.out}"]


def _name(named: Sequence[str], count: int) -> list[str]:
    """The pictures that are named, and how many are not."""
    more = count - len(named)
    return [f"  {line}" for line in named] + ([f"  and {more} more, all in results.json"] if more else [])
