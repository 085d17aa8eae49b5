"""``results.json``: a picture's record a line, written as they come, so that a million of them need no memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction

RESULTS = "results.json"

PARTIAL = f".{RESULTS}.partial"
"""Its neighbour while it is being written; a killed run leaves it."""

Record = dict[str, Any]


@contextmanager
def open_results(model: Model, skipped: Iterable[str], *, out: Path) -> Iterator[Callable[[Record], None]]:
    """Begin ``results.json``; it is complete and in its place when the block ends, by an interruption too.

    Until then the records stand in its neighbour, each from the moment it is added: a killed run leaves the old
    ``results.json`` or none.

    Args:
        model: That the results come from.
        skipped: Files that were passed over.
        out: The folder of the results.

    Yields:
        A function that adds a picture's record.
    """
    head = {"model": {"name": model.name, "sha256": model.sha256, "threshold": model.recipe.threshold}}
    tail: Record = {"volumes": [], "skipped": list(skipped)}
    out.mkdir(parents=True, exist_ok=True)
    partial = out / PARTIAL
    with partial.open("w", encoding="utf-8", buffering=1) as file:
        file.write(_dump(head).removesuffix("\n}\n") + ',\n  "images": [')
        count = 0

        def add(record: Record) -> None:
            nonlocal count
            file.write(("," if count else "") + "\n    " + json.dumps(record))
            count += 1

        try:
            yield add
        finally:
            file.write(("\n  ],\n" if count else "],\n") + _dump(tail).removeprefix("{\n"))
            file.close()
            partial.replace(out / RESULTS)


def has_results(out: Path) -> bool:
    """Whether a folder is known as ours: it holds results, those of a killed run included."""
    return any((out / name).is_file() for name in (RESULTS, PARTIAL))


def read_masks(out: Path) -> Iterator[tuple[str, str]]:
    """The pictures that have a mask by the results in a folder, those of a killed run included.

    Args:
        out: The folder.

    Yields:
        The picture's file and its mask's, as their record has them.
    """
    for path in (path for path in (out / RESULTS, out / PARTIAL) if path.is_file()):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                record = _read_record(line)
                if isinstance(record.get("file"), str) and isinstance(record.get("mask"), str):
                    yield record["file"], record["mask"]


def _read_record(line: str) -> Record:
    """The record that a line holds; nothing if it holds none, or is what a killed run wrote last."""
    if not line.startswith("    {"):
        return {}
    try:
        return dict(json.loads(line.rstrip().removesuffix(",")))
    except ValueError:
        return {}


def describe(prediction: Prediction, *, file: str, mask: str | None, spacing_mm: tuple[float, float] | None) -> Record:
    """The record of a picture that could be read.

    Args:
        prediction: Of it.
        file: The picture.
        mask: Where its mask lies within the folder of the results; None for a rejected picture.
        spacing_mm: Of the picture.
    """
    measured = _nothing() if prediction.rejected else _measure(prediction, spacing_mm)
    return {
        "file": file,
        "slice_index": None,
        "mask": mask,
        "status": "rejected" if prediction.rejected else "ok",
        "reason": "; ".join(prediction.reasons),
        **measured,
    }


def describe_failure(reason: str, *, file: str) -> Record:
    """The record of a picture that could not be read.

    Args:
        reason: One line that names the file.
        file: The picture.
    """
    return {"file": file, "slice_index": None, "mask": None, "status": "error", "reason": reason, **_nothing()}


def _measure(prediction: Prediction, spacing_mm: tuple[float, float] | None) -> Record:
    area_px = int(prediction.mask.sum())
    return {
        "tumour": area_px > 0,
        "confidence": round(prediction.confidence, 4),
        "review": prediction.review,
        "area_px": area_px,
        "area_mm2": area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        "lesions": [vars(lesion) for lesion in prediction.lesions],
    }


def _nothing() -> Record:
    """Nothing is known of a picture without a mask: neither that there is a tumour nor that there is none."""
    unknown = dict.fromkeys(("tumour", "confidence"))
    return {**unknown, "review": True, "area_px": None, "area_mm2": None, "lesions": []}


def _dump(document: Record) -> str:
    return json.dumps(document, indent=2) + "\n"
