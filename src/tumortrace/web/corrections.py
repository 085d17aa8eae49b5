"""Pictures and volumes of a request, with the masks that a person corrected."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tumortrace.data import png
from tumortrace.data.folders import name_of
from tumortrace.data.slice import Slice
from tumortrace.data.slice_file import read_slice
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.web.annotation_files import set_aside
from tumortrace.web.lesion_numbers import Labels
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.opening import Opened, open_upload
from tumortrace.web.pixels import inflate_exactly
from tumortrace.web.uploads import FILE, Upload, UploadedFile, folder_of
from tumortrace.wording import counted

MASK = "mask"
"""Name of the field with a corrected mask; it comes once a slice."""

PROMPTED = "prompted"
"""Name of the field in its place where the mask began with a box."""

ANNOTATED = "annotated"
"""Name of the field that lists the groups that were opened together with annotations, separated by commas."""

_MASK_NAME = re.compile(r"(\d{1,6})/(\d{1,6})/(\d{1,6})\.(?:png|zlib)")


@dataclass(frozen=True, eq=False)
class Corrected:
    """A picture or volume and its corrected slices.

    Attributes:
        item: The picture or volume.
        labels: Lesion numbers of each slice that was corrected, by the number of the slice, in order.
        prompted: Numbers of the slices whose masks began with a box.
        place: Path of its file, or of the first one of a series, as the client named it.
    """

    item: PictureFile | VolumeFile
    labels: Mapping[int, Labels] = field(default_factory=dict)
    prompted: frozenset[int] = frozenset()
    place: str = ""

    @property
    def name(self) -> str:
        """Name of its results, without folders."""
        return name_of(self.item.name)

    def slice_name(self, index: int, name: str = "") -> str:
        """Return the name of a slice, without suffix; slices of a volume count from 1, as the page counts them.

        Args:
            index: Number of the slice, from 0.
            name: Name in place of its own.
        """
        name = name or self.name
        return name if isinstance(self.item, PictureFile) else f"{name}_{index + 1:04d}"

    def read(self, index: int) -> Slice:
        """Decode one slice.

        Args:
            index: Number of the slice, from 0.

        Raises:
            DataError: It cannot be read.
        """
        return read_slice(self.item.path) if isinstance(self.item, PictureFile) else self.item.volume.read(index)


def read_corrections(upload: Upload, limits: Limits) -> tuple[Corrected, ...]:
    """Read the files of a request and their corrected masks.

    Files are named ``GROUP/PATH``: the files of one group are opened together, as they were when they were segmented.
    Masks are named ``GROUP/ITEM/SLICE.png``: 8-bit grey PNG files whose values are lesion numbers; or ``.zlib``, zlib
    data of these numbers, a byte a pixel, row by row. In groups that were opened together with annotations, items are
    numbered without these.

    Args:
        upload: The upload.
        limits: Limits on files, bytes and pixels.

    Returns:
        Pictures and volumes that have a mask, by group and item.

    Raises:
        RefusalError: A name or mask is not as it should be, or a limit is exceeded.
    """
    masks = (*upload.of_part(MASK), *upload.of_part(PROMPTED))
    if not masks:
        raise RefusalError(400, f"the request has no mask; send one a slice as the field '{MASK}'")
    annotated = set(upload.fields.get(ANNOTATED, "").split(","))
    opened = {
        group: open_upload(set_aside(part, limits)[0] if str(group) in annotated else part, limits)
        for group, part in _split_groups(upload)
    }
    drawn: dict[tuple[int, int], dict[int, Labels]] = {}
    prompted = {_parse_name(file) for file in upload.of_part(PROMPTED)}
    pixels = 0  # of all groups: each of them is within the limit
    for file in masks:
        group, item, index = _parse_name(file)
        size_hw = _find_size(opened.get(group), item, index, file)
        pixels += size_hw[0] * size_hw[1]
        if pixels > limits.voxels:
            text = f"the masks have more than the limit of {limits.voxels:,} pixels; download fewer slices at a time"
            raise RefusalError(413, text, limit="voxels")
        drawn.setdefault((group, item), {})[index] = _read_labels(file, size_hw)
    return tuple(
        Corrected(
            opened[group].items[item],
            dict(sorted(labels.items())),
            frozenset(index for index in labels if (group, item, index) in prompted),
            _find_place(opened[group], item),
        )
        for (group, item), labels in sorted(drawn.items())
    )


def _split_groups(upload: Upload) -> Iterator[tuple[int, Upload]]:
    """Move the files of each group into a folder of its own."""
    groups: dict[int, list[UploadedFile]] = {}
    for file in upload.of_part(FILE):
        number, _, name = file.name.partition("/")
        if not (number.isdecimal() and name):
            raise RefusalError(400, f"{file.name}: belongs to no group; name files GROUP/PATH, such as 0/{file.name}")
        groups.setdefault(int(number), []).append(file)
    for group, files in groups.items():
        folder = upload.folder / f"group-{group}"
        moved = []
        for file in files:
            name = file.name.partition("/")[2]
            path = folder / folder_of(FILE) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            moved.append(UploadedFile(FILE, name, file.path.rename(path)))
        yield group, Upload(folder, tuple(moved), unpacked=upload.unpacked)


def _parse_name(file: UploadedFile) -> tuple[int, int, int]:
    match = _MASK_NAME.fullmatch(file.name)
    if match is None:
        raise RefusalError(400, f"{file.name}: no name of a mask; name masks GROUP/ITEM/SLICE.png, such as 0/0/12.png")
    return int(match[1]), int(match[2]), int(match[3])


def _find_size(opened: Opened | None, item: int, index: int, file: UploadedFile) -> tuple[int, int]:
    """Height and width of the slice that a mask belongs to."""
    if opened is None or item >= len(opened.items):
        raise RefusalError(400, f"{file.name}: the request has no such picture or volume; send its files as well")
    one = opened.items[item]
    if isinstance(one, VolumeFile):
        if index >= len(one.volume):
            raise RefusalError(
                400, f"{file.name}: the volume has {counted(len(one.volume), 'slice')}; count them from 0"
            )
        return one.volume.size_hw
    if index:
        raise RefusalError(400, f"{file.name}: a picture has one slice; call it 0")
    return opened.sizes_hw[item] or read_slice(one.path).size_hw


def _find_place(opened: Opened, item: int) -> str:
    one = opened.items[item]
    return opened.localise(str(one.path if isinstance(one, PictureFile) else one.volume.sources[0].path))


def _read_labels(file: UploadedFile, size_hw: tuple[int, int]) -> Labels:
    data = Path(file.path).read_bytes()
    if file.name.endswith(".zlib"):
        numbers = inflate_exactly(data, size_hw[0] * size_hw[1])
        if numbers is None:
            raise RefusalError(
                415, f"{file.name}: no zlib data of a byte for each of {size_hw[0]} x {size_hw[1]} pixels"
            )
        return np.frombuffer(numbers, np.uint8).reshape(size_hw)
    if not data.startswith(png.SIGNATURE) or len(data) < 26:
        raise RefusalError(415, f"{file.name}: no PNG file; send lesion numbers as 8-bit grey PNG")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if (height, width) != size_hw:
        raise RefusalError(
            400, f"{file.name}: {width} x {height} pixels, and its slice has {size_hw[1]} x {size_hw[0]}"
        )
    labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if (depth, colour) == (8, 0) else None
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise RefusalError(415, f"{file.name}: no 8-bit grey PNG; send lesion numbers as one")
    return np.asarray(labels, dtype=np.uint8)
