"""Reading of mask files: two classes, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.pictures import read_picture
from tumortrace.data.samples import Samples
from tumortrace.errors import DataError
from tumortrace.wording import counted

MOST_LABELS = 16
"""Largest number of labels that a map of a tumour has, and largest value of one in a picture: others show the brain."""

_AS_PNG = "save masks as PNG with 0 for background and 255 for tumour"


@dataclass(frozen=True)
class _Pixel:
    """All that is stored of one pixel, which stands for its class."""

    colour: tuple[int, ...]
    alpha: int | None
    palette_index: int | None

    @property
    def is_black(self) -> bool:
        return not any(self.colour)

    @property
    def is_grey(self) -> bool:
        return len(set(self.colour)) == 1

    def __str__(self) -> str:
        colour = str(self.colour[0] if self.is_grey else self.colour)
        opacity = "" if self.alpha is None else f" with opacity {self.alpha}"
        return colour + opacity + ("" if self.palette_index is None else f" at palette index {self.palette_index}")


def read_mask(path: PathLike[str] | str) -> NDArray[np.bool_]:
    """Read a mask, however it is stored; see ``read_united``.

    Returns:
        True where there is tumour, shape (H, W), bool.
    """
    return read_united(path)[0]


def read_united(path: PathLike[str] | str) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Read a mask of two classes, however they are stored, or unite the labels of a map.

    Tumour is what is not black, what has a palette index other than 0, or what is opaque on a transparent ground. Of
    two grey values that are not black, the brighter one is tumour. A mask of one value is free of tumour if it is black
    or transparent, and tumour all over otherwise. More classes are the labels of a map if their palette indices or grey
    values are at most ``MOST_LABELS`` and the background is 0: higher ones may be the grey of a soft edge.

    Args:
        path: A picture file of any kind that ``read_slice`` takes.

    Returns:
        True where there is tumour, shape (H, W), bool; and the labels of a map, in ascending order, if it has several.

    Raises:
        DataError: The file cannot be read, its compression is lossy, it has more than two classes that are no labels,
            or nothing in it says which class is tumour.
    """
    path = Path(path)
    samples = _read_samples(path)
    first = _find_class(samples, 0)
    if first.all():
        return np.full_like(first, _is_marked(_pixel(samples, 0), path)), ()
    second_at = int(first.argmin())
    second = _find_class(samples, second_at)
    if (first | second).all():
        return (second if _is_second_tumour(_pixel(samples, 0), _pixel(samples, second_at), path) else first), ()
    labels = _find_labels(samples)
    if labels is None:
        raise DataError(f"{path}: not a binary mask ({_count_classes(samples)}); {_AS_PNG}")
    return labels > 0, tuple(int(value) for value in np.unique(labels) if value)


def read_label(path: PathLike[str] | str, label: int) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Read the pixels of one label of a label map, whose palette index or grey value is the label.

    Args:
        path: A picture file of any kind that ``read_slice`` takes.
        label: The label, from 1.

    Returns:
        True where the label is, shape (H, W), bool; and the other labels there, in ascending order.

    Raises:
        DataError: The file cannot be read, its compression is lossy, it is in colour, or it holds neither the label nor
            what may be another one, a value up to ``MOST_LABELS``.
    """
    path = Path(path)
    samples = _read_samples(path)
    colour = samples.colour
    if samples.index is None and colour.ndim == 3 and (colour != colour[:, :, :1]).any():
        raise DataError(f"{path}: colours, of which none is label {label}; save label maps as grey values or a palette")
    grey = colour if colour.ndim == 2 else colour[:, :, 0]
    values = grey if samples.index is None else samples.index
    mask = np.asarray(values == label)
    others = tuple(int(value) for value in np.unique(values) if value not in {0, label})
    if not mask.any() and others and others[-1] > MOST_LABELS:
        shown = ", ".join(map(str, others[:5])) + (" and others" if len(others) > 5 else "")
        raise DataError(f"{path}: no label {label}, but {shown}; correct --label, or omit it for masks of two classes")
    return mask, others


def _read_samples(path: Path) -> Samples:
    samples = read_picture(path)
    if samples.lossy:
        raise DataError(f"{path}: a mask under lossy compression, which blurs the outline; {_AS_PNG}")
    return _hide_transparent(_as_integers(samples, path))


def _as_integers(samples: Samples, path: Path) -> Samples:
    """Take whole numbers for what they are, whatever type they have; refuse others, whose black is unknown."""
    colour = samples.colour
    if colour.dtype.kind == "u" and colour.dtype.itemsize <= 2:
        return samples
    if colour.min() < 0 or colour.max() > np.iinfo(np.uint16).max or (colour != np.rint(colour)).any():
        raise DataError(f"{path}: a mask of values with a sign, a fraction or above 65,535; {_AS_PNG}")
    return replace(samples, colour=colour.astype(np.uint16))


def _hide_transparent(samples: Samples) -> Samples:
    """Blacken what is transparent; an opacity that is the same all over says nothing, unless nothing else does."""
    colour, alpha = samples.colour, samples.alpha
    if alpha is None:
        return samples
    if (alpha == alpha[0, 0]).all() and not (colour == colour[0, 0]).all():
        return replace(samples, alpha=None)
    shown = alpha > 0
    return replace(samples, colour=np.where(shown if colour.ndim == 2 else shown[:, :, None], colour, 0))


def _find_class(samples: Samples, at: int) -> NDArray[np.bool_]:
    """The pixels that are stored as the one at a place of the flattened grid."""
    colour, alpha, index = samples.colour, samples.alpha, samples.index
    row, column = divmod(at, colour.shape[1])
    same = colour == colour[row, column]
    same = same if colour.ndim == 2 else same.all(axis=2)
    for plane in (alpha, index):
        if plane is not None:
            same &= plane == plane[row, column]
    return np.asarray(same)


def _pixel(samples: Samples, at: int) -> _Pixel:
    row, column = divmod(at, samples.colour.shape[1])
    colour = tuple(int(value) for value in np.atleast_1d(samples.colour[row, column]))
    alpha, index = (None if plane is None else int(plane[row, column]) for plane in (samples.alpha, samples.index))
    return _Pixel(colour, alpha, index)


def _is_marked(pixel: _Pixel, path: Path) -> bool:
    """Whether the one class of a mask is tumour; colour and palette index must agree."""
    if pixel.alpha == 0:
        return False
    if pixel.palette_index is not None and (pixel.palette_index == 0) != pixel.is_black:
        raise DataError(
            f"{path}: colour and palette index disagree on whether all or nothing is tumour ({pixel}); {_AS_PNG}"
        )
    return not pixel.is_black


def _is_second_tumour(first: _Pixel, second: _Pixel, path: Path) -> bool:
    """Ask palette index, opacity and colour which of two classes is tumour; those that answer must agree."""
    answers: set[bool] = set()
    if (first.palette_index == 0) != (second.palette_index == 0):
        answers.add(first.palette_index == 0)
    if (first.alpha == 0) != (second.alpha == 0):
        answers.add(first.alpha == 0)
    if first.is_black != second.is_black:
        answers.add(first.is_black)
    elif not answers and first.is_grey and second.is_grey and first.colour != second.colour:
        answers.add(first.colour[0] < second.colour[0])
    if len(answers) == 1:
        return answers.pop()
    what = "colour, opacity and palette index disagree on" if answers else "nothing says"
    raise DataError(f"{path}: {what} which of two classes is tumour ({first}; {second}); {_AS_PNG}")


def _find_labels(samples: Samples) -> NDArray[np.unsignedinteger[Any]] | None:
    """The labels of a map, shape (H, W), 0 for the background; None for a mask of another kind.

    A palette of greys alone may smooth an outline, so that its greys count and not its indices.
    """
    colour = samples.colour if samples.colour.ndim == 3 else samples.colour[:, :, None]
    is_grey = (colour == colour[:, :, :1]).all()
    values = colour[:, :, 0] if is_grey else samples.index
    if values is None or samples.alpha is not None or values.max() > MOST_LABELS or values.all():
        return None
    return values if np.array_equal(values > 0, colour.any(axis=2)) else None


def _count_classes(samples: Samples) -> str:
    """The number of classes for a message, and their values if they are few."""
    colours = [samples.colour] if samples.colour.ndim == 2 else list(np.moveaxis(samples.colour, 2, 0))
    planes = [*colours, *(plane for plane in (samples.alpha, samples.index) if plane is not None)]
    codes = np.zeros(samples.colour.shape[:2], np.uint64)
    for plane in planes:
        codes = codes * np.uint64(np.iinfo(plane.dtype).max + 1) + plane
    values = np.unique(codes)
    if len(planes) > 1:
        return f"{len(values)} different kinds of pixels"
    return f"{counted(len(values), 'grey value')}" + (f": {', '.join(map(str, values))}" if len(values) <= 5 else "")
