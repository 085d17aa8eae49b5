"""Arrays that may be larger than the memory."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tumortrace.errors import RunFailedError
from tumortrace.machine import memory_bytes
from tumortrace.progress import tell

LARGEST_SHARE = 0.25
"""Share of the memory up to which an array is kept there; a network in training needs a few GB beside it."""


def reserve(shape: tuple[int, ...], dtype: DTypeLike, *, near: Path | None, content: str) -> NDArray[Any]:
    """Return an array without content: in memory, or if it would take too much of that, in a file.

    The file has no name and ends with the array. The system keeps in memory what fits of it, so that a larger array is
    slower and no more.

    Args:
        shape: Shape of the array.
        dtype: Type of its values.
        near: Path on the disk that may hold the file; it need not exist. With None the array is kept in memory.
        content: Number and kind of the things that it will hold, for messages.

    Raises:
        MemoryError: The array does not fit into memory, and no file was allowed.
        RunFailedError: The disk has too little room.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = memory_bytes()
    if near is None or memory is None or size <= LARGEST_SHARE * memory:
        return np.empty(shape, dtype=dtype)
    folder = next(each for each in (near.absolute(), *near.absolute().parents) if each.is_dir())
    amount = f"{content}: {size / 1e9:.1f} GB, too much for a memory of {memory / 1e9:.1f} GB"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _allocate(file.fileno(), size)
            array = np.memmap(file, dtype=dtype, mode="r+", shape=shape)
    except OSError as error:
        raise RunFailedError(
            f"{folder}: no room for {amount} ({error.strerror}); free disk space, write the run to another disk, or "
            "make recipe.size_hw smaller"
        ) from None
    tell(f"{amount}, so a file in {folder} holds them until the training ends")
    return array


def _allocate(file: int, size: int) -> None:
    """Make a file so long, with room on the disk: without it, a later write to the array would end the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
