"""Jun Cheng's dataset: MATLAB files with image, mask, class and patient."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding
from tumortrace.data.folders import name_of
from tumortrace.data.png_writing import encode_mask, encode_png
from tumortrace.errors import DataError, require_extra
from tumortrace.sources.download import Download
from tumortrace.sources.items import (
    COLUMNS,
    MOST_BYTES,
    Item,
    Made,
    Plan,
    Source,
    match_files,
    name_failed,
    name_second,
    require_same_size,
)
from tumortrace.sources.matlab import read_fields

_FILE = re.compile(r"(?:^|/)(?P<number>\d{1,5})\.mat$")
_FOLDS = "cvind.mat"
_CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
_MOST_VALUES = 4096 * 4096  # of a picture; the published ones have 512 x 512
_LONGEST_ID = 64


def plan(download: Download) -> Plan:
    """Plan every numbered MATLAB file, with the author's folds where ``cvind.mat`` is in the download."""
    require_extra("formats", purpose="read MATLAB files")
    folds, findings = _find_folds(download)
    items: dict[int, Item] = {}
    for path, match in match_files(download.members, _FILE).items():
        number = int(match["number"])
        if number in items:
            findings.append(name_second(path, items[number].sources[0]))
            continue
        stem = f"{number:04}.png"
        make = partial(_make, name=path, number=number)
        items[number] = Item((path, *folds), (f"images/{stem}", f"masks/{stem}"), make)
    return Plan(tuple(items[number] for number in sorted(items)), tuple(findings), (*COLUMNS, "fold"))


def _find_folds(download: Download) -> tuple[tuple[str, ...], list[Finding]]:
    """The path of the author's folds if they can be read; else none, with the finding."""
    path = next((path for path in download.members if name_of(path) == _FOLDS), None)
    if path is None:
        return (), []
    try:
        _read_folds(download.read(path, most_bytes=MOST_BYTES), path)
    except DataError as error:
        failed = name_failed(path, error, download.root)
        return (), [replace(failed, cause=f"{failed.cause}, so the column fold stays empty")]
    return (path,), []


def _read_folds(data: bytes, name: str) -> NDArray[np.int64]:
    """The fold of each slice, in the order of their numbers from 1."""
    (folds,) = read_fields(data, name, group="", fields=("cvind",), most_values=_MOST_VALUES)
    return folds.ravel().astype(np.int64)


def _make(contents: Sequence[bytes], *, name: str, number: int) -> Made:
    fields = ("image", "tumorMask", "label", "PID")
    image, mask, label, patient = read_fields(
        contents[0], name, group="cjdata", fields=fields, most_values=_MOST_VALUES
    )
    require_same_size(image.shape, mask.shape, name)
    folds = _read_folds(contents[1], _FOLDS) if len(contents) > 1 else np.zeros(0, np.int64)
    stem = f"{number:04}.png"
    row = {
        "image": stem,
        "mask": stem,
        "patient": _read_patient(patient, name),
        "class": _read_class(label, name),
        "fold": str(folds[number - 1]) if 0 < number <= folds.size else "",
    }
    return Made((encode_png(_check_image(image, name)), encode_mask(_check_mask(mask, name))), row)


def _check_image(image: NDArray[np.generic], name: str) -> NDArray[np.uint16]:
    if image.ndim != 2 or image.dtype.kind not in "iu" or image.size == 0:
        raise DataError(
            f"{name}: cjdata/image has shape {image.shape}, {image.dtype}; expected a grid of whole numbers"
        )
    low, high = int(image.min()), int(image.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise DataError(f"{name}: cjdata/image holds values from {low} to {high}; expected 0 to 65535")
    return np.ascontiguousarray(image).astype(np.uint16)


def _check_mask(mask: NDArray[np.generic], name: str) -> NDArray[np.bool_]:
    if not np.isin(mask, (0, 1)).all():
        raise DataError(f"{name}: cjdata/tumorMask holds other values than 0 and 1")
    if not mask.any():
        raise DataError(f"{name}: cjdata/tumorMask is empty, though every slice of this dataset shows a tumour")
    return np.ascontiguousarray(mask).astype(bool)


def _read_class(label: NDArray[np.generic], name: str) -> str:
    value = float(label.ravel()[0]) if label.size == 1 else float("nan")
    if value not in _CLASSES:
        raise DataError(f"{name}: cjdata/label is {label.tolist()}; expected 1, 2 or 3")
    return _CLASSES[int(value)]


def _read_patient(codes: NDArray[np.generic], name: str) -> str:
    """The patient's number: MATLAB stores text as one whole number a character."""
    if codes.dtype.kind in "iu" and 0 < codes.size <= _LONGEST_ID:
        text = "".join(chr(int(code)) for code in codes.ravel() if 0 < int(code) < 0x80).strip()
        if text.isprintable() and text:
            return text
    raise DataError(f"{name}: cjdata/PID names no patient; download it again")


SOURCE = Source(
    title="brain tumor dataset (figshare 1512427)",
    rule="Every numbered .mat file: image as 16-bit PNG with the values as stored, tumorMask, label and PID; the fold "
    "from cvind.mat where it is there.",
    layout="numbered .mat files (1.mat, 2.mat, ...), unpacked or in their zips",
    plan=plan,
)
