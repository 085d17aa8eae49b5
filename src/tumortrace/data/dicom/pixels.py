"""Pixels of one DICOM frame: decoded as stored, then as grey values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.uid import RLELossless

from tumortrace.data.dicom.codestream import read_code_size
from tumortrace.data.dicom.image import MONOCHROME, Frame, ImageFile
from tumortrace.data.dicom.stream import open_dataset
from tumortrace.data.slice import Slice, fill_gaps, rescale, slice_from_array
from tumortrace.errors import DataError

logging.getLogger("openjpeg").setLevel(logging.CRITICAL + 1)  # what it finds odd, we say
with suppress(ImportError):  # it writes what it finds odd on the terminal
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()

MOST_RLE = 64
"""Largest ratio of pixels to run-length encoded bytes: two bytes make at most 128."""


MOST_SCANS, MOST_TILES = 100, 65_535
"""Largest numbers of scans of a JPEG and of tiles of JPEG 2000."""

JPEG = b"\xff\xd8"
"""First bytes of JPEG and JPEG-LS."""

Decoder = Callable[[bytes, dict[str, Any]], NDArray[Any]]
"""Decodes a compressed picture with settings of pydicom's decoder; see ``decode_codestream``."""

NEAR = 0.02
"""Distance below the darkest value, as a fraction of the range, at which padding is as good as air."""


def decode_frame(image: ImageFile, number: int) -> NDArray[Any]:
    """Decode the stored values of one frame.

    Bits above those stored are cleared, signed values keep their sign, and YBR colours become red-green-blue. Slope,
    window and palette are not applied.

    Args:
        image: File that holds the frame.
        number: Number of the frame, from 1.

    Returns:
        Shape (H, W), or (H, W, 3) for colour; integers of 8, 16 or 32 bits, or floats; native byte order.

    Raises:
        DataError: The frame is damaged, of another size than the header says, or the file is gone.
    """
    name = image.name_frame(number)
    try:
        pixels = _decode(image, number, name)
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{name}: there is too little memory to decode it; give a smaller picture") from None
    except Exception as error:  # noqa: BLE001 - on damaged bytes a decoder may raise anything
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{name}: cannot be read ({error.strerror}); check the file") from None
        raise DataError(
            f"{name}: the pixels cannot be decoded ({image.syntax.name}); copy it again, or export it uncompressed"
        ) from None
    if pixels.shape[:2] != image.size_hw:
        raise DataError(f"{name}: decoded to another size than the header says; export it again")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def read_grey(frame: Frame) -> Slice:
    """Decode a frame as grey values.

    The table of grey values or slope and intercept are applied, MONOCHROME1 is inverted, padding becomes the darkest
    other value, palette and colours become luma. Overlays and windows are not burnt in.

    Returns:
        The slice with its window; integers as stored where nothing scales them, else float32 (float64 for 32 bits).

    Raises:
        DataError: As ``decode_frame``.
    """
    image = frame.image
    name = image.name_frame(frame.number)
    stored = decode_frame(image, frame.number)
    if image.photometric not in MONOCHROME:
        return slice_from_array(_colour(stored, image, name), case_id=name)
    values = _scale(stored, frame)
    pivot = _pivot(frame) if image.photometric == "MONOCHROME1" else None
    if pivot is not None:
        values = values.dtype.type(pivot) - values
    if image.padding is not None:
        values = _fill(values, (stored >= image.padding[0]) & (stored <= image.padding[1]))
    return Slice(fill_gaps(values), name, window=_window(frame, pivot))


def _decode(image: ImageFile, number: int, name: str) -> NDArray[Any]:
    decoder = get_decoder(image.syntax)
    with open_dataset(image.path, image.syntax) as file:
        file.seek(image.element.offset)
        if not image.syntax.is_encapsulated:
            settings = {**image.options, "number_of_frames": image.frames}
            pixels, _ = decoder.as_array(file, index=number - 1, validate=True, **settings)
            return pixels
        offsets = image.options.get("extended_offsets")
        data = get_frame(file, number - 1, number_of_frames=image.frames, extended_offsets=offsets)
    _check_codestream(data, image, name)
    settings = {**image.options, "number_of_frames": 1}
    settings.pop("extended_offsets", None)
    return _decoder(data, settings)


def decode_codestream(data: bytes, settings: dict[str, Any]) -> NDArray[Any]:
    """Decode one compressed frame.

    Args:
        data: The compressed picture.
        settings: Settings of pydicom's decoder.

    Returns:
        Pixels (H, W), or (H, W, 3) in colour, of the integer type that the settings state.

    Raises:
        Exception: The data are damaged; a decoder may raise anything.
    """
    whole = BytesIO(encapsulate([data], has_bot=False))
    decoder = get_decoder(settings["transfer_syntax_uid"])
    pixels, _ = decoder.as_array(whole, index=0, validate=True, **settings)
    return pixels


_decoder: Decoder = decode_codestream


def set_decoder(decoder: Decoder) -> Decoder:
    """Let another function decode compressed frames; return the one that did so far."""
    global _decoder
    _decoder, before = decoder, _decoder
    return before


def _check_codestream(data: bytes, image: ImageFile, name: str) -> None:
    """Refuse a compressed picture of another size before a decoder takes memory for it."""
    (rows, columns), samples = image.size_hw, image.options["samples_per_pixel"]
    if image.syntax == RLELossless:
        if rows * columns * samples > MOST_RLE * len(data):
            raise DataError(
                f"{name}: pixels missing ({len(data):,} bytes of run lengths); copy it again from its source"
            )
        return
    found = read_code_size(data)
    if found is None:
        raise DataError(f"{name}: the compressed picture is cut off or of another kind; copy it again from its source")
    if found.size_hw != image.size_hw or found.components != samples:
        height, width = found.size_hw
        raise DataError(
            f"{name}: the compressed picture has {height} x {width} pixels of {found.components} samples, the header "
            f"says {rows} x {columns} of {samples}; export it again"
        )
    if found.parts > (MOST_SCANS if data.startswith(JPEG) else MOST_TILES):
        raise DataError(f"{name}: a compressed picture of {found.parts:,} parts, more than any; export it again")


def _colour(stored: NDArray[Any], image: ImageFile, name: str) -> NDArray[Any]:
    """Red, green and blue, shape (H, W, 3)."""
    if image.photometric == "PALETTE COLOR":
        if image.tables is None:
            raise DataError(f"{name}: its colour palette is missing; export it as MONOCHROME2")
        try:
            stored = apply_color_lut(stored, image.tables)
        except Exception:  # noqa: BLE001 - a damaged palette may raise anything
            raise DataError(f"{name}: its colour palette is damaged; export it as MONOCHROME2") from None
    if stored.dtype in (np.uint8, np.uint16):
        return stored[:, :, :3]
    raise DataError(f"{name}: colours of type {stored.dtype}; export it as MONOCHROME2 or 8-bit RGB")


def _scale(stored: NDArray[Any], frame: Frame) -> NDArray[Any]:
    if frame.image.tables is not None:
        return np.asarray(apply_modality_lut(stored, frame.image.tables)).astype(np.float32)
    return rescale(stored, frame.slope, frame.intercept)


def _pivot(frame: Frame) -> float:
    """The sum of the darkest and brightest value that the stored bits can express, on the scale of the values."""
    image = frame.image
    if image.element.keyword != "PixelData" or image.tables is not None:
        return 0.0
    total = -1 if image.options["pixel_representation"] else (1 << image.options["bits_stored"]) - 1
    return total * frame.slope + 2 * frame.intercept


def _fill(values: NDArray[Any], padding: NDArray[np.bool_]) -> NDArray[Any]:
    """Give padding the darkest other value, unless it lies beside it, as the 0 of air does."""
    if not padding.any():
        return values
    if padding.all():
        return np.zeros_like(values)
    rest = values[~padding]
    darkest, brightest, found = (float(end) for end in (rest.min(), rest.max(), values[padding].min()))
    beside = darkest - NEAR * (brightest - darkest) <= found <= darkest
    return values if beside else np.where(padding, rest.min(), values)


def _window(frame: Frame, pivot: float | None) -> tuple[float, float] | None:
    """Ends of the window (DICOM PS3.3, C.11.2.1.2.1), mirrored where the values are."""
    if frame.window is None:
        return None
    centre, width = frame.window
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return (low, high) if pivot is None else (pivot - high, pivot - low)
