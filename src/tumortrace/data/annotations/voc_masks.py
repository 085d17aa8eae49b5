"""Class masks of Pascal VOC, read: a colour or palette index stands for a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.bitmap import to_bitmap
from tumortrace.data.pictures import read_picture
from tumortrace.data.tables import read_text
from tumortrace.errors import DataError

LABEL_MAP = "labelmap.txt"
MASK_FOLDERS = ("SegmentationClass", "SegmentationClassPNG")

_VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_BACKGROUND, _IGNORED = "background", "ignored"
_MOST_CLASSES = 256
_IGNORED_INDEX = 255

Colour = tuple[int, int, int]


def read_label_map(path: Path) -> dict[Colour, str]:
    """Read the names of colours from lines of ``name:red,green,blue:parts:actions``.

    Raises:
        DataError: The file cannot be read, or a line is none of these.
    """
    names: dict[Colour, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = rest.partition(":")[0].split(",")
        if len(values) != 3 or not all(value.strip().isdecimal() for value in values):
            raise DataError(f"{path}: line {number} is no name:red,green,blue; export the masks again")
        names[int(values[0]), int(values[1]), int(values[2])] = name.strip()
    return names


def read_class_mask(path: Path, name: str, names: Mapping[Colour, str] | None) -> ImageAnnotation:
    """Read a class mask as one region a class; the background and what is ignored are none.

    Args:
        path: The mask.
        name: Path of the image in its dataset.
        names: Names of the classes by their colour; None for the table of the challenge, by palette index or colour.

    Raises:
        DataError: The mask cannot be read, its compression is lossy, it has a colour without a name, or it marks only
            what the challenge ignores, as masks of two classes do.
    """
    samples = read_picture(path)
    if samples.lossy:
        raise DataError(f"{path}: a mask under lossy compression, which blurs the outline; save masks as PNG")
    index = samples.index if samples.colour.ndim == 3 else samples.colour
    if names is None and index is not None:
        codes = index.astype(np.int64)
        by_code = dict(enumerate(_name_index(each) for each in range(_MOST_CLASSES)))
    else:
        codes = _to_codes(samples.colour)
        table = names or {_voc_colour(each): _name_index(each) for each in reversed(range(_MOST_CLASSES))}
        by_code = {(red << 16 | green << 8 | blue): label for (red, green, blue), label in table.items()}
    regions, labels = [], []
    for code in np.unique(codes):
        label = by_code.get(int(code))
        if label is None:
            rgb = int(code) >> 16, int(code) >> 8 & 255, int(code) & 255
            raise DataError(f"{path}: the colour {rgb} has no name; list it in {LABEL_MAP}")
        if label.casefold() not in {_BACKGROUND, _IGNORED}:
            regions.append(to_bitmap(codes == code))
            labels.append({"class": label})
    if not regions and names is None and codes.any():
        raise DataError(
            f"{path}: marks nothing but 255, which Pascal VOC ignores; if that is the tumour, call the folders images/ "
            f"and masks/, or name its colour in {LABEL_MAP}"
        )
    height, width = codes.shape
    return ImageAnnotation(name, -1, tuple(regions), tuple(labels), size_hw=(height, width))


def _name_index(index: int) -> str:
    if index == _IGNORED_INDEX:
        return _IGNORED
    return _VOC_CLASSES[index] if index < len(_VOC_CLASSES) else str(index)


def _voc_colour(index: int) -> Colour:
    """The colour of a palette index: its bits go in turns to the highest bits of red, green and blue."""
    red, green, blue = (
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
    )
    return red, green, blue


def _to_codes(colour: NDArray[np.integer]) -> NDArray[np.int64]:
    wide = colour.astype(np.int64)
    if wide.ndim == 2:
        return np.asarray(wide << 16 | wide << 8 | wide)
    return np.asarray(wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2])
