"""Reading of JPEG files, with everything that libjpeg notices counted as damage."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import simplejpeg
from PIL.JpegImagePlugin import jpeg_factory

from tumortrace.data.ifd import read_whole, walk
from tumortrace.data.samples import Header, Samples, apply_orientation, read_orientation, take_samples
from tumortrace.errors import DataError

SIGNATURE = b"\xff\xd8"
_END = b"\xff\xd9"
SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # none that stands within the pixels of a scan
_LONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOFn
_EXIF, _PICTURES = b"Exif\0\0", b"MPF\0"
_NUMBER_OF_IMAGES = 0xB001
_MOST_SCANS = 100
"""Scans in a file; a progressive one has about ten, and each is decoded over all pixels."""

_ARITHMETIC = range(0xC9, 0xCC)  # frames whose decoder may read zeros behind the end


class Segment(NamedTuple):
    """A segment before the first scan: its marker, and the places where its content begins and ends."""

    marker: int
    start: int
    end: int


def read_header(data: bytes) -> Header:
    """Read the size, the number of pictures (MPO) and the orientation.

    Raises:
        DataError: It states no size; the message lacks the file.
    """
    segments = list(walk_segments(data))
    frame = next((each for each in segments if each.marker in FRAMES), None)
    if frame is None:
        raise DataError("it states no size")
    height, width = (int.from_bytes(data[at : at + 2], "big") for at in (frame.start + 1, frame.start + 3))
    exif = next((each for each in segments if each.marker == 0xE1 and _begins(data, each, _EXIF)), None)
    orientation = read_orientation(data[exif.start : exif.end]) if exif else 1
    return Header("a JPEG", (width, height), _count_pictures(data, segments), "pictures", orientation)


def read_jpeg(data: bytes, path: Path) -> Samples:
    """Read a JPEG of 8 bits, upright; bytes behind its end are passed over.

    Raises:
        DataError: The file is truncated, damaged inside, or has more scans than any picture.
    """
    end = _find_end(data)
    picture = data if end is None else data[: end + len(_END)]
    scans = picture.count(SCAN)
    if scans > _MOST_SCANS:
        raise DataError(f"{path}: a JPEG of {scans:,} scans, more than the limit of {_MOST_SCANS}; save it as PNG")
    if not scans or picture.rfind(_END) < picture.rfind(SCAN):
        raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
    segments = list(walk_segments(data))
    is_grey = any(each.marker in FRAMES and data[each.start + 5] == 1 for each in segments)
    try:
        colour = simplejpeg.decode_jpeg(data, "GRAY" if is_grey else "RGB")  # strict: a warning is an error
    except ValueError as error:
        if "subsampling" not in str(error):  # TurboJPEG does not read every one; Pillow does, without its warnings
            raise DataError(f"{path}: the JPEG is damaged inside ({error}); copy it again from its source") from None
        samples = take_samples(jpeg_factory(io.BytesIO(_without_tags(data, segments))))
    else:
        if end is not None and _has_bits_left(data, end):
            cause = "the picture ends before its data do"
            raise DataError(f"{path}: the JPEG is damaged inside ({cause}); copy it again from its source")
        samples = Samples(colour[:, :, 0] if is_grey else colour)
    return apply_orientation(Samples(samples.colour, lossy=True), read_header(data).orientation)


def walk_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments before the first scan."""
    at = len(SIGNATURE)
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _LONE:
            at += 2
        else:
            end = at + 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
            yield Segment(marker, at + 4, min(end, len(data)))
            if marker == SCAN[1]:
                return
            at = end


def _begins(data: bytes, segment: Segment, mark: bytes) -> bool:
    return bytes(data[segment.start : segment.start + len(mark)]) == mark


def _count_pictures(data: bytes, segments: Sequence[Segment]) -> int:
    """The number of pictures that a multi-picture file lists; a map of brightness beside a picture is none."""
    texts = [bytes(data[each.start : each.end]) for each in segments if each.marker in (0xE1, 0xE2)]
    if any(b' hdrgm:Version="' in text for text in texts):
        return 1
    for text in texts:
        if text.startswith(_PICTURES):
            tags = text.removeprefix(_PICTURES)
            try:
                directories = walk(tags)
            except DataError:
                continue
            return read_whole(tags, directories.entries.get(_NUMBER_OF_IMAGES), directories.order) or 1
    return 1


def _without_tags(data: bytes, segments: Sequence[Segment]) -> bytes:
    """The file without EXIF and the like, in which Pillow would follow directories that repeat their values."""
    dropped = [each for each in segments if each.marker in (0xE1, 0xE2, 0xED)]
    starts, ends = [0, *(each.end for each in dropped)], [*(each.start - 4 for each in dropped), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def _has_bits_left(data: bytes, end: int) -> bool:
    """Whether a picture is whole without the last byte of its pixels, as it is if damage made the decoder skip some.

    libjpeg reads eight bytes ahead and does not say whether it needed them.
    """
    last = end - 1
    while data[last] == 0xFF:  # padding before the marker
        last -= 1
    if data[last - 1] == 0xFF:  # 0 behind 255 is one byte of data; anything else would be a marker
        last -= 1
    try:
        simplejpeg.decode_jpeg(data[:last] + _END, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError:
        return False
    return True


def _find_end(data: bytes) -> int | None:
    """Where the marker at the end of the picture stands; None if that cannot be said."""
    at = len(SIGNATURE)
    while (marker := _MARKER.search(data, at)) is not None:
        kind = data[marker.end() - 1]
        if kind == _END[1]:
            return marker.start()
        if kind in _ARITHMETIC:
            return None
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return None
