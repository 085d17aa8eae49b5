"""LGG MRI Segmentation: the FLAIR channel of Buda's TIFF files, with patients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tumortrace.data.findings import Finding
from tumortrace.data.pictures import read_picture_bytes
from tumortrace.data.png_writing import encode_mask, encode_png
from tumortrace.errors import DataError
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

_FILE = re.compile(r"(?:^|/)(?P<patient>TCGA_\w\w_\w{4}_\d{8})_(?P<slice>\d{1,4})(?P<mask>_mask)?\.tiff?$")
_FLAIR = 1  # channels: before contrast, FLAIR, after contrast


def plan(download: Download) -> Plan:
    """Plan every slice that has a mask; the download holds the same folder twice, and the first one is used."""
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    findings: list[Finding] = []
    patients: dict[str, str] = {}
    for path, match in match_files(download.members, _FILE).items():
        name = f"{match['patient']}_{match['slice']}"
        found = masks if match["mask"] else images
        patients[name] = match["patient"]
        if name in found:
            findings.append(name_second(path, found[name]))
        found.setdefault(name, path)
    paired, unpaired = pair_up(images, masks)
    items = [
        Item(
            (images[name], masks[name]),
            (f"images/{name}.png", f"masks/{name}.png"),
            partial(_make, names=(images[name], masks[name]), stem=name, patient=patients[name]),
        )
        for name in paired
    ]
    return Plan(tuple(items), (*findings, *unpaired), COLUMNS)


def _make(contents: Sequence[bytes], *, names: tuple[str, str], stem: str, patient: str) -> Made:
    image = read_picture_bytes(contents[0], Path(names[0])).colour
    if image.ndim != 3 or image.dtype != np.uint8:
        raise DataError(f"{names[0]}: shape {image.shape}, {image.dtype}; expected three channels of 8 bits")
    mask = binarise(contents[1], names[1])
    require_same_size(image.shape, mask.shape, names[0])
    row = {"image": f"{stem}.png", "mask": f"{stem}.png", "patient": patient, "class": "glioma"}
    return Made((encode_png(np.ascontiguousarray(image[:, :, _FLAIR])), encode_mask(mask)), row)


SOURCE = Source(
    title="LGG MRI Segmentation (TCGA-LGG)",
    rule="Every slice with a mask file, with tumour or without: the second channel (FLAIR) as 8-bit PNG, the mask cut "
    "at half of 255, the patient from the file's name.",
    layout="files TCGA_XX_XXXX_DATE_N.tif and ..._N_mask.tif",
    plan=plan,
)
