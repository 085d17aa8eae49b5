"""Commands that use a model: segment pictures, ask what a model is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tumortrace
from tumortrace.commands.options import ModelOption
from tumortrace.commands.output import console, log
from tumortrace.errors import EXTRAS, TumortraceError, installed
from tumortrace.machine import usable_cores

if TYPE_CHECKING:
    from tumortrace.inference.batch import Tally

MANY_PICTURES = 4
"""From so many pictures on each core takes one of its own."""


def segment(  # noqa: PLR0913 - the options of the command
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT...", help="Pictures, folders or glob patterns.")
    ] = None,
    model: ModelOption = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the masks.  [default: tumortrace-masks; of --sample: tumortrace-sample]",
        ),
    ] = None,
    *,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Look at the mirror image too, whatever the model says.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Segment what seems no brain MR slice, too.")] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Segment a generated slice, to see it work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json on stdout, and nothing else.")] = False,
) -> None:
    """Find the tumour in pictures: a mask for each, and results.json.

    Example: tumortrace segment scans/ --out masks --overlay
    """
    import cv2

    from tumortrace.inference.batch import segment_pictures
    from tumortrace.inference.pictures import find_pictures, refuse_out_in_inputs
    from tumortrace.inference.results import RESULTS
    from tumortrace.inference.segmenter import Segmenter

    if sample == bool(inputs):
        raise TumortraceError("give pictures, folders or patterns to segment, or --sample alone to see it work")
    # Of its own, so that trying it out is not in the way of the first real scans.
    out = out or Path("tumortrace-sample" if sample else "tumortrace-masks")
    chosen = inputs or [_write_sample(out)]
    refuse_out_in_inputs(out, chosen)
    pictures, skipped = find_pictures(chosen)
    # Many pictures go fastest with one a core and one more, for when one waits for the interpreter; a few with all
    # cores on each. OpenCV's own threads would get in between.
    workers = usable_cores() + 1 if len(pictures) >= MANY_PICTURES else 1
    cv2.setNumThreads(1)
    segmenter = Segmenter(model, threads=1 if workers > 1 else 0, tta=tta, gate=not no_gate)
    tally = segment_pictures(segmenter, pictures, out=out, skipped=skipped, overlay=overlay or sample, workers=workers)
    for reason in tally.failures:
        log.print(reason)
    if as_json:
        with (out / RESULTS).open(encoding="utf-8") as file:
            shutil.copyfileobj(file, sys.stdout)  # the document itself, untouched by rich
    else:
        _print_segmented(tally, skipped=len(skipped), out=out)
    if tally.failures:
        raise typer.Exit(1)


def info(
    target: Annotated[
        str | None, typer.Argument(metavar="MODEL|RUN", help="default, a run folder or an .onnx file.")
    ] = None,
) -> None:
    """Show the version, what is installed, and what a model says of itself.

    Example: tumortrace info default
    """
    of_model = "" if target is None else _describe_model(target)
    console.print(f"tumortrace {tumortrace.__version__} (research software, not a medical device)")
    console.print("installed extras: " + (", ".join(extra for extra in EXTRAS if installed(extra)) or "none"))
    console.print(f"CPU cores: {usable_cores()}, GPU: {_describe_gpu()}")
    if target is None:
        console.print("the model that ships with it, its data, scores, limits and licence: tumortrace info default")
    else:
        console.print(f"\n{of_model}")


def _describe_model(target: str) -> str:
    """All that a model says of itself; found before anything is printed, because there may be no such model."""
    from tumortrace.inference.card import describe_card, read_card
    from tumortrace.inference.model import open_model

    model = open_model(target)
    lines = [f"model: {model.name}", f"file: {model.path}", f"sha256: {model.sha256}"]
    card = read_card(model)
    if card is not None:
        lines.append(describe_card(card))
    lines += [*_lines_of("recipe", asdict(model.recipe)), *_lines_of("card", model.card)]
    layers = model.path.with_name("network.txt")
    if layers.is_file():
        lines.append(layers.read_text(encoding="utf-8"))
    return "\n".join(lines)


def _lines_of(name: str, fields: Mapping[str, Any]) -> list[str]:
    """A line for each field, with the name that ``--set`` knows it by."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, Mapping):
            lines += _lines_of(f"{name}.{key}", value)
        else:
            lines.append(f"{name}.{key}: {_in_words(value)}")
    return lines


def _in_words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _describe_gpu() -> str:
    if not installed("train"):
        return "not looked for, torch is not installed"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _write_sample(out: Path) -> str:
    """A generated slice with a tumour, beside its results."""
    import numpy as np

    from tumortrace.data.slice import write_png
    from tumortrace.inference.results import RESULTS, has_results
    from tumortrace.phantoms.slices import draw_phantom

    path = out / "sample.png"
    if path.exists() and not has_results(out):
        raise TumortraceError(f"{path}: exists, and no {RESULTS} beside it says that it is ours; choose another --out")
    write_png(path, draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)
    return str(path)


def _print_segmented(tally: Tally, *, skipped: int, out: Path) -> None:
    total = tally.ok + tally.rejected + len(tally.failures)
    segmented = f"{tally.ok} of {total} pictures segmented, {tally.tumours} with a tumour"
    console.print(f"{segmented}; {_describe_review(tally)}")
    if tally.rejected:
        console.print(f"{tally.rejected} rejected: no brain MR slices (--no-gate segments them all the same)")
        for line in tally.rejections:
            console.print(f"  {line}")
        if tally.rejected > len(tally.rejections):
            console.print(f"  and {tally.rejected - len(tally.rejections)} more, all in results.json")
    if tally.failures:
        console.print(f"{len(tally.failures)} failed: could not be read (named above and in results.json)")
    if skipped:
        console.print(f"{skipped} skipped: files of other types (named in results.json)")
    console.print(f"Masks and results.json: {out}")


def _describe_review(tally: Tally) -> str:
    """How many pictures have ``review`` true in ``results.json``, and what they are."""
    failed = len(tally.failures)
    doubtful = tally.review - tally.rejected - failed
    parts = {"segmented": doubtful, "rejected": tally.rejected, "failed": failed}
    named = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
    return f"{tally.review} to review" + (f": {named}" if named else "")
