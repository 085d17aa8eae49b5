"""Commands that use a model: segment pictures, ask what a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import tumortrace
from tumortrace.commands.options import ModelOption
from tumortrace.commands.output import console, log
from tumortrace.errors import EXTRAS, installed
from tumortrace.machine import usable_cores


def segment(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders or glob patterns.")],
    model: ModelOption = "default",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the masks.")] = Path("tumortrace-masks"),
    *,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json on stdout, and nothing else.")] = False,
) -> None:
    """Find the tumour in pictures: a mask for each, and results.json.

    Example: tumortrace segment scans/ --model runs/first --out masks --overlay
    """
    from tumortrace.inference.batch import find_pictures, refuse_out_in_inputs, segment_pictures
    from tumortrace.inference.model import open_model

    refuse_out_in_inputs(out, inputs)
    pictures, skipped = find_pictures(inputs)
    results = segment_pictures(open_model(model), pictures, out=out, skipped=skipped, overlay=overlay)
    failed = [image for image in results["images"] if image["status"] == "error"]
    for image in failed:
        log.print(image["reason"])
    if as_json:
        print(json.dumps(results, indent=2))  # noqa: T201 - the document itself, untouched by rich
    else:
        _print_segmented(results, failed=len(failed), out=out)
    if failed:
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


def _print_segmented(results: dict[str, Any], *, failed: int, out: Path) -> None:
    images = results["images"]
    tumours = sum(image["tumour"] is True for image in images)
    review = sum(image["review"] for image in images if image["status"] == "ok")
    console.print(
        f"{len(images) - failed} of {len(images)} pictures segmented, {tumours} with a tumour, {review} to review"
    )
    if results["skipped"]:
        console.print(f"{len(results['skipped'])} files of other types skipped (named in results.json)")
    console.print(f"Masks and results.json: {out}")
