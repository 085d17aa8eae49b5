"""DICOM segmentation objects as truth: frames laid on the slices of their images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from tumortrace.data.dicom.geometry import SAME_DIRECTION, read_directions
from tumortrace.data.dicom.image import ImageFile, read_layout
from tumortrace.data.dicom.pixels import decode_frame
from tumortrace.data.dicom.series import DicomReader
from tumortrace.data.dicom.stream import Parsed, open_dataset, parse, reading_header
from tumortrace.data.dicom.tags import Lookup, read_number, read_text
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError
from tumortrace.regular_files import open_regular

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes: segmentation, label map segmentation."""

APART = 0.1
"""Largest distance of a frame from its slice, as a fraction of the smallest side of a voxel."""

SAME_SPACING = 0.01
"""Largest difference of two pixel spacings that are the same, as a fraction."""

_TAGS = (
    "SOPClassUID", "SegmentationType", "MaximumFractionalValue", "SegmentSequence", "ReferencedSeriesSequence",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelPaddingValue", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip


@dataclass(frozen=True)
class SegFrame:
    """One frame of a segmentation.

    Attributes:
        segment: Number of its segment; None in a label map, whose pixels are the numbers.
        position: Place (x, y, z) of the first pixel in millimetres; None if unknown.
        orientation: Direction cosines of rows and columns; None if unknown.
        spacing_mm: Distance between rows and between columns; None if unknown.
    """

    segment: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation object.

    Attributes:
        image: Storage of its pixels.
        kind: ``"BINARY"``, ``"FRACTIONAL"`` or ``"LABELMAP"``.
        full: Stored value of a probability of 1 in a fractional object, else 1.
        segments: Label of each segment, by its number.
        one_type: Whether all segments are of one type, such as the lesions of one scan.
        series: SeriesInstanceUIDs of the images that it belongs to; empty if it does not say.
        frames: Its frames, in the order of the file.
    """

    image: ImageFile
    kind: str
    full: int
    segments: dict[int, str]
    one_type: bool
    series: frozenset[str]
    frames: tuple[SegFrame, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.image.path


@dataclass(frozen=True, eq=False)
class SegMask:
    """Truth of a volume in a segmentation object; see ``VolumeMask``.

    Attributes:
        seg: The object.
        frames: Numbers of the frames of each slice, from 0; a slice without any has no tumour.
        chosen: Numbers of the segments that count as tumour.
    """

    seg: Segmentation
    frames: dict[int, tuple[int, ...]]
    chosen: frozenset[int]

    @property
    def path(self) -> Path:
        """The file."""
        return self.seg.path

    def read(self, index: int) -> NDArray[np.bool_]:
        """Return the union of the chosen segments in one slice, shape (H, W)."""
        mask = np.zeros(self.seg.image.size_hw, dtype=np.bool_)
        for number in self.frames.get(index, ()):
            segment = self.seg.frames[number].segment
            if segment is None:
                mask |= np.isin(_decode(self.seg, number), list(self.chosen))
            elif segment in self.chosen:
                mask |= 2 * _decode(self.seg, number).astype(np.int32) >= self.seg.full
        return mask

    def choose(self, labels: frozenset[int]) -> SegMask:
        """Return the mask of some segments alone, by their numbers."""
        return replace(self, chosen=labels)


def read_segmentation(path: Path) -> Segmentation | None:
    """Read the header of a segmentation object; None for a DICOM file of another kind.

    Raises:
        DataError: The file is damaged, or stores its frames in a way that is not read.
    """
    parsed = parse(path, _TAGS)
    with reading_header(path):
        return _read(parsed, path) if parsed.dataset.get("SOPClassUID") in SEGMENTATIONS else None


def fit_segmentation(seg: Segmentation, volume: Volume) -> SegMask:
    """Lay a segmentation on the slices of its images; nothing is resampled.

    Args:
        seg: The segmentation.
        volume: The images, a DICOM volume.

    Raises:
        DataError: A frame has another size, spacing, orientation or place than all slices.
    """
    first = volume.reader.frames[0] if isinstance(volume.reader, DicomReader) else None
    directions = read_directions(first.orientation) if first else None
    if volume.positions_mm is None or directions is None or volume.spacing_mm is None:
        raise DataError(f"{seg.path}: the images of {volume.name} do not say where they lie; give the original series")
    if seg.image.size_hw != volume.size_hw:
        found, wanted = (f"{height} x {width}" for height, width in (seg.image.size_hw, volume.size_hw))
        raise DataError(f"{seg.path}: {found} pixels (rows x columns), and {volume.name} has {wanted}; {_DRAW_AGAIN}")
    near_mm = APART * min(*volume.spacing_mm, volume.step_mm or np.inf)
    placed: dict[int, list[int]] = defaultdict(list)
    for number, frame in enumerate(seg.frames):
        _check_plane(seg, number, volume, directions)
        distances = np.linalg.norm(volume.positions_mm - np.asarray(frame.position), axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] > near_mm:
            raise DataError(
                f"{seg.path}: frame {number + 1} lies {distances[nearest]:.3g} mm away from the nearest slice of "
                f"{volume.name}; {_DRAW_AGAIN}"
            )
        placed[nearest].append(number)
    return SegMask(seg, {index: tuple(numbers) for index, numbers in placed.items()}, frozenset(seg.segments))


_DRAW_AGAIN = "draw it on these images, or resample it onto them"


def _check_plane(seg: Segmentation, number: int, volume: Volume, directions: NDArray[np.float64]) -> None:
    frame = seg.frames[number]
    name = f"{seg.path}: frame {number + 1}"
    own = read_directions(frame.orientation)
    if frame.position is None or own is None or frame.spacing_mm is None:
        raise DataError(f"{name} does not say where it lies; export it again with its geometry")
    if np.abs(own - directions).max() > SAME_DIRECTION:
        raise DataError(f"{name} is turned against the slices of {volume.name}; {_DRAW_AGAIN}")
    spacing_mm = np.asarray(volume.spacing_mm)
    if np.abs(np.asarray(frame.spacing_mm) / spacing_mm - 1).max() > SAME_SPACING:
        found, wanted = ("{:g} x {:g}".format(*each) for each in (frame.spacing_mm, spacing_mm))
        raise DataError(f"{name} has pixels of {found} mm, and {volume.name} of {wanted}; {_DRAW_AGAIN}")


def _read(parsed: Parsed, path: Path) -> Segmentation:
    header = parsed.dataset
    image = read_layout(parsed, path, bits=(1, 8, 16))
    kind = "LABELMAP" if header.SOPClassUID == SEGMENTATIONS[1] else read_text(header, "SegmentationType")
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise DataError(f"{path}: a segmentation of unknown kind; export it as BINARY")
    if image.options["bits_allocated"] == 1 and image.syntax.is_encapsulated:
        raise DataError(f"{path}: transfer syntax {image.syntax.name} with one bit a pixel; export it uncompressed")
    segments = _read_segments(header)
    if not segments:
        raise DataError(f"{path}: names no segment; export it again")
    full = (read_number(header, "MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1
    frames = tuple(_read_frame(header, index, kind, path) for index in range(image.frames))
    series = {read_text(item, "SeriesInstanceUID") for item in header.get("ReferencedSeriesSequence") or ()}
    return Segmentation(image, kind, full, segments, _is_of_one_type(header), frozenset(series - {""}), frames)


def _read_segments(header: Dataset) -> dict[int, str]:
    """Label of each segment by its number; the background of a label map is none."""
    padding = read_number(header, "PixelPaddingValue")
    segments = {}
    for item in header.get("SegmentSequence") or ():
        number, label = read_number(item, "SegmentNumber"), read_text(item, "SegmentLabel").strip()
        if number and number != padding and label.casefold() != "background":
            segments[number] = label or f"segment {number}"
    return segments


def _is_of_one_type(header: Dataset) -> bool:
    kinds = [item.get("SegmentedPropertyTypeCodeSequence") for item in header.get("SegmentSequence") or ()]
    return len({str(each[0].get("CodeValue")) if each else "" for each in kinds}) == 1


def _read_frame(header: Dataset, index: int, kind: str, path: Path) -> SegFrame:
    get = Lookup.of_frame(header, index)
    segment = read_number(get.item("SegmentIdentificationSequence"), "ReferencedSegmentNumber")
    if segment is None and kind != "LABELMAP":
        raise DataError(f"{path}: frame {index + 1} names no segment; export it again")
    return SegFrame(
        segment=None if kind == "LABELMAP" else segment,
        position=get.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=get.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing_mm=get.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
    )


def _decode(seg: Segmentation, number: int) -> NDArray[np.generic]:
    """Stored values of a frame, counted from 0, shape (H, W)."""
    image = seg.image
    if image.options["bits_allocated"] > 1:
        return decode_frame(image, number + 1)
    height, width = image.size_hw
    first = number * height * width  # frames follow each other bit by bit
    start, end = first // 8, -(-(first + height * width) // 8)
    try:
        packed = np.frombuffer(_read_bytes(image, start, end), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{image.path}: cannot be read ({error.strerror}); check the file") from None
    bits = np.unpackbits(packed, bitorder="little")[first - 8 * start :][: height * width]
    return bits.reshape(height, width)


def _read_bytes(image: ImageFile, start: int, end: int) -> bytes:
    if image.syntax == DeflatedExplicitVRLittleEndian:
        status = image.path.stat()
        whole = _inflate(image.path, image.syntax, (status.st_mtime_ns, status.st_size))
        return whole[image.element.offset + start : image.element.offset + end]
    with open_regular(image.path) as file:
        file.seek(image.element.offset + start)
        return file.read(end - start)


@lru_cache(maxsize=1)
def _inflate(path: Path, syntax: UID, _version: tuple[int, int]) -> bytes:
    with open_dataset(path, syntax) as file:
        return file.read()
