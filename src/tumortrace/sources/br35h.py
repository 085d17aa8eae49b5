"""Br35H, segmentation part: TRAIN, VAL and TEST with their VIA files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from tumortrace.data.findings import left_out
from tumortrace.data.folders import is_picture, name_of, parent_of
from tumortrace.errors import DataError
from tumortrace.sources.download import Download
from tumortrace.sources.items import Item, Made, Plan, Source, keep_picture, name_second
from tumortrace.wording import counted

_PARTS = ("TRAIN", "VAL", "TEST")


def plan(download: Download) -> Plan:
    """Plan the folders TRAIN, VAL and TEST that hold pictures and a JSON file; all else is not used."""
    by_folder: dict[str, list[str]] = {}
    for path in download.members:
        if name_of(parent_of(path)).upper() in _PARTS:
            by_folder.setdefault(parent_of(path), []).append(path)
    items: dict[str, Item] = {}
    findings = []
    for folder, paths in by_folder.items():
        if not any(path.lower().endswith(".json") for path in paths):
            if pictures := [path for path in paths if is_picture(path)]:
                cause = f"{counted(len(pictures), 'picture')}, but no VIA JSON file"
                findings.append(left_out("annotation-missing", folder, cause, "download it again"))
            continue
        for path in paths:
            output = f"{name_of(folder).upper()}/{name_of(path)}"
            if output in items:
                findings.append(name_second(path, items[output].sources[0]))
            elif item := _plan_file(path, output):
                items[output] = item
    return Plan(tuple(items.values()), tuple(findings))


def _plan_file(path: str, output: str) -> Item | None:
    if path.lower().endswith(".json"):
        return Item((path,), (output,), partial(_keep_json, name=path))
    return Item((path,), (output,), partial(keep_picture, name=path)) if is_picture(path) else None


def _keep_json(contents: Sequence[bytes], *, name: str) -> Made:
    try:
        json.loads(contents[0])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: cannot be read as JSON ({error}); download it again") from None
    return Made((contents[0],))


SOURCE = Source(
    title="Br35H :: Brain Tumor Detection 2020, segmentation part",
    rule="Every picture and VIA file directly in TRAIN, VAL and TEST, byte for byte.",
    layout="folders TRAIN, VAL and TEST, each with pictures and a VIA JSON file",
    plan=plan,
)
