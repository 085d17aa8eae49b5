"""Reading of JPEG files, with everything that libjpeg notices counted as damage."""

from __future__ import annotations

import io
import re
from pathlib import Path

import simplejpeg
from PIL.JpegImagePlugin import jpeg_factory

from tumortrace.data.samples import Samples, apply_orientation, check_header, read_orientation, take_samples
from tumortrace.errors import DataError

SIGNATURE = b"\xff\xd8"
_END = b"\xff\xd9"
_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # none that stands within the pixels of a scan
_ARITHMETIC = range(0xC9, 0xCC)  # frames whose decoder may read zeros behind the end


def read_jpeg(data: bytes, path: Path) -> Samples:
    """Read a JPEG of 8 bits, upright; bytes behind its end are passed over.

    Raises:
        DataError: The file is truncated, damaged inside, holds several pictures (MPO), or has too many pixels.
    """
    if data.rfind(_END) < data.rfind(_SCAN) or _SCAN not in data:
        raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
    image = jpeg_factory(io.BytesIO(data))
    check_header(path, kind="a JPEG", size_wh=image.size, frames=getattr(image, "n_frames", 1), unit="pictures")
    try:
        colour = simplejpeg.decode_jpeg(data, "GRAY" if image.mode == "L" else "RGB")  # strict: a warning is an error
    except ValueError as error:
        if "subsampling" not in str(error):  # TurboJPEG does not read every one; Pillow does, without its warnings
            raise DataError(f"{path}: the JPEG is damaged inside ({error}); copy it again from its source") from None
        samples = take_samples(image)
    else:
        if _has_bits_left(data):
            cause = "the picture ends before its data do"
            raise DataError(f"{path}: the JPEG is damaged inside ({cause}); copy it again from its source")
        samples = Samples(colour[:, :, 0] if image.mode == "L" else colour)
    return apply_orientation(Samples(samples.colour, lossy=True), read_orientation(image.info.get("exif")))


def _has_bits_left(data: bytes) -> bool:
    """Whether a picture is whole without the last byte of its pixels, as it is if damage made the decoder skip some.

    libjpeg reads eight bytes ahead and does not say whether it needed them.
    """
    end = _find_end(data)
    if end is None:
        return False
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
