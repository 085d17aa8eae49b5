"""The samples of one picture file as stored, upright."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumortrace.data.ifd import read_whole, walk
from tumortrace.errors import ConfigError, DataError

MOST_PIXELS = 64_000_000
"""Largest picture that is decoded, in pixels, unless ``MEGAPIXELS`` says otherwise."""

MEGAPIXELS = "TUMORTRACE_MEGAPIXELS"
"""Environment variable with another limit, in millions of pixels."""

MOST_PIXELS_A_SIDE = 32_767
"""Longest side that OpenCV's geometric functions can address."""

ORIENTATION = 0x0112
"""EXIF and TIFF tag of the orientation."""

QUARTER_TURNED = frozenset({5, 6, 7, 8})
"""Orientations in which rows become columns."""

_EXIF_HEAD = b"Exif\0\0"
_MIRRORED = {2, 4, 5, 7}  # orientations that mirror the picture left to right before it is turned
_QUARTER_TURNS = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}  # counterclockwise


class Header(NamedTuple):
    """What the header of a picture promises.

    Attributes:
        kind: Name of the format, with its article.
        size_wh: Width and height in pixels, as stored.
        frames: Number of frames or pages in the file.
        unit: Word of the format for them, such as pages or frames.
        orientation: Orientation as EXIF and TIFF number it, 1 to 8.
    """

    kind: str
    size_wh: tuple[int, int]
    frames: int = 1
    unit: str = "frames"
    orientation: int = 1

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels, once the orientation has turned the picture."""
        width, height = self.size_wh
        return (width, height) if self.orientation in QUARTER_TURNED else (height, width)


@dataclass(frozen=True, eq=False)
class Samples:
    """All that one picture file stores of each pixel.

    Attributes:
        colour: Grey values (H, W) or red-green-blue (H, W, 3), uint8 or uint16, and 0 is black; or grey values (H, W)
            of a wider type, finite, with a black of their own.
        alpha: Opacity (H, W) in the type of ``colour``, None if the file stores none.
        index: Palette index (H, W), uint8, None if the file has no palette.
        lossy: Whether the compression changed the values.
        turned: Whether the orientation tag turned or mirrored the stored grid.
    """

    colour: NDArray[Any]
    alpha: NDArray[Any] | None = None
    index: NDArray[np.uint8] | None = None
    lossy: bool = False
    turned: bool = False


def most_pixels() -> int:
    """Return the number of pixels of the largest picture that is decoded; the header says so before memory is taken.

    Raises:
        ConfigError: The environment variable is no positive number.
    """
    text = os.environ.get(MEGAPIXELS)
    if not text:
        return MOST_PIXELS
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(
            f"{MEGAPIXELS}={text}: not a positive number; give the limit in millions of pixels, such as 64"
        )
    return int(number * 1e6)


def check_header(path: Path, header: Header) -> None:
    """Refuse what a header promises too much of, before it is decoded.

    Args:
        path: The file, for the message.
        header: Its header.

    Raises:
        DataError: Several frames, no pixel, too many, or a side that is too long.
    """
    (width, height), frames, limit = header.size_wh, header.frames, most_pixels()
    if width < 1 or height < 1:
        raise DataError(f"{path}: {width} x {height} pixels; copy it again from its source")
    if frames > 1:
        raise DataError(f"{path}: {header.kind} with {frames} {header.unit}; save each as a picture of its own")
    if width * height > limit:
        raise DataError(
            f"{path}: {width} x {height} pixels, more than the limit of {limit:,}; save a smaller picture, or "
            f"raise the limit with {MEGAPIXELS}"
        )
    if max(width, height) > MOST_PIXELS_A_SIDE:
        raise DataError(
            f"{path}: {width} x {height} pixels, a side longer than the limit of {MOST_PIXELS_A_SIDE:,}; crop it"
        )


def take_samples(image: Image.Image) -> Samples:
    """Return the samples of a picture opened by Pillow, which decodes it.

    Raises:
        DataError: Samples of a type that is not read; the message lacks the file.
    """
    key = image.info.get("transparency")  # the transparent grey value, colour or palette entries
    match image.mode:
        case "P" | "PA":
            index = np.asarray(image if image.mode == "P" else image.getchannel(0))
            shown = _split_alpha(np.asarray(image.convert("RGBA")))
            is_opaque = image.mode == "P" and key is None
            samples = replace(shown, alpha=None if is_opaque else shown.alpha, index=index)
        case "1":
            samples = Samples(np.asarray(image).astype(np.uint8) * np.uint8(255))
        case "L" | "RGB":
            colour = np.asarray(image)
            samples = Samples(colour, None if key is None else hide_colour(colour, key))
        case "I;16" | "I;16B" | "I;16L":
            samples = Samples(np.asarray(image).astype(np.uint16))
        case "LA" | "La":
            samples = _split_alpha(np.asarray(image.convert("LA")))
        case "RGBA":
            samples = _split_alpha(np.asarray(image))
        case "CMYK" | "YCbCr" | "LAB":
            samples = Samples(np.asarray(image.convert("RGB")))
        case mode:
            raise DataError(f"pixels of type {mode}, which is not read")
    return samples


def hide_colour(colour: NDArray[Any], key: int | tuple[int, ...]) -> NDArray[Any]:
    """Return an opacity (H, W) that hides the one colour which a file declares transparent.

    Args:
        colour: Grey (H, W) or RGB (H, W, 3), unsigned.
        key: The transparent grey value or colour.

    Returns:
        0 where the colour is the key, else the largest value of the type of ``colour``.
    """
    same = colour == np.asarray(key)
    hidden = same if colour.ndim == 2 else same.all(axis=2)
    return np.where(hidden, 0, np.iinfo(colour.dtype).max).astype(colour.dtype)


def read_orientation(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8, that EXIF data holds; 1 (upright) if it holds none or is damaged."""
    if not exif:
        return 1
    try:
        directories = walk(exif.removeprefix(_EXIF_HEAD))
    except DataError:  # the pixels are whole, whatever is wrong with a tag
        return 1
    orientation = read_whole(exif.removeprefix(_EXIF_HEAD), directories.entries.get(ORIENTATION), directories.order)
    return orientation if orientation is not None and 1 <= orientation <= 8 else 1


def apply_orientation(samples: Samples, orientation: int) -> Samples:
    """Turn and mirror the stored grid as an orientation tag asks for.

    Args:
        samples: Samples as stored.
        orientation: 1 to 8, as EXIF and TIFF number them.
    """
    if orientation == 1:
        return samples

    def turn(plane: NDArray[Any]) -> NDArray[Any]:
        mirrored = plane[:, ::-1] if orientation in _MIRRORED else plane
        return np.ascontiguousarray(np.rot90(mirrored, _QUARTER_TURNS.get(orientation, 0)))

    alpha = None if samples.alpha is None else turn(samples.alpha)
    index = None if samples.index is None else turn(samples.index)
    return replace(samples, colour=turn(samples.colour), alpha=alpha, index=index, turned=True)


def _split_alpha(pixels: NDArray[np.uint8]) -> Samples:
    colour = pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3]
    return Samples(np.ascontiguousarray(colour), np.ascontiguousarray(pixels[:, :, -1]))
