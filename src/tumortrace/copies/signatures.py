"""Signatures of slices: what survives a change of size, contrast and orientation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.similarity import SIDE_PX, frame_signature, rows_and_columns
from tumortrace.data.upright import UprightSlice, turn_upright

WINDOWS = ("frame", "head")
"""The parts of a slice that are compared: no change of contrast moves the frame, and no border moves the head."""

HEAD = WINDOWS.index("head")

COARSE_PX = 24
"""Side of the small signatures that candidates are searched by."""

MEASURED_PX = 256
"""Longer side of the picture that a signature is measured on: more would only take time."""

METHOD = 2
"""Number of the way in which signatures are measured. Raise it with every change that changes a signature."""

_COARSE_SIGMA_PX = 3.0


@dataclass(frozen=True, eq=False)
class Signature:
    """The signature of one slice.

    Attributes:
        windows: Frame and head, shape (2, SIDE_PX, SIDE_PX), float16.
        boxes_xywh: First column, first row, width and height of both windows in pixels, shape (2, 4).
        cut_ltrb: Fraction of its own length or width with which the head ends at the left, top, right and bottom edge
            of the picture, shape (4,), float32; 0 where it is whole, and more the more is cut off.
    """

    windows: NDArray[np.float16]
    boxes_xywh: NDArray[np.float64]
    cut_ltrb: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Signatures:
    """The signatures of N slices.

    Attributes:
        windows: Signatures of frame and head, shape (N, 2, SIDE_PX, SIDE_PX), float16 to save memory.
        boxes_xywh: First column, first row, width and height of both windows in pixels, shape (N, 2, 4).
        cut_ltrb: Fraction with which the head ends at each edge of the picture, shape (N, 4), float32.
    """

    windows: NDArray[np.float16]
    boxes_xywh: NDArray[np.float64]
    cut_ltrb: NDArray[np.float32]
    _coarse: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.windows)

    def coarse(self, window: int) -> NDArray[np.float32]:
        """Return small signatures that a shift of a few per cent barely changes.

        Args:
            window: Index in ``WINDOWS``.

        Returns:
            Shape (N, COARSE_PX, COARSE_PX), each of norm 1.
        """
        if window not in self._coarse:
            self._coarse[window] = _coarsen(self.windows[:, window])
        return self._coarse[window]

    def heads(self, indices: Sequence[int] | slice = slice(None)) -> NDArray[np.float32]:
        """Return signatures of heads, shape (N, SIDE_PX, SIDE_PX), as ``similarity.References`` takes them."""
        heads = self.windows[indices, HEAD].astype(np.float32)
        heads /= np.float32(SIDE_PX)
        return heads

    def head_box_xywh(self, index: int) -> tuple[int, int, int, int]:
        """Return first column, first row, width and height of the head in one slice."""
        x, y, width, height = (int(value) for value in self.boxes_xywh[index, HEAD])
        return x, y, width, height

    def select(self, indices: list[int]) -> Signatures:
        """Return the signatures of some slices."""
        return Signatures(self.windows[indices], self.boxes_xywh[indices], self.cut_ltrb[indices])


def measure_signature(pixels: NDArray[Any]) -> Signature:
    """Measure the signature of a slice.

    Args:
        pixels: Grey values, shape (H, W), any real dtype.
    """
    height, width = pixels.shape
    upright = turn_upright(_shrink(pixels))
    small_height, small_width = upright.size_hw
    rows, columns = rows_and_columns(upright)
    windows = np.stack([frame_signature(upright.grey), frame_signature(upright.grey[rows, columns])])
    head_xywh = np.array([columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start])
    head_xywh = np.rint(head_xywh * np.tile([width / small_width, height / small_height], 2))
    # Place and size are rounded alone: where both end in a half, the box would reach a pixel beyond the picture.
    head_xywh[2:] = np.minimum(head_xywh[2:], (width, height) - head_xywh[:2])
    # Multiplied by SIDE_PX the values have a spread of 1, where half precision is at its best.
    return Signature(
        (windows * SIDE_PX).astype(np.float16), np.array([(0, 0, width, height), head_xywh]), _measure_ends(upright)
    )


class SignatureStack:
    """Gathers signatures one by one: a list of them, and then the whole, would need twice the memory."""

    def __init__(self, most: int) -> None:
        """Make room.

        Args:
            most: Number of signatures that can be added. Room that stays empty takes no memory.
        """
        self._count = 0
        self._windows = np.empty((most, len(WINDOWS), SIDE_PX, SIDE_PX), dtype=np.float16)
        self._boxes_xywh = np.empty((most, len(WINDOWS), 4))
        self._cut_ltrb = np.empty((most, 4), dtype=np.float32)

    def add(self, signature: Signature) -> None:
        """Add the next signature."""
        self._windows[self._count] = signature.windows
        self._boxes_xywh[self._count] = signature.boxes_xywh
        self._cut_ltrb[self._count] = signature.cut_ltrb
        self._count += 1

    def get(self) -> Signatures:
        """Return those that were added."""
        added = slice(self._count)
        return Signatures(self._windows[added], self._boxes_xywh[added], self._cut_ltrb[added])


def stack_signatures(signatures: Iterable[Signature]) -> Signatures:
    """Stack the signatures of many slices."""
    listed = list(signatures)
    stack = SignatureStack(len(listed))
    for each in listed:
        stack.add(each)
    return stack.get()


def _shrink(pixels: NDArray[Any]) -> NDArray[Any]:
    """The picture with its longer side at most MEASURED_PX."""
    height, width = pixels.shape
    scale = MEASURED_PX / max(height, width)
    if scale >= 1:
        return pixels
    size_wh = max(round(scale * width), 1), max(round(scale * height), 1)
    readable = pixels if pixels.dtype in (np.uint8, np.uint16, np.float32) else pixels.astype(np.float64)
    return np.asarray(cv2.resize(readable, size_wh, interpolation=cv2.INTER_AREA))


def _coarsen(windows: NDArray[np.float16]) -> NDArray[np.float32]:
    vectors = np.empty((len(windows), COARSE_PX, COARSE_PX), dtype=np.float32)
    for index, window in enumerate(windows):
        blurred = cv2.GaussianBlur(window.astype(np.float32), (0, 0), _COARSE_SIGMA_PX)
        vectors[index] = cv2.resize(blurred, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    vectors -= vectors.mean(axis=(1, 2), keepdims=True)
    norms = np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1))


def _measure_ends(upright: UprightSlice) -> NDArray[np.float32]:
    """Measure how much of its length or width the head has at each edge of the picture."""
    if upright.head is None:
        return np.zeros(4, dtype=np.float32)
    head = upright.head.whole.head
    height, width = (np.count_nonzero(head.any(axis=axis)) for axis in (1, 0))
    ends = (head[:, 0].sum() / height, head[0].sum() / width, head[:, -1].sum() / height, head[-1].sum() / width)
    return np.array(ends, dtype=np.float32)
