"""The command that shows what is installed and what a model says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tumortrace
from tumortrace.commands.output import console
from tumortrace.errors import EXTRAS, DataError, installed
from tumortrace.json_csv import read_json
from tumortrace.machine import usable_cores
from tumortrace.run_folder import BOX_ENCODER, CONFIG, MODEL, NETWORK
from tumortrace.wording import counted

ACCEPTED = "default, fast, box, a run folder, an .onnx file, or a folder of scans"
"""What the command describes."""

if TYPE_CHECKING:
    from tumortrace.data.volume import Volume


def info(
    target: Annotated[str | None, typer.Argument(metavar="MODEL|RUN|FOLDER", help=f"{ACCEPTED}.")] = None,
    diff: Annotated[
        Path | None, typer.Option("--diff", metavar="RUN", help="Name what differs between this run and another.")
    ] = None,
) -> None:
    """Show the version, a model's card, or the series in a folder.

    With --diff: versions, settings, data and weights that differ between two runs.

    Example: tumortrace info default
    """
    if diff is not None:
        _print_difference(target, diff)
        return
    if target is not None and (scans := _describe_scans(target)):
        for line in scans:
            console.print(line, soft_wrap=True)
        return
    from tumortrace.inference.folder_default import find_folder_default

    of_model = [] if target is None else _describe_model(target)
    console.print(f"tumortrace {tumortrace.__version__} (research software, not a medical device)")
    console.print("installed extras: " + (", ".join(extra for extra in EXTRAS if installed(extra)) or "none"))
    console.print(f"CPU cores: {usable_cores()}, GPU: {_describe_gpu()}")
    if (local := find_folder_default()) is not None:
        console.print(local.describe(), f"  {local.reason}", sep="\n")
    if target is None:
        console.print("the model that ships with it, its data, scores, limits and licence: tumortrace info default")
    else:
        console.print("", *of_model, sep="\n")


def _print_difference(target: str | None, other: Path) -> None:
    from tumortrace.evaluation.run_diff import compare_runs

    if target is None:
        raise DataError("--diff compares two runs; give the first one too: tumortrace info RUN --diff RUN")
    console.print(*compare_runs(Path(target), other), sep="\n", markup=False, soft_wrap=True)


def _describe_scans(target: str) -> list[str]:
    """The volumes of a file or folder, line by line; nothing if it holds no scan, or is a model or run."""
    from tumortrace.data.scans import find_kind, open_volumes
    from tumortrace.inference.model import BOX_MODEL, SHIPPED

    path = Path(target)
    if (
        target in {*SHIPPED, BOX_MODEL}
        or not path.exists()
        or _is_run(path)
        or (path.is_file() and find_kind(path) is None)
    ):
        return []
    opened = open_volumes(path)
    if not opened.volumes and not opened.findings:
        return []
    lines = [f"{target}: {counted(len(opened.volumes), 'volume')}"]
    for volume in opened.volumes:
        lines += ["", *_describe_volume(volume)]
    lines += ["", *(finding.line() for finding in opened.findings)] if opened.findings else []
    return [*lines, f"other files: {len(opened.others)}"] if opened.others else lines


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (MODEL, CONFIG, BOX_ENCODER))


def _describe_volume(volume: Volume) -> list[str]:
    height, width = volume.size_hw
    sides = volume.spacing_mm
    spacing = "unknown" if sides is None else f"{sides[0]:.3f} x {sides[1]:.3f} mm (rows x columns)"
    step = "unknown" if volume.step_mm is None else f"{volume.step_mm:.3f} mm"
    count = counted(len(volume), "slice")
    lines = [
        f"{volume.name}: {volume.modality or volume.kind}, {count} of {height} x {width} pixels (rows x columns)",
        f"  spacing {spacing}, step {step}",
    ]
    lines += [f"  --series {volume.series_uid}"] if volume.series_uid else []
    return lines + [f"  {finding.cause}; {finding.remedy}" for finding in volume.findings]


def _describe_model(target: str) -> list[str]:
    """All that a model says of itself, line by line; found before anything is printed: there may be no such model."""
    from tumortrace.inference.card import describe_card, read_card
    from tumortrace.inference.folder_default import POINTER
    from tumortrace.inference.model import SHIPPED, is_prompted, open_model
    from tumortrace.inference.prompts.model import open_prompt_model

    path = Path(target)
    names_default = (path / POINTER).exists()
    if not (target in SHIPPED or is_prompted(target) or path.is_file() or _is_run(path) or names_default):
        raise DataError(f"{target}: no run, model or scan; give {ACCEPTED}")
    model = open_prompt_model(target) if is_prompted(target) else open_model(target)
    lines = [f"model: {model.name}", f"file: {model.path}", f"sha256: {model.sha256}"]
    card = read_card(model)
    if card is not None:
        lines += describe_card(card).splitlines()
    lines += [*_lines_of("recipe", asdict(model.recipe)), *_lines_of("card", model.card)]
    lines += _describe_improvement(model.path.with_name("improvement.json"))
    layers = model.path.with_name(NETWORK.name)
    if layers.is_file():
        total = [line for line in layers.read_text(encoding="utf-8").splitlines() if line.startswith("Parameters")]
        lines += [*total, f"layers: {layers}"]
    return lines


def _describe_improvement(path: Path) -> list[str]:
    """Say what came of a training on corrected cases, if the model is from one."""
    try:
        document = read_json(path)
        return [f"improvement: {judgement['sentence']}" for judgement in document["judgements"]]
    except (OSError, KeyError, TypeError, ValueError):
        return []


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
