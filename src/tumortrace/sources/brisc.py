"""BRISC 2025, segmentation task: pictures as published, masks cut at half."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tumortrace.data.findings import Finding
from tumortrace.data.pictures import read_picture_bytes
from tumortrace.data.png_writing import encode_mask
from tumortrace.sources.download import Download
from tumortrace.sources.items import (
    COLUMNS,
    Item,
    Made,
    Plan,
    Source,
    binarise,
    match_files,
    name_second,
    pair_up,
    require_same_size,
)

_FILE = re.compile(
    r"(?:^|/)(?P<part>train|test)/(?P<role>images|masks)/"
    r"(?P<name>brisc2025_(?:train|test)_\d+_(?P<class>gl|me|pi|no)_(?P<plane>ax|co|sa)_\w+)\.(?P<suffix>jpg|jpeg|png)$"
)
_CLASSES = {"gl": "glioma", "me": "meningioma", "pi": "pituitary", "no": "no_tumour"}
_PLANES = {"ax": "axial", "co": "coronal", "sa": "sagittal"}


def plan(download: Download) -> Plan:
    """Plan every picture of the segmentation task that has a mask."""
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    matches: dict[str, re.Match[str]] = {}
    findings: list[Finding] = []
    for path, match in match_files(download.members, _FILE).items():
        key = f"{match['part']}/{match['name']}"
        found = images if match["role"] == "images" else masks
        if key in found:
            findings.append(name_second(path, found[key]))
        elif found is images:
            matches[key] = match
        found.setdefault(key, path)
    paired, unpaired = pair_up(images, masks)
    items = [_plan_pair(images[key], masks[key], matches[key]) for key in paired]
    return Plan(tuple(items), (*findings, *unpaired), (*COLUMNS, "part"))


def _plan_pair(image: str, mask: str, match: re.Match[str]) -> Item:
    part, name = match["part"], match["name"]
    outputs = (f"{part}/images/{name}.{match['suffix']}", f"{part}/masks/{name}.png")
    row = {
        "image": outputs[0],
        "mask": outputs[1],
        "class": _CLASSES[match["class"]],
        "plane": _PLANES[match["plane"]],
        "part": part,
    }
    return Item((image, mask), outputs, partial(_make, names=(image, mask), row=row))


def _make(contents: Sequence[bytes], *, names: tuple[str, str], row: dict[str, str]) -> Made:
    image = read_picture_bytes(contents[0], Path(names[0])).colour
    mask = binarise(contents[1], names[1])
    require_same_size(image.shape, mask.shape, names[0])
    return Made((contents[0], encode_mask(mask)), row)


SOURCE = Source(
    title="BRISC 2025, segmentation task",
    rule="Every picture of the segmentation task with a mask: the picture byte for byte, the mask cut at half of 255, "
    "because the published ones hold grey values; class and plane from the file's name. Patients are unknown.",
    layout="folders train and test, each with images and masks of brisc2025_... files",
    plan=plan,
)
