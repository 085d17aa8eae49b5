"""Commands that use a model: segment pictures, ask what a model is."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the masks.")] = Path("tumortrace-masks"),
    *,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the slice and its mirror image: slower.")] = False,
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
    chosen = inputs or [_write_sample(out)]
    refuse_out_in_inputs(out, chosen)
    pictures, skipped = find_pictures(chosen)
    # Many pictures go fastest with one a core and one more, for when one waits for the interpreter; a few with all
    # cores on each. OpenCV's own threads would get in between.
    workers = usable_cores() + 1 if len(pictures) >= MANY_PICTURES else 1
    cv2.setNumThreads(1)
    segmenter = Segmenter(model, threads=1 if workers > 1 else 0, tta=tta)
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
    from tumortrace.inference.card import describe_card, read_card
    from tumortrace.inference.model import open_model

    console.print(f"tumortrace {tumortrace.__version__} (research software, not a medical device)")
    console.print("installed extras: " + (", ".join(extra for extra in EXTRAS if installed(extra)) or "none"))
    console.print(f"CPU cores: {usable_cores()}, GPU: {_describe_gpu()}")
    if target is None:
        console.print("the model that ships with it, its data, scores, limits and licence: tumortrace info default")
        return
    model = open_model(target)
    console.print(f"\nmodel: {model.name}\nfile: {model.path}\nsha256: {model.sha256}")
    card = read_card(model)
    if card is not None:
        console.print(describe_card(card))
    console.print(f"recipe: {model.recipe}\ncard: {json.dumps(model.card)}")
    layers = model.path.with_name("network.txt")
    if layers.is_file():
        console.print(layers.read_text(encoding="utf-8"))


def _describe_gpu() -> str:
    if not installed("train"):
        return "not looked for, torch is not installed"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _write_sample(out: Path) -> str:
    """A generated slice with a tumour, beside its results."""
    import numpy as np

    from tumortrace.data.phantoms import draw_phantom
    from tumortrace.data.slice import write_png
    from tumortrace.inference.results import RESULTS

    path = out / "sample.png"
    if path.exists() and not (out / RESULTS).is_file():
        raise TumortraceError(f"{path}: exists, and no {RESULTS} beside it says that it is ours; choose another --out")
    write_png(path, draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)
    return str(path)


def _print_segmented(tally: Tally, *, skipped: int, out: Path) -> None:
    total = tally.ok + tally.rejected + len(tally.failures)
    console.print(f"{tally.ok} of {total} pictures segmented, {tally.tumours} with a tumour, {tally.review} to review")
    if tally.rejected:
        console.print(f"{tally.rejected} rejected: no brain MR slices (why, in results.json)")
    if tally.failures:
        console.print(f"{len(tally.failures)} failed: could not be read (named above and in results.json)")
    if skipped:
        console.print(f"{skipped} skipped: files of other types (named in results.json)")
    console.print(f"Masks and results.json: {out}")
